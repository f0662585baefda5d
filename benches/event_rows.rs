//! Finished queries as rows of events: `cargo bench --bench event_rows`.
//!
//! A day of a million queries of 400 fingerprints, 60 users and 8 tenants over 12 sources, in the
//! monitor's own tables: one row of 29 columns, and a row of 16 columns for each of the four sources
//! that it calls at once. Times and lengths are microseconds, log-normal around what
//! the fingerprint usually takes, rows and bytes around what it usually reads, 1.5 % end in errors.
//! What was waited for, and the critical path, are the monitor's attribution of the calls. Queries
//! finish some out of the order in which they began, which is their time. Beside them the distributions of
//! each source's response times, as the monitor writes them. Loaded through the public API into
//! a store of default options on a simulated clock, which then does all the maintenance that is due;
//! asked warm, in process. The answers are checked against a plain list.
//!
//! Printed: bytes a query, all files of the store counted, and of what they are; the rate of loading;
//! the least time by the clock and the mean time on processors of each question.
//! `ICECORE_EVENT_DAYS=10` loads as many days; `ICECORE_EVENT_ROWS_DIR=DIR` keeps the store there.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "a benchmark on data it made itself"
)]

#[path = "support/dice.rs"]
mod dice;
#[path = "support/federation.rs"]
mod federation;
#[path = "support/processor.rs"]
mod processor;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::Criterion;
use icecore::aggregate::Distribution;
use icecore::engine::{Environment, SeriesHandle, Writer};
use icecore::fs::RealFs;
use icecore::model::{
    EventBatch, EventRows, EventSchema, EventValue, EventVector, Metadata, MetricKind, Selector,
};
use icecore::monitor::{FederationMonitor, MonitorOptions, QUERIES, SOURCE_CALLS};
use icecore::options::{Durability, GateOptions, Maintenance};
use icecore::query::{
    Answer, EventOrder, EventPredicate, EventRequest, EventTest, Function, Grouping, Request,
};
use icecore::{Engine, EventWriter, Options, SimulatedClock, TimeRange, Timestamp};

use federation::{Named, Names, Query, Workload};

const MICROSECOND: i64 = 1000;
const DAY: i64 = 86_400_000_000_000;
/// A midnight.
const START: i64 = 20_000 * DAY;
const FINGERPRINTS: usize = 400;
const SOURCES: usize = 12;
const CALLS: usize = 4;
/// How often distributions are written.
const SPAN: i64 = 10_000_000_000;
const MINUTES_5: i64 = 300_000_000_000;
const RESPONSES: &str = "source_response_seconds";

/// The monitor's own tables, as it declares them.
fn schemas(engine: &Arc<Engine>) -> [EventSchema; 2] {
    let monitor = FederationMonitor::open(Arc::clone(engine), MonitorOptions::default()).unwrap();
    monitor.close().unwrap();
    [QUERIES, SOURCE_CALLS].map(|table| EventSchema::clone(&engine.event_schema(table).unwrap()))
}

/// A table that rows of named values are written into.
struct Table {
    schema: EventSchema,
    writer: EventWriter,
    batch: EventBatch,
    /// Where each value of a row stands: every row names the same, in the same order.
    positions: Vec<usize>,
}

impl Table {
    fn new(engine: &Engine, schema: &EventSchema) -> Self {
        let writer = engine.events(schema).unwrap().with_durability(Durability::Buffered);
        let batch = writer.batch();
        Self { schema: schema.clone(), writer, batch, positions: Vec::new() }
    }

    fn push(&mut self, time: i64, named: Named) {
        let Self { schema, positions, .. } = self;
        if positions.is_empty() {
            positions.extend(named.iter().map(|(name, _)| schema.position(name).unwrap()));
        }
        let mut row = vec![EventValue::Null; schema.columns().len()];
        positions.iter().zip(named).for_each(|(&at, (_, value))| row[at] = value);
        self.batch.push(time, row).unwrap();
    }

    fn write(&mut self) {
        let full = std::mem::replace(&mut self.batch, self.writer.batch());
        drop(self.writer.append_batch(full).unwrap());
    }
}

fn open(dir: &Path, days: i64) -> Engine {
    let options = Options {
        gate: GateOptions { past: None, future: None, ..GateOptions::default() },
        // When it is done, not whether.
        maintenance: Maintenance::ByHand,
        self_metrics: None,
        ..Options::default()
    };
    let clock = Arc::new(SimulatedClock::new(Timestamp(START + days * DAY + DAY / 24)));
    Engine::open_in(dir, options, Environment { fs: Arc::new(RealFs), clock }).unwrap()
}

/// What a plain list says: the durations, longest first, and the waits for each source, of the first day;
/// the waits of the first source in the first five minutes.
#[derive(Default)]
struct Expected {
    slowest: Vec<(i64, i64)>,
    waited: BTreeMap<String, i64>,
    calls: u64,
    first: Vec<f64>,
}

/// The distribution of each source's response times, as the monitor has it: a sample each ten seconds.
struct Responses {
    writer: Writer,
    spans: Vec<(SeriesHandle, Distribution)>,
    since: i64,
}

