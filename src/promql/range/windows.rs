//! The windows of one series, found by two pointers.

use super::{Budget, RangeCall, Reach, VALUES_PER_CHECK};
use crate::error::Result;

/// Samples of one series: times strictly ascending, as many values, no stale marker among them.
#[derive(Debug, Clone, Copy)]
pub(in crate::promql) struct Samples<'a> {
    pub(in crate::promql) times: &'a [i64],
    pub(in crate::promql) values: &'a [f64],
}

/// The samples of a window; never empty.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window<'a> {
    /// Of which step.
    pub(super) step: usize,
    /// The row of its first sample among all of the series.
    pub(super) row: usize,
    pub(super) times: &'a [i64],
    pub(super) values: &'a [f64],
    /// The window's end, inclusive.
    pub(super) end: i64,
}

/// Cuts a series into windows, ascending.
pub(super) struct Windows<'a> {
    pub(super) samples: Samples<'a>,
    reach: Reach,
    range: i64,
    budget: &'a Budget,
}

impl<'a> Windows<'a> {
    pub(super) fn new(samples: Samples<'a>, call: &RangeCall, budget: &'a Budget) -> Self {
        Self { samples, reach: call.reach, range: call.range, budget }
    }

    /// In how many windows a sample lies that is far from the ends of the query, whole ones.
    pub(super) fn shared_times(&self) -> i64 {
        // A single step has no length.
        self.range.checked_div(self.reach.steps.step()).unwrap_or(1)
    }

    /// Appends what `value` says of each window, and `absent` for the empty ones.
    ///
    /// # Errors
    /// Time is up.
    pub(super) fn each(
        self,
        out: &mut Vec<f64>,
        mut value: impl FnMut(Window<'a>) -> f64,
    ) -> Result<()> {
        let Self { samples: Samples { times, values }, reach, range, budget } = self;
        let (mut low, mut high, mut seen) = (0, 0, 0);
        for step in 0..reach.steps.len() {
            let end = reach.end(step);
            low = behind(times, low, end.saturating_sub(range));
            high = behind(times, high.max(low), end);
            seen += 1 + high - low;
            if seen >= VALUES_PER_CHECK {
                seen = 0;
                budget.check()?;
            }
            let rows = low..high;
            out.push(match (times.get(rows.clone()), values.get(rows)) {
                (Some(times @ [_, ..]), Some(values)) => {
                    value(Window { step, row: low, times, values, end })
                }
                _ => crate::promql::value::ABSENT,
            });
        }
        Ok(())
    }
}

/// The first row at or after `from` whose time lies behind `bound`: a few are looked at one by one.
#[inline]
fn behind(times: &[i64], from: usize, bound: i64) -> usize {
    const FEW: usize = 32;
    let rest = times.get(from..).unwrap_or_default();
    let rows = match rest.get(FEW) {
        Some(time) if *time <= bound => rest.partition_point(|time| *time <= bound),
        _ => rest.iter().take_while(|time| **time <= bound).count(),
    };
    from + rows
}

/// A time in seconds. Times of whole milliseconds come out as Prometheus, which counts those, has
/// them.
pub(in crate::promql) fn seconds(nanos: i64) -> f64 {
    if nanos % 1_000_000 == 0 { (nanos / 1_000_000) as f64 / 1e3 } else { nanos as f64 / 1e9 }
}
