//! What recording an observation costs the host's thread, and what a span costs the engine.
//!
//! `cargo bench --bench distribution`. Criterion times recordings of log-normal latencies from one
//! thread; before it, one run prints the cost of a recording while several threads record, into
//! one handle and into handles of their own: time on the processor, which other processes do not
//! lengthen.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark"
)]

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput};
use icecore::aggregate::{Distribution, Sketch};
use icecore::engine::DistributionHandle;
use icecore::model::Metadata;
use icecore::{Engine, Options};

const VALUES: usize = 1 << 16;

/// Log-normal, about 2 ms, in memory beforehand so that making them is not measured.
fn latencies(seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut uniform = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((state >> 11) + 1) as f64 / (1_u64 << 53) as f64
    };
    let mut normal =
        move || (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
    (0..VALUES).map(|_| (normal() - 6.0).exp()).collect()
}

fn open(dir: &tempfile::TempDir) -> Engine {
    Engine::open(dir.path(), Options { self_metrics: None, ..Options::default() }).unwrap()
}

fn handle(engine: &Engine, name: &str) -> DistributionHandle {
    engine.writer("bench").distribution(name, [], &Metadata::default()).unwrap()
}

/// This thread's time on a processor, nanoseconds.
fn processor_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

/// Nanoseconds on the processor that one recording takes each of `threads`, the mean.
fn contended(threads: usize, handles: &[DistributionHandle]) -> f64 {
    let rounds = 20;
    let values: Vec<Vec<f64>> = (0..threads as u64).map(latencies).collect();
    let nanos: u64 = thread::scope(|scope| {
        let recording = values.iter().enumerate().map(|(thread, values)| {
            let handle = &handles[thread % handles.len()];
            scope.spawn(move || {
                let before = processor_nanos();
                for _ in 0..rounds {
                    values.iter().for_each(|&value| handle.record(value));
                }
                processor_nanos() - before
            })
        });
        let recording: Vec<_> = recording.collect();
        recording.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    nanos as f64 / (threads * rounds * VALUES) as f64
}

fn threads() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(&dir);
    println!("nanoseconds a recording and thread, median of 7:");
    for threads in [1, 2, 4] {
        let handles: Vec<_> = (0..threads).map(|_| handle(&engine, "latency")).collect();
        let median = |handles: &[DistributionHandle]| {
            let mut nanos: Vec<f64> = (0..7).map(|_| contended(threads, handles)).collect();
            nanos.sort_by(f64::total_cmp);
            nanos[3]
        };
        let (shared, own) = (median(&handles[..1]), median(&handles));
        println!("  {threads} threads: one handle {shared:.1}, a handle each {own:.1}");
    }
    engine.close().unwrap();
}

/// What the ingest thread does at the end of a span: bins emptied, logged, kept.
fn spans() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(&dir);
    let handles: Vec<_> = (0..1000).map(|i| handle(&engine, &format!("latency_{i}"))).collect();
    let values = latencies(1);
    let mut nanos = Vec::new();
    let log_bytes = || engine.stats().unwrap().log_bytes;
    let before = log_bytes();
    for round in 0..9 {
        for (i, handle) in handles.iter().enumerate() {
            let from = (i * 61 + round * 1000) % (VALUES - 1000);
            values[from..from + 1000].iter().for_each(|&value| handle.record(value));
        }
        let began = Instant::now();
        engine.sync().unwrap();
        nanos.push(began.elapsed().as_nanos() as f64);
    }
    nanos.sort_by(f64::total_cmp);
    println!(
        "a span of 1,000 handles with 1,000 observations each: {:.1} µs a handle, {:.0} log bytes",
        nanos[4] / 1000.0 / handles.len() as f64,
        (log_bytes() - before) as f64 / 9.0 / handles.len() as f64
    );
    engine.close().unwrap();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    if !std::env::args().any(|argument| argument == "--test") {
        threads();
        spans();
    }
    let values = latencies(0);
    let mut group = criterion.benchmark_group("distribution");
    group.throughput(Throughput::Elements(VALUES as u64));
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    let dir = tempfile::tempdir().unwrap();
    let engine = open(&dir);
    let recorded = handle(&engine, "latency");
    group.bench_function("record", |bencher| {
        bencher.iter(|| values.iter().for_each(|&value| recorded.record(value)));
    });
    group.bench_function("index_of", |bencher| {
        bencher.iter(|| {
            values.iter().fold(0_i32, |sum, &value| sum.wrapping_add(Sketch::index_of(value)))
        });
    });
    group.bench_function("single_threaded_distribution", |bencher| {
        let mut distribution = Distribution::default();
        bencher.iter(|| values.iter().for_each(|&value| assert!(distribution.record(value))));
        black_box(&distribution);
    });
    group.finish();
    let sketches: Vec<Sketch> = values.chunks(1000).map(Sketch::of).collect();
    let bins = sketches.iter().map(Sketch::bins).sum::<usize>();
    println!("{:.0} bins a sketch of 1,000 latencies", bins as f64 / sketches.len() as f64);
    let mut group = criterion.benchmark_group("sketch");
    group.throughput(Throughput::Elements(bins as u64));
    group.sample_size(20);
    group.bench_function("merge_into_one", |bencher| {
        let merge = |mut all: Sketch| {
            sketches.iter().for_each(|sketch| all.merge(sketch));
            all
        };
        bencher.iter_batched(Sketch::default, merge, BatchSize::SmallInput);
    });
    group.finish();
    engine.close().unwrap();
    criterion.final_summary();
}
