//! Writing parts, and sweeping what a crash left of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::meta::{self, Identity, PartMeta, SegmentEntry};
use super::{META_FILE, STORE_DIR};
use crate::error::{Error, Result};
use crate::fs::{Fs, tree_bytes};
use crate::index::table;
use crate::model::{Metadata, Series};
use crate::segment::{Group, SegmentLimits, encode_segments};
use crate::store::{self, StoreKind};
use crate::time::TimeRange;

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

/// Writes a part and publishes it under its name: built in `<id>.tmp`, all of it synced, renamed
/// to `<id>`, `parts_dir` synced. Segments are encoded with rayon and handed on one by one.
///
/// `series` ascend strictly, and the groups' series are positions in them; every sample lies in
/// the window; `metadata` is what is known of the metrics, by name.
///
/// On failure there is at most a directory that nothing names, which [`sweep`] removes.
///
/// # Errors
/// [`Error::InvalidArgument`] for input that breaks these rules; the file system's or store's
/// failure.
pub fn write(
    fs: &Arc<dyn Fs>,
    parts_dir: &Path,
    spec: &PartSpec,
    series: &[Arc<Series>],
    metadata: &[(String, Metadata)],
    groups: &[Group<'_>],
) -> Result<PartMeta> {
    check(spec, series.len(), groups)?;
    let table = table::encode(series, metadata)?;
    let building = parts_dir.join(directory_name(spec.id) + TEMPORARY_SUFFIX);
    if fs.file_bytes(&building)?.is_some() {
        // A failed attempt of the same id.
        fs.remove_dir_all(&building)?;
    }
    fs.create_dir_all(&building)?;
    let segments = write_segments(fs, &building.join(STORE_DIR), spec, groups)?;

    let PartSpec { id, rank, window, store, .. } = *spec;
    let identity = Identity { id, rank, window, store };
    let (meta, bytes) = meta::encode(identity, series.len() as u32, segments, &table);
    let mut file = fs.create_new(&building.join(META_FILE))?;
    file.write_all(&bytes)?;
    file.sync()?;
    drop(file);
    fs.sync_dir(&building)?;
    fs.rename(&building, &part_dir(parts_dir, id))?;
    fs.sync_dir(parts_dir)?;
    Ok(meta)
}

fn check(spec: &PartSpec, series: usize, groups: &[Group<'_>]) -> Result<()> {
    let invalid = |what, reason: String| Err(Error::InvalidArgument { what, reason });
    if u32::try_from(series).is_err() {
        return invalid("series of a part", format!("{series} are more than 2^32"));
    }
    for group in groups {
        if let Some(&last) = group.series.last()
            && last as usize >= series
        {
            return invalid("series of a group", format!("{last} of {series} in the table"));
        }
        if let (Some(&first), Some(&last)) = (group.timestamps.first(), group.timestamps.last())
            && !spec.window.covers(crate::Timestamp(first), crate::Timestamp(last))
        {
            let reason = format!("{first} to {last} are not within the part's window");
            return invalid("timestamps of a group", reason);
        }
    }
    Ok(())
}

fn write_segments(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    spec: &PartSpec,
    groups: &[Group<'_>],
) -> Result<Vec<SegmentEntry>> {
    let mut builder = store::build(spec.store, fs, dir)?;
    let mut segments = Vec::new();
    encode_segments(groups, &spec.limits, &mut |segment| {
        builder.put(segments.len() as u64, &segment.bytes)?;
        let bytes = u32::try_from(segment.bytes.len()).unwrap_or(u32::MAX);
        segments.push(SegmentEntry { info: segment.info, bytes });
        Ok(())
    })?;
    builder.finish()?;
    Ok(segments)
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
