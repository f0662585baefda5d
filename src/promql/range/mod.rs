//! Functions over ranges: one pass over a series' samples, a window a step.
//!
//! Owns: what every function of a range vector means, and computing it for all steps of one series
//! from samples that stand side by side. Does not own: where the samples come from (`select`,
//! `subquery`).
//!
//! A window holds the samples of `end - range < time <= end`. Windows ascend, so two pointers find
//! them; where a window's result follows exactly from what was counted before it (samples, changes,
//! resets, extremes), it is not looked at sample by sample.

mod aggregates;
mod counters;
mod function;
mod regression;
mod windows;

pub(super) use function::RangeFunction;
pub(super) use windows::{Samples, seconds};

use super::budget::{Budget, VALUES_PER_CHECK};
use super::plan::Reach;
use crate::error::{Error, Result};
use windows::Windows;

/// A function, with what it is called with.
#[derive(Debug)]
pub(super) struct RangeCall {
    pub(super) function: RangeFunction,
    /// Nanoseconds.
    pub(super) range: i64,
    pub(super) reach: Reach,
    /// For each parameter its value at every step.
    pub(super) parameters: Vec<Vec<f64>>,
    /// The length of the buckets that it may be answered from, nanoseconds.
    pub(super) bucket: Option<i64>,
}

impl RangeCall {
    /// Appends the function's value at every step; [`ABSENT`](super::value::ABSENT) where it has
    /// none.
    ///
    /// # Errors
    /// [`Error::Evaluation`] where a parameter is out of bounds; [`Error::Deadline`],
    /// [`Error::Cancelled`].
    pub(super) fn column(
        &self,
        samples: Samples<'_>,
        budget: &Budget,
        out: &mut Vec<f64>,
    ) -> Result<()> {
        use RangeFunction as F;
        let windows = Windows::new(samples, self, budget);
        match self.function {
            F::Rate => counters::extrapolated(windows, self, (true, true), out),
            F::Increase => counters::extrapolated(windows, self, (true, false), out),
            F::Delta => counters::extrapolated(windows, self, (false, false), out),
            F::Irate => counters::instant(windows, true, out),
            F::Idelta => counters::instant(windows, false, out),
            F::Resets => counters::count_where(windows, |before, after| after < before, out),
            F::Changes => {
                let changed = |before: f64, after: f64| {
                    after != before && !(after.is_nan() && before.is_nan())
                };
                counters::count_where(windows, changed, out)
            }
            F::Deriv => regression::slope(windows, out),
            F::PredictLinear => regression::predict(windows, self, out),
            F::DoubleExponentialSmoothing => regression::smooth(windows, self, out),
            F::Quantile => aggregates::quantiles(windows, |step| self.parameter(0, step), out),
            F::Max => aggregates::extremes(windows, true, out),
            F::Min => aggregates::extremes(windows, false, out),
            simple => aggregates::each(windows, simple, out),
        }
    }

    /// A parameter at a step.
    fn parameter(&self, index: usize, step: usize) -> f64 {
        let column = self.parameters.get(index);
        column.and_then(|column| column.get(step)).copied().unwrap_or(f64::NAN)
    }
}

/// What to say of a parameter that is out of bounds.
fn out_of_bounds(what: &str, found: f64) -> Error {
    let reason = format!("invalid {what}. Expected: 0 < factor < 1, got: {found}");
    Error::Evaluation { reason }
}
