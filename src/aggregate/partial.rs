//! `Partial`: what is kept of a run of samples so that runs can be merged.

use super::accumulator::{Accumulator, Needs};
use super::lanes;
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
    /// strictly ascending. Sums are taken in lanes, so they may differ from [`push`](Self::push)
    /// one by one in their rounding.
    #[must_use]
    pub fn of(timestamps: &[i64], values: &[f64]) -> Self {
        Accumulator::of(timestamps, values, Needs::PARTIAL).partial
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
        let (growth, fell) = lanes::step(self.last.value, next);
        self.increase += growth;
        self.resets += u64::from(fell);
    }

    /// Counts the step to `first` from `before`, the value of the same series' last sample before
    /// this run. Does nothing to the aggregate of nothing.
    pub fn follow(&mut self, before: f64) {
        if self.count > 0 {
            let (growth, fell) = lanes::step(before, self.first.value);
            self.increase += growth;
            self.resets += u64::from(fell);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_appended_are_the_whole_run() {
        let values: Vec<f64> = (0..100).map(|i| f64::from(i * 37 % 50)).collect();
        let times: Vec<i64> = (0..100).collect();
        let whole = Partial::of(&times, &values);
        let mut pushed = Partial::EMPTY;
        for (&time, &value) in times.iter().zip(&values) {
            pushed.push(Timestamp(time), value);
        }
        assert_eq!(whole, pushed, "small integers add up exactly in any order");
        for cut in 0..=100 {
            let mut appended = Partial::of(&times[..cut], &values[..cut]);
            appended.append(&Partial::of(&times[cut..], &values[cut..]));
            assert_eq!(appended, whole);
            let mut head = Partial::of(&times[..cut], &values[..cut]);
            let mut tail = Partial::of(&times[cut..], &values[cut..]);
            if head.count > 0 {
                tail.follow(head.last.value);
            }
            head.pool(&tail);
            assert_eq!((head.increase, head.resets), (whole.increase, whole.resets));
        }
    }

    #[test]
    fn pooling_keeps_the_earliest_and_the_latest() {
        let mut pooled = Partial::of(&[10, 20], &[1.0, 2.0]);
        pooled.pool(&Partial::of(&[5, 20], &[7.0, 8.0]));
        pooled.pool(&Partial::EMPTY);
        assert_eq!((pooled.first.value, pooled.last.value), (7.0, 8.0));
        assert_eq!((pooled.count, pooled.increase, pooled.min), (4, 2.0, 1.0));
    }
}
