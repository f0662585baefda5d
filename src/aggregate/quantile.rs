//! Exact quantiles.

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
    let (_, &mut lower, above) = values.select_nth_unstable_by(below, f64::total_cmp);
    let upper = above.iter().copied().min_by(f64::total_cmp).unwrap_or(lower);
    // An infinite neighbour of weight 0 must not turn the answer into NaN.
    if weight == 0.0 || lower == upper {
        return lower;
    }
    lower * (1.0 - weight) + upper * weight
}

#[cfg(test)]
mod tests {
    use super::quantile;

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
