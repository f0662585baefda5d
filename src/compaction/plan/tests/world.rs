//! A model of parts: sets of samples instead of bytes, and what tasks do to them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::*;
use crate::catalog::PartEntry;
use crate::part::Layout;
use crate::retention::{Dropped, due};

/// Series and time.
pub(super) type Key = (usize, i64);

/// A part: its samples by key with the rank of their writes, or its records by bucket, each the
/// set of samples that it sums up.
#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) view: PartView,
    pub(super) samples: BTreeMap<Key, u64>,
    pub(super) records: BTreeMap<Key, BTreeMap<i64, u64>>,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) policy: Policy,
    pub(super) partition: i64,
    pub(super) parts: Vec<Model>,
    pub(super) tombstones: Vec<(Tombstone, usize)>,
    pub(super) next_tombstone: u64,
    pub(super) next_part: u64,
    pub(super) rank: u64,
    pub(super) frontier: i64,
    /// What was written and not deleted, with the rank of the write.
    pub(super) truth: BTreeMap<Key, u64>,
    /// Corrections, with the ranks of their writes, that went before a tier took them in.
    pub(super) lost: BTreeSet<(Key, u64)>,
    /// Nothing was dropped: tiers must equal what raw folds to.
    pub(super) whole: bool,
}

pub(super) fn class_of(policy: &Policy, series: usize) -> usize {
    series % (policy.rules.len() + 1)
}

pub(super) fn tier(nanos: i64) -> Tier {
    Tier::from_nanos(nanos).unwrap()
}

impl World {
    pub(super) fn new(policy: Policy, partition: i64) -> Self {
        Self {
            policy,
            partition,
            parts: Vec::new(),
            tombstones: Vec::new(),
            next_tombstone: 1,
            next_part: 1,
            rank: 0,
            frontier: 0,
            truth: BTreeMap::new(),
            lost: BTreeSet::new(),
            whole: true,
        }
    }

    pub(super) fn add(
        &mut self,
        (tier, rank, tombstones): (Tier, u64, u64),
        window: TimeRange,
        samples: BTreeMap<Key, u64>,
        records: BTreeMap<Key, BTreeMap<i64, u64>>,
    ) {
        let keys: BTreeSet<Key> = samples.keys().chain(records.keys()).copied().collect();
        let times: BTreeSet<i64> = keys.iter().map(|(_, time)| *time).collect();
        let series: BTreeSet<usize> = keys.iter().map(|(series, _)| *series).collect();
        let (Some(first), Some(last)) = (times.first(), times.last()) else { panic!("empty part") };
        let mut classes: Vec<usize> = series.iter().map(|s| class_of(&self.policy, *s)).collect();
        classes.sort_unstable();
        classes.dedup();
        let count = keys.len() as u64;
        let entry = PartEntry {
            id: self.next_part,
            rank,
            window,
            first: Timestamp(*first),
            last: Timestamp(*last),
            samples: count,
            series: series.len() as u32,
            segments: 1,
            bytes: 1000 * count,
            meta_crc: 0,
            store: 0,
            tier,
            layout: if tier.is_raw() { Layout::Samples } else { Layout::Records },
            tombstones,
        };
        assert!(window.covers(entry.first, entry.last) && rank <= self.rank, "{entry:?}");
        assert!(tier.floor(window.start) == window.start && tier.floor(window.end) == window.end);
        self.next_part += 1;
        let view = PartView { entry, classes, chunks: 1, purgeable: vec![], rewritten: false };
        self.parts.push(Model { view, samples, records });
    }

    /// Samples at the door, and a freeze of them all.
    pub(super) fn freeze(&mut self, samples: &[Key]) {
        self.rank += 1;
        let rank = self.rank;
        let mut parts: BTreeMap<(usize, (i64, i64)), BTreeMap<Key, u64>> = BTreeMap::new();
        for &(series, time) in samples {
            let class = class_of(&self.policy, series);
            // Odd classes are sparse: their windows are long.
            let length = self.partition * if class % 2 == 1 { 8 } else { 1 };
            let start = time.div_euclid(length) * length;
            parts.entry((class, (start, start + length))).or_default().insert((series, time), rank);
            self.truth.insert((series, time), rank);
            self.frontier = self.frontier.max(time);
        }
        for ((_, (start, end)), samples) in parts {
            let window = TimeRange::new(Timestamp(start), Timestamp(end));
            let tombstones = self.next_tombstone - 1;
            self.add((Tier::RAW, rank, tombstones), window, samples, BTreeMap::new());
        }
    }

