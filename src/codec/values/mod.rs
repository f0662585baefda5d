//! Columns of values: `f64`, every bit pattern kept.
//!
//! A column is constant, or its values are integers or decimals in floating-point clothes, or
//! real doubles. The first three quarters of monitoring data are the former; what they share is
//! that a column of `i64` (`codec::integers`) stands for them exactly.
//!
//! ```text
//! tag u8: bits 0-2 source, bits 3-4 stage, bit 5 exceptions follow; two more sources name columns
//!         that are none of values
//! constant:  the bits, 8 bytes
//! otherwise: [exceptions] · what the source needs · a column of integers
//! ```
//!
//! The tag stands in the segment's directory, not before the bytes.

pub(super) mod bits;
mod corrected;
pub(super) mod decimal;
mod exceptions;

use std::cell::RefCell;

use super::bytes::Reader;
use super::integers::{Encoded, Stage, check_count};
use crate::error::DecodeError;

/// What the integers of a column of values stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Values that are `n / 10^e` for one `e`, but for exceptions.
    Decimal,
    /// Decimals that arithmetic moved by a few units in the last place, and these units.
    Corrected,
    /// The bits of the doubles, ordered as the doubles are.
    Bits,
}

/// How a column of values is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueEncoding {
    /// All bits equal.
    Constant,
    /// Integers that stand for the values.
    Integers {
        /// What they stand for.
        source: Source,
        /// How they are stored.
        stage: Stage,
        /// Whether some values are stored beside them.
        exceptions: bool,
    },
    /// No column of values but one of aggregates (`codec::partials`), and what stands beside it.
    Partials {
        /// Whether all samples have one value, which with the times tells all: no column.
        constant: bool,
        /// Whether increase and resets are kept.
        increase: bool,
        /// Whether the times of the first samples stand in a column behind that of the starts,
        /// which they are else.
        firsts: bool,
        /// Whether those of the last ones stand in another, behind; else they are the first ones.
        lasts: bool,
    },
    /// No column of values but one of sketches (`codec::sketches`).
    Sketches,
}

impl ValueEncoding {
    /// A short name for people and statistics: `constant`, `decimal_packed`, `bits_planes`, ...
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Integers { source, stage, .. } => match (source, stage) {
                (Source::Decimal, Stage::Packed) => "decimal_packed",
                (Source::Decimal, Stage::Planes) => "decimal_planes",
                (Source::Decimal, Stage::Huffman) => "decimal_huffman",
                (Source::Corrected, Stage::Packed) => "corrected_packed",
                (Source::Corrected, Stage::Planes) => "corrected_planes",
                (Source::Corrected, Stage::Huffman) => "corrected_huffman",
                (Source::Bits, Stage::Packed) => "bits_packed",
                (Source::Bits, Stage::Planes) => "bits_planes",
                (Source::Bits, Stage::Huffman) => "bits_huffman",
            },
            Self::Partials { constant: true, .. } => "constant_partials",
            Self::Partials { .. } => "partials",
            Self::Sketches => "sketches",
        }
    }

    /// Whether one value tells all, so that there is no column.
    #[must_use]
    pub const fn is_constant(self) -> bool {
        matches!(self, Self::Constant | Self::Partials { constant: true, .. })
    }

    /// The byte that stands for it.
    #[must_use]
    pub const fn tag(self) -> u8 {
        match self {
            Self::Constant => 0,
            Self::Integers { source, stage, exceptions } => {
                let source = match source {
                    Source::Decimal => 1,
                    Source::Corrected => 2,
                    Source::Bits => 3,
                };
                source | stage.tag() << 3 | (exceptions as u8) << 5
            }
            Self::Partials { constant, increase, firsts, lasts } => {
                let source = if constant { 6 } else { 4 };
                source | (increase as u8) << 3 | (firsts as u8) << 4 | (lasts as u8) << 5
            }
            Self::Sketches => 5,
        }
    }

    /// Undoes [`tag`](Self::tag).
    ///
    /// # Errors
    /// [`DecodeError::Invalid`] where no encoding has it.
    pub fn from_tag(tag: u8) -> Result<Self, DecodeError> {
        let bit = |bit: u32| tag >> bit & 1 == 1;
        match tag {
            0 => return Ok(Self::Constant),
            5 => return Ok(Self::Sketches),
            _ if tag & 0b101 == 4 && tag >> 6 == 0 => {
                let (increase, firsts, lasts) = (bit(3), bit(4), bit(5));
                return Ok(Self::Partials { constant: bit(1), increase, firsts, lasts });
            }
            _ => {}
        }
        let invalid = DecodeError::Invalid {
            what: "value encoding",
            found: u64::from(tag),
            expected: "a known source and stage",
        };
        let source = match tag & 0b111 {
            1 => Source::Decimal,
            2 => Source::Corrected,
            3 => Source::Bits,
            _ => return Err(invalid),
        };
        let stage = Stage::from_tag(tag >> 3 & 0b11)?;
        if tag >> 6 != 0 {
            return Err(invalid);
        }
        Ok(Self::Integers { source, stage, exceptions: bit(5) })
    }
}

