//! Quantiles and fractions of classic histograms: cumulative buckets by the label `le`.
//!
//! The estimates are those of Prometheus' `BucketQuantile` and `BucketFraction`.

use crate::error::Result;
use crate::model::METRIC_NAME_LABEL;
use crate::promql::labels::{Labels, grouped};
use crate::promql::notes::Notes;
use crate::promql::value::{ABSENT, Column, is_absent};

/// The label of a bucket's upper bound, inclusive.
const BOUND_LABEL: &str = "le";

/// Counts that differ relatively by less are the same: sums of floats in another order.
const SMALL_DELTA: f64 = 1e-12;

/// A bucket at a step.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Inclusive.
    bound: f64,
    /// Observations up to the bound.
    count: f64,
}

/// A histogram: its labels, and its buckets' columns ascending by bound.
struct Histogram<'a> {
    labels: Labels,
    buckets: Vec<(f64, &'a [f64])>,
}

fn histograms<'a>(columns: &'a [Column], notes: &Notes) -> Vec<Histogram<'a>> {
    let buckets = columns.iter().filter_map(|column| {
        let bound = column.labels.get(BOUND_LABEL);
        let Ok(bound) = bound.parse::<f64>() else {
            notes.warn(format!(
                "PromQL warning: bucket label \"le\" is missing or has a malformed value of {bound:?}"
            ));
            return None;
        };
        let labels = column.labels.without(|name| name == BOUND_LABEL || name == METRIC_NAME_LABEL);
        Some((labels, (bound, column.values.as_slice())))
    });
    let ascending = |(labels, mut buckets): (Labels, Vec<(f64, &'a [f64])>)| {
        buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        Histogram { labels, buckets }
    };
    grouped(buckets).into_iter().map(ascending).collect()
}

/// For each histogram and step what `estimate` makes of its buckets, of which there is one at least:
/// ascending, those of the same bound made one.
fn each(
    columns: &[Column],
    steps: usize,
    notes: &Notes,
    check: &impl Fn() -> Result<()>,
    mut estimate: impl FnMut(usize, &mut [Bucket]) -> f64,
) -> Result<Vec<Column>> {
    let mut results = Vec::new();
    let mut buckets: Vec<Bucket> = Vec::new();
    for histogram in histograms(columns, notes) {
        check()?;
        let mut values = Vec::with_capacity(steps);
        for step in 0..steps {
            buckets.clear();
            for (bound, counts) in &histogram.buckets {
                let (bound, count) = (*bound, counts.get(step).copied().unwrap_or(ABSENT));
                if is_absent(count) {
                    continue;
                }
                match buckets.last_mut() {
                    Some(last) if last.bound == bound => last.count += count,
                    _ => buckets.push(Bucket { bound, count }),
                }
            }
            let none = buckets.is_empty();
            values.push(if none { ABSENT } else { estimate(step, &mut buckets) });
        }
        results.push(Column { labels: histogram.labels, values });
    }
    results.retain(|column| !column.is_empty());
    Ok(results)
}

/// `histogram_quantile`, `phi` one a step.
///
/// # Errors
/// What `check`, asked once a histogram, gives.
pub(super) fn quantile(
    phi: &[f64],
    columns: &[Column],
    notes: &Notes,
    check: &impl Fn() -> Result<()>,
) -> Result<Vec<Column>> {
    if let Some(odd) = phi.iter().find(|phi| !(0.0..=1.0).contains(*phi)) {
        notes.invalid_quantile(*odd);
    }
    let mut was_forced = false;
    let estimate = |step: usize, buckets: &mut [Bucket]| {
        let phi = phi.get(step).copied().unwrap_or(f64::NAN);
        let (value, forced) = bucket_quantile(phi, buckets);
        was_forced |= forced;
        value
    };
    let results = each(columns, phi.len(), notes, check, estimate)?;
    if was_forced {
        notes.inform(
            "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see \
             https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"
                .to_owned(),
        );
    }
    Ok(results)
}

