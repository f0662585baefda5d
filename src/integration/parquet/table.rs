//! One Parquet file: written aside, synced, read back and compared, and only then given its name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::file::metadata::KeyValue;
use parquet::file::writer::SerializedFileWriter;

use super::columns::{Buffer, Output, Rows};
use super::digest::{CHECKSUMS, ColumnDigest, GroupDigest, checksums, read_back};
use super::sink::{Sink, told};
use crate::error::{Error, Result};
use crate::fs::Fs;
use crate::model::Series;
use crate::segment::{RecordFields, Records};

/// A row group is written when its rows take so many bytes: 16 MiB, a million samples. Readers
/// pass over row groups, and work on them in parallel.
pub const ROW_GROUP_BYTES: usize = 16 << 20;

/// What a file holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Samples or records.
    pub rows: u64,
    /// The file's length.
    pub bytes: u64,
}

/// A table being written. Rows come by series, ascending, and within a series by time. Dropped
/// before [`finish`](Self::finish) it leaves a `.tmp` file, which the next table of the same name
/// replaces.
pub struct Table {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    building: PathBuf,
    writer: SerializedFileWriter<Sink>,
    buffer: Buffer,
    /// The rows of the buffer: whose, and how many in a row.
    runs: Vec<(Arc<Series>, usize)>,
    /// Of each row group so far.
    digests: Vec<GroupDigest>,
    rows: u64,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("path", &self.path).field("rows", &self.rows).finish()
    }
}

impl Table {
    /// Begins a table that is to be `path`, in a directory that exists. A file of that name is
    /// replaced when the table is finished.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(fs: &Arc<dyn Fs>, path: &Path, rows: Rows) -> Result<Self> {
        let (building, sink) = begin(fs, path)?;
        let write = told("write", &building);
        let schema = rows.schema().map_err(&write)?;
        let properties = rows.properties().map_err(&write)?;
        let writer =
            SerializedFileWriter::new(sink, schema, Arc::new(properties)).map_err(&write)?;
        Ok(Self {
            fs: Arc::clone(fs),
            path: path.to_owned(),
            building,
            writer,
            buffer: Buffer::new(rows),
            runs: Vec::new(),
            digests: Vec::new(),
            rows: 0,
        })
    }

    /// Rows so far.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// Adds a text to the file's own description.
    pub fn describe(&mut self, key: &str, text: String) {
        self.writer.append_key_value_metadata(KeyValue::new(key.to_owned(), text));
    }

    /// Appends samples of a series: `timestamps`, strictly ascending, and `values` of equal length.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::InvalidArgument`] where the table holds records.
    pub fn push_samples(
        &mut self,
        series: &Arc<Series>,
        mut timestamps: &[i64],
        mut values: &[f64],
    ) -> Result<()> {
        while !timestamps.is_empty() {
            let Buffer::Samples { timestamps: all_times, values: all_values } = &mut self.buffer
            else {
                return Err(mismatch("samples in a table of records"));
            };
            let room = ROW_GROUP_BYTES / 16 - all_times.len();
            let rows = room.min(timestamps.len());
            let (these_times, later_times) = timestamps.split_at(rows);
            let (these_values, later_values) = values.split_at(rows.min(values.len()));
            all_times.extend_from_slice(these_times);
            all_values.extend_from_slice(these_values);
            (timestamps, values) = (later_times, later_values);
            self.note(series, rows)?;
        }
        Ok(())
    }

    /// Appends records of a series, ascending by start.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::InvalidArgument`] where the table holds samples.
    pub fn push_records(
        &mut self,
        series: &Arc<Series>,
        records: &Records,
        fields: RecordFields,
    ) -> Result<()> {
        let Buffer::Records(columns) = &mut self.buffer else {
            return Err(mismatch("records in a table of samples"));
        };
        columns.push(records, fields);
        self.note(series, records.len())
    }

    /// Counts rows that were put into the buffer, and writes it when it is full.
    fn note(&mut self, series: &Arc<Series>, rows: usize) -> Result<()> {
        self.rows += rows as u64;
        match self.runs.last_mut() {
            Some((same, run)) if same == series => *run += rows,
            _ if rows > 0 => self.runs.push((Arc::clone(series), rows)),
            _ => {}
        }
        if self.buffer.bytes() >= ROW_GROUP_BYTES { self.write_row_group() } else { Ok(()) }
    }

    fn write_row_group(&mut self) -> Result<()> {
        let write = told("write", &self.building);
        let mut digests = vec![ColumnDigest::default(); self.writer.schema_descr().num_columns()];
        let row_group = self.writer.next_row_group().map_err(&write)?;
        let mut output = Output { row_group, digests: digests.iter_mut() };
        output.identity(&self.runs).map_err(&write)?;
        self.buffer.write(&mut output).map_err(&write)?;
        let written = output.row_group.close().map_err(&write)?;
        self.digests.push(GroupDigest::new(&written, &digests));
        self.buffer.clear();
        self.runs.clear();
        Ok(())
    }

    /// Ends the table: writes and syncs it, reads it back, compares every value and level with
    /// what was put in, gives it its name and makes that durable.
    ///
    /// # Errors
    /// [`Error::Io`], also where what was read back is not what was written; the name is then not
    /// given.
    pub fn finish(mut self) -> Result<Written> {
        if !self.runs.is_empty() {
            self.write_row_group()?;
        }
        let Self { fs, path, building, writer, digests, rows, .. } = self;
        publish(&fs, writer, (&building, &path), rows, &digests)
    }

    /// Gives up: removes what was written.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn discard(self) -> Result<()> {
        self.fs.remove_file(&self.building)
    }
}

/// The name under which a file is written until it is whole, and the file.
pub(super) fn begin(fs: &Arc<dyn Fs>, path: &Path) -> Result<(PathBuf, Sink)> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let building = path.with_file_name(format!("{name}.tmp"));
    if fs.file_bytes(&building)?.is_some() {
        fs.remove_file(&building)?;
    }
    let sink = Sink(fs.create_new(&building)?);
    Ok((building, sink))
}

/// Ends a file of so many rows, whose row groups have these digests, which it is told; from the first of `(building, path)`
/// it gets the second as its name.
pub(super) fn publish(
    fs: &Arc<dyn Fs>,
    mut writer: SerializedFileWriter<Sink>,
    (building, path): (&Path, &Path),
    expected: u64,
    written: &[GroupDigest],
) -> Result<Written> {
    let told_sums = KeyValue::new(CHECKSUMS.to_owned(), checksums(written));
    writer.append_key_value_metadata(told_sums);
    writer.finish().map_err(told("write", building))?;
    writer.inner_mut().0.sync()?;
    let file = fs.open_read(building)?;
    let bytes = file.len()?;
    let verify = told("verify", building);
    let (rows, digests) = read_back(file).map_err(&verify)?;
    if rows != expected || digests != written {
        let message = "what was read back is not what was written".to_owned();
        return Err(verify(parquet::errors::ParquetError::General(message)));
    }
    fs.rename(building, path)?;
    fs.sync_dir(path.parent().unwrap_or(Path::new(".")))?;
    Ok(Written { rows, bytes })
}

fn mismatch(reason: &str) -> Error {
    Error::InvalidArgument { what: "rows", reason: reason.to_owned() }
}
