//! Chunk and segment bytes, as docs/format.md has them.

use std::ops::Range;
use std::path::PathBuf;

use icecore::codec::bytes::{Reader, read_frame, write_frame};
use icecore::codec::{strings, timestamps, values};
use icecore::segment::{Group, Segment, SegmentLimits, encode_segments};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/format/golden").join(name)
}

const ROWS: usize = 300;

/// Jitter of 0 to 3 ms around every second, one gap.
fn rows() -> Vec<i64> {
    (0..ROWS as i64)
        .map(|i| (i + i / 200 * 60) * 1_000_000_000 + (((i * 2_654_435_761) >> 9) & 3) * 1_000_000)
        .collect()
}

/// One series of each nature, so that every source occurs.
fn column(series: usize) -> Vec<f64> {
    let noise = |row: usize| (row as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let value = |row: usize| match series {
        0 => 42.5,
        1 => row as f64 * 1000.0,
        2 => (noise(row) % 300) as f64,
        3 => (noise(row) % 10_000) as f64 / 100.0,
        4 => f64::from_bits(0x4000_0000_0000_0000 | noise(row) << 28 | noise(row + 7)),
        5 => f64::from_bits(((noise(row) % 1000) as f64 / 10.0).to_bits() + noise(row + 3) % 3),
        6 if row == 7 => -0.0,
        6 if row == 8 => f64::from_bits(0x7ff0_0000_0000_0002),
        6 if row == 9 => f64::NEG_INFINITY,
        6 => f64::from_bits(if row.is_multiple_of(150) { 0x7ff8_0000_0000_beef } else { 0 }),
        _ => {
            if noise(row).is_multiple_of(50) {
                1e6
            } else {
                3.0
            }
        }
    };
    (0..ROWS).map(value).collect()
}

const SERIES: [u32; 8] = [0, 1, 2, 5, 8, 13, 1000, 70_000];

fn encode() -> Vec<u8> {
    let columns: Vec<Vec<f64>> = (0..SERIES.len()).map(column).collect();
    let read = |series: usize, rows: Range<usize>, out: &mut Vec<f64>| {
        out.clear();
        out.extend_from_slice(&columns[series][rows]);
    };
    let group = Group { timestamps: &rows(), series: &SERIES, read: &read };
    let limits = SegmentLimits { chunk_samples_max: 256, segment_bytes_target: 1 << 20 };
    let mut segments = Vec::new();
    encode_segments(&[group], &limits, &mut |segment| {
        segments.push(segment);
        Ok(())
    })
    .unwrap();
    segments.pop().unwrap().bytes
}

fn check(bytes: Vec<u8>) {
    let segment = Segment::open(bytes).unwrap();
    segment.verify().unwrap();
    let (mut timestamps, mut values) = (Vec::new(), Vec::new());
    for (index, series) in SERIES.into_iter().enumerate() {
        let (mut all_timestamps, mut all_values) = (Vec::new(), Vec::new());
        for chunk in segment.chunks_of(series) {
            segment.read_timestamps(chunk.timestamps, &mut timestamps).unwrap();
            segment.read_values(chunk, &mut values).unwrap();
            all_timestamps.extend_from_slice(&timestamps);
            all_values.extend(values.iter().map(|value| value.to_bits()));
        }
        assert_eq!(all_timestamps, rows());
        let expected: Vec<u64> = column(index).iter().map(|value| value.to_bits()).collect();
        assert_eq!(all_values, expected, "series {series}");
    }
}

/// The file was written by the build that introduced the version, with `ICECORE_WRITE_GOLDEN=1`;
/// a new version gets a file of its own.
#[test]
fn version_1_is_read() {
    if std::env::var_os("ICECORE_WRITE_GOLDEN").is_some() {
        std::fs::write(golden("segment_v1.bin"), encode()).unwrap();
    }
    check(std::fs::read(golden("segment_v1.bin")).unwrap());
}

#[test]
fn what_is_written_now_is_read() {
    check(encode());
}

#[test]
fn frame_bytes() {
    let mut out = Vec::new();
    write_frame(&mut out, *b"ICEX", 3, b"body");
    let checksum = crc32fast::hash(b"ICEX\x03\x04\0\0\0body").to_le_bytes();
    assert_eq!(out, [b"ICEX\x03\x04\0\0\0", &checksum[..], b"body"].concat());
    let frame = read_frame(&mut Reader::new(&out), "test", *b"ICEX", 3);
    assert_eq!(frame, Ok((3, &b"body"[..])));
}

#[test]
fn timestamp_bytes() {
    let mut out = Vec::new();
    timestamps::encode(&[-1, 1, 3, 5], &mut out);
    // Constant step; first -1, step 2, both zigzag.
    assert_eq!(out, [0, 1, 4]);
}

#[test]
fn value_bytes() {
    let mut out = Vec::new();
    assert_eq!(values::encode(&[1.5, 1.5], &mut out).tag(), 0);
    assert_eq!(out, 1.5_f64.to_bits().to_le_bytes());
    out.clear();
    // 25, 50, 75 tenths: exponent 1; integers by their distance from 25 in units of 25.
    assert_eq!(values::encode(&[2.5, 5.0, 7.5], &mut out).tag(), 1);
    // Exponent; column head: raw, divided; base 25 zigzag; divisor; width 2, no patch; 0, 1, 2.
    let raw = [1, 0b1000, 50, 25, 2, 0, 0b10_01_00];
    // Or by steps: delta, divided; base; divisor; smallest step 1; width 0, no patch.
    let delta = [1, 0b1001, 50, 25, 2, 0, 0];
    assert!(out == raw || out == delta, "{out:?}");
}

#[test]
fn string_bytes() {
    let mut out = Vec::new();
    strings::encode(&["ab", "ac"], &mut out).unwrap();
    // Count; body of 7 bytes, plain, 7 stored; (0 shared, 2 more), (1, 1); "ab", "c".
    assert_eq!(out, [&[2, 7, 0, 7, 0, 2, 1, 1][..], b"abc"].concat());
}
