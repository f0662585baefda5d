//! What all parts of an engine share: opened segments within a bound of bytes, and open stores
//! within a bound of their number.
//!
//! The way to a segment that is there takes one read lock of its own slot, for as long as an
//! `Arc` is cloned. Loading happens outside of every shared lock; threads that want the same
//! segment wait for the one that loads it. Eviction is CLOCK (Corbató 1968): a slot that was used
//! since the hand last passed is passed over once, so a hit writes one flag at most.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use crate::aggregate::Partial;
use crate::error::Result;
use crate::segment::{Chunk, EventSegment, Segment};
use crate::store::PartStore;

/// Bounds of a [`PartCache`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    /// Bytes of opened segments that are kept, over all parts. What readers hold at the moment
    /// comes on top: each thread holds one or two segments.
    pub segment_bytes_max: u64,
    /// Stores that are open at once, over all parts; at least 1. Threads that load from more parts
    /// than that at the same moment open more.
    pub open_parts_max: usize,
}

impl Default for CacheLimits {
    /// 256 MiB of segments: a day of a thousand series at a second three times over. 16 stores:
    /// an open sled database takes some 800 KB and a file descriptor.
    fn default() -> Self {
        Self { segment_bytes_max: 256 << 20, open_parts_max: 16 }
    }
}

/// Bytes read from open stores after which the least recently used close, over all parts. sled
/// keeps a page of each of 256 shards whatever `cache_capacity` says, so what was read from an
/// open store counts as still in memory; closing gives it back, and opening again costs it 1 ms.
pub(super) const STORE_READ_BYTES_MAX: u64 = 64 << 20;

/// Opened segments and open stores of all parts of an engine. Shared behind an `Arc`.
pub struct PartCache {
    limits: CacheLimits,
    segments: Mutex<Ring>,
    /// Most recently used last.
    stores: Mutex<VecDeque<OpenStore>>,
    next_tenant: AtomicU64,
    loads: AtomicU64,
    opens: AtomicU64,
}

struct OpenStore {
    part: u64,
    store: Arc<dyn PartStore>,
    /// Read from it since it was opened.
    read_bytes: u64,
}

#[derive(Default)]
struct Ring {
    /// The hand is at the front.
    slots: VecDeque<(Weak<Slot>, u64)>,
    bytes: u64,
}

/// What a cache holds and has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheStats {
    /// Segments held.
    pub segments: usize,
    /// Their bytes.
    pub segment_bytes: u64,
    /// Stores open.
    pub open_parts: usize,
    /// Segments loaded since the cache was made.
    pub loads: u64,
    /// Stores opened since the cache was made.
    pub opens: u64,
}

/// A segment of either make.
#[derive(Clone)]
pub(super) enum Opened {
    /// Chunks of series.
    Chunks(Arc<Segment>),
    /// A column of events.
    Events(Arc<EventSegment>),
}

/// The place of one segment of one part.
#[derive(Default)]
pub(super) struct Slot {
    segment: RwLock<Option<Opened>>,
    /// Held by the thread that loads it.
    loading: Mutex<()>,
    used: AtomicBool,
}

impl Slot {
    pub(super) fn get(&self) -> Option<Opened> {
        let segment = self.segment.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        // Read first: a flag that is already set stays in every core's cache.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        Some(segment)
    }

    fn set(&self, segment: Option<Opened>) -> Option<Opened> {
        let mut place = self.segment.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *place, segment)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the locks guard is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an open segment takes: its bytes, and its directory decoded.
fn memory_bytes(segment: &Opened, bytes: u32) -> u64 {
    let segment = match segment {
        Opened::Chunks(segment) => segment,
        Opened::Events(segment) => return segment.memory_bytes() as u64,
    };
    let chunks = segment.chunks().len() * (size_of::<Chunk>() + size_of::<Partial>());
    let columns = size_of_val(segment.timestamp_columns());
    u64::from(bytes) + (chunks + columns) as u64
}

impl fmt::Debug for PartCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (limits, stats) = (self.limits, self.stats());
        f.debug_struct("PartCache").field("limits", &limits).field("stats", &stats).finish()
    }
}

impl PartCache {
    /// An empty cache.
    #[must_use]
    pub fn new(limits: CacheLimits) -> Self {
        Self {
            limits,
            segments: Mutex::default(),
            stores: Mutex::default(),
            next_tenant: AtomicU64::new(0),
            loads: AtomicU64::new(0),
            opens: AtomicU64::new(0),
        }
    }

