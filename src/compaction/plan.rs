//! What to do next: a pure function of the live parts, the policy and a frontier.

use crate::catalog::Tombstone;
use crate::options::Policy;
use crate::retention::PartView;
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
        /// From which: raw, or a finer tier that accounts for all of the window.
        source: Tier,
        /// Aligned to the tier's buckets, within the window of a part of the tier.
        window: TimeRange,
        /// Sources of higher rank are what makes buckets dirty.
        absorbed: u64,
        /// The rank of the parts to write: they account for all sources up to it.
        rank: u64,
    },
    /// Write the records of all buckets of `window`, which no part of the tier accounts for.
    Downsample {
        /// Which tier.
        tier: Tier,
        /// From which: raw, or a finer tier that accounts for all of the window.
        source: Tier,
        /// Aligned to the tier's buckets, disjoint from the windows of the tier's parts.
        window: TimeRange,
        /// The rank of the parts to write: they account for all sources up to it.
        rank: u64,
    },
    /// Write one part (or, of raw ones, several of disjoint windows) in place of these of one tier,
    /// layout and set of classes. Their highest rank and tombstone id are its own, their windows
    /// together its window. Of tier parts the result must not be empty: a record of count 0 stays
    /// where nothing else would.
    Merge {
        /// Ids, ascending by rank, then id: later ones win.
        parts: Vec<u64>,
        /// Why.
        why: MergeCause,
    },
    /// Write a part again without what tombstones delete.
    Purge {
        /// Its id.
        part: u64,
        /// The tombstones that affect it, ascending.
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
/// terminates, as long as no new parts come.
#[must_use]
pub fn next_task(situation: &Situation<'_>) -> Option<Task> {
    let _ = situation;
    None
}

/// The tombstones that no live part may hold samples of any more.
#[must_use]
pub fn finished_tombstones(parts: &[PartView], tombstones: &[Tombstone]) -> Vec<u64> {
    let affects = |id: &u64| parts.iter().any(|part| part.purgeable.binary_search(id).is_ok());
    tombstones.iter().map(|tombstone| tombstone.id).filter(|id| !affects(id)).collect()
}
