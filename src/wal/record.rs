//! Records: what a frame's payload is made of.

use std::collections::HashMap;

use roaring::RoaringBitmap;

use super::rows;
use crate::aggregate::{Distribution, SketchRef, Sketches};
use crate::codec::bytes::{Reader, write_signed, write_varint};
use crate::codec::{schemas, sketches};
use crate::error::DecodeError;
use crate::model::{EventBatch, EventKind, EventSchema, Metadata, MetricKind, Series, SeriesId};

/// One entry of the log, as replay shows it.
///
/// Ids of series and groups mean something within one log file only: each file declares them
/// anew before their first use in it.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Record<'a> {
    /// A log file begins: every declaration before it is void.
    File {
        /// The number in the file's name.
        number: u64,
    },
    /// Names a series id. Declared once in a file.
    Series {
        /// The id of the run that wrote the file.
        id: SeriesId,
        /// What it stands for.
        series: &'a Series,
    },
    /// Tells what is known of a metric; a later one replaces it.
    Metadata {
        /// The metric name.
        metric: &'a str,
        /// What is known.
        metadata: &'a Metadata,
    },
    /// Names a list of series that are written together; a later one of the same id replaces it.
    Group {
        /// The group.
        id: u32,
        /// Its members, in the order of the values of its scrapes; all declared before.
        series: &'a [SeriesId],
    },
    /// One timestamp, one value for each series of a group.
    Scrape {
        /// Its place in the order of writes.
        sequence: u64,
        /// The group, declared before.
        group: u32,
        /// When, nanoseconds since the epoch.
        timestamp: i64,
        /// One a member, in the group's order, bit for bit.
        values: &'a [f64],
    },
    /// One series, many samples.
    Column {
        /// Its place in the order of writes.
        sequence: u64,
        /// The series, declared before.
        series: SeriesId,
        /// In the order they were sent, nanoseconds since the epoch.
        timestamps: &'a [i64],
        /// One a timestamp, bit for bit.
        values: &'a [f64],
    },
    /// One series, what was observed of it over a span of time.
    Distribution {
        /// Its place in the order of writes.
        sequence: u64,
        /// The series, declared before.
        series: SeriesId,
        /// When, nanoseconds since the epoch.
        timestamp: i64,
        /// What was observed, bit for bit.
        distribution: &'a Distribution,
    },
    /// Names a table of events; a later one of the same id has more columns.
    EventTable {
        /// The id of the run that wrote the file.
        id: u32,
        /// What it stands for.
        schema: &'a EventSchema,
    },
    /// Rows of one table of events.
    Events {
        /// Its place in the order of writes.
        sequence: u64,
        /// The table, declared before.
        table: u32,
        /// In the order they were sent; of as many values as the table has columns, or fewer.
        batch: &'a EventBatch,
    },
}

const SERIES: u8 = 1;
const METADATA: u8 = 2;
const GROUP: u8 = 3;
const SCRAPE: u8 = 4;
const COLUMN: u8 = 5;
const DISTRIBUTION: u8 = 6;
const EVENT_TABLE: u8 = 7;
const EVENTS: u8 = 8;

/// Longest varint of 32 bits, and of 64.
const VARINT32_BYTES: usize = 5;
const VARINT64_BYTES: usize = 10;
/// A distribution beside its bins, and what a bin takes: two columns of at most 64 bits.
const DISTRIBUTION_BYTES: usize = 256;
const BIN_BYTES: usize = 24;

/// What a file has declared so far: writer and reader keep the same book.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    pub(crate) series: RoaringBitmap,
    /// Group → number of members.
    pub(crate) groups: HashMap<u32, usize>,
    /// Table of events → kinds of its columns.
    pub(crate) tables: HashMap<u32, Vec<EventKind>>,
}

impl Declared {
    pub(crate) fn add_table(&mut self, id: u32, schema: &EventSchema) {
        let kinds = schema.columns().iter().map(|column| column.kind);
        self.tables.insert(id, kinds.collect());
    }
}

