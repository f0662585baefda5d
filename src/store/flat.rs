//! The flat store: one file of values, an index block behind them, checksums over both.
//!
//! The simple one: it lives wholly on [`Fs`], so crash tests can host it on a simulated file
//! system, and it is the yardstick for the databases. The bytes stand in `docs/format/part.md`.

use std::fmt;
use std::path::{Path, PathBuf};

use super::{PartStore, VALUE_BYTES_MAX, Writer};
use crate::error::{DecodeError, Error, Result};
use crate::fs::{Fs, FsFile};
use crate::segment::SharedBytes;

const FILE_NAME: &str = "values";
const MAGIC: [u8; 7] = *b"iceflat";
const VERSION: u8 = 1;
const HEADER_BYTES: u64 = 8;
const ENTRY_BYTES: usize = 24;
const FOOTER_BYTES: usize = 24;

/// Where a value lies, and its checksum.
#[derive(Clone, Copy)]
struct Entry {
    key: u64,
    offset: u64,
    bytes: u32,
    checksum: u32,
}

impl Entry {
    fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.key.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.extend_from_slice(&self.checksum.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Self {
        Self {
            key: u64_at(bytes, 0),
            offset: u64_at(bytes, 8),
            bytes: u32_at(bytes, 16),
            checksum: u32_at(bytes, 20),
        }
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().map_or(0, u64::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().map_or(0, u32::from_le_bytes)
}

/// Writes a flat store.
pub(super) struct FlatWriter {
    file: Box<dyn FsFile>,
    offset: u64,
    index: Vec<Entry>,
}

impl FlatWriter {
    pub(super) fn new(fs: &dyn Fs, dir: &Path) -> Result<Self> {
        let mut file = fs.create_new(&dir.join(FILE_NAME))?;
        let mut header = MAGIC.to_vec();
        header.push(VERSION);
        file.write_all(&header)?;
        Ok(Self { file, offset: HEADER_BYTES, index: Vec::new() })
    }
}

impl Writer for FlatWriter {
    fn put(&mut self, key: u64, value: &[u8]) -> Result<()> {
        self.file.write_all(value)?;
        let bytes = u32::try_from(value.len()).unwrap_or(u32::MAX);
        let checksum = crc32fast::hash(value);
        self.index.push(Entry { key, offset: self.offset, bytes, checksum });
        self.offset += value.len() as u64;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let mut tail = Vec::with_capacity(self.index.len() * ENTRY_BYTES + FOOTER_BYTES);
        for entry in &self.index {
            entry.encode(&mut tail);
        }
        tail.extend_from_slice(&self.offset.to_le_bytes());
        tail.extend_from_slice(&(self.index.len() as u32).to_le_bytes());
        tail.extend_from_slice(&crc32fast::hash(&tail).to_le_bytes());
        tail.extend_from_slice(&MAGIC);
        tail.push(VERSION);
        self.file.write_all(&tail)
    }
}

/// A flat store open for reading: its index in memory, its file open.
pub(super) struct FlatStore {
    file: Box<dyn FsFile>,
    path: PathBuf,
    index: Vec<Entry>,
}

impl fmt::Debug for FlatStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlatStore").field("path", &self.path).finish()
    }
}

impl FlatStore {
    pub(super) fn open(fs: &dyn Fs, dir: &Path) -> Result<Self> {
        let path = dir.join(FILE_NAME);
        let file = fs.open_read(&path)?;
        let file_bytes = file.len()?;
        let corrupt = |offset, source| Error::corrupt(&path, offset, source);

        let least = HEADER_BYTES + FOOTER_BYTES as u64;
        if file_bytes < least {
            let source = DecodeError::Truncated {
                needed: (least - file_bytes) as usize,
                available: file_bytes as usize,
            };
            return Err(corrupt(0, source));
        }
        let mut header = [0; HEADER_BYTES as usize];
        file.read_at(0, &mut header)?;
        check_magic(&header).map_err(|source| corrupt(0, source))?;

        let footer_at = file_bytes - FOOTER_BYTES as u64;
        let mut footer = [0; FOOTER_BYTES];
        file.read_at(footer_at, &mut footer)?;
        let (sums, magic) = footer.split_at(16);
        check_magic(magic).map_err(|source| corrupt(footer_at, source))?;
        let (index_at, count) = (u64_at(sums, 0), u32_at(sums, 8));
        let index_bytes = u64::from(count) * ENTRY_BYTES as u64;
        if index_at < HEADER_BYTES || index_at.checked_add(index_bytes) != Some(footer_at) {
            let expected = "the index between values and footer";
            let source = DecodeError::Invalid { what: "index offset", found: index_at, expected };
            return Err(corrupt(footer_at, source));
        }

        let mut block = vec![0; index_bytes as usize];
        file.read_at(index_at, &mut block)?;
        block.extend_from_slice(sums.get(..12).unwrap_or_default());
        let (expected, found) = (crc32fast::hash(&block), u32_at(sums, 12));
        if expected != found {
            return Err(corrupt(index_at, DecodeError::Checksum { expected, found }));
        }
        block.truncate(index_bytes as usize);
        let index: Vec<Entry> = block.chunks_exact(ENTRY_BYTES).map(Entry::decode).collect();
        check_index(&index, index_at).map_err(|source| corrupt(index_at, source))?;
        Ok(Self { file, path, index })
    }

