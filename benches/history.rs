//! A long history, made with a simulated clock: what it costs on disk by tier, how long it takes to
//! downsample and compact, and how fast it answers.
//!
//! `cargo bench --bench history`: thirty days of 1,000 series every 10 s, and the latencies of one
//! service. `ICECORE_HISTORY_DAYS=365 cargo bench --bench history` makes the year (3.15 G samples,
//! some minutes and gigabytes); `ICECORE_HISTORY_DIR` keeps the store there and, where there is one
//! already, asks it only.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a benchmark")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use icecore::aggregate::Distribution;
use icecore::engine::{CompactScope, Environment};
use icecore::fs::{RealFs, tree_bytes};
use icecore::model::{Metadata, MetricKind, Selector, Series};
use icecore::options::{Durability, GateOptions, Maintenance};
use icecore::query::{CancelToken, Function, Request};
use icecore::{Engine, Options, SimulatedClock, TimeRange, Timestamp};

const SERIES: usize = 1000;
const STEP: i64 = 10_000_000_000;
const DAY: i64 = 86_400_000_000_000;
/// A midnight.
const START: i64 = 20_000 * DAY;

fn days() -> i64 {
    // As criterion's: each thing once, small.
    if std::env::args().any(|argument| argument == "--test") {
        return 2;
    }
    std::env::var("ICECORE_HISTORY_DAYS").ok().and_then(|days| days.parse().ok()).unwrap_or(30)
}

fn options() -> Options {
    Options {
        self_metrics: None,
        gate: GateOptions { past: None, future: None, ..GateOptions::default() },
        maintenance: Maintenance::ByHand,
        ..Options::default()
    }
}

fn open(dir: &Path, clock: &Arc<SimulatedClock>) -> Engine {
    let clock = Arc::clone(clock);
    Engine::open_in(dir, options(), Environment { fs: Arc::new(RealFs), clock }).unwrap()
}

/// A small generator (PCG's multiplier): the same history in every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as u32
    }

    fn unit(&mut self) -> f64 {
        (f64::from(self.next()) + 0.5) / f64::from(u32::MAX >> 1).max(1.0)
    }

    /// Log-normal milliseconds around 20, by Box and Muller.
    fn latency(&mut self) -> f64 {
        let radius = (-2.0 * self.unit().min(1.0).ln()).sqrt();
        20.0 * (radius * (std::f64::consts::TAU * self.unit()).cos() * 0.6).exp()
    }
}

/// What a machine's series look like: of ten, two stand still, three count, two step by one within
/// 0 to 100, two are measured to two decimals, one is mostly zero.
fn step(values: &mut [f64], dice: &mut Dice) {
    for (index, value) in values.iter_mut().enumerate() {
        match index % 10 {
            0 | 1 => {}
            2..=4 => *value += f64::from(dice.next() % (4 << (index % 8))),
            5 | 6 => *value = (*value + f64::from(dice.next() % 3) - 1.0).clamp(0.0, 100.0),
            7 | 8 => {
                let hundredths = (*value * 100.0).round() + f64::from(dice.next() % 21) - 10.0;
                *value = hundredths / 100.0;
            }
            _ => {
                *value =
                    if dice.next().is_multiple_of(50) { f64::from(dice.next() % 9) } else { 0.0 }
            }
        }
    }
}

fn kind(index: usize) -> MetricKind {
    if (2..=4).contains(&(index % 10)) { MetricKind::Counter } else { MetricKind::Gauge }
}

fn generate(dir: &Path, clock: &Arc<SimulatedClock>) {
    let engine = open(dir, clock);
    let writer = engine.writer("bench").with_durability(Durability::Buffered);
    let handles: Vec<_> = (0..SERIES)
        .map(|i| {
            let host = format!("host-{:02}", i / 10);
            let series = Series::new(&format!("metric_{}", i % 10), [("host", &*host)]).unwrap();
            let metadata = Metadata { kind: kind(i), ..Metadata::default() };
            writer.series(&series, &metadata).unwrap()
        })
        .collect();
    let group = writer.scrape_group(&handles);
    let metadata = Metadata { kind: MetricKind::Distribution, ..Metadata::default() };
    let latency = writer.series_named("latency_ms", [("service", "api")], &metadata).unwrap();
    let (mut dice, mut values) = (Dice(7), vec![50.0; SERIES]);
    let (mut wrote, mut maintained) = (Duration::ZERO, Duration::ZERO);
    let (mut largest, mut most) = (0, 0.0_f64);
    for day in 0..days() {
        let began = Instant::now();
        let midnight = START + day * DAY;
        for time in (midnight..midnight + DAY).step_by(STEP as usize) {
            clock.set(Timestamp(time));
            step(&mut values, &mut dice);
            drop(writer.append_scrape(&group, Timestamp(time), values.clone()).unwrap());
            let mut observed = Distribution::default();
            (0..20).for_each(|_| assert!(observed.record(dice.latency())));
            drop(writer.append_distribution(&latency, Timestamp(time), observed).unwrap());
        }
        engine.sync().unwrap();
        wrote += began.elapsed();
        let began = Instant::now();
        while let Some(_step) = engine.maintain().unwrap() {
            largest = largest.max(tree_bytes(&RealFs, dir).unwrap());
        }
        maintained += began.elapsed();
        // Asking opens every part: not after each step, and not timed.
        if day % 10 == 9 || day + 1 == days() {
            let live: u64 = engine.stats().unwrap().parts.iter().map(|p| p.bytes_on_disk).sum();
            most = most.max(largest as f64 / live as f64);
        }
        largest = 0;
    }
    let samples = (days() * (DAY / STEP)) as f64 * SERIES as f64;
    println!(
        "{:.0} M samples of {SERIES} series written in {:.1} s ({:.1} M/s, making them included)",
        samples / 1e6,
        wrote.as_secs_f64(),
        samples / 1e6 / wrote.as_secs_f64()
    );
    println!(
        "maintained in {:.1} s ({:.1} M samples/s): tiers built, parts merged; directory at most {most:.2} x live parts",
        maintained.as_secs_f64(),
        samples / 1e6 / maintained.as_secs_f64()
    );
    let began = Instant::now();
    let report = engine.compact(CompactScope::All, &CancelToken::new(), &mut |_| {}).unwrap();
    println!("the rest: {} steps, {:.1} s", report.steps.len(), began.elapsed().as_secs_f64());
    engine.close().unwrap();
}

