//! Functions of the values of a window, whatever their order or time: the `..._over_time`.

use std::collections::VecDeque;

use super::RangeFunction;
use super::windows::{Window, Windows, seconds};
use crate::aggregate::lanes;
use crate::error::Result;
use crate::promql::aggregate::quantile_of;
use crate::promql::kahan::Kahan;
use crate::promql::value::ABSENT;

/// The functions that look at each window by itself.
pub(super) fn each(
    windows: Windows<'_>,
    function: RangeFunction,
    out: &mut Vec<f64>,
) -> Result<()> {
    use RangeFunction as F;
    let mut sorted = Vec::new();
    match function {
        F::Sum => windows.each(out, |window| sum(window.values)),
        F::Avg => windows.each(out, |window| average(window.values)),
        F::Count => windows.each(out, |window| window.values.len() as f64),
        F::Stddev => windows.each(out, |window| variance(window.values).sqrt()),
        F::Stdvar => windows.each(out, |window| variance(window.values)),
        F::Last => windows.each(out, |window| end(window.values.last())),
        F::First => windows.each(out, |window| end(window.values.first())),
        F::Present | F::Absent => windows.each(out, |_| 1.0),
        F::Mad => windows.each(out, |window| deviation(window.values, &mut sorted)),
        F::TimeOfFirst => windows.each(out, |window| time(window.times.first())),
        F::TimeOfLast => windows.each(out, |window| time(window.times.last())),
        F::TimeOfMax => windows.each(out, |window| time_of(&window, |value, best| value >= best)),
        F::TimeOfMin => windows.each(out, |window| time_of(&window, |value, best| value <= best)),
        _ => windows.each(out, |_| ABSENT),
    }
}

fn end(value: Option<&f64>) -> f64 {
    value.copied().unwrap_or(ABSENT)
}

fn time(time: Option<&i64>) -> f64 {
    time.map_or(ABSENT, |time| seconds(*time))
}

fn sum(values: &[f64]) -> f64 {
    let mut sum = Kahan::default();
    values.iter().for_each(|value| sum.add(*value));
    sum.total()
}

/// The sum by the count; where the sum would overflow, the mean is updated value by value.
fn average(values: &[f64]) -> f64 {
    let mut values = values.iter().copied().zip(1_u32..);
    let mut sum = Kahan::default();
    let mut count = 0.0;
    let overflowing = values.by_ref().find_map(|(value, n)| {
        let mut next = sum;
        next.add(value);
        // The first value stands for itself, also where it is infinite.
        if n > 1 && next.sum.is_infinite() {
            return Some((value, f64::from(n)));
        }
        (sum, count) = (if n == 1 { Kahan { sum: value, rest: 0.0 } } else { next }, f64::from(n));
        None
    });
    let Some(overflowing) = overflowing else { return sum.sum / count + sum.rest / count };
    let mut mean = Kahan { sum: sum.sum / count, rest: sum.rest / count };
    let rest = values.map(|(value, n)| (value, f64::from(n)));
    for (value, n) in std::iter::once(overflowing).chain(rest) {
        let share = (n - 1.0) / n;
        mean = Kahan { sum: share * mean.sum, rest: share * mean.rest };
        mean.add(value / n);
    }
    mean.sum + mean.rest
}

/// The population variance, after Welford.
fn variance(values: &[f64]) -> f64 {
    let (mut count, mut mean, mut aux) = (0.0, Kahan::default(), Kahan::default());
    for value in values {
        count += 1.0;
        let delta = value - (mean.sum + mean.rest);
        mean.add(delta / count);
        aux.add(delta * (value - (mean.sum + mean.rest)));
    }
    (aux.sum + aux.rest) / count
}

/// The time of the latest value that is as `beats` wants, against the best before it.
fn time_of(window: &Window<'_>, beats: impl Fn(f64, f64) -> bool) -> f64 {
    let mut pairs = window.times.iter().zip(window.values);
    let Some((&time, &value)) = pairs.next() else { return ABSENT };
    let (mut at, mut best) = (time, value);
    for (&time, &value) in pairs {
        if beats(value, best) || best.is_nan() {
            (at, best) = (time, value);
        }
    }
    seconds(at)
}

/// Windows that share more than this with the next one are not looked at as a whole again: a value
/// that comes to the queue takes as long as so many that are compared in lanes.
const SHARED_TIMES: i64 = 16;

/// `max_over_time`, or `min_over_time`: NaN only where all values are.
pub(super) fn extremes(windows: Windows<'_>, largest: bool, out: &mut Vec<f64>) -> Result<()> {
    let beats = |value: f64, best: f64| if largest { value > best } else { value < best };
    if windows.shared_times() > SHARED_TIMES {
        return sliding_extremes(windows, beats, out);
    }
    windows.each(out, |Window { values, .. }| {
        let best = if largest { lanes::max(values) } else { lanes::min(values) };
        // Of zeros of both signs the first one counts.
        let zero = if best == 0.0 { values.iter().find(|value| **value == 0.0) } else { None };
        zero.copied().unwrap_or(best)
    })
}

/// The best value of each window. A queue keeps the rows that may still become that.
fn sliding_extremes(
    windows: Windows<'_>,
    beats: impl Fn(f64, f64) -> bool,
    out: &mut Vec<f64>,
) -> Result<()> {
    let mut queue: VecDeque<(usize, f64)> = VecDeque::new();
    let mut seen = 0;
    windows.each(out, |window| {
        while queue.front().is_some_and(|(row, _)| *row < window.row) {
            queue.pop_front();
        }
        let end = window.row + window.values.len();
        let known = seen.max(window.row) - window.row;
        for (row, &value) in (window.row..).zip(window.values).skip(known) {
            while queue.back().is_some_and(|(_, last)| beats(value, *last) || last.is_nan()) {
                queue.pop_back();
            }
            queue.push_back((row, value));
        }
        seen = end;
        queue.front().map_or(ABSENT, |(_, best)| *best)
    })
}

/// `quantile_over_time`.
pub(super) fn quantiles(
    windows: Windows<'_>,
    phi: impl Fn(usize) -> f64,
    out: &mut Vec<f64>,
) -> Result<()> {
    let mut sorted = Vec::new();
    windows.each(out, |window| quantile(phi(window.step), window.values, &mut sorted))
}

/// The quantile, NaN counted as the smallest value. `sorted` is room to work in.
fn quantile(phi: f64, values: &[f64], sorted: &mut Vec<f64>) -> f64 {
    sorted.clear();
    sorted.extend_from_slice(values);
    let order = |a: &f64, b: &f64| a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()));
    sorted.sort_unstable_by(order);
    quantile_of(phi, |at| sorted.get(at).copied().unwrap_or(f64::NAN), sorted.len())
}

/// The median of the distances from the median.
fn deviation(values: &[f64], sorted: &mut Vec<f64>) -> f64 {
    let median = quantile(0.5, values, sorted);
    let distances: Vec<f64> = values.iter().map(|value| (value - median).abs()).collect();
    quantile(0.5, &distances, sorted)
}
