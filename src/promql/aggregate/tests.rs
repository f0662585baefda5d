use proptest::prelude::*;

use super::*;
use crate::promql::notes::Notes;
use crate::promql::steps::Steps;
use crate::promql::value::{ABSENT, Column, Value, is_absent};
use crate::time::Timestamp;

fn column(label: &str, values: &[f64]) -> Column {
    Column { labels: Labels::new([("__name__", "m"), ("l", label)]), values: values.to_vec() }
}

fn folded(op: AggregateOp, columns: &[&[f64]]) -> Vec<f64> {
    let grouping = Grouping::default();
    let mut groups = Groups::new(op, &grouping, columns[0].len());
    columns.iter().for_each(|values| groups.add(&Labels::new([("l", "x")]), values));
    groups.finish().pop().unwrap().values
}

#[test]
fn groups_are_by_labels_or_without_them() {
    let labels = Labels::new([("__name__", "m"), ("a", "1"), ("b", "2")]);
    let key = |without, label: &str| Grouping { without, labels: vec![label.into()] }.key(&labels);
    assert_eq!(key(false, "a"), Labels::new([("a", "1")]));
    assert_eq!(key(true, "a"), Labels::new([("b", "2")]));
    assert!(Grouping::default().key(&labels).is_empty());
}

#[test]
fn what_is_absent_is_not_counted() {
    use AggregateOp as A;
    let columns: [&[f64]; 2] = [&[1.0, ABSENT, ABSENT], &[4.0, 2.0, ABSENT]];
    for (op, want) in [
        (A::Sum, [5.0, 2.0]),
        (A::Avg, [2.5, 2.0]),
        (A::Count, [2.0, 1.0]),
        (A::Min, [1.0, 2.0]),
        (A::Max, [4.0, 2.0]),
        (A::Group, [1.0, 1.0]),
        (A::Stdvar, [2.25, 0.0]),
        (A::Stddev, [1.5, 0.0]),
    ] {
        let found = folded(op, &columns);
        assert_eq!(found[..2], want, "{op:?}");
        assert!(is_absent(found[2]), "{op:?}");
    }
}

#[test]
fn small_values_survive_beside_large_ones() {
    assert_eq!(folded(AggregateOp::Sum, &[&[1e100], &[1.0], &[-1e100]]), [1.0]);
    assert_eq!(folded(AggregateOp::Avg, &[&[1e100], &[3.0], &[-1e100]]), [1.0]);
}

#[test]
fn an_average_does_not_overflow() {
    assert_eq!(folded(AggregateOp::Avg, &[&[f64::MAX], &[f64::MAX]]), [f64::MAX]);
    let infinite = folded(AggregateOp::Avg, &[&[f64::INFINITY], &[1.0]]);
    assert_eq!(infinite, [f64::INFINITY]);
    assert!(folded(AggregateOp::Avg, &[&[f64::INFINITY], &[f64::NEG_INFINITY]])[0].is_nan());
}

#[test]
fn any_number_beats_nan() {
    assert_eq!(folded(AggregateOp::Max, &[&[f64::NAN], &[-1.0], &[f64::NAN]]), [-1.0]);
    let only = folded(AggregateOp::Min, &[&[f64::NAN]])[0];
    assert!(only.is_nan() && !is_absent(only));
}

#[test]
fn the_greatest_come_ranked_and_nan_last() {
    let columns = vec![column("a", &[1.0]), column("b", &[f64::NAN]), column("c", &[3.0])];
    let ranks = |is_top, k| {
        let found = ranked(is_top, &[k], &Grouping::default(), columns.clone(), &|| Ok(()));
        found.unwrap().iter().map(|c| c.labels.get("l").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ranks(true, 2.0), ["c", "a"]);
    assert_eq!(ranks(false, 1.0), ["a"]);
    assert_eq!(ranks(true, 9.0), ["c", "a", "b"]);
    assert!(ranks(true, 0.5).is_empty());
    assert!(ranked(true, &[f64::NAN], &Grouping::default(), Vec::new(), &|| Ok(())).is_err());
}

#[test]
fn ranks_are_of_each_step() {
    let columns = vec![column("a", &[1.0, 5.0]), column("b", &[2.0, 4.0])];
    let found = ranked(true, &[1.0, 1.0], &Grouping::default(), columns, &|| Ok(())).unwrap();
    assert!(is_absent(found[0].values[0]) && is_absent(found[1].values[1]));
    assert_eq!((found[0].values[1], found[1].values[0]), (5.0, 2.0));
}

#[test]
fn quantiles_lie_between_values_and_warn_outside() {
    let columns = [column("a", &[1.0; 3]), column("b", &[3.0; 3])];
    let notes = Notes::default();
    let phi = [0.5, -1.0, 2.0];
    let found = quantile(&phi, &Grouping::default(), &columns, &notes, &|| Ok(())).unwrap();
    assert_eq!(found[0].values, [2.0, f64::NEG_INFINITY, f64::INFINITY]);
    let outcome = notes.outcome(Steps::at(Timestamp(0)), Value::Scalar(Vec::new()));
    assert!(outcome.warnings[0].contains("should be between 0 and 1, got -1"));
}

#[test]
fn values_are_counted_by_their_text() {
    let columns = [column("a", &[6.5, 7.0]), column("b", &[6.5, ABSENT])];
    let found = count_values("v", &Grouping::default(), &columns, &|| Ok(())).unwrap();
    assert_eq!(found[0].labels, Labels::new([("v", "6.5")]));
    assert_eq!(found[1].labels, Labels::new([("v", "7")]));
    assert!(is_absent(found[0].values[1]));
    assert_eq!((found[0].values[0], found[1].values[1]), (2.0, 1.0));
}

proptest! {
    #[test]
    fn folding_in_shards_is_folding_at_once(
        values in proptest::collection::vec((0_u8..3, prop_oneof![-1e6..1e6, Just(ABSENT)]), 1..40),
        cut in 0_usize..40,
    ) {
        use AggregateOp as A;
        let grouping = Grouping { without: false, labels: vec!["l".into()] };
        for op in [A::Sum, A::Avg, A::Count, A::Min, A::Max, A::Group, A::Stddev, A::Stdvar] {
            let fold = |values: &[(u8, f64)]| {
                let mut groups = Groups::new(op, &grouping, 1);
                for (group, value) in values {
                    groups.add(&Labels::new([("l", group.to_string().as_str())]), &[*value]);
                }
                groups
            };
            let (before, after) = values.split_at(cut.min(values.len()));
            let mut merged = fold(before);
            merged.merge(fold(after));
            let (merged, once) = (merged.finish(), fold(&values).finish());
            prop_assert_eq!(merged.len(), once.len());
            for (merged, once) in merged.iter().zip(&once) {
                prop_assert_eq!(&merged.labels, &once.labels);
                let (a, b) = (merged.values[0], once.values[0]);
                prop_assert!((a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0), "{:?} {} {}", op, a, b);
            }
        }
    }
}
