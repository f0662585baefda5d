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
    /// The parts of its tier and class take more than the policy allows them, and nothing of them is
    /// older.
    Allowance {
        /// How many bytes that is.
        bytes_max: u64,
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
            Self::Allowance { bytes_max } => {
                write!(f, "its tier and class are kept within {bytes_max} bytes")
            }
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

/// The parts that the policy keeps no longer: those [`expired`], then, of the rest, those
/// beyond the bytes ([`beyond_allowance`]) that their tier and class may take.
#[must_use]
pub fn due(parts: &[PartView], policy: &Policy, frontier: Timestamp) -> Vec<Dropped> {
    let mut due = expired(parts, policy, frontier);
    let gone: HashSet<u64> = due.iter().map(|dropped| dropped.id).collect();
    let rest = parts.iter().filter(|part| !gone.contains(&part.entry.id));
    due.extend(beyond_allowance(&rest.cloned().collect::<Vec<_>>(), policy));
    due
}

/// Of each tier and set of classes whose bytes the policy bounds, the oldest parts, until the rest
/// fits; the youngest part stays. Where classes share parts, the largest of their bounds counts.
#[must_use]
pub fn beyond_allowance(parts: &[PartView], policy: &Policy) -> Vec<Dropped> {
    let bound = |part: &PartView| -> Option<u64> {
        let bounds: Option<Vec<u64>> =
            part.classes.iter().map(|&c| policy.keep_of(c).bytes(part.entry.tier)).collect();
        bounds?.into_iter().max()
    };
    if !parts.iter().any(|part| bound(part).is_some()) {
        return Vec::new();
    }
    let standings = standings(parts);
    let kind = |at: &usize| parts.get(*at).map(|part| (part.entry.tier, &part.classes));
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|at| (kind(at), order_of_age(parts, &standings, *at)));
    let mut dropped = Vec::new();
    for alike in order.chunk_by(|one, next| kind(one) == kind(next)) {
        let alike: Vec<&PartView> = alike.iter().filter_map(|&at| parts.get(at)).collect();
        let Some((youngest, older)) = alike.split_last() else { continue };
        let Some(bytes_max) = bound(youngest) else { continue };
        let mut held: u64 = alike.iter().map(|part| part.entry.bytes).sum();
        for part in older {
            if held <= bytes_max {
                break;
            }
            held -= part.entry.bytes;
            dropped.push(dropped_for(part, DropCause::Allowance { bytes_max }));
        }
    }
    dropped
}

/// The parts that are too old to be kept any longer, oldest first: each is older than the longest
/// age at which one of its classes keeps its tier, and so is everything that it overrides.
#[must_use]
pub fn expired(parts: &[PartView], policy: &Policy, frontier: Timestamp) -> Vec<Dropped> {
    let standings = standings(parts);
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|&at| order_of_age(parts, &standings, at));
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
    let standings = standings(parts);
    let cover = |at: usize| standings.get(at).and_then(|standing| standing.covered_by);
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|&at| (cover(at).is_none(), order_of_age(parts, &standings, at)));
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

/// What decides when a part goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    /// Until when it reaches, inclusive, or what it overrides does where that is later.
    end: Timestamp,
    /// The coarsest tier that has taken in all that it holds; `None` also where what it overrides
    /// is not covered and must go first.
    covered_by: Option<Tier>,
}

/// Of each part.
fn standings(parts: &[PartView]) -> Vec<Standing> {
    let of = |part: &PartView| Standing { end: part.span().1, covered_by: covered_by(part, parts) };
    let mut standings: Vec<Standing> = parts.iter().map(of).collect();
    let mut by_rank: Vec<usize> = (0..parts.len()).collect();
    by_rank.sort_by_key(|&at| parts.get(at).map(|part| (part.entry.rank, part.entry.tombstones)));
    for at in by_rank {
        let (Some(part), Some(mut standing)) = (parts.get(at), standings.get(at).copied()) else {
            continue;
        };
        let overridden = parts.iter().zip(&standings).filter(|(other, _)| part.overrides(other));
        for (_, other) in overridden {
            standing.end = standing.end.max(other.end);
            standing.covered_by = standing.covered_by.filter(|_| other.covered_by.is_some());
        }
        if let Some(place) = standings.get_mut(at) {
            *place = standing;
        }
    }
    standings
}

