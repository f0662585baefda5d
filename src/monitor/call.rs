//! Calls of one query to its sources: where they are noted while it runs.
//!
//! Owns: the notes, all atomics, written by whichever thread makes a call and read by whoever
//! looks on. Room for few calls is part of the query; more comes in blocks that double, once each.
//! Times are ns since the query's beginning.

use std::array;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::outcome::Ended;

/// Calls noted without an allocation of their own: most queries touch few sources.
const FIRST: usize = 4;
/// Blocks behind that: 8, 16, ... notes.
const BLOCKS: usize = 7;
/// Calls of one query that are noted one by one; further ones count for their source and as
/// unlisted. 1,020: more are pages of one source, which the source's own series tell as well.
pub const CALLS_MAX: usize = FIRST + 8 * ((1 << BLOCKS) - 1);

/// What is noted of one call.
#[derive(Debug, Default)]
pub(super) struct Note {
    /// The source's number and 1: written last, so that whoever sees it sees the beginning too.
    source: AtomicU32,
    /// [`Ended::word`], 0 while it is under way.
    ended_how: AtomicU32,
    began: AtomicU64,
    ended: AtomicU64,
    /// From when on it is waited for, and 1; 0 while it is paused.
    awaited: AtomicU64,
    /// When its first row came, and 1.
    first_row: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) rows: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) cache_hits: AtomicU64,
}

/// A note as it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Noted {
    /// The source's number.
    pub(super) source: u32,
    pub(super) began: u64,
    /// `None` while it is under way.
    pub(super) ended: Option<(u64, Ended)>,
    /// Since when it is waited for, or was when it ended; `None` while it is paused.
    pub(super) awaited: Option<u64>,
    pub(super) first_row: Option<u64>,
    pub(super) requests: u64,
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) retries: u64,
    pub(super) cache_hits: u64,
}

impl Note {
    fn begin(&self, source: u32, now: u64) {
        self.began.store(now, Ordering::Relaxed);
        self.awaited.store(now.saturating_add(1), Ordering::Relaxed);
        self.source.store(source.saturating_add(1), Ordering::Release);
    }

    pub(super) fn end(&self, now: u64, how: Ended) {
        self.ended.store(now, Ordering::Relaxed);
        self.ended_how.store(how.word(), Ordering::Release);
    }

    /// Since when it was waited for, if it was.
    pub(super) fn pause(&self) -> Option<u64> {
        self.awaited.swap(0, Ordering::Relaxed).checked_sub(1)
    }

    pub(super) fn resume(&self, now: u64) {
        let (order, at) = (Ordering::Relaxed, now.saturating_add(1));
        // One that is waited for already is so since it began to be.
        let _ = self.awaited.compare_exchange(0, at, order, order);
    }

    /// Says whether it was the first.
    pub(super) fn first_row(&self, now: u64) -> bool {
        let (order, at) = (Ordering::Relaxed, now.saturating_add(1));
        self.first_row.load(order) == 0
            && self.first_row.compare_exchange(0, at, order, order).is_ok()
    }

    pub(super) fn has_row(&self) -> bool {
        self.first_row.load(Ordering::Relaxed) > 0
    }

    fn read(&self) -> Option<Noted> {
        let source = self.source.load(Ordering::Acquire).checked_sub(1)?;
        let how = Ended::from_word(self.ended_how.load(Ordering::Acquire));
        let load = |value: &AtomicU64| value.load(Ordering::Relaxed);
        Some(Noted {
            source,
            began: load(&self.began),
            ended: how.map(|how| (load(&self.ended), how)),
            awaited: load(&self.awaited).checked_sub(1),
            first_row: load(&self.first_row).checked_sub(1),
            requests: load(&self.requests),
            rows: load(&self.rows),
            bytes: load(&self.bytes),
            retries: load(&self.retries),
            cache_hits: load(&self.cache_hits),
        })
    }
}

