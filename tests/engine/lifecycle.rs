//! Opening, closing, dropping, freezing: what is kept, and where.

use std::sync::Arc;
use std::time::Duration;

use icecore::engine::Refusal;
use icecore::model::{Metadata, MetricKind, Selector, Series};
use icecore::options::Durability;
use icecore::store::StoreKind;
use icecore::{Engine, Error, Options, TimeRange, Timestamp};

use crate::support::fault_fs::SimFs;
use crate::{eventually, handle, in_memory, open_on, options, read, values};

fn fill(engine: &Engine, from: i64, count: i64) {
    let writer = engine.writer("fill");
    let group = writer.scrape_group(&[handle(&writer, "a"), handle(&writer, "b")]);
    for t in from..from + count {
        drop(writer.append_scrape(&group, Timestamp(t), vec![t as f64, -t as f64]).unwrap());
    }
    engine.sync().unwrap();
}

fn check(engine: &Engine, count: i64) {
    let expected: Vec<(i64, f64)> = (0..count).map(|t| (t, t as f64)).collect();
    assert_eq!(values(engine, "a"), expected);
    assert_eq!(values(engine, "b").len(), expected.len());
}

#[test]
fn closing_freezes_and_empties_the_log() {
    for store in StoreKind::ALL.into_iter().filter(|store| store.is_built_in()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/store");
        let options = Options { store, ..options() };
        let engine = Engine::open(&path, options.clone()).unwrap();
        fill(&engine, 0, 500);
        let log_bytes = engine.stats().unwrap().log_bytes;
        engine.close().unwrap();
        let engine = Engine::open(&path, options.clone()).unwrap();
        let (recovery, stats) = (engine.recovery().clone(), engine.stats().unwrap());
        assert_eq!((recovery.replayed_samples, recovery.parts), (0, 1), "{store}");
        assert_eq!((stats.head_samples, stats.samples), (0, 1000), "{store}");
        assert!(stats.log_bytes < 200 && stats.log_bytes < log_bytes, "{store}: {stats:?}");
        check(&engine, 500);
        fill(&engine, 500, 100);
        drop(engine);
        let engine = Engine::open(&path, options).unwrap();
        assert_eq!(engine.recovery().replayed_samples, 200, "{store}");
        check(&engine, 600);
        let report = {
            engine.close().unwrap();
            Engine::verify(&path, &mut |_| {}).unwrap()
        };
        assert!(report.is_whole(), "{store}: {:?}", report.problems);
        assert_eq!((report.samples, report.parts), (1200, 2), "{store}");
    }
}

#[test]
fn closing_without_freezing_leaves_it_to_the_log() {
    let patient = || Options { freeze_on_close: false, ..options() };
    let (engine, fs) = in_memory(patient());
    fill(&engine, 0, 300);
    engine.close().unwrap();
    for opening in 0..3 {
        let engine = open_on(Arc::new(fs.clone()), patient()).unwrap();
        assert_eq!(engine.recovery().replayed_samples, 600, "opening {opening}");
        assert_eq!(engine.recovery().parts, 0);
        check(&engine, 300);
        engine.close().unwrap();
    }
}

#[test]
fn dropping_keeps_what_was_sent_and_syncs_it() {
    let (engine, fs) = in_memory(options());
    let writer = engine.writer("w").with_durability(Durability::Buffered);
    let series = handle(&writer, "a");
    for t in 0..5_000 {
        drop(writer.append_column(&series, vec![t], vec![t as f64]).unwrap());
    }
    drop(engine);
    // Even the power may go now.
    let engine = open_on(Arc::new(fs.reboot(0)), options()).unwrap();
    assert_eq!(engine.recovery().parts, 0, "dropping does not freeze");
    assert_eq!(values(&engine, "a").len(), 5_000);
}

#[test]
fn writers_of_a_closed_engine_are_told() {
    let (engine, fs) = in_memory(options());
    let writer = engine.writer("w");
    let series = handle(&writer, "a");
    let group = writer.scrape_group(std::slice::from_ref(&series));
    writer.append_column(&series, vec![0], vec![0.0]).unwrap().wait().unwrap();
    engine.close().unwrap();
    let closed = |result: icecore::Result<_>| matches!(result.map(drop), Err(Error::Closed));
    assert!(closed(writer.append_column(&series, vec![1], vec![1.0])));
    assert!(closed(writer.append_scrape(&group, Timestamp(1), vec![1.0])));
    let resolved = writer.series(&Series::parse("b").unwrap(), &Metadata::default());
    assert!(matches!(resolved, Err(Refusal::Unavailable(Error::Closed))));
    // Writers that outlive their engine do not keep the directory.
    assert_eq!(values(&open_on(Arc::new(fs), options()).unwrap(), "a"), [(0, 0.0)]);
}

#[test]
fn a_freeze_cuts_the_log_and_an_empty_one_changes_nothing() {
    let (engine, fs) = in_memory(options());
    fill(&engine, 0, 2_000);
    let before = engine.stats().unwrap().log_bytes;
    engine.freeze().unwrap();
    let after = engine.stats().unwrap();
    assert!(after.log_bytes < 200 && before > 30_000, "{before} to {}", after.log_bytes);
    assert_eq!((after.head_samples, after.head_bytes, after.parts.len()), (0, 0, 1));
    engine.freeze().unwrap();
    engine.freeze().unwrap();
    assert_eq!(engine.stats().unwrap().parts.len(), 1);
    fill(&engine, 2_000, 10);
    check(&engine, 2_010);
    drop(engine);
    check(&open_on(Arc::new(fs), options()).unwrap(), 2_010);
}

