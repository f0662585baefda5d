//! Questions about single events: `cargo bench --bench events`.
//!
//! 50 sources of 20 tenants run 1.5 million queries in seven days, at irregular microseconds: of
//! each its latency (seconds, six decimals) and whether it failed, in two series for each source
//! and tenant. Loaded through the public API into a store of default options on a simulated clock,
//! which then does all the maintenance that is due; asked warm, in process, with a selector that is
//! parsed before. Each answer is checked once against a plain loop over the events.
//!
//! Beside what criterion tells, the least time by the clock and the mean time on processors are
//! printed. `auto/` is what a default store answers, `raw/` may read raw samples alone.
//! `ICECORE_EVENTS_DIR=DIR` keeps the store there, and asks it where there is one.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "a benchmark on data it made itself"
)]

#[path = "support/dice.rs"]
mod dice;
#[path = "support/processor.rs"]
mod processor;

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use criterion::Criterion;
use icecore::engine::Environment;
use icecore::fs::RealFs;
use icecore::model::{Metadata, MetricKind, Selector, Series};
use icecore::options::{Durability, GateOptions, Maintenance};
use icecore::query::{Answer, Function, GroupKey, Grouping, Request, TierChoice, Top, TopScope};
use icecore::{Engine, Options, SimulatedClock, Tier, TimeRange, Timestamp};

use dice::Dice;

const MICROSECOND: i64 = 1000;
const HOUR: i64 = 3_600_000_000_000;
const DAY: i64 = 24 * HOUR;
const DAYS: i64 = 7;
/// A midnight.
const START: i64 = 20_000 * DAY;
const SOURCES: usize = 50;
const TENANTS: usize = 20;

/// When, how long in microseconds, and whether it failed.
type Event = (i64, u32, bool);

/// The events of each source and tenant, ascending in time.
fn events() -> Vec<Vec<Event>> {
    let each = if std::env::args().any(|argument| argument == "--test") { 100 } else { 1500 };
    let of_one = |one: usize| {
        let mut dice = Dice(one as u64 * 0x9e37_79b9 + 1);
        let mean = (DAYS * DAY / MICROSECOND / each) as f64;
        let mut at = 0;
        let mut events = Vec::new();
        loop {
            at += 1 + (-dice.unit().ln() * mean) as i64;
            let time = START + at * MICROSECOND;
            if time >= START + DAYS * DAY {
                return events;
            }
            events.push((time, dice.around(20_000.0, 0.8) as u32, dice.next().is_multiple_of(50)));
        }
    };
    (0..SOURCES * TENANTS).map(of_one).collect()
}

fn labels(one: usize) -> (String, String) {
    (format!("source-{:02}", one / TENANTS), format!("tenant-{:02}", one % TENANTS))
}

fn open(dir: &Path) -> Engine {
    let options = Options {
        gate: GateOptions { past: None, future: None, ..GateOptions::default() },
        // When it is done, not whether.
        maintenance: Maintenance::ByHand,
        ..Options::default()
    };
    let clock = Arc::new(SimulatedClock::new(Timestamp(START + (DAYS + 40) * DAY)));
    Engine::open_in(dir, options, Environment { fs: Arc::new(RealFs), clock }).unwrap()
}

fn load(dir: &Path, events: &[Vec<Event>]) {
    let engine = open(dir);
    let writer = engine.writer("bench").with_durability(Durability::Buffered);
    let metadata = Metadata { kind: MetricKind::Gauge, ..Metadata::default() };
    let groups: Vec<_> = (0..events.len())
        .map(|one| {
            let (source, tenant) = labels(one);
            let handle = |metric| {
                let labels = [("source", &*source), ("tenant", &*tenant)];
                writer.series(&Series::new(metric, labels).unwrap(), &metadata).unwrap()
            };
            writer.scrape_group(&["query_seconds", "query_failed"].map(handle))
        })
        .collect();
    for day in 0..DAYS {
        let (from, to) = (START + day * DAY, START + (day + 1) * DAY);
        for (group, events) in groups.iter().zip(events) {
            let today = events.iter().filter(|(time, ..)| (from..to).contains(time));
            for &(time, micros, failed) in today {
                let values = vec![f64::from(micros) / 1e6, f64::from(u8::from(failed))];
                drop(writer.append_scrape(group, Timestamp(time), values).unwrap());
            }
        }
    }
    engine.freeze().unwrap();
    // What comes much later tells that the days are over.
    for group in &groups {
        let after = Timestamp(START + (DAYS + 35) * DAY);
        drop(writer.append_scrape(group, after, vec![0.0, 0.0]).unwrap());
    }
    engine.freeze().unwrap();
    while engine.maintain().unwrap().is_some() {}
    engine.close().unwrap();
}

fn request(days: (i64, i64), step: Option<i64>, function: Function, label: &str) -> Request {
    let at = |day: i64| Timestamp(START + day * DAY);
    Request {
        step: step.map(|step| Duration::from_nanos(step as u64)),
        group_by: Grouping::Labels(vec![label.to_owned()]),
        ..Request::new(TimeRange::new(at(days.0), at(days.1)), vec![function])
    }
}

fn name(key: &GroupKey) -> &str {
    match key {
        GroupKey::Labels(labels) => &labels[0].1,
        GroupKey::Series(_) => "",
    }
}