impl Responses {
    fn new(engine: &Engine, names: &Names) -> Self {
        let writer = engine.writer("responses").with_durability(Durability::Buffered);
        let metadata = Metadata { kind: MetricKind::Distribution, ..Metadata::default() };
        let span = |source: &Arc<str>| {
            let labels = [("source", &**source), ("outcome", "ok")];
            let handle = writer.series_named(RESPONSES, labels, &metadata).unwrap();
            (handle, Distribution::default())
        };
        let spans = names.sources.iter().map(span).collect();
        Self { writer, spans, since: START }
    }

    /// Queries end about in the order of their beginnings: what is late counts where it comes.
    fn advance(&mut self, time: i64) {
        if time < self.since + SPAN {
            return;
        }
        for (handle, span) in &mut self.spans {
            let span = std::mem::take(span);
            if span.count() > 0 {
                drop(self.writer.append_distribution(handle, Timestamp(self.since), span).unwrap());
            }
        }
        self.since = time - (time - START) % SPAN;
    }

    fn record(&mut self, source: usize, microseconds: i64) {
        self.spans[source].1.record(microseconds as f64 / 1e6);
    }
}

fn load(engine: &Engine, schemas: &[EventSchema; 2], a_day: i64, days: i64) -> Expected {
    let [mut queries, mut calls] = schemas.each_ref().map(|schema| Table::new(engine, schema));
    let mut workload = Workload::new(a_day);
    let mut expected = Expected::default();
    let mut responses = Responses::new(engine, &workload.names);
    for number in 0..a_day * days {
        let Query { began, row, sources, duration, waited } = workload.next();
        responses.advance(began);
        for (source, waiting) in &waited {
            responses.record(*source, *waiting);
            if *source == 0 && responses.since < START + MINUTES_5 {
                expected.first.push(*waiting as f64 / 1e6);
            }
        }
        if began < START + DAY {
            expected.slowest.push((duration, began));
            for (source, waiting) in waited {
                let source = workload.names.sources[source].to_string();
                *expected.waited.entry(source).or_default() += waiting;
                expected.calls += 1;
            }
        }
        queries.push(began, row);
        sources.into_iter().for_each(|row| calls.push(began, row));
        if number % 64 == 63 || number + 1 == a_day * days {
            queries.write();
            calls.write();
        }
    }
    responses.advance(i64::MAX);
    engine.sync().unwrap();
    expected.slowest.sort_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(&other.1)));
    expected
}

/// What the store takes, and of what.
fn sizes(engine: &Engine, schemas: &[EventSchema; 2], queries: i64) {
    let stats = engine.stats().unwrap();
    let each = |bytes: u64| bytes as f64 / queries as f64;
    println!(
        "{queries} queries: {:.2} bytes a query, the whole directory ({} parts)",
        each(stats.bytes_on_disk),
        stats.parts.len(),
    );
    for table in stats.events.iter().filter(|table| table.rows > 0) {
        println!(
            "  {}: {} rows, {:.2} bytes a query",
            table.table,
            table.rows,
            each(table.bytes_on_disk)
        );
        let schema = schemas.iter().find(|schema| schema.table() == table.table).unwrap();
        let width = schema.columns().len() + 1;
        let mut columns = vec![0_u64; width];
        for part in &stats.parts {
            let segments = &part.meta.segments;
            let fields = segments.iter().map(|segment| segment.info.first_series).max();
            if fields != Some(width as u32 - 1) {
                continue;
            }
            for segment in segments {
                columns[segment.info.first_series as usize] += u64::from(segment.bytes);
            }
        }
        let names = std::iter::once("time").chain(schema.columns().iter().map(|c| c.name.as_str()));
        let told = names.zip(&columns).map(|(name, &bytes)| format!("{name} {:.2}", each(bytes)));
        println!("    {}", told.collect::<Vec<_>>().join(", "));
    }
}

fn day(table: &str) -> EventRequest {
    EventRequest::new(table, TimeRange::new(Timestamp(START), Timestamp(START + DAY)))
}

fn slowest() -> EventRequest {
    EventRequest { order: EventOrder::Largest("duration".into()), limit: Some(20), ..day(QUERIES) }
}

/// How long the calls of each source took, summed up without copying rows.
fn waited(engine: &Engine) -> BTreeMap<String, i64> {
    let request = EventRequest {
        projection: Some(vec!["source".into(), "waiting".into()]),
        ..day(SOURCE_CALLS)
    };
    let fold = |sums: &mut BTreeMap<String, i64>, rows: &EventRows| {
        let [source, duration] = &rows.columns[..] else { panic!("two columns") };
        let EventVector::Text { ids, dictionary } = &source.values else { panic!("texts") };
        let EventVector::Integer(durations) = &duration.values else { panic!("integers") };
        let mut of_id = vec![0; dictionary.len()];
        ids.iter().zip(durations).for_each(|(&id, us)| of_id[id as usize] += us);
        for (text, sum) in dictionary.iter().zip(of_id) {
            *sums.entry(text.to_string()).or_default() += sum;
        }
        Ok(())
    };
    let (states, _) = engine.fold_events(&request, BTreeMap::new, fold).unwrap();
    let mut all = BTreeMap::new();
    states.into_iter().flatten().for_each(|(source, us)| *all.entry(source).or_default() += us);
    all
}

