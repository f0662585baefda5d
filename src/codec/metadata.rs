//! Small metadata: bytes through zstd where that pays, the length known beforehand.
//!
//! ```text
//! raw length varint · method u8 (0 plain, 1 zstd) · stored length varint · stored bytes
//! ```

use super::bytes::{Reader, write_varint};
use super::compression::{Effort, compress, decompress};
use crate::error::DecodeError;

const PLAIN: u8 = 0;
const COMPRESSED: u8 = 1;

/// Appends `body`, compressed where that makes it smaller.
pub fn encode(body: &[u8], out: &mut Vec<u8>) {
    let mut compressed = Vec::new();
    let (method, stored) = if compress(Effort::Text, body, &mut compressed) {
        (COMPRESSED, compressed.as_slice())
    } else {
        (PLAIN, body)
    };
    write_varint(out, body.len() as u64);
    out.push(method);
    write_varint(out, stored.len() as u64);
    out.extend_from_slice(stored);
}

/// Reads what [`encode`] wrote from the front of `reader`: a slice of it, or of `buffer`.
///
/// # Errors
/// [`DecodeError`] where there is no such thing, or it is longer than `length_max` bytes, which
/// is what decoding may allocate.
pub fn decode<'b, 'a: 'b>(
    reader: &mut Reader<'a>,
    length_max: usize,
    buffer: &'b mut Vec<u8>,
) -> Result<&'b [u8], DecodeError> {
    let length = reader.length("length of metadata", length_max)?;
    let method = reader.u8()?;
    let stored = reader.length("stored length of metadata", reader.remaining())?;
    let stored = reader.bytes(stored)?;
    match method {
        PLAIN if stored.len() == length => Ok(stored),
        COMPRESSED => {
            decompress(stored, length, buffer)?;
            Ok(buffer)
        }
        _ => Err(DecodeError::Invalid {
            what: "method of metadata",
            found: u64::from(method),
            expected: "0 (with equal lengths) or 1",
        }),
    }
}
