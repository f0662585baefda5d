//! Columns of [`Sketch`](crate::aggregate::Sketch)es: bin by bin, as columns of integers.
//!
//! ```text
//! columns of one integer a sketch: zeros · positive bins · negative bins
//! columns of one integer a list of bins that has any: first indexes of positive lists · of negative ones
//! blocks of 32768 bins, the last shorter, each two columns: steps · counts
//! ```
//!
//! Bins stand sketch by sketch, a sketch's positive ones before its negative ones. A step is the
//! bin's index less the index before it in its list, less 1; that of a list's first bin is 0. A count is
//! stored less 1. So both begin at 0 and are stored as they are; and blocks are long, since each column of
//! one pays for tables of its own, in bytes and in time.

use super::bytes::Reader;
use super::integers::{self, Order, check_count};
use crate::aggregate::{Bin, Laid, SKETCH_BINS_MAX, SketchRef, Sketches};
use crate::error::DecodeError;

/// Bins of a block, which bounds what one column of it allocates when read.
const BLOCK_BINS: usize = 1 << 15;

/// No bytes hold more bins: a block takes two of them at least.
const BINS_PER_BYTE_MAX: usize = BLOCK_BINS / 2;

/// Appends `sketches`, at most [`COLUMN_VALUES_MAX`](super::COLUMN_VALUES_MAX) of them.
pub fn encode<'s>(
    sketches: impl ExactSizeIterator<Item = SketchRef<'s>> + Clone,
    out: &mut Vec<u8>,
) {
    debug_assert!(check_count(sketches.len()).is_ok());
    let shape = |number: fn(SketchRef<'s>) -> u64| -> Vec<i64> {
        sketches.clone().map(|sketch| number(sketch) as i64).collect()
    };
    integers::write(&shape(SketchRef::zero), &[Order::Raw], out);
    integers::write(&shape(|sketch| sketch.positive().len() as u64), &[Order::Raw], out);
    integers::write(&shape(|sketch| sketch.negative().len() as u64), &[Order::Raw], out);
    let (mut steps, mut counts) = (Vec::new(), Vec::new());
    let mut firsts = [Vec::new(), Vec::new()];
    for sketch in sketches {
        for (bins, firsts) in [sketch.positive(), sketch.negative()].into_iter().zip(&mut firsts) {
            let Some(first) = bins.first().map(|bin| i64::from(bin.index)) else { continue };
            firsts.push(first);
            let mut before = first - 1;
            for bin in bins {
                let index = i64::from(bin.index);
                steps.push(index - before - 1);
                counts.push(bin.count.wrapping_sub(1) as i64);
                before = index;
            }
        }
    }
    for firsts in &firsts {
        integers::write(firsts, &[Order::Raw, Order::Delta], out);
    }
    for (steps, counts) in steps.chunks(BLOCK_BINS).zip(counts.chunks(BLOCK_BINS)) {
        integers::write(steps, &[Order::Raw], out);
        integers::write(counts, &[Order::Raw], out);
    }
}

