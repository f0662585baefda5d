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
use crate::codec::compression::{Effort, check_length, compress, decompress_into};
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
    check_length(frame, planes * residuals.len())?;
    with_room(planes, residuals, |room| decompress_into(frame, room))
}

/// Fills `residuals` from planes stored apart.
pub(super) fn decode_apart(
    reader: &mut Reader<'_>,
    residuals: &mut [u64],
) -> Result<(), DecodeError> {
    let (planes, count) = (read_plane_count(reader)?, residuals.len());
    with_room(planes, residuals, |room| {
        for plane in room.chunks_exact_mut(count.max(1)) {
            let length = reader.length("length of a plane", count)?;
            if length == 0 {
                plane.fill(reader.u8()?);
            } else if length == count {
                plane.copy_from_slice(reader.bytes(length)?);
            } else {
                decompress_into(reader.bytes(length)?, plane)?;
            }
        }
        Ok(())
    })
}

/// Fills `residuals` from as many bytes for each of the planes, which `fill` writes.
fn with_room(
    planes: usize,
    residuals: &mut [u64],
    fill: impl FnOnce(&mut [u8]) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let length = planes * residuals.len();
    PLANES.with_borrow_mut(|buffer| {
        // Grown, never cleared: all of it is filled, or nothing is made of it.
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        let room = buffer.get_mut(..length).unwrap_or_default();
        fill(room)?;
        weave(room, planes, residuals);
        Ok(())
    })
}

/// Fills `residuals` from `count` planes of as many bytes each, two planes a pass.
fn weave(planes: &[u8], count: usize, residuals: &mut [u64]) {
    let length = residuals.len();
    let plane = |index: usize| planes.get(index * length..(index + 1) * length).unwrap_or_default();
    let word = |(&low, &high): (&u8, &u8)| u64::from(u16::from_le_bytes([low, high]));
    match count {
        0 => residuals.fill(0),
        1 => {
            for (residual, &byte) in residuals.iter_mut().zip(plane(0)) {
                *residual = u64::from(byte);
            }
        }
        _ => {
            for (residual, bytes) in residuals.iter_mut().zip(plane(0).iter().zip(plane(1))) {
                *residual = word(bytes);
            }
        }
    }
    for index in (2..count).step_by(2) {
        let shift = 8 * index;
        if index + 1 == count {
            for (residual, &byte) in residuals.iter_mut().zip(plane(index)) {
                *residual |= u64::from(byte) << shift;
            }
        } else {
            let pairs = plane(index).iter().zip(plane(index + 1));
            for (residual, bytes) in residuals.iter_mut().zip(pairs) {
                *residual |= word(bytes) << shift;
            }
        }
    }
}
