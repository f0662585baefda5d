//! Reading a report's parts from an engine: rows of the monitor's tables.

use std::collections::BTreeMap;

use super::sheet::{self, QuerySheet};
use super::{SlowQuery, SourceCall};
use crate::error::Result;
use crate::model::{EventRows, EventValue};
use crate::monitor::{OTHER, OutcomeKind, QUERIES, QueryId, SOURCE_CALLS};
use crate::overview::sheet::integer;
use crate::overview::{Grid, Reading};
use crate::query::{EventOrder, EventPredicate, EventTest};
use crate::time::{TimeRange, Timestamp};

/// From the first query's beginning to behind the last end; `None` where there are no queries.
pub(super) fn bounds(reading: &Reading<'_>, within: TimeRange) -> Result<Option<TimeRange>> {
    let request = reading.rows(QUERIES, within, &["duration"]);
    let begin = || (i64::MAX, i64::MIN);
    let (states, _) = reading.engine.fold_events(&request, begin, |(first, last), rows| {
        let [duration] = &*rows.columns else { return Ok(()) };
        for (row, &time) in rows.times.iter().enumerate() {
            let nanos = integer(duration, row).unwrap_or(0).saturating_mul(1_000);
            let end = time.saturating_add(i64::try_from(nanos).unwrap_or(i64::MAX));
            (*first, *last) = ((*first).min(time), (*last).max(end).max(time.saturating_add(1)));
        }
        Ok(())
    })?;
    let joined = states.into_iter().reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    Ok(joined.filter(|(first, last)| first < last).map(|(first, last)| {
        let end = Timestamp(last).min(within.end);
        TimeRange::new(Timestamp(first), end)
    }))
}

/// Folds all queries of the grid's range.
pub(super) fn queries(reading: &Reading<'_>, grid: &Grid) -> Result<QuerySheet> {
    let request = reading.rows(QUERIES, grid.range, &sheet::QUERY_COLUMNS);
    reading.folded(&request, QuerySheet::new(grid), |sheet, rows| sheet.add(grid, rows))
}

/// Which queries are shown one by one.
#[derive(Debug, Clone, Copy)]
pub(super) enum Choice {
    /// The longest.
    Slowest,
    /// The latest that were cancelled, timed out, or abandoned.
    BrokenOff,
}

const SINGLE_COLUMNS: [&str; 12] = [
    "id",
    "fingerprint",
    "text",
    "tenant",
    "user",
    "outcome",
    "error",
    "duration",
    "waiting",
    "critical_source",
    "critical",
    "rows_out",
];

/// Single queries with what they made of their sources; at most `max`.
pub(super) fn single(
    reading: &Reading<'_>,
    range: TimeRange,
    choice: Choice,
    max: u64,
) -> Result<Vec<SlowQuery>> {
    let mut request = reading.rows(QUERIES, range, &SINGLE_COLUMNS);
    request.limit = Some(max);
    match choice {
        Choice::Slowest => request.order = EventOrder::Largest("duration".to_owned()),
        Choice::BrokenOff => {
            let ends = [OutcomeKind::Cancelled, OutcomeKind::TimedOut, OutcomeKind::Abandoned];
            let names = ends.map(|kind| EventValue::from(kind.name())).to_vec();
            request.predicates.push(EventPredicate::new("outcome", EventTest::In(names)));
            // Later queries have greater ids.
            request.order = EventOrder::Largest("id".to_owned());
        }
    }
    let found = reading.engine.scan_events(&request)?.rows;
    let mut queries: Vec<SlowQuery> =
        (0..found.len()).map(|row| single_query(&found, row)).collect();
    add_calls(reading, &mut queries)?;
    Ok(queries)
}

fn single_query(rows: &EventRows, row: usize) -> SlowQuery {
    let text = |at: usize| rows.columns.get(at).and_then(|column| column.text(row)).cloned();
    let named = |at: usize| text(at).unwrap_or_default();
    let number = |at: usize| rows.columns.get(at).and_then(|column| integer(column, row));
    let id = number(0).unwrap_or(0);
    let outcome = text(5).and_then(|name| OutcomeKind::parse(&name));
    SlowQuery {
        id: QueryId(id),
        began: Timestamp(rows.times.get(row).copied().unwrap_or(0)),
        fingerprint: named(1),
        text: named(2),
        tenant: named(3),
        user: named(4),
        outcome: outcome.unwrap_or(OutcomeKind::Abandoned),
        error: named(6),
        duration_us: number(7),
        waiting_us: number(8).unwrap_or(0),
        critical: text(9).map(|source| (source, number(10).unwrap_or(0))),
        rows_out: number(11).unwrap_or(0),
        calls: Vec::new(),
    }
}

fn add_calls(reading: &Reading<'_>, queries: &mut [SlowQuery]) -> Result<()> {
    let times = || queries.iter().map(|query| query.began.0);
    let (Some(first), Some(last)) = (times().min(), times().max()) else { return Ok(()) };
    let range = TimeRange::new(Timestamp(first), Timestamp(last.saturating_add(1)));
    let columns = ["query", "source", "outcome", "error", "calls", "longest", "waiting"];
    let mut request = reading.rows(SOURCE_CALLS, range, &columns);
    let ids = queries.iter().map(|query| EventValue::Integer(query.id.0.cast_signed())).collect();
    request.predicates.push(EventPredicate::new("query", EventTest::In(ids)));
    let rows = reading.engine.scan_events(&request)?.rows;
    let mut calls: BTreeMap<u64, Vec<SourceCall>> = BTreeMap::new();
    for row in 0..rows.len() {
        let number = |at: usize| rows.columns.get(at).and_then(|column| integer(column, row));
        let text = |at: usize| rows.columns.get(at).and_then(|column| column.text(row)).cloned();
        let kind = text(2).and_then(|name| OutcomeKind::parse(&name));
        calls.entry(number(0).unwrap_or(0)).or_default().push(SourceCall {
            source: text(1).unwrap_or_else(|| OTHER.into()),
            outcome: kind.unwrap_or(OutcomeKind::Abandoned),
            error: text(3).unwrap_or_default(),
            calls: number(4).unwrap_or(0),
            longest_us: number(5).unwrap_or(0),
            waiting_us: number(6).unwrap_or(0),
        });
    }
    for query in queries {
        query.calls = calls.remove(&query.id.0).unwrap_or_default();
        query.calls.sort_by(|a, b| b.waiting_us.cmp(&a.waiting_us).then(a.source.cmp(&b.source)));
    }
    Ok(())
}
