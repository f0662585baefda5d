//! Finished queries as events, one by one: the tables `queries`, `source_calls` and
//! `running_queries`.
//!
//! Owns: their columns, and what a crash left running. A row of `source_calls` is what one query
//! made of one source; both carry the query's id and stand at the time when it began. That time and
//! lengths are whole microseconds: what lies below is the noise of the clock, and would cost much of a row.
//!
//! A query that runs long leaves a mark in `running_queries`. One without a row in `queries` at the
//! next opening was abandoned by a crash, and gets that row then: so there is no state beside the
//! store, and opening twice finds nothing the second time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::fingerprint::Fingerprint;
use super::outcome::{Outcome, OutcomeKind};
use super::phase::Phase;
use super::query::{Live, QueryMetrics, SourceUse};
use crate::engine::{Engine, EventWriter};
use crate::error::{Error, Result};
use crate::model::{EventBatch, EventColumn, EventKind, EventSchema, EventValue};
use crate::options::Durability;
use crate::time::Timestamp;

/// The table of finished queries.
pub const QUERIES: &str = "queries";
/// The table of what each of them made of each source.
pub const SOURCE_CALLS: &str = "source_calls";
/// The table of marks that queries run.
pub const RUNNING_QUERIES: &str = "running_queries";

/// What times of rows are cut to, ns.
const MICROSECOND: i64 = 1000;

/// Rows that are handed over together.
const BATCH_ROWS: usize = 256;

