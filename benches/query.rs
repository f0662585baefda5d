//! Queries over 1,000 series of 24 h at 10 s (8.64 million samples) from an in-memory source whose
//! decoding is a copy: what is measured is the walk, the folding and the pooling.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "a benchmark on data it made itself"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use icecore::model::{Series, SeriesId};
use icecore::query::{Function, Grouping, Request, SampleRequest, execute, read_samples};
use icecore::segment::ChunkSource;
use icecore::{TimeRange, Timestamp};

#[path = "../tests/support/memory_source.rs"]
mod memory_source;

use memory_source::MemorySource;

const SECOND: i64 = 1_000_000_000;
/// Not a multiple of the hour's 360 samples, as in a real part.
const CHUNK_SAMPLES: usize = 1024;
const HOUR_SAMPLES: usize = 360;

type Selected = Vec<(SeriesId, Arc<Series>)>;

fn day(series_count: u32, chunk_samples: usize) -> (Selected, Vec<Arc<dyn ChunkSource>>) {
    let mut source = MemorySource::new(1, true);
    let mut state = 7_u64;
    let series = (0..series_count)
        .map(|id| {
            let samples: Vec<(i64, f64)> = (0..8640)
                .map(|i| {
                    state =
                        state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    (i * 10 * SECOND, (state >> 40) as f64)
                })
                .collect();
            source.push(SeriesId(id), &samples, chunk_samples);
            let (core, job) = (format!("{id:04}"), format!("{}", id % 10));
            let labels = [("core", core.as_str()), ("job", job.as_str())];
            (SeriesId(id), Arc::new(Series::new("load", labels).unwrap()))
        })
        .collect();
    (series, vec![Arc::new(source)])
}

fn request(step: u64, function: &str, group_by: Grouping) -> Request {
    let range = TimeRange::new(Timestamp(0), Timestamp(86_400 * SECOND));
    let functions = vec![function.parse::<Function>().unwrap()];
    let step = Some(Duration::from_secs(step));
    Request { step, group_by, ..Request::new(range, functions) }
}

fn queries(criterion: &mut Criterion) {
    let (series, sources) = day(1000, CHUNK_SAMPLES);
    let (_, hourly) = day(1000, HOUR_SAMPLES);
    let all = || Grouping::Labels(vec![]);
    let jobs = || Grouping::Labels(vec!["job".into()]);
    let cases = [
        ("decoded/avg by series, 1 h", &sources, request(3600, "avg", Grouping::Series)),
        ("decoded/avg of all, 1 h", &sources, request(3600, "avg", all())),
        ("decoded/avg by job, 1 min", &sources, request(60, "avg", jobs())),
        ("decoded/avg by series, 10 s", &sources, request(10, "avg", Grouping::Series)),
        ("decoded/max by job, 1 h", &sources, request(3600, "max", jobs())),
        ("decoded/rate by job, 1 h", &sources, request(3600, "rate", jobs())),
        ("decoded/stddev by job, 1 h", &sources, request(3600, "stddev", jobs())),
        ("decoded/p99 by job, 1 h", &sources, request(3600, "p99", jobs())),
        ("decoded/p99 of all, 1 h", &sources, request(3600, "p99", all())),
        ("statistics/avg by series, 24 h", &sources, request(86_400, "avg", Grouping::Series)),
        ("statistics/avg by series, 1 h", &hourly, request(3600, "avg", Grouping::Series)),
        ("statistics/rate by job, 1 h", &hourly, request(3600, "rate", jobs())),
    ];
    for (name, sources, request) in &cases {
        criterion.bench_function(name, |bencher| {
            bencher
                .iter(|| execute(request, black_box(&series), &sources.to_vec().into()).unwrap());
        });
    }
    let samples = SampleRequest::new(cases[0].2.range);
    criterion.bench_function("samples/all", |bencher| {
        bencher
            .iter(|| read_samples(&samples, black_box(&series), &sources.to_vec().into()).unwrap());
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1));
    targets = queries
}
criterion_main!(benches);
