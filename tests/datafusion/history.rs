//! Events asked in SQL: the same rows as the engine's own answers, wherever they lie.

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampNanosecondArray,
};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use icecore::integration::datafusion::{HistoryOptions, register_history};
use icecore::model::{EventColumn, EventKind, EventRows, EventSchema, EventValue};
use icecore::query::{EventOrder, EventPredicate, EventRequest, EventTest};
use icecore::{Engine, TimeRange, Timestamp};
use proptest::prelude::*;

use super::{engine, explain, rows};

const SECOND: i64 = 1_000_000_000;

fn schema() -> EventSchema {
    let columns = vec![
        EventColumn::new("n", EventKind::Integer).with_unit("us"),
        EventColumn::new("x", EventKind::Float),
        EventColumn::new("b", EventKind::Boolean),
        EventColumn::new("t", EventKind::Text),
    ];
    EventSchema::new("things", columns).unwrap()
}

type Row = (i64, Vec<EventValue>);

/// Rows written in `pieces`, all but the last of which are parts.
fn write(engine: &Engine, pieces: &[Vec<Row>]) {
    let writer = engine.events(&schema()).unwrap();
    for (number, piece) in pieces.iter().enumerate() {
        for (time, values) in piece {
            drop(writer.append(Timestamp(*time), values).unwrap());
        }
        engine.sync().unwrap();
        if number + 1 < pieces.len() {
            engine.freeze().unwrap();
        }
    }
}

fn all(engine: &Engine) -> EventRows {
    engine.scan_events(&EventRequest::new("things", TimeRange::ALL)).unwrap().rows
}

