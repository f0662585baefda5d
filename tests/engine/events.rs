//! Events: rows in, rows out, wherever they are; tables that grow; what must not get in their way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use icecore::engine::{CompactScope, Reason, SnapshotOptions};
use icecore::model::{
    EventColumn, EventKind, EventRows, EventSchema, EventValue, Metadata, Selector,
};
use icecore::options::{Durability, GateOptions, Keep, Maintenance, Policy, TableRule, WhenFull};
use icecore::query::{CancelToken, EventOrder, EventPredicate, EventRequest, EventTest};
use icecore::{Engine, Error, EventWriter, Options, Tier, TimeRange, Timestamp};

use super::{in_memory, open_on, options, refused};

const SECOND: i64 = 1_000_000_000;

fn schema(table: &str, columns: usize) -> EventSchema {
    let all = [
        EventColumn::new("id", EventKind::Integer),
        EventColumn::new("user", EventKind::Text),
        EventColumn::new("seconds", EventKind::Float).with_unit("s"),
        EventColumn::new("cached", EventKind::Boolean),
    ];
    EventSchema::new(table, all[..columns].to_vec()).unwrap()
}

fn row(id: i64) -> [EventValue; 4] {
    let user = ["ann", "bob", "eve"][id as usize % 3];
    let seconds = (id % 5 != 0).then_some(id as f64 / 8.0);
    [id.into(), user.into(), seconds.into(), (id % 2 == 0).into()]
}

fn all(engine: &Engine, table: &str) -> EventRows {
    engine.scan_events(&EventRequest::new(table, TimeRange::ALL)).unwrap().rows
}

/// The times and first columns of all rows.
fn ids(engine: &Engine, table: &str) -> Vec<(i64, i64)> {
    let rows = all(engine, table);
    let id = |at| match rows.value(at, 0) {
        EventValue::Integer(id) => id,
        other => panic!("{other:?}"),
    };
    (0..rows.len()).map(|at| (rows.times[at] / SECOND, id(at))).collect()
}

fn append(writer: &EventWriter, seconds: i64, id: i64) {
    let columns = writer.schema().columns().len();
    let receipt = writer.append(Timestamp(seconds * SECOND), &row(id)[..columns]).unwrap();
    assert_eq!(receipt.wait().unwrap().refused, 0);
}

fn by_hand() -> Options {
    Options { maintenance: Maintenance::ByHand, ..options() }
}

#[test]
fn rows_are_kept_in_order_of_time_and_arrival_wherever_they_are() {
    let (engine, fs) = in_memory(by_hand());
    let writer = engine.events(&schema("queries", 4)).unwrap();
    let times = [50, 60, 60, 55, 60, 3, 60, 70];
    let mut expected: Vec<(i64, i64)> = times.iter().copied().zip(0..).collect();
    expected.sort_by_key(|&(time, _)| time);
    for (id, &time) in (0..).zip(&times) {
        append(&writer, time, id);
        if id % 3 == 2 {
            engine.freeze().unwrap();
        }
    }
    assert_eq!(ids(&engine, "queries"), expected);
    engine.sync().unwrap();
    // The process dies: the log has what no part has.
    let restarted = fs.restart();
    drop(engine);
    let engine = open_on(Arc::new(restarted.clone()), by_hand()).unwrap();
    assert_eq!(engine.recovery().replayed_events, 2);
    assert_eq!(ids(&engine, "queries"), expected);
    engine.close().unwrap();
    let engine = open_on(Arc::new(restarted), by_hand()).unwrap();
    assert_eq!(engine.recovery().replayed_events, 0);
    assert_eq!(ids(&engine, "queries"), expected);
    let parts = engine.stats().unwrap().parts.len();
    let done = engine.compact(CompactScope::All, &CancelToken::new(), &mut |_| ()).unwrap();
    assert!(!done.steps.is_empty());
    let stats = engine.stats().unwrap();
    assert!(stats.parts.len() < parts, "{} of {parts} parts", stats.parts.len());
    assert_eq!(ids(&engine, "queries"), expected);
    let rows = all(&engine, "queries");
    for (at, &(_, id)) in expected.iter().enumerate() {
        let values: Vec<EventValue> = (0..4).map(|column| rows.value(at, column)).collect();
        assert_eq!(values, row(id));
    }
    let [table] = &stats.events[..] else { panic!("{:?}", stats.events) };
    assert_eq!(
        (table.table.as_str(), table.rows, table.head_rows, table.columns),
        ("queries", 8, 0, 4)
    );
    assert!(table.bytes_on_disk > 0 && stats.tiers.is_empty(), "{stats:?}");
}

