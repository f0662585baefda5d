//! Ingestion through the public API: 1,000 series in scrapes, from resolved handles, synced at the
//! end.
//!
//! `cargo bench --bench ingest`. Criterion times whole runs (open excluded; append, sync included);
//! before it, one longer run prints what a host wants to know: the producer's own cost a sample,
//! the rate until everything is synced and until it is in parts, and the peak of resident memory
//! against the configured bounds.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark"
)]

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use icecore::engine::{ScrapeHandle, Writer};
use icecore::model::{Metadata, Series};
use icecore::options::{Durability, GateOptions, Maintenance};
use icecore::{Engine, Options, Timestamp};

const SERIES: usize = 1000;
const STEP_NS: i64 = 10_000_000_000;

/// Scrapes to send in turn: integer random walks, as TSBS makes them, in memory beforehand so
/// that making them is not measured.
fn scrapes() -> Vec<Vec<f64>> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut walk = vec![50.0_f64; SERIES];
    (0..512)
        .map(|_| {
            for value in &mut walk {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let step = f64::from((state >> 62) as u32) - 1.5;
                *value = (*value + step.signum()).clamp(0.0, 100.0);
            }
            walk.clone()
        })
        .collect()
}

fn options() -> Options {
    Options {
        self_metrics: None,
        gate: GateOptions { past: None, future: None, ..GateOptions::default() },
        ..Options::default()
    }
}

fn open(dir: &tempfile::TempDir) -> (Engine, Writer, ScrapeHandle) {
    open_with(dir, options())
}

fn open_with(dir: &tempfile::TempDir, options: Options) -> (Engine, Writer, ScrapeHandle) {
    let engine = Engine::open(dir.path(), options).unwrap();
    let writer = engine.writer("bench").with_durability(Durability::Buffered);
    let handles: Vec<_> = (0..SERIES)
        .map(|i| {
            let host = format!("host-{}", i / 10);
            let labels = [("host", host.as_str()), ("cpu", ["0", "1"][i % 2])];
            let series = Series::new(&format!("cpu_usage_{}", i % 10), labels).unwrap();
            writer.series(&series, &Metadata::default()).unwrap()
        })
        .collect();
    let group = writer.scrape_group(&handles);
    (engine, writer, group)
}

fn append(writer: &Writer, group: &ScrapeHandle, scrapes: &[Vec<f64>], rows: std::ops::Range<i64>) {
    for row in rows {
        let values = scrapes[row as usize % scrapes.len()].clone();
        drop(writer.append_scrape(group, Timestamp(row * STEP_NS), values).unwrap());
    }
}

fn peak_resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// The producer alone: a channel large enough that it never waits, so that only its own work is
/// timed; the thread's time on the processor, since the ingest thread shares the machine.
fn producer_cost(scrapes: &[Vec<f64>]) {
    let dir = tempfile::tempdir().unwrap();
    let (engine, writer, group) = open(&dir);
    let rows = 2_000;
    let mut nanos = Vec::new();
    for round in 0..20 {
        engine.sync().unwrap();
        let began = Instant::now();
        append(&writer, &group, scrapes, round * rows / 20..(round + 1) * rows / 20);
        nanos.push(began.elapsed().as_nanos() as f64 / (rows as f64 / 20.0 * SERIES as f64));
    }
    nanos.sort_by(f64::total_cmp);
    println!("producer: {:.1} ns/sample (median of 20 rounds of 100 scrapes)", nanos[10]);
    engine.close().unwrap();
}

