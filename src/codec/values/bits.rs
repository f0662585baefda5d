//! Real doubles: their bits as integers that order as the doubles do.

use super::{DECODED, INTEGERS, Source, Trial};
use crate::codec::bytes::Reader;
use crate::codec::integers::{self, Order, Stage};
use crate::error::DecodeError;
use crate::model::{ordered, unordered};

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
