//! Arithmetic between the groups of two answers, matched by their labels.

use std::collections::HashMap;

use super::answer::{Answer, Group, GroupKey};
use super::threshold::Comparison;
use super::windows::Windows;
use crate::error::{Error, Result};

/// What is done with two values of one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`; by zero infinite or NaN, as of doubles.
    Divide,
    /// The left value where the comparison holds, NaN elsewhere.
    Compare(Comparison),
}

impl Operation {
    fn apply(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide => left / right,
            Self::Compare(comparison) if comparison.holds(left, right) => left,
            Self::Compare(_) => f64::NAN,
        }
    }
}

/// What comes of two answers: the windows once, and a column of values for each group.
#[derive(Debug, Clone, PartialEq)]
pub struct Combined {
    /// Those of both answers.
    pub windows: Windows,
    /// In the order of the left answer's groups; those without a match are left out.
    pub groups: Vec<CombinedGroup>,
}

/// The windows of a group of the left answer.
#[derive(Debug, Clone, PartialEq)]
pub struct CombinedGroup {
    /// Its key.
    pub key: GroupKey,
    /// A value for each window: NaN where one of both sides is empty or NaN.
    pub values: Vec<f64>,
}

/// Applies an operation window by window to groups of two answers that agree in the labels `on`;
/// in all of their labels but the metric name where there are none given. Each side names the
/// column of its values, an index of its functions. Several groups of the left may match one of the
/// right.
///
/// ```
/// # use std::time::Duration;
/// # use icecore::query::{combine, Operation};
/// # fn share(failed: &icecore::query::Answer, all: &icecore::query::Answer) -> icecore::Result<()> {
/// let share = combine((failed, 0), (all, 0), Operation::Divide, Some(&["job"]))?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::InvalidArgument`] where the windows differ, there is no such column, or two groups of
/// the right have the same labels.
pub fn combine(
    (left, left_column): (&Answer, usize),
    (right, right_column): (&Answer, usize),
    operation: Operation,
    on: Option<&[&str]>,
) -> Result<Combined> {
    let invalid = |reason: String| Err(Error::InvalidArgument { what: "answers", reason });
    if left.windows != right.windows {
        return invalid("their windows differ".to_owned());
    }
    for (answer, column) in [(left, left_column), (right, right_column)] {
        if column >= answer.functions.len() {
            return invalid(format!("there is no column {column}"));
        }
    }
    let mut by_labels: HashMap<Vec<(&str, &str)>, &Group> = HashMap::new();
    for group in &right.groups {
        if let Some(other) = by_labels.insert(labels(&group.key, on), group) {
            let (one, other) = (&group.key, &other.key);
            return invalid(format!("{one:?} and {other:?} have the same labels"));
        }
    }
    let matched = left.groups.iter().filter_map(|group| {
        let other = by_labels.get(&labels(&group.key, on))?;
        let values = column(group, left_column).zip(column(other, right_column));
        let values = values.map(|(left, right)| operation.apply(left, right)).collect();
        Some(CombinedGroup { key: group.key.clone(), values })
    });
    Ok(Combined { windows: left.windows, groups: matched.collect() })
}

/// A group's values of one function, NaN in windows without a sample.
fn column(group: &Group, index: usize) -> impl Iterator<Item = f64> {
    let values = group.values.get(index).map_or(&[][..], Vec::as_slice);
    values
        .iter()
        .zip(&group.counts)
        .map(|(&value, &count)| if count > 0 { value } else { f64::NAN })
}

/// The labels that a group is matched by, ascending by name; empty ones are as good as absent.
fn labels<'a>(key: &'a GroupKey, on: Option<&[&str]>) -> Vec<(&'a str, &'a str)> {
    let wanted = |name: &str| match on {
        Some(on) => on.contains(&name),
        None => name != crate::model::METRIC_NAME_LABEL,
    };
    let mut labels: Vec<(&str, &str)> = match key {
        GroupKey::Series(series) => {
            let name = (crate::model::METRIC_NAME_LABEL, series.name());
            std::iter::once(name).chain(series.labels()).collect()
        }
        GroupKey::Labels(labels) => {
            labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
        }
    };
    labels.retain(|(name, value)| wanted(name) && !value.is_empty());
    labels.sort_unstable();
    labels
}
