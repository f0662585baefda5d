//! Functions of single numbers, as Go's `math` computes them.

use crate::promql::value::{ABSENT, is_absent};

/// A function of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::promql) enum Unary {
    Abs,
    Ceil,
    Floor,
    Exp,
    Ln,
    Log2,
    Log10,
    Sqrt,
    Sgn,
    Deg,
    Rad,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    Asinh,
    Acosh,
    Atanh,
}

impl Unary {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "abs" => Self::Abs,
            "ceil" => Self::Ceil,
            "floor" => Self::Floor,
            "exp" => Self::Exp,
            "ln" => Self::Ln,
            "log2" => Self::Log2,
            "log10" => Self::Log10,
            "sqrt" => Self::Sqrt,
            "sgn" => Self::Sgn,
            "deg" => Self::Deg,
            "rad" => Self::Rad,
            "sin" => Self::Sin,
            "cos" => Self::Cos,
            "tan" => Self::Tan,
            "asin" => Self::Asin,
            "acos" => Self::Acos,
            "atan" => Self::Atan,
            "sinh" => Self::Sinh,
            "cosh" => Self::Cosh,
            "tanh" => Self::Tanh,
            "asinh" => Self::Asinh,
            "acosh" => Self::Acosh,
            "atanh" => Self::Atanh,
            _ => return None,
        })
    }

    pub(super) fn apply(self, values: &mut [f64]) {
        use std::f64::consts::PI;
        match self {
            Self::Abs => map(values, f64::abs),
            Self::Ceil => map(values, f64::ceil),
            Self::Floor => map(values, f64::floor),
            Self::Exp => map(values, f64::exp),
            Self::Ln => map(values, f64::ln),
            Self::Log2 => map(values, f64::log2),
            Self::Log10 => map(values, f64::log10),
            Self::Sqrt => map(values, f64::sqrt),
            Self::Sgn => map(values, sign),
            Self::Deg => map(values, |value| value * 180.0 / PI),
            Self::Rad => map(values, |value| value * PI / 180.0),
            Self::Sin => map(values, f64::sin),
            Self::Cos => map(values, f64::cos),
            Self::Tan => map(values, f64::tan),
            Self::Asin => map(values, f64::asin),
            Self::Acos => map(values, f64::acos),
            Self::Atan => map(values, f64::atan),
            Self::Sinh => map(values, f64::sinh),
            Self::Cosh => map(values, f64::cosh),
            Self::Tanh => map(values, f64::tanh),
            Self::Asinh => map(values, f64::asinh),
            Self::Acosh => map(values, f64::acosh),
            Self::Atanh => map(values, f64::atanh),
        }
    }
}

/// Applies to each value that is there.
#[inline]
pub(super) fn map(values: &mut [f64], f: impl Fn(f64) -> f64) {
    for value in values {
        *value = if is_absent(*value) { ABSENT } else { f(*value) };
    }
}

/// Applies to each value that is there, and the parameter of its step.
#[inline]
pub(super) fn with(values: &mut [f64], parameters: &[f64], f: impl Fn(f64, f64) -> f64) {
    for (value, parameter) in values.iter_mut().zip(parameters) {
        *value = if is_absent(*value) { ABSENT } else { f(*value, *parameter) };
    }
}

/// -1, 0 or 1; a zero keeps its sign, a NaN stays.
fn sign(value: f64) -> f64 {
    if value > 0.0 {
        1.0
    } else if value < 0.0 {
        -1.0
    } else {
        value
    }
}

/// As Go's `math.Max`: NaN where either is, but for an infinity that wins anyway.
pub(super) fn go_max(a: f64, b: f64) -> f64 {
    let infinite = a == f64::INFINITY || b == f64::INFINITY;
    match (infinite, a.is_nan() || b.is_nan()) {
        (true, _) => f64::INFINITY,
        (false, true) => f64::NAN,
        (false, false) => a.max(b),
    }
}

/// As Go's `math.Min`.
pub(super) fn go_min(a: f64, b: f64) -> f64 {
    -go_max(-a, -b)
}

/// Nothing at all where `min` exceeds `max`.
pub(super) fn clamp(values: &mut [f64], min: &[f64], max: &[f64]) {
    for ((value, min), max) in values.iter_mut().zip(min).zip(max) {
        let none = is_absent(*value) || max < min;
        *value = if none { ABSENT } else { go_max(*min, go_min(*max, *value)) };
    }
}

/// To the nearest multiple, halves up; by the inverse, which is exact for 0.1 and the like.
pub(super) fn round(values: &mut [f64], nearest: Option<&[f64]>) {
    let to = |value: f64, nearest: f64| {
        let inverse = 1.0 / nearest;
        (value * inverse + 0.5).floor() / inverse
    };
    match nearest {
        Some(nearest) => with(values, nearest, to),
        None => map(values, |value| to(value, 1.0)),
    }
}
