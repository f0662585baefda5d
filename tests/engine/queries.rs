//! Questions whose answers parts and the head give together.

use std::time::Duration;

use icecore::model::{MatchOp, Matcher, STALE_MARKER_BITS, Selector};
use icecore::query::{
    CancelToken, Comparison, Function, Request, RowRequest, SampleRequest, Threshold,
};
use icecore::{Engine, Error, Options, TimeRange, Timestamp, Writer};

use crate::{handle, in_memory, options};

fn selector(text: &str) -> Selector {
    Selector::parse(text).unwrap()
}

fn append(writer: &Writer, series: &str, samples: &[(i64, f64)]) {
    let (times, values) = samples.iter().copied().unzip();
    writer.append_column(&handle(writer, series), times, values).unwrap().wait().unwrap();
}

/// When the latest sample of each series stands, and at what.
fn last(engine: &Engine, text: &str, range: TimeRange) -> Vec<(String, i64, f64)> {
    let found = engine.last_samples(&selector(text), &SampleRequest::new(range)).unwrap();
    let one = |last: icecore::query::LastSample| {
        (last.series.to_string(), last.sample.timestamp.0, last.sample.value)
    };
    found.into_iter().map(one).collect()
}

#[test]
fn the_latest_samples_are_in_parts_and_in_the_head() {
    let (engine, _) = in_memory(options());
    let writer = engine.writer("test");
    let stale = f64::from_bits(STALE_MARKER_BITS);
    for i in 0..20 {
        append(&writer, &format!("m{{i=\"{i:02}\"}}"), &[(10, 1.0), (20 + i, i as f64)]);
    }
    append(&writer, "m{i=\"03\"}", &[(50, stale)]);
    engine.freeze().unwrap();
    append(&writer, "m{i=\"04\"}", &[(60, 4.5)]);
    append(&writer, "m{i=\"05\"}", &[(25, 5.5)]);
    append(&writer, "m{i=\"06\"}", &[(70, stale)]);
    // Of all, and of so few that the part looks each up.
    let all = last(&engine, "m", TimeRange::ALL);
    assert_eq!(all.len(), 20);
    for (i, (series, time, value)) in (0..).zip(&all) {
        let expected = match i {
            4 => (60, 4.5),
            5 => (25, 5.5),
            i => (20 + i, i as f64),
        };
        assert_eq!((*time, *value), expected, "{series}");
        assert_eq!(last(&engine, series, TimeRange::ALL), all[i as usize..][..1]);
    }
    let before = TimeRange::new(Timestamp(0), Timestamp(25));
    let early = last(&engine, "m{i=~\"04|05|19\"}", before);
    let times: Vec<(i64, f64)> = early.into_iter().map(|(_, time, value)| (time, value)).collect();
    assert_eq!(times, [(24, 4.0), (10, 1.0), (10, 1.0)]);
}

#[test]
fn a_deleted_sample_is_not_the_latest() {
    let (engine, _) = in_memory(options());
    let writer = engine.writer("test");
    append(&writer, "m", &[(1, 1.0), (2, 2.0), (3, 3.0)]);
    engine.freeze().unwrap();
    let gone = TimeRange::new(Timestamp(3), Timestamp(9));
    engine.delete(&selector("m"), gone).unwrap();
    assert_eq!(last(&engine, "m", TimeRange::ALL), [("m".to_owned(), 2, 2.0)]);
}

#[test]
fn rows_come_from_parts_and_head_alike() {
    let (engine, _) = in_memory(options());
    let writer = engine.writer("test");
    for host in ["a", "b"] {
        append(&writer, &format!("busy{{host=\"{host}\"}}"), &[(1, 95.0), (2, 5.0), (3, 91.0)]);
        append(&writer, &format!("idle{{host=\"{host}\"}}"), &[(1, 5.0), (3, 9.0)]);
    }
    engine.freeze().unwrap();
    append(&writer, "busy{host=\"b\"}", &[(4, 99.0)]);
    let request = RowRequest {
        samples: SampleRequest::new(TimeRange::ALL),
        by: vec!["host".to_owned()],
        decider: Matcher::new("__name__", MatchOp::Equal, "busy").unwrap(),
        threshold: Threshold { comparison: Comparison::Greater, bound: 90.0 },
    };
    let rows = engine.rows(&selector("{host!=\"\"}"), &request).unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0].timestamps[..], &rows[1].timestamps[..]), (&[1, 3][..], &[1, 3, 4][..]));
    assert_eq!(rows[0].values, [[95.0, 91.0], [5.0, 9.0]]);
    assert_eq!(rows[1].values[0], [95.0, 91.0, 99.0]);
    assert!(rows[1].values[1][2].is_nan());
}

#[test]
fn a_budget_of_all_queries_refuses_one_that_is_too_large() {
    let (engine, _) = in_memory(Options { query_memory_bytes_max: 10_000, ..options() });
    append(&engine.writer("test"), "m", &[(1, 1.0)]);
    let range = TimeRange::new(Timestamp(0), Timestamp(1000));
    let request = Request::new(range, vec![Function::Avg]);
    engine.query(&selector("m"), &request).unwrap();
    let many = Request { step: Some(Duration::from_nanos(1)), ..request };
    let refused = engine.query(&selector("m"), &many);
    assert!(matches!(refused, Err(Error::Limit { limit: 10_000, .. })), "{refused:?}");
}

#[test]
fn selecting_ends_when_nobody_waits_for_it() {
    let (engine, _) = in_memory(options());
    append(&engine.writer("test"), "m{path=\"/a\"}", &[(1, 1.0)]);
    let cancel = CancelToken::new();
    cancel.cancel();
    let request = Request { cancel, ..Request::new(TimeRange::ALL, vec![Function::Avg]) };
    let found = engine.query(&selector("{path=~\".*a\"}"), &request);
    assert!(matches!(found, Err(Error::Cancelled)));
}
