//! What to do next: a pure function of the live parts, the policy and a frontier.

mod build;
mod cells;
mod coverage;
mod merge;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;

pub(super) use self::coverage::Coverage;
use crate::catalog::Tombstone;
use crate::options::Policy;
use crate::part::Layout;
use crate::retention::{Dropped, PartView};
use crate::time::{Tier, TimeRange, Timestamp};

/// What planning looks at.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// All live parts, in any order.
    pub parts: &'a [PartView],
    /// The catalog's tombstones, ascending by id.
    pub tombstones: &'a [Tombstone],
    /// The policy.
    pub policy: &'a Policy,
    /// Width of the partitions, nanoseconds, positive.
    pub partition_ns: i64,
    /// The newest sample's time, or now where that is earlier.
    pub frontier: Timestamp,
    /// Most samples of a chunk that compaction writes.
    pub chunk_samples_max: usize,
    /// Whether raw parts of one window are merged as if it were over and however much larger one
    /// is: what a user asked for, not what pays.
    pub everything: bool,
    /// Most bytes of parts that one task may read and, at worst, write again; parts that are larger
    /// are left as they are.
    pub input_bytes_max: u64,
}

/// A piece of work: after it, the catalog holds other parts in place of some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Write the records of the buckets of `window` that sources touched which the tier's parts
    /// there have not taken in.
    Patch {
        /// Which tier.
        tier: Tier,
        /// From which: a finer tier that accounts for all of the window, or raw together with what
        /// the tier's own records know.
        source: Tier,
        /// Aligned to the tier's buckets; parts of the tier account for all of it.
        window: TimeRange,
        /// The rank of the parts to write: they account for all sources up to it.
        rank: u64,
        /// Of which classes parts are written, ascending: those that have parts of the tier all the
        /// way, and new ones. At least one.
        classes: Vec<usize>,
    },
    /// Write the records of all buckets of `window`, which no part of the tier accounts for.
    Downsample {
        /// Which tier.
        tier: Tier,
        /// From which: a finer tier that has taken in all below it, or raw together with what finer
        /// tiers know.
        source: Tier,
        /// Aligned to the tier's buckets, disjoint from the windows of the tier's parts.
        window: TimeRange,
        /// The rank of the parts to write: they account for all sources up to it.
        rank: u64,
        /// Of which classes parts are written, ascending: those that have anything there and are
        /// kept that long. At least one.
        classes: Vec<usize>,
    },
    /// Write one part (or, of raw ones, several of disjoint windows) in place of these of one tier,
    /// layout and set of classes. Their highest rank and tombstone id are its own, their windows
    /// together its window. Of tier parts the result must not be empty: a record of count 0 stays
    /// where nothing else would.
    Merge {
        /// Ids, ascending by rank, then tombstones, then id: later ones win.
        parts: Vec<u64>,
        /// Why.
        why: MergeCause,
    },
    /// Write parts of one tier, layout and set of classes again as one, without what tombstones
    /// delete; it has left out tombstones up to the last of these. A raw part comes alone, a tier
    /// part with the patches that hold its buckets as they are without the deleted samples: records
    /// of deleted buckets in parts that a tombstone affects are left out.
    Purge {
        /// Ids, ascending by rank, then tombstones, then id: later ones win.
        parts: Vec<u64>,
        /// The tombstones that affect them, ascending.
        tombstones: Vec<u64>,
    },
}

/// Why parts are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeCause {
    /// Raw parts of one window have become many.
    Many,
    /// Raw parts of one window that is over.
    Closed,
    /// A raw part whose window is over has short chunks.
    ShortChunks,
    /// Adjacent tier parts become a longer one.
    Adjacent,
    /// Patches of a tier become one, or part of what they patch.
    Patches,
}

/// The next task, `None` where there is nothing to do. Doing what it says until it says `None`
/// terminates, as long as no new parts come. Cost: about parts · tiers · log(parts), beside the
/// parts that overlap each other.
#[must_use]
pub fn next_task(situation: &Situation<'_>) -> Option<Task> {
    let (series, events) = apart(situation.parts);
    let plan = Plan::new(&Situation { parts: &series, ..*situation });
    plan.build()
        .or_else(|| plan.purge())
        .or_else(|| plan.merge_tiers())
        .or_else(|| plan.merge_raw())
        .or_else(|| Plan::new(&Situation { parts: &events, ..*situation }).merge_raw())
}

/// Parts of series, and parts of events: these make no tiers, and deletes do not reach them.
fn apart(parts: &[PartView]) -> (Vec<PartView>, Vec<PartView>) {
    parts.iter().cloned().partition(|part| part.entry.layout != Layout::Events)
}