#[test]
fn a_table_only_ever_gets_columns() {
    let (engine, fs) = in_memory(by_hand());
    let old = engine.events(&schema("queries", 2)).unwrap();
    append(&old, 1, 1);
    engine.freeze().unwrap();
    append(&old, 2, 2);
    let new = engine.events(&schema("queries", 4)).unwrap();
    append(&new, 3, 3);
    // A writer that was made before knows its own columns, and goes on.
    append(&old, 4, 4);
    let check = |engine: &Engine| {
        let known = engine.event_schema("queries").unwrap();
        assert_eq!((known.version(), known.columns().len()), (2, 4));
        let rows = all(engine, "queries");
        let seconds: Vec<EventValue> = (0..4).map(|at| rows.value(at, 2)).collect();
        assert_eq!(seconds, [EventValue::Null, EventValue::Null, 0.375.into(), EventValue::Null]);
        let users: Vec<EventValue> = (0..4).map(|at| rows.value(at, 1)).collect();
        assert_eq!(users, ["bob".into(), "eve".into(), "ann".into(), "bob".into()]);
        let known_only = EventRequest {
            predicates: vec![EventPredicate::new("cached", EventTest::NotNull)],
            ..EventRequest::new("queries", TimeRange::ALL)
        };
        assert_eq!(engine.scan_events(&known_only).unwrap().rows.times, [3 * SECOND]);
    };
    check(&engine);
    engine.sync().unwrap();
    let engine = open_on(Arc::new(fs.restart()), by_hand()).unwrap();
    check(&engine);
    engine.freeze().unwrap();
    check(&engine);
    engine.compact(CompactScope::All, &CancelToken::new(), &mut |_| ()).unwrap();
    check(&engine);

    for columns in [
        vec![EventColumn::new("user", EventKind::Text)],
        vec![EventColumn::new("id", EventKind::Float)],
        vec![EventColumn::new("id", EventKind::Integer).with_unit("s")],
    ] {
        let other = EventSchema::new("queries", columns).unwrap();
        let refused = engine.events(&other).unwrap_err();
        assert!(matches!(refused, Error::SchemaConflict { .. }), "{refused}");
    }
    // An older program.
    assert_eq!(engine.events(&schema("queries", 1)).unwrap().schema().columns().len(), 1);
    check(&engine);
}

#[test]
fn the_door_refuses_and_counts_and_says_what_is_wrong() {
    let gate = GateOptions { past: Some(Duration::from_secs(100)), ..GateOptions::default() };
    let (engine, fs) = in_memory(Options { gate, ..by_hand() });
    let writer = engine.events(&schema("queries", 4)).unwrap();
    let now = engine.now().0 / SECOND;
    let mut batch = writer.batch();
    for (seconds, id) in [(now - 101, 0), (now, 1), (now + 601, 2)] {
        batch.push(seconds * SECOND, row(id)).unwrap();
    }
    let accepted = writer.append_batch(batch).unwrap().wait().unwrap();
    assert_eq!((accepted.samples, accepted.refused), (1, 2));
    assert_eq!((refused(&engine, Reason::TooOld), refused(&engine, Reason::TooNew)), (1, 1));
    assert_eq!(ids(&engine, "queries"), [(now, 1)]);

    let wrong = |values: &[EventValue]| {
        let error = writer.append(engine.now(), values).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
    };
    wrong(&row(1)[..3]);
    wrong(&["id".into(), "ann".into(), EventValue::Null, EventValue::Null]);
    let long = "x".repeat(icecore::model::EVENT_TEXT_BYTES_MAX + 1);
    wrong(&[1.into(), long.as_str().into(), EventValue::Null, EventValue::Null]);
    let cut = [1.into(), EventValue::cut(&long), EventValue::Null, EventValue::Null];
    writer.append(engine.now(), &cut).unwrap().wait().unwrap();
    assert_eq!(ids(&engine, "queries").len(), 2);
    assert!(engine.scan_events(&EventRequest::new("nobody", TimeRange::ALL)).is_err());
    engine.close().unwrap();

    let engine = open_on(Arc::new(fs), Options { read_only: true, ..by_hand() }).unwrap();
    assert_eq!(ids(&engine, "queries").len(), 2);
    assert!(matches!(engine.events(&schema("queries", 4)), Err(Error::ReadOnly { .. })));
    assert!(matches!(writer.append(Timestamp(0), &row(1)), Err(Error::Closed)));
}

