//! Selectors: columns of the latest samples, and the samples of ranges, read in parallel.

use std::sync::Arc;
use std::time::Duration;

use super::budget::{Budget, labels_bytes, values_bytes};
use super::evaluate::Evaluation;
use super::labels::Labels;
use super::plan::{Reach, Selection};
use super::range::{Samples, seconds};
use super::value::{ABSENT, Column, Run};
use crate::error::Result;
use crate::model::{Series, is_stale};
use crate::query::SeriesRuns;
use crate::time::{Tier, TimeRange, Timestamp};

/// What an instant selector takes of the latest sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Value,
    /// In seconds.
    Time,
}

/// The columns of an instant selector, ascending by series; series without a sample are left out.
///
/// # Errors
/// Limits, deadline, cancellation; I/O or corruption.
pub(super) fn latest(
    evaluation: &Evaluation<'_>,
    selection: &Selection,
    reach: Reach,
    taken: Taken,
) -> Result<Vec<Column>> {
    let lookback = evaluation.lookback;
    let columns = fold(evaluation, selection, (reach, lookback), Vec::new, |columns, found| {
        let labels = || Labels::from(&**found.series);
        let fill = |values: &mut Vec<f64>| latest_of(found.runs, (reach, lookback), taken, values);
        columns.extend(evaluation.column(reach.steps.len(), labels, fill)?);
        Ok(())
    })?;
    Ok(columns.into_iter().flatten().collect())
}

/// A series that a selector found.
pub(super) struct Found<'f, 'w, 'a> {
    pub(super) series: &'f Arc<Series>,
    pub(super) runs: SeriesRuns<'w, 'a>,
}

