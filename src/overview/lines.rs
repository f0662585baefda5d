//! Queries one by one: from their rows, from marks that they run, and from the host itself.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::facts::{CallLine, PhaseTime, QueryDetail, QueryLine, UnderWay};
use super::reading::Reading;
use super::sheet::{CALL_COLUMNS, integer};
use super::tally::{FAR_NANOS, Pick};
use crate::error::Result;
use crate::model::{EventRows, EventValue};
use crate::monitor::{
    OutcomeKind, Phase, QUERIES, QueryId, RUNNING_QUERIES, RunningQuery, SOURCE_CALLS,
};
use crate::query::{EventOrder, EventPredicate, EventTest};
use crate::time::{TimeRange, Timestamp};

/// Bytes of a text in a line: more than a screen is wide.
const TEXT_BYTES_MAX: usize = 400;
/// Marks that are looked at, the newest.
const MARKS_MAX: u64 = 2_000;

const LINE: [&str; 16] = [
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
    "rows_in",
    "rows_out",
    "bytes_in",
    "bytes_out",
    "cpu",
];
const DETAIL: [&str; 5] = ["memory_peak", "spill", "retries", "cache_hits", "calls_unlisted"];
const MARK: [&str; 5] = ["id", "fingerprint", "text", "tenant", "user"];

/// One row, its values by their columns' names.
struct Row<'a> {
    columns: &'a [&'a str],
    rows: &'a EventRows,
    at: usize,
}

impl Row<'_> {
    fn all<'a>(columns: &'a [&'a str], rows: &'a EventRows) -> impl Iterator<Item = Row<'a>> {
        (0..rows.len()).map(move |at| Row { columns, rows, at })
    }

    fn time(&self) -> Timestamp {
        Timestamp(self.rows.times.get(self.at).copied().unwrap_or(0))
    }

    fn position(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|name| *name == column)
    }

    fn number(&self, column: &str) -> Option<u64> {
        integer(self.rows.columns.get(self.position(column)?)?, self.at)
    }

    fn count(&self, column: &str) -> u64 {
        self.number(column).unwrap_or(0)
    }

    fn text(&self, column: &str) -> Option<String> {
        let text = self.rows.columns.get(self.position(column)?)?.text(self.at)?;
        Some(text.to_string())
    }

    fn name(&self, column: &str) -> String {
        self.text(column).unwrap_or_default()
    }

    fn outcome(&self) -> Option<OutcomeKind> {
        let kind = self.text("outcome").and_then(|name| OutcomeKind::parse(&name));
        Some(kind.unwrap_or(OutcomeKind::Abandoned))
    }

    /// A mark has the first of these columns only.
    fn line(&self) -> QueryLine {
        QueryLine {
            id: QueryId(self.count("id")),
            began: self.time(),
            outcome: self.outcome(),
            error: self.name("error"),
            tenant: self.name("tenant"),
            user: self.name("user"),
            fingerprint: self.name("fingerprint"),
            text: self.name("text"),
            length_us: self.number("duration"),
            phase: None,
            progress: None,
            under_way: Vec::new(),
            rows_in: self.count("rows_in"),
            rows_out: self.count("rows_out"),
            bytes_in: self.count("bytes_in"),
            bytes_out: self.count("bytes_out"),
            cpu_us: self.count("cpu"),
            waiting_us: self.count("waiting"),
            critical_source: self.text("critical_source"),
            critical_us: self.count("critical"),
        }
    }
}

impl QueryLine {
    pub(super) fn cut(mut self) -> Self {
        self.text.truncate(self.text.floor_char_boundary(TEXT_BYTES_MAX));
        self
    }

    /// As somebody saw it at a moment at which it ran, as far as that is known now: neither how it
    /// ended nor what it has come to since.
    pub(super) fn running_at(self, at: Timestamp) -> Self {
        let length = u64::try_from(at.0.saturating_sub(self.began.0)).unwrap_or(0);
        Self {
            outcome: None,
            error: String::new(),
            length_us: Some(length / 1_000),
            phase: None,
            progress: None,
            under_way: Vec::new(),
            rows_in: 0,
            rows_out: 0,
            bytes_in: 0,
            bytes_out: 0,
            cpu_us: 0,
            waiting_us: 0,
            critical_source: None,
            critical_us: 0,
            ..self
        }
    }
}

