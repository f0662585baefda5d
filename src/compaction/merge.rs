//! Merging parts of samples into parts of other windows.

use std::path::Path;
use std::sync::Arc;

use super::batch::Batch;
use super::inputs::{Inputs, Pool};
use super::publish::{Identity, all_or_none, publish};
use super::survey::{Members, Survey};
use super::weave::Loom;
use crate::error::{Error, Result};
use crate::fs::Fs;
use crate::index::Index;
use crate::part::{self, Layout, Part, PartMeta};
use crate::segment::{Mask, SegmentLimits};
use crate::store::StoreKind;
use crate::time::{Tier, TimeRange};

/// How merged parts are written.
#[derive(Clone, Copy)]
pub struct MergeSpec<'a> {
    /// The file system.
    pub fs: &'a Arc<dyn Fs>,
    /// Where parts live.
    pub parts_dir: &'a Path,
    /// The store to write them with.
    pub store: StoreKind,
    /// How large their chunks and segments get.
    pub limits: SegmentLimits,
    /// Deletes: all that may affect an input.
    pub masks: &'a [Mask],
    /// The id of the last tombstone there is: whatever it and those before it delete is left out.
    pub tombstones: u64,
    /// Names and metadata of the series.
    pub index: &'a Index,
}

/// Asked often: sleeping in it keeps a share of the machine, an error from it ends the work.
pub type Pause<'a> = dyn FnMut() -> Result<()> + Send + 'a;

/// Merges raw parts of [`Layout::Samples`], in any order, into a new part for each of `windows`,
/// which ascend, do not overlap, and hold every sample of the inputs. The parts are published under
/// ids of `next_id`, in the windows' order; no catalog names them yet. A window without samples
/// gets no part.
///
/// For equal timestamps of a series the later write (the higher rank) wins; what the masks delete
/// is left out. A new part has the highest rank of the inputs and `spec.tombstones`. Long chunks
/// that nothing overlaps, nothing was deleted from and that lie in one window are copied undecoded;
/// shorter ones become longer ones of at least half of `spec.limits.chunk_samples_max`, where there
/// are as many samples.
///
/// Runs on the current rayon pool. Memory is bounded, but for a few dozen bytes a series: some
/// 100 MiB, and an encoder's batch. Inputs are read twice: their directories once before.
///
/// # Errors
/// [`Error::InvalidArgument`] for inputs or windows that break these rules; [`Error::Corrupt`]
/// where an input is damaged; the error of `pause`; the store's and file system's failures.
/// Whatever was published by then is removed.
pub fn merge_samples(
    inputs: &[Arc<Part>],
    windows: &[TimeRange],
    spec: &MergeSpec<'_>,
    next_id: &mut (dyn FnMut() -> u64 + Send),
    pause: &mut Pause<'_>,
) -> Result<Vec<PartMeta>> {
    check_windows(windows)?;
    let inputs = Inputs::new(inputs, Layout::Samples, spec.masks, spec.index)?;
    let mut pool = Pool::default();
    let survey = Survey::new(&inputs, windows, &mut pool, pause)?;
    let mut merge = Merge { inputs: &inputs, survey: &survey, spec, pool };
    all_or_none(spec, |published| {
        for (&window, members) in windows.iter().zip(&survey.windows) {
            published.extend(merge.window(window, members, next_id, pause)?);
        }
        Ok(())
    })
}

pub(super) fn check_windows(windows: &[TimeRange]) -> Result<()> {
    let whole = windows.iter().all(|window| !window.is_empty());
    if whole && windows.is_sorted_by(|one, next| one.end <= next.start) {
        return Ok(());
    }
    let reason = "empty, overlapping or not ascending".to_owned();
    Err(Error::InvalidArgument { what: "windows of a merge", reason })
}

struct Merge<'a> {
    inputs: &'a Inputs<'a>,
    survey: &'a Survey,
    spec: &'a MergeSpec<'a>,
    pool: Pool,
}

impl Merge<'_> {
    /// Writes and publishes one part; none where there would be nothing in it.
    fn window(
        &mut self,
        window: TimeRange,
        members: &Members,
        next_id: &mut dyn FnMut() -> u64,
        pause: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Option<PartMeta>> {
        let places: Vec<u32> = members.places().collect();
        if places.is_empty() {
            return Ok(None);
        }
        let table = self.inputs.series_at(&places);
        let identity = Identity {
            id: next_id(),
            rank: self.inputs.rank(),
            window,
            tier: Tier::RAW,
            layout: Layout::Samples,
        };
        publish(self.spec, identity, &table, |builder| {
            self.fill(builder, window, members, &places, pause)
        })
    }

    fn fill(
        &mut self,
        builder: &mut part::Builder,
        window: TimeRange,
        members: &Members,
        places: &[u32],
        pause: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        let chunk_samples_max = self.spec.limits.chunk_samples_max;
        let loom = Loom { inputs: self.inputs, chunk_samples_max };
        let (mut batch, mut sources) = (Batch::default(), Vec::new());
        for place in members.by_signature() {
            if batch.is_full() {
                batch.write(loom, window, builder, pause)?;
            }
            self.survey.sources(self.inputs, &mut self.pool, place, window, &mut sources)?;
            let series = places.binary_search(&place).unwrap_or_default() as u32;
            batch.add(self.inputs, series, self.inputs.mask_set(place), &sources)?;
        }
        batch.write(loom, window, builder, pause)
    }
}