/// The quantile, and whether counts had to be raised so that none decreases.
fn bucket_quantile(phi: f64, buckets: &mut [Bucket]) -> (f64, bool) {
    if phi.is_nan() {
        return (f64::NAN, false);
    }
    if phi < 0.0 {
        return (f64::NEG_INFINITY, false);
    }
    if phi > 1.0 {
        return (f64::INFINITY, false);
    }
    if buckets.last().is_none_or(|last| last.bound != f64::INFINITY) {
        return (f64::NAN, false);
    }
    let forced = make_monotonic(buckets);
    let [finite @ .., last] = buckets else { return (f64::NAN, false) };
    let (Some(first), Some(highest)) = (finite.first(), finite.last()) else {
        return (f64::NAN, false);
    };
    if last.count == 0.0 {
        return (f64::NAN, false);
    }
    let rank = phi * last.count;
    // As Go's `sort.Search`: with counts of NaN none is found.
    let at = finite.partition_point(
        |bucket| !matches!(bucket.count.partial_cmp(&rank), Some(order) if order.is_ge()),
    );
    let Some(bucket) = finite.get(at) else { return (highest.bound, forced) };
    if at == 0 && first.bound <= 0.0 {
        return (first.bound, forced);
    }
    let below = at.checked_sub(1).and_then(|at| finite.get(at));
    let (start, before) = below.map_or((0.0, 0.0), |below| (below.bound, below.count));
    let share = (rank - before) / (bucket.count - before);
    (start + (bucket.bound - start) * share, forced)
}

/// Raises counts that are less than one before, and says whether it did; differences that are only
/// rounding are levelled without saying.
fn make_monotonic(buckets: &mut [Bucket]) -> bool {
    let mut forced = false;
    let Some((first, others)) = buckets.split_first_mut() else { return false };
    let mut previous = first.count;
    for bucket in others {
        if is_almost(previous, bucket.count) {
            bucket.count = previous;
        } else if bucket.count < previous {
            bucket.count = previous;
            forced = true;
        } else {
            previous = bucket.count;
        }
    }
    forced
}

/// Equal but for [`SMALL_DELTA`], as Prometheus' `almost.Equal`.
fn is_almost(a: f64, b: f64) -> bool {
    if a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < SMALL_DELTA * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < SMALL_DELTA
}

/// `histogram_fraction`: the share of observations between two bounds, one of each a step.
///
/// # Errors
/// What `check`, asked once a histogram, gives.
pub(super) fn fraction(
    lower: &[f64],
    upper: &[f64],
    columns: &[Column],
    notes: &Notes,
    check: &impl Fn() -> Result<()>,
) -> Result<Vec<Column>> {
    each(columns, lower.len(), notes, check, |step, buckets| {
        let at = |bounds: &[f64]| bounds.get(step).copied().unwrap_or(f64::NAN);
        bucket_fraction(at(lower), at(upper), buckets)
    })
}

fn bucket_fraction(lower: f64, upper: f64, buckets: &[Bucket]) -> f64 {
    let Some(last) = buckets.last().filter(|last| last.bound == f64::INFINITY) else {
        return f64::NAN;
    };
    let count = last.count;
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let rank = |bound: f64| rank_of(bound, buckets).filter(|rank| *rank <= count).unwrap_or(count);
    (rank(upper) - rank(lower)) / count
}

/// How many observations lie below; `None` where the bound is above all buckets.
fn rank_of(bound: f64, buckets: &[Bucket]) -> Option<f64> {
    // Buckets from above 0 on hold nothing below 0.
    let is_positive = buckets.first().is_some_and(|first| first.bound > 0.0);
    let mut start = if is_positive { 0.0 } else { f64::NEG_INFINITY };
    let mut rank = 0.0;
    for bucket in buckets {
        if start >= bound {
            return Some(rank);
        }
        if bucket.bound > bound {
            if start == f64::NEG_INFINITY {
                return Some(bucket.count);
            }
            return Some(rank + (bucket.count - rank) * (bound - start) / (bucket.bound - start));
        }
        (start, rank) = (bucket.bound, bucket.count);
    }
    None
}
