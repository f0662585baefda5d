//! What a group keeps of the values it has seen, step by step.

use super::AggregateOp;
use crate::promql::kahan::compensated;
use crate::promql::value::{ABSENT, is_absent};

/// The state of one group: a few numbers a step.
#[derive(Debug)]
pub(super) enum Fold {
    /// How many; `group` only asks whether any.
    Count { count: Vec<f64>, is_group: bool },
    /// The least or greatest, [`ABSENT`] before the first. A NaN gives way to any number.
    Extreme { best: Vec<f64>, is_max: bool },
    /// A compensated sum, [`ABSENT`] before the first value.
    Sum { sum: Vec<f64>, rest: Vec<f64> },
    /// As a sum, until that would overflow: from there on a mean.
    Avg { count: Vec<f64>, sum: Vec<f64>, rest: Vec<f64>, is_mean: Vec<bool> },
    /// After Welford: the mean, and the sum of squares of distances from it.
    Variance { count: Vec<f64>, mean: Vec<f64>, squares: Vec<f64>, is_root: bool },
}

/// Adds a value to what is a sum or already a mean; `count` includes it.
#[inline]
fn average(
    (value, value_rest): (f64, f64),
    added: f64,
    count: f64,
    (sum, rest, is_mean): (&mut f64, &mut f64, &mut bool),
) {
    let before = count - added;
    if before == 0.0 {
        (*sum, *rest) = (value, value_rest);
        return;
    }
    if !*is_mean {
        let (next, next_rest) = compensated(value, *sum, *rest);
        if next.is_finite() || next.is_nan() {
            (*sum, *rest) = (next, next_rest + value_rest);
            return;
        }
        *is_mean = true;
        *sum /= before;
        *rest /= before;
    }
    let share = before / count;
    let part = (value / count) + (value_rest / count);
    (*sum, *rest) = compensated(part, share * *sum, share * *rest);
}

impl Fold {
    pub(super) fn new(op: AggregateOp, steps: usize) -> Self {
        let zeros = || vec![0.0; steps];
        let absent = || vec![ABSENT; steps];
        match op {
            AggregateOp::Count => Self::Count { count: zeros(), is_group: false },
            AggregateOp::Min => Self::Extreme { best: absent(), is_max: false },
            AggregateOp::Max => Self::Extreme { best: absent(), is_max: true },
            AggregateOp::Sum => Self::Sum { sum: absent(), rest: zeros() },
            AggregateOp::Avg => Self::Avg {
                count: zeros(),
                sum: zeros(),
                rest: zeros(),
                is_mean: vec![false; steps],
            },
            AggregateOp::Stddev | AggregateOp::Stdvar => Self::Variance {
                count: zeros(),
                mean: zeros(),
                squares: zeros(),
                is_root: op == AggregateOp::Stddev,
            },
            // The others do not fold; that a group has members is all they share.
            _ => Self::Count { count: zeros(), is_group: true },
        }
    }

    pub(super) fn add(&mut self, values: &[f64]) {
        match self {
            Self::Count { count, .. } => {
                for (count, value) in count.iter_mut().zip(values) {
                    *count += if is_absent(*value) { 0.0 } else { 1.0 };
                }
            }
            Self::Extreme { best, is_max: true } => {
                extreme(best, values, |value, best| value > best)
            }
            Self::Extreme { best, .. } => extreme(best, values, |value, best| value < best),
            Self::Sum { sum, rest } => {
                for ((sum, rest), value) in sum.iter_mut().zip(rest).zip(values) {
                    add_sum(sum, rest, *value);
                }
            }
            Self::Avg { count, sum, rest, is_mean } => {
                let states = count.iter_mut().zip(sum).zip(rest).zip(is_mean);
                for ((((count, sum), rest), is_mean), value) in states.zip(values) {
                    if !is_absent(*value) {
                        *count += 1.0;
                        average((*value, 0.0), 1.0, *count, (sum, rest, is_mean));
                    }
                }
            }
            Self::Variance { count, mean, squares, .. } => {
                for (((count, mean), squares), value) in
                    count.iter_mut().zip(mean).zip(squares).zip(values)
                {
                    let there = !is_absent(*value);
                    let next = *count + 1.0;
                    let delta = *value - *mean;
                    let moved = *mean + delta / next;
                    *squares = if there { *squares + delta * (*value - moved) } else { *squares };
                    *mean = if there { moved } else { *mean };
                    *count = if there { next } else { *count };
                }
            }
        }
    }

