//! What a running query has cost so far, and when it must stop.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::request::{CancelToken, Limits};
use crate::error::{Error, Result};
use crate::time::{Clock, SystemClock};

/// Shared by all tasks of one query. The count of samples does not depend on which task adds
/// first; what memory is held at the same time does, so near its limit more threads may be
/// refused what fewer are not.
#[derive(Debug)]
pub(crate) struct Meter {
    limits: Limits,
    deadline: Option<Instant>,
    cancel: CancelToken,
    memory_bytes: AtomicU64,
    samples_decoded: AtomicU64,
}

impl Meter {
    /// # Errors
    /// [`Error::Limit`] where `series` are too many.
    pub(crate) fn new(
        limits: Limits,
        deadline: Option<Instant>,
        cancel: &CancelToken,
        series: usize,
    ) -> Result<Self> {
        if series as u64 > limits.series_max {
            return Err(Error::Limit { what: "series", limit: limits.series_max });
        }
        Ok(Self {
            limits,
            deadline,
            cancel: cancel.clone(),
            memory_bytes: AtomicU64::new(0),
            samples_decoded: AtomicU64::new(0),
        })
    }

    /// Asked at least once a chunk.
    ///
    /// # Errors
    /// [`Error::Cancelled`], [`Error::Deadline`].
    pub(crate) fn check(&self) -> Result<()> {
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let Some(deadline) = self.deadline else { return Ok(()) };
        let now = Instant::now();
        if now < deadline {
            return Ok(());
        }
        let late = now.duration_since(deadline);
        Err(Error::Deadline { deadline: SystemClock.now().saturating_sub(late) })
    }

    /// Counts a chunk before it is decoded.
    ///
    /// # Errors
    /// [`Error::Limit`] where its samples would be too many.
    pub(crate) fn decode(&self, samples: u32) -> Result<()> {
        let samples = u64::from(samples);
        let before = self.samples_decoded.fetch_add(samples, Ordering::Relaxed);
        if before.saturating_add(samples) > self.limits.samples_max {
            return Err(Error::Limit { what: "samples", limit: self.limits.samples_max });
        }
        Ok(())
    }

    /// Counts memory before it is allocated.
    ///
    /// # Errors
    /// [`Error::Limit`] where it would be too much.
    pub(crate) fn reserve(&self, bytes: u64) -> Result<()> {
        // Saturating, so that an absurd request cannot wrap around into a modest one.
        let before = self
            .memory_bytes
            .update(Ordering::Relaxed, Ordering::Relaxed, |held| held.saturating_add(bytes));
        if before.saturating_add(bytes) > self.limits.memory_bytes_max {
            let limit = self.limits.memory_bytes_max;
            return Err(Error::Limit { what: "bytes of memory", limit });
        }
        Ok(())
    }

    /// Gives back what was reserved.
    pub(crate) fn release(&self, bytes: u64) {
        self.memory_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}