fn instant(time: i64) -> TimeRange {
    TimeRange::new(Timestamp(time), Timestamp(time.saturating_add(1)))
}

fn equal(column: &str, id: u64) -> EventPredicate {
    EventPredicate::new(column, EventTest::Equal(EventValue::Integer(id.cast_signed())))
}

/// The queries that were picked, in that order.
pub(super) fn picked(reading: &Reading<'_>, picks: &[Pick]) -> Result<Vec<QueryLine>> {
    let times = || picks.iter().map(|pick| pick.time);
    let (Some(first), Some(last)) = (times().min(), times().max()) else { return Ok(Vec::new()) };
    let range = TimeRange::new(Timestamp(first), Timestamp(last.saturating_add(1)));
    let mut request = reading.rows(QUERIES, range, &LINE);
    let ids = picks.iter().map(|pick| EventValue::Integer(pick.id.cast_signed())).collect();
    request.predicates.push(EventPredicate::new("id", EventTest::In(ids)));
    let rows = reading.engine.scan_events(&request)?.rows;
    let found = Row::all(&LINE, &rows).map(|row| row.line().cut());
    let mut found: HashMap<u64, QueryLine> = found.map(|line| (line.id.0, line)).collect();
    Ok(picks.iter().filter_map(|pick| found.remove(&pick.id)).collect())
}

/// Queries of which a mark says that they run, and no row that they ended: where nobody else says
/// what runs. Those that began within a day before `at`, of the newest 2,000 marks.
pub(super) fn marked(reading: &Reading<'_>, at: Timestamp) -> Result<Vec<QueryLine>> {
    if reading.engine.event_schema(RUNNING_QUERIES).is_none() {
        return Ok(Vec::new());
    }
    let range = TimeRange::new(Timestamp(at.0.saturating_sub(FAR_NANOS)), at);
    let mut request = reading.rows(RUNNING_QUERIES, range, &MARK);
    (request.order, request.limit) = (EventOrder::Largest("id".to_owned()), Some(MARKS_MAX));
    let marks = reading.engine.scan_events(&request)?.rows;
    if marks.is_empty() {
        return Ok(Vec::new());
    }
    // A row stands at its mark's time.
    let mut request = reading.rows(QUERIES, range, &["id"]);
    request.predicates.push(EventPredicate::new("marked", EventTest::Equal(true.into())));
    let ended = reading.engine.scan_events(&request)?.rows;
    let ended: HashSet<u64> = Row::all(&["id"], &ended).map(|row| row.count("id")).collect();
    let lines = Row::all(&MARK, &marks).map(|row| row.line().cut().running_at(at));
    Ok(lines.filter(|line| !ended.contains(&line.id.0)).collect())
}

fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}

/// A query under way, as its host sees it.
pub(super) fn live(query: &RunningQuery) -> QueryLine {
    let so_far = &query.so_far;
    let critical = so_far.critical_source();
    let text = so_far.text.as_deref().unwrap_or(so_far.fingerprint.text());
    let under_way = |(source, calls): &(std::sync::Arc<str>, u64)| UnderWay {
        source: source.to_string(),
        calls: *calls,
    };
    QueryLine {
        id: so_far.id,
        began: so_far.started,
        outcome: None,
        error: String::new(),
        tenant: so_far.tenant.to_string(),
        user: so_far.user.to_string(),
        fingerprint: so_far.fingerprint.name(),
        text: text.to_owned(),
        length_us: Some(micros(so_far.duration)),
        phase: query.phase.map(|phase| phase.name().to_owned()),
        progress: query.progress.filter(|share| share.is_finite()),
        under_way: query.calls_under_way.iter().map(under_way).collect(),
        rows_in: so_far.rows_in,
        rows_out: so_far.rows_out,
        bytes_in: so_far.bytes_in,
        bytes_out: so_far.bytes_out,
        cpu_us: micros(so_far.cpu),
        waiting_us: micros(so_far.waiting),
        critical_source: critical.map(|used| used.source.to_string()),
        critical_us: critical.map_or(0, |used| micros(used.critical)),
    }
}

