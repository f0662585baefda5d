//! Publishing what compaction builds: a part whole or not at all, and all parts of a task or none.

use std::sync::Arc;

use super::merge::MergeSpec;
use crate::error::Result;
use crate::model::Series;
use crate::part::{self, Layout, PartMeta, PartSpec};
use crate::time::{Tier, TimeRange};

/// What tells a part being built from others of its task.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity {
    pub(super) id: u64,
    pub(super) rank: u64,
    pub(super) window: TimeRange,
    pub(super) tier: Tier,
    pub(super) layout: Layout,
}

/// Writes and publishes a part of these series, ascending, whose chunks `fill` adds; none where it
/// adds nothing.
pub(super) fn publish(
    spec: &MergeSpec<'_>,
    identity: Identity,
    table: &[Arc<Series>],
    fill: impl FnOnce(&mut part::Builder) -> Result<()>,
) -> Result<Option<PartMeta>> {
    let MergeSpec { fs, parts_dir, store, limits, tombstones, index, .. } = *spec;
    let Identity { id, rank, window, tier, layout } = identity;
    let part = PartSpec { id, rank, window, tier, layout, tombstones, store, limits };
    let mut builder = part::Builder::new(fs, parts_dir, &part, table, &index.metadata_of(table))?;
    match fill(&mut builder) {
        Ok(()) if builder.is_empty() => builder.discard().map(|()| None),
        Ok(()) => builder.finish().map(Some),
        Err(error) => {
            // The error that counts is the first; what stays of the part is swept at open.
            let _ = builder.discard();
            Err(error)
        }
    }
}

/// The parts that `write` publishes; where it fails those are removed that it had published by then.
/// Where that fails too, the next open sweeps them: no catalog names them.
pub(super) fn all_or_none(
    spec: &MergeSpec<'_>,
    write: impl FnOnce(&mut Vec<PartMeta>) -> Result<()>,
) -> Result<Vec<PartMeta>> {
    let mut published = Vec::new();
    let written = write(&mut published);
    if written.is_err() {
        for part in &published {
            let _ = part::remove(&**spec.fs, spec.parts_dir, part.id);
        }
    }
    written.map(|()| published)
}
