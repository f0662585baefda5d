//! Which parts are live: one small file, replaced atomically.
//!
//! Owns: the catalog's bytes (`docs/format.md`, "Catalog"), its invariants, loading and saving.
//! Does not own: the parts' directories, nor what a part that the catalog does not name means (it
//! was being built or is being removed: swept at open).

mod format;

use std::path::Path;

use crate::error::{Error, Result};
use crate::fs::{Fs, read_file};
use crate::part::{Layout, PartMeta};
use crate::time::{Tier, TimeRange, Timestamp};

/// The catalog's name in the store directory.
pub const CATALOG_FILE: &str = "catalog";
const TEMPORARY_FILE: &str = "catalog.tmp";
/// Longest catalog file, bytes: half a million parts, where thousands are plenty.
const CATALOG_BYTES_MAX: usize = 64 << 20;

/// What a store holds. A value: edits make a new one, [`save`] puts it in the old one's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    /// Random, given at creation: two stores are never taken for one.
    pub store_id: u64,
    /// When the store was created.
    pub created: Timestamp,
    /// Width of the partitions that parts are aligned to, nanoseconds, positive.
    pub partition_ns: i64,
    /// Last log sequence number that parts cover; 0 before the first.
    pub watermark: u64,
    /// The id that the next part gets; ids are never used again.
    pub next_part: u64,
    /// The id that the next tombstone gets; ids ascend from 1 and are never used again.
    pub next_tombstone: u64,
    /// From here on raw parts hold every sample that was ever committed and not deleted: none whose
    /// window ends later was removed without another in its place. `Timestamp::MIN` where none ever
    /// was, `Timestamp::MAX` where that is not known.
    pub raw_whole_from: Timestamp,
    /// The live parts, ascending by id.
    pub parts: Vec<PartEntry>,
    /// Deletes that parts may still hold samples of, ascending by id.
    pub tombstones: Vec<Tombstone>,
}

/// A delete: what it names is gone for every reader from the moment the catalog holds it; the
/// bytes go when compaction rewrites the parts that it affects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// Ascending in the order of deletes.
    pub id: u64,
    /// The watermark at the time of the delete: what was written later is not deleted.
    pub rank: u64,
    /// Which samples.
    pub range: TimeRange,
    /// Of which series, as [`Selector`](crate::model::Selector) parses it.
    pub selector: String,
}

impl Tombstone {
    /// Whether the part may hold samples that this deletes (its series were not looked at). A tier's
    /// record stands for all of its bucket.
    #[must_use]
    pub fn may_affect(&self, part: &PartEntry) -> bool {
        let bucket = part.tier.floor(part.last).0.saturating_add(part.tier.nanos());
        let last = part.last.max(Timestamp(bucket.saturating_sub(1)));
        part.rank <= self.rank && part.tombstones < self.id && self.range.overlaps(part.first, last)
    }
}

/// What planning needs to know of a part without opening it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartEntry {
    /// Its id, which names its directory.
    pub id: u64,
    /// Last log sequence number it covers: where parts hold the same series and timestamp, the
    /// higher rank was written later and wins. At most the watermark.
    pub rank: u64,
    /// The aligned window it belongs to, not empty.
    pub window: TimeRange,
    /// Its earliest sample, inclusive; within the window.
    pub first: Timestamp,
    /// Its latest sample, inclusive; within the window.
    pub last: Timestamp,
    /// Samples it holds, at least one; of events as its meta counts them.
    pub samples: u64,
    /// Series it holds samples of; 1 of events.
    pub series: u32,
    /// Segments it consists of.
    pub segments: u32,
    /// Bytes of its directory when it was sealed.
    pub bytes: u64,
    /// Checksum of its meta file: the part's directory holds what the catalog means.
    pub meta_crc: u32,
    /// Tag of the key-value store that wrote it.
    pub store: u8,
    /// How coarse it is. For a tier part, the window is what it accounts for: a bucket of the window
    /// that it has no record of was empty when the part was written, as far as samples up to its
    /// rank go.
    pub tier: Tier,
    /// What its columns hold.
    pub layout: Layout,
    /// The id of the last tombstone whose samples were left out when it was written.
    pub tombstones: u64,
}

impl PartEntry {
    /// What the catalog keeps of a sealed part whose directory takes `bytes`.
    #[must_use]
    pub fn of(meta: &PartMeta, bytes: u64) -> Self {
        Self {
            id: meta.id,
            rank: meta.rank,
            window: meta.window,
            first: meta.first,
            last: meta.last,
            samples: meta.samples,
            series: meta.series,
            // A segment holds at least one chunk of at most 2^32 series' samples: far fewer.
            segments: u32::try_from(meta.segments.len()).unwrap_or(u32::MAX),
            bytes,
            meta_crc: meta.meta_crc,
            store: meta.store as u8,
            tier: meta.tier,
            layout: meta.layout,
            tombstones: meta.tombstones,
        }
    }
}

