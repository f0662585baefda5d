//! Building tiers from parts: raw to 1 min, and each tier to the next.
//!
//! `cargo bench --bench downsample`. 1,000 series of a node, scraped together at 10 s for eight
//! days, a part a day of chunks of 1,024 samples. Each tier is built whole (parts read, folded,
//! encoded, synced, published) on a rayon pool of one thread, `ICECORE_REPEAT` times (3), and once
//! more with a sketch for every series. *On CPU* is what the thread ran, by the scheduler's own
//! count: on a busy machine the wall clock says more of the others. Samples are those of raw below.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark"
)]

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use icecore::compaction::plan::Task;
use icecore::compaction::{MergeSpec, downsample};
use icecore::fs::{Fs, RealFs};
use icecore::index::Index;
use icecore::model::{Selector, Series, SeriesId};
use icecore::options::Policy;
use icecore::part::{self, CacheLimits, Layout, Part, PartCache, PartSpec};
use icecore::query::bucket_records;
use icecore::segment::{
    ChunkSource, Group, RecordFields, RecordSource, Records, SegmentLimits, Sources,
};
use icecore::store::StoreKind;
use icecore::{Tier, TimeRange, Timestamp};

const SERIES: u32 = 1000;
const STEP_NS: i64 = 10_000_000_000;
/// Scrapes of a day.
const DAY: i64 = 8640;
const DAYS: i64 = 8;
const FRESH: SegmentLimits =
    SegmentLimits { chunk_samples_max: 1024, segment_bytes_target: 512 << 10 };
const LONG: SegmentLimits = SegmentLimits { chunk_samples_max: 8192, ..FRESH };

