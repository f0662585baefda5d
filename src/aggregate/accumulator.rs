//! `Accumulator`: what a query keeps of one window while it is being folded.

use super::lanes;
use super::partial::Partial;
use super::trend::{Line, Trend};
use crate::model::{Sample, is_stale};
use crate::time::Timestamp;

/// What a fold has to compute beyond count and sum, which are always there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// `min` and `max`.
    pub extremes: bool,
    /// `first` and `last`.
    pub ends: bool,
    /// `increase` and `resets`.
    pub increase: bool,
    /// Mean and squared deviations: not in a [`Partial`], so samples must be decoded.
    pub moments: bool,
    /// How far each series moved from its first sample to its last.
    pub delta: bool,
    /// The line through the samples of each series, and their last step: samples must be decoded.
    pub line: bool,
    /// The values themselves, for quantiles: samples must be decoded.
    pub values: bool,
}

impl Needs {
    /// Everything that a [`Partial`] holds.
    pub const PARTIAL: Self = Self {
        extremes: true,
        ends: true,
        increase: true,
        moments: false,
        delta: false,
        line: false,
        values: false,
    };

    /// Whether a [`Partial`] holds all of it.
    #[must_use]
    pub const fn in_partial(self) -> bool {
        !self.samples() && !self.values
    }

    /// Whether it matters in which order samples stand, and of which series they are.
    #[must_use]
    pub const fn ordered(self) -> bool {
        self.ends || self.increase || self.delta || self.samples()
    }

    /// Whether samples must be decoded, since nothing else tells.
    #[must_use]
    pub const fn samples(self) -> bool {
        self.moments || self.line
    }
}

/// A [`Partial`] with the second moment beside it. Fields that were not among the [`Needs`] of
/// the fold mean nothing.
///
/// The moments are those of Chan, Golub and LeVeque, "Algorithms for computing the sample
/// variance" (1983): two passes over each run, runs merged by the pairwise update. No sum of
/// squares is kept, so nothing cancels where the values are large and close together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Accumulator {
    /// The mergeable aggregate.
    pub partial: Partial,
    mean: f64,
    deviations: f64,
    pub(super) trend: Trend,
}

impl Accumulator {
    /// The aggregate of nothing.
    pub const EMPTY: Self =
        Self { partial: Partial::EMPTY, mean: 0.0, deviations: 0.0, trend: Trend::NONE };

    /// From a chunk's statistics or a record, which hold no moments: the deviation is not known,
    /// and NaN, unless there are no samples.
    #[must_use]
    pub const fn of_partial(partial: Partial) -> Self {
        Self { partial, mean: f64::NAN, deviations: f64::NAN, trend: Trend::NONE }
    }

    /// The aggregate of a run of samples of one series: `timestamps` and `values` of equal
    /// length, timestamps strictly ascending. One pass over the values for the sum, one more for
    /// each need.
    #[must_use]
    pub fn of(timestamps: &[i64], values: &[f64], needs: Needs) -> Self {
        debug_assert_eq!(timestamps.len(), values.len());
        let sum = lanes::sum(values);
        // A stale marker is a NaN: where the sum is a number there is none, and looking for it
        // costs nothing.
        if sum.is_nan() && values.iter().any(|&value| is_stale(value)) {
            return Self::of_runs(timestamps, values, needs);
        }
        Self::of_run(timestamps, values, sum, needs)
    }

    /// Folds the runs between stale markers one after another.
    #[cold]
    fn of_runs(timestamps: &[i64], values: &[f64], needs: Needs) -> Self {
        let mut whole = Self::EMPTY;
        let mut start = 0;
        for run in values.split(|&value| is_stale(value)) {
            let times = timestamps.get(start..start + run.len()).unwrap_or_default();
            whole.append(&Self::of_run(times, run, lanes::sum(run), needs), needs);
            start += run.len() + 1;
        }
        whole
    }

    /// `values` hold no stale marker and add up to `sum`.
    fn of_run(timestamps: &[i64], values: &[f64], sum: f64, needs: Needs) -> Self {
        let ([first_time, ..], [.., last_time]) = (timestamps, timestamps) else {
            return Self::EMPTY;
        };
        let ([first, ..], [.., last]) = (values, values) else {
            return Self::EMPTY;
        };
        let mut partial = Partial {
            count: values.len() as u64,
            sum,
            first: Sample { timestamp: Timestamp(*first_time), value: *first },
            last: Sample { timestamp: Timestamp(*last_time), value: *last },
            ..Partial::EMPTY
        };
        if needs.extremes {
            (partial.min, partial.max) = (lanes::min(values), lanes::max(values));
        }
        if needs.increase {
            (partial.increase, partial.resets) = lanes::increase(values);
        }
        let mut whole = Self::of_partial(partial);
        if needs.moments {
            // From the first value on, so that the mean of equal values is exactly that value.
            let count = values.len() as f64;
            whole.mean = first + lanes::sum_of(values, |value| value - first) / count;
            whole.deviations = lanes::sum_of(values, |value| (value - whole.mean).powi(2));
        }
        whole
    }

    /// Appends the aggregate of a *later* run of the same series; both were folded with `needs`.
    pub fn append(&mut self, later: &Self, needs: Needs) {
        if needs.moments {
            self.merge_moments(later);
        }
        self.partial.append(&later.partial);
    }

    /// Pools the aggregate of *another* series over the same window; both were folded with
    /// `needs`.
    pub fn pool(&mut self, other: &Self, needs: Needs) {
        if needs.moments {
            self.merge_moments(other);
        }
        if needs.delta || needs.line {
            self.trend.pool(&other.trend);
        }
        self.partial.pool(&other.partial);
    }

