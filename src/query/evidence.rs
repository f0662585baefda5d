//! What an answer stands on: which tiers and how much of them, what was rebuilt, what is missing.
//!
//! Tasks tally what they read; tallies add up to the same in any order, so that the evidence does
//! not depend on the number of threads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use super::plan::SeriesPlan;
use super::ranges::{Ranges, intersection};
use crate::time::{Tier, TimeRange};

/// What an answer stands on; the same for every number of threads.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evidence {
    /// Series selected.
    pub series: u64,
    /// The tiers read, from raw to coarse.
    pub tiers: Vec<TierEvidence>,
    /// Raw chunks answered without decoding.
    pub chunks_from_statistics: u64,
    /// Raw chunks decoded.
    pub chunks_decoded: u64,
    /// Samples in the chunks decoded.
    pub samples_decoded: u64,
    /// Buckets of tiers that were folded anew from raw samples, since samples were written or
    /// deleted after the tier had taken them in; summed over the series.
    pub dirty_buckets: u64,
    /// The most by which a quantile may lie off the value that has its rank, relative to that
    /// value: 0 where every one is exact.
    pub quantile_relative_error: f64,
    /// Where samples were, but only something coarser is left than what was asked; they are not in
    /// the answer. By tier from fine to coarse, then time.
    pub gaps: Vec<Gap>,
    /// Whether a limit cut the answer short, and what is missing for it.
    pub cut_short: Option<CutShort>,
    /// Samples that came late, or did not come in, while the range was recorded, by reason; of the
    /// whole store, not only of the series selected. `None` where it was not asked for.
    pub losses: Option<Vec<Loss>>,
}

/// What was read of one tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierEvidence {
    /// Which.
    pub tier: Tier,
    /// The stretches of time that it answered for some series, ascending, disjoint.
    pub stretches: Vec<TimeRange>,
    /// Records read: one a bucket, of raw one a recorded sketch.
    pub records: u64,
    /// Parts and heads that something was read from.
    pub parts: u64,
}

/// A stretch of time whose samples are gone but for a tier too coarse for the windows or without
/// what a function needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The finest tier that is left.
    pub tier: Tier,
    /// Where.
    pub range: TimeRange,
}

/// What a limit cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutShort {
    /// The limit, as [`Error::Limit`](crate::Error::Limit) names it, or `deadline`.
    pub limit: &'static str,
    /// Groups left out because not all of their series could be read.
    pub groups: u64,
}

/// Samples that did not come in as they were sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Loss {
    /// Why: `late` (taken in all the same), or the reason of a [`Refusal`](crate::engine::Refusal).
    pub reason: String,
    /// How many, by the store's own counters.
    pub samples: f64,
}

/// How much of the range a group's series cover.
///
/// A series covers `samples × interval`, at most the range: each sample stands for the mean
/// interval between the samples of a window. Where no window holds two, it covers the windows that
/// hold one. Computed from what partials hold, so it is the same from raw samples and from tiers.
/// Of distributions, whose partials count observations, it is up to one recording interval a
/// window too small.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Covered {
    /// The share of the range, 0 to 1, that the series covers which covers least.
    pub least: f64,
    /// The mean of the series' shares.
    pub mean: f64,
}

/// What one reader did with chunks.
#[derive(Debug, Default)]
pub(crate) struct ChunkTally {
    pub(crate) from_statistics: u64,
    pub(crate) decoded: u64,
    pub(crate) samples: u64,
    /// For each input whether something was read from it.
    inputs: Vec<bool>,
}

impl ChunkTally {
    pub(crate) fn new(inputs: usize) -> Self {
        Self { inputs: vec![false; inputs], ..Self::default() }
    }

    #[inline]
    pub(crate) fn read(&mut self, input: usize) {
        if let Some(read) = self.inputs.get_mut(input) {
            *read = true;
        }
    }
}

/// What one task read of one tier.
#[derive(Debug, Default)]
struct TierTally {
    stretches: Ranges,
    records: u64,
    /// Indexes of those that something was read from.
    inputs: BTreeSet<usize>,
}

/// What a task did.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    tiers: BTreeMap<Tier, TierTally>,
    gaps: BTreeMap<Tier, Ranges>,
    samples: ChunkTally,
    pub(crate) dirty_buckets: u64,
}

impl Tally {
    /// Notes the stretches of a plan. Once a plan, not once a series.
    pub(crate) fn planned(&mut self, plan: &SeriesPlan) {
        for stretch in &plan.stretches {
            self.tiers.entry(stretch.tier).or_default().stretches.insert(stretch.range);
        }
    }

    /// Notes records read of a tier's input.
    pub(crate) fn records(&mut self, tier: Tier, input: usize, records: u64) {
        if records > 0 {
            let tally = self.tiers.entry(tier).or_default();
            tally.records += records;
            tally.inputs.insert(input);
        }
    }

    /// Notes that only something coarser is left.
    pub(crate) fn gap(&mut self, tier: Tier, range: TimeRange) {
        self.gaps.entry(tier).or_default().insert(range);
    }

    /// Adds what a reader did with chunks.
    pub(crate) fn chunks(&mut self, chunks: &ChunkTally) {
        let sum = &mut self.samples;
        sum.from_statistics += chunks.from_statistics;
        sum.decoded += chunks.decoded;
        sum.samples += chunks.samples;
        sum.inputs.resize(sum.inputs.len().max(chunks.inputs.len()), false);
        for (sum, read) in sum.inputs.iter_mut().zip(&chunks.inputs) {
            *sum |= read;
        }
    }

    fn add(&mut self, other: &Self) {
        for (&tier, theirs) in &other.tiers {
            let ours = self.tiers.entry(tier).or_default();
            ours.stretches.extend(&theirs.stretches);
            ours.records += theirs.records;
            ours.inputs.extend(&theirs.inputs);
        }
        for (&tier, ranges) in &other.gaps {
            self.gaps.entry(tier).or_default().extend(ranges);
        }
        self.chunks(&other.samples);
        self.dirty_buckets += other.dirty_buckets;
    }
}

/// Where the tasks of a query put what they did.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Tally>);

impl Ledger {
    pub(crate) fn add(&self, tally: &Tally) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(tally);
    }

    /// The evidence of a query over `series` series in `range`, once all tasks have ended; whether
    /// quantiles came from sketches, and what was left out, others know.
    pub(crate) fn evidence(self, series: usize, range: TimeRange) -> Evidence {
        let tally = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let samples = tally.samples.inputs.iter().filter(|read| **read).count() as u64;
        let tiers = tally.tiers.into_iter().map(|(tier, read)| TierEvidence {
            tier,
            records: read.records,
            parts: read.inputs.len() as u64 + if tier.is_raw() { samples } else { 0 },
            stretches: read.stretches.into_vec(),
        });
        let gaps = tally.gaps.into_iter().flat_map(|(tier, ranges)| {
            let within = ranges.into_vec().into_iter().map(move |gap| intersection(gap, range));
            within.map(move |range| Gap { tier, range })
        });
        Evidence {
            series: series as u64,
            tiers: tiers.collect(),
            chunks_from_statistics: tally.samples.from_statistics,
            chunks_decoded: tally.samples.decoded,
            samples_decoded: tally.samples.samples,
            dirty_buckets: tally.dirty_buckets,
            quantile_relative_error: 0.0,
            gaps: gaps.collect(),
            cut_short: None,
            losses: None,
        }
    }
}