#[test]
fn a_full_channel_drops_and_counts_and_never_blocks() {
    let (engine, _) = in_memory(Options { channel_batches_max: 2, ..by_hand() });
    let writer = engine.events(&schema("queries", 4)).unwrap();
    let writer = writer.with_when_full(WhenFull::Drop).with_durability(Durability::Buffered);
    let (mut taken, mut dropped) = (0, 0);
    for id in 0..20_000 {
        let accepted = writer.append(Timestamp(id), &row(id)).unwrap().wait().unwrap();
        taken += accepted.samples;
        dropped += accepted.refused;
    }
    engine.sync().unwrap();
    assert_eq!(taken + dropped, 20_000);
    assert_eq!(refused(&engine, Reason::ChannelFull), dropped);
    assert_eq!(all(&engine, "queries").len() as u64, taken);
}

#[test]
fn series_know_nothing_of_events() {
    let (engine, _) = in_memory(by_hand());
    let series = engine.writer("w").series_named("up", [], &Metadata::default()).unwrap();
    let receipt = engine.writer("w").append_column(&series, vec![100 * SECOND], vec![1.0]).unwrap();
    receipt.wait().unwrap();
    let writer = engine.events(&schema("queries", 4)).unwrap();
    (0..50).for_each(|id| append(&writer, id * 10, id));
    for _ in 0..2 {
        let every = Selector::parse("{}").unwrap();
        assert_eq!(engine.series(&every, TimeRange::ALL).unwrap().len(), 1);
        assert_eq!(engine.label_names(&every), ["__name__"]);
        let at = Timestamp(100 * SECOND);
        assert_eq!(engine.time_bounds().unwrap(), Some((at, at)));
        let stats = engine.stats().unwrap();
        assert_eq!((stats.series, stats.samples), (1, 1));
        assert_eq!(stats.events[0].rows + stats.events[0].head_rows, 50);
        // Deletes are of series.
        engine.delete(&every, TimeRange::new(Timestamp(0), Timestamp(1))).unwrap();
        engine.freeze().unwrap();
    }
    assert_eq!(all(&engine, "queries").len(), 50);
    while engine.maintain().unwrap().is_some() {}
    assert_eq!(all(&engine, "queries").len(), 50);
    assert!(engine.stats().unwrap().tiers.iter().all(|tier| tier.parts <= 2), "no tiers of events");
}

#[test]
fn tables_are_kept_as_the_policy_says() {
    let day = 86_400;
    let policy = Policy {
        keep: Keep::FOREVER.with(Tier::RAW, Duration::from_secs(3 * day as u64)),
        tables: vec![
            TableRule {
                table: "calls".into(),
                keep: Keep::FOREVER.with(Tier::RAW, Duration::from_secs(day as u64)),
            },
            TableRule { table: "slow".into(), keep: Keep::FOREVER },
            TableRule { table: "few".into(), keep: Keep::FOREVER.with_bytes(Tier::RAW, 1) },
        ],
        ..Policy::default()
    };
    let partition = Duration::from_secs(3600);
    let (engine, fs) = in_memory(Options { policy, partition, ..by_hand() });
    // Ten days in four parts each, no two of a table in one window.
    let tables = ["queries", "calls", "slow", "few"];
    let writers = tables.map(|table| engine.events(&schema(table, 4)).unwrap());
    let now = engine.now().0 / SECOND;
    for age in [10, 5, 2, 0] {
        for writer in &writers {
            append(writer, now - age * day, age);
        }
        engine.freeze().unwrap();
    }
    assert!(!engine.plan_retention().is_empty());
    engine.enforce_retention().unwrap();
    let left = |engine: &Engine, table| {
        ids(engine, table).into_iter().map(|(_, age)| age).collect::<Vec<_>>()
    };
    let check = |engine: &Engine| {
        assert_eq!(left(engine, "queries"), [2, 0]);
        assert_eq!(left(engine, "calls"), [0]);
        assert_eq!(left(engine, "slow"), [10, 5, 2, 0]);
        assert_eq!(left(engine, "few"), [0], "the youngest stays");
    };
    check(&engine);
    engine.close().unwrap();
    check(&open_on(Arc::new(fs), by_hand()).unwrap());
    let twice = Policy {
        tables: vec![TableRule { table: "a".into(), keep: Keep::FOREVER }; 2],
        ..Policy::default()
    };
    let refused = Options { policy: twice, ..by_hand() }.check().unwrap_err();
    assert!(matches!(refused, Error::InvalidOption { option: "policy.tables", .. }), "{refused}");
}

