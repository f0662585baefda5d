//! Functions of instant vectors, scalars and texts.
//!
//! Owns: which there are, what each makes of its arguments' columns. Does not own: functions of
//! ranges, nor `timestamp` of a selector, which is the samples' own time.

mod calendar;
mod histogram;
mod labels;
mod math;

use super::evaluate::without_names;
use super::labels::Labels;
use super::notes::Notes;
use super::range::seconds;
use super::steps::Steps;
use super::value::{ABSENT, Column, Value, ValueType, is_absent};
use crate::error::{Error, Result};

use calendar::Part;
use math::Unary;

/// A function of instant vectors, scalars and texts.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Function {
    Math(Unary),
    Date(Part),
    Clamp,
    ClampMin,
    ClampMax,
    Round,
    Pi,
    Timestamp,
    Vector,
    Scalar,
    LabelReplace,
    LabelJoin,
    Sort,
    SortDesc,
    /// With the labels of what is said to be absent: those the selector fixes.
    Absent(Labels),
    HistogramQuantile,
    HistogramFraction,
}

impl Function {
    /// The function of this name; `absent` still without labels. `time` is no function of columns.
    pub(super) fn named(name: &str) -> Option<Self> {
        let function = match name {
            "clamp" => Self::Clamp,
            "clamp_min" => Self::ClampMin,
            "clamp_max" => Self::ClampMax,
            "round" => Self::Round,
            "pi" => Self::Pi,
            "timestamp" => Self::Timestamp,
            "vector" => Self::Vector,
            "scalar" => Self::Scalar,
            "label_replace" => Self::LabelReplace,
            "label_join" => Self::LabelJoin,
            "sort" => Self::Sort,
            "sort_desc" => Self::SortDesc,
            "absent" => Self::Absent(Labels::default()),
            "histogram_quantile" => Self::HistogramQuantile,
            "histogram_fraction" => Self::HistogramFraction,
            name => {
                return Unary::named(name)
                    .map(Self::Math)
                    .or_else(|| Part::named(name).map(Self::Date));
            }
        };
        Some(function)
    }

    /// What it gives.
    pub(super) fn value_type(&self) -> ValueType {
        match self {
            Self::Pi | Self::Scalar => ValueType::Scalar,
            _ => ValueType::Vector,
        }
    }

    /// Whether the same arguments give something else at another step.
    pub(super) fn depends_on_step(&self) -> bool {
        matches!(self, Self::Timestamp)
    }

    /// Whether the order of the result's series is what was asked for.
    pub(super) fn orders(&self) -> bool {
        matches!(self, Self::Sort | Self::SortDesc)
    }

    /// The result at `steps` of arguments that were evaluated at the same. The date functions
    /// without an argument are to be called with `vector(time())`.
    ///
    /// # Errors
    /// [`Error::Evaluation`] where the arguments do not fit or two results have the same labels at
    /// a step; what `check`, asked once a column, gives.
    pub(super) fn call(
        &self,
        mut arguments: Vec<Value>,
        steps: Steps,
        notes: &Notes,
        check: &impl Fn() -> Result<()>,
    ) -> Result<Value> {
        let wrong = || Error::Evaluation { reason: format!("wrong arguments of {self:?}") };
        let vector = match self {
            Self::Pi => return Ok(Value::Scalar(vec![std::f64::consts::PI; steps.len()])),
            Self::Scalar => {
                let [Value::Vector(columns)] = arguments.as_slice() else { return Err(wrong()) };
                return Ok(Value::Scalar(only(columns, steps.len())));
            }
            Self::Vector => {
                let Some(Value::Scalar(values)) = arguments.pop() else { return Err(wrong()) };
                vec![Column { labels: Labels::default(), values }]
            }
            Self::HistogramQuantile | Self::HistogramFraction => {
                let Some(Value::Vector(columns)) = arguments.pop() else { return Err(wrong()) };
                match (self, arguments.as_slice()) {
                    (Self::HistogramQuantile, [Value::Scalar(phi)]) => {
                        histogram::quantile(phi, &columns, notes, check)?
                    }
                    (Self::HistogramFraction, [Value::Scalar(lower), Value::Scalar(upper)]) => {
                        histogram::fraction(lower, upper, &columns, notes, check)?
                    }
                    _ => return Err(wrong()),
                }
            }
            _ => {
                let mut arguments = arguments.into_iter();
                let Some(Value::Vector(columns)) = arguments.next() else { return Err(wrong()) };
                let rest: Vec<Value> = arguments.collect();
                self.of_vector(columns, &rest, steps, check)?.ok_or_else(wrong)?
            }
        };
        Ok(Value::Vector(vector))
    }

