//! Functions of how a series moves: rates, increases, deltas, resets and changes.

use super::RangeCall;
use super::windows::{Window, Windows};
use crate::error::Result;
use crate::promql::value::ABSENT;

/// Rows at which something happened, and a pointer that follows the windows.
struct Rows {
    rows: Vec<usize>,
    low: usize,
}

impl Rows {
    /// Rows whose value stands to the one before as `happened` says.
    fn new(values: &[f64], happened: impl Fn(f64, f64) -> bool) -> Self {
        let pairs = values.iter().zip(values.iter().skip(1)).enumerate();
        let rows = pairs.filter(|(_, (before, after))| happened(**before, **after));
        Self { rows: rows.map(|(row, _)| row + 1).collect(), low: 0 }
    }

    /// Those of a window, but for its first row: what came before that lies outside.
    fn of(&mut self, window: &Window<'_>) -> &[usize] {
        let rest = self.rows.get(self.low..).unwrap_or_default();
        self.low += rest.iter().take_while(|row| **row <= window.row).count();
        let rest = self.rows.get(self.low..).unwrap_or_default();
        let end = window.row + window.values.len();
        rest.get(..rest.partition_point(|row| *row < end)).unwrap_or_default()
    }
}

/// `rate`, `increase` (of counters) and `delta`; the first by the second. What lies between the
/// samples is extrapolated to the window's ends, after `extrapolatedRate` of Prometheus 3.
pub(super) fn extrapolated(
    windows: Windows<'_>,
    call: &RangeCall,
    (counter, rate): (bool, bool),
    out: &mut Vec<f64>,
) -> Result<()> {
    let all = windows.samples.values;
    let mut resets = Rows::new(if counter { all } else { &[] }, |before, after| after < before);
    let range_seconds = call.range as f64 / 1e9;
    windows.each(out, |window| {
        let Some(mut moved) = moved(&window) else { return ABSENT };
        for before in resets.of(&window).iter().filter_map(|row| all.get(row - 1)) {
            moved += before;
        }
        let mut factor = extrapolation(&window, call.range, counter.then_some(moved));
        if rate {
            factor /= range_seconds;
        }
        moved * factor
    })
}

/// From the first value to the last, where there are two samples.
fn moved(window: &Window<'_>) -> Option<f64> {
    let [first, .., last] = window.values else { return None };
    Some(last - first)
}

/// By how much the samples' movement is to be stretched. A counter that `increased` is not taken
/// to before where it was 0.
fn extrapolation(window: &Window<'_>, range: i64, increased: Option<f64>) -> f64 {
    let ([first, .., last], [start, ..]) = (window.times, window.values) else { return 1.0 };
    let between = |earlier: i64, later: i64| later.saturating_sub(earlier) as f64 / 1e9;
    let sampled = between(*first, *last);
    let mean_interval = sampled / (window.times.len() - 1) as f64;
    // An edge nearer than this is taken for one that the series reaches.
    let threshold = mean_interval * 1.1;
    let mut to_start = between(window.end.saturating_sub(range), *first);
    if to_start >= threshold {
        to_start = mean_interval / 2.0;
    }
    if let Some(increased) = increased
        && increased > 0.0
        && *start >= 0.0
    {
        let to_zero = sampled * (start / increased);
        if to_zero < to_start {
            to_start = to_zero;
        }
    }
    let mut to_end = between(*last, window.end);
    if to_end >= threshold {
        to_end = mean_interval / 2.0;
    }
    (sampled + to_start + to_end) / sampled
}

/// `irate` and `idelta`: between the last two samples.
pub(super) fn instant(windows: Windows<'_>, rate: bool, out: &mut Vec<f64>) -> Result<()> {
    windows.each(out, |window| {
        let ([.., earlier, later], [.., before, after]) = (window.times, window.values) else {
            return ABSENT;
        };
        let moved = if rate && after < before { *after } else { after - before };
        if rate { moved / (later.saturating_sub(*earlier) as f64 / 1e9) } else { moved }
    })
}

/// How often something happened between a sample and the next.
pub(super) fn count_where(
    windows: Windows<'_>,
    happened: impl Fn(f64, f64) -> bool,
    out: &mut Vec<f64>,
) -> Result<()> {
    let mut rows = Rows::new(windows.samples.values, happened);
    windows.each(out, |window| rows.of(&window).len() as f64)
}
