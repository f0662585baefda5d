//! The sled store: the only file that names sled, and where its weaknesses are kept from hurting.
//!
//! - It is filled once: each tree by one batch, so that no value is written twice, and a value is
//!   found through the tree whose first key is the last one not above it.
//! - sled's `flush` is no sync, and it never syncs its blob files: the seam syncs every file.
//! - Recovery repairs by cutting, zeroing and deleting. So it runs once, before the store is
//!   sealed, and the *seal* (lengths of all files, checksums of the small ones) is checked before
//!   every later open: sled only ever sees bytes that it has already settled, finds nothing to do
//!   and writes nothing.
//! - sled panics on damage: every call into it is guarded, closing included.
//! - Closing after a failed write (a full disk) it waits for ever for what it could not write: such
//!   a database is left open instead, its small cache and its threads with it. The engine takes no
//!   writes after that, so there is one at the most.
//! - It opens its log for writing and locks it. Where that is refused (a read-only file system,
//!   a second reader) it is given a private mirror: copies of the three small files, links to the
//!   blobs; the mirror goes with the store.

use std::collections::BTreeMap;
use std::fmt;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sled::{Batch, Config, Db, Mode, Tree};

use super::{PartStore, StoreKind, Writer, failed, guarded};
use crate::codec::bytes::{Reader, read_frame, write_frame, write_varint};
use crate::error::{DecodeError, Error, Result};
use crate::fs::{Fs, read_file};
use crate::segment::SharedBytes;

/// Bytes of a segment of sled's log, allocated whole: the fixed cost of a part on disk is one or
/// two. Values above a quarter go to blob files, of any length, so small segments cost nothing.
const SEGMENT_BYTES: usize = 8 << 10;
/// A tree is closed at so many values; sled rewrites a leaf after about ten links to it.
const TREE_VALUES_MAX: usize = 8;
/// A tree is closed at so many bytes: reading one value reads its whole tree.
const TREE_BYTES_MAX: usize = 1 << 20;
/// sled's page cache. Segments are cached above, and sled keeps no promise about it anyway.
const CACHE_BYTES: u64 = 64 << 10;
/// How often, and how long apart, the lock is asked for again while threads of sled's own still
/// hold the log that was just closed.
const LOCK_TRIES: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// What a message of sled's log takes beside key and value, about: header, key, lengths.
const MESSAGE_BYTES: usize = 21;
/// Longest padding value: it must stay in the log, so below a quarter of a segment.
const PADDING_BYTES_MAX: usize = SEGMENT_BYTES / 4 - 128;
/// Padding meets the end of a segment at the first attempt, at the second where sled's lengths
/// were a few bytes off. After the last the part is sound all the same, only slower to open.
const PADDING_ROUNDS: usize = 4;

const SEAL_NAME: &str = "seal";
const SEAL_BYTES_MAX: usize = 16 << 20;
const SEAL_MAGIC: [u8; 4] = *b"ICSL";
const SEAL_VERSION: u8 = 1;
const BLOBS: &str = "blobs";
/// Files up to this length are sealed by checksum too: all but blobs, which carry their own.
const CHECKSUM_BYTES_MAX: usize = 16 << 20;

fn fail(operation: &'static str, dir: &Path) -> impl Fn(sled::Error) -> Error {
    let dir = dir.to_owned();
    move |error| failed(StoreKind::Sled, operation, &dir, error)
}

fn config(dir: &Path) -> Config {
    Config::default()
        .path(dir)
        .segment_size(SEGMENT_BYTES)
        .flush_every_ms(None)
        .cache_capacity(CACHE_BYTES)
        .mode(Mode::LowSpace)
}

/// Writes a sled store.
pub(super) struct SledWriter {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    /// Closed only when everything was written.
    db: ManuallyDrop<Db>,
    batch: Batch,
    batch_first: u64,
    batch_values: usize,
    batch_bytes: usize,
}

