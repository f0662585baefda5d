//! Numbers of any size, the order of magnitude of each in Huffman code: durations, counts and bytes,
//! whose logarithms are spread smoothly, come close to their entropy.
//!
//! A number's symbol is its highest bit's place and the two bits behind; what is left of it follows as
//! it is. After Elias' gamma code (1975), with the lengths in a code of their own, as pcodec and
//! others have it for bins that they choose; here the bins are the quarters of octaves, so that no
//! table of them is stored.
//!
//! ```text
//! method u8: 0 one symbol, that of all · 1 symbols as they are · 2 through zstd's Huffman coder
//! symbols: of 0 a u8; of 2 their length varint and bytes; one a number
//! rest: length varint · bits of each number in turn, the first lowest, filled up with zeros
//! ```
//!
//! Symbols 0 to 3 are the numbers themselves; 4 (*e* - 1) + *m* stands for numbers from
//! (4 + *m*) 2^(*e* - 2) on, which have *e* - 2 bits of rest.

use crate::codec::bytes::{Reader, write_bits, write_varint};
use crate::codec::compression::{Effort, compress, decompress};
use crate::error::DecodeError;

const ONE: u8 = 0;
const PLAIN: u8 = 1;
const HUFFMAN: u8 = 2;

/// Of numbers of 64 bits.
const SYMBOL_MAX: u8 = 4 * 62 + 3;

/// A number's symbol, and how many of its low bits are left over.
const fn split(number: u64) -> (u8, u32) {
    if number < 4 {
        return (number as u8, 0);
    }
    let exponent = 63 - number.leading_zeros();
    let rest = exponent - 2;
    ((4 * (exponent - 1)) as u8 + (number >> rest & 3) as u8, rest)
}

/// The least number of a symbol, and how many low bits it lacks.
const fn join(symbol: u8) -> (u64, u32) {
    if symbol < 4 {
        return (symbol as u64, 0);
    }
    let rest = symbol as u32 / 4 - 1;
    ((4 | (symbol as u64 & 3)) << rest, rest)
}

/// What [`join`] says of each symbol; of what is none nothing.
const JOINED: [(u64, u32); 256] = {
    let mut joined = [(0, 0); 256];
    let mut symbol = 0;
    while symbol <= SYMBOL_MAX {
        let (_, rest) = joined.split_at_mut(symbol as usize);
        if let Some((place, _)) = rest.split_first_mut() {
            *place = join(symbol);
        }
        symbol += 1;
    }
    joined
};

/// Appends the numbers.
pub(super) fn encode(numbers: &[u64], out: &mut Vec<u8>) {
    let symbols: Vec<u8> = numbers.iter().map(|&number| split(number).0).collect();
    let first = symbols.first().copied().unwrap_or(0);
    let mut frame = Vec::new();
    if symbols.iter().all(|&symbol| symbol == first) {
        out.extend([ONE, first]);
    } else if compress(Effort::Huffman, &symbols, &mut frame) {
        out.push(HUFFMAN);
        write_varint(out, frame.len() as u64);
        out.append(&mut frame);
    } else {
        out.push(PLAIN);
        out.extend_from_slice(&symbols);
    }
    let mut bits = Vec::new();
    write_bits(&mut bits, numbers.iter().map(|&number| (number, split(number).1)));
    write_varint(out, bits.len() as u64);
    out.append(&mut bits);
}

/// Reads `count` numbers from the front of `reader`; they replace `out`.
///
/// # Errors
/// [`DecodeError`] where there are no such numbers.
pub(super) fn decode(
    reader: &mut Reader<'_>,
    count: usize,
    out: &mut Vec<u64>,
) -> Result<(), DecodeError> {
    let mut buffer = Vec::new();
    let symbols: &[u8] = match reader.u8()? {
        ONE => {
            buffer.resize(count, reader.u8()?);
            &buffer
        }
        PLAIN => reader.bytes(count)?,
        HUFFMAN => {
            let length = reader.length("length of symbols", reader.remaining())?;
            decompress(reader.bytes(length)?, count, &mut buffer)?;
            &buffer
        }
        tag => {
            let (what, found) = ("symbols of magnitudes", u64::from(tag));
            return Err(DecodeError::Invalid { what, found, expected: "a method of 0 to 2" });
        }
    };
    if let Some(&found) = symbols.iter().find(|&&symbol| symbol > SYMBOL_MAX) {
        let (what, found) = ("symbol of a magnitude", u64::from(found));
        return Err(DecodeError::Invalid { what, found, expected: "at most 251" });
    }
    let length = reader.length("length of the rest", reader.remaining())?;
    let rest = reader.bytes(length)?;
    let joined = |symbol: u8| JOINED.get(usize::from(symbol)).copied().unwrap_or_default();
    let needed: u64 = symbols.iter().map(|&symbol| u64::from(joined(symbol).1)).sum();
    if needed.div_ceil(8) != length as u64 {
        let (what, expected) = ("length of the rest", "as long as the symbols say");
        return Err(DecodeError::Invalid { what, found: length as u64, expected });
    }
    out.clear();
    out.reserve(symbols.len());
    let mut at = 0;
    out.extend(symbols.iter().map(|&symbol| {
        let (least, bits) = joined(symbol);
        let low = low_bits(rest, at, bits);
        at += bits as usize;
        least | low
    }));
    Ok(())
}

/// `count` bits from bit `at` on, at most 61; zeros past the end.
#[inline]
fn low_bits(bytes: &[u8], at: usize, count: u32) -> u64 {
    let rest = bytes.get(at / 8..).unwrap_or_default();
    let mask = (1 << count) - 1;
    // Seven bits may stand before.
    if count <= 57
        && let Some(chunk) = rest.first_chunk::<8>()
    {
        return u64::from_le_bytes(*chunk) >> (at % 8) & mask;
    }
    let few = rest.iter().take(9).rev();
    let word = few.fold(0, |word, &byte| word << 8 | u128::from(byte));
    (word >> (at % 8)) as u64 & mask
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(numbers: &[u64]) -> usize {
        let mut out = Vec::new();
        encode(numbers, &mut out);
        let bytes = out.len();
        out.push(0xaa);
        let (mut reader, mut back) = (Reader::new(&out), vec![7]);
        decode(&mut reader, numbers.len(), &mut back).unwrap();
        assert_eq!(back, numbers);
        assert_eq!(reader.remaining(), 1);
        bytes
    }

    proptest! {
        #[test]
        fn any_numbers_round_trip(
            numbers in prop::collection::vec((any::<u64>(), 0..64_u32), 0..600),
            small in prop::collection::vec(0..9_u64, 0..300),
        ) {
            round_trip(&numbers.into_iter().map(|(number, shift)| number >> shift).collect::<Vec<_>>());
            round_trip(&small);
        }

        #[test]
        fn any_bytes_decode_without_panic(bytes: Vec<u8>, count in 0..70_000_usize) {
            let _ = decode(&mut Reader::new(&bytes), count, &mut Vec::new());
        }
    }

    #[test]
    fn symbols_and_numbers_fit_each_other() {
        assert_eq!([0, 1, 3, 4, 7, 8, 9, 10].map(|n| split(n).0), [0, 1, 3, 4, 7, 8, 8, 9]);
        assert_eq!(split(u64::MAX), (SYMBOL_MAX, 61));
        for symbol in 0..=SYMBOL_MAX {
            let (least, rest) = join(symbol);
            let most = least | ((1 << rest) - 1);
            assert_eq!([split(least), split(most)], [(symbol, rest); 2]);
        }
        round_trip(&[u64::MAX, 0, u64::MAX - 1, 1 << 63, 1]);
    }
}
