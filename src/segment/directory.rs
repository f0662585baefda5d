//! The directory: what stands where in a segment, and the statistics of every chunk.
//!
//! ```text
//! raw length varint · method u8 (0 plain, 1 zstd) · body length varint · body · checksums
//! body: columns varint · chunks varint
//!   columns: counts varint · firsts signed (each from the one before) · spans varint
//!            (last - first) · lengths varint                     one list after another
//!   chunks:  series varint (each from the one before) · columns signed (likewise) · tags u8
//!            · lengths varint (chunks that are not constant) · constants as byte planes (XOR
//!            the constant before) · statistics
//! checksums: CRC-32 of each timestamp column, then of each value column that is not constant
//! ```
//!
//! Chunks stand by series, then time; columns follow one another in directory order, so offsets
//! are sums of lengths.

use super::statistics::{self, Bounds, read_planes, write_planes};
use crate::aggregate::Partial;
use crate::codec::COLUMN_VALUES_MAX;
use crate::codec::bytes::{Reader, write_signed, write_varint};
use crate::codec::metadata;
use crate::codec::values::ValueEncoding;
use crate::error::DecodeError;
use crate::time::Timestamp;

/// A timestamp column of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampColumn {
    /// Its first timestamp, the earliest.
    pub first: Timestamp,
    /// Its last timestamp, the latest, inclusive.
    pub last: Timestamp,
    /// Timestamps.
    pub samples: u32,
    /// Where it stands, bytes from the segment's start.
    pub(super) offset: u32,
    pub(super) length: u32,
    pub(super) checksum: u32,
}

impl TimestampColumn {
    /// What columns of equal bytes agree in, wherever they stand.
    pub(crate) const fn fingerprint(&self) -> (i64, i64, u32, u32, u32) {
        (self.first.0, self.last.0, self.samples, self.length, self.checksum)
    }
}

/// A chunk of a segment: one series' values at the timestamps of one column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chunk {
    /// The series' position in the part's series table.
    pub series: u32,
    /// The timestamp column, an index within the segment.
    pub timestamps: u32,
    /// Timestamp of the first sample.
    pub first: Timestamp,
    /// Timestamp of the last sample, inclusive.
    pub last: Timestamp,
    /// Samples, stale markers included.
    pub samples: u32,
    /// How the values are stored.
    pub encoding: ValueEncoding,
    pub(super) place: Place,
}

impl Chunk {
    pub(super) fn bounds(&self) -> Bounds {
        let (first, last) = (self.first.0, self.last.0);
        Bounds { series: self.series, first, last, samples: self.samples }
    }
}

/// Where a chunk's values are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Place {
    /// In the directory: all samples have this value.
    Constant(f64),
    /// In a column; `statistics` is its index among those.
    Column { offset: u32, length: u32, checksum: u32, statistics: u32 },
}

/// A segment's directory, decoded.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) columns: Vec<TimestampColumn>,
    /// By series, then time.
    pub(super) chunks: Vec<Chunk>,
    /// Of the chunks that are not constant, in order.
    pub(super) statistics: Vec<Partial>,
    /// The series that there are chunks of, ascending, and where the chunks of each begin: what is
    /// searched for every series lies close together.
    pub(super) series: Vec<(u32, u32)>,
}

/// The most bytes of a directory's body, which decoding may allocate: 64 MiB, a hundred times
/// that of a large segment.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Appends the directory. `chunks` stand by series, then time, and index `columns`.
pub(super) fn encode(columns: &[TimestampColumn], chunks: &[(Chunk, Partial)], out: &mut Vec<u8>) {
    let mut body = Vec::new();
    write_varint(&mut body, columns.len() as u64);
    write_varint(&mut body, chunks.len() as u64);
    encode_columns(columns, &mut body);
    encode_chunks(chunks, &mut body);
    metadata::encode(&body, out);
    for column in columns {
        out.extend_from_slice(&column.checksum.to_le_bytes());
    }
    for (chunk, _) in chunks {
        if let Place::Column { checksum, .. } = chunk.place {
            out.extend_from_slice(&checksum.to_le_bytes());
        }
    }
}

fn encode_columns(columns: &[TimestampColumn], body: &mut Vec<u8>) {
    columns.iter().for_each(|column| write_varint(body, u64::from(column.samples)));
    let mut previous = 0;
    for column in columns {
        write_signed(body, column.first.0.wrapping_sub(previous));
        previous = column.first.0;
    }
    columns
        .iter()
        .for_each(|column| write_varint(body, column.last.0.wrapping_sub(column.first.0) as u64));
    columns.iter().for_each(|column| write_varint(body, u64::from(column.length)));
}

fn encode_chunks(chunks: &[(Chunk, Partial)], body: &mut Vec<u8>) {
    let mut previous = 0;
    for (chunk, _) in chunks {
        write_varint(body, u64::from(chunk.series.wrapping_sub(previous)));
        previous = chunk.series;
    }
    previous = 0;
    for (chunk, _) in chunks {
        write_signed(body, i64::from(chunk.timestamps) - i64::from(previous));
        previous = chunk.timestamps;
    }
    body.extend(chunks.iter().map(|(chunk, _)| chunk.encoding.tag()));
    let (mut constants, mut varying, mut last_constant) = (Vec::new(), Vec::new(), 0);
    for (chunk, partial) in chunks {
        match chunk.place {
            Place::Constant(value) => {
                constants.push(value.to_bits() ^ last_constant);
                last_constant = value.to_bits();
            }
            Place::Column { length, .. } => {
                write_varint(body, u64::from(length));
                varying.push((chunk.bounds(), *partial));
            }
        }
    }
    write_planes(&constants, body);
    statistics::encode(&varying, body);
}

