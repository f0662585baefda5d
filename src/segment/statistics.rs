//! Chunk statistics in the directory: predicted from each other, the rest as byte planes.
//!
//! A constant chunk's statistics follow from its value and count and are not stored. Of the
//! others' eight numbers most equal a simple prediction: a counter's minimum is its first value,
//! its maximum the last, its increase their difference.
//!
//! ```text
//! flags u8 x chunks · edges varints · resets varints · six u64 columns as byte planes, each as
//! long as the flags say: first, last, minimum, maximum, sum, increase, all XOR their prediction
//! ```

use crate::aggregate::Partial;
use crate::codec::bytes::{Reader, write_varint};
use crate::error::DecodeError;
use crate::model::{Sample, is_stale};
use crate::time::Timestamp;

const MINIMUM_IS_FIRST: u8 = 1;
const MINIMUM_IS_LAST: u8 = 1 << 1;
const MAXIMUM_IS_LAST: u8 = 1 << 2;
const MAXIMUM_IS_FIRST: u8 = 1 << 3;
const INCREASE_IS_DIFFERENCE: u8 = 1 << 4;
const HAS_RESETS: u8 = 1 << 5;
/// Stale markers are counted; where they stand at an end, the first or last sample that counts
/// is not the chunk's.
const HAS_EDGES: u8 = 1 << 6;
/// All the chunk's samples are stale markers: nothing else is stored.
const EMPTY: u8 = 1 << 7;

/// What the rest of the directory knows of a chunk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) series: u32,
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) samples: u32,
}

/// The statistics of samples of one equal `value`. Its sum is the product, rounded once: closer
/// than adding the value up, and the same wherever it is computed.
pub(super) fn of_constant(value: f64, bounds: &Bounds) -> Partial {
    if is_stale(value) || bounds.samples == 0 {
        return Partial::EMPTY;
    }
    let one = Sample { timestamp: Timestamp(bounds.first), value };
    Partial {
        count: u64::from(bounds.samples),
        // A sum starts at +0: without it -0.0 would stay negative.
        sum: 0.0 + value * f64::from(bounds.samples),
        min: value,
        max: value,
        first: one,
        last: Sample { timestamp: Timestamp(bounds.last), value },
        increase: 0.0,
        resets: 0,
    }
}

/// The six columns of numbers, each XOR its prediction.
#[derive(Default)]
struct Columns {
    first: Vec<u64>,
    last: Vec<u64>,
    minimum: Vec<u64>,
    maximum: Vec<u64>,
    sum: Vec<u64>,
    increase: Vec<u64>,
}

impl Columns {
    fn all(&self) -> [&Vec<u64>; 6] {
        [&self.first, &self.last, &self.minimum, &self.maximum, &self.sum, &self.increase]
    }
}

fn same(left: f64, right: f64) -> bool {
    left.to_bits() == right.to_bits()
}

fn xor(value: f64, prediction: f64) -> u64 {
    value.to_bits() ^ prediction.to_bits()
}

fn unxor(stored: u64, prediction: f64) -> f64 {
    f64::from_bits(stored ^ prediction.to_bits())
}

fn predicted_sum(first: f64, last: f64, count: u64) -> f64 {
    (first + last) * 0.5 * count as f64
}

fn flags_of(partial: &Partial, bounds: &Bounds) -> u8 {
    if partial.count == 0 {
        return EMPTY;
    }
    let (first, last) = (partial.first.value, partial.last.value);
    let edges = partial.count != u64::from(bounds.samples);
    [
        (same(partial.min, first), MINIMUM_IS_FIRST),
        (same(partial.min, last) && !same(partial.min, first), MINIMUM_IS_LAST),
        (same(partial.max, last), MAXIMUM_IS_LAST),
        (same(partial.max, first) && !same(partial.max, last), MAXIMUM_IS_FIRST),
        (same(partial.increase, last - first), INCREASE_IS_DIFFERENCE),
        (partial.resets != 0, HAS_RESETS),
        (edges, HAS_EDGES),
    ]
    .iter()
    .fold(0, |flags, &(set, flag)| if set { flags | flag } else { flags })
}

