//! Columns of [`Sketch`]es: bin by bin, as columns of integers.
//!
//! ```text
//! columns of one integer a sketch: zeros · positive bins · negative bins
//! blocks of 8192 bins, the last shorter, each two columns: steps · counts
//! ```
//!
//! Bins stand sketch by sketch, a sketch's positive ones before its negative ones. A step is the
//! bin's index less the index before it in its list, less 1; that of a list's first bin is less
//! the first index of the list of that sign before it, so that a distribution that stays where it
//! is costs nothing there. A count is stored less 1.

use super::bytes::Reader;
use super::integers::{self, Order, check_count};
use crate::aggregate::{Bin, SKETCH_BINS_MAX, Sketch};
use crate::error::DecodeError;

/// Bins of a block, which bounds what one column of it allocates when read.
const BLOCK_BINS: usize = 1 << 13;

/// No bytes hold more bins: a block takes two of them at least. It allows 64 KiB of memory for each
/// byte, as much as a run of zstd's does.
const BINS_PER_BYTE_MAX: usize = BLOCK_BINS / 2;

/// Appends `sketches`, at most [`COLUMN_VALUES_MAX`](super::COLUMN_VALUES_MAX) of them.
pub fn encode(sketches: &[Sketch], out: &mut Vec<u8>) {
    debug_assert!(check_count(sketches.len()).is_ok());
    let shape = |number: fn(&Sketch) -> u64| -> Vec<i64> {
        sketches.iter().map(|sketch| number(sketch) as i64).collect()
    };
    integers::write(&shape(Sketch::zero), &[Order::Raw], out);
    integers::write(&shape(|sketch| sketch.positive().len() as u64), &[Order::Raw], out);
    integers::write(&shape(|sketch| sketch.negative().len() as u64), &[Order::Raw], out);
    let (mut steps, mut counts) = (Vec::new(), Vec::new());
    let mut starts = [0, 0];
    for sketch in sketches {
        for (bins, start) in [sketch.positive(), sketch.negative()].into_iter().zip(&mut starts) {
            let mut before = *start;
            for bin in bins {
                let index = i64::from(bin.index);
                steps.push(index - before - 1);
                counts.push(bin.count.wrapping_sub(1) as i64);
                before = index;
            }
            *start = bins.first().map_or(*start, |bin| i64::from(bin.index));
        }
    }
    for (steps, counts) in steps.chunks(BLOCK_BINS).zip(counts.chunks(BLOCK_BINS)) {
        integers::write(steps, &[Order::Raw], out);
        integers::write(counts, &[Order::Raw], out);
    }
}

/// Replaces `out` with the `count` sketches of which [`encode`] made `bytes`.
///
/// # Errors
/// [`DecodeError`] where it did not, or `count` is above
/// [`COLUMN_VALUES_MAX`](super::COLUMN_VALUES_MAX). Allocates what the bytes can hold, at most.
pub fn decode(bytes: &[u8], count: usize, out: &mut Vec<Sketch>) -> Result<(), DecodeError> {
    out.clear();
    let mut reader = Reader::new(bytes);
    let zeros = read_column(&mut reader, count)?;
    let positive = read_column(&mut reader, count)?;
    let negative = read_column(&mut reader, count)?;
    let mut bins = 0_usize;
    for &length in positive.iter().chain(&negative) {
        if length > SKETCH_BINS_MAX as u64 {
            return Err(invalid("bins of a sketch", length, "at most 2048 of a sign"));
        }
        bins += length as usize;
    }
    if bins / BINS_PER_BYTE_MAX > bytes.len() {
        return Err(invalid("bins of sketches", bins as u64, "what the bytes can hold"));
    }
    let (steps, counts) = (Vec::new(), Vec::new());
    let mut bins = Bins { reader, left: bins, steps, counts, next: 0 };
    let mut starts = [0, 0];
    out.reserve(count);
    for ((&zero, positive), negative) in zeros.iter().zip(positive).zip(negative) {
        let mut values = zero;
        let positive = bins.take(positive as usize, &mut starts[0], &mut values)?;
        let negative = bins.take(negative as usize, &mut starts[1], &mut values)?;
        out.push(Sketch::from_sound_bins(values, zero, positive, negative));
    }
    bins.reader.finish("sketches")
}