#[test]
fn the_head_freezes_by_itself_when_it_is_full() {
    let (engine, _) = in_memory(Options { head_bytes_max: 1 << 16, ..options() });
    fill(&engine, 0, 20_000);
    eventually("parts", || engine.stats().unwrap().parts.len() >= 3);
    let stats = engine.stats().unwrap();
    // A group of batches may come on top of the limit.
    assert!(stats.head_bytes < 2 << 16, "{} bytes", stats.head_bytes);
    check(&engine, 20_000);
}

#[test]
fn the_head_freezes_by_itself_when_it_is_old() {
    let freeze_after = Duration::from_millis(50);
    let (engine, fs) = in_memory(Options { freeze_after, ..options() });
    fill(&engine, 0, 10);
    eventually("a part", || engine.stats().unwrap().parts.len() == 1);
    assert_eq!(engine.stats().unwrap().head_samples, 0);
    // What the log replays is as old as the opening.
    fill(&engine, 10, 10);
    let restarted = fs.restart();
    drop(engine);
    let engine = open_on(Arc::new(restarted), Options { freeze_after, ..options() }).unwrap();
    eventually("an empty head", || engine.stats().unwrap().head_samples == 0);
    check(&engine, 20);
}

#[test]
fn a_log_longer_than_the_head_may_be_is_replayed_in_pieces() {
    let (engine, fs) = in_memory(Options { freeze_on_close: false, ..options() });
    fill(&engine, 0, 20_000);
    engine.close().unwrap();
    let small = || Options { head_bytes_max: 1 << 16, ..options() };
    let engine = open_on(Arc::new(fs.clone()), small()).unwrap();
    assert_eq!(engine.recovery().replayed_samples, 40_000);
    let stats = engine.stats().unwrap();
    assert!(stats.head_bytes <= 1 << 16 && stats.parts.len() > 3, "{stats:?}");
    check(&engine, 20_000);
    drop(engine);
    check(&open_on(Arc::new(fs), small()).unwrap(), 20_000);
}

#[test]
fn metadata_is_kept_by_log_and_parts_and_the_later_word_wins() {
    let told = |help: &str| Metadata {
        kind: MetricKind::Counter,
        unit: "bytes".to_owned(),
        help: help.to_owned(),
    };
    let (engine, fs) = in_memory(options());
    let writer = engine.writer("w");
    let series = Series::parse("a").unwrap();
    let a = writer.series(&series, &told("first")).unwrap();
    writer.append_column(&a, vec![0], vec![0.0]).unwrap().wait().unwrap();
    writer.series(&series, &told("second")).unwrap();
    engine.sync().unwrap();
    assert_eq!(engine.metadata("a"), Some(told("second")));
    let replayed = open_on(Arc::new(fs.reboot(0)), options()).unwrap();
    assert_eq!(replayed.metadata("a"), Some(told("second")), "from the log");
    engine.close().unwrap();
    let engine = open_on(Arc::new(fs), options()).unwrap();
    assert_eq!(engine.metadata("a"), Some(told("second")), "from a part");
    assert_eq!(engine.metadata("unheard of"), None);
}

#[test]
fn series_are_listed_by_selector_and_range() {
    let (engine, _) = in_memory(options());
    let writer = engine.writer("w");
    for (name, at) in [("a", 10), ("b", 20), (r#"b{x="y"}"#, 30)] {
        let series = handle(&writer, name);
        drop(writer.append_column(&series, vec![at], vec![1.0]).unwrap());
    }
    drop(handle(&writer, "unwritten"));
    engine.sync().unwrap();
    let listed = |selector: &str, from: i64, to: i64| -> Vec<String> {
        let range = TimeRange::new(Timestamp(from), Timestamp(to));
        let found = engine.series(&Selector::parse(selector).unwrap(), range).unwrap();
        found.into_iter().map(|(_, series)| series.to_string()).collect()
    };
    assert_eq!(listed("{}", 10, 30), ["a", "b"]);
    assert_eq!(listed("{}", 11, 31), ["b", r#"b{x="y"}"#]);
    assert_eq!(listed("b", 0, 100), ["b", r#"b{x="y"}"#]);
    assert_eq!(listed("{}", 40, 50), Vec::<String>::new());
    engine.freeze().unwrap();
    assert_eq!(listed("{}", 10, 30), ["a", "b"], "from a part");
    let all = ["a", "b", r#"b{x="y"}"#, "unwritten"];
    assert_eq!(listed("{}", i64::MIN, i64::MAX), all, "all that is known");
}

#[test]
fn a_directory_without_a_store_is_an_error_for_a_reader() {
    let dir = tempfile::tempdir().unwrap();
    let read_only = Options { read_only: true, ..options() };
    let refused = Engine::open(dir.path(), read_only).unwrap_err();
    assert!(matches!(&refused, Error::Io { path, .. } if path == dir.path()), "{refused}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let broken = Options { chunk_samples_max: 1, ..options() };
    assert!(matches!(Engine::open(dir.path(), broken), Err(Error::InvalidOption { .. })));
    assert!(read(&open_on(Arc::new(SimFs::new()), options()).unwrap(), "{}").is_empty());
}