impl SledWriter {
    pub(super) fn new(fs: Arc<dyn Fs>, dir: &Path) -> Result<Self> {
        let db = guarded(StoreKind::Sled, "create", dir, || {
            config(dir).create_new(true).open().map_err(fail("create", dir))
        })?;
        let (dir, db, batch) = (dir.to_owned(), ManuallyDrop::new(db), Batch::default());
        Ok(Self { fs, dir, db, batch, batch_first: 0, batch_values: 0, batch_bytes: 0 })
    }

    fn write_tree(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        if std::mem::take(&mut self.batch_values) == 0 {
            return Ok(());
        }
        self.batch_bytes = 0;
        let name = self.batch_first.to_be_bytes();
        let tree = self.db.open_tree(name).map_err(fail("write", &self.dir))?;
        tree.apply_batch(batch).map_err(fail("write", &self.dir))
    }
}

impl Writer for SledWriter {
    fn put(&mut self, key: u64, value: &[u8]) -> Result<()> {
        let full = self.batch_bytes + value.len() > TREE_BYTES_MAX;
        if full || self.batch_values == TREE_VALUES_MAX {
            self.write_tree()?;
        }
        if self.batch_values == 0 {
            self.batch_first = key;
        }
        self.batch.insert(&key.to_be_bytes(), value);
        self.batch_values += 1;
        self.batch_bytes += value.len();
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.write_tree()?;
        self.db.flush().map_err(fail("flush", &self.dir))?;
        let Self { fs, dir, db, .. } = *self;
        drop(ManuallyDrop::into_inner(db));
        settle(&dir)?;
        write_seal(fs.as_ref(), &dir)
    }
}

/// Lets sled recover what it just wrote, and pads its log to the end of a segment, so that no
/// later open has anything left to do.
///
/// A log that ends within a segment costs every open: its messages are read again, blobs and all
/// (a hundred links to half-megabyte blobs made opening a 50 MB part read all of it), and the rest
/// of the segment is zeroed and synced.
fn settle(dir: &Path) -> Result<()> {
    for round in 0..PADDING_ROUNDS {
        let db = ManuallyDrop::new(reopen(dir)?);
        let used = log_end(dir)? % SEGMENT_BYTES;
        if used == 0 {
            drop(ManuallyDrop::into_inner(db));
            break;
        }
        let left = SEGMENT_BYTES - used;
        let count = left.div_ceil(PADDING_BYTES_MAX);
        for number in 0..count {
            let mut bytes = (left / count).saturating_sub(MESSAGE_BYTES);
            if number + 1 == count {
                // Ending a little early is ending: no message fits into the rest.
                bytes = bytes.saturating_sub(MESSAGE_BYTES);
            }
            let key = ((round * SEGMENT_BYTES + number) as u64).to_be_bytes();
            db.insert(key, vec![0; bytes]).map_err(fail("settle", dir))?;
        }
        db.flush().map_err(fail("settle", dir))?;
        drop(ManuallyDrop::into_inner(db));
    }
    Ok(())
}

/// Opens a database that was closed a moment ago.
fn reopen(dir: &Path) -> Result<Db> {
    let mut tries = 0;
    loop {
        match config(dir).open() {
            Ok(db) => return Ok(db),
            Err(sled::Error::Io(_)) if tries < LOCK_TRIES => {
                tries += 1;
                std::thread::sleep(LOCK_PAUSE);
            }
            Err(error) => return Err(fail("settle", dir)(error)),
        }
    }
}

/// Where sled's log ends: it names its snapshot so. 0 for an empty log, which has none.
fn log_end(dir: &Path) -> Result<usize> {
    for entry in std::fs::read_dir(dir).map_err(|source| Error::io("list", dir, source))? {
        let name = entry.map_err(|source| Error::io("list", dir, source))?.file_name();
        let digits = name.to_str().and_then(|name| name.strip_prefix("snap."));
        if let Some(end) = digits.and_then(|digits| usize::from_str_radix(digits, 16).ok()) {
            return Ok(end);
        }
    }
    Ok(0)
}

/// A sealed file: path below the store's directory, length, checksum (0 for a blob).
type SealedFile = (String, u64, u32);

