//! A small segment with every kind of column, damaged everywhere.

use std::ops::Range;

use icecore::DecodeError;
use icecore::segment::{Group, Segment, SegmentLimits, encode_segments};

use crate::{every_cut_and_addition_fails, every_flip_fails, every_sealed_flip};

const ROWS: usize = 60;

fn columns() -> Vec<Vec<f64>> {
    let noise = |row: usize| (row as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let column = |value: &dyn Fn(usize) -> f64| (0..ROWS).map(value).collect();
    vec![
        column(&|_| 7.0),
        column(&|row| (row * 5 + row % 3) as f64),
        column(&|row| (noise(row) as f64).sqrt()),
        column(&|row| f64::from(u8::from(row > 40))),
        column(&|row| if row == 3 { f64::NAN } else { noise(row) as f64 / 1000.0 }),
        column(&|row| (noise(row) % 1000) as f64 / 10.0 * 1.1),
    ]
}

fn segment() -> Vec<u8> {
    let columns = columns();
    let read = |series: usize, rows: Range<usize>, out: &mut Vec<f64>| {
        out.clear();
        out.extend_from_slice(&columns[series][rows]);
    };
    let regular: Vec<i64> = (0..ROWS as i64).collect();
    let irregular: Vec<i64> = (0..ROWS as i64).map(|i| i * i * i).collect();
    let group = |timestamps, series| Group { timestamps, series, read: &read };
    let groups = [group(&regular, &[0, 1, 2, 3, 4, 5]), group(&irregular, &[6, 7, 8])];
    let limits = SegmentLimits { chunk_samples_max: 40, ..SegmentLimits::default() };
    let mut segments = Vec::new();
    encode_segments(&groups, &limits, &mut |segment| {
        segments.push(segment);
        Ok(())
    })
    .unwrap();
    assert_eq!(segments.len(), 1);
    segments.pop().unwrap().bytes
}

type Samples = Vec<(u32, Vec<i64>, Vec<u64>)>;

/// Everything a reader can be asked for, and the statistics beside it.
fn read_all(bytes: &[u8]) -> Result<Samples, DecodeError> {
    let segment = Segment::open(bytes.to_vec())?;
    let mut all = Vec::new();
    for chunk in segment.chunks() {
        let (mut timestamps, mut values) = (Vec::new(), Vec::new());
        segment.read_timestamps(chunk.timestamps, &mut timestamps)?;
        segment.read_values(chunk, &mut values)?;
        let bits = values.iter().map(|value| value.to_bits()).collect();
        all.push((chunk.series, timestamps, bits));
        let _ = segment.statistics(chunk);
    }
    segment.verify()?;
    Ok(all)
}

#[test]
fn every_flipped_bit_is_an_error() {
    let bytes = segment();
    assert_eq!(read_all(&bytes).unwrap().len(), 18);
    every_flip_fails(&bytes, |damaged| read_all(damaged).is_err());
}

#[test]
fn every_truncation_and_addition_is_an_error() {
    every_cut_and_addition_fails(&segment(), |damaged| read_all(damaged).is_err());
}

/// Damage behind a checksum that fits: decoders stay in bounds whatever the directory says.
#[test]
fn damage_with_a_right_checksum_does_not_panic() {
    let bytes = segment();
    every_sealed_flip(&bytes, |damaged| {
        let _ = read_all(&damaged);
    });
}