    /// What it holds now, and has done so far.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let (segments, segment_bytes) = {
            let ring = lock(&self.segments);
            (ring.slots.len(), ring.bytes)
        };
        CacheStats {
            segments,
            segment_bytes,
            open_parts: lock(&self.stores).len(),
            loads: self.loads.load(Ordering::Relaxed),
            opens: self.opens.load(Ordering::Relaxed),
        }
    }

    /// A number that stands for a part in this cache.
    pub(super) fn admit_part(&self) -> u64 {
        self.next_tenant.fetch_add(1, Ordering::Relaxed)
    }

    /// The slot's segment, of so many encoded bytes, loaded where it is not there.
    pub(super) fn segment(
        &self,
        slot: &Arc<Slot>,
        bytes: u32,
        load: impl FnOnce() -> Result<Opened>,
    ) -> Result<Opened> {
        if let Some(segment) = slot.get() {
            return Ok(segment);
        }
        let _loading = lock(&slot.loading);
        // Another thread may have loaded it meanwhile.
        if let Some(segment) = slot.get() {
            return Ok(segment);
        }
        let segment = load()?;
        self.loads.fetch_add(1, Ordering::Relaxed);
        slot.used.store(true, Ordering::Relaxed);
        slot.set(Some(segment.clone()));
        self.keep(slot, memory_bytes(&segment, bytes));
        Ok(segment)
    }

    fn keep(&self, slot: &Arc<Slot>, bytes: u64) {
        // Freed after the lock is gone.
        let mut evicted = Vec::new();
        let mut ring = lock(&self.segments);
        ring.slots.push_back((Arc::downgrade(slot), bytes));
        ring.bytes += bytes;
        while ring.bytes > self.limits.segment_bytes_max {
            let Some((place, bytes)) = ring.slots.pop_front() else { break };
            match place.upgrade() {
                Some(slot) if slot.used.swap(false, Ordering::Relaxed) => {
                    ring.slots.push_back((place, bytes));
                    continue;
                }
                Some(slot) => evicted.push(slot.set(None)),
                None => {}
            }
            ring.bytes -= bytes;
        }
    }

    /// The part's open store, opened where it is not; `opening` is the part's own lock, held while
    /// it opens, so that it is not opened twice.
    pub(super) fn store(
        &self,
        part: u64,
        opening: &Mutex<()>,
        open: impl FnOnce() -> Result<Box<dyn PartStore>>,
    ) -> Result<Arc<dyn PartStore>> {
        if let Some(store) = self.open_store(part) {
            return Ok(store);
        }
        let _opening = lock(opening);
        if let Some(store) = self.open_store(part) {
            return Ok(store);
        }
        let store: Arc<dyn PartStore> = Arc::from(open()?);
        self.opens.fetch_add(1, Ordering::Relaxed);
        // Closed after the lock is gone: closing takes a store some time.
        let mut closed = Vec::new();
        let mut stores = lock(&self.stores);
        stores.push_back(OpenStore { part, store: Arc::clone(&store), read_bytes: 0 });
        while stores.len() > self.limits.open_parts_max.max(1) {
            closed.extend(stores.pop_front());
        }
        drop(stores);
        Ok(store)
    }

    /// Counts bytes read from the part's store, and closes stores where they became too many.
    pub(super) fn charge(&self, part: u64, bytes: u32) {
        let mut closed = Vec::new();
        let mut stores = lock(&self.stores);
        if let Some(open) = stores.iter_mut().find(|open| open.part == part) {
            open.read_bytes += u64::from(bytes);
        }
        let mut total: u64 = stores.iter().map(|open| open.read_bytes).sum();
        while total > STORE_READ_BYTES_MAX {
            let Some(open) = stores.pop_front() else { break };
            total -= open.read_bytes;
            closed.push(open);
        }
        drop(stores);
    }

    fn open_store(&self, part: u64) -> Option<Arc<dyn PartStore>> {
        let mut stores = lock(&self.stores);
        let at = stores.iter().position(|open| open.part == part)?;
        let entry = stores.remove(at)?;
        let store = Arc::clone(&entry.store);
        stores.push_back(entry);
        Some(store)
    }

    /// Closes the store of a part that goes, and forgets the segments whose slots are gone.
    pub(super) fn dismiss_part(&self, part: u64) {
        let closed = {
            let mut stores = lock(&self.stores);
            let at = stores.iter().position(|open| open.part == part);
            at.and_then(|at| stores.remove(at))
        };
        drop(closed);
        let mut ring = lock(&self.segments);
        ring.slots.retain(|(slot, _)| slot.strong_count() > 0);
        ring.bytes = ring.slots.iter().map(|(_, bytes)| bytes).sum();
    }
}
