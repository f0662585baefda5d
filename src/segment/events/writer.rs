//! Columns of a stretch become segments.

use std::borrow::Cow;
use std::sync::Arc;

use rayon::prelude::*;

use super::base;
use super::bounds::{GroupBounds, write_integers};
use super::{GROUP_ROWS, MAGIC, STRETCH_ROWS_MAX, STRETCH_TEXT_BYTES_MAX, TIME_KIND, VERSION};
use crate::codec::bytes::{write_frame, write_varint};
use crate::codec::{bitmaps, distances, event_integers, strings, values};
use crate::error::{Error, Result};
use crate::model::{Bitmap, EventData, EventRows, EventVector};

/// A base is to save one byte of so many: whoever reads the column reads the base too.
const BASE_GAIN: usize = 8;

/// A segment of a column, and what a part's meta keeps of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedColumn {
    /// The whole segment.
    pub bytes: Vec<u8>,
    /// Groups in it.
    pub groups: u32,
}

/// Whether rows may become a stretch: some, not too many, ascending by time, columns of equal
/// length, texts within their dictionaries and within their bound.
///
/// # Errors
/// [`Error::InvalidArgument`] saying which of it does not hold.
pub fn check_stretch(rows: &EventRows) -> Result<()> {
    let invalid =
        |reason: String| Err(Error::InvalidArgument { what: "stretch of events", reason });
    if rows.is_empty() || rows.len() > STRETCH_ROWS_MAX {
        return invalid(format!("{} rows, 1 to {STRETCH_ROWS_MAX} may be", rows.len()));
    }
    if !rows.times.is_sorted() {
        return invalid("times do not ascend".to_owned());
    }
    let mut text_bytes = 0;
    for (at, column) in rows.columns.iter().enumerate() {
        let present = column.present.as_ref().map_or(rows.len(), Bitmap::len);
        if column.len() != rows.len() || present != rows.len() {
            return invalid(format!("column {at} has {} of {} rows", column.len(), rows.len()));
        }
        if matches!(column.values, EventVector::Text { .. }) {
            for row in (0..rows.len()).filter(|&row| column.is_present(row)) {
                let Some(text) = column.text(row) else {
                    return invalid(format!("row {row} of column {at} is in no dictionary"));
                };
                text_bytes += text.len();
            }
        }
    }
    if text_bytes > STRETCH_TEXT_BYTES_MAX {
        return invalid(format!("{text_bytes} bytes of text of {STRETCH_TEXT_BYTES_MAX}"));
    }
    Ok(())
}

/// The segments of a stretch that [`check_stretch`] has passed: of its times, then of its columns in
/// their order. Encoded with rayon.
///
/// # Errors
/// As [`encode_column`].
pub fn encode_stretch(rows: &EventRows) -> Result<Vec<EncodedColumn>> {
    let columns: Vec<Numbered<'_>> = rows.columns.par_iter().map(Numbered::of).collect();
    let encoded = |field: usize| match field.checked_sub(1) {
        None => Ok(encode_times(&rows.times)),
        Some(at) => encode_among(&columns, at),
    };
    (0..=columns.len()).into_par_iter().map(encoded).collect()
}

/// One of the columns: by one that stands before it, where that saves enough bytes.
fn encode_among(columns: &[Numbered<'_>], at: usize) -> Result<EncodedColumn> {
    let (before, rest) = columns.split_at(at.min(columns.len()));
    let Some(column) = rest.first() else {
        let reason = format!("{at} is none of {}", columns.len());
        return Err(Error::InvalidArgument { what: "column of a stretch", reason });
    };
    let alone = column.encode(None)?;
    let candidates = before.iter().map(|column| &*column.data);
    let Some(found) = base::nearest(candidates, &column.data) else { return Ok(alone) };
    let Some(base) = before.get(found) else { return Ok(alone) };
    let near = column.encode(Some((found as u32 + 1, &base.data)))?;
    let gained = near.bytes.len() + alone.bytes.len() / BASE_GAIN < alone.bytes.len();
    Ok(if gained { near } else { alone })
}

/// The segment of a stretch's times, ascending, 1 to [`STRETCH_ROWS_MAX`].
#[must_use]
pub fn encode_times(times: &[i64]) -> EncodedColumn {
    let mut parts = Parts::default();
    for group in times.chunks(GROUP_ROWS) {
        let (Some(&first), Some(&last)) = (group.first(), group.last()) else { continue };
        write_integers(&mut parts.directory, first, last);
        parts.group(|out| event_integers::encode(group, out));
    }
    parts.finish(TIME_KIND, times.len(), 0, &[])
}

/// The segment of one column of a stretch that [`check_stretch`] has passed, by itself.
///
/// # Errors
/// [`Error::Limit`] where the texts of the dictionary exceed what a list may hold, which the bound of
/// a stretch rules out.
pub fn encode_column(data: &EventData) -> Result<EncodedColumn> {
    Numbered::of(data).encode(None)
}

/// A column whose texts are numbered by first appearance, unused ones left out.
struct Numbered<'a> {
    /// Of texts without their dictionary.
    data: Cow<'a, EventData>,
    dictionary: Vec<Arc<str>>,
}

