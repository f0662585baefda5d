//! Aggregations folded while their series are read: series × steps never stand.

use super::aggregate::Groups;
use super::budget::values_bytes;
use super::evaluate::Evaluation;
use super::labels::Labels;
use super::over_range;
use super::plan::{Aggregate, Node, RangeSource, Reach, Selection};
use super::range::RangeCall;
use super::select::{self, Found, SampleRoom, Taken};
use super::steps::Steps;
use super::value::{Column, is_absent};
use crate::error::Result;
use crate::model::{METRIC_NAME_LABEL, MatchOp, Selector};

/// What makes a column of each series that a selector finds.
enum Source<'n> {
    Latest(&'n Selection, Reach, Taken),
    OverRange(&'n Selection, RangeCall),
}

/// What one task has folded.
struct Shard<'a> {
    room: SampleRoom<'a>,
    groups: Groups<'a>,
    /// A series' column, for the next one too.
    values: Vec<f64>,
}

/// The groups' columns, where the aggregation can be folded so.
///
/// # Errors
/// Those of reading.
pub(super) fn aggregate(
    evaluation: &Evaluation<'_>,
    aggregate: &Aggregate,
    steps: Steps,
) -> Result<Option<Vec<Column>>> {
    if !folds(aggregate) {
        return Ok(None);
    }
    let Some(source) = source(evaluation, &aggregate.inner, steps)? else { return Ok(None) };
    let (selection, looks) = match &source {
        Source::Latest(selection, reach, _) => (selection, (*reach, evaluation.lookback)),
        Source::OverRange(selection, call) => (selection, (call.reach, call.range)),
    };
    let begin = || Shard {
        room: SampleRoom::new(&evaluation.budget),
        groups: Groups::new(aggregate.op, &aggregate.grouping, steps.len()),
        values: Vec::new(),
    };
    let bucket = match &source {
        Source::Latest(..) => None,
        Source::OverRange(_, call) => call.bucket,
    };
    let one = |shard: &mut Shard<'_>, found: Found<'_, '_, '_>| {
        if shard.values.capacity() == 0 {
            evaluation.budget.reserve(values_bytes(steps.len()))?;
        }
        shard.values.clear();
        let Some(labels) = source.column(evaluation, found, shard)? else { return Ok(()) };
        let before = shard.groups.len();
        shard.groups.add(&labels, &shard.values);
        let new = (shard.groups.len() - before) as u64;
        evaluation.budget.reserve(new * shard.groups.group_bytes())
    };
    let shards = select::fold_by(evaluation, selection, looks, bucket, begin, one)?;
    if let Source::OverRange(_, call) = &source {
        over_range::release_parameters(evaluation, call);
    }
    let mut merged = Groups::new(aggregate.op, &aggregate.grouping, steps.len());
    let mut held = 0;
    for Shard { groups, values, .. } in shards {
        evaluation.budget.check()?;
        held += groups.len() as u64 * groups.group_bytes();
        held += if values.capacity() == 0 { 0 } else { values_bytes(steps.len()) };
        merged.merge(groups);
    }
    evaluation.budget.release(held);
    Ok(Some(merged.finish()))
}

/// Whether an aggregation is folded while its series are read.
pub(super) fn folds(aggregate: &Aggregate) -> bool {
    aggregate.op.folds()
        && match &*aggregate.inner {
            Node::Latest(_) => true,
            Node::OverRange(over) => match &over.ranged.source {
                // Names go: whether two series become one is seen where all columns stand.
                RangeSource::Selector(selection) => {
                    over.function.keeps_name() || names_one_metric(&selection.selector)
                }
                RangeSource::Subquery(_) => false,
            },
            _ => false,
        }
}

/// What is read for an aggregation that [`folds`].
///
/// # Errors
/// Those of evaluating parameters.
fn source<'n>(
    evaluation: &Evaluation<'_>,
    inner: &'n Node,
    steps: Steps,
) -> Result<Option<Source<'n>>> {
    Ok(match inner {
        Node::Latest(selection) => {
            let reach = selection.moment.reach(steps, evaluation.query);
            Some(Source::Latest(selection, reach, Taken::Value))
        }
        Node::OverRange(over) => match &over.ranged.source {
            RangeSource::Selector(selection) => {
                let call = over_range::prepare(evaluation, over, steps)?;
                Some(Source::OverRange(selection, call))
            }
            RangeSource::Subquery(_) => None,
        },
        _ => None,
    })
}

fn names_one_metric(selector: &Selector) -> bool {
    let one = |op| op == MatchOp::Equal;
    selector.matchers().iter().any(|m| m.name() == METRIC_NAME_LABEL && one(m.op()))
}

impl Source<'_> {
    /// Fills the shard's column; its labels, where it has any value.
    fn column(
        &self,
        evaluation: &Evaluation<'_>,
        found: Found<'_, '_, '_>,
        shard: &mut Shard<'_>,
    ) -> Result<Option<Labels>> {
        let Shard { room, values, .. } = shard;
        let series = found.series;
        let named = match self {
            Self::Latest(_, reach, taken) => {
                let looks = (*reach, evaluation.lookback);
                select::latest_of(found.runs, looks, *taken, values)?;
                true
            }
            Self::OverRange(_, call) => {
                over_range::fill(evaluation, call, found.runs, room, values)?;
                call.function.keeps_name()
            }
        };
        if values.iter().all(|value| is_absent(*value)) {
            return Ok(None);
        }
        if let Self::OverRange(_, call) = self
            && call.function.wants_counter()
        {
            evaluation.notes.not_a_counter(series.name());
        }
        Ok(Some(over_range::series_labels(series, named)))
    }
}
