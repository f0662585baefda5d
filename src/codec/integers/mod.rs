//! Columns of `i64`: what timestamps and decimal values become before they become bytes.
//!
//! Three steps, each undone exactly: divide by the greatest common divisor of the differences,
//! subtract a prediction ([`order`]), store the small numbers that remain ([`packed`],
//! [`planes`]). The chooser tries the likely combinations and weighs size against decode time.
//!
//! ```text
//! header u8: bits 0-1 order, bit 2 zigzag (else offset), bit 3 divisor follows
//! base signed varint · [divisor varint] · order's own fields · residuals, as their stage wrote
//! ```
//!
//! The [`Stage`] stands in the caller's tag, so that a directory can count by it. Where several
//! columns stand in one place, [`write`] frames each:
//!
//! ```text
//! stage u8 · column; before one that is not packed its length varint; a stage of 3 alone: all zeros
//! ```

mod order;
mod packed;
mod planes;

use order::Residuals;

use super::bytes::{Reader, write_signed, write_varint};
use crate::error::DecodeError;
use crate::time::greatest_common_divisor;

pub(crate) use order::Order;

/// The most values of one column, and so of one chunk: 65,536. It bounds what decoding damaged
/// bytes allocates (512 KiB) and is eight times the longest chunk that still gains by length.
pub const COLUMN_VALUES_MAX: usize = 1 << 16;

/// How residuals are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Patched bit-packing.
    Packed,
    /// Byte planes through zstd.
    Planes,
    /// Byte planes through zstd's Huffman coder alone.
    Huffman,
}

impl Stage {
    pub(crate) const fn tag(self) -> u8 {
        match self {
            Self::Packed => 0,
            Self::Planes => 1,
            Self::Huffman => 2,
        }
    }

    pub(crate) fn from_tag(tag: u8) -> Result<Self, DecodeError> {
        match tag {
            0 => Ok(Self::Packed),
            1 => Ok(Self::Planes),
            2 => Ok(Self::Huffman),
            _ => Err(DecodeError::Invalid {
                what: "stage",
                found: u64::from(tag),
                expected: "0, 1 or 2",
            }),
        }
    }

    /// A short name: `packed`, `planes`, `huffman`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Packed => "packed",
            Self::Planes => "planes",
            Self::Huffman => "huffman",
        }
    }

    /// Size weighed by what decoding costs, in hundredths of a byte. The weights were found by
    /// trial on real monitoring data: bit-packing decodes about three times as fast as planes by Huffman
    /// code, and these half as fast again as those of one frame, whose matches are many and short.
    const fn weigh(self, size_bytes: usize) -> usize {
        match self {
            Self::Packed => size_bytes * 88,
            Self::Planes => size_bytes * 98,
            Self::Huffman => size_bytes * 95,
        }
    }
}

/// An encoded column and what it cost.
#[derive(Debug, Clone, Default)]
pub(crate) struct Encoded {
    pub(crate) bytes: Vec<u8>,
    /// Weighed size, to compare with other ways of encoding the same.
    pub(crate) cost: usize,
    /// `None` only before anything was encoded.
    pub(crate) stage: Option<Stage>,
}

const ORDER_MASK: u8 = 0b11;
const ZIGZAG: u8 = 1 << 2;
const DIVIDED: u8 = 1 << 3;

/// Encodes `column`, trying `orders`; at most two of them to the end.
pub(crate) fn encode(column: &[i64], orders: &[Order]) -> Encoded {
    if column.is_empty() {
        return Encoded { stage: Some(Stage::Packed), ..Encoded::default() };
    }
    let scaled = Scaled::of(column);
    let mut candidates: Vec<Residuals> =
        orders.iter().map(|&order| Residuals::of(&scaled.values, order)).collect();
    candidates.sort_by_key(|candidate| candidate.packed.size_bytes());
    let mut best = Encoded::default();
    for residuals in candidates.iter().take(2) {
        let trial = encode_residuals(&scaled, residuals);
        if best.stage.is_none() || trial.cost < best.cost {
            best = trial;
        }
    }
    best
}

/// A column moved to its smallest value and divided by the divisor all differences share.
struct Scaled {
    /// The column's minimum and first value.
    minimum: i64,
    first: i64,
    divisor: u64,
    /// `(value - minimum) / divisor`.
    values: Vec<u64>,
}

impl Scaled {
    fn of(column: &[i64]) -> Self {
        let minimum = column.iter().copied().min().unwrap_or(0);
        let first = column.first().copied().unwrap_or(0);
        let mut values: Vec<u64> =
            column.iter().map(|&value| value.wrapping_sub(minimum) as u64).collect();
        let mut divisor = 0;
        for &value in &values {
            divisor = greatest_common_divisor(divisor, value);
            if divisor == 1 {
                break;
            }
        }
        // Beyond i64 differences wrap, and wrapped ones do not divide.
        if divisor > 1 && values.iter().all(|&value| value <= i64::MAX as u64) {
            values.iter_mut().for_each(|value| *value /= divisor);
        } else {
            divisor = 1;
        }
        Self { minimum, first, divisor, values }
    }
}

