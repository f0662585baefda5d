//! Where observations land: bins of atomics that any number of threads add to, and one empties.
//!
//! Owns: the memory of one handle, and how what is in it is taken out whole. Does not own: when
//! that happens, or what becomes of it ([`distribution`](super::distribution)).
//!
//! There are two *sides*. Recordings go to one; to take out what is there, the thread that does it
//! turns them to the other and waits until those under way are done. One word holds the side and
//! the number of recordings begun on it, so that a recording learns its side and is counted in one
//! step (the writer-reader phaser of G. Tene's `HdrHistogram`). So bins, sum and extremes that are
//! taken out belong to the same observations. A recording thread that the system suspends halfway
//! is not waited for long: its observation is counted once all the same, but its bin may be taken out
//! before its share of the sum.

use std::array;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::aggregate::{Bin, Distribution, Sketch};

/// Different bins that a side holds, a power of two. A handle takes twice 8 KiB. Contiguous bins of
/// this number span nine decades.
const SLOTS: usize = 1024;
/// From here on a side is emptied before the span is over.
const SLOTS_CROWDED: usize = SLOTS / 4 * 3;
/// Says which side recordings go to; the bits below count those begun.
const SIDE: u64 = 1 << 63;
/// A slot's count; the bits above are its bin. No count of 0: an empty slot is 0.
const COUNT_BITS: u32 = 46;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
/// How long a recording under way is waited for: a thousand times what one takes.
const PATIENCE: Duration = Duration::from_millis(1);

/// The bins of one handle and its clones.
#[derive(Debug)]
pub(super) struct Recorder {
    /// Which side, and how many recordings were begun on it since it was turned to.
    turn: AtomicU64,
    sides: [Side; 2],
    not_finite: AtomicU64,
    no_bin: AtomicU64,
}

#[derive(Debug)]
struct Side {
    /// Recordings begun in former turns; known to the emptying thread.
    begun: AtomicU64,
    /// Recordings finished, and how many of them were when it was last emptied.
    done: AtomicU64,
    emptied: AtomicU64,
    /// Slots taken.
    used: AtomicUsize,
    /// Bits of an `f64`, as are the next two.
    sum: AtomicU64,
    min: AtomicU64,
    max: AtomicU64,
    /// A hash table, open addressing: bin and count in one word. The bin's own number is the hash,
    /// so that neighbours never collide.
    slots: Box<[AtomicU64; SLOTS]>,
}

/// Observations that were not recorded.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missed {
    /// NaN or infinite.
    pub(super) not_finite: u64,
    /// More different bins than slots.
    pub(super) no_bin: u64,
}

impl Recorder {
    pub(super) fn new() -> Self {
        Self {
            turn: AtomicU64::new(0),
            sides: array::from_fn(|_| Side::new()),
            not_finite: AtomicU64::new(0),
            no_bin: AtomicU64::new(0),
        }
    }

    /// Adds an observation: no lock, no allocation, no waiting.
    pub(super) fn record(&self, value: f64) {
        if !value.is_finite() {
            self.not_finite.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let turn = self.turn.fetch_add(1, Ordering::Acquire);
        let [even, odd] = &self.sides;
        let side = if turn & SIDE == 0 { even } else { odd };
        if !side.record(value) {
            self.no_bin.fetch_add(1, Ordering::Relaxed);
        }
        side.done.fetch_add(1, Ordering::Release);
    }

    /// Whether it should be emptied before its slots run out.
    pub(super) fn is_crowded(&self) -> bool {
        self.sides.iter().any(|side| side.used.load(Ordering::Relaxed) >= SLOTS_CROWDED)
    }

    /// Moves what was recorded into `into`. Called by one thread at a time; all recordings that
    /// happened before are in it.
    pub(super) fn empty(&self, into: &mut Distribution) -> Missed {
        let other = !self.turn.load(Ordering::Relaxed) & SIDE;
        let turn = self.turn.swap(other, Ordering::AcqRel);
        let [even, odd] = &self.sides;
        let side = if turn & SIDE == 0 { even } else { odd };
        side.empty(turn & !SIDE, into);
        Missed {
            not_finite: self.not_finite.swap(0, Ordering::Relaxed),
            no_bin: self.no_bin.swap(0, Ordering::Relaxed),
        }
    }
}

impl Side {
    fn new() -> Self {
        Self {
            begun: AtomicU64::new(0),
            done: AtomicU64::new(0),
            emptied: AtomicU64::new(0),
            used: AtomicUsize::new(0),
            sum: AtomicU64::new(0.0_f64.to_bits()),
            min: AtomicU64::new(f64::INFINITY.to_bits()),
            max: AtomicU64::new(f64::NEG_INFINITY.to_bits()),
            slots: Box::new(array::from_fn(|_| AtomicU64::new(0))),
        }
    }

