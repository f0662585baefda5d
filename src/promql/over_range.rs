//! Functions over ranges of selectors and of subqueries: from samples to columns.

use std::collections::HashSet;
use std::sync::Arc;

use super::buckets;
use super::budget::{labels_bytes, values_bytes};
use super::evaluate::{Evaluation, same_labels};
use super::functions;
use super::labels::Labels;
use super::plan::{OverRange, RangeSource, Subquery};
use super::range::{RangeCall, RangeFunction, Samples};
use super::select::{self, Found, SampleRoom};
use super::steps::Steps;
use super::value::{Column, Run, is_absent};
use crate::aggregate::Partial;
use crate::error::Result;
use crate::model::{METRIC_NAME_LABEL, Series};
use crate::query::SeriesRuns;
use crate::time::{Timestamp, duration_nanos};

/// The function's columns.
///
/// # Errors
/// [`Error::Evaluation`](crate::Error::Evaluation) where two series have the same labels without their names; those of
/// reading.
pub(super) fn columns(
    evaluation: &Evaluation<'_>,
    over: &OverRange,
    steps: Steps,
) -> Result<Vec<Column>> {
    let call = prepare(evaluation, over, steps)?;
    let columns = match &over.ranged.source {
        RangeSource::Selector(selection) => {
            let begin = || (SampleRoom::new(&evaluation.budget), Vec::new());
            let looks = (call.reach, call.range);
            let one = |state: &mut (SampleRoom<'_>, Vec<Column>), found: Found<'_, '_, '_>| {
                let (room, columns) = state;
                columns.extend(series_column(evaluation, &call, found, room)?);
                Ok(())
            };
            let states = select::fold_by(evaluation, selection, looks, call.bucket, begin, one)?;
            states.into_iter().flat_map(|(_, columns)| columns).collect()
        }
        RangeSource::Subquery(subquery) => subquery_columns(evaluation, &call, subquery, steps)?,
    };
    release_parameters(evaluation, &call);
    if call.function.keeps_name() { Ok(columns) } else { all_different(columns) }
}

/// The column of one series, if it has any value.
fn series_column(
    evaluation: &Evaluation<'_>,
    call: &RangeCall,
    found: Found<'_, '_, '_>,
    room: &mut SampleRoom<'_>,
) -> Result<Option<Column>> {
    let series = found.series;
    let labels = || series_labels(series, call.function.keeps_name());
    let fill = |values: &mut Vec<f64>| fill(evaluation, call, found.runs, room, values);
    let column = evaluation.column(call.reach.steps.len(), labels, fill)?;
    if column.is_some() && call.function.wants_counter() {
        evaluation.notes.not_a_counter(series.name());
    }
    Ok(column)
}

/// Appends the value of every step, from buckets where there are any and they tell all, else from
/// samples; nothing where there are no samples.
///
/// # Errors
/// Those of reading.
pub(super) fn fill(
    evaluation: &Evaluation<'_>,
    call: &RangeCall,
    mut runs: SeriesRuns<'_, '_>,
    room: &mut SampleRoom<'_>,
    values: &mut Vec<f64>,
) -> Result<()> {
    if call.bucket.is_some() {
        let records = runs.buckets()?;
        let bytes = (records.len() * (size_of::<i64>() + size_of::<Partial>())) as u64;
        evaluation.budget.reserve(bytes)?;
        let answered = records.is_empty() || buckets::column(call, &records, values);
        evaluation.budget.release(bytes);
        if answered {
            return Ok(());
        }
    }
    let samples = room.take(runs)?;
    if samples.times.is_empty() { Ok(()) } else { call.column(samples, &evaluation.budget, values) }
}

pub(super) fn series_labels(series: &Arc<Series>, named: bool) -> Labels {
    if named { Labels::from(&**series) } else { Labels::from_sorted(series.labels()) }
}

/// What a function is called with at `steps`.
pub(super) fn prepare(
    evaluation: &Evaluation<'_>,
    over: &OverRange,
    steps: Steps,
) -> Result<RangeCall> {
    let parameters = over.parameters.iter();
    let parameters: Vec<Vec<f64>> = parameters
        .map(|parameter| evaluation.scalar_node(parameter, steps))
        .collect::<Result<_>>()?;
    if let (RangeFunction::Quantile, [phis, ..]) = (over.function, parameters.as_slice()) {
        let odd = phis.iter().find(|phi| !(0.0..=1.0).contains(*phi));
        if let Some(phi) = odd {
            evaluation.notes.invalid_quantile(*phi);
        }
    }
    let moment = match &over.ranged.source {
        RangeSource::Selector(selection) => selection.moment,
        RangeSource::Subquery(subquery) => subquery.moment,
    };
    let (function, range) = (over.function, over.ranged.range);
    let reach = moment.reach(steps, evaluation.query);
    let bucket = match &over.ranged.source {
        RangeSource::Selector(_) => {
            buckets::bucket_of(function, (range, reach), evaluation.options.tiers)
        }
        RangeSource::Subquery(_) => None,
    };
    Ok(RangeCall { function, range, reach, parameters, bucket })
}

/// Gives back what the parameters held.
pub(super) fn release_parameters(evaluation: &Evaluation<'_>, call: &RangeCall) {
    let values: usize = call.parameters.iter().map(Vec::len).sum();
    evaluation.budget.release(values_bytes(values));
}

/// `absent_over_time`: 1 at the steps where no series has a sample.
///
/// # Errors
/// As [`columns`].
pub(super) fn absent(
    evaluation: &Evaluation<'_>,
    present: &OverRange,
    labels: &Labels,
    steps: Steps,
) -> Result<Vec<Column>> {
    let found = columns(evaluation, present, steps)?;
    evaluation.budget.reserve(values_bytes(steps.len()) + labels_bytes(labels))?;
    let column = functions::absent(&found, labels, steps.len());
    release_columns(evaluation, &found);
    Ok(column)
}

fn release_columns(evaluation: &Evaluation<'_>, columns: &[Column]) {
    let bytes = |c: &Column| labels_bytes(&c.labels) + values_bytes(c.values.len());
    evaluation.budget.release(columns.iter().map(bytes).sum());
}

/// # Errors
/// [`Error::Evaluation`](crate::Error::Evaluation) where two columns have the same labels, whatever their steps: what
/// Prometheus refuses too.
fn all_different(columns: Vec<Column>) -> Result<Vec<Column>> {
    let mut seen = HashSet::with_capacity(columns.len());
    if columns.iter().all(|column| seen.insert(&column.labels)) {
        return Ok(columns);
    }
    Err(same_labels())
}

/// The inner expression's columns, with the steps they stand at.
fn subquery_inner(
    evaluation: &Evaluation<'_>,
    subquery: &Subquery,
    range: i64,
    steps: Steps,
) -> Result<Option<(Steps, Vec<Column>)>> {
    let default = || duration_nanos(evaluation.options.subquery_step).max(1);
    let step = subquery.step.unwrap_or_else(default);
    let reach = subquery.moment.reach(steps, evaluation.query);
    // The first multiple of the step that a window can see.
    let bound = reach.first().saturating_sub(range);
    let start = bound.saturating_sub(bound.rem_euclid(step)).saturating_add(step);
    if start > reach.last() {
        return Ok(None);
    }
    let inner_steps = Steps::new(Timestamp(start), Timestamp(reach.last()), step)?;
    Ok(Some((inner_steps, evaluation.vector_node(&subquery.inner, inner_steps)?)))
}

fn subquery_columns(
    evaluation: &Evaluation<'_>,
    call: &RangeCall,
    subquery: &Subquery,
    steps: Steps,
) -> Result<Vec<Column>> {
    let Some((inner_steps, inner)) = subquery_inner(evaluation, subquery, call.range, steps)?
    else {
        return Ok(Vec::new());
    };
    let (mut times, mut values) = (Vec::new(), Vec::new());
    let mut columns = Vec::new();
    for column in &inner {
        evaluation.budget.check()?;
        times.clear();
        values.clear();
        let present =
            inner_steps.iter().zip(&column.values).filter(|(_, value)| !is_absent(**value));
        for (time, value) in present {
            times.push(time.0);
            values.push(*value);
        }
        let name = column.labels.get(METRIC_NAME_LABEL);
        let keeps_name = call.function.keeps_name();
        let labels =
            || if keeps_name { column.labels.clone() } else { column.labels.without_name() };
        let samples = Samples { times: &times, values: &values };
        let fill = |out: &mut Vec<f64>| call.column(samples, &evaluation.budget, out);
        let found = evaluation.column(steps.len(), labels, fill)?;
        if found.is_some() && call.function.wants_counter() && !name.is_empty() {
            evaluation.notes.not_a_counter(name);
        }
        columns.extend(found);
    }
    release_columns(evaluation, &inner);
    Ok(columns)
}

/// A subquery by itself, at the only step.
///
/// # Errors
/// As [`columns`].
pub(super) fn subquery_runs(
    evaluation: &Evaluation<'_>,
    subquery: &Subquery,
    range: i64,
    steps: Steps,
) -> Result<Vec<Run>> {
    let Some((inner_steps, inner)) = subquery_inner(evaluation, subquery, range, steps)? else {
        return Ok(Vec::new());
    };
    let mut runs = Vec::with_capacity(inner.len());
    for Column { labels, values } in inner {
        evaluation.budget.reserve(values_bytes(values.len()))?;
        let present = inner_steps.iter().zip(values).filter(|(_, value)| !is_absent(*value));
        let (timestamps, values) = present.map(|(time, value)| (time.0, value)).unzip();
        runs.push(Run { labels, timestamps, values });
    }
    runs.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(runs)
}
