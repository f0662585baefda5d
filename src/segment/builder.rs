//! Laying encoded columns into segments, and ending a segment when it is large enough.

use std::collections::HashMap;

use super::directory::{self, Chunk, Place, TimestampColumn};
use super::format::{HEADER_BYTES, header};
use super::writer::{EncodedSegment, SegmentInfo};
use crate::aggregate::Partial;
use crate::codec::values::ValueEncoding;
use crate::codec::{timestamps, values};
use crate::error::{Error, Result};
use crate::time::Timestamp;

/// What the directory takes for a timestamp column, a constant chunk and any other, about.
const COLUMN_ENTRY_BYTES: usize = 20;
const CONSTANT_ENTRY_BYTES: usize = 4;
const CHUNK_ENTRY_BYTES: usize = 28;

/// What one task made.
pub(super) enum EncodedUnit {
    /// The timestamp columns of a span of rows; value columns that follow stand at these.
    Timestamps(Vec<EncodedTimestamps>),
    /// A series, and its value columns at the span's timestamp columns.
    Values(u32, Vec<EncodedValues>),
}

/// A timestamp column as it stands in a segment: encoded from timestamps, or copied from another
/// segment ([`Segment::copy_timestamps`](super::Segment::copy_timestamps)).
#[derive(Debug, Clone)]
pub struct EncodedTimestamps {
    entry: TimestampColumn,
    bytes: Vec<u8>,
    /// Columns of as many timestamps that stand right behind it.
    companions: Vec<EncodedTimestamps>,
}

impl EncodedTimestamps {
    /// Encodes timestamps: strictly ascending, 1 to
    /// [`COLUMN_VALUES_MAX`](crate::codec::COLUMN_VALUES_MAX) of them.
    #[must_use]
    pub fn of(timestamps: &[i64]) -> Self {
        let mut bytes = Vec::new();
        timestamps::encode(timestamps, &mut bytes);
        let end = |timestamp: Option<&i64>| Timestamp(timestamp.copied().unwrap_or_default());
        let entry = TimestampColumn {
            first: end(timestamps.first()),
            last: end(timestamps.last()),
            samples: timestamps.len() as u32,
            offset: 0,
            length: bytes.len() as u32,
            checksum: crc32fast::hash(&bytes),
        };
        Self { entry, bytes, companions: Vec::new() }
    }

    /// The same, followed by these in every segment that it stands in.
    pub(super) fn followed_by(self, companions: Vec<Self>) -> Self {
        Self { companions, ..self }
    }

    /// What it takes in a segment, about.
    fn size_bytes(&self) -> usize {
        let companions = self.companions.iter().map(Self::size_bytes);
        COLUMN_ENTRY_BYTES + self.bytes.len() + companions.sum::<usize>()
    }

    /// The column of a segment, `bytes` being its own, already checked.
    pub(super) fn copied(entry: TimestampColumn, bytes: &[u8]) -> Self {
        Self { entry, bytes: bytes.to_vec(), companions: Vec::new() }
    }

    /// The earliest and the latest timestamp, inclusive.
    #[must_use]
    pub const fn bounds(&self) -> (Timestamp, Timestamp) {
        (self.entry.first, self.entry.last)
    }

    /// How many there are.
    #[must_use]
    pub const fn samples(&self) -> u32 {
        self.entry.samples
    }
}

/// A value column as it stands in a segment, and its statistics: encoded from values, or copied
/// from another segment ([`Segment::copy_values`](super::Segment::copy_values)).
#[derive(Debug)]
pub struct EncodedValues {
    encoding: ValueEncoding,
    samples: u32,
    /// The first value, and so the only one of a constant column.
    value: f64,
    partial: Partial,
    checksum: u32,
    /// Empty for a constant column.
    bytes: Vec<u8>,
}

impl EncodedValues {
    /// Encodes the values at as many timestamps, at least one.
    #[must_use]
    pub fn of(timestamps: &[i64], values: &[f64]) -> Self {
        let mut bytes = Vec::new();
        let encoding = values::encode(values, &mut bytes);
        if encoding == ValueEncoding::Constant {
            bytes.clear();
        }
        let value = values.first().copied().unwrap_or_default();
        let partial = Partial::of(timestamps, values);
        let (samples, checksum) = (values.len() as u32, crc32fast::hash(&bytes));
        Self { encoding, samples, value, partial, checksum, bytes }
    }

    /// A column of which no statistics are kept, and the value of one that is constant.
    pub(super) fn without_statistics(
        encoding: ValueEncoding,
        samples: usize,
        value: f64,
        bytes: Vec<u8>,
    ) -> Self {
        let (partial, checksum) = (Partial::EMPTY, crc32fast::hash(&bytes));
        Self { encoding, samples: samples as u32, value, partial, checksum, bytes }
    }

    /// The column of a chunk, `bytes` being its own, already checked, and none for a constant.
    pub(super) fn copied(chunk: &Chunk, partial: Partial, bytes: &[u8]) -> Self {
        let (value, checksum) = match chunk.place {
            Place::Constant(value) => (value, 0),
            Place::Column { checksum, .. } => (partial.first.value, checksum),
        };
        let (encoding, samples) = (chunk.encoding, chunk.samples);
        Self { encoding, samples, value, partial, checksum, bytes: bytes.to_vec() }
    }

    /// How many values there are.
    #[must_use]
    pub const fn samples(&self) -> u32 {
        self.samples
    }

    fn size_bytes(&self) -> usize {
        if self.encoding.is_constant() {
            CONSTANT_ENTRY_BYTES
        } else {
            CHUNK_ENTRY_BYTES + self.bytes.len()
        }
    }
}

