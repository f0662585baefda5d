//! The key-value seam under a part: values written once under ascending keys, sealed, read back.
//!
//! Owns: which implementations there are ([`StoreKind`]), what they promise ([`PartStore`]), and
//! one file each that keeps the promise: `sled` (the only file that names sled), `redb`, `flat`.
//! Does not own: what the values mean, the rename that publishes a directory, or caches (`part`).
//!
//! What every implementation promises:
//! - after [`Builder::finish`] every byte and name in the directory is synced; only the name of
//!   the directory itself is left to the caller;
//! - [`PartStore::get`] returns the bytes that were put, or an error, or `None`: never other
//!   bytes, whatever happened to the files (each keeps a checksum per value), and never a panic;
//! - opening and reading leave the directory's bytes as they are, and work where the directory
//!   cannot be written.

#[cfg(feature = "sled")]
mod sled;

#[cfg(feature = "redb")]
mod redb;

mod flat;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::fs::{Fs, sync_tree};
use crate::segment::SharedBytes;

/// Longest value, bytes: far above any segment, and within every store's own limit.
pub const VALUE_BYTES_MAX: usize = 256 << 20;

/// The implementation that wrote a part. The numbers are stored: they never change meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum StoreKind {
    /// A sled database.
    Sled = 1,
    /// A redb database.
    Redb = 2,
    /// One file of ours. It lives wholly on [`Fs`], so a simulated file system can host it.
    Flat = 3,
}

impl StoreKind {
    /// Every kind, whether this build holds it or not.
    pub const ALL: [Self; 3] = [Self::Sled, Self::Redb, Self::Flat];

    /// The kind of a stored number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// The name that errors, options and reports use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sled => "sled",
            Self::Redb => "redb",
            Self::Flat => "flat",
        }
    }

    /// Whether this build can write and read it.
    #[must_use]
    pub const fn is_built_in(self) -> bool {
        match self {
            Self::Sled => cfg!(feature = "sled"),
            Self::Redb => cfg!(feature = "redb"),
            Self::Flat => true,
        }
    }
}

impl Default for StoreKind {
    /// sled, or `flat` in a build without it.
    fn default() -> Self {
        if Self::Sled.is_built_in() { Self::Sled } else { Self::Flat }
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A store being written. Dropping it without [`Builder::finish`] leaves a directory that no one
/// may open.
pub struct Builder {
    writer: Box<dyn Writer>,
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    kind: StoreKind,
    last_key: Option<u64>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("kind", &self.kind).field("dir", &self.dir).finish()
    }
}

/// What an implementation does of a [`Builder`].
trait Writer: Send {
    /// Takes the next value; keys ascend strictly.
    fn put(&mut self, key: u64, value: &[u8]) -> Result<()>;

    /// Writes what is left and closes every file; the caller syncs them.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// A sealed store, open for reading by any number of threads.
pub trait PartStore: Send + Sync + fmt::Debug {
    /// The value put under `key`, checked against its checksum. sled hands out its own buffer,
    /// the others the one they read or copied it into.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Corrupt`] or [`Error::Io`] where it cannot be had whole.
    fn get(&self, key: u64) -> Result<Option<SharedBytes>>;

    /// How many values there are. May cost a walk over all keys.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn count(&self) -> Result<u64>;

