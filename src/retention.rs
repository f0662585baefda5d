//! Retention: which parts go, and why. Pure functions of the catalog, the policy and a frontier.
//!
//! Owns: the age at which a part goes, the order in which parts go where bytes are short, the
//! cause of every drop. Does not own: removing anything (`engine`), what is built of history
//! before it goes (`compaction`).
//!
//! A part is dropped whole, and never before one that it overrides: a late part that corrected
//! samples outlives what it corrected, or the wrong values would be back.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use crate::catalog::PartEntry;
use crate::options::Policy;
use crate::time::{Tier, TimeRange, Timestamp, duration_nanos};

/// A live part as planning sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartView {
    /// What the catalog says of it.
    pub entry: PartEntry,
    /// The [classes](Policy::class_of) of the series that it holds, ascending, at least one.
    pub classes: Vec<usize>,
    /// Its chunks, as its meta counts them.
    pub chunks: u64,
    /// Ids of the tombstones that [may affect](crate::catalog::Tombstone::may_affect) it and whose
    /// selector accepts a series that it holds, ascending.
    pub purgeable: Vec<u64>,
    /// Whether compaction wrote it in this run: rewriting it only for longer chunks is of no use.
    pub rewritten: bool,
}

impl PartView {
    /// The closed span of time that it speaks for: of raw parts that of their samples, of tier parts
    /// the whole window, since a bucket without a record was empty.
    #[must_use]
    pub fn span(&self) -> (Timestamp, Timestamp) {
        let PartEntry { tier, window, first, last, .. } = self.entry;
        if tier.is_raw() { (first, last) } else { (window.start, Timestamp(window.end.0 - 1)) }
    }

    /// Whether it may hold samples or records that the other one, written earlier, holds as well:
    /// one of lower rank, or of equal rank that left out fewer deletes.
    #[must_use]
    pub fn overrides(&self, other: &Self) -> bool {
        let (first, last) = other.span();
        let (start, end) = self.span();
        let written = |part: &Self| (part.entry.rank, part.entry.tombstones);
        written(self) > written(other)
            && self.entry.tier == other.entry.tier
            && start <= last
            && first <= end
            && self.shares_a_class(other)
    }

    /// Whether both may hold the same series: a series is of one class.
    #[must_use]
    pub fn shares_a_class(&self, other: &Self) -> bool {
        self.classes.iter().any(|class| other.classes.binary_search(class).is_ok())
    }
}

/// From which time on samples of a tier are kept; `None` for all of them. `frontier` is the newest
/// sample's time, or now where that is earlier, so that a wrong clock deletes nothing.
#[must_use]
pub fn horizon(
    policy: &Policy,
    classes: &[usize],
    tier: Tier,
    frontier: Timestamp,
) -> Option<Timestamp> {
    let keep = longest_keep(policy, classes, tier)?;
    Some(frontier.saturating_sub(keep))
}

/// `None` for ever.
fn longest_keep(policy: &Policy, classes: &[usize], tier: Tier) -> Option<Duration> {
    let ages: Option<Vec<Duration>> =
        classes.iter().map(|&class| policy.keep_of(class).age(tier)).collect();
    ages?.into_iter().max()
}

/// A part that goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    /// Its id.
    pub id: u64,
    /// How coarse it is.
    pub tier: Tier,
    /// What it accounts for.
    pub window: TimeRange,
    /// Its bytes.
    pub bytes: u64,
    /// Why.
    pub cause: DropCause,
}

/// Why a part goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropCause {
    /// All of it is older than the policy keeps any of its series.
    Expired {
        /// How long that is.
        keep: Duration,
    },
    /// Bytes are short, and a coarser tier has taken in all that it holds.
    Covered {
        /// The coarsest tier that has.
        by: Tier,
    },
    /// Bytes are short, nothing that a coarser tier covers is left, and nothing is older.
    Oldest,
}

impl fmt::Display for DropCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired { keep } => write!(f, "kept for {} s", keep.as_secs()),
            Self::Covered { by } => write!(f, "bytes are short, {by} covers it"),
            Self::Oldest => f.write_str("bytes are short, nothing is older"),
        }
    }
}

/// What goes so that the rest fits, and whether it does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Drops {
    /// In the order in which they go.
    pub dropped: Vec<Dropped>,
    /// By how many bytes the rest is still too large: above 0 only where other bytes than those of
    /// parts take all there is.
    pub short_bytes: u64,
}

