//! Measuring: what a rule looks at, asked of the engine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::board::{Group, Measured};
use super::rule::{Change, Measure};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::model::{EventKind, Selector};
use crate::query::{EventRequest, Function, GroupKey, Grouping, Request};
use crate::time::{TimeRange, Timestamp};

/// Groups of one measurement; more are an error, since they are not what anybody meant.
const GROUPS_MAX: usize = 10_000;

/// When it is measured, and until when it must be done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Timestamp,
    /// `None` where that is beyond the end of time.
    pub(super) deadline: Option<Instant>,
}

impl Moment {
    /// What was written up to now, now included.
    fn last(self, window: Duration) -> TimeRange {
        let end = Timestamp(self.now.0.saturating_add(1));
        TimeRange::new(end.saturating_sub(window), end)
    }
}

/// The value of each group; groups without any are left out.
///
/// # Errors
/// Those of queries.
pub(super) fn measure(engine: &Engine, measure: &Measure, at: Moment) -> Result<Measured> {
    match measure {
        Measure::Value { selector, function, window, by } => {
            let found = pairs(engine, at, selector, *function, *window, by)?;
            Ok(found.into_iter().filter_map(|(group, [_, now])| Some((group, now?))).collect())
        }
        Measure::Change { selector, function, window, by, change } => {
            let found = pairs(engine, at, selector, *function, *window, by)?;
            let seconds = window.as_secs_f64();
            let of = |before: f64, now: f64| match change {
                Change::PerSecond => (now - before) / seconds,
                Change::Relative => (now - before) / before,
            };
            let both = found
                .into_iter()
                .filter_map(|(group, [before, now])| Some((group, of(before?, now?))));
            Ok(both.collect())
        }
        Measure::Absence { selector, window, by, known_for } => {
            let now = counts(engine, at, selector, *window, by)?;
            let mut known = counts(engine, at, selector, *known_for, by)?;
            if by.is_empty() {
                known.entry(Group::new()).or_default();
            }
            let absent = |group: &Group| now.get(group).is_none_or(|&count| count == 0);
            let value = |group: Group| {
                let value = f64::from(u8::from(absent(&group)));
                (group, value)
            };
            Ok(known.into_keys().map(value).collect())
        }
        Measure::BurnRate { bad, all, objective, long, short, by } => {
            let budget = 1.0 - objective;
            let mut burnt: BTreeMap<Group, f64> = BTreeMap::new();
            for (first, window) in [(true, *long), (false, *short)] {
                let shares = shares(engine, at, (bad, all), window, by)?;
                let rates = shares.into_iter().map(|(group, share)| (group, share / budget));
                if first {
                    burnt = rates.collect();
                } else {
                    let short: BTreeMap<Group, f64> = rates.collect();
                    burnt.retain(|group, _| short.contains_key(group));
                    for (group, rate) in short {
                        burnt.entry(group).and_modify(|long| *long = long.min(rate));
                    }
                }
            }
            Ok(burnt.into_iter().collect())
        }
        Measure::Events { table, window, .. } => {
            if engine.event_schema(table).is_none() {
                return Ok(Vec::new());
            }
            events(engine, measure, at.last(*window), at)
        }
    }
}

/// The share of `all` that is `bad`, by group; groups without any are left out.
fn shares(
    engine: &Engine,
    at: Moment,
    (bad, all): (&Selector, &Selector),
    window: Duration,
    by: &[String],
) -> Result<Vec<(Group, f64)>> {
    let mut bad = pairs(engine, at, bad, Function::Increase, window, by)?;
    let all = pairs(engine, at, all, Function::Increase, window, by)?;
    let share = all.into_iter().filter_map(|(group, [_, all])| {
        let all = all.filter(|all| *all > 0.0)?;
        let bad = bad.remove(&group).and_then(|[_, bad]| bad).unwrap_or(0.0);
        Some((group, bad / all))
    });
    Ok(share.collect())
}

