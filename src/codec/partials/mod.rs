//! Columns of [`Partial`]s, field by field, each as its distance from what the others tell.
//!
//! Eight numbers of one bucket are no eight numbers: the minimum is at or a little below the lower
//! of first and last, the sum near what the four values known of the bucket give, a counter's
//! increase the difference of last and first. All values of a column are therefore taken to one
//! scale of integers, decimals of one exponent or else ordered bits, and only what remains is
//! stored. Sums of decimals are not quite decimals: beside them stands how many units in the last
//! place they are off.
//!
//! ```text
//! counts, less the expected; where any is above 0, of those that are:
//! scale u8: 0-18 the exponent of decimals, 255 ordered bits
//! quiet: a column, 1 for each bucket all of whose samples have the last value before; of the rest:
//! first: prediction u8 (0 none, 1 the last before) · column
//! last · minimum · maximum: a column each
//! sum: prediction u8 (0 quarter mean, 1 middle) · column · [scale of decimals: corrections]
//! increase, if kept: prediction u8 (0 the step as computed, 1 the step in scale) · column
//!                    · [1 and scale of decimals: corrections] · resets
//! ```
//!
//! Columns are `codec::integers` framed. Times are not kept here: the samples' own stand in
//! timestamp columns that series share, and are handed in. They also tell the counts to expect:
//! from the last sample of a bucket to the first of the next one it is a step, most often, and a
//! bucket holds as many as there are steps from its first to its last.

mod decode;
mod row;

pub use self::decode::decode;

use self::row::{Guess, Row, Scale};
use super::integers::{self, Order, check_count};
use crate::aggregate::Partial;
use crate::model::{Sample, ordered};
use crate::time::Timestamp;

/// When the first and the last samples of buckets stood: two lists of one length, ascending. A
/// bucket that is empty has any.
#[derive(Debug, Clone, Copy)]
pub struct Times<'a> {
    /// The first samples' times.
    pub firsts: &'a [i64],
    /// The last samples' times, none before its first.
    pub lasts: &'a [i64],
}

impl Times<'_> {
    /// How many samples each bucket is expected to hold.
    fn counts(&self) -> impl Iterator<Item = u64> {
        self.counts_with(&mut Vec::new())
    }

    /// As [`counts`](Self::counts); `steps` is scratch.
    fn counts_with(&self, steps: &mut Vec<u64>) -> impl Iterator<Item = u64> + use<'_> {
        let ends = self.lasts.iter().zip(self.firsts.iter().skip(1));
        steps.clear();
        steps.extend(ends.map(|(&last, &next)| next.wrapping_sub(last) as u64));
        let middle = steps.len() / 2;
        let step = if steps.is_empty() { 0 } else { *steps.select_nth_unstable(middle).1 };
        self.firsts.iter().zip(self.lasts).map(move |(&first, &last)| {
            let span = last.wrapping_sub(first) as u64;
            quotient(span.saturating_add(step / 2), step).wrapping_add(1)
        })
    }
}

/// `dividend / divisor`, 0 where the divisor is. Integers below 2^53 are divided as doubles, in a
/// third of the time, and exactly: a quotient that is no integer is so far from the next one that
/// it does not round to it.
#[inline(always)]
fn quotient(dividend: u64, divisor: u64) -> u64 {
    if (dividend | divisor) < 1 << 53 && divisor > 0 {
        (dividend as i64 as f64 / divisor as i64 as f64) as i64 as u64
    } else {
        dividend.checked_div(divisor).unwrap_or(0)
    }
}

/// The value that all samples of all buckets have, where that and the times tell all: what
/// [`expand`] takes.
#[must_use]
pub fn constant_of(partials: &[Partial], times: Times<'_>, increase: bool) -> Option<f64> {
    let value = partials.first()?.first.value;
    let same = |other: f64| other.to_bits() == value.to_bits();
    let constant = |(partial, count): (&Partial, u64)| {
        let values = [partial.first.value, partial.last.value, partial.min, partial.max];
        let grown = increase && (partial.increase.to_bits() != 0 || partial.resets != 0);
        partial.count == count
            && values.into_iter().all(same)
            && partial.sum.to_bits() == constant_sum(value, count).to_bits()
            && !grown
    };
    let all = !value.is_nan() && partials.iter().zip(times.counts()).all(constant);
    all.then_some(value)
}

