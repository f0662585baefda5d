//! Where observations land: bins of atomics that any number of threads add to, and one empties.
//!
//! Owns: the memory of one handle, and how what is in it is taken out whole. Does not own: when
//! that happens, or what becomes of it ([`distribution`](super::distribution)).
//!
//! There are two *sides*. Recordings go to one; to take out what is there, the thread that does it
//! turns them to the other and waits until those under way are done. One word holds the side and
//! the number of recordings begun on it, so that a recording learns its side and is counted in one
//! step (the writer-reader phaser of G. Tene's `HdrHistogram`). A recording counts in its bin last,
//! so that the bins tell how many are done. So bins, sum and extremes that are taken out belong to
//! the same observations. A recording thread that the system suspends halfway is not waited for
//! long: its observation is counted once all the same, but its share of the sum may be taken out
//! before its bin.
//!
//! Threads that get in each other's way find more *shards*, made by the thread that empties: then
//! each records into one that few others know.

use std::array;
use std::num::NonZero;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::thread_number;
use crate::aggregate::{Bin, Distribution, INDEX_LIFT, Sketch};

/// Different bins that a side holds, a power of two. A shard takes twice 8 KiB. Contiguous bins of
/// this number span nine decades.
const SLOTS: usize = 1024;
/// From here on a side is emptied before the span is over.
const SLOTS_CROWDED: usize = SLOTS / 4 * 3;
/// Says which side recordings go to; the bits below count those begun.
const SIDE: u64 = 1 << 63;
/// A slot's count; the bits above are its bin. An empty slot is 0.
const COUNT_BITS: u32 = 46;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
/// How long a recording under way is waited for: a thousand times what one takes.
const PATIENCE: Duration = Duration::from_millis(1);

/// Failed exchanges between two looks from which on threads are given shards: far more than those
/// of threads that record a thousand times a second each.
const COLLISIONS_MANY: u64 = 1000;
/// As many as there are processors, up to this, a power of two.
const SHARDS_MAX: usize = 8;

/// The bins of one handle and its clones.
#[derive(Debug)]
pub(super) struct Recorder {
    first: Shard,
    /// One less than a power of two, once threads got in each other's way.
    others: OnceLock<Box<[Shard]>>,
    not_finite: AtomicU64,
}

/// Bins that some of the threads add to, on cache lines of their own.
#[derive(Debug)]
#[repr(align(128))]
struct Shard {
    /// Which side, and how many recordings were begun on it since it was turned to.
    turn: AtomicU64,
    sides: [Side; 2],
}

#[derive(Debug)]
struct Side {
    /// Recordings begun in former turns and not taken out yet; known to the emptying thread.
    left: AtomicU64,
    /// Recordings that found no slot, since it was last emptied.
    refused: AtomicU64,
    /// Exchanges that another thread was quicker at, since that was last asked.
    collisions: AtomicU64,
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
        Self { first: Shard::new(), others: OnceLock::new(), not_finite: AtomicU64::new(0) }
    }

    /// Adds an observation: no lock, no allocation, no waiting.
    pub(super) fn record(&self, value: f64) {
        if !value.is_finite() {
            self.not_finite.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.shard().record(value);
    }

    /// This thread's.
    fn shard(&self) -> &Shard {
        let Some(others) = self.others.get() else { return &self.first };
        let number = thread_number() & others.len();
        number.checked_sub(1).and_then(|at| others.get(at)).unwrap_or(&self.first)
    }

    fn shards(&self) -> impl Iterator<Item = &Shard> {
        [&self.first].into_iter().chain(self.others.get().into_iter().flatten())
    }

    fn sides(&self) -> impl Iterator<Item = &Side> {
        self.shards().flat_map(|shard| &shard.sides)
    }

    /// Whether it should be emptied before its slots run out.
    pub(super) fn is_crowded(&self) -> bool {
        self.sides().any(|side| side.used.load(Ordering::Relaxed) >= SLOTS_CROWDED)
    }

    /// Makes shards where threads got in each other's way since this was last called.
    pub(super) fn relieve(&self) {
        if self.others.get().is_some() {
            return;
        }
        let collisions = self.sides().map(|side| side.collisions.swap(0, Ordering::Relaxed));
        if collisions.sum::<u64>() >= COLLISIONS_MANY {
            let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
            let shards = processors.next_power_of_two().min(SHARDS_MAX);
            self.others.get_or_init(|| (1..shards).map(|_| Shard::new()).collect());
        }
    }

    /// Moves what was recorded into `into`. Called by one thread at a time; all recordings that
    /// happened before are in it.
    pub(super) fn empty(&self, into: &mut Distribution) -> Missed {
        Missed {
            no_bin: self.shards().map(|shard| shard.empty(into)).sum(),
            not_finite: self.not_finite.swap(0, Ordering::Relaxed),
        }
    }
}

