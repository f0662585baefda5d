//! The table of running queries: who looks on finds them there, and so does a crash.
//!
//! A slot is claimed by one bit of a word; threads begin at words of their own, so that they do not
//! meet. A slot's lock is its query's own but for whoever looks on, and a query never waits for it:
//! where somebody looks at a slot, one that begins takes another, and one that ends leaves its
//! reference behind, for the next that enters to replace. Queries whose end was told are not listed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::query::Live;
use super::try_lock;
use crate::engine::thread_number;

/// On a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Word(AtomicU64);

/// Slots, 64 a word.
#[derive(Debug)]
pub(super) struct RunningTable {
    words: Box<[Word]>,
    slots: Box<[Mutex<Option<Arc<Live>>>]>,
}

impl RunningTable {
    /// For at least `max` queries.
    pub(super) fn new(max: usize) -> Self {
        let words = max.div_ceil(64);
        Self {
            words: (0..words).map(|_| Word::default()).collect(),
            slots: (0..words * 64).map(|_| Mutex::new(None)).collect(),
        }
    }

    /// Enters a query; `None` where the table is full. Cost: three atomic operations, and a load for
    /// every 64 queries that run.
    pub(super) fn enter(&self, live: &Arc<Live>) -> Option<usize> {
        let first = thread_number();
        let words = self.words.len();
        (0..words).find_map(|step| {
            let at = (first + step) % words;
            let slot = at * 64 + self.words.get(at)?.claim()? as usize;
            let entered = self.set(slot, Some(Arc::clone(live)));
            if !entered {
                self.free(slot);
            }
            entered.then_some(slot)
        })
    }

    /// Frees the slot of a query whose end was told.
    pub(super) fn leave(&self, slot: usize) {
        // Where somebody looks, what stands there stays until the slot is entered again.
        self.set(slot, None);
        self.free(slot);
    }

    fn free(&self, slot: usize) {
        if let Some(word) = self.words.get(slot / 64) {
            word.0.fetch_and(!(1 << (slot % 64)), Ordering::Release);
        }
    }

    /// Whether nobody looked at the slot.
    fn set(&self, slot: usize, to: Option<Arc<Live>>) -> bool {
        let Some(mut slot) = self.slots.get(slot).and_then(try_lock) else { return false };
        let before = std::mem::replace(&mut *slot, to);
        drop(slot);
        drop(before);
        true
    }

    /// Those that run at this moment, by id: their end was not told.
    pub(super) fn all(&self) -> Vec<Arc<Live>> {
        let mut found = Vec::new();
        for (word, slots) in self.words.iter().zip(self.slots.chunks(64)) {
            if word.0.load(Ordering::Acquire) == 0 {
                continue;
            }
            for slot in slots {
                let slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
                let runs = |live: &&Arc<Live>| !live.told.load(Ordering::Acquire);
                found.extend(slot.as_ref().filter(runs).map(Arc::clone));
            }
        }
        found.sort_by_key(|live| live.id);
        found
    }

    /// How many run.
    pub(super) fn len(&self) -> usize {
        let ones = |word: &Word| word.0.load(Ordering::Relaxed).count_ones() as usize;
        self.words.iter().map(ones).sum()
    }
}

impl Word {
    /// Sets a bit that was not set.
    fn claim(&self) -> Option<u32> {
        let mut found = self.0.load(Ordering::Relaxed);
        loop {
            let free = found.trailing_ones();
            if free == u64::BITS {
                return None;
            }
            let (next, order) = (found | 1 << free, Ordering::Relaxed);
            match self.0.compare_exchange_weak(found, next, Ordering::Acquire, order) {
                Ok(_) => return Some(free),
                Err(changed) => found = changed,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::fingerprint::{DoubleQuotes, Fingerprint};
    use crate::monitor::query::QueryId;
    use crate::time::Timestamp;

    fn live(id: u64) -> Arc<Live> {
        let of = (Fingerprint::new("select 1", DoubleQuotes::Name), None);
        Arc::new(Live::new(QueryId(id), of, ("", ""), Timestamp(0)))
    }

    fn listed(table: &RunningTable) -> Vec<u64> {
        table.all().iter().map(|live| live.id.0).collect()
    }

    fn end(table: &RunningTable, live: &Live, slot: usize) {
        live.told.store(true, Ordering::Release);
        table.leave(slot);
    }

    /// By a thread that looks at the slot, and is suspended.
    #[test]
    fn a_query_waits_for_nobody_who_looks() {
        let table = RunningTable::new(128);
        let queries = [1, 2, 3].map(live);
        let [first, second, third] = queries.each_ref().map(|live| table.enter(live).unwrap());
        let looked_at = table.slots[second].lock().unwrap();
        end(&table, &queries[1], second);
        assert_eq!(table.len(), 2);
        // The slot that is looked at is the lowest that is free of its word.
        let other = live(4);
        let slot = table.enter(&other).unwrap();
        assert_ne!(slot / 64, second / 64);
        drop(looked_at);
        assert_eq!(listed(&table), [1, 3, 4]);
        assert_eq!(Arc::strong_count(&queries[1]), 2);
        let next = live(5);
        assert_eq!(table.enter(&next), Some(second));
        assert_eq!(Arc::strong_count(&queries[1]), 1);
        assert_eq!(listed(&table), [1, 3, 4, 5]);
        for (live, slot) in [(&queries[0], first), (&queries[2], third), (&other, slot)] {
            end(&table, live, slot);
        }
        assert_eq!((listed(&table), table.len()), (vec![5], 1));
    }

    #[test]
    fn a_full_table_takes_nobody() {
        let table = RunningTable::new(64);
        let queries: Vec<_> = (0..65).map(live).collect();
        let slots: Vec<_> = queries.iter().map(|live| table.enter(live)).collect();
        assert_eq!(slots.iter().filter(|slot| slot.is_none()).count(), 1);
        assert_eq!((table.all().len(), table.len()), (64, 64));
    }
}
