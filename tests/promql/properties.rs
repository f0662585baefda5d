//! What holds for any data: a step of a range query is an instant query, threads change nothing,
//! and neither does where the samples lie.

use icecore::Timestamp;
use icecore::model::{STALE_MARKER_BITS, Series};
use icecore::promql::{Labels, Steps, Value};
use proptest::prelude::*;

use super::script::Store;

const SECOND: i64 = 1_000_000_000;

/// Expressions that are the same at a step whether others are asked for or not.
const EXPRESSIONS: [&str; 34] = [
    "m",
    "m offset 15s",
    "m @ 100",
    "timestamp(m)",
    "-m",
    "rate(m[45s])",
    "increase(m[1m] offset 20s)",
    "delta(m[45s])",
    "irate(m[45s])",
    "idelta(m[45s])",
    "deriv(m[1m])",
    "predict_linear(m[1m], 30)",
    "resets(m[1m])",
    "changes(m[1m])",
    "sum_over_time(m[45s])",
    "avg_over_time(m[45s])",
    "min_over_time(m[45s])",
    "max_over_time(m[45s])",
    "count_over_time(m[45s])",
    "stddev_over_time(m[45s])",
    "stdvar_over_time(m[45s])",
    "quantile_over_time(0.3, m[45s])",
    "last_over_time(m[45s])",
    "first_over_time(m[45s])",
    "present_over_time(m[45s])",
    "absent_over_time(m[20s])",
    "mad_over_time(m[45s])",
    "sum_over_time(m[1m:7s])",
    "max_over_time(rate(m[30s])[1m:10s])",
    "sum_over_time(sum_over_time(m[20s])[1m:20s])",
    "sum_over_time(m[45s] @ 80)",
    "ts_of_max_over_time(m[45s])",
    "last_over_time(m[1m:7s] @ 90)",
    "double_exponential_smoothing(m[1m], 0.4, 0.6)",
];

/// By series: samples as milliseconds and values.
type Data = Vec<Vec<(i64, f64)>>;

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        12 => (0_i32..40).prop_map(f64::from),
        3 => -1e6..1e6,
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(-0.0),
        2 => Just(f64::from_bits(STALE_MARKER_BITS)),
    ]
}

fn data() -> impl Strategy<Value = Data> {
    let sample = (1_i64..15_000, value());
    let series = prop::collection::vec(sample, 0..40).prop_map(|samples| {
        let mut time = 0;
        let later = |(step, value)| {
            time += step;
            (time, value)
        };
        samples.into_iter().map(later).collect()
    });
    prop::collection::vec(series, 1..20)
}

fn store(data: &Data, threads: usize, frozen: bool) -> Store {
    let store = Store::with_threads(Some(threads));
    for (index, samples) in data.iter().enumerate() {
        let (name, group) = (index.to_string(), (index % 3).to_string());
        let labels = [("index", name.as_str()), ("group", group.as_str())];
        let series = Series::new("m", labels).unwrap();
        let (times, values) = samples.iter().map(|(ms, v)| (ms * 1_000_000, *v)).unzip();
        store.append(&series, times, values);
    }
    if frozen {
        store.engine.freeze().unwrap();
    }
    store
}

/// The expression's inner part in an operator that changes nothing, so that it is not folded while
/// it is read.
fn materialized(text: &str) -> String {
    let (head, inner) = text.rsplit_once(" (").or_else(|| text.split_once('(')).unwrap();
    let inner = inner.strip_suffix(')').unwrap();
    format!("{head}({inner} and {inner})")
}

/// Labels with the bits of their values, absent ones left out.
fn bits(value: Value, from: usize) -> Vec<(Labels, usize, u64)> {
    let Value::Vector(columns) = value else { panic!("{value:?}") };
    let mut all = Vec::new();
    for column in columns {
        for (step, value) in column.values.iter().enumerate() {
            if !icecore::promql::is_absent(*value) {
                let bits = if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
                all.push((column.labels.clone(), from + step, bits));
            }
        }
    }
    all.sort();
    all
}

fn steps(start: i64, step: i64) -> Steps {
    let end = Timestamp((start + step * 14) * SECOND);
    Steps::new(Timestamp(start * SECOND), end, step * SECOND).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_step_is_an_instant_query(
        data in data(), start in -20_i64..60, step in 1_i64..40, frozen: bool,
    ) {
        let store = store(&data, 1, frozen);
        let steps = steps(start, step);
        for text in EXPRESSIONS {
            let whole = bits(store.ask(text, steps).unwrap().value, 0);
            let mut instants = Vec::new();
            for (index, time) in steps.iter().enumerate() {
                instants.extend(bits(store.ask(text, Steps::at(time)).unwrap().value, index));
            }
            instants.sort();
            prop_assert_eq!(whole, instants, "{}", text);
        }
    }

    #[test]
    fn folding_while_reading_is_folding_what_was_read(data in data(), step in 1_i64..40) {
        let store = store(&data, 2, false);
        for text in super::PUSHED {
            let folded = bits(store.ask(text, steps(3, step)).unwrap().value, 0);
            let apart = bits(store.ask(&materialized(text), steps(3, step)).unwrap().value, 0);
            prop_assert_eq!(folded.len(), apart.len(), "{}", text);
            for (a, b) in folded.iter().zip(&apart) {
                let (x, y) = (f64::from_bits(a.2), f64::from_bits(b.2));
                let close = x == y || (x - y).abs() <= 1e-9 * (1.0 + x.abs().max(y.abs()));
                prop_assert_eq!((&a.0, a.1), (&b.0, b.1), "{}", text);
                prop_assert!(close || x.is_nan() && y.is_nan(), "{}: {} {}", text, x, y);
            }
        }
    }

    #[test]
    fn threads_and_places_change_nothing(data in data(), step in 1_i64..400) {
        let steps = steps(7, step);
        let (alone, many) = (store(&data, 1, false), store(&data, 4, true));
        for text in EXPRESSIONS.into_iter().chain(super::PUSHED) {
            let found = bits(many.ask(text, steps).unwrap().value, 0);
            prop_assert_eq!(bits(alone.ask(text, steps).unwrap().value, 0), found, "{}", text);
        }
    }
}
