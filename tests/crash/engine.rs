//! The whole engine on a file system that fails, or loses power, at the Nth mutating call, for
//! every N: what was synced is there afterwards, nothing unsent appears, reopening twice changes
//! nothing; and an engine whose disk failed takes no writes, but still answers.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use icecore::engine::Environment;
use icecore::model::{Metadata, Selector, Series};
use icecore::options::{Durability, GateOptions};
use icecore::query::{Function, Request, SampleRequest};
use icecore::store::StoreKind;
use icecore::{Engine, Error, Options, SimulatedClock, TimeRange, Timestamp};

use crate::support::fault_fs::{Fault, SimFs};

type Samples = BTreeMap<(usize, i64), u64>;

const SERIES: usize = 3;

/// What a workload got done before its first failure.
#[derive(Default)]
struct Outcome {
    sent: Samples,
    synced: Samples,
    /// Observations 1, 2, 3, ... of a distribution: how many were recorded.
    recorded: u64,
    recorded_synced: u64,
    engine: Option<Engine>,
    error: Option<Error>,
}

fn open(fs: &SimFs) -> icecore::Result<Engine> {
    let options = Options {
        store: StoreKind::Flat,
        partition: Duration::from_secs(60),
        chunk_samples_max: 16,
        segment_bytes_target: 4096,
        log_file_bytes_max: 1 << 16,
        // Only what the workload asks for, so that runs are alike.
        sync_interval: Duration::from_secs(3600),
        free_bytes_min: 0,
        threads: 1,
        self_metrics: None,
        gate: GateOptions { past: None, future: None, ..GateOptions::default() },
        ..Options::default()
    };
    let clock = Arc::new(SimulatedClock::new(Timestamp(0)));
    Engine::open_in("/store", options, Environment { fs: Arc::new(fs.clone()), clock })
}

fn series(i: usize) -> Series {
    Series::new("metric", [("series", i.to_string().as_str())]).unwrap()
}

impl Outcome {
    fn note_synced(&mut self) {
        self.synced = self.sent.clone();
        self.recorded_synced = self.recorded;
    }
}

/// Appends rounds of scrapes and late columns and records observations, some of them synced, with
/// freezes between.
fn workload(fs: &SimFs) -> Outcome {
    let mut outcome = Outcome::default();
    outcome.error = match open(fs) {
        Err(error) => Some(error),
        Ok(engine) => {
            let error = rounds(&engine, &mut outcome).err();
            outcome.engine = Some(engine);
            error
        }
    };
    outcome
}

fn rounds(engine: &Engine, outcome: &mut Outcome) -> icecore::Result<()> {
    let writer = engine.writer("crash").with_durability(Durability::Logged);
    let handles: Vec<_> = (0..SERIES)
        .map(|i| writer.series(&series(i), &Metadata::default()))
        .collect::<Result<_, _>>()
        .map_err(|_| Error::Closed)?;
    let group = writer.scrape_group(&handles);
    let observed =
        writer.distribution("observed", [], &Metadata::default()).map_err(|_| Error::Closed)?;
    for round in 0..6_i64 {
        for step in 0..5 {
            let timestamp = (round * 5 + step) * 10_000_000_000;
            let values: Vec<f64> =
                (0..SERIES).map(|i| (round * 100 + step) as f64 + i as f64).collect();
            for (i, value) in values.iter().enumerate() {
                outcome.sent.insert((i, timestamp), value.to_bits());
            }
            drop(writer.append_scrape(&group, Timestamp(timestamp), values)?);
        }
        for _ in 0..=round {
            outcome.recorded += 1;
            observed.record(outcome.recorded as f64);
        }
        // A late sample, in an older partition.
        let late = round * 7_000_000_000 + 1;
        outcome.sent.insert((1, late), (round as f64).to_bits());
        writer.append_column(&handles[1], vec![late], vec![round as f64])?.wait()?;
        if round % 2 == 0 {
            engine.sync()?;
            outcome.note_synced();
        }
        if round % 3 == 1 {
            engine.freeze()?;
            outcome.note_synced();
        }
    }
    Ok(())
}

fn read(engine: &Engine) -> Samples {
    let metric = Selector::parse("metric").unwrap();
    let found = engine.samples(&metric, &SampleRequest::new(TimeRange::ALL)).unwrap();
    let mut samples = Samples::new();
    for series in found {
        let i: usize = series.series.label("series").parse().unwrap();
        for (&timestamp, value) in series.timestamps.iter().zip(&series.values) {
            assert!(samples.insert((i, timestamp), value.to_bits()).is_none());
        }
    }
    samples
}