    /// Takes in what another has seen of the same steps, for the same aggregator.
    pub(super) fn merge(&mut self, later: Self) {
        match (self, later) {
            (Self::Count { count, .. }, Self::Count { count: more, .. }) => {
                count.iter_mut().zip(more).for_each(|(count, more)| *count += more);
            }
            (own @ Self::Extreme { .. }, Self::Extreme { best, .. }) => own.add(&best),
            (Self::Sum { sum, rest }, Self::Sum { sum: sums, rest: rests }) => {
                for (((sum, rest), more), more_rest) in
                    sum.iter_mut().zip(rest).zip(sums).zip(rests)
                {
                    add_sum(sum, rest, more);
                    *rest += more_rest;
                }
            }
            (
                Self::Avg { count, sum, rest, is_mean },
                Self::Avg { count: counts, sum: sums, rest: rests, is_mean: means },
            ) => {
                let states = count.iter_mut().zip(sum).zip(rest).zip(is_mean);
                let others = counts.into_iter().zip(sums).zip(rests).zip(means);
                for ((((count, sum), rest), is_mean), other) in states.zip(others) {
                    let (((other_count, other), other_rest), other_is_mean) = other;
                    let state = (count, sum, rest, is_mean);
                    merge_average(state, (other_count, other, other_rest, other_is_mean));
                }
            }
            (
                Self::Variance { count, mean, squares, .. },
                Self::Variance { count: counts, mean: means, squares: more, .. },
            ) => {
                let states = count.iter_mut().zip(mean).zip(squares);
                let others = counts.into_iter().zip(means).zip(more);
                for (((count, mean), squares), ((other, other_mean), other_squares)) in
                    states.zip(others)
                {
                    // After Chan, Golub and LeVeque.
                    let total = *count + other;
                    if other > 0.0 {
                        let delta = other_mean - *mean;
                        *squares += other_squares + delta * delta * (*count * other / total);
                        *mean += delta * (other / total);
                        *count = total;
                    }
                }
            }
            // One aggregator has one kind of state.
            _ => {}
        }
    }

    /// The aggregator's value a step, [`ABSENT`] where no series had one.
    pub(super) fn finish(self) -> Vec<f64> {
        match self {
            Self::Count { mut count, is_group } => {
                for count in &mut count {
                    *count = match (*count > 0.0, is_group) {
                        (false, _) => ABSENT,
                        (true, true) => 1.0,
                        (true, false) => *count,
                    };
                }
                count
            }
            Self::Extreme { best, .. } => best,
            Self::Sum { mut sum, rest } => {
                for (sum, rest) in sum.iter_mut().zip(rest) {
                    *sum = if is_absent(*sum) { ABSENT } else { *sum + rest };
                }
                sum
            }
            Self::Avg { mut count, sum, rest, is_mean } => {
                for (((count, sum), rest), is_mean) in
                    count.iter_mut().zip(sum).zip(rest).zip(is_mean)
                {
                    *count = match (*count > 0.0, is_mean) {
                        (false, _) => ABSENT,
                        (true, true) => sum + rest,
                        (true, false) => sum / *count + rest / *count,
                    };
                }
                count
            }
            Self::Variance { mut count, squares, is_root, .. } => {
                for (count, squares) in count.iter_mut().zip(squares) {
                    let variance = squares / *count;
                    *count = match (*count > 0.0, is_root) {
                        (false, _) => ABSENT,
                        (true, true) => variance.sqrt(),
                        (true, false) => variance,
                    };
                }
                count
            }
        }
    }
}

#[inline]
fn extreme(best: &mut [f64], values: &[f64], better: impl Fn(f64, f64) -> bool) {
    for (best, value) in best.iter_mut().zip(values) {
        let wins = !is_absent(*value) && (better(*value, *best) || best.is_nan());
        *best = if wins { *value } else { *best };
    }
}

#[inline]
fn add_sum(sum: &mut f64, rest: &mut f64, value: f64) {
    let (next, next_rest) = compensated(value, *sum, *rest);
    let (next, next_rest) = if is_absent(*sum) { (value, 0.0) } else { (next, next_rest) };
    let there = !is_absent(value);
    *sum = if there { next } else { *sum };
    *rest = if there { next_rest } else { *rest };
}

/// Each state: how many, their sum or mean, its rest, whether it is a mean.
fn merge_average(
    (count, sum, rest, is_mean): (&mut f64, &mut f64, &mut f64, &mut bool),
    (others, other, other_rest, other_is_mean): (f64, f64, f64, bool),
) {
    if others == 0.0 {
        return;
    }
    if *count == 0.0 {
        (*count, *sum, *rest, *is_mean) = (others, other, other_rest, other_is_mean);
        return;
    }
    let total = *count + others;
    if !*is_mean && !other_is_mean {
        let (next, next_rest) = compensated(other, *sum, *rest);
        if !next.is_infinite() {
            (*count, *sum, *rest) = (total, next, next_rest + other_rest);
            return;
        }
    }
    let mean = |sum: f64, count: f64, is_mean: bool| if is_mean { sum } else { sum / count };
    let (share, other_share) = (*count / total, others / total);
    let own_rest = mean(*rest, *count, *is_mean) * share;
    let other_part = mean(other, others, other_is_mean) * other_share;
    let other_rest = mean(other_rest, others, other_is_mean) * other_share;
    let own = mean(*sum, *count, *is_mean) * share;
    let (next, next_rest) = compensated(other_part, own, own_rest + other_rest);
    (*count, *sum, *rest, *is_mean) = (total, next, next_rest, true);
}