fn sizes(engine: &Engine) {
    let stats = engine.stats().unwrap();
    let samples = (days() * (DAY / STEP)) as f64 * SERIES as f64;
    println!("{:.1} MB in all, {} parts", stats.bytes_on_disk as f64 / 1e6, stats.parts.len());
    let mut tiers: Vec<_> =
        stats.parts.iter().map(|part| (part.meta.tier, part.meta.layout as u8)).collect();
    tiers.sort_unstable();
    tiers.dedup();
    for (tier, layout) in tiers {
        let of =
            stats.parts.iter().filter(|p| (p.meta.tier, p.meta.layout as u8) == (tier, layout));
        let (parts, bytes) = of.fold((0, 0), |(n, sum), part| (n + 1, sum + part.bytes_on_disk));
        println!(
            "  {tier:>4} {}: {parts} parts, {:.1} MB, {:.4} bytes per raw sample",
            if layout == 0 { "samples" } else { "records" },
            bytes as f64 / 1e6,
            bytes as f64 / samples,
        );
    }
}

/// Median and least of `runs`, milliseconds.
fn timed(runs: usize, mut run: impl FnMut()) -> (f64, f64) {
    let mut times: Vec<f64> = (0..runs)
        .map(|_| {
            let began = Instant::now();
            run();
            began.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    (times.get(runs / 2).copied().unwrap(), times.first().copied().unwrap())
}

fn ask(dir: &Path, clock: &Arc<SimulatedClock>) {
    let end = START + days() * DAY;
    let month = TimeRange::new(Timestamp(end - 30.min(days()) * DAY), Timestamp(end));
    let whole = TimeRange::new(Timestamp(START), Timestamp(end));
    let all = vec![Function::Avg, Function::Min, Function::Max];
    let hourly = Request { step: Some(Duration::from_secs(3600)), ..Request::new(month, all) };
    let quantile = vec![Function::Quantile(0.99)];
    let daily =
        Request { step: Some(Duration::from_secs(86_400)), ..Request::new(whole, quantile) };
    let cases = [
        ("a month by the hour, 100 series", "metric_7", hourly),
        ("p99 of all days, one service", "latency_ms{service=\"api\"}", daily),
    ];
    for (name, selector, request) in cases {
        let selector = Selector::parse(selector).unwrap();
        let engine = open(dir, clock);
        let mut answer = None;
        let (cold, _) = timed(1, || answer = Some(engine.query(&selector, &request).unwrap()));
        let (warm, least) = timed(25, || drop(engine.query(&selector, &request).unwrap()));
        let answer = answer.unwrap();
        let tiers: Vec<String> = answer
            .evidence
            .tiers
            .iter()
            .map(|tier| format!("{}: {} records of {} parts", tier.tier, tier.records, tier.parts))
            .collect();
        println!(
            "{name}: {} windows x {} groups; cold {cold:.1} ms, warm median {warm:.2}, least {least:.2} ms; {}",
            answer.windows.len(),
            answer.groups.len(),
            tiers.join(", ")
        );
        engine.close().unwrap();
    }
}

fn main() {
    let kept = std::env::var_os("ICECORE_HISTORY_DIR").map(PathBuf::from);
    let temporary = tempfile::tempdir().unwrap();
    let dir = kept.unwrap_or_else(|| temporary.path().join("history"));
    let clock = Arc::new(SimulatedClock::new(Timestamp(START)));
    if !dir.exists() {
        generate(&dir, &clock);
    }
    clock.set(Timestamp(START + days() * DAY));
    sizes(&open(&dir, &clock));
    ask(&dir, &clock);
}
