//! Arithmetic and comparison of values step by step.
//!
//! Owns: what an operator makes of two numbers, of two scalars, of a vector and a scalar. Does not
//! own: which series of two vectors belong together ([`super::matching`]).

use super::evaluate::merge_same;
use super::value::{ABSENT, Column, is_absent};
use crate::error::Result;

/// An operator of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

/// On which side of an operator a vector stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

impl BinaryOp {
    /// Whether it filters, where it does not return 0 or 1.
    pub(super) fn is_comparison(self) -> bool {
        use BinaryOp as B;
        let comparisons =
            [B::Equal, B::NotEqual, B::Less, B::LessEqual, B::Greater, B::GreaterEqual];
        comparisons.contains(&self)
    }

    /// Whether the result is no longer what its metric's name says.
    pub(super) fn drops_name(self, returns_bool: bool) -> bool {
        returns_bool || !self.is_comparison()
    }
}

/// Makes each of `values` the operation's result with the value of `others` at the same step;
/// absent where either is. `values` stand on this side of the operator. A comparison that returns
/// no bool leaves its left side's value where it holds and nothing where it does not; with
/// `keeps_own` the value of `values`, whatever their side.
pub(super) fn apply(
    op: BinaryOp,
    returns_bool: bool,
    (values, side): (&mut [f64], Side),
    others: &[f64],
    keeps_own: bool,
) {
    use BinaryOp as B;
    match op {
        B::Add => calculate(values, side, others, |left, right| left + right),
        B::Sub => calculate(values, side, others, |left, right| left - right),
        B::Mul => calculate(values, side, others, |left, right| left * right),
        B::Div => calculate(values, side, others, |left, right| left / right),
        B::Mod => calculate(values, side, others, |left, right| left % right),
        B::Pow => calculate(values, side, others, f64::powf),
        B::Atan2 => calculate(values, side, others, f64::atan2),
        comparison => {
            let own = keeps_own || side == Side::Left;
            let kept = move |holds: bool, value: f64, other: f64| match (returns_bool, holds) {
                (true, _) => f64::from(u8::from(holds)),
                (false, false) => ABSENT,
                (false, true) if own => value,
                (false, true) => other,
            };
            // Read from the right, `a < b` is `b > a`.
            let mirrored = match (comparison, side) {
                (other, Side::Left) => other,
                (B::Less, Side::Right) => B::Greater,
                (B::LessEqual, Side::Right) => B::GreaterEqual,
                (B::Greater, Side::Right) => B::Less,
                (B::GreaterEqual, Side::Right) => B::LessEqual,
                (other, Side::Right) => other,
            };
            match mirrored {
                B::Equal => zip(values, others, |a, b| kept(a == b, a, b)),
                B::NotEqual => zip(values, others, |a, b| kept(a != b, a, b)),
                B::Less => zip(values, others, |a, b| kept(a < b, a, b)),
                B::LessEqual => zip(values, others, |a, b| kept(a <= b, a, b)),
                B::Greater => zip(values, others, |a, b| kept(a > b, a, b)),
                _ => zip(values, others, |a, b| kept(a >= b, a, b)),
            }
        }
    }
}

fn calculate(values: &mut [f64], side: Side, others: &[f64], f: impl Fn(f64, f64) -> f64) {
    match side {
        Side::Left => zip(values, others, f),
        Side::Right => zip(values, others, |value, other| f(other, value)),
    }
}

#[inline]
fn zip(values: &mut [f64], others: &[f64], f: impl Fn(f64, f64) -> f64) {
    for (value, other) in values.iter_mut().zip(others) {
        let none = is_absent(*value) || is_absent(*other);
        *value = if none { ABSENT } else { f(*value, *other) };
    }
}

/// Of two scalars; a comparison, which has to return a bool, gives 0 or 1.
pub(super) fn scalars(op: BinaryOp, mut left: Vec<f64>, right: &[f64]) -> Vec<f64> {
    apply(op, op.is_comparison(), (&mut left, Side::Left), right, true);
    left
}