fn encode_residuals(scaled: &Scaled, residuals: &Residuals) -> Encoded {
    let mut head = vec![0];
    let mut flags = residuals.order.tag();
    let base = if residuals.order == Order::Raw { scaled.minimum } else { scaled.first };
    write_signed(&mut head, base);
    if scaled.divisor > 1 {
        flags |= DIVIDED;
        write_varint(&mut head, scaled.divisor);
    }
    if residuals.zigzag {
        flags |= ZIGZAG;
    }
    residuals.write_fields(&mut head);
    if let Some(first) = head.first_mut() {
        *first = flags;
    }
    let (stage, body) = encode_stage(residuals);
    let size = head.len() + body.len();
    head.extend_from_slice(&body);
    Encoded { bytes: head, cost: stage.weigh(size), stage: Some(stage) }
}

fn encode_stage(residuals: &Residuals) -> (Stage, Vec<u8>) {
    let mut best = None;
    let mut best_cost = Stage::Packed.weigh(residuals.packed.size_bytes());
    // Below this nothing can be won: a frame alone takes as much.
    let stages: &[Stage] =
        if residuals.packed.size_bytes() <= 8 { &[] } else { &[Stage::Planes, Stage::Huffman] };
    for &stage in stages {
        let mut body = Vec::new();
        let applies = match stage {
            Stage::Planes => planes::encode_joint(&residuals.values, &mut body),
            _ => planes::encode_apart(&residuals.values, &mut body),
        };
        if applies && stage.weigh(body.len()) < best_cost {
            best_cost = stage.weigh(body.len());
            best = Some((stage, body));
        }
    }
    best.unwrap_or_else(|| {
        let mut body = Vec::new();
        residuals.packed.encode(&residuals.values, &mut body);
        (Stage::Packed, body)
    })
}

/// The stage of a framed column that is all zeros.
const ZEROS: u8 = 3;

/// Appends a column that tells its own stage and length.
pub(crate) fn write(column: &[i64], orders: &[Order], out: &mut Vec<u8>) {
    if column.iter().all(|&value| value == 0) {
        out.push(ZEROS);
        return;
    }
    let encoded = encode(column, orders);
    let stage = encoded.stage.unwrap_or(Stage::Packed);
    out.push(stage.tag());
    if stage != Stage::Packed {
        write_varint(out, encoded.bytes.len() as u64);
    }
    out.extend_from_slice(&encoded.bytes);
}

/// Replaces `column` with the `count` values of what [`write`] wrote, two's complement.
///
/// # Errors
/// As [`decode`].
pub(crate) fn read(
    reader: &mut Reader<'_>,
    count: usize,
    column: &mut Vec<u64>,
) -> Result<(), DecodeError> {
    let stage = reader.u8()?;
    if stage == ZEROS {
        check_count(count)?;
        column.clear();
        column.resize(count, 0);
        return Ok(());
    }
    let stage = Stage::from_tag(stage)?;
    if stage == Stage::Packed {
        return decode_front(stage, reader, count, column);
    }
    let length = reader.length("length of a column", reader.remaining())?;
    decode(stage, reader.bytes(length)?, count, column)
}

/// A decoded head: all that is needed to turn residuals back into a column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    base: i64,
    divisor: i64,
    zigzag: bool,
    fields: order::Fields,
}

impl Head {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let flags = reader.u8()?;
        if flags & !(ORDER_MASK | ZIGZAG | DIVIDED) != 0 {
            return Err(DecodeError::Invalid {
                what: "column head",
                found: u64::from(flags),
                expected: "known flags only",
            });
        }
        let base = reader.signed()?;
        let divisor = if flags & DIVIDED == 0 { 1 } else { reader.varint()? as i64 };
        let zigzag = flags & ZIGZAG != 0;
        let fields = order::Fields::read(Order::from_tag(flags & ORDER_MASK), zigzag, reader)?;
        Ok(Self { base, divisor, zigzag, fields })
    }

    /// Undoes [`Scaled`].
    fn place(&self, values: &mut [u64]) {
        let (base, divisor) = (self.base as u64, self.divisor as u64);
        for value in values {
            *value = base.wrapping_add(divisor.wrapping_mul(*value));
        }
    }
}

/// Decodes all of `bytes` into `count` values, which replace `column`, each the two's complement
/// of an `i64`: residuals become values where they lie.
///
/// # Errors
/// [`DecodeError`]; `count` above [`COLUMN_VALUES_MAX`] is one.
pub(crate) fn decode(
    stage: Stage,
    bytes: &[u8],
    count: usize,
    column: &mut Vec<u64>,
) -> Result<(), DecodeError> {
    let mut reader = Reader::new(bytes);
    decode_front(stage, &mut reader, count, column)?;
    reader.finish("column")
}

