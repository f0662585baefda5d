//! Retention: which parts go, and why. Pure functions of the catalog, the policy and a frontier.
//!
//! Owns: the age at which a part goes, the order in which parts go where bytes are short, the
//! cause of every drop. Does not own: removing anything (`engine`), what is built of history
//! before it goes (`compaction`).
//!
//! A part is dropped whole, and never before one that it overrides: a late part that corrected
//! samples outlives what it corrected, or the wrong values would be back.

use std::collections::{BTreeMap, BTreeSet, HashSet};
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
/// fits; the youngest stays. Where classes share parts, the largest of their bounds counts.
#[must_use]
pub fn beyond_allowance(parts: &[PartView], policy: &Policy) -> Vec<Dropped> {
    let bound = |classes: &[usize], tier: Tier| -> Option<u64> {
        let bounds = classes.iter().map(|&class| policy.keep_of(class).bytes(tier));
        bounds.collect::<Option<Vec<u64>>>()?.into_iter().max()
    };
    if !parts.iter().any(|part| bound(&part.classes, part.entry.tier).is_some()) {
        return Vec::new();
    }
    let mut alike: BTreeMap<(Tier, Vec<usize>), Vec<Unit>> = BTreeMap::new();
    for unit in units(parts) {
        alike.entry((unit.tier(), unit.classes())).or_default().push(unit);
    }
    let mut dropped = Vec::new();
    for ((tier, classes), mut units) in alike {
        let Some(bytes_max) = bound(&classes, tier) else { continue };
        units.sort_by_key(|unit| (unit.end, unit.order_of_writes()));
        let mut held: u64 = units.iter().map(Unit::bytes).sum();
        // All but the last.
        for pair in units.windows(2) {
            let [unit, _] = pair else { continue };
            if held <= bytes_max {
                break;
            }
            held -= unit.bytes();
            dropped.extend(unit.dropped(|_| DropCause::Allowance { bytes_max }));
        }
    }
    dropped
}

/// The parts that are too old to be kept any longer, oldest first: each is older than the longest
/// age at which one of its classes keeps its tier, and so is everything that it overrides, and of a
/// tier's parts everything that goes with it.
#[must_use]
pub fn expired(parts: &[PartView], policy: &Policy, frontier: Timestamp) -> Vec<Dropped> {
    let old = |part: &PartView| {
        let keep = longest_keep(policy, &part.classes, part.entry.tier)?;
        (part.span().1.0 < frontier.0.saturating_sub(duration_nanos(keep))).then_some(keep)
    };
    let mut units = units(parts);
    units.sort_by_key(Unit::order_of_age);
    let mut dropped: Vec<Dropped> = Vec::new();
    let mut gone: HashSet<u64> = HashSet::new();
    for unit in units {
        let held = |part: &&PartView| {
            let id = |other: &PartView| other.entry.id;
            let overridden = parts.iter().filter(|other| part.overrides(other));
            overridden.into_iter().any(|other| {
                !gone.contains(&id(other)) && !unit.parts.iter().any(|own| id(own) == id(other))
            })
        };
        if unit.parts.iter().all(|part| old(part).is_some()) && !unit.parts.iter().any(held) {
            gone.extend(unit.parts.iter().map(|part| part.entry.id));
            let keep = |part: &PartView| old(part).unwrap_or_default();
            dropped.extend(unit.dropped(|part| DropCause::Expired { keep: keep(part) }));
        }
    }
    dropped
}

/// The parts that go so that the bytes of the rest and `other_bytes` (log, scratch) are `bytes_max`
/// at most. First those that a coarser tier covers, oldest first, of equal age the finer first;
/// then the oldest of anything. A part is as old as the latest of its samples, of those that it
/// overrides, and of the finer parts that are left of what it was made of.
#[must_use]
pub fn over_budget(parts: &[PartView], bytes_max: u64, other_bytes: u64) -> Drops {
    let held = parts.iter().fold(other_bytes, |sum, part| sum.saturating_add(part.entry.bytes));
    let mut excess = held.saturating_sub(bytes_max);
    let mut drops = Drops::default();
    if excess == 0 {
        return drops;
    }
    let mut units = units(parts);
    units.sort_by_key(|unit| (unit.covered_by.is_none(), unit.order_of_age()));
    for unit in units {
        if excess == 0 {
            break;
        }
        excess = excess.saturating_sub(unit.bytes());
        let cause = unit.covered_by.map_or(DropCause::Oldest, |by| DropCause::Covered { by });
        drops.dropped.extend(unit.dropped(|_| cause));
    }
    drops.short_bytes = excess;
    drops
}

const fn dropped_for(part: &PartView, cause: DropCause) -> Dropped {
    let PartEntry { id, tier, window, bytes, .. } = part.entry;
    Dropped { id, tier, window, bytes, cause }
}

