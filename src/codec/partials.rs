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

use super::bytes::Reader;
use super::integers::{self, Order, check_count};
use super::values::bits::{ordered, unordered};
use super::values::decimal::{POWERS, round, scaled};
use crate::aggregate::Partial;
use crate::error::DecodeError;
use crate::model::Sample;
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
        let mut steps: Vec<u64> = self
            .lasts
            .iter()
            .zip(self.firsts.iter().skip(1))
            .map(|(&last, &next)| next.wrapping_sub(last) as u64)
            .collect();
        let middle = steps.len() / 2;
        let step = if steps.is_empty() { 0 } else { *steps.select_nth_unstable(middle).1 };
        self.firsts.iter().zip(self.lasts).map(move |(&first, &last)| {
            let span = last.wrapping_sub(first) as u64;
            span.saturating_add(step / 2).checked_div(step).unwrap_or(0).wrapping_add(1)
        })
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
        let steps = |scale: Scale| {
            let mut bytes = Vec::new();
            let near: Vec<i64> = grown.iter().map(|&increase| scale.nearest(increase)).collect();
            let distances = rows.iter().zip(&full).zip(&near);
            let distances: Vec<i64> = distances
                .map(|((row, partial), near)| near.wrapping_sub(row.growth(partial, scale)))
                .collect();
            integers::write(&distances, &own[..1], &mut bytes);
            write_corrections(scale, &grown, &near, &mut bytes);
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

/// Replaces `out` with the partials of which [`encode`] made `bytes`, as many as there are `times`,
/// bit for bit. Without `increase`, which is as it was then, increases are NaN and resets 0; of no
/// samples there is [`Partial::EMPTY`].
///
/// # Errors
/// [`DecodeError`] where it did not, or there are more than
/// [`COLUMN_VALUES_MAX`](super::COLUMN_VALUES_MAX).
pub fn decode(
    bytes: &[u8],
    times: Times<'_>,
    increase: bool,
    out: &mut Vec<Partial>,
) -> Result<(), DecodeError> {
    out.clear();
    let mut reader = Reader::new(bytes);
    let mut counts = Vec::new();
    integers::read(&mut reader, times.firsts.len(), &mut counts)?;
    let mut empty = Partial::EMPTY;
    if !increase {
        empty.increase = f64::NAN;
    }
    let ends = times.firsts.iter().zip(times.lasts);
    out.extend(counts.iter().zip(times.counts()).zip(ends).map(|((&count, more), (&f, &l))| {
        let mut partial = Partial { count: count.wrapping_add(more), ..empty };
        if partial.count > 0 {
            (partial.first.timestamp, partial.last.timestamp) = (Timestamp(f), Timestamp(l));
        }
        partial
    }));
    let mut full: Vec<&mut Partial> = out.iter_mut().filter(|partial| partial.count > 0).collect();
    if !full.is_empty() {
        decode_full(&mut reader, increase, &mut full)?;
    }
    reader.finish("partials")
}

/// Fills in all but the counts, which are known and above 0.
fn decode_full(
    reader: &mut Reader<'_>,
    increase: bool,
    full: &mut [&mut Partial],
) -> Result<(), DecodeError> {
    let scale = Scale::from_number(reader.u8()?)?;
    let mut rows: Vec<Row> =
        full.iter().map(|partial| Row { count: partial.count, ..Row::default() }).collect();
    let chained = read_choice(reader)? == 1;
    let mut last = Vec::new();
    let mut column = Vec::new();
    integers::read(reader, rows.len(), &mut column)?;
    integers::read(reader, rows.len(), &mut last)?;
    let mut before = 0_i64;
    for ((row, &first), &last) in rows.iter_mut().zip(&column).zip(&last) {
        row.first = if chained { before.wrapping_add(first as i64) } else { first as i64 };
        row.last = row.first.wrapping_add(last as i64);
        before = row.last;
    }
    integers::read(reader, rows.len(), &mut column)?;
    for (row, &below) in rows.iter_mut().zip(&column) {
        row.min = row.low().wrapping_sub(below as i64);
    }
    integers::read(reader, rows.len(), &mut column)?;
    for ((row, &above), partial) in rows.iter_mut().zip(&column).zip(full.iter_mut()) {
        row.max = row.high().wrapping_add(above as i64);
        partial.first.value = scale.value(row.first);
        partial.last.value = scale.value(row.last);
        partial.min = scale.value(row.min);
        partial.max = scale.value(row.max);
    }
    let guess = if read_choice(reader)? == 0 { Guess::QuarterMean } else { Guess::Middle };
    for (at, sum) in read_values(reader, scale, rows.len())?.enumerate() {
        if let (Some(row), Some(partial)) = (rows.get(at), full.get_mut(at)) {
            partial.sum = sum(row.sum(guess, scale));
        }
    }
    if increase {
        let scale = if read_choice(reader)? == 0 { Scale::Bits } else { scale };
        for (at, grown) in read_values(reader, scale, rows.len())?.enumerate() {
            if let (Some(row), Some(partial)) = (rows.get(at), full.get_mut(at)) {
                partial.increase = grown(row.growth(partial, scale));
            }
        }
        integers::read(reader, rows.len(), &mut column)?;
        for (partial, &resets) in full.iter_mut().zip(&column) {
            partial.resets = resets;
        }
    }
    Ok(())
}

fn read_choice(reader: &mut Reader<'_>) -> Result<u8, DecodeError> {
    match reader.u8()? {
        choice @ 0..=1 => Ok(choice),
        other => Err(DecodeError::Invalid {
            what: "prediction",
            found: u64::from(other),
            expected: "0 or 1",
        }),
    }
}

/// Reads distances and, of decimals, corrections: of each row what makes its value of the expected
/// integer.
fn read_values(
    reader: &mut Reader<'_>,
    scale: Scale,
    rows: usize,
) -> Result<impl Iterator<Item = impl Fn(i64) -> f64>, DecodeError> {
    let (mut distances, mut corrections) = (Vec::new(), Vec::new());
    integers::read(reader, rows, &mut distances)?;
    if let Scale::Decimal(_) = scale {
        integers::read(reader, rows, &mut corrections)?;
    } else {
        corrections.resize(rows, 0);
    }
    Ok(distances.into_iter().zip(corrections).map(move |(distance, correction)| {
        move |expected: i64| {
            let value = scale.value(expected.wrapping_add(distance as i64));
            unordered(ordered(value).wrapping_add(correction as i64))
        }
    }))
}

/// The integers that values stand as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scale {
    /// `n / 10^e`.
    Decimal(u8),
    /// Ordered bits.
    Bits,
}