/// Appends the statistics of chunks in directory order.
pub(super) fn encode(chunks: &[(Bounds, Partial)], out: &mut Vec<u8>) {
    let mut columns = Columns::default();
    let (mut edges, mut resets) = (Vec::new(), Vec::new());
    let mut previous = (None, 0.0);
    for (bounds, partial) in chunks {
        let flags = flags_of(partial, bounds);
        out.push(flags);
        if flags & EMPTY != 0 {
            continue;
        }
        let (first, last) = (partial.first.value, partial.last.value);
        if flags & HAS_EDGES != 0 {
            write_varint(&mut edges, u64::from(bounds.samples).wrapping_sub(partial.count));
            let early = partial.first.timestamp.0.wrapping_sub(bounds.first);
            let late = bounds.last.wrapping_sub(partial.last.timestamp.0);
            write_varint(&mut edges, early as u64);
            write_varint(&mut edges, late as u64);
        }
        if flags & HAS_RESETS != 0 {
            write_varint(&mut resets, partial.resets);
        }
        columns.first.push(xor(first, expected_first(previous, bounds.series)));
        columns.last.push(xor(last, first));
        if flags & (MINIMUM_IS_FIRST | MINIMUM_IS_LAST) == 0 {
            columns.minimum.push(xor(partial.min, first));
        }
        if flags & (MAXIMUM_IS_FIRST | MAXIMUM_IS_LAST) == 0 {
            columns.maximum.push(xor(partial.max, last));
        }
        columns.sum.push(xor(partial.sum, predicted_sum(first, last, partial.count)));
        if flags & INCREASE_IS_DIFFERENCE == 0 {
            columns.increase.push(xor(partial.increase, partial.max));
        }
        previous = (Some(bounds.series), last);
    }
    out.append(&mut edges);
    out.append(&mut resets);
    columns.all().iter().for_each(|column| write_planes(column, out));
}

/// A series' next chunk begins near where the one before ended.
fn expected_first((series, last): (Option<u32>, f64), next: u32) -> f64 {
    if series == Some(next) { last } else { 0.0 }
}

/// Reads the statistics of chunks in directory order.
pub(super) fn decode(
    reader: &mut Reader<'_>,
    chunks: &[Bounds],
) -> Result<Vec<Partial>, DecodeError> {
    let flags = reader.bytes(chunks.len())?;
    let count = |mask: u8| flags.iter().filter(|&&flags| flags & (mask | EMPTY) == 0).count();
    let mut edges = reader.clone();
    let has = |mask: u8| flags.iter().filter(|&&flags| flags & (mask | EMPTY) == mask).count();
    skip_varints(reader, 3 * has(HAS_EDGES))?;
    let mut resets = reader.clone();
    skip_varints(reader, has(HAS_RESETS))?;
    let mut firsts = read_planes(reader, count(0))?;
    let mut lasts = read_planes(reader, count(0))?;
    let mut minimums = read_planes(reader, count(MINIMUM_IS_FIRST | MINIMUM_IS_LAST))?;
    let mut maximums = read_planes(reader, count(MAXIMUM_IS_FIRST | MAXIMUM_IS_LAST))?;
    let mut sums = read_planes(reader, count(0))?;
    let mut increases = read_planes(reader, count(INCREASE_IS_DIFFERENCE))?;
    let mut partials = Vec::with_capacity(chunks.len());
    let mut previous = (None, 0.0);
    for (bounds, &flags) in chunks.iter().zip(flags) {
        if flags & EMPTY != 0 {
            partials.push(Partial::EMPTY);
            continue;
        }
        let (mut stale, mut early, mut late) = (0, 0, 0);
        if flags & HAS_EDGES != 0 {
            (stale, early, late) = (edges.varint()?, edges.varint()?, edges.varint()?);
        }
        let first = unxor(next(&mut firsts), expected_first(previous, bounds.series));
        let last = unxor(next(&mut lasts), first);
        let min = match flags & (MINIMUM_IS_FIRST | MINIMUM_IS_LAST) {
            0 => unxor(next(&mut minimums), first),
            MINIMUM_IS_FIRST => first,
            _ => last,
        };
        let max = match flags & (MAXIMUM_IS_FIRST | MAXIMUM_IS_LAST) {
            0 => unxor(next(&mut maximums), last),
            MAXIMUM_IS_LAST => last,
            _ => first,
        };
        let count = u64::from(bounds.samples).wrapping_sub(stale);
        let sum = unxor(next(&mut sums), predicted_sum(first, last, count));
        let increase = if flags & INCREASE_IS_DIFFERENCE == 0 {
            unxor(next(&mut increases), max)
        } else {
            last - first
        };
        let resets = if flags & HAS_RESETS == 0 { 0 } else { resets.varint()? };
        let sample = |timestamp, value| Sample { timestamp: Timestamp(timestamp), value };
        partials.push(Partial {
            count,
            sum,
            min,
            max,
            first: sample(bounds.first.wrapping_add(early as i64), first),
            last: sample(bounds.last.wrapping_sub(late as i64), last),
            increase,
            resets,
        });
        previous = (Some(bounds.series), last);
    }
    Ok(partials)
}

/// The next of a column as long as the flags want it.
fn next(column: &mut impl Iterator<Item = u64>) -> u64 {
    column.next().unwrap_or(0)
}

fn skip_varints(reader: &mut Reader<'_>, count: usize) -> Result<(), DecodeError> {
    (0..count).try_for_each(|_| reader.varint().map(drop))
}

/// Appends all lowest bytes, then all second bytes, ...: what the directory's compressor likes.
pub(super) fn write_planes(column: &[u64], out: &mut Vec<u8>) {
    for plane in 0..8 {
        out.extend(column.iter().map(|&value| (value >> (8 * plane)) as u8));
    }
}

