//! From a plan and steps to its value.
//!
//! Owns: the walk over the plan, and what is common to all nodes: that a value's bytes are
//! reserved while it stands, that series of equal labels are told apart or refused. Does not own:
//! what a node computes.

use std::collections::HashMap;

use super::budget::{Budget, labels_bytes, value_bytes, values_bytes};
use super::labels::Labels;
use super::notes::Notes;
use super::plan::{Node, RangeSource, Ranged};
use super::range::seconds;
use super::select::{self, Taken};
use super::steps::Steps;
use super::value::{ABSENT, Column, Outcome, Value, is_absent};
use super::{Options, Query, distribution, operate, over_range};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::time::duration_nanos;

/// Evaluates a query at `steps`: one step is an instant query, several are a range query.
///
/// # Errors
/// [`Error::Evaluation`] where the data does not fit the expression (many-to-many matching, two
/// results of one label set), or a range vector or text is asked for at several steps;
/// [`Error::Limit`], [`Error::Deadline`], [`Error::Cancelled`]; I/O or corruption.
pub fn evaluate(
    engine: &Engine,
    query: &Query,
    steps: Steps,
    options: &Options,
) -> Result<Outcome> {
    let evaluation = Evaluation {
        engine,
        options,
        budget: Budget::new(options),
        notes: Notes::default(),
        query: steps,
        lookback: duration_nanos(options.lookback),
    };
    let mut value = evaluation.node(&query.plan, steps)?;
    if let Value::Vector(columns) = &mut value {
        *columns = merge_same(std::mem::take(columns))?;
        if steps.len() > 1 || !operate::orders(&query.plan) {
            columns.sort_by(|a, b| a.labels.cmp(&b.labels));
        }
    }
    Ok(evaluation.notes.outcome(steps, value))
}

/// One evaluation of a whole query.
#[derive(Debug)]
pub(super) struct Evaluation<'e> {
    pub(super) engine: &'e Engine,
    pub(super) options: &'e Options,
    pub(super) budget: Budget,
    pub(super) notes: Notes,
    /// The steps of the whole query: what `@ start()` and `@ end()` mean.
    pub(super) query: Steps,
    /// Nanoseconds.
    pub(super) lookback: i64,
}