fn sealed_files(fs: &dyn Fs, dir: &Path) -> Result<Vec<SealedFile>> {
    let mut files = Vec::new();
    for entry in fs.list(dir)? {
        let name = entry.name.to_string_lossy().into_owned();
        let path = dir.join(&entry.name);
        if entry.is_dir {
            for blob in fs.list(&path)? {
                let bytes = fs.file_bytes(&path.join(&blob.name))?.unwrap_or(0);
                files.push((format!("{name}/{}", blob.name.to_string_lossy()), bytes, 0));
            }
        } else if name != SEAL_NAME {
            let content = read_file(fs, &path, CHECKSUM_BYTES_MAX)?;
            files.push((name, content.len() as u64, crc32fast::hash(&content)));
        }
    }
    Ok(files)
}

fn write_seal(fs: &dyn Fs, dir: &Path) -> Result<()> {
    let files = sealed_files(fs, dir)?;
    let mut body = Vec::new();
    write_varint(&mut body, files.len() as u64);
    for (name, bytes, sum) in &files {
        write_varint(&mut body, name.len() as u64);
        body.extend_from_slice(name.as_bytes());
        write_varint(&mut body, *bytes);
        body.extend_from_slice(&sum.to_le_bytes());
    }
    let mut seal = Vec::new();
    write_frame(&mut seal, SEAL_MAGIC, SEAL_VERSION, &body);
    fs.create_new(&dir.join(SEAL_NAME))?.write_all(&seal)
}

fn decode_seal(bytes: &[u8]) -> Result<Vec<SealedFile>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let (_, body) = read_frame(&mut reader, "sled seal", SEAL_MAGIC, SEAL_VERSION)?;
    reader.finish("sled seal")?;
    let mut reader = Reader::new(body);
    // A file takes six bytes or more.
    let count = reader.length("files of a seal", reader.remaining() / 6)?;
    let mut files = Vec::with_capacity(count);
    for _ in 0..count {
        let length = reader.length("file name of a seal", reader.remaining())?;
        let name = String::from_utf8_lossy(reader.bytes(length)?).into_owned();
        files.push((name, reader.varint()?, reader.u32()?));
    }
    reader.finish("sled seal")?;
    Ok(files)
}

/// Compares the directory with its seal, before sled gets to see (and repair) any of it.
fn check_seal(fs: &dyn Fs, dir: &Path) -> Result<()> {
    let path = dir.join(SEAL_NAME);
    let bytes = read_file(fs, &path, SEAL_BYTES_MAX)?;
    let sealed = decode_seal(&bytes).map_err(|source| Error::corrupt(&path, 0, source))?;
    let mut found: BTreeMap<_, _> =
        sealed_files(fs, dir)?.into_iter().map(|(name, bytes, sum)| (name, (bytes, sum))).collect();
    for (name, bytes, sum) in sealed {
        let path = dir.join(&name);
        let (bytes_found, sum_found) = found.remove(&name).unwrap_or_default();
        let source = if bytes != bytes_found {
            let expected = "the length it was sealed with";
            DecodeError::Invalid { what: "file length", found: bytes_found, expected }
        } else if sum != sum_found {
            DecodeError::Checksum { expected: sum_found, found: sum }
        } else {
            continue;
        };
        return Err(Error::corrupt(path, 0, source));
    }
    match found.into_iter().next() {
        None => Ok(()),
        Some((name, (bytes, _))) => {
            let expected = "no file that was not sealed";
            let source = DecodeError::Invalid { what: "file length", found: bytes, expected };
            Err(Error::corrupt(dir.join(name), 0, source))
        }
    }
}

/// A private directory that sled may write: small files copied, blobs linked. Removed on drop.
struct Mirror(PathBuf);