/// Of a vector on this side and a scalar on the other. A comparison that returns no bool keeps the
/// vector's values where it holds.
///
/// # Errors
/// [`Error::Evaluation`](crate::Error::Evaluation) where two results have the same labels at the
/// same step; what `check`, asked once a column, gives.
pub(super) fn vector_scalar(
    op: BinaryOp,
    returns_bool: bool,
    (mut vector, side): (Vec<Column>, Side),
    scalar: &[f64],
    check: &impl Fn() -> Result<()>,
) -> Result<Vec<Column>> {
    let drops_name = op.drops_name(returns_bool);
    for column in &mut vector {
        check()?;
        apply(op, returns_bool, (&mut column.values, side), scalar, true);
        if drops_name {
            column.labels = column.labels.without_name();
        }
    }
    vector.retain(|column| !column.is_empty());
    if drops_name { merge_same(vector) } else { Ok(vector) }
}

#[cfg(test)]
mod tests {
    use super::super::labels::Labels;
    use super::*;

    fn column(name: &str, label: &str, values: &[f64]) -> Column {
        let labels = Labels::new([("__name__", name), ("l", label)]);
        Column { labels, values: values.to_vec() }
    }

    fn bits(values: &[f64]) -> Vec<u64> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    #[test]
    fn numbers_are_calculated_as_go_does() {
        use BinaryOp as B;
        let one = |op, left, right| scalars(op, vec![left], &[right])[0];
        assert_eq!(one(B::Add, 1.0, 2.0), 3.0);
        assert_eq!(one(B::Sub, 1.0, 2.0), -1.0);
        assert_eq!(one(B::Div, 1.0, 0.0), f64::INFINITY);
        assert!(one(B::Div, 0.0, 0.0).is_nan());
        assert_eq!(one(B::Mod, -7.0, 3.0), -1.0);
        assert!(one(B::Mod, 1.0, 0.0).is_nan());
        assert_eq!(one(B::Pow, 2.0, 10.0), 1024.0);
        assert_eq!(one(B::Pow, 1.0, f64::NAN), 1.0);
        assert_eq!(one(B::Atan2, 1.0, 0.0), std::f64::consts::FRAC_PI_2);
        assert_eq!(one(B::LessEqual, 1.0, 1.0), 1.0);
        assert_eq!(one(B::Greater, 1.0, 1.0), 0.0);
        assert_eq!(one(B::NotEqual, f64::NAN, f64::NAN), 1.0);
    }

    #[test]
    fn arithmetic_drops_the_name_and_leaves_gaps() {
        let vector = vec![column("m", "a", &[1.0, ABSENT, 3.0])];
        let found =
            vector_scalar(BinaryOp::Sub, false, (vector, Side::Right), &[10.0; 3], &|| Ok(()));
        let found = found.unwrap();
        assert_eq!(found[0].labels, Labels::new([("l", "a")]));
        assert_eq!(bits(&found[0].values), bits(&[9.0, ABSENT, 7.0]));
    }

    #[test]
    fn a_filter_keeps_the_vectors_value_and_name() {
        // 2 < m
        let vector = vec![column("m", "a", &[1.0, 3.0]), column("m", "b", &[0.0, 1.0])];
        let found =
            vector_scalar(BinaryOp::Less, false, (vector, Side::Right), &[2.0; 2], &|| Ok(()));
        let found = found.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].labels.get("__name__"), "m");
        assert_eq!(bits(&found[0].values), bits(&[ABSENT, 3.0]));
    }

    #[test]
    fn bool_gives_0_and_1_without_a_name() {
        let vector = vec![column("m", "a", &[1.0, 3.0, ABSENT])];
        let found =
            vector_scalar(BinaryOp::Greater, true, (vector, Side::Left), &[2.0; 3], &|| Ok(()));
        let found = found.unwrap();
        assert_eq!(found[0].labels.get("__name__"), "");
        assert_eq!(bits(&found[0].values), bits(&[0.0, 1.0, ABSENT]));
    }

    #[test]
    fn dropped_names_must_not_meet_at_a_step() {
        let at = |values: [&[f64]; 2]| {
            let vector = vec![column("m", "a", values[0]), column("n", "a", values[1])];
            vector_scalar(BinaryOp::Add, false, (vector, Side::Left), &[1.0; 2], &|| Ok(()))
        };
        assert!(at([&[1.0, 1.0], &[1.0, ABSENT]]).is_err());
        let merged = at([&[ABSENT, 1.0], &[2.0, ABSENT]]).unwrap();
        assert_eq!((merged.len(), &merged[0].values[..]), (1, &[3.0, 2.0][..]));
    }
}
