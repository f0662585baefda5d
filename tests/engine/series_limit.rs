//! Past the series limit samples go to overflow series: one a known metric, one for the rest.

use std::sync::Arc;

use icecore::engine::Reason;
use icecore::model::{Metadata, MetricKind, Series};
use icecore::options::GateOptions;
use icecore::{Options, Timestamp};

use crate::{handle, in_memory, open_on, options, refused, values};

const KNOWN: &str = r#"a{icecore_overflow="true"}"#;
const UNKNOWN: &str = r#"icecore_overflow{icecore_overflow="true"}"#;

fn limited(series_max: usize) -> Options {
    let gate = GateOptions { past: None, future: None, series_max, ..GateOptions::default() };
    Options { gate, ..options() }
}

#[test]
fn series_beyond_the_limit_land_in_overflow_series() {
    let (engine, fs) = in_memory(limited(3));
    let writer = engine.writer("many");
    let kept: Vec<_> = (0..3).map(|i| handle(&writer, &format!("a{{i=\"{i}\"}}"))).collect();
    assert!(kept.iter().all(|handle| !handle.is_overflow()));
    let over = handle(&writer, r#"a{i="3"}"#);
    let unknown = handle(&writer, "b");
    let other = handle(&writer, r#"c{x="y"}"#);
    assert!(over.is_overflow() && unknown.is_overflow() && other.is_overflow());
    assert_eq!(unknown.id(), other.id(), "names without bound share one series");
    assert!(!handle(&writer, r#"a{i="2"}"#).is_overflow(), "a known series is known still");

    writer.append_column(&over, vec![1, 2], vec![10.0, 20.0]).unwrap().wait().unwrap();
    writer.append_column(&unknown, vec![1], vec![30.0]).unwrap().wait().unwrap();
    let group = writer.scrape_group(&[kept[0].clone(), over, other]);
    let receipt = writer.append_scrape(&group, Timestamp(5), vec![1.0, 2.0, 3.0]).unwrap();
    assert_eq!(receipt.wait().unwrap().samples, 3);
    assert_eq!(refused(&engine, Reason::SeriesLimit), 2 + 1 + 2);

    let check = |engine: &icecore::Engine| {
        assert_eq!(values(engine, KNOWN), [(1, 10.0), (2, 20.0), (5, 2.0)]);
        assert_eq!(values(engine, UNKNOWN), [(1, 30.0), (5, 3.0)]);
        assert_eq!(values(engine, r#"a{i="0"}"#), [(5, 1.0)]);
        assert!(values(engine, "b").is_empty());
    };
    check(&engine);
    engine.close().unwrap();
    let engine = open_on(Arc::new(fs), limited(3)).unwrap();
    check(&engine);
    let stored = handle(&engine.writer("many"), r#"a{i="0"}"#);
    assert!(!stored.is_overflow(), "what is stored is known after reopening");
}

/// Every unknown metric left its metadata in the index, however many there were.
#[test]
fn unknown_metrics_leave_nothing_behind() {
    let (engine, _) = in_memory(limited(2));
    let writer = engine.writer("names");
    drop((handle(&writer, "a"), handle(&writer, "b")));
    let metadata = Metadata {
        kind: MetricKind::Counter,
        unit: "bytes".to_owned(),
        help: "Something that is counted.".to_owned(),
    };
    let resolve = |name: String| {
        writer.series(&Series::parse(&name).unwrap(), &metadata).unwrap();
        engine.stats().unwrap().index_bytes
    };
    let before = resolve("m0".to_owned());
    for i in 1..500 {
        assert_eq!(resolve(format!("m{i}")), before, "after {i} names");
    }
    assert_eq!(engine.metadata("m7"), None);
    resolve("a".to_owned());
    assert_eq!(engine.metadata("a"), Some(metadata), "a known metric may still learn");
}
