//! Aggregation across series: which series fold into one, and the aggregators.
//!
//! Owns: grouping, the aggregators that fold series by series in any order ([`Groups`]), and those
//! that need all series at once ([`ranked`], [`quantile`], [`count_values`]).

mod fold;
mod groups;
mod rank;

use super::labels::Labels;
use crate::model::METRIC_NAME_LABEL;

pub(super) use groups::Groups;
pub(super) use rank::{count_values, quantile, quantile_of, ranked};

/// An aggregator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AggregateOp {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    TopK,
    BottomK,
    Quantile,
    CountValues,
}

impl AggregateOp {
    /// Whether [`Groups`] can fold it.
    pub(super) fn folds(self) -> bool {
        use AggregateOp as A;
        !matches!(self, A::TopK | A::BottomK | A::Quantile | A::CountValues)
    }
}

/// Which labels the groups have: those listed, or all but those listed and the metric name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Grouping {
    pub(super) without: bool,
    pub(super) labels: Vec<String>,
}

impl Grouping {
    /// The labels of the group that a series is in.
    pub(super) fn key(&self, labels: &Labels) -> Labels {
        labels.without(|name| {
            let listed = self.labels.iter().any(|label| label == name);
            if self.without { listed || name == METRIC_NAME_LABEL } else { !listed }
        })
    }
}

#[cfg(test)]
mod tests;
