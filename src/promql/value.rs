//! Values: what an expression is while it is evaluated, and what comes back.

use std::fmt;

use super::labels::Labels;
use super::steps::Steps;
use crate::model::{STALE_MARKER_BITS, is_stale};
use crate::query::Evidence;

/// What stands in a column where the series has no value at a step: the stale marker, which no
/// selected sample and no operation can yield as a value. Test with [`is_absent`], never with `==`.
pub const ABSENT: f64 = f64::from_bits(STALE_MARKER_BITS);

/// Whether a column has no value there. Any other NaN is a value.
#[must_use]
#[inline]
pub fn is_absent(value: f64) -> bool {
    is_stale(value)
}

/// One series of a result: its labels, and a value for each step.
#[derive(Debug, Clone)]
pub struct Column {
    /// What it is called.
    pub labels: Labels,
    /// One value a step, in the order of the steps; [`ABSENT`] where there is none.
    pub values: Vec<f64>,
}

impl Column {
    /// Whether it has no value at any step.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.iter().all(|value| is_absent(*value))
    }
}

/// Samples as they were stored: what a range selector or subquery by itself answers.
#[derive(Debug, Clone)]
pub struct Run {
    /// What the series is called.
    pub labels: Labels,
    /// Nanoseconds since the epoch, strictly ascending.
    pub timestamps: Vec<i64>,
    /// As many.
    pub values: Vec<f64>,
}

/// What an expression evaluates to.
#[derive(Debug, Clone)]
pub enum Value {
    /// One number a step.
    Scalar(Vec<f64>),
    /// A text.
    Text(String),
    /// An instant vector a step, by series: no two columns of the same labels have a value at the
    /// same step, and no column is empty. Ascending by labels, but where the expression orders the
    /// series of an instant query itself (`sort`, `topk`).
    Vector(Vec<Column>),
    /// A range vector; of instant queries only. Ascending by labels.
    Matrix(Vec<Run>),
}

/// The answer to a query.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// When it was evaluated.
    pub steps: Steps,
    /// What came out.
    pub value: Value,
    /// What a person should know before trusting it: gaps where only a coarser tier is left, a
    /// quantile outside 0 to 1, ... One sentence each, no two alike.
    pub warnings: Vec<String>,
    /// What may explain a surprise, as Prometheus' infos: a rate of what does not look like a
    /// counter.
    pub infos: Vec<String>,
    /// What was read: one evidence a selector, in the order of the text, with that text.
    pub evidence: Vec<(String, Evidence)>,
}

/// The type of an expression, known before it is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// [`Value::Scalar`].
    Scalar,
    /// [`Value::Text`].
    Text,
    /// [`Value::Vector`].
    Vector,
    /// [`Value::Matrix`].
    Matrix,
}

impl fmt::Display for ValueType {
    /// As Prometheus' messages name it: `instant vector`, ...
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scalar => "scalar",
            Self::Text => "string",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
        })
    }
}
