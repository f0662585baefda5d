//! Reading a segment: the directory at once, columns when asked, each checked before use.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::builder::{EncodedTimestamps, EncodedValues};
use super::directory::{Chunk, Directory, Place, TimestampColumn};
use super::format::{HEADER_BYTES, split};
use super::statistics;
use crate::aggregate::{Partial, Sketches};
use crate::codec::values::ValueEncoding;
use crate::codec::{partials, sketches, timestamps, values};
use crate::error::DecodeError;

/// Bytes that several readers hold: whatever owns them, cloned by reference count.
#[derive(Clone)]
pub struct SharedBytes(Arc<dyn AsRef<[u8]> + Send + Sync>);

impl SharedBytes {
    /// Shares `owner`'s bytes, which must never change.
    pub fn new(owner: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Self(Arc::new(owner))
    }
}

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl From<Vec<u8>> for SharedBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

impl From<Arc<[u8]>> for SharedBytes {
    fn from(bytes: Arc<[u8]>) -> Self {
        Self::new(bytes)
    }
}

impl fmt::Debug for SharedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedBytes({} bytes)", self.as_ref().len())
    }
}

/// An open segment. Its header and directory were verified; columns are as they are read.
#[derive(Debug)]
pub struct Segment {
    bytes: SharedBytes,
    directory: Directory,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ColumnKind {
    /// Timestamps, shared by the chunks of a group.
    Timestamps,
    /// One chunk's values.
    Values,
    /// Header, directory, statistics, checksums; constant values too.
    Directory,
}

/// What the columns of one kind and encoding amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnStats {
    /// The kind.
    pub kind: ColumnKind,
    /// The encoding's short name; empty for the directory.
    pub encoding: &'static str,
    /// Columns.
    pub columns: u64,
    /// Samples in them; a shared timestamp column's are counted once.
    pub samples: u64,
    /// Bytes they take; constant values take theirs in the directory.
    pub bytes: u64,
}

impl Segment {
    /// Opens a segment, verifying header and directory (not the columns). Copies no columns.
    ///
    /// # Errors
    /// [`DecodeError`] where `bytes` are not exactly one segment, or its directory is damaged.
    pub fn open(bytes: impl Into<SharedBytes>) -> Result<Self, DecodeError> {
        let bytes = bytes.into();
        let (columns_end, directory) = split(bytes.as_ref())?;
        let directory = Directory::decode(directory, HEADER_BYTES as u32, columns_end)?;
        Ok(Self { bytes, directory })
    }