    fn read(&self, entry: Entry) -> Result<Vec<u8>> {
        let corrupt = |source| Error::corrupt(&self.path, entry.offset, source);
        let length = entry.bytes as usize;
        if length > VALUE_BYTES_MAX {
            let found = u64::from(entry.bytes);
            let expected = "at most 256 MiB";
            return Err(corrupt(DecodeError::Invalid { what: "value length", found, expected }));
        }
        let mut value = vec![0; length];
        let available = self.file.read_at(entry.offset, &mut value)?;
        if available < length {
            return Err(corrupt(DecodeError::Truncated { needed: length - available, available }));
        }
        let expected = crc32fast::hash(&value);
        if expected != entry.checksum {
            return Err(corrupt(DecodeError::Checksum { expected, found: entry.checksum }));
        }
        Ok(value)
    }
}

/// Whether the keys ascend and the values fill the file up to the index: what a search and a read
/// rely on, and what bounds the memory of a read by the file's length.
fn check_index(index: &[Entry], index_at: u64) -> Result<(), DecodeError> {
    let (mut least, mut end) = (Some(0), HEADER_BYTES);
    for (at, entry) in (0..).zip(index) {
        if least.is_none_or(|least| entry.key < least) || entry.offset != end {
            let expected = "keys ascending, values one behind the other";
            return Err(DecodeError::Invalid { what: "index entry", found: at, expected });
        }
        (least, end) = (entry.key.checked_add(1), end.saturating_add(entry.bytes.into()));
    }
    if end == index_at {
        return Ok(());
    }
    let expected = "where the last value ends";
    Err(DecodeError::Invalid { what: "index offset", found: index_at, expected })
}

fn check_magic(bytes: &[u8]) -> Result<(), DecodeError> {
    match bytes.split_last() {
        Some((&found, magic)) if magic == MAGIC => {
            if found == VERSION {
                return Ok(());
            }
            Err(DecodeError::Version { what: "flat store", found, supported: VERSION })
        }
        _ => {
            let found = u64_at(bytes, 0);
            Err(DecodeError::Invalid { what: "flat store magic", found, expected: "`iceflat`" })
        }
    }
}

impl PartStore for FlatStore {
    fn get(&self, key: u64) -> Result<Option<SharedBytes>> {
        let found = self.index.binary_search_by_key(&key, |entry| entry.key).ok();
        found
            .and_then(|at| self.index.get(at))
            .map(|&entry| self.read(entry).map(Into::into))
            .transpose()
    }

    fn count(&self) -> Result<u64> {
        Ok(self.index.len() as u64)
    }

    fn scan(&self, visit: &mut dyn FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        self.index.iter().try_for_each(|&entry| visit(entry.key, &self.read(entry)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::RealFs;

    fn open(entries: &[Entry]) -> Result<FlatStore> {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = FlatWriter::new(&RealFs, dir.path()).unwrap();
        writer.put(3, b"three").unwrap();
        writer.put(u64::MAX, b"last").unwrap();
        writer.index = entries.to_vec();
        Box::new(writer).finish().unwrap();
        FlatStore::open(&RealFs, dir.path())
    }

    fn entries() -> [Entry; 2] {
        let entry = |key, offset, value: &[u8]| Entry {
            key,
            offset,
            bytes: value.len() as u32,
            checksum: crc32fast::hash(value),
        };
        [entry(3, 8, b"three"), entry(u64::MAX, 13, b"last")]
    }

    /// Found by fuzzing: an index whose keys do not ascend opened, and `get` then said of keys
    /// that `scan` showed that there is no such value.
    #[test]
    fn an_index_under_a_right_checksum_is_still_checked() {
        let sound = entries();
        assert_eq!(open(&sound).unwrap().get(u64::MAX).unwrap().unwrap().as_ref(), b"last");
        let [first, last] = sound;
        for (what, broken) in [
            ("descending", Entry { key: 2, ..last }),
            ("repeated", Entry { key: 3, ..last }),
            ("a gap", Entry { offset: last.offset + 1, ..last }),
            ("beyond the values", Entry { bytes: 1 << 27, ..last }),
            ("values short of the index", Entry { bytes: last.bytes - 1, ..last }),
        ] {
            assert!(matches!(open(&[first, broken]), Err(Error::Corrupt { .. })), "{what}");
        }
    }
}
