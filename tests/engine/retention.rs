//! Parts go when they are too old, and only then; their space returns; what is read stays until it
//! was read.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use icecore::catalog::{self, Catalog};
use icecore::engine::{CompactScope, Environment, MaintenanceStep};
use icecore::fs::{Fs, RealFs, tree_bytes};
use icecore::model::Selector;
use icecore::options::{Archive, ArchivePart, Archiver, Keep, Policy, RetentionRule};
use icecore::query::{CancelToken, Function, Request, SampleRequest};
use icecore::retention::DropCause;
use icecore::store::StoreKind;
use icecore::{Engine, Error, Options, SimulatedClock, Tier, TimeRange, Timestamp};

use crate::by_hand::{PARTITION, SECOND, drain, options, store};
use crate::probe_fs::PeakFs;
use crate::{handle, values};

const HOUR: Duration = Duration::from_secs(3600);

fn keeping(keep: Keep) -> Options {
    let options = options();
    Options { policy: Policy { keep, ..options.policy.clone() }, ..options }
}

/// Appends a sample each ten seconds of the `nth` partition, and freezes.
fn partition(engine: &Engine, series: &[&str], nth: i64) {
    partition_of(engine, series, nth, 10 * SECOND);
}

fn partition_of(engine: &Engine, series: &[&str], nth: i64, step: i64) {
    let writer = engine.writer("w");
    for series in series {
        let times = (nth * PARTITION * SECOND)..((nth + 1) * PARTITION * SECOND);
        let timestamps: Vec<i64> = times.step_by(step as usize).collect();
        let samples = (0..timestamps.len()).map(|i| (i as f64 * 0.37).sin()).collect();
        drop(writer.append_column(&handle(&writer, series), timestamps, samples).unwrap());
    }
    engine.freeze().unwrap();
}

fn partition_end(nth: i64) -> Timestamp {
    Timestamp::from_secs((nth + 1) * PARTITION)
}

#[test]
fn age_counts_from_the_earlier_of_now_and_the_newest_sample() {
    let store = store();
    let engine = store.open(keeping(Keep::FOREVER.with(Tier::RAW, HOUR)));
    for nth in 0..9 {
        partition(&engine, &["m"], nth);
    }
    // A clock far ahead of the samples deletes nothing that they do not allow.
    store.clock.set(Timestamp::from_secs(1 << 32));
    let going: Vec<u64> = engine
        .plan_retention()
        .iter()
        .inspect(|dropped| assert_eq!(dropped.cause, DropCause::Expired { keep: HOUR }))
        .map(|dropped| dropped.id)
        .collect();
    assert_eq!(going, [1, 2], "nothing is older than the newest sample less an hour");
    // One that lags behind them deletes less.
    store.clock.set(partition_end(5));
    assert!(engine.plan_retention().is_empty(), "{:?}", engine.plan_retention());
    store.clock.set(partition_end(6));
    let planned = engine.plan_retention();
    assert_eq!(planned.len(), 1);
    let report = engine.enforce_retention().unwrap();
    assert_eq!((report.dropped, report.failed.is_some()), (planned, false));
    assert_eq!(values(&engine, "m").first().unwrap().0, PARTITION * SECOND);
    assert_eq!(engine.stats().unwrap().dropped_bytes[0].0, "expired");
    assert!(engine.stats().unwrap().dropped_bytes[0].1 > 0);
    assert!(engine.enforce_retention().unwrap().dropped.is_empty());
    engine.close().unwrap();
    let engine = store.open(keeping(Keep::FOREVER.with(Tier::RAW, HOUR)));
    assert_eq!(engine.recovery().swept, 0, "the directories went with the parts");
    assert_eq!(values(&engine, "m").len(), 8 * 60);
}

#[test]
fn a_rule_keeps_its_series_for_another_time() {
    let store = store();
    let rule = RetentionRule {
        selector: Selector::parse("debug").unwrap(),
        keep: Keep::FOREVER.with(Tier::RAW, Duration::from_secs(1200)),
    };
    let options = options();
    let policy = Policy { rules: vec![rule], ..options.policy.clone() };
    let engine = store.open(Options { policy, ..options });
    for nth in 0..6 {
        partition(&engine, &["debug", "m"], nth);
    }
    store.clock.set(partition_end(5));
    engine.enforce_retention().unwrap();
    assert_eq!(values(&engine, "debug").first().unwrap().0, 3 * PARTITION * SECOND);
    assert_eq!(values(&engine, "m").len(), 6 * 60);
}

#[test]
fn a_tier_of_a_class_stays_within_its_bytes() {
    let store = store();
    let rule = RetentionRule {
        selector: Selector::parse("debug").unwrap(),
        keep: Keep::FOREVER.with_bytes(Tier::RAW, 1),
    };
    let options = options();
    let policy = Policy { rules: vec![rule], ..options.policy.clone() };
    let engine = store.open(Options { policy, ..options });
    store.clock.set(partition_end(9));
    for nth in 0..6 {
        partition(&engine, &["debug", "m"], nth);
    }
    let report = engine.enforce_retention().unwrap();
    assert_eq!(report.dropped.len(), 5, "all but the youngest");
    let cause = DropCause::Allowance { bytes_max: 1 };
    assert!(report.dropped.iter().all(|part| part.cause == cause && part.tier.is_raw()));
    assert!(report.dropped.is_sorted_by_key(|part| part.id));
    assert_eq!(values(&engine, "debug").first().unwrap().0, 5 * PARTITION * SECOND);
    assert_eq!(values(&engine, "m").len(), 6 * 60, "another class has no bound");
    assert!(engine.enforce_retention().unwrap().dropped.is_empty());
}