/// The function over the window before the last one and over the last one, by group. Asking for
/// both gives increases their step into the last window.
fn pairs(
    engine: &Engine,
    at: Moment,
    selector: &Selector,
    function: Function,
    window: Duration,
    by: &[String],
) -> Result<BTreeMap<Group, [Option<f64>; 2]>> {
    let last = at.last(window);
    let range = TimeRange::new(last.start.saturating_sub(window), last.end);
    let request = Request {
        step: Some(window),
        group_by: Grouping::Labels(by.to_vec()),
        losses: false,
        deadline: at.deadline,
        ..Request::new(range, vec![function])
    };
    let answer = engine.query(selector, &request)?;
    check(answer.groups.len())?;
    let pair = |counts: &[u64], values: &[f64]| {
        let value = |at: usize| {
            let there = counts.get(at).is_some_and(|&count| count > 0);
            values.get(at).copied().filter(|value| there && !value.is_nan())
        };
        [value(0), value(1)]
    };
    let groups = answer.groups.into_iter().filter_map(|group| {
        let GroupKey::Labels(labels) = group.key else { return None };
        let values = group.values.first()?;
        Some((labels, pair(&group.counts, values)))
    });
    Ok(groups.collect())
}

/// Samples of the last window, by group.
fn counts(
    engine: &Engine,
    at: Moment,
    selector: &Selector,
    window: Duration,
    by: &[String],
) -> Result<BTreeMap<Group, u64>> {
    let request = Request {
        group_by: Grouping::Labels(by.to_vec()),
        losses: false,
        deadline: at.deadline,
        ..Request::new(at.last(window), vec![Function::Count])
    };
    let answer = engine.query(selector, &request)?;
    check(answer.groups.len())?;
    let groups = answer.groups.into_iter().filter_map(|group| {
        let GroupKey::Labels(labels) = group.key else { return None };
        Some((labels, *group.counts.first()?))
    });
    Ok(groups.collect())
}

/// Rows that pass, by the text of one column.
fn events(engine: &Engine, measure: &Measure, range: TimeRange, at: Moment) -> Result<Measured> {
    let Measure::Events { table, predicates, by, .. } = measure else { return Ok(Vec::new()) };
    let schema = engine.event_schema(table);
    let column = schema.as_ref().and_then(|schema| match by {
        Some(by) => schema.columns().iter().find(|column| column.name == *by),
        None => schema.columns().first(),
    });
    let Some(column) = column else {
        let reason = format!("{table} has no column {by:?}");
        return Err(Error::InvalidArgument { what: "alert rule", reason });
    };
    if by.is_some() && column.kind != EventKind::Text {
        let reason = format!("column {by:?} of {table} is not of texts");
        return Err(Error::InvalidArgument { what: "alert rule", reason });
    }
    let request = EventRequest {
        predicates: predicates.clone(),
        projection: Some(vec![column.name.clone()]),
        deadline: at.deadline,
        ..EventRequest::new(table.clone(), range)
    };
    let (found, _) = engine.fold_events(&request, BTreeMap::new, |counts, rows| {
        if by.is_none() {
            *counts.entry(None).or_insert(0_u64) += rows.len() as u64;
            return Ok(());
        }
        let Some(column) = rows.columns.first() else { return Ok(()) };
        for row in 0..rows.len() {
            let text: Option<Arc<str>> = column.text(row).cloned();
            *counts.entry(text).or_default() += 1;
        }
        check(counts.len())
    })?;
    let mut all: BTreeMap<Option<Arc<str>>, u64> = BTreeMap::new();
    for (text, count) in found.into_iter().flatten() {
        *all.entry(text).or_default() += count;
    }
    check(all.len())?;
    if by.is_none() {
        all.entry(None).or_default();
    }
    let group = |text: Option<Arc<str>>| match by {
        Some(by) => vec![(by.clone(), text.as_deref().unwrap_or_default().to_owned())],
        None => Group::new(),
    };
    Ok(all.into_iter().map(|(text, count)| (group(text), count as f64)).collect())
}

fn check(groups: usize) -> Result<()> {
    if groups > GROUPS_MAX {
        return Err(Error::Limit { what: "groups", limit: GROUPS_MAX as u64 });
    }
    Ok(())
}
