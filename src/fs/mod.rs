//! The file seam: every byte the log, the catalog and the part directories put on a disk goes
//! through [`Fs`].
//!
//! Owns: the trait, the implementation over the operating system ([`RealFs`]), and the two walks
//! built from the trait alone. Does not own: file formats, or retries (there are none: a failed
//! sync may have dropped the dirty pages, so asking again proves nothing).
//!
//! The trait is public because tests and hosts bring their own. What an implementation promises:
//! - bytes written survive a power cut once [`FsFile::sync`] on their file returned;
//! - names created, renamed or removed survive one once [`Fs::sync_dir`] on their directory
//!   returned; before that each such change may or may not have happened, independently;
//! - a rename replaces its target atomically, at a power cut too.
//!
//! Nothing more is assumed: not the order of unsynced writes, not that an append which was cut
//! leaves a prefix (it may leave zeros or old bytes).

mod real;

use std::ffi::OsString;
use std::fmt;
use std::path::Path;

pub use real::RealFs;

use crate::error::{Error, Result};

/// A file system, as narrow as the engine needs it.
///
/// Every error is an [`Error::Io`] that names operation and path, but for [`Fs::lock`].
pub trait Fs: Send + Sync + fmt::Debug {
    /// Creates an empty file, open for appending and reading. The name is durable only after
    /// [`sync_dir`](Self::sync_dir) on its directory.
    ///
    /// # Errors
    /// Where the file exists, or the system refuses.
    fn create_new(&self, path: &Path) -> Result<Box<dyn FsFile>>;

    /// Opens an existing file for appending and reading.
    ///
    /// # Errors
    /// Where it does not exist, or the system refuses.
    fn open_append(&self, path: &Path) -> Result<Box<dyn FsFile>>;

    /// Opens an existing file for reading; [`FsFile::sync`] works on it, writing does not.
    ///
    /// # Errors
    /// Where it does not exist, or the system refuses.
    fn open_read(&self, path: &Path) -> Result<Box<dyn FsFile>>;

    /// The file's length in bytes, `None` where there is no such file or directory.
    ///
    /// # Errors
    /// Where the system refuses for any other reason.
    fn file_bytes(&self, path: &Path) -> Result<Option<u64>>;

    /// Moves a file or directory, atomically replacing a file at the target.
    ///
    /// # Errors
    /// Where the system refuses.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;

    /// Gives a file a second name, `to`, on the same file system: both then share its bytes. A file
    /// system need not have links.
    ///
    /// # Errors
    /// Where `to` exists, or the system refuses; of kind `Unsupported` where there are no links.
    fn hard_link(&self, from: &Path, to: &Path) -> Result<()> {
        let _ = to;
        Err(Error::io("link", from, std::io::ErrorKind::Unsupported.into()))
    }

    /// Removes a file.
    ///
    /// # Errors
    /// Where it does not exist, or the system refuses.
    fn remove_file(&self, path: &Path) -> Result<()>;

    /// Removes a directory and all it holds.
    ///
    /// # Errors
    /// Where it does not exist, or the system refuses.
    fn remove_dir_all(&self, path: &Path) -> Result<()>;

    /// Creates a directory and its missing parents; does nothing where it exists.
    ///
    /// # Errors
    /// Where the system refuses.
    fn create_dir_all(&self, path: &Path) -> Result<()>;

    /// What a directory holds, ascending by name.
    ///
    /// # Errors
    /// Where it does not exist, or the system refuses.
    fn list(&self, path: &Path) -> Result<Vec<DirEntry>>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// Where the system refuses; never to be retried.
    fn sync_dir(&self, path: &Path) -> Result<()>;

    /// Takes an advisory lock on a file, held until the value is dropped. An exclusive lock
    /// creates the file where it is missing; a shared one opens it for reading only, so that it
    /// works in a directory that cannot be written.
    ///
    /// # Errors
    /// [`Error::Locked`] with the file's *directory* where another holder is in the way, in this
    /// process or another; [`Error::Io`] otherwise.
    fn lock(&self, path: &Path, mode: LockMode) -> Result<Box<dyn FsLock>>;

    /// Bytes that an unprivileged process can still write on the file system that holds `path`.
    ///
    /// # Errors
    /// Where the system refuses.
    fn free_bytes(&self, path: &Path) -> Result<u64>;
}

/// An open file. Writing appends at the end, always.
pub trait FsFile: Send + Sync + fmt::Debug {
    /// Appends all bytes. After an error any part of them may have reached the file.
    ///
    /// # Errors
    /// Where the system refuses, or takes only a part.
    fn write_all(&mut self, bytes: &[u8]) -> Result<()>;

    /// Makes all bytes of the file, and its length, durable.
    ///
    /// # Errors
    /// Where the system refuses; never to be retried.
    fn sync(&mut self) -> Result<()>;

    /// The file's length, bytes.
    ///
    /// # Errors
    /// Where the system refuses.
    fn len(&self) -> Result<u64>;

    /// Whether the file holds nothing.
    ///
    /// # Errors
    /// Where the system refuses.
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts the file to `bytes`, or extends it with zeros.
    ///
    /// # Errors
    /// Where the system refuses.
    fn set_len(&mut self, bytes: u64) -> Result<()>;

    /// Fills as much of `buffer` from `offset` as the file holds, and returns how many bytes that
    /// is: fewer than `buffer.len()` only at the end of the file.
    ///
    /// # Errors
    /// Where the system refuses.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize>;
}

/// A lock that is held until it is dropped.
pub trait FsLock: Send + Sync + fmt::Debug {}

/// Who else may hold a lock at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Nobody: an engine that writes.
    Exclusive,
    /// Other shared holders: engines that only read.
    Shared,
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The last component of the path.
    pub name: OsString,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// Reads a whole file of at most `bytes_max`; the allocation is bounded by the file's length.
///
/// # Errors
/// [`Error::Io`] where it cannot be read, or is longer (kind `FileTooLarge`).
pub fn read_file(fs: &dyn Fs, path: &Path, bytes_max: usize) -> Result<Vec<u8>> {
    let file = fs.open_read(path)?;
    let bytes = usize::try_from(file.len()?).unwrap_or(usize::MAX);
    if bytes > bytes_max {
        return Err(Error::io("read", path, std::io::ErrorKind::FileTooLarge.into()));
    }
    let mut content = vec![0; bytes];
    let read = file.read_at(0, &mut content)?;
    content.truncate(read);
    Ok(content)
}

/// Syncs every file and directory below `dir`, children before their directory, and `dir` itself;
/// not the parent that holds `dir`'s name. For directories that a foreign store wrote.
///
/// # Errors
/// The first failure, as an [`Error::Io`].
pub fn sync_tree(fs: &dyn Fs, dir: &Path) -> Result<()> {
    for entry in fs.list(dir)? {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            sync_tree(fs, &path)?;
        } else {
            fs.open_read(&path)?.sync()?;
        }
    }
    fs.sync_dir(dir)
}

/// The length of all files below `dir`, bytes.
///
/// # Errors
/// [`Error::Io`] where a directory cannot be listed. A file that vanishes meanwhile counts zero.
pub fn tree_bytes(fs: &dyn Fs, dir: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in fs.list(dir)? {
        let path = dir.join(&entry.name);
        total +=
            if entry.is_dir { tree_bytes(fs, &path)? } else { fs.file_bytes(&path)?.unwrap_or(0) };
    }
    Ok(total)
}
