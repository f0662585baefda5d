//! What a table of events is, as bytes: in the log and in the meta of a part.
//!
//! ```text
//! table text · version varint · column count varint · columns
//! column: name text · kind u8 (1 integer, 2 float, 3 boolean, 4 text) · unit text · help text
//! text: length varint · UTF-8 bytes
//! ```

use super::bytes::{Reader, write_varint};
use crate::error::DecodeError;
use crate::model::{EVENT_COLUMNS_MAX, EventColumn, EventKind, EventSchema};

/// Appends a schema.
pub fn encode(schema: &EventSchema, out: &mut Vec<u8>) {
    write_text(out, schema.table());
    write_varint(out, u64::from(schema.version()));
    write_varint(out, schema.columns().len() as u64);
    for EventColumn { name, kind, unit, help } in schema.columns() {
        write_text(out, name);
        out.push(kind.tag());
        write_text(out, unit);
        write_text(out, help);
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    write_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// A bound on what [`encode`] appends, bytes.
#[must_use]
pub fn bytes_max(schema: &EventSchema) -> usize {
    let texts = |column: &EventColumn| column.name.len() + column.unit.len() + column.help.len();
    let columns = schema.columns().iter().map(|column| 16 + texts(column));
    16 + schema.table().len() + columns.sum::<usize>()
}

/// Reads a schema from the front of `reader`.
///
/// # Errors
/// [`DecodeError`] where there is none, or it breaks a rule of [`EventSchema`].
pub fn decode(reader: &mut Reader<'_>) -> Result<EventSchema, DecodeError> {
    let table = text(reader)?.to_owned();
    let version = reader.length("version of a table", u32::MAX as usize)? as u32;
    let count = reader.length("columns of a table", EVENT_COLUMNS_MAX)?;
    let mut columns = Vec::new();
    for _ in 0..count {
        let name = text(reader)?.to_owned();
        let tag = reader.u8()?;
        let kind = EventKind::from_tag(tag).ok_or(DecodeError::Invalid {
            what: "kind of a column",
            found: u64::from(tag),
            expected: "1 to 4",
        })?;
        let (unit, help) = (text(reader)?.to_owned(), text(reader)?.to_owned());
        columns.push(EventColumn { name, kind, unit, help });
    }
    EventSchema::with_version(table, version, columns)
        .map_err(|error| DecodeError::Foreign { what: "event table", message: error.to_string() })
}

fn text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, DecodeError> {
    let length = reader.length("length of a text", reader.remaining())?;
    std::str::from_utf8(reader.bytes(length)?)
        .map_err(|error| DecodeError::Foreign { what: "text", message: error.to_string() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_decode_without_panic(bytes: Vec<u8>) {
            let _ = decode(&mut Reader::new(&bytes));
        }
    }

    #[test]
    fn a_schema_round_trips_and_no_piece_of_it_reads() {
        let kinds = [EventKind::Integer, EventKind::Float, EventKind::Boolean, EventKind::Text];
        let columns = kinds.iter().map(|&kind| {
            EventColumn::new(format!("{kind} ü"), kind).with_unit("us").with_help("What it is.")
        });
        let schema = EventSchema::with_version("queries".into(), 3, columns.collect()).unwrap();
        let mut bytes = Vec::new();
        encode(&schema, &mut bytes);
        assert!(bytes.len() <= bytes_max(&schema));
        assert_eq!(decode(&mut Reader::new(&bytes)).unwrap(), schema);
        for end in 0..bytes.len() {
            assert!(decode(&mut Reader::new(&bytes[..end])).is_err(), "cut at {end}");
        }
    }
}