/// Appends the `count` sketches of which [`encode`] made `bytes` to `out`.
///
/// # Errors
/// [`DecodeError`] where it did not, or `count` is above
/// [`COLUMN_VALUES_MAX`](super::COLUMN_VALUES_MAX); some of them may have been appended then. Allocates
/// what the bytes can hold, at most.
pub fn decode(bytes: &[u8], count: usize, out: &mut Sketches) -> Result<(), DecodeError> {
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
    let mut firsts = |lengths: &[u64]| {
        let lists = lengths.iter().filter(|&&length| length > 0).count();
        Ok(read_column(&mut reader, lists)?.into_iter())
    };
    let (mut positive_firsts, mut negative_firsts) = (firsts(&positive)?, firsts(&negative)?);
    out.reserve(count, bins.min(BLOCK_BINS));
    let (steps, counts) = (Vec::new(), Vec::new());
    let mut bins = Bins { reader, left: bins, steps, counts, next: 0 };
    for ((&zero, positive), negative) in zeros.iter().zip(positive).zip(negative) {
        out.try_push(|list| {
            let mut count = zero;
            for (length, firsts) in
                [(positive, &mut positive_firsts), (negative, &mut negative_firsts)]
            {
                let first = if length > 0 { firsts.next() } else { None };
                bins.take(length as usize, first.unwrap_or_default() as i64, &mut count, list)?;
            }
            Ok(Laid { count, zero, positive: positive as usize })
        })?;
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
    /// Appends the next list, of `length` bins from the index `first` on, to `out`; `values` grows by
    /// what is in it.
    fn take(
        &mut self,
        length: usize,
        first: i64,
        values: &mut u64,
        out: &mut Vec<Bin>,
    ) -> Result<(), DecodeError> {
        let (mut before, mut left) = (first.wrapping_sub(1), length);
        while left > 0 {
            if self.next == self.steps.len() {
                self.next_block()?;
            }
            let end = self.steps.len().min(self.next + left);
            let block = self.next..end;
            let steps = self.steps.get(block.clone()).unwrap_or_default();
            let counts = self.counts.get(block).unwrap_or_default();
            let sum = i32::try_from(first).ok();
            let sum = sum.and_then(|_| append(steps, counts, (&mut before, out), *values));
            let expected = "ascending, of 32 bits, not empty";
            *values = sum.ok_or_else(|| invalid("bins of a sketch", 0, expected))?;
            left -= end - self.next;
            self.next = end;
        }
        Ok(())
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

/// Appends bins; `before` is the index that the first step counts from, and becomes the last one. The
/// sum of their counts and `values`; `None` where they are no bins. What makes them none is gathered in
/// passes of their own: the last one has nothing to carry on but the index.
fn append(
    steps: &[u64],
    counts: &[u64],
    (before, bins): (&mut i64, &mut Vec<Bin>),
    values: u64,
) -> Option<u64> {
    let start = bins.len();
    let both = |(any, sum): (u64, u64), &value: &u64| (any | value, sum.wrapping_add(value));
    let (any_step, ascent) = steps.iter().fold((0, 0), both);
    let (any_count, sum) = counts.iter().fold((0, 0), both);
    let number = steps.len() as u64;
    let mut index = *before as u64;
    *before = before.wrapping_add(ascent.wrapping_add(number) as i64);
    bins.extend(steps.iter().zip(counts).map(move |(&step, &count)| {
        index = index.wrapping_add(step).wrapping_add(1);
        Bin { index: index as i32, count: count.wrapping_add(1) }
    }));
    let appended = bins.get(start..)?;
    let Some(last) = appended.last() else { return Some(values) };
    // Of steps that fit 32 bits the sum fits 64, and where the last one's index fits all others' do.
    if any_step > u64::from(u32::MAX) || i64::from(last.index) != *before {
        return None;
    }
    if any_count < 1 << 48 {
        return Some(values.saturating_add(sum).saturating_add(number));
    }
    let sum = appended.iter().fold(values, |sum, bin| sum.saturating_add(bin.count));
    appended.iter().all(|bin| bin.count > 0).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::Sketch;
    use proptest::prelude::*;

    fn encoded(sketches: &[Sketch]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(sketches.iter().map(Sketch::view), &mut bytes);
        bytes
    }

    fn round_trip(sketches: &[Sketch]) -> usize {
        let bytes = encoded(sketches);
        let mut back: Sketches = sketches.iter().collect();
        decode(&bytes, sketches.len(), &mut back).unwrap();
        assert_eq!(back, sketches.iter().chain(sketches).collect());
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
            let _ = decode(&bytes, count, &mut Sketches::default());
        }

        #[test]
        fn damage_is_an_error_or_some_sketches(
            sketches in prop::collection::vec(sketch(), 1..5), at: prop::sample::Index, xor in 1..=255_u8,
        ) {
            let mut bytes = encoded(&sketches);
            let at = at.index(bytes.len());
            bytes[at] ^= xor;
            let mut out = Sketches::default();
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
        assert!(decode(&bytes, 60_000, &mut Sketches::default()).is_err());
        assert!(decode(&bytes, 70_000, &mut Sketches::default()).is_err());
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
