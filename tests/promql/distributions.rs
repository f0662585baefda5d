//! Distribution series answer `histogram_...` from their sketches.

use icecore::Timestamp;
use icecore::aggregate::Distribution;
use icecore::model::{Metadata, MetricKind};
use icecore::promql::{Labels, Steps, Value};

use super::script::Store;

const SECOND: i64 = 1_000_000_000;

/// Two sources that observe 1 to 100 and 101 to 200 every 10 s.
fn store() -> Store {
    let store = Store::new();
    let writer = store.engine.writer("test");
    let metadata = Metadata { kind: MetricKind::Distribution, ..Metadata::default() };
    for (source, base) in [("a", 0), ("b", 100)] {
        let series = writer.series_named("latency", [("source", source)], &metadata).unwrap();
        for time in 1..=60 {
            let mut distribution = Distribution::default();
            (1..=100).for_each(|value| {
                distribution.record(f64::from(base + value));
            });
            let at = Timestamp(time * 10 * SECOND);
            writer.append_distribution(&series, at, distribution).unwrap().wait().unwrap();
        }
    }
    store
}

fn columns(store: &Store, text: &str, steps: Steps) -> Vec<(Labels, Vec<f64>)> {
    let outcome = store.ask(text, steps).unwrap_or_else(|error| panic!("{text}: {error}"));
    let Value::Vector(columns) = outcome.value else { panic!("{text}") };
    columns.into_iter().map(|column| (column.labels, column.values)).collect()
}

fn near(found: f64, wanted: f64) {
    assert!((found - wanted).abs() <= 0.02 * wanted, "{found} is not near {wanted}");
}

#[test]
fn quantiles_come_from_merged_sketches() {
    let store = store();
    let at = Steps::at(Timestamp(300 * SECOND));
    let all = columns(&store, "histogram_quantile(0.5, sum(rate(latency[1m])))", at);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].0, Labels::default());
    near(all[0].1[0], 100.0);
    let by =
        columns(&store, "histogram_quantile(0.9, sum by (le, source) (increase(latency[1m])))", at);
    let without =
        columns(&store, "histogram_quantile(0.9, sum without (x) (rate(latency[1m])))", at);
    let each = columns(&store, "histogram_quantile(0.9, latency)", at);
    assert_eq!((by.len(), &by, &by), (2, &without, &each));
    assert_eq!(by[1].0, Labels::new([("source", "b")]));
    near(by[0].1[0], 90.0);
    near(by[1].1[0], 190.0);
    let odd = columns(&store, "histogram_quantile(2, rate(latency{source=\"a\"}[1m]))", at);
    assert_eq!(odd[0].1, [f64::INFINITY]);
}

#[test]
fn counts_and_sums_are_by_the_second_where_a_rate_is_asked_for() {
    let store = store();
    let at = Steps::at(Timestamp(300 * SECOND));
    let one = |text: &str| columns(&store, text, at)[0].1[0];
    assert_eq!(one("histogram_count(increase(latency{source=\"a\"}[1m]))"), 600.0);
    assert_eq!(one("histogram_count(sum(rate(latency[1m])))"), 20.0);
    assert_eq!(one("histogram_sum(sum(increase(latency[1m])))"), 6.0 * 20_100.0);
    assert_eq!(one("histogram_avg(latency{source=\"a\"})"), 50.5);
}

/// Windows are left open: that of one range and step tile, those of others do not, and each gives
/// what an instant query gives.
#[test]
fn every_step_is_an_instant_query() {
    let store = store();
    for (text, step) in [
        ("histogram_count(sum(increase(latency[1m])))", 60),
        ("histogram_count(sum(increase(latency[1m])))", 25),
        ("histogram_quantile(0.5, sum by (source) (rate(latency[45s] offset 10s)))", 45),
        ("histogram_quantile(time() / 1000, sum by (source) (rate(latency[30s])))", 30),
        ("histogram_quantile(0.5, sum(rate(latency[1m] @ 200)))", 30),
    ] {
        let end = Timestamp(800 * SECOND);
        let steps = Steps::new(Timestamp(0), end, step * SECOND).unwrap();
        let whole = columns(&store, text, steps);
        for (index, time) in steps.iter().enumerate() {
            let instant = columns(&store, text, Steps::at(time));
            let bits = |columns: &[(Labels, Vec<f64>)], at: usize| -> Vec<(Labels, u64)> {
                let there = columns.iter().filter(|c| !icecore::promql::is_absent(c.1[at]));
                there.map(|(labels, values)| (labels.clone(), values[at].to_bits())).collect()
            };
            assert_eq!(bits(&whole, index), bits(&instant, 0), "{text} at {time}");
        }
    }
}

#[test]
fn other_series_have_no_sketches() {
    let store = Store::new();
    let error = store.ask("histogram_count(rate(m[1m]))", Steps::at(Timestamp(0))).unwrap_err();
    assert!(error.to_string().contains("no distribution"), "{error}");
    let error = store.ask("histogram_stddev(m)", Steps::at(Timestamp(0))).unwrap_err();
    assert!(error.to_string().contains("native histograms"), "{error}");
}
