//! Decimals: values that are exactly `n / 10^e`, for one `e` a column.
//!
//! The idea is ALP's (Afroozeh, Kuffó, Boncz: "ALP: Adaptive Lossless floating-Point
//! Compression", SIGMOD 2023, 3.1), with a division where ALP multiplies by an inexact inverse:
//! quotients of integers below 2^53 and powers up to 10^22 round correctly, so `n / 10^e` is the
//! very double that parsing the decimal gives.
//!
//! ```text
//! e u8 · integers
//! ```

use super::exceptions::Collected;
use super::{DECODED, INTEGERS, Source, Trial};
use crate::codec::bytes::Reader;
use crate::codec::integers::{self, Order, Stage};
use crate::error::DecodeError;

/// Powers of ten that doubles hold exactly and that leave room for digits before the point.
pub(in crate::codec) const POWERS: [f64; 19] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18,
];

/// Values looked at before the whole column is tried.
const PROBES: usize = 32;

/// More exceptions than one in this many, and the column is no decimal one.
const EXCEPTIONS_ONE_IN: usize = 12;

/// Beyond this, rounding by [`ROUND`] is inexact, and so is the product.
const SCALED_MAX: f64 = (1_u64 << 51) as f64;

/// Adding and subtracting it rounds to the nearest integer (magnitudes up to 2^51) without the
/// library call that plain x86-64 makes of `round`.
const ROUND: f64 = (3_u64 << 51) as f64;

/// `None` where too many values are no decimals.
pub(super) fn encode(values: &[f64]) -> Option<Trial> {
    let exponent = likely_exponent(values)?;
    INTEGERS.with_borrow_mut(|column| {
        let mut exceptions = Collected::default();
        convert(values, exponent, column, &mut exceptions)?;
        let mut encoded =
            integers::encode(column, &[Order::Raw, Order::Delta, Order::DeltaOfDelta]);
        let mut bytes = Vec::with_capacity(encoded.bytes.len() + 1 + 10 * exceptions.len());
        exceptions.encode(&mut bytes);
        bytes.push(exponent as u8);
        encoded.cost += 95 * bytes.len();
        bytes.append(&mut encoded.bytes);
        encoded.bytes = bytes;
        Some(Trial { source: Source::Decimal, exceptions: exceptions.len() > 0, encoded })
    })
}

/// The least exponent that makes integers of all probed values but a few; `None` where none does.
fn likely_exponent(values: &[f64]) -> Option<usize> {
    let stride = (values.len() / PROBES).max(1);
    let (mut exponent, mut probes, mut misses) = (0, 0, 0);
    for &value in values.iter().step_by(stride).filter(|value| value.is_finite()) {
        probes += 1;
        let least = (exponent..POWERS.len()).find(|&exponent| scaled(value, exponent).is_some());
        match least {
            Some(least) => exponent = least,
            None => misses += 1,
        }
    }
    (probes == 0 || misses <= probes / 8).then_some(exponent)
}

/// `value` as `n` where `n / 10^exponent` gives its very bits.
#[inline]
pub(in crate::codec) fn scaled(value: f64, exponent: usize) -> Option<i64> {
    if exponent == 0 {
        // Integers of any size; doubles from 2^63 on saturate and fail the comparison but one.
        let integer = value as i64;
        let exact = (integer as f64).to_bits() == value.to_bits() && integer != i64::MAX;
        return exact.then_some(integer);
    }
    let power = POWERS.get(exponent).copied()?;
    let rounded = round(value * power)?;
    ((rounded / power).to_bits() == value.to_bits()).then_some(rounded as i64)
}

/// The nearest integer, `None` outside of ±2^51 and for NaN.
#[inline]
pub(in crate::codec) fn round(value: f64) -> Option<f64> {
    (value.abs() <= SCALED_MAX).then_some((value + ROUND) - ROUND)
}

/// Replaces `column` with the integers; an exception repeats the integer before it (the first
/// good one where there is none before).
fn convert(
    values: &[f64],
    exponent: usize,
    column: &mut Vec<i64>,
    exceptions: &mut Collected,
) -> Option<()> {
    let exceptions_max = 1 + values.len() / EXCEPTIONS_ONE_IN;
    column.clear();
    column.reserve(values.len());
    let mut previous = values.iter().find_map(|&value| scaled(value, exponent))?;
    for (position, &value) in values.iter().enumerate() {
        if let Some(integer) = scaled(value, exponent) {
            previous = integer;
        } else {
            exceptions.push(position, value);
            if exceptions.len() > exceptions_max {
                return None;
            }
        }
        column.push(previous);
    }
    Some(())
}

pub(super) fn decode(
    stage: Stage,
    mut reader: Reader<'_>,
    count: usize,
    out: &mut Vec<f64>,
) -> Result<(), DecodeError> {
    let power = read_power(&mut reader)?;
    let rest = reader.bytes(reader.remaining())?;
    DECODED.with_borrow_mut(|column| {
        if power == 1.0 {
            let value = |integer| integer as i64 as f64;
            integers::decode_onto(stage, rest, count, column, out, value)
        } else {
            let value = |integer| integer as i64 as f64 / power;
            integers::decode_onto(stage, rest, count, column, out, value)
        }
    })
}

/// Appends `integer / power` for each, an `i64` in two's complement.
pub(super) fn append_quotients(integers: &[u64], power: f64, out: &mut Vec<f64>) {
    if power == 1.0 {
        out.extend(integers.iter().map(|&integer| integer as i64 as f64));
    } else {
        out.extend(integers.iter().map(|&integer| integer as i64 as f64 / power));
    }
}

pub(super) fn read_power(reader: &mut Reader<'_>) -> Result<f64, DecodeError> {
    let exponent = reader.u8()?;
    POWERS.get(usize::from(exponent)).copied().ok_or(DecodeError::Invalid {
        what: "decimal exponent",
        found: u64::from(exponent),
        expected: "at most 18",
    })
}