    /// Those whose first argument is the vector; `None` where the others do not fit.
    fn of_vector(
        &self,
        mut columns: Vec<Column>,
        rest: &[Value],
        steps: Steps,
        check: &impl Fn() -> Result<()>,
    ) -> Result<Option<Vec<Column>>> {
        for _ in &columns {
            check()?;
        }
        match (self, rest) {
            (Self::Math(unary), []) => each(&mut columns, |values| unary.apply(values)),
            (Self::Date(part), []) => each(&mut columns, |values| part.apply(values)),
            (Self::Timestamp, []) => each(&mut columns, |values| {
                for (value, time) in values.iter_mut().zip(steps.iter()) {
                    if !is_absent(*value) {
                        *value = seconds(time.0);
                    }
                }
            }),
            (Self::Clamp, [Value::Scalar(min), Value::Scalar(max)]) => {
                each(&mut columns, |values| math::clamp(values, min, max));
            }
            (Self::ClampMin, [Value::Scalar(min)]) => {
                each(&mut columns, |values| math::with(values, min, math::go_max));
            }
            (Self::ClampMax, [Value::Scalar(max)]) => {
                each(&mut columns, |values| math::with(values, max, math::go_min));
            }
            (Self::Round, []) => each(&mut columns, |values| math::round(values, None)),
            (Self::Round, [Value::Scalar(nearest)]) => {
                each(&mut columns, |values| math::round(values, Some(nearest)));
            }
            (
                Self::LabelReplace,
                [Value::Text(to), Value::Text(by), Value::Text(from), Value::Text(pattern)],
            ) => {
                return labels::replace(columns, to, by, from, pattern).map(Some);
            }
            (Self::LabelJoin, [Value::Text(to), Value::Text(between), from @ ..]) => {
                return labels::join(columns, to, between, from);
            }
            (Self::Sort | Self::SortDesc, []) => {
                if steps.len() == 1 {
                    sort(&mut columns, *self == Self::SortDesc);
                }
                return Ok(Some(columns));
            }
            (Self::Absent(labels), []) => return Ok(Some(absent(&columns, labels, steps.len()))),
            _ => return Ok(None),
        }
        columns.retain(|column| !column.is_empty());
        without_names(columns).map(Some)
    }
}

fn each(columns: &mut [Column], apply: impl Fn(&mut [f64])) {
    columns.iter_mut().for_each(|column| apply(&mut column.values));
}

/// The value of the only series a step has, NaN where it has none or several.
fn only(columns: &[Column], steps: usize) -> Vec<f64> {
    let mut values = vec![ABSENT; steps];
    let mut several = vec![false; steps];
    for column in columns {
        for ((value, several), found) in values.iter_mut().zip(&mut several).zip(&column.values) {
            if !is_absent(*found) {
                *several |= !is_absent(*value);
                *value = *found;
            }
        }
    }
    for (value, several) in values.iter_mut().zip(several) {
        if several || is_absent(*value) {
            *value = f64::NAN;
        }
    }
    values
}

/// 1 where no series has a value.
pub(super) fn absent(columns: &[Column], labels: &Labels, steps: usize) -> Vec<Column> {
    let mut values = vec![1.0; steps];
    for column in columns {
        for (value, found) in values.iter_mut().zip(&column.values) {
            if !is_absent(*found) {
                *value = ABSENT;
            }
        }
    }
    let column = Column { labels: labels.clone(), values };
    if column.is_empty() { Vec::new() } else { vec![column] }
}

/// Columns of one value by it, NaN last either way; equals stay in order.
fn sort(columns: &mut [Column], descending: bool) {
    let value = |column: &Column| column.values.first().copied().unwrap_or(ABSENT);
    columns.sort_by(|a, b| {
        let (a, b) = (value(a), value(b));
        let numbers = if descending { b.partial_cmp(&a) } else { a.partial_cmp(&b) };
        numbers.unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
    });
}

#[cfg(test)]
mod tests;
