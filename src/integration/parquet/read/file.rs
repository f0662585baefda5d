//! One archived file: its description, and its columns, checked against what the file says of them.

use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use parquet::basic::{Encoding, Type};
use parquet::column::page::{Page, PageReader};
use parquet::column::reader::{ColumnReaderImpl, get_column_reader, get_typed_column_reader};
use parquet::data_type::{ByteArray, ByteArrayType, DataType};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::file::statistics::Statistics;

use super::files::Found;
use crate::error::{DecodeError, Error, Result};
use crate::fs::Fs;
use crate::integration::parquet::digest::{
    CHECKSUMS, ColumnDigest, Feed, GroupDigest, READ_ROWS, Source, bounds, parse_checksums,
};
use crate::integration::parquet::sink::told;
use crate::time::{TimeRange, Timestamp};

/// Takes values of a column, and which of its rows have one.
type Visit<'a, T> = dyn FnMut(&[<T as DataType>::T], &[i16]) -> Result<()> + 'a;

/// A file's description. The file itself is opened for each column that is read: a scan of years
/// would else hold thousands open.
#[derive(Debug)]
pub struct ArchivedFile {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    described: ParquetMetaData,
    /// None of a file from before there were any.
    sums: Option<Vec<GroupDigest>>,
    /// Where the times stand.
    time_leaf: usize,
    /// Labels by metric, and metrics, once they were asked for.
    pub(super) labels: Mutex<HashMap<String, Arc<BTreeSet<String>>>>,
    pub(super) metrics: OnceLock<BTreeSet<String>>,
}

impl ArchivedFile {
    /// Reads the description of a file whose times stand in the column of this name.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Corrupt`] where it is not what was written: also where its rows lie
    /// outside of what its directory says.
    pub(super) fn open(fs: &Arc<dyn Fs>, found: &Found, time: &'static str) -> Result<Self> {
        let path = found.path.clone();
        let source = Source(Arc::from(fs.open_read(&path)?));
        let read = guarded(|| ParquetMetaDataReader::new().parse_and_finish(&source));
        let described = read.map_err(|error| damaged(&path, error))?;
        let leaves = described.file_metadata().schema_descr().columns();
        let time_leaf = leaves.iter().position(|leaf| {
            leaf.path().string() == time && leaf.physical_type() == Type::INT64 && is_required(leaf)
        });
        let mut file = Self {
            fs: Arc::clone(fs),
            path,
            described,
            sums: None,
            time_leaf: usize::MAX,
            labels: Mutex::default(),
            metrics: OnceLock::new(),
        };
        file.time_leaf =
            time_leaf.ok_or_else(|| file.wrong("columns", format!("none is {time}")))?;
        file.sums = file.check_sums()?;
        for group in 0..file.groups() {
            let (first, last) = file.times(group)?;
            if !found.day.covers(first, last) {
                let message = format!("{first} to {last} is not in {}", found.day.start);
                return Err(file.wrong("rows", message));
            }
        }
        Ok(file)
    }

    /// The checksums that the file tells, those of its bounds compared.
    fn check_sums(&self) -> Result<Option<Vec<GroupDigest>>> {
        let Some(told) = self.told(CHECKSUMS) else { return Ok(None) };
        let sums = parse_checksums(told);
        let sums = sums.ok_or_else(|| self.wrong(CHECKSUMS, "not of that form".to_owned()))?;
        let groups = self.described.row_groups();
        let leaves = self.leaves();
        if sums.len() != groups.len() || sums.iter().any(|sums| sums.leaves.len() != leaves) {
            let message = format!("not of {} row groups of {leaves} columns", groups.len());
            return Err(self.wrong(CHECKSUMS, message));
        }
        for (group, sums) in groups.iter().zip(&sums) {
            let (expected, found) = (bounds(group), sums.bounds);
            if expected != found {
                return Err(self.corrupt(DecodeError::Checksum { expected, found }));
            }
        }
        Ok(Some(sums))
    }

    /// What the file tells under a key.
    pub(super) fn told(&self, key: &str) -> Option<&str> {
        let told = self.described.file_metadata().key_value_metadata()?;
        told.iter().find(|told| told.key == key)?.value.as_deref()
    }

    /// Row groups.
    pub(super) fn groups(&self) -> usize {
        self.described.num_row_groups()
    }

    /// Rows of a row group.
    pub(super) fn rows(&self, group: usize) -> usize {
        let rows = self.group(group).map_or(0, RowGroupMetaData::num_rows);
        usize::try_from(rows).unwrap_or(0)
    }

