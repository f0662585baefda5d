//! Bitmaps: which rows of an event column hold a value, and columns of booleans.
//!
//! Rare bits are kept as the gaps between them, the others as they are.
//!
//! ```text
//! tag u8: 0 no bit is set · 1 all are · 2 those that are set · 3 those that are not · 4 the bits
//! 2, 3: count varint · gaps, a framed column of integers: bits passed over before each
//! 4: bytes, the first bit lowest, the last byte filled up with zeros
//! ```

use super::bytes::{Reader, write_varint};
use super::integers::{self, COLUMN_VALUES_MAX, Order};
use crate::error::DecodeError;
use crate::model::Bitmap;

const NONE: u8 = 0;
const ALL: u8 = 1;
const SET: u8 = 2;
const CLEAR: u8 = 3;
const BITS: u8 = 4;

/// Gaps are tried where at most one bit in so many is rare: from there on they take more than the
/// bits in any case.
const RARE_IN: usize = 6;

/// Appends the bits, at most [`COLUMN_VALUES_MAX`] of them.
pub fn encode(bits: &Bitmap, out: &mut Vec<u8>) {
    debug_assert!(bits.len() <= COLUMN_VALUES_MAX);
    let (ones, len) = (bits.count_ones(), bits.len());
    if ones == 0 {
        return out.push(NONE);
    }
    if ones == len {
        return out.push(ALL);
    }
    let rare = ones.min(len - ones);
    let plain_bytes = len.div_ceil(8);
    if rare * RARE_IN <= len {
        let set = ones == rare;
        let mut body = Vec::new();
        write_varint(&mut body, rare as u64);
        integers::write(&gaps(bits, set), &[Order::Raw], &mut body);
        if body.len() < plain_bytes {
            out.push(if set { SET } else { CLEAR });
            out.extend_from_slice(&body);
            return;
        }
    }
    out.push(BITS);
    let bytes = bits.words().iter().flat_map(|word| word.to_le_bytes());
    out.extend(bytes.take(plain_bytes));
}

/// How many bits lie before each that is `set`, since the one before.
fn gaps(bits: &Bitmap, set: bool) -> Vec<i64> {
    let mut next = 0;
    let positions = bits.iter().enumerate().filter(|&(_, bit)| bit == set).map(|(at, _)| at);
    positions
        .map(|at| {
            let gap = at - next;
            next = at + 1;
            gap as i64
        })
        .collect()
}

/// Reads `len` bits from the front of `reader`.
///
/// # Errors
/// [`DecodeError`] where there are no such bits; `len` above [`COLUMN_VALUES_MAX`] is one.
pub fn decode(reader: &mut Reader<'_>, len: usize) -> Result<Bitmap, DecodeError> {
    integers::check_count(len)?;
    let tag = reader.u8()?;
    match tag {
        NONE | ALL => Ok(Bitmap::filled(tag == ALL, len)),
        SET | CLEAR => {
            let count = reader.length("rare bits", len)?;
            let mut gaps = Vec::new();
            integers::read(reader, count, &mut gaps)?;
            let mut bits = Bitmap::filled(tag == CLEAR, len);
            let mut next = 0_u64;
            for gap in gaps {
                let at = next.checked_add(gap).filter(|&at| at < len as u64).ok_or(
                    DecodeError::Invalid {
                        what: "gap of bits",
                        found: gap,
                        expected: "within them",
                    },
                )?;
                bits.set(at as usize, tag == SET);
                next = at + 1;
            }
            Ok(bits)
        }
        BITS => {
            let bytes = reader.bytes(len.div_ceil(8))?;
            let bit = |at: usize| bytes.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1);
            Ok((0..len).map(bit).collect())
        }
        _ => Err(DecodeError::Invalid {
            what: "bitmap",
            found: u64::from(tag),
            expected: "a tag of 0 to 4",
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(bits: &Bitmap) -> usize {
        let mut out = Vec::new();
        encode(bits, &mut out);
        let bytes = out.len();
        out.push(0xaa);
        let mut reader = Reader::new(&out);
        assert_eq!(decode(&mut reader, bits.len()).unwrap(), *bits);
        assert_eq!(reader.remaining(), 1);
        bytes
    }

    proptest! {
        #[test]
        fn any_bits_round_trip(
            bits in prop::collection::vec(any::<bool>(), 0..2000),
            rare in prop::collection::btree_set(0..5000_usize, 0..200),
        ) {
            round_trip(&bits.into_iter().collect());
            for set in [true, false] {
                let bits: Bitmap = (0..5000).map(|at| rare.contains(&at) == set).collect();
                prop_assert!(round_trip(&bits) <= 1 + 5000 / 8);
            }
        }

        #[test]
        fn any_bytes_decode_without_panic(bytes: Vec<u8>, len in 0..70_000_usize) {
            let _ = decode(&mut Reader::new(&bytes), len);
        }
    }

    #[test]
    fn rare_bits_cost_little() {
        assert_eq!(round_trip(&Bitmap::filled(true, 8192)), 1);
        assert_eq!(round_trip(&Bitmap::filled(false, 8192)), 1);
        let hundredth: Bitmap = (0..8192).map(|at| at % 100 == 7).collect();
        assert!(round_trip(&hundredth) < 120);
        let half: Bitmap = (0..8192).map(|at| at % 2 == 0).collect();
        assert_eq!(round_trip(&half), 1 + 1024);
    }
}
