//! Values that are no decimal: NaNs with their payloads, -0.0, infinities, stale markers, and
//! strays. Stored beside the column, which repeats the value before them.
//!
//! ```text
//! count varint · count x (gap varint) · count x (bits, 8 bytes)
//! ```

use crate::codec::bytes::{Reader, write_varint};
use crate::error::DecodeError;

/// Positions, ascending, and bits, collected while encoding.
#[derive(Default)]
pub(super) struct Collected {
    positions: Vec<usize>,
    bits: Vec<u64>,
}

impl Collected {
    pub(super) fn push(&mut self, position: usize, value: f64) {
        self.positions.push(position);
        self.bits.push(value.to_bits());
    }

    pub(super) fn len(&self) -> usize {
        self.positions.len()
    }

    /// Appends nothing where there are none.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        if self.positions.is_empty() {
            return;
        }
        write_varint(out, self.positions.len() as u64);
        let mut next = 0;
        for &position in &self.positions {
            write_varint(out, (position - next) as u64);
            next = position + 1;
        }
        for bits in &self.bits {
            out.extend_from_slice(&bits.to_le_bytes());
        }
    }
}

/// Exceptions as read back: both lists still encoded.
pub(super) struct Exceptions<'a> {
    count: usize,
    gaps: Reader<'a>,
    bits: Reader<'a>,
}

impl<'a> Exceptions<'a> {
    pub(super) fn read(reader: &mut Reader<'a>, count_max: usize) -> Result<Self, DecodeError> {
        let count = reader.length("exceptions", count_max)?;
        let gaps = reader.clone();
        for _ in 0..count {
            reader.varint()?;
        }
        let bits = Reader::new(reader.bytes(8 * count)?);
        Ok(Self { count, gaps, bits })
    }

    /// Puts the exceptions where they belong.
    pub(super) fn patch(mut self, values: &mut [f64]) -> Result<(), DecodeError> {
        let mut next = 0;
        for _ in 0..self.count {
            let position = next + self.gaps.length("exception position", values.len())?;
            let value = values.get_mut(position).ok_or(DecodeError::Invalid {
                what: "exception position",
                found: position as u64,
                expected: "within the column",
            })?;
            *value = f64::from_bits(self.bits.u64()?);
            next = position + 1;
        }
        Ok(())
    }
}
