use std::ops::Range;

use proptest::prelude::*;

use super::*;
use crate::aggregate::Partial;
use crate::error::Result;
use crate::model::STALE_MARKER_BITS;

/// A group that owns its samples: rows, and one column of values a series.
#[derive(Debug, Clone)]
struct Owned {
    timestamps: Vec<i64>,
    series: Vec<u32>,
    values: Vec<Vec<f64>>,
}

fn encode_all(groups: &[Owned], limits: &SegmentLimits) -> Result<Vec<EncodedSegment>> {
    let readers: Vec<_> = groups
        .iter()
        .map(|group| {
            |series: usize, rows: Range<usize>, out: &mut Vec<f64>| {
                out.clear();
                out.extend_from_slice(&group.values[series][rows]);
            }
        })
        .collect();
    let groups: Vec<Group<'_>> = groups
        .iter()
        .zip(&readers)
        .map(|(group, read)| Group { timestamps: &group.timestamps, series: &group.series, read })
        .collect();
    let mut segments = Vec::new();
    encode_segments(&groups, limits, &mut |segment| {
        segments.push(segment);
        Ok(())
    })?;
    Ok(segments)
}

/// All samples of a series over all segments, in their order, as (timestamp, bits).
fn samples_of(segments: &[EncodedSegment], series: u32) -> Vec<(i64, u64)> {
    let (mut timestamps, mut values, mut samples) = (Vec::new(), Vec::new(), Vec::new());
    for encoded in segments {
        let segment = Segment::open(encoded.bytes.clone()).unwrap();
        for chunk in segment.chunks_of(series) {
            segment.read_timestamps(chunk.timestamps, &mut timestamps).unwrap();
            segment.read_values(chunk, &mut values).unwrap();
            assert_eq!(timestamps.len(), chunk.samples as usize);
            samples.extend(timestamps.iter().zip(&values).map(|(&t, v)| (t, v.to_bits())));
        }
    }
    samples.sort_unstable();
    samples
}

fn check(groups: &[Owned], limits: &SegmentLimits) -> Vec<EncodedSegment> {
    let segments = encode_all(groups, limits).unwrap();
    for encoded in &segments {
        let segment = Segment::open(encoded.bytes.clone()).unwrap();
        segment.verify().unwrap();
        let info = encoded.info;
        let chunks = segment.chunks();
        assert_eq!(info.chunks as usize, chunks.len());
        assert_eq!(info.samples, chunks.iter().map(|chunk| u64::from(chunk.samples)).sum::<u64>());
        assert_eq!(info.first, chunks.iter().map(|chunk| chunk.first).min().unwrap());
        assert_eq!(info.last, chunks.iter().map(|chunk| chunk.last).max().unwrap());
        assert_eq!(info.checksum, crc32fast::hash(&encoded.bytes));
        let stats = segment.column_stats().unwrap();
        assert_eq!(stats.iter().map(|stats| stats.bytes).sum::<u64>(), encoded.bytes.len() as u64);
    }
    let all = groups.iter().flat_map(|group| &group.series);
    for &series in all {
        let mut expected: Vec<(i64, u64)> = groups
            .iter()
            .filter_map(|group| {
                let index = group.series.iter().position(|&other| other == series)?;
                let values = group.values[index].iter().map(|value| value.to_bits());
                Some(group.timestamps.iter().copied().zip(values))
            })
            .flatten()
            .collect();
        expected.sort_unstable();
        assert_eq!(samples_of(&segments, series), expected, "series {series}");
    }
    segments
}