impl Record<'_> {
    /// Whether it takes a sequence number.
    pub(crate) const fn is_data(&self) -> bool {
        match self {
            Self::Scrape { .. }
            | Self::Column { .. }
            | Self::Distribution { .. }
            | Self::Events { .. } => true,
            Self::File { .. }
            | Self::Series { .. }
            | Self::Metadata { .. }
            | Self::Group { .. }
            | Self::EventTable { .. } => false,
        }
    }

    /// A bound on the encoded length, bytes.
    pub(crate) fn bytes_max(&self) -> usize {
        let text = |text: &str| VARINT32_BYTES + text.len();
        1 + 2 * VARINT32_BYTES
            + match self {
                Self::File { .. } => 0,
                Self::Series { series, .. } => {
                    let labels: usize = series.labels().map(|(k, v)| text(k) + text(v)).sum();
                    text(series.name()) + labels
                }
                Self::Metadata { metric, metadata } => {
                    text(metric) + text(&metadata.unit) + text(&metadata.help)
                }
                Self::Group { series, .. } => series.len() * VARINT32_BYTES,
                Self::Scrape { values, .. } => 8 + 8 * values.len(),
                Self::Column { values, .. } => 8 + (VARINT64_BYTES + 8) * values.len(),
                Self::Distribution { distribution, .. } => {
                    DISTRIBUTION_BYTES + BIN_BYTES * distribution.sketch().bins()
                }
                Self::EventTable { schema, .. } => schemas::bytes_max(schema),
                Self::Events { batch, .. } => rows::bytes_max(batch),
            }
    }

    /// Appends the record's bytes. Its sequence number is not among them: the frame's header has
    /// the first, the rest count up.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::File { .. } => {}
            Self::Series { id, series } => {
                out.push(SERIES);
                write_varint(out, u64::from(id.0));
                write_text(out, series.name());
                write_varint(out, series.labels().count() as u64);
                for (label, value) in series.labels() {
                    write_text(out, label);
                    write_text(out, value);
                }
            }
            Self::Metadata { metric, metadata } => {
                out.push(METADATA);
                write_text(out, metric);
                out.push(kind_tag(metadata.kind));
                write_text(out, &metadata.unit);
                write_text(out, &metadata.help);
            }
            Self::Group { id, series } => {
                out.push(GROUP);
                write_varint(out, u64::from(id));
                write_varint(out, series.len() as u64);
                let mut previous = 0;
                for member in series {
                    write_signed(out, i64::from(member.0) - previous);
                    previous = i64::from(member.0);
                }
            }
            Self::Scrape { group, timestamp, values, .. } => {
                out.push(SCRAPE);
                write_varint(out, u64::from(group));
                write_varint(out, values.len() as u64);
                out.extend_from_slice(&timestamp.to_le_bytes());
                write_values(out, values);
            }
            Self::Column { series, timestamps, values, .. } => {
                out.push(COLUMN);
                write_varint(out, u64::from(series.0));
                write_varint(out, values.len() as u64);
                write_timestamps(out, timestamps);
                write_values(out, values);
            }
            Self::Distribution { series, timestamp, distribution, .. } => {
                out.push(DISTRIBUTION);
                write_varint(out, u64::from(series.0));
                out.extend_from_slice(&timestamp.to_le_bytes());
                write_values(out, &[distribution.sum(), distribution.min(), distribution.max()]);
                let mut sketch = Vec::new();
                sketches::encode(std::iter::once(distribution.sketch().view()), &mut sketch);
                write_varint(out, sketch.len() as u64);
                out.extend_from_slice(&sketch);
            }
            Self::EventTable { id, schema } => {
                out.push(EVENT_TABLE);
                write_varint(out, u64::from(id));
                schemas::encode(schema, out);
            }
            Self::Events { table, batch, .. } => {
                out.push(EVENTS);
                write_varint(out, u64::from(table));
                rows::encode(batch, out);
            }
        }
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    write_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Raw little-endian: the log is written once and read at most once, at memory speed.
fn write_values(out: &mut Vec<u8>, values: &[f64]) {
    let start = out.len();
    out.resize(start + 8 * values.len(), 0);
    let (slots, _) = out.get_mut(start..).unwrap_or_default().as_chunks_mut::<8>();
    for (slot, value) in slots.iter_mut().zip(values) {
        *slot = value.to_le_bytes();
    }
}