/// The 99th percentile of each source's response times by five minutes, over the days.
fn p99(engine: &Engine, selector: &Selector, days: i64) -> Answer {
    let week = TimeRange::new(Timestamp(START), Timestamp(START + days.min(7) * DAY));
    let request = Request {
        step: Some(Duration::from_nanos(MINUTES_5 as u64)),
        group_by: Grouping::Labels(vec!["source".to_owned()]),
        ..Request::new(week, vec![Function::Quantile(0.99)])
    };
    engine.query(selector, &request).unwrap()
}

/// Within what a sketch promises of the neighbours in rank.
fn check_p99(answer: &Answer, mut first: Vec<f64>) {
    first.sort_by(f64::total_cmp);
    let rank = 0.99 * (first.len() - 1) as f64;
    let (low, high) = (first[rank as usize], first[rank.ceil() as usize]);
    let found = answer.groups[0].values[0][0];
    assert!((low * 0.99..=high * 1.01).contains(&found), "{found}, {low} to {high}");
    assert_eq!(answer.groups[0].counts[0], first.len() as u64);
}

fn questions(engine: &Engine, days: i64, criterion: &mut Criterion, expected: Option<&Expected>) {
    let answer = engine.scan_events(&slowest()).unwrap();
    println!("top 20 slowest: {:?}", answer.evidence);
    let selector = Selector::metric(RESPONSES).unwrap();
    let responses = p99(engine, &selector, days);
    println!(
        "p99 by source by 5 min: {} groups, {} windows, {:?}",
        responses.groups.len(),
        responses.windows.len(),
        responses.evidence.tiers
    );
    if let Some(expected) = expected {
        check_p99(&responses, expected.first.clone());
        let duration = engine.event_schema(QUERIES).unwrap().position("duration").unwrap();
        let found = (0..answer.rows.len()).map(|row| match answer.rows.value(row, duration) {
            EventValue::Integer(duration) => (duration, answer.rows.times[row]),
            other => panic!("{other:?}"),
        });
        assert!(found.eq(expected.slowest.iter().copied().take(20)));
        assert_eq!(waited(engine), expected.waited);
        let all =
            engine.scan_events(&EventRequest { projection: Some(vec![]), ..day(SOURCE_CALLS) });
        assert_eq!(all.unwrap().rows.len() as u64, expected.calls);
    }
    let errors = EventRequest {
        predicates: vec![EventPredicate::new("outcome", EventTest::Equal("error".into()))],
        projection: Some(vec!["fingerprint".into(), "error".into()]),
        ..day(QUERIES)
    };
    type Ask<'a> = Box<dyn Fn() + 'a>;
    let asked: [(&str, Ask<'_>); 4] = [
        ("top_20_slowest", Box::new(|| drop(black_box(engine.scan_events(&slowest()).unwrap())))),
        ("errors", Box::new(|| drop(black_box(engine.scan_events(&errors).unwrap())))),
        ("p99_by_source", Box::new(|| drop(black_box(p99(engine, &selector, days))))),
        ("waited_by_source", Box::new(|| drop(black_box(waited(engine))))),
    ];
    for (name, ask) in &asked {
        processor::measure(name, ask);
        criterion.bench_function(name, |bencher| bencher.iter(ask));
    }
}

fn main() {
    let test = std::env::args().any(|argument| argument == "--test");
    let a_day = if test { 3000 } else { 1_000_000 };
    let days = std::env::var("ICECORE_EVENT_DAYS").map_or(1, |days| days.parse().unwrap());
    let kept = std::env::var_os("ICECORE_EVENT_ROWS_DIR");
    let temporary = tempfile::tempdir().unwrap();
    let dir = kept.as_ref().map_or(temporary.path(), Path::new).join("store");
    let fresh = !dir.exists();
    let engine = Arc::new(open(&dir, days));
    let schemas = schemas(&engine);
    let mut expected = None;
    if fresh {
        let began = Instant::now();
        expected = Some(load(&engine, &schemas, a_day, days));
        let loaded = began.elapsed();
        engine.freeze().unwrap();
        println!(
            "loaded and synced at {:.0} queries a second, in parts after {:.1} s",
            (a_day * days) as f64 / loaded.as_secs_f64(),
            began.elapsed().as_secs_f64(),
        );
        sizes(&engine, &schemas, a_day * days);
    }
    let began = Instant::now();
    while engine.maintain().unwrap().is_some() {}
    println!("maintenance took {:.1} s", began.elapsed().as_secs_f64());
    sizes(&engine, &schemas, a_day * days);
    let mut criterion =
        Criterion::default().measurement_time(Duration::from_secs(3)).configure_from_args();
    questions(&engine, days, &mut criterion, expected.as_ref());
    criterion.final_summary();
    Arc::into_inner(engine).unwrap().close().unwrap();
}
