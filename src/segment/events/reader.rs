//! Segments of events, opened.

use std::ops::Range;
use std::sync::Arc;

use super::base;
use super::bounds::{Bounds, GroupBounds, read_integers};
use super::source::StoredColumn;
use super::{GROUP_ROWS, MAGIC, STRETCH_ROWS_MAX, STRETCH_TEXT_BYTES_MAX, TIME_KIND, VERSION};
use crate::codec::bytes::{Reader, read_frame};
use crate::codec::values::ValueEncoding;
use crate::codec::{bitmaps, distances, event_integers, strings, values};
use crate::error::DecodeError;
use crate::model::{Bitmap, EVENT_COLUMNS_MAX, EventData, EventKind, EventVector};
use crate::segment::SharedBytes;
use crate::time::Timestamp;

/// One column of a stretch: its groups' bounds and its dictionary at hand, its values as they are
/// read.
#[derive(Debug)]
pub struct EventSegment {
    bytes: SharedBytes,
    /// `None` of the times.
    kind: Option<EventKind>,
    rows: usize,
    base: Option<u32>,
    groups: Vec<Group>,
    dictionary: Arc<Vec<Arc<str>>>,
}

#[derive(Debug)]
struct Group {
    bounds: GroupBounds,
    /// Within the bytes.
    place: Range<usize>,
}

impl EventSegment {
    /// Opens a segment, checking its checksum and reading what stands before its values.
    ///
    /// # Errors
    /// [`DecodeError`] where `bytes` are not exactly one segment.
    pub fn open(bytes: impl Into<SharedBytes>) -> Result<Self, DecodeError> {
        let bytes = bytes.into();
        let mut reader = Reader::new(bytes.as_ref());
        let (version, body) = read_frame(&mut reader, "segment of events", MAGIC, VERSION)?;
        reader.finish("segment of events")?;
        let end = bytes.as_ref().len();
        let mut reader = Reader::new(body);
        let tag = reader.u8()?;
        let kind = EventKind::from_tag(tag);
        if kind.is_none() && tag != TIME_KIND {
            let (what, found) = ("kind of a segment of events", u64::from(tag));
            return Err(DecodeError::Invalid { what, found, expected: "0 to 4" });
        }
        let rows = reader.length("rows of a stretch", STRETCH_ROWS_MAX)?;
        let group_rows = reader.length("rows of a group", STRETCH_ROWS_MAX)?;
        if rows == 0 || group_rows == 0 {
            let what = "rows of a stretch or group";
            return Err(DecodeError::Invalid { what, found: 0, expected: "some" });
        }
        let base =
            if version < 2 { 0 } else { reader.length("base of a column", EVENT_COLUMNS_MAX)? };
        let based = matches!(kind, Some(EventKind::Integer | EventKind::Text));
        if base != 0 && !based {
            let (what, found) = ("base of a column", base as u64);
            return Err(DecodeError::Invalid { what, found, expected: "none of such a kind" });
        }
        let base = (base > 0).then_some(base as u32);
        let dictionary = match kind {
            Some(EventKind::Text) => dictionary(&mut reader)?,
            _ => Arc::default(),
        };
        let groups = directory(&mut reader, kind, (rows, group_rows), dictionary.len(), end)?;
        Ok(Self { bytes, kind, rows, base, groups, dictionary })
    }

    /// What stands in it; `None` of the times.
    #[must_use]
    pub const fn kind(&self) -> Option<EventKind> {
        self.kind
    }

    /// Rows.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// The number of the column from which the distance is kept; `None` where the values are.
    #[must_use]
    pub const fn base(&self) -> Option<u32> {
        self.base
    }

    /// Groups.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// What is known of a group without decoding it; of times their first and last.
    #[must_use]
    pub fn bounds(&self, group: usize) -> Option<GroupBounds> {
        self.groups.get(group).map(|group| group.bounds)
    }

    /// Of times, the first and the last.
    #[must_use]
    pub fn ends(&self) -> Option<(Timestamp, Timestamp)> {
        let (first, last) = (self.groups.first()?.bounds, self.groups.last()?.bounds);
        match (self.kind, first.values, last.values) {
            (None, Bounds::Integers(first, _), Bounds::Integers(_, last)) => {
                Some((Timestamp(first), Timestamp(last)))
            }
            _ => None,
        }
    }

    /// Every text of the stretch, by number; none of other columns.
    #[must_use]
    pub const fn dictionary(&self) -> &Arc<Vec<Arc<str>>> {
        &self.dictionary
    }

