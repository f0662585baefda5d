//! Tight loops over value slices, in a fixed number of lanes.
//!
//! A floating-point sum has one result per order of its terms, so a compiler may not reorder it
//! and a plain loop waits for every addition. Here the order is part of the definition: term `i`
//! goes to lane `i % LANES`, and the lanes are added as a tree. That vectorises, does not depend
//! on the processor, and rounds less than a single running sum.

/// Eight doubles: four registers of SSE2, two of AVX, enough to hide the latency of an addition.
const LANES: usize = 8;

/// The sum of the values, 0 for none; NaN where any value is NaN.
pub(crate) fn sum(values: &[f64]) -> f64 {
    sum_of(values, |value| value)
}

/// The sum of `term(value)` over the values.
#[inline(always)]
pub(super) fn sum_of(values: &[f64], term: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.0; LANES];
    let (blocks, rest) = values.as_chunks::<LANES>();
    for block in blocks {
        for (lane, &value) in lanes.iter_mut().zip(block) {
            *lane += term(value);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane += term(value);
    }
    add_up(lanes)
}

fn add_up([a, b, c, d, e, f, g, h]: [f64; LANES]) -> f64 {
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// The smallest value; NaN only where there is nothing else.
pub(crate) fn min(values: &[f64]) -> f64 {
    extreme(values, f64::INFINITY, |value, best| value < best)
}

/// The largest value; NaN only where there is nothing else.
pub(crate) fn max(values: &[f64]) -> f64 {
    extreme(values, f64::NEG_INFINITY, |value, best| value > best)
}

/// Starts every lane at `worst`, which no value is worse than; a NaN beats nothing.
#[inline(always)]
fn extreme(values: &[f64], worst: f64, beats: impl Fn(f64, f64) -> bool) -> f64 {
    let mut lanes = [worst; LANES];
    let (blocks, rest) = values.as_chunks::<LANES>();
    let better =
        |lane: &mut f64, value: f64| *lane = if beats(value, *lane) { value } else { *lane };
    for block in blocks {
        lanes.iter_mut().zip(block).for_each(|(lane, &value)| better(lane, value));
    }
    lanes.iter_mut().zip(rest).for_each(|(lane, &value)| better(lane, value));
    let best =
        lanes.into_iter().fold(worst, |best, lane| if beats(lane, best) { lane } else { best });
    // Nothing beat the start: either it is itself among the values, or all of them are NaN.
    if best == worst && !values.contains(&worst) { f64::NAN } else { best }
}

/// Growth of a counter over the values, and the number of its resets: see [`step`].
pub(super) fn increase(values: &[f64]) -> (f64, u64) {
    let next = values.get(1..).unwrap_or_default();
    let mut growth = [0.0; LANES];
    let mut resets = [0_u64; LANES];
    let (blocks, rest) = next.as_chunks::<LANES>();
    // `values` is one longer than `next`, so its blocks may be one more: zip drops that one.
    let (before_blocks, _) = values.as_chunks::<LANES>();
    for (before, after) in before_blocks.iter().zip(blocks) {
        for (((grown, falls), &a), &b) in growth.iter_mut().zip(&mut resets).zip(before).zip(after)
        {
            let (add, fell) = step(a, b);
            *grown += add;
            *falls += u64::from(fell);
        }
    }
    let before_rest = values.get(next.len() - rest.len()..).unwrap_or_default();
    for (((grown, falls), &a), &b) in growth.iter_mut().zip(&mut resets).zip(before_rest).zip(rest)
    {
        let (add, fell) = step(a, b);
        *grown += add;
        *falls += u64::from(fell);
    }
    (add_up(growth), resets.iter().sum())
}

/// What one step of a counter adds, and whether it was a reset: a rise adds the difference, a
/// fall is a reset to zero and adds the value it restarted at, a NaN on either side (or between
/// two equal infinities) adds nothing.
#[inline(always)]
pub(super) fn step(before: f64, after: f64) -> (f64, bool) {
    let rise = after - before;
    let rise = if rise.is_nan() { 0.0 } else { rise };
    let fell = after < before;
    (if fell { after } else { rise }, fell)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_answer_as_one_loop_does_at_every_length() {
        for length in 0..70_u32 {
            // Small integers: every order of addition is exact.
            let values: Vec<f64> = (0..length).map(|i| f64::from(i * 7 % 11)).collect();
            assert_eq!(sum(&values), values.iter().sum::<f64>());
            let smallest = values.iter().copied().reduce(f64::min).unwrap_or(f64::NAN);
            let largest = values.iter().copied().reduce(f64::max).unwrap_or(f64::NAN);
            assert_eq!(min(&values).to_bits(), smallest.to_bits());
            assert_eq!(max(&values).to_bits(), largest.to_bits());
            let mut expected = (0.0, 0);
            for pair in values.windows(2) {
                expected.0 += if pair[1] < pair[0] { pair[1] } else { pair[1] - pair[0] };
                expected.1 += u64::from(pair[1] < pair[0]);
            }
            assert_eq!(increase(&values), expected);
        }
    }

    #[test]
    fn extremes_pass_over_nan_and_keep_infinities() {
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        assert_eq!(min(&[nan, 3.0, nan, 1.0]), 1.0);
        assert_eq!(max(&[nan, 3.0, nan, 1.0]), 3.0);
        assert_eq!((min(&[inf, nan]), max(&[-inf, nan])), (inf, -inf));
        assert!(min(&[nan]).is_nan() && max(&[nan; 20]).is_nan() && min(&[]).is_nan());
    }

    #[test]
    fn a_step_with_nan_or_between_infinities_adds_nothing() {
        let inf = f64::INFINITY;
        assert_eq!(increase(&[1.0, f64::NAN, 5.0, 7.0]), (2.0, 0));
        assert_eq!(increase(&[inf, inf]), (0.0, 0));
        assert_eq!(increase(&[3.0, 1.0]), (1.0, 1));
    }
}
