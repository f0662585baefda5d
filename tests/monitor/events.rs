//! Finished queries as rows: what stands in them, and which are kept.

use std::collections::BTreeMap;
use std::time::Duration;

use icecore::TimeRange;
use icecore::model::EventValue;
use icecore::monitor::{
    KeepRule, MonitorOptions, OutcomeKind, Phase, QUERIES, QueryStart, SOURCE_CALLS,
};
use icecore::query::{EventOrder, EventPredicate, EventRequest, EventTest};

use crate::Host;

type Row = BTreeMap<String, EventValue>;

impl Host {
    fn rows(&self, request: &EventRequest) -> Vec<Row> {
        let answer = self.engine.scan_events(request).unwrap();
        let names: Vec<String> = answer.columns.iter().map(|column| column.name.clone()).collect();
        (0..answer.rows.len())
            .map(|row| {
                let values = (0..names.len()).map(|column| answer.rows.value(row, column));
                names.iter().cloned().zip(values).collect()
            })
            .collect()
    }
}

fn all(table: &str) -> EventRequest {
    EventRequest::new(table, TimeRange::ALL)
}

fn integer(value: &EventValue) -> i64 {
    let EventValue::Integer(value) = value else { panic!("{value:?}") };
    *value
}

#[test]
fn a_query_and_what_it_made_of_its_sources_are_rows_joined_by_its_id() {
    let host = Host::new();
    let (lake, warehouse) = (host.monitor.source("lake"), host.monitor.source("warehouse"));
    let start = QueryStart {
        text: "select a from t where b = 'secret'",
        tenant: "acme",
        user: "ann",
        ..QueryStart::default()
    };
    let query = host.monitor.start_query(start);
    drop(query.phase(Phase::Plan));
    let execute = query.phase(Phase::Execute);
    for rows in [10, 20] {
        let call = query.call(&lake);
        std::thread::sleep(Duration::from_millis(2));
        call.add_rows(rows);
        call.add_bytes(rows * 8);
        call.finish();
    }
    query.call(&warehouse).fail("io");
    drop(execute);
    query.add_rows_out(3);
    query.memory(4096);
    query.add_retries(2);
    let id = i64::try_from(query.id().0).unwrap();
    query.fail("source");
    host.monitor.start_query("select 1").finish();
    host.flush();

    let queries = host.rows(&all(QUERIES));
    assert_eq!(queries.len(), 2);
    let row = &queries[0];
    for (column, expected) in [
        ("id", id.into()),
        ("text", "select a from t where b = ?".into()),
        ("tenant", "acme".into()),
        ("user", "ann".into()),
        ("outcome", "error".into()),
        ("error", "source".into()),
        ("critical_source", "lake".into()),
        ("rows_in", 30.into()),
        ("bytes_in", 240.into()),
        ("rows_out", 3.into()),
        ("memory_peak", 4096.into()),
        ("retries", 2.into()),
        ("sources", 2.into()),
        ("optimize", EventValue::Null),
        ("spill", EventValue::Null),
        ("kept_one_in", 1.into()),
        ("marked", false.into()),
    ] {
        assert_eq!(row[column], expected, "{column}");
    }
    let lengths =
        ["critical", "waiting", "execute", "duration"].map(|column| integer(&row[column]));
    assert!(lengths.is_sorted() && lengths[0] >= 4000, "{lengths:?}");

    let of = EventPredicate::new("query", EventTest::Equal(id.into()));
    let calls = host.rows(&EventRequest { predicates: vec![of], ..all(SOURCE_CALLS) });
    let part = |row: &Row| {
        let columns = ["source", "outcome", "calls", "rows"];
        columns.map(|column| row[column].clone())
    };
    let expected: [[EventValue; 4]; 2] = [
        ["lake".into(), "ok".into(), 2.into(), 30.into()],
        ["warehouse".into(), "error".into(), 1.into(), EventValue::Null],
    ];
    assert_eq!(calls.iter().map(part).collect::<Vec<_>>(), expected);
    assert_eq!(calls[1]["error"], "io".into());
    assert_eq!(calls[0]["fingerprint"], row["fingerprint"]);
    assert!(integer(&calls[0]["longest"]) >= 2000 && integer(&calls[0]["waiting"]) >= 4000);
}

