//! A part: one directory that holds the segments of one window, written once.
//!
//! ```text
//! parts/0000000000000012/meta     ours: window, rank, segment directory, checksums, series table
//! parts/0000000000000012/store/   a key-value store: segment number → segment
//! ```
//!
//! Owns: the directory's life (written aside, published by a rename, swept), the meta file's
//! bytes, lazy opening within bounds ([`PartCache`]), and answering reads ([`ChunkSource`]).
//! Does not own: which parts are live (`catalog`), segment bytes (`segment`), what happens inside
//! a store's directory (`store`).
//!
//! A part that does not read is an error that names it; nothing here ever repairs or deletes it.

mod cache;
mod directory;
mod events;
mod meta;
mod records;
#[cfg(test)]
mod tests;
mod verify;
mod write;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

pub use self::cache::{CacheLimits, CacheStats, PartCache};
pub use self::meta::{Layout, PartMeta, SegmentEntry};
pub use self::verify::PartReport;
pub use self::write::{
    Builder, PartSpec, directory_name, part_dir, remove, size_bytes, sweep, write,
};

use self::cache::{Opened, STORE_READ_BYTES_MAX, Slot};
use self::directory::Directory;
use self::events::EventTable;
use crate::aggregate::Partial;
use crate::error::{DecodeError, Error, Result};
use crate::fs::{Fs, read_file};
use crate::index::{Index, table};
use crate::model::SeriesId;
use crate::segment::{
    Chunk, ChunkRef, ChunkSource, Extent, Latest, RecordFields, Segment, SharedBytes,
};
use crate::store::{self, PartStore};
use crate::time::TimeRange;

const META_FILE: &str = "meta";
const STORE_DIR: &str = "store";
/// Longest meta file, bytes: tens of millions of series.
const META_BYTES_MAX: usize = 1 << 30;
/// One in so many of a part's series are most of them: the segments of all are read then.
const MOST_IN: usize = 4;

/// A part open for reading, by any number of threads. Its meta and series are in memory, its store
/// is opened when a segment is first wanted. Dropping it closes the store.
pub struct Part {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    meta: PartMeta,
    directory: Directory,
    /// By position in the part's series table.
    ids: Vec<SeriesId>,
    /// Ids and their positions, ascending by id.
    positions: Vec<(SeriesId, u32)>,
    cache: Arc<PartCache>,
    /// Stands for this part in the cache.
    tenant: u64,
    slots: Vec<Arc<Slot>>,
    /// Of a part of events, its table.
    events: Option<EventTable>,
    /// Which fields the records of series carry, by position, as far as was asked.
    fields: Mutex<HashMap<u32, RecordFields>>,
    /// The last sample of each series, by position: gathered when many are asked for.
    latest: OnceLock<Vec<Option<Latest>>>,
    /// Series whose last samples were asked for so far.
    looked_up: AtomicUsize,
    /// Held while the store is opened.
    opening: Mutex<()>,
    retired: AtomicBool,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("dir", &self.dir).field("meta", &self.meta).finish()
    }
}

impl Part {
    /// Opens a part: reads and checks its meta, gives its series ids of `index`, and tells the
    /// index what the part knows of their metrics. The store is not touched.
    ///
    /// # Errors
    /// [`Error::Io`] where the meta file cannot be read, [`Error::Corrupt`] where it is damaged or
    /// another part's. The index may have learnt series by then.
    pub fn open(
        fs: &Arc<dyn Fs>,
        parts_dir: &Path,
        id: u64,
        index: &Index,
        cache: &Arc<PartCache>,
    ) -> Result<Self> {
        let dir = part_dir(parts_dir, id);
        let path = dir.join(META_FILE);
        let file = read_file(fs.as_ref(), &path, META_BYTES_MAX)?;
        let corrupt = |source| Error::corrupt(&path, 0, source);
        let (meta, table) = meta::decode(&file).map_err(corrupt)?;
        if meta.id != id {
            let expected = "the number that names the directory";
            return Err(corrupt(DecodeError::Invalid {
                what: "part id",
                found: meta.id,
                expected,
            }));
        }
        if meta.layout == Layout::Events {
            let events = EventTable::decode(table, &meta).map_err(corrupt)?;
            return Ok(Self::assemble(fs, dir, meta, Vec::new(), Some(events), cache));
        }
        let table = table::decode(table).map_err(corrupt)?;
        if table.len() != meta.series as usize {
            let (found, expected) = (table.len() as u64, "as many series as the meta says");
            let source = DecodeError::Invalid { what: "series table", found, expected };
            return Err(corrupt(source));
        }
        let ids = index.intern_all(table.series());
        for (metric, metadata) in table.metadata() {
            index.set_metadata(metric, metadata);
        }
        Ok(Self::assemble(fs, dir, meta, ids, None, cache))
    }

