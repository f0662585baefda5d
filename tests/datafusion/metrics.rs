//! Series asked in SQL: a table a metric, labels as columns.

use std::sync::Arc;

use datafusion::prelude::{SessionConfig, SessionContext};
use icecore::integration::datafusion::register_history;
use icecore::model::{Metadata, Selector, Series};
use icecore::query::SampleRequest;
use icecore::{Engine, TimeRange, Timestamp};

use super::{engine, explain, rows};

const SECOND: i64 = 1_000_000_000;

/// Two metrics; series of `load` differ in which labels they have, and one is called `value`.
fn host() -> (tempfile::TempDir, Arc<Engine>, SessionContext) {
    let (dir, engine) = engine();
    let writer = engine.writer("test");
    let sets: [&[(&str, &str)]; 4] = [
        &[("host", "a"), ("zone", "x")],
        &[("host", "b"), ("zone", "y")],
        &[("host", "c+d")],
        &[("value", "7")],
    ];
    for (number, labels) in sets.into_iter().enumerate() {
        let series = Series::new("load", labels.iter().copied()).unwrap();
        let handle = writer.series(&series, &Metadata::default()).unwrap();
        let times: Vec<i64> = (0..3000).map(|at| at * 30 * SECOND).collect();
        let values = times.iter().map(|at| (at / SECOND) as f64 + number as f64 / 4.0).collect();
        drop(writer.append_column(&handle, times, values).unwrap());
    }
    let other = Series::new("other", [("host", "a")]).unwrap();
    let handle = writer.series(&other, &Metadata::default()).unwrap();
    drop(writer.append_column(&handle, vec![5 * SECOND], vec![f64::NAN]).unwrap());
    engine.sync().unwrap();
    engine.freeze().unwrap();
    let config = SessionConfig::new().with_target_partitions(2);
    let session = SessionContext::new_with_config(config);
    register_history(&session, &engine).unwrap();
    (dir, engine, session)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_metric_is_a_table_with_its_labels_as_columns() {
    let (_dir, engine, session) = host();
    let load = Selector::parse("load").unwrap();
    let samples = engine.samples(&load, &SampleRequest::new(TimeRange::ALL)).unwrap();
    let mut expected: Vec<String> = samples
        .iter()
        .flat_map(|of| {
            let label = |name| of.series.label(name).to_owned();
            let (host, zone, value) = (label("host"), label("zone"), label("value"));
            of.timestamps.iter().zip(&of.values).map(move |(time, sample)| {
                format!("{} {sample:?} {host} {zone} {value}", time / SECOND).trim_end().to_owned()
            })
        })
        .collect();
    let sql = "SELECT extract(epoch FROM time)::bigint, value, host, zone, label_value \
        FROM history.load";
    let mut found = rows(&session, sql).await;
    expected.sort_unstable();
    found.sort_unstable();
    assert!(found == expected, "{} of {} rows", found.len(), expected.len());
    assert_eq!(rows(&session, "SELECT host, value FROM history.other").await, ["a NaN"]);
    assert!(session.sql("SELECT * FROM history.nothing").await.is_err());
}

/// Labels and times are selected by the engine, as SQL has it: a label that is not there is null.
#[tokio::test]
async fn labels_and_times_are_selected_by_the_engine() {
    let (_dir, _engine, session) = host();
    for (condition, matchers, count) in [
        ("host = 'a'", "load{host=\"a\"}", 3000),
        ("host <> 'a'", "host!=\"a\",host!=\"\"", 6000),
        ("host IN ('a', 'c+d')", "host=~\"a|c\\\\+d\"", 6000),
        ("host NOT IN ('a', 'b')", "host!=\"b\"", 3000),
        ("zone IS NULL", "zone=\"\"", 6000),
        ("zone IS NOT NULL AND host <> 'b'", "zone!=\"\"", 3000),
        ("label_value = '7'", "value=\"7\"", 3000),
        ("time < to_timestamp(300)", "time=[-9223372036.854775808, 300.000000000)", 40),
    ] {
        let sql = format!("SELECT count(value) FROM history.load WHERE {condition}");
        let plan = explain(&session, &sql).await;
        assert!(plan.contains(matchers) && !plan.contains("FilterExec"), "{condition}: {plan}");
        assert_eq!(rows(&session, &sql).await, [count.to_string()], "{condition}");
    }
    // An empty text is no label's value, and orders of texts are not a selector's.
    for (condition, count) in [("host = ''", 0), ("host > 'a'", 6000), ("value < 30", 4)] {
        let sql = format!("SELECT count(*) FROM history.load WHERE {condition}");
        assert!(explain(&session, &sql).await.contains("FilterExec"), "{condition}");
        assert_eq!(rows(&session, &sql).await, [count.to_string()], "{condition}");
    }
}

#[tokio::test]
async fn limits_and_joins_with_events_work() {
    let (_dir, engine, session) = host();
    let sql = "SELECT time FROM history.load LIMIT 4500";
    assert!(explain(&session, sql).await.contains("limit=4500"));
    assert_eq!(rows(&session, sql).await.len(), 4500);
    use icecore::model::{EventColumn, EventKind, EventSchema};
    let columns = vec![EventColumn::new("host", EventKind::Text)];
    let restarts = engine.events(&EventSchema::new("restarts", columns).unwrap()).unwrap();
    drop(restarts.append(Timestamp(60 * SECOND), &["b".into()]).unwrap());
    engine.sync().unwrap();
    let sql = "SELECT l.value, l.zone FROM history.restarts r \
        JOIN history.load l ON l.host = r.host AND l.time = r.time";
    assert_eq!(rows(&session, sql).await, ["60.25 y"]);
}
