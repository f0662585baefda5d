//! The grid: windows of one length over its range.

use crate::integration::axis::time_step;
use crate::time::{TimeRange, Timestamp};

/// Windows of equal, round length over a range: half-open, between multiples of their length since the
/// epoch; the first and the last are cut by the range's ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// What it covers.
    pub range: TimeRange,
    /// The windows' length, ns.
    pub step_nanos: i64,
}

impl Grid {
    /// At most `windows_max` windows, and one more; none of an empty range.
    pub fn over(range: TimeRange, windows_max: usize) -> Self {
        Self { range, step_nanos: time_step(range, windows_max.max(1) as f64) }
    }

    /// How many windows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        if self.range.is_empty() { 0 } else { self.window_of(self.range.end.0 - 1) + 1 }
    }

    /// The multiple of the step at or below the range's beginning.
    fn base(&self) -> i128 {
        let step = i128::from(self.step_nanos);
        i128::from(self.range.start.0).div_euclid(step) * step
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The window that holds a time within the range.
    pub fn window_of(&self, time: i64) -> usize {
        let since = i128::from(time) - self.base();
        usize::try_from(since / i128::from(self.step_nanos)).unwrap_or(0)
    }

    /// A window's beginning; of the one behind the last, the range's end.
    pub fn start_of(&self, window: usize) -> Timestamp {
        let since = i128::from(self.step_nanos) * window as i128;
        let TimeRange { start, end } = self.range;
        let at = (self.base() + since).max(start.0.into()).min(end.0.into());
        Timestamp(i64::try_from(at).unwrap_or(i64::MAX))
    }

    /// The stretch of time of the windows `first..end`.
    pub fn stretch(&self, first: usize, end: usize) -> TimeRange {
        TimeRange::new(self.start_of(first), self.start_of(end))
    }

    /// The length of a window, seconds.
    pub fn seconds_of(&self, window: usize) -> f64 {
        seconds(self.stretch(window, window + 1))
    }

    /// The length of the range, seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        seconds(self.range)
    }

    /// Adds to windows how much of `start..end` lies in each, ns: what is outside the range is left
    /// out.
    pub fn spread(&self, start: i64, end: i64, mut add: impl FnMut(usize, u64)) {
        let (mut at, end) = (start.max(self.range.start.0), end.min(self.range.end.0));
        while at < end {
            let window = self.window_of(at);
            let next = self.start_of(window + 1).0.min(end);
            if next <= at {
                return;
            }
            add(window, next.abs_diff(at));
            at = next;
        }
    }
}

fn seconds(TimeRange { start, end }: TimeRange) -> f64 {
    (i128::from(end.0) - i128::from(start.0)) as f64 * 1e-9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(start: i64, end: i64, step_nanos: i64) -> Grid {
        Grid { range: TimeRange::new(Timestamp(start), Timestamp(end)), step_nanos }
    }

    #[test]
    fn windows_cover_the_range_and_its_ends_cut_them() {
        let grid = grid(150, 1_050, 100);
        assert_eq!(grid.len(), 10);
        assert_eq!((grid.window_of(150), grid.window_of(200), grid.window_of(1_049)), (0, 1, 9));
        assert_eq!(grid.stretch(0, 1), TimeRange::new(Timestamp(150), Timestamp(200)));
        assert_eq!(grid.stretch(9, 10), TimeRange::new(Timestamp(1_000), Timestamp(1_050)));
        assert!((grid.seconds_of(9) - 50e-9).abs() < 1e-12);
        assert_eq!(self::grid(5, 5, 100).len(), 0);
        assert_eq!(self::grid(-150, 100, 100).len(), 3);
        assert_eq!(self::grid(100, 200, 100).len(), 1);
    }

    #[test]
    fn a_stretch_is_spread_over_the_windows_it_lies_in() {
        let mut sums = [0; 10];
        grid(150, 1_050, 100).spread(50, 350, |window, nanos| sums[window] += nanos);
        grid(150, 1_050, 100).spread(1_020, 5_000, |window, nanos| sums[window] += nanos);
        assert_eq!(sums, [50, 100, 50, 0, 0, 0, 0, 0, 0, 30]);
        grid(100, 1_050, 100).spread(300, 300, |_, _| unreachable!());
    }

    #[test]
    fn all_of_time_has_few_windows() {
        let grid = Grid::over(TimeRange::ALL, 160);
        assert!(grid.len() < 1_000);
        assert!(grid.window_of(i64::MAX - 1) < grid.len());
        grid.spread(i64::MIN, i64::MAX, |window, _| assert!(window < grid.len()));
    }
}
