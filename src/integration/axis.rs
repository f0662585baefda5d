//! Round values and round times: what stands on the axes of charts, in a terminal or on a page.

use super::figures;
use crate::time::{TimeRange, Timestamp};

/// Most ticks of a scale; [`Scale::around`] makes about six.
const TICKS_MAX: u16 = 8;
const NANOS_PER_MS: i64 = 1_000_000;
/// Distances that people count time in, ms: up to a year.
const STEPS_MS: [i64; 31] = [
    1,
    2,
    5,
    10,
    20,
    50,
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    15_000,
    30_000,
    60_000,
    120_000,
    300_000,
    600_000,
    900_000,
    1_800_000,
    3_600_000,
    7_200_000,
    10_800_000,
    21_600_000,
    43_200_000,
    86_400_000,
    172_800_000,
    604_800_000,
    2_592_000_000,
    31_536_000_000,
];

/// The smallest distance that people count time in of which `range` holds at most `steps_max`, ns;
/// where there is none, a year.
#[must_use]
pub fn time_step(range: TimeRange, steps_max: f64) -> i64 {
    let length = i128::from(range.end.0) - i128::from(range.start.0);
    let fits = |&step: &i64| length as f64 / (step * NANOS_PER_MS) as f64 <= steps_max;
    let [.., year] = STEPS_MS;
    STEPS_MS.into_iter().find(fits).unwrap_or(year) * NANOS_PER_MS
}

/// Ticks at round times of a range.
#[derive(Debug, Clone, Copy)]
pub struct TimeAxis {
    range: TimeRange,
    step: i64,
}

impl TimeAxis {
    /// At most `ticks_max` of them, and one more where both ends are round.
    #[must_use]
    pub fn new(range: TimeRange, ticks_max: f64) -> Self {
        Self { range, step: time_step(range, ticks_max) }
    }

    /// The ticks, ascending.
    pub fn ticks(&self) -> impl Iterator<Item = Timestamp> {
        let (start, end, step) = (self.range.start.0, self.range.end.0, self.step);
        let first = start.checked_add((step - start.rem_euclid(step)) % step);
        let ticks = std::iter::successors(first, move |tick| tick.checked_add(step));
        ticks.take_while(move |&tick| tick < end).map(Timestamp)
    }

    /// Whether labels tell the day instead of seconds: of ranges beyond two days.
    #[must_use]
    pub fn tells_days(range: TimeRange) -> bool {
        i128::from(range.end.0) - i128::from(range.start.0) > 2 * 86_400_000_000_000
    }

    /// What stands at a tick, UTC: `14:10:00`, with decimals as many as the step needs, or
    /// `11-23 14:10`.
    #[must_use]
    pub fn label(&self, tick: Timestamp) -> String {
        let text = figures::time(tick);
        if Self::tells_days(self.range) {
            return text.get(5..16).unwrap_or(&text).to_owned();
        }
        let clock = text.get(11..).unwrap_or(&text);
        let decimals = match self.step {
            ..10_000_000 => 3,
            10_000_000..100_000_000 => 2,
            100_000_000..1_000_000_000 => 1,
            _ => return clock.to_owned(),
        };
        let fraction = format!("{:09}", tick.0.rem_euclid(1_000_000_000));
        format!("{clock}.{}", fraction.get(..decimals).unwrap_or_default())
    }
}

/// Round bounds, and the distance of the ticks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// At or below the least value.
    pub lower: f64,
    /// At or above the greatest.
    pub upper: f64,
    step: f64,
}

impl Scale {
    /// Ticks at 1, 2, 2.5 or 5 times a power of ten (at powers of two for bytes), at most six or so
    /// of them; zero is shown where it is near.
    #[must_use]
    pub fn around(min: f64, max: f64, unit: &str) -> Self {
        let (mut min, mut max) = (min, max);
        if min > 0.0 && min < 0.5 * max {
            min = 0.0;
        }
        if max < 0.0 && max > 0.5 * min {
            max = 0.0;
        }
        if max - min <= f64::EPSILON * max.abs().max(min.abs()) {
            let margin = if max == 0.0 { 1.0 } else { max.abs() * 0.1 };
            (min, max) = if min == 0.0 { (0.0, margin) } else { (min - margin, max + margin) };
        }
        let rough = (max - min) / 5.0;
        let step = if unit.starts_with("bytes") {
            2f64.powf(rough.log2().ceil())
        } else {
            let power = 10f64.powf(rough.log10().floor());
            let factor = [1.0, 2.0, 2.5, 5.0].into_iter().find(|factor| factor * power >= rough);
            factor.unwrap_or(10.0) * power
        };
        let step = if step.is_finite() && step > 0.0 { step } else { max - min };
        Self { lower: (min / step).floor() * step, upper: (max / step).ceil() * step, step }
    }

    /// The ticks, ascending, both bounds among them.
    pub fn ticks(self) -> impl Iterator<Item = f64> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let n = ((self.upper - self.lower) / self.step).round().max(0.0) as u16;
        (0..=n.min(TICKS_MAX)).map(move |i| self.lower + f64::from(i) * self.step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_round() {
        let ticks = |min, max, unit| Scale::around(min, max, unit).ticks().collect::<Vec<_>>();
        assert_eq!(ticks(0.1, 1.9, ""), [0.0, 0.5, 1.0, 1.5, 2.0]);
        assert_eq!(ticks(97.0, 103.0, ""), [96.0, 98.0, 100.0, 102.0, 104.0]);
        assert_eq!(ticks(100.0, 4000.0, "bytes"), [0.0, 1024.0, 2048.0, 3072.0, 4096.0]);
    }

    #[test]
    fn times_are_round() {
        let labels = |start_ms, end_ms, max| {
            let range =
                TimeRange::new(Timestamp::from_millis(start_ms), Timestamp::from_millis(end_ms));
            let axis = TimeAxis::new(range, max);
            axis.ticks().map(|tick| axis.label(tick)).collect::<Vec<_>>()
        };
        assert_eq!(labels(36_001_000, 36_020_000, 4.0), ["10:00:05", "10:00:10", "10:00:15"]);
        assert_eq!(labels(36_000_100, 36_001_200, 4.0), ["10:00:00.5", "10:00:01.0"]);
        let days = labels(0, 4 * 86_400_000, 4.0);
        assert_eq!(days, ["01-01 00:00", "01-02 00:00", "01-03 00:00", "01-04 00:00"]);
        // Ends of time are no reason to stop, or not to.
        assert!(TimeAxis::new(TimeRange::ALL, 1e9).ticks().count() > 500);
        assert_eq!(labels(5, 5, 4.0), Vec::<String>::new());
    }
}
