//! Noisy decimals: values that arithmetic moved a few units in the last place off a decimal, as
//! averages of decimals are. The decimal is one column of integers, the distance in units in the
//! last place another.
//!
//! ```text
//! e u8 · stage of the corrections u8 · length of the corrections varint · corrections · integers
//! ```

use super::decimal::{POWERS, append_quotients, read_power, round};
use super::{DECODED, INTEGERS, Source, Trial};
use crate::codec::bytes::{Reader, write_varint};
use crate::codec::integers::{self, Order, Stage};
use crate::error::DecodeError;
use crate::model::{ordered, unordered};

/// Values looked at before the whole column is tried.
const PROBES: usize = 64;

/// `None` where no exponent promises to beat the plain bits.
pub(super) fn encode(values: &[f64]) -> Option<Trial> {
    let power = likely_power(values)?;
    let mut corrections = Vec::with_capacity(values.len());
    INTEGERS.with_borrow_mut(|column| {
        column.clear();
        for &value in values {
            // What is no number near a decimal is all correction.
            let rounded = round(value * POWERS.get(power).copied()?).unwrap_or(0.0);
            let integer = rounded as i64;
            column.push(integer);
            corrections.push(correction(value, integer, power)?);
        }
        let mut encoded =
            integers::encode(column, &[Order::Raw, Order::Delta, Order::DeltaOfDelta]);
        let corrections = integers::encode(&corrections, &[Order::Raw]);
        let mut bytes = vec![power as u8, corrections.stage?.tag()];
        write_varint(&mut bytes, corrections.bytes.len() as u64);
        encoded.cost += corrections.cost + 95 * bytes.len();
        bytes.extend_from_slice(&corrections.bytes);
        bytes.append(&mut encoded.bytes);
        encoded.bytes = bytes;
        Some(Trial { source: Source::Corrected, exceptions: false, encoded })
    })
}

/// Units in the last place from `integer / 10^exponent` to `value`.
fn correction(value: f64, integer: i64, exponent: usize) -> Option<i64> {
    let power = POWERS.get(exponent)?;
    Some(ordered(value).wrapping_sub(ordered(integer as f64 / power)))
}

/// The exponent whose integers and corrections take the fewest bits over the probed values,
/// where these are fewer than the plain bits take.
fn likely_power(values: &[f64]) -> Option<usize> {
    let stride = (values.len() / PROBES).max(1);
    let probes: Vec<f64> =
        values.iter().copied().step_by(stride).filter(|value| value.is_finite()).collect();
    let spread = |least: i64, most: i64| 64 - (most.wrapping_sub(least) as u64).leading_zeros();
    let plain = {
        let bits = || probes.iter().map(|&value| ordered(value));
        spread(bits().min()?, bits().max()?)
    };
    let bits_of = |exponent: usize| {
        let (mut least, mut most, mut corrections) = (i64::MAX, i64::MIN, 0);
        for &value in &probes {
            let integer = round(value * POWERS.get(exponent)?)? as i64;
            (least, most) = (least.min(integer), most.max(integer));
            let distance = correction(value, integer, exponent)?.unsigned_abs();
            corrections += 65 - distance.leading_zeros();
        }
        Some(spread(least, most) + corrections / probes.len() as u32)
    };
    let (bits, exponent) =
        (0..POWERS.len()).filter_map(|exponent| Some((bits_of(exponent)?, exponent))).min()?;
    (bits < plain).then_some(exponent)
}

pub(super) fn decode(
    stage: Stage,
    mut reader: Reader<'_>,
    count: usize,
    out: &mut Vec<f64>,
) -> Result<(), DecodeError> {
    let power = read_power(&mut reader)?;
    let correction_stage = Stage::from_tag(reader.u8()?)?;
    let length = reader.length("length of corrections", reader.remaining())?;
    let corrections = reader.bytes(length)?;
    let rest = reader.bytes(reader.remaining())?;
    DECODED.with_borrow_mut(|column| {
        integers::decode(stage, rest, count, column)?;
        append_quotients(column, power, out);
        integers::decode(correction_stage, corrections, count, column)?;
        for (value, &distance) in out.iter_mut().zip(column.iter()) {
            *value = unordered(ordered(*value).wrapping_add(distance as i64));
        }
        Ok(())
    })
}
