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
use icecore::monitor::attribution::{Attribution, Call, SourceTime, attribute};
use icecore::monitor::{FederationMonitor, MonitorOptions, QUERIES, SOURCE_CALLS};
use icecore::options::{Durability, GateOptions, Maintenance};
use icecore::query::{
    Answer, EventOrder, EventPredicate, EventRequest, EventTest, Function, Grouping, Request,
};
use icecore::{Engine, EventWriter, Options, SimulatedClock, TimeRange, Timestamp};

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

/// A small generator (PCG's multiplier): the same queries in every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.0 >> 32
    }

    fn unit(&mut self) -> f64 {
        (self.next() as f64 + 0.5) / (1_u64 << 32) as f64
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.unit() * bound as f64) as usize
    }

    /// Log-normal, by Box and Muller.
    fn around(&mut self, median: f64, sigma: f64) -> i64 {
        let radius = (-2.0 * self.unit().ln()).sqrt();
        (median * (radius * (std::f64::consts::TAU * self.unit()).cos() * sigma).exp()) as i64
    }

    /// Small numbers are frequent: about Zipf's.
    fn rank(&mut self, bound: usize) -> usize {
        ((bound as f64).powf(self.unit()) - 1.0) as usize
    }
}

/// What queries of one text usually do.
struct Fingerprint {
    name: Arc<str>,
    text: Arc<str>,
    sources: [usize; CALLS],
    /// Rows that a call reads, and bytes of each.
    rows: [f64; CALLS],
    row_bytes: [i64; CALLS],
    microseconds: f64,
    answered: f64,
}

