//! How one series moves within a window: what is computed of each series before they are pooled.

use crate::model::is_stale;

/// Movements of a series in a window; of several series pooled, their sums. NaN where no series
/// has one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Trend {
    /// Last value less the first.
    pub(super) delta: f64,
    /// Growth a second from the last sample but one to the last; a fall is a counter's reset.
    pub(super) irate: f64,
    /// Slope of the least squares line, a second.
    pub(super) slope: f64,
}

impl Trend {
    pub(super) const NONE: Self = Self { delta: f64::NAN, irate: f64::NAN, slope: f64::NAN };

    pub(super) fn pool(&mut self, other: &Self) {
        for (sum, more) in [
            (&mut self.delta, other.delta),
            (&mut self.irate, other.irate),
            (&mut self.slope, other.slope),
        ] {
            if sum.is_nan() {
                *sum = more;
            } else if !more.is_nan() {
                *sum += more;
            }
        }
    }
}

/// The samples of one series in one window, as far as the line through them and the last step need
/// them. The sums are those of Prometheus' `simple_linear_regression`: times in seconds since the
/// first sample.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Line {
    count: f64,
    first: (i64, f64),
    before_last: (i64, f64),
    last: (i64, f64),
    varies: bool,
    sum_x: f64,
    sum_y: f64,
    sum_xy: f64,
    sum_xx: f64,
}

impl Line {
    /// Adds later samples: `timestamps` (nanoseconds) and `values` of equal length. Stale markers
    /// are passed over.
    pub(crate) fn extend(&mut self, timestamps: &[i64], values: &[f64]) {
        for (&time, &value) in timestamps.iter().zip(values).filter(|(_, value)| !is_stale(**value))
        {
            if self.count == 0.0 {
                self.first = (time, value);
            }
            (self.before_last, self.last) = (self.last, (time, value));
            self.count += 1.0;
            // Relative to the first value too: what is large and close together does not cancel.
            let (x, y) = (seconds(self.first.0, time), value - self.first.1);
            self.varies |= value != self.first.1;
            self.sum_x += x;
            self.sum_y += y;
            self.sum_xy += x * y;
            self.sum_xx += x * x;
        }
    }

    /// Growth a second over the last step, NaN of fewer than two samples.
    pub(super) fn irate(&self) -> f64 {
        if self.count < 2.0 {
            return f64::NAN;
        }
        let (before, after) = (self.before_last.1, self.last.1);
        let growth = if after < before { after } else { after - before };
        growth / seconds(self.before_last.0, self.last.0)
    }

    /// Slope a second, NaN of fewer than two samples.
    pub(super) fn slope(&self) -> f64 {
        if self.count < 2.0 {
            return f64::NAN;
        }
        if !self.varies {
            return 0.0;
        }
        let covariance = self.sum_xy - self.sum_x * self.sum_y / self.count;
        let variance = self.sum_xx - self.sum_x * self.sum_x / self.count;
        covariance / variance
    }
}

fn seconds(from: i64, to: i64) -> f64 {
    to.abs_diff(from) as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::STALE_MARKER_BITS;

    const SECOND: i64 = 1_000_000_000;

    fn line(samples: &[(i64, f64)]) -> Line {
        let mut line = Line::default();
        for &(time, value) in samples {
            line.extend(&[time * SECOND], &[value]);
        }
        line
    }

    #[test]
    fn a_straight_line_has_its_slope_wherever_it_stands() {
        let samples: Vec<(i64, f64)> =
            (0..100).map(|i| (1_700_000_000 + 7 * i, 1e9 + 0.5 * (7 * i) as f64)).collect();
        assert!((line(&samples).slope() - 0.5).abs() < 1e-9);
        // By hand: x 0 1 2, y 1 2 4; covariance 3, variance 2.
        assert_eq!(line(&[(0, 1.0), (1, 2.0), (2, 4.0)]).slope(), 1.5);
        assert_eq!(line(&[(0, 0.1), (1, 0.1), (2, 0.1)]).slope(), 0.0);
    }

    #[test]
    fn the_last_step_counts_a_fall_as_a_reset() {
        assert_eq!(line(&[(0, 9.0), (1, 1.0), (3, 5.0)]).irate(), 2.0);
        assert_eq!(line(&[(0, 9.0), (2, 3.0)]).irate(), 1.5);
    }

    #[test]
    fn one_sample_has_no_slope_and_stale_markers_are_none() {
        let stale = f64::from_bits(STALE_MARKER_BITS);
        let one = line(&[(0, stale), (1, 2.0), (2, stale)]);
        assert!(one.slope().is_nan() && one.irate().is_nan());
    }
}