/// Series of many natures over one clock: constant, counter, gauge, decimal, real, stale at the
/// ends.
fn scrape(series: Range<u32>, rows: usize, start: i64) -> Owned {
    let stale = f64::from_bits(STALE_MARKER_BITS);
    let value = |series: u32, row: usize| {
        let noise = (row as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        match series % 7 {
            0 => f64::from(series),
            1 => (row * 3 + noise as usize % 5) as f64,
            2 => (noise % 100) as f64,
            3 => (noise % 10_000) as f64 / 100.0,
            4 => (noise as f64).sqrt(),
            5 if row < 3 => stale,
            5 => noise as f64,
            _ => [0.0, 1.0][usize::from(noise.is_multiple_of(64))],
        }
    };
    Owned {
        timestamps: (0..rows as i64).map(|row| start + row * 1_000_000_000).collect(),
        values: series.clone().map(|s| (0..rows).map(|row| value(s, row)).collect()).collect(),
        series: series.collect(),
    }
}

const SMALL: SegmentLimits = SegmentLimits { chunk_samples_max: 100, segment_bytes_target: 4096 };

#[test]
fn a_scrape_group_shares_its_timestamps() {
    let segments = check(&[scrape(3..40, 2500, 17)], &SegmentLimits::default());
    assert_eq!(segments.len(), 1);
    let segment = Segment::open(segments[0].bytes.clone()).unwrap();
    assert_eq!(segment.timestamp_columns().len(), 3);
    assert_eq!(segment.chunks().len(), 37 * 3);
    assert_eq!(segment.range_of(5), 6..9);
    assert!(segment.chunks_of(2).is_empty() && segment.chunks_of(40).is_empty());
}

#[test]
fn large_groups_are_cut_and_series_keep_their_order() {
    let segments = check(&[scrape(0..50, 1000, 0), scrape(50..60, 70, 5)], &SMALL);
    assert!(segments.len() > 3);
    for segment in &segments {
        assert!(segment.bytes.len() <= 2 * SMALL.segment_bytes_target, "{}", segment.bytes.len());
    }
    // One series alone that is larger than a segment.
    assert!(check(&[scrape(4..5, 20_000, 0)], &SMALL).len() > 10);
}

#[test]
fn one_series_may_stand_in_several_groups() {
    check(&[scrape(0..5, 10, 0), scrape(3..9, 10, 100_000_000_000)], &SegmentLimits::default());
    let overlapping = [scrape(0..5, 10, 0), scrape(3..9, 10, 5)];
    assert!(encode_all(&overlapping, &SegmentLimits::default()).is_err());
}

#[test]
fn many_irregular_series() {
    let groups: Vec<Owned> = (0..500).map(|s| scrape(s..s + 1, 40, i64::from(s) * 77)).collect();
    check(&groups, &SMALL);
}

#[test]
fn nothing_makes_no_segment() {
    assert!(encode_all(&[], &SMALL).unwrap().is_empty());
    assert!(encode_all(&[scrape(0..3, 0, 0), scrape(3..3, 9, 0)], &SMALL).unwrap().is_empty());
}

#[test]
fn wrong_input_is_refused() {
    let mut descending = scrape(0..2, 3, 0);
    descending.timestamps.swap(0, 1);
    assert!(encode_all(&[descending], &SMALL).is_err());
    let mut twice = scrape(0..2, 3, 0);
    twice.series = vec![1, 1];
    assert!(encode_all(&[twice], &SMALL).is_err());
    let none = SegmentLimits { chunk_samples_max: 0, ..SMALL };
    assert!(encode_all(&[scrape(0..2, 3, 0)], &none).is_err());
    let group = Group { timestamps: &[1, 2], series: &[1], read: &|_, _, out| out.clear() };
    assert!(encode_segments(&[group], &SMALL, &mut |_| Ok(())).is_err());
}

#[test]
fn the_bytes_do_not_depend_on_the_number_of_threads() {
    let groups = [scrape(0..60, 700, 0)];
    let bytes = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let segments = pool.install(|| encode_all(&groups, &SMALL).unwrap());
        segments.into_iter().map(|segment| segment.bytes).collect::<Vec<_>>()
    };
    assert_eq!(bytes(1), bytes(4));
}

