//! Merging parts: samples encoded again, and chunks passed through undecoded.
//!
//! `cargo bench --bench compaction [-- SCENARIO]`. 1,000 series of a node at 10 s. A merge is timed
//! whole (directories surveyed, parts read, merged, written, synced, published), on a rayon pool of
//! one thread, `ICECORE_REPEAT` times (5). *On CPU* is what the thread ran, by the scheduler's own
//! count: on a busy machine the wall clock says more of the others.

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

use icecore::compaction::{MergeSpec, merge_samples};
use icecore::fs::{Fs, RealFs};
use icecore::index::Index;
use icecore::model::Series;
use icecore::part::{self, CacheLimits, Layout, Part, PartCache, PartSpec};
use icecore::segment::{Group, SegmentLimits};
use icecore::store::StoreKind;
use icecore::{Tier, TimeRange};

const SERIES: u32 = 1000;
const STEP_NS: i64 = 10_000_000_000;
/// Scrapes of a day.
const DAY: i64 = 8640;
const FRESH: SegmentLimits =
    SegmentLimits { chunk_samples_max: 1024, segment_bytes_target: 512 << 10 };
const MERGED: SegmentLimits = SegmentLimits { chunk_samples_max: 8192, ..FRESH };

fn noise(series: u32, row: i64) -> u64 {
    (u64::from(series) << 40 ^ row as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33
}

/// What a node's metrics look like: much that never or seldom changes, counters, gauges of whole
/// numbers and of decimals, some real doubles.
fn value(series: u32, row: i64) -> f64 {
    let noise = noise(series, row);
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

/// Rows of one part: scrape numbers, and a shift of the clock in nanoseconds.
struct Rows {
    rows: Vec<i64>,
    /// Of each series its own, where they are not scraped together.
    apart: bool,
}

impl Rows {
    fn of(rows: impl Iterator<Item = i64>) -> Self {
        Self { rows: rows.collect(), apart: false }
    }

    fn times(&self, series: u32) -> Vec<i64> {
        let jitter =
            |row: i64| if self.apart { (noise(series, row) % 2_000_000) as i64 } else { 0 };
        self.rows.iter().map(|&row| row * STEP_NS + jitter(row)).collect()
    }
}

struct Bench {
    fs: Arc<dyn Fs>,
    index: Index,
    names: Vec<Arc<Series>>,
    store: StoreKind,
}

impl Bench {
    fn new(store: StoreKind) -> Self {
        let name = |n: u32| Series::new("node", [("n", format!("{n:04}").as_str())]).unwrap();
        let names = (0..SERIES).map(|n| Arc::new(name(n))).collect();
        Self { fs: Arc::new(RealFs), index: Index::new(), names, store }
    }

    fn write(&self, dir: &Path, id: u64, rows: &Rows, limits: SegmentLimits) -> Arc<Part> {
        let read = |series: u32| {
            move |at: usize, range: Range<usize>, out: &mut Vec<f64>| {
                out.clear();
                out.extend(rows.rows[range].iter().map(|&row| value(series + at as u32, row)));
            }
        };
        let spans = if rows.apart { SERIES } else { 1 };
        let size = SERIES / spans;
        let series: Vec<Vec<u32>> =
            (0..spans).map(|span| (span * size..(span + 1) * size).collect()).collect();
        let times: Vec<Vec<i64>> = (0..spans).map(|span| rows.times(span * size)).collect();
        let reads: Vec<_> = (0..spans).map(|span| read(span * size)).collect();
        let groups: Vec<Group<'_>> = (0..spans as usize)
            .map(|at| Group { timestamps: &times[at], series: &series[at], read: &reads[at] })
            .collect();
        let spec = PartSpec {
            id,
            rank: id,
            window: TimeRange::ALL,
            tier: Tier::RAW,
            layout: Layout::Samples,
            tombstones: 0,
            store: self.store,
            limits,
        };
        part::write(&self.fs, dir, &spec, &self.names, &[], &groups).unwrap();
        let cache = Arc::new(PartCache::new(CacheLimits::default()));
        Arc::new(Part::open(&self.fs, dir, id, &self.index, &cache).unwrap())
    }

    fn run(&self, what: &str, parts: &[Rows], limits: SegmentLimits) {
        let dir = tempfile::tempdir().unwrap();
        let inputs: Vec<Arc<Part>> =
            (1..).zip(parts).map(|(id, rows)| self.write(dir.path(), id, rows, limits)).collect();
        let metas = inputs.iter().map(|part| part.meta());
        let samples: u64 = metas.clone().map(|meta| meta.samples).sum();
        let bytes: u64 =
            metas.flat_map(|meta| &meta.segments).map(|entry| u64::from(entry.bytes)).sum();
        let repeat = std::env::var("ICECORE_REPEAT").map_or(5, |count| count.parse().unwrap());
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let (mut wall, mut cpu) = (Vec::new(), Vec::new());
        let (mut chunks, mut out_bytes, mut left) = (0, 0, 0);
        for round in 0..repeat {
            let out = tempfile::tempdir().unwrap();
            let spec = MergeSpec {
                fs: &self.fs,
                parts_dir: out.path(),
                store: self.store,
                limits: MERGED,
                masks: &[],
                tombstones: 0,
                index: &self.index,
            };
            let (merged, took, ran) = pool.install(|| {
                let (began, ran) = (Instant::now(), on_cpu());
                let merged =
                    merge_samples(&inputs, &[TimeRange::ALL], &spec, &mut || 99, &mut || Ok(()));
                (merged.unwrap(), began.elapsed(), on_cpu() - ran)
            });
            wall.push(took);
            cpu.push(ran);
            chunks = merged[0].chunks;
            left = merged[0].samples;
            out_bytes = merged[0].segments.iter().map(|entry| u64::from(entry.bytes)).sum();
            if round == 0 {
                let cache = Arc::new(PartCache::new(CacheLimits::default()));
                let part = Part::open(&self.fs, out.path(), 99, &self.index, &cache).unwrap();
                assert!(part.verify(&mut |_| ()).problems.is_empty());
            }
        }
        let mut inputs_chunks = inputs.iter().map(|part| part.meta().chunks);
        let inputs_chunks: u64 = inputs_chunks.by_ref().sum();
        println!(
            "{what}, {}: {:.1} M samples to {:.1}, {inputs_chunks} chunks to {chunks}, \
             {:.1} MB to {:.1} ({:.3} B/sample)",
            self.store,
            samples as f64 / 1e6,
            left as f64 / 1e6,
            bytes as f64 / 1e6,
            out_bytes as f64 / 1e6,
            out_bytes as f64 / left as f64
        );
        for (clock, mut took) in [("wall", wall), ("on CPU", cpu)] {
            took.sort();
            let rate = |took: Duration| {
                let seconds = took.as_secs_f64();
                format!(
                    "{:.1} ms = {:.1} M samples/s, {:.0} MB/s",
                    seconds * 1e3,
                    samples as f64 / seconds / 1e6,
                    bytes as f64 / seconds / 1e6
                )
            };
            println!("    {clock}: median {}; best {}", rate(took[took.len() / 2]), rate(took[0]));
        }
    }
}

/// How long this thread has run on a processor.
fn on_cpu() -> Duration {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = statistics.split_whitespace().next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

/// Eight freezes of a day.
fn freezes(apart: bool) -> Vec<Rows> {
    let part = |n: i64| Rows { apart, ..Rows::of(n * DAY / 8..(n + 1) * DAY / 8) };
    (0..8).map(part).collect()
}

/// Two writers take turns with their scrapes, and a hundred scrapes come late.
fn interleaved() -> Vec<Rows> {
    let late = Rows::of((0..100).map(|n| n * 86 + 3));
    vec![
        Rows::of((0..DAY).filter(|row| row % 2 == 0)),
        Rows::of((0..DAY).filter(|row| row % 2 == 1 && row % 86 != 3)),
        late,
    ]
}

/// Parts of long chunks, one after the other.
fn sealed() -> Vec<Rows> {
    (0..8).map(|n| Rows::of(n * 8192..(n + 1) * 8192)).collect()
}

fn main() {
    let wanted: Option<String> = std::env::args().skip(1).find(|it| !it.starts_with('-'));
    let run = |what: &str, store: StoreKind, parts: &dyn Fn() -> Vec<Rows>, limits| {
        if store.is_built_in() && wanted.as_ref().is_none_or(|wanted| what.contains(wanted)) {
            Bench::new(store).run(what, &parts(), limits);
        }
    };
    for store in [StoreKind::Flat, StoreKind::default()] {
        run("freezes", store, &|| freezes(false), FRESH);
        run("interleaved and late", store, &interleaved, FRESH);
        run("apart: no shared timestamps", store, &|| freezes(true), FRESH);
        run("copied", store, &sealed, MERGED);
    }
}