/// A sum starts at +0: without it -0.0 would stay negative.
fn constant_sum(value: f64, count: u64) -> f64 {
    0.0 + value * count as f64
}

/// Replaces `out` with the aggregates of buckets whose samples all have this value.
pub fn expand(value: f64, times: Times<'_>, increase: bool, out: &mut Vec<Partial>) {
    let increase = if increase { 0.0 } else { f64::NAN };
    let sample = |at: &i64| Sample { timestamp: Timestamp(*at), value };
    let ends = times.firsts.iter().zip(times.lasts);
    out.clear();
    out.extend(ends.zip(times.counts()).map(|((first, last), count)| Partial {
        count,
        sum: constant_sum(value, count),
        min: value,
        max: value,
        first: sample(first),
        last: sample(last),
        increase,
        resets: 0,
    }));
}

/// Appends `partials`, at most [`COLUMN_VALUES_MAX`](super::COLUMN_VALUES_MAX) of them: all but
/// the times of first and last, which are `times`, and without `increase` all but increase and
/// resets. Of those that count nothing only that is kept.
pub fn encode(partials: &[Partial], times: Times<'_>, increase: bool, out: &mut Vec<u8>) {
    debug_assert!(check_count(partials.len()).is_ok());
    let counts: Vec<i64> = partials
        .iter()
        .zip(times.counts())
        .map(|(partial, count)| partial.count.wrapping_sub(count) as i64)
        .collect();
    integers::write(&counts, &[Order::Raw], out);
    let full: Vec<&Partial> = partials.iter().filter(|partial| partial.count > 0).collect();
    if full.is_empty() {
        return;
    }
    let scale = Scale::of(&full);
    out.push(scale.number());
    let quiet = quiet_rows(&full, scale, increase);
    integers::write(&quiet, &[Order::Raw], out);
    let loud = full.iter().zip(&quiet).filter(|&(_, &quiet)| quiet == 0);
    let full: Vec<&Partial> = loud.map(|(&partial, _)| partial).collect();
    if full.is_empty() {
        return;
    }
    encode_loud(&full, scale, increase, out);
}

/// 1 for each row all of whose samples have the last value before, and which tells nothing else.
fn quiet_rows(full: &[&Partial], scale: Scale, increase: bool) -> Vec<i64> {
    let mut before = 0;
    let quiet = |partial: &&Partial| {
        let row = Row::quiet(partial.count, before);
        let value = scale.value(before).to_bits();
        let sum = scale.value(row.sum(Guess::Middle, scale)).to_bits();
        before = scale.nearest(partial.last.value);
        let Partial { first, last, min, max, .. } = partial;
        let same = [first.value, last.value, *min, *max].map(f64::to_bits) == [value; 4];
        let still = !increase || (partial.increase.to_bits(), partial.resets) == (0, 0);
        i64::from(same && still && partial.sum.to_bits() == sum)
    };
    full.iter().map(quiet).collect()
}