/// What goes together: a raw part alone, of a tier the parts that overlap and share a class. A patch
/// without what it patches would stand for all that was in its window.
#[derive(Debug)]
struct Unit<'a> {
    /// In the order of writes, at least one.
    parts: Vec<&'a PartView>,
    /// Until when they reach, inclusive, or what they override does where that is later.
    end: Timestamp,
    /// That, or, where nothing covers them, the latest end of the finer parts that are left of what
    /// they are made of: gone before those, they would be built again.
    age: Timestamp,
    /// The coarsest tier that has taken in all that each holds; `None` also where what they override
    /// is not covered and must go first.
    covered_by: Option<Tier>,
}

impl Unit<'_> {
    fn tier(&self) -> Tier {
        self.parts.first().map_or(Tier::RAW, |part| part.entry.tier)
    }

    /// Ascending.
    fn classes(&self) -> Vec<usize> {
        let classes = self.parts.iter().flat_map(|part| part.classes.iter().copied());
        BTreeSet::from_iter(classes).into_iter().collect()
    }

    fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.entry.bytes).fold(0, u64::saturating_add)
    }

    /// Oldest first, then finer first, then what is overridden first.
    fn order_of_age(&self) -> (Timestamp, Tier, Timestamp, Option<(u64, u64)>) {
        (self.age, self.tier(), self.end, self.order_of_writes())
    }

    fn order_of_writes(&self) -> Option<(u64, u64)> {
        self.parts.first().map(|part| order_of_writes(part))
    }

    /// Whether any of it speaks for a time and class that any of the other does.
    fn meets(&self, other: &Unit<'_>) -> bool {
        self.parts.iter().any(|part| {
            let (first, last) = part.span();
            other.parts.iter().any(|of| {
                let (start, end) = of.span();
                start <= last && first <= end && part.shares_a_class(of)
            })
        })
    }

    fn dropped(&self, cause: impl Fn(&PartView) -> DropCause) -> impl Iterator<Item = Dropped> {
        self.parts.iter().map(move |part| dropped_for(part, cause(part)))
    }
}

const fn order_of_writes(part: &PartView) -> (u64, u64) {
    (part.entry.rank, part.entry.tombstones)
}

/// All parts.
fn units(parts: &[PartView]) -> Vec<Unit<'_>> {
    let mut parts: Vec<&PartView> = parts.iter().collect();
    parts.sort_by_key(|part| order_of_writes(part));
    let mut units: Vec<Unit<'_>> = together(&parts)
        .into_iter()
        .map(|parts| {
            let end = parts.iter().map(|part| part.span().1).max().unwrap_or(Timestamp::MIN);
            Unit { parts, end, age: end, covered_by: None }
        })
        .collect();
    units.sort_by_key(|unit| (unit.tier(), unit.order_of_writes()));
    for at in 0..units.len() {
        let (before, rest) = units.split_at_mut(at);
        let Some(unit) = rest.first_mut() else { break };
        let covers = unit.parts.iter().map(|part| covered_by(part, &parts));
        unit.covered_by = covers.collect::<Option<Vec<Tier>>>().and_then(|t| t.into_iter().min());
        for other in before.iter() {
            let overrides = |other: &&PartView| unit.parts.iter().any(|part| part.overrides(other));
            if other.parts.iter().any(overrides) {
                unit.end = unit.end.max(other.end);
                unit.covered_by = unit.covered_by.filter(|_| other.covered_by.is_some());
            }
        }
        unit.age = unit.end;
        let finer = before.iter().filter(|other| other.tier() < unit.tier() && other.meets(unit));
        if unit.covered_by.is_none()
            && let Some(age) = finer.map(|other| other.age).max()
        {
            unit.age = unit.age.max(age);
        }
    }
    units
}

/// The parts, each in the order given, by what goes together.
fn together<'a>(parts: &[&'a PartView]) -> Vec<Vec<&'a PartView>> {
    // Of each part the index of one before it that it goes with, or its own.
    let mut root: Vec<usize> = (0..parts.len()).collect();
    let find = |root: &[usize], mut at: usize| {
        while let Some(&next) = root.get(at).filter(|next| **next != at) {
            at = next;
        }
        at
    };
    let mut kinds: BTreeMap<(Tier, usize), Vec<(TimeRange, usize)>> = BTreeMap::new();
    for (at, part) in parts.iter().enumerate().filter(|(_, part)| !part.entry.tier.is_raw()) {
        for &class in &part.classes {
            kinds.entry((part.entry.tier, class)).or_default().push((part.entry.window, at));
        }
    }
    for mut kind in kinds.into_values() {
        kind.sort_unstable_by_key(|(window, at)| (window.start, *at));
        let mut hull: Option<(Timestamp, usize)> = None;
        for (window, at) in kind {
            hull = match hull {
                Some((end, with)) if window.start < end => {
                    let (one, other) = (find(&root, with), find(&root, at));
                    if let Some(place) = root.get_mut(one.max(other)) {
                        *place = one.min(other);
                    }
                    Some((end.max(window.end), with))
                }
                _ => Some((window.end, at)),
            };
        }
    }
    let mut groups: BTreeMap<usize, Vec<&PartView>> = BTreeMap::new();
    for (at, part) in parts.iter().enumerate() {
        groups.entry(find(&root, at)).or_default().push(part);
    }
    groups.into_values().collect()
}

