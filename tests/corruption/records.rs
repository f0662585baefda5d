//! A small segment of records with every kind of column, damaged everywhere.

use icecore::DecodeError;
use icecore::aggregate::{Partial, Sketch, Sketches};
use icecore::segment::{Field, Records, Segment, SegmentLimits, SeriesRecords, encode_records};
use icecore::time::Tier;

use crate::{every_cut_and_addition_fails, every_flip_fails, every_sealed_flip};

const MINUTE: i64 = 60_000_000_000;

fn folded(offset: i64, value: &dyn Fn(i64) -> f64) -> Records {
    let mut records = Records::default();
    for minute in 0..20 {
        let times: Vec<i64> =
            (0..4).map(|i| minute * MINUTE + offset + i * i * 3_000_000_000).collect();
        let values: Vec<f64> = (0..4).map(|i| value(minute * 4 + i)).collect();
        records.starts.push(minute * MINUTE);
        records.partials.push(Partial::of(&times, &values));
    }
    records
}

fn segment() -> Vec<u8> {
    let noise = |row: i64| (row as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let mut all = vec![
        folded(9, &|_| 7.0),
        folded(9, &|row| (noise(row) % 1000) as f64 / 10.0),
        folded(9, &|row| (row % 30) as f64),
        folded(0, &|row| (noise(row) as f64).sqrt()),
        folded(0, &|row| noise(row) as f64),
    ];
    for at in 0..20 {
        let values = [noise(at) as f64, noise(at + 1) as f64, -1.0];
        all[4].sketches.push(&Sketch::of(&values));
    }
    all[3].partials[4] = Partial::EMPTY;
    let batch: Vec<SeriesRecords<'_>> = (0..)
        .zip(&all)
        .map(|(position, records)| SeriesRecords { position, increase: position > 1, records })
        .collect();
    let limits = SegmentLimits { chunk_samples_max: 12, ..SegmentLimits::default() };
    let mut segments = Vec::new();
    encode_records(&batch, Tier::MINUTE, &limits, &mut |segment| {
        segments.push(segment);
        Ok(())
    })
    .unwrap();
    assert_eq!(segments.len(), 1);
    segments.pop().unwrap().bytes
}

/// Everything a reader can be asked for; returns records and sketches.
fn read_all(bytes: &[u8]) -> Result<(usize, usize), DecodeError> {
    let segment = Segment::open(bytes.to_vec())?;
    let mut records = 0;
    let (mut starts, mut partials, mut sketches) = (Vec::new(), Vec::new(), Sketches::default());
    for chunk in segment.chunks() {
        if chunk.series % Field::ROOM == Field::Sketches as u32 {
            segment.read_sketches(chunk, &mut sketches)?;
        } else {
            segment.read_partials(chunk, &mut starts, &mut partials)?;
            assert_eq!((starts.len(), partials.len()), (chunk.samples as usize, starts.len()));
            records += partials.len();
        }
        let _ = segment.statistics(chunk);
        assert!(segment.read_values(chunk, &mut Vec::new()).is_err(), "these are no numbers");
    }
    segment.verify()?;
    segment.column_stats()?;
    Ok((records, sketches.len()))
}

#[test]
fn every_flipped_bit_is_an_error() {
    let bytes = segment();
    assert_eq!(read_all(&bytes), Ok((100, 20)));
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
        let Ok(segment) = Segment::open(damaged) else { return };
        let (mut starts, mut partials) = (Vec::new(), Vec::new());
        for chunk in segment.chunks() {
            let _ = segment.read_partials(chunk, &mut starts, &mut partials);
            let _ = segment.read_sketches(chunk, &mut Sketches::default());
        }
        let _ = segment.verify();
    });
}
