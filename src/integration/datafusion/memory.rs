//! How much memory one query reserves, of a pool that all share.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::error::Result;
use datafusion::execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};

/// Passes everything on to the pool that is shared, and notes the most that this query held of it.
#[derive(Debug)]
pub(super) struct PeakPool {
    shared: Arc<dyn MemoryPool>,
    held_bytes: AtomicUsize,
    peak_bytes: AtomicUsize,
}

impl PeakPool {
    pub(super) fn new(shared: Arc<dyn MemoryPool>) -> Self {
        Self { shared, held_bytes: AtomicUsize::new(0), peak_bytes: AtomicUsize::new(0) }
    }

    pub(super) fn peak_bytes(&self) -> u64 {
        self.peak_bytes.load(Ordering::Relaxed) as u64
    }

    fn note(&self, additional: usize) {
        let held = self.held_bytes.fetch_add(additional, Ordering::Relaxed) + additional;
        self.peak_bytes.fetch_max(held, Ordering::Relaxed);
    }
}

impl fmt::Display for PeakPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "monitored({})", self.shared)
    }
}

impl MemoryPool for PeakPool {
    fn name(&self) -> &str {
        self.shared.name()
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.shared.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.shared.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.shared.grow(reservation, additional);
        self.note(additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.shared.shrink(reservation, shrink);
        self.held_bytes.fetch_sub(shrink, Ordering::Relaxed);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.shared.try_grow(reservation, additional)?;
        self.note(additional);
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.shared.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.shared.memory_limit()
    }
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    use super::*;

    #[test]
    fn the_peak_is_the_querys_and_the_limit_is_the_pools() {
        let shared: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1000));
        let other = MemoryConsumer::new("other").register(&shared);
        other.try_grow(600).unwrap();
        let peak = Arc::new(PeakPool::new(Arc::clone(&shared)));
        let pool: Arc<dyn MemoryPool> = Arc::clone(&peak) as _;
        let own = MemoryConsumer::new("own").register(&pool);
        own.try_grow(300).unwrap();
        own.shrink(200);
        own.try_grow(150).unwrap();
        assert!(own.try_grow(200).is_err(), "the shared limit");
        assert_eq!((peak.peak_bytes(), pool.reserved()), (300, 850));
        drop(own);
        assert_eq!(shared.reserved(), 600);
    }
}
