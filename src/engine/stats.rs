//! What a store holds, and where its bytes go.

use rayon::prelude::*;

use super::shared::Shared;
use crate::error::Result;
use crate::fs::tree_bytes;
use crate::part::PartMeta;
use crate::segment::ColumnStats;

/// What a store holds and how large it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Series in the index.
    pub series: u64,
    /// Samples in parts and heads; those that a later write replaced count until compaction.
    pub samples: u64,
    /// Samples in the heads, not yet in a part.
    pub head_samples: u64,
    /// Bytes that the active head holds in memory.
    pub head_bytes: u64,
    /// Memory that the index takes, bytes, about.
    pub index_bytes: u64,
    /// Segments of all parts.
    pub segments: u64,
    /// All bytes in the directory.
    pub bytes_on_disk: u64,
    /// Bytes of the log.
    pub log_bytes: u64,
    /// Each part, ascending by id.
    pub parts: Vec<PartStats>,
    /// The columns of all parts together, by kind and encoding.
    pub columns: Vec<ColumnStats>,
}

/// One part.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartStats {
    /// What its own meta says: window, time bounds, counts, segments.
    pub meta: PartMeta,
    /// Bytes of its directory.
    pub bytes_on_disk: u64,
    /// Its columns, by kind and encoding.
    pub columns: Vec<ColumnStats>,
}

pub(super) fn collect(shared: &Shared) -> Result<Stats> {
    let view = shared.live.view();
    let parts: Vec<PartStats> = shared.pool.install(|| {
        let parts = view.parts.par_iter();
        let stats = parts.map(|part| {
            Ok(PartStats {
                meta: part.meta().clone(),
                bytes_on_disk: tree_bytes(&*shared.fs, part.dir())?,
                columns: part.column_stats()?,
            })
        });
        stats.collect::<Result<_>>()
    })?;
    let head_samples: u64 = view.frozen.iter().chain([&view.head]).map(|head| head.samples()).sum();
    let log_dir = shared.log_dir();
    let log_bytes = match shared.fs.file_bytes(&log_dir)? {
        Some(_) => tree_bytes(&*shared.fs, &log_dir)?,
        None => 0,
    };
    Ok(Stats {
        series: shared.index.len() as u64,
        samples: head_samples + parts.iter().map(|part| part.meta.samples).sum::<u64>(),
        head_samples,
        head_bytes: shared.live.read().head.bytes() as u64,
        index_bytes: shared.index.memory_bytes() as u64,
        segments: parts.iter().map(|part| part.meta.segments.len() as u64).sum(),
        bytes_on_disk: tree_bytes(&*shared.fs, &shared.dir)?,
        log_bytes,
        columns: merged(parts.iter().flat_map(|part| &part.columns)),
        parts,
    })
}

/// Sums columns of equal kind and encoding, ordered by these.
fn merged<'a>(columns: impl Iterator<Item = &'a ColumnStats>) -> Vec<ColumnStats> {
    let mut all: Vec<ColumnStats> = columns.copied().collect();
    all.sort_by_key(|column| (column.kind, column.encoding));
    all.dedup_by(|next, sum| {
        let same = (next.kind, next.encoding) == (sum.kind, sum.encoding);
        if same {
            sum.columns += next.columns;
            sum.samples += next.samples;
            sum.bytes += next.bytes;
        }
        same
    });
    all
}