    /// Bytes that the open segment holds in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let texts: usize = self.dictionary.iter().map(|text| 32 + text.len()).sum();
        self.bytes.as_ref().len() + size_of_val(&*self.groups) + texts
    }

    fn group(&self, number: usize) -> Result<(&Group, Reader<'_>), DecodeError> {
        let group = self.groups.get(number).ok_or(DecodeError::Invalid {
            what: "group of events",
            found: number as u64,
            expected: "one of the segment's",
        })?;
        let bytes = self.bytes.as_ref().get(group.place.clone()).unwrap_or_default();
        Ok((group, Reader::new(bytes)))
    }

    /// Replaces `out` with the times of a group, ascending.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are damaged, or this is no segment of times.
    pub fn read_times(&self, group: usize, out: &mut Vec<i64>) -> Result<(), DecodeError> {
        if self.kind.is_some() {
            return Err(self.stranger());
        }
        let (group, mut reader) = self.group(group)?;
        event_integers::decode(&mut reader, group.bounds.rows as usize, out)?;
        if !out.is_sorted() {
            let (what, found) = ("times of a group", out.len() as u64);
            return Err(DecodeError::Invalid { what, found, expected: "ascending" });
        }
        reader.finish("times of a group")
    }

    fn stranger(&self) -> DecodeError {
        let found = self.kind.map_or(TIME_KIND, EventKind::tag);
        let what = "kind of a segment of events";
        DecodeError::Invalid { what, found: u64::from(found), expected: "the column's" }
    }

    /// The rows of a group; `base` are those of the column that [`base`](Self::base) says.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are damaged, this is a segment of times, or `base` is not what
    /// is needed.
    pub fn read(&self, group: usize, base: Option<&EventData>) -> Result<EventData, DecodeError> {
        let kind = self.kind.ok_or_else(|| self.stranger())?;
        let (group, mut reader) = self.group(group)?;
        let (rows, nulls) = (group.bounds.rows as usize, group.bounds.nulls as usize);
        if nulls == rows {
            reader.finish("group of events")?;
            let mut data = EventData::nulls(kind, rows);
            if let EventVector::Text { dictionary, .. } = &mut data.values {
                *dictionary = Arc::clone(&self.dictionary);
            }
            return Ok(data);
        }
        let present = if nulls > 0 { Some(bitmaps::decode(&mut reader, rows)?) } else { None };
        if let Some(found) = present.as_ref().map(Bitmap::count_ones).filter(|&n| n != rows - nulls)
        {
            let (what, found) = ("values of a group", found as u64);
            return Err(DecodeError::Invalid { what, found, expected: "as its bounds say" });
        }
        let base = base.filter(|_| self.base.is_some());
        let fits = |base: &EventData| base.kind() == kind && base.len() == rows;
        if base.is_some() != self.base.is_some() || !base.is_none_or(fits) {
            let (what, found) = ("rows of a base", base.map_or(0, |base| base.len() as u64));
            return Err(DecodeError::Invalid { what, found, expected: "as many, of its kind" });
        }
        let bases = base.map(|base| match &present {
            Some(present) => base::numbers(base, present.ones()),
            None => base::numbers(base, 0..rows),
        });
        let values = self.read_values(kind, &mut reader, rows - nulls, bases.as_deref())?;
        reader.finish("group of events")?;
        let values = match &present {
            Some(present) => spread(values, present),
            None => values,
        };
        Ok(EventData { present, values })
    }

    fn read_values(
        &self,
        kind: EventKind,
        reader: &mut Reader<'_>,
        count: usize,
        bases: Option<&[i64]>,
    ) -> Result<EventVector, DecodeError> {
        let integers = |reader: &mut Reader<'_>| {
            let mut integers = Vec::new();
            match bases {
                Some(bases) => distances::decode(reader, bases, &mut integers)?,
                None => event_integers::decode(reader, count, &mut integers)?,
            }
            Ok(integers)
        };
        Ok(match kind {
            EventKind::Integer => EventVector::Integer(integers(reader)?),
            EventKind::Float => {
                let encoding = ValueEncoding::from_tag(reader.u8()?)?;
                let length = reader.length("length of a column", reader.remaining())?;
                let mut numbers = Vec::new();
                values::decode(encoding, reader.bytes(length)?, count, &mut numbers)?;
                EventVector::Float(numbers)
            }
            EventKind::Boolean => EventVector::Boolean(bitmaps::decode(reader, count)?),
            EventKind::Text => {
                let numbers = integers(reader)?;
                let known = self.dictionary.len() as u64;
                let id = |number: &i64| {
                    let found = number.cast_unsigned();
                    let (what, expected) = ("number of a text", "one of the dictionary's");
                    let fits = (found < known).then_some(found as u32);
                    fits.ok_or(DecodeError::Invalid { what, found, expected })
                };
                let ids = numbers.iter().map(id).collect::<Result<Vec<u32>, _>>()?;
                EventVector::Text { ids, dictionary: Arc::clone(&self.dictionary) }
            }
        })
    }

    /// Decodes everything, and compares it with what is kept of it; `base` is the column that
    /// [`base`](Self::base) says.
    ///
    /// # Errors
    /// [`DecodeError`] for the first that does not fit, in the base too.
    pub fn verify(&self, base: Option<&StoredColumn>) -> Result<(), DecodeError> {
        let (mut times, mut last) = (Vec::new(), i64::MIN);
        let mut used = vec![false; self.dictionary.len()];
        for number in 0..self.groups() {
            let kept = self.group(number)?.0.bounds;
            let found = if self.kind.is_none() {
                self.read_times(number, &mut times)?;
                let ends = times.first().zip(times.last());
                let (first, end) = ends.map_or((0, 0), |(&first, &end)| (first, end));
                let ordered = std::mem::replace(&mut last, end) <= first;
                let values = if ordered { Bounds::Integers(first, end) } else { Bounds::Empty };
                GroupBounds { rows: times.len() as u32, nulls: 0, values }
            } else {
                let base = base.map(|base| base.read(number as u32)).transpose()?;
                let data = self.read(number, base.as_deref())?;
                if let EventVector::Text { ids, .. } = &data.values {
                    for (row, &id) in
                        ids.iter().enumerate().filter(|(row, _)| data.is_present(*row))
                    {
                        debug_assert!(row < data.len());
                        if let Some(place) = used.get_mut(id as usize) {
                            *place = true;
                        }
                    }
                }
                GroupBounds::of(&data)
            };
            if found != kept {
                let (what, found) = ("bounds of a group", number as u64);
                return Err(DecodeError::Invalid { what, found, expected: "those of its rows" });
            }
        }
        match used.iter().position(|used| !used) {
            Some(found) => {
                let (what, found) = ("text of a dictionary", found as u64);
                Err(DecodeError::Invalid { what, found, expected: "in some row" })
            }
            None => Ok(()),
        }
    }
}

