//! Queries over 1,000 series of 24 h at 10 s (8.64 million samples) from an in-memory source whose
//! decoding is a copy: what is measured is the walk, the folding and the pooling. And queries over
//! tiers, from real parts on disk whose segments are in the cache: a year of 200 series' records of
//! an hour, one part a month, and of ten distributions' records of a day, one part a quarter.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "a benchmark on data it made itself"
)]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use icecore::aggregate::{Partial, Sketch};
use icecore::fs::{Fs, RealFs};
use icecore::index::Index;
use icecore::model::{Sample, Series, SeriesId};
use icecore::part::{Builder, CacheLimits, Layout, Part, PartCache, PartSpec};
use icecore::query::{
    Function, Grouping, Request, Resources, SampleRequest, execute, read_samples,
};
use icecore::segment::{ChunkSource, Records, SegmentLimits, SeriesRecords, Sources};
use icecore::store::StoreKind;
use icecore::{Tier, TimeRange, Timestamp};

#[expect(dead_code, reason = "the tests of masks need more of it")]
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
            bencher.iter(|| {
                execute(request, black_box(&series), &sources.to_vec().into(), Resources::default())
                    .unwrap()
            });
        });
    }
    let samples = SampleRequest::new(cases[0].2.range);
    criterion.bench_function("samples/all", |bencher| {
        bencher.iter(|| {
            read_samples(
                &samples,
                black_box(&series),
                &sources.to_vec().into(),
                Resources::default(),
            )
            .unwrap()
        });
    });
}

const HOUR: i64 = Tier::HOUR.nanos();
const DAY: i64 = Tier::DAY.nanos();

/// Writes tier parts over a year that starts at the epoch, of equal lengths, and opens them: the
/// records of each series for buckets `from..to` come from `records`.
fn year_of(
    dir: &Path,
    tier: Tier,
    (series, parts): (&[Arc<Series>], i64),
    records: impl Fn(usize, i64, i64) -> Records,
) -> (Selected, Sources) {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let (index, cache) = (Index::new(), Arc::new(PartCache::new(CacheLimits::default())));
    let buckets = 360 * DAY / tier.nanos() / parts;
    let mut sources = Sources::default();
    for part in 0..parts {
        let (from, to) = (part * buckets, (part + 1) * buckets);
        let at = |bucket: i64| Timestamp(bucket * tier.nanos());
        let spec = PartSpec {
            id: part as u64,
            rank: 10,
            window: TimeRange::new(at(from), at(to)),
            tier,
            layout: Layout::Records,
            tombstones: 0,
            store: StoreKind::Flat,
            limits: SegmentLimits::default(),
        };
        let held: Vec<Records> = (0..series.len()).map(|i| records(i, from, to)).collect();
        let batch: Vec<SeriesRecords<'_>> = (0..)
            .zip(&held)
            .map(|(position, records)| SeriesRecords { position, increase: true, records })
            .collect();
        let mut builder = Builder::new(&fs, dir, &spec, series, &[]).unwrap();
        builder.add_records(&batch).unwrap();
        builder.finish().unwrap();
        let part = Part::open(&fs, dir, part as u64, &index, &cache).unwrap();
        sources.records.push(Arc::new(part));
    }
    let ids = series.iter().map(|series| (index.intern(series), Arc::clone(series)));
    (ids.collect(), sources)
}

fn named(count: usize) -> Vec<Arc<Series>> {
    (0..count)
        .map(|id| {
            let core = format!("{id:04}");
            Arc::new(Series::new("load", [("core", core.as_str())]).unwrap())
        })
        .collect()
}

/// A gauge of one sample every 10 s, folded by the hour.
fn gauge(series: usize, from: i64, to: i64) -> Records {
    let mut records = Records::default();
    let mut state = (series as u64 + 1).wrapping_mul(from as u64 + 0x9e37_79b9);
    for bucket in from..to {
        let start = bucket * HOUR;
        let times: Vec<i64> = (0..360).map(|i| start + i * 10 * SECOND).collect();
        let values: Vec<f64> = times
            .iter()
            .map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 52) as f64 / 8.0
            })
            .collect();
        records.starts.push(start);
        records.partials.push(Partial::of(&times, &values));
    }
    records
}

/// Latencies, log-normal, 1,000 a day, as a distribution's records of a day.
fn latencies(series: usize, from: i64, to: i64) -> Records {
    let mut records = Records::default();
    let mut state = (series as u64 + 1).wrapping_mul(from as u64 + 0x9e37_79b9);
    let mut uniform = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    for bucket in from..to {
        let values: Vec<f64> = (0..1000)
            .map(|_| (3.0 + (0..12).map(|_| uniform()).sum::<f64>() - 6.0).exp())
            .collect();
        let at = |time: i64| Sample { timestamp: Timestamp(time), value: f64::NAN };
        records.starts.push(bucket * DAY);
        records.partials.push(Partial {
            count: 1000,
            sum: values.iter().sum(),
            min: values.iter().copied().fold(f64::MAX, f64::min),
            max: values.iter().copied().fold(0.0, f64::max),
            first: at(bucket * DAY),
            last: at(bucket * DAY + DAY - 10 * SECOND),
            increase: 1000.0,
            resets: 0,
        });
        records.sketches.push(&Sketch::of(&values));
    }
    records
}

fn tiers(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let (hours, days) = (dir.path().join("hours"), dir.path().join("days"));
    std::fs::create_dir(&hours).unwrap();
    std::fs::create_dir(&days).unwrap();
    let (series, sources) = year_of(&hours, Tier::HOUR, (&named(200), 12), gauge);
    let (services, sketches) = year_of(&days, Tier::DAY, (&named(10), 4), latencies);
    let ask = |from: i64, to: i64, step: i64, functions: &str, group_by: Grouping| {
        let range = TimeRange::new(Timestamp(from), Timestamp(to));
        let functions = functions.split(' ').map(|name| name.parse().unwrap()).collect();
        let step = Some(Duration::from_nanos(step as u64));
        Request { step, group_by, ..Request::new(range, functions) }
    };
    let all = || Grouping::Labels(vec![]);
    // A month that lies in two parts.
    let month = |functions, group_by| ask(40 * DAY, 70 * DAY, HOUR, functions, group_by);
    let year = |functions, group_by| ask(0, 360 * DAY, DAY, functions, group_by);
    let hundred: Selected = series.iter().take(100).cloned().collect();
    let one: Selected = services.iter().take(1).cloned().collect();
    let cases = [
        ("avg by series, 100 series", &hundred, &sources, month("avg", Grouping::Series)),
        ("avg of all, 100 series", &hundred, &sources, month("avg", all())),
        ("rate max of all, 100 series", &hundred, &sources, month("rate max", all())),
        ("a year by day, avg of all, 100 series", &hundred, &sources, year("avg", all())),
        ("a year by day, p99 of one", &one, &sketches, year("p99", all())),
        ("a year by day, p99 of ten", &services, &sketches, year("p99", all())),
    ];
    for (name, series, sources, request) in &cases {
        let answer = execute(request, series, sources, Resources::default()).unwrap();
        assert_eq!(answer.evidence.chunks_decoded, 0, "from tiers alone");
        assert!(answer.groups.iter().all(|group| group.counts.iter().all(|&count| count > 0)));
        criterion.bench_function(&format!("tiers/{name}"), |bencher| {
            bencher.iter(|| {
                execute(request, black_box(series), sources, Resources::default()).unwrap()
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1));
    targets = queries, tiers
}
criterion_main!(benches);
