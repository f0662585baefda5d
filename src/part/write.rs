//! Writing parts, and sweeping what a crash left of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::meta::{self, Identity, Layout, PartMeta, SegmentEntry};
use super::{META_FILE, STORE_DIR};
use crate::error::{Error, Result};
use crate::fs::{Fs, tree_bytes};
use crate::index::table;
use crate::model::{Metadata, Series};
use crate::segment::{
    EncodedGroup, EncodedSegment, EncodedTimestamps, Group, SegmentLimits, encode_segments,
    lay_segments,
};
use crate::store::{self, StoreKind};
use crate::time::{Tier, TimeRange, Timestamp};

const TEMPORARY_SUFFIX: &str = ".tmp";

/// What a new part shall be.
#[derive(Debug, Clone, Copy)]
pub struct PartSpec {
    /// Its id, never used before; it names the directory.
    pub id: u64,
    /// Rank of its samples: the last log sequence number that it covers.
    pub rank: u64,
    /// The window that all its samples lie in.
    pub window: TimeRange,
    /// How coarse it is.
    pub tier: Tier,
    /// What its columns hold.
    pub layout: Layout,
    /// The id of the last tombstone whose samples are left out.
    pub tombstones: u64,
    /// The store to write it with.
    pub store: StoreKind,
    /// How large its chunks and segments get.
    pub limits: SegmentLimits,
}

/// The name of a part's directory: its id in sixteen decimal digits or more.
#[must_use]
pub fn directory_name(id: u64) -> String {
    format!("{id:016}")
}

/// The id of a directory's name, whole or being built.
fn id_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(TEMPORARY_SUFFIX).unwrap_or(name);
    let id = digits.parse().ok()?;
    (directory_name(id) == digits).then_some(id)
}

/// A part being written: groups of chunks are handed over in turn, encoded with rayon, and put into
/// the store segment by segment, so that a part takes memory for what is being encoded only.
///
/// Built in `<id>.tmp`, all of it synced, renamed to `<id>`, `parts_dir` synced: [`finish`](Self::finish)
/// publishes it. Dropped before that, or failing, it leaves at most a directory that nothing names,
/// which [`sweep`] removes.
pub struct Builder {
    fs: Arc<dyn Fs>,
    parts_dir: PathBuf,
    building: PathBuf,
    spec: PartSpec,
    series: usize,
    table: Vec<u8>,
    store: store::Builder,
    segments: Vec<SegmentEntry>,
}

impl Builder {
    /// Begins a part. `series` ascend strictly; groups name them by position. `metadata` is what
    /// is known of the metrics, by name.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for input that breaks these rules; the file system's or store's
    /// failure.
    pub fn new(
        fs: &Arc<dyn Fs>,
        parts_dir: &Path,
        spec: &PartSpec,
        series: &[Arc<Series>],
        metadata: &[(String, Metadata)],
    ) -> Result<Self> {
        if u32::try_from(series.len()).is_err() {
            let reason = format!("{} are more than 2^32", series.len());
            return Err(Error::InvalidArgument { what: "series of a part", reason });
        }
        Self::begin(fs, parts_dir, spec, series.len(), table::encode(series, metadata)?)
    }

    /// Begins a part of a table of `series` entries, which `table` holds as bytes.
    pub(super) fn begin(
        fs: &Arc<dyn Fs>,
        parts_dir: &Path,
        spec: &PartSpec,
        series: usize,
        table: Vec<u8>,
    ) -> Result<Self> {
        let building = parts_dir.join(directory_name(spec.id) + TEMPORARY_SUFFIX);
        if fs.file_bytes(&building)?.is_some() {
            // A failed attempt of the same id.
            fs.remove_dir_all(&building)?;
        }
        fs.create_dir_all(&building)?;
        let store = store::build(spec.store, fs, &building.join(STORE_DIR))?;
        Ok(Self {
            fs: Arc::clone(fs),
            parts_dir: parts_dir.to_owned(),
            building,
            spec: *spec,
            series,
            table,
            store,
            segments: Vec::new(),
        })
    }

