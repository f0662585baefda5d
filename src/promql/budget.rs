//! What an evaluation may cost beside reading: memory of columns, and time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::Options;
use super::labels::Labels;
use super::value::{Column, Run, Value};
use crate::error::{Error, Result};
use crate::query::{self, CancelToken, SampleRequest};
use crate::time::TimeRange;

/// Values folded between two looks at the clock: well below 10 ms of work.
pub(super) const VALUES_PER_CHECK: usize = 1 << 16;

/// Shared by all tasks of one evaluation.
///
/// Whoever makes a value that stands reserves its bytes before; whoever has consumed one releases
/// them. What an error leaves reserved does not matter: it ends the evaluation.
#[derive(Debug)]
pub(super) struct Budget {
    bytes_max: u64,
    bytes: AtomicU64,
    deadline: Option<Instant>,
    cancel: CancelToken,
}

impl Budget {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            bytes_max: options.limits.memory_bytes_max,
            bytes: AtomicU64::new(0),
            deadline: options.deadline,
            cancel: options.cancel.clone(),
        }
    }

    /// Asked at least once a column.
    ///
    /// # Errors
    /// [`Error::Cancelled`], [`Error::Deadline`].
    pub(super) fn check(&self) -> Result<()> {
        query::check(self.deadline, &self.cancel)
    }

    /// Counts memory before it is allocated.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub(super) fn reserve(&self, bytes: u64) -> Result<()> {
        // Saturating, so that an absurd query cannot wrap around into a modest one.
        let before = self
            .bytes
            .update(Ordering::Relaxed, Ordering::Relaxed, |held| held.saturating_add(bytes));
        if before.saturating_add(bytes) > self.bytes_max {
            return Err(Error::Limit { what: "bytes of memory", limit: self.bytes_max });
        }
        Ok(())
    }

    /// Gives back what was reserved.
    pub(super) fn release(&self, bytes: u64) {
        let rest = |held: u64| held.saturating_sub(bytes);
        self.bytes.update(Ordering::Relaxed, Ordering::Relaxed, rest);
    }

    /// A request for raw samples under the same limits.
    pub(super) fn request(&self, options: &Options, range: TimeRange) -> SampleRequest {
        let (deadline, cancel) = (self.deadline, self.cancel.clone());
        SampleRequest { range, limits: options.limits, deadline, cancel }
    }
}

/// Bytes of so many values.
pub(super) fn values_bytes(values: usize) -> u64 {
    (values as u64).saturating_mul(8)
}

/// Bytes that a value stands on.
pub(super) fn value_bytes(value: &Value) -> u64 {
    match value {
        Value::Scalar(values) => values_bytes(values.len()),
        Value::Text(text) => text.len() as u64,
        Value::Vector(columns) => columns
            .iter()
            .map(|Column { labels, values }| labels_bytes(labels) + values_bytes(values.len()))
            .sum(),
        Value::Matrix(runs) => runs
            .iter()
            .map(|Run { labels, values, .. }| labels_bytes(labels) + 2 * values_bytes(values.len()))
            .sum(),
    }
}

/// Bytes of a set of labels, roughly.
pub(super) fn labels_bytes(labels: &Labels) -> u64 {
    64 + labels.iter().map(|(name, value)| (name.len() + value.len() + 8) as u64).sum::<u64>()
}