/// A chunk laid into the segment being built. Offsets and statistics' indexes are known only
/// when it ends.
struct Laid {
    chunk: Chunk,
    partial: Partial,
    /// Its value column's bytes.
    values: Vec<u8>,
}

/// The segment being built.
pub(super) struct Builder {
    bytes_target: usize,
    /// The timestamp columns of the current span.
    span: Vec<EncodedTimestamps>,
    /// Where in this segment a column of the span stands, if it does yet.
    placed: HashMap<usize, u32>,
    columns: Vec<TimestampColumn>,
    timestamps: Vec<u8>,
    chunks: Vec<Laid>,
    size_bytes: usize,
}

impl Builder {
    pub(super) fn new(bytes_target: usize) -> Self {
        Self {
            bytes_target,
            span: Vec::new(),
            placed: HashMap::new(),
            columns: Vec::new(),
            timestamps: Vec::new(),
            chunks: Vec::new(),
            size_bytes: HEADER_BYTES,
        }
    }

    /// The value columns that follow stand at these timestamps.
    pub(super) fn begin_span(&mut self, columns: Vec<EncodedTimestamps>) {
        self.placed.clear();
        self.span = columns;
    }

    /// Adds a series' columns, in the order of the span's. Ends the segment before them where
    /// they no longer fit, and between them where they would not fit into one.
    pub(super) fn add(
        &mut self,
        series: u32,
        columns: Vec<EncodedValues>,
        sink: &mut dyn FnMut(EncodedSegment) -> Result<()>,
    ) -> Result<()> {
        let missing = |builder: &Self, index: usize| match builder.span.get(index) {
            Some(column) if !builder.placed.contains_key(&index) => column.size_bytes(),
            _ => 0,
        };
        let unit: usize = (0..).zip(&columns).map(|(i, c)| missing(self, i) + c.size_bytes()).sum();
        if self.size_bytes + unit > self.bytes_target {
            self.finish(sink)?;
        }
        for (index, column) in columns.into_iter().enumerate() {
            let size = missing(self, index) + column.size_bytes();
            if self.size_bytes + size > self.bytes_target {
                self.finish(sink)?;
            }
            self.lay(series, index, column);
        }
        Ok(())
    }

    fn lay(&mut self, series: u32, index: usize, column: EncodedValues) {
        let Some(span_column) = self.span.get(index) else { return };
        let entry = span_column.entry;
        let timestamps = *self.placed.entry(index).or_insert_with(|| {
            self.size_bytes += span_column.size_bytes();
            let place = self.columns.len() as u32;
            for column in std::iter::once(span_column).chain(&span_column.companions) {
                self.timestamps.extend_from_slice(&column.bytes);
                self.columns.push(column.entry);
            }
            place
        });
        self.size_bytes += column.size_bytes();
        let place = if column.encoding.is_constant() {
            Place::Constant(column.value)
        } else {
            let (length, checksum) = (column.bytes.len() as u32, column.checksum);
            Place::Column { offset: 0, length, checksum, statistics: 0 }
        };
        let chunk = Chunk {
            series,
            timestamps,
            first: entry.first,
            last: entry.last,
            samples: entry.samples,
            encoding: column.encoding,
            place,
        };
        self.chunks.push(Laid { chunk, partial: column.partial, values: column.bytes });
    }

    /// Ends the segment and hands it to `sink`; nothing where there is nothing in it.
    pub(super) fn finish(
        &mut self,
        sink: &mut dyn FnMut(EncodedSegment) -> Result<()>,
    ) -> Result<()> {
        let mut chunks = std::mem::take(&mut self.chunks);
        let columns = std::mem::take(&mut self.columns);
        let timestamps = std::mem::take(&mut self.timestamps);
        self.placed.clear();
        let size_bytes = std::mem::replace(&mut self.size_bytes, HEADER_BYTES);
        chunks.sort_by_key(|laid| (laid.chunk.series, laid.chunk.first));
        let overlap = chunks.windows(2).any(|pair| {
            matches!(pair, [a, b]
                if a.chunk.series == b.chunk.series && b.chunk.first <= a.chunk.last)
        });
        if overlap {
            let reason = "a series has several values at one time".to_owned();
            return Err(Error::InvalidArgument { what: "groups", reason });
        }
        let Some(info) = describe(&chunks, &columns) else { return Ok(()) };
        let mut bytes = Vec::with_capacity(size_bytes);
        bytes.resize(HEADER_BYTES, 0);
        bytes.extend_from_slice(&timestamps);
        for laid in &chunks {
            bytes.extend_from_slice(&laid.values);
        }
        let columns_bytes = bytes.len() - HEADER_BYTES;
        let entries: Vec<(Chunk, Partial)> =
            chunks.iter().map(|laid| (laid.chunk, laid.partial)).collect();
        let mut directory = Vec::new();
        directory::encode(&columns, &entries, &mut directory);
        if let Some(start) = bytes.first_chunk_mut() {
            *start = header(columns_bytes, &directory);
        }
        bytes.extend_from_slice(&directory);
        let info = SegmentInfo { checksum: crc32fast::hash(&bytes), ..info };
        sink(EncodedSegment { bytes, info })
    }
}

/// What the chunks, by series, and the timestamp columns amount to; `None` where there are none.
fn describe(chunks: &[Laid], columns: &[TimestampColumn]) -> Option<SegmentInfo> {
    let entries = || chunks.iter().map(|laid| &laid.chunk);
    Some(SegmentInfo {
        first_series: entries().next()?.series,
        last_series: entries().next_back()?.series,
        first: columns.iter().map(|column| column.first).min()?,
        last: columns.iter().map(|column| column.last).max()?,
        samples: entries().map(|chunk| u64::from(chunk.samples)).sum(),
        chunks: chunks.len() as u32,
        checksum: 0,
    })
}
