//! Lists of strings: label names and values, help texts.
//!
//! Front coding (each string drops what it shares with the one before), lengths apart from
//! bytes, then zstd where it pays. The order is kept; sorted lists come out smallest.
//!
//! ```text
//! count varint · body as metadata
//! body: count x (shared varint, suffix length varint) · suffix bytes
//! ```

use super::bytes::{Reader, write_varint};
use super::metadata;
use crate::error::{DecodeError, Error, Result};

/// The most bytes a list may hold, all its strings together: 256 MiB. It bounds what decoding
/// damaged bytes can allocate, and is a hundred times the label text of a large part.
pub const STRINGS_BYTES_MAX: usize = 256 << 20;

/// The most strings of a list: 16 Mi.
pub const STRINGS_COUNT_MAX: usize = 16 << 20;

/// Appends the list to `out`.
///
/// # Errors
/// [`Error::Limit`] above [`STRINGS_BYTES_MAX`] or [`STRINGS_COUNT_MAX`]; `out` is unchanged.
pub fn encode<S: AsRef<str>>(strings: &[S], out: &mut Vec<u8>) -> Result<()> {
    if strings.len() > STRINGS_COUNT_MAX {
        return Err(Error::Limit { what: "strings of a list", limit: STRINGS_COUNT_MAX as u64 });
    }
    let total: usize = strings.iter().map(|string| string.as_ref().len()).sum();
    if total > STRINGS_BYTES_MAX {
        return Err(Error::Limit { what: "bytes of strings", limit: STRINGS_BYTES_MAX as u64 });
    }
    let (mut body, mut suffixes) = (Vec::new(), Vec::new());
    let mut previous = "";
    for string in strings.iter().map(AsRef::as_ref) {
        let shared = shared_prefix(previous, string);
        let suffix = string.as_bytes().get(shared..).unwrap_or_default();
        write_varint(&mut body, shared as u64);
        write_varint(&mut body, suffix.len() as u64);
        suffixes.extend_from_slice(suffix);
        previous = string;
    }
    body.append(&mut suffixes);
    write_varint(out, strings.len() as u64);
    metadata::encode(&body, out);
    Ok(())
}

fn shared_prefix(left: &str, right: &str) -> usize {
    left.bytes().zip(right.bytes()).take_while(|(l, r)| l == r).count()
}

/// Reads one list from the front of `reader`.
///
/// # Errors
/// [`DecodeError`] where the bytes are no list, or one beyond the limits; allocates at most
/// those.
pub fn decode(reader: &mut Reader<'_>) -> Result<Vec<String>, DecodeError> {
    let count = reader.length("count of strings", STRINGS_COUNT_MAX)?;
    let mut buffer = Vec::new();
    // Two varints of at most 4 bytes a string beside the strings themselves.
    let body = metadata::decode(reader, STRINGS_BYTES_MAX + 8 * count, &mut buffer)?;
    expand(body, count)
}

/// Undoes the front coding of `count` strings.
fn expand(body: &[u8], count: usize) -> Result<Vec<String>, DecodeError> {
    let mut reader = Reader::new(body);
    // A string costs two bytes at least: the input earns the allocation.
    if count > body.len() / 2 {
        return Err(DecodeError::Truncated { needed: count * 2, available: body.len() });
    }
    let mut lengths = Vec::with_capacity(count);
    let mut total = 0;
    for _ in 0..count {
        let shared = reader.length("shared prefix", STRINGS_BYTES_MAX)?;
        let suffix = reader.length("suffix", STRINGS_BYTES_MAX)?;
        total += shared + suffix;
        if total > STRINGS_BYTES_MAX {
            return Err(DecodeError::Invalid {
                what: "bytes of strings",
                found: total as u64,
                expected: "at most 256 MiB",
            });
        }
        lengths.push((shared, suffix));
    }
    let mut strings: Vec<String> = Vec::with_capacity(count);
    for (shared, suffix) in lengths {
        let prefix = strings.last().map_or("", String::as_str).as_bytes();
        let prefix = prefix.get(..shared).ok_or(DecodeError::Invalid {
            what: "shared prefix",
            found: shared as u64,
            expected: "at most the previous string's length",
        })?;
        let mut string = Vec::with_capacity(shared + suffix);
        string.extend_from_slice(prefix);
        string.extend_from_slice(reader.bytes(suffix)?);
        strings.push(String::from_utf8(string).map_err(|error| DecodeError::Invalid {
            what: "string",
            found: error.utf8_error().valid_up_to() as u64,
            expected: "UTF-8",
        })?);
    }
    reader.finish("strings")?;
    Ok(strings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(strings: &[String]) -> usize {
        let mut out = vec![0xaa];
        encode(strings, &mut out).unwrap();
        out.push(0xbb);
        let mut reader = Reader::new(&out[1..]);
        assert_eq!(decode(&mut reader).unwrap(), strings);
        assert_eq!(reader.u8(), Ok(0xbb));
        out.len() - 2
    }

    proptest! {
        #[test]
        fn lists_round_trip(strings: Vec<String>) {
            round_trip(&strings);
        }

        #[test]
        fn any_bytes_decode_without_panic(bytes: Vec<u8>) {
            let _ = decode(&mut Reader::new(&bytes));
        }
    }

    #[test]
    fn likeness_pays() {
        let strings: Vec<String> =
            (0..1000).map(|i| format!("/var/lib/containers/{i:04}/é")).collect();
        let plain: usize = strings.iter().map(String::len).sum();
        assert!(round_trip(&strings) < plain / 8);
        assert_eq!(round_trip(&[]), 4);
    }

    #[test]
    fn a_prefix_is_never_expanded_past_the_limit() {
        // One string of a MiB, then ten thousand that share all of it.
        let (mut body, long) = (Vec::new(), 1 << 20);
        for (shared, suffix) in std::iter::once((0, long)).chain((0..10_000).map(|_| (long, 0))) {
            write_varint(&mut body, shared);
            write_varint(&mut body, suffix);
        }
        body.resize(body.len() + long as usize, b'a');
        assert!(expand(&body, 10_001).is_err());
    }

    #[test]
    fn every_cut_is_an_error() {
        let mut out = Vec::new();
        encode(&["alpha", "alphabet", "beta"], &mut out).unwrap();
        for end in 0..out.len() {
            assert!(decode(&mut Reader::new(&out[..end])).is_err(), "cut at {end}");
        }
    }
}
