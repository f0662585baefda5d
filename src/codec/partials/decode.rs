//! From bytes to partials: field by field into columns, which one last pass makes rows of.

use std::cell::RefCell;

use super::Times;
use super::row::{Guess, Row, Scale};
use crate::aggregate::Partial;
use crate::codec::bytes::Reader;
use crate::codec::integers;
use crate::error::DecodeError;
use crate::model::{Sample, ordered, unordered};
use crate::time::Timestamp;

/// Replaces `out` with the partials of which [`encode`](super::encode) made `bytes`, as many as
/// there are `times`, bit for bit. Without `increase`, which is as it was then, increases are NaN
/// and resets 0; of no samples there is [`Partial::EMPTY`].
///
/// # Errors
/// [`DecodeError`] where it did not, or there are more than
/// [`COLUMN_VALUES_MAX`](crate::codec::COLUMN_VALUES_MAX).
pub fn decode(
    bytes: &[u8],
    times: Times<'_>,
    increase: bool,
    out: &mut Vec<Partial>,
) -> Result<(), DecodeError> {
    COLUMNS.with_borrow_mut(|columns| {
        out.clear();
        let scale = columns.read(bytes, times, increase)?;
        let still = if increase { 0.0 } else { f64::NAN };
        // Each scale has a loop of its own, which asks no row for it.
        match scale {
            Scale::Decimal(0) => columns.append_rows(times, (scale, still), |n| n as f64, out),
            Scale::Decimal(_) => {
                let power = scale.power();
                columns.append_rows(times, (scale, still), |n| n as f64 / power, out);
            }
            Scale::Bits => columns.append_rows(times, (scale, still), unordered, out),
        }
        Ok(())
    })
}

thread_local! {
    static COLUMNS: RefCell<Columns> = RefCell::default();
}

/// The columns of one call, kept for the next: most are short, and making them would take longer
/// than filling them.
#[derive(Default)]
struct Columns {
    /// Of all rows.
    counts: Vec<u64>,
    /// Of those whose count is above 0: 0 for each that is loud.
    quiet: Vec<u64>,
    loud: Loud,
    scratch: Vec<u64>,
}

/// What is known of rows that are not told by the value before.
#[derive(Default)]
struct Loud {
    rows: Vec<Row>,
    sums: Vec<f64>,
    /// NaN where increases are not kept.
    increases: Vec<f64>,
    resets: Vec<u64>,
    one: Vec<u64>,
    other: Vec<u64>,
}

impl Columns {
    fn read(
        &mut self,
        bytes: &[u8],
        times: Times<'_>,
        increase: bool,
    ) -> Result<Scale, DecodeError> {
        let Self { counts, quiet, loud, scratch } = self;
        quiet.clear();
        loud.rows.clear();
        let mut reader = Reader::new(bytes);
        integers::read(&mut reader, times.firsts.len(), counts)?;
        let mut full = 0;
        for (count, expected) in counts.iter_mut().zip(times.counts_with(scratch)) {
            *count = count.wrapping_add(expected);
            full += usize::from(*count > 0);
        }
        if full == 0 {
            reader.finish("partials")?;
            return Ok(Scale::Bits);
        }
        let scale = Scale::from_number(reader.u8()?)?;
        integers::read(&mut reader, full, quiet)?;
        let full = counts.iter().filter(|count| **count > 0);
        let is_loud = full.zip(&*quiet).filter(|(_, quiet)| **quiet == 0);
        loud.rows.extend(is_loud.map(|(&count, _)| Row { count, ..Row::default() }));
        if !loud.rows.is_empty() {
            loud.read(&mut reader, scale, increase)?;
        }
        reader.finish("partials")?;
        Ok(scale)
    }

