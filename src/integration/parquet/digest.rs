//! What a column holds, as checksums that do not depend on how it is encoded: taken while it is
//! written, again from what is read back, and whenever the archive is read.

use bytes::Bytes;
use crc32fast::Hasher;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{ChunkReader, FileReader, Length};
use parquet::file::serialized_reader::SerializedFileReader;

use crate::fs::FsFile;

/// Rows read back at a time.
pub(super) const READ_ROWS: usize = 8192;

/// The name under which a file tells its [`checksums`].
pub(super) const CHECKSUMS: &str = "icecore.checksums";

/// The checksum of a column in one row group: of its values, bit for bit, and of its levels, which
/// say which row each value belongs to.
#[derive(Debug, Default, Clone)]
pub(super) struct ColumnDigest {
    values: Hasher,
    definitions: Hasher,
    repetitions: Hasher,
}

impl ColumnDigest {
    pub(super) fn feed<T: Feed>(&mut self, values: &[T], definitions: &[i16], repetitions: &[i16]) {
        T::feed(values, &mut self.values);
        i16::feed(definitions, &mut self.definitions);
        i16::feed(repetitions, &mut self.repetitions);
    }

    /// All of it as one number.
    pub(super) fn sum(&self) -> u32 {
        let parts = [&self.values, &self.definitions, &self.repetitions];
        let mut all = Hasher::new();
        for part in parts {
            all.update(&part.clone().finalize().to_le_bytes());
        }
        all.finalize()
    }
}

/// The checksums of one row group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct GroupDigest {
    /// Of its count of rows, and of every column's bounds: what readers pass over it by.
    pub(super) bounds: u32,
    /// Of each leaf.
    pub(super) leaves: Vec<u32>,
}

impl GroupDigest {
    pub(super) fn new(written: &RowGroupMetaData, leaves: &[ColumnDigest]) -> Self {
        let leaves = leaves.iter().map(ColumnDigest::sum).collect();
        Self { bounds: bounds(written), leaves }
    }
}

/// The checksum of what a row group's description says of its rows.
pub(super) fn bounds(described: &RowGroupMetaData) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&described.num_rows().to_le_bytes());
    for column in described.columns() {
        let known = column.statistics();
        let bytes = known.map(|known| [known.min_bytes_opt(), known.max_bytes_opt()]);
        for bytes in bytes.unwrap_or_default() {
            let bytes = bytes.unwrap_or_default();
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        }
    }
    hasher.finalize()
}

/// The checksums of a file's row groups, as the file tells them: hexadecimal, of a row group that of
/// its bounds, then of each leaf, with a comma between two; a semicolon between two row groups.
pub(super) fn checksums(groups: &[GroupDigest]) -> String {
    let group = |group: &GroupDigest| {
        let all = std::iter::once(&group.bounds).chain(&group.leaves);
        all.map(|sum| format!("{sum:08x}")).collect::<Vec<_>>().join(",")
    };
    groups.iter().map(group).collect::<Vec<_>>().join(";")
}

/// What [`checksums`] told; `None` of a text that is none.
pub(super) fn parse_checksums(text: &str) -> Option<Vec<GroupDigest>> {
    let group = |text: &str| {
        let mut sums = text.split(',').map(|sum| u32::from_str_radix(sum, 16).ok());
        let bounds = sums.next()??;
        Some(GroupDigest { bounds, leaves: sums.collect::<Option<_>>()? })
    };
    text.split(';').map(group).collect()
}

/// Values that a digest takes.
pub(super) trait Feed: Sized {
    fn feed(values: &[Self], hasher: &mut Hasher);
}

impl Feed for i16 {
    fn feed(values: &[Self], hasher: &mut Hasher) {
        feed_fixed(values, |value| value.to_le_bytes(), hasher);
    }
}

impl Feed for bool {
    fn feed(values: &[Self], hasher: &mut Hasher) {
        feed_fixed(values, |value| [u8::from(value)], hasher);
    }
}

impl Feed for i32 {
    fn feed(values: &[Self], hasher: &mut Hasher) {
        feed_fixed(values, |value| value.to_le_bytes(), hasher);
    }
}

impl Feed for i64 {
    fn feed(values: &[Self], hasher: &mut Hasher) {
        feed_fixed(values, |value| value.to_le_bytes(), hasher);
    }
}

