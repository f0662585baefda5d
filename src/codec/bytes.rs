//! What all stored bytes are made of: little-endian integers, varints, a bounded reader, and a
//! checksummed frame.

use crate::error::DecodeError;

/// Appends `value` as a LEB128 varint: seven bits a byte, low bits first, 1 to 10 bytes.
pub fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed value as the varint of its [`zigzag`] form.
pub fn write_signed(out: &mut Vec<u8>, value: i64) {
    write_varint(out, zigzag(value));
}

/// How many bytes [`write_varint`] appends.
#[must_use]
pub const fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Maps small magnitudes of either sign to small unsigned numbers: 0, -1, 1, -2 to 0, 1, 2, 3.
#[must_use]
#[inline]
pub const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Undoes [`zigzag`].
#[must_use]
#[inline]
pub const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Appends the lowest bits of numbers, of each as many as stand beside it (0 to 64), without gaps:
/// the first in the lowest bits of the first byte, zeros behind the last.
pub(crate) fn write_bits(out: &mut Vec<u8>, numbers: impl IntoIterator<Item = (u64, u32)>) {
    let (mut pending, mut held) = (0_u128, 0);
    for (number, bits) in numbers {
        pending |= (u128::from(number) & ((1 << bits) - 1)) << held;
        held += bits;
        while held >= 8 {
            out.push(pending as u8);
            pending >>= 8;
            held -= 8;
        }
    }
    if held > 0 {
        out.push(pending as u8);
    }
}