#[test]
fn a_snapshot_and_a_check_know_events() {
    let dir = tempfile::tempdir().unwrap();
    let (store, copy) = (dir.path().join("store"), dir.path().join("copy"));
    let options = Options { threads: 2, ..by_hand() };
    let engine =
        Engine::open(&store, Options { freeze_on_close: false, ..options.clone() }).unwrap();
    let writer = engine.events(&schema("queries", 4)).unwrap();
    (0..3000).for_each(|id| append(&writer, id, id));
    engine.freeze().unwrap();
    (3000..3010).for_each(|id| append(&writer, id, id));
    let expected = ids(&engine, "queries");
    let report = engine.snapshot(&copy, &SnapshotOptions::default(), &mut |_| ()).unwrap();
    assert!(report.parts > 0, "{report:?}");
    append(&writer, 5000, 5000);
    engine.close().unwrap();
    let checked = Engine::verify(&store, &mut |_| ()).unwrap();
    assert!(checked.is_whole(), "{:?}", checked.problems);
    assert_eq!((checked.event_rows, checked.log_event_rows, checked.samples), (3010, 1, 0));
    let engine = Engine::open(&copy, Options { read_only: true, ..options }).unwrap();
    assert_eq!(ids(&engine, "queries"), expected);
}

#[test]
fn many_threads_write_while_others_read_and_heads_freeze() {
    let (engine, _) = in_memory(Options { threads: 2, head_bytes_max: 1 << 16, ..by_hand() });
    // Whoever reads may come before all who write.
    engine.events(&schema("queries", 4)).unwrap();
    let (threads, rows) = (4, 1500);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (engine, done) = (&engine, &done);
        let writers: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    let writer = engine.events(&schema("queries", 4)).unwrap();
                    for i in 0..rows {
                        let id = i * threads + thread;
                        drop(writer.append(Timestamp(i * SECOND), &row(id)).unwrap());
                    }
                    engine.sync().unwrap();
                })
            })
            .collect();
        scope.spawn(move || {
            let mut before = 0;
            while !done.load(Ordering::SeqCst) {
                let found = ids(engine, "queries");
                assert!(found.len() >= before && found.is_sorted_by_key(|(time, _)| *time));
                before = found.len();
            }
        });
        scope.spawn(move || {
            while !done.load(Ordering::SeqCst) {
                engine.freeze().unwrap();
                while engine.maintain().unwrap().is_some() {}
            }
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::SeqCst);
    });
    let mut found: Vec<i64> = ids(&engine, "queries").into_iter().map(|(_, id)| id).collect();
    found.sort_unstable();
    assert!(found.into_iter().eq(0..threads * rows));
    let slowest = EventRequest {
        order: EventOrder::Largest("seconds".into()),
        projection: Some(vec!["id".into()]),
        limit: Some(3),
        ..EventRequest::new("queries", TimeRange::ALL)
    };
    let answer = engine.scan_events(&slowest).unwrap();
    let last = threads * rows - 1;
    let found: Vec<EventValue> = (0..3).map(|at| answer.rows.value(at, 0)).collect();
    assert_eq!(found, [last, last - 1, last - 2].map(EventValue::from));
    engine.close().unwrap();
}

#[test]
fn spans_are_known_without_reading() {
    let (engine, _fs) = in_memory(by_hand());
    let writer = engine.events(&schema("queries", 4)).unwrap();
    let span = |start: i64, end: i64| {
        let range = TimeRange::new(Timestamp(start * SECOND), Timestamp(end * SECOND));
        let found = engine.event_span("queries", range).unwrap();
        found.map(|span| (span.rows, span.first.0 / SECOND, span.last.0 / SECOND, span.exact))
    };
    assert_eq!(span(0, 100), None);
    (10..20).for_each(|at| append(&writer, at, at));
    engine.freeze().unwrap();
    (15..30).for_each(|at| append(&writer, at, at));
    assert_eq!(span(0, 100), Some((25, 10, 29, true)));
    assert_eq!(span(10, 30), Some((25, 10, 29, true)));
    // A part that the range cuts may hold fewer; what lies outside is not counted.
    let (rows, first, last, exact) = span(12, 15).unwrap();
    assert!((3..=10).contains(&rows) && !exact && (first, last) == (12, 14));
    assert_eq!(span(30, 100), None);
    assert!(engine.event_span("others", TimeRange::ALL).is_err());
}
