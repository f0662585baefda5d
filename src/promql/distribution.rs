//! Distribution series, answered from their merged sketches: `histogram_quantile` and its like over
//! what handles recorded.
//!
//! A distribution's samples are what was observed in their interval, so a window's observations are
//! those of its samples, whether `rate` or `increase` is asked for; `rate` divides counts and sums by
//! the range. A selector without a range looks at the lookback.

use std::collections::BTreeSet;

use super::budget::values_bytes;
use super::evaluate::{Evaluation, merge_same};
use super::labels::Labels;
use super::plan::{OfDistribution, Reach, Summary};
use super::steps::Steps;
use super::value::{ABSENT, Column, Value};
use crate::error::{Error, Result};
use crate::model::{METRIC_NAME_LABEL, MetricKind, Selector};
use crate::query::{Answer, Evidence, Function, Group, GroupKey, Grouping, Request};
use crate::time::{TimeRange, Timestamp};

/// The columns of a node that may be about distributions.
///
/// # Errors
/// [`Error::Evaluation`] where it is about none and means nothing else; those of reading.
pub(super) fn evaluate(
    evaluation: &Evaluation<'_>,
    node: &OfDistribution,
    steps: Steps,
) -> Result<Value> {
    if !selects_distributions(evaluation, &node.selection.selector) {
        return match &node.otherwise {
            Some(otherwise) => evaluation.node(otherwise, steps),
            None => Err(Error::Evaluation {
                reason: format!(
                    "{} selects no distribution, and there are no native histograms",
                    node.selection.selector
                ),
            }),
        };
    }
    let phis = match &node.summary {
        Summary::Quantile(phi) => evaluation.scalar_node(phi, steps)?,
        Summary::Count | Summary::Sum | Summary::Avg => Vec::new(),
    };
    let reach = node.selection.moment.reach(steps, evaluation.query);
    let summing = Summing {
        node,
        phis: &phis,
        range: node.range.unwrap_or(evaluation.lookback),
        group_by: group_by(evaluation, node, reach)?,
    };
    let mut columns = Vec::new();
    if reach.step() == 0 {
        summing.windows(evaluation, reach, 0..1, &mut columns)?;
        for column in &mut columns {
            let first = column.values.first().copied().unwrap_or(ABSENT);
            column.values.resize(steps.len(), first);
        }
    } else if reach.step() == summing.range && phis.windows(2).all(same) {
        summing.windows(evaluation, reach, 0..steps.len(), &mut columns)?;
    } else {
        for step in 0..steps.len() {
            summing.windows(evaluation, reach, step..step + 1, &mut columns)?;
        }
    }
    evaluation.budget.release(values_bytes(phis.len()));
    evaluation.replace(0, Value::Vector(merge_same(columns)?))
}

fn same(phis: &[f64]) -> bool {
    let [a, b] = phis else { return true };
    a.to_bits() == b.to_bits()
}

/// Whether the one metric that a selector names is a distribution.
fn selects_distributions(evaluation: &Evaluation<'_>, selector: &Selector) -> bool {
    let mut names = selector.matchers().iter().filter(|m| m.name() == METRIC_NAME_LABEL);
    let (Some(name), None) = (names.next(), names.next()) else { return false };
    let [metric] = name.literals().unwrap_or_default() else { return false };
    !name.op().is_negative()
        && evaluation.engine.metadata(metric).is_some_and(|m| m.kind == MetricKind::Distribution)
}

/// `without` is made `by` of the labels that there are; `le` is none of a distribution's.
fn group_by(evaluation: &Evaluation<'_>, node: &OfDistribution, reach: Reach) -> Result<Grouping> {
    let Some(grouping) = &node.grouping else { return Ok(Grouping::Series) };
    let listed = |label: &str| grouping.labels.iter().any(|other| other == label);
    if !grouping.without {
        let labels: BTreeSet<&String> = grouping.labels.iter().filter(|l| *l != "le").collect();
        return Ok(Grouping::Labels(labels.into_iter().cloned().collect()));
    }
    let range = node.range.unwrap_or(evaluation.lookback);
    let start = Timestamp(reach.first().saturating_sub(range));
    let span = TimeRange::new(start, Timestamp(reach.last().saturating_add(1)));
    let series = evaluation.engine.series(&node.selection.selector, span)?;
    let names = series.iter().flat_map(|(_, series)| series.labels().map(|(name, _)| name));
    let names: BTreeSet<&str> = names.filter(|name| !listed(name)).collect();
    Ok(Grouping::Labels(names.into_iter().map(str::to_owned).collect()))
}