/// The next task on the way to tiers that have taken in what these parts hold: while a stretch of a
/// tier that is kept is missing without it, or wrong for a late sample or a delete. `None` where they
/// may go. It may be another stretch's task: a tier that got ahead of a finer one would count what
/// that lacks as dropped on purpose, and be made of it, once the parts are gone. Terminates as
/// [`next_task`] does, and costs no more than two of it.
#[must_use]
pub fn last_call(situation: &Situation<'_>, going: &[Dropped]) -> Option<Task> {
    if going.is_empty() {
        return None;
    }
    let (series, _) = apart(situation.parts);
    let only = Some(going.iter().map(|dropped| dropped.id).collect());
    let plan = Plan { only, ..Plan::new(&Situation { parts: &series, ..*situation }) };
    plan.build()?;
    Plan { only: None, ..plan }.build()
}

/// The tombstones that no live part may hold samples of any more.
#[must_use]
pub fn finished_tombstones(parts: &[PartView], tombstones: &[Tombstone]) -> Vec<u64> {
    let affects = |id: &u64| parts.iter().any(|part| part.purgeable.binary_search(id).is_ok());
    tombstones.iter().map(|tombstone| tombstone.id).filter(|id| !affects(id)).collect()
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Patch { tier, source, window, .. } => {
                write!(f, "patch {tier} from {source}, {} to {}", window.start, window.end)
            }
            Self::Downsample { tier, source, window, .. } => {
                write!(f, "build {tier} from {source}, {} to {}", window.start, window.end)
            }
            Self::Merge { parts, why } => write!(f, "merge parts {parts:?}: {why}"),
            Self::Purge { parts, .. } => write!(f, "purge parts {parts:?} of deleted samples"),
        }
    }
}

impl fmt::Display for MergeCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Many => "there are many of one window",
            Self::Closed => "their window is over",
            Self::ShortChunks => "its chunks are short",
            Self::Adjacent => "they make a longer one",
            Self::Patches => "they patch one another",
        })
    }
}

/// A situation with what follows from it.
struct Plan<'a> {
    situation: Situation<'a>,
    /// Those of the policy and those that parts are of, raw left out, ascending.
    tiers: Vec<Tier>,
    /// Of each of these.
    coverage: Vec<Coverage>,
    /// The highest of all parts: what is built now from all of them has taken in all of it.
    rank: u64,
    /// Samples before this are not expected any more.
    settled: Timestamp,
    /// Where only these parts' samples and records are a reason to build: their ids.
    only: Option<HashSet<u64>>,
}

impl<'a> Plan<'a> {
    fn new(situation: &Situation<'a>) -> Self {
        let situation = *situation;
        let parts = situation.parts;
        let found = parts.iter().map(|part| part.entry.tier).filter(|tier| !tier.is_raw());
        let mut tiers: Vec<Tier> = situation.policy.tiers.iter().copied().chain(found).collect();
        tiers.sort_unstable();
        tiers.dedup();
        let coverage = tiers
            .iter()
            .map(|&tier| {
                let of_tier = parts.iter().filter(|part| part.entry.tier == tier);
                Coverage::of(of_tier.map(|part| (part.entry.window, part.entry.rank)))
            })
            .collect();
        let rank = parts.iter().map(|part| part.entry.rank).max().unwrap_or(0);
        let settled = situation.frontier.saturating_sub(situation.policy.lateness);
        Self { situation, tiers, coverage, rank, settled, only: None }
    }

    /// Each tier with its coverage, ascending.
    fn tiers(&self) -> impl DoubleEndedIterator<Item = (Tier, &Coverage)> {
        self.tiers.iter().copied().zip(&self.coverage)
    }

    /// The tier's buckets that the part's samples lie in. Also those that are not over: the tier may
    /// account for some of them, where it was built before its time.
    fn span(part: &PartView, tier: Tier) -> TimeRange {
        let last = tier.floor(part.entry.last);
        let end = Timestamp(last.0.saturating_add(tier.nanos()));
        TimeRange::new(tier.floor(part.entry.first), end)
    }

    /// The pieces of the part's span that the tier accounts for without it, with the rank that it
    /// accounts for; `None` where it accounts for nothing.
    fn unabsorbed<'b>(
        &'b self,
        part: &PartView,
        tier: Tier,
        coverage: &'b Coverage,
    ) -> impl Iterator<Item = (TimeRange, Option<u64>)> + 'b {
        let rank = part.entry.rank;
        let pieces = coverage.pieces(Self::span(part, tier));
        pieces.filter(move |(_, covered)| covered.is_none_or(|covered| covered < rank))
    }
}

/// The order of writes: the later one's samples and records win.
fn order_of_writes(part: &PartView) -> (u64, u64, u64) {
    (part.entry.rank, part.entry.tombstones, part.entry.id)
}

fn meets(one: TimeRange, other: TimeRange) -> bool {
    one.start < other.end && other.start < one.end
}

fn ids(parts: &[&PartView]) -> Vec<u64> {
    parts.iter().map(|part| part.entry.id).collect()
}
