//! Other libraries' metrics, through the facade, in the store.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::sync::Arc;
use std::thread;

use icecore::integration::metrics::{MetricsOptions, MetricsRecorder};
use icecore::model::{MetricKind, Selector};
use icecore::query::{Function, Grouping, Request, SampleRequest};
use icecore::{Engine, Options, TimeRange};
use metrics::Unit;

fn engine(dir: &tempfile::TempDir) -> Arc<Engine> {
    let options = Options { self_metrics: None, threads: 1, ..Options::default() };
    Arc::new(Engine::open(dir.path(), options).unwrap())
}

fn one(engine: &Engine, selector: &str, function: Function) -> f64 {
    let request = Request {
        group_by: Grouping::Labels(Vec::new()),
        ..Request::new(TimeRange::ALL, vec![function])
    };
    let answer = engine.query(&Selector::parse(selector).unwrap(), &request).unwrap();
    answer.groups[0].values[0][0]
}

#[test]
fn what_macros_count_is_in_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(&dir);
    let (recorder, writing) =
        MetricsRecorder::start(Arc::clone(&engine), MetricsOptions::default()).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                metrics::with_local_recorder(&recorder, || {
                    metrics::describe_histogram!("work_seconds", Unit::Seconds, "how long");
                    for i in 0..1000 {
                        metrics::counter!("work_total", "kind" => "a").increment(2);
                        metrics::histogram!("work_seconds").record(f64::from(i) * 1e-3);
                        metrics::gauge!("level").increment(1.0);
                    }
                });
            });
        }
    });
    metrics::with_local_recorder(&recorder, || {
        metrics::gauge!("level").decrement(500.0);
        metrics::counter!("seen_total").absolute(70);
        metrics::counter!("seen_total").absolute(7);
    });
    writing.flush().unwrap();
    assert_eq!(one(&engine, "work_total{kind=\"a\"}", Function::Increase), 8000.0);
    assert_eq!(one(&engine, "seen_total", Function::Increase), 70.0);
    assert_eq!(one(&engine, "work_seconds", Function::Count), 4000.0);
    assert!((one(&engine, "work_seconds", Function::Quantile(0.5)) / 0.5 - 1.0).abs() < 0.02);
    let level = Selector::parse("level").unwrap();
    let level = engine.last_samples(&level, &SampleRequest::new(TimeRange::ALL)).unwrap();
    assert_eq!(level[0].sample.value, 3500.0);
    let metadata = engine.metadata("work_seconds").unwrap();
    assert_eq!((metadata.unit.as_str(), metadata.help.as_str()), ("seconds", "how long"));
    assert_eq!(metadata.kind, MetricKind::Distribution);
    assert_eq!(recorder.refused(), 0);
    writing.stop().unwrap();
}

#[test]
fn there_is_a_bound_and_bad_names_do_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(&dir);
    let options = MetricsOptions { series_max: 5, ..MetricsOptions::default() };
    let (recorder, writing) = MetricsRecorder::start(Arc::clone(&engine), options).unwrap();
    metrics::with_local_recorder(&recorder, || {
        metrics::counter!("bad\u{1}name").increment(1);
        metrics::counter!("twice", "a" => "1", "a" => "2").increment(1);
        for i in 0..100 {
            metrics::counter!("many_total", "i" => i.to_string()).increment(1);
        }
        // Known by another kind.
        metrics::gauge!("many_total", "i" => "0").set(1.0);
    });
    assert_eq!(recorder.refused(), 2 + 95 + 1);
    writing.stop().unwrap();
    let all = Selector::parse("{__name__=~\".+\"}").unwrap();
    assert_eq!(engine.series(&all, TimeRange::ALL).unwrap().len(), 5);
}