/// Appends all fields but counts of these rows.
fn encode_loud(full: &[&Partial], scale: Scale, increase: bool, out: &mut Vec<u8>) {
    let rows: Vec<Row> = full.iter().map(|partial| Row::of(partial, scale)).collect();
    let column = |number: &dyn Fn(&Row) -> i64| rows.iter().map(number).collect::<Vec<i64>>();

    let before = std::iter::once(0).chain(rows.iter().map(|row| row.last));
    let chained: Vec<i64> =
        rows.iter().zip(before).map(|(row, before)| row.first.wrapping_sub(before)).collect();
    let own = [Order::Raw, Order::Delta, Order::DeltaOfDelta];
    let candidates = [(column(&|row| row.first), &own[..]), (chained, &own[..1])];
    write_shortest(&candidates, out);
    integers::write(&column(&|row| row.last.wrapping_sub(row.first)), &own[..2], out);
    integers::write(&column(&|row| row.low().wrapping_sub(row.min)), &own[..2], out);
    integers::write(&column(&|row| row.max.wrapping_sub(row.high())), &own[..2], out);

    let sums: Vec<f64> = full.iter().map(|partial| partial.sum).collect();
    let near: Vec<i64> = sums.iter().map(|&sum| scale.nearest(sum)).collect();
    let distances = |guess: Guess| -> Vec<i64> {
        rows.iter().zip(&near).map(|(row, sum)| sum.wrapping_sub(row.sum(guess, scale))).collect()
    };
    let candidates = Guess::ALL.map(|guess| (distances(guess), &own[..1]));
    write_shortest(&candidates, out);
    write_corrections(scale, &sums, &near, out);
    if increase {
        let grown: Vec<f64> = full.iter().map(|partial| partial.increase).collect();
        let steps = |of_steps: Scale| {
            let mut bytes = Vec::new();
            let near: Vec<i64> = grown.iter().map(|&step| of_steps.nearest(step)).collect();
            let distances = rows.iter().zip(&near);
            let distances: Vec<i64> = distances
                .map(|(row, near)| near.wrapping_sub(row.growth(scale, of_steps)))
                .collect();
            integers::write(&distances, &own[..1], &mut bytes);
            write_corrections(of_steps, &grown, &near, &mut bytes);
            bytes
        };
        let (computed, scaled) = (steps(Scale::Bits), steps(scale));
        out.push(u8::from(scaled.len() < computed.len()));
        out.extend(if scaled.len() < computed.len() { scaled } else { computed });
        let resets: Vec<i64> = full.iter().map(|partial| partial.resets as i64).collect();
        integers::write(&resets, &own[..1], out);
    }
}

/// Appends the number of the candidate that takes the fewest bytes, and it.
fn write_shortest(candidates: &[(Vec<i64>, &[Order])], out: &mut Vec<u8>) {
    let written = (0_u8..).zip(candidates).map(|(number, (column, orders))| {
        let mut bytes = vec![number];
        integers::write(column, orders, &mut bytes);
        bytes
    });
    if let Some(mut shortest) = written.min_by_key(Vec::len) {
        out.append(&mut shortest);
    }
}

