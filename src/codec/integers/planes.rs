//! Byte planes: all lowest bytes, then all second bytes, ..., through zstd.
//!
//! Together in one frame where residuals are sparse or repeat; apart, each by Huffman code
//! alone, where they are random but small. zstd belongs on byte planes, not on packed bits.
//!
//! ```text
//! joint: planes u8 · frame to the end
//! apart: planes u8 · planes x (length varint · bytes); length 0 is one byte that repeats,
//!        a length equal to the count is the plane itself, else a frame
//! ```

use std::cell::RefCell;

use crate::codec::bytes::{Reader, write_varint};
use crate::codec::compression::{Effort, compress, decompress};
use crate::error::DecodeError;

thread_local! {
    static PLANES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Appends `residuals` as one frame; false, and nothing appended, where it does not compress.
pub(super) fn encode_joint(residuals: &[u64], out: &mut Vec<u8>) -> bool {
    with_planes(residuals, |count, planes| {
        out.push(count as u8);
        let compressed = compress(Effort::Fast, planes, out);
        if !compressed {
            out.pop();
        }
        compressed
    })
}

/// Appends `residuals` plane by plane; false, and nothing appended, where there are none.
pub(super) fn encode_apart(residuals: &[u64], out: &mut Vec<u8>) -> bool {
    if residuals.is_empty() {
        return false;
    }
    with_planes(residuals, |count, planes| {
        out.push(count as u8);
        let mut frame = Vec::new();
        for plane in planes.chunks_exact(residuals.len()) {
            let first = plane.first().copied().unwrap_or(0);
            frame.clear();
            if plane.iter().all(|&byte| byte == first) {
                write_varint(out, 0);
                out.push(first);
            } else if compress(Effort::Huffman, plane, &mut frame) {
                write_varint(out, frame.len() as u64);
                out.extend_from_slice(&frame);
            } else {
                write_varint(out, plane.len() as u64);
                out.extend_from_slice(plane);
            }
        }
        true
    })
}

/// How many planes the largest residual needs, and the planes one after another.
fn with_planes<T>(residuals: &[u64], then: impl FnOnce(usize, &[u8]) -> T) -> T {
    let all = residuals.iter().fold(0, |all, &residual| all | residual);
    let count = (64 - all.leading_zeros() as usize).div_ceil(8);
    PLANES.with_borrow_mut(|planes| {
        planes.clear();
        for plane in 0..count {
            planes.extend(residuals.iter().map(|&residual| (residual >> (8 * plane)) as u8));
        }
        then(count, planes)
    })
}

fn read_plane_count(reader: &mut Reader<'_>) -> Result<usize, DecodeError> {
    let count = usize::from(reader.u8()?);
    if count > 8 {
        return Err(DecodeError::Invalid {
            what: "byte planes",
            found: count as u64,
            expected: "at most 8",
        });
    }
    Ok(count)
}

/// Fills `residuals` from one frame, the rest of `reader`.
pub(super) fn decode_joint(
    reader: &mut Reader<'_>,
    residuals: &mut [u64],
) -> Result<(), DecodeError> {
    let planes = read_plane_count(reader)?;
    let frame = reader.bytes(reader.remaining())?;
    PLANES.with_borrow_mut(|buffer| {
        decompress(frame, planes * residuals.len(), buffer)?;
        weave(buffer, planes, residuals);
        Ok(())
    })
}

/// Fills `residuals` from planes stored apart.
pub(super) fn decode_apart(
    reader: &mut Reader<'_>,
    residuals: &mut [u64],
) -> Result<(), DecodeError> {
    let (planes, count) = (read_plane_count(reader)?, residuals.len());
    residuals.fill(0);
    PLANES.with_borrow_mut(|buffer| {
        for shift in (0..planes).map(|plane| 8 * plane) {
            let length = reader.length("length of a plane", count)?;
            if length == 0 {
                let high = u64::from(reader.u8()?) << shift;
                if high != 0 {
                    residuals.iter_mut().for_each(|residual| *residual |= high);
                }
                continue;
            }
            let stored = reader.bytes(length)?;
            let plane = if length == count {
                stored
            } else {
                decompress(stored, count, buffer)?;
                buffer.as_slice()
            };
            for (residual, &byte) in residuals.iter_mut().zip(plane) {
                *residual |= u64::from(byte) << shift;
            }
        }
        Ok(())
    })
}

/// Fills `residuals` from `count` planes of as many bytes each.
fn weave(planes: &[u8], count: usize, residuals: &mut [u64]) {
    let length = residuals.len();
    let plane = |index: usize| planes.get(index * length..(index + 1) * length).unwrap_or_default();
    match count {
        0 => residuals.fill(0),
        1 => {
            for (residual, &byte) in residuals.iter_mut().zip(plane(0)) {
                *residual = u64::from(byte);
            }
        }
        _ => {
            for (residual, (&low, &high)) in residuals.iter_mut().zip(plane(0).iter().zip(plane(1)))
            {
                *residual = u64::from(u16::from_le_bytes([low, high]));
            }
            for index in 2..count {
                for (residual, &byte) in residuals.iter_mut().zip(plane(index)) {
                    *residual |= u64::from(byte) << (8 * index);
                }
            }
        }
    }
}
