//! The redb store: one table in one file, filled by one transaction, compacted, opened read-only.
//!
//! redb answers some flipped bits with wrong values, so every value carries our own checksum.

use std::fmt;
use std::path::{Path, PathBuf};

use redb::{
    Builder, Database, ReadOnlyDatabase, ReadOnlyTable, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, TableDefinition,
};

use super::{PartStore, StoreKind, Writer, failed, guarded};
use crate::error::{DecodeError, Error, Result};
use crate::segment::SharedBytes;

/// Key → checksum and bytes.
const VALUES: TableDefinition<'static, u64, (u32, &[u8])> = TableDefinition::new("values");
const FILE_NAME: &str = "values.redb";
/// redb's own page cache. Segments are cached above, and a value is read once.
const CACHE_BYTES: usize = 1 << 20;
/// Values go in by transactions of about this size, which bounds what redb holds in memory.
const TRANSACTION_BYTES: usize = 16 << 20;

fn fail<E: fmt::Display>(operation: &'static str, path: &Path) -> impl Fn(E) -> Error {
    let path = path.to_owned();
    move |error| failed(StoreKind::Redb, operation, &path, error)
}

/// Writes a redb store.
pub(super) struct RedbWriter {
    database: Database,
    path: PathBuf,
    waiting: Vec<(u64, Vec<u8>)>,
    waiting_bytes: usize,
}

impl RedbWriter {
    pub(super) fn new(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE_NAME);
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES);
        let database = builder.create(&path).map_err(fail("create", &path))?;
        let mut writer = Self { database, path, waiting: Vec::new(), waiting_bytes: 0 };
        writer.write_waiting()?;
        Ok(writer)
    }

    /// One transaction; with nothing waiting it only creates the table.
    fn write_waiting(&mut self) -> Result<()> {
        let path = &self.path;
        let transaction = self.database.begin_write().map_err(fail("write", path))?;
        {
            let mut table = transaction.open_table(VALUES).map_err(fail("write", path))?;
            for (key, value) in self.waiting.drain(..) {
                let row = (crc32fast::hash(&value), value.as_slice());
                table.insert(key, row).map_err(fail("write", path))?;
            }
        }
        self.waiting_bytes = 0;
        transaction.commit().map_err(fail("commit", path))
    }
}

impl Writer for RedbWriter {
    fn put(&mut self, key: u64, value: &[u8]) -> Result<()> {
        self.waiting.push((key, value.to_vec()));
        self.waiting_bytes += value.len();
        if self.waiting_bytes < TRANSACTION_BYTES { Ok(()) } else { self.write_waiting() }
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.write_waiting()?;
        self.database.compact().map(drop).map_err(fail("compact", &self.path))
    }
}

/// A redb store open for reading.
pub(super) struct RedbStore {
    table: ReadOnlyTable<u64, (u32, &'static [u8])>,
    /// Held so that the file stays open and locked against writers.
    _database: ReadOnlyDatabase,
    path: PathBuf,
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStore").field("path", &self.path).finish()
    }
}

impl RedbStore {
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE_NAME);
        guarded(StoreKind::Redb, "open", dir, || {
            let mut builder = Builder::new();
            builder.set_cache_size(CACHE_BYTES);
            let database = builder.open_read_only(&path).map_err(fail("open", &path))?;
            let transaction = database.begin_read().map_err(fail("open", &path))?;
            let table = transaction.open_table(VALUES).map_err(fail("open", &path))?;
            Ok(Self { table, _database: database, path: path.clone() })
        })
    }

    fn checked<'a>(&self, (found, bytes): (u32, &'a [u8])) -> Result<&'a [u8]> {
        let expected = crc32fast::hash(bytes);
        if expected != found {
            let source = DecodeError::Checksum { expected, found };
            return Err(Error::corrupt(&self.path, 0, source));
        }
        Ok(bytes)
    }
}

impl PartStore for RedbStore {
    fn get(&self, key: u64) -> Result<Option<SharedBytes>> {
        guarded(StoreKind::Redb, "read", &self.path, || {
            let row = self.table.get(key).map_err(fail("read", &self.path))?;
            row.map(|row| Ok(self.checked(row.value())?.to_vec().into())).transpose()
        })
    }

    fn count(&self) -> Result<u64> {
        guarded(StoreKind::Redb, "read", &self.path, || {
            self.table.len().map_err(fail("read", &self.path))
        })
    }

    fn scan(&self, visit: &mut dyn FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        let read = || fail("read", &self.path);
        guarded(StoreKind::Redb, "scan", &self.path, || {
            for row in self.table.iter().map_err(fail("read", &self.path))? {
                let (key, value) = row.map_err(read())?;
                visit(key.value(), self.checked(value.value())?)?;
            }
            Ok(())
        })
    }
}
