//! The meta file of a part: what it holds, and where. Bytes only; they stand in
//! `docs/format/part.md`.

use crate::codec::bytes::{Reader, read_frame, write_frame, write_signed, write_varint};
use crate::error::DecodeError;
use crate::model::EVENT_COLUMNS_MAX;
use crate::segment::{Field, SegmentInfo, TIME_FIELD};
use crate::store::StoreKind;
use crate::time::{Tier, TimeRange, Timestamp};

const MAGIC: [u8; 4] = *b"ICPM";
const VERSION: u8 = 1;

/// What is known of a part without opening its store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartMeta {
    /// Its id, which names its directory.
    pub id: u64,
    /// Where parts hold the same series and timestamp, the higher rank was written later and wins.
    pub rank: u64,
    /// The window it belongs to; every sample lies in it.
    pub window: TimeRange,
    /// Which store holds its segments.
    pub store: StoreKind,
    /// How coarse it is.
    pub tier: Tier,
    /// What its columns hold.
    pub layout: Layout,
    /// The id of the last tombstone whose samples were left out.
    pub tombstones: u64,
    /// Its earliest sample, inclusive; meaningless while it holds none.
    pub first: Timestamp,
    /// Its latest sample, inclusive.
    pub last: Timestamp,
    /// Samples; with [`Layout::Records`] the values of all fields, with [`Layout::Events`] those of all
    /// columns, times and nulls among them.
    pub samples: u64,
    /// Chunks.
    pub chunks: u64,
    /// Series in its table; 1 with [`Layout::Events`].
    pub series: u32,
    /// Its segments; the number of one is its key in the store.
    pub segments: Vec<SegmentEntry>,
    /// CRC-32 of the segments' checksums in order: two parts of equal digest hold equal samples.
    pub digest: u32,
    /// CRC-32 of the meta file's bytes, which cover all of the above and the series table.
    pub meta_crc: u32,
}

/// What the columns of a part hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Layout {
    /// One column a series: its samples. Column `i` is series `i` of the table.
    #[default]
    Samples = 0,
    /// Several columns a series: the fields of its [`Records`](crate::segment::Records). Tier parts,
    /// and distributions as they were recorded.
    Records = 1,
    /// Rows of one table of events: a segment is one column of a stretch, the times first. The table is
    /// the part's one series, so to speak; in the series table's place stands its schema.
    Events = 2,
}

impl PartMeta {
    /// Rows of events: as many as its columns of times have.
    #[must_use]
    pub fn event_rows(&self) -> u64 {
        let times = self.segments.iter().filter(|segment| segment.info.first_series == TIME_FIELD);
        let rows = times.map(|segment| segment.info.samples).sum();
        if self.layout == Layout::Events { rows } else { 0 }
    }
}

impl Layout {
    /// The layout of a stored number.
    ///
    /// # Errors
    /// [`DecodeError::Invalid`] for any other.
    pub fn from_number(number: u8) -> Result<Self, DecodeError> {
        match number {
            0 => Ok(Self::Samples),
            1 => Ok(Self::Records),
            2 => Ok(Self::Events),
            _ => Err(DecodeError::Invalid {
                what: "layout of a part",
                found: u64::from(number),
                expected: "0 (samples), 1 (records) or 2 (events)",
            }),
        }
    }

    /// Columns that a series, or a table of events, has room for.
    #[must_use]
    pub const fn columns_per_series(self) -> u32 {
        match self {
            Self::Samples => 1,
            Self::Records => Field::ROOM,
            Self::Events => EVENT_COLUMNS_MAX as u32 + 1,
        }
    }
}

/// A segment as the part's directory knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentEntry {
    /// What is in it.
    pub info: SegmentInfo,
    /// Its length, bytes.
    pub bytes: u32,
}

/// What identifies a part, before it is known what it holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity {
    pub(super) id: u64,
    pub(super) rank: u64,
    pub(super) window: TimeRange,
    pub(super) store: StoreKind,
    pub(super) tier: Tier,
    pub(super) layout: Layout,
    pub(super) tombstones: u64,
}

