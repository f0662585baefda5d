//! `Partial`: what is kept of a run of samples so that runs can be merged.

use crate::model::{Sample, is_stale};
use crate::time::Timestamp;

/// The mergeable aggregate of a run of samples of one series, or of several series pooled.
///
/// Stale markers are left out of everything. Any other NaN is a value: it counts, makes the sum
/// NaN, is passed over by `min` and `max` unless there is nothing else, and adds nothing to the
/// increase. An average exists only after the last merge: `sum / count`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Partial {
    /// Samples, stale markers left out.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The smallest, NaN only where all are.
    pub min: f64,
    /// The largest, NaN only where all are.
    pub max: f64,
    /// The earliest.
    pub first: Sample,
    /// The latest.
    pub last: Sample,
    /// Growth of a counter: rises, and after each reset the value it restarted at.
    pub increase: f64,
    /// Falls, each taken as a counter's reset.
    pub resets: u64,
}

impl Partial {
    /// The aggregate of nothing; `first` and `last` mean nothing while `count` is 0.
    pub const EMPTY: Self = {
        let none = Sample { timestamp: Timestamp(0), value: f64::NAN };
        Self {
            count: 0,
            sum: 0.0,
            min: f64::NAN,
            max: f64::NAN,
            first: none,
            last: none,
            increase: 0.0,
            resets: 0,
        }
    };

    /// The aggregate of a run of samples: `timestamps` and `values` of equal length, timestamps
    /// strictly ascending. One pass.
    #[must_use]
    pub fn of(timestamps: &[i64], values: &[f64]) -> Self {
        debug_assert_eq!(timestamps.len(), values.len());
        let mut partial = Self::EMPTY;
        for (&timestamp, &value) in timestamps.iter().zip(values) {
            partial.push(Timestamp(timestamp), value);
        }
        partial
    }

    /// Adds a sample later than all before.
    #[inline]
    pub fn push(&mut self, timestamp: Timestamp, value: f64) {
        if is_stale(value) {
            return;
        }
        let sample = Sample { timestamp, value };
        if self.count == 0 {
            self.first = sample;
        } else {
            self.step(value);
        }
        self.last = sample;
        self.count += 1;
        self.sum += value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// Counts the step from `last` to the next value as growth or reset.
    #[inline]
    fn step(&mut self, next: f64) {
        if next >= self.last.value {
            let rise = next - self.last.value;
            if !rise.is_nan() {
                self.increase += rise;
            }
        } else if next < self.last.value {
            self.resets += 1;
            self.increase += next;
        }
    }

    /// Appends the aggregate of a *later* run of the same series.
    pub fn append(&mut self, later: &Self) {
        if later.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *later;
            return;
        }
        self.step(later.first.value);
        self.last = later.last;
        self.add(later);
    }

    /// Pools the aggregate of *another* series over the same window: increases add up, the
    /// earliest and latest samples of either are kept.
    pub fn pool(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *other;
            return;
        }
        if other.first.timestamp < self.first.timestamp {
            self.first = other.first;
        }
        if other.last.timestamp >= self.last.timestamp {
            self.last = other.last;
        }
        self.add(other);
    }

    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.increase += other.increase;
        self.resets += other.resets;
    }
}

impl Default for Partial {
    fn default() -> Self {
        Self::EMPTY
    }
}