impl Shard {
    fn new() -> Self {
        Self { turn: AtomicU64::new(0), sides: array::from_fn(|_| Side::new()) }
    }

    fn side(&self, turn: u64) -> &Side {
        let [even, odd] = &self.sides;
        if turn & SIDE == 0 { even } else { odd }
    }

    fn record(&self, value: f64) {
        let turn = self.turn.fetch_add(1, Ordering::Acquire);
        self.side(turn).record(value);
    }

    /// Says how many recordings found no slot.
    fn empty(&self, into: &mut Distribution) -> u64 {
        let other = !self.turn.load(Ordering::Relaxed) & SIDE;
        let turn = self.turn.swap(other, Ordering::AcqRel);
        self.side(turn).empty(turn & !SIDE, into)
    }
}

impl Side {
    fn new() -> Self {
        Self {
            left: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            collisions: AtomicU64::new(0),
            used: AtomicUsize::new(0),
            sum: AtomicU64::new(0.0_f64.to_bits()),
            min: AtomicU64::new(f64::INFINITY.to_bits()),
            max: AtomicU64::new(f64::NEG_INFINITY.to_bits()),
            slots: Box::new(array::from_fn(|_| AtomicU64::new(0))),
        }
    }

    fn record(&self, value: f64) {
        let key = key_of(value);
        let mut slot = self.claim(key);
        if slot.is_some() {
            self.update(&self.sum, |sum| Some(sum + value));
            self.update(&self.min, |min| (value < min).then_some(value));
            self.update(&self.max, |max| (value > max).then_some(value));
        }
        while let Some((claimed, found)) = slot {
            let order = (Ordering::Release, Ordering::Relaxed);
            if claimed.compare_exchange_weak(found, found + 1, order.0, order.1).is_ok() {
                return;
            }
            self.collide();
            slot = self.claim(key);
        }
        self.refused.fetch_add(1, Ordering::Release);
    }

    /// The slot of this bin, and what stands in it.
    fn claim(&self, key: u64) -> Option<(&AtomicU64, u64)> {
        // Bins of the other sign begin half the table away.
        let home = (key + (key >> SIGN_BIT) * (SLOTS as u64 / 2)) as usize;
        for slot in (home..home + SLOTS).filter_map(|at| self.slots.get(at % SLOTS)) {
            let mut found = slot.load(Ordering::Relaxed);
            if found == 0 {
                let (empty, order) = (key << COUNT_BITS, Ordering::Relaxed);
                found = match slot.compare_exchange(0, empty, order, order) {
                    Ok(_) => {
                        self.used.fetch_add(1, Ordering::Relaxed);
                        empty
                    }
                    Err(changed) => changed,
                };
            }
            if found >> COUNT_BITS == key {
                return (found & COUNT_MAX < COUNT_MAX).then_some((slot, found));
            }
        }
        None
    }

    /// Replaces bits of an `f64` by what `next` makes of it, if anything.
    fn update(&self, bits: &AtomicU64, next: impl Fn(f64) -> Option<f64>) {
        let mut found = bits.load(Ordering::Relaxed);
        while let Some(next) = next(f64::from_bits(found)) {
            let (to, order) = (next.to_bits(), Ordering::Relaxed);
            match bits.compare_exchange_weak(found, to, order, order) {
                Ok(_) => return,
                Err(changed) => found = changed,
            }
            self.collide();
        }
    }

    #[cold]
    fn collide(&self) {
        self.collisions.fetch_add(1, Ordering::Relaxed);
    }

