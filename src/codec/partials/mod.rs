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

mod row;

use std::cell::RefCell;

use self::row::{Guess, Row, Scale};
use super::bytes::Reader;
use super::integers::{self, Order, check_count};
use crate::aggregate::Partial;
use crate::error::DecodeError;
use crate::model::{Sample, ordered, unordered};
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
    let quiet = quiet_rows(&full, scale, increase);
    integers::write(&quiet, &[Order::Raw], out);
    let loud = full.iter().zip(&quiet).filter(|&(_, &quiet)| quiet == 0);
    let full: Vec<&Partial> = loud.map(|(&partial, _)| partial).collect();
    if full.is_empty() {
        return;
    }
    encode_loud(&full, scale, increase, out);
}

/// 1 for each row that [`hush`] would make as it is.
fn quiet_rows(full: &[&Partial], scale: Scale, increase: bool) -> Vec<i64> {
    let mut before = scale.value(0);
    let quiet = |partial: &&Partial| {
        let mut hushed = **partial;
        hush(&mut hushed, before, scale, increase);
        before = partial.last.value;
        let values =
            |p: &Partial| [p.first.value, p.last.value, p.min, p.max, p.sum].map(f64::to_bits);
        let grown = |p: &Partial| (p.increase.to_bits(), p.resets);
        let same =
            values(&hushed) == values(partial) && (!increase || grown(&hushed) == grown(partial));
        i64::from(same)
    };
    full.iter().map(quiet).collect()
}

/// Makes of a partial, whose count is above 0, one whose samples all have this value.
fn hush(partial: &mut Partial, value: f64, scale: Scale, increase: bool) {
    (partial.first.value, partial.last.value) = (value, value);
    (partial.min, partial.max) = (value, value);
    partial.sum = scale.value(Row::of(partial, scale).sum(Guess::Middle, scale));
    partial.increase = if increase { 0.0 } else { f64::NAN };
    partial.resets = 0;
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
        let steps = |scale: Scale| {
            let mut bytes = Vec::new();
            let near: Vec<i64> = grown.iter().map(|&increase| scale.nearest(increase)).collect();
            let distances = rows.iter().zip(full).zip(&near);
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
    SCRATCH.with_borrow_mut(|scratch| decode_with(scratch, bytes, times, increase, out))
}

/// The columns of one call, kept for the next: most are short, and making them would take longer
/// than filling them.
#[derive(Default)]
struct Scratch {
    counts: Vec<u64>,
    quiet: Vec<u64>,
    /// Rows whose count is above 0.
    full: Vec<usize>,
    loud: Vec<usize>,
    fields: Fields,
}

#[derive(Default)]
struct Fields {
    rows: Vec<Row>,
    column: Vec<u64>,
    last: Vec<u64>,
    distances: Vec<u64>,
    corrections: Vec<u64>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

fn decode_with(
    scratch: &mut Scratch,
    bytes: &[u8],
    times: Times<'_>,
    increase: bool,
    out: &mut Vec<Partial>,
) -> Result<(), DecodeError> {
    let Scratch { counts, quiet, full, loud, fields } = scratch;
    out.clear();
    let mut reader = Reader::new(bytes);
    integers::read(&mut reader, times.firsts.len(), counts)?;
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
    let held = out.iter().enumerate().filter(|(_, partial)| partial.count > 0);
    full.clear();
    full.extend(held.map(|(row, _)| row));
    if full.is_empty() {
        return reader.finish("partials");
    }
    let scale = Scale::from_number(reader.u8()?)?;
    integers::read(&mut reader, full.len(), quiet)?;
    loud.clear();
    loud.extend(full.iter().zip(&*quiet).filter(|(_, quiet)| **quiet == 0).map(|(&row, _)| row));
    if !loud.is_empty() {
        decode_loud(&mut reader, scale, increase, (loud, fields), out)?;
    }
    let mut before = scale.value(0);
    for (&row, &quiet) in full.iter().zip(&*quiet) {
        let Some(partial) = out.get_mut(row) else { continue };
        if quiet != 0 {
            hush(partial, before, scale, increase);
        }
        before = partial.last.value;
    }
    reader.finish("partials")
}

/// Fills in all but the counts of the rows `loud`, which are known and above 0.
fn decode_loud(
    reader: &mut Reader<'_>,
    scale: Scale,
    increase: bool,
    (loud, fields): (&[usize], &mut Fields),
    out: &mut [Partial],
) -> Result<(), DecodeError> {
    let Fields { rows, column, last, .. } = fields;
    let count = |row: &usize| out.get(*row).map_or(0, |partial| partial.count);
    rows.clear();
    rows.extend(loud.iter().map(|row| Row { count: count(row), ..Row::default() }));
    let chained = read_choice(reader)? == 1;
    integers::read(reader, rows.len(), column)?;
    integers::read(reader, rows.len(), last)?;
    let mut before = 0_i64;
    for ((row, &first), &last) in rows.iter_mut().zip(&*column).zip(&*last) {
        row.first = if chained { before.wrapping_add(first as i64) } else { first as i64 };
        row.last = row.first.wrapping_add(last as i64);
        before = row.last;
    }
    integers::read(reader, rows.len(), column)?;
    for (row, &below) in rows.iter_mut().zip(&*column) {
        row.min = row.low().wrapping_sub(below as i64);
    }
    integers::read(reader, rows.len(), column)?;
    for ((row, &above), &at) in rows.iter_mut().zip(&*column).zip(loud) {
        row.max = row.high().wrapping_add(above as i64);
        if let Some(partial) = out.get_mut(at) {
            partial.first.value = scale.value(row.first);
            partial.last.value = scale.value(row.last);
            partial.min = scale.value(row.min);
            partial.max = scale.value(row.max);
        }
    }
    let guess = if read_choice(reader)? == 0 { Guess::QuarterMean } else { Guess::Middle };
    fields.values(reader, scale, loud, |row, at, value| {
        if let Some(partial) = out.get_mut(at) {
            partial.sum = value(row.sum(guess, scale));
        }
    })?;
    if increase {
        let scale = if read_choice(reader)? == 0 { Scale::Bits } else { scale };
        fields.values(reader, scale, loud, |row, at, value| {
            if let Some(partial) = out.get_mut(at) {
                partial.increase = value(row.growth(partial, scale));
            }
        })?;
        integers::read(reader, loud.len(), &mut fields.column)?;
        for (&at, &resets) in loud.iter().zip(&fields.column) {
            if let Some(partial) = out.get_mut(at) {
                partial.resets = resets;
            }
        }
    }
    Ok(())
}

impl Fields {
    /// Reads distances and, of decimals, corrections, and hands each row over with its place and
    /// what makes its value of the expected integer.
    fn values(
        &mut self,
        reader: &mut Reader<'_>,
        scale: Scale,
        loud: &[usize],
        mut take: impl FnMut(&Row, usize, &dyn Fn(i64) -> f64),
    ) -> Result<(), DecodeError> {
        let Self { rows, distances, corrections, .. } = self;
        integers::read(reader, rows.len(), distances)?;
        if let Scale::Decimal(_) = scale {
            integers::read(reader, rows.len(), corrections)?;
        } else {
            corrections.clear();
            corrections.resize(rows.len(), 0);
        }
        let off = distances.iter().zip(&*corrections);
        for ((row, &at), (&distance, &correction)) in rows.iter().zip(loud).zip(off) {
            take(row, at, &|expected| {
                let value = scale.value(expected.wrapping_add(distance as i64));
                unordered(ordered(value).wrapping_add(correction as i64))
            });
        }
        Ok(())
    }
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
