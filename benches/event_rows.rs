//! Finished queries as rows of events: `cargo bench --bench event_rows`.
//!
//! A day of a million queries of 400 fingerprints, 60 users and 8 tenants over 12 sources, each query
//! one row of 21 columns and four rows of 12 columns for its source calls: times and durations at
//! microseconds, log-normal around what the fingerprint usually takes, rows and bytes around what it
//! usually reads, 1.5 % errors. Queries finish some out of the order of their numbers; the rows of a
//! query's calls have the time at which it finished. Loaded through the public API into a store of
//! default options on a simulated clock, which then does all the maintenance that is due; asked warm,
//! in process. The answers are checked against a plain list.
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
use icecore::engine::Environment;
use icecore::fs::RealFs;
use icecore::model::{EventColumn, EventKind, EventRows, EventSchema, EventValue, EventVector};
use icecore::options::{Durability, GateOptions, Maintenance};
use icecore::query::{EventOrder, EventPredicate, EventRequest, EventTest};
use icecore::{Engine, EventWriter, Options, SimulatedClock, TimeRange, Timestamp};

const MICROSECOND: i64 = 1000;
const DAY: i64 = 86_400_000_000_000;
/// A midnight.
const START: i64 = 20_000 * DAY;
const FINGERPRINTS: usize = 400;
const SOURCES: usize = 12;
const CALLS: usize = 4;

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
    text: Arc<str>,
    sources: [usize; CALLS],
    /// Rows that a call reads, and bytes of each.
    rows: [f64; CALLS],
    row_bytes: [i64; CALLS],
    microseconds: f64,
    answered: f64,
}

fn fingerprints(dice: &mut Dice) -> Vec<Fingerprint> {
    let one = |dice: &mut Dice| Fingerprint {
        text: format!("{:08x}{:08x}", dice.next(), dice.next()).into(),
        sources: std::array::from_fn(|_| dice.rank(SOURCES)),
        // One row in three is looked up by its key.
        rows: std::array::from_fn(|_| {
            if dice.below(3) == 0 { 1.0 } else { dice.around(300.0, 1.5) as f64 }
        }),
        row_bytes: std::array::from_fn(|_| 16 + 8 * dice.below(40) as i64),
        microseconds: dice.around(15_000.0, 1.0) as f64,
        answered: dice.around(50.0, 1.5) as f64,
    };
    (0..FINGERPRINTS).map(|_| one(dice)).collect()
}

fn schemas() -> [EventSchema; 2] {
    let column = |(name, kind): &(&str, EventKind)| EventColumn::new(*name, *kind);
    let schema = |table, columns: &[(&str, EventKind)]| {
        EventSchema::new(table, columns.iter().map(column).collect()).unwrap()
    };
    use EventKind::{Boolean, Integer, Text};
    let queries = [
        ("id", Integer),
        ("fingerprint", Text),
        ("user", Text),
        ("tenant", Text),
        ("outcome", Text),
        ("error_class", Text),
        ("sources", Integer),
        ("plan_us", Integer),
        ("optimize_us", Integer),
        ("federate_us", Integer),
        ("execute_us", Integer),
        ("stream_us", Integer),
        ("duration_us", Integer),
        ("rows_in", Integer),
        ("bytes_in", Integer),
        ("rows_out", Integer),
        ("bytes_out", Integer),
        ("cpu_us", Integer),
        ("peak_memory_bytes", Integer),
        ("spill_bytes", Integer),
        ("cache_hits", Integer),
    ];
    let calls = [
        ("query", Integer),
        ("source", Text),
        ("started_us", Integer),
        ("duration_us", Integer),
        ("first_row_us", Integer),
        ("rows", Integer),
        ("bytes", Integer),
        ("requests", Integer),
        ("retries", Integer),
        ("cache_hit", Boolean),
        ("outcome", Text),
        ("error_class", Text),
    ];
    [schema("queries", &queries), schema("source_calls", &calls)]
}

/// What a call did.
struct Call {
    hit: bool,
    rows: i64,
    bytes: i64,
    started: i64,
    duration: i64,
    first: i64,
}

impl Call {
    fn new(dice: &mut Dice, one: &Fingerprint, call: usize) -> Self {
        let hit = dice.below(5) == 0;
        let wanted = one.rows[call];
        let rows = if wanted <= 1.0 { 1 } else { dice.around(wanted, 0.4) };
        let bytes = rows * one.row_bytes[call] + 40;
        let waits = if hit { 300.0 } else { one.microseconds };
        let (started, duration) = (dice.around(80.0, 0.6), dice.around(waits, 0.6));
        let first = (duration as f64 * (0.3 + 0.7 * dice.unit())) as i64;
        Self { hit, rows, bytes, started, duration, first }
    }
}