impl<'a> Numbered<'a> {
    fn of(data: &'a EventData) -> Self {
        let mut dictionary = Vec::new();
        let data = match renumbered(data, &mut dictionary) {
            Some(numbered) => Cow::Owned(numbered),
            None => Cow::Borrowed(data),
        };
        Self { data, dictionary }
    }

    /// By itself, or as distances from the column of this number.
    fn encode(&self, base: Option<(u32, &EventData)>) -> Result<EncodedColumn> {
        let (data, mut head) = (&*self.data, Vec::new());
        if matches!(data.values, EventVector::Text { .. }) {
            strings::encode(&self.dictionary, &mut head)?;
        }
        let mut parts = Parts::default();
        for start in (0..data.len()).step_by(GROUP_ROWS) {
            let rows = start..data.len().min(start + GROUP_ROWS);
            let group = slice(data, rows.clone());
            let base = base.map(|(_, base)| slice(base, rows));
            let bounds = GroupBounds::of(&group);
            bounds.write(&mut parts.directory);
            parts.group(|out| write_group(&group, &bounds, base.as_ref(), out));
        }
        let field = base.map_or(0, |(field, _)| field);
        Ok(parts.finish(data.kind().tag(), data.len(), field, &head))
    }
}

/// What comes together of a segment.
#[derive(Debug, Default)]
struct Parts {
    directory: Vec<u8>,
    groups: Vec<u8>,
    count: u32,
}

impl Parts {
    fn group(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.groups.len();
        write(&mut self.groups);
        write_varint(&mut self.directory, (self.groups.len() - before) as u64);
        self.count += 1;
    }

    fn finish(self, kind: u8, rows: usize, base: u32, head: &[u8]) -> EncodedColumn {
        let mut body = vec![kind];
        write_varint(&mut body, rows as u64);
        write_varint(&mut body, GROUP_ROWS as u64);
        write_varint(&mut body, u64::from(base));
        body.extend_from_slice(head);
        body.extend_from_slice(&self.directory);
        body.extend_from_slice(&self.groups);
        let mut bytes = Vec::with_capacity(body.len() + 16);
        write_frame(&mut bytes, MAGIC, VERSION, &body);
        EncodedColumn { bytes, groups: self.count }
    }
}

/// Texts numbered by first appearance, 0 where there is none; `None` of other columns.
fn renumbered(data: &EventData, dictionary: &mut Vec<Arc<str>>) -> Option<EventData> {
    let EventVector::Text { ids, dictionary: known } = &data.values else { return None };
    let mut number = vec![u32::MAX; known.len()];
    let ids = ids.iter().enumerate().map(|(row, &id)| {
        if !data.is_present(row) {
            return 0;
        }
        let Some(number) = number.get_mut(id as usize) else { return 0 };
        if *number == u32::MAX {
            *number = dictionary.len() as u32;
            dictionary.extend(known.get(id as usize).cloned());
        }
        *number
    });
    let values = EventVector::Text { ids: ids.collect(), dictionary: Arc::default() };
    Some(EventData { present: data.present.clone(), values })
}

/// Some rows; texts without their dictionary.
fn slice(data: &EventData, rows: std::ops::Range<usize>) -> EventData {
    let bits = |bits: &Bitmap| rows.clone().map(|row| bits.get(row)).collect::<Bitmap>();
    let values = match &data.values {
        EventVector::Integer(values) => EventVector::Integer(piece(values, &rows)),
        EventVector::Float(values) => EventVector::Float(piece(values, &rows)),
        EventVector::Boolean(values) => EventVector::Boolean(bits(values)),
        EventVector::Text { ids, .. } => {
            EventVector::Text { ids: piece(ids, &rows), dictionary: Arc::default() }
        }
    };
    EventData { present: data.present.as_ref().map(bits), values }
}

fn piece<T: Copy>(values: &[T], rows: &std::ops::Range<usize>) -> Vec<T> {
    values.get(rows.clone()).unwrap_or_default().to_vec()
}

/// Which rows hold values, where some do not, and the values of those that do; as distances from their
/// bases, where there are some.
fn write_group(
    group: &EventData,
    bounds: &GroupBounds,
    base: Option<&EventData>,
    out: &mut Vec<u8>,
) {
    if bounds.nulls == bounds.rows {
        return;
    }
    let present = group.present.as_ref().filter(|_| bounds.nulls > 0);
    if let Some(present) = present {
        bitmaps::encode(present, out);
    }
    let rows = || (0..group.len()).filter(|&row| present.is_none_or(|present| present.get(row)));
    match &group.values {
        EventVector::Integer(_) | EventVector::Text { .. } => {
            let numbers = base::numbers(group, rows());
            match base {
                Some(base) => distances::encode(&numbers, &base::numbers(base, rows()), out),
                None => event_integers::encode(&numbers, out),
            }
        }
        EventVector::Float(numbers) => {
            let numbers: Vec<f64> = rows().filter_map(|row| numbers.get(row).copied()).collect();
            let mut column = Vec::new();
            out.push(values::encode(&numbers, &mut column).tag());
            write_varint(out, column.len() as u64);
            out.append(&mut column);
        }
        EventVector::Boolean(bits) => {
            bitmaps::encode(&rows().map(|row| bits.get(row)).collect(), out);
        }
    }
}
