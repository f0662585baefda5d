//! The latch: after the first failed write or sync the engine takes no more writes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::error::{Error, ReadOnlyCause, Result};

/// Whether writes are taken, and if not, why. Reads never ask.
#[derive(Debug, Default)]
pub(super) struct Health {
    latched: OnceLock<ReadOnlyCause>,
    closed: AtomicBool,
}

impl Health {
    /// An engine that never takes writes.
    pub(super) fn read_only() -> Self {
        let health = Self::default();
        health.latched.get_or_init(|| ReadOnlyCause::Opened);
        health
    }

    /// Latches the engine read-only; the first cause stays.
    pub(super) fn latch(&self, cause: Error) {
        self.latched.get_or_init(|| ReadOnlyCause::Failed(Arc::new(cause)));
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    pub(super) fn cause(&self) -> Option<&ReadOnlyCause> {
        self.latched.get()
    }

    /// For the writers' side.
    ///
    /// # Errors
    /// [`Error::Closed`] or [`Error::ReadOnly`] where no writes are taken.
    pub(super) fn check_writable(&self) -> Result<()> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(Error::Closed);
        }
        self.check_latch()
    }

    /// For the engine's own threads, which still finish what was sent before the engine closed.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] where a failure forbids writes.
    pub(super) fn check_latch(&self) -> Result<()> {
        match self.latched.get() {
            Some(cause) => Err(Error::ReadOnly { cause: cause.clone() }),
            None => Ok(()),
        }
    }
}
