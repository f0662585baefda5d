//! What may be meant of distributions: `histogram_...` of a selector, of its `rate` or `increase`,
//! or of the sum of either.

use super::{Aggregate, Node, OfDistribution, OverRange, RangeSource, Ranged, Summary};
use crate::promql::aggregate::AggregateOp;
use crate::promql::range::RangeFunction;

/// A node for a summary of `of`, if that has the shape; `otherwise` what it means of other series.
pub(super) fn node(summary: Summary, of: &Node, otherwise: Option<Node>) -> Option<Node> {
    let (grouping, inner) = match of {
        Node::Aggregate(Aggregate { op: AggregateOp::Sum, grouping, inner, .. }) => {
            (Some(grouping.clone()), &**inner)
        }
        other => (None, other),
    };
    let (selection, range, per_second) = match inner {
        Node::Latest(selection) => (selection, None, false),
        Node::OverRange(OverRange {
            function: function @ (RangeFunction::Rate | RangeFunction::Increase),
            ranged: Ranged { range, source: RangeSource::Selector(selection) },
            ..
        }) => (selection, Some(*range), *function == RangeFunction::Rate),
        _ => return None,
    };
    let selection = selection.clone();
    let otherwise = otherwise.map(Box::new);
    Some(Node::OfDistribution(OfDistribution {
        summary,
        selection,
        range,
        per_second,
        grouping,
        otherwise,
    }))
}