#[test]
fn a_query_that_runs_keeps_what_it_reads() {
    let store = store();
    let engine = store.open(keeping(Keep::FOREVER.with(Tier::RAW, HOUR)));
    for nth in 0..9 {
        partition(&engine, &["m"], nth);
    }
    store.clock.set(partition_end(9));
    let part = |nth: u64| format!("/store/parts/{nth:016}");
    let there = |nth| store.fs.file_bytes(Path::new(&part(nth))).unwrap().is_some();
    let mut read = 0;
    let request = SampleRequest::new(TimeRange::ALL);
    let visit = |_: &Arc<icecore::model::Series>, timestamps: &[i64], _: &[f64]| {
        if read == 0 {
            let report = engine.enforce_retention()?;
            assert_eq!(report.dropped.len(), 2);
            assert_eq!(values(&engine, "m").len(), 7 * 60, "others see them no more");
            assert!(there(1) && there(2), "the reader still needs them");
        }
        read += timestamps.len();
        Ok(())
    };
    engine.for_each_run(&Selector::parse("m").unwrap(), &request, visit).unwrap();
    assert_eq!(read, 9 * 60);
    assert!(!there(1) && !there(2) && there(3), "the last reader has left");
}

/// The sums of the partitions, in millionths: whatever they are sums of, they are the same.
fn sums(engine: &Engine, partitions: i64) -> Vec<i64> {
    let range = TimeRange::new(Timestamp(0), Timestamp::from_secs(partitions * PARTITION));
    let step = Some(Duration::from_secs(PARTITION as u64));
    let request = Request { step, ..Request::new(range, vec![Function::Sum]) };
    let answer = engine.query(&Selector::parse("m").unwrap(), &request).unwrap();
    let sums = answer.groups.first().map(|group| group.values[0].clone()).unwrap_or_default();
    sums.into_iter().map(|sum| (sum * 1e6).round() as i64).collect()
}

/// A history that is older than raw samples are kept when it comes in, and a late sample to it.
#[test]
fn what_goes_is_taken_into_the_tiers_that_are_kept_first() {
    let store = store();
    let engine = store.open(keeping(Keep::FOREVER.with(Tier::RAW, HOUR)));
    store.clock.set(partition_end(100));
    let late = |at: i64, value: f64| {
        let writer = engine.writer("w");
        drop(writer.append_column(&handle(&writer, "m"), vec![at], vec![value]).unwrap());
        engine.freeze().unwrap();
    };
    for nth in (0..8).chain(90..100) {
        partition(&engine, &["m"], nth);
    }
    let before = sums(&engine, 8);
    let steps = drain(&engine);
    let first = |wanted: fn(&MaintenanceStep) -> bool| steps.iter().position(wanted).unwrap();
    let built = first(|step| matches!(step, MaintenanceStep::Compacted(_)));
    assert!(built < first(|step| matches!(step, MaintenanceStep::Dropped(_))));
    assert!(values(&engine, "m").first().unwrap().0 >= 90 * PARTITION * SECOND, "raw is gone");
    assert_eq!(sums(&engine, 8), before);

    late(5 * SECOND, 1000.0);
    drain(&engine);
    assert!(values(&engine, "m").first().unwrap().0 >= 90 * PARTITION * SECOND, "again");
    let mut after = sums(&engine, 8);
    assert_eq!(after[0], before[0] + 1_000_000_000, "tiers know of it");

    // Asked for retention alone, that is what there is: nothing waits for a tier.
    late(15 * SECOND, 1.0);
    assert_eq!(engine.enforce_retention().unwrap().dropped.len(), 1);
    drain(&engine);
    assert_eq!(sums(&engine, 8), after);

    late(25 * SECOND, 1.0);
    let mut only = |_: &MaintenanceStep| {};
    let report = engine.compact(CompactScope::Retention, &CancelToken::new(), &mut only).unwrap();
    assert!(matches!(report.steps.last(), Some(MaintenanceStep::Dropped(_))), "{report:?}");
    after[0] += 1_000_000;
    assert_eq!(sums(&engine, 8), after);
}

