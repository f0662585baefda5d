//! What a query reads from, put in order once for all of its tasks.

use crate::model::SeriesId;
use crate::segment::{ChunkSource, Mask, RecordSource, Sources};
use crate::time::{Tier, Timestamp};

/// The sources of a query, each kind ascending by rank: of two that hold the same, the later in
/// order wins. Tier parts of equal rank ascend by the deletes that they have taken in: a patch
/// that left out what was deleted has the rank of what it patches.
pub(crate) struct Inputs<'a> {
    pub(crate) samples: Vec<Input<'a, dyn ChunkSource>>,
    /// Distributions as they were recorded.
    pub(crate) recorded: Vec<Input<'a, dyn RecordSource>>,
    /// Tier parts.
    pub(crate) tiers: Vec<Input<'a, dyn RecordSource>>,
    /// Of the tier parts, ascending, each once.
    pub(crate) resolutions: Vec<Tier>,
}

/// A source, and the deletes that it may still hold samples of.
pub(crate) struct Input<'a, S: ?Sized> {
    pub(crate) source: &'a S,
    pub(crate) rank: u64,
    masks: Vec<&'a Mask>,
}

/// How much of a closed span of time is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Masked {
    /// Nothing.
    No,
    /// Some of it.
    Partly,
    /// All of it, by one delete.
    Wholly,
}

impl<'a> Inputs<'a> {
    pub(crate) fn new(sources: &'a Sources) -> Self {
        let masks = &sources.masks;
        let samples = sources.samples.iter().map(|source| {
            let (rank, tombstones) = (source.rank(), source.tombstones());
            Input::new(&**source, rank, tombstones, masks)
        });
        let records = sources.records.iter().map(|source| {
            let (rank, tombstones) = (source.rank(), source.tombstones());
            Input::new(&**source, rank, tombstones, masks)
        });
        let (recorded, tiers) =
            records.partition::<Vec<_>, _>(|input| input.source.tier().is_raw());
        let mut resolutions: Vec<Tier> = tiers.iter().map(|input| input.source.tier()).collect();
        resolutions.sort_unstable();
        resolutions.dedup();
        let mut inputs = Self { samples: samples.collect(), recorded, tiers, resolutions };
        inputs.samples.sort_by_key(|input| input.rank);
        inputs.recorded.sort_by_key(|input| input.rank);
        inputs.tiers.sort_by_key(|input| {
            let window = input.source.window();
            (input.rank, input.source.tombstones(), window.start, window.end)
        });
        inputs
    }
}

impl<'a, S: ?Sized> Input<'a, S> {
    fn new(source: &'a S, rank: u64, tombstones: u64, masks: &'a [Mask]) -> Self {
        let masks = masks.iter().filter(|mask| mask.affects(rank, tombstones)).collect();
        Self { source, rank, masks }
    }

    /// How much of the series' closed span `first..=last` in this source is deleted.
    #[inline]
    pub(crate) fn masked(&self, series: SeriesId, first: Timestamp, last: Timestamp) -> Masked {
        let mut masked = Masked::No;
        for mask in &self.masks {
            if mask.range.overlaps(first, last) && mask.series.contains(series.0) {
                if mask.range.covers(first, last) {
                    return Masked::Wholly;
                }
                masked = Masked::Partly;
            }
        }
        masked
    }

    /// Whether the series' sample at this time is deleted.
    pub(crate) fn is_masked(&self, series: SeriesId, time: i64) -> bool {
        self.masked(series, Timestamp(time), Timestamp(time)) != Masked::No
    }
}