/// As [`decode`], but appends what `value` makes of each value to `out`; `column` is scratch.
///
/// # Errors
/// As [`decode`]; nothing was appended then.
pub(crate) fn decode_onto<V>(
    stage: Stage,
    bytes: &[u8],
    count: usize,
    column: &mut Vec<u64>,
    out: &mut Vec<V>,
    value: impl Fn(u64) -> V,
) -> Result<(), DecodeError> {
    let mut reader = Reader::new(bytes);
    let head = decode_residuals(stage, &mut reader, count, column)?;
    reader.finish("column")?;
    let Some(head) = head else { return Ok(()) };
    let (base, divisor) = (head.base as u64, head.divisor as u64);
    if divisor == 1 {
        head.fields.restore_onto(head.zigzag, head.base, column, out, value);
    } else {
        let value = |scaled: u64| value(base.wrapping_add(divisor.wrapping_mul(scaled)));
        head.fields.restore_onto(head.zigzag, 0, column, out, value);
    }
    Ok(())
}

/// As [`decode`], from the front of `reader`: of a packed column what it takes, of others all.
fn decode_front(
    stage: Stage,
    reader: &mut Reader<'_>,
    count: usize,
    column: &mut Vec<u64>,
) -> Result<(), DecodeError> {
    let Some(head) = decode_residuals(stage, reader, count, column)? else { return Ok(()) };
    // Undivided, the order can start from the base itself and spare a pass.
    let start = if head.divisor == 1 { head.base } else { 0 };
    head.fields.restore(head.zigzag, start, column);
    if head.divisor != 1 {
        head.place(column);
    }
    Ok(())
}

/// Fills `column` with residuals, behind as many values of anything as the order leads in by;
/// nothing where it is empty.
fn decode_residuals(
    stage: Stage,
    reader: &mut Reader<'_>,
    count: usize,
    column: &mut Vec<u64>,
) -> Result<Option<Head>, DecodeError> {
    check_count(count)?;
    // Never cleared: all of it is filled.
    column.resize(count, 0);
    if count == 0 {
        return Ok(None);
    }
    let head = Head::read(reader)?;
    let residuals = column.get_mut(head.fields.leading()..).unwrap_or_default();
    match stage {
        Stage::Packed => packed::decode(reader, residuals)?,
        Stage::Planes => planes::decode_joint(reader, residuals)?,
        Stage::Huffman => planes::decode_apart(reader, residuals)?,
    }
    Ok(Some(head))
}

/// # Errors
/// [`DecodeError::Invalid`] above [`COLUMN_VALUES_MAX`].
pub(crate) fn check_count(count: usize) -> Result<(), DecodeError> {
    if count > COLUMN_VALUES_MAX {
        return Err(DecodeError::Invalid {
            what: "count of a column",
            found: count as u64,
            expected: "at most 65536",
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(column: &[i64]) {
        for orders in [
            &[Order::Raw][..],
            &[Order::Delta],
            &[Order::DeltaOfDelta],
            &[Order::Grid],
            &[Order::Raw, Order::Delta, Order::DeltaOfDelta, Order::Grid],
        ] {
            let encoded = encode(column, orders);
            let mut back = Vec::new();
            let stage = encoded.stage.unwrap();
            decode(stage, &encoded.bytes, column.len(), &mut back).unwrap();
            let (mut scratch, mut onto) = (Vec::new(), vec![7]);
            let signed = |value| value as i64;
            decode_onto(stage, &encoded.bytes, column.len(), &mut scratch, &mut onto, signed)
                .unwrap();
            assert_eq!(onto[1..], *column, "{orders:?}");
            let back: Vec<i64> = back.into_iter().map(|value| value as i64).collect();
            assert_eq!(back, column, "{orders:?}");
        }
    }

    proptest! {
        #[test]
        fn any_column_round_trips(column in prop::collection::vec(any::<i64>(), 0..200)) {
            round_trip(&column);
        }

        #[test]
        fn regular_columns_round_trip(
            start: i64,
            step: i32,
            unit in 1..1_000_000_i64,
            noise in prop::collection::vec(-100..100_i64, 0..2500),
        ) {
            let column: Vec<i64> = noise.iter().enumerate().map(|(i, &noise)| {
                let grid = (i as i64).wrapping_mul(i64::from(step));
                start.wrapping_add(grid.wrapping_add(noise).wrapping_mul(unit))
            }).collect();
            round_trip(&column);
        }

        #[test]
        fn any_bytes_decode_without_panic(bytes: Vec<u8>, count in 0..5000_usize) {
            let mut out = Vec::new();
            for stage in [Stage::Packed, Stage::Planes, Stage::Huffman] {
                let _ = decode(stage, &bytes, count, &mut out);
            }
        }
    }

    #[test]
    fn extremes_round_trip() {
        round_trip(&[i64::MIN, i64::MAX, 0, -1, i64::MIN, i64::MIN + 2]);
        round_trip(&[i64::MIN; 3]);
        round_trip(&[0, i64::MAX - 1]);
        round_trip(&[7]);
    }
}