impl Catalog {
    /// The catalog of an empty store.
    #[must_use]
    pub fn new(store_id: u64, created: Timestamp, partition_ns: i64) -> Self {
        Self {
            store_id,
            created,
            partition_ns,
            watermark: 0,
            next_part: 1,
            next_tombstone: 1,
            raw_whole_from: Timestamp::MIN,
            parts: Vec::new(),
            tombstones: Vec::new(),
        }
    }

    /// This catalog with more parts and a new watermark; `next_part` moves past the new ids.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where an id repeats, a part is empty, has samples outside of its
    /// window or a rank above the watermark, or the watermark would fall.
    pub fn with_added(&self, parts: &[PartEntry], watermark: u64) -> Result<Self> {
        self.with_replaced(&[], parts, watermark)
    }

    /// This catalog without the parts of these ids.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where there is no such part.
    pub fn with_removed(&self, ids: &[u64]) -> Result<Self> {
        let mut next = self.with_replaced(ids, &[], self.watermark)?;
        let removed = ids.iter().filter_map(|&id| self.part(id));
        let of_series = |part: &&PartEntry| part.tier.is_raw() && part.layout != Layout::Events;
        let ends = removed.filter(of_series).map(|part| part.window.end);
        next.raw_whole_from = ends.fold(self.raw_whole_from, Timestamp::max);
        Ok(next)
    }

    /// This catalog with some parts in place of others, in one edit: what compaction does.
    ///
    /// # Errors
    /// As [`with_added`](Self::with_added) and [`with_removed`](Self::with_removed).
    pub fn with_replaced(
        &self,
        removed: &[u64],
        added: &[PartEntry],
        watermark: u64,
    ) -> Result<Self> {
        if let Some(id) = removed.iter().find(|&&id| self.part(id).is_none()) {
            return Err(invalid(format!("there is no part {id} to remove")));
        }
        if watermark < self.watermark {
            return Err(invalid(format!("watermark {watermark} is below {}", self.watermark)));
        }
        let mut next = self.clone();
        next.watermark = watermark;
        next.parts.retain(|part| !removed.contains(&part.id));
        next.parts.extend_from_slice(added);
        next.parts.sort_unstable_by_key(|part| part.id);
        let highest = added.iter().map(|part| part.id).max();
        let above = highest.map_or(0, |id| id.saturating_add(1));
        next.next_part = self.next_part.max(above);
        next.check().map_err(invalid)?;
        Ok(next)
    }

    /// This catalog with one more tombstone, of everything written up to its watermark.
    #[must_use]
    pub fn with_tombstone(&self, range: TimeRange, selector: String) -> Self {
        let mut next = self.clone();
        let (id, rank) = (self.next_tombstone, self.watermark);
        next.tombstones.push(Tombstone { id, rank, range, selector });
        next.next_tombstone = id.saturating_add(1);
        next
    }

    /// This catalog without the tombstones of these ids: no part holds samples of them any more.
    #[must_use]
    pub fn without_tombstones(&self, ids: &[u64]) -> Self {
        let mut next = self.clone();
        next.tombstones.retain(|tombstone| !ids.contains(&tombstone.id));
        next
    }

    /// The part of this id.
    #[must_use]
    pub fn part(&self, id: u64) -> Option<&PartEntry> {
        let at = self.parts.binary_search_by_key(&id, |part| part.id).ok()?;
        self.parts.get(at)
    }

    /// Whether the invariants hold; what is broken if not.
    fn check(&self) -> std::result::Result<(), String> {
        if self.partition_ns <= 0 {
            return Err(format!("partition width is {} ns", self.partition_ns));
        }
        let mut previous = None;
        for part in &self.parts {
            let id = part.id;
            if previous.is_some_and(|previous| previous >= id) {
                return Err(format!("part {id} repeats or is out of order"));
            }
            previous = Some(id);
            if id >= self.next_part {
                return Err(format!("part {id} is not below the next, {}", self.next_part));
            }
            if part.rank > self.watermark {
                return Err(format!("part {id} has rank {} above the watermark", part.rank));
            }
            let ordered = part.first <= part.last && part.window.covers(part.first, part.last);
            if !ordered {
                return Err(format!("part {id} has samples outside its window"));
            }
            if part.tombstones >= self.next_tombstone {
                return Err(format!("part {id} left out a tombstone that is to come"));
            }
            let aligned = |t: Timestamp| part.tier.floor(t) == t;
            let whole = aligned(part.window.start) && aligned(part.window.end);
            if !part.tier.is_raw() && !whole {
                return Err(format!("part {id} accounts for a piece of a bucket"));
            }
            if part.samples == 0 || part.series == 0 || part.segments == 0 {
                return Err(format!("part {id} is empty"));
            }
        }
        let ids = self.tombstones.iter().map(|tombstone| tombstone.id);
        if !ids.clone().is_sorted_by(|a, b| a < b)
            || ids.clone().any(|id| id >= self.next_tombstone)
        {
            return Err("tombstones are out of order".to_owned());
        }
        Ok(())
    }
}

