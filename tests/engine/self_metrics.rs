//! The engine's own state as series of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use icecore::engine::Reason;
use icecore::model::{MatchOp, Matcher, Metadata, MetricKind, Series};
use icecore::options::{FilterRule, GateOptions, RateLimit, SamplingRule};
use icecore::{Engine, Options, Timestamp};

use crate::{eventually, handle, in_memory, options, read, refused};

const INTERVAL: Duration = Duration::from_millis(10);

/// The last value of each of the engine's own series.
fn own(engine: &Engine) -> BTreeMap<String, f64> {
    let all = read(engine, r#"{__name__=~"icecore_.*"}"#).into_iter();
    all.map(|(series, samples)| (series, f64::from_bits(samples.last().unwrap().1))).collect()
}

/// The clock stands still: with each interval the samples of the one before are replaced, but
/// every one was counted.
#[test]
fn counters_match_what_was_appended() {
    let (engine, _) = in_memory(Options { self_metrics: Some(INTERVAL), ..options() });
    let writer = engine.writer("w");
    let group = writer.scrape_group(&[handle(&writer, "a"), handle(&writer, "b")]);
    for t in 0..500 {
        drop(writer.append_scrape(&group, Timestamp(t), vec![1.0, 2.0]).unwrap());
    }
    engine.freeze().unwrap();
    let mut last = BTreeMap::new();
    eventually("counters", || {
        last = own(&engine);
        last.get("icecore_freezes_total") >= Some(&1.0) && last["icecore_samples_total"] >= 1000.0
    });
    let width = last.len() as f64;
    // Batches that the engine made of itself before this one.
    let of_its_own = last["icecore_batches_total"] - 500.0;
    assert_eq!(last["icecore_samples_total"], 1000.0 + width * of_its_own);
    assert_eq!(last["icecore_series"], 2.0 + width);
    assert_eq!(last["icecore_parts"], 1.0 + last["icecore_freezes_total"] - 1.0);
    assert!(last["icecore_log_bytes_total"] > 4.0 * last["icecore_samples_total"]);
    assert!(last["icecore_syncs_total"] >= 0.0 && last["icecore_commit_seconds_total"] > 0.0);
    assert_eq!(last.len(), 19 + Reason::ALL.len() + 4);
    assert_eq!(last["icecore_events_total"], 0.0);
    assert_eq!(last["icecore_dropped_bytes_total{cause=\"expired\"}"], 0.0);
    for reason in Reason::ALL {
        let series = format!("icecore_samples_refused_total{{reason=\"{reason}\"}}");
        assert_eq!(last.get(&series), Some(&0.0), "{series}");
    }
    let metadata = engine.metadata("icecore_samples_total").unwrap();
    assert_eq!(metadata.kind, MetricKind::Counter);
    assert!(!metadata.help.is_empty());
}

#[test]
fn nothing_is_said_where_nothing_is_asked() {
    let (engine, _) = in_memory(options());
    let writer = engine.writer("w");
    drop(writer.append_column(&handle(&writer, "m"), vec![1], vec![1.0]).unwrap());
    std::thread::sleep(5 * INTERVAL);
    engine.sync().unwrap();
    assert_eq!(read(&engine, "{}").keys().collect::<Vec<_>>(), ["m"]);
    assert_eq!(engine.stats().unwrap().series, 1);
}

fn matching(name: &str) -> Matcher {
    Matcher::new("__name__", MatchOp::Equal, name).unwrap()
}

#[test]
fn every_refusal_is_counted_under_its_reason_in_a_series() {
    // The clock of these tests stands at a million seconds.
    let now = Timestamp::from_secs(1_000_000);
    let gate = GateOptions {
        past: Some(Duration::from_secs(60)),
        future: Some(Duration::from_secs(60)),
        filters: vec![FilterRule { matcher: matching("denied"), allow: false }],
        sampling: vec![SamplingRule {
            matcher: matching("fast"),
            interval: Duration::from_secs(9),
        }],
        rate: Some(RateLimit { samples_per_second: 1, burst_samples: 40 }),
        // Two of ours beyond the engine's own 35.
        series_max: 37,
    };
    let (engine, _) = in_memory(Options { self_metrics: Some(INTERVAL), gate, ..options() });
    let writer = engine.writer("w");
    let (slow, fast) = (handle(&writer, "slow"), handle(&writer, "fast"));
    let beyond = handle(&writer, "beyond");
    assert!(writer.series_named("", [], &Metadata::default()).is_err());
    assert!(writer.series(&Series::parse("denied").unwrap(), &Metadata::default()).is_err());
    let append = |series, times: Vec<i64>| {
        let values = vec![1.0; times.len()];
        writer.append_column(series, times, values).unwrap().wait().unwrap()
    };
    append(&slow, vec![0, 1, 2, now.0]);
    append(&slow, vec![i64::MAX - 1, i64::MAX]);
    append(&fast, vec![now.0, now.0 + 1, now.0 + 2, now.0 + 3, now.0 + 4]);
    append(&beyond, vec![now.0; 6]);
    append(&slow, vec![now.0; 41]);
    let latency = writer.distribution("slow", [], &Metadata::default()).unwrap();
    [f64::NAN, 1.0, f64::INFINITY].into_iter().for_each(|value| latency.record(value));
    engine.sync().unwrap();
    let expected = [
        (Reason::InvalidName, 1),
        (Reason::Filtered, 1),
        (Reason::TooOld, 3),
        (Reason::TooNew, 2),
        (Reason::Sampled, 4),
        (Reason::RateLimited, 41),
        (Reason::ChannelFull, 0),
        (Reason::DiskFull, 0),
        (Reason::NotFinite, 2),
        (Reason::TooManyBins, 0),
        (Reason::SeriesLimit, 6),
        (Reason::OverBudget, 0),
    ];
    assert_eq!(engine.refusals(), expected);
    for (reason, samples) in expected {
        let series = format!("icecore_samples_refused_total{{reason=\"{reason}\"}}");
        eventually(&series, || own(&engine).get(&series) == Some(&(samples as f64)));
        assert_eq!(refused(&engine, reason), samples);
    }
}
