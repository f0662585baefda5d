//! Snapshots: a consistent copy of a store, which is a store of its own; and the way back.
//!
//! Owns: which files are copied or linked, in which order, and that nothing unfinished ever stands
//! under a final name. A snapshot is a directory like any store's (catalog, parts, and the log
//! where there was one to keep), so that it opens read-only, verifies and restores by what is there
//! anyway.
//!
//! Parts never change: a part that the previous snapshot holds is linked from there. Both then
//! share its bytes, and either may be deleted.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ledger::Pinned;
use super::recovery::{create_parents, parent};
use super::shared::parts_dir;
use super::verify::{self, Problem};
use crate::catalog::{self, Catalog, PartEntry};
use crate::error::{DecodeError, Error, Result};
use crate::fs::{Fs, RealFs, tree_bytes};
use crate::part::part_dir;

/// What is copied at a time.
const COPY_BYTES: usize = 1 << 20;

/// How a snapshot is taken.
#[derive(Debug, Clone, Default)]
pub struct SnapshotOptions {
    /// An earlier snapshot of the same store: parts that it holds are linked, not copied, where
    /// both lie on one file system.
    pub previous: Option<PathBuf>,
}

/// What a snapshot or a restored store consists of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotReport {
    /// Parts.
    pub parts: u64,
    /// Those of them that share their files with the previous snapshot.
    pub parts_linked: u64,
    /// Samples and records in the parts.
    pub samples: u64,
    /// Bytes written.
    pub bytes_copied: u64,
    /// Bytes shared with the previous snapshot.
    pub bytes_linked: u64,
}

/// How far a copy has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyStep {
    /// Bytes of parts copied or linked so far.
    pub bytes_done: u64,
    /// Bytes of parts there are.
    pub bytes_total: u64,
}

/// What is copied.
pub(super) struct Source {
    /// Where samples that no part has yet stand still in the log: its directory.
    pub(super) log: Option<PathBuf>,
    pub(super) pinned: Pinned,
}

/// Copies a store into `dir`; see [`Engine::snapshot`](super::Engine::snapshot).
pub(super) fn snapshot(
    fs: &dyn Fs,
    source: &Source,
    dir: &Path,
    options: &SnapshotOptions,
    progress: &mut dyn FnMut(CopyStep),
) -> Result<SnapshotReport> {
    let catalog = &*source.pinned.catalog;
    let previous = match &options.previous {
        Some(previous) => Some(Previous::open(fs, previous)?),
        None => None,
    };
    if let Some(previous) = &previous
        && previous.catalog.store_id != catalog.store_id
    {
        let reason = format!("{} is of another store", previous.dir.display());
        return Err(Error::InvalidArgument { what: "previous snapshot", reason });
    }
    build(fs, dir, |building| {
        let mut copy = Copy::new(fs, catalog, progress);
        for (entry, part) in catalog.parts.iter().zip(&**source.pinned.parts) {
            let linked = match &previous {
                Some(previous) if previous.holds(entry) => {
                    copy.link_part(&previous.dir, part.dir(), building, entry)?
                }
                _ => false,
            };
            if !linked {
                copy.copy_part(part.dir(), building, entry)?;
            }
        }
        copy.finish(source.log.as_deref(), building, catalog)
    })
}

/// Copies the snapshot (or store) in `from`, which no engine may have open for writing, into the
/// new directory `to`. Everything that was copied is verified before the directory gets its name.
///
/// # Errors
/// [`Error::Corrupt`] naming the damaged file of `from`; [`Error::Locked`]; [`Error::Io`], with
/// kind `AlreadyExists` where there is something at `to`.
pub fn restore(
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
    progress: &mut dyn FnMut(CopyStep),
) -> Result<SnapshotReport> {
    restore_in(&(Arc::new(RealFs) as Arc<dyn Fs>), from.as_ref(), to.as_ref(), progress)
}

