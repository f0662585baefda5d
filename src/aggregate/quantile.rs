//! Exact quantiles.

use crate::model::{ordered, unordered};

/// The quantile `0 <= q <= 1` of the values, which it reorders: linear between the two nearest
/// order statistics, as Prometheus' `quantile_over_time` (rank `q · (n - 1)`). Unlike there,
/// NaNs are passed over, so that 0 and 1 are `min` and `max`; NaN where nothing else is left.
///
/// Cost: linear in the values (quickselect).
#[must_use]
pub fn quantile(q: f64, values: &mut Vec<f64>) -> f64 {
    values.retain(|value| !value.is_nan());
    let Some(last) = values.len().checked_sub(1) else {
        return f64::NAN;
    };
    let rank = q.clamp(0.0, 1.0) * last as f64;
    let below = (rank.floor() as usize).min(last);
    let weight = rank - below as f64;
    let (lower, upper) = match last - below {
        0 => neighbours(largest::<1>(values)),
        1 => neighbours(largest::<2>(values)),
        2 => neighbours(largest::<3>(values)),
        3 => neighbours(largest::<4>(values)),
        _ => {
            let (_, &mut lower, above) = values.select_nth_unstable_by(below, f64::total_cmp);
            (lower, above.iter().copied().min_by(f64::total_cmp).unwrap_or(lower))
        }
    };
    // An infinite neighbour of weight 0 must not turn the answer into NaN.
    if weight == 0.0 || lower == upper {
        return lower;
    }
    lower * (1.0 - weight) + upper * weight
}

/// The `K` largest values, descending; no fewer are there. For a high quantile of a few values a
/// pass without branches is cheaper than moving them about.
fn largest<const K: usize>(values: &[f64]) -> [f64; K] {
    let mut top = [i64::MIN; K];
    for &value in values {
        let mut rest = ordered(value);
        for held in &mut top {
            (*held, rest) = ((*held).max(rest), (*held).min(rest));
        }
    }
    top.map(unordered)
}

/// The last, and the one before it where there is one.
fn neighbours<const K: usize>(descending: [f64; K]) -> (f64, f64) {
    let mut from_below = descending.into_iter().rev();
    let lower = from_below.next().unwrap_or(f64::NAN);
    (lower, from_below.next().unwrap_or(lower))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::quantile;

    proptest! {
        #[test]
        fn is_what_sorting_gives(
            values in prop::collection::vec(prop_oneof![
                (-5..5_i32).prop_map(|n| f64::from(n) * 0.5),
                any::<f64>().prop_filter("a number", |value| !value.is_nan()),
                Just(-0.0),
            ], 1..40),
            q in prop_oneof![0.0..=1.0, 0.9..=1.0, Just(1.0)],
        ) {
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let rank: f64 = q * (values.len() - 1) as f64;
            let (lower, weight) = (sorted[rank as usize], rank.fract());
            let upper = sorted[(rank as usize + 1).min(values.len() - 1)];
            let plain = if weight == 0.0 || lower == upper {
                lower
            } else {
                lower * (1.0 - weight) + upper * weight
            };
            prop_assert_eq!(quantile(q, &mut values.clone()).to_bits(), plain.to_bits());
        }
    }

    #[test]
    fn lies_between_order_statistics() {
        let of = |q: f64| quantile(q, &mut vec![4.0, f64::NAN, 1.0, 3.0, 2.0]);
        assert_eq!((of(0.0), of(0.5), of(1.0)), (1.0, 2.5, 4.0));
        assert_eq!((of(0.25), of(0.9)), (1.75, 3.7));
        assert!(quantile(0.5, &mut vec![f64::NAN]).is_nan());
        assert_eq!(quantile(0.3, &mut vec![7.0]), 7.0);
    }

    #[test]
    fn infinities_stay_where_they_are() {
        let inf = f64::INFINITY;
        assert_eq!(quantile(0.5, &mut vec![1.0, inf, 0.0]), 1.0);
        assert_eq!(quantile(0.9, &mut vec![inf, inf, 0.0]), inf);
    }
}
