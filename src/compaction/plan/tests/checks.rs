//! What must hold of the model, whatever came.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::*;
use super::world::{Key, World};

impl World {
    /// Buckets of coarser tiers that some part makes dirty.
    pub(super) fn all_dirty(&self) -> BTreeSet<(Tier, Key)> {
        let mut all = BTreeSet::new();
        for tier in self.policy.tiers.iter().copied() {
            let finer = self.policy.tiers.iter().copied().filter(|finer| *finer < tier);
            for source in finer.chain([Tier::RAW]) {
                let coverage = self.coverage(tier);
                for part in self.in_order(source) {
                    for (series, time) in part.samples.keys().chain(part.records.keys()) {
                        let bucket = tier.floor(Timestamp(*time)).0;
                        let covered = Self::covered(&coverage, bucket);
                        if covered.is_some_and(|covered| covered < part.view.entry.rank) {
                            all.insert((tier, (*series, bucket)));
                        }
                    }
                }
            }
        }
        all
    }

    /// Everything there is to do. Checks that it ends, and that merging makes nothing dirty.
    pub(super) fn settle(&mut self) -> Result<(), TestCaseError> {
        let bound = 200 + 20 * self.parts.len() + (self.frontier / self.partition) as usize * 20;
        let mut done: Vec<Task> = Vec::new();
        while let Some(task) = self.next() {
            prop_assert!(done.len() < bound, "does not end: {:?}", &done[done.len() - 6..]);
            let before = self.all_dirty();
            let merge = matches!(task, Task::Merge { .. });
            self.run(&task);
            if merge {
                let after = self.all_dirty();
                prop_assert!(after.is_subset(&before), "{task:?} makes dirty {after:?}");
            }
            done.push(task);
        }
        self.forget();
        Ok(())
    }

    pub(super) fn forget(&mut self) {
        let tombstones: Vec<Tombstone> = self.tombstones.iter().map(|(t, _)| t.clone()).collect();
        let finished = finished_tombstones(&self.views(), &tombstones);
        self.tombstones.retain(|(tombstone, _)| !finished.contains(&tombstone.id));
    }

    /// What readers see is what was written; with drops it is that or nothing.
    pub(super) fn check(&self) -> Result<(), TestCaseError> {
        prop_assert!(self.tombstones.is_empty(), "{:?}", self.tombstones);
        let raw = self.raw();
        if self.whole {
            prop_assert_eq!(&raw, &self.truth);
        }
        for (key, rank) in &raw {
            prop_assert_eq!(Some(rank), self.truth.get(key), "an old value of {:?} is back", key);
        }
        for tier in self.policy.tiers.iter().copied() {
            let coverage = self.coverage(tier);
            let records = self.records(tier);
            let folded = self.fold(Tier::RAW, tier);
            for (key, set) in &records {
                for (time, rank) in set {
                    let sample = (key.0, *time);
                    let truth = self.truth.get(&sample);
                    let lost = truth.is_some_and(|truth| self.lost.contains(&(sample, *truth)));
                    prop_assert!(lost || truth == Some(rank), "{tier} {key:?} {truth:?} {rank}");
                }
            }
            // What a reader gets of a record, and would get of raw.
            for part in self.in_order(Tier::RAW) {
                let seen = part.samples.keys().filter(|key| raw.get(key) == part.samples.get(key));
                for &(series, time) in seen {
                    let bucket = tier.floor(Timestamp(time));
                    let point = TimeRange::new(bucket, Timestamp(bucket.0 + 1));
                    let covered = Self::covered(&coverage, bucket.0);
                    if self.holds(tier, series, point) && covered >= Some(part.view.entry.rank) {
                        let record = records.get(&(series, bucket.0));
                        let known = record.is_some_and(|set| set.contains_key(&time));
                        prop_assert!(known, "{tier} lacks {series} {time}");
                    }
                }
            }
            let length = cells::stretch_ns(&self.policy.tiers, tier, self.partition);
            let settled = tier.floor(Timestamp(self.frontier - 30));
            for (key, set) in folded {
                let built = Self::covered(&coverage, key.1).is_some();
                let over = cells::cell(Timestamp(key.1), length).end <= settled;
                if self.whole {
                    prop_assert_eq!(built, over, "{} {:?}", tier, key);
                }
                if built && self.whole {
                    prop_assert_eq!(records.get(&key), Some(&set), "{} {:?}", tier, key);
                }
            }
        }
        if self.whole {
            prop_assert_eq!(self.all_dirty(), BTreeSet::new());
        }
        Ok(())
    }
}
