//! Generated questions, and what is known without reading.

use proptest::prelude::*;

use super::*;
use crate::explain;

fn any_row() -> impl Strategy<Value = Row> {
    let floats = prop::sample::select(vec![-1.5, -0.0, 0.0, 1.0, 2.5, f64::NAN, -f64::NAN]);
    let texts = prop::sample::select(vec!["", "a", "b", "ab", "ä"]);
    let row = (
        0..80_i64,
        prop::option::of(-3..4_i64),
        prop::option::of(floats),
        any::<Option<bool>>(),
        prop::option::of(texts),
    );
    row.prop_map(|(at, n, x, b, t)| (at * 3 * HOUR, vec![n.into(), x.into(), b.into(), t.into()]))
}

fn any_sample() -> impl Strategy<Value = Sample> {
    let values = prop::sample::select(vec![-1.5, -0.0, 0.0, 1.0, 2.5, f64::NAN]);
    (0..4_usize, 0..80_i64, values).prop_map(|(of, at, value)| (of, at * 3 * HOUR, value))
}

fn any_time() -> impl Strategy<Value = String> {
    let op = prop::sample::select(vec!["=", "<>", "<", "<=", ">", ">="]);
    (op, -8..250_i64).prop_map(|(op, hour)| format!("time {op} to_timestamp({})", hour * 3600))
}

fn any_condition() -> impl Strategy<Value = String> {
    let op = || prop::sample::select(vec!["=", "<>", "<", "<=", ">", ">="]);
    let float = prop::sample::select(vec!["1.0", "2.5", "0.0", "-1.5", "'NaN'::double"]);
    let text = || prop::sample::select(vec!["a", "b", "ab", "", "ä", "none"]);
    let column = prop::sample::select(vec!["n", "x", "b", "t"]);
    let null = prop::sample::select(vec!["IS NULL", "IS NOT NULL"]);
    let not = || prop::sample::select(vec!["", "NOT "]);
    prop_oneof![
        3 => any_time(),
        1 => (op(), -4..5_i64).prop_map(|(op, n)| format!("n {op} {n}")),
        1 => (op(), float).prop_map(|(op, x)| format!("x {op} {x}")),
        1 => (op(), text()).prop_map(|(op, t)| format!("t {op} '{t}'")),
        1 => not().prop_map(|not| format!("{not}b")),
        1 => (column, null).prop_map(|(column, null)| format!("{column} {null}")),
        1 => (not(), text(), text()).prop_map(|(not, a, b)| format!("t {not}IN ('{a}', '{b}')")),
    ]
}

fn any_label_condition() -> impl Strategy<Value = String> {
    let column = || prop::sample::select(vec!["host", "zone", "label_value", "label_time"]);
    let text = || prop::sample::select(vec!["a", "x", "y", "c+d", "7", "noon", "", "none"]);
    let null = prop::sample::select(vec!["IS NULL", "IS NOT NULL"]);
    let op = prop::sample::select(vec!["=", "<>", "<"]);
    let not = prop::sample::select(vec!["", "NOT "]);
    prop_oneof![
        3 => any_time(),
        2 => (column(), op, text()).prop_map(|(column, op, t)| format!("{column} {op} '{t}'")),
        1 => (column(), null).prop_map(|(column, null)| format!("{column} {null}")),
        1 => (column(), not, text(), text())
            .prop_map(|(column, not, a, b)| format!("{column} {not}IN ('{a}', '{b}')")),
        1 => Just("value > 0.5".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Whatever is asked, the answer is that of a twin that archived nothing: rows that were archived
    /// in several turns, samples that were written again later, parts that came late.
    #[test]
    fn sql_answers_what_a_store_answers_that_archived_nothing(
        pieces in prop::collection::vec(
            (prop::collection::vec(any_row(), 0..40), prop::collection::vec(any_sample(), 0..40), any::<bool>()),
            2..5,
        ),
        questions in prop::collection::vec(prop::collection::vec(any_condition(), 0..4), 1..6),
        series_questions in prop::collection::vec(prop::collection::vec(any_label_condition(), 0..4), 1..6),
        limit in 0..30_usize,
    ) {
        let twins = Twins::new(2);
        // What every store has, so that its tables have all columns.
        twins.both(|engine| {
            write_rows(engine, 4, &[(DAY, vec![1.into(), 1.0.into(), true.into(), "a".into()])]);
            let all: Vec<Sample> = (0..4).map(|number| (number, DAY, 0.5)).collect();
            write_samples(engine, &all);
        });
        for (rows, samples, archive) in &pieces {
            twins.both(|engine| {
                write_rows(engine, 4, rows);
                write_samples(engine, samples);
                engine.freeze().unwrap();
            });
            if *archive {
                twins.archive_what_is_old();
            }
        }
        runtime().block_on(async {
            let session = twins.session();
            for conditions in &questions {
                for what in ["time, n, x, b, t", "t, time", "x", "count(*), sum(n), min(time), max(t)"] {
                    compare(&session, what, "things", conditions).await;
                }
            }
            for conditions in &series_questions {
                for what in ["time, value, host, zone, label_value, label_time", "zone", "count(*), max(time)"] {
                    compare(&session, what, "load", conditions).await;
                }
            }
            for table in ["things", "load"] {
                let of = |schema: &str| format!("SELECT time FROM {schema}.{table} LIMIT {limit}");
                let found = rows(&session, &of("history")).await.len();
                assert_eq!(found, rows(&session, &of("twin")).await.len(), "{table}");
            }
        });
    }
}

/// What is known beforehand is not read, archived or not.
#[tokio::test]
async fn counts_and_bounds_are_known_without_reading() {
    let twins = ten_days();
    let session = twins.session();
    let sql = "SELECT count(*), min(time), max(time) FROM history.things";
    let plan = explain(&session, sql).await;
    assert!(!plan.contains("HistoryExec"), "{plan}");
    assert_eq!(rows(&session, sql).await, ["1000 1970-01-01T00:00:00Z 1970-01-10T16:30:00Z"]);
    let sql = "SELECT count(*) FROM history.things WHERE time < to_timestamp(3000)";
    assert!(explain(&session, sql).await.contains("HistoryExec"));
    assert_eq!(rows(&session, sql).await, ["5"]);
    // Whole days are whole stretches.
    let sql = "SELECT count(*) FROM history.things WHERE time < to_timestamp(3 * 86400)";
    assert!(!explain(&session, sql).await.contains("HistoryExec"));
    assert_eq!(rows(&session, sql).await, ["300"]);
}

/// The order of time can be declared, archive and all.
#[tokio::test]
async fn time_order_holds_across_the_archive() {
    let twins = ten_days();
    let session = twins.session();
    let options = HistoryOptions { time_order: true, ..HistoryOptions::default() };
    twins.register(&session, "ordered", options);
    let sql = "SELECT n FROM ordered.things ORDER BY time";
    assert!(!explain(&session, sql).await.contains("SortExec"));
    let expected: Vec<String> =
        (0..10).flat_map(|day| (0..100).map(move |at| (day * 100 + at).to_string())).collect();
    assert_eq!(rows(&session, sql).await, expected);
}
