//! Functions of values against time: the least squares' line, and smoothing.

use super::windows::{Window, Windows};
use super::{RangeCall, out_of_bounds};
use crate::error::Result;
use crate::promql::kahan::Kahan;
use crate::promql::value::ABSENT;

/// `deriv`: the line's slope per second.
pub(super) fn slope(windows: Windows<'_>, out: &mut Vec<f64>) -> Result<()> {
    windows.each(out, |window| match window.times {
        // A time near the others, so that little is lost of their differences.
        [first, _, ..] => line(&window, *first).0,
        _ => ABSENT,
    })
}

/// `predict_linear`: where the line is, so many seconds after the step.
pub(super) fn predict(windows: Windows<'_>, call: &RangeCall, out: &mut Vec<f64>) -> Result<()> {
    let steps = call.reach.steps;
    windows.each(out, |window| {
        if window.values.len() < 2 {
            return ABSENT;
        }
        let (slope, intercept) = line(&window, steps.get(window.step).0);
        slope * call.parameter(0, window.step) + intercept
    })
}

/// The slope per second and the value at `origin` of the line of least squares, after
/// `linearRegression` of Prometheus.
fn line(window: &Window<'_>, origin: i64) -> (f64, f64) {
    let [first, ..] = window.values else { return (f64::NAN, f64::NAN) };
    if window.values.iter().all(|value| value == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, *first) };
    }
    let [mut x_sum, mut y_sum, mut xy_sum, mut xx_sum] = [Kahan::default(); 4];
    for (time, &y) in window.times.iter().zip(window.values) {
        let x = time.saturating_sub(origin) as f64 / 1e9;
        x_sum.add(x);
        y_sum.add(y);
        xy_sum.add(x * y);
        xx_sum.add(x * x);
    }
    let total = |sum: Kahan| sum.sum + sum.rest;
    let (x_sum, y_sum) = (total(x_sum), total(y_sum));
    let n = window.values.len() as f64;
    let covariance = total(xy_sum) - x_sum * y_sum / n;
    let variance = total(xx_sum) - x_sum * x_sum / n;
    let slope = covariance / variance;
    (slope, y_sum / n - slope * x_sum / n)
}

/// `double_exponential_smoothing`: the last smoothed value, after Holt and Winters.
pub(super) fn smooth(windows: Windows<'_>, call: &RangeCall, out: &mut Vec<f64>) -> Result<()> {
    let inside = |factor: f64| 0.0 < factor && factor < 1.0;
    let mut refused = None;
    windows.each(out, |window| {
        let (smoothing, trend) = (call.parameter(0, window.step), call.parameter(1, window.step));
        if !inside(smoothing) {
            refused.get_or_insert_with(|| out_of_bounds("smoothing factor", smoothing));
        } else if !inside(trend) {
            refused.get_or_insert_with(|| out_of_bounds("trend factor", trend));
        }
        smoothed(window.values, smoothing, trend)
    })?;
    refused.map_or(Ok(()), Err)
}

fn smoothed(values: &[f64], smoothing: f64, trend: f64) -> f64 {
    let [first, second, ..] = values else { return ABSENT };
    let (mut before, mut now, mut slope) = (0.0, *first, second - first);
    for (row, value) in values.iter().enumerate().skip(1) {
        if row > 1 {
            slope = trend * (now - before) + (1.0 - trend) * slope;
        }
        (before, now) = (now, smoothing * value + (1.0 - smoothing) * (now + slope));
    }
    now
}
