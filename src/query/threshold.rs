//! Comparisons of values with a bound.

use std::fmt;

use crate::aggregate::Partial;
use crate::model::is_stale;

/// How a value compares with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `==`
    Equal,
    /// `!=`; NaN differs from everything.
    NotEqual,
}

impl Comparison {
    /// Whether it holds of two values; of NaN only [`NotEqual`](Self::NotEqual) does.
    #[must_use]
    #[inline]
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
            Self::Equal => left == right,
            Self::NotEqual => left != right,
        }
    }

    /// As written: `<`, `<=`, `>`, `>=`, `==`, `!=`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Equal => "==",
            Self::NotEqual => "!=",
        }
    }
}

/// What a value has to be like to pass. Stale markers never do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    /// How the value, on the left, compares with the bound.
    pub comparison: Comparison,
    /// The bound.
    pub bound: f64,
}

impl Threshold {
    /// Whether a value passes.
    #[must_use]
    #[inline]
    pub fn passes(self, value: f64) -> bool {
        self.comparison.holds(value, self.bound) && !is_stale(value)
    }

    /// Whether one of the values that a partial stands for may pass.
    pub(crate) fn may_pass(self, partial: &Partial) -> bool {
        let Partial { count, min, max, .. } = *partial;
        count > 0
            && match self.comparison {
                Comparison::Less | Comparison::LessOrEqual => self.passes(min),
                Comparison::Greater | Comparison::GreaterOrEqual => self.passes(max),
                Comparison::Equal => min <= self.bound && self.bound <= max,
                Comparison::NotEqual => true,
            }
    }
}

impl fmt::Display for Threshold {
    /// As written: `> 90`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.comparison.as_str(), self.bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::STALE_MARKER_BITS;

    #[test]
    fn statistics_never_hide_what_passes() {
        let samples = [3.0, 1.0, f64::NAN, 2.0];
        let partial = Partial::of(&[0, 1, 2, 3], &samples);
        for comparison in [
            Comparison::Less,
            Comparison::LessOrEqual,
            Comparison::Greater,
            Comparison::GreaterOrEqual,
            Comparison::Equal,
            Comparison::NotEqual,
        ] {
            for bound in [0.0, 1.0, 1.5, 2.0, 3.0, 4.0] {
                let threshold = Threshold { comparison, bound };
                let passes = samples.iter().any(|&value| threshold.passes(value));
                assert!(!passes || threshold.may_pass(&partial), "{threshold}");
            }
        }
        let above = Threshold { comparison: Comparison::Greater, bound: 3.0 };
        assert!(!above.may_pass(&partial) && !above.may_pass(&Partial::EMPTY));
    }

    #[test]
    fn stale_markers_never_pass() {
        let differs = Threshold { comparison: Comparison::NotEqual, bound: 0.0 };
        assert!(differs.passes(f64::NAN) && !differs.passes(f64::from_bits(STALE_MARKER_BITS)));
        assert_eq!(differs.to_string(), "!= 0");
    }
}