fn long_run(scrapes: &[Vec<f64>]) {
    let rows = 24_000_i64;
    let samples = rows as f64 * SERIES as f64;
    let dir = tempfile::tempdir().unwrap();
    let before = peak_resident_bytes();
    let (engine, writer, group) = open(&dir);
    let began = Instant::now();
    append(&writer, &group, scrapes, 0..rows);
    let appended = began.elapsed();
    engine.sync().unwrap();
    let synced = began.elapsed();
    engine.freeze().unwrap();
    let frozen = began.elapsed();
    let rate = |time: Duration| samples / time.as_secs_f64() / 1e6;
    println!("{:.0} M samples of {SERIES} series in scrapes:", samples / 1e6);
    println!("  appended {:.2} M/s, synced {:.2} M/s", rate(appended), rate(synced));
    println!("  all in parts {:.2} M/s", rate(frozen));
    let options = options();
    if let (Some(before), Some(peak)) = (before, peak_resident_bytes()) {
        println!(
            "  peak resident {:.0} MB ({:.0} MB before); bounds: head 2 x {} MB + channel {} MB",
            peak as f64 / 1e6,
            before as f64 / 1e6,
            options.head_bytes_max >> 20,
            options.channel_bytes_max >> 20,
        );
    }
    let stats = engine.stats().unwrap();
    println!("  {:.3} bytes/sample on disk", stats.bytes_on_disk as f64 / samples);
    engine.close().unwrap();
}

/// Days of history that stand ready to be compacted and downsampled while more comes in.
const BACKLOG_DAYS: i64 = 4;

/// The rate of ingestion beside a backlog of compaction that is left alone, or worked on by the
/// background thread; samples a second, and how many tasks were done meanwhile.
fn beside_a_backlog(scrapes: &[Vec<f64>], maintenance: Maintenance) -> (f64, f64) {
    let dir = tempfile::tempdir().unwrap();
    let day = 8_640;
    let by_hand = Options { maintenance: Maintenance::ByHand, ..options() };
    let (engine, writer, group) = open_with(&dir, by_hand);
    for eighth in 0..8 * BACKLOG_DAYS {
        append(&writer, &group, scrapes, eighth * day / 8..(eighth + 1) * day / 8);
        engine.freeze().unwrap();
    }
    engine.close().unwrap();
    let (engine, writer, group) = open_with(&dir, Options { maintenance, ..options() });
    std::thread::sleep(Duration::from_millis(50));
    let rows = BACKLOG_DAYS * day..BACKLOG_DAYS * day + 40_000;
    let samples = (rows.end - rows.start) as f64 * SERIES as f64;
    let began = Instant::now();
    append(&writer, &group, scrapes, rows);
    engine.sync().unwrap();
    let rate = samples / began.elapsed().as_secs_f64();
    let tasks = engine.stats().unwrap().parts.iter().map(|part| part.meta.id).max().unwrap_or(0);
    drop(engine);
    (rate, tasks as f64)
}

/// What compaction costs ingestion: pairs of runs, so that the machine's mood cancels out.
fn compaction_cost(scrapes: &[Vec<f64>]) {
    let busy =
        |cpu_share| Maintenance::Background { interval: Duration::from_millis(1), cpu_share };
    for share in [0.5, 1.0] {
        let mut pairs: Vec<(f64, f64, f64)> = (0..5)
            .map(|_| {
                let (alone, _) = beside_a_backlog(scrapes, Maintenance::ByHand);
                let (beside, parts) = beside_a_backlog(scrapes, busy(share));
                (beside / alone, beside / 1e6, parts)
            })
            .collect();
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (ratio, rate, parts) = pairs[2];
        println!(
            "beside compaction that takes {share} of a core: {:.0} % of the rate without ({rate:.1} M/s; \
             part {parts} was the last written)",
            100.0 * ratio
        );
    }
}

fn main() {
    let scrapes = scrapes();
    let mut criterion = Criterion::default().configure_from_args();
    if !std::env::args().any(|argument| argument == "--test") {
        producer_cost(&scrapes);
        long_run(&scrapes);
        compaction_cost(&scrapes);
    }
    let mut group = criterion.benchmark_group("ingest");
    let rows = 4_000;
    group.throughput(Throughput::Elements(rows as u64 * SERIES as u64));
    group.sample_size(10);
    group.bench_function("scrapes_of_1000_synced_at_the_end", |bencher| {
        bencher.iter_custom(|iterations| {
            let mut total = Duration::ZERO;
            for _ in 0..iterations {
                let dir = tempfile::tempdir().unwrap();
                let (engine, writer, handle) = open(&dir);
                let began = Instant::now();
                append(&writer, &handle, &scrapes, 0..rows);
                engine.sync().unwrap();
                total += began.elapsed();
                drop(engine);
            }
            total
        });
    });
    group.finish();
    criterion.final_summary();
}