    /// Appends all rows; `value` is that of an integer in this scale, `still` the increase of rows
    /// that do not grow.
    fn append_rows(
        &self,
        times: Times<'_>,
        (scale, still): (Scale, f64),
        value: impl Fn(i64) -> f64,
        out: &mut Vec<Partial>,
    ) {
        let Loud { rows, sums, increases, resets, .. } = &self.loud;
        let mut loud = rows.iter().zip(sums).zip(increases.iter().zip(resets));
        let mut quiet = self.quiet.iter();
        let mut before = 0;
        let ends = times.firsts.iter().zip(times.lasts);
        out.extend(self.counts.iter().zip(ends).map(|(&count, (&first, &last))| {
            if count == 0 {
                return Partial { increase: still, ..Partial::EMPTY };
            }
            let told = if quiet.next() == Some(&0) { loud.next() } else { None };
            let (row, sum, increase, resets) = match told {
                Some(((row, &sum), (&increase, &resets))) => (*row, sum, increase, resets),
                None => {
                    let row = Row::quiet(count, before);
                    (row, value(row.sum(Guess::Middle, scale)), still, 0)
                }
            };
            before = row.last;
            let sample = |time, number| Sample { timestamp: Timestamp(time), value: value(number) };
            Partial {
                count,
                sum,
                min: value(row.min),
                max: value(row.max),
                first: sample(first, row.first),
                last: sample(last, row.last),
                increase,
                resets,
            }
        }));
    }
}

impl Loud {
    /// Fills in all but the counts.
    fn read(
        &mut self,
        reader: &mut Reader<'_>,
        scale: Scale,
        increase: bool,
    ) -> Result<(), DecodeError> {
        let Self { rows, sums, increases, resets, one, other } = self;
        let chained = read_choice(reader)? == 1;
        integers::read(reader, rows.len(), one)?;
        integers::read(reader, rows.len(), other)?;
        let mut before = 0_i64;
        for ((row, &first), &last) in rows.iter_mut().zip(&*one).zip(&*other) {
            row.first = if chained { before.wrapping_add(first as i64) } else { first as i64 };
            row.last = row.first.wrapping_add(last as i64);
            before = row.last;
        }
        integers::read(reader, rows.len(), one)?;
        integers::read(reader, rows.len(), other)?;
        for ((row, &below), &above) in rows.iter_mut().zip(&*one).zip(&*other) {
            row.min = row.low().wrapping_sub(below as i64);
            row.max = row.high().wrapping_add(above as i64);
        }
        let guess = if read_choice(reader)? == 0 { Guess::QuarterMean } else { Guess::Middle };
        let expected = rows.iter().map(|row| row.sum(guess, scale));
        read_values(reader, scale, expected, (one, other), sums)?;
        increases.clear();
        resets.clear();
        if !increase {
            increases.resize(rows.len(), f64::NAN);
            resets.resize(rows.len(), 0);
            return Ok(());
        }
        let of_steps = if read_choice(reader)? == 0 { Scale::Bits } else { scale };
        let expected = rows.iter().map(|row| row.growth(scale, of_steps));
        read_values(reader, of_steps, expected, (one, other), increases)?;
        integers::read(reader, rows.len(), resets)
    }
}

/// Replaces `out` with the values near the expected integers: distances and, of decimals,
/// corrections are read into scratch columns.
fn read_values(
    reader: &mut Reader<'_>,
    scale: Scale,
    expected: impl ExactSizeIterator<Item = i64>,
    (distances, corrections): (&mut Vec<u64>, &mut Vec<u64>),
    out: &mut Vec<f64>,
) -> Result<(), DecodeError> {
    integers::read(reader, expected.len(), distances)?;
    let integers = expected.zip(&*distances).map(|(expected, &d)| expected.wrapping_add(d as i64));
    out.clear();
    if scale == Scale::Bits {
        out.extend(integers.map(unordered));
        return Ok(());
    }
    integers::read(reader, distances.len(), corrections)?;
    out.extend(integers.zip(&*corrections).map(|(integer, &correction)| {
        unordered(ordered(scale.value(integer)).wrapping_add(correction as i64))
    }));
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