impl Scale {
    const BITS: u8 = 255;

    /// The least exponent that makes integers of all firsts, lasts and extremes.
    fn of(partials: &[&Partial]) -> Self {
        let values = || {
            partials.iter().flat_map(|p| [p.first.value, p.last.value, p.min, p.max].into_iter())
        };
        let mut exponent = 0;
        for value in values() {
            let exact = (exponent..POWERS.len()).find(|&e| scaled(value, e).is_some());
            let Some(exact) = exact else { return Self::Bits };
            exponent = exact;
        }
        // What took few digits may be too large for many.
        let all = values().all(|value| scaled(value, exponent).is_some());
        if all { Self::Decimal(exponent as u8) } else { Self::Bits }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Decimal(exponent) => exponent,
            Self::Bits => Self::BITS,
        }
    }

    fn from_number(number: u8) -> Result<Self, DecodeError> {
        match number {
            Self::BITS => Ok(Self::Bits),
            exponent if usize::from(exponent) < POWERS.len() => Ok(Self::Decimal(exponent)),
            _ => Err(DecodeError::Invalid {
                what: "scale of partials",
                found: u64::from(number),
                expected: "at most 18, or 255",
            }),
        }
    }

    fn power(exponent: u8) -> f64 {
        POWERS.get(usize::from(exponent)).copied().unwrap_or(1.0)
    }

    /// The value that an integer stands for.
    #[inline]
    fn value(self, integer: i64) -> f64 {
        match self {
            Self::Decimal(0) => integer as f64,
            Self::Decimal(exponent) => integer as f64 / Self::power(exponent),
            Self::Bits => unordered(integer),
        }
    }

    /// The integer near a value; the very one where it has one.
    fn nearest(self, value: f64) -> i64 {
        match self {
            Self::Decimal(0) => value as i64,
            Self::Decimal(exponent) => round(value * Self::power(exponent)).unwrap_or(0.0) as i64,
            Self::Bits => ordered(value),
        }
    }
}