/// Differences of differences, zigzag varints: a steady beat costs one byte a sample. Wraps, so
/// that any order of any timestamps comes back.
pub(super) fn write_timestamps(out: &mut Vec<u8>, timestamps: &[i64]) {
    let (mut previous, mut step) = (0i64, 0i64);
    for &timestamp in timestamps {
        let next_step = timestamp.wrapping_sub(previous);
        write_signed(out, next_step.wrapping_sub(step));
        (previous, step) = (timestamp, next_step);
    }
}

fn kind_tag(kind: MetricKind) -> u8 {
    match kind {
        MetricKind::Untyped => 0,
        MetricKind::Counter => 1,
        MetricKind::Gauge => 2,
        MetricKind::Distribution => 3,
    }
}

fn kind_of(tag: u8) -> Result<MetricKind, DecodeError> {
    Ok(match tag {
        0 => MetricKind::Untyped,
        1 => MetricKind::Counter,
        2 => MetricKind::Gauge,
        3 => MetricKind::Distribution,
        found => return Err(invalid("metric kind", u64::from(found), "0 to 3")),
    })
}

fn invalid(what: &'static str, found: u64, expected: &'static str) -> DecodeError {
    DecodeError::Invalid { what, found, expected }
}

/// Decodes the records of one file in order, into columns that it reuses.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    declared: Declared,
    members: Vec<SeriesId>,
    timestamps: Vec<i64>,
    values: Vec<f64>,
    sketches: Sketches,
}