impl Feed for f64 {
    fn feed(values: &[Self], hasher: &mut Hasher) {
        feed_fixed(values, |value| value.to_bits().to_le_bytes(), hasher);
    }
}

/// Hashes many bytes at a time: a call for each value costs more than the hashing.
fn feed_fixed<T: Copy, const N: usize>(
    values: &[T],
    bytes: impl Fn(T) -> [u8; N],
    hasher: &mut Hasher,
) {
    let mut buffer = Vec::with_capacity(READ_ROWS * N);
    for piece in values.chunks(READ_ROWS) {
        buffer.clear();
        buffer.extend(piece.iter().flat_map(|&value| bytes(value)));
        hasher.update(&buffer);
    }
}

impl Feed for ByteArray {
    fn feed(values: &[Self], hasher: &mut Hasher) {
        for value in values {
            hasher.update(&(value.len() as u64).to_le_bytes());
            hasher.update(value.data());
        }
    }
}

/// Reads a whole table back: its rows, and the digest of each row group.
pub(super) fn read_back(file: Box<dyn FsFile>) -> Result<(u64, Vec<GroupDigest>)> {
    let reader = SerializedFileReader::new(Source(std::sync::Arc::from(file)))?;
    let leaves = reader.metadata().file_metadata().schema_descr().num_columns();
    let mut groups = Vec::new();
    let mut rows = 0;
    for number in 0..reader.num_row_groups() {
        let row_group = reader.get_row_group(number)?;
        let in_group = u64::try_from(row_group.metadata().num_rows()).unwrap_or(0);
        rows += in_group;
        let mut digests = vec![ColumnDigest::default(); leaves];
        for (leaf, digest) in digests.iter_mut().enumerate() {
            let found = match row_group.get_column_reader(leaf)? {
                ColumnReader::Int32ColumnReader(column) => read_column(column, digest)?,
                ColumnReader::Int64ColumnReader(column) => read_column(column, digest)?,
                ColumnReader::DoubleColumnReader(column) => read_column(column, digest)?,
                ColumnReader::ByteArrayColumnReader(column) => read_column(column, digest)?,
                ColumnReader::BoolColumnReader(column) => read_column(column, digest)?,
                _ => return Err(ParquetError::General("a column of no type of ours".into())),
            };
            if found != in_group {
                let message = format!("leaf {leaf} has {found} rows of {in_group}");
                return Err(ParquetError::General(message));
            }
        }
        groups.push(GroupDigest::new(row_group.metadata(), &digests));
    }
    Ok((rows, groups))
}

fn read_column<T: DataType>(
    mut column: ColumnReaderImpl<T>,
    digest: &mut ColumnDigest,
) -> Result<u64>
where
    T::T: Feed,
{
    let (mut values, mut definitions, mut repetitions) = (Vec::new(), Vec::new(), Vec::new());
    let mut rows = 0;
    loop {
        let levels = (Some(&mut definitions), Some(&mut repetitions));
        let (records, ..) = column.read_records(READ_ROWS, levels.0, levels.1, &mut values)?;
        if records == 0 {
            return Ok(rows);
        }
        rows += records as u64;
        digest.feed(&values, &definitions, &repetitions);
        values.clear();
        definitions.clear();
        repetitions.clear();
    }
}

/// A file of ours as the reader wants it.
pub(super) struct Source(pub(super) std::sync::Arc<dyn FsFile>);

impl Length for Source {
    fn len(&self) -> u64 {
        self.0.len().unwrap_or(0)
    }
}

impl ChunkReader for Source {
    type T = std::io::BufReader<Cursor>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(std::io::BufReader::new(Cursor { file: std::sync::Arc::clone(&self.0), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        // What a damaged footer names is not allocated before the file is known to be that long.
        if start.saturating_add(length as u64) > self.len() {
            return Err(ParquetError::EOF(format!("no {length} bytes at {start}")));
        }
        let mut buffer = vec![0; length];
        let read = self.0.read_at(start, &mut buffer).map_err(std::io::Error::other)?;
        if read < length {
            return Err(ParquetError::EOF(format!("{read} of {length} bytes at {start}")));
        }
        Ok(buffer.into())
    }
}

/// A place in a file, moving on as it is read.
pub(super) struct Cursor {
    file: std::sync::Arc<dyn FsFile>,
    at: u64,
}

impl std::io::Read for Cursor {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read_at(self.at, buffer).map_err(std::io::Error::other)?;
        self.at += read as u64;
        Ok(read)
    }
}
