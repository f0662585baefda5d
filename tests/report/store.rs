//! Stores with the monitor's tables, row by row as a test wants them. Their columns are declared here
//! again, so that a change of the monitor's own which old stores do not bear fails here.

use std::sync::Arc;

use icecore::engine::Environment;
use icecore::model::{
    EventBatch, EventColumn, EventKind, EventSchema, EventValue, Metadata, MetricKind, Series,
};
use icecore::monitor::{FederationMonitor, MonitorOptions, QUERIES, SOURCE_CALLS};
use icecore::options::GateOptions;
use icecore::report::Report;
use icecore::{Engine, EventWriter, Options, SimulatedClock, TimeRange, Timestamp};

/// 2026-11-27 10:00:00 UTC.
pub(crate) const START: Timestamp = Timestamp::from_secs(1_795_773_600);

pub(crate) fn at_ms(ms: i64) -> Timestamp {
    Timestamp::from_millis(START.nanos() / 1_000_000 + ms)
}

pub(crate) fn between_ms(from: i64, to: i64) -> TimeRange {
    TimeRange::new(at_ms(from), at_ms(to))
}

/// `name:kind` with the unit behind another colon: `i` an integer, `t` a text, `b` a boolean.
const QUERY_COLUMNS: &str = "id:i fingerprint:t text:t tenant:t user:t outcome:t error:t \
    duration:i:us plan:i:us optimize:i:us federate:i:us execute:i:us stream:i:us waiting:i:us \
    critical_source:t critical:i:us rows_in:i rows_out:i bytes_in:i:bytes bytes_out:i:bytes \
    cpu:i:us memory_peak:i:bytes spill:i:bytes retries:i cache_hits:i sources:i calls_unlisted:i \
    marked:b kept_one_in:i";
const CALL_COLUMNS: &str = "query:i source:t fingerprint:t outcome:t error:t calls:i failed:i \
    requests:i rows:i bytes:i:bytes retries:i cache_hits:i first_row:i:us longest:i:us \
    waiting:i:us critical:i:us";

fn schema(table: &str, columns: &str) -> EventSchema {
    let columns = columns.split_whitespace().map(|column| {
        let mut pieces = column.split(':');
        let name = pieces.next().unwrap();
        let kind = match pieces.next().unwrap() {
            "i" => EventKind::Integer,
            "b" => EventKind::Boolean,
            _ => EventKind::Text,
        };
        EventColumn::new(name, kind).with_unit(pieces.next().unwrap_or_default())
    });
    EventSchema::new(table, columns.collect()).unwrap()
}

/// A query, as much of it as reports look at.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) at_ms: i64,
    pub(crate) text: &'static str,
    pub(crate) tenant: &'static str,
    pub(crate) outcome: &'static str,
    pub(crate) error: &'static str,
    /// Microseconds; `None` as a crash leaves it.
    pub(crate) duration: Option<i64>,
    pub(crate) kept_one_in: i64,
    pub(crate) calls: Vec<Call>,
}

#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) source: &'static str,
    pub(crate) outcome: &'static str,
    pub(crate) error: &'static str,
    pub(crate) took: i64,
}

impl Query {
    pub(crate) fn ok(at_ms: i64, duration: i64, calls: Vec<Call>) -> Self {
        Self {
            at_ms,
            text: "SELECT ?",
            tenant: "shop",
            outcome: "ok",
            error: "",
            duration: Some(duration),
            kept_one_in: 1,
            calls,
        }
    }
}

impl Call {
    pub(crate) fn ok(source: &'static str, took: i64) -> Self {
        Self { source, outcome: "ok", error: "", took }
    }
}

pub(crate) struct Store {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) engine: Arc<Engine>,
    tables: [EventWriter; 2],
    next_id: i64,
}

fn options(threads: usize) -> Options {
    let gate = GateOptions { past: None, future: None, ..GateOptions::default() };
    Options { self_metrics: None, gate, threads, ..Options::default() }
}

pub(crate) fn engine(dir: &std::path::Path, threads: usize) -> Engine {
    let clock = Arc::new(SimulatedClock::new(START));
    let environment = Environment { clock, ..Environment::default() };
    Engine::open_in(dir, options(threads), environment).unwrap()
}

fn text(text: &str) -> EventValue {
    if text.is_empty() { EventValue::Null } else { EventValue::from(text) }
}