    /// Says whether there was a slot for it.
    fn record(&self, value: f64) -> bool {
        let counted = self.count(key_of(value));
        if counted {
            update(&self.sum, |sum| Some(sum + value));
            update(&self.min, |min| (value < min).then_some(value));
            update(&self.max, |max| (value > max).then_some(value));
        }
        counted
    }

    fn count(&self, key: u64) -> bool {
        // Bins of the other sign begin half the table away.
        let home = (key + (key >> SIGN_BIT) * (SLOTS as u64 / 2)) as usize;
        for slot in (home..home + SLOTS).filter_map(|at| self.slots.get(at % SLOTS)) {
            let mut found = slot.load(Ordering::Relaxed);
            while found == 0 || found >> COUNT_BITS == key {
                if found & COUNT_MAX == COUNT_MAX {
                    return false;
                }
                let next = if found == 0 { key << COUNT_BITS | 1 } else { found + 1 };
                let order = Ordering::Relaxed;
                match slot.compare_exchange_weak(found, next, order, order) {
                    Ok(_) if found == 0 => {
                        self.used.fetch_add(1, Ordering::Relaxed);
                        return true;
                    }
                    Ok(_) => return true,
                    Err(changed) => found = changed,
                }
            }
        }
        false
    }

    fn empty(&self, begun: u64, into: &mut Distribution) {
        let begun = self.begun.fetch_add(begun, Ordering::Relaxed).wrapping_add(begun);
        self.settle(begun);
        let done = self.done.load(Ordering::Acquire);
        if self.emptied.swap(done, Ordering::Relaxed) == done {
            return;
        }
        let (mut zero, mut taken) = (0, 0);
        let (mut positive, mut negative) = (Vec::new(), Vec::new());
        for slot in self.slots.iter().filter(|slot| slot.load(Ordering::Relaxed) != 0) {
            let found = slot.swap(0, Ordering::Relaxed);
            let (key, count) = (found >> COUNT_BITS, found & COUNT_MAX);
            taken += 1;
            match bin_of(key) {
                None => zero += count,
                Some((true, index)) => positive.push(Bin { index, count }),
                Some((false, index)) => negative.push(Bin { index, count }),
            }
        }
        self.used.fetch_sub(taken, Ordering::Relaxed);
        let sketch = Sketch::from_bins(zero, ascending(positive), ascending(negative));
        let sketch = sketch.unwrap_or_default();
        let take = |bits: &AtomicU64, empty: f64| {
            f64::from_bits(bits.swap(empty.to_bits(), Ordering::Relaxed))
        };
        let sum = take(&self.sum, 0.0);
        let (min, max) = (take(&self.min, f64::INFINITY), take(&self.max, f64::NEG_INFINITY));
        into.add_parts(sketch, sum, min, max);
    }