/// The notes of one query.
#[derive(Debug, Default)]
pub(super) struct Notes {
    taken: AtomicU32,
    first: [Note; FIRST],
    blocks: [OnceLock<Box<[Note]>>; BLOCKS],
}

impl Notes {
    /// Notes that a call begins: its number, `None` where there are too many already.
    pub(super) fn begin(&self, source: u32, now: u64) -> Option<usize> {
        let number = self.taken.fetch_add(1, Ordering::Relaxed) as usize;
        if let Some((block, _)) = block_of(number) {
            let block = self.blocks.get(block).zip(8_usize.checked_shl(block as u32));
            let (block, length) = block?;
            block.get_or_init(|| (0..length).map(|_| Note::default()).collect());
        }
        self.get(number)?.begin(source, now);
        Some(number)
    }

    pub(super) fn get(&self, number: usize) -> Option<&Note> {
        match block_of(number) {
            None => self.first.get(number),
            Some((block, at)) => self.blocks.get(block)?.get()?.get(at),
        }
    }

    /// The calls noted so far.
    pub(super) fn read(&self) -> impl Iterator<Item = Noted> {
        let taken = (self.taken.load(Ordering::Relaxed) as usize).min(CALLS_MAX);
        (0..taken).filter_map(|number| self.get(number)?.read())
    }

    /// Calls that were not noted.
    pub(super) fn unlisted(&self) -> u64 {
        u64::from(self.taken.load(Ordering::Relaxed)).saturating_sub(CALLS_MAX as u64)
    }
}

/// Which block holds the note, and where in it; `None` of those that are part of the query.
fn block_of(number: usize) -> Option<(usize, usize)> {
    // Blocks of 8, 16, ... begin at 0, 8, 24, ...: 8 less than a power of two.
    let behind = number.checked_sub(FIRST)? + 8;
    let block = behind.ilog2() as usize - 3;
    Some((block, behind - (8 << block)))
}

/// Sums of a query that its threads add to.
#[derive(Debug)]
pub(super) struct Sums([AtomicU64; Sum::COUNT]);

/// What is summed; the peak of memory is the greatest instead.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sum {
    RowsIn,
    RowsOut,
    BytesIn,
    BytesOut,
    CpuNanos,
    MemoryPeak,
    Spill,
    Retries,
    CacheHits,
    RowsExpected,
}

impl Sum {
    const COUNT: usize = Self::RowsExpected as usize + 1;
}

impl Default for Sums {
    fn default() -> Self {
        Self(array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Sums {
    pub(super) fn add(&self, what: Sum, count: u64) {
        if let Some(sum) = self.0.get(what as usize) {
            sum.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(super) fn raise(&self, what: Sum, to: u64) {
        if let Some(sum) = self.0.get(what as usize) {
            sum.fetch_max(to, Ordering::Relaxed);
        }
    }

    pub(super) fn get(&self, what: Sum) -> u64 {
        self.0.get(what as usize).map_or(0, |sum| sum.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_has_a_note_up_to_the_bound() {
        let notes = Notes::default();
        for number in 0..CALLS_MAX + 10 {
            let begun = notes.begin(number as u32, number as u64);
            assert_eq!(begun, (number < CALLS_MAX).then_some(number));
        }
        let read: Vec<Noted> = notes.read().collect();
        assert_eq!((read.len(), notes.unlisted()), (CALLS_MAX, 10));
        for (number, noted) in read.iter().enumerate() {
            assert_eq!((noted.source as usize, noted.began as usize), (number, number));
            assert!(noted.ended.is_none() && noted.first_row.is_none());
        }
    }

    #[test]
    fn the_first_row_is_noted_once() {
        let notes = Notes::default();
        let number = notes.begin(3, 5).unwrap();
        let note = notes.get(number).unwrap();
        assert!(note.first_row(0) && !note.first_row(9));
        note.end(11, Ended::OK);
        let noted = notes.read().next().unwrap();
        assert_eq!((noted.first_row, noted.ended), (Some(0), Some((11, Ended::OK))));
    }
}