/// The parts that no policy keeps any longer, oldest first: each is older than the longest age at
/// which one of its classes keeps its tier, and so is everything that it overrides.
#[must_use]
pub fn expired(parts: &[PartView], policy: &Policy, frontier: Timestamp) -> Vec<Dropped> {
    let ends = ends(parts);
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|&at| order_of_age(parts, &ends, at));
    let mut dropped: Vec<Dropped> = Vec::new();
    let mut gone: HashSet<u64> = HashSet::new();
    for part in order.into_iter().filter_map(|at| parts.get(at)) {
        let Some(keep) = longest_keep(policy, &part.classes, part.entry.tier) else { continue };
        let old = part.span().1.0 < frontier.0.saturating_sub(duration_nanos(keep));
        let overridden = parts.iter().filter(|other| part.overrides(other));
        if old && overridden.into_iter().all(|other| gone.contains(&other.entry.id)) {
            gone.insert(part.entry.id);
            dropped.push(dropped_for(part, DropCause::Expired { keep }));
        }
    }
    dropped
}

/// The parts that go so that the bytes of the rest and `other_bytes` (log, scratch) are `bytes_max`
/// at most. First those that a coarser tier covers, oldest first, of equal age the finer first;
/// then the oldest of anything. A part is as old as the latest of its samples and of those that it
/// overrides.
#[must_use]
pub fn over_budget(parts: &[PartView], bytes_max: u64, other_bytes: u64) -> Drops {
    let held = parts.iter().fold(other_bytes, |sum, part| sum.saturating_add(part.entry.bytes));
    let mut excess = held.saturating_sub(bytes_max);
    let mut drops = Drops::default();
    if excess == 0 {
        return drops;
    }
    let ends = ends(parts);
    let covers: Vec<Option<Tier>> = parts.iter().map(|part| covered_by(part, parts)).collect();
    let cover = |at: usize| covers.get(at).copied().flatten();
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|&at| (cover(at).is_none(), order_of_age(parts, &ends, at)));
    for at in order {
        let Some(part) = parts.get(at).filter(|_| excess > 0) else { break };
        excess = excess.saturating_sub(part.entry.bytes);
        let cause = cover(at).map_or(DropCause::Oldest, |by| DropCause::Covered { by });
        drops.dropped.push(dropped_for(part, cause));
    }
    drops.short_bytes = excess;
    drops
}

const fn dropped_for(part: &PartView, cause: DropCause) -> Dropped {
    let PartEntry { id, tier, window, bytes, .. } = part.entry;
    Dropped { id, tier, window, bytes, cause }
}

/// Until when each part reaches, inclusive, or what it overrides does where that is later.
fn ends(parts: &[PartView]) -> Vec<Timestamp> {
    let mut by_rank: Vec<usize> = (0..parts.len()).collect();
    by_rank.sort_by_key(|&at| parts.get(at).map(|part| (part.entry.rank, part.entry.tombstones)));
    let mut ends: Vec<Timestamp> = parts.iter().map(|part| part.span().1).collect();
    for &at in &by_rank {
        let Some(part) = parts.get(at) else { continue };
        let overridden = parts.iter().zip(&ends).filter(|(other, _)| part.overrides(other));
        let latest = overridden.map(|(_, &end)| end).max();
        if let (Some(end), Some(latest)) = (ends.get_mut(at), latest) {
            *end = latest.max(*end);
        }
    }
    ends
}

/// Oldest first, then finer first, then what is overridden first.
fn order_of_age(
    parts: &[PartView],
    ends: &[Timestamp],
    at: usize,
) -> Option<(Timestamp, Tier, u64, u64)> {
    let PartEntry { tier, rank, tombstones, .. } = parts.get(at)?.entry;
    Some((*ends.get(at)?, tier, rank, tombstones))
}

/// The coarsest tier that has taken in all that the part holds.
fn covered_by(part: &PartView, parts: &[PartView]) -> Option<Tier> {
    let able = |other: &&PartView| {
        other.entry.tier > part.entry.tier
            && other.entry.rank >= part.entry.rank
            && part.classes.iter().all(|class| other.classes.binary_search(class).is_ok())
    };
    let mut coarser: Vec<&PartView> = parts.iter().filter(able).collect();
    coarser.sort_by_key(|other| (std::cmp::Reverse(other.entry.tier), other.entry.window.start));
    let (first, last) = part.span();
    coarser.chunk_by(|one, next| one.entry.tier == next.entry.tier).find_map(|of_tier| {
        let mut reached = first;
        for other in of_tier {
            let TimeRange { start, end } = other.entry.window;
            if start <= reached && reached < end {
                reached = end;
            }
        }
        (reached > last).then(|| of_tier.first().map(|other| other.entry.tier)).flatten()
    })
}