    /// Bytes that the open segment holds in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let Directory { columns, chunks, statistics, series } = &self.directory;
        self.bytes.as_ref().len()
            + size_of_val(&**columns)
            + size_of_val(&**chunks)
            + size_of_val(&**statistics)
            + size_of_val(&**series)
    }

    /// All chunks, ascending by series, then time.
    #[must_use]
    pub fn chunks(&self) -> &[Chunk] {
        &self.directory.chunks
    }

    /// Where in [`chunks`](Self::chunks) a series' chunks stand; empty where it has none.
    #[must_use]
    pub fn range_of(&self, series: u32) -> Range<usize> {
        let starts = &self.directory.series;
        let at = starts.partition_point(|&(held, _)| held < series);
        let start = |at: usize| starts.get(at).map_or(self.chunks().len(), |(_, at)| *at as usize);
        match starts.get(at) {
            Some((held, _)) if *held == series => start(at)..start(at + 1),
            _ => 0..0,
        }
    }

    /// A series' chunks, ascending in time, never overlapping; empty where it has none.
    #[must_use]
    pub fn chunks_of(&self, series: u32) -> &[Chunk] {
        self.chunks().get(self.range_of(series)).unwrap_or_default()
    }

    /// The timestamp columns, by [`Chunk::timestamps`].
    #[must_use]
    pub fn timestamp_columns(&self) -> &[TimestampColumn] {
        &self.directory.columns
    }

    /// The aggregate of all of a chunk's samples, from the directory; of records the empty one.
    /// `chunk` is of this segment.
    #[must_use]
    pub fn statistics(&self, chunk: &Chunk) -> Partial {
        match chunk.place {
            Place::Constant(value) if chunk.encoding == ValueEncoding::Constant => {
                statistics::of_constant(value, &chunk.bounds())
            }
            Place::Constant(_) => Partial::EMPTY,
            Place::Column { statistics, .. } => {
                self.directory.statistics.get(statistics as usize).copied().unwrap_or_default()
            }
        }
    }

    /// Replaces `out` with the timestamps of column `index`, strictly ascending.
    ///
    /// # Errors
    /// [`DecodeError`] where the column is damaged, or there is none of this index.
    pub fn read_timestamps(&self, index: u32, out: &mut Vec<i64>) -> Result<(), DecodeError> {
        let (column, bytes) = self.timestamp_column(index)?;
        timestamps::decode(bytes, column.samples as usize, out)
    }

    /// A timestamp column, and its bytes, verified.
    fn timestamp_column(&self, index: u32) -> Result<(&TimestampColumn, &[u8]), DecodeError> {
        let column = self.directory.columns.get(index as usize).ok_or(DecodeError::Invalid {
            what: "timestamp column",
            found: u64::from(index),
            expected: "one of the segment's",
        })?;
        Ok((column, self.column(column.offset, column.length, column.checksum)?))
    }

    /// Timestamp column `index` as it is, for another segment: its checksum is verified, nothing
    /// is decoded.
    ///
    /// # Errors
    /// [`DecodeError`] where the column is damaged, or there is none of this index.
    pub fn copy_timestamps(&self, index: u32) -> Result<EncodedTimestamps, DecodeError> {
        let (column, bytes) = self.timestamp_column(index)?;
        Ok(EncodedTimestamps::copied(*column, bytes))
    }

    /// The value column and statistics of a chunk of this segment as they are, for another
    /// segment: its checksum is verified, nothing is decoded.
    ///
    /// # Errors
    /// [`DecodeError`] where the column is damaged.
    pub fn copy_values(&self, chunk: &Chunk) -> Result<EncodedValues, DecodeError> {
        let bytes = match chunk.place {
            Place::Constant(_) => &[][..],
            Place::Column { offset, length, checksum, .. } => {
                self.column(offset, length, checksum)?
            }
        };
        Ok(EncodedValues::copied(chunk, self.statistics(chunk), bytes))
    }

    /// Whether timestamp columns of two segments, or of one, hold the same timestamps in the same
    /// encoding.
    ///
    /// # Errors
    /// [`DecodeError`] where a column is damaged, or there is none of an index.
    pub(crate) fn shares_timestamps(
        &self,
        index: u32,
        other: &Self,
        other_index: u32,
    ) -> Result<bool, DecodeError> {
        if std::ptr::eq(self, other) && index == other_index {
            return Ok(true);
        }
        let (own, bytes) = self.timestamp_column(index)?;
        let (others, other_bytes) = other.timestamp_column(other_index)?;
        Ok(own.fingerprint() == others.fingerprint() && bytes == other_bytes)
    }

    /// Replaces `out` with the values of a chunk of this segment, bit for bit as written,
    /// `chunk.samples` of them.
    ///
    /// # Errors
    /// [`DecodeError`] where the column is damaged.
    pub fn read_values(&self, chunk: &Chunk, out: &mut Vec<f64>) -> Result<(), DecodeError> {
        match chunk.place {
            Place::Constant(_) if chunk.encoding != ValueEncoding::Constant => {
                Err(other_encoding(chunk, "values"))
            }
            Place::Constant(value) => {
                out.clear();
                out.resize(chunk.samples as usize, value);
                Ok(())
            }
            Place::Column { offset, length, checksum, .. } => {
                let bytes = self.column(offset, length, checksum)?;
                values::decode(chunk.encoding, bytes, chunk.samples as usize, out)
            }
        }
    }

    /// Replaces `starts` and `partials` with the records of a chunk of this segment,
    /// `chunk.samples` of each: where the buckets start, and what they hold.
    ///
    /// # Errors
    /// [`DecodeError`] where a column is damaged, or the chunk is none of aggregates.
    pub fn read_partials(
        &self,
        chunk: &Chunk,
        starts: &mut Vec<i64>,
        partials: &mut Vec<Partial>,
    ) -> Result<(), DecodeError> {
        let ValueEncoding::Partials { increase, firsts, lasts, .. } = chunk.encoding else {
            return Err(other_encoding(chunk, "aggregates"));
        };
        self.read_timestamps(chunk.timestamps, starts)?;
        let (mut first, mut last) = (Vec::new(), Vec::new());
        let mut next = chunk.timestamps;
        for (stored, times) in [(firsts, &mut first), (lasts, &mut last)] {
            if stored {
                next = next.saturating_add(1);
                self.read_timestamps(next, times)?;
                if times.len() != starts.len() {
                    let expected = "as many as of the starts";
                    return Err(invalid("times of records", times.len() as u64, expected));
                }
            }
        }
        let firsts = if firsts { &first } else { &*starts };
        let lasts = if lasts { &last } else { firsts };
        let times = partials::Times { firsts, lasts };
        match chunk.place {
            Place::Constant(value) => partials::expand(value, times, increase, partials),
            Place::Column { .. } => {
                partials::decode(self.bytes_of(chunk)?, times, increase, partials)?;
            }
        }
        Ok(())
    }

    /// Appends the sketches of a chunk of this segment, `chunk.samples` of them, to `out`.
    ///
    /// # Errors
    /// [`DecodeError`] where the column is damaged, or none of sketches; some of them may have been
    /// appended then.
    pub fn read_sketches(&self, chunk: &Chunk, out: &mut Sketches) -> Result<(), DecodeError> {
        if chunk.encoding != ValueEncoding::Sketches {
            return Err(other_encoding(chunk, "sketches"));
        }
        sketches::decode(self.bytes_of(chunk)?, chunk.samples as usize, out)
    }

    /// The bytes of a chunk's column, verified; none of a constant.
    fn bytes_of(&self, chunk: &Chunk) -> Result<&[u8], DecodeError> {
        match chunk.place {
            Place::Constant(_) => Ok(&[]),
            Place::Column { offset, length, checksum, .. } => self.column(offset, length, checksum),
        }
    }

    /// A column's bytes, its checksum verified.
    fn column(&self, offset: u32, length: u32, found: u32) -> Result<&[u8], DecodeError> {
        let mut reader = crate::codec::bytes::Reader::new(self.bytes.as_ref());
        reader.bytes(offset as usize)?;
        let bytes = reader.bytes(length as usize)?;
        let expected = crc32fast::hash(bytes);
        if expected == found { Ok(bytes) } else { Err(DecodeError::Checksum { expected, found }) }
    }

    /// Decodes everything and checks every invariant: timestamps ascend strictly and agree with
    /// the directory, chunks of a series do not overlap, statistics are those of the samples.
    ///
    /// # Errors
    /// The first [`DecodeError`] met.
    pub fn verify(&self) -> Result<(), DecodeError> {
        let mut columns = Vec::with_capacity(self.directory.columns.len());
        for (index, column) in (0_u32..).zip(&self.directory.columns) {
            let mut timestamps = Vec::new();
            self.read_timestamps(index, &mut timestamps)?;
            let ascending = timestamps.is_sorted_by(|earlier, later| earlier < later);
            let ends = (Some(&column.first.0), Some(&column.last.0));
            if !ascending || (timestamps.first(), timestamps.last()) != ends {
                return Err(invalid("timestamp column", u64::from(index), "ascending to its end"));
            }
            columns.push(timestamps);
        }
        let mut values = Vec::new();
        let mut previous: Option<&Chunk> = None;
        for (index, chunk) in (0_u64..).zip(self.chunks()) {
            let ordered = previous.is_none_or(|previous| {
                (previous.series, previous.last) < (chunk.series, chunk.first)
            });
            if !ordered {
                return Err(invalid("chunk", index, "after the one before it"));
            }
            previous = Some(chunk);
            match chunk.encoding {
                ValueEncoding::Partials { .. } => {
                    self.read_partials(chunk, &mut Vec::new(), &mut Vec::new())?;
                    continue;
                }
                ValueEncoding::Sketches => {
                    self.read_sketches(chunk, &mut Sketches::default())?;
                    continue;
                }
                _ => self.read_values(chunk, &mut values)?,
            }
            let timestamps = columns.get(chunk.timestamps as usize).map_or(&[][..], Vec::as_slice);
            // A constant's statistics are not stored.
            let derived = matches!(chunk.place, Place::Constant(_));
            if !derived && !statistics::hold(&self.statistics(chunk), timestamps, &values) {
                return Err(invalid("statistics of chunk", index, "those of its samples"));
            }
        }
        Ok(())
    }

    /// Bytes, columns and samples by kind and encoding, in a fixed order.
    ///
    /// # Errors
    /// [`DecodeError`] where a timestamp column is damaged at its first byte.
    pub fn column_stats(&self) -> Result<Vec<ColumnStats>, DecodeError> {
        let mut stats: BTreeMap<(ColumnKind, &'static str), ColumnStats> = BTreeMap::new();
        let mut count = |kind, encoding, samples: u32, bytes: u32| {
            let empty = ColumnStats { kind, encoding, columns: 0, samples: 0, bytes: 0 };
            let entry = stats.entry((kind, encoding)).or_insert(empty);
            entry.columns += 1;
            entry.samples += u64::from(samples);
            entry.bytes += u64::from(bytes);
        };
        let mut columns_bytes = 0;
        for column in &self.directory.columns {
            let bytes = self.column(column.offset, column.length, column.checksum)?;
            let name = timestamps::encoding(bytes)?.name();
            count(ColumnKind::Timestamps, name, column.samples, column.length);
            columns_bytes += column.length;
        }
        for chunk in self.chunks() {
            let length = if let Place::Column { length, .. } = chunk.place { length } else { 0 };
            count(ColumnKind::Values, chunk.encoding.name(), chunk.samples, length);
            columns_bytes += length;
        }
        let total = self.bytes.as_ref().len() as u32;
        count(ColumnKind::Directory, "", 0, total.saturating_sub(columns_bytes));
        Ok(stats.into_values().collect())
    }
}

fn other_encoding(chunk: &Chunk, expected: &'static str) -> DecodeError {
    invalid("value encoding of a chunk", u64::from(chunk.encoding.tag()), expected)
}

fn invalid(what: &'static str, found: u64, expected: &'static str) -> DecodeError {
    DecodeError::Invalid { what, found, expected }
}