fn dictionary(reader: &mut Reader<'_>) -> Result<Arc<Vec<Arc<str>>>, DecodeError> {
    let texts = strings::decode(reader)?;
    let bytes: usize = texts.iter().map(String::len).sum();
    if texts.len() > STRETCH_ROWS_MAX || bytes > STRETCH_TEXT_BYTES_MAX {
        let (what, found) = ("bytes of a dictionary", bytes as u64);
        return Err(DecodeError::Invalid { what, found, expected: "within a stretch's" });
    }
    Ok(Arc::new(texts.into_iter().map(Arc::from).collect()))
}

/// The groups of a segment of `(rows, rows of a group)` whose bytes end at `end`, from what stands
/// before them.
fn directory(
    reader: &mut Reader<'_>,
    kind: Option<EventKind>,
    (rows, group_rows): (usize, usize),
    texts: usize,
    end: usize,
) -> Result<Vec<Group>, DecodeError> {
    let count = rows.div_ceil(group_rows);
    // A group takes two bytes of the directory at least: the input earns the allocation.
    if count > reader.remaining() / 2 {
        return Err(DecodeError::Truncated { needed: 2 * count, available: reader.remaining() });
    }
    let mut entries = Vec::with_capacity(count);
    for group in 0..count {
        let rows = group_rows.min(rows - group * group_rows);
        let bounds = match kind {
            Some(kind) => GroupBounds::read(reader, kind, rows, texts)?,
            None => {
                let (first, last) = read_integers(reader)?;
                let values = Bounds::Integers(first, last);
                GroupBounds { rows: rows as u32, nulls: 0, values }
            }
        };
        entries.push((bounds, reader.length("length of a group", end)?));
    }
    let mut from = end - reader.remaining();
    let mut groups = Vec::with_capacity(count);
    for (bounds, length) in entries {
        let place = from..from.saturating_add(length);
        reader.bytes(length)?;
        from = place.end;
        groups.push(Group { bounds, place });
    }
    let left = reader.remaining() as u64;
    if left > 0 {
        let what = "segment of events";
        return Err(DecodeError::Invalid { what, found: left, expected: "no bytes left over" });
    }
    Ok(groups)
}

/// Values put where the rows are that hold them.
fn spread(values: EventVector, present: &Bitmap) -> EventVector {
    fn over<T: Copy + Default>(values: &[T], present: &Bitmap) -> Vec<T> {
        let mut rows = vec![T::default(); present.len()];
        for (row, value) in present.ones().zip(values) {
            if let Some(place) = rows.get_mut(row) {
                *place = *value;
            }
        }
        rows
    }
    match values {
        EventVector::Integer(values) => EventVector::Integer(over(&values, present)),
        EventVector::Float(values) => EventVector::Float(over(&values, present)),
        EventVector::Boolean(bits) => {
            let mut rows = Bitmap::filled(false, present.len());
            present.ones().zip(bits.iter()).for_each(|(row, bit)| rows.set(row, bit));
            EventVector::Boolean(rows)
        }
        EventVector::Text { ids, dictionary } => {
            EventVector::Text { ids: over(&ids, present), dictionary }
        }
    }
}

/// As every writer has them.
const _: () = assert!(GROUP_ROWS <= STRETCH_ROWS_MAX);
