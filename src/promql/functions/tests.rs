use super::*;
use crate::time::Timestamp;

fn column(labels: &[(&str, &str)], values: &[f64]) -> Column {
    Column { labels: Labels::new(labels.iter().copied()), values: values.to_vec() }
}

fn call(name: &str, arguments: Vec<Value>) -> Result<Value> {
    let steps = Steps::at(Timestamp(60_000_000_000));
    Function::named(name).unwrap().call(arguments, steps, &Notes::default(), &|| Ok(()))
}

fn vector(value: Result<Value>) -> Vec<Column> {
    let Value::Vector(columns) = value.unwrap() else { panic!("no vector") };
    columns
}

/// The function of one series' value and scalars.
fn one(name: &str, value: f64, scalars: &[f64]) -> Option<f64> {
    let scalars = scalars.iter().map(|scalar| Value::Scalar(vec![*scalar]));
    let series = Value::Vector(vec![column(&[("__name__", "m"), ("l", "x")], &[value])]);
    let found = vector(call(name, std::iter::once(series).chain(scalars).collect()));
    assert!(found.iter().all(|c| c.labels == Labels::new([("l", "x")])));
    found.first().map(|column| column.values[0])
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[test]
fn rounding_goes_up_from_halves() {
    assert_eq!(one("round", 2.5, &[]), Some(3.0));
    assert_eq!(one("round", -2.5, &[]), Some(-2.0));
    assert_eq!(one("round", 0.35, &[0.1]), Some(0.4));
    assert_eq!(one("sgn", -0.5, &[]), Some(-1.0));
    assert_eq!(one("deg", std::f64::consts::PI, &[]), Some(180.0));
    assert_eq!(one("ln", 0.0, &[]), Some(f64::NEG_INFINITY));
}

#[test]
fn clamps_hold_to_their_bounds() {
    assert_eq!(one("clamp", 7.0, &[0.0, 5.0]), Some(5.0));
    assert_eq!(one("clamp", 7.0, &[5.0, 0.0]), None);
    assert_eq!(one("clamp_min", -7.0, &[0.0]), Some(0.0));
    assert!(one("clamp_max", 1.0, &[f64::NAN]).unwrap().is_nan());
    assert!(one("clamp", f64::NAN, &[0.0, 1.0]).unwrap().is_nan());
}

#[test]
fn a_scalar_is_the_only_element() {
    let scalar = |columns| match call("scalar", vec![Value::Vector(columns)]).unwrap() {
        Value::Scalar(values) => values[0],
        _ => panic!("no scalar"),
    };
    assert_eq!(scalar(vec![column(&[], &[3.0])]), 3.0);
    assert!(scalar(vec![column(&[], &[3.0]), column(&[("a", "b")], &[3.0])]).is_nan());
    let none = scalar(Vec::new());
    assert!(none.is_nan() && !is_absent(none));
}

#[test]
fn timestamps_of_expressions_are_the_steps() {
    assert_eq!(one("timestamp", 5.0, &[]), Some(60.0));
}

#[test]
fn label_replace_matches_as_a_whole() {
    let replaced = |by: &str, pattern: &str| {
        let series = Value::Vector(vec![column(&[("src", "a-b")], &[1.0])]);
        let texts = [text("dst"), text(by), text("src"), text(pattern)];
        vector(call("label_replace", std::iter::once(series).chain(texts).collect()))[0]
            .labels
            .clone()
    };
    assert_eq!(replaced("$2-${one}", "(?P<one>.*)-(.*)").get("dst"), "b-a");
    assert_eq!(replaced("x", "a").get("dst"), "");
}

#[test]
fn labels_must_stay_different() {
    let series = Value::Vector(vec![column(&[("a", "1")], &[1.0]), column(&[("a", "2")], &[2.0])]);
    let arguments = vec![series, text("a"), text("x"), text("a"), text(".*")];
    assert!(call("label_replace", arguments).is_err());
}

#[test]
fn label_join_puts_texts_together() {
    let series = Value::Vector(vec![column(&[("a", "1"), ("b", "2")], &[1.0])]);
    let found =
        vector(call("label_join", vec![series, text("c"), text("-"), text("a"), text("b")]));
    assert_eq!(found[0].labels.get("c"), "1-2");
}

#[test]
fn sorts_put_nan_last() {
    let series = [2.0, f64::NAN, 1.0].map(|value| column(&[("v", &value.to_string())], &[value]));
    let order = |name| {
        let found = vector(call(name, vec![Value::Vector(series.to_vec())]));
        found.iter().map(|c| c.labels.get("v").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(order("sort"), ["1", "2", "NaN"]);
    assert_eq!(order("sort_desc"), ["2", "1", "NaN"]);
}

fn buckets(counts: &[(&str, f64)]) -> Value {
    let bucket =
        |&(le, count): &(&str, f64)| column(&[("__name__", "h_bucket"), ("le", le)], &[count]);
    Value::Vector(counts.iter().map(bucket).collect())
}

fn histogram_quantile(phi: f64, counts: &[(&str, f64)]) -> f64 {
    vector(call("histogram_quantile", vec![Value::Scalar(vec![phi]), buckets(counts)]))[0].values[0]
}

#[test]
fn quantiles_are_interpolated_in_their_bucket() {
    let counts = [("0.1", 1.0), ("0.2", 3.0), ("+Inf", 4.0)];
    assert!((histogram_quantile(0.5, &counts) - 0.15).abs() < 1e-12);
    assert!((histogram_quantile(0.125, &counts) - 0.05).abs() < 1e-12);
    assert_eq!(histogram_quantile(0.9, &counts), 0.2);
    assert_eq!(histogram_quantile(2.0, &counts), f64::INFINITY);
    assert_eq!(histogram_quantile(0.1, &[("-1", 5.0), ("+Inf", 6.0)]), -1.0);
}

#[test]
fn quantiles_without_all_observations_are_nan() {
    assert!(histogram_quantile(0.5, &[("0.1", 1.0), ("0.2", 3.0)]).is_nan());
    assert!(histogram_quantile(0.5, &[("0.1", 0.0), ("+Inf", 0.0)]).is_nan());
    assert!(histogram_quantile(0.5, &[("+Inf", 1.0)]).is_nan());
}

#[test]
fn counts_that_decrease_are_raised() {
    assert_eq!(histogram_quantile(1.0, &[("1", 4.0), ("2", 3.0), ("+Inf", 4.0)]), 1.0);
}

#[test]
fn a_fraction_is_the_share_between_bounds() {
    let counts = [("0.1", 1.0), ("0.2", 3.0), ("+Inf", 4.0)];
    let of = |lower, upper| {
        let scalars = [lower, upper].map(|bound: f64| Value::Scalar(vec![bound]));
        let arguments = scalars.into_iter().chain([buckets(&counts)]).collect();
        vector(call("histogram_fraction", arguments))[0].values[0]
    };
    assert!((of(0.0, 0.1) - 0.25).abs() < 1e-12);
    assert!((of(0.1, 0.15) - 0.25).abs() < 1e-12);
    assert_eq!(of(0.2, f64::INFINITY), 0.25);
    assert_eq!(of(1.0, 0.5), 0.0);
    assert!(of(f64::NAN, 0.5).is_nan());
}