/// What the engine answers, as a table that knows nothing of icecore.
fn plain(rows: &EventRows) -> RecordBatch {
    let values = |column: usize| (0..rows.len()).map(move |row| rows.value(row, column));
    let times = TimestampNanosecondArray::from(rows.times.clone()).with_timezone("UTC");
    let integers: Int64Array = values(0)
        .map(|value| if let EventValue::Integer(value) = value { Some(value) } else { None })
        .collect();
    let floats: Float64Array = values(1)
        .map(|value| if let EventValue::Float(value) = value { Some(value) } else { None })
        .collect();
    let booleans: BooleanArray = values(2)
        .map(|value| if let EventValue::Boolean(value) = value { Some(value) } else { None })
        .collect();
    let texts: StringArray = values(3)
        .map(
            |value| {
                if let EventValue::Text(value) = value { Some(value.to_string()) } else { None }
            },
        )
        .collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("time", Arc::new(times)),
        ("n", Arc::new(integers)),
        ("x", Arc::new(floats)),
        ("b", Arc::new(booleans)),
        ("t", Arc::new(texts)),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn any_row() -> impl Strategy<Value = Row> {
    let floats = prop::sample::select(vec![-1.5, -0.0, 0.0, 1.0, 2.5, f64::NAN, -f64::NAN]);
    let texts = prop::sample::select(vec!["", "a", "b", "ab", "ä"]);
    let row = (
        0..60_i64,
        prop::option::of(-3..4_i64),
        prop::option::of(floats),
        any::<Option<bool>>(),
        prop::option::of(texts),
    );
    row.prop_map(|(at, n, x, b, t)| (at * SECOND, vec![n.into(), x.into(), b.into(), t.into()]))
}

fn any_condition() -> impl Strategy<Value = String> {
    let op = || prop::sample::select(vec!["=", "<>", "<", "<=", ">", ">="]);
    let float = prop::sample::select(vec!["1.0", "2.5", "0.0", "-1.5", "'NaN'::double"]);
    let text = prop::sample::select(vec!["a", "b", "ab", "", "ä", "none"]);
    let column = prop::sample::select(vec!["n", "x", "b", "t"]);
    let null = prop::sample::select(vec!["IS NULL", "IS NOT NULL"]);
    let not = || prop::sample::select(vec!["", "NOT "]);
    prop_oneof![
        (op(), -4..5_i64).prop_map(|(op, n)| format!("n {op} {n}")),
        (op(), float).prop_map(|(op, x)| format!("x {op} {x}")),
        (op(), text.clone()).prop_map(|(op, t)| format!("t {op} '{t}'")),
        (op(), -2..62_i64).prop_map(|(op, s)| format!("time {op} to_timestamp({s})")),
        not().prop_map(|not| format!("{not}b")),
        (column, null).prop_map(|(column, null)| format!("{column} {null}")),
        (not(), prop::collection::vec(-3..4_i64, 1..6)).prop_map(|(not, all)| {
            let all: Vec<String> = all.iter().map(ToString::to_string).collect();
            format!("n {not}IN ({})", all.join(", "))
        }),
        (not(), text.clone(), text).prop_map(|(not, a, b)| format!("t {not}IN ('{a}', '{b}')")),
        (-3..4_i64, -3..4_i64).prop_map(|(a, b)| format!("n BETWEEN {a} AND {b}")),
        (-3..4_i64, 0..60_i64).prop_map(|(n, s)| format!("(n = {n} OR time < to_timestamp({s}))")),
    ]
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Any question has the same answer of the engine's own table and of a plain copy of its rows,
    /// whatever of it the engine takes over.
    #[test]
    fn sql_answers_what_a_copy_of_the_rows_answers(
        pieces in prop::collection::vec(prop::collection::vec(any_row(), 0..50), 1..4),
        questions in prop::collection::vec(prop::collection::vec(any_condition(), 0..4), 1..8),
        limit in prop::option::of(0..30_usize),
    ) {
        let (_dir, engine) = engine();
        write(&engine, &pieces);
        let copy = plain(&all(&engine));
        runtime().block_on(async {
            let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
            register_history(&session, &engine).unwrap();
            session.register_batch("copy", copy).unwrap();
            for conditions in questions {
                let wanted = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") };
                for columns in ["time, n, x, b, t", "t, time", "x", "count(*), sum(n), min(time), max(t)"] {
                    let of = |table: &str| format!("SELECT {columns} FROM {table} WHERE {wanted}");
                    let mut one = rows(&session, &of("history.things")).await;
                    let mut other = rows(&session, &of("copy")).await;
                    one.sort_unstable();
                    other.sort_unstable();
                    assert_eq!(one, other, "{}", of("history.things"));
                }
                if let Some(limit) = limit {
                    let of = |table: &str| format!("SELECT n FROM {table} WHERE {wanted} LIMIT {limit}");
                    let one = rows(&session, &of("history.things")).await.len();
                    assert_eq!(one, rows(&session, &of("copy")).await.len(), "{wanted}");
                }
            }
        });
    }
}

fn host() -> (tempfile::TempDir, Arc<Engine>, SessionContext) {
    let (dir, engine) = engine();
    let row = |at: i64| -> Row {
        let text = ["a", "b", "c"][at as usize % 3];
        (at * SECOND, vec![at.into(), (at as f64).into(), (at % 2 == 0).into(), text.into()])
    };
    write(&engine, &[(0..500).map(row).collect(), (500..900).map(row).collect()]);
    let config = SessionConfig::new().with_target_partitions(2);
    let session = SessionContext::new_with_config(config);
    register_history(&session, &engine).unwrap();
    (dir, engine, session)
}

#[tokio::test]
async fn conditions_columns_and_limits_are_the_engines() {
    let (_dir, engine, session) = host();
    let sql = "SELECT n FROM history.things WHERE t IN ('a', 'b') AND b AND n > 10 \
        AND time >= to_timestamp(100) AND time < to_timestamp(700) LIMIT 5";
    let plan = explain(&session, sql).await;
    assert!(!plan.contains("FilterExec") && plan.contains("HistoryExec: events=things"), "{plan}");
    for part in [
        "time=[100.000000000, 700.000000000)",
        "t: In([Text(\"a\"), Text(\"b\")])",
        "b: Equal(Boolean(true))",
        "n: Greater(Integer(10))",
        "columns=1",
        "limit=5",
    ] {
        assert!(plan.contains(part), "{part}: {plan}");
    }
    let request = EventRequest {
        predicates: vec![
            EventPredicate::new("t", EventTest::In(vec!["a".into(), "b".into()])),
            EventPredicate::new("b", EventTest::Equal(true.into())),
            EventPredicate::new("n", EventTest::Greater(10.into())),
        ],
        projection: Some(vec!["n".to_owned()]),
        limit: Some(5),
        ..EventRequest::new(
            "things",
            TimeRange::new(Timestamp(100 * SECOND), Timestamp(700 * SECOND)),
        )
    };
    let answer = engine.scan_events(&request).unwrap();
    let expected: Vec<String> = (0..answer.rows.len())
        .map(|row| match answer.rows.value(row, 0) {
            EventValue::Integer(value) => value.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(rows(&session, sql).await, expected);
    // Orders of floats are not: NaN is the greatest to SQL, and passes no comparison of the engine's.
    let plan = explain(&session, "SELECT n FROM history.things WHERE x > 5.0").await;
    assert!(plan.contains("FilterExec"), "{plan}");
}

#[tokio::test]
async fn the_slowest_are_those_that_the_engine_finds() {
    let (_dir, engine, session) = host();
    let request = EventRequest {
        order: EventOrder::Largest("n".to_owned()),
        limit: Some(3),
        ..EventRequest::new("things", TimeRange::ALL)
    };
    let found = engine.scan_events(&request).unwrap().rows;
    let expected: Vec<String> =
        found.times.iter().map(|time| (time / SECOND).to_string()).collect();
    let sql = "SELECT n FROM history.things ORDER BY n DESC LIMIT 3";
    assert_eq!(rows(&session, sql).await, expected);
}

/// What is known beforehand is not read: counts and the bounds of time.
#[tokio::test]
async fn counts_and_bounds_are_known_without_reading() {
    let (_dir, _engine, session) = host();
    let sql = "SELECT count(*), min(time), max(time) FROM history.things";
    let plan = explain(&session, sql).await;
    assert!(!plan.contains("HistoryExec"), "{plan}");
    let found = rows(&session, sql).await;
    assert_eq!(found, ["900 1970-01-01T00:00:00Z 1970-01-01T00:14:59Z"]);
    // A stretch that the range cuts has to be looked at.
    let sql = "SELECT count(*) FROM history.things WHERE time < to_timestamp(10)";
    assert!(explain(&session, sql).await.contains("HistoryExec"));
    assert_eq!(rows(&session, sql).await, ["10"]);
}

/// The order of time is declared where it is asked for: then nothing sorts.
#[tokio::test]
async fn the_order_of_time_can_be_declared() {
    let (_dir, engine, session) = host();
    let options =
        HistoryOptions { schema: "ordered".to_owned(), time_order: true, ..Default::default() };
    options.register(&session, &engine).unwrap();
    let of = |schema: &str| format!("SELECT time, n FROM {schema}.things ORDER BY time");
    assert!(explain(&session, &of("history")).await.contains("SortExec"));
    assert!(!explain(&session, &of("ordered")).await.contains("SortExec"));
    assert_eq!(rows(&session, &of("history")).await, rows(&session, &of("ordered")).await);
}

/// Many rows are read by several partitions, each a stretch of time; rows that are dropped early
/// leave no reader behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_rows_are_read_in_partitions() {
    let (_dir, engine) = engine();
    let writer = engine.events(&schema()).unwrap();
    let mut batch = writer.batch();
    for at in 0..200_000_i64 {
        let values = vec![at.into(), EventValue::Null, (at % 2 == 0).into(), "same".into()];
        batch.push(at * SECOND, values).unwrap();
        if batch.len() == 5000 {
            let full = std::mem::replace(&mut batch, writer.batch());
            drop(writer.append_batch(full).unwrap());
        }
    }
    engine.sync().unwrap();
    engine.freeze().unwrap();
    let config = SessionConfig::new().with_target_partitions(4);
    let session = SessionContext::new_with_config(config);
    register_history(&session, &engine).unwrap();
    let sql = "SELECT sum(n), count(x), count(DISTINCT t) FROM history.things WHERE n >= 0";
    {
        let frame = session.sql("SELECT * FROM history.things WHERE n >= 0").await.unwrap();
        let plan = frame.create_physical_plan().await.unwrap();
        assert_eq!(plan.properties().partitioning.partition_count(), 4);
    }
    let sum = 200_000_i64 * 199_999 / 2;
    assert_eq!(rows(&session, sql).await, [format!("{sum} 0 1")]);
    let frame = session.sql("SELECT * FROM history.things").await.unwrap();
    let mut stream = frame.execute_stream().await.unwrap();
    assert!(stream.next().await.unwrap().unwrap().num_rows() > 0);
    drop(stream);
    drop((session, writer));
    for _ in 0..1000 {
        if Arc::strong_count(&engine) == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let engine = Arc::into_inner(engine).expect("no reader holds the engine");
    engine.close().unwrap();
}

/// Tables and columns that are declared later are there when they are asked for.
#[tokio::test]
async fn tables_are_looked_up_by_every_query() {
    let (_dir, engine, session) = host();
    assert!(session.sql("SELECT * FROM history.later").await.is_err());
    let columns = vec![EventColumn::new("id", EventKind::Integer)];
    let later = engine.events(&EventSchema::new("later", columns).unwrap()).unwrap();
    drop(later.append(Timestamp(5), &[7.into()]).unwrap());
    engine.sync().unwrap();
    assert_eq!(rows(&session, "SELECT id FROM history.later").await, ["7"]);
    let config = SessionConfig::new().with_information_schema(true);
    let session = SessionContext::new_with_config(config);
    register_history(&session, &engine).unwrap();
    let sql = "SELECT column_name, data_type FROM information_schema.columns \
        WHERE table_name = 'things' ORDER BY ordinal_position LIMIT 2";
    assert_eq!(rows(&session, sql).await, ["time Timestamp(ns, \"UTC\")", "n Int64"]);
    // What a limit of the engine's stops is an error with its message.
    let limits = icecore::query::Limits { samples_max: 10, ..Default::default() };
    let options = HistoryOptions { schema: "small".to_owned(), limits, ..Default::default() };
    options.register(&session, &engine).unwrap();
    let frame = session.sql("SELECT n, t FROM small.things").await.unwrap();
    let error = frame.collect().await.unwrap_err();
    assert!(error.to_string().contains("more than 10 samples"), "{error}");
}