fn read_column(reader: &mut Reader<'_>, count: usize) -> Result<Vec<u64>, DecodeError> {
    let mut column = Vec::new();
    integers::read(reader, count, &mut column)?;
    Ok(column)
}

fn invalid(what: &'static str, found: u64, expected: &'static str) -> DecodeError {
    DecodeError::Invalid { what, found, expected }
}

/// Bins one after another, a block decoded when the one before is used up.
struct Bins<'a> {
    reader: Reader<'a>,
    /// Bins in blocks not yet decoded.
    left: usize,
    steps: Vec<u64>,
    counts: Vec<u64>,
    /// The next in the block.
    next: usize,
}

impl Bins<'_> {
    /// The next list of `length` bins. `start` is the first index of the list before, and becomes
    /// that of this one; `values` grows by what is in it.
    fn take(
        &mut self,
        length: usize,
        start: &mut i64,
        values: &mut u64,
    ) -> Result<Vec<Bin>, DecodeError> {
        let mut bins = Vec::with_capacity(length);
        let mut before = *start;
        while bins.len() < length {
            if self.next == self.steps.len() {
                self.next_block()?;
            }
            let end = self.steps.len().min(self.next + length - bins.len());
            let block = self.next..end;
            let steps = self.steps.get(block.clone()).unwrap_or_default();
            let counts = self.counts.get(block).unwrap_or_default();
            let first = bins.is_empty();
            *values =
                append(steps, counts, (&mut before, &mut bins), *values).ok_or_else(|| {
                    invalid("bins of a sketch", 0, "ascending, of 32 bits, not empty")
                })?;
            if first && let Some(bin) = bins.first() {
                *start = i64::from(bin.index);
            }
            self.next = end;
        }
        Ok(bins)
    }

    fn next_block(&mut self) -> Result<(), DecodeError> {
        let bins = self.left.min(BLOCK_BINS);
        if bins == 0 {
            return Err(invalid("bins of sketches", 0, "as many as the lists need"));
        }
        self.left -= bins;
        integers::read(&mut self.reader, bins, &mut self.steps)?;
        integers::read(&mut self.reader, bins, &mut self.counts)?;
        self.next = 0;
        Ok(())
    }
}