#[test]
fn statistics_are_those_of_the_samples() {
    let group = scrape(0..14, 300, -5);
    let segments = check(std::slice::from_ref(&group), &SegmentLimits::default());
    let segment = Segment::open(segments[0].bytes.clone()).unwrap();
    for chunk in segment.chunks() {
        let expected = Partial::of(&group.timestamps, &group.values[chunk.series as usize]);
        assert_eq!(segment.statistics(chunk), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_samples_round_trip(
        steps in prop::collection::vec(1..u64::MAX >> 12, 1..40),
        start in i64::MIN..i64::MAX >> 1,
        values in prop::collection::vec(any::<u64>(), 400),
        series in prop::collection::btree_set(any::<u32>(), 1..10),
    ) {
        let mut at = start;
        let mut timestamps = vec![start];
        for step in steps {
            at = at.saturating_add_unsigned(step);
            if at > *timestamps.last().unwrap() {
                timestamps.push(at);
            }
        }
        let rows = timestamps.len();
        let column = |series: usize| {
            (0..rows).map(|row| f64::from_bits(values[(series * 37 + row * 11) % 400])).collect()
        };
        let values = (0..series.len()).map(column).collect();
        let group = Owned { timestamps, series: series.into_iter().collect(), values };
        check(&[group], &SegmentLimits { chunk_samples_max: 7, segment_bytes_target: 2000 });
    }

    #[test]
    fn any_bytes_open_without_panic(bytes: Vec<u8>) {
        prop_assert!(Segment::open(bytes).is_err());
    }
}

#[test]
fn columns_copied_from_one_segment_read_the_same_in_another() {
    let group = scrape(3..24, 250, -77);
    let source = check(std::slice::from_ref(&group), &SMALL);
    let source: Vec<Segment> =
        source.into_iter().map(|segment| Segment::open(segment.bytes).unwrap()).collect();
    let chunks =
        |series| source.iter().flat_map(move |s| s.chunks_of(series).iter().map(move |c| (s, c)));
    let timestamps: Vec<EncodedTimestamps> =
        chunks(3).map(|(s, c)| s.copy_timestamps(c.timestamps).unwrap()).collect();
    let read = |series: usize, chunk: usize| {
        let (segment, chunk) = chunks(3 + series as u32).nth(chunk).unwrap();
        Ok(segment.copy_values(chunk).unwrap())
    };
    let series: Vec<u32> = (10..31).collect();
    let mut copied = Vec::new();
    let group = EncodedGroup { series: &series, timestamps: &timestamps, read: &read };
    lay_segments(&[group], &SMALL, &mut |segment| {
        copied.push(segment);
        Ok(())
    })
    .unwrap();
    for segment in &copied {
        Segment::open(segment.bytes.clone()).unwrap().verify().unwrap();
    }
    for series in 3..24_u32 {
        let found = samples_of(&copied, series + 7);
        let values = scrape(3..24, 250, -77).values[series as usize - 3].clone();
        assert_eq!(found.len(), 250);
        assert!(found.iter().zip(values).all(|(found, value)| found.1 == value.to_bits()));
    }
}

#[test]
fn a_damaged_column_is_not_copied() {
    let segments = check(&[scrape(4..9, 80, 0)], &SMALL);
    let sound = &segments[0].bytes;
    let mut refused = 0;
    for at in 20..sound.len() {
        let mut damaged = sound.clone();
        damaged[at] ^= 1;
        // Damage in the directory is noticed at open.
        let Ok(segment) = Segment::open(damaged) else { continue };
        let columns = 0..segment.timestamp_columns().len() as u32;
        let copied = columns.map(|column| segment.copy_timestamps(column).is_err());
        let values = segment.chunks().iter().map(|chunk| segment.copy_values(chunk).is_err());
        assert_eq!(copied.chain(values).filter(|refused| *refused).count(), 1, "byte {at}");
        refused += 1;
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn columns_that_do_not_fit_each_other_are_refused() {
    let lay = |timestamps: &[EncodedTimestamps], series: &[u32]| {
        let read = |_: usize, _: usize| Ok(EncodedValues::of(&[1, 2, 3], &[1.0, 2.0, 5.0]));
        let group = EncodedGroup { series, timestamps, read: &read };
        lay_segments(&[group], &SMALL, &mut |_| Ok(()))
    };
    let (one, next) = (EncodedTimestamps::of(&[1, 2, 3]), EncodedTimestamps::of(&[4, 5, 6]));
    lay(&[one.clone(), next.clone()], &[0, 7]).unwrap();
    assert!(lay(&[next, one.clone()], &[0]).is_err(), "descending");
    assert!(lay(&[one.clone(), EncodedTimestamps::of(&[3, 4, 5])], &[0]).is_err(), "overlapping");
    assert!(lay(std::slice::from_ref(&one), &[7, 7]).is_err(), "a series twice");
    assert!(lay(&[EncodedTimestamps::of(&[1, 2])], &[0]).is_err(), "another length");
}
