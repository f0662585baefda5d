//! What a running query has cost so far, and when it must stop.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::request::{CancelToken, Limits};
use super::resources::MemoryBudget;
use crate::error::{Error, Result};
use crate::time::{Clock, SystemClock};

/// Shared by all tasks of one query. The count of samples does not depend on which task adds
/// first; what memory is held at the same time does, so near its limit more threads may be
/// refused what fewer are not.
#[derive(Debug)]
pub(crate) struct Meter<'a> {
    limits: Limits,
    deadline: Option<Instant>,
    cancel: CancelToken,
    /// What it shares with other queries.
    shared: Option<&'a MemoryBudget>,
    memory_bytes: AtomicU64,
    samples_decoded: AtomicU64,
}

impl<'a> Meter<'a> {
    /// # Errors
    /// [`Error::Limit`] where `series` are too many.
    pub(crate) fn new(
        limits: Limits,
        deadline: Option<Instant>,
        cancel: &CancelToken,
        shared: Option<&'a MemoryBudget>,
        series: usize,
    ) -> Result<Self> {
        if series as u64 > limits.series_max {
            return Err(Error::Limit { what: "series", limit: limits.series_max });
        }
        Ok(Self {
            limits,
            deadline,
            cancel: cancel.clone(),
            shared,
            memory_bytes: AtomicU64::new(0),
            samples_decoded: AtomicU64::new(0),
        })
    }

    /// Asked at least once a chunk.
    ///
    /// # Errors
    /// [`Error::Cancelled`], [`Error::Deadline`].
    pub(crate) fn check(&self) -> Result<()> {
        check(self.deadline, &self.cancel)
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
        let limit = self.limits.memory_bytes_max;
        let more = |held: u64| held.checked_add(bytes).filter(|held| *held <= limit);
        self.memory_bytes
            .try_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .map_err(|_| Error::Limit { what: "bytes of memory", limit })?;
        self.shared.map_or(Ok(()), |shared| shared.reserve(bytes)).inspect_err(|_| {
            self.memory_bytes.fetch_sub(bytes, Ordering::Relaxed);
        })
    }

    /// Gives back what was reserved.
    pub(crate) fn release(&self, bytes: u64) {
        self.memory_bytes.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(shared) = self.shared {
            shared.release(bytes);
        }
    }
}

/// Whether a query may go on.
///
/// # Errors
/// [`Error::Cancelled`], [`Error::Deadline`].
pub(crate) fn check(deadline: Option<Instant>, cancel: &CancelToken) -> Result<()> {
    if cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    let Some(deadline) = deadline else { return Ok(()) };
    let now = Instant::now();
    if now < deadline {
        return Ok(());
    }
    let late = now.duration_since(deadline);
    Err(Error::Deadline { deadline: SystemClock.now().saturating_sub(late) })
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared {
            shared.release(*self.memory_bytes.get_mut());
        }
    }
}