/// The meta of a part of these segments, and the bytes of its file.
pub(super) fn encode(
    identity: Identity,
    series: u32,
    segments: Vec<SegmentEntry>,
    table: &[u8],
) -> (PartMeta, Vec<u8>) {
    let mut meta = summarise(identity, series, segments);
    let mut body = vec![meta.store as u8, meta.layout as u8];
    write_varint(&mut body, meta.tier.nanos() as u64);
    write_varint(&mut body, meta.tombstones);
    write_varint(&mut body, meta.id);
    write_varint(&mut body, meta.rank);
    body.extend_from_slice(&meta.window.start.0.to_le_bytes());
    body.extend_from_slice(&meta.window.end.0.to_le_bytes());
    write_varint(&mut body, u64::from(meta.series));
    body.extend_from_slice(&meta.digest.to_le_bytes());
    write_varint(&mut body, meta.segments.len() as u64);
    let start = meta.window.start.0;
    for SegmentEntry { info, bytes } in &meta.segments {
        write_varint(&mut body, u64::from(*bytes));
        body.extend_from_slice(&info.checksum.to_le_bytes());
        write_varint(&mut body, u64::from(info.first_series));
        write_varint(&mut body, u64::from(info.last_series.wrapping_sub(info.first_series)));
        write_signed(&mut body, info.first.0.wrapping_sub(start));
        write_varint(&mut body, info.last.0.wrapping_sub(info.first.0) as u64);
        write_varint(&mut body, info.samples);
        write_varint(&mut body, u64::from(info.chunks));
    }
    body.extend_from_slice(table);
    let mut file = Vec::with_capacity(body.len() + 16);
    write_frame(&mut file, MAGIC, VERSION, &body);
    meta.meta_crc = crc32fast::hash(&file);
    (meta, file)
}

fn summarise(identity: Identity, series: u32, segments: Vec<SegmentEntry>) -> PartMeta {
    let Identity { id, rank, window, store, tier, layout, tombstones } = identity;
    let infos = || segments.iter().map(|segment| segment.info);
    let mut digest = crc32fast::Hasher::new();
    infos().for_each(|info| digest.update(&info.checksum.to_le_bytes()));
    PartMeta {
        id,
        rank,
        window,
        store,
        tier,
        layout,
        tombstones,
        first: infos().map(|info| info.first).min().unwrap_or_default(),
        last: infos().map(|info| info.last).max().unwrap_or_default(),
        samples: infos().map(|info| info.samples).sum(),
        chunks: infos().map(|info| u64::from(info.chunks)).sum(),
        series,
        digest: digest.finalize(),
        meta_crc: 0,
        segments,
    }
}

/// Reads a meta file: the meta, and the bytes of the series table or schema.
pub(super) fn decode(file: &[u8]) -> Result<(PartMeta, &[u8]), DecodeError> {
    let mut reader = Reader::new(file);
    let (_, body) = read_frame(&mut reader, "part meta", MAGIC, VERSION)?;
    reader.finish("part meta")?;
    let mut reader = Reader::new(body);
    let number = reader.u8()?;
    let store = StoreKind::from_number(number).ok_or(DecodeError::Invalid {
        what: "store of a part",
        found: u64::from(number),
        expected: "1 (sled), 2 (redb) or 3 (flat)",
    })?;
    let layout = Layout::from_number(reader.u8()?)?;
    let nanos = reader.varint()?;
    let tier =
        i64::try_from(nanos).ok().and_then(Tier::from_nanos).ok_or(DecodeError::Invalid {
            what: "tier of a part",
            found: nanos,
            expected: "nanoseconds from 0 to 2^62",
        })?;
    let tombstones = reader.varint()?;
    let (id, rank) = (reader.varint()?, reader.varint()?);
    let start = Timestamp(reader.u64()? as i64);
    let window = TimeRange::new(start, Timestamp(reader.u64()? as i64));
    let series = reader.length("series of a part", u32::MAX as usize)? as u32;
    let digest = reader.u32()?;
    // An entry takes eleven bytes or more.
    let count = reader.length("segments of a part", reader.remaining() / 11)?;
    let (mut segments, mut samples) = (Vec::with_capacity(count), 0_u64);
    for _ in 0..count {
        let columns = u64::from(series) * u64::from(layout.columns_per_series());
        let entry = decode_segment(&mut reader, start, columns)?;
        samples = samples.checked_add(entry.info.samples).ok_or(DecodeError::Invalid {
            what: "samples of a segment",
            found: entry.info.samples,
            expected: "fewer than 2^64 in the part",
        })?;
        segments.push(entry);
    }
    let identity = Identity { id, rank, window, store, tier, layout, tombstones };
    let mut meta = summarise(identity, series, segments);
    if meta.digest != digest {
        return Err(DecodeError::Checksum { expected: meta.digest, found: digest });
    }
    if meta.samples > 0 && !window.covers(meta.first, meta.last) {
        return Err(DecodeError::Invalid {
            what: "first sample of a part",
            found: meta.first.0 as u64,
            expected: "all samples within the part's window",
        });
    }
    meta.meta_crc = crc32fast::hash(file);
    let table = reader.bytes(reader.remaining())?;
    Ok((meta, table))
}