/// Appends `values`, at most [`COLUMN_VALUES_MAX`](super::COLUMN_VALUES_MAX) of them, and tells
/// how. An empty column is constant, of no bytes.
pub fn encode(values: &[f64], out: &mut Vec<u8>) -> ValueEncoding {
    debug_assert!(check_count(values.len()).is_ok());
    let Some(first) = values.first().map(|value| value.to_bits()) else {
        return ValueEncoding::Constant;
    };
    if values.iter().all(|value| value.to_bits() == first) {
        out.extend_from_slice(&first.to_le_bytes());
        return ValueEncoding::Constant;
    }
    let best = choose(values);
    out.extend_from_slice(&best.encoded.bytes);
    let stage = best.encoded.stage.unwrap_or(Stage::Packed);
    ValueEncoding::Integers { source: best.source, stage, exceptions: best.exceptions }
}

/// One way to encode a column, done.
struct Trial {
    source: Source,
    exceptions: bool,
    encoded: Encoded,
}

/// Exact decimals where (nearly) all values are, else the cheaper of corrected decimals and bits.
fn choose(values: &[f64]) -> Trial {
    let exact = decimal::encode(values);
    if let Some(exact) = exact {
        return exact;
    }
    let bits = bits::encode(values);
    match corrected::encode(values) {
        Some(corrected) if corrected.encoded.cost < bits.encoded.cost => corrected,
        _ => bits,
    }
}

/// Replaces `out` with the `count` values of which [`encode`] made `bytes`, bit for bit.
///
/// # Errors
/// [`DecodeError`] where it did not, or `count` is above
/// [`COLUMN_VALUES_MAX`](super::COLUMN_VALUES_MAX).
pub fn decode(
    encoding: ValueEncoding,
    bytes: &[u8],
    count: usize,
    out: &mut Vec<f64>,
) -> Result<(), DecodeError> {
    check_count(count)?;
    out.clear();
    let mut reader = Reader::new(bytes);
    let (source, stage, exceptions) = match encoding {
        ValueEncoding::Integers { source, stage, exceptions } => (source, stage, exceptions),
        ValueEncoding::Constant => {
            if count > 0 {
                let value = f64::from_bits(reader.u64()?);
                out.resize(count, value);
            }
            return reader.finish("constant column");
        }
        ValueEncoding::Partials { .. } | ValueEncoding::Sketches => {
            return Err(DecodeError::Invalid {
                what: "value encoding",
                found: u64::from(encoding.tag()),
                expected: "one of numbers",
            });
        }
    };
    let exceptions =
        if exceptions { Some(exceptions::Exceptions::read(&mut reader, count)?) } else { None };
    match source {
        Source::Decimal => decimal::decode(stage, reader, count, out)?,
        Source::Corrected => corrected::decode(stage, reader, count, out)?,
        Source::Bits => bits::decode(stage, reader, count, out)?,
    }
    exceptions.map_or(Ok(()), |exceptions| exceptions.patch(out))
}

thread_local! {
    /// A column of integers on its way to bytes.
    static INTEGERS: RefCell<Vec<i64>> = const { RefCell::new(Vec::new()) };
    /// And on its way back.
    static DECODED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

#[cfg(test)]
mod tests;