fn invalid(reason: String) -> Error {
    Error::InvalidArgument { what: "catalog", reason }
}

/// Puts `catalog` in place of the one in `dir`, durably and at once: a crash at any point leaves
/// the old one or the new one whole.
///
/// # Errors
/// [`Error::Io`]: either may be on disk then. [`Error::InvalidArgument`] where an invariant is
/// broken, before any effect.
pub fn save(fs: &dyn Fs, dir: &Path, catalog: &Catalog) -> Result<()> {
    catalog.check().map_err(invalid)?;
    let bytes = format::encode(catalog)?;
    let temporary = dir.join(TEMPORARY_FILE);
    if fs.file_bytes(&temporary)?.is_some() {
        fs.remove_file(&temporary)?;
    }
    let mut file = fs.create_new(&temporary)?;
    file.write_all(&bytes)?;
    file.sync()?;
    fs.rename(&temporary, &dir.join(CATALOG_FILE))?;
    fs.sync_dir(dir)
}

/// The catalog in `dir`, `None` where there never was one.
///
/// # Errors
/// [`Error::Corrupt`] where its bytes are damaged or break an invariant; [`Error::Io`].
pub fn load(fs: &dyn Fs, dir: &Path) -> Result<Option<Catalog>> {
    let path = dir.join(CATALOG_FILE);
    if fs.file_bytes(&path)?.is_none() {
        return Ok(None);
    }
    let bytes = read_file(fs, &path, CATALOG_BYTES_MAX)?;
    let catalog = decode(&bytes).map_err(|source| Error::corrupt(path, 0, source))?;
    Ok(Some(catalog))
}

/// Decodes and checks a catalog's bytes.
///
/// # Errors
/// What is wrong with them.
pub fn decode(bytes: &[u8]) -> Result<Catalog, crate::DecodeError> {
    let catalog = format::decode(bytes)?;
    let foreign = |message| crate::DecodeError::Foreign { what: "catalog", message };
    catalog.check().map_err(foreign)?;
    Ok(catalog)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(id: u64, rank: u64) -> PartEntry {
        PartEntry {
            id,
            rank,
            window: TimeRange::new(Timestamp(0), Timestamp(100)),
            first: Timestamp(0),
            last: Timestamp(99),
            samples: 1,
            series: 1,
            segments: 1,
            bytes: 1,
            meta_crc: 0,
            store: 0,
            tier: Tier::RAW,
            layout: Layout::Samples,
            tombstones: 0,
        }
    }

    #[test]
    fn edits_make_new_catalogs_and_ids_are_never_used_again() {
        let empty = Catalog::new(1, Timestamp(0), 100);
        let two = empty.with_added(&[part(2, 5), part(1, 9)], 9).unwrap();
        assert_eq!(two.parts.iter().map(|part| part.id).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((two.next_part, two.part(2).unwrap().rank, two.part(3)), (3, 5, None));
        let gone = two.with_removed(&[1, 2]).unwrap();
        assert_eq!((gone.parts.len(), gone.next_part, gone.watermark), (0, 3, 9));
        let again = gone.with_added(&[part(2, 9)], 9).unwrap();
        assert_eq!(again.next_part, 3, "built under an id taken before others were committed");
        assert!(empty.parts.is_empty());
    }

    #[test]
    fn what_breaks_an_invariant_is_refused() {
        let store = Catalog::new(1, Timestamp(0), 100).with_added(&[part(1, 5)], 5).unwrap();
        assert!(store.with_removed(&[2]).is_err());
        assert!(store.with_added(&[], 4).is_err(), "the watermark falls");
        assert!(store.with_added(&[part(2, 7)], 6).is_err(), "a rank above the watermark");
        assert!(store.with_added(&[part(2, 5), part(2, 5)], 5).is_err(), "an id twice");
        let spoil: [fn(&mut PartEntry); 6] = [
            |part| part.last = Timestamp(100),
            |part| part.first = Timestamp(-1),
            |part| (part.first, part.last) = (part.last, part.first),
            |part| part.samples = 0,
            |part| part.series = 0,
            |part| part.segments = 0,
        ];
        for (at, spoil) in spoil.iter().enumerate() {
            let mut spoilt = part(2, 5);
            spoil(&mut spoilt);
            assert!(store.with_added(&[spoilt], 5).is_err(), "{at}");
        }
        assert!(Catalog::new(1, Timestamp(0), 0).with_added(&[], 0).is_err());
    }
}