struct Summing<'n> {
    node: &'n OfDistribution,
    /// Of a quantile, one a step.
    phis: &'n [f64],
    range: i64,
    group_by: Grouping,
}

impl Summing<'_> {
    /// Fills in the windows of some steps, which tile.
    fn windows(
        &self,
        evaluation: &Evaluation<'_>,
        reach: Reach,
        steps: std::ops::Range<usize>,
        columns: &mut Vec<Column>,
    ) -> Result<()> {
        let (first, last) = (steps.start, steps.end.saturating_sub(1));
        let Answer { groups, evidence, .. } = self.ask(evaluation, reach, (first, last))?;
        self.note(evaluation, evidence);
        for group in groups {
            evaluation.budget.check()?;
            let labels = labels_of(&group.key);
            let place = columns.iter().position(|column| column.labels == labels);
            let place = match place {
                Some(place) => place,
                None => {
                    let values =
                        vec![ABSENT; if reach.step() == 0 { 1 } else { reach.steps.len() }];
                    columns.push(Column { labels, values });
                    columns.len() - 1
                }
            };
            let Some(column) = columns.get_mut(place) else { continue };
            for (window, value) in
                column.values.iter_mut().skip(first).take(last + 1 - first).enumerate()
            {
                *value = self.value(&group, window, first + window);
            }
        }
        Ok(())
    }

    fn ask(
        &self,
        evaluation: &Evaluation<'_>,
        reach: Reach,
        (first, last): (usize, usize),
    ) -> Result<Answer> {
        let start = reach.end(first).saturating_sub(self.range).saturating_add(1);
        let range = TimeRange::new(Timestamp(start), Timestamp(reach.end(last).saturating_add(1)));
        let phi = self.phis.get(first).copied().unwrap_or(0.5);
        let functions = match self.node.summary {
            // What is not from 0 to 1 has its answer without being asked for.
            Summary::Quantile(_) if !(0.0..=1.0).contains(&phi) => vec![Function::Count],
            Summary::Quantile(_) => vec![Function::Quantile(phi)],
            Summary::Count => vec![Function::Count],
            Summary::Sum => vec![Function::Sum],
            Summary::Avg => vec![Function::Avg],
        };
        let options = evaluation.options;
        let request = Request {
            step: Some(std::time::Duration::from_nanos(self.range.unsigned_abs())),
            group_by: self.group_by.clone(),
            limits: options.limits,
            deadline: options.deadline,
            losses: false,
            cancel: options.cancel.clone(),
            ..Request::new(range, functions)
        };
        evaluation.engine.query(&self.node.selection.selector, &request)
    }

    fn value(&self, group: &Group, window: usize, step: usize) -> f64 {
        if group.counts.get(window).is_none_or(|count| *count == 0) {
            return ABSENT;
        }
        let phi = self.phis.get(step).copied().unwrap_or(0.5);
        let found = group.values.first().and_then(|values| values.get(window)).copied();
        let found = found.unwrap_or(ABSENT);
        match self.node.summary {
            Summary::Quantile(_) if phi.is_nan() => f64::NAN,
            Summary::Quantile(_) if phi < 0.0 => f64::NEG_INFINITY,
            Summary::Quantile(_) if phi > 1.0 => f64::INFINITY,
            Summary::Count | Summary::Sum if self.node.per_second => {
                found / (self.range as f64 / 1e9)
            }
            _ => found,
        }
    }

    fn note(&self, evaluation: &Evaluation<'_>, evidence: Evidence) {
        if evidence.quantile_relative_error > 0.0 {
            evaluation.notes.inform(format!(
                "quantiles of {} come from sketches: each lies within {} % of the value that has \
                 its rank",
                self.node.selection.selector,
                evidence.quantile_relative_error * 100.0
            ));
        }
        evaluation.notes.read(&self.node.selection, evidence);
    }
}

fn labels_of(key: &GroupKey) -> Labels {
    match key {
        GroupKey::Series(series) => Labels::new(series.labels()),
        GroupKey::Labels(pairs) => {
            Labels::new(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())))
        }
    }
}
