//! Parts of events: the table in the meta, columns of stretches in the store.
//!
//! Stretch *s* of a table of *c* columns is segments *s* (*c* + 1) to *s* (*c* + 1) + *c*: the times,
//! then the columns in their order.

use std::path::Path;
use std::sync::Arc;

use super::cache::Opened;
use super::meta::{Layout, PartMeta, SegmentEntry};
use super::write::{Builder, PartSpec};
use super::{Part, STORE_DIR};
use crate::codec::bytes::{Reader, read_frame, write_frame};
use crate::codec::schemas;
use crate::error::{DecodeError, Error, Result};
use crate::fs::Fs;
use crate::model::{EventKind, EventRows, EventSchema};
use crate::segment::{
    EncodedColumn, EncodedSegment, EventSegment, EventSource, EventStretch, SegmentInfo,
    StoredColumn, TIME_FIELD, check_stretch, encode_stretch,
};
use crate::store::PartStore;
use crate::time::Timestamp;

const MAGIC: [u8; 4] = *b"ICEB";
const VERSION: u8 = 1;

/// What a part of events knows of its table.
#[derive(Debug)]
pub(super) struct EventTable {
    schema: Arc<EventSchema>,
    stretches: Vec<EventStretch>,
}

impl EventTable {
    /// From the bytes in the meta, and the segments that it names.
    pub(super) fn decode(bytes: &[u8], meta: &PartMeta) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let (_, body) = read_frame(&mut reader, "table of a part", MAGIC, VERSION)?;
        reader.finish("table of a part")?;
        let mut reader = Reader::new(body);
        let schema = Arc::new(schemas::decode(&mut reader)?);
        reader.finish("table of a part")?;
        let invalid = |what, found: u64, expected| DecodeError::Invalid { what, found, expected };
        if meta.series != 1 || !meta.tier.is_raw() {
            let found = u64::from(meta.series);
            return Err(invalid("series of a part of events", found, "1, as they came"));
        }
        let mut stretches = Vec::new();
        for columns in meta.segments.chunks(schema.columns().len() + 1) {
            stretches.push(stretch(columns, schema.columns().len() + 1).ok_or_else(|| {
                invalid("segments of a stretch", columns.len() as u64, "a column each, alike")
            })?);
        }
        let ordered = stretches.windows(2).all(|pair| match pair {
            [one, next] => one.last <= next.first,
            _ => true,
        });
        if !ordered {
            let found = stretches.len() as u64;
            return Err(invalid("stretches of a part", found, "ascending by time"));
        }
        Ok(Self { schema, stretches })
    }
}

/// The stretch of these segments; `None` where they are not a column each, or not alike.
fn stretch(columns: &[SegmentEntry], count: usize) -> Option<EventStretch> {
    let times = &columns.first()?.info;
    let alike = (TIME_FIELD..).zip(columns).all(|(field, SegmentEntry { info, .. })| {
        (info.first_series, info.last_series) == (field, field)
            && (info.first, info.last) == (times.first, times.last)
            && (info.samples, info.chunks) == (times.samples, times.chunks)
    });
    let rows = u32::try_from(times.samples).ok()?;
    let (first, last, groups) = (times.first, times.last, times.chunks);
    (alike && columns.len() == count).then_some(EventStretch { first, last, rows, groups })
}

impl Builder {
    /// Begins a part of rows of a table of events; `spec` is of [`Layout::Events`].
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn events(
        fs: &Arc<dyn Fs>,
        parts_dir: &Path,
        spec: &PartSpec,
        schema: &EventSchema,
    ) -> Result<Self> {
        if spec.layout != Layout::Events {
            let reason = "is not one of events".to_owned();
            return Err(Error::InvalidArgument { what: "layout of a part", reason });
        }
        let (mut body, mut table) = (Vec::new(), Vec::new());
        schemas::encode(schema, &mut body);
        write_frame(&mut table, MAGIC, VERSION, &body);
        Self::begin(fs, parts_dir, spec, 1, table)
    }

    /// Adds a stretch: rows ascending by time, not before those that were added, with the columns of
    /// the table. Its columns are encoded with rayon.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for rows that are no stretch, or lie outside the part's window; the
    /// store's failure.
    pub fn add_events(&mut self, rows: &EventRows) -> Result<()> {
        check_stretch(rows)?;
        let (spec, _) = self.plan();
        let ends = rows.times.first().zip(rows.times.last());
        let (first, last) = ends.map_or((0, 0), |(&first, &last)| (first, last));
        let (first, last) = (Timestamp(first), Timestamp(last));
        if !spec.window.covers(first, last) {
            let reason = format!("{first} to {last} are not within the part's window");
            return Err(Error::InvalidArgument { what: "times of events", reason });
        }
        for (field, EncodedColumn { bytes, groups }) in (TIME_FIELD..).zip(encode_stretch(rows)?) {
            let info = SegmentInfo {
                first_series: field,
                last_series: field,
                first,
                last,
                samples: rows.len() as u64,
                chunks: groups,
                checksum: crc32fast::hash(&bytes),
            };
            self.put(&EncodedSegment { info, bytes })?;
        }
        Ok(())
    }
}

