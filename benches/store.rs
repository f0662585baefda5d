//! What the part stores cost on disk, to open and to read; and how fast a part finds chunks.
//!
//! `cargo bench --bench store --features redb`. Not a criterion benchmark: files are built once,
//! their sizes count, and a cold read happens once each time the page cache was emptied of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "a benchmark"
)]

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use icecore::fs::{Fs, RealFs};
use icecore::index::Index;
use icecore::model::Series;
use icecore::part::{self, CacheLimits, Part, PartCache, PartSpec};
use icecore::segment::{ChunkSource, Group, SegmentLimits};
use icecore::store::{self, StoreKind};
use icecore::{TimeRange, Timestamp};

const ROUNDS: usize = 5;

fn main() {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    stores(&fs);
    lookups(&fs);
}

/// Incompressible, different for every key.
fn value(key: u64, length: usize) -> Vec<u8> {
    let mut state = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(length).collect()
}

/// Bytes of all files and directories below, as lengths and as blocks.
fn sizes(dir: &Path) -> (u64, u64) {
    let metadata = std::fs::metadata(dir).unwrap();
    let (mut bytes, mut blocks) = (0, metadata.blocks() * 512);
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() {
            let below = sizes(&entry.path());
            (bytes, blocks) = (bytes + below.0, blocks + below.1);
        } else {
            (bytes, blocks) = (bytes + metadata.len(), blocks + metadata.blocks() * 512);
        }
    }
    (bytes, blocks)
}

/// Drops the files' clean pages from the page cache.
fn evict(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            evict(&path);
        } else {
            let file = File::open(&path).unwrap();
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        }
    }
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}

fn stores(fs: &Arc<dyn Fs>) {
    println!("times in ms, medians of {ROUNDS}; build includes every sync");
    println!(
        "{:>8} {:>6} {:>5} | {:>8} {:>9} {:>9} | {:>9} {:>9} {:>9} {:>9} | {:>9} {:>9}",
        "payload",
        "values",
        "store",
        "build",
        "+bytes",
        "+blocks",
        "open cold",
        "get cold",
        "open warm",
        "get warm",
        "all cold",
        "all MB/s"
    );
    for (payload, values) in [
        (36_000, 1),
        (323_000, 1),
        (400_000, 2),
        (5_000_000, 10),
        (50_000_000, 100),
        (400_000_000, 400),
    ] {
        for kind in StoreKind::ALL.into_iter().filter(|kind| kind.is_built_in()) {
            measure(fs, kind, payload, values);
        }
    }
}

fn measure(fs: &Arc<dyn Fs>, kind: StoreKind, payload: usize, values: u64) {
    let dir = tempfile::tempdir().unwrap();
    let length = payload / values as usize;
    let pairs: Vec<_> = (0..values).map(|key| value(key, length)).collect();
    let start = Instant::now();
    let mut builder = store::build(kind, fs, dir.path()).unwrap();
    for (key, value) in (0..).zip(&pairs) {
        builder.put(key, value).unwrap();
    }
    builder.finish().unwrap();
    let build = start.elapsed().as_secs_f64() * 1e3;

    let (mut opens, mut gets) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    let mut all = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for warm in [0, 1] {
            if warm == 0 {
                evict(dir.path());
            }
            let start = Instant::now();
            let store = store::open(kind, fs, dir.path()).unwrap();
            opens[warm].push(start.elapsed());
            let start = Instant::now();
            black_box(store.get(values / 2).unwrap().unwrap());
            gets[warm].push(start.elapsed());
            let start = Instant::now();
            for key in 0..values {
                let value = store.get(key).unwrap().unwrap();
                assert_eq!(value.as_ref().len(), length);
            }
            all[warm].push(start.elapsed());
        }
    }
    let (bytes, blocks) = sizes(dir.path());
    let [open_cold, open_warm] = opens.map(median);
    let [get_cold, get_warm] = gets.map(median);
    let [all_cold, all_warm] = all.map(median);
    println!(
        "{payload:>8} {values:>6} {:>5} | {build:>8.1} {:>9} {:>9} | {open_cold:>9.2} {get_cold:>9.2} \
         {open_warm:>9.2} {get_warm:>9.2} | {all_cold:>9.2} {:>9.0}",
        kind.name(),
        bytes as i64 - payload as i64,
        blocks as i64 - payload as i64,
        payload as f64 / 1e3 / all_warm,
    );
}

/// 1,000 series at 10 s over a day in chunks of 1,024: nine a series.
fn lookups(fs: &Arc<dyn Fs>) {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..1000).map(|n| format!("{n:04}")).collect();
    let series = names.iter().map(|n| Series::new("cpu", [("host", n.as_str())]).unwrap());
    let series: Vec<_> = series.map(Arc::new).collect();
    let timestamps: Vec<i64> = (0..8_640).map(|row| row * 10_000_000_000).collect();
    let numbers: Vec<u32> = (0..1000).collect();
    let read = |at: usize, rows: std::ops::Range<usize>, out: &mut Vec<f64>| {
        out.clear();
        out.extend(rows.map(|row| ((row * (at + 7)) % 977) as f64));
    };
    let group = Group { timestamps: &timestamps, series: &numbers, read: &read };
    let spec = PartSpec {
        id: 1,
        rank: 1,
        window: TimeRange::new(Timestamp(0), Timestamp(86_400_000_000_000)),
        store: StoreKind::default(),
        limits: SegmentLimits::default(),
        tier: icecore::Tier::RAW,
        layout: part::Layout::Samples,
        tombstones: 0,
    };
    let start = Instant::now();
    let meta = part::write(fs, dir.path(), &spec, &series, &[], &[group]).unwrap();
    println!(
        "\npart of {} samples, {} chunks, {} segments: written in {:.0} ms, {} bytes on disk",
        meta.samples,
        meta.chunks,
        meta.segments.len(),
        start.elapsed().as_secs_f64() * 1e3,
        part::size_bytes(fs.as_ref(), dir.path(), 1).unwrap(),
    );
    evict(dir.path());
    let (index, cache) = (Index::new(), Arc::new(PartCache::new(CacheLimits::default())));
    let start = Instant::now();
    let part = Part::open(fs, dir.path(), 1, &index, &cache).unwrap();
    println!("open cold, meta and series: {:.2} ms", start.elapsed().as_secs_f64() * 1e3);
    let start = Instant::now();
    for number in 0..meta.segments.len() as u32 {
        part.segment(number).unwrap();
    }
    println!("all segments cold, store included: {:.2} ms", start.elapsed().as_secs_f64() * 1e3);

    for threads in [1, 2] {
        let passes = 20;
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let mut chunks = Vec::new();
                    for _ in 0..passes {
                        for &id in part.series_ids() {
                            chunks.clear();
                            part.chunks(id, TimeRange::ALL, &mut chunks).unwrap();
                            for chunk in &chunks {
                                black_box(part.statistics(chunk).unwrap());
                            }
                        }
                    }
                });
            }
        });
        let chunks = meta.chunks * passes;
        println!(
            "warm, {threads} threads: {:.0} ns a chunk for its place and statistics",
            start.elapsed().as_nanos() as f64 / chunks as f64
        );
    }
}