/// As [`restore`], on another file system.
///
/// # Errors
/// As [`restore`].
pub fn restore_in(
    fs: &Arc<dyn Fs>,
    from: &Path,
    to: &Path,
    progress: &mut dyn FnMut(CopyStep),
) -> Result<SnapshotReport> {
    let _lock = verify::lock(&**fs, from)?;
    let catalog = load(&**fs, from)?;
    build(&**fs, to, |building| {
        let mut copy = Copy::new(&**fs, &catalog, progress);
        for entry in &catalog.parts {
            copy.copy_part(&part_dir(&parts_dir(from), entry.id), building, entry)?;
        }
        let report = copy.finish(Some(&from.join("log")), building, &catalog)?;
        let verified = verify::verify_in(fs, building, &mut |_| {})?;
        match verified.problems.first() {
            Some(problem) => Err(damaged(problem, building, from)),
            None => Ok(report),
        }
    })
}

/// The problem of a copy as the original's.
fn damaged(problem: &Problem, copy: &Path, original: &Path) -> Error {
    let below = problem.path.strip_prefix(copy).unwrap_or(&problem.path);
    let message = problem.message.replace(&*copy.to_string_lossy(), &original.to_string_lossy());
    let source = DecodeError::Foreign { what: "the copy of it does not verify", message };
    Error::corrupt(original.join(below), problem.offset.unwrap_or(0), source)
}

fn load(fs: &dyn Fs, dir: &Path) -> Result<Catalog> {
    catalog::load(fs, dir)?.ok_or_else(|| {
        let missing = std::io::Error::new(ErrorKind::NotFound, "there is no catalog");
        Error::io("open", dir, missing)
    })
}

/// Has `fill` build what is to be `dir` under a temporary name, and publishes it. What a failure
/// leaves under the temporary name is removed, here or by the next attempt.
fn build<T>(fs: &dyn Fs, dir: &Path, fill: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let exists = || Error::io("create", dir, ErrorKind::AlreadyExists.into());
    if fs.file_bytes(dir)?.is_some() {
        return Err(exists());
    }
    let name = dir.file_name().ok_or_else(exists)?.to_string_lossy();
    let building = dir.with_file_name(format!("{name}.tmp"));
    if fs.file_bytes(&building)?.is_some() {
        fs.remove_dir_all(&building)?;
    }
    create_parents(fs, &building)?;
    fs.create_dir_all(&parts_dir(&building))?;
    let filled = fill(&building).and_then(|filled| {
        fs.sync_dir(&building)?;
        fs.rename(&building, dir)?;
        fs.sync_dir(parent(dir))?;
        Ok(filled)
    });
    filled.inspect_err(|_| {
        // The failure is what the caller hears of; what stays is removed by the next attempt.
        let _ = fs.remove_dir_all(&building);
    })
}

/// The snapshot before.
struct Previous {
    dir: PathBuf,
    catalog: Catalog,
}

impl Previous {
    fn open(fs: &dyn Fs, dir: &Path) -> Result<Self> {
        Ok(Self { dir: dir.to_owned(), catalog: load(fs, dir)? })
    }

    /// Whether it holds this very part: its number, and the checksum of what it consists of.
    fn holds(&self, entry: &PartEntry) -> bool {
        self.catalog.part(entry.id).is_some_and(|held| held.meta_crc == entry.meta_crc)
    }
}

/// A copy under way.
struct Copy<'a> {
    fs: &'a dyn Fs,
    report: SnapshotReport,
    bytes_total: u64,
    progress: &'a mut dyn FnMut(CopyStep),
}

impl<'a> Copy<'a> {
    fn new(fs: &'a dyn Fs, catalog: &Catalog, progress: &'a mut dyn FnMut(CopyStep)) -> Self {
        let bytes_total =
            catalog.parts.iter().fold(0, |sum: u64, part| sum.saturating_add(part.bytes));
        Self { fs, report: SnapshotReport::default(), bytes_total, progress }
    }

    fn note(&mut self, entry: &PartEntry) {
        self.report.parts += 1;
        self.report.samples += entry.samples;
        let bytes_done = self.report.bytes_copied + self.report.bytes_linked;
        (self.progress)(CopyStep { bytes_done, bytes_total: self.bytes_total });
    }

