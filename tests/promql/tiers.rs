//! Functions over ranges take from tiers what has the value that samples give, also where these
//! are gone.

use std::sync::Arc;
use std::time::Duration;

use icecore::engine::Environment;
use icecore::fs::RealFs;
use icecore::model::{Metadata, STALE_MARKER_BITS, Series};
use icecore::options::{Durability, GateOptions, Keep, Maintenance, Policy};
use icecore::promql::{self, Outcome, Query, Steps, Tiers, Value, evaluate, is_absent};
use icecore::{Engine, Options, SimulatedClock, Tier, Timestamp};
use tempfile::TempDir;

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3600 * SECOND;
const DAY: i64 = 24 * HOUR;
const DAYS: i64 = 3;
/// A midnight.
const START: i64 = 20_000 * DAY;

/// A store of its own, with tiers or without, that keeps raw samples for so long; everything that
/// is due has been done.
fn store(tiers: Vec<Tier>, keep: Keep) -> (Engine, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        self_metrics: None,
        gate: GateOptions { past: None, future: None, ..GateOptions::default() },
        maintenance: Maintenance::ByHand,
        policy: Policy { tiers, keep, ..Policy::default() },
        ..Options::default()
    };
    let clock = Arc::new(SimulatedClock::new(Timestamp(START + 10 * DAY)));
    let environment = Environment { fs: Arc::new(RealFs), clock };
    let engine = Engine::open_in(dir.path(), options, environment).unwrap();
    let writer = engine.writer("test").with_durability(Durability::Buffered);
    // Beside the borders of buckets, and on each of them.
    for (name, offset) in [("beside", 3 * SECOND), ("upon", 0)] {
        let series = Series::new("m", [("at", name)]).unwrap();
        let handle = writer.series(&series, &Metadata::default()).unwrap();
        let times: Vec<i64> =
            (0..DAYS * DAY / (10 * SECOND)).map(|i| START + offset + i * 10 * SECOND).collect();
        let value = |i: u64| match i {
            5000..5003 => f64::from_bits(STALE_MARKER_BITS),
            _ => (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f64 / 1000.0,
        };
        // A gap of two hours.
        let kept: Vec<usize> = (0..times.len()).filter(|i| !(3000..3720).contains(i)).collect();
        let values = kept.iter().map(|&i| value(i as u64)).collect();
        let times = kept.iter().map(|&i| times[i]).collect();
        writer.append_column(&handle, times, values).unwrap().wait().unwrap();
        // What comes much later tells that the days are over, and how old they are.
        let (time, value) = (vec![START + 10 * DAY - HOUR], vec![1.0]);
        writer.append_column(&handle, time, value).unwrap().wait().unwrap();
    }
    engine.freeze().unwrap();
    while engine.maintain().unwrap().is_some() {}
    (engine, dir)
}

fn tiers() -> Vec<Tier> {
    vec![Tier::FIVE_MINUTES, Tier::HOUR]
}

fn ask(engine: &Engine, text: &str, steps: Steps, tiers: Tiers) -> Outcome {
    let options = promql::Options { tiers, ..promql::Options::default() };
    evaluate(engine, &Query::parse(text).unwrap(), steps, &options).unwrap()
}

fn records(outcome: &Outcome) -> u64 {
    let tiers = outcome.evidence.iter().flat_map(|(_, read)| &read.tiers);
    tiers.filter(|read| !read.tier.is_raw()).map(|read| read.records).sum()
}

fn same(one: &Outcome, other: &Outcome, near: f64) -> bool {
    let (Value::Vector(one), Value::Vector(other)) = (&one.value, &other.value) else {
        panic!("vectors")
    };
    let close = |a: f64, b: f64| {
        a.to_bits() == b.to_bits()
            || !is_absent(a) && !is_absent(b) && (a - b).abs() <= near * b.abs()
    };
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| {
            let mut pairs = one.values.iter().zip(&other.values);
            one.labels == other.labels && pairs.all(|(&a, &b)| close(a, b))
        })
}

fn every(from: i64, to: i64, step: i64) -> Steps {
    Steps::new(Timestamp(START + from), Timestamp(START + to), step).unwrap()
}