fn decode_segment(
    reader: &mut Reader<'_>,
    start: Timestamp,
    columns: u64,
) -> Result<SegmentEntry, DecodeError> {
    let bytes = reader.length("bytes of a segment", u32::MAX as usize)? as u32;
    let checksum = reader.u32()?;
    let first_series = reader.length("first series of a segment", u32::MAX as usize)? as u32;
    let span = reader.length("series span of a segment", u32::MAX as usize)? as u32;
    let last_series = first_series.saturating_add(span);
    if u64::from(last_series) >= columns {
        return Err(DecodeError::Invalid {
            what: "last series of a segment",
            found: u64::from(last_series),
            expected: "in the part's series table",
        });
    }
    let first = Timestamp(start.0.wrapping_add(reader.signed()?));
    let last = Timestamp(first.0.wrapping_add(reader.varint()? as i64));
    let samples = reader.varint()?;
    let chunks = reader.length("chunks of a segment", u32::MAX as usize)? as u32;
    let info = SegmentInfo { first_series, last_series, first, last, samples, chunks, checksum };
    Ok(SegmentEntry { info, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by fuzzing: counts under a right checksum whose sum takes more than 64 bits.
    #[test]
    fn more_samples_than_can_be_counted_are_refused() {
        let window = TimeRange::new(Timestamp(0), Timestamp(10));
        let (tier, layout) = (Tier::RAW, Layout::Samples);
        let store = StoreKind::Flat;
        let identity = Identity { id: 1, rank: 1, window, store, tier, layout, tombstones: 0 };
        let file = |samples: [u64; 2]| {
            let segments = samples.map(|samples| SegmentEntry {
                info: SegmentInfo {
                    first_series: 0,
                    last_series: 0,
                    first: Timestamp(0),
                    last: Timestamp(1),
                    samples,
                    chunks: 1,
                    checksum: 0,
                },
                bytes: 1,
            });
            encode(identity, 1, segments.to_vec(), &[]).1
        };
        let sound = file([u64::MAX - 1, 1]);
        assert_eq!(decode(&sound).unwrap().0.samples, u64::MAX);
        // The writer would not write it: the second count, 1, becomes 3, and the frame is sealed.
        let mut body = Reader::new(&sound);
        let mut body = read_frame(&mut body, "part meta", MAGIC, VERSION).unwrap().1.to_vec();
        let at = body.len() - 2;
        assert_eq!(body[at..], [1, 1]);
        body[at] = 3;
        let mut broken = Vec::new();
        write_frame(&mut broken, MAGIC, VERSION, &body);
        let refused = decode(&broken).unwrap_err();
        assert!(matches!(refused, DecodeError::Invalid { found: 3, .. }), "{refused}");
    }
}