/// Appends bins to a list, which may have some; `before` is the index that the first step counts from, and
/// becomes the last one. The sum of their counts and `values`; `None` where they are no bins. What makes
/// them none is gathered, and looked at behind the loop, which has one way through.
fn append(
    steps: &[u64],
    counts: &[u64],
    (before, bins): (&mut i64, &mut Vec<Bin>),
    values: u64,
) -> Option<u64> {
    let (start, begins) = (bins.len(), before.wrapping_add(*steps.first()? as i64).wrapping_add(1));
    let (mut index, mut any_step, mut any_count, mut sum) = (*before, 0, 0, 0_u64);
    bins.extend(steps.iter().zip(counts).map(|(&step, &count)| {
        index = index.wrapping_add(step as i64).wrapping_add(1);
        any_step |= step;
        any_count |= count;
        let count = count.wrapping_add(1);
        sum = sum.wrapping_add(count);
        Bin { index: index as i32, count }
    }));
    *before = index;
    // The first of a list may step back, all others ascend: of two that fit 32 bits what lies between does.
    let narrow = |step: u64| step <= u64::from(u32::MAX);
    let ascends = narrow(any_step)
        || start == 0 && steps.get(1..).unwrap_or_default().iter().all(|&step| narrow(step));
    let appended = bins.get(start..)?;
    let ends = (i64::from(appended.first()?.index), i64::from(appended.last()?.index));
    if !ascends || ends != (begins, index) {
        return None;
    }
    if any_count < 1 << 48 {
        return Some(values.saturating_add(sum));
    }
    let sum = appended.iter().fold(values, |sum, bin| sum.saturating_add(bin.count));
    appended.iter().all(|bin| bin.count > 0).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(sketches: &[Sketch]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(sketches, &mut bytes);
        bytes
    }

    fn round_trip(sketches: &[Sketch]) -> usize {
        let bytes = encoded(sketches);
        let mut back = vec![Sketch::default()];
        decode(&bytes, sketches.len(), &mut back).unwrap();
        assert_eq!(back, sketches);
        bytes.len()
    }

    fn bins() -> impl Strategy<Value = Vec<Bin>> {
        let count = prop_oneof![4 => 1..9_u64, 1 => 1..=u64::MAX];
        let index = prop_oneof![4 => -300..300_i32, 1 => any::<i32>()];
        prop::collection::btree_map(index, count, 0..40)
            .prop_map(|bins| bins.into_iter().map(|(index, count)| Bin { index, count }).collect())
    }

    fn sketch() -> impl Strategy<Value = Sketch> {
        (
            prop_oneof![Just(0), any::<u64>()],
            bins(),
            prop_oneof![3 => Just(Vec::new()), 1 => bins()],
        )
            .prop_map(|(zero, positive, negative)| {
                Sketch::from_bins(zero, positive, negative).unwrap()
            })
    }

    /// The sum of twelve uniform numbers: nearly normal.
    fn normal(seed: &mut u64) -> f64 {
        let mut uniform = || {
            *seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (*seed >> 11) as f64 / (1_u64 << 53) as f64
        };
        (0..12).map(|_| uniform()).sum::<f64>() - 6.0
    }

    proptest! {
        #[test]
        fn any_sketches_round_trip(sketches in prop::collection::vec(sketch(), 0..30)) {
            round_trip(&sketches);
        }

        #[test]
        fn any_bytes_decode_without_panic(bytes: Vec<u8>, count in 0..5000_usize) {
            let _ = decode(&bytes, count, &mut Vec::new());
        }

        #[test]
        fn damage_is_an_error_or_some_sketches(
            sketches in prop::collection::vec(sketch(), 1..5), at: prop::sample::Index, xor in 1..=255_u8,
        ) {
            let mut bytes = encoded(&sketches);
            let at = at.index(bytes.len());
            bytes[at] ^= xor;
            let mut out = Vec::new();
            if decode(&bytes, sketches.len(), &mut out).is_ok() {
                prop_assert_eq!(out.len(), sketches.len());
            }
            prop_assert!(decode(&bytes[..at], sketches.len(), &mut out).is_err());
        }
    }

    #[test]
    fn many_full_sketches_take_many_blocks() {
        let full = |shift: i32| -> Vec<Bin> {
            (0..SKETCH_BINS_MAX as i32).map(|i| Bin { index: i + shift, count: 1 }).collect()
        };
        let sketches: Vec<Sketch> =
            (0..50).map(|i| Sketch::from_bins(0, full(-i), full(i)).unwrap()).collect();
        // Nothing but steps: the most bins a byte ever holds.
        let size = round_trip(&sketches);
        assert!(50 * 2 * SKETCH_BINS_MAX / BINS_PER_BYTE_MAX < size, "{size}");
    }

    #[test]
    fn bins_are_earned() {
        let mut bytes = Vec::new();
        integers::write(&vec![0; 60_000], &[Order::Raw], &mut bytes);
        integers::write(&vec![2048; 60_000], &[Order::Raw], &mut bytes);
        integers::write(&vec![2048; 60_000], &[Order::Raw], &mut bytes);
        assert!(decode(&bytes, 60_000, &mut Vec::new()).is_err());
        assert!(decode(&bytes, 70_000, &mut Vec::new()).is_err());
    }

    #[test]
    fn a_thousand_latencies_take_less_than_250_bytes() {
        let mut seed = 7;
        for deviation in [0.25, 0.5, 1.0, 2.0] {
            let sketches: Vec<Sketch> = (0..60)
                .map(|_| {
                    let value = |_| (deviation * normal(&mut seed) - 3.0).exp();
                    Sketch::of(&(0..1000).map(value).collect::<Vec<f64>>())
                })
                .collect();
            assert!(round_trip(&sketches) / 60 <= 250, "deviation {deviation}");
            assert!(round_trip(&sketches[..1]) <= 290, "one alone, deviation {deviation}");
        }
    }
}
