//! Columns of timestamps: a constant step, else residuals against a grid, a step or a
//! delta-of-delta, whichever costs least.
//!
//! Lossless for any `i64`s in any order; made for strictly ascending ones.
//!
//! ```text
//! encoding u8: 0 constant step, 1 + stage otherwise
//! constant step: first signed varint · step signed varint
//! otherwise: a column of integers
//! ```

mod constant_step;

use std::cell::RefCell;

use super::bytes::Reader;
use super::integers::{self, Order, Stage, check_count};
use crate::error::DecodeError;

/// How a column of timestamps is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimestampEncoding {
    /// First and step alone.
    ConstantStep,
    /// Residuals against a prediction.
    Residuals(Stage),
}

impl TimestampEncoding {
    /// A short name: `constant_step`, `packed`, `planes`, `huffman`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConstantStep => "constant_step",
            Self::Residuals(stage) => stage.name(),
        }
    }

    const fn tag(self) -> u8 {
        match self {
            Self::ConstantStep => 0,
            Self::Residuals(stage) => 1 + stage.tag(),
        }
    }

    fn from_tag(tag: u8) -> Result<Self, DecodeError> {
        match tag.checked_sub(1) {
            None => Ok(Self::ConstantStep),
            Some(stage) => Stage::from_tag(stage).map(Self::Residuals),
        }
    }
}

/// Appends `timestamps`, at most [`COLUMN_VALUES_MAX`](super::COLUMN_VALUES_MAX) of them.
pub fn encode(timestamps: &[i64], out: &mut Vec<u8>) -> TimestampEncoding {
    debug_assert!(check_count(timestamps.len()).is_ok());
    if let Some(column) = constant_step::Column::of(timestamps) {
        out.push(TimestampEncoding::ConstantStep.tag());
        column.encode(out);
        return TimestampEncoding::ConstantStep;
    }
    let encoded = integers::encode(timestamps, &[Order::Grid, Order::DeltaOfDelta, Order::Delta]);
    let encoding = TimestampEncoding::Residuals(encoded.stage.unwrap_or(Stage::Packed));
    out.push(encoding.tag());
    out.extend_from_slice(&encoded.bytes);
    encoding
}

/// The encoding of a column that [`encode`] made.
///
/// # Errors
/// [`DecodeError`] where there is none.
pub fn encoding(bytes: &[u8]) -> Result<TimestampEncoding, DecodeError> {
    TimestampEncoding::from_tag(Reader::new(bytes).u8()?)
}

/// Replaces `out` with the `count` timestamps of which [`encode`] made `bytes`.
///
/// # Errors
/// [`DecodeError`] where it did not, or `count` is above
/// [`COLUMN_VALUES_MAX`](super::COLUMN_VALUES_MAX).
pub fn decode(bytes: &[u8], count: usize, out: &mut Vec<i64>) -> Result<(), DecodeError> {
    check_count(count)?;
    out.clear();
    let mut reader = Reader::new(bytes);
    match TimestampEncoding::from_tag(reader.u8()?)? {
        TimestampEncoding::ConstantStep => constant_step::decode(reader, count, out),
        TimestampEncoding::Residuals(stage) => {
            let rest = reader.bytes(reader.remaining())?;
            COLUMN.with_borrow_mut(|column| {
                integers::decode_onto(stage, rest, count, column, out, |time| time as i64)
            })
        }
    }
}

thread_local! {
    static COLUMN: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(timestamps: &[i64]) -> usize {
        let (mut bytes, mut back) = (Vec::new(), vec![7]);
        let chosen = encode(timestamps, &mut bytes);
        decode(&bytes, timestamps.len(), &mut back).unwrap();
        assert_eq!(back, timestamps);
        assert_eq!(encoding(&bytes), Ok(chosen));
        bytes.len()
    }

    proptest! {
        #[test]
        fn any_column_round_trips(timestamps in prop::collection::vec(any::<i64>(), 0..200)) {
            round_trip(&timestamps);
        }

        #[test]
        fn ascending_columns_round_trip(
            start: i64,
            steps in prop::collection::vec(1..2_000_000_000_i64, 0..1200),
        ) {
            let mut at = start;
            let timestamps: Vec<i64> = steps.iter().map(|step| {
                at = at.wrapping_add(*step);
                at
            }).collect();
            round_trip(&timestamps);
        }

        #[test]
        fn any_bytes_decode_without_panic(bytes: Vec<u8>, count in 0..70_000_usize) {
            let _ = decode(&bytes, count, &mut Vec::new());
        }
    }

    #[test]
    fn a_regular_grid_costs_a_dozen_bytes_whatever_its_length() {
        let regular: Vec<i64> =
            (0..1024).map(|i| 1_795_425_382_586_000_000 + i * 1_000_000_000).collect();
        assert!(round_trip(&regular) <= 16);
        round_trip(&[i64::MIN, 0, i64::MAX]);
        round_trip(&[i64::MIN, i64::MAX]);
        round_trip(&[i64::MIN]);
        round_trip(&[]);
    }

    #[test]
    fn jitter_of_milliseconds_costs_bits() {
        // A fixed multiplicative sequence stands for the jitter: 0 to 3 ms around each second.
        let jittered: Vec<i64> = (0..1024)
            .map(|i| i * 1_000_000_000 + (((i * 2_654_435_761) >> 7) & 3) * 1_000_000)
            .collect();
        assert!(round_trip(&jittered) < 1024 * 3 / 8);
    }

    #[test]
    fn a_gap_costs_bytes_not_bits_of_every_sample() {
        let gapped: Vec<i64> =
            (0..1024).map(|i| (i + if i < 500 { 0 } else { 77 }) * 1_000_000_000).collect();
        assert!(round_trip(&gapped) < 64);
    }
}