    /// Adds samples in any order, for [`Needs`] that are not ordered; returns how many there were
    /// that are no stale markers.
    #[inline]
    pub(crate) fn add_unordered(&mut self, values: &[f64], needs: Needs) -> u64 {
        let partial = &mut self.partial;
        let mut sum = match values {
            [one] => *one,
            _ => lanes::sum(values),
        };
        let mut count = values.len() as u64;
        if sum.is_nan() {
            let fresh = || values.iter().copied().filter(|&value| !is_stale(value));
            (count, sum) = (fresh().count() as u64, fresh().sum());
        }
        partial.count += count;
        partial.sum += sum;
        if needs.extremes {
            partial.min = partial.min.min(lanes::min(values));
            partial.max = partial.max.max(lanes::max(values));
        }
        count
    }

    /// As [`add_unordered`](Self::add_unordered), of one sample that is a number.
    #[inline(always)]
    pub(crate) fn add_one(&mut self, value: f64, needs: Needs) {
        let partial = &mut self.partial;
        partial.count += 1;
        partial.sum += value;
        if needs.extremes {
            partial.min = partial.min.min(value);
            partial.max = partial.max.max(value);
        }
    }

    /// As [`add_unordered`](Self::add_unordered), of what a partial stands for.
    #[inline]
    pub(crate) fn add_partial(&mut self, other: &Partial) {
        let partial = &mut self.partial;
        partial.count += other.count;
        partial.sum += other.sum;
        partial.min = partial.min.min(other.min);
        partial.max = partial.max.max(other.max);
    }

    /// Notes how the series moved, once all of its samples in the window were appended: `line` is
    /// of these samples. What is pooled is the sum of such movements.
    pub(crate) fn close(&mut self, line: &Line, needs: Needs) {
        if needs.delta && self.partial.count > 0 {
            self.trend.delta = self.partial.last.value - self.partial.first.value;
        }
        if needs.line {
            (self.trend.irate, self.trend.slope) = (line.irate(), line.slope());
        }
    }

    fn merge_moments(&mut self, other: &Self) {
        if other.partial.count == 0 {
            return;
        }
        if self.partial.count == 0 {
            (self.mean, self.deviations) = (other.mean, other.deviations);
            return;
        }
        let (here, there) = (self.partial.count as f64, other.partial.count as f64);
        let share = there / (here + there);
        let apart = other.mean - self.mean;
        self.mean += apart * share;
        self.deviations += other.deviations + apart * apart * here * share;
    }

    /// The population's standard deviation: 0 for one sample, NaN for none or where a value is
    /// not finite.
    #[must_use]
    pub fn stddev(&self) -> f64 {
        self.variance().sqrt()
    }

    /// The population's variance: 0 for one sample, NaN for none or where a value is not finite.
    #[must_use]
    pub fn variance(&self) -> f64 {
        self.deviations / self.partial.count as f64
    }
}

impl Default for Accumulator {
    fn default() -> Self {
        Self::EMPTY
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::STALE_MARKER_BITS;

    const ALL: Needs = Needs { moments: true, ..Needs::PARTIAL };

    fn times(length: usize) -> Vec<i64> {
        (0..length as i64).collect()
    }

    #[test]
    fn runs_between_stale_markers_fold_as_if_these_were_not_there() {
        let stale = f64::from_bits(STALE_MARKER_BITS);
        let holed = [stale, 1.0, 2.0, stale, stale, 1.0, 9.0, f64::NAN, stale];
        let with = Accumulator::of(&times(9), &holed, ALL);
        let kept: Vec<(i64, f64)> =
            times(9).into_iter().zip(holed).filter(|&(_, value)| !is_stale(value)).collect();
        let (kept_times, kept_values): (Vec<i64>, Vec<f64>) = kept.into_iter().unzip();
        let without = Accumulator::of(&kept_times, &kept_values, ALL);
        assert_eq!(with.partial.count, 5);
        assert!(with.partial.sum.is_nan() && with.stddev().is_nan());
        assert_eq!((with.partial.min, with.partial.max), (1.0, 9.0));
        assert_eq!(with.partial.first, without.partial.first);
        assert_eq!(with.partial.last.timestamp, without.partial.last.timestamp);
        assert_eq!((with.partial.increase, with.partial.resets), (10.0, 1));
        assert_eq!((without.partial.increase, without.partial.resets), (10.0, 1));
        assert_eq!(Accumulator::of(&times(2), &[stale; 2], ALL).partial.count, 0);
        assert_eq!(Accumulator::of(&[], &[], ALL).partial.count, 0);
    }

    #[test]
    fn the_deviation_of_large_close_values_does_not_cancel() {
        let values: Vec<f64> = (0..1000).map(|i| 1e9 + f64::from(i % 3)).collect();
        let small: Vec<f64> = (0..1000).map(|i| f64::from(i % 3)).collect();
        let mut merged = Accumulator::EMPTY;
        for (times, values) in times(1000).chunks(7).zip(values.chunks(7)) {
            merged.append(&Accumulator::of(times, values, ALL), ALL);
        }
        let expected = Accumulator::of(&times(1000), &small, ALL).stddev();
        // A mean near 1e9 is known to 1e-7; a sum of squares near 1e21 would know nothing.
        assert!((merged.stddev() - expected).abs() < 1e-7, "{} {expected}", merged.stddev());
    }

    #[test]
    fn equal_values_do_not_deviate() {
        let equal = Accumulator::of(&times(999), &[0.1; 999], ALL);
        assert_eq!(equal.stddev(), 0.0);
        let mut twice = equal;
        twice.append(&equal, ALL);
        assert_eq!(twice.stddev(), 0.0);
    }
}