    /// Columns, those within groups counted one by one.
    pub(super) fn leaves(&self) -> usize {
        self.described.file_metadata().schema_descr().num_columns()
    }

    /// The name of a column, its type, and whether each row has a value.
    pub(super) fn leaf(&self, leaf: usize) -> Option<(String, Type, bool)> {
        let leaf = self.described.file_metadata().schema_descr().columns().get(leaf)?;
        Some((leaf.path().string(), leaf.physical_type(), is_required(leaf)))
    }

    pub(super) const fn time_leaf(&self) -> usize {
        self.time_leaf
    }

    fn group(&self, group: usize) -> Option<&RowGroupMetaData> {
        self.described.row_groups().get(group)
    }

    fn statistics(&self, group: usize, leaf: usize) -> Option<&Statistics> {
        self.group(group)?.columns().get(leaf)?.statistics()
    }

    /// The first and the last time of a row group, both inclusive.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where the file does not say.
    pub(super) fn times(&self, group: usize) -> Result<(Timestamp, Timestamp)> {
        let known = match self.statistics(group, self.time_leaf) {
            Some(Statistics::Int64(known)) => known.min_opt().zip(known.max_opt()),
            _ => None,
        };
        let bounds = known.filter(|(first, last)| first <= last);
        let bounds = bounds.ok_or_else(|| self.wrong("times", "no bounds".to_owned()))?;
        Ok((Timestamp(*bounds.0), Timestamp(*bounds.1)))
    }

    /// Whether a row group may hold rows with this text in a column.
    pub(super) fn may_hold(&self, group: usize, leaf: usize, text: &str) -> bool {
        let Some(known) = self.statistics(group, leaf) else { return true };
        let text = text.as_bytes();
        known.min_bytes_opt().is_none_or(|min| min <= text)
            && known.max_bytes_opt().is_none_or(|max| text <= max)
    }

    /// Hands over a column of a row group, some thousand rows at a time: its values, and which rows
    /// have one (1, else 0), empty where each does. Every value was compared with the file's
    /// checksum when this returns, not before.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`]; the first of `visit`.
    pub(super) fn read<T: DataType>(
        &self,
        group: usize,
        leaf: usize,
        visit: &mut Visit<'_, T>,
    ) -> Result<()>
    where
        T::T: Feed,
    {
        let mut digest = ColumnDigest::default();
        let (mut values, mut levels, mut rows) = (Vec::new(), Vec::new(), 0);
        let mut column: ColumnReaderImpl<T> = {
            let (pages, described) = self.pages(group, leaf)?;
            get_typed_column_reader(get_column_reader(described, pages))
        };
        loop {
            let mut read = || column.read_records(READ_ROWS, Some(&mut levels), None, &mut values);
            let (records, ..) = guarded(&mut read).map_err(|error| damaged(&self.path, error))?;
            if records == 0 {
                break;
            }
            rows += records;
            digest.feed(&values, &levels, &[]);
            visit(&values, &levels)?;
            values.clear();
            levels.clear();
        }
        if rows != self.rows(group) {
            let message = format!("column {leaf} has {rows} of {}", self.rows(group));
            return Err(self.wrong("rows", message));
        }
        let sums = self.sums.as_ref().and_then(|sums| sums.get(group));
        let Some(&found) = sums.and_then(|sums| sums.leaves.get(leaf)) else { return Ok(()) };
        let expected = digest.sum();
        if expected == found {
            Ok(())
        } else {
            Err(self.corrupt(DecodeError::Checksum { expected, found }))
        }
    }

    fn pages(
        &self,
        group: usize,
        leaf: usize,
    ) -> Result<(Box<dyn PageReader>, parquet::schema::types::ColumnDescPtr)> {
        let described = self.group(group).and_then(|of| Some((of, of.columns().get(leaf)?)));
        let (of, column) = described.ok_or_else(|| self.wrong("columns", "too few".to_owned()))?;
        let source = Arc::new(Source(Arc::from(self.fs.open_read(&self.path)?)));
        let rows = usize::try_from(of.num_rows()).unwrap_or(0);
        let pages = guarded(|| SerializedPageReader::new(source, column, rows, None));
        let pages = pages.map_err(|error| damaged(&self.path, error))?;
        Ok((Box::new(pages), column.column_descr_ptr()))
    }