fn fingerprints(dice: &mut Dice) -> Vec<Fingerprint> {
    let one = |dice: &mut Dice| {
        let text = format!(
            "SELECT a.c{}, sum(b.c{}) FROM t{} a JOIN t{} b ON a.id = b.id WHERE a.c{} = ? GROUP BY ?",
            dice.below(40),
            dice.below(40),
            dice.below(90),
            dice.below(90),
            dice.below(40)
        );
        let mut sources = Vec::new();
        while sources.len() < CALLS {
            let source = dice.rank(SOURCES);
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
        // The monitor lists a query's sources by name.
        sources.sort_unstable();
        Fingerprint {
            name: format!("{:08x}{:08x}", dice.next(), dice.next()).into(),
            text: text.into(),
            sources: std::array::from_fn(|call| sources[call]),
            // One row in three is looked up by its key.
            rows: std::array::from_fn(|_| {
                if dice.below(3) == 0 { 1.0 } else { dice.around(300.0, 1.5) as f64 }
            }),
            row_bytes: std::array::from_fn(|_| 16 + 8 * dice.below(40) as i64),
            microseconds: dice.around(15_000.0, 1.0) as f64,
            answered: dice.around(50.0, 1.5) as f64,
        }
    };
    (0..FINGERPRINTS).map(|_| one(dice)).collect()
}

/// What a call did.
struct Use {
    hit: bool,
    rows: i64,
    bytes: i64,
    began: i64,
    duration: i64,
    first: i64,
    retries: i64,
    error: Option<Arc<str>>,
}

impl Use {
    fn new(dice: &mut Dice, one: &Fingerprint, call: usize) -> Self {
        let hit = dice.below(5) == 0;
        let wanted = one.rows[call];
        let rows = if wanted <= 1.0 { 1 } else { dice.around(wanted, 0.4) };
        let bytes = rows * one.row_bytes[call] + 40;
        let waits = if hit { 300.0 } else { one.microseconds };
        let (began, duration) = (dice.around(80.0, 0.6), dice.around(waits, 0.6));
        let first = (duration as f64 * (0.3 + 0.7 * dice.unit())) as i64;
        let retries = i64::from(dice.below(200) == 0);
        Self { hit, rows, bytes, began, duration, first, retries, error: None }
    }
}

/// Makes queries, one after another.
struct Workload {
    dice: Dice,
    fingerprints: Vec<Fingerprint>,
    names: Names,
    /// Number and beginning of the latest to begin.
    begun: (i64, i64),
    /// Of those that run.
    running: Vec<(i64, i64)>,
    each: i64,
}

struct Names {
    users: Vec<Arc<str>>,
    tenants: Vec<Arc<str>>,
    sources: Vec<Arc<str>>,
    outcomes: [Arc<str>; 3],
    errors: [Arc<str>; 4],
}

impl Names {
    fn new() -> Self {
        let many =
            |what: &str, count| (0..count).map(|i| format!("{what}-{i:02}").into()).collect();
        Self {
            users: many("user", 60),
            tenants: many("tenant", 8),
            sources: many("source", SOURCES),
            outcomes: ["ok", "error", "cancelled"].map(Arc::from),
            errors: ["timeout", "connection refused", "out of memory", "bad row"].map(Arc::from),
        }
    }
}

/// Values of a row by the names of their columns; the others are null.
type Named = Vec<(&'static str, EventValue)>;

/// A finished query: when it began, its row, and those of its sources.
struct Query {
    began: i64,
    row: Named,
    sources: [Named; CALLS],
    duration: i64,
    /// Each source, and how long it was waited for.
    waited: [(usize, i64); CALLS],
}

/// What did not happen is null, as the monitor has it.
fn some(count: i64) -> EventValue {
    if count == 0 { EventValue::Null } else { count.into() }
}

impl Workload {
    fn new(a_day: i64) -> Self {
        let mut dice = Dice(42);
        let fingerprints = fingerprints(&mut dice);
        let (names, each) = (Names::new(), DAY / MICROSECOND / a_day);
        Self {
            dice,
            fingerprints,
            names,
            begun: ((START / DAY) << 32, START),
            running: Vec::new(),
            each,
        }
    }

    /// The next query to finish: one of the six that run.
    fn next(&mut self) -> Query {
        let Self { dice, .. } = self;
        while self.running.len() < 6 {
            let (id, time) = self.begun;
            let pause = 1 + (-dice.unit().ln() * self.each as f64) as i64;
            self.begun = (id + 1, time + pause * MICROSECOND);
            self.running.push(self.begun);
        }
        let (id, began) = self.running.remove(dice.rank(6));
        let one = &self.fingerprints[dice.rank(FINGERPRINTS)];
        let run = Run::new(dice, one, &self.names);
        let waited = std::array::from_fn(|at| {
            let SourceTime { source, waiting, .. } = run.of.sources[at];
            (source, waiting as i64)
        });
        let sources = std::array::from_fn(|at| run.source_row(id, at, &self.names));
        let row = run.row(id, dice, &self.names);
        Query { began, row, sources, duration: run.duration(), waited }
    }
}

/// What one query did.
struct Run<'a> {
    one: &'a Fingerprint,
    user: usize,
    outcome: usize,
    error: Option<Arc<str>>,
    uses: [Use; CALLS],
    of: Attribution<usize>,
    /// Plan, optimize, federate, execute, stream, and what lies between them.
    phases: [i64; 6],
    rows_out: i64,
}

impl<'a> Run<'a> {
    fn new(dice: &mut Dice, one: &'a Fingerprint, names: &Names) -> Self {
        let user = dice.rank(names.users.len());
        let (outcome, error) = match dice.below(1000) {
            0..10 => (1, Some(names.errors[dice.rank(names.errors.len())].clone())),
            10..15 => (2, None),
            _ => (0, None),
        };
        let mut uses: [Use; CALLS] = std::array::from_fn(|call| Use::new(dice, one, call));
        uses[3].error = error.clone();
        let ended = |of: &Use| of.began + of.duration;
        let calls = uses.iter().zip(one.sources);
        let calls = calls.map(|(of, source)| Call {
            source,
            began: of.began as u64,
            ended: ended(of) as u64,
        });
        let of = attribute(u64::MAX >> 1, &calls.collect::<Vec<_>>());
        let rows_in: i64 = uses.iter().map(|of| of.rows).sum();
        let rows_out = dice.around(one.answered, 0.4);
        let joined = dice.around(40.0 + rows_in as f64 / 8.0, 0.3);
        let phases = [
            dice.around(250.0, 0.3),
            dice.around(400.0, 0.3),
            dice.around(60.0, 0.3),
            uses.iter().map(ended).max().unwrap_or(0) + joined,
            20 + rows_out * 2 + dice.around(30.0, 0.3),
            dice.around(4.0, 0.3),
        ];
        Self { one, user, outcome, error, uses, of, phases, rows_out }
    }

    fn duration(&self) -> i64 {
        self.phases.iter().sum()
    }

    fn sum(&self, count: fn(&Use) -> i64) -> i64 {
        self.uses.iter().map(count).sum()
    }

    fn row(&self, id: i64, dice: &mut Dice, names: &Names) -> Named {
        let longest = self.of.sources.iter().find(|of| Some(of.source) == self.of.longest());
        let text = |text: &Arc<str>| EventValue::from(text.clone());
        let (bytes_in, duration) = (self.sum(|of| of.bytes), self.duration());
        let engine = duration - self.of.waiting as i64;
        vec![
            ("id", id.into()),
            ("fingerprint", text(&self.one.name)),
            ("text", text(&self.one.text)),
            ("tenant", text(&names.tenants[self.user % names.tenants.len()])),
            ("user", text(&names.users[self.user])),
            ("outcome", text(&names.outcomes[self.outcome])),
            ("error", self.error.clone().into()),
            ("duration", duration.into()),
            ("plan", self.phases[0].into()),
            ("optimize", self.phases[1].into()),
            ("federate", self.phases[2].into()),
            ("execute", self.phases[3].into()),
            ("stream", self.phases[4].into()),
            ("waiting", (self.of.waiting as i64).into()),
            ("critical_source", longest.map(|of| names.sources[of.source].clone()).into()),
            ("critical", longest.map(|of| of.critical as i64).into()),
            ("rows_in", some(self.sum(|of| of.rows))),
            ("rows_out", some(self.rows_out)),
            ("bytes_in", some(bytes_in)),
            ("bytes_out", some(self.rows_out * self.one.row_bytes[0])),
            ("cpu", dice.around(engine as f64 * 0.9, 0.1).into()),
            // Counted in blocks of 64 KiB.
            ("memory_peak", ((1 + bytes_in / 65_536 + dice.below(8) as i64) * 65_536).into()),
            ("spill", some(i64::from(dice.below(500) == 0) << 20)),
            ("retries", some(self.sum(|of| of.retries))),
            ("cache_hits", some(self.sum(|of| i64::from(of.hit)))),
            ("sources", (CALLS as i64).into()),
            ("marked", (duration > 1_000_000).into()),
            ("kept_one_in", 1.into()),
        ]
    }

    fn source_row(&self, id: i64, at: usize, names: &Names) -> Named {
        let (used, time) = (&self.uses[at], &self.of.sources[at]);
        let text = |text: &Arc<str>| EventValue::from(text.clone());
        let failed = used.error.is_some();
        vec![
            ("query", id.into()),
            ("source", text(&names.sources[time.source])),
            ("fingerprint", text(&self.one.name)),
            ("outcome", text(&names.outcomes[usize::from(failed)])),
            ("error", used.error.clone().into()),
            ("calls", 1.into()),
            ("failed", some(i64::from(failed))),
            ("requests", (1 + used.rows / 1000 + used.retries).into()),
            ("rows", some(used.rows)),
            ("bytes", some(used.bytes)),
            ("retries", some(used.retries)),
            ("cache_hits", some(i64::from(used.hit))),
            ("first_row", used.first.into()),
            ("longest", used.duration.into()),
            ("waiting", (time.waiting as i64).into()),
            ("critical", (time.critical as i64).into()),
        ]
    }
}

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
