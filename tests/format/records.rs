//! A segment of records, as docs/format/records.md has it.

use std::path::PathBuf;

use icecore::Timestamp;
use icecore::aggregate::{Partial, Sketch};
use icecore::codec::partials::Times;
use icecore::codec::{partials, sketches};
use icecore::model::Sample;
use icecore::segment::{Field, Records, Segment, SegmentLimits, SeriesRecords, encode_records};
use icecore::time::Tier;

const MINUTE: i64 = 60_000_000_000;

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/format/golden/records_v1.bin")
}

/// Minutes of six samples each, the third emptied, with a value for each sample.
fn folded(offset: i64, value: &dyn Fn(i64) -> f64) -> Records {
    let mut records = Records::default();
    for minute in 0..40 {
        let times: Vec<i64> =
            (0..6).map(|i| minute * MINUTE + offset + i * 10_000_000_000).collect();
        let values: Vec<f64> = (0..6).map(|i| value(minute * 6 + i)).collect();
        records.starts.push(minute * MINUTE);
        let emptied = minute == 3 && offset == 0;
        records.partials.push(if emptied { Partial::EMPTY } else { Partial::of(&times, &values) });
    }
    records
}

/// A constant, a decimal gauge, a counter with a reset, real doubles with odd ones, and latencies
/// with a sketch; whether increase is kept.
fn series() -> Vec<(Records, bool)> {
    let noise = |row: i64| (row as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let mut latencies = folded(3_000_000_000, &|row| noise(row) as f64 / 1000.0);
    for minute in 0..40 {
        let values: Vec<f64> = (0..6).map(|i| noise(minute * 6 + i) as f64 / 1000.0).collect();
        latencies.sketches.push(&Sketch::of(&[&values[..], &[0.0, -1.5]].concat()));
    }
    let odd = |row: i64| match row {
        7 => f64::from_bits(0x7ff8_0000_0000_beef),
        20 => f64::NEG_INFINITY,
        30 => -0.0,
        _ => (noise(row) as f64).sqrt(),
    };
    vec![
        (folded(1_000_000_000, &|_| 42.5), false),
        (folded(1_000_000_000, &|row| (noise(row) % 10_000) as f64 / 100.0), false),
        (folded(1_000_000_000, &|row| (row % 100 * 7) as f64), true),
        (folded(0, &odd), true),
        (latencies, true),
    ]
}

fn encode() -> Vec<u8> {
    let series = series();
    let batch: Vec<SeriesRecords<'_>> = [0, 1, 2, 5, 700]
        .into_iter()
        .zip(&series)
        .map(|(position, (records, increase))| SeriesRecords {
            position,
            increase: *increase,
            records,
        })
        .collect();
    let limits = SegmentLimits { chunk_samples_max: 32, segment_bytes_target: 1 << 20 };
    let mut segments = Vec::new();
    encode_records(&batch, Tier::MINUTE, &limits, &mut |segment| {
        segments.push(segment);
        Ok(())
    })
    .unwrap();
    assert_eq!(segments.len(), 1);
    segments.pop().unwrap().bytes
}

/// All but NaN's being unequal to itself; of an empty bucket nothing but that.
fn bits(partial: &Partial, increase: bool) -> [u64; 10] {
    if partial.count == 0 {
        return [0; 10];
    }
    let sample = |sample: Sample| [sample.timestamp.0 as u64, sample.value.to_bits()];
    let [first, last] = [sample(partial.first), sample(partial.last)];
    let grown = if increase { partial.increase } else { f64::NAN };
    [
        partial.count,
        partial.sum.to_bits(),
        partial.min.to_bits(),
        partial.max.to_bits(),
        first[0],
        first[1],
        last[0],
        last[1],
        grown.to_bits(),
        if increase { partial.resets } else { 0 },
    ]
}

fn check(bytes: Vec<u8>) {
    let segment = Segment::open(bytes).unwrap();
    segment.verify().unwrap();
    for (position, (records, increase)) in [0, 1, 2, 5, 700].into_iter().zip(series()) {
        let (mut starts, mut partials) = (Vec::new(), Vec::new());
        let mut found = Records::default();
        for chunk in segment.chunks_of(Field::Partials.column(position).unwrap()) {
            segment.read_partials(chunk, &mut starts, &mut partials).unwrap();
            found.starts.extend(&starts);
            found.partials.extend(&partials);
        }
        for chunk in segment.chunks_of(Field::Sketches.column(position).unwrap()) {
            segment.read_sketches(chunk, &mut found.sketches).unwrap();
        }
        assert_eq!(found.starts, records.starts, "series {position}");
        assert_eq!(found.sketches, records.sketches, "series {position}");
        assert_eq!(found.partials.len(), records.partials.len());
        for (found, written) in found.partials.iter().zip(&records.partials) {
            assert_eq!(bits(found, increase), bits(written, increase), "series {position}");
        }
    }
}

/// The file was written by the build that introduced the version, with `ICECORE_WRITE_GOLDEN=1`;
/// a new version gets a file of its own.
#[test]
fn version_1_is_read() {
    if std::env::var_os("ICECORE_WRITE_GOLDEN").is_some() {
        std::fs::write(golden(), encode()).unwrap();
    }
    check(std::fs::read(golden()).unwrap());
}

#[test]
fn what_is_written_now_is_read() {
    check(encode());
}

#[test]
fn partial_bytes() {
    let times = Times { firsts: &[0, 10], lasts: &[5, 15] };
    let mut out = Vec::new();
    let partials = [Partial::of(&[0, 5], &[1.5, 2.5]), Partial::of(&[10, 15], &[2.5, 2.5])];
    partials::encode(&partials, times, false, &mut out);
    // Counts as expected; tenths; the second is quiet: packed, raw, base 0, width 1, no patch, 0b10.
    // First 15, without a prediction: packed, by steps of which there are none, base zigzag, offset.
    // Last 10 above it; minimum and maximum are first and last; the sum is theirs, and exact.
    let first = [0, 0, 1, 30, 0];
    let last = [0, 1, 20, 0];
    let expected = [&[3, 1, 0, 0, 0, 1, 0, 0b10][..], &first, &last, &[3, 3, 0, 3, 3]].concat();
    assert_eq!(out, expected);
    let mut back = Vec::new();
    partials::decode(&out, times, false, &mut back).unwrap();
    assert_eq!(back[1].last, Sample { timestamp: Timestamp(15), value: 2.5 });
}

#[test]
fn sketch_bytes() {
    let mut out = Vec::new();
    sketches::encode(std::iter::once(Sketch::of(&[0.0, 1.0, 1.0]).view()), &mut out);
    // One zero, one positive bin (each: packed, raw, base zigzag, width 0, no patch), no negative
    // one; the first positive bin's index 0, no negative one's; a step of 0; its count 2, less 1.
    let number = |zigzag| [0, 0, zigzag, 0, 0];
    let expected = [&number(2)[..], &number(2), &[3], &[3], &[3], &[3], &number(2)].concat();
    assert_eq!(out, expected);
}