/// Reads `count` numbers of [`write_planes`].
pub(super) fn read_planes(
    reader: &mut Reader<'_>,
    count: usize,
) -> Result<impl Iterator<Item = u64> + use<>, DecodeError> {
    let mut column = vec![0_u64; 0];
    let planes = reader.bytes(count.saturating_mul(8))?;
    column.resize(count, 0);
    for (index, plane) in planes.chunks_exact(count.max(1)).enumerate() {
        for (value, &byte) in column.iter_mut().zip(plane) {
            *value |= u64::from(byte) << (8 * index);
        }
    }
    Ok(column.into_iter())
}

/// Whether stored statistics are those of `values`: sums and increases within the rounding that
/// another order of their terms may bring (an older icecore added up in another order), all else
/// exactly, NaN being equal to NaN.
pub(super) fn hold(stored: &Partial, timestamps: &[i64], values: &[f64]) -> bool {
    let folded = Partial::of(timestamps, values);
    let finite = values.iter().filter(|value| value.is_finite());
    let magnitude: f64 = finite.map(|value| value.abs()).sum();
    // Higham, "Accuracy and Stability of Numerical Algorithms", 4.2; twice, for either order, and
    // twice again, since an increase subtracts first.
    let slack = 4.0 * values.len() as f64 * f64::EPSILON * magnitude;
    let near = |l: f64, r: f64| {
        numbers_equal(l, r) || (l - r).abs() <= slack || !l.is_finite() && !r.is_finite()
    };
    let exact = Partial { sum: folded.sum, increase: folded.increase, ..*stored };
    near(stored.sum, folded.sum) && near(stored.increase, folded.increase) && equal(&exact, &folded)
}

/// Whether two statistics are the same, NaN being equal to NaN.
fn equal(left: &Partial, right: &Partial) -> bool {
    let sample =
        |l: Sample, r: Sample| l.timestamp == r.timestamp && numbers_equal(l.value, r.value);
    left.count == right.count
        && left.resets == right.resets
        && (left.count == 0
            || numbers_equal(left.sum, right.sum)
                && numbers_equal(left.min, right.min)
                && numbers_equal(left.max, right.max)
                && numbers_equal(left.increase, right.increase)
                && sample(left.first, right.first)
                && sample(left.last, right.last))
}

fn numbers_equal(left: f64, right: f64) -> bool {
    left == right || left.is_nan() && right.is_nan()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::STALE_MARKER_BITS;
    use proptest::prelude::*;

    fn bounds(series: u32, timestamps: &[i64]) -> Bounds {
        let samples = timestamps.len() as u32;
        Bounds { series, first: timestamps[0], last: timestamps[timestamps.len() - 1], samples }
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            (-1000..1000_i32).prop_map(f64::from),
            any::<u64>().prop_map(f64::from_bits),
            Just(f64::from_bits(STALE_MARKER_BITS)),
            Just(-0.0),
            Just(f64::INFINITY),
        ]
    }

    proptest! {
        #[test]
        fn statistics_round_trip(
            runs in prop::collection::vec(prop::collection::vec(value(), 1..6), 0..40),
        ) {
            let chunks: Vec<(Bounds, Partial)> = runs.iter().enumerate().map(|(i, values)| {
                let timestamps: Vec<i64> = (0..values.len() as i64).map(|t| t * 7 - 9).collect();
                (bounds(i as u32 / 3, &timestamps), Partial::of(&timestamps, values))
            }).collect();
            let mut out = Vec::new();
            encode(&chunks, &mut out);
            let mut reader = Reader::new(&out);
            let known: Vec<Bounds> = chunks.iter().map(|(bounds, _)| *bounds).collect();
            let back = decode(&mut reader, &known).unwrap();
            prop_assert_eq!(reader.finish("test"), Ok(()));
            for ((_, partial), back) in chunks.iter().zip(&back) {
                prop_assert!(equal(partial, back), "{:?} {:?}", partial, back);
            }
        }

        #[test]
        fn constants_are_derived(value in value(), count in 1..70_000_usize) {
            let timestamps: Vec<i64> = (0..count as i64).collect();
            let derived = of_constant(value, &bounds(0, &timestamps));
            let folded = Partial::of(&timestamps, &vec![value; count]);
            // The product rounds once; the fold `count` times, and may overflow or die on the way.
            let near = (derived.sum - folded.sum).abs() <= 1e-11 * folded.sum.abs();
            let same = derived.sum == folded.sum || folded.sum.is_nan() && derived.sum.is_nan();
            prop_assert!(near || same, "{:?} {:?}", derived, folded);
            let derived = Partial { sum: folded.sum, ..derived };
            prop_assert!(equal(&derived, &folded), "{:?} {:?}", derived, folded);
        }
    }
}
