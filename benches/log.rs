//! Log encoding, writing and replay, without the disk: files are in memory-backed storage where
//! the system has it. Figures are bytes of log a second.
#![allow(clippy::unwrap_used, missing_docs, reason = "bench")]

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use icecore::fs::RealFs;
use icecore::model::{Series, SeriesId};
use icecore::wal::{Writer, replay};

const SERIES: u32 = 1_000;
const COLUMN_SAMPLES: i64 = 1_000;

fn shared_memory() -> tempfile::TempDir {
    let shared = PathBuf::from("/dev/shm");
    if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() }.unwrap()
}

fn open(dir: &tempfile::TempDir) -> Writer {
    let log = dir.path().join("log");
    let start = replay(&RealFs, &log, 0, &mut |_| Ok(())).unwrap();
    let mut writer = Writer::open(Arc::new(RealFs), &log, &start).unwrap();
    let ids: Vec<SeriesId> = (0..SERIES).map(SeriesId).collect();
    for &id in &ids {
        let series = Series::new("metric", [("series", id.0.to_string().as_str())]).unwrap();
        writer.declare_series(id, &series).unwrap();
    }
    writer.declare_group(0, &ids).unwrap();
    writer.write_group().unwrap();
    writer
}

fn log(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("log");
    let values: Vec<f64> = (0..SERIES).map(f64::from).collect();

    group.throughput(Throughput::Bytes(100 * (8 * u64::from(SERIES) + 12)));
    group.bench_function("write 100 scrapes of 1000 series", |bencher| {
        let dir = shared_memory();
        let mut writer = open(&dir);
        bencher.iter(|| {
            for timestamp in 0..100 {
                writer.push_scrape(0, timestamp, black_box(&values)).unwrap();
            }
            writer.write_group().unwrap();
            if writer.file_bytes() > 256 << 20 {
                writer = open(&{ shared_memory() });
            }
        });
    });

    let beat: Vec<i64> = (0..COLUMN_SAMPLES).map(|i| i * 1_000_000_000).collect();
    group.throughput(Throughput::Bytes(100 * 9 * 1_000));
    group.bench_function("write 100 columns of 1000 samples", |bencher| {
        let dir = shared_memory();
        let mut writer = open(&dir);
        bencher.iter(|| {
            for series in 0..100 {
                writer.push_column(SeriesId(series), black_box(&beat), &values).unwrap();
            }
            writer.write_group().unwrap();
            if writer.file_bytes() > 256 << 20 {
                writer = open(&{ shared_memory() });
            }
        });
    });

    let dir = shared_memory();
    let mut writer = open(&dir);
    for timestamp in 0..8_000 {
        writer.push_scrape(0, timestamp, &values).unwrap();
        if timestamp % 10 == 9 {
            writer.write_group().unwrap();
        }
    }
    group.throughput(Throughput::Bytes(writer.file_bytes()));
    group.sample_size(20);
    group.bench_function("replay 8 M samples", |bencher| {
        bencher.iter(|| {
            let mut records = 0u64;
            replay(&RealFs, &dir.path().join("log"), 0, &mut |record| {
                records += 1;
                black_box(record);
                Ok(())
            })
            .unwrap();
            records
        });
    });
}

criterion_group!(benches, log);
criterion_main!(benches);
