//! Which buckets of a tier are dirty: touched by what its parts have not taken in.

use super::plan::Coverage;
use crate::error::Result;
use crate::model::SeriesId;
use crate::segment::{ChunkRef, ChunkSource, Mask, RecordSource, Records, Sources};
use crate::time::{Tier, TimeRange, Timestamp};

/// The dirty buckets of a tier in a window, by series.
pub(super) struct Dirty<'a> {
    tier: Tier,
    window: TimeRange,
    /// Sources, and where their ranks are above what the tier has taken in, ascending.
    samples: Vec<(&'a dyn ChunkSource, Vec<TimeRange>)>,
    records: Vec<(&'a dyn RecordSource, Vec<TimeRange>)>,
    /// The tier's own parts, and the deletes that they have not taken in.
    masked: Vec<(&'a dyn RecordSource, Vec<&'a Mask>)>,
}

impl<'a> Dirty<'a> {
    /// `all` sources say what the tier has taken in, `chosen` ones what it shall take in.
    pub(super) fn new(
        all: &'a Sources,
        chosen: &'a Sources,
        tier: Tier,
        window: TimeRange,
    ) -> Self {
        let own = || all.records.iter().filter(|own| own.tier() == tier);
        let coverage = Coverage::of(own().map(|own| (own.window(), own.rank())));
        let behind = |rank: u64| -> Vec<TimeRange> {
            let pieces = coverage.pieces(window);
            let behind = pieces.filter(|(_, covered)| covered.is_some_and(|c| c < rank));
            behind.map(|(piece, _)| piece).collect()
        };
        let samples = chosen.samples.iter().map(|source| (&**source, behind(source.rank())));
        let finer = chosen.records.iter().filter(|source| source.tier() < tier);
        let records = finer.map(|source| (&**source, behind(source.rank())));
        let masked = own().map(|own| {
            let masks = all.masks.iter();
            let affecting = masks.filter(|mask| mask.affects(own.rank(), own.tombstones()));
            (&**own, affecting.collect::<Vec<_>>())
        });
        Self {
            tier,
            window,
            samples: samples.filter(|(_, behind)| !behind.is_empty()).collect(),
            records: records.filter(|(_, behind)| !behind.is_empty()).collect(),
            masked: masked.filter(|(_, masks)| !masks.is_empty()).collect(),
        }
    }

    /// Looks for them; its buffers are reused from series to series.
    pub(super) fn finder(&self) -> Finder<'_> {
        Finder { dirty: self, chunks: Vec::new(), times: Vec::new(), records: Records::default() }
    }
}

pub(super) struct Finder<'a> {
    dirty: &'a Dirty<'a>,
    chunks: Vec<ChunkRef>,
    times: Vec<i64>,
    records: Records,
}

impl Finder<'_> {
    /// The starts of the series' dirty buckets, ascending.
    pub(super) fn buckets(&mut self, series: SeriesId) -> Result<Vec<i64>> {
        let Self { dirty, chunks, times, records } = self;
        let Dirty { tier, window, .. } = **dirty;
        let mut found = Vec::new();
        for (source, behind) in &dirty.samples {
            for &piece in behind {
                chunks.clear();
                source.chunks(series, piece, chunks)?;
                for chunk in &*chunks {
                    if tier.floor(chunk.first) == tier.floor(chunk.last) {
                        found.push(tier.floor(chunk.first).0);
                    } else {
                        source.read_timestamps(chunk, times)?;
                        touched(times, tier, piece, &mut found);
                    }
                }
            }
        }
        for (source, behind) in &dirty.records {
            if source.fields(series)?.is_none() {
                continue;
            }
            for &piece in behind {
                source.read_records(series, piece, records)?;
                touched(&records.starts, tier, piece, &mut found);
            }
        }
        for (source, masks) in &dirty.masked {
            for mask in masks.iter().filter(|mask| mask.series.contains(series.0)) {
                let TimeRange { start, end } = mask.range;
                let buckets = TimeRange::new(
                    tier.floor(start).max(window.start),
                    tier.ceil(end).min(window.end),
                );
                source.read_records(series, buckets, records)?;
                found.extend_from_slice(&records.starts);
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }
}

/// Appends the starts of the buckets of a range that hold any of the ascending timestamps.
fn touched(timestamps: &[i64], tier: Tier, range: TimeRange, out: &mut Vec<i64>) {
    let below = |point: i64| timestamps.partition_point(|&time| time < point);
    let within = below(range.start.0)..below(range.end.0);
    let mut rest = timestamps.get(within).unwrap_or_default();
    while let Some(&first) = rest.first() {
        let bucket = tier.floor(Timestamp(first)).0;
        out.push(bucket);
        let end = bucket.saturating_add(tier.nanos());
        rest = rest.get(rest.partition_point(|&time| time < end)..).unwrap_or_default();
    }
}
