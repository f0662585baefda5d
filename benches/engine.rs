//! Whole stores: opening, and windowed averages over sealed parts.
//!
//! `cargo bench --bench engine`. A day of 1,000 series at 10 s (8.64 M samples), and 100 M samples
//! of 10,000 series, are written first, through the public API, on the default store.
//! *Cold* is the first query of a newly opened engine: the part's store opened, its segments read
//! and decoded (the operating system may still hold the files). *Warm* finds the segments opened.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark"
)]

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use icecore::model::{Metadata, Selector, Series};
use icecore::options::{Durability, GateOptions};
use icecore::query::{Function, Grouping, Request};
use icecore::{Engine, Options, TimeRange, Timestamp};

const STEP_NS: i64 = 10_000_000_000;
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

fn options() -> Options {
    Options {
        self_metrics: None,
        gate: GateOptions { past: None, future: None, ..GateOptions::default() },
        ..Options::default()
    }
}

/// Writes `rows` scrapes of `series` integer random walks, from the start of 1970's second day.
fn write(dir: &Path, series: usize, rows: i64) {
    let engine = Engine::open(dir, options()).unwrap();
    let writer = engine.writer("bench").with_durability(Durability::Buffered);
    let handles: Vec<_> = (0..series)
        .map(|i| {
            let (host, cpu) = (format!("host-{}", i / 10), (i % 10).to_string());
            let labels = [("host", host.as_str()), ("cpu", cpu.as_str()), ("region", "eu-1")];
            let series = Series::new("cpu_usage", labels).unwrap();
            writer.series(&series, &Metadata::default()).unwrap()
        })
        .collect();
    let group = writer.scrape_group(&handles);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut walk = vec![50.0_f64; series];
    for row in 0..rows {
        for value in &mut walk {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *value = (*value + ((state >> 62) as f64 - 1.5).signum()).clamp(0.0, 100.0);
        }
        let timestamp = Timestamp::from_secs(86_400).nanos() + row * STEP_NS;
        drop(writer.append_scrape(&group, Timestamp(timestamp), walk.clone()).unwrap());
    }
    engine.close().unwrap();
}

fn average(engine: &Engine, step: Duration, by: Grouping) -> usize {
    let range = TimeRange::new(Timestamp::from_secs(86_400), Timestamp::from_secs(2 * 86_400));
    let mut request = Request::new(range, vec![Function::Avg]);
    request.step = Some(step);
    request.group_by = by;
    let answer = engine.query(&Selector::metric("cpu_usage").unwrap(), &request).unwrap();
    answer.groups.len()
}

fn queries(criterion: &mut Criterion, dir: &Path, samples: u64) {
    let mut group = criterion.benchmark_group("day_of_1000_series");
    group.throughput(Throughput::Elements(samples));
    group.sample_size(20);
    let cases: [(&str, Duration, Grouping); 3] = [
        ("avg_by_series_1h", HOUR, Grouping::Series),
        ("avg_of_all_1h", HOUR, Grouping::Labels(Vec::new())),
        ("avg_by_series_24h_from_statistics", DAY, Grouping::Series),
    ];
    for (name, step, by) in cases {
        group.bench_function(format!("{name}/cold"), |bencher| {
            bencher.iter_custom(|iterations| {
                let mut total = Duration::ZERO;
                for _ in 0..iterations {
                    let engine =
                        Engine::open(dir, Options { read_only: true, ..options() }).unwrap();
                    let began = Instant::now();
                    black_box(average(&engine, step, by.clone()));
                    total += began.elapsed();
                }
                total
            });
        });
        let engine = Engine::open(dir, options()).unwrap();
        group.bench_function(format!("{name}/warm"), |bencher| {
            bencher.iter(|| black_box(average(&engine, step, by.clone())));
        });
    }
    group.finish();
}

fn opening(criterion: &mut Criterion, dir: &Path, samples: u64) {
    let mut group = criterion.benchmark_group("open");
    group.sample_size(10);
    let engine = Engine::open(dir, Options { read_only: true, ..options() }).unwrap();
    let stats = engine.stats().unwrap();
    println!(
        "{} samples of {} series in {} parts, {:.3} bytes/sample on disk",
        stats.samples,
        stats.series,
        stats.parts.len(),
        stats.bytes_on_disk as f64 / samples as f64
    );
    drop(engine);
    group.bench_function("100M_samples_of_10000_series", |bencher| {
        bencher.iter_custom(|iterations| {
            let mut total = Duration::ZERO;
            for _ in 0..iterations {
                let began = Instant::now();
                let engine = Engine::open(dir, options()).unwrap();
                total += began.elapsed();
                drop(engine);
            }
            total
        });
    });
    group.finish();
}

fn main() {
    let smoke = std::env::args().any(|argument| argument == "--test");
    let mut criterion = Criterion::default().configure_from_args();
    let dir = tempfile::tempdir().unwrap();
    let (day, large) = (dir.path().join("day"), dir.path().join("large"));
    let (rows, many, long) = if smoke { (100, 100, 100) } else { (8640, 10_000, 10_000) };
    write(&day, 1000, rows);
    queries(&mut criterion, &day, 1000 * rows as u64);
    write(&large, many, long);
    opening(&mut criterion, &large, many as u64 * long as u64);
    criterion.final_summary();
}
