//! Reading a report's parts from an engine: rows of the monitor's tables, and what series say of losses
//! and health.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::grid::Grid;
use super::sheet::{self, CallSheet, QuerySheet, integer};
use super::{SlowQuery, SourceCall};
use crate::engine::Engine;
use crate::error::Result;
use crate::model::{EventRows, EventValue, Selector};
use crate::monitor::{OTHER, OutcomeKind, QUERIES, QueryId, SOURCE_CALLS};
use crate::query::{
    EventOrder, EventPredicate, EventRequest, EventTest, Function, GroupKey, Grouping, Limits,
    Request, SampleRequest,
};
use crate::time::{TimeRange, Timestamp};

/// Values of a scan are bounded by what is stored; what is kept of it by the sheets.
const LIMITS: Limits =
    Limits { series_max: 100_000, samples_max: u64::MAX, memory_bytes_max: 1 << 30 };

/// Whether the engine has the tables of a monitor.
pub(super) fn is_monitored(engine: &Engine) -> Result<bool> {
    let tables = engine.stats()?.events;
    Ok([QUERIES, SOURCE_CALLS].iter().all(|name| tables.iter().any(|table| table.table == *name)))
}

fn request(table: &str, range: TimeRange, columns: &[&str]) -> EventRequest {
    let projection = Some(columns.iter().map(|&column| column.to_owned()).collect());
    EventRequest { projection, limits: LIMITS, ..EventRequest::new(table, range) }
}

/// From the first query's beginning to behind the last end; `None` where there are no queries.
pub(super) fn bounds(engine: &Engine, within: TimeRange) -> Result<Option<TimeRange>> {
    let request = request(QUERIES, within, &["duration"]);
    let begin = || (i64::MAX, i64::MIN);
    let (states, _) = engine.fold_events(&request, begin, |(first, last), rows| {
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
pub(super) fn queries(engine: &Engine, grid: &Grid) -> Result<QuerySheet> {
    let request = request(QUERIES, grid.range, &sheet::QUERY_COLUMNS);
    folded(engine, &request, QuerySheet::new(grid), |sheet, rows| sheet.add(grid, rows))
}

/// Folds all calls to sources of the grid's range.
pub(super) fn calls(engine: &Engine, grid: &Grid) -> Result<CallSheet> {
    let request = request(SOURCE_CALLS, grid.range, &sheet::CALL_COLUMNS);
    folded(engine, &request, CallSheet::default(), |sheet, rows| sheet.add(grid, rows))
}

/// Rows are decoded in parallel and taken in one group at a time: a sheet a thread would take more
/// memory than it saves time.
fn folded<S: Send>(
    engine: &Engine,
    request: &EventRequest,
    sheet: S,
    add: impl Fn(&mut S, &EventRows) + Sync + Send,
) -> Result<S> {
    let sheet = Mutex::new(sheet);
    engine.fold_events(
        request,
        || (),
        |(), rows| {
            add(&mut sheet.lock().unwrap_or_else(PoisonError::into_inner), rows);
            Ok(())
        },
    )?;
    Ok(sheet.into_inner().unwrap_or_else(PoisonError::into_inner))
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
    engine: &Engine,
    range: TimeRange,
    choice: Choice,
    max: u64,
) -> Result<Vec<SlowQuery>> {
    let mut request = request(QUERIES, range, &SINGLE_COLUMNS);
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
    let found = engine.scan_events(&request)?.rows;
    let mut queries: Vec<SlowQuery> =
        (0..found.len()).map(|row| single_query(&found, row)).collect();
    add_calls(engine, &mut queries)?;
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

fn add_calls(engine: &Engine, queries: &mut [SlowQuery]) -> Result<()> {
    let times = || queries.iter().map(|query| query.began.0);
    let (Some(first), Some(last)) = (times().min(), times().max()) else { return Ok(()) };
    let range = TimeRange::new(Timestamp(first), Timestamp(last.saturating_add(1)));
    let columns = ["query", "source", "outcome", "error", "calls", "longest", "waiting"];
    let mut request = request(SOURCE_CALLS, range, &columns);
    let ids = queries.iter().map(|query| EventValue::Integer(query.id.0.cast_signed())).collect();
    request.predicates.push(EventPredicate::new("query", EventTest::In(ids)));
    let rows = engine.scan_events(&request)?.rows;
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

/// The increase of a counter over a range, all its series together.
pub(super) fn increase(engine: &Engine, metric: &str, range: TimeRange) -> Result<f64> {
    let request = Request {
        group_by: Grouping::Labels(Vec::new()),
        ..Request::new(range, vec![Function::Increase])
    };
    let answer = engine.query(&Selector::metric(metric)?, &request)?;
    let values = answer.groups.iter().filter_map(|group| group.values.first()?.first().copied());
    Ok(values.filter(|value| value.is_finite()).sum())
}

/// The increase of each of a counter's series, by the value of one label.
pub(super) fn increase_by(
    engine: &Engine,
    metric: &str,
    label: &str,
    range: TimeRange,
) -> Result<BTreeMap<Arc<str>, f64>> {
    let answer =
        engine.query(&Selector::metric(metric)?, &Request::new(range, vec![Function::Increase]))?;
    let mut sums: BTreeMap<Arc<str>, f64> = BTreeMap::new();
    for group in &answer.groups {
        let GroupKey::Series(series) = &group.key else { continue };
        let value = group.values.first().and_then(|values| values.first()).copied();
        if let Some(value) = value.filter(|value| value.is_finite()) {
            *sums.entry(series.label(label).into()).or_default() += value;
        }
    }
    Ok(sums)
}

/// The last value of each of a gauge's series in a range, by the value of one label.
pub(super) fn last_by(
    engine: &Engine,
    metric: &str,
    label: &str,
    range: TimeRange,
) -> Result<BTreeMap<Arc<str>, f64>> {
    let found = engine.last_samples(&Selector::metric(metric)?, &SampleRequest::new(range))?;
    let named = found.into_iter().map(|last| (last.series.label(label).into(), last.sample.value));
    Ok(named.collect())
}