/// How many observations there are; they must be the first ones.
fn read_observed(engine: &Engine) -> u64 {
    let functions = vec![Function::Count, Function::Sum, Function::Min, Function::Max];
    let range = TimeRange::new(Timestamp(0), Timestamp(1_000_000_000));
    let observed = Selector::parse("observed").unwrap();
    let answer = engine.query(&observed, &Request::new(range, functions)).unwrap();
    let Some(group) = answer.groups.first() else { return 0 };
    let count = group.counts[0];
    if count > 0 {
        let last = count as f64;
        let answers: Vec<f64> = group.values.iter().map(|values| values[0]).collect();
        assert_eq!(answers, [last, last * (last + 1.0) / 2.0, 1.0, last]);
    }
    count
}

fn check_visible(engine: &Engine, outcome: &Outcome, what: &str) {
    let (found, observed) = (read(engine), read_observed(engine));
    assert!(observed >= outcome.recorded_synced, "{what}: lost all but {observed} observations");
    assert!(observed <= outcome.recorded, "{what}: {observed} observations");
    for (key, bits) in &outcome.synced {
        assert_eq!(found.get(key), Some(bits), "{what}: synced sample {key:?} is lost or changed");
    }
    for (key, bits) in &found {
        assert_eq!(outcome.sent.get(key), Some(bits), "{what}: {key:?} was never sent");
    }
}

/// Reopens twice and reads: everything synced, nothing unsent, the same both times.
fn check_reopened(fs: &SimFs, outcome: &Outcome, what: &str) {
    let engine = open(fs).unwrap_or_else(|error| panic!("{what}: cannot reopen: {error}"));
    let state = |engine: &Engine| (read(engine), read_observed(engine));
    let first = state(&engine);
    check_visible(&engine, outcome, what);
    drop(engine);
    let engine = open(fs).unwrap_or_else(|error| panic!("{what}: cannot reopen again: {error}"));
    assert_eq!(state(&engine), first, "{what}: the second reopening changed something");
    engine.close().unwrap_or_else(|error| panic!("{what}: cannot close: {error}"));
    let engine = open(fs).unwrap();
    assert_eq!(state(&engine), first, "{what}: closing changed something");
}

fn for_every_call(fault: Fault, mut check: impl FnMut(&SimFs, Outcome, &str)) {
    let mut met = 0;
    for nth in 1.. {
        let fs = SimFs::new();
        fs.arm(nth, fault);
        let mut outcome = workload(&fs);
        if outcome.error.is_none()
            && let Some(engine) = outcome.engine.take()
        {
            outcome.error = engine.close().err();
            if outcome.error.is_none() {
                outcome.note_synced();
            }
        }
        if !fs.fired() {
            assert!(outcome.error.is_none(), "{:?}", outcome.error);
            break;
        }
        met += 1;
        check(&fs, outcome, &format!("{fault:?} at call {nth}"));
    }
    assert!(met > 40, "only {met} calls: the workload does not do what it should");
}

#[test]
fn a_power_cut_at_any_call_loses_nothing_synced() {
    for_every_call(Fault::Cut, |fs, mut outcome, what| {
        drop(outcome.engine.take());
        for seed in 0..4 {
            check_reopened(&fs.reboot(seed), &outcome, &format!("{what}, seed {seed}"));
        }
    });
}

#[test]
fn a_failed_call_latches_the_engine_and_loses_nothing() {
    for fault in [Fault::Error(ErrorKind::Other), Fault::ShortWrite] {
        for_every_call(fault, |fs, mut outcome, what| {
            if let (Some(engine), Some(_)) = (outcome.engine.take(), &outcome.error) {
                let failed = engine.read_only_cause();
                assert!(failed.is_some(), "{what}: {:?} did not latch", outcome.error);
                assert!(matches!(engine.sync(), Err(Error::ReadOnly { .. })), "{what}");
                check_visible(&engine, &outcome, &format!("{what}, latched"));
                assert!(engine.close().is_err(), "{what}: close hides the failure");
            }
            check_reopened(&fs.restart(), &outcome, &format!("{what}, restarted"));
            for seed in [0, 2] {
                check_reopened(&fs.reboot(seed), &outcome, &format!("{what}, seed {seed}"));
            }
        });
    }
}

#[test]
fn a_killed_process_loses_nothing_logged() {
    let fs = SimFs::new();
    let outcome = workload(&fs);
    assert!(outcome.error.is_none());
    let restarted = fs.restart();
    drop(outcome.engine);
    let engine = open(&restarted).unwrap();
    assert_eq!(read(&engine), outcome.sent);
    assert_eq!(read_observed(&engine), outcome.recorded_synced);
}