    /// Adds the chunks of some groups, in one or more segments of their own. Every sample lies in
    /// the window; the groups' series are columns of the part's layout. A series and time that came
    /// before must not come again.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for input that breaks these rules; the store's failure.
    pub fn add(&mut self, groups: &[Group<'_>]) -> Result<()> {
        for group in groups {
            let ends = group.timestamps.first().zip(group.timestamps.last());
            let span = ends.map(|(&first, &last)| (Timestamp(first), Timestamp(last)));
            check(&self.spec, self.series, group.series.last().copied(), span)?;
        }
        let Self { store, segments, spec, .. } = self;
        encode_segments(groups, &spec.limits, &mut |segment| put(store, segments, &segment))
    }

    /// As [`add`](Self::add), of groups whose chunks are cut already. `pause` is called after each
    /// segment; its error ends the work.
    ///
    /// # Errors
    /// As [`add`](Self::add); whatever the groups' `read` or `pause` return.
    pub fn add_encoded(
        &mut self,
        groups: &[EncodedGroup<'_>],
        pause: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        for group in groups {
            let ends = [group.timestamps.first(), group.timestamps.last()];
            let [first, last] = ends.map(|end| end.map(EncodedTimestamps::bounds));
            let span = first.zip(last).map(|(first, last)| (first.0, last.1));
            check(&self.spec, self.series, group.series.last().copied(), span)?;
        }
        let Self { store, segments, spec, .. } = self;
        lay_segments(groups, &spec.limits, &mut |segment| {
            put(store, segments, &segment)?;
            pause()
        })
    }

    /// Gives the part up, and removes what was written of it.
    ///
    /// # Errors
    /// [`Error::Io`]; then [`sweep`] removes it.
    pub fn discard(self) -> Result<()> {
        let Self { fs, building, store, .. } = self;
        drop(store);
        fs.remove_dir_all(&building)
    }

    /// What the part shall be, and how many series its table has.
    pub(super) const fn plan(&self) -> (PartSpec, usize) {
        (self.spec, self.series)
    }

    /// Puts the next segment into the store.
    pub(super) fn put(&mut self, segment: &EncodedSegment) -> Result<()> {
        put(&mut self.store, &mut self.segments, segment)
    }

    /// Whether nothing was added: such a part must not be published.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Syncs everything and publishes the part under its name.
    ///
    /// # Errors
    /// The file system's or store's failure.
    pub fn finish(self) -> Result<PartMeta> {
        let Self { fs, parts_dir, building, spec, series, table, store, segments } = self;
        store.finish()?;
        let PartSpec { id, rank, window, store, tier, layout, tombstones, .. } = spec;
        let identity = Identity { id, rank, window, store, tier, layout, tombstones };
        let (meta, bytes) = meta::encode(identity, series as u32, segments, &table);
        let mut file = fs.create_new(&building.join(META_FILE))?;
        file.write_all(&bytes)?;
        file.sync()?;
        drop(file);
        fs.sync_dir(&building)?;
        fs.rename(&building, &part_dir(&parts_dir, id))?;
        fs.sync_dir(&parts_dir)?;
        Ok(meta)
    }
}

/// Writes a part of these groups and publishes it: see [`Builder`].
///
/// # Errors
/// As the [`Builder`]'s.
pub fn write(
    fs: &Arc<dyn Fs>,
    parts_dir: &Path,
    spec: &PartSpec,
    series: &[Arc<Series>],
    metadata: &[(String, Metadata)],
    groups: &[Group<'_>],
) -> Result<PartMeta> {
    let mut builder = Builder::new(fs, parts_dir, spec, series, metadata)?;
    builder.add(groups)?;
    builder.finish()
}

/// Puts the next segment into the store.
fn put(
    store: &mut store::Builder,
    segments: &mut Vec<SegmentEntry>,
    segment: &EncodedSegment,
) -> Result<()> {
    store.put(segments.len() as u64, &segment.bytes)?;
    let bytes = u32::try_from(segment.bytes.len()).unwrap_or(u32::MAX);
    segments.push(SegmentEntry { info: segment.info, bytes });
    Ok(())
}

/// Whether a group's last column and the ends of its time are the part's.
fn check(
    spec: &PartSpec,
    series: usize,
    last: Option<u32>,
    span: Option<(Timestamp, Timestamp)>,
) -> Result<()> {
    let invalid = |what, reason: String| Err(Error::InvalidArgument { what, reason });
    let columns = series as u64 * u64::from(spec.layout.columns_per_series());
    if let Some(last) = last
        && u64::from(last) >= columns
    {
        return invalid("series of a group", format!("{last} of {columns} columns"));
    }
    if let Some((first, last)) = span
        && !spec.window.covers(first, last)
    {
        let reason = format!("{first} to {last} are not within the part's window");
        return invalid("timestamps of a group", reason);
    }
    Ok(())
}

/// The directory of a part.
#[must_use]
pub fn part_dir(parts_dir: &Path, id: u64) -> PathBuf {
    parts_dir.join(directory_name(id))
}

/// Bytes of all files of a part.
///
/// # Errors
/// [`Error::Io`] where its directory cannot be listed.
pub fn size_bytes(fs: &dyn Fs, parts_dir: &Path, id: u64) -> Result<u64> {
    tree_bytes(fs, &part_dir(parts_dir, id))
}

/// Removes a part's directory. It is renamed out of the way first, so that a crash halfway leaves
/// what [`sweep`] knows, never half a part under a part's name.
///
/// # Errors
/// [`Error::Io`].
pub fn remove(fs: &dyn Fs, parts_dir: &Path, id: u64) -> Result<()> {
    let going = parts_dir.join(directory_name(id) + TEMPORARY_SUFFIX);
    fs.rename(&part_dir(parts_dir, id), &going)?;
    fs.remove_dir_all(&going)
}

/// Removes what no catalog names: directories being built, and whole parts whose id is not among
/// `live` (ascending). A live part stays whatever its state, and so does every name that is not a
/// part's. Returns how many directories were removed.
///
/// # Errors
/// [`Error::Io`]; what was removed before stays removed.
pub fn sweep(fs: &dyn Fs, parts_dir: &Path, live: &[u64]) -> Result<usize> {
    let mut removed = 0;
    for entry in fs.list(parts_dir)? {
        let Some(name) = entry.name.to_str() else { continue };
        let Some(id) = id_of(name).filter(|_| entry.is_dir) else { continue };
        if name.ends_with(TEMPORARY_SUFFIX) || live.binary_search(&id).is_err() {
            fs.remove_dir_all(&parts_dir.join(name))?;
            removed += 1;
        }
    }
    if removed > 0 {
        fs.sync_dir(parts_dir)?;
    }
    Ok(removed)
}