/// The same, in full.
pub(super) fn live_detail(query: &RunningQuery) -> QueryDetail {
    let so_far = &query.so_far;
    let call = |used: &crate::monitor::SourceUse| {
        let open = query.calls_under_way.iter().find(|(source, _)| *source == used.source);
        let open = open.map_or(0, |(_, calls)| *calls);
        CallLine {
            source: used.source.to_string(),
            outcome: (open == 0).then(|| used.outcome.kind()),
            error: used.outcome.class().to_owned(),
            calls: used.calls,
            // Calls under way count as abandoned there.
            failed: used.failed.saturating_sub(open),
            requests: used.requests,
            rows: used.rows,
            bytes: used.bytes,
            retries: used.retries,
            cache_hits: used.cache_hits,
            first_row_us: used.first_row.map(micros),
            longest_us: micros(used.longest),
            waiting_us: micros(used.waiting),
            critical_us: micros(used.critical),
        }
    };
    let entered = so_far.phases.iter().filter(|(_, time)| !time.is_zero());
    let phase = |(phase, time): (Phase, _)| PhaseTime {
        phase: phase.name().to_owned(),
        micros: micros(time),
    };
    let mut calls: Vec<CallLine> = so_far.sources.iter().map(call).collect();
    sort(&mut calls);
    QueryDetail {
        line: live(query),
        phases: entered.map(phase).collect(),
        memory_peak_bytes: so_far.memory_peak_bytes,
        spill_bytes: so_far.spill_bytes,
        retries: so_far.retries,
        cache_hits: so_far.cache_hits,
        calls_unlisted: so_far.calls_unlisted,
        calls,
    }
}

fn sort(calls: &mut [CallLine]) {
    calls.sort_by(|a, b| b.critical_us.cmp(&a.critical_us).then_with(|| a.source.cmp(&b.source)));
}

/// A query that ended by its number; `None` where there is no row of it. Cost: groups of rows
/// whose bounds tell that they do not hold it are not read.
pub(super) fn stored_detail(reading: &Reading<'_>, id: QueryId) -> Result<Option<QueryDetail>> {
    let phases = Phase::ALL.map(Phase::name);
    let columns: Vec<&str> = LINE.iter().chain(&DETAIL).chain(&phases).copied().collect();
    let mut request = reading.rows(QUERIES, TimeRange::ALL, &columns);
    request.predicates.push(equal("id", id.0));
    let rows = reading.engine.scan_events(&request)?.rows;
    let Some(row) = Row::all(&columns, &rows).next() else { return Ok(None) };
    let times = phases.iter().filter_map(|phase| {
        Some(PhaseTime { phase: (*phase).to_owned(), micros: row.number(phase)? })
    });
    Ok(Some(QueryDetail {
        line: row.line(),
        phases: times.collect(),
        memory_peak_bytes: row.count("memory_peak"),
        spill_bytes: row.count("spill"),
        retries: row.count("retries"),
        cache_hits: row.count("cache_hits"),
        calls_unlisted: row.count("calls_unlisted"),
        calls: calls(reading, id, row.time())?,
    }))
}

/// A query of which there is a mark only.
pub(super) fn of_mark(line: QueryLine) -> QueryDetail {
    QueryDetail {
        line,
        phases: Vec::new(),
        memory_peak_bytes: 0,
        spill_bytes: 0,
        retries: 0,
        cache_hits: 0,
        calls_unlisted: 0,
        calls: Vec::new(),
    }
}

fn calls(reading: &Reading<'_>, id: QueryId, began: Timestamp) -> Result<Vec<CallLine>> {
    let mut request = reading.rows(SOURCE_CALLS, instant(began.0), &CALL_COLUMNS);
    request.predicates.push(equal("query", id.0));
    let rows = reading.engine.scan_events(&request)?.rows;
    let call = |row: Row<'_>| CallLine {
        source: row.name("source"),
        outcome: row.outcome(),
        error: row.name("error"),
        calls: row.count("calls"),
        failed: row.count("failed"),
        requests: row.count("requests"),
        rows: row.count("rows"),
        bytes: row.count("bytes"),
        retries: row.count("retries"),
        cache_hits: row.count("cache_hits"),
        first_row_us: row.number("first_row"),
        longest_us: row.count("longest"),
        waiting_us: row.count("waiting"),
        critical_us: row.count("critical"),
    };
    let mut calls: Vec<CallLine> = Row::all(&CALL_COLUMNS, &rows).map(call).collect();
    sort(&mut calls);
    Ok(calls)
}
