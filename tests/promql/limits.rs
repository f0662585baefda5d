//! What bounds a query: its text, its memory, its time.

use std::time::{Duration, Instant};

use icecore::model::Series;
use icecore::promql::{Options, Query, Steps, Value, evaluate};
use icecore::query::{CancelToken, Limits};
use icecore::{Error, Timestamp};

use super::script::Store;

const SECOND: i64 = 1_000_000_000;

fn store() -> Store {
    let store = Store::new();
    for index in 0..40 {
        let name = index.to_string();
        let series = Series::new("m", [("i", name.as_str())]).unwrap();
        let times = (0..100).map(|i| i * 10 * SECOND).collect();
        store.append(&series, times, vec![1.0; 100]);
    }
    store
}

fn steps(count: i64) -> Steps {
    Steps::new(Timestamp(0), Timestamp((count - 1) * SECOND), SECOND).unwrap()
}

fn ask(store: &Store, text: &str, steps: Steps, options: &Options) -> icecore::Result<Value> {
    evaluate(&store.engine, &Query::parse(text)?, steps, options).map(|outcome| outcome.value)
}

#[test]
fn hostile_text_is_refused() {
    let deep = format!("{}m{}", "(".repeat(200_000), ")".repeat(200_000));
    let minus = format!("{}m", "-".repeat(100_000));
    let chain = format!("m{}", " or m".repeat(50_000));
    let long = format!("m{{l=\"{}\"}}", "x".repeat(1 << 20));
    let texts = [
        deep.as_str(),
        &minus,
        &chain,
        &long,
        "m[1e300]",
        "m[NaN]",
        "m[Inf]",
        "m offset 1e30",
        "m offset -nan",
        "m[0]",
        "m[5m:0]",
        "m[0x7fffffffffffffff]",
        "m offset 99999999999y",
        "",
        "   ",
        "#",
        "m{",
        "\"",
        "'\\",
        "m @ 1e300",
        "{__name__=\"a\" or b=\"c\"}",
        "m{a=~\"(\"}",
        "sum()",
        "m[5m][5m]",
        "rate(m)",
        "absent_over_time(m)",
        "m @ foo",
        "1 offset 5m",
    ];
    for text in texts {
        let found = Query::parse(text);
        let shown: String = text.chars().take(40).collect();
        assert!(matches!(found, Err(Error::InvalidQuery { .. })), "{shown}: {found:?}");
    }
}

/// The deepest that is let through is evaluated on a thread of Rust's default stack.
#[test]
fn the_deepest_text_has_room() {
    let store = store();
    let run = move || {
        let chain = format!("m{}", " or m".repeat(250));
        let (minus, nested) = (
            format!("{}m", "-".repeat(250)),
            format!("{}m{}", "abs(".repeat(100), ")".repeat(100)),
        );
        for text in [chain, minus, nested] {
            let query = Query::parse(&text).unwrap();
            assert!(!query.to_string().is_empty());
            ask(&store, &text, steps(1), &Options::default()).unwrap();
        }
    };
    std::thread::spawn(run).join().unwrap();
}

#[test]
fn columns_are_counted_before_they_are_made() {
    let store = store();
    let limits = Limits { memory_bytes_max: 1 << 20, ..Limits::default() };
    let options = Options { limits, ..Options::default() };
    let many = Steps::new(Timestamp(0), Timestamp(i64::MAX), 1).unwrap();
    for text in ["m", "1", "time()", "rate(m[5m])", "sum(m)", "m @ 10", "absent(m)", "vector(1)"] {
        let found = ask(&store, text, many, &options);
        assert!(matches!(found, Err(Error::Limit { .. })), "{text}: {found:?}");
    }
    // 40 columns of 5,000 values do not fit; folded while they are read, one a task does.
    assert!(matches!(ask(&store, "m", steps(5000), &options), Err(Error::Limit { .. })));
    assert!(ask(&store, "sum(m)", steps(5000), &options).is_ok());
    // What was consumed is given back.
    let text = vec!["sum(m)"; 100].join(" + ");
    assert!(ask(&store, &text, steps(5000), &options).is_ok());
}

