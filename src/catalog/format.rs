//! The catalog's bytes: a checksummed frame around bincode with fixed-width integers, which is
//! plain little-endian fields one after another (`docs/format.md`, "Catalog").

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::{Decode, Encode};

use super::{CATALOG_BYTES_MAX, Catalog, PartEntry, Tombstone};
use crate::codec::bytes::{Reader, read_frame, write_frame};
use crate::error::{DecodeError, Error, Result};
use crate::part::Layout;
use crate::time::{Tier, TimeRange, Timestamp};

const MAGIC: [u8; 4] = *b"ICCT";
const VERSION: u8 = 1;
/// Bytes of the field that catalogs of earlier builds end without.
const RAW_WHOLE_FROM_BYTES: usize = 8;
/// Bytes of one [`PartRow`].
const PART_BYTES: usize = 94;

type ByteOrder = Configuration<LittleEndian, Fixint, Limit<CATALOG_BYTES_MAX>>;
const LAYOUT: ByteOrder = bincode::config::standard().with_fixed_int_encoding().with_limit();

/// The fields before the parts, in stored order.
#[derive(Debug, Encode, Decode)]
struct HeadRow {
    store_id: u64,
    created_ns: i64,
    partition_ns: i64,
    watermark: u64,
    next_part: u64,
    next_tombstone: u64,
    parts: u32,
    tombstones: u32,
}

/// The fields of a part, in stored order.
#[derive(Debug, Encode, Decode)]
struct PartRow {
    id: u64,
    rank: u64,
    window_start_ns: i64,
    window_end_ns: i64,
    first_ns: i64,
    last_ns: i64,
    samples: u64,
    series: u32,
    segments: u32,
    bytes: u64,
    meta_crc: u32,
    store: u8,
    layout: u8,
    tier_ns: i64,
    tombstones: u64,
}

/// The fields of a tombstone, in stored order; the selector's length stands before its bytes.
#[derive(Debug, Encode, Decode)]
struct TombstoneRow {
    id: u64,
    rank: u64,
    start_ns: i64,
    end_ns: i64,
    selector: String,
}

impl From<&PartEntry> for PartRow {
    fn from(part: &PartEntry) -> Self {
        Self {
            id: part.id,
            rank: part.rank,
            window_start_ns: part.window.start.0,
            window_end_ns: part.window.end.0,
            first_ns: part.first.0,
            last_ns: part.last.0,
            samples: part.samples,
            series: part.series,
            segments: part.segments,
            bytes: part.bytes,
            meta_crc: part.meta_crc,
            store: part.store,
            layout: part.layout as u8,
            tier_ns: part.tier.nanos(),
            tombstones: part.tombstones,
        }
    }
}

impl TryFrom<PartRow> for PartEntry {
    type Error = DecodeError;

    fn try_from(row: PartRow) -> Result<Self, DecodeError> {
        Ok(Self {
            id: row.id,
            rank: row.rank,
            window: TimeRange::new(Timestamp(row.window_start_ns), Timestamp(row.window_end_ns)),
            first: Timestamp(row.first_ns),
            last: Timestamp(row.last_ns),
            samples: row.samples,
            series: row.series,
            segments: row.segments,
            bytes: row.bytes,
            meta_crc: row.meta_crc,
            store: row.store,
            layout: Layout::from_number(row.layout)?,
            tier: tier_of(row.tier_ns)?,
            tombstones: row.tombstones,
        })
    }
}

fn tier_of(nanos: i64) -> Result<Tier, DecodeError> {
    Tier::from_nanos(nanos).ok_or(DecodeError::Invalid {
        what: "tier of a part",
        found: nanos as u64,
        expected: "nanoseconds from 0 to 2^62",
    })
}