    fn assemble(
        fs: &Arc<dyn Fs>,
        dir: PathBuf,
        meta: PartMeta,
        ids: Vec<SeriesId>,
        events: Option<EventTable>,
        cache: &Arc<PartCache>,
    ) -> Self {
        let mut positions: Vec<_> = ids.iter().copied().zip(0..).collect();
        positions.sort_unstable();
        Self {
            fs: Arc::clone(fs),
            dir,
            directory: Directory::new(&meta.segments),
            ids,
            positions,
            events,
            cache: Arc::clone(cache),
            tenant: cache.admit_part(),
            slots: meta.segments.iter().map(|_| Arc::default()).collect(),
            fields: Mutex::default(),
            latest: OnceLock::new(),
            looked_up: AtomicUsize::new(0),
            opening: Mutex::new(()),
            retired: AtomicBool::new(false),
            meta,
        }
    }

    /// What it holds.
    #[must_use]
    pub const fn meta(&self) -> &PartMeta {
        &self.meta
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Says that no catalog names it any more: its directory is removed when it is dropped, which
    /// is when its last reader leaves. A removal that fails leaves what [`sweep`] takes.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Its series, by their position in its table.
    #[must_use]
    pub fn series_ids(&self) -> &[SeriesId] {
        &self.ids
    }

    /// Where a series stands in its table, if it holds it.
    #[must_use]
    pub fn position(&self, series: SeriesId) -> Option<u32> {
        let at = self.positions.binary_search_by_key(&series, |&(id, _)| id).ok()?;
        self.positions.get(at).map(|&(_, position)| position)
    }

    /// A segment, from the cache or loaded into it. `number` counts from 0 to
    /// `meta().segments.len()`.
    ///
    /// # Errors
    /// The store's failure; [`Error::Corrupt`] where it is not the segment that was written.
    pub fn segment(&self, number: u32) -> Result<Arc<Segment>> {
        let slot = self.slots.get(number as usize).ok_or_else(|| self.no_segment(number))?;
        let bytes = self.meta.segments.get(number as usize).map_or(0, |entry| entry.bytes);
        let open = || self.load_pooled(number).map(|segment| Opened::Chunks(Arc::new(segment)));
        match self.cache.segment(slot, bytes, open)? {
            Opened::Chunks(segment) => Ok(segment),
            Opened::Events(_) => Err(self.stranger(number)),
        }
    }

    /// As [`segment`](Self::segment), but what is not in the cache is not put there: for readers
    /// that pass over a part once, and shall not take the place of what queries use.
    ///
    /// # Errors
    /// As [`segment`](Self::segment).
    pub fn segment_once(&self, number: u32) -> Result<Arc<Segment>> {
        let slot = self.slots.get(number as usize).ok_or_else(|| self.no_segment(number))?;
        match slot.get() {
            Some(Opened::Chunks(segment)) => Ok(segment),
            Some(Opened::Events(_)) => Err(self.stranger(number)),
            None => self.load_pooled(number).map(Arc::new),
        }
    }

    /// Reads a segment past the segment cache, through the part's pooled store.
    fn load_pooled(&self, number: u32) -> Result<Segment> {
        let bytes = self.read_pooled(number)?;
        Segment::open(bytes).map_err(|source| self.corrupt(number, source))
    }

    fn read_pooled(&self, number: u32) -> Result<SharedBytes> {
        let store = self.cache.store(self.tenant, &self.opening, || self.open_store())?;
        let value = self.read(store.as_ref(), number)?;
        self.cache.charge(self.tenant, value.as_ref().len() as u32);
        Ok(value)
    }

    fn open_store(&self) -> Result<Box<dyn PartStore>> {
        store::open(self.meta.store, &self.fs, &self.dir.join(STORE_DIR))
    }

    /// Reads a segment past the cache and checks that it is the one of the meta.
    fn load(&self, store: &dyn PartStore, number: u32) -> Result<Segment> {
        let value = self.read(store, number)?;
        Segment::open(value).map_err(|source| self.corrupt(number, source))
    }

    /// The bytes of a segment, as the meta knows them.
    fn read(&self, store: &dyn PartStore, number: u32) -> Result<SharedBytes> {
        let entry = self.meta.segments.get(number as usize);
        let entry = entry.ok_or_else(|| self.no_segment(number))?;
        let value = store.get(u64::from(number))?.ok_or_else(|| self.no_segment(number))?;
        let bytes = value.as_ref();
        if bytes.len() != entry.bytes as usize {
            let (found, expected) = (bytes.len() as u64, "the length in the part's meta");
            let source = DecodeError::Invalid { what: "segment length", found, expected };
            return Err(self.corrupt(number, source));
        }
        let (expected, found) = (crc32fast::hash(bytes), entry.info.checksum);
        if expected != found {
            return Err(self.corrupt(number, DecodeError::Checksum { expected, found }));
        }
        Ok(value)
    }

    /// That a segment is damaged.
    pub(crate) fn corrupt(&self, number: u32, source: DecodeError) -> Error {
        let path = self.dir.join(STORE_DIR).join(format!("segment {number}"));
        Error::corrupt(path, 0, source)
    }

    fn stranger(&self, number: u32) -> Error {
        let (found, expected) = (u64::from(number), "one of the part's layout");
        self.corrupt(number, DecodeError::Invalid { what: "segment", found, expected })
    }

    fn no_segment(&self, number: u32) -> Error {
        let (found, expected) = (u64::from(number), "a segment in the part's store");
        self.corrupt(number, DecodeError::Invalid { what: "segment", found, expected })
    }

    /// Where a series stands in its table, if it holds it, looked for at `hint` first.
    fn position_near(&self, series: SeriesId, hint: u32) -> Option<u32> {
        let there = self.ids.get(hint as usize) == Some(&series);
        if there { Some(hint) } else { self.position(series) }
    }

    /// The last sample of the series at a position.
    fn latest_of(&self, position: u32) -> Result<Option<Latest>> {
        let mut latest: Option<Latest> = None;
        for number in self.directory.segments_of(position, TimeRange::ALL) {
            let segment = self.segment(number)?;
            if let Some(chunk) = segment.chunks_of(position).last()
                && latest.is_none_or(|latest| latest.last < chunk.last)
            {
                latest = Some(last_of(&segment, chunk));
            }
        }
        Ok(latest)
    }

    /// The last samples of all series, by position.
    fn all_latest(&self) -> Result<&[Option<Latest>]> {
        if let Some(known) = self.latest.get() {
            return Ok(known);
        }
        let mut all: Vec<Option<Latest>> = vec![None; self.ids.len()];
        for number in (0..).take(self.meta.segments.len()) {
            let segment = self.segment(number)?;
            for of_series in segment.chunks().chunk_by(|one, next| one.series == next.series) {
                let Some(chunk) = of_series.last() else { continue };
                if let Some(place) = all.get_mut(chunk.series as usize)
                    && place.is_none_or(|latest| latest.last < chunk.last)
                {
                    *place = Some(last_of(&segment, chunk));
                }
            }
        }
        Ok(self.latest.get_or_init(|| all))
    }

    /// The segment and chunk that a value locator names.
    fn located<T>(
        &self,
        chunk: &ChunkRef,
        read: impl FnOnce(&Segment, &Chunk) -> Result<T, DecodeError>,
    ) -> Result<T> {
        let (number, index) = split(chunk.values);
        let segment = self.segment(number)?;
        let found = segment.chunks().get(index as usize).ok_or(DecodeError::Invalid {
            what: "chunk",
            found: u64::from(index),
            expected: "one of the segment's",
        });
        found.and_then(|chunk| read(&segment, chunk)).map_err(|source| self.corrupt(number, source))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.slots.clear();
        self.cache.dismiss_part(self.tenant);
        if *self.retired.get_mut()
            && let Some(parts_dir) = self.dir.parent()
        {
            // Nobody is left to be told; the next open removes what stays.
            let _ = write::remove(&*self.fs, parts_dir, self.meta.id);
        }
    }
}

/// The last sample of a chunk: its statistics tell, unless it is a stale marker.
fn last_of(segment: &Segment, chunk: &Chunk) -> Latest {
    let Partial { count, last, .. } = segment.statistics(chunk);
    let value = (count > 0 && last.timestamp == chunk.last).then_some(last.value);
    Latest { last: chunk.last, value }
}

/// A locator: the segment's number, and an index within it.
const fn locator(segment: u32, index: u32) -> u64 {
    (segment as u64) << 32 | index as u64
}

const fn split(locator: u64) -> (u32, u32) {
    ((locator >> 32) as u32, locator as u32)
}

impl ChunkSource for Part {
    fn rank(&self) -> u64 {
        self.meta.rank
    }