/// Folds the series of a selector in parallel, reading what looks of a length see; notes the
/// evidence.
///
/// # Errors
/// As [`latest`], and what `fold` returns.
pub(super) fn fold<S: Send>(
    evaluation: &Evaluation<'_>,
    selection: &Selection,
    (reach, length): (Reach, i64),
    begin: impl Fn() -> S + Sync + Send,
    fold: impl Fn(&mut S, Found<'_, '_, '_>) -> Result<()> + Sync + Send,
) -> Result<Vec<S>> {
    fold_by(evaluation, selection, (reach, length), None, begin, fold)
}

/// As [`fold`], of series that may be read bucket by bucket.
///
/// # Errors
/// As [`fold`].
pub(super) fn fold_by<S: Send>(
    evaluation: &Evaluation<'_>,
    selection: &Selection,
    (reach, length): (Reach, i64),
    bucket: Option<i64>,
    begin: impl Fn() -> S + Sync + Send,
    fold: impl Fn(&mut S, Found<'_, '_, '_>) -> Result<()> + Sync + Send,
) -> Result<Vec<S>> {
    let begins = reach.first().saturating_sub(length);
    // Open at its start, closed at its end: each a nanosecond later half-open.
    let seen = TimeRange::new(
        Timestamp(begins.saturating_add(1)),
        Timestamp(reach.last().saturating_add(1)),
    );
    if seen.is_empty() {
        return Ok(Vec::new());
    }
    // The bucket behind the last look tells of a sample at its very end; a day of it does.
    let range = match bucket {
        None => seen,
        Some(nanos) => {
            let behind = nanos.min(Tier::DAY.nanos());
            TimeRange::new(Timestamp(begins), Timestamp(reach.last().saturating_add(behind)))
        }
    };
    let bucket = bucket.map(|nanos| Duration::from_nanos(nanos.unsigned_abs()));
    let request = evaluation.budget.request(evaluation.options, range);
    let fold = |state: &mut S, series: &Arc<Series>, runs: SeriesRuns<'_, '_>| {
        evaluation.budget.check()?;
        let runs = runs.within(seen);
        let runs = if reach.step() > length {
            runs.only(move |first, last| reach.sees(length, (first.0, last.0)))
        } else {
            runs
        };
        fold(state, Found { series, runs })
    };
    let (states, evidence) =
        evaluation.engine.fold_series(&selection.selector, &request, bucket, begin, fold)?;
    evaluation.notes.read(selection, evidence);
    Ok(states)
}

/// Appends the latest sample that each look sees, [`ABSENT`] where there is none or it is a stale
/// marker.
pub(super) fn latest_of(
    runs: SeriesRuns<'_, '_>,
    (reach, lookback): (Reach, i64),
    taken: Taken,
    out: &mut Vec<f64>,
) -> Result<()> {
    let steps = reach.steps.len();
    let mut newest: Option<(i64, f64)> = None;
    let value = |newest: Option<(i64, f64)>, end: i64| match newest {
        Some((time, value)) if time > end.saturating_sub(lookback) && !is_stale(value) => {
            if taken == Taken::Value { value } else { seconds(time) }
        }
        _ => ABSENT,
    };
    runs.visit(|times, values| {
        let mut row = 0;
        while out.len() < steps {
            let end = reach.end(out.len());
            let rest = times.get(row..).unwrap_or_default();
            let few = rest.iter().take(16).take_while(|time| **time <= end).count();
            row += if few < 16 { few } else { rest.partition_point(|time| *time <= end) };
            if row == times.len() {
                // The next run may hold something later.
                break;
            }
            let before = row.checked_sub(1);
            let sample = before.and_then(|row| Some((*times.get(row)?, *values.get(row)?)));
            newest = sample.or(newest);
            out.push(value(newest, end));
        }
        newest = times.last().copied().zip(values.last().copied()).or(newest);
        Ok(())
    })?;
    for step in out.len()..steps {
        out.push(value(newest, reach.end(step)));
    }
    Ok(())
}

/// Room for the samples of one series at a time.
#[derive(Debug)]
pub(super) struct SampleRoom<'b> {
    times: Vec<i64>,
    values: Vec<f64>,
    /// How many samples are paid for.
    reserved: usize,
    budget: &'b Budget,
}

impl<'b> SampleRoom<'b> {
    pub(super) fn new(budget: &'b Budget) -> Self {
        Self { times: Vec::new(), values: Vec::new(), reserved: 0, budget }
    }

    /// Takes in all samples of a series but stale markers.
    ///
    /// # Errors
    /// Those of reading.
    pub(super) fn take(&mut self, runs: SeriesRuns<'_, '_>) -> Result<Samples<'_>> {
        self.times.clear();
        self.values.clear();
        runs.visit(|times, values| {
            let needed = self.times.len() + times.len();
            let more = needed.saturating_sub(self.reserved);
            self.budget.reserve(2 * values_bytes(more))?;
            self.reserved += more;
            if values.iter().any(|value| is_stale(*value)) {
                let fresh = times.iter().zip(values).filter(|(_, value)| !is_stale(**value));
                for (time, value) in fresh {
                    self.times.push(*time);
                    self.values.push(*value);
                }
            } else {
                self.times.extend_from_slice(times);
                self.values.extend_from_slice(values);
            }
            Ok(())
        })?;
        Ok(Samples { times: &self.times, values: &self.values })
    }
}

impl Drop for SampleRoom<'_> {
    fn drop(&mut self) {
        self.budget.release(2 * values_bytes(self.reserved));
    }
}

/// The samples of a range vector by itself, at the only step.
///
/// # Errors
/// As [`latest`].
pub(super) fn samples(
    evaluation: &Evaluation<'_>,
    selection: &Selection,
    reach: Reach,
    range: i64,
) -> Result<Vec<Run>> {
    let begin = || (SampleRoom::new(&evaluation.budget), Vec::new());
    let states =
        fold(evaluation, selection, (reach, range), begin, |(room, found_runs), found| {
            let labels = Labels::from(&**found.series);
            let Samples { times, values } = room.take(found.runs)?;
            if !times.is_empty() {
                let bytes = labels_bytes(&labels) + 2 * values_bytes(times.len());
                evaluation.budget.reserve(bytes)?;
                let (timestamps, values) = (times.to_vec(), values.to_vec());
                found_runs.push(Run { labels, timestamps, values });
            }
            Ok(())
        })?;
    Ok(states.into_iter().flat_map(|(_, runs)| runs).collect())
}
