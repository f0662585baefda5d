//! Windows: a range cut into steps.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::time::{Tier, TimeRange, Timestamp, duration_nanos};

/// Half-open windows `start + i·step <= t < start + (i+1)·step`, the last cut at the range's end.
/// Nothing is stored per window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    range: TimeRange,
    /// Nanoseconds from the range's start to its end, at least 1.
    span: u64,
    /// Nanoseconds, at least 1.
    pub(super) step: u64,
    len: usize,
}

impl Windows {
    /// The windows of a range; without a step one window over all of it.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where the range is empty or the step is 0; [`Error::Limit`]
    /// where the windows cannot even be counted.
    pub fn new(range: TimeRange, step: Option<Duration>) -> Result<Self> {
        if range.is_empty() {
            let reason = format!("{} to {} is empty", range.start, range.end);
            return Err(Error::InvalidArgument { what: "range", reason });
        }
        // The difference of two i64 fits into u64 where it is not negative.
        let span = range.end.0.wrapping_sub(range.start.0).cast_unsigned();
        let step = step.map_or(span, |step| duration_nanos(step).unsigned_abs());
        if step == 0 {
            return Err(Error::InvalidArgument { what: "step", reason: "is 0".into() });
        }
        let len = usize::try_from(span.div_ceil(step))
            .map_err(|_| Error::Limit { what: "windows", limit: usize::MAX as u64 })?;
        Ok(Self { range, span, step, len })
    }

    /// The buckets of a tier in a range that is aligned to them; of raw, one window.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(crate) fn of_tier(range: TimeRange, tier: Tier) -> Result<Self> {
        let resolution = Duration::from_nanos(tier.nanos().unsigned_abs());
        Self::new(range, (!tier.is_raw()).then_some(resolution))
    }

    /// The whole range that they cover.
    #[must_use]
    pub fn range(&self) -> TimeRange {
        self.range
    }

    /// How many there are, at least 1.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The window of this index, counted from 0.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<TimeRange> {
        let point = |offset: u64| {
            let nanos = self.range.start.0.cast_unsigned().wrapping_add(offset).cast_signed();
            Timestamp(nanos)
        };
        (index < self.len).then(|| {
            let start = (index as u64) * self.step;
            TimeRange::new(point(start), point(start.saturating_add(self.step).min(self.span)))
        })
    }

    /// All windows, ascending.
    pub fn iter(&self) -> impl Iterator<Item = TimeRange> {
        let windows = *self;
        (0..self.len).filter_map(move |index| windows.get(index))
    }

    /// The window's length in seconds, that of the last one as it was cut.
    #[must_use]
    pub fn seconds(&self, index: usize) -> f64 {
        self.nanos(index) as f64 / 1e9
    }

    /// The window's length in nanoseconds, that of the last one as it was cut.
    pub(crate) fn nanos(&self, index: usize) -> u64 {
        let start = (index as u64).saturating_mul(self.step).min(self.span);
        (self.span - start).min(self.step)
    }

    /// The length of the whole range in seconds.
    pub(crate) fn range_seconds(&self) -> f64 {
        self.span as f64 / 1e9
    }

    /// The index of the window that holds the point, if any does.
    #[must_use]
    #[inline]
    pub fn index(&self, point: Timestamp) -> Option<usize> {
        let offset = point.0.wrapping_sub(self.range.start.0).cast_unsigned();
        // A point before the start wraps around to beyond the span... unless the span reaches
        // around itself, so the range decides.
        self.range
            .contains(point)
            .then(|| usize::try_from(offset / self.step).unwrap_or(usize::MAX))
    }

    /// The index of the window that holds the whole closed span, if one does.
    pub(crate) fn holding(&self, first: Timestamp, last: Timestamp) -> Option<usize> {
        let window = self.index(first)?;
        (self.index(last)? == window).then_some(window)
    }

    /// Whether every border between two windows is one between two of the tier's buckets: then a
    /// bucket that lies in the range lies in one window.
    pub(crate) fn divided_by(&self, tier: Tier) -> bool {
        let resolution = i128::from(tier.nanos().max(1));
        let first_border = i128::from(self.range.start.0) + i128::from(self.step);
        self.len == 1
            || first_border % resolution == 0
                && (self.len == 2 || i128::from(self.step) % resolution == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(start: i64, end: i64, step: u64) -> Windows {
        let range = TimeRange::new(Timestamp(start), Timestamp(end));
        Windows::new(range, Some(Duration::from_nanos(step))).unwrap()
    }

    #[test]
    fn the_last_window_is_cut() {
        let windows = windows(3, 25, 10);
        let bounds: Vec<(i64, i64)> = windows.iter().map(|w| (w.start.0, w.end.0)).collect();
        assert_eq!(bounds, [(3, 13), (13, 23), (23, 25)]);
        assert_eq!((windows.seconds(0), windows.seconds(2)), (10e-9, 2e-9));
        assert_eq!(windows.get(3), None);
    }

    #[test]
    fn all_of_time_is_one_window_or_two() {
        let one = Windows::new(TimeRange::ALL, None).unwrap();
        assert_eq!((one.len(), one.get(0)), (1, Some(TimeRange::ALL)));
        assert_eq!(one.index(Timestamp(i64::MAX - 1)), Some(0));
        assert_eq!(one.index(Timestamp::MAX), None);
        let two = Windows::new(TimeRange::ALL, Some(Duration::MAX)).unwrap();
        assert_eq!(two.len(), 3, "a step saturates at i64::MAX, a hair below half of time");
        assert_eq!(two.get(2).unwrap().end, Timestamp::MAX);
    }

    #[test]
    fn nothing_to_cut_is_refused() {
        let range = TimeRange::new(Timestamp(5), Timestamp(5));
        assert!(matches!(Windows::new(range, None), Err(Error::InvalidArgument { .. })));
        let zero = Windows::new(TimeRange::ALL, Some(Duration::ZERO));
        assert!(matches!(zero, Err(Error::InvalidArgument { what: "step", .. })));
    }
}