    /// As [`Shard::empty`], after a turn in which so many recordings were begun.
    fn empty(&self, begun: u64, into: &mut Distribution) -> u64 {
        let under_way = self.left.load(Ordering::Relaxed) + begun;
        self.settle(under_way);
        let refused = self.refused.swap(0, Ordering::Acquire);
        let (mut zero, mut used, mut taken) = (0, 0, refused);
        let (mut positive, mut negative) = (Vec::new(), Vec::new());
        for slot in self.slots.iter().filter(|slot| slot.load(Ordering::Relaxed) != 0) {
            let found = slot.swap(0, Ordering::Acquire);
            let (key, count) = (found >> COUNT_BITS, found & COUNT_MAX);
            used += 1;
            taken += count;
            match bin_of(key) {
                _ if count == 0 => {}
                None => zero += count,
                Some((true, index)) => positive.push(Bin { index, count }),
                Some((false, index)) => negative.push(Bin { index, count }),
            }
        }
        self.used.fetch_sub(used, Ordering::Relaxed);
        self.left.store(under_way.saturating_sub(taken), Ordering::Relaxed);
        if taken > refused {
            let sketch = Sketch::from_bins(zero, ascending(positive), ascending(negative));
            let take = |bits: &AtomicU64, empty: f64| {
                f64::from_bits(bits.swap(empty.to_bits(), Ordering::Relaxed))
            };
            let sum = take(&self.sum, 0.0);
            let (min, max) = (take(&self.min, f64::INFINITY), take(&self.max, f64::NEG_INFINITY));
            into.add_parts(sketch.unwrap_or_default(), sum, min, max);
        }
        refused
    }

    /// Waits until as many recordings are done as are under way, or for as long as that is sensible.
    fn settle(&self, under_way: u64) {
        let counts = |slot: &AtomicU64| slot.load(Ordering::Acquire) & COUNT_MAX;
        let is_done = || {
            let refused = self.refused.load(Ordering::Acquire);
            self.slots.iter().map(counts).sum::<u64>() + refused == under_way
        };
        if is_done() {
            return;
        }
        let since = Instant::now();
        while !is_done() && since.elapsed() < PATIENCE {
            std::thread::yield_now();
        }
    }
}

const SIGN_BIT: u32 = 17;

/// The bin of zero: below every index, and not 0, which an empty slot is.
const ZERO: u64 = 1;

/// A bin as 18 bits: that of zero, or the sign above 17 bits of the index.
fn key_of(value: f64) -> u64 {
    let magnitude = value.abs();
    if magnitude < f64::MIN_POSITIVE {
        return ZERO;
    }
    let index = (Sketch::index_of(magnitude) + INDEX_LIFT) as u64;
    u64::from(value < 0.0) << SIGN_BIT | index
}

/// Sign (whether positive) and index of a key; `None` for zero.
fn bin_of(key: u64) -> Option<(bool, i32)> {
    let index = (key & ((1 << SIGN_BIT) - 1)) as i32 - INDEX_LIFT;
    (key != ZERO).then_some((key >> SIGN_BIT == 0, index))
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
    fn taken_out_together(relieved: bool) {
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
                if relieved {
                    recorder.relieve();
                }
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

    #[test]
    fn bins_and_sums_that_are_taken_out_belong_together() {
        taken_out_together(false);
    }

    /// Shards come while threads record.
    #[test]
    fn so_they_do_where_there_are_shards() {
        taken_out_together(true);
    }

    #[test]
    fn threads_that_meet_are_given_shards_and_others_not() {
        let recorder = Recorder::new();
        recorder.record(1.0);
        recorder.first.sides[0].collisions.fetch_add(COLLISIONS_MANY - 1, Ordering::Relaxed);
        recorder.relieve();
        assert!(recorder.others.get().is_none());
        recorder.first.sides[1].collisions.fetch_add(COLLISIONS_MANY, Ordering::Relaxed);
        recorder.relieve();
        let shards = recorder.shards().count();
        assert!(shards.is_power_of_two() && shards <= SHARDS_MAX);
        thread::scope(|scope| {
            for _ in 0..2 * SHARDS_MAX {
                scope.spawn(|| recorder.record(1.0));
            }
        });
        let mut found = Distribution::default();
        assert_eq!(recorder.empty(&mut found), Missed::default());
        assert_eq!((found.count(), found.sum()), (1 + 2 * SHARDS_MAX as u64, found.count() as f64));
    }
}
