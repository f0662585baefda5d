//! Columns of integers of which neighbours are often equal: times of rows that were written together,
//! the id that they share, names in the order of their sources.
//!
//! ```text
//! tag u8: 0 a framed column of integers · 1 runs
//! runs: count varint · the value of each run, a framed column · the length of each less 1, another
//! ```

use super::bytes::{Reader, write_varint};
use super::integers::{self, COLUMN_VALUES_MAX, Order, check_count};
use crate::error::DecodeError;

const PLAIN: u8 = 0;
const RUNS: u8 = 1;

/// Runs are tried where they are at most one for so many values.
const VALUES_PER_RUN: usize = 2;

/// Predictions that are tried.
const ORDERS: [Order; 3] = [Order::Raw, Order::Delta, Order::DeltaOfDelta];

/// Appends `column`, at most [`COLUMN_VALUES_MAX`] values.
pub fn encode(column: &[i64], out: &mut Vec<u8>) {
    debug_assert!(column.len() <= COLUMN_VALUES_MAX);
    let start = out.len();
    out.push(PLAIN);
    integers::write(column, &ORDERS, out);
    let runs = column.chunk_by(|one, next| one == next);
    let count = runs.clone().count();
    if count < 2 || count * VALUES_PER_RUN > column.len() {
        return;
    }
    let (values, lengths): (Vec<i64>, Vec<i64>) =
        runs.filter_map(|run| Some((*run.first()?, run.len() as i64 - 1))).unzip();
    let mut body = vec![RUNS];
    write_varint(&mut body, count as u64);
    integers::write(&values, &ORDERS, &mut body);
    integers::write(&lengths, &[Order::Raw], &mut body);
    if body.len() < out.len() - start {
        out.truncate(start);
        out.append(&mut body);
    }
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
    let mut values = Vec::new();
    match reader.u8()? {
        PLAIN => {
            integers::read(reader, count, &mut values)?;
            out.extend(values.iter().map(|value| value.cast_signed()));
        }
        RUNS => {
            let runs = reader.length("runs", count)?;
            integers::read(reader, runs, &mut values)?;
            let mut lengths = Vec::new();
            integers::read(reader, runs, &mut lengths)?;
            out.reserve(count);
            for (value, more) in values.iter().zip(lengths) {
                let left = (count - out.len()) as u64;
                let length = more.checked_add(1).filter(|&length| length <= left).ok_or(
                    DecodeError::Invalid {
                        what: "run",
                        found: more,
                        expected: "within the column",
                    },
                )?;
                out.resize(out.len() + length as usize, value.cast_signed());
            }
            if out.len() != count {
                let (what, found) = ("values of all runs", out.len() as u64);
                return Err(DecodeError::Invalid { what, found, expected: "as many as rows" });
            }
        }
        tag => {
            let (what, found) = ("column of runs", u64::from(tag));
            return Err(DecodeError::Invalid { what, found, expected: "a tag of 0 or 1" });
        }
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