/// Makes queries, one after another.
struct Workload {
    dice: Dice,
    fingerprints: Vec<Fingerprint>,
    names: Names,
    started: i64,
    /// Numbers of queries that run.
    running: Vec<i64>,
    time: i64,
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

type Rows = (i64, Vec<EventValue>, [Vec<EventValue>; CALLS]);

impl Workload {
    fn new(a_day: i64) -> Self {
        let mut dice = Dice(42);
        let fingerprints = fingerprints(&mut dice);
        let (names, each) = (Names::new(), DAY / MICROSECOND / a_day);
        Self { dice, fingerprints, names, started: 0, running: Vec::new(), time: START, each }
    }

    /// The next query to finish: when, its row and those of its calls.
    fn next(&mut self) -> Rows {
        let Self { dice, names, .. } = self;
        self.time += (1 + (-dice.unit().ln() * self.each as f64) as i64) * MICROSECOND;
        while self.running.len() < 6 {
            self.running.push(self.started);
            self.started += 1;
        }
        let id = self.running.remove(dice.rank(6));
        let one = &self.fingerprints[dice.rank(FINGERPRINTS)];
        let user = dice.rank(names.users.len());
        let failed = dice.below(1000);
        let (outcome, error) = match failed {
            0..10 => (1, Some(dice.rank(names.errors.len()))),
            10..15 => (2, None),
            _ => (0, None),
        };
        let (mut rows_in, mut bytes_in, mut longest, mut hits) = (0, 0, 0, 0);
        let calls = std::array::from_fn(|call| {
            let Call { hit, rows, bytes, started, duration, first } = Call::new(dice, one, call);
            longest = longest.max(started + duration);
            (rows_in, bytes_in, hits) = (rows_in + rows, bytes_in + bytes, hits + i64::from(hit));
            let bad = error.filter(|_| call == 3).map(|error| names.errors[error].clone());
            vec![
                id.into(),
                names.sources[one.sources[call]].clone().into(),
                started.into(),
                duration.into(),
                first.into(),
                rows.into(),
                bytes.into(),
                (1 + rows / 1000).into(),
                i64::from(dice.below(200) == 0).into(),
                hit.into(),
                names.outcomes[usize::from(bad.is_some())].clone().into(),
                bad.into(),
            ]
        });
        let phases = [dice.around(250.0, 0.3), dice.around(400.0, 0.3), dice.around(60.0, 0.3)];
        let rows_out = dice.around(one.answered, 0.4);
        let stream = 20 + rows_out * 2 + dice.around(30.0, 0.3);
        let duration = phases.iter().sum::<i64>() + longest + stream;
        let spilled = dice.below(500) == 0;
        let row = vec![
            id.into(),
            one.text.clone().into(),
            names.users[user].clone().into(),
            names.tenants[user % names.tenants.len()].clone().into(),
            names.outcomes[outcome].clone().into(),
            error.map(|error| names.errors[error].clone()).into(),
            (CALLS as i64).into(),
            phases[0].into(),
            phases[1].into(),
            phases[2].into(),
            longest.into(),
            stream.into(),
            duration.into(),
            rows_in.into(),
            bytes_in.into(),
            rows_out.into(),
            (rows_out * one.row_bytes[0]).into(),
            (duration / 4 + dice.around(200.0, 0.4)).into(),
            // Counted in blocks of 64 KiB.
            ((1 + bytes_in / 65_536 + dice.below(8) as i64) * 65_536).into(),
            if spilled { (1_i64 << 20).into() } else { 0.into() },
            hits.into(),
        ];
        (self.time, row, calls)
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
    let clock = Arc::new(SimulatedClock::new(Timestamp(START + (days + 40) * DAY)));
    Engine::open_in(dir, options, Environment { fs: Arc::new(RealFs), clock }).unwrap()
}

/// What a plain list says: the durations, longest first, and the waits for each source.
#[derive(Default)]
struct Expected {
    slowest: Vec<(i64, i64)>,
    waited: BTreeMap<String, i64>,
    calls: u64,
}

fn load(engine: &Engine, a_day: i64, days: i64) -> Expected {
    let writers = schemas().map(|schema| {
        let writer: EventWriter = engine.events(&schema).unwrap();
        writer.with_durability(Durability::Buffered)
    });
    let mut workload = Workload::new(a_day);
    let mut expected = Expected::default();
    let (mut queries, mut calls) = (writers[0].batch(), writers[1].batch());
    for number in 0..a_day * days {
        let (time, row, of_calls) = workload.next();
        if time < START + DAY {
            let EventValue::Integer(duration) = row[12] else { panic!("{row:?}") };
            expected.slowest.push((duration, time));
        }
        queries.push(time, row).unwrap();
        for call in of_calls {
            if time < START + DAY {
                let (EventValue::Text(source), EventValue::Integer(us)) = (&call[1], &call[3])
                else {
                    panic!("{call:?}")
                };
                *expected.waited.entry(source.to_string()).or_default() += us;
                expected.calls += 1;
            }
            calls.push(time, call).unwrap();
        }
        if number % 64 == 63 || number + 1 == a_day * days {
            let full = (
                std::mem::replace(&mut queries, writers[0].batch()),
                std::mem::replace(&mut calls, writers[1].batch()),
            );
            drop(writers[0].append_batch(full.0).unwrap());
            drop(writers[1].append_batch(full.1).unwrap());
        }
    }
    engine.sync().unwrap();
    expected.slowest.sort_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(&other.1)));
    expected
}