/// Oldest first, then finer first, then what is overridden first.
fn order_of_age(
    parts: &[PartView],
    standings: &[Standing],
    at: usize,
) -> Option<(Timestamp, Tier, u64, u64)> {
    let PartEntry { tier, rank, tombstones, .. } = parts.get(at)?.entry;
    Some((standings.get(at)?.end, tier, rank, tombstones))
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::model::Selector;
    use crate::options::{Keep, RetentionRule};
    use crate::part::Layout;

    const COARSE: i64 = 100;

    #[derive(Debug, Clone)]
    struct Shape {
        coarse: bool,
        start: i64,
        length: i64,
        rank: u64,
        classes: Vec<usize>,
        bytes: u64,
    }

    fn views(shapes: &[Shape]) -> Vec<PartView> {
        let view = |(id, shape): (u64, &Shape)| {
            let tier = Tier::from_nanos(if shape.coarse { COARSE } else { 0 }).unwrap();
            let (first, last) = (Timestamp(shape.start), Timestamp(shape.start + shape.length));
            let entry = PartEntry {
                id,
                rank: shape.rank,
                window: TimeRange::new(tier.floor(first), tier.ceil(Timestamp(last.0 + 1))),
                first,
                last,
                samples: 1,
                series: 1,
                segments: 1,
                bytes: shape.bytes,
                meta_crc: 0,
                store: 0,
                tier,
                layout: if shape.coarse { Layout::Records } else { Layout::Samples },
                tombstones: 0,
            };
            let (classes, purgeable) = (shape.classes.clone(), Vec::new());
            PartView { entry, classes, chunks: 1, purgeable, rewritten: false }
        };
        (1..).zip(shapes).map(view).collect()
    }

    fn shapes() -> impl Strategy<Value = Vec<PartView>> {
        let classes = prop::sample::select(vec![vec![0], vec![1], vec![0, 1]]);
        let shape = (any::<bool>(), 0_i64..1000, 0_i64..300, 1_u64..20, classes, 1_u64..50);
        let shape = shape.prop_map(|(coarse, start, length, rank, classes, bytes)| Shape {
            coarse,
            start,
            length,
            rank,
            classes,
            bytes,
        });
        prop::collection::vec(shape, 0..30).prop_map(|shapes| views(&shapes))
    }

    fn policy(ages: [Option<u64>; 4]) -> Policy {
        let tiers = [Tier::RAW, Tier::from_nanos(COARSE).unwrap()];
        let keep = |ages: &[Option<u64>]| {
            tiers.into_iter().zip(ages).fold(Keep::FOREVER, |keep, (tier, age)| match age {
                Some(age) => keep.with(tier, Duration::from_nanos(*age)),
                None => keep,
            })
        };
        let selector = Selector::parse("one").unwrap();
        let rules = vec![RetentionRule { selector, keep: keep(&ages[..2]) }];
        Policy { tiers: vec![tiers[1]], rules, keep: keep(&ages[2..]), ..Policy::default() }
    }

    fn ids(dropped: &[Dropped]) -> HashSet<u64> {
        dropped.iter().map(|dropped| dropped.id).collect()
    }

    /// No part goes before one that it overrides.
    fn in_order(parts: &[PartView], dropped: &[Dropped]) -> bool {
        let gone: HashMap<u64, usize> =
            dropped.iter().enumerate().map(|(at, dropped)| (dropped.id, at)).collect();
        parts.iter().all(|part| {
            let Some(at) = gone.get(&part.entry.id) else { return true };
            let overridden = parts.iter().filter(|other| part.overrides(other));
            overridden.into_iter().all(|other| gone.get(&other.entry.id) < Some(at))
        })
    }

    proptest! {
        #[test]
        fn age_drops_what_no_class_keeps_and_more_as_time_goes_on(
            parts in shapes(),
            ages in prop::array::uniform4(prop::option::of(1_u64..800)),
            frontier in 0_i64..3000,
            later in 0_i64..500,
        ) {
            let policy = policy(ages);
            let gone = expired(&parts, &policy, Timestamp(frontier));
            for dropped in &gone {
                let part = &parts[dropped.id as usize - 1];
                for &class in &part.classes {
                    let keep = policy.keep_of(class).age(part.entry.tier);
                    let oldest = keep.map(|keep| frontier - keep.as_nanos() as i64);
                    prop_assert!(oldest.is_some_and(|oldest| part.entry.last.0 < oldest));
                }
            }
            prop_assert!(in_order(&parts, &gone));
            for part in &parts {
                let oldest = horizon(&policy, &part.classes, part.entry.tier, Timestamp(frontier));
                let old = oldest.is_some_and(|oldest| part.span().1 < oldest);
                let held = parts.iter().any(|other| {
                    part.overrides(other) && !ids(&gone).contains(&other.entry.id)
                });
                prop_assert_eq!(ids(&gone).contains(&part.entry.id), old && !held);
            }
            let more = expired(&parts, &policy, Timestamp(frontier + later));
            prop_assert!(ids(&gone).is_subset(&ids(&more)));
        }

        #[test]
        fn the_budget_is_met_by_no_more_drops_than_it_takes_in_the_stated_order(
            parts in shapes(), bytes_max in 0_u64..600, other_bytes in 0_u64..200,
        ) {
            let drops = over_budget(&parts, bytes_max, other_bytes);
            let all: u64 = other_bytes + parts.iter().map(|part| part.entry.bytes).sum::<u64>();
            let freed: u64 = drops.dropped.iter().map(|dropped| dropped.bytes).sum();
            prop_assert_eq!(drops.short_bytes, (all - freed).saturating_sub(bytes_max));
            prop_assert!(drops.short_bytes == 0 || drops.dropped.len() == parts.len());
            if let Some(last) = drops.dropped.last() {
                prop_assert!(all - freed + last.bytes > bytes_max, "one more than needed");
            }
            let covered = |dropped: &Dropped| matches!(dropped.cause, DropCause::Covered { .. });
            prop_assert!(drops.dropped.is_sorted_by_key(|dropped| !covered(dropped)));
            prop_assert!(in_order(&parts, &drops.dropped));
            let standings = standings(&parts);
            for phase in drops.dropped.chunk_by(|a, b| covered(a) == covered(b)) {
                let age = |dropped: &Dropped| (standings[dropped.id as usize - 1].end, dropped.tier);
                prop_assert!(phase.is_sorted_by_key(age));
            }
            let stays = |part: &&PartView| !ids(&drops.dropped).contains(&part.entry.id);
            // Where anything uncovered went, nothing covered is left.
            if drops.dropped.iter().any(|dropped| !covered(dropped)) {
                let left = parts.iter().zip(&standings).filter(|(part, _)| stays(part));
                prop_assert!(left.into_iter().all(|(_, standing)| standing.covered_by.is_none()));
            }
        }

        #[test]
        fn what_counts_as_covered_is_in_a_coarser_tier_at_every_point(parts in shapes()) {
            for part in &parts {
                let (first, last) = part.span();
                let everywhere = (first.0..=last.0).all(|t| {
                    parts.iter().any(|other| {
                        other.entry.tier > part.entry.tier
                            && other.entry.rank >= part.entry.rank
                            && other.entry.window.contains(Timestamp(t))
                            && part.classes.iter().all(|class| other.classes.contains(class))
                    })
                });
                prop_assert_eq!(covered_by(part, &parts).is_some(), everywhere);
            }
        }
    }

    #[test]
    fn a_correction_outlives_what_it_corrects() {
        let shape = |start, length, rank| Shape {
            coarse: false,
            start,
            length,
            rank,
            classes: vec![0],
            bytes: 10,
        };
        let parts = views(&[shape(0, 100, 1), shape(10, 5, 2), shape(200, 10, 3)]);
        let policy = policy([Some(50), None, None, None]);
        assert!(expired(&parts, &policy, Timestamp(100)).is_empty(), "15 is old, but corrects 100");
        let gone = expired(&parts, &policy, Timestamp(210));
        assert_eq!(gone.iter().map(|dropped| dropped.id).collect::<Vec<_>>(), [1, 2]);
        let cause = DropCause::Expired { keep: Duration::from_nanos(50) };
        assert_eq!(gone[0].cause, cause);
        let drops = over_budget(&parts, 10, 0);
        assert_eq!(drops.dropped.iter().map(|dropped| dropped.id).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(over_budget(&parts, 0, 7).short_bytes, 7);
    }

    #[test]
    fn a_clock_that_runs_ahead_drops_nothing_that_is_kept() {
        let shape =
            Shape { coarse: false, start: 0, length: 99, rank: 1, classes: vec![0], bytes: 1 };
        let parts = views(&[shape]);
        let policy = policy([Some(100), Some(100), Some(100), Some(100)]);
        let newest = parts[0].entry.last;
        let frontier = Timestamp::MAX.min(newest);
        assert!(expired(&parts, &policy, frontier).is_empty());
    }
}