pub(super) fn encode(catalog: &Catalog) -> Result<Vec<u8>> {
    let refused = |error: bincode::error::EncodeError| Error::InvalidArgument {
        what: "catalog",
        reason: error.to_string(),
    };
    let parts = u32::try_from(catalog.parts.len()).unwrap_or(u32::MAX);
    let tombstones = u32::try_from(catalog.tombstones.len()).unwrap_or(u32::MAX);
    let head = HeadRow {
        store_id: catalog.store_id,
        created_ns: catalog.created.0,
        partition_ns: catalog.partition_ns,
        watermark: catalog.watermark,
        next_part: catalog.next_part,
        next_tombstone: catalog.next_tombstone,
        parts,
        tombstones,
    };
    let mut body = bincode::encode_to_vec(head, LAYOUT).map_err(refused)?;
    for part in &catalog.parts {
        let row = bincode::encode_to_vec(PartRow::from(part), LAYOUT).map_err(refused)?;
        body.extend_from_slice(&row);
    }
    for Tombstone { id, rank, range, selector } in &catalog.tombstones {
        let (start_ns, end_ns) = (range.start.0, range.end.0);
        let row =
            TombstoneRow { id: *id, rank: *rank, start_ns, end_ns, selector: selector.clone() };
        body.extend(bincode::encode_to_vec(row, LAYOUT).map_err(refused)?);
    }
    body.extend_from_slice(&catalog.raw_whole_from.0.to_le_bytes());
    let mut bytes = Vec::new();
    write_frame(&mut bytes, MAGIC, VERSION, &body);
    if bytes.len() > CATALOG_BYTES_MAX {
        let reason = format!("{parts} parts are too many for one catalog");
        return Err(Error::InvalidArgument { what: "catalog", reason });
    }
    Ok(bytes)
}

pub(super) fn decode(bytes: &[u8]) -> Result<Catalog, DecodeError> {
    let mut reader = Reader::new(bytes);
    let (_, mut body) = read_frame(&mut reader, "catalog", MAGIC, VERSION)?;
    reader.finish("catalog file")?;
    let head: HeadRow = next_row(&mut body)?;
    if body.len() < (head.parts as usize).saturating_mul(PART_BYTES) {
        let (found, expected) = (u64::from(head.parts), "as many as the file has room for");
        return Err(DecodeError::Invalid { what: "parts in the catalog", found, expected });
    }
    let parts = (0..head.parts)
        .map(|_| PartEntry::try_from(next_row::<PartRow>(&mut body)?))
        .collect::<Result<Vec<_>, _>>()?;
    let mut tombstones = Vec::new();
    for _ in 0..head.tombstones {
        let row: TombstoneRow = next_row(&mut body)?;
        let range = TimeRange::new(Timestamp(row.start_ns), Timestamp(row.end_ns));
        let TombstoneRow { id, rank, selector, .. } = row;
        tombstones.push(Tombstone { id, rank, range, selector });
    }
    // Who wrote it without did not note what was removed.
    let mut raw_whole_from = Timestamp::MAX;
    if body.len() == RAW_WHOLE_FROM_BYTES {
        raw_whole_from = Timestamp(next_row(&mut body)?);
    }
    if !body.is_empty() {
        let (found, expected) = (body.len() as u64, "eight behind the last tombstone, or none");
        return Err(DecodeError::Invalid { what: "bytes in the catalog", found, expected });
    }
    Ok(Catalog {
        store_id: head.store_id,
        created: Timestamp(head.created_ns),
        partition_ns: head.partition_ns,
        watermark: head.watermark,
        next_part: head.next_part,
        next_tombstone: head.next_tombstone,
        raw_whole_from,
        parts,
        tombstones,
    })
}

/// Decodes a row from the front of `body`.
fn next_row<R: Decode<()>>(body: &mut &[u8]) -> Result<R, DecodeError> {
    let (row, used) = bincode::decode_from_slice(body, LAYOUT)
        .map_err(|error| DecodeError::Foreign { what: "catalog", message: error.to_string() })?;
    *body = body.get(used..).unwrap_or_default();
    Ok(row)
}
