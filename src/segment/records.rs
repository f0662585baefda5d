//! Records: the aggregates of one series over successive buckets, as columns.

use crate::aggregate::{Partial, Sketch};

/// Aggregates of one series, ascending by start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Records {
    /// Where each bucket starts, strictly ascending; of a distribution as it was recorded, when.
    pub starts: Vec<i64>,
    /// As many: what each bucket holds. Where increase and resets are left out
    /// ([`RecordFields`](super::RecordFields)), `increase` is NaN and `resets` 0. `first` and
    /// `last` of a distribution have the value NaN, and its increase is its count.
    pub partials: Vec<Partial>,
    /// As many, or none where the records carry no sketches.
    pub sketches: Vec<Sketch>,
}

impl Records {
    /// Removes all records, keeps the memory.
    pub fn clear(&mut self) {
        self.starts.clear();
        self.partials.clear();
        self.sketches.clear();
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }
}