    pub(super) fn delete(&mut self, series: usize, start: i64, length: i64) {
        let range = TimeRange::new(Timestamp(start), Timestamp(start + length));
        let (id, rank) = (self.next_tombstone, self.rank);
        self.next_tombstone += 1;
        let selector = String::new();
        self.tombstones.push((Tombstone { id, rank, range, selector }, series));
        self.truth.retain(|key, _| key.0 != series || !range.contains(Timestamp(key.1)));
    }

    pub(super) fn views(&self) -> Vec<PartView> {
        let purgeable = |part: &Model| {
            let holds = |wanted: usize| {
                part.samples.keys().chain(part.records.keys()).any(|(series, _)| *series == wanted)
            };
            let affects = |(tombstone, series): &&(Tombstone, usize)| {
                tombstone.may_affect(&part.view.entry) && holds(*series)
            };
            self.tombstones.iter().filter(affects).map(|(tombstone, _)| tombstone.id).collect()
        };
        self.parts
            .iter()
            .map(|part| PartView { purgeable: purgeable(part), ..part.view.clone() })
            .collect()
    }

    pub(super) fn plan<T>(&self, plan: impl FnOnce(&Situation<'_>) -> T) -> T {
        let tombstones: Vec<Tombstone> = self.tombstones.iter().map(|(t, _)| t.clone()).collect();
        plan(&Situation {
            everything: false,
            parts: &self.views(),
            tombstones: &tombstones,
            policy: &self.policy,
            partition_ns: self.partition,
            frontier: Timestamp(self.frontier),
            chunk_samples_max: 8192,
            input_bytes_max: 1 << 40,
        })
    }

    pub(super) fn next(&self) -> Option<Task> {
        self.plan(next_task)
    }

    /// Whether a delete hides this from readers of the part.
    pub(super) fn masked(&self, part: &Model, key: Key) -> bool {
        self.tombstones.iter().any(|(tombstone, series)| {
            tombstone.may_affect(&part.view.entry)
                && *series == key.0
                && tombstone.range.contains(Timestamp(key.1))
        })
    }

    pub(super) fn deleted(&self, series: usize, time: i64, rank: u64) -> bool {
        self.tombstones.iter().any(|(tombstone, of)| {
            *of == series && rank <= tombstone.rank && tombstone.range.contains(Timestamp(time))
        })
    }

    pub(super) fn in_order(&self, tier: Tier) -> Vec<&Model> {
        let mut parts: Vec<&Model> =
            self.parts.iter().filter(|part| part.view.entry.tier == tier).collect();
        parts.sort_by_key(|part| order_of_writes(&part.view));
        parts
    }

    /// What readers see of raw.
    pub(super) fn raw(&self) -> BTreeMap<Key, u64> {
        let mut found = BTreeMap::new();
        for part in self.in_order(Tier::RAW) {
            let seen = part.samples.iter().filter(|(key, _)| !self.masked(part, **key));
            found.extend(seen.map(|(key, rank)| (*key, *rank)));
        }
        found
    }

    /// A tier's records: of the highest rank that wrote each bucket.
    pub(super) fn records(&self, tier: Tier) -> BTreeMap<Key, BTreeMap<i64, u64>> {
        let parts = self.in_order(tier);
        let mut found = BTreeMap::new();
        for part in parts {
            found.extend(part.records.iter().map(|(key, set)| (*key, set.clone())));
        }
        found
    }

    /// What a reader finds of each bucket of the tier in the source and below it; with raw as the
    /// source, in all finer tiers.
    pub(super) fn fold(&self, source: Tier, tier: Tier) -> BTreeMap<Key, BTreeMap<i64, u64>> {
        let asked =
            |finer: &&Tier| if source.is_raw() { **finer < tier } else { **finer <= source };
        let asked: Vec<Tier> = self.policy.tiers.iter().filter(asked).rev().copied().collect();
        let asked: Vec<_> = asked.into_iter().map(|tier| (tier, self.coverage(tier))).collect();
        let holder = |series: usize, time: i64| {
            let point = TimeRange::new(Timestamp(time), Timestamp(time + 1));
            asked.iter().find(|(tier, _)| self.holds(*tier, series, point))
        };
        let mut folded: BTreeMap<Key, BTreeMap<i64, u64>> = BTreeMap::new();
        let mut add = |series: usize, time: i64, rank: u64| {
            let bucket = tier.floor(Timestamp(time)).0;
            folded.entry((series, bucket)).or_default().insert(time, rank);
        };
        for (finer, _) in &asked {
            for ((series, bucket), set) in self.records(*finer) {
                if holder(series, bucket).is_some_and(|(holder, _)| holder == finer) {
                    set.into_iter().for_each(|(time, rank)| add(series, time, rank));
                }
            }
        }
        for ((series, time), rank) in self.raw() {
            let taken_in = holder(series, time).and_then(|(_, held)| Self::covered(held, time));
            if taken_in.is_none_or(|taken_in| taken_in < rank) {
                add(series, time, rank);
            }
        }
        folded
    }

    /// Whether any part of the tier about the window has records of the series.
    pub(super) fn holds(&self, tier: Tier, series: usize, window: TimeRange) -> bool {
        let mut about = self
            .parts
            .iter()
            .filter(|part| part.view.entry.tier == tier && meets(part.view.entry.window, window));
        about.any(|part| part.records.keys().any(|(of, _)| *of == series))
    }

    pub(super) fn coverage(&self, tier: Tier) -> Coverage {
        let parts = self.parts.iter().map(|part| &part.view.entry).filter(|e| e.tier == tier);
        Coverage::of(parts.map(|entry| (entry.window, entry.rank)))
    }

    pub(super) fn covered(coverage: &Coverage, bucket: i64) -> Option<u64> {
        let point = TimeRange::new(Timestamp(bucket), Timestamp(bucket + 1));
        coverage.pieces(point).next().and_then(|(_, rank)| rank)
    }

    /// Buckets of the tier that its source touched since, or a delete.
    pub(super) fn dirty(&self, source: Tier, tier: Tier) -> BTreeSet<Key> {
        let coverage = self.coverage(tier);
        let mut dirty = BTreeSet::new();
        let sources = self
            .parts
            .iter()
            .filter(|part| part.view.entry.tier.is_raw() || part.view.entry.tier == source);
        for part in sources {
            for (series, time) in part.samples.keys().chain(part.records.keys()) {
                let bucket = tier.floor(Timestamp(*time)).0;
                let covered = Self::covered(&coverage, bucket);
                if covered.is_some_and(|covered| covered < part.view.entry.rank) {
                    dirty.insert((*series, bucket));
                }
            }
        }
        for part in self.in_order(tier) {
            for (series, bucket) in part.records.keys() {
                let end = Timestamp(bucket + tier.nanos() - 1);
                let hit = self.tombstones.iter().any(|(tombstone, of)| {
                    tombstone.may_affect(&part.view.entry)
                        && of == series
                        && tombstone.range.overlaps(Timestamp(*bucket), end)
                });
                if hit {
                    dirty.insert((*series, *bucket));
                }
            }
        }
        dirty
    }

    pub(super) fn tombstone(&self) -> u64 {
        self.next_tombstone - 1
    }

    pub(super) fn publish(
        &mut self,
        tier: Tier,
        rank: u64,
        window: TimeRange,
        kept: &[usize],
        mut records: BTreeMap<Key, BTreeMap<i64, u64>>,
        mut same: BTreeMap<Key, BTreeMap<i64, u64>>,
    ) {
        assert!(kept.is_sorted() && !kept.is_empty(), "{kept:?}");
        records.retain(|key, _| kept.contains(&class_of(&self.policy, key.0)));
        if records.is_empty() {
            let keys =
                self.parts.iter().flat_map(|part| part.samples.keys().chain(part.records.keys()));
            let of_kept = keys.filter(|key| kept.contains(&class_of(&self.policy, key.0)));
            let (series, _) = of_kept.min().unwrap();
            // Any record that is right will do: a part must not be empty.
            let key = (*series, window.start.0);
            records.insert(key, same.remove(&key).unwrap_or_default());
        }
        let mut classes: BTreeMap<usize, BTreeMap<Key, BTreeMap<i64, u64>>> = BTreeMap::new();
        for (key, set) in records {
            classes.entry(class_of(&self.policy, key.0)).or_default().insert(key, set);
        }
        for records in classes.into_values() {
            self.add((tier, rank, self.tombstone()), window, BTreeMap::new(), records);
        }
    }

    pub(super) fn run(&mut self, task: &Task) {
        match task {
            Task::Downsample { tier, source, window, rank, classes } => {
                assert!(!self.coverage(*tier).touches(*window), "built twice");
                let mut records = self.fold(*source, *tier);
                records.retain(|key, _| window.contains(Timestamp(key.1)));
                self.publish(*tier, *rank, *window, classes, records, BTreeMap::new());
            }
            Task::Patch { tier, source, window, rank, classes } => {
                let old = self.records(*tier);
                let mut folded = self.fold(*source, *tier);
                let dirty = self.dirty(*source, *tier);
                let within = |key: &Key| window.contains(Timestamp(key.1));
                let mut dirty: BTreeSet<Key> = dirty.into_iter().filter(within).collect();
                let own = self.parts.iter().filter(|part| {
                    part.view.entry.tier == *tier && meets(part.view.entry.window, *window)
                });
                let corrected: BTreeSet<usize> =
                    own.flat_map(|part| part.view.classes.iter().copied()).collect();
                let new =
                    |key: &Key| within(key) && !corrected.contains(&class_of(&self.policy, key.0));
                dirty.extend(folded.keys().copied().filter(new));
                let records = dirty.into_iter().map(|key| {
                    let mut new = folded.remove(&key).unwrap_or_default();
                    for (time, rank) in old.get(&key).into_iter().flatten() {
                        let deleted = self.deleted(key.0, *time, *rank);
                        if source.is_raw() && !deleted {
                            // What was dropped below stays known.
                            new.entry(*time).or_insert(*rank);
                        }
                        let gone = !deleted && !new.contains_key(time);
                        assert!(!gone, "{task:?} forgets {key:?} {time}");
                    }
                    (key, new)
                });
                let records = records.collect();
                self.publish(*tier, *rank, *window, classes, records, old);
            }
            Task::Merge { parts, .. } => self.merge(parts, 0),
            Task::Purge { parts, tombstones } => self.merge(parts, *tombstones.last().unwrap()),
        }
    }

    pub(super) fn merge(&mut self, ids: &[u64], tombstones: u64) {
        let inputs: Vec<Model> = ids
            .iter()
            .map(|id| self.parts.iter().find(|part| part.view.entry.id == *id).unwrap().clone())
            .collect();
        assert!(inputs.is_sorted_by_key(|part| order_of_writes(&part.view)));
        let (mut samples, mut records) = (BTreeMap::new(), BTreeMap::new());
        for part in &inputs {
            let seen = part.samples.iter().filter(|(key, _)| !self.masked(part, **key));
            samples.extend(seen.map(|(key, rank)| (*key, *rank)));
            records.extend(part.records.clone());
        }
        let entries = || inputs.iter().map(|part| part.view.entry);
        let rank = entries().map(|entry| entry.rank).max().unwrap();
        let left_out = entries().map(|entry| entry.tombstones).max().unwrap().max(tombstones);
        let start = entries().map(|entry| entry.window.start).min().unwrap();
        let end = entries().map(|entry| entry.window.end).max().unwrap();
        self.parts.retain(|part| !ids.contains(&part.view.entry.id));
        if !(samples.is_empty() && records.is_empty()) {
            let tier = inputs[0].view.entry.tier;
            self.add((tier, rank, left_out), TimeRange::new(start, end), samples, records);
        }
    }

    /// Drops at once, and notes what no tier will ever know.
    pub(super) fn drop_parts(&mut self, dropped: &[Dropped]) {
        let ids: BTreeSet<u64> = dropped.iter().map(|dropped| dropped.id).collect();
        for part in self.parts.iter().filter(|part| ids.contains(&part.view.entry.id)) {
            let samples = part.samples.iter().map(|(key, rank)| (*key, *rank));
            let recorded = part
                .records
                .iter()
                .flat_map(|(key, set)| set.iter().map(|(time, rank)| ((key.0, *time), *rank)));
            let coarser = self.policy.tiers.iter().filter(|tier| **tier > part.view.entry.tier);
            let coarser: Vec<_> = coarser.map(|tier| (*tier, self.coverage(*tier))).collect();
            for (key, rank) in samples.chain(recorded) {
                let stale = coarser.iter().any(|(tier, coverage)| {
                    let bucket = tier.floor(Timestamp(key.1)).0;
                    let covered = Self::covered(coverage, bucket);
                    covered.is_some_and(|covered| covered < part.view.entry.rank)
                        && self.parts.iter().any(|own| {
                            own.view.entry.tier == *tier
                                && own.view.entry.window.contains(Timestamp(bucket))
                                && own.records.contains_key(&(key.0, bucket))
                                && !ids.contains(&own.view.entry.id)
                        })
                });
                if stale {
                    self.lost.insert((key, rank));
                }
            }
        }
        self.whole &= ids.is_empty();
        self.parts.retain(|part| !ids.contains(&part.view.entry.id));
    }

    /// What the policy keeps no longer.
    pub(super) fn due(&self) -> Vec<Dropped> {
        due(&self.views(), &self.policy, Timestamp(self.frontier))
    }

    /// Drops what is too old, once the tiers have taken it in.
    pub(super) fn retain(&mut self) -> Result<(), TestCaseError> {
        let mut done: Vec<Task> = Vec::new();
        while let Some(task) = self.plan(|situation| last_call(situation, &self.due())) {
            prop_assert!(done.len() < 2000, "does not end: {:?}", &done[done.len() - 6..]);
            self.run(&task);
            done.push(task);
        }
        let (lost, gone) = (self.lost.len(), self.due());
        self.drop_parts(&gone);
        prop_assert_eq!(self.lost.len(), lost, "{:?}", self.lost);
        Ok(())
    }
}
