//! The plan: an expression as what there is to compute.
//!
//! Owns: the typed tree, and lowering the parsed text to it: type checks, constant folding, which
//! parts are the same at every step. Does not own: computing anything over data.

mod call;
mod distribution;
mod invariant;
mod lower;
mod moment;
mod operators;
mod outline;
mod text;

pub(super) use lower::lower;
pub(super) use moment::{Moment, Pin, Reach};
pub(super) use text::{SyntaxTree, parse};

use super::aggregate::{AggregateOp, Grouping};
use super::binary::BinaryOp;
use super::functions::Function;
use super::labels::Labels;
use super::matching::{Matching, SetOp};
use super::range::RangeFunction;
use super::value::ValueType;
use crate::model::Selector;

/// One thing to compute.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// A scalar, the same at every step.
    Number(f64),
    /// A text.
    Text(String),
    /// `time()`: the steps themselves, in seconds.
    Time,
    /// The latest sample's value, of each series.
    Latest(Selection),
    /// The latest sample's time: `timestamp(m)`.
    LatestTime(Selection),
    /// A range vector by itself: a whole query, or nothing that is allowed.
    Range(Ranged),
    /// A function over the samples of a range.
    OverRange(OverRange),
    /// `absent_over_time`: `present_over_time`, and the labels of what there is if nothing is there.
    AbsentOverRange(OverRange, Labels),
    /// `-x`.
    Negate(Box<Self>),
    /// `op by (...) (x)`.
    Aggregate(Aggregate),
    /// `x op y`.
    Binary(Box<Binary>),
    /// A function of instant vectors, scalars and texts.
    Call(Function, Vec<Self>),
    /// A function of distributions, or of what else has the same shape.
    OfDistribution(OfDistribution),
    /// Does not depend on the step: computed once.
    Once(Box<Self>),
}

/// A selector, and when it looks.
#[derive(Debug, Clone)]
pub(super) struct Selection {
    /// Which of the query's selectors, in the order of the text.
    pub(super) index: usize,
    pub(super) selector: Selector,
    pub(super) moment: Moment,
}

/// A range vector.
#[derive(Debug, Clone)]
pub(super) struct Ranged {
    /// Nanoseconds, positive.
    pub(super) range: i64,
    pub(super) source: RangeSource,
}

/// Where the samples of a range come from.
#[derive(Debug, Clone)]
pub(super) enum RangeSource {
    /// As they are stored.
    Selector(Selection),
    /// An expression at steps of its own: `x[1h:1m]`.
    Subquery(Subquery),
}

/// An expression at steps of its own.
#[derive(Debug, Clone)]
pub(super) struct Subquery {
    pub(super) inner: Box<Node>,
    pub(super) moment: Moment,
    /// Nanoseconds, positive; `None`: the default.
    pub(super) step: Option<i64>,
}

/// A function over the samples of a range.
#[derive(Debug, Clone)]
pub(super) struct OverRange {
    pub(super) function: RangeFunction,
    pub(super) ranged: Ranged,
    /// Scalars, as many as the function takes beside the range.
    pub(super) parameters: Vec<Node>,
}

/// `op by (...) (x)`.
#[derive(Debug, Clone)]
pub(super) struct Aggregate {
    pub(super) op: AggregateOp,
    pub(super) grouping: Grouping,
    pub(super) parameter: Option<Box<Node>>,
    pub(super) inner: Box<Node>,
}

/// What is asked of a distribution.
#[derive(Debug, Clone)]
pub(super) enum Summary {
    /// `histogram_quantile`, with the quantile.
    Quantile(Box<Node>),
    /// `histogram_count`.
    Count,
    /// `histogram_sum`.
    Sum,
    /// `histogram_avg`.
    Avg,
}

/// A function of distributions: whether the series are some is known when they are looked for.
#[derive(Debug, Clone)]
pub(super) struct OfDistribution {
    pub(super) summary: Summary,
    pub(super) selection: Selection,
    /// Nanoseconds; `None`: the lookback.
    pub(super) range: Option<i64>,
    /// Of a `rate`: counts and sums are by the second.
    pub(super) per_second: bool,
    /// `None`: each series by itself.
    pub(super) grouping: Option<Grouping>,
    /// What it means where the series are no distributions, if anything.
    pub(super) otherwise: Option<Box<Node>>,
}

/// What stands between two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Number(BinaryOp),
    Set(SetOp),
}

/// `x op y`.
#[derive(Debug, Clone)]
pub(super) struct Binary {
    pub(super) op: Operator,
    pub(super) matching: Matching,
    pub(super) left: Node,
    pub(super) right: Node,
}

impl Node {
    /// What it evaluates to.
    pub(super) fn value_type(&self) -> ValueType {
        match self {
            Self::Number(_) | Self::Time => ValueType::Scalar,
            Self::Text(_) => ValueType::Text,
            Self::Latest(_)
            | Self::LatestTime(_)
            | Self::OverRange(_)
            | Self::OfDistribution(_)
            | Self::AbsentOverRange(..)
            | Self::Aggregate(_) => ValueType::Vector,
            Self::Range(_) => ValueType::Matrix,
            Self::Negate(inner) | Self::Once(inner) => inner.value_type(),
            Self::Binary(binary) => match (binary.left.value_type(), binary.right.value_type()) {
                (ValueType::Scalar, ValueType::Scalar) => ValueType::Scalar,
                _ => ValueType::Vector,
            },
            Self::Call(function, _) => function.value_type(),
        }
    }
}
