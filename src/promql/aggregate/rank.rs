//! Aggregators that need all series of a group at once.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::Grouping;
use crate::error::{Error, Result};
use crate::promql::labels::{Labels, grouped};
use crate::promql::notes::Notes;
use crate::promql::value::{ABSENT, Column, is_absent};

/// Places of the columns of each group, groups in the order of first appearance.
fn members(columns: &[Column], grouping: &Grouping) -> Vec<(Labels, Vec<usize>)> {
    let keys = columns.iter().map(|column| grouping.key(&column.labels));
    grouped(keys.zip(0..))
}

/// The values that members have at a step, with their places.
fn gather(columns: &[Column], members: &[usize], step: usize, found: &mut Vec<(f64, usize)>) {
    let value = |member: usize| columns.get(member)?.values.get(step).copied();
    let values = members.iter().filter_map(|member| Some((value(*member)?, *member)));
    found.clear();
    found.extend(values.filter(|(value, _)| !is_absent(*value)));
}

/// How many a step asks for.
///
/// # Errors
/// [`Error::Evaluation`] where it is no number.
fn wanted(k: f64) -> Result<usize> {
    let failed = |reason: String| Err(Error::Evaluation { reason });
    if k.is_nan() {
        return failed("Parameter value is NaN".to_owned());
    }
    // Floats of 2^63 and more do not fit into Go's int64.
    if k >= 9_223_372_036_854_775_808.0 {
        return failed(format!("Scalar value {k} overflows int64"));
    }
    if k <= -9_223_372_036_854_775_808.0 {
        return failed(format!("Scalar value {k} underflows int64"));
    }
    Ok(if k < 1.0 { 0 } else { k as usize })
}

/// The `k` greatest (`topk`) or least (`bottomk`) of each group at each step, NaN only where numbers
/// run out; of equals the earlier column. The columns keep their labels; of one step they come
/// ranked, group by group.
///
/// # Errors
/// [`Error::Evaluation`] where a `k` is no number; what `check`, asked once a group and every 1024
/// steps of it, gives.
pub(in crate::promql) fn ranked(
    is_top: bool,
    k: &[f64],
    grouping: &Grouping,
    mut columns: Vec<Column>,
    check: &impl Fn() -> Result<()>,
) -> Result<Vec<Column>> {
    let k: Vec<usize> = k.iter().map(|k| wanted(*k)).collect::<Result<_>>()?;
    let order = |(a, place_a): &(f64, usize), (b, place_b): &(f64, usize)| {
        let numbers = if is_top { b.partial_cmp(a) } else { a.partial_cmp(b) };
        let order = numbers.unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()));
        order.then(place_a.cmp(place_b))
    };
    let mut ranks = Vec::with_capacity(columns.len());
    let mut found = Vec::new();
    for (_, members) in members(&columns, grouping) {
        for (step, k) in k.iter().copied().enumerate() {
            if step % 1024 == 0 {
                check()?;
            }
            gather(&columns, &members, step, &mut found);
            if k < found.len() {
                found.select_nth_unstable_by(k, order);
                for (_, member) in found.iter().skip(k) {
                    let column = columns.get_mut(*member);
                    if let Some(value) = column.and_then(|column| column.values.get_mut(step)) {
                        *value = ABSENT;
                    }
                }
                found.truncate(k);
            }
        }
        if k.len() == 1 {
            found.sort_unstable_by(order);
            ranks.extend(found.iter().map(|(_, member)| *member));
        }
    }
    if k.len() == 1 {
        let taken = |member: usize| {
            let column = columns.get_mut(member)?;
            Some(Column {
                labels: std::mem::take(&mut column.labels),
                values: std::mem::take(&mut column.values),
            })
        };
        return Ok(ranks.into_iter().filter_map(taken).collect());
    }
    columns.retain(|column| !column.is_empty());
    Ok(columns)
}

/// The quantile of sorted values: NaN of none, `±Inf` outside of 0 to 1; between two values in
/// proportion, as Prometheus' `quantile`.
pub(in crate::promql) fn quantile_of(phi: f64, sorted: impl Fn(usize) -> f64, len: usize) -> f64 {
    if len == 0 || phi.is_nan() {
        return f64::NAN;
    }
    if phi < 0.0 {
        return f64::NEG_INFINITY;
    }
    if phi > 1.0 {
        return f64::INFINITY;
    }
    let rank = phi * (len - 1) as f64;
    let lower = rank.floor();
    let upper = (lower as usize + 1).min(len - 1);
    let weight = rank - lower;
    sorted(lower as usize) * (1.0 - weight) + sorted(upper) * weight
}

/// NaN before all numbers.
fn nan_first(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

/// The quantile `phi`, one a step, of each group's values.
///
/// # Errors
/// What `check`, asked once a group and every 1024 steps of it, gives.
pub(in crate::promql) fn quantile(
    phi: &[f64],
    grouping: &Grouping,
    columns: &[Column],
    notes: &Notes,
    check: &impl Fn() -> Result<()>,
) -> Result<Vec<Column>> {
    if let Some(odd) = phi.iter().find(|phi| !(0.0..=1.0).contains(*phi)) {
        notes.invalid_quantile(*odd);
    }
    let mut results = Vec::new();
    let mut found = Vec::new();
    for (labels, members) in members(columns, grouping) {
        let mut values = Vec::with_capacity(phi.len());
        for (step, phi) in phi.iter().enumerate() {
            if step % 1024 == 0 {
                check()?;
            }
            gather(columns, &members, step, &mut found);
            found.sort_unstable_by(|(a, _), (b, _)| nan_first(*a, *b));
            let sorted = |at: usize| found.get(at).map_or(f64::NAN, |(value, _)| *value);
            values.push(match found.len() {
                0 => ABSENT,
                len => quantile_of(*phi, sorted, len),
            });
        }
        results.push(Column { labels, values });
    }
    Ok(results)
}

/// How often each value occurs in each group: a column a value, which `label` names.
///
/// # Errors
/// [`Error::Evaluation`] where the label has no name; what `check`, asked once a column, gives.
pub(in crate::promql) fn count_values(
    label: &str,
    grouping: &Grouping,
    columns: &[Column],
    check: &impl Fn() -> Result<()>,
) -> Result<Vec<Column>> {
    if label.is_empty() {
        return Err(Error::Evaluation { reason: format!("invalid label name {label:?}") });
    }
    let mut grouping = grouping.clone();
    if !grouping.without {
        grouping.labels.push(label.to_owned());
    }
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut results: Vec<Column> = Vec::new();
    for column in columns {
        check()?;
        // Of this series: which result counts which value.
        let mut counted: HashMap<u64, usize> = HashMap::new();
        for (step, value) in
            column.values.iter().enumerate().filter(|(_, value)| !is_absent(**value))
        {
            let place = *counted.entry(value.to_bits()).or_insert_with(|| {
                let text = go_float(*value);
                let named = column.labels.iter().chain([(label, text.as_str())]);
                let labels = grouping.key(&Labels::new(named));
                *places.entry(labels.clone()).or_insert_with(|| {
                    results.push(Column { labels, values: vec![ABSENT; column.values.len()] });
                    results.len() - 1
                })
            });
            if let Some(count) =
                results.get_mut(place).and_then(|column| column.values.get_mut(step))
            {
                *count = if is_absent(*count) { 1.0 } else { *count + 1.0 };
            }
        }
    }
    Ok(results)
}

/// As Go's `strconv.FormatFloat(value, 'f', -1, 64)`.
fn go_float(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        value => value.to_string(),
    }
}