impl Mirror {
    fn of(dir: &Path) -> std::io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let dir = std::path::absolute(dir)?;
        let mirror = loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("icecore-mirror-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            match std::fs::create_dir(&path) {
                Ok(()) => break Self(path),
                // Left by a dead process that had the same number.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        };
        for entry in std::fs::read_dir(&dir)? {
            let entry = entry?;
            if entry.file_type()?.is_file() && entry.file_name() != SEAL_NAME {
                // The bytes only: a read-only file's mode must not come along.
                std::fs::write(mirror.0.join(entry.file_name()), std::fs::read(entry.path())?)?;
            }
        }
        let blobs = mirror.0.join(BLOBS);
        std::fs::create_dir(&blobs)?;
        for entry in std::fs::read_dir(dir.join(BLOBS))? {
            let entry = entry?;
            std::os::unix::fs::symlink(entry.path(), blobs.join(entry.file_name()))?;
        }
        Ok(mirror)
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        // What cannot be removed stays in the system's temporary directory, which is cleaned.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A sled store open for reading.
pub(super) struct SledStore {
    dir: PathBuf,
    /// `None` only while closing.
    open: Option<(BTreeMap<u64, Tree>, Db)>,
    _mirror: Option<Mirror>,
}

impl fmt::Debug for SledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledStore").field("dir", &self.dir).finish()
    }
}

impl SledStore {
    pub(super) fn open(fs: &dyn Fs, dir: &Path) -> Result<Self> {
        check_seal(fs, dir)?;
        let (db, mirror) = guarded(StoreKind::Sled, "open", dir, || match config(dir).open() {
            Ok(db) => Ok((db, None)),
            // A file system that takes no writes, or another reader that holds sled's lock.
            Err(sled::Error::Io(_)) => {
                let mirror = Mirror::of(dir).map_err(|source| Error::io("mirror", dir, source))?;
                let db = config(&mirror.0).open().map_err(fail("open", dir))?;
                Ok((db, Some(mirror)))
            }
            Err(error) => Err(fail("open", dir)(error)),
        })?;
        let mut store = Self { dir: dir.to_owned(), open: None, _mirror: mirror };
        let trees = guarded(StoreKind::Sled, "open", dir, || {
            let names = db.tree_names().into_iter();
            let firsts = names.filter_map(|name| name.as_ref().try_into().ok());
            firsts
                .map(|name: [u8; 8]| {
                    let tree = db.open_tree(name).map_err(fail("open", dir))?;
                    Ok((u64::from_be_bytes(name), tree))
                })
                .collect::<Result<_>>()
        })?;
        store.open = Some((trees, db));
        Ok(store)
    }

    fn trees(&self) -> Result<&BTreeMap<u64, Tree>> {
        let closed = || failed(StoreKind::Sled, "read", &self.dir, "it is closed");
        self.open.as_ref().map(|(trees, _)| trees).ok_or_else(closed)
    }
}

impl PartStore for SledStore {
    fn get(&self, key: u64) -> Result<Option<SharedBytes>> {
        let Some((_, tree)) = self.trees()?.range(..=key).next_back() else { return Ok(None) };
        guarded(StoreKind::Sled, "read", &self.dir, || {
            let value = tree.get(key.to_be_bytes()).map_err(fail("read", &self.dir))?;
            Ok(value.map(SharedBytes::new))
        })
    }

    fn count(&self) -> Result<u64> {
        let mut count = 0;
        for tree in self.trees()?.values() {
            // `Tree::len` panics where a page does not read.
            guarded(StoreKind::Sled, "read", &self.dir, || {
                for key in tree.iter().keys() {
                    key.map_err(fail("read", &self.dir))?;
                    count += 1;
                }
                Ok(())
            })?;
        }
        Ok(count)
    }

    fn scan(&self, visit: &mut dyn FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        for tree in self.trees()?.values() {
            guarded(StoreKind::Sled, "scan", &self.dir, || {
                for pair in tree {
                    let (key, value) = pair.map_err(fail("scan", &self.dir))?;
                    let key = key.first_chunk().copied().map_or(0, u64::from_be_bytes);
                    visit(key, &value)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        // sled unwraps a sync while it closes; nothing was written, so nothing can be lost.
        let open = self.open.take();
        let _ = guarded(StoreKind::Sled, "close", &self.dir, || {
            drop(open);
            Ok(())
        });
    }
}