    fn tombstones(&self) -> u64 {
        self.meta.tombstones
    }

    fn extent(&self) -> Option<Extent> {
        let PartMeta { first, last, samples, series, .. } = self.meta;
        Some(Extent { first, last, samples, series: u64::from(series) })
    }

    fn latest(&self, series: &[SeriesId], out: &mut Vec<Option<Latest>>) -> Result<()> {
        // A few are looked up without reading the segments of the others; who asks for many does so
        // by and by.
        let looked_up = self.looked_up.fetch_add(series.len(), Ordering::Relaxed);
        let many = looked_up.saturating_add(series.len()) >= self.ids.len() / MOST_IN;
        let all = if many { Some(self.all_latest()?) } else { None };
        let mut hint = 0;
        for &one in series {
            let position = self.position_near(one, hint);
            hint = position.map_or(hint, |position| position + 1);
            out.push(match (position, all) {
                (None, _) => None,
                (Some(position), Some(all)) => all.get(position as usize).copied().flatten(),
                (Some(position), None) => self.latest_of(position)?,
            });
        }
        Ok(())
    }

    fn chunks(&self, series: SeriesId, range: TimeRange, out: &mut Vec<ChunkRef>) -> Result<()> {
        if self.meta.layout != Layout::Samples {
            return Ok(());
        }
        let Some(position) = self.position(series) else { return Ok(()) };
        let start = out.len();
        for number in self.directory.segments_of(position, range) {
            let segment = self.segment(number)?;
            let place = segment.range_of(position);
            let chunks = segment.chunks().get(place.clone()).unwrap_or_default();
            for (index, chunk) in (place.start as u32..).zip(chunks) {
                if range.overlaps(chunk.first, chunk.last) {
                    out.push(ChunkRef {
                        first: chunk.first,
                        last: chunk.last,
                        samples: chunk.samples,
                        timestamps: locator(number, chunk.timestamps),
                        values: locator(number, index),
                    });
                }
            }
        }
        if let Some(added) = out.get_mut(start..)
            && !added.is_sorted_by_key(|chunk| chunk.first)
        {
            added.sort_unstable_by_key(|chunk| chunk.first);
        }
        Ok(())
    }

    fn statistics(&self, chunk: &ChunkRef) -> Result<Option<Partial>> {
        self.located(chunk, |segment, chunk| Ok(Some(segment.statistics(chunk))))
    }

    fn read_timestamps(&self, chunk: &ChunkRef, out: &mut Vec<i64>) -> Result<()> {
        let (number, index) = split(chunk.timestamps);
        let segment = self.segment(number)?;
        segment.read_timestamps(index, out).map_err(|source| self.corrupt(number, source))
    }

    fn read_values(&self, chunk: &ChunkRef, out: &mut Vec<f64>) -> Result<()> {
        self.located(chunk, |segment, chunk| segment.read_values(chunk, out))
    }
}