/// The coarsest tier that has taken in all that the part holds.
fn covered_by(part: &PartView, parts: &[&PartView]) -> Option<Tier> {
    let able = |other: &&&PartView| {
        other.entry.tier > part.entry.tier
            && other.entry.rank >= part.entry.rank
            && part.classes.iter().all(|class| other.classes.binary_search(class).is_ok())
    };
    let mut coarser: Vec<&PartView> = parts.iter().filter(able).copied().collect();
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

    /// Of the first class, ten bytes.
    fn shape(coarse: bool, start: i64, length: i64, rank: u64) -> Shape {
        Shape { coarse, start, length, rank, classes: vec![0], bytes: 10 }
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
            for unit in units(&parts) {
                let old = unit.parts.iter().all(|part| {
                    let oldest =
                        horizon(&policy, &part.classes, part.entry.tier, Timestamp(frontier));
                    oldest.is_some_and(|oldest| part.span().1 < oldest)
                });
                let of_unit = |other: &PartView| {
                    unit.parts.iter().any(|part| part.entry.id == other.entry.id)
                };
                let held = parts.iter().filter(|other| !of_unit(other)).any(|other| {
                    unit.parts.iter().any(|part| part.overrides(other))
                        && !ids(&gone).contains(&other.entry.id)
                });
                for part in &unit.parts {
                    prop_assert_eq!(ids(&gone).contains(&part.entry.id), old && !held);
                }
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
            let units = units(&parts);
            let of = |id: u64| {
                let holds = |unit: &&Unit<'_>| unit.parts.iter().any(|part| part.entry.id == id);
                units.iter().find(holds).unwrap()
            };
            if let Some(last) = drops.dropped.last() {
                let last = of(last.id).bytes();
                prop_assert!(all - freed + last > bytes_max, "one more than needed");
            }
            let covered = |dropped: &Dropped| matches!(dropped.cause, DropCause::Covered { .. });
            prop_assert!(drops.dropped.is_sorted_by_key(|dropped| !covered(dropped)));
            prop_assert!(in_order(&parts, &drops.dropped));
            for phase in drops.dropped.chunk_by(|a, b| covered(a) == covered(b)) {
                let age = |dropped: &Dropped| (of(dropped.id).age, dropped.tier);
                prop_assert!(phase.is_sorted_by_key(age));
            }
            let stays = |part: &&PartView| !ids(&drops.dropped).contains(&part.entry.id);
            // Where anything uncovered went, nothing covered is left.
            if drops.dropped.iter().any(|dropped| !covered(dropped)) {
                let mut left = parts.iter().filter(stays);
                prop_assert!(left.all(|part| of(part.entry.id).covered_by.is_none()));
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
                let all: Vec<&PartView> = parts.iter().collect();
                prop_assert_eq!(covered_by(part, &all).is_some(), everywhere);
            }
        }
    }

    #[test]
    fn a_patch_goes_with_what_it_patches_and_never_alone() {
        let shape = |start, length, rank| shape(true, start, length, rank);
        // A part of three buckets, a patch of one, the next part, and a patch of that.
        let parts =
            views(&[shape(0, 299, 1), shape(100, 99, 3), shape(300, 299, 2), shape(500, 99, 4)]);
        let gone = |dropped: &[Dropped]| dropped.iter().map(|part| part.id).collect::<Vec<_>>();
        assert_eq!(gone(&over_budget(&parts, 39, 0).dropped), [1, 2]);
        assert_eq!(gone(&over_budget(&parts, 20, 0).dropped), [1, 2]);
        assert_eq!(gone(&over_budget(&parts, 19, 0).dropped), [1, 2, 3, 4]);
        let old = policy([None, Some(50), None, None]);
        assert_eq!(gone(&expired(&parts, &old, Timestamp(400))), [1, 2]);
        let coarse = Tier::from_nanos(COARSE).unwrap();
        let selector = Selector::parse("one").unwrap();
        let keep = Keep::FOREVER.with_bytes(coarse, 30);
        let bounded = Policy { rules: vec![RetentionRule { selector, keep }], ..old };
        assert_eq!(gone(&beyond_allowance(&parts, &bounded)), [1, 2]);
    }

    #[test]
    fn a_correction_outlives_what_it_corrects() {
        let shape = |start, length, rank| shape(false, start, length, rank);
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
        let parts = views(&[shape(false, 0, 99, 1)]);
        let policy = policy([Some(100), Some(100), Some(100), Some(100)]);
        let newest = parts[0].entry.last;
        let frontier = Timestamp::MAX.min(newest);
        assert!(expired(&parts, &policy, frontier).is_empty());
    }
}
