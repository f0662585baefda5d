//! PromQL over 1,000 series of 12 h at 10 s (4.32 million samples) in a part on disk whose segments
//! are in the cache: 10 hosts of 100 cores, a counter and a gauge each.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark on data it made itself")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use icecore::model::{Metadata, Series};
use icecore::options::{Durability, GateOptions};
use icecore::promql::{Options, Query, Steps, evaluate};
use icecore::{Engine, Timestamp};

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3600 * SECOND;
const SAMPLES: i64 = 12 * 360;

fn fill(engine: &Engine) {
    let writer = engine.writer("bench").with_durability(Durability::Buffered);
    let mut state = 7_u64;
    for id in 0..1000 {
        let (host, core) = (format!("{:02}", id / 100), format!("{:02}", id % 100));
        let labels = [("host", host.as_str()), ("core", core.as_str())];
        let mut total = 0.0;
        let (mut counter, mut gauge, mut times) = (vec![], vec![], vec![]);
        for i in 0..SAMPLES {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let busy = (state >> 40) as f64 / 16777216.0;
            total += busy * 10.0;
            // Scrapes are a few milliseconds off.
            times.push(i * 10 * SECOND + (state >> 33) as i64 % 8 * 1_000_000);
            counter.push((total * 100.0).round() / 100.0);
            gauge.push((busy * 100.0).floor());
        }
        for (name, values) in [("busy_seconds_total", counter), ("busy_percent", gauge)] {
            let series = Series::new(name, labels).unwrap();
            let handle = writer.series(&series, &Metadata::default()).unwrap();
            drop(writer.append_column(&handle, times.clone(), values).unwrap());
        }
    }
    engine.freeze().unwrap();
}

fn queries(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let options = icecore::Options {
        self_metrics: None,
        gate: GateOptions { past: None, future: None, ..GateOptions::default() },
        ..icecore::Options::default()
    };
    let engine = Engine::open(dir.path(), options).unwrap();
    fill(&engine);
    let minutes = |count: i64| {
        Steps::new(Timestamp(HOUR), Timestamp(HOUR + count * 60 * SECOND), 60 * SECOND).unwrap()
    };
    let (all, one) = (minutes(660), Steps::at(Timestamp(12 * HOUR)));
    let cases = [
        ("selector", "busy_percent", all),
        ("sum by host of rate, 5 min", "sum by (host) (rate(busy_seconds_total[5m]))", all),
        ("sum of rate, 1 h", "sum(rate(busy_seconds_total[1h]))", all),
        ("rate, 5 min", "rate(busy_seconds_total[5m])", all),
        ("avg_over_time, 5 min", "avg_over_time(busy_percent[5m])", all),
        (
            "max by host of max_over_time, 1 h",
            "max by (host) (max_over_time(busy_percent[1h]))",
            all,
        ),
        ("stddev_over_time, 5 min", "stddev_over_time(busy_percent[5m])", all),
        ("instant", "sum by (host) (busy_percent)", one),
        ("instant rate", "sum by (host) (rate(busy_seconds_total[5m]))", one),
    ];
    for (name, text, steps) in cases {
        let query = Query::parse(text).unwrap();
        let options = Options::default();
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| evaluate(&engine, black_box(&query), steps, &options).unwrap());
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = queries
}
criterion_main!(benches);
