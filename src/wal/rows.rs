//! Rows of events within a record.
//!
//! ```text
//! width varint · row count varint · times, as of a column · rows
//! row: which values it has, a bit each, the first lowest · those values
//! value: integer, signed varint · float, 8 bytes · boolean, u8 · text, length varint and bytes
//! ```

use super::record::write_timestamps;
use crate::codec::bytes::{Reader, write_signed, write_varint};
use crate::error::DecodeError;
use crate::model::{EVENT_TEXT_BYTES_MAX, EventBatch, EventKind, EventValue};

/// Longest varint of 64 bits, and of a text's length.
const VARINT64_BYTES: usize = 10;

/// Most values of a batch, nulls among them: a bit of the log stands for many bytes of memory. Three
/// times what a batch may hold that comes through the channel.
pub(super) const VALUES_MAX: usize = 1 << 22;

/// A bound on what [`encode`] appends, bytes.
pub(super) fn bytes_max(batch: &EventBatch) -> usize {
    let values = batch.len() * batch.width();
    let texts: usize = batch.rows().flat_map(|(_, row)| row).map(EventValue::text_bytes).sum();
    let bits = batch.len() * batch.width().div_ceil(8);
    2 * VARINT64_BYTES + batch.len() * VARINT64_BYTES + bits + values * VARINT64_BYTES + texts
}

pub(super) fn encode(batch: &EventBatch, out: &mut Vec<u8>) {
    write_varint(out, batch.width() as u64);
    write_varint(out, batch.len() as u64);
    write_timestamps(out, batch.times());
    for (_, values) in batch.rows() {
        for eight in values.chunks(8) {
            let bit = |(at, value): (usize, &EventValue)| u8::from(!value.is_null()) << at;
            out.push(eight.iter().enumerate().map(bit).fold(0, |bits, bit| bits | bit));
        }
        for value in values {
            match value {
                EventValue::Null => {}
                EventValue::Integer(value) => write_signed(out, *value),
                EventValue::Float(value) => out.extend_from_slice(&value.to_le_bytes()),
                EventValue::Boolean(value) => out.push(u8::from(*value)),
                EventValue::Text(text) => {
                    write_varint(out, text.len() as u64);
                    out.extend_from_slice(text.as_bytes());
                }
            }
        }
    }
}

/// Reads rows of a table whose columns are of these `kinds`; `times` reads as many of them.
pub(super) fn decode(
    reader: &mut Reader<'_>,
    kinds: &[EventKind],
    times: impl FnOnce(&mut Reader<'_>, usize) -> Result<Vec<i64>, DecodeError>,
) -> Result<EventBatch, DecodeError> {
    let width = reader.length("values of a row", kinds.len())?;
    if width == 0 {
        let what = "values of a row";
        return Err(DecodeError::Invalid { what, found: 0, expected: "at least one" });
    }
    // A row takes a byte for its time and one for its bits at least.
    let rows = reader.length("rows", reader.remaining() / 2)?;
    if width * rows > VALUES_MAX {
        let (what, found) = ("values of a batch", (width * rows) as u64);
        return Err(DecodeError::Invalid { what, found, expected: "at most 4194304" });
    }
    let times = times(reader, rows)?;
    let mut batch = EventBatch::new(width);
    let mut values = Vec::with_capacity(width);
    for time in times {
        let bits = reader.bytes(width.div_ceil(8))?;
        values.clear();
        for (at, &kind) in kinds.iter().take(width).enumerate() {
            let present = bits.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1);
            values.push(if present { value(reader, kind)? } else { EventValue::Null });
        }
        // The width is its own.
        let _ = batch.push(time, values.drain(..));
    }
    Ok(batch)
}

fn value(reader: &mut Reader<'_>, kind: EventKind) -> Result<EventValue, DecodeError> {
    Ok(match kind {
        EventKind::Integer => EventValue::Integer(reader.signed()?),
        EventKind::Float => EventValue::Float(f64::from_bits(reader.u64()?)),
        EventKind::Boolean => match reader.u8()? {
            bit @ 0..=1 => EventValue::Boolean(bit == 1),
            found => {
                let (what, found) = ("boolean", u64::from(found));
                return Err(DecodeError::Invalid { what, found, expected: "0 or 1" });
            }
        },
        EventKind::Text => {
            let length = reader.length("length of a text", EVENT_TEXT_BYTES_MAX)?;
            let text = std::str::from_utf8(reader.bytes(length)?).map_err(|error| {
                DecodeError::Foreign { what: "text", message: error.to_string() }
            })?;
            EventValue::from(text)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_nothing_take_no_memory_beyond_a_batch() {
        let (width, rows) = (1000_usize, 5000);
        let mut bytes = Vec::new();
        write_varint(&mut bytes, width as u64);
        write_varint(&mut bytes, rows as u64);
        bytes.resize(bytes.len() + rows * width.div_ceil(8), 0);
        let mut reader = Reader::new(&bytes);
        let times = |_: &mut Reader<'_>, count| Ok(vec![0; count]);
        let found = decode(&mut reader, &vec![EventKind::Integer; width], times);
        let expected = DecodeError::Invalid {
            what: "values of a batch",
            found: 5_000_000,
            expected: "at most 4194304",
        };
        assert_eq!(found.err(), Some(expected));
    }
}