/// Appends by how many units in the last place the values are off the decimals near them.
fn write_corrections(scale: Scale, values: &[f64], near: &[i64], out: &mut Vec<u8>) {
    if let Scale::Decimal(_) = scale {
        let corrections: Vec<i64> = values
            .iter()
            .zip(near)
            .map(|(&value, &near)| ordered(value).wrapping_sub(ordered(scale.value(near))))
            .collect();
        integers::write(&corrections, &[Order::Raw], out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bits(partial: &Partial) -> [u64; 10] {
        [
            partial.first.timestamp.0 as u64,
            partial.last.timestamp.0 as u64,
            partial.count,
            partial.sum.to_bits(),
            partial.min.to_bits(),
            partial.max.to_bits(),
            partial.first.value.to_bits(),
            partial.last.value.to_bits(),
            partial.increase.to_bits(),
            partial.resets,
        ]
    }

    fn round_trip(partials: &[Partial]) -> usize {
        let firsts: Vec<i64> = partials.iter().map(|p| p.first.timestamp.0).collect();
        let lasts: Vec<i64> = partials.iter().map(|p| p.last.timestamp.0).collect();
        let times = Times { firsts: &firsts, lasts: &lasts };
        let mut back = vec![Partial::EMPTY];
        for increase in [false, true] {
            let mut bytes = Vec::new();
            encode(partials, times, increase, &mut bytes);
            decode(&bytes, times, increase, &mut back).unwrap();
            if let Some(value) = constant_of(partials, times, increase) {
                let mut expanded = Vec::new();
                expand(value, times, increase, &mut expanded);
                let list = |partials: &[Partial]| partials.iter().map(bits).collect::<Vec<_>>();
                assert_eq!(list(&expanded), list(&back));
            }
            assert_eq!(back.len(), partials.len());
            for (partial, back) in partials.iter().zip(&back) {
                let mut expected = if partial.count == 0 { Partial::EMPTY } else { *partial };
                if !increase {
                    (expected.increase, expected.resets) = (f64::NAN, 0);
                }
                assert_eq!(bits(back), bits(&expected), "{partial:?}");
            }
        }
        let mut bytes = Vec::new();
        encode(partials, times, false, &mut bytes);
        bytes.len()
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            8 => (-1000..1000_i32).prop_map(f64::from),
            8 => (-1000..1000_i32).prop_map(|n| f64::from(n) / 100.0),
            1 => any::<u64>().prop_map(f64::from_bits),
            1 => Just(-0.0),
            1 => Just(f64::NEG_INFINITY),
        ]
    }

    fn any_partial() -> impl Strategy<Value = Partial> {
        let count = prop_oneof![Just(0), Just(1), Just(6), any::<u64>()];
        let resets = prop_oneof![4 => Just(0), 1 => any::<u64>()];
        (count, [value(), value(), value(), value(), value(), value()], resets).prop_map(
            |(count, [first, last, min, max, sum, increase], resets)| {
                let sample = |value| Sample { timestamp: Timestamp(0), value };
                let (first, last) = (sample(first), sample(last));
                Partial { count, sum, min, max, first, last, increase, resets }
            },
        )
    }

    proptest! {
        #[test]
        fn any_partials_round_trip(partials in prop::collection::vec(any_partial(), 0..50)) {
            round_trip(&partials);
        }

        #[test]
        fn folded_samples_round_trip(
            buckets in prop::collection::vec(prop::collection::vec(value(), 0..8), 0..80),
        ) {
            let partials: Vec<Partial> = (0..).zip(&buckets).map(|(at, values)| {
                Partial::of(&(at..at + values.len() as i64).collect::<Vec<_>>(), values)
            }).collect();
            round_trip(&partials);
        }

        #[test]
        fn any_bytes_decode_without_panic(
            bytes: Vec<u8>, firsts in prop::collection::vec(any::<i64>(), 0..50), increase: bool,
        ) {
            let lasts: Vec<i64> = firsts.iter().map(|first| first.rotate_left(3)).collect();
            let times = Times { firsts: &firsts, lasts: &lasts };
            let _ = decode(&bytes, times, increase, &mut Vec::new());
        }
    }

    proptest! {
        #[test]
        fn quotients_are_those_of_integers(
            divisor in prop_oneof![0..1000_u64, any::<u64>().prop_map(|n| n >> 11), any::<u64>()],
            times in 0..1_u64 << 53, off in -1..2_i64,
        ) {
            let limit = u64::MAX >> 11;
            let near = divisor.saturating_mul(times % (limit / divisor.max(1)).max(1));
            for dividend in [times, near.saturating_add_signed(off)] {
                let expected = dividend.checked_div(divisor).unwrap_or(0);
                prop_assert_eq!(quotient(dividend, divisor), expected);
            }
        }
    }

    #[test]
    fn what_follows_costs_nothing() {
        // Six samples a bucket, seconds apart.
        let buckets = |value: fn(i64) -> f64| -> Vec<Partial> {
            let bucket = |start: i64| {
                let times: Vec<i64> = (start * 6..start * 6 + 6).collect();
                Partial::of(&times, &times.iter().map(|&t| value(t)).collect::<Vec<_>>())
            };
            (0..1000).map(bucket).collect()
        };
        let constant = buckets(|_| 2.5);
        assert!(round_trip(&constant) < 60, "{}", round_trip(&constant));
        let times: Vec<i64> = (0..1000).map(|i| i * 6).collect();
        let lasts: Vec<i64> = (0..1000).map(|i| i * 6 + 5).collect();
        let times = Times { firsts: &times, lasts: &lasts };
        assert_eq!(constant_of(&constant, times, true), Some(2.5));
        let counter = buckets(|t| (t * 3) as f64);
        assert!(round_trip(&counter) < 40, "{}", round_trip(&counter));
        assert_eq!(constant_of(&counter, times, true), None);
    }
}