#[test]
fn an_archive_that_takes_nothing_keeps_compaction_from_nothing() {
    let store = store();
    let shelf = Arc::new(Shelf::default());
    *shelf.broken.lock().unwrap() = true;
    let archiver = shelf as Arc<dyn Archiver>;
    let archive = Some(Archive { archiver, budget_drops_unarchived: false });
    let options = Options { archive, ..keeping(Keep::FOREVER.with(Tier::RAW, HOUR)) };
    let engine = store.open(options);
    for nth in 0..9 {
        partition(&engine, &["m"], nth);
    }
    store.clock.set(partition_end(9));
    let steps = drain(&engine);
    assert!(steps.iter().any(|step| matches!(step, MaintenanceStep::Compacted(_))));
    assert!(steps.iter().all(|step| !matches!(step, MaintenanceStep::Dropped(_))));
    assert!(engine.stats().unwrap().maintenance_error.is_some());
    assert_eq!(values(&engine, "m").len(), 9 * 60);
}

#[derive(Debug, Default)]
struct Shelf {
    taken: Mutex<Vec<(u64, usize)>>,
    broken: Mutex<bool>,
}

impl Archiver for Shelf {
    fn archive(&self, part: &ArchivePart<'_>) -> icecore::Result<()> {
        if *self.broken.lock().unwrap() {
            return Err(Error::Closed);
        }
        let mut samples = 0;
        let request = SampleRequest::new(TimeRange::ALL);
        icecore::query::for_each_run(&request, part.series, part.sources, |_, times, _| {
            samples += times.len();
            Ok(())
        })?;
        self.taken.lock().unwrap().push((part.entry.id, samples));
        Ok(())
    }
}

#[test]
fn what_the_archive_does_not_take_stays() {
    let store = store();
    let shelf = Arc::new(Shelf::default());
    let archiver = Arc::clone(&shelf) as Arc<dyn Archiver>;
    let archive = Some(Archive { archiver, budget_drops_unarchived: false });
    let options = Options { archive, ..keeping(Keep::FOREVER.with(Tier::RAW, HOUR)) };
    let engine = store.open(options);
    for nth in 0..9 {
        partition(&engine, &["m", "n"], nth);
    }
    engine.delete(&Selector::parse("n").unwrap(), TimeRange::ALL).unwrap();
    store.clock.set(partition_end(9));
    *shelf.broken.lock().unwrap() = true;
    let report = engine.enforce_retention().unwrap();
    assert!(report.dropped.is_empty() && matches!(report.failed, Some(Error::Closed)));
    assert!(engine.stats().unwrap().maintenance_error.is_some());
    assert!(engine.read_only_cause().is_none());
    assert_eq!(values(&engine, "m").len(), 9 * 60);
    *shelf.broken.lock().unwrap() = false;
    assert_eq!(engine.enforce_retention().unwrap().dropped.len(), 2);
    assert_eq!(
        *shelf.taken.lock().unwrap(),
        [(1, 60), (2, 60)],
        "what was deleted is not archived"
    );
}

fn catalog(dir: &Path) -> Catalog {
    catalog::load(&RealFs, dir).unwrap().unwrap()
}

fn live_bytes(dir: &Path) -> u64 {
    catalog(dir).parts.iter().map(|part| part.bytes).sum()
}

/// Fifty partitions come in and go out; raw lives for ten of them, the tiers for longer. Measured at
/// every call that makes, moves or removes a name, so in the midst of every task too.
#[test]
fn the_directory_stays_near_its_live_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let fs = PeakFs::new(Arc::new(RealFs), dir.path());
    let clock = Arc::new(SimulatedClock::new(Timestamp(0)));
    let keep = Keep::FOREVER
        .with(Tier::RAW, Duration::from_secs(10 * PARTITION as u64))
        .with(Tier::MINUTE, Duration::from_secs(20 * PARTITION as u64))
        .with(Tier::FIVE_MINUTES, Duration::from_secs(30 * PARTITION as u64));
    let options = Options { store: StoreKind::default(), head_bytes_max: 1 << 18, ..keeping(keep) };
    let environment = Environment { fs: Arc::new(fs.clone()), clock: Arc::clone(&clock) as _ };
    let engine = Engine::open_in(dir.path(), options, environment).unwrap();
    let (mut worst, mut dropped) = (0.0_f64, 0);
    for nth in 0..50 {
        clock.set(partition_end(nth));
        fs.reset();
        let mut before = live_bytes(dir.path());
        // Dense enough that windows are one partition long.
        partition_of(&engine, &["a", "b", "c", "d"], nth, SECOND * 12 / 100);
        loop {
            let live = live_bytes(dir.path());
            let peak = fs.peak().max(tree_bytes(&RealFs, dir.path()).unwrap());
            if nth >= 12 {
                worst = worst.max(peak as f64 / live.max(before) as f64);
            }
            before = live;
            fs.reset();
            let Some(step) = engine.maintain().unwrap() else { break };
            match step {
                MaintenanceStep::Dropped(report) => dropped += report.dropped.len(),
                MaintenanceStep::Failed { .. } => panic!("{step:?}"),
                _ => {}
            }
        }
    }
    assert!(dropped >= 35, "{dropped}");
    let raw = catalog(dir.path()).parts.iter().filter(|part| part.tier.is_raw()).count();
    assert!((10..=15).contains(&raw), "{raw} raw parts");
    println!("at most {worst:.2} times the live bytes");
    assert!(worst <= 1.6, "{worst}");
    engine.close().unwrap();
}