    /// Waits until all recordings that were begun are done, or for as long as that is sensible.
    fn settle(&self, begun: u64) {
        let is_done = || self.done.load(Ordering::Acquire) == begun;
        if is_done() {
            return;
        }
        let since = Instant::now();
        while !is_done() && since.elapsed() < PATIENCE {
            std::thread::yield_now();
        }
    }
}

/// Replaces bits of an `f64` by what `next` makes of it, if anything.
fn update(bits: &AtomicU64, next: impl Fn(f64) -> Option<f64>) {
    let next = |bits| next(f64::from_bits(bits)).map(f64::to_bits);
    // Refused where there is nothing to change.
    let _ = bits.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
}

/// Makes every index positive: they lie between -35,419 and 35,490.
const INDEX_SHIFT: i32 = 1 << 16;
const SIGN_BIT: u32 = 17;

/// A bin as 18 bits: 0 for zero, else the sign above 17 bits of the index.
fn key_of(value: f64) -> u64 {
    let magnitude = value.abs();
    if magnitude < f64::MIN_POSITIVE {
        return 0;
    }
    let index = (Sketch::index_of(magnitude) + INDEX_SHIFT) as u64;
    u64::from(value < 0.0) << SIGN_BIT | index
}

/// Sign (whether positive) and index of a key; `None` for zero.
fn bin_of(key: u64) -> Option<(bool, i32)> {
    let index = (key & ((1 << SIGN_BIT) - 1)) as i32 - INDEX_SHIFT;
    (key != 0).then_some((key >> SIGN_BIT == 0, index))
}

/// A bin may stand in two slots where it came back while another was being emptied.
fn ascending(mut bins: Vec<Bin>) -> Vec<Bin> {
    bins.sort_unstable_by_key(|bin| bin.index);
    bins.dedup_by(|next, bin| {
        let same = next.index == bin.index;
        bin.count += if same { next.count } else { 0 };
        same
    });
    bins
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use super::*;

    #[test]
    fn what_is_recorded_is_taken_out_once() {
        let recorder = Recorder::new();
        let values = [0.0, -0.0, 1e-320, 3.5, -3.5, 1e300, -1e-300, f64::MAX, f64::MIN_POSITIVE];
        let mut expected = Distribution::default();
        for round in 1..=4 {
            for value in values {
                recorder.record(value * f64::from(round % 2));
                expected.record(value * f64::from(round % 2));
            }
            recorder.record(f64::NAN);
            recorder.record(f64::NEG_INFINITY);
            let mut found = Distribution::default();
            assert_eq!(recorder.empty(&mut found), Missed { not_finite: 2, no_bin: 0 });
            assert_eq!(found, expected);
            assert_eq!(recorder.empty(&mut found), Missed::default());
            assert_eq!(found, expected);
            expected = Distribution::default();
        }
    }

    #[test]
    fn what_finds_no_bin_is_counted() {
        let recorder = Recorder::new();
        let values: Vec<f64> =
            (0..3000).map(|index| -Sketch::value_of(index - 1500)).rev().collect();
        values.iter().for_each(|&value| recorder.record(value));
        assert!(recorder.is_crowded());
        recorder.record(values[7]);
        let mut found = Distribution::default();
        let missed = recorder.empty(&mut found);
        assert_eq!((missed.no_bin, found.count()), (3000 - SLOTS as u64, SLOTS as u64 + 1));
        assert!(!recorder.is_crowded());
        let mut expected = Distribution::default();
        values[..SLOTS]
            .iter()
            .chain([&values[7]])
            .for_each(|&value| assert!(expected.record(value)));
        assert_eq!((found.sketch(), found.min()), (expected.sketch(), expected.min()));
    }

    /// Each thread records its own number only, so that in whatever is taken out the sum tells
    /// whether it belongs to the bins.
    #[test]
    fn bins_and_sums_that_are_taken_out_belong_together() {
        let (recorder, running) = (Recorder::new(), AtomicBool::new(true));
        let (mut whole, mut torn, mut turns) = (Distribution::default(), 0, 0);
        thread::scope(|scope| {
            let threads: Vec<_> = [1.0, -64.0]
                .map(|value| {
                    let (recorder, running) = (&recorder, &running);
                    scope.spawn(move || {
                        let mut count = 0_u64;
                        while running.load(Ordering::Relaxed) {
                            recorder.record(value);
                            count += 1;
                        }
                        count
                    })
                })
                .into();
            let end = Instant::now() + Duration::from_millis(300);
            while Instant::now() < end {
                let mut taken = Distribution::default();
                recorder.empty(&mut taken);
                let count = |bins: &[Bin]| bins.iter().map(|bin| bin.count).sum::<u64>() as f64;
                let sketch = taken.sketch();
                let sum = count(sketch.positive()) - 64.0 * count(sketch.negative());
                torn += u64::from(sum != taken.sum());
                turns += 1;
                whole.merge(&taken);
            }
            running.store(false, Ordering::Relaxed);
            let counts: Vec<u64> = threads.into_iter().map(|t| t.join().unwrap()).collect();
            recorder.empty(&mut whole);
            recorder.empty(&mut whole);
            assert_eq!(whole.count(), counts[0] + counts[1]);
            assert_eq!(whole.sum(), counts[0] as f64 - 64.0 * counts[1] as f64);
            assert_eq!((whole.min(), whole.max()), (-64.0, 1.0));
        });
        // A suspended thread may tear some: two threads, each once a time slice at most.
        assert!(turns > 100 && torn * 10 <= turns, "{torn} of {turns}");
    }
}
