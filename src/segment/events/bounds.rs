//! Bounds of the values of a group: what a scan knows before it decodes.

use crate::codec::bytes::{Reader, write_signed, write_varint};
use crate::error::DecodeError;
use crate::model::{EventData, EventKind, EventVector};

/// What is known of one group of a column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupBounds {
    /// Rows.
    pub rows: u32,
    /// Rows without a value.
    pub nulls: u32,
    /// Of the others.
    pub values: Bounds,
}

/// What the values of a group lie within, both ends inclusive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bounds {
    /// There are none.
    Empty,
    /// The smallest and the largest.
    Integers(i64, i64),
    /// The smallest and largest of those that are not NaN, where there are any; whether there is a
    /// NaN.
    Floats(Option<(f64, f64)>, bool),
    /// Whether there is a false, and a true.
    Booleans(bool, bool),
    /// The smallest and largest number in the dictionary.
    Texts(u32, u32),
}

impl GroupBounds {
    /// Those of a column's rows.
    #[must_use]
    pub fn of(data: &EventData) -> Self {
        let present = |row: &usize| data.is_present(*row);
        let rows = || (0..data.len()).filter(present);
        let values = match &data.values {
            EventVector::Integer(values) => {
                let values = rows().filter_map(|row| values.get(row).copied());
                span(values).map_or(Bounds::Empty, |(min, max)| Bounds::Integers(min, max))
            }
            EventVector::Float(values) => floats(rows().filter_map(|row| values.get(row).copied())),
            EventVector::Boolean(bits) => {
                let has = |bit| rows().any(|row| bits.get(row) == bit);
                match (has(false), has(true)) {
                    (false, false) => Bounds::Empty,
                    (no, yes) => Bounds::Booleans(no, yes),
                }
            }
            EventVector::Text { ids, .. } => {
                let ids = rows().filter_map(|row| ids.get(row).copied());
                span(ids).map_or(Bounds::Empty, |(min, max)| Bounds::Texts(min, max))
            }
        };
        let nulls = data.null_count() as u32;
        Self { rows: data.len() as u32, nulls, values }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        write_varint(out, u64::from(self.nulls));
        match self.values {
            Bounds::Empty => {}
            Bounds::Integers(min, max) => write_integers(out, min, max),
            Bounds::Floats(range, nan) => {
                out.push(u8::from(nan) | u8::from(range.is_some()) << 1);
                if let Some((min, max)) = range {
                    out.extend_from_slice(&min.to_le_bytes());
                    out.extend_from_slice(&max.to_le_bytes());
                }
            }
            Bounds::Booleans(no, yes) => out.push(u8::from(no) | u8::from(yes) << 1),
            Bounds::Texts(min, max) => {
                write_varint(out, u64::from(min));
                write_varint(out, u64::from(max - min));
            }
        }
    }

    /// Those of a group of `rows` rows, whose texts are among `texts`.
    pub(super) fn read(
        reader: &mut Reader<'_>,
        kind: EventKind,
        rows: usize,
        texts: usize,
    ) -> Result<Self, DecodeError> {
        let nulls = reader.length("nulls of a group", rows)?;
        let values = if nulls == rows {
            Bounds::Empty
        } else {
            match kind {
                EventKind::Integer => {
                    let (min, max) = read_integers(reader)?;
                    Bounds::Integers(min, max)
                }
                EventKind::Float => read_floats(reader)?,
                EventKind::Boolean => {
                    let bits = two_bits(reader)?;
                    Bounds::Booleans(bits & 1 != 0, bits & 2 != 0)
                }
                EventKind::Text => {
                    let last = texts.saturating_sub(1);
                    let min = reader.length("lowest text of a group", last)?;
                    let span = reader.length("texts of a group", last - min)?;
                    Bounds::Texts(min as u32, (min + span) as u32)
                }
            }
        };
        Ok(Self { rows: rows as u32, nulls: nulls as u32, values })
    }
}

pub(super) fn write_integers(out: &mut Vec<u8>, min: i64, max: i64) {
    write_signed(out, min);
    write_varint(out, max.wrapping_sub(min).cast_unsigned());
}

pub(super) fn read_integers(reader: &mut Reader<'_>) -> Result<(i64, i64), DecodeError> {
    let min = reader.signed()?;
    let span = reader.varint()?;
    let max = min.checked_add_unsigned(span).ok_or(DecodeError::Invalid {
        what: "span of a group",
        found: span,
        expected: "an end within 64 bits",
    })?;
    Ok((min, max))
}

fn two_bits(reader: &mut Reader<'_>) -> Result<u8, DecodeError> {
    match reader.u8()? {
        bits @ 1..=3 => Ok(bits),
        found => Err(DecodeError::Invalid {
            what: "bounds of a group",
            found: u64::from(found),
            expected: "1 to 3",
        }),
    }
}

fn read_floats(reader: &mut Reader<'_>) -> Result<Bounds, DecodeError> {
    let bits = two_bits(reader)?;
    let range = if bits & 2 == 0 {
        None
    } else {
        let (min, max) = (f64::from_bits(reader.u64()?), f64::from_bits(reader.u64()?));
        if min.is_nan() || max.is_nan() || max < min {
            let (what, found) = ("bounds of a group", max.to_bits());
            return Err(DecodeError::Invalid { what, found, expected: "numbers that ascend" });
        }
        Some((min, max))
    };
    Ok(Bounds::Floats(range, bits & 1 != 0))
}

fn span<T: Ord + Copy>(values: impl Iterator<Item = T>) -> Option<(T, T)> {
    values.fold(None, |span, value| {
        let (min, max) = span.unwrap_or((value, value));
        Some((min.min(value), max.max(value)))
    })
}

fn floats(values: impl Iterator<Item = f64>) -> Bounds {
    let (mut range, mut nan, mut any) = (None, false, false);
    for value in values {
        any = true;
        if value.is_nan() {
            nan = true;
            continue;
        }
        let (min, max) = range.unwrap_or((value, value));
        range =
            Some((if value < min { value } else { min }, if max < value { value } else { max }));
    }
    if any { Bounds::Floats(range, nan) } else { Bounds::Empty }
}
