//! What a query reads from, put in order once for all of its tasks.

use super::ranges::intersection;
use crate::model::SeriesId;
use crate::segment::{ChunkSource, Extent, Mask, RecordSource, Sources};
use crate::time::{Tier, TimeRange, Timestamp};

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
    /// From here on no tier knows more than the raw inputs do.
    pub(crate) raw_whole_from: Timestamp,
    /// Raw samples of a series in a nanosecond, in the mean; nothing where it is not known.
    pub(crate) density: Option<f64>,
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
    /// Those of the sources that may hold anything in `range`.
    pub(crate) fn new(sources: &'a Sources, range: TimeRange) -> Self {
        let masks = &sources.masks;
        let mut density = Density::default();
        // A bucket that reaches out of the range may have its first sample there.
        let about = sources.records.iter().fold(range, |about, source| {
            let tier = source.tier();
            let (start, end) = (tier.floor(range.start), tier.ceil(range.end));
            TimeRange::new(about.start.min(start), about.end.max(end))
        });
        let meets = sources.samples.iter().filter(|source| {
            let extent = source.extent();
            extent.iter().for_each(|extent| density.add(extent, range));
            extent.is_none_or(|extent| about.overlaps(extent.first, extent.last))
        });
        let samples = meets.map(|source| {
            let (rank, tombstones) = (source.rank(), source.tombstones());
            Input::new(&**source, rank, tombstones, masks)
        });
        let meets = sources.records.iter().filter(|source| {
            let window = source.window();
            !intersection(window, about).is_empty()
        });
        let records = meets.map(|source| {
            let (rank, tombstones) = (source.rank(), source.tombstones());
            Input::new(&**source, rank, tombstones, masks)
        });
        let (recorded, tiers) =
            records.partition::<Vec<_>, _>(|input| input.source.tier().is_raw());
        let mut resolutions: Vec<Tier> = tiers.iter().map(|input| input.source.tier()).collect();
        resolutions.sort_unstable();
        resolutions.dedup();
        let mut inputs = Self {
            samples: samples.collect(),
            recorded,
            tiers,
            resolutions,
            raw_whole_from: sources.raw_whole_from.unwrap_or(Timestamp::MAX),
            density: None,
        };
        inputs.density = density.mean();
        inputs.samples.sort_by_key(|input| input.rank);
        inputs.recorded.sort_by_key(|input| input.rank);
        inputs.tiers.sort_by_key(|input| {
            let window = input.source.window();
            (input.rank, input.source.tombstones(), window.start, window.end)
        });
        inputs
    }
}

/// How many samples sources hold in a range.
#[derive(Default)]
struct Density {
    samples: f64,
    series_nanos: f64,
}

impl Density {
    fn add(&mut self, extent: &Extent, range: TimeRange) {
        let last = Timestamp(extent.last.0.saturating_add(1));
        let span = TimeRange::new(extent.first, last);
        let about = intersection(span, range);
        if !about.is_empty() {
            let nanos = |range: TimeRange| range.end.0.abs_diff(range.start.0) as f64;
            self.samples += extent.samples as f64 * nanos(about) / nanos(span);
            self.series_nanos += extent.series as f64 * nanos(about);
        }
    }

    fn mean(&self) -> Option<f64> {
        (self.series_nanos > 0.0).then(|| self.samples / self.series_nanos)
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