impl Evaluation<'_> {
    /// The value of a node at `steps`; its bytes are reserved.
    ///
    /// # Errors
    /// As [`evaluate`].
    pub(super) fn node(&self, node: &Node, steps: Steps) -> Result<Value> {
        self.budget.check()?;
        match node {
            Node::Number(number) => self.scalar(steps, |_| *number),
            Node::Text(text) => {
                self.budget.reserve(text.len() as u64)?;
                Ok(Value::Text(text.clone()))
            }
            Node::Time => self.scalar(steps, |step| seconds(steps.get(step).0)),
            Node::Latest(selection) => {
                let reach = selection.moment.reach(steps, self.query);
                select::latest(self, selection, reach, Taken::Value).map(Value::Vector)
            }
            Node::LatestTime(selection) => {
                let reach = selection.moment.reach(steps, self.query);
                let columns = select::latest(self, selection, reach, Taken::Time)?;
                without_names(columns).map(Value::Vector)
            }
            Node::Range(ranged) => self.ranged(ranged, steps),
            Node::OverRange(call) => over_range::columns(self, call, steps).map(Value::Vector),
            Node::AbsentOverRange(call, labels) => {
                over_range::absent(self, call, labels, steps).map(Value::Vector)
            }
            Node::Negate(inner) => negated(self.node(inner, steps)?),
            Node::Aggregate(aggregate) => operate::aggregate(self, aggregate, steps),
            Node::Binary(binary) => operate::binary(self, binary, steps),
            Node::Call(function, arguments) => operate::call(self, function, arguments, steps),
            Node::OfDistribution(of) => distribution::evaluate(self, of, steps),
            Node::Once(inner) => self.once(inner, steps),
        }
    }

    /// A node that is a scalar.
    pub(super) fn scalar_node(&self, node: &Node, steps: Steps) -> Result<Vec<f64>> {
        match self.node(node, steps)? {
            Value::Scalar(values) => Ok(values),
            _ => Err(Error::Evaluation { reason: "expected a scalar".to_owned() }),
        }
    }

    /// A node that is an instant vector.
    pub(super) fn vector_node(&self, node: &Node, steps: Steps) -> Result<Vec<Column>> {
        match self.node(node, steps)? {
            Value::Vector(columns) => Ok(columns),
            _ => Err(Error::Evaluation { reason: "expected an instant vector".to_owned() }),
        }
    }

    /// Makes `value` of values that stood before, whose `bytes` are given back.
    pub(super) fn replace(&self, bytes: u64, value: Value) -> Result<Value> {
        self.budget.release(bytes);
        self.budget.reserve(value_bytes(&value))?;
        Ok(value)
    }

    fn scalar(&self, steps: Steps, value: impl Fn(usize) -> f64) -> Result<Value> {
        self.budget.reserve(values_bytes(steps.len()))?;
        Ok(Value::Scalar((0..steps.len()).map(value).collect()))
    }

    /// A column of so many values; `None`, and nothing reserved, where it is empty. `labels` are
    /// asked for only where it is not.
    pub(super) fn column(
        &self,
        steps: usize,
        labels: impl FnOnce() -> Labels,
        fill: impl FnOnce(&mut Vec<f64>) -> Result<()>,
    ) -> Result<Option<Column>> {
        self.budget.reserve(values_bytes(steps))?;
        let mut values = Vec::with_capacity(steps);
        fill(&mut values)?;
        if values.iter().all(|value| is_absent(*value)) {
            self.budget.release(values_bytes(steps));
            return Ok(None);
        }
        let labels = labels();
        self.budget.reserve(labels_bytes(&labels))?;
        Ok(Some(Column { labels, values }))
    }

    /// A range vector as the answer of an instant query.
    fn ranged(&self, ranged: &Ranged, steps: Steps) -> Result<Value> {
        if steps.len() > 1 {
            let reason = "a range vector has no value at several steps: invalid expression type \
                          \"range vector\" for range query, must be Scalar or instant Vector";
            return Err(Error::Evaluation { reason: reason.to_owned() });
        }
        let runs = match &ranged.source {
            RangeSource::Selector(selection) => {
                let reach = selection.moment.reach(steps, self.query);
                select::samples(self, selection, reach, ranged.range)?
            }
            RangeSource::Subquery(subquery) => {
                over_range::subquery_runs(self, subquery, ranged.range, steps)?
            }
        };
        Ok(Value::Matrix(runs))
    }

    /// Computes a node at the first step, and repeats it.
    fn once(&self, inner: &Node, steps: Steps) -> Result<Value> {
        let mut value = self.node(inner, Steps::at(steps.first()))?;
        let more = values_bytes(steps.len() - 1);
        let spread = |values: &mut Vec<f64>| -> Result<()> {
            self.budget.reserve(more)?;
            let first = values.first().copied().unwrap_or(ABSENT);
            values.resize(steps.len(), first);
            Ok(())
        };
        match &mut value {
            Value::Scalar(values) => spread(values)?,
            Value::Vector(columns) => {
                columns.iter_mut().try_for_each(|column| spread(&mut column.values))?;
            }
            Value::Text(_) | Value::Matrix(_) => {}
        }
        Ok(value)
    }
}

fn negated(mut value: Value) -> Result<Value> {
    let negate = |values: &mut Vec<f64>| {
        for value in values.iter_mut().filter(|value| !is_absent(**value)) {
            *value = -*value;
        }
    };
    match &mut value {
        Value::Scalar(values) => negate(values),
        Value::Vector(columns) => {
            columns.iter_mut().for_each(|column| negate(&mut column.values));
            *columns = without_names(std::mem::take(columns))?;
        }
        Value::Text(_) | Value::Matrix(_) => {}
    }
    Ok(value)
}

/// Columns that lost their names, those of the same labels put together.
///
/// # Errors
/// [`Error::Evaluation`] where two of the same labels have a value at the same step.
pub(super) fn without_names(mut columns: Vec<Column>) -> Result<Vec<Column>> {
    for column in &mut columns {
        column.labels = column.labels.without_name();
    }
    merge_same(columns)
}

/// Puts columns of the same labels together.
///
/// # Errors
/// As [`without_names`].
pub(super) fn merge_same(columns: Vec<Column>) -> Result<Vec<Column>> {
    let mut places: HashMap<Labels, usize> = HashMap::with_capacity(columns.len());
    let mut merged: Vec<Column> = Vec::with_capacity(columns.len());
    for column in columns {
        let place = *places.entry(column.labels.clone()).or_insert(merged.len());
        let Some(kept) = merged.get_mut(place) else {
            merged.push(column);
            continue;
        };
        for (kept, value) in kept.values.iter_mut().zip(column.values) {
            if is_absent(value) {
                continue;
            }
            if !is_absent(*kept) {
                return Err(same_labels());
            }
            *kept = value;
        }
    }
    Ok(merged)
}

/// Two results of one label set.
pub(super) fn same_labels() -> Error {
    Error::Evaluation { reason: "vector cannot contain metrics with the same labelset".to_owned() }
}