impl Directory {
    /// Decodes all of `bytes`, of a segment whose columns stand at `columns_start..columns_end`.
    pub(super) fn decode(
        bytes: &[u8],
        columns_start: u32,
        columns_end: u32,
    ) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let mut buffer = Vec::new();
        let body = metadata::decode(&mut reader, BODY_BYTES_MAX, &mut buffer)?;
        let mut checksums = reader;
        let mut body = Reader::new(body);
        // Every column takes four bytes of the body or more, every chunk three.
        let column_count = body.length("timestamp columns", body.remaining() / 4)?;
        let chunk_count = body.length("chunks", body.remaining() / 3)?;
        let mut offset = columns_start;
        let columns = decode_columns(&mut body, &mut checksums, column_count, &mut offset)?;
        let chunks = decode_chunks(&mut body, &mut checksums, chunk_count, &columns, &mut offset)?;
        let varying: Vec<Bounds> = chunks
            .iter()
            .filter(|chunk| matches!(chunk.place, Place::Column { .. }))
            .map(Chunk::bounds)
            .collect();
        let statistics = statistics::decode(&mut body, &varying)?;
        body.finish("directory")?;
        checksums.finish("checksums")?;
        if offset != columns_end {
            return Err(DecodeError::Invalid {
                what: "end of the columns",
                found: u64::from(offset),
                expected: "where the directory begins",
            });
        }
        let mut series: Vec<(u32, u32)> =
            chunks.iter().zip(0..).map(|(chunk, index)| (chunk.series, index)).collect();
        series.dedup_by_key(|(series, _)| *series);
        series.shrink_to_fit();
        Ok(Self { columns, chunks, statistics, series })
    }
}

fn varints(reader: &mut Reader<'_>, count: usize) -> Result<Vec<u64>, DecodeError> {
    let mut list = Vec::with_capacity(count);
    for _ in 0..count {
        list.push(reader.varint()?);
    }
    Ok(list)
}

fn decode_columns(
    body: &mut Reader<'_>,
    checksums: &mut Reader<'_>,
    count: usize,
    offset: &mut u32,
) -> Result<Vec<TimestampColumn>, DecodeError> {
    let mut columns = Vec::with_capacity(count);
    for _ in 0..count {
        let samples = body.length("samples of a column", COLUMN_VALUES_MAX)? as u32;
        let (first, last, checksum) = (Timestamp(0), Timestamp(0), checksums.u32()?);
        columns.push(TimestampColumn { first, last, samples, offset: 0, length: 0, checksum });
    }
    let mut first = 0_i64;
    for column in &mut columns {
        first = first.wrapping_add(body.signed()?);
        column.first = Timestamp(first);
    }
    for column in &mut columns {
        column.last = Timestamp(column.first.0.wrapping_add(body.varint()? as i64));
    }
    for column in &mut columns {
        (column.offset, column.length) = (*offset, length(body)?);
        *offset = offset.saturating_add(column.length);
    }
    Ok(columns)
}

fn length(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    reader.length("length of a column", u32::MAX as usize).map(|length| length as u32)
}

fn decode_chunks(
    body: &mut Reader<'_>,
    checksums: &mut Reader<'_>,
    count: usize,
    columns: &[TimestampColumn],
    offset: &mut u32,
) -> Result<Vec<Chunk>, DecodeError> {
    let series = varints(body, count)?;
    let indexes = varints(body, count)?;
    let tags = body.bytes(count)?;
    let encodings: Vec<ValueEncoding> =
        tags.iter().map(|&tag| ValueEncoding::from_tag(tag)).collect::<Result<_, _>>()?;
    let constant = encodings.iter().filter(|encoding| encoding.is_constant()).count();
    let mut lengths = varints(body, count - constant)?.into_iter();
    let mut constants = read_planes(body, constant)?;
    let (mut previous, mut index, mut value, mut statistics) = (0_u32, 0_i64, 0_u64, 0_u32);
    let mut chunks = Vec::with_capacity(count);
    for ((step, index_step), encoding) in series.into_iter().zip(indexes).zip(encodings) {
        previous = previous.wrapping_add(step as u32);
        index = index.wrapping_add(crate::codec::bytes::unzigzag(index_step));
        let column = usize::try_from(index).ok().and_then(|index| columns.get(index)).ok_or(
            DecodeError::Invalid {
                what: "timestamp column of a chunk",
                found: index as u64,
                expected: "one of the segment's",
            },
        )?;
        let place = if encoding.is_constant() {
            value ^= constants.next().unwrap_or(0);
            Place::Constant(f64::from_bits(value))
        } else {
            let length = u32::try_from(lengths.next().unwrap_or(0)).unwrap_or(u32::MAX);
            let checksum = checksums.u32()?;
            let place = Place::Column { offset: *offset, length, checksum, statistics };
            *offset = offset.saturating_add(length);
            statistics += 1;
            place
        };
        chunks.push(Chunk {
            series: previous,
            timestamps: index as u32,
            first: column.first,
            last: column.last,
            samples: column.samples,
            encoding,
            place,
        });
    }
    Ok(chunks)
}
