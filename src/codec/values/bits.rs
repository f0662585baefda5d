//! Real doubles: their bits as integers that order as the doubles do.

use super::{DECODED, INTEGERS, Source, Trial};
use crate::codec::bytes::Reader;
use crate::codec::integers::{self, Order, Stage};
use crate::error::DecodeError;

pub(super) fn encode(values: &[f64]) -> Trial {
    let encoded = INTEGERS.with_borrow_mut(|column| {
        column.clear();
        column.extend(values.iter().map(|&value| ordered(value)));
        integers::encode(column, &[Order::Raw, Order::Delta])
    });
    Trial { source: Source::Bits, exceptions: false, encoded }
}

pub(super) fn decode(
    stage: Stage,
    mut reader: Reader<'_>,
    count: usize,
    out: &mut Vec<f64>,
) -> Result<(), DecodeError> {
    let rest = reader.bytes(reader.remaining())?;
    DECODED.with_borrow_mut(|column| {
        let value = |integer| unordered(integer as i64);
        integers::decode_onto(stage, rest, count, column, out, value)
    })
}

/// Negative doubles have the bits of their magnitude reversed, so that -1.0 < -0.5 as integers.
#[inline]
pub(in crate::codec) fn ordered(value: f64) -> i64 {
    let bits = value.to_bits() as i64;
    bits ^ ((bits >> 63) & i64::MAX)
}

/// Undoes [`ordered`].
#[inline]
pub(in crate::codec) fn unordered(integer: i64) -> f64 {
    f64::from_bits((integer ^ ((integer >> 63) & i64::MAX)) as u64)
}
