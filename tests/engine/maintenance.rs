//! Maintenance goes on by itself, passes over what it cannot read, and leaves no answer worse.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use icecore::engine::{Environment, MaintenanceStep};
use icecore::fs::RealFs;
use icecore::model::Selector;
use icecore::options::{Keep, Maintenance, Policy, RetentionRule};
use icecore::query::{Answer, Function, Request, TierChoice};
use icecore::store::StoreKind;
use icecore::{Engine, Options, Tier, TimeRange, Timestamp};

use crate::by_hand::{PARTITION, SECOND, drain, options, store};
use crate::{eventually, handle, values};

/// Appends a sample each ten seconds of the `nth` partition, in two parts.
fn partition(engine: &Engine, series: &[&str], nth: i64) {
    let writer = engine.writer("w");
    for half in 0..2 {
        for series in series {
            let start = (nth * PARTITION + half * PARTITION / 2) * SECOND;
            let times = start..start + PARTITION / 2 * SECOND;
            let timestamps: Vec<i64> = times.step_by(10 * SECOND as usize).collect();
            let samples = timestamps.iter().map(|t| (t / SECOND % 97) as f64).collect();
            drop(writer.append_column(&handle(&writer, series), timestamps, samples).unwrap());
        }
        engine.freeze().unwrap();
    }
}

/// Count, sum and largest of one series by ten minutes, from the tiers that `tier` admits.
fn ask(engine: &Engine, series: &str, partitions: i64, tier: TierChoice) -> Answer {
    let range = TimeRange::new(Timestamp(0), Timestamp::from_secs(partitions * PARTITION));
    let functions = vec![Function::Count, Function::Sum, Function::Max];
    let step = Some(Duration::from_secs(PARTITION as u64));
    let request = Request { step, tier, ..Request::new(range, functions) };
    engine.query(&Selector::parse(series).unwrap(), &request).unwrap()
}

fn has_tier(engine: &Engine, tier: Tier) -> bool {
    engine.stats().unwrap().tiers.iter().any(|found| found.tier == tier && found.parts > 0)
}

#[test]
fn the_background_thread_works_unasked_and_stops_when_told() {
    let store = store();
    let maintenance =
        Maintenance::Background { interval: Duration::from_millis(5), cpu_share: 1.0 };
    let engine = store.open(Options { maintenance, ..options() });
    store.clock.set(Timestamp::from_secs(100 * PARTITION));
    for nth in 0..6 {
        partition(&engine, &["m"], nth);
    }
    eventually("both tiers", || has_tier(&engine, Tier::FIVE_MINUTES));
    let raw = ask(&engine, "m", 5, TierChoice::Raw);
    let began = Instant::now();
    engine.close().unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "closing waits for no plan to end");
    let engine = store.open(options());
    assert_eq!(engine.recovery().swept, 0, "nothing half built was left");
    let auto = ask(&engine, "m", 5, TierChoice::Auto);
    assert_eq!(auto.groups, raw.groups);
    assert!(auto.evidence.tiers.iter().any(|read| read.tier == Tier::FIVE_MINUTES));
}

/// The largest file below a directory: the columns.
fn largest_file(dir: &Path) -> PathBuf {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { dirs.push(path) } else { files.push(path) }
        }
    }
    files.into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

