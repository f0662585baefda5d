//! Columns of integers in events: what is counted and measured of each, often the same for neighbours
//! (times of rows that were written together, the id that they share).
//!
//! ```text
//! tag u8: 0 a framed column of integers · 1 runs · 2 magnitudes · 3 magnitudes of differences
//! runs: count varint · the value of each run, a column as this one but of no runs · the length of each
//!       less 1, a framed column of integers
//! 2: least value, signed · each value less that, as [`magnitudes`]
//! 3: first value and least difference, both signed · each difference less that, as [`magnitudes`]
//! ```
//!
//! Differences wrap. The smallest is kept: what is asked of events is read once and for few columns, so
//! that bytes count for more than the nanosecond which Huffman code costs.

mod magnitudes;

use super::bytes::{Reader, write_signed, write_varint};
use super::integers::{self, COLUMN_VALUES_MAX, Order, check_count};
use crate::error::DecodeError;

const PLAIN: u8 = 0;
const RUNS: u8 = 1;
const MAGNITUDES: u8 = 2;
const DIFFERENCES: u8 = 3;

/// Runs are tried where they are at most one for so many values.
const VALUES_PER_RUN: usize = 2;

/// Magnitudes are tried where the packed column takes more than a byte for so many values.
const VALUES_PER_BYTE: usize = 4;

/// Predictions that are tried.
const ORDERS: [Order; 3] = [Order::Raw, Order::Delta, Order::DeltaOfDelta];

/// Appends `column`, at most [`COLUMN_VALUES_MAX`] values.
pub fn encode(column: &[i64], out: &mut Vec<u8>) {
    debug_assert!(column.len() <= COLUMN_VALUES_MAX);
    let start = out.len();
    encode_single(column, out);
    let runs = column.chunk_by(|one, next| one == next);
    let count = runs.clone().count();
    if count < 2 || count * VALUES_PER_RUN > column.len() {
        return;
    }
    let (values, lengths): (Vec<i64>, Vec<i64>) =
        runs.filter_map(|run| Some((*run.first()?, run.len() as i64 - 1))).unzip();
    let mut body = vec![RUNS];
    write_varint(&mut body, count as u64);
    encode_single(&values, &mut body);
    integers::write(&lengths, &[Order::Raw], &mut body);
    keep_shorter(out, start, body);
}

/// Puts `body` in the place of what stands in `out` from `start` on, where it is shorter.
pub(super) fn keep_shorter(out: &mut Vec<u8>, start: usize, mut body: Vec<u8>) {
    if body.len() < out.len() - start {
        out.truncate(start);
        out.append(&mut body);
    }
}

/// Without a look at runs.
fn encode_single(column: &[i64], out: &mut Vec<u8>) {
    let start = out.len();
    out.push(PLAIN);
    integers::write(column, &ORDERS, out);
    if (out.len() - start) * VALUES_PER_BYTE <= column.len() {
        return;
    }
    let (Some(&first), Some(&least)) = (column.first(), column.iter().min()) else { return };
    let above = |values: &[i64], least: i64| -> Vec<u64> {
        values.iter().map(|value| value.wrapping_sub(least).cast_unsigned()).collect()
    };
    let mut body = vec![MAGNITUDES];
    write_signed(&mut body, least);
    magnitudes::encode(&above(column, least), &mut body);
    keep_shorter(out, start, body);

    let pairs = column.iter().zip(column.iter().skip(1));
    let steps: Vec<i64> = pairs.map(|(one, next)| next.wrapping_sub(*one)).collect();
    let Some(&least) = steps.iter().min() else { return };
    let mut body = vec![DIFFERENCES];
    write_signed(&mut body, first);
    write_signed(&mut body, least);
    magnitudes::encode(&above(&steps, least), &mut body);
    keep_shorter(out, start, body);
}

/// Reads `count` values from the front of `reader`; they replace `out`.
///
/// # Errors
/// [`DecodeError`] where there is no such column; `count` above [`COLUMN_VALUES_MAX`] is one.
pub fn decode(
    reader: &mut Reader<'_>,
    count: usize,
    out: &mut Vec<i64>,
) -> Result<(), DecodeError> {
    check_count(count)?;
    out.clear();
    match reader.u8()? {
        RUNS => decode_runs(reader, count, out),
        tag => decode_single(tag, reader, count, out),
    }
}

