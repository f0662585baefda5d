//! `Distribution`: what was observed of one series over a span of time.

use super::partial::Partial;
use super::sketch::Sketch;
use crate::model::Sample;
use crate::time::Timestamp;

/// Observations of one series: a [`Sketch`] for their quantiles, and beside it what is kept
/// exactly, their count (the sketch's), sum, and extremes. Observations are finite.
///
/// ```
/// use icecore::aggregate::Distribution;
///
/// let mut latencies = Distribution::default();
/// for millis in [3.0, 5.0, 80.0] {
///     assert!(latencies.record(millis));
/// }
/// assert!(!latencies.record(f64::NAN));
/// assert_eq!((latencies.count(), latencies.sum(), latencies.max()), (3, 88.0, 80.0));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    sketch: Sketch,
    sum: f64,
    min: f64,
    max: f64,
}

impl Default for Distribution {
    /// No observations.
    fn default() -> Self {
        Self { sketch: Sketch::default(), sum: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

impl Distribution {
    /// A distribution that was aggregated elsewhere. `None` where the sketch is empty, `sum` is
    /// NaN, or `min` and `max` are not finite or not in order.
    #[must_use]
    pub fn from_parts(sketch: Sketch, sum: f64, min: f64, max: f64) -> Option<Self> {
        let extremes = min.is_finite() && max.is_finite() && min <= max;
        (!sketch.is_empty() && !sum.is_nan() && extremes).then_some(Self { sketch, sum, min, max })
    }

    /// Adds an observation; says whether it did: NaN and infinities are left out.
    pub fn record(&mut self, value: f64) -> bool {
        if value.is_finite() {
            self.sketch.record(value, 1);
            self.sum += value;
            self.min = self.min.min(value);
            self.max = self.max.max(value);
        }
        value.is_finite()
    }

    /// Adds what another distribution holds.
    pub fn merge(&mut self, other: &Self) {
        self.sketch.merge(&other.sketch);
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// Adds parts of which some may be missing yet: those of a value that is being recorded.
    pub(crate) fn add_parts(&mut self, sketch: Sketch, sum: f64, min: f64, max: f64) {
        self.merge(&Self { sketch, sum, min, max });
    }

    /// Observations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.sketch.count()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sketch.is_empty()
    }

    /// Their sum, in the order in which they came; infinite where it leaves the range of `f64`.
    #[must_use]
    pub const fn sum(&self) -> f64 {
        self.sum
    }

    /// The smallest; infinity where there are none.
    #[must_use]
    pub const fn min(&self) -> f64 {
        self.min
    }

    /// The largest; negative infinity where there are none.
    #[must_use]
    pub const fn max(&self) -> f64 {
        self.max
    }

    /// Where they lie.
    #[must_use]
    pub const fn sketch(&self) -> &Sketch {
        &self.sketch
    }

    /// What a record of it says beside the sketch. An observation is no sample of the series, so
    /// `first` and `last` have the value NaN; the increase is the count, so that a rate is of
    /// observations.
    #[must_use]
    pub fn partial(&self, timestamp: Timestamp) -> Partial {
        let count = self.count();
        if count == 0 {
            return Partial::EMPTY;
        }
        let at = Sample { timestamp, value: f64::NAN };
        let Self { sum, min, max, .. } = *self;
        Partial { count, sum, min, max, first: at, last: at, increase: count as f64, resets: 0 }
    }

    /// Bytes it holds in memory, its own struct included.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.sketch.heap_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_parts_are_the_whole() {
        let values = [3.0, -1.5, 0.0, 88.0, 2.25];
        let of = |values: &[f64]| {
            let mut all = Distribution::default();
            values.iter().for_each(|&value| assert!(all.record(value)));
            all
        };
        let mut merged = of(&values[..2]);
        merged.merge(&of(&values[2..]));
        merged.merge(&Distribution::default());
        assert_eq!(merged, of(&values));
        let partial = merged.partial(Timestamp(7));
        assert_eq!((partial.count, partial.sum, partial.increase), (5, 91.75, 5.0));
        assert_eq!((partial.min, partial.max, partial.resets), (-1.5, 88.0, 0));
        assert!(partial.first.value.is_nan() && partial.last.timestamp == Timestamp(7));
        assert_eq!(Distribution::default().partial(Timestamp(7)).count, 0);
    }

    #[test]
    fn parts_that_make_no_distribution_are_refused() {
        let sketch = || Sketch::of(&[1.0, 2.0]);
        assert!(Distribution::from_parts(sketch(), 3.0, 1.0, 2.0).is_some());
        assert!(Distribution::from_parts(Sketch::default(), 0.0, 0.0, 0.0).is_none());
        assert!(Distribution::from_parts(sketch(), f64::NAN, 1.0, 2.0).is_none());
        assert!(Distribution::from_parts(sketch(), 3.0, 2.0, 1.0).is_none());
        assert!(Distribution::from_parts(sketch(), 3.0, 1.0, f64::INFINITY).is_none());
    }
}