#[test]
fn a_part_that_cannot_be_read_is_told_and_the_rest_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(icecore::SimulatedClock::new(Timestamp::from_secs(100 * PARTITION)));
    let options = Options { store: StoreKind::Flat, ..options() };
    let open = || {
        let environment = Environment { fs: Arc::new(RealFs), clock: Arc::clone(&clock) as _ };
        Engine::open_in(dir.path(), options.clone(), environment).unwrap()
    };
    let engine = open();
    // Sparse series have windows of 32 partitions: two such.
    for nth in [0, 1, 64, 65] {
        partition(&engine, &["m"], nth);
    }
    engine.close().unwrap();
    let damaged = largest_file(&dir.path().join("parts/0000000000000001/store"));
    let mut bytes = fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    fs::write(&damaged, &bytes).unwrap();

    let engine = open();
    let (mut failed, mut done) = (Vec::new(), 0);
    while let Some(step) = engine.maintain().unwrap() {
        match step {
            MaintenanceStep::Failed { parts, .. } => failed.extend(parts),
            MaintenanceStep::Compacted(_) => done += 1,
            other => panic!("{other:?}"),
        }
        assert!(failed.len() + done < 100, "it does not end: {failed:?}");
    }
    assert_eq!(failed, [1], "told once, and left alone");
    assert!(done >= 2, "the other window has both tiers");
    assert!(engine.read_only_cause().is_none(), "reading badly is no reason to refuse writes");
    partition(&engine, &["other"], 66);
    assert_eq!(values(&engine, "other").len(), 60);
    engine.close().unwrap();
    assert!(damaged.exists(), "what cannot be read is never deleted");
}

#[test]
fn tiers_answer_for_each_class_when_its_raw_samples_are_gone() {
    let store = store();
    let rule = RetentionRule {
        selector: Selector::parse("debug").unwrap(),
        keep: Keep::FOREVER.with(Tier::RAW, Duration::from_secs(1200)),
    };
    let base = options();
    let policy = Policy { rules: vec![rule], ..base.policy.clone() };
    let engine = store.open(Options { policy, ..base });
    store.clock.set(Timestamp::from_secs(100 * PARTITION));
    for nth in 0..2 {
        partition(&engine, &["debug", "m"], nth);
    }
    let series = ["debug", "m"];
    let before = series.map(|series| ask(&engine, series, 2, TierChoice::Raw));
    drain(&engine);
    for nth in 2..8 {
        partition(&engine, &["debug", "m"], nth);
        drain(&engine);
    }
    assert_eq!(values(&engine, "m").len(), 8 * 60);
    assert!(values(&engine, "debug").len() <= 4 * 60, "its raw samples went");
    for (series, before) in series.iter().zip(&before) {
        let after = ask(&engine, series, 2, TierChoice::Auto);
        assert_eq!(after.groups[0].counts, before.groups[0].counts, "{series}");
        assert_eq!(after.groups[0].values, before.groups[0].values, "{series}");
        assert!(after.evidence.gaps.is_empty());
    }
}

/// Late samples of a class whose minutes went for want of bytes, while another class has its own:
/// the few that came late do not stand for all there was.
#[test]
fn late_samples_hide_nothing_that_their_tier_gave_up() {
    let store = store();
    let rule = RetentionRule {
        selector: Selector::parse("debug").unwrap(),
        keep: Keep::FOREVER.with_bytes(Tier::MINUTE, 1),
    };
    let base = options();
    let policy = Policy { rules: vec![rule], ..base.policy.clone() };
    let engine = store.open(Options { policy, ..base });
    store.clock.set(Timestamp::from_secs(100 * PARTITION));
    for nth in 0..6 {
        partition(&engine, &["debug", "m"], nth);
        drain(&engine);
    }
    let writer = engine.writer("w");
    for second in [61, 401] {
        let debug = handle(&writer, "debug");
        drop(writer.append_column(&debug, vec![second * SECOND], vec![7.5]).unwrap());
    }
    engine.freeze().unwrap();
    drain(&engine);
    let by_minute = |tier| {
        let range = TimeRange::new(Timestamp(0), Timestamp::from_secs(4 * PARTITION));
        let functions = vec![Function::Count, Function::Sum];
        let step = Some(Duration::from_secs(60));
        let request = Request { step, tier, ..Request::new(range, functions) };
        engine.query(&Selector::parse("{}").unwrap(), &request).unwrap().groups
    };
    assert_eq!(by_minute(TierChoice::Auto), by_minute(TierChoice::Raw));
}