    /// Every text that occurs in a column of a row group. From its dictionary where that holds all,
    /// whose bytes no checksum covers: for plans.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(super) fn distinct(&self, group: usize, leaf: usize) -> Result<BTreeSet<String>> {
        let column = self.group(group).and_then(|group| group.columns().get(leaf));
        let encodings = column.and_then(|column| column.page_encoding_stats_mask());
        if encodings.is_some_and(|all| all.is_only(Encoding::RLE_DICTIONARY)) {
            let (mut pages, _) = self.pages(group, leaf)?;
            let first = guarded(|| pages.get_next_page());
            let first = first.map_err(|error| damaged(&self.path, error))?;
            if let Some(Page::DictionaryPage { buf, num_values, .. }) = first {
                return self.plain_texts(&buf, num_values);
            }
        }
        let mut found = BTreeSet::new();
        self.read::<ByteArrayType>(group, leaf, &mut |values, _| {
            // Rows of one series come in a row.
            for run in values.chunk_by(|one, next| one.data() == next.data()) {
                let text = run.first().map_or(&[][..], ByteArray::data);
                found.insert(self.text(text)?.to_owned());
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Texts one behind the other, each behind its length.
    fn plain_texts(&self, mut bytes: &[u8], count: u32) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        for _ in 0..count {
            let text = bytes.split_first_chunk::<4>().and_then(|(length, rest)| {
                let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
                rest.split_at_checked(length)
            });
            let cut = || self.wrong("dictionary", "ends before its texts do".to_owned());
            let (text, rest) = text.ok_or_else(cut)?;
            found.insert(self.text(text)?.to_owned());
            bytes = rest;
        }
        Ok(found)
    }

    /// Bytes as the text that they are.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where they are not UTF-8.
    pub(super) fn text<'a>(&self, bytes: &'a [u8]) -> Result<&'a str> {
        std::str::from_utf8(bytes).map_err(|error| self.wrong("text", error.to_string()))
    }

    pub(super) fn corrupt(&self, source: DecodeError) -> Error {
        Error::corrupt(&self.path, 0, source)
    }

    /// That something in it is not as it was written.
    pub(super) fn wrong(&self, what: &'static str, message: String) -> Error {
        self.corrupt(DecodeError::Foreign { what, message })
    }
}

fn is_required(leaf: &parquet::schema::types::ColumnDescriptor) -> bool {
    leaf.max_def_level() == 0 && leaf.max_rep_level() == 0
}

/// The decoder stands on bytes that anything may have happened to: its panics are errors too.
fn guarded<T>(read: impl FnOnce() -> ParquetResult<T>) -> ParquetResult<T> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(ParquetError::General("the decoder panicked".to_owned())))
}

fn damaged(path: &std::path::Path, error: ParquetError) -> Error {
    match error {
        ParquetError::External(_) => told("read", path)(error),
        other => {
            let source = DecodeError::Foreign { what: "Parquet file", message: other.to_string() };
            Error::corrupt(path, 0, source)
        }
    }
}

/// The times of a row group, ascending or not.
pub(super) fn read_integers(file: &ArchivedFile, group: usize, leaf: usize) -> Result<Vec<i64>> {
    let mut all = Vec::with_capacity(file.rows(group));
    file.read::<parquet::data_type::Int64Type>(group, leaf, &mut |values, _| {
        all.extend_from_slice(values);
        Ok(())
    })?;
    Ok(all)
}

/// Files whose descriptions are kept, by their paths: what every query would else read again.
#[derive(Debug, Default)]
pub(super) struct Descriptions(Mutex<HashMap<PathBuf, (u64, Arc<ArchivedFile>)>>);

/// Descriptions kept at most: of a row group or two each, some 10 KiB, so 40 MiB.
const DESCRIPTIONS_MAX: usize = 4096;

impl Descriptions {
    /// A file, opened if it is not known. A file that was replaced has another length, or the same
    /// rows; what its checksums do not cover is not taken from memory.
    pub(super) fn open(
        &self,
        fs: &Arc<dyn Fs>,
        found: &Found,
        time: &'static str,
    ) -> Result<Arc<ArchivedFile>> {
        let bytes = fs.file_bytes(&found.path)?.unwrap_or(0);
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((length, file)) = lock().get(&found.path)
            && *length == bytes
        {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(ArchivedFile::open(fs, found, time)?);
        let mut known = lock();
        if known.len() >= DESCRIPTIONS_MAX {
            known.clear();
        }
        known.insert(found.path.clone(), (bytes, Arc::clone(&file)));
        Ok(file)
    }
}

/// The times of `range` that lie in a row group, if any may.
pub(super) fn meets(file: &ArchivedFile, group: usize, range: TimeRange) -> Result<bool> {
    let (first, last) = file.times(group)?;
    Ok(range.overlaps(first, last))
}