/// How the samples of a bucket that are neither first, last nor extreme are guessed.
#[derive(Debug, Clone, Copy)]
enum Guess {
    /// As the mean of first, last, minimum and maximum.
    QuarterMean,
    /// As the middle of minimum and maximum.
    Middle,
}

impl Guess {
    const ALL: [Self; 2] = [Self::QuarterMean, Self::Middle];
}

/// What is known of a bucket before its sum is, as integers.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    count: u64,
    first: i64,
    last: i64,
    min: i64,
    max: i64,
}

impl Row {
    fn of(partial: &Partial, scale: Scale) -> Self {
        Self {
            count: partial.count,
            first: scale.nearest(partial.first.value),
            last: scale.nearest(partial.last.value),
            min: scale.nearest(partial.min),
            max: scale.nearest(partial.max),
        }
    }

    fn low(&self) -> i64 {
        self.first.min(self.last)
    }

    fn high(&self) -> i64 {
        self.first.max(self.last)
    }

    /// The sum to expect: the samples known, which are first and last and the extremes where they
    /// are others, and a guess for each of the rest.
    #[inline]
    fn sum(&self, guess: Guess, scale: Scale) -> i64 {
        let extremes = [(self.min, self.min < self.low()), (self.max, self.max > self.high())];
        let known = 2 + extremes.iter().filter(|(_, other)| *other).count() as u64;
        match scale {
            Scale::Decimal(_) => {
                let wide = [self.first, self.last, self.min, self.max].map(i128::from);
                let [first, last, min, max] = wide;
                let sum = extremes.iter().filter(|(_, other)| *other);
                let sum = sum.fold(first + last, |sum, &(extreme, _)| sum + i128::from(extreme));
                let rest = i128::from(self.count) - i128::from(known);
                let guessed = match guess {
                    Guess::QuarterMean => rest.wrapping_mul(first + last + min + max) >> 2,
                    Guess::Middle => rest.wrapping_mul(min + max) >> 1,
                };
                sum.wrapping_add(guessed) as i64
            }
            Scale::Bits => {
                let values = [self.first, self.last, self.min, self.max].map(unordered);
                let [first, last, min, max] = values;
                let sum = extremes.iter().filter(|(_, other)| *other);
                let sum = sum.fold(first + last, |sum, &(extreme, _)| sum + unordered(extreme));
                let rest = self.count as f64 - known as f64;
                let guessed = match guess {
                    Guess::QuarterMean => rest * ((first + last + min + max) * 0.25),
                    Guess::Middle => rest * ((min + max) * 0.5),
                };
                expected(sum + guessed)
            }
        }
    }

    /// The increase to expect: what one step gives.
    #[inline]
    fn growth(&self, partial: &Partial, scale: Scale) -> i64 {
        match scale {
            Scale::Decimal(_) => self.last.wrapping_sub(self.first),
            Scale::Bits => expected(partial.last.value - partial.first.value),
        }
    }
}

/// The ordered bits of a computed value. Which NaN a computation gives is not laid down, so of any
/// it is 0.
fn expected(computed: f64) -> i64 {
    if computed.is_nan() { 0 } else { ordered(computed) }
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
        assert!(round_trip(&constant) < 20, "{}", round_trip(&constant));
        let times: Vec<i64> = (0..1000).map(|i| i * 6).collect();
        let lasts: Vec<i64> = (0..1000).map(|i| i * 6 + 5).collect();
        let times = Times { firsts: &times, lasts: &lasts };
        assert_eq!(constant_of(&constant, times, true), Some(2.5));
        let counter = buckets(|t| (t * 3) as f64);
        assert!(round_trip(&counter) < 40, "{}", round_trip(&counter));
        assert_eq!(constant_of(&counter, times, true), None);
    }
}
