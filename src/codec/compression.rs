//! zstd as the columns use it: bare frames without their constant head, contexts reused.
//!
//! A frame is stored without its first six bytes: magic number, frame header descriptor and
//! window descriptor are the same for every frame written here (RFC 8878, 3.1.1), and length is
//! known from elsewhere. The decoder puts them back, with the largest window that occurs.

use std::cell::RefCell;

use zstd::zstd_safe::{CCtx, CParameter, DCtx, Strategy, compress_bound, get_error_name};

use crate::error::DecodeError;

/// Magic number; a descriptor with no content size, checksum or dictionary; a window of 256 MiB
/// (one-shot decoding allocates none of it).
const HEAD: [u8; 6] = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x90];

/// No zstd frame expands more: a run-length block of 4 bytes makes 128 KiB.
const EXPANSION_MAX: usize = 32 << 10;

/// How hard, and for what, to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// zstd's first level: byte planes.
    Fast,
    /// Hardly any matching, so literals in Huffman code only: planes of random small numbers.
    Huffman,
    /// A high level, for text that is written once.
    Text,
}

struct Encoders {
    fast: CCtx<'static>,
    huffman: CCtx<'static>,
    text: CCtx<'static>,
    frame: Vec<u8>,
}

impl Encoders {
    fn new() -> Self {
        let level = |level| context(&[CParameter::CompressionLevel(level)]);
        Self {
            fast: level(1),
            huffman: context(&[
                CParameter::CompressionLevel(1),
                CParameter::Strategy(Strategy::ZSTD_fast),
                CParameter::HashLog(6),
                CParameter::MinMatch(7),
            ]),
            text: level(12),
            frame: Vec::new(),
        }
    }
}

fn context(parameters: &[CParameter]) -> CCtx<'static> {
    let mut context = CCtx::create();
    let frame = [
        CParameter::ContentSizeFlag(false),
        CParameter::ChecksumFlag(false),
        CParameter::DictIdFlag(false),
    ];
    for &parameter in parameters.iter().chain(&frame) {
        // A refused parameter only costs ratio: `compress` checks the head that comes out.
        let _ = context.set_parameter(parameter);
    }
    context
}

struct Decoder {
    context: DCtx<'static>,
    frame: Vec<u8>,
}

thread_local! {
    static ENCODERS: RefCell<Encoders> = RefCell::new(Encoders::new());
    static DECODER: RefCell<Decoder> =
        RefCell::new(Decoder { context: DCtx::create(), frame: Vec::new() });
}

/// Appends `input` compressed to `out` and returns true, or appends nothing where that would not
/// be smaller than `input` itself.
pub(crate) fn compress(effort: Effort, input: &[u8], out: &mut Vec<u8>) -> bool {
    ENCODERS.with_borrow_mut(|encoders| {
        let Encoders { fast, huffman, text, frame } = encoders;
        let context = match effort {
            Effort::Fast => fast,
            Effort::Huffman => huffman,
            Effort::Text => text,
        };
        frame.clear();
        frame.reserve(compress_bound(input.len()));
        if context.compress2(frame, input).is_err() {
            return false;
        }
        let Some((head, body)) = frame.split_at_checked(HEAD.len()) else { return false };
        // Equal but for the window descriptor, which the decoder may take larger.
        if !head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd, 0x00]) || body.len() >= input.len() {
            return false;
        }
        out.extend_from_slice(body);
        true
    })
}

/// Replaces `out` with the `length` bytes that [`compress`] made `body` of.
///
/// # Errors
/// Where `body` is no such thing. Allocates `length` bytes, after checking that a body of this
/// size can make as many.
pub(crate) fn decompress(body: &[u8], length: usize, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    check_length(body, length)?;
    out.clear();
    out.resize(length, 0);
    decompress_into(body, out)
}

/// # Errors
/// Where `body` is too short to make `length` bytes.
pub(crate) fn check_length(body: &[u8], length: usize) -> Result<(), DecodeError> {
    if length / EXPANSION_MAX <= body.len() {
        return Ok(());
    }
    Err(DecodeError::Invalid {
        what: "decompressed length",
        found: length as u64,
        expected: "what the compressed bytes can hold",
    })
}

/// Fills `out` with the bytes that [`compress`] made `body` of.
///
/// # Errors
/// Where `body` is no such thing, or of another length.
pub(crate) fn decompress_into(body: &[u8], out: &mut [u8]) -> Result<(), DecodeError> {
    let written = DECODER.with_borrow_mut(|Decoder { context, frame }| {
        frame.clear();
        frame.extend_from_slice(&HEAD);
        frame.extend_from_slice(body);
        context.decompress(out, frame).map_err(|code| DecodeError::Foreign {
            what: "compressed bytes",
            message: get_error_name(code).to_owned(),
        })
    })?;
    if written != out.len() {
        return Err(DecodeError::Invalid {
            what: "decompressed length",
            found: written as u64,
            expected: "the length stated",
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_refuses() {
        let input: Vec<u8> = (0..100_000_u32).map(|i| (i % 7) as u8).collect();
        for effort in [Effort::Fast, Effort::Huffman, Effort::Text] {
            let (mut body, mut back) = (Vec::new(), Vec::new());
            assert!(compress(effort, &input, &mut body), "{effort:?}");
            decompress(&body, input.len(), &mut back).unwrap();
            assert_eq!(back, input);
            assert!(decompress(&body, input.len() - 1, &mut back).is_err());
            assert!(decompress(&body, input.len() + 1, &mut back).is_err());
            assert!(decompress(&body[1..], input.len(), &mut back).is_err());
            assert!(decompress(&body, usize::MAX, &mut back).is_err());
        }
    }

    #[test]
    fn what_does_not_shrink_is_left_alone() {
        let mut out = vec![7];
        assert!(!compress(Effort::Fast, &[], &mut out));
        assert!(!compress(Effort::Fast, &[1, 2, 3], &mut out));
        assert_eq!(out, [7]);
    }
}
