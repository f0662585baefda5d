//! Deletes are seen at once, survive reopening, and leave what is written later alone.

use icecore::engine::MaintenanceStep;
use icecore::model::Selector;
use icecore::query::{Function, Request};
use icecore::{Engine, TimeRange, Timestamp};

use crate::by_hand::{SECOND, drain, options, store};
use crate::{handle, read, values};

fn range(from: i64, to: i64) -> TimeRange {
    TimeRange::new(Timestamp::from_secs(from), Timestamp::from_secs(to))
}

fn count(engine: &Engine, selector: &str) -> u64 {
    let selector = Selector::parse(selector).unwrap();
    let request = Request::new(range(0, 1 << 30), vec![Function::Count]);
    let answer = engine.query(&selector, &request).unwrap();
    answer.groups.iter().flat_map(|group| &group.counts).sum()
}

fn append(engine: &Engine, series: &str, seconds: std::ops::Range<i64>) {
    let writer = engine.writer("w");
    let timestamps: Vec<i64> = seconds.map(|t| t * SECOND).collect();
    let samples = timestamps.iter().map(|&t| (t / SECOND) as f64).collect();
    writer.append_column(&handle(&writer, series), timestamps, samples).unwrap().wait().unwrap();
}

#[test]
fn what_is_deleted_is_gone_for_every_reader_and_what_comes_later_stays() {
    let store = store();
    let engine = store.open(options());
    append(&engine, "a{x=\"1\"}", 0..100);
    append(&engine, "a{x=\"2\"}", 0..100);
    engine.freeze().unwrap();
    // These are in the head when the delete comes.
    append(&engine, "a{x=\"1\"}", 100..120);
    let selector = Selector::parse("a{x=\"1\"}").unwrap();
    let report = engine.delete(&selector, range(50, 110)).unwrap();
    assert_eq!((report.series, report.parts, report.tombstone), (1, 2, Some(1)));
    let left: Vec<i64> = (0..50).chain(110..120).collect();
    let seconds = |engine: &Engine| -> Vec<i64> {
        values(engine, "a{x=\"1\"}").iter().map(|(t, _)| t / SECOND).collect()
    };
    assert_eq!(seconds(&engine), left);
    assert_eq!((count(&engine, "a{x=\"1\"}"), count(&engine, "a")), (60, 160));
    let listed = engine.series(&Selector::parse("a").unwrap(), range(60, 100)).unwrap();
    assert!(listed.iter().any(|(_, series)| series.label("x") == "2"));
    // Written after the delete, at a time that it names.
    append(&engine, "a{x=\"1\"}", 60..61);
    let mut with_later = left.clone();
    with_later.insert(50, 60);
    assert_eq!(seconds(&engine), with_later);
    assert_eq!(engine.stats().unwrap().tombstones, 1);
    engine.close().unwrap();

    let engine = store.open(options());
    assert_eq!(seconds(&engine), with_later);
    store.clock.set(Timestamp::from_secs(1_000_000));
    append(&engine, "late", 1_000_000 - 1..1_000_000);
    let steps = drain(&engine);
    let forgotten =
        steps.iter().any(|step| matches!(step, MaintenanceStep::ForgotDeletes(ids) if ids == &[1]));
    assert!(forgotten, "{steps:?}");
    assert_eq!(seconds(&engine), with_later);
    let stats = engine.stats().unwrap();
    assert_eq!(stats.tombstones, 0);
    assert_eq!(stats.samples, 100 + 61 + 1, "the bytes are gone");
    engine.close().unwrap();
    let engine = store.open(options());
    assert_eq!(seconds(&engine), with_later);
}

#[test]
fn a_series_deleted_whole_is_not_listed_and_moves_the_bounds() {
    let store = store();
    let engine = store.open(options());
    append(&engine, "old", 0..10);
    append(&engine, "new", 100..110);
    engine.freeze().unwrap();
    let bounds = |engine: &Engine| {
        let (first, last) = engine.time_bounds().unwrap().unwrap();
        (first.0 / SECOND, last.0 / SECOND)
    };
    assert_eq!(bounds(&engine), (0, 109));
    engine.delete(&Selector::parse("old").unwrap(), TimeRange::ALL).unwrap();
    assert_eq!(bounds(&engine), (100, 109));
    engine.delete(&Selector::parse("new").unwrap(), range(105, 200)).unwrap();
    assert_eq!(bounds(&engine), (100, 104));
    let listed = engine.series(&Selector::parse("{}").unwrap(), range(0, 1000)).unwrap();
    assert_eq!(listed.iter().map(|(_, s)| s.name()).collect::<Vec<_>>(), ["new"]);
    assert_eq!(read(&engine, "{}").keys().collect::<Vec<_>>(), ["new"]);
    // Everything goes: no part is left, and nothing was forgotten too early.
    store.clock.set(Timestamp::from_secs(1_000_000));
    engine.delete(&Selector::parse("{}").unwrap(), TimeRange::ALL).unwrap();
    assert_eq!(engine.time_bounds().unwrap(), None);
    drain(&engine);
    assert_eq!(engine.stats().unwrap().tombstones, 0);
    assert!(engine.stats().unwrap().parts.is_empty());
    engine.close().unwrap();
    let engine = store.open(options());
    assert!(read(&engine, "{}").is_empty());
    assert_eq!(engine.stats().unwrap().series, 0, "names go with the last part that has them");
}

#[test]
fn nothing_to_delete_leaves_no_tombstone() {
    let store = store();
    let engine = store.open(options());
    append(&engine, "a", 0..10);
    let absent = engine.delete(&Selector::parse("b").unwrap(), TimeRange::ALL).unwrap();
    assert_eq!((absent.series, absent.tombstone), (0, None));
    let elsewhere = engine.delete(&Selector::parse("a").unwrap(), range(10, 20)).unwrap();
    assert_eq!((elsewhere.series, elsewhere.tombstone), (1, None));
    assert_eq!(values(&engine, "a").len(), 10);
}