    /// Copies a part's directory into the store that is built in `to`.
    fn copy_part(&mut self, part: &Path, to: &Path, entry: &PartEntry) -> Result<()> {
        let to = part_dir(&parts_dir(to), entry.id);
        self.report.bytes_copied += copy_tree(self.fs, part, &to)?;
        self.note(entry);
        Ok(())
    }

    /// Links a part from the previous snapshot; `false` where that cannot be, and nothing is left
    /// of the attempt.
    fn link_part(
        &mut self,
        previous: &Path,
        live: &Path,
        to: &Path,
        entry: &PartEntry,
    ) -> Result<bool> {
        let from = part_dir(&parts_dir(previous), entry.id);
        let to = part_dir(&parts_dir(to), entry.id);
        if !same_files(self.fs, &from, live)? {
            return Ok(false);
        }
        match link_tree(self.fs, &from, &to) {
            Ok(()) => {
                self.report.bytes_linked += tree_bytes(self.fs, &to)?;
                self.report.parts_linked += 1;
                self.note(entry);
                Ok(true)
            }
            Err(error) if cannot_link(&error) => {
                self.fs.remove_dir_all(&to)?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// The rest: names made durable, the log where there is one, the catalog last.
    fn finish(
        mut self,
        log: Option<&Path>,
        to: &Path,
        catalog: &Catalog,
    ) -> Result<SnapshotReport> {
        self.fs.sync_dir(&parts_dir(to))?;
        if let Some(log) = log
            && self.fs.file_bytes(log)?.is_some()
        {
            self.report.bytes_copied += copy_tree(self.fs, log, &to.join("log"))?;
        }
        catalog::save(self.fs, to, catalog)?;
        Ok(self.report)
    }
}

/// Copies a directory and all below it, synced but for its own name; returns the bytes.
fn copy_tree(fs: &dyn Fs, from: &Path, to: &Path) -> Result<u64> {
    fs.create_dir_all(to)?;
    let mut bytes = 0;
    for entry in fs.list(from)? {
        let (from, to) = (from.join(&entry.name), to.join(&entry.name));
        bytes += if entry.is_dir { copy_tree(fs, &from, &to)? } else { copy_file(fs, &from, &to)? };
    }
    fs.sync_dir(to)?;
    Ok(bytes)
}

fn copy_file(fs: &dyn Fs, from: &Path, to: &Path) -> Result<u64> {
    let source = fs.open_read(from)?;
    let mut target = fs.create_new(to)?;
    let mut buffer = vec![0; COPY_BYTES];
    let mut bytes = 0;
    loop {
        let read = source.read_at(bytes, &mut buffer)?;
        target.write_all(buffer.get(..read).unwrap_or_default())?;
        bytes += read as u64;
        if read < buffer.len() {
            target.sync()?;
            return Ok(bytes);
        }
    }
}

/// Links every file below a directory, the names synced but for its own.
fn link_tree(fs: &dyn Fs, from: &Path, to: &Path) -> Result<()> {
    fs.create_dir_all(to)?;
    for entry in fs.list(from)? {
        let (from, to) = (from.join(&entry.name), to.join(&entry.name));
        if entry.is_dir { link_tree(fs, &from, &to)? } else { fs.hard_link(&from, &to)? }
    }
    fs.sync_dir(to)
}

/// Whether two directories hold files of the same names and lengths.
fn same_files(fs: &dyn Fs, one: &Path, other: &Path) -> Result<bool> {
    if fs.file_bytes(one)?.is_none() {
        return Ok(false);
    }
    let (ours, theirs) = (fs.list(one)?, fs.list(other)?);
    if ours != theirs {
        return Ok(false);
    }
    for entry in ours {
        let (one, other) = (one.join(&entry.name), other.join(&entry.name));
        let same = if entry.is_dir {
            same_files(fs, &one, &other)?
        } else {
            fs.file_bytes(&one)? == fs.file_bytes(&other)?
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether links are what cannot be had here: another file system, or one without them.
fn cannot_link(error: &Error) -> bool {
    let Error::Io { source, .. } = error else { return false };
    matches!(
        source.kind(),
        ErrorKind::CrossesDevices
            | ErrorKind::Unsupported
            | ErrorKind::PermissionDenied
            | ErrorKind::TooManyLinks
    )
}
