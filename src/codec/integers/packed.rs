//! Patched bit-packing: every residual in the same few bits, the rare large ones patched.
//!
//! After PFOR (Zukowski et al., "Super-Scalar RAM-CPU Cache Compression", 2006, 4.1), with the
//! width chosen by cost and the patches' high bits stored apart, so that patching is an OR.
//!
//! ```text
//! blocks of 1024 values, the last shorter:
//! width u8 (0-56, 64) · patches varint · patches x (gap varint, high bits varint) · bits
//! ```

use crate::codec::bytes::{Reader, write_varint};
use crate::error::DecodeError;

const BLOCK_VALUES: usize = 1024;

/// The widest packing whose values an unaligned 8-byte load always holds whole.
const WIDTH_MAX: usize = 56;

/// The width of every block of a column, chosen by cost, and the size that comes out.
pub(super) struct Packing {
    widths: Vec<u8>,
    size_bytes: usize,
}

impl Packing {
    /// Chooses for `residuals` without packing them.
    pub(super) fn of(residuals: &[u64]) -> Self {
        let mut packing = Self {
            widths: Vec::with_capacity(residuals.len().div_ceil(BLOCK_VALUES)),
            size_bytes: 0,
        };
        for block in residuals.chunks(BLOCK_VALUES) {
            let (width, size) = choose_width(block);
            packing.widths.push(width as u8);
            packing.size_bytes += size;
        }
        packing
    }

    /// What [`encode`](Self::encode) will append, about.
    pub(super) const fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    pub(super) fn encode(&self, residuals: &[u64], out: &mut Vec<u8>) {
        for (block, &width) in residuals.chunks(BLOCK_VALUES).zip(&self.widths) {
            encode_block(block, usize::from(width), out);
        }
    }
}

/// The width of least cost, and that cost in bytes (patches taken at two bytes and their high
/// bits).
fn choose_width(block: &[u64]) -> (usize, usize) {
    let mut lengths = [0_usize; 65];
    for &value in block {
        if let Some(count) = lengths.get_mut(64 - value.leading_zeros() as usize) {
            *count += 1;
        }
    }
    let packed = |width: usize| 2 + (block.len() * width).div_ceil(8);
    let mut best = (64, packed(64));
    for width in 0..=WIDTH_MAX {
        let patches = lengths.iter().enumerate().skip(width + 1);
        let patched: usize =
            patches.map(|(bits, &count)| count * (1 + (bits - width).div_ceil(7))).sum();
        let size = packed(width) + patched;
        if size < best.1 {
            best = (width, size);
        }
    }
    best
}

fn encode_block(block: &[u64], width: usize, out: &mut Vec<u8>) {
    let high = |value: u64| value.checked_shr(width as u32).unwrap_or(0);
    out.push(width as u8);
    write_varint(out, block.iter().filter(|&&value| high(value) != 0).count() as u64);
    let mut next = 0;
    for (position, &value) in block.iter().enumerate() {
        if high(value) != 0 {
            write_varint(out, (position - next) as u64);
            write_varint(out, high(value));
            next = position + 1;
        }
    }
    if width == 0 {
        return;
    }
    let mask = u64::MAX >> (64 - width);
    let (mut pending, mut bits) = (0_u128, 0);
    for &value in block {
        pending |= u128::from(value & mask) << bits;
        bits += width;
        while bits >= 8 {
            out.push(pending as u8);
            pending >>= 8;
            bits -= 8;
        }
    }
    if bits > 0 {
        out.push(pending as u8);
    }
}

/// Appends `count` residuals to `out`.
pub(super) fn decode(
    reader: &mut Reader<'_>,
    count: usize,
    out: &mut Vec<u64>,
) -> Result<(), DecodeError> {
    let mut left = count;
    while left > 0 {
        let length = left.min(BLOCK_VALUES);
        decode_block(reader, length, out)?;
        left -= length;
    }
    Ok(())
}

fn decode_block(
    reader: &mut Reader<'_>,
    count: usize,
    out: &mut Vec<u64>,
) -> Result<(), DecodeError> {
    let width = usize::from(reader.u8()?);
    if width > WIDTH_MAX && width != 64 {
        return Err(DecodeError::Invalid {
            what: "packing width",
            found: width as u64,
            expected: "at most 56, or 64",
        });
    }
    let patches = reader.length("patches", count)?;
    let mut patching = reader.clone();
    for _ in 0..2 * patches {
        reader.varint()?;
    }
    let start = out.len();
    unpack(reader.bytes((count * width).div_ceil(8))?, width, count, out);
    let block = out.get_mut(start..).unwrap_or_default();
    let mut next = 0;
    for _ in 0..patches {
        let position = patching.length("patch position", BLOCK_VALUES)? + next;
        let high = patching.varint()?;
        let value = block.get_mut(position).ok_or(DecodeError::Invalid {
            what: "patch position",
            found: position as u64,
            expected: "within its block",
        })?;
        *value |= high.checked_shl(width as u32).unwrap_or(0);
        next = position + 1;
    }
    Ok(())
}

/// Appends `count` values of `width` bits; `packed` holds exactly these.
fn unpack(packed: &[u8], width: usize, count: usize, out: &mut Vec<u64>) {
    if width == 0 {
        out.resize(out.len() + count, 0);
    } else if width == 64 {
        out.extend(packed.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)));
    } else {
        let mask = u64::MAX >> (64 - width);
        // Values whose eight-byte window lies inside; the few after them see zeros behind the end.
        let inside = if packed.len() < 8 { 0 } else { ((packed.len() - 8) * 8 / width).min(count) };
        out.extend((0..inside).map(|i| window(packed, i * width) & mask));
        let from = inside * width / 8;
        let mut tail = [0; 24];
        for (to, &byte) in tail.iter_mut().zip(packed.get(from..).unwrap_or_default()) {
            *to = byte;
        }
        out.extend((inside..count).map(|i| window(&tail, i * width - from * 8) & mask));
    }
}

/// The 57 or more bits that start at bit `at`.
#[inline]
fn window(packed: &[u8], at: usize) -> u64 {
    let bytes = packed.get(at / 8..).and_then(<[u8]>::first_chunk::<8>);
    bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes)) >> (at % 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(values: &[u64]) {
        let mut out = Vec::new();
        Packing::of(values).encode(values, &mut out);
        let (mut reader, mut back) = (Reader::new(&out), Vec::new());
        decode(&mut reader, values.len(), &mut back).unwrap();
        assert_eq!(reader.finish("test"), Ok(()));
        assert_eq!(back, values);
    }

    proptest! {
        #[test]
        fn every_width_round_trips(
            width in 0..=64_u32,
            values in prop::collection::vec(any::<u64>(), 0..300),
            outliers in prop::collection::vec((0..300_usize, any::<u64>()), 0..5),
        ) {
            let mask = u64::MAX.checked_shr(64 - width).unwrap_or(0);
            let mut values: Vec<u64> = values.iter().map(|value| value & mask).collect();
            for (at, outlier) in outliers {
                if let Some(value) = values.get_mut(at) {
                    *value = outlier;
                }
            }
            round_trip(&values);
        }
    }

    #[test]
    fn blocks_have_widths_of_their_own() {
        let values: Vec<u64> = (0..3000).map(|i| if i < 1024 { i % 2 } else { i << 40 }).collect();
        round_trip(&values);
        assert!(Packing::of(&values).size_bytes() < 128 + 2 * 1024 * 7);
    }
}
