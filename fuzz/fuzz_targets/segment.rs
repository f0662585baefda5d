//! Segments: any bytes open or are an error, and whatever opens reads without a panic. The
//! checksum is put right first, else no input would get past it.
#![no_main]

use icecore::aggregate::Sketches;
use icecore::segment::Segment;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    if let Some(columns) = bytes.get(8..12).and_then(|field| <[u8; 4]>::try_from(field).ok()) {
        let directory = u32::from_le_bytes(columns) as usize + 20;
        if let (Some(head), Some(rest)) = (bytes.get(..16), bytes.get(directory..)) {
            let checksum = crc32(&[head, rest]);
            bytes[16..20].copy_from_slice(&checksum.to_le_bytes());
        }
    }
    let Ok(segment) = Segment::open(bytes) else { return };
    let _ = segment.verify();
    let _ = segment.column_stats();
    let (mut timestamps, mut values) = (Vec::new(), Vec::new());
    let (mut partials, mut sketches) = (Vec::new(), Sketches::default());
    for chunk in segment.chunks() {
        let _ = segment.statistics(chunk);
        let _ = segment.read_timestamps(chunk.timestamps, &mut timestamps);
        if segment.read_values(chunk, &mut values).is_ok() {
            assert_eq!(values.len(), chunk.samples as usize);
        }
        if segment.read_partials(chunk, &mut timestamps, &mut partials).is_ok() {
            assert_eq!(partials.len(), chunk.samples as usize);
        }
        sketches.clear();
        if segment.read_sketches(chunk, &mut sketches).is_ok() {
            assert_eq!(sketches.len(), chunk.samples as usize);
        }
    }
});

/// CRC-32 (IEEE), bit by bit: a second implementation to check ours against.
fn crc32(parts: &[&[u8]]) -> u32 {
    !parts.iter().flat_map(|part| part.iter()).fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}