pub(super) type Column = (&'static str, EventKind, &'static str, &'static str);

const ID: Column = ("id", EventKind::Integer, "", "The query's number.");
const FINGERPRINT: Column =
    ("fingerprint", EventKind::Text, "", "As in the labels of series: a hash, in hexadecimal.");
const TEXT: Column =
    ("text", EventKind::Text, "", "The text without literals; as it came, where that is kept.");
const TENANT: Column = ("tenant", EventKind::Text, "", "Whose it is.");
const USER: Column = ("user", EventKind::Text, "", "Who asked.");

const fn micros(name: &'static str, help: &'static str) -> Column {
    (name, EventKind::Integer, "us", help)
}

const fn count(name: &'static str, unit: &'static str, help: &'static str) -> Column {
    (name, EventKind::Integer, unit, help)
}

const QUERY_COLUMNS: [Column; 29] = [
    ID,
    FINGERPRINT,
    TEXT,
    TENANT,
    USER,
    ("outcome", EventKind::Text, "", "ok, error, cancelled, timed_out or abandoned."),
    ("error", EventKind::Text, "", "The class of the error."),
    micros("duration", "From start to end; null where a crash ended it."),
    micros("plan", "Phase."),
    micros("optimize", "Phase."),
    micros("federate", "Phase."),
    micros("execute", "Phase."),
    micros("stream", "Phase."),
    micros("waiting", "At least one call to a source was under way; the rest is the engine's."),
    ("critical_source", EventKind::Text, "", "With whom the critical path lay longest."),
    micros("critical", "How long it lay there."),
    count("rows_in", "", "Rows that came in."),
    count("rows_out", "", "Rows that left."),
    count("bytes_in", "bytes", "Bytes that came in."),
    count("bytes_out", "bytes", "Bytes that left."),
    micros("cpu", "Time on processors."),
    count("memory_peak", "bytes", "The most memory held."),
    count("spill", "bytes", "Spilled to disk."),
    count("retries", "", "Repeated attempts."),
    count("cache_hits", "", "What caches answered."),
    count("sources", "", "Sources touched: rows of source_calls."),
    count("calls_unlisted", "", "Calls beyond those noted one by one."),
    ("marked", EventKind::Boolean, "", "Whether a row of running_queries says that it ran."),
    count("kept_one_in", "", "How many queries like this the row stands for."),
];

const CALL_COLUMNS: [Column; 16] = [
    ("query", EventKind::Integer, "", "The query's number."),
    ("source", EventKind::Text, "", "The source's name."),
    FINGERPRINT,
    ("outcome", EventKind::Text, "", "How the last call ended that did not end well, or ok."),
    ("error", EventKind::Text, "", "The class of the error."),
    count("calls", "", "Calls."),
    count("failed", "", "Calls that did not end well."),
    count("requests", "", "Requests that they made."),
    count("rows", "", "Rows from it."),
    count("bytes", "bytes", "Bytes from it."),
    count("retries", "", "Requests repeated."),
    count("cache_hits", "", "What a cache answered."),
    micros("first_row", "From a call to its first row, of the fastest call."),
    micros("longest", "The longest call."),
    micros("waiting", "At least one call was under way."),
    micros("critical", "The critical path lay with it."),
];

pub(super) const MARK_COLUMNS: [Column; 5] = [ID, FINGERPRINT, TEXT, TENANT, USER];

fn schema(table: &str, columns: &[Column]) -> Result<EventSchema> {
    let column = |&(name, kind, unit, help): &Column| {
        EventColumn::new(name, kind).with_unit(unit).with_help(help)
    };
    EventSchema::new(table, columns.iter().map(column).collect())
}

/// One table, and rows on their way to it.
#[derive(Debug)]
struct Table {
    writer: EventWriter,
    batch: EventBatch,
}

impl Table {
    fn open(engine: &Engine, name: &str, columns: &[Column]) -> Result<Self> {
        // Receipts are nobody's: the log has a row as soon as the ingest thread has written it.
        let writer = engine.events(&schema(name, columns)?)?.with_durability(Durability::Buffered);
        let batch = writer.batch();
        Ok(Self { writer, batch })
    }

    fn push(&mut self, time: Timestamp, values: Vec<EventValue>) -> Result<()> {
        self.batch.push(time.0, values)?;
        if self.batch.len() >= BATCH_ROWS { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::replace(&mut self.batch, self.writer.batch());
        self.writer.append_batch(batch).map(drop)
    }
}

/// Names of fingerprints that are remembered; then all are forgotten.
const NAMES_MAX: usize = 4096;

/// Texts that many rows have.
#[derive(Debug)]
struct Texts {
    outcomes: [Arc<str>; OutcomeKind::ALL.len()],
    names: HashMap<u64, Arc<str>>,
}

impl Texts {
    fn new() -> Self {
        let outcomes = OutcomeKind::ALL.map(|kind| Arc::from(kind.name()));
        Self { outcomes, names: HashMap::new() }
    }

    fn outcome(&self, outcome: &Outcome) -> EventValue {
        let text = self.outcomes.get(outcome.kind() as usize);
        text.map_or(EventValue::Null, |text| EventValue::Text(Arc::clone(text)))
    }

    fn name(&mut self, fingerprint: &Fingerprint) -> EventValue {
        if self.names.len() >= NAMES_MAX {
            self.names.clear();
        }
        let name = self.names.entry(fingerprint.hash());
        EventValue::Text(Arc::clone(name.or_insert_with(|| fingerprint.name().into())))
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct History {
    queries: Table,
    calls: Table,
    marks: Table,
    /// Texts of rows, made once: most rows share theirs with others.
    texts: Texts,
    /// The latest failure to write.
    failed: Option<Error>,
}

impl History {
    pub(super) fn open(engine: &Engine) -> Result<Self> {
        Ok(Self {
            queries: Table::open(engine, QUERIES, &QUERY_COLUMNS)?,
            calls: Table::open(engine, SOURCE_CALLS, &CALL_COLUMNS)?,
            marks: Table::open(engine, RUNNING_QUERIES, &MARK_COLUMNS)?,
            texts: Texts::new(),
            failed: None,
        })
    }

    /// Adds a query of which a mark is all that is left.
    pub(super) fn add_abandoned(&mut self, started: Timestamp, mark: Vec<EventValue>) {
        let written = self.queries.push(started, abandoned_row(mark));
        self.note(written);
    }

    /// Adds a finished query; one in `one_in` like it is.
    pub(super) fn add(&mut self, query: &QueryMetrics, one_in: u64, marked: bool) {
        let name = self.texts.name(&query.fingerprint);
        let row = query_row(&self.texts, name.clone(), query, one_in, marked);
        let began = began(query.started);
        let mut written = self.queries.push(began, row);
        for used in &query.sources {
            let row = call_row(&self.texts, name.clone(), query, used);
            written = written.and(self.calls.push(began, row));
        }
        self.note(written);
    }

    /// Marks a query as running.
    pub(super) fn mark(&mut self, live: &Live) {
        let values = vec![
            id(live.id.0),
            self.texts.name(&live.fingerprint),
            text(live.text.as_deref(), &live.fingerprint),
            named(&Arc::from(&*live.tenant)),
            named(&Arc::from(&*live.user)),
        ];
        let written = self.marks.push(began(live.started), values);
        self.note(written);
    }

    /// Hands over what was added.
    pub(super) fn write(&mut self) {
        for table in [&mut self.marks, &mut self.queries, &mut self.calls] {
            let written = table.write();
            if let Err(error) = written {
                self.failed = Some(error);
            }
        }
    }

    fn note(&mut self, written: Result<()>) {
        if let Err(error) = written {
            self.failed = Some(error);
        }
    }

    /// The latest failure to write since this was asked.
    pub(super) fn failure(&mut self) -> Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }
}

/// The time of a query's rows.
fn began(time: Timestamp) -> Timestamp {
    Timestamp(time.0.div_euclid(MICROSECOND).saturating_mul(MICROSECOND))
}

fn id(number: u64) -> EventValue {
    EventValue::Integer(number.cast_signed())
}

/// Null where it is 0: what did not happen takes no room.
fn number(count: u64) -> EventValue {
    match i64::try_from(count) {
        Ok(0) => EventValue::Null,
        Ok(count) => EventValue::Integer(count),
        Err(_) => EventValue::Integer(i64::MAX),
    }
}

fn length(time: Duration) -> EventValue {
    EventValue::Integer(i64::try_from(time.as_micros()).unwrap_or(i64::MAX))
}

/// Null where nothing was measured.
fn length_of_some(time: Duration) -> EventValue {
    if time.is_zero() { EventValue::Null } else { length(time) }
}

fn named(name: &Arc<str>) -> EventValue {
    if name.is_empty() { EventValue::Null } else { EventValue::Text(Arc::clone(name)) }
}

fn error(outcome: &Outcome) -> EventValue {
    if let Outcome::Error(class) = outcome { named(class) } else { EventValue::Null }
}

fn text(raw: Option<&str>, fingerprint: &Fingerprint) -> EventValue {
    raw.map_or_else(|| EventValue::Text(fingerprint.shared_text()), EventValue::cut)
}

/// In the order of [`QUERY_COLUMNS`].
fn query_row(
    texts: &Texts,
    name: EventValue,
    query: &QueryMetrics,
    one_in: u64,
    marked: bool,
) -> Vec<EventValue> {
    let mut row = Vec::with_capacity(QUERY_COLUMNS.len());
    row.extend([
        id(query.id.0),
        name,
        text(query.text.as_deref(), &query.fingerprint),
        named(&query.tenant),
        named(&query.user),
        texts.outcome(&query.outcome),
        error(&query.outcome),
        length(query.duration),
    ]);
    row.extend(Phase::ALL.map(|phase| length_of_some(query.phases.of(phase))));
    let critical = query.critical_source();
    row.extend([
        length_of_some(query.waiting),
        critical.map_or(EventValue::Null, |used| EventValue::Text(Arc::clone(&used.source))),
        critical.map_or(EventValue::Null, |used| length(used.critical)),
        number(query.rows_in),
        number(query.rows_out),
        number(query.bytes_in),
        number(query.bytes_out),
        length_of_some(query.cpu),
        number(query.memory_peak_bytes),
        number(query.spill_bytes),
        number(query.retries),
        number(query.cache_hits),
        number(query.sources.len() as u64),
        number(query.calls_unlisted),
        EventValue::Boolean(marked),
        EventValue::Integer(i64::try_from(one_in).unwrap_or(i64::MAX)),
    ]);
    row
}

/// The row of a query whose mark is all that is left of it.
fn abandoned_row(mark: Vec<EventValue>) -> Vec<EventValue> {
    let mut row = mark;
    row.push(EventValue::cut(OutcomeKind::Abandoned.name()));
    row.resize(QUERY_COLUMNS.len() - 2, EventValue::Null);
    row.extend([EventValue::Boolean(true), EventValue::Integer(1)]);
    row
}

/// In the order of [`CALL_COLUMNS`].
fn call_row(
    texts: &Texts,
    name: EventValue,
    query: &QueryMetrics,
    used: &SourceUse,
) -> Vec<EventValue> {
    vec![
        id(query.id.0),
        EventValue::Text(Arc::clone(&used.source)),
        name,
        texts.outcome(&used.outcome),
        error(&used.outcome),
        number(used.calls),
        number(used.failed),
        number(used.requests),
        number(used.rows),
        number(used.bytes),
        number(used.retries),
        number(used.cache_hits),
        used.first_row.map_or(EventValue::Null, length),
        length(used.longest),
        length(used.waiting),
        length(used.critical),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_can_be_declared_and_rows_fit_them() {
        for (table, columns) in [
            (QUERIES, &QUERY_COLUMNS[..]),
            (SOURCE_CALLS, &CALL_COLUMNS[..]),
            (RUNNING_QUERIES, &MARK_COLUMNS[..]),
        ] {
            assert_eq!(schema(table, columns).unwrap().columns().len(), columns.len());
        }
        // A mark is how a row of `queries` begins.
        assert!(MARK_COLUMNS.iter().zip(&QUERY_COLUMNS).all(|(a, b)| a.0 == b.0));
        let marks = vec![EventValue::Null; MARK_COLUMNS.len()];
        assert_eq!(abandoned_row(marks).len(), QUERY_COLUMNS.len());
    }
}