/// What the store takes, and of what.
fn sizes(engine: &Engine, queries: i64) {
    let stats = engine.stats().unwrap();
    let each = |bytes: u64| bytes as f64 / queries as f64;
    println!(
        "{queries} queries: {:.2} bytes a query, the whole directory ({} parts)",
        each(stats.bytes_on_disk),
        stats.parts.len(),
    );
    let schemas = schemas();
    for table in &stats.events {
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
    EventRequest {
        order: EventOrder::Largest("duration_us".into()),
        limit: Some(20),
        ..day("queries")
    }
}

/// How long the calls of each source took, summed up without copying rows.
fn waited(engine: &Engine) -> BTreeMap<String, i64> {
    let request = EventRequest {
        projection: Some(vec!["source".into(), "duration_us".into()]),
        ..day("source_calls")
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

fn questions(engine: &Engine, criterion: &mut Criterion, expected: Option<&Expected>) {
    let answer = engine.scan_events(&slowest()).unwrap();
    println!("top 20 slowest: {:?}", answer.evidence);
    if let Some(expected) = expected {
        let found = (0..answer.rows.len()).map(|row| match answer.rows.value(row, 12) {
            EventValue::Integer(duration) => (duration, answer.rows.times[row]),
            other => panic!("{other:?}"),
        });
        assert!(found.eq(expected.slowest.iter().copied().take(20)));
        assert_eq!(waited(engine), expected.waited);
        let all =
            engine.scan_events(&EventRequest { projection: Some(vec![]), ..day("source_calls") });
        assert_eq!(all.unwrap().rows.len() as u64, expected.calls);
    }
    let errors = EventRequest {
        predicates: vec![EventPredicate::new("outcome", EventTest::Equal("error".into()))],
        projection: Some(vec!["fingerprint".into(), "error_class".into()]),
        ..day("queries")
    };
    type Ask<'a> = Box<dyn Fn() + 'a>;
    let asked: [(&str, Ask<'_>); 3] = [
        ("top_20_slowest", Box::new(|| drop(black_box(engine.scan_events(&slowest()).unwrap())))),
        ("errors", Box::new(|| drop(black_box(engine.scan_events(&errors).unwrap())))),
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
    let engine = open(&dir, days);
    let mut expected = None;
    if fresh {
        let began = Instant::now();
        expected = Some(load(&engine, a_day, days));
        let loaded = began.elapsed();
        engine.freeze().unwrap();
        println!(
            "loaded and synced at {:.0} queries a second, in parts after {:.1} s",
            (a_day * days) as f64 / loaded.as_secs_f64(),
            began.elapsed().as_secs_f64(),
        );
        sizes(&engine, a_day * days);
        let began = Instant::now();
        while engine.maintain().unwrap().is_some() {}
        println!("maintenance took {:.1} s", began.elapsed().as_secs_f64());
    }
    sizes(&engine, a_day * days);
    let mut criterion =
        Criterion::default().measurement_time(Duration::from_secs(3)).configure_from_args();
    questions(&engine, &mut criterion, expected.as_ref());
    criterion.final_summary();
    engine.close().unwrap();
}