/// Reads a slice from its front and never past its end.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of all of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Bytes not yet read.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], nothing being consumed.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(DecodeError::Truncated { needed: count, available: self.rest.len() })?;
        self.rest = rest;
        Ok(head)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(DecodeError::Truncated { needed: N, available: self.rest.len() })?;
        self.rest = rest;
        Ok(*head)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Two bytes, little-endian.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes, little-endian.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes, little-endian.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A varint as [`write_varint`] writes it.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`]; [`DecodeError::Invalid`] where it holds more than 64 bits.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        if let Some((&byte, rest)) = self.rest.split_first()
            && byte < 0x80
        {
            self.rest = rest;
            return Ok(u64::from(byte));
        }
        self.long_varint()
    }

    /// Two varints, most often of a byte each.
    ///
    /// # Errors
    /// As [`varint`](Self::varint).
    #[inline]
    pub(crate) fn varint_pair(&mut self) -> Result<(u64, u64), DecodeError> {
        if let [first, second, rest @ ..] = self.rest
            && (first | second) < 0x80
        {
            self.rest = rest;
            return Ok((u64::from(*first), u64::from(*second)));
        }
        Ok((self.varint()?, self.varint()?))
    }

    fn long_varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::Invalid { what: "varint", found: value, expected: "at most 64 bits" })
    }

    /// A signed varint as [`write_signed`] writes it.
    ///
    /// # Errors
    /// As [`varint`](Self::varint).
    #[inline]
    pub fn signed(&mut self) -> Result<i64, DecodeError> {
        self.varint().map(unzigzag)
    }

    /// A varint that is a length or count of at most `max`.
    ///
    /// # Errors
    /// As [`varint`](Self::varint); [`DecodeError::Invalid`] naming `what` above `max`.
    pub fn length(&mut self, what: &'static str, max: usize) -> Result<usize, DecodeError> {
        let found = self.varint()?;
        usize::try_from(found).ok().filter(|&length| length <= max).ok_or(DecodeError::Invalid {
            what,
            found,
            expected: "within its limit",
        })
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`DecodeError::Invalid`] naming `what` where bytes are left.
    pub fn finish(self, what: &'static str) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(DecodeError::Invalid {
            what,
            found: self.rest.len() as u64,
            expected: "no bytes left over",
        })
    }
}

/// Bytes a frame adds to its body.
pub const FRAME_OVERHEAD_BYTES: usize = 4 + 1 + 4 + 4;

/// Appends a checksummed frame: `magic`, `version`, body length (u32), CRC-32 (IEEE) of all
/// that precedes it and of the body, body.
///
/// `body` is shorter than 4 GiB: longer ones do not occur, and would not read back.
pub fn write_frame(out: &mut Vec<u8>, magic: [u8; 4], version: u8, body: &[u8]) {
    debug_assert!(u32::try_from(body.len()).is_ok());
    let start = out.len();
    out.extend_from_slice(&magic);
    out.push(version);
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(out.get(start..).unwrap_or_default());
    hasher.update(body);
    out.extend_from_slice(&hasher.finalize().to_le_bytes());
    out.extend_from_slice(body);
}

/// Reads a frame of [`write_frame`]: its version, 1 to `supported`, and its body.
///
/// # Errors
/// [`DecodeError::Truncated`], [`DecodeError::Invalid`] (another magic), [`DecodeError::Checksum`],
/// [`DecodeError::Version`] (checked after the checksum, so a flipped bit is never taken for a
/// newer format). `what` names the structure.
pub fn read_frame<'a>(
    reader: &mut Reader<'a>,
    what: &'static str,
    magic: [u8; 4],
    supported: u8,
) -> Result<(u8, &'a [u8]), DecodeError> {
    let head: [u8; 9] = reader.array()?;
    let mut fields = Reader::new(&head);
    let found_magic = fields.u32()?;
    if found_magic != u32::from_le_bytes(magic) {
        let found = u64::from(found_magic);
        return Err(DecodeError::Invalid { what, found, expected: "its magic bytes" });
    }
    let version = fields.u8()?;
    let length = fields.u32()? as usize;
    let found = reader.u32()?;
    let body = reader.bytes(length)?;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&head);
    hasher.update(body);
    let expected = hasher.finalize();
    if expected != found {
        return Err(DecodeError::Checksum { expected, found });
    }
    if version == 0 || version > supported {
        return Err(DecodeError::Version { what, found: version, supported });
    }
    Ok((version, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn varints_round_trip(value: u64, signed: i64) {
            let mut out = Vec::new();
            write_varint(&mut out, value);
            prop_assert_eq!(out.len(), varint_len(value));
            write_signed(&mut out, signed);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert_eq!(reader.signed(), Ok(signed));
            prop_assert_eq!(reader.finish("test"), Ok(()));
        }

        #[test]
        fn any_bytes_read_without_panic(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while reader.remaining() > 0 && reader.varint().is_ok() {}
            let _ = read_frame(&mut Reader::new(&bytes), "test", *b"TEST", 1);
        }
    }

    #[test]
    fn varints_end_at_64_bits() {
        for value in [0, 127, 128, u64::MAX, i64::MAX as u64] {
            let mut out = Vec::new();
            write_varint(&mut out, value);
            assert_eq!(Reader::new(&out).varint(), Ok(value));
        }
        assert!(Reader::new(&[0xff; 10]).varint().is_err());
        assert!(Reader::new(&[0xff; 3]).varint().is_err());
        assert_eq!([0, -1, 1, -2].map(zigzag), [0, 1, 2, 3]);
        assert_eq!(unzigzag(zigzag(i64::MIN)), i64::MIN);
    }

    #[test]
    fn every_flip_and_cut_of_a_frame_is_an_error() {
        let mut frame = Vec::new();
        write_frame(&mut frame, *b"TEST", 1, b"some body");
        assert_eq!(frame.len(), FRAME_OVERHEAD_BYTES + 9);
        let read = |bytes: &[u8]| {
            read_frame(&mut Reader::new(bytes), "test", *b"TEST", 1)
                .map(|(version, body)| (version, body.to_vec()))
        };
        assert_eq!(read(&frame), Ok((1, b"some body".to_vec())));
        for bit in 0..frame.len() * 8 {
            let mut damaged = frame.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&damaged).is_err(), "bit {bit}");
        }
        for end in 0..frame.len() {
            assert!(read(&frame[..end]).is_err(), "cut at {end}");
        }
    }
}