impl Decoder {
    /// Decodes the next record. `sequence` is the number it gets if it is a data record.
    pub(crate) fn decode(
        &mut self,
        reader: &mut Reader<'_>,
        sequence: u64,
        visit: &mut dyn FnMut(Record<'_>) -> crate::Result<()>,
    ) -> Result<crate::Result<()>, DecodeError> {
        Ok(match reader.u8()? {
            SERIES => {
                let id = id32(reader, "series id")?;
                let series = series(reader)?;
                if !self.declared.series.insert(id) {
                    let expected = "not declared before in this file";
                    return Err(invalid("series id", u64::from(id), expected));
                }
                visit(Record::Series { id: SeriesId(id), series: &series })
            }
            METADATA => {
                let metric = text(reader)?;
                let kind = kind_of(reader.u8()?)?;
                let (unit, help) = (text(reader)?.to_owned(), text(reader)?.to_owned());
                visit(Record::Metadata { metric, metadata: &Metadata { kind, unit, help } })
            }
            GROUP => {
                let id = id32(reader, "group id")?;
                self.members(reader)?;
                self.declared.groups.insert(id, self.members.len());
                visit(Record::Group { id, series: &self.members })
            }
            SCRAPE => {
                let group = id32(reader, "group id")?;
                let count = count(reader, 8)?;
                if self.declared.groups.get(&group) != Some(&count) {
                    return Err(invalid("values of a scrape", count as u64, "its group's size"));
                }
                let timestamp = reader.array().map(i64::from_le_bytes)?;
                self.values(reader, count)?;
                visit(Record::Scrape { sequence, group, timestamp, values: &self.values })
            }
            COLUMN => {
                let series = self.declared_series(id32(reader, "series id")?)?;
                let count = count(reader, 9)?;
                self.timestamps(reader, count)?;
                self.values(reader, count)?;
                let (timestamps, values) = (&*self.timestamps, &*self.values);
                visit(Record::Column { sequence, series, timestamps, values })
            }
            DISTRIBUTION => {
                let series = self.declared_series(id32(reader, "series id")?)?;
                let timestamp = reader.array().map(i64::from_le_bytes)?;
                let distribution = &self.distribution(reader)?;
                visit(Record::Distribution { sequence, series, timestamp, distribution })
            }
            EVENT_TABLE => {
                let id = id32(reader, "event table id")?;
                let schema = &schemas::decode(reader)?;
                self.declared.add_table(id, schema);
                visit(Record::EventTable { id, schema })
            }
            EVENTS => {
                let table = id32(reader, "event table id")?;
                let batch = &self.rows(reader, table)?;
                visit(Record::Events { sequence, table, batch })
            }
            tag => return Err(invalid("record tag", u64::from(tag), "1 to 8")),
        })
    }

    fn rows(&mut self, reader: &mut Reader<'_>, table: u32) -> Result<EventBatch, DecodeError> {
        let kinds = self.declared.tables.get(&table).cloned().ok_or_else(|| {
            invalid("event table id", u64::from(table), "declared before in this file")
        })?;
        rows::decode(reader, &kinds, |reader, count| {
            self.timestamps(reader, count)?;
            Ok(std::mem::take(&mut self.timestamps))
        })
    }

    fn declared_series(&self, id: u32) -> Result<SeriesId, DecodeError> {
        if self.declared.series.contains(id) {
            return Ok(SeriesId(id));
        }
        Err(invalid("series id", u64::from(id), "declared before in this file"))
    }

    fn members(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let count = count(reader, 1)?;
        self.members.clear();
        self.members.reserve(count);
        let mut previous = 0i64;
        for _ in 0..count {
            previous = previous.wrapping_add(reader.signed()?);
            let id = u32::try_from(previous)
                .map_err(|_| invalid("group member", previous.cast_unsigned(), "32 bits"))?;
            let id = self.declared_series(id)?;
            self.members.push(id);
        }
        Ok(())
    }

    fn timestamps(&mut self, reader: &mut Reader<'_>, count: usize) -> Result<(), DecodeError> {
        self.timestamps.clear();
        self.timestamps.reserve(count);
        let (mut previous, mut step) = (0i64, 0i64);
        for _ in 0..count {
            step = step.wrapping_add(reader.signed()?);
            previous = previous.wrapping_add(step);
            self.timestamps.push(previous);
        }
        Ok(())
    }

    fn distribution(&mut self, reader: &mut Reader<'_>) -> Result<Distribution, DecodeError> {
        self.values(reader, 3)?;
        let bytes = count(reader, 1)?;
        self.sketches.clear();
        sketches::decode(reader.bytes(bytes)?, 1, &mut self.sketches)?;
        let sketch = self.sketches.get(0).map(SketchRef::to_sketch);
        let found = match (self.values.as_slice(), sketch) {
            (&[sum, min, max], Some(sketch)) => Distribution::from_parts(sketch, sum, min, max),
            _ => None,
        };
        found.ok_or_else(|| invalid("distribution", 0, "observations, their sum and extremes"))
    }

    fn values(&mut self, reader: &mut Reader<'_>, count: usize) -> Result<(), DecodeError> {
        let (slots, _) = reader.bytes(8 * count)?.as_chunks::<8>();
        self.values.clear();
        self.values.extend(slots.iter().map(|slot| f64::from_le_bytes(*slot)));
        Ok(())
    }
}

fn id32(reader: &mut Reader<'_>, what: &'static str) -> Result<u32, DecodeError> {
    let found = reader.varint()?;
    u32::try_from(found).map_err(|_| invalid(what, found, "32 bits"))
}

/// A count of items of at least `item_bytes` each: never more than the input can hold.
fn count(reader: &mut Reader<'_>, item_bytes: usize) -> Result<usize, DecodeError> {
    let max = reader.remaining() / item_bytes;
    reader.length("count", max)
}

fn text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, DecodeError> {
    let bytes = count(reader, 1)?;
    std::str::from_utf8(reader.bytes(bytes)?)
        .map_err(|error| DecodeError::Foreign { what: "text", message: error.to_string() })
}

fn series(reader: &mut Reader<'_>) -> Result<Series, DecodeError> {
    let name = text(reader)?;
    let labels = (0..count(reader, 2)?)
        .map(|_| Ok((text(reader)?, text(reader)?)))
        .collect::<Result<Vec<_>, DecodeError>>()?;
    Series::new(name, labels)
        .map_err(|error| DecodeError::Foreign { what: "series", message: error.to_string() })
}