#[test]
fn exact_functions_have_the_values_of_samples() {
    let ((tiered, _one), (plain, _other)) =
        (store(tiers(), Keep::FOREVER), store(Vec::new(), Keep::FOREVER));
    for function in ["count", "last", "max", "min", "present"] {
        for (range, step) in
            [("1h", HOUR), ("6h", HOUR), ("90m", HOUR / 2), ("1d", 10 * 60 * SECOND)]
        {
            for text in [
                format!("{function}_over_time(m[{range}])"),
                format!("sum by (at) ({function}_over_time(m[{range}] offset 10m))"),
                format!("{function}_over_time(m[{range}] @ {})", START / SECOND + 40 * 3600),
            ] {
                let steps = every(-HOUR, DAYS * DAY + 2 * HOUR, step);
                let found = ask(&tiered, &text, steps, Tiers::Exact);
                let wanted = ask(&plain, &text, steps, Tiers::Exact);
                assert!(same(&found, &wanted, 0.0), "{text}");
                assert!(records(&found) > 0, "{text} reads tiers");
                assert_eq!((records(&wanted), found.warnings.len()), (0, 0), "{text}");
            }
        }
    }
}

#[test]
fn sums_come_from_tiers_where_the_caller_lets_them() {
    let ((tiered, _one), (plain, _other)) =
        (store(tiers(), Keep::FOREVER), store(Vec::new(), Keep::FOREVER));
    for text in ["sum_over_time(m[6h])", "max(avg_over_time(m[2h]))"] {
        let steps = every(0, DAYS * DAY, HOUR);
        let wanted = ask(&plain, text, steps, Tiers::Exact);
        let exact = ask(&tiered, text, steps, Tiers::Exact);
        assert!(same(&exact, &wanted, 0.0) && records(&exact) == 0, "{text}");
        let near = ask(&tiered, text, steps, Tiers::Near);
        assert!(same(&near, &wanted, 1e-12) && records(&near) > 0, "{text}");
    }
}

#[test]
fn what_buckets_do_not_tell_is_read_from_samples() {
    let (tiered, _dir) = store(tiers(), Keep::FOREVER);
    let steps = every(0, DAY, HOUR);
    for text in [
        "rate(m[1h])",
        "stddev_over_time(m[1h])",
        "max_over_time(m[1m])",
        "max_over_time(m[61s])",
        "max_over_time(m[30m])",
    ] {
        assert_eq!(records(&ask(&tiered, text, steps, Tiers::Near)), 0, "{text}");
    }
    let odd = every(SECOND, DAY + SECOND, HOUR);
    assert_eq!(records(&ask(&tiered, "max_over_time(m[1h])", odd, Tiers::Near)), 0);
}

#[test]
fn history_outlives_its_samples() {
    let keep = Keep::FOREVER.with(Tier::RAW, Duration::from_nanos(8 * DAY as u64));
    let ((brief, _one), (plain, _other)) = (store(tiers(), keep), store(Vec::new(), Keep::FOREVER));
    let steps = every(HOUR, DAYS * DAY, HOUR);
    for (text, tiers) in [
        ("max_over_time(m{at=\"beside\"}[1h])", Tiers::Exact),
        ("count_over_time(m[1h])", Tiers::Exact),
        ("avg_over_time(m[3h])", Tiers::Near),
    ] {
        let found = ask(&brief, text, steps, tiers);
        let wanted = ask(&plain, text, steps, tiers);
        assert!(same(&found, &wanted, 1e-12), "{text}");
        assert!(found.warnings.is_empty(), "{:?}", found.warnings);
    }
    // Samples alone tell it, and they are gone: it says so.
    let found = ask(&brief, "avg_over_time(m[3h])", steps, Tiers::Exact);
    assert!(found.warnings.iter().any(|warning| warning.contains("are gone")), "{found:?}");
}

#[test]
fn one_look_takes_long_buckets() {
    let ((tiered, _one), (plain, _other)) =
        (store(tiers(), Keep::FOREVER), store(Vec::new(), Keep::FOREVER));
    for text in
        ["count_over_time(m[2d])", "last_over_time(m[40h])", "min_over_time(m[1d] offset 1h)"]
    {
        let at = Steps::at(Timestamp(START + 2 * DAY));
        let (found, wanted) =
            (ask(&tiered, text, at, Tiers::Exact), ask(&plain, text, at, Tiers::Exact));
        assert!(same(&found, &wanted, 0.0) && records(&found) > 0, "{text}");
        assert!(records(&found) < 1000, "{text}: no more is read than is asked for");
    }
}
