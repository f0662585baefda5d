//! How fast Prometheus text is read: lines of the shipped capture, without storing them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark stops at the first surprise"
)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use icecore::integration::SampleReader;
use icecore::integration::exposition::{Dialect, ExpositionReader};

const CAPTURE: &[u8] = include_bytes!("../tests/data/node_exporter_excerpt.prom.zst");

fn read(text: &[u8]) -> usize {
    let mut reader = ExpositionReader::new(text, Dialect::Prometheus, None);
    let mut samples = 0;
    while let Some(batch) = reader.next_batch().expect("bytes in memory") {
        samples += batch.samples();
    }
    samples
}

fn exposition(criterion: &mut Criterion) {
    let text = zstd::decode_all(CAPTURE).expect("the shipped capture");
    let samples = read(&text) as u64;
    let mut group = criterion.benchmark_group("exposition");
    group.throughput(Throughput::Elements(samples)).sample_size(20);
    group.bench_function("read", |bencher| bencher.iter(|| read(&text)));
    group.finish();
}

criterion_group!(benches, exposition);
criterion_main!(benches);
