//! The frame of a segment: magic, version, lengths, and the checksum that covers header and
//! directory. Columns carry checksums of their own, which stand in the directory.
//!
//! ```text
//! magic "ICES" · version u8 · zero x 3 · columns bytes u32 · directory bytes u32 · CRC-32 of the
//! 16 bytes before and of the directory, u32 · columns · directory
//! ```

use crate::codec::bytes::Reader;
use crate::error::DecodeError;

const MAGIC: [u8; 4] = *b"ICES";

/// The version this build writes, and the newest it reads.
const VERSION: u8 = 1;

/// Bytes before the columns.
pub(super) const HEADER_BYTES: usize = 20;

/// The header of a segment with these columns and this directory; both below 4 GiB.
pub(super) fn header(columns_bytes: usize, directory: &[u8]) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let (columns, length) = (columns_bytes as u32, directory.len() as u32);
    let fields = [u32::from_le_bytes(MAGIC), u32::from(VERSION), columns, length];
    let (words, _) = header.as_chunks_mut::<4>();
    for (word, field) in words.iter_mut().zip(fields) {
        *word = field.to_le_bytes();
    }
    let checksum = checksum(header.first_chunk().unwrap_or(&[0; 16]), directory);
    if let Some(last) = header.last_chunk_mut() {
        *last = checksum.to_le_bytes();
    }
    header
}

fn checksum(fields: &[u8; 16], directory: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(fields);
    hasher.update(directory);
    hasher.finalize()
}

/// Checks the header of `segment`, all of one, and its directory's checksum; returns where the
/// columns end and the directory.
pub(super) fn split(segment: &[u8]) -> Result<(u32, &[u8]), DecodeError> {
    let mut reader = Reader::new(segment);
    let fields: [u8; 16] = reader.array()?;
    let found = reader.u32()?;
    let mut words = Reader::new(&fields);
    let (magic, version, columns, length) =
        (words.u32()?, words.u32()?, words.u32()?, words.u32()?);
    if magic != u32::from_le_bytes(MAGIC) {
        let (what, found) = ("segment", u64::from(magic));
        return Err(DecodeError::Invalid { what, found, expected: "its magic bytes" });
    }
    reader.bytes(columns as usize)?;
    let directory = reader.bytes(length as usize)?;
    reader.finish("segment")?;
    let expected = checksum(&fields, directory);
    if expected != found {
        return Err(DecodeError::Checksum { expected, found });
    }
    if version != u32::from(VERSION) {
        let (what, supported) = ("segment", VERSION);
        return Err(DecodeError::Version { what, found: version as u8, supported });
    }
    Ok((columns.saturating_add(HEADER_BYTES as u32), directory))
}
