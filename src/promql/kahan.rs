//! Sums whose rounding errors are kept aside, as Prometheus' `kahansum`.

/// Adds `value` to a sum after Kahan and Neumaier, whose errors so far are `rest`.
#[inline]
pub(super) fn compensated(value: f64, sum: f64, rest: f64) -> (f64, f64) {
    let next = sum + value;
    let error = if sum.abs() >= value.abs() { (sum - next) + value } else { (value - next) + sum };
    (next, if next.is_infinite() { 0.0 } else { rest + error })
}

/// A sum after Kahan and Neumaier.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kahan {
    pub(super) sum: f64,
    pub(super) rest: f64,
}

impl Kahan {
    #[inline]
    pub(super) fn add(&mut self, value: f64) {
        (self.sum, self.rest) = compensated(value, self.sum, self.rest);
    }

    /// The sum with what was kept aside.
    pub(super) fn total(self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.rest }
    }
}
