//! `label_replace` and `label_join`.

use std::collections::HashSet;

use regex::Regex;

use crate::error::{Error, Result};
use crate::promql::evaluate::same_labels;
use crate::promql::labels::Labels;
use crate::promql::value::{Column, Value};

fn failed<T>(reason: String) -> Result<T> {
    Err(Error::Evaluation { reason })
}

/// Gives the label `to` the text `by`, in which `$1` and `${name}` stand for what `pattern` took of
/// the label `from`, where that matches as a whole. An empty text takes the label away.
///
/// # Errors
/// [`Error::Evaluation`] for a pattern that is none, an empty name, or two series of the same
/// labels, be it at different steps: what Prometheus refuses too.
pub(super) fn replace(
    mut columns: Vec<Column>,
    to: &str,
    by: &str,
    from: &str,
    pattern: &str,
) -> Result<Vec<Column>> {
    let Ok(regex) = Regex::new(&format!("^(?s:{pattern})$")) else {
        return failed(format!("invalid regular expression in label_replace(): {pattern}"));
    };
    if to.is_empty() {
        return failed(format!("invalid destination label name in label_replace(): {to}"));
    }
    for column in &mut columns {
        let Some(captures) = regex.captures(column.labels.get(from)) else { continue };
        let mut text = String::new();
        captures.expand(by, &mut text);
        let labels = set(&column.labels, to, &text);
        column.labels = labels;
    }
    all_different(columns)
}

/// Gives the label `to` the texts of the labels `from`, with `between` between them; `None` where
/// `from` holds other than texts.
///
/// # Errors
/// [`Error::Evaluation`] for an empty name, or two series of the same labels.
pub(super) fn join(
    mut columns: Vec<Column>,
    to: &str,
    between: &str,
    from: &[Value],
) -> Result<Option<Vec<Column>>> {
    let mut names = Vec::with_capacity(from.len());
    for name in from {
        let Value::Text(name) = name else { return Ok(None) };
        if name.is_empty() {
            return failed(format!("invalid source label name in label_join(): {name}"));
        }
        names.push(name.as_str());
    }
    if to.is_empty() {
        return failed(format!("invalid destination label name in label_join(): {to}"));
    }
    for column in &mut columns {
        let texts: Vec<&str> = names.iter().map(|name| column.labels.get(name)).collect();
        column.labels = set(&column.labels, to, &texts.join(between));
    }
    all_different(columns).map(Some)
}

fn set(labels: &Labels, name: &str, value: &str) -> Labels {
    Labels::new(labels.iter().chain([(name, value)]))
}

fn all_different(columns: Vec<Column>) -> Result<Vec<Column>> {
    let mut seen = HashSet::with_capacity(columns.len());
    if columns.iter().all(|column| seen.insert(&column.labels)) {
        return Ok(columns);
    }
    Err(same_labels())
}
