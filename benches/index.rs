//! The index and the series table: `cargo bench --bench index`.
//!
//! The series are those of an API served by pods: 8 labels, of which one is the pod's own. With
//! `ICECORE_EXPOSITION=FILE` (Prometheus text) the table of that file's series is sized as well.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use icecore::index::{Index, table};
use icecore::model::{Metadata, MetricKind, Selector, Series};

fn requests(count: usize) -> Vec<Series> {
    let one = |i: usize| {
        Series::parse(&format!(
            "http_requests_{}{{cluster=\"eu\",code=\"{}\",instance=\"10.0.{}.{}:9100\",\
             job=\"j{}\",method=\"m{}\",path=\"/v1/items/{}\",pod=\"api-{:05x}-{i}\",zone=\"z{}\"}}",
            i % 10,
            200 + i / 10 % 5,
            i / 250 % 4,
            i % 250,
            i / 1000 % 10,
            i % 3,
            i / 7 % 40,
            i.wrapping_mul(2_654_435_761) % 1_048_576,
            i / 50 % 3
        ))
    };
    let series: BTreeSet<Series> = (0..count).map(|i| one(i).unwrap()).collect();
    series.into_iter().collect()
}

fn intern(c: &mut Criterion) {
    let series = requests(10_000);
    let known = Index::new();
    known.intern_all(series.iter().cloned());
    println!("10,000 series: {} bytes of memory each", known.memory_bytes() / 10_000);
    c.bench_function("intern_all, 10,000 new", |b| {
        b.iter_batched(
            || (Index::new(), series.clone()),
            |(index, series)| (index.intern_all(series), index),
            BatchSize::LargeInput,
        );
    });
    c.bench_function("intern_all, 10,000 known", |b| {
        b.iter_batched(|| series.clone(), |series| known.intern_all(series), BatchSize::LargeInput);
    });
    let one = series.get(5000).unwrap();
    c.bench_function("intern, known", |b| b.iter(|| known.intern(black_box(one))));
}

fn select(c: &mut Criterion) {
    let index = Index::new();
    index.intern_all(requests(100_000));
    println!("100,000 series: {} bytes of memory each", index.memory_bytes() / 100_000);
    for text in [
        r#"http_requests_3{job="j4",path=~"/v1/items/1.*"}"#,
        r#"http_requests_3{job="j4",pod=~"api-.*9"}"#,
        r#"http_requests_3{job=~"j4|j5",code!~"5..",zone!=""}"#,
        r#"{cluster="eu",job="j4",pod=~"api-[0-7].*"}"#,
        r#"{pod=~".*f-.*"}"#,
        r#"{path!~".*3"}"#,
        r#"{pod=~"(api-0|api-f).*"}"#,
        r#"{pod=~"api-[0-9a-f]+-99[0-9]+"}"#,
    ] {
        let selector = Selector::parse(text).unwrap();
        let found = index.select(&selector).len();
        c.bench_function(&format!("select {text} ({found} of 100,000)"), |b| {
            b.iter(|| index.select(black_box(&selector)));
        });
    }
}

fn tables(c: &mut Criterion) {
    let series: Vec<Arc<Series>> = requests(10_000).into_iter().map(Arc::new).collect();
    let bytes = table::encode(&series, &[]).unwrap();
    println!("table of 10,000 series: {} bytes", bytes.len());
    c.bench_function("table, encode 10,000", |b| b.iter(|| table::encode(&series, &[]).unwrap()));
    c.bench_function("table, decode 10,000", |b| b.iter(|| table::decode(&bytes).unwrap()));
    c.bench_function("table, decode 10,000 and make the series", |b| {
        b.iter(|| {
            table::decode(&bytes).unwrap().series().map(|s| s.labels().count()).sum::<usize>()
        });
    });
    if let Ok(path) = std::env::var("ICECORE_EXPOSITION") {
        exposition(&std::fs::read_to_string(path).expect("a file of Prometheus text"));
    }
}

fn exposition(text: &str) {
    let mut series = BTreeSet::new();
    let mut metadata: BTreeMap<String, Metadata> = BTreeMap::new();
    for line in text.lines() {
        if let Some((metric, help)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' ')) {
            metadata.entry(metric.to_owned()).or_default().help = help.to_owned();
        } else if let Some((metric, kind)) =
            line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' '))
        {
            metadata.entry(metric.to_owned()).or_default().kind = match kind {
                "counter" => MetricKind::Counter,
                "gauge" => MetricKind::Gauge,
                "untyped" => MetricKind::Untyped,
                _ => MetricKind::Distribution,
            };
        } else if !line.starts_with('#') {
            let end = line.rfind('}').map_or_else(|| line.find(' '), |at| Some(at + 1));
            series.extend(end.and_then(|at| line.get(..at)).map(|s| Series::parse(s).unwrap()));
        }
    }
    let series: Vec<Arc<Series>> = series.into_iter().map(Arc::new).collect();
    let metadata: Vec<(String, Metadata)> = metadata.into_iter().collect();
    let whole = table::encode(&series, &metadata).unwrap().len();
    let bare = table::encode(&series, &[]).unwrap().len();
    let (n, metrics) = (series.len(), metadata.len());
    println!("table of {n} series of the file: {bare} bytes, with {metrics} metadata {whole}");
}

criterion_group!(benches, intern, select, tables);
criterion_main!(benches);