impl Store {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let engine = Arc::new(engine(dir.path(), 2));
        let monitor =
            FederationMonitor::open(Arc::clone(&engine), MonitorOptions::default()).unwrap();
        monitor.close().unwrap();
        let open = |table, columns| engine.events(&schema(table, columns)).unwrap();
        let tables = [open(QUERIES, QUERY_COLUMNS), open(SOURCE_CALLS, CALL_COLUMNS)];
        Self { dir, engine, tables, next_id: 1 }
    }

    pub(crate) fn of(queries: impl IntoIterator<Item = Query>) -> Self {
        let mut store = Self::new();
        queries.into_iter().for_each(|query| store.add(&query));
        store.engine.sync().unwrap();
        store
    }

    pub(crate) fn report(&self, range: TimeRange) -> Report {
        Report::of(&self.engine, range).unwrap()
    }

    pub(crate) fn add(&mut self, query: &Query) {
        let id = self.next_id;
        self.next_id += 1;
        let [queries, calls] = &self.tables;
        let print = format!("{:016x}", query.text.len());
        let waiting = query.calls.iter().map(|call| call.took).max().unwrap_or(0);
        let critical = query.calls.iter().max_by_key(|call| call.took);
        let mut row = vec![EventValue::Null; queries.schema().columns().len()];
        let mut set = |column: &str, value: EventValue| {
            row[queries.schema().position(column).unwrap()] = value;
        };
        set("id", id.into());
        set("fingerprint", text(&print));
        set("text", text(query.text));
        set("tenant", text(query.tenant));
        set("outcome", text(query.outcome));
        set("error", text(query.error));
        set("duration", query.duration.map_or(EventValue::Null, EventValue::from));
        set("waiting", waiting.into());
        set("critical_source", text(critical.map_or("", |call| call.source)));
        set("critical", waiting.into());
        set("rows_out", 3_i64.into());
        set("kept_one_in", query.kept_one_in.into());
        append(queries, query.at_ms, row);
        for call in &query.calls {
            let mut row = vec![EventValue::Null; calls.schema().columns().len()];
            let mut set = |column: &str, value: EventValue| {
                row[calls.schema().position(column).unwrap()] = value;
            };
            set("query", id.into());
            set("source", text(call.source));
            set("fingerprint", text(&print));
            set("outcome", text(call.outcome));
            set("error", text(call.error));
            set("calls", 1_i64.into());
            set("failed", i64::from(call.outcome != "ok").into());
            set("requests", 1_i64.into());
            set("rows", 10_i64.into());
            set("bytes", 100_i64.into());
            set("longest", call.took.into());
            set("waiting", call.took.into());
            set("critical", if call.took == waiting { call.took } else { 0 }.into());
            append(calls, query.at_ms, row);
        }
    }
}

fn append(table: &EventWriter, at: i64, row: Vec<EventValue>) {
    let mut batch: EventBatch = table.batch();
    batch.push(at_ms(at).nanos(), row).unwrap();
    drop(table.append_batch(batch).unwrap());
}

/// A minute of 20 queries a second, one of `lake` and `orders` each, 10 ms long; with
/// - `orders` refusing every other call from 20 s to 30 s,
/// - `lake` taking 200 ms instead of 8 from 40 s to 45 s,
/// - seven cancelled queries from 50 s to 52 s, four abandoned ones from 55 s to 56 s.
pub(crate) fn a_bad_minute() -> Vec<Query> {
    (0..1_200).map(|number| query_of_a_bad_minute(number, number * 50)).collect()
}

fn query_of_a_bad_minute(number: i64, at: i64) -> Query {
    let slow = (40_000..45_000).contains(&at);
    let lake = if slow { 200_000 } else { 8_000 };
    let mut query = Query {
        text: if number % 3 == 0 { "SELECT count(*)" } else { "SELECT sum(x) FROM orders" },
        ..Query::ok(at, lake + 2_000, vec![Call::ok("lake", lake), Call::ok("orders", 1_000)])
    };
    if (20_000..30_000).contains(&at) && number % 2 == 0 {
        query.calls[1] = Call { outcome: "error", error: "refused", ..query.calls[1].clone() };
        (query.outcome, query.error) = ("error", "refused");
    }
    if (50_000..52_000).contains(&at) && number % 6 == 4 {
        query.outcome = "cancelled";
    }
    if (55_000..56_000).contains(&at) && number % 5 == 0 {
        query.outcome = "abandoned";
    }
    query
}

/// Samples of a series of a source.
pub(crate) fn write_of_source(engine: &Engine, metric: &str, source: &str, values: &[(i64, f64)]) {
    let kind = if metric.ends_with("_total") { MetricKind::Counter } else { MetricKind::Gauge };
    let metadata = Metadata { kind, ..Metadata::default() };
    write(engine, metric, &[("source", source)], &metadata, values);
}

fn write(
    engine: &Engine,
    metric: &str,
    labels: &[(&str, &str)],
    metadata: &Metadata,
    values: &[(i64, f64)],
) {
    let series = Series::new(metric, labels.iter().copied()).unwrap();
    let writer = engine.writer("test");
    let handle = writer.series(&series, metadata).unwrap();
    let times = values.iter().map(|(at, _)| at_ms(*at).nanos()).collect();
    let values = values.iter().map(|(_, value)| *value).collect();
    writer.append_column(&handle, times, values).unwrap().wait().unwrap();
}

/// Alerts as the monitor writes them: a state and when it was entered.
pub(crate) fn write_alert(engine: &Engine, alert: &str, states: &[(i64, f64)]) {
    let labels = [("alert", alert), ("severity", "critical"), ("source", "orders")];
    write(engine, "alert_state", &labels, &Metadata::default(), states);
}
