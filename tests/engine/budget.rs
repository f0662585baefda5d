//! One number for the directory, held while data streams in; and what happens when it cannot be.

use std::sync::Arc;

use icecore::engine::{MaintenanceStep, Reason};
use icecore::model::Selector;
use icecore::options::{Archive, ArchivePart, Archiver, Policy};
use icecore::query::SampleRequest;
use icecore::{Engine, Error, Options, TimeRange, Timestamp};

use crate::by_hand::{SECOND, options, store};
use crate::{handle, refused, values};

const HEAD: usize = 1 << 16;

fn limited(bytes_max: u64) -> Options {
    let options = options();
    let policy = Policy { bytes_max: Some(bytes_max), ..options.policy.clone() };
    Options { head_bytes_max: HEAD, log_file_bytes_max: 1 << 16, policy, ..options }
}

/// Values that no codec makes smaller.
fn noise(state: &mut u64) -> f64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    f64::from_bits((*state >> 12) | 0x3ff0_0000_0000_0000)
}

/// A scrape of fifty series each second, `seconds` of them.
fn stream(engine: &Engine, seconds: std::ops::Range<i64>) -> icecore::Result<()> {
    let writer = engine.writer("w");
    let handles: Vec<_> = (0..50).map(|i| handle(&writer, &format!("m{{i=\"{i}\"}}"))).collect();
    let group = writer.scrape_group(&handles);
    let mut state = 7;
    for t in seconds {
        let samples = handles.iter().map(|_| noise(&mut state)).collect();
        writer.append_scrape(&group, Timestamp(t * SECOND), samples)?.wait()?;
    }
    Ok(())
}

/// The disk ends where the budget does: a single byte more at any moment fails, and latches.
#[test]
fn it_holds_at_every_moment() {
    let store = store();
    let bytes_max = 1 << 20;
    store.fs.set_capacity(bytes_max);
    let engine = store.open(limited(bytes_max));
    let mut steps = Vec::new();
    // 8 MB of noise, eight times the budget.
    std::thread::scope(|scope| {
        let streaming = scope.spawn(|| stream(&engine, 0..20_000));
        while !streaming.is_finished() {
            let newest = engine.time_bounds().unwrap().map_or(Timestamp(0), |(_, last)| last);
            store.clock.set(newest);
            if let Some(step) = engine.maintain().unwrap() {
                steps.push(step);
            }
        }
        streaming.join().unwrap().unwrap();
    });
    assert!(engine.read_only_cause().is_none());
    let worked = |wanted: fn(&MaintenanceStep) -> bool| steps.iter().filter(|s| wanted(s)).count();
    assert_eq!(worked(|step| matches!(step, MaintenanceStep::Failed { .. })), 0);
    assert!(worked(|step| matches!(step, MaintenanceStep::Compacted(_))) > 0);
    let stats = engine.stats().unwrap();
    let dropped: u64 = stats.dropped_bytes.iter().map(|(_, bytes)| bytes).sum();
    assert!(dropped > 4 << 20, "{dropped}");
    assert!(stats.bytes_on_disk <= bytes_max);
    assert!(stats.samples > 50_000, "most of the budget is data: {}", stats.samples);
    let (_, last) = engine.time_bounds().unwrap().unwrap();
    assert_eq!(last, Timestamp::from_secs(19_999), "the oldest went, not the newest");
    for reason in [Reason::OverBudget, Reason::DiskFull, Reason::ChannelFull] {
        assert_eq!(refused(&engine, reason), 0);
    }
    engine.close().unwrap();
}

#[derive(Debug)]
struct Full;

impl Archiver for Full {
    fn archive(&self, _: &ArchivePart<'_>) -> icecore::Result<()> {
        Err(Error::Cancelled)
    }
}

#[test]
fn writes_are_refused_where_nothing_may_go_and_taken_again() {
    let store = store();
    let archive = Archive { archiver: Arc::new(Full), budget_drops_unarchived: false };
    let bytes_max = 1 << 20;
    store.fs.set_capacity(bytes_max);
    let engine = store.open(Options { archive: Some(archive), ..limited(bytes_max) });
    let refusal = stream(&engine, 0..20_000).unwrap_err();
    match refusal {
        Error::OverBudget { bytes, bytes_max: max, .. } => assert!(bytes > max && max == bytes_max),
        other => panic!("{other}"),
    }
    assert!(refused(&engine, Reason::OverBudget) >= 50);
    assert!(engine.read_only_cause().is_none());
    let kept = values(&engine, "m{i=\"7\"}").len();
    assert!(kept > 1000);
    let report = engine.enforce_retention().unwrap();
    assert!(report.dropped.is_empty() && report.short_bytes > 0 && report.failed.is_some());
    engine.close().unwrap();

    let archive = Archive { archiver: Arc::new(Full), budget_drops_unarchived: true };
    let engine = store.open(Options { archive: Some(archive), ..limited(bytes_max) });
    let report = engine.enforce_retention().unwrap();
    assert!(!report.dropped.is_empty() && report.short_bytes == 0, "{report:?}");
    assert!(report.failed.is_some(), "it is told that the archive has them not");
    stream(&engine, 20_000..20_100).unwrap();
    engine.close().unwrap();
}

/// What a reader holds takes its bytes until it leaves: so much more of the rest goes.
#[test]
fn a_slow_reader_is_counted() {
    let store = store();
    store.fs.set_capacity(1 << 20);
    let engine = store.open(limited(1 << 20));
    stream(&engine, 0..1500).unwrap();
    engine.freeze().unwrap();
    let request = SampleRequest::new(TimeRange::ALL);
    let mut read = 0;
    let selector = Selector::parse("m{i=\"0\"}").unwrap();
    engine
        .for_each_run(&selector, &request, |_, timestamps, _| {
            if read == 0 {
                stream(&engine, 1500..10_000)?;
            }
            read += timestamps.len();
            Ok(())
        })
        .unwrap();
    assert!(read >= 1400, "{read}: what it saw first it reads to the end");
    assert!(engine.read_only_cause().is_none());
    stream(&engine, 10_000..10_001).unwrap();
}
