//! What the queries of one engine share: threads and memory. How the tasks of one query are dealt
//! to threads.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::{Scope, ThreadPool};

use crate::error::{Error, Result};

/// What a thread does before it asks others to help, in samples decoded: some 50 µs, about what
/// waking another thread and waiting for it may cost.
const ALONE_SAMPLES: u64 = 1 << 15;

/// What a query may use beside what it is told.
#[derive(Debug, Clone, Copy, Default)]
pub struct Resources<'a> {
    /// The threads that help the caller's; those of the ambient pool where there is none.
    pub pool: Option<&'a ThreadPool>,
    /// Memory shared with other queries, if it is.
    pub memory: Option<&'a MemoryBudget>,
}

/// Bytes that all queries of an engine may hold together.
#[derive(Debug)]
pub struct MemoryBudget {
    bytes_max: u64,
    bytes: AtomicU64,
}

impl MemoryBudget {
    /// Nothing of it is used.
    #[must_use]
    pub const fn new(bytes_max: u64) -> Self {
        Self { bytes_max, bytes: AtomicU64::new(0) }
    }

    /// What queries hold at this moment.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// # Errors
    /// [`Error::Limit`], and nothing reserved, where it would be too much.
    pub(crate) fn reserve(&self, bytes: u64) -> Result<()> {
        let more = |held: u64| held.checked_add(bytes).filter(|held| *held <= self.bytes_max);
        let reserved = self.bytes.try_update(Ordering::Relaxed, Ordering::Relaxed, more);
        let (what, limit) = ("bytes of memory of all queries", self.bytes_max);
        reserved.map(drop).map_err(|_| Error::Limit { what, limit })
    }

    pub(crate) fn release(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Resources<'_> {
    fn threads(&self) -> usize {
        self.pool.map_or_else(rayon::current_num_threads, ThreadPool::current_num_threads)
    }

    fn scope<'s, T>(&self, run: impl FnOnce(&Scope<'s>) -> T) -> T {
        match self.pool {
            Some(pool) => pool.in_place_scope(run),
            None => rayon::in_place_scope(run),
        }
    }

    /// The results of `step` for 0 to `count`, in that order, whichever threads they come from.
    /// The caller's thread works as well, and alone where that is soon done: `begin` makes what
    /// one thread keeps between steps, `samples` tells from it how much it did.
    ///
    /// # Errors
    /// The error of the lowest number among those that came; the rest is given up.
    pub(crate) fn deal<W, T: Send>(
        &self,
        count: usize,
        begin: impl Fn() -> W + Sync,
        step: impl Fn(&mut W, usize) -> Result<T> + Sync,
        samples: impl Fn(&W) -> u64,
    ) -> Result<Vec<T>> {
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        // Some steps, until there are no more or `until` says so.
        let work =
            |worker: &mut W, out: &mut Vec<(usize, Result<T>)>, until: &dyn Fn(&W) -> bool| {
                while !failed.load(Ordering::Relaxed) && !until(worker) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    let result = step(worker, number);
                    if result.is_err() {
                        failed.store(true, Ordering::Relaxed);
                    }
                    out.push((number, result));
                }
            };
        let mut own = Vec::with_capacity(count.min(1024));
        let mut worker = begin();
        work(&mut worker, &mut own, &|worker| samples(worker) >= ALONE_SAMPLES);
        let left = count.saturating_sub(next.load(Ordering::Relaxed));
        let helpers = self.threads().saturating_sub(1).min(left);
        let theirs = Mutex::new(Vec::new());
        if helpers == 0 {
            work(&mut worker, &mut own, &|_| false);
        } else {
            self.scope(|scope| {
                for _ in 0..helpers {
                    scope.spawn(|_| {
                        let mut done = Vec::new();
                        work(&mut begin(), &mut done, &|_| false);
                        theirs.lock().unwrap_or_else(PoisonError::into_inner).append(&mut done);
                    });
                }
                work(&mut worker, &mut own, &|_| false);
            });
        }
        let mut all = own;
        all.append(&mut theirs.into_inner().unwrap_or_else(PoisonError::into_inner));
        all.sort_unstable_by_key(|(number, _)| *number);
        all.into_iter().map(|(_, result)| result).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(threads: usize, samples: u64, fails: usize) -> Result<Vec<usize>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let resources = Resources { pool: Some(&pool), memory: None };
        let step = |done: &mut u64, number: usize| {
            *done += samples;
            if number == fails { Err(Error::Cancelled) } else { Ok(number) }
        };
        resources.deal(1000, || 0, step, |done| *done)
    }

    #[test]
    fn results_come_in_order_from_any_number_of_threads() {
        for (threads, samples) in [(1, 1), (2, 1000), (4, 1 << 20)] {
            let all = numbers(threads, samples, usize::MAX).unwrap();
            assert!(all.into_iter().eq(0..1000));
        }
    }

    #[test]
    fn an_error_ends_it() {
        for threads in [1, 3] {
            assert!(matches!(numbers(threads, 1 << 20, 500), Err(Error::Cancelled)));
        }
    }

    #[test]
    fn the_budget_is_never_passed() {
        let budget = MemoryBudget::new(100);
        budget.reserve(60).unwrap();
        assert!(matches!(budget.reserve(41), Err(Error::Limit { limit: 100, .. })));
        assert!(budget.reserve(u64::MAX).is_err());
        budget.reserve(40).unwrap();
        budget.release(100);
        assert_eq!(budget.used_bytes(), 0);
    }
}
