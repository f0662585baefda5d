//! The table of running queries: who looks on finds them there, and so does a crash.
//!
//! A slot is claimed by one bit of a word; threads begin at words of their own, so that they do not
//! meet. A slot's lock is its query's own: only whoever looks on shares it, for as long as a
//! reference is counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::query::Live;
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

    /// Enters a query; `None` where the table is full. Cost: one atomic operation and an
    /// uncontended lock, and a load for every 64 queries that run.
    pub(super) fn enter(&self, live: &Arc<Live>) -> Option<usize> {
        let first = thread_number();
        let words = self.words.len();
        let slot = (0..words).find_map(|step| {
            let at = (first + step) % words;
            let free = self.words.get(at)?.claim()?;
            Some(at * 64 + free as usize)
        })?;
        self.set(slot, Some(Arc::clone(live)));
        Some(slot)
    }

    /// Frees a slot that was entered.
    pub(super) fn leave(&self, slot: usize) {
        self.set(slot, None);
        if let Some(word) = self.words.get(slot / 64) {
            word.0.fetch_and(!(1 << (slot % 64)), Ordering::Release);
        }
    }

    fn set(&self, slot: usize, to: Option<Arc<Live>>) {
        if let Some(slot) = self.slots.get(slot) {
            let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            let before = std::mem::replace(&mut *slot, to);
            drop(slot);
            drop(before);
        }
    }

    /// Those that run at this moment, by id.
    pub(super) fn all(&self) -> Vec<Arc<Live>> {
        let mut found = Vec::new();
        for (word, slots) in self.words.iter().zip(self.slots.chunks(64)) {
            if word.0.load(Ordering::Acquire) == 0 {
                continue;
            }
            for slot in slots {
                let slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
                found.extend(slot.as_ref().map(Arc::clone));
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