/// What a node's metrics look like: much that never or seldom changes, counters, gauges of whole
/// numbers and of decimals, some real doubles.
fn value(series: u32, row: i64) -> f64 {
    let mixed = (u64::from(series) << 40 ^ row as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let noise = mixed >> 33;
    match series % 20 {
        0..7 => f64::from(series),
        7..10 => (row / 500 + i64::from(series)) as f64,
        10..13 => (row * 40 + (noise % 40) as i64) as f64,
        13..15 => ((row / 7) * 4096 + (noise % 3) as i64 * 4096) as f64,
        15..17 => (noise % 100) as f64,
        17..19 => (row as f64 + (noise % 1000) as f64 / 1000.0 * 10.0).round() / 100.0,
        _ => (1.0 + noise as f64).sqrt(),
    }
}

struct Bench {
    fs: Arc<dyn Fs>,
    index: Index,
    cache: Arc<PartCache>,
    series: Vec<Arc<Series>>,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let name = |n: u32| Series::new("node", [("n", format!("{n:04}").as_str())]).unwrap();
        Self {
            fs: Arc::new(RealFs),
            index: Index::new(),
            cache: Arc::new(PartCache::new(CacheLimits::default())),
            series: (0..SERIES).map(|n| Arc::new(name(n))).collect(),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn open(&self, dir: &Path, id: u64) -> Arc<Part> {
        Arc::new(Part::open(&self.fs, dir, id, &self.index, &self.cache).unwrap())
    }

    fn write_day(&self, day: i64) -> Arc<Part> {
        let rows: Vec<i64> = (day * DAY..(day + 1) * DAY).collect();
        let times: Vec<i64> = rows.iter().map(|row| row * STEP_NS).collect();
        let series: Vec<u32> = (0..SERIES).collect();
        let read = |at: usize, range: Range<usize>, out: &mut Vec<f64>| {
            out.clear();
            out.extend(rows[range].iter().map(|&row| value(at as u32, row)));
        };
        let group = Group { timestamps: &times, series: &series, read: &read };
        let id = day as u64 + 1;
        let spec = PartSpec {
            id,
            rank: id,
            window: days(day, day + 1),
            tier: Tier::RAW,
            layout: Layout::Samples,
            tombstones: 0,
            store: StoreKind::default(),
            limits: FRESH,
        };
        part::write(&self.fs, self.dir.path(), &spec, &self.series, &[], &[group]).unwrap();
        self.open(self.dir.path(), id)
    }

    fn build(&self, what: &str, task: &Task, sources: &Sources, policy: &Policy) -> Arc<Part> {
        let series: Vec<(SeriesId, Arc<Series>)> =
            self.series.iter().map(|s| (self.index.intern(s), Arc::clone(s))).collect();
        let repeat: u64 = std::env::var("ICECORE_REPEAT").map_or(3, |count| count.parse().unwrap());
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let (mut wall, mut cpu, mut built) = (Vec::new(), Vec::new(), None);
        for round in 0..repeat {
            let out = tempfile::tempdir_in(self.dir.path()).unwrap().keep();
            let spec = MergeSpec {
                fs: &self.fs,
                parts_dir: &out,
                store: StoreKind::default(),
                limits: LONG,
                masks: &[],
                tombstones: 0,
                index: &self.index,
            };
            let (parts, took, ran) = pool.install(|| {
                let (began, ran) = (Instant::now(), on_cpu());
                let mut id = || 100 + round;
                let parts =
                    downsample(task, sources, &series, policy, &spec, &mut id, &mut || Ok(()));
                (parts.unwrap(), began.elapsed(), on_cpu() - ran)
            });
            wall.push(took);
            cpu.push(ran);
            built = Some(self.open(&out, parts[0].id));
        }
        wall.sort();
        cpu.sort();
        let samples = (i64::from(SERIES) * DAY * DAYS) as f64;
        let (wall, cpu) = (wall[wall.len() / 2], cpu[cpu.len() / 2]);
        let built = built.unwrap();
        let bytes: u64 = built.meta().segments.iter().map(|entry| u64::from(entry.bytes)).sum();
        println!(
            "{what:24} wall {:7.0} ms  on CPU {:7.0} ms  {:6.0} M samples/s  {:8} kB",
            wall.as_secs_f64() * 1e3,
            cpu.as_secs_f64() * 1e3,
            samples / cpu.as_secs_f64() / 1e6,
            bytes / 1000,
        );
        built
    }
}

/// The fold alone, as batches of some 32 MiB of records take it.
fn fold(bench: &Bench, sources: &Sources, tier: Tier) {
    let fields = RecordFields { increase: true, sketches: false };
    let series: Vec<(SeriesId, RecordFields)> =
        bench.series.iter().map(|series| (bench.index.intern(series), fields)).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let (records, ran) = pool.install(|| {
        let before = on_cpu();
        let batches = series.chunks(28);
        let folded = batches.map(|batch| bucket_records(tier, days(0, DAYS), batch, sources));
        let records: usize =
            folded.map(|f| f.unwrap().iter().map(Records::len).sum::<usize>()).sum();
        (records, on_cpu() - before)
    });
    let samples = (i64::from(SERIES) * DAY * DAYS) as f64;
    println!(
        "fold of raw to {tier} alone: {records} records, on CPU {:.0} ms, {:.0} M samples/s",
        ran.as_secs_f64() * 1e3,
        samples / ran.as_secs_f64() / 1e6,
    );
}

fn days(from: i64, to: i64) -> TimeRange {
    TimeRange::new(Timestamp(from * DAY * STEP_NS), Timestamp(to * DAY * STEP_NS))
}

/// What this thread ran so far.
fn on_cpu() -> Duration {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = statistics.split_whitespace().next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

fn main() {
    let bench = Bench::new();
    let raw: Vec<Arc<Part>> = (0..DAYS).map(|day| bench.write_day(day)).collect();
    let bytes: u64 =
        raw.iter().flat_map(|part| &part.meta().segments).map(|entry| u64::from(entry.bytes)).sum();
    println!("raw: {} samples, {} kB", i64::from(SERIES) * DAY * DAYS, bytes / 1000);
    let mut sources = Sources::default();
    sources.samples.extend(raw.iter().map(|part| Arc::clone(part) as Arc<dyn ChunkSource>));
    fold(&bench, &sources, Tier::MINUTE);
    fold(&bench, &sources, Tier::HOUR);
    let plain = Policy::default();
    let sketches = Policy { sketches: vec![Selector::parse("node").unwrap()], ..Policy::default() };
    let (window, rank) = (days(0, DAYS), DAYS as u64);
    for (policy, with) in [(&plain, ""), (&sketches, " with sketches")] {
        let mut sources = sources.clone();
        let mut source = Tier::RAW;
        for &tier in &policy.tiers {
            let task = Task::Downsample { tier, source, window, rank, classes: vec![0] };
            let built = bench.build(&format!("{source} to {tier}{with}"), &task, &sources, policy);
            sources.records.push(built as Arc<dyn RecordSource>);
            source = tier;
        }
    }
}
