//! Sampling rules thin out high-frequency series: the first sample of each aligned interval.

use std::time::Duration;

use icecore::engine::Reason;
use icecore::model::{MatchOp, Matcher};
use icecore::options::{GateOptions, SamplingRule};
use icecore::{Options, Timestamp};

use crate::{handle, in_memory, options, refused, values};

fn rule(pattern: &str, nanos: u64) -> SamplingRule {
    let matcher = Matcher::new("__name__", MatchOp::Matches, pattern).unwrap();
    SamplingRule { matcher, interval: Duration::from_nanos(nanos) }
}

fn sampled() -> Options {
    let sampling = vec![rule("fast.*", 10), rule("f.*", 25)];
    let gate = GateOptions { past: None, future: None, sampling, ..GateOptions::default() };
    Options { gate, ..options() }
}

#[test]
fn a_column_keeps_the_first_of_each_interval() {
    let (engine, _) = in_memory(sampled());
    let writer = engine.writer("s");
    let series = handle(&writer, "fast");
    let times: Vec<i64> = (-15..50).collect();
    let values_of = times.iter().map(|&t| t as f64).collect();
    let accepted = writer.append_column(&series, times, values_of).unwrap().wait().unwrap();
    assert_eq!((accepted.samples, accepted.refused), (7, 58));
    let kept: Vec<i64> = values(&engine, "fast").iter().map(|&(t, _)| t).collect();
    assert_eq!(kept, [-15, -10, 0, 10, 20, 30, 40]);
    // Another handle of the series counts for the same intervals.
    let again = engine.writer("other");
    let receipt = again.append_column(&handle(&again, "fast"), vec![49, 50], vec![0.0; 2]).unwrap();
    assert_eq!(receipt.wait().unwrap().samples, 1);
    assert_eq!(refused(&engine, Reason::Sampled), 58 + 1);
}

#[test]
fn the_earliest_time_passes_too() {
    let gate = GateOptions {
        past: None,
        future: None,
        sampling: vec![rule("m", 1)],
        ..GateOptions::default()
    };
    let (engine, _) = in_memory(Options { gate, ..options() });
    let writer = engine.writer("s");
    let series = handle(&writer, "m");
    let receipt = writer.append_column(&series, vec![i64::MIN, 5, 5], vec![1.0; 3]).unwrap();
    assert_eq!(receipt.wait().unwrap().samples, 2);
}

#[test]
fn a_scrape_of_mixed_rules_keeps_what_each_series_may() {
    let (engine, _) = in_memory(sampled());
    let writer = engine.writer("s");
    let names = ["fast", "slow", "fine", "faster"];
    let handles: Vec<_> = names.iter().map(|name| handle(&writer, name)).collect();
    let group = writer.scrape_group(&handles);
    let (mut taken, mut thinned) = (0, 0);
    for t in 0..100_i64 {
        let row = (0..4).map(|i| (1000 * i + t) as f64).collect();
        let accepted = writer.append_scrape(&group, Timestamp(t), row).unwrap().wait().unwrap();
        taken += accepted.samples;
        thinned += accepted.refused;
    }
    for (i, (name, step)) in (0..).zip(names.into_iter().zip([10, 1, 25, 10])) {
        let expected: Vec<(i64, f64)> =
            (0..100).step_by(step).map(|t| (t, (1000 * i + t) as f64)).collect();
        assert_eq!(values(&engine, name), expected, "{name}");
    }
    assert_eq!((taken, thinned), (10 + 100 + 4 + 10, 400 - 124));
    assert_eq!(refused(&engine, Reason::Sampled), thinned);
}

/// Each thinned scrape was a group of its own in log and head, however alike they were: memory
/// and log grew by the names of the series instead of by eight bytes a value.
#[test]
fn thinned_scrapes_take_no_more_room_than_others() {
    let room = |options: Options| {
        let (engine, _) = in_memory(options);
        let writer = engine.writer("s");
        let mut handles: Vec<_> =
            (0..200).map(|i| handle(&writer, &format!("slow{{i=\"{i}\"}}"))).collect();
        handles.push(handle(&writer, "fast"));
        let group = writer.scrape_group(&handles);
        for t in 0..500 {
            let receipt = writer.append_scrape(&group, Timestamp(t), vec![1.0; 201]).unwrap();
            receipt.wait().unwrap();
        }
        let stats = engine.stats().unwrap();
        (stats.head_bytes, stats.log_bytes)
    };
    let (plain, thinned) = (room(options()), room(sampled()));
    assert!(thinned.0 < plain.0 * 11 / 10, "{thinned:?} bytes of head and log, not {plain:?}");
    assert!(thinned.1 < plain.1 * 11 / 10, "{thinned:?} bytes of head and log, not {plain:?}");
}

/// The same for a producer that joins its group anew for every scrape.
#[test]
fn a_group_joined_for_each_scrape_takes_no_more_room() {
    let (engine, _) = in_memory(options());
    let writer = engine.writer("s");
    let handles: Vec<_> =
        (0..200).map(|i| handle(&writer, &format!("slow{{i=\"{i}\"}}"))).collect();
    for t in 0..500 {
        let group = writer.scrape_group(&handles);
        let receipt = writer.append_scrape(&group, Timestamp(t), vec![1.0; 200]).unwrap();
        drop(group);
        receipt.wait().unwrap();
    }
    let stats = engine.stats().unwrap();
    let values = 500 * 200 * 8;
    assert!(stats.head_bytes < values * 11 / 10, "{} bytes", stats.head_bytes);
}