/// Rules say which rows there are; series count all queries.
#[test]
fn what_is_kept_is_a_sample_and_what_is_counted_is_exact() {
    let quick = KeepRule {
        outcome: Some(OutcomeKind::Ok),
        below: Some(Duration::from_secs(3600)),
        ..KeepRule::one_in(10)
    };
    let none = KeepRule { tenant: Some("noise".to_owned()), ..KeepRule::one_in(0) };
    let host = Host::with(MonitorOptions { keep: vec![none, quick], ..MonitorOptions::default() });
    for i in 0..1000 {
        let tenant = if i / 10 % 2 == 0 { "acme" } else { "noise" };
        let text = "select a from t";
        let query = host.monitor.start_query(QueryStart { text, tenant, ..QueryStart::default() });
        if i % 100 == 0 { query.cancel() } else { query.finish() }
    }
    host.flush();
    let rows = host.rows(&all(QUERIES));
    let kept = |outcome: &str| rows.iter().filter(|row| row["outcome"] == outcome.into()).count();
    assert_eq!(kept("cancelled"), 10);
    // About one in ten of 490: four standard deviations about it.
    assert!((23..=75).contains(&kept("ok")), "{}", kept("ok"));
    assert!(rows.iter().all(|row| row["tenant"] == "acme".into()));
    let one_in = |row: &Row| integer(&row["kept_one_in"]);
    assert!(
        rows.iter().all(|row| one_in(row) == if row["outcome"] == "ok".into() { 10 } else { 1 })
    );
    assert_eq!(host.observations("query_duration_seconds"), 1000);
    let counted = host.increases("queries_total");
    assert_eq!(counted, [("cancelled".to_owned(), 10.0), ("ok".to_owned(), 990.0)].into());
}

#[test]
fn the_slowest_come_first() {
    let host = Host::new();
    for millis in [1, 9, 3, 7, 5] {
        let query = host.monitor.start_query("select a from t");
        std::thread::sleep(Duration::from_millis(millis));
        query.add_rows_out(millis);
        query.finish();
    }
    host.flush();
    let slowest = EventRequest {
        order: EventOrder::Largest("duration".to_owned()),
        limit: Some(2),
        projection: Some(vec!["rows_out".to_owned()]),
        ..all(QUERIES)
    };
    let rows: Vec<i64> = host.rows(&slowest).iter().map(|row| integer(&row["rows_out"])).collect();
    assert_eq!(rows, [9, 7]);
}

/// A call that is read as a stream is waited for only while more is asked for.
#[test]
fn paused_calls_are_no_waits() {
    let host = Host::new();
    let lake = host.monitor.source("lake");
    let query = host.monitor.start_query("select a from t");
    let call = query.call(&lake);
    let step = Duration::from_millis(20);
    for _ in 0..3 {
        std::thread::sleep(step);
        call.pause();
        // Said twice it is said once.
        call.pause();
        std::thread::sleep(step);
        call.resume();
        call.resume();
    }
    call.pause();
    // One that never was paused is a wait from end to end.
    let other = query.call(&lake);
    std::thread::sleep(step);
    other.finish();
    call.finish();
    query.finish();
    host.flush();
    let query = &host.rows(&all(QUERIES))[0];
    let (duration, waiting) = (integer(&query["duration"]), integer(&query["waiting"]));
    let step = step.as_micros() as i64;
    assert!(waiting >= 4 * step && duration - waiting >= 3 * step, "{waiting} of {duration}");
    let used = &host.rows(&all(SOURCE_CALLS))[0];
    assert_eq!((integer(&used["calls"]), integer(&used["waiting"])), (2, waiting));
    assert_eq!(integer(&used["critical"]), waiting);
}