impl Part {
    /// The table whose rows it holds; `None` of a part of another layout.
    #[must_use]
    pub fn event_schema(&self) -> Option<&Arc<EventSchema>> {
        self.events.as_ref().map(|events| &events.schema)
    }

    /// The kinds of a stretch's columns, by segment; `None` of the times.
    fn kind_of(&self, number: u32) -> Option<EventKind> {
        let columns = self.events.as_ref()?.schema.columns();
        let field = number as usize % (columns.len() + 1);
        field.checked_sub(1).and_then(|at| columns.get(at)).map(|column| column.kind)
    }

    /// A column of a stretch, of the rows and kind that the meta tells.
    fn open_events(&self, number: u32, bytes: crate::segment::SharedBytes) -> Result<EventSegment> {
        let segment = EventSegment::open(bytes).map_err(|source| self.corrupt(number, source))?;
        let info = self.meta.segments.get(number as usize).map(|entry| entry.info);
        let fits = segment.kind() == self.kind_of(number)
            && self.base_of(number, &segment).is_none_or(|base| {
                // Each before the other, so that no column is its own base.
                base < number && segment.kind() == self.kind_of(base)
            })
            && info.is_some_and(|info| {
                (info.samples, info.chunks as usize) == (segment.rows() as u64, segment.groups())
            });
        if fits { Ok(segment) } else { Err(self.stranger(number)) }
    }

    /// Which segment the column's base is, where it has one.
    fn base_of(&self, number: u32, segment: &EventSegment) -> Option<u32> {
        let columns = self.events.as_ref()?.schema.columns().len() as u32;
        Some(number - number % (columns + 1) + segment.base()?)
    }

    /// A column of a stretch and its base, each opened by `open`.
    fn stored(
        &self,
        number: u32,
        open: &dyn Fn(u32) -> Result<Arc<EventSegment>>,
    ) -> Result<StoredColumn> {
        let segment = open(number)?;
        let base = self.base_of(number, &segment).map(|base| self.stored(base, open));
        Ok(StoredColumn::Segment(segment, base.transpose()?.map(Box::new)))
    }

    /// Decodes a column of a stretch past the cache, and checks its bounds.
    pub(super) fn verify_events(&self, store: &dyn PartStore, number: u32) -> Result<()> {
        let open = |number| Ok(Arc::new(self.open_events(number, self.read(store, number)?)?));
        let StoredColumn::Segment(segment, base) = self.stored(number, &open)? else {
            return Ok(());
        };
        segment.verify(base.as_deref()).map_err(|source| self.corrupt(number, source))?;
        let Some(info) = self.meta.segments.get(number as usize).map(|entry| entry.info) else {
            return Ok(());
        };
        if segment.kind().is_none() && segment.ends() != Some((info.first, info.last)) {
            return Err(self.stranger(number));
        }
        Ok(())
    }
}

impl EventSource for Part {
    fn stretches(&self) -> &[EventStretch] {
        self.events.as_ref().map_or(&[], |events| &events.stretches)
    }

    fn column(&self, stretch: u32, field: u32) -> Result<Option<StoredColumn>> {
        let Some(events) = &self.events else { return Ok(None) };
        let columns = events.schema.columns().len() as u32;
        if field > columns {
            return Ok(None);
        }
        let number = stretch.saturating_mul(columns + 1).saturating_add(field);
        let cached = |number: u32| {
            let slot = self.slots.get(number as usize).ok_or_else(|| self.no_segment(number))?;
            let open = || {
                let segment = self.open_events(number, self.read_pooled(number)?)?;
                Ok(Opened::Events(Arc::new(segment)))
            };
            match self.cache.segment(slot, 0, open)? {
                Opened::Events(segment) => Ok(segment),
                Opened::Chunks(_) => Err(self.stranger(number)),
            }
        };
        self.stored(number, &cached).map(Some)
    }

    fn damaged(&self, stretch: u32, field: u32, source: DecodeError) -> Error {
        let columns = self.events.as_ref().map_or(0, |events| events.schema.columns().len());
        let number = u64::from(stretch) * (columns as u64 + 1) + u64::from(field);
        let path = self.dir.join(STORE_DIR).join(format!("segment {number}"));
        Error::corrupt(path, 0, source)
    }
}
