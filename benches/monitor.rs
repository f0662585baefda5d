//! What being monitored costs the host's threads.
//!
//! `cargo bench --bench monitor`. One run prints what adding to a counter, recording into a
//! distribution, and a query with four calls to sources from its start to its finish take, for one
//! thread and for two that share everything; then what it takes until all of them are written.
//! Criterion times the same from one thread.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a benchmark")]

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use criterion::Criterion;
use icecore::model::{Metadata, Series};
use icecore::monitor::{FederationMonitor, MonitorOptions, Phase, QueryStart, Source};
use icecore::{Engine, Options};

const BURSTS: usize = 301;
/// Far fewer than the queue holds: a record that is dropped costs less.
const QUERIES: usize = 500;
const OPERATIONS: usize = 100_000;

/// Nanoseconds of one of `operations`, of `threads` that do them at the same time: the median of
/// many short bursts, which what else runs on the machine seldom meets. `between` bursts nobody
/// counts.
fn in_bursts(
    threads: usize,
    operations: usize,
    between: impl Fn() + Sync,
    work: impl Fn() + Sync,
) -> f64 {
    let barrier = Barrier::new(threads);
    let burst = |leads: bool| {
        if leads {
            between();
        }
        barrier.wait();
        let began = Instant::now();
        work();
        began.elapsed().as_nanos() as f64 / operations as f64
    };
    let mut figures: Vec<f64> = thread::scope(|scope| {
        let working = (0..threads).map(|thread| {
            let burst = &burst;
            scope.spawn(move || (0..BURSTS).map(|_| burst(thread == 0)).collect::<Vec<_>>())
        });
        let working: Vec<_> = working.collect();
        working.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap()
}

struct Host {
    monitor: FederationMonitor,
    sources: Vec<Source>,
}

const TEXT: &str = "SELECT o.customer, sum(o.amount) FROM lake.orders o JOIN warehouse.customers c ON \
                    o.customer = c.id WHERE o.day >= '2026-11-01' AND c.region IN ('eu', 'us') \
                    GROUP BY o.customer ORDER BY 2 DESC LIMIT 20";

fn host(dir: &tempfile::TempDir) -> Host {
    let options = Options { self_metrics: None, ..Options::default() };
    let engine = Arc::new(Engine::open(dir.path(), options).unwrap());
    let monitor = FederationMonitor::open(engine, MonitorOptions::default()).unwrap();
    let sources = ["lake", "warehouse", "stream", "files"].map(|name| monitor.source(name));
    Host { monitor, sources: sources.into() }
}

/// Rows are told once, as hosts do at the end of a call.
fn query(host: &Host, start: QueryStart<'_>) {
    let query = host.monitor.start_query(start);
    for source in &host.sources {
        let call = query.call(source);
        call.add_rows(100);
        call.add_bytes(6400);
        call.finish();
    }
    query.add_rows_out(20);
    query.finish();
}

fn print_costs(host: &Host) {
    let series = |name: &str| Series::new(name, []).unwrap();
    let counter = host.monitor.counter(&series("bench_total"), &Metadata::default()).unwrap();
    let histogram = host.monitor.histogram(&series("bench_seconds"), &Metadata::default()).unwrap();
    let text = QueryStart { text: TEXT, tenant: "acme", user: "ann", ..QueryStart::default() };
    let known = icecore::monitor::Fingerprint::new(TEXT, Default::default());
    let known = QueryStart { fingerprint: Some(&known), ..text };
    // As latencies come, and as they never do: each a new maximum.
    let rising: Vec<f64> = (0..OPERATIONS).map(|i| 0.001 + i as f64 * 1e-7).collect();
    let mixed = (0..OPERATIONS).filter_map(|i| rising.get(i * 7919 % OPERATIONS).copied());
    let mixed: Vec<f64> = mixed.collect();
    println!("nanoseconds, median of {BURSTS} bursts:");
    for threads in [1, 2] {
        let flush = || host.monitor.flush().unwrap();
        let add = in_bursts(threads, OPERATIONS, flush, || {
            (0..OPERATIONS).for_each(|_| counter.add(1));
        });
        let recorded = |values: &[f64]| {
            in_bursts(threads, values.len(), flush, || {
                values.iter().for_each(|&value| histogram.record(value));
            })
        };
        let (record, rising) = (recorded(&mixed), recorded(&rising));
        let of = |start: QueryStart<'_>| {
            in_bursts(threads, QUERIES, flush, || (0..QUERIES).for_each(|_| query(host, start)))
        };
        let (of_text, of_known) = (of(text), of(known));
        println!(
            "  {threads} threads: counter {add:.1}, distribution {record:.1} \
             (each a new maximum {rising:.1}), query with 4 calls {of_text:.0}, \
             with its fingerprint given {of_known:.0}"
        );
    }
    assert_eq!(host.monitor.dropped(), 0, "a record that is dropped costs less");
    let (bursts, records) = (10, 4000);
    let began = Instant::now();
    for _ in 0..bursts {
        (0..records).for_each(|_| query(host, known));
        host.monitor.flush().unwrap();
    }
    let nanos = began.elapsed().as_nanos() as f64 / f64::from(bursts * records);
    println!("  a query until it is written and synced, in bursts of {records}: {nanos:.0}");
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let dir = tempfile::tempdir().unwrap();
    let host = host(&dir);
    if !std::env::args().any(|argument| argument == "--test") {
        print_costs(&host);
    }
    let series = Series::new("criterion_total", []).unwrap();
    let counter = host.monitor.counter(&series, &Metadata::default()).unwrap();
    let mut group = criterion.benchmark_group("monitor");
    group.sample_size(20).measurement_time(Duration::from_secs(2));
    group.bench_function("counter_add", |bencher| bencher.iter(|| counter.add(1)));
    group.bench_function("fingerprint", |bencher| {
        bencher.iter(|| icecore::monitor::Fingerprint::new(TEXT, Default::default()));
    });
    group.bench_function("phase", |bencher| {
        let running = host.monitor.start_query("select 1");
        bencher.iter(|| drop(running.phase(Phase::Execute)));
    });
    group.bench_function("query_with_4_calls", |bencher| {
        bencher.iter_custom(|iterations| {
            let mut taken = Duration::ZERO;
            for burst in (0..iterations).step_by(QUERIES) {
                host.monitor.flush().unwrap();
                let began = Instant::now();
                for _ in burst..iterations.min(burst + QUERIES as u64) {
                    query(&host, TEXT.into());
                }
                taken += began.elapsed();
            }
            taken
        });
    });
    group.finish();
    criterion.final_summary();
}