fn decode_single(
    tag: u8,
    reader: &mut Reader<'_>,
    count: usize,
    out: &mut Vec<i64>,
) -> Result<(), DecodeError> {
    let mut values = Vec::new();
    match tag {
        PLAIN => {
            integers::read(reader, count, &mut values)?;
            out.extend(values.iter().map(|value| value.cast_signed()));
        }
        MAGNITUDES => {
            let least = reader.signed()?;
            magnitudes::decode(reader, count, &mut values)?;
            out.extend(values.iter().map(|value| least.wrapping_add(value.cast_signed())));
        }
        DIFFERENCES => {
            let (first, least) = (reader.signed()?, reader.signed()?);
            let Some(steps) = count.checked_sub(1) else {
                let what = "differences of a column";
                return Err(DecodeError::Invalid { what, found: 0, expected: "a first value" });
            };
            magnitudes::decode(reader, steps, &mut values)?;
            out.reserve(count);
            let mut value = first;
            out.push(value);
            out.extend(values.iter().map(|step| {
                value = value.wrapping_add(least).wrapping_add(step.cast_signed());
                value
            }));
        }
        tag => {
            let (what, found) = ("column of integers", u64::from(tag));
            return Err(DecodeError::Invalid { what, found, expected: "a tag of 0 to 3" });
        }
    }
    Ok(())
}

fn decode_runs(
    reader: &mut Reader<'_>,
    count: usize,
    out: &mut Vec<i64>,
) -> Result<(), DecodeError> {
    let runs = reader.length("runs", count)?;
    let (mut values, mut lengths) = (Vec::new(), Vec::new());
    let tag = reader.u8()?;
    decode_single(tag, reader, runs, &mut values)?;
    integers::read(reader, runs, &mut lengths)?;
    out.reserve(count);
    for (value, more) in values.into_iter().zip(lengths) {
        let left = (count - out.len()) as u64;
        let length =
            more.checked_add(1).filter(|&length| length <= left).ok_or(DecodeError::Invalid {
                what: "run",
                found: more,
                expected: "within the column",
            })?;
        out.resize(out.len() + length as usize, value);
    }
    if out.len() != count {
        let (what, found) = ("values of all runs", out.len() as u64);
        return Err(DecodeError::Invalid { what, found, expected: "as many as rows" });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(column: &[i64]) -> usize {
        let mut out = Vec::new();
        encode(column, &mut out);
        let bytes = out.len();
        out.push(0xaa);
        let (mut reader, mut back) = (Reader::new(&out), vec![7]);
        decode(&mut reader, column.len(), &mut back).unwrap();
        assert_eq!(back, column);
        assert_eq!(reader.remaining(), 1);
        bytes
    }

    proptest! {
        #[test]
        fn any_column_round_trips(
            column in prop::collection::vec(any::<i64>(), 0..200),
            runs in prop::collection::vec((any::<i64>(), 1..40_usize), 0..100),
        ) {
            round_trip(&column);
            let column: Vec<i64> =
                runs.into_iter().flat_map(|(value, length)| vec![value; length]).collect();
            round_trip(&column);
        }

        #[test]
        fn any_bytes_decode_without_panic(bytes: Vec<u8>, count in 0..70_000_usize) {
            let _ = decode(&mut Reader::new(&bytes), count, &mut Vec::new());
        }
    }

    #[test]
    fn what_is_spread_over_orders_of_magnitude_comes_near_its_entropy() {
        // Evenly spread logarithms from 1 to 2^16: each octave as likely, 15 bits less the log of
        // it in all; 16 octaves of mean 7.5 bits within, 4 bits for which.
        let mut state = 1_u64;
        let mut column = Vec::new();
        for i in 0..8192_u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let octave = i % 16;
            column.push(((1 << octave) + (state >> 33) % (1 << octave)) as i64);
        }
        let bits = round_trip(&column) as f64 * 8.0 / 8192.0;
        assert!(bits < 11.5 * 1.03, "{bits}");
    }

    #[test]
    fn rows_written_together_share_their_time() {
        let mut time = 0;
        let times: Vec<i64> = (0..8192_i64)
            .map(|row| {
                time += if row % 4 == 0 { 80_000_000 + row * 7919 % 1_000_003 } else { 0 };
                time
            })
            .collect();
        let bytes = round_trip(&times);
        assert!(bytes < 2048 * 3 + 64, "{bytes}");
        assert!(round_trip(&vec![5; 8192]) < 24, "a constant");
    }
}
