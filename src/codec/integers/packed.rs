//! Patched bit-packing: every residual in the same few bits, the rare large ones patched.
//!
//! After PFOR (Zukowski et al., "Super-Scalar RAM-CPU Cache Compression", 2006, 4.1), with the
//! width chosen by cost and the patches' high bits stored apart, so that patching is an OR.
//!
//! ```text
//! blocks of 1024 values, the last shorter:
//! width u8 (0-56, 64) · patches varint · patches x (gap varint, high bits varint) · bits
//! ```

use crate::codec::bytes::{Reader, write_bits, write_varint};
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
    let longest = lengths.iter().rposition(|&count| count > 0).unwrap_or(0);
    let lengths = lengths.get(..=longest).unwrap_or_default();
    let mut best = (64, 2 + block.len() * 8);
    for width in 0..=longest.min(WIDTH_MAX) {
        let patches = lengths.iter().enumerate().skip(width + 1);
        let patched: usize =
            patches.map(|(bits, &count)| count * (1 + (bits - width).div_ceil(7))).sum();
        let size = 2 + (block.len() * width).div_ceil(8) + patched;
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
    write_bits(out, block.iter().map(|&value| (value, width as u32)));
}

/// Fills `out` with as many residuals.
pub(super) fn decode(reader: &mut Reader<'_>, out: &mut [u64]) -> Result<(), DecodeError> {
    out.chunks_mut(BLOCK_VALUES).try_for_each(|block| decode_block(reader, block))
}

fn decode_block(reader: &mut Reader<'_>, block: &mut [u64]) -> Result<(), DecodeError> {
    let width = usize::from(reader.u8()?);
    if width > WIDTH_MAX && width != 64 {
        return Err(DecodeError::Invalid {
            what: "packing width",
            found: width as u64,
            expected: "at most 56, or 64",
        });
    }
    let patches = reader.length("patches", block.len())?;
    // Patches come first, so that they need be read but once; unpacking adds the low bits.
    block.fill(0);
    let mut next = 0;
    for _ in 0..patches {
        let (gap, high) = reader.varint_pair()?;
        let position = usize::try_from(gap).unwrap_or(usize::MAX).saturating_add(next);
        let value = block.get_mut(position).ok_or(DecodeError::Invalid {
            what: "patch position",
            found: position as u64,
            expected: "within its block",
        })?;
        *value = high.checked_shl(width as u32).unwrap_or(0);
        next = position + 1;
    }
    unpack(reader.bytes((block.len() * width).div_ceil(8))?, width, block);
    Ok(())
}

/// Adds to `out` (by OR) values of `width` bits; `packed` holds exactly these.
fn unpack(packed: &[u8], width: usize, out: &mut [u64]) {
    if width == 0 {
        return;
    }
    if width == 64 {
        for (value, bytes) in out.iter_mut().zip(packed.as_chunks::<8>().0) {
            *value |= u64::from_le_bytes(*bytes);
        }
        return;
    }
    let done = unpack_groups(packed, width, out);
    // The end, for once with room behind it.
    let mut end = [0; END_BYTES];
    let rest = packed.get(done * width / 8..).unwrap_or_default();
    for (to, &byte) in end.iter_mut().zip(rest) {
        *to = byte;
    }
    let out = out.get_mut(done..).unwrap_or_default();
    let done = unpack_groups(&end, width, out);
    let mask = u64::MAX >> (64 - width);
    for (index, value) in out.iter_mut().enumerate().skip(done) {
        *value |= window(&end, index * width) & mask;
    }
}

/// Bytes from the start of a group of eight values that hold it whole whatever its width, and
/// eight more for the last one's window.
const GROUP_BYTES: usize = WIDTH_MAX + 8;

/// The end that [`unpack_groups`] leaves is shorter than a group's bytes; as many again let it go
/// over that too.
const END_BYTES: usize = 2 * GROUP_BYTES;

/// Adds to groups of eight values of `W` bits, which end at whole bytes, while the bytes of a
/// group of any width lie inside `packed`. Returns how many values. With the width known, every
/// offset and shift is a constant.
fn unpack_width<const W: usize>(packed: &[u8], out: &mut [u64]) -> usize {
    let mask = u64::MAX >> (64 - W);
    let mut done = 0;
    for group in out.as_chunks_mut::<8>().0 {
        let rest = packed.get(done * W..).unwrap_or_default();
        let Some(bytes) = rest.first_chunk::<GROUP_BYTES>() else { break };
        for (index, value) in group.iter_mut().enumerate() {
            *value |= window(bytes, index * W) & mask;
        }
        done += 1;
    }
    8 * done
}

/// [`unpack_width`] of a width known only now.
fn unpack_groups(packed: &[u8], width: usize, out: &mut [u64]) -> usize {
    macro_rules! dispatch {
        ($($width:literal)*) => {
            match width {
                $($width => unpack_width::<$width>(packed, out),)*
                _ => 0,
            }
        };
    }
    dispatch!(
        1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33
        34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56
    )
}

/// The 57 or more bits that start at bit `at`; zeros where fewer than eight bytes are left.
#[inline(always)]
fn window(packed: &[u8], at: usize) -> u64 {
    let bytes = packed.get(at / 8..).and_then(<[u8]>::first_chunk::<8>);
    u64::from_le_bytes(bytes.copied().unwrap_or_default()) >> (at % 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(values: &[u64]) {
        let mut out = Vec::new();
        Packing::of(values).encode(values, &mut out);
        let (mut reader, mut back) = (Reader::new(&out), vec![7; values.len()]);
        decode(&mut reader, &mut back).unwrap();
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