/// What happened in each window of each source.
fn windows<T>(events: &[Vec<Event>], step: i64, value: impl Fn(&Event) -> T) -> Vec<Vec<Vec<T>>> {
    let count = (DAYS * DAY / step) as usize;
    let mut sources: Vec<Vec<Vec<T>>> = Vec::new();
    for tenants in events.chunks(TENANTS) {
        let mut windows: Vec<Vec<T>> = (0..count).map(|_| Vec::new()).collect();
        for event in tenants.iter().flatten() {
            windows[((event.0 - START) / step) as usize].push(value(event));
        }
        sources.push(windows);
    }
    sources
}

fn check_p95(answer: &Answer, events: &[Vec<Event>]) {
    let mut expected = windows(events, 300_000_000_000, |event| f64::from(event.1) / 1e6);
    assert_eq!(answer.groups.len(), expected.len());
    for (group, windows) in answer.groups.iter().zip(&mut expected) {
        for (window, &found) in windows.iter_mut().zip(&group.values[0]) {
            window.sort_by(f64::total_cmp);
            let Some(last) = window.len().checked_sub(1) else {
                assert!(found.is_nan());
                continue;
            };
            let rank = 0.95 * last as f64;
            let (below, weight) = (rank as usize, rank.fract());
            let (low, high) = (window[below], window[(below + 1).min(last)]);
            assert!((found - (low + (high - low) * weight)).abs() < 1e-12);
        }
    }
}

fn check_failures(answer: &Answer, events: &[Vec<Event>]) {
    let expected = windows(events, HOUR, |event| event.2);
    for (group, windows) in answer.groups.iter().zip(&expected) {
        for (window, (&found, &count)) in
            windows.iter().zip(group.values[0].iter().zip(&group.counts))
        {
            let failed = window.iter().filter(|&&failed| failed).count();
            assert_eq!(count, window.len() as u64);
            assert!(count == 0 || found == failed as f64 / window.len() as f64);
        }
    }
}

fn check_top(answer: &Answer, events: &[Vec<Event>]) {
    let day = START + 3 * DAY..START + 4 * DAY;
    let mut sums = [0_u64; TENANTS];
    for (one, events) in events.iter().enumerate() {
        let that_day = events.iter().filter(|event| day.contains(&event.0));
        sums[one % TENANTS] += that_day.map(|event| u64::from(event.1)).sum::<u64>();
    }
    let mut ranked: Vec<usize> = (0..TENANTS).collect();
    ranked.sort_by_key(|&tenant| std::cmp::Reverse(sums[tenant]));
    let expected = ranked.iter().take(5).map(|tenant| format!("tenant-{tenant:02}"));
    assert!(answer.groups.iter().map(|group| name(&group.key)).eq(expected));
    for (group, &tenant) in answer.groups.iter().zip(&ranked) {
        assert!((group.values[0][0] - sums[tenant] as f64 / 1e6).abs() < 1e-6);
    }
}

type Check = fn(&Answer, &[Vec<Event>]);

fn main() {
    let dir = std::env::var("ICECORE_EVENTS_DIR").ok().map(PathBuf::from);
    let scratch = tempfile::tempdir().unwrap();
    let dir = dir.unwrap_or_else(|| scratch.path().join("store"));
    let events = events();
    println!("{} events", events.iter().map(Vec::len).sum::<usize>());
    if !dir.exists() {
        load(&dir, &events);
    }
    let engine = open(&dir);
    let by_source = "source";
    let top = Top { count: 5, largest: true, by: Function::Sum, scope: TopScope::Range };
    let cases: [(&str, &str, Request, Check); 3] = [
        (
            "p95 by source, 5 min, 7 days",
            "query_seconds",
            request((0, DAYS), Some(300_000_000_000), Function::Quantile(0.95), by_source),
            check_p95,
        ),
        (
            "error rate by source, 1 h, 7 days",
            "query_failed",
            request((0, DAYS), Some(HOUR), Function::Avg, by_source),
            check_failures,
        ),
        (
            "top 5 tenants of a day",
            "query_seconds",
            Request { top: Some(top), ..request((3, 4), None, Function::Sum, "tenant") },
            check_top,
        ),
    ];
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(50)
        .configure_from_args();
    let hours = TierChoice::Only(Tier::HOUR);
    for (kind, tier) in [("auto", TierChoice::Auto), ("raw", TierChoice::Raw), ("1h", hours)] {
        let of_hours = |function: &Function| !matches!(function, Function::Quantile(_));
        let asked = cases.iter().filter(|case| tier != hours || of_hours(&case.2.functions[0]));
        for (name, metric, request, check) in asked {
            let selector = Selector::metric(metric).unwrap();
            let request = Request { tier, ..request.clone() };
            let answer = engine.query(&selector, &request).unwrap();
            check(&answer, &events);
            let read: Vec<_> =
                answer.evidence.tiers.iter().map(|tier| tier.tier.to_string()).collect();
            let decoded = answer.evidence.samples_decoded;
            println!("{kind}/{name}: from {}, {decoded} samples decoded", read.join(" "));
            let name = format!("{kind}/{name}");
            processor::measure(&name, || engine.query(black_box(&selector), &request).unwrap());
            criterion.bench_function(&name, |bencher| {
                bencher.iter(|| engine.query(black_box(&selector), &request).unwrap());
            });
        }
    }
    criterion.final_summary();
}