#[test]
fn limits_of_reading_hold() {
    let store = store();
    let of = |limits| Options { limits, ..Options::default() };
    let series = of(Limits { series_max: 10, ..Limits::default() });
    assert!(matches!(ask(&store, "m", steps(2), &series), Err(Error::Limit { .. })));
    let samples = of(Limits { samples_max: 100, ..Limits::default() });
    let found = ask(&store, "rate(m[1h])", steps(2), &samples);
    assert!(matches!(found, Err(Error::Limit { .. })));
}

#[test]
fn deadline_and_cancel_end_a_query() {
    let store = store();
    let past = Options { deadline: Some(Instant::now()), ..Options::default() };
    assert!(matches!(ask(&store, "m", steps(2), &past), Err(Error::Deadline { .. })));
    let cancel = CancelToken::new();
    let options = Options { cancel: cancel.clone(), ..Options::default() };
    cancel.cancel();
    assert!(matches!(ask(&store, "1", steps(2), &options), Err(Error::Cancelled)));
}

/// Also where all samples are read and only windows are left: 40 series × 200,000 steps of 100
/// samples each would take seconds.
#[test]
fn a_cancelled_evaluation_ends_at_once() {
    let store = store();
    let cancel = CancelToken::new();
    let options = Options { cancel: cancel.clone(), ..Options::default() };
    let many = Steps::new(Timestamp(0), Timestamp(1000 * SECOND), SECOND / 200).unwrap();
    std::thread::scope(|scope| {
        let text = "stddev_over_time(m[1000s])";
        let query = scope.spawn(|| ask(&store, text, many, &options));
        std::thread::sleep(Duration::from_millis(30));
        cancel.cancel();
        let cancelled = Instant::now();
        let found = query.join().unwrap();
        assert!(matches!(found, Err(Error::Cancelled)), "{}", found.is_ok());
        // Ten milliseconds on an idle machine.
        assert!(cancelled.elapsed() < Duration::from_secs(1), "{:?}", cancelled.elapsed());
    });
}

#[test]
fn evidence_tells_what_a_selector_read() {
    let store = store();
    store.engine.freeze().unwrap();
    let query = Query::parse("sum(rate(m[1m])) + sum(m{i=\"3\"})").unwrap();
    let at = Steps::at(Timestamp(500 * SECOND));
    let found = evaluate(&store.engine, &query, at, &Options::default()).unwrap();
    let read: Vec<(&str, u64)> =
        found.evidence.iter().map(|(text, read)| (text.as_str(), read.series)).collect();
    assert_eq!(read, [("m", 40), ("m{i=\"3\"}", 1)]);
}

/// A month of samples, looked at every five days: chunks between the looks are not decoded.
#[test]
fn a_large_step_leaves_chunks_alone() {
    let store = Store::new();
    let series = Series::new("m", [("i", "1")]).unwrap();
    let times: Vec<i64> = (0..30 * 1440).map(|i| i * 60 * SECOND).collect();
    let values = times.iter().map(|time| (time / SECOND) as f64).collect();
    store.append(&series, times, values);
    store.engine.freeze().unwrap();
    let step = 5 * 86_400 * SECOND;
    let days = Steps::new(Timestamp(0), Timestamp(5 * step), step).unwrap();
    let decoded = |text: &str| {
        let query = Query::parse(text).unwrap();
        let found = evaluate(&store.engine, &query, days, &Options::default()).unwrap();
        let Value::Vector(columns) = &found.value else { panic!("{found:?}") };
        assert_eq!(columns[0].values.len(), 6);
        (columns[0].values[2], found.evidence[0].1.chunks_decoded)
    };
    let (value, few) = decoded("m");
    assert_eq!(value, 10.0 * 86_400.0);
    let (_, all) = decoded("sum_over_time(m[5d])");
    assert!(few < 10 && all > 30, "{few} of {all}");
}
