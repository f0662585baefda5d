//! Stretches of a query's calls, where a call was waited for in pieces.
//!
//! A call that is read as a stream is under way from its first request to its last row, but the
//! query waits for it only while it asks for more. Owns: the pieces, as many as there is room for.
//! Calls that were never paused leave none: theirs is the time between their ends.

use std::sync::{Mutex, PoisonError};

use super::attribution::Call;
use super::try_lock;

/// Pieces of one query. 4,096, 96 KiB: beyond it the last piece of a source takes in the next one
/// with the gap between them, so that the engine's time comes out too small, never too large.
const STRETCHES_MAX: usize = 4096;
/// Pieces nearer to each other than this are one: the gap is the cost of looking at the clock.
const NEAR_NANOS: u64 = 10_000;
/// Attempts at the lock, some microseconds: far longer than a thread that runs holds it.
const ATTEMPTS: usize = 100;

/// See the module. Times are ns since the query's beginning.
#[derive(Debug, Default)]
pub(super) struct Stretches(Mutex<Vec<Call<u32>>>);

impl Stretches {
    /// The source was waited for from `began` to `ended`. Says whether that was taken in: not where
    /// a thread that looks at the pieces, or adds one, was suspended in it. Cost: a lock that the
    /// query's own threads share, and wait for no longer than a few microseconds.
    #[must_use]
    pub(super) fn add(&self, source: u32, began: u64, ended: u64) -> bool {
        let attempt = |_| {
            try_lock(&self.0).or_else(|| {
                std::hint::spin_loop();
                None
            })
        };
        let Some(mut all) = (0..ATTEMPTS).find_map(attempt) else { return false };
        let full = all.len() >= STRETCHES_MAX;
        let last = all.iter_mut().rev().find(|known| known.source == source);
        match last {
            Some(last) if full || (last.began <= began && began <= last.ended + NEAR_NANOS) => {
                last.ended = last.ended.max(ended);
                last.began = last.began.min(began);
            }
            _ if full => {}
            _ => all.push(Call { source, began, ended }),
        }
        true
    }

    /// The pieces so far.
    pub(super) fn all(&self) -> Vec<Call<u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_pieces_are_one_and_far_ones_are_bounded() {
        let stretches = Stretches::default();
        let add = |source, began, ended| assert!(stretches.add(source, began, ended));
        add(1, 0, 100);
        add(2, 50, 60);
        add(1, 100 + NEAR_NANOS, 20_000);
        let all = stretches.all();
        let of = |number: usize| (all[number].source, all[number].began, all[number].ended);
        assert_eq!((all.len(), of(0), of(1)), (2, (1, 0, 20_000), (2, 50, 60)));
        for number in 0..2 * STRETCHES_MAX as u64 {
            add(1, number * 1_000_000, number * 1_000_000 + 5);
        }
        let all = stretches.all();
        assert_eq!(all.len(), STRETCHES_MAX);
        let end = (2 * STRETCHES_MAX as u64 - 1) * 1_000_000 + 5;
        assert_eq!(all.iter().map(|piece| piece.ended).max(), Some(end));
    }

    #[test]
    fn nobody_waits_for_a_thread_that_is_suspended() {
        let stretches = Stretches::default();
        let held = stretches.0.lock().unwrap();
        assert!(!stretches.add(1, 0, 100));
        drop(held);
        assert!(stretches.add(1, 0, 100));
    }
}