    /// Hands every pair to `visit`, keys ascending, one value in memory at a time.
    ///
    /// # Errors
    /// As [`get`](Self::get), or the first error of `visit`.
    fn scan(&self, visit: &mut dyn FnMut(u64, &[u8]) -> Result<()>) -> Result<()>;
}

/// Starts a store of the given kind in `dir`, which is created and must hold nothing.
///
/// `fs` writes and syncs what is ours; sled and redb write their own files with the operating
/// system's calls, so those kinds want a real file system behind `fs`.
///
/// # Errors
/// [`Error::Io`] or [`Error::Store`]; a kind that this build does not hold is [`Error::Store`].
pub fn build(kind: StoreKind, fs: &Arc<dyn Fs>, dir: &Path) -> Result<Builder> {
    fs.create_dir_all(dir)?;
    let writer: Box<dyn Writer> = match kind {
        #[cfg(feature = "sled")]
        StoreKind::Sled => Box::new(sled::SledWriter::new(Arc::clone(fs), dir)?),
        #[cfg(feature = "redb")]
        StoreKind::Redb => Box::new(redb::RedbWriter::new(dir)?),
        StoreKind::Flat => Box::new(flat::FlatWriter::new(fs.as_ref(), dir)?),
        #[cfg(not(all(feature = "sled", feature = "redb")))]
        absent => return Err(not_built_in(absent, "build", dir)),
    };
    Ok(Builder { writer, fs: Arc::clone(fs), dir: dir.to_owned(), kind, last_key: None })
}

/// Opens a sealed store for reading.
///
/// # Errors
/// [`Error::Store`], [`Error::Corrupt`] or [`Error::Io`]; never a panic, and the directory is left
/// as it was.
pub fn open(kind: StoreKind, fs: &Arc<dyn Fs>, dir: &Path) -> Result<Box<dyn PartStore>> {
    Ok(match kind {
        #[cfg(feature = "sled")]
        StoreKind::Sled => Box::new(sled::SledStore::open(fs.as_ref(), dir)?),
        #[cfg(feature = "redb")]
        StoreKind::Redb => Box::new(redb::RedbStore::open(dir)?),
        StoreKind::Flat => Box::new(flat::FlatStore::open(fs.as_ref(), dir)?),
        #[cfg(not(all(feature = "sled", feature = "redb")))]
        absent => return Err(not_built_in(absent, "open", dir)),
    })
}

impl Builder {
    /// Adds a value under a key above all before it.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where the key does not ascend or the value is empty or longer
    /// than [`VALUE_BYTES_MAX`]; otherwise the store's failure, after which the build is lost.
    pub fn put(&mut self, key: u64, value: &[u8]) -> Result<()> {
        if self.last_key.is_some_and(|last| key <= last) {
            let reason = format!("{key} does not follow {:?}", self.last_key);
            return Err(Error::InvalidArgument { what: "store key", reason });
        }
        if value.is_empty() || value.len() > VALUE_BYTES_MAX {
            let reason = format!("{} bytes; 1 to {VALUE_BYTES_MAX} are allowed", value.len());
            return Err(Error::InvalidArgument { what: "store value", reason });
        }
        self.last_key = Some(key);
        guarded(self.kind, "write", &self.dir, || self.writer.put(key, value))
    }

    /// Seals the store: everything written, closed and synced, `dir` included; the name of `dir`
    /// in its parent is the caller's to sync.
    ///
    /// # Errors
    /// The store's or file system's failure.
    pub fn finish(self) -> Result<()> {
        let Self { writer, fs, dir, kind, .. } = self;
        guarded(kind, "finish", &dir, || writer.finish())?;
        sync_tree(fs.as_ref(), &dir)
    }
}

/// Runs foreign code; its panic becomes an [`Error::Store`]. Stores are dropped or refuse after
/// such a failure, so no broken state is read again.
fn guarded<T>(
    kind: StoreKind,
    operation: &'static str,
    dir: &Path,
    run: impl FnOnce() -> Result<T>,
) -> Result<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| {
        let said = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let said = said.or_else(|| payload.downcast_ref::<String>().cloned());
        let message = format!("it panicked: {}", said.unwrap_or_default());
        Err(failed(kind, operation, dir, message))
    })
}

fn failed(kind: StoreKind, operation: &'static str, dir: &Path, words: impl fmt::Display) -> Error {
    Error::Store { store: kind.name(), operation, path: dir.to_owned(), message: words.to_string() }
}

#[cfg(not(all(feature = "sled", feature = "redb")))]
fn not_built_in(kind: StoreKind, operation: &'static str, dir: &Path) -> Error {
    failed(kind, operation, dir, format!("this build lacks the feature `{kind}`"))
}
