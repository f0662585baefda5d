//! Reading a table, and checking all that the writer promises.

use super::{MAGIC, NUMBERS_BYTES_MAX, SeriesTable, VERSION, WHAT};
use crate::codec::bytes::{Reader, read_frame};
use crate::codec::{metadata, strings};
use crate::error::DecodeError;
use crate::model::{
    LABEL_PAIRS_MAX, METRIC_NAME_LABEL, Metadata, MetricKind, check_name, check_value,
};

/// Decodes a table, checking all that [`encode`](super::encode) promises: names by the rules, dictionaries and
/// series ascending. Allocates in proportion to the input, and at most some
/// [`strings::STRINGS_BYTES_MAX`] for compressed texts and 1 GiB for compressed numbers.
///
/// # Errors
/// Where the bytes are not those of a table.
pub fn decode(bytes: &[u8]) -> Result<SeriesTable, DecodeError> {
    let mut reader = Reader::new(bytes);
    let (_, body) = read_frame(&mut reader, WHAT, MAGIC, VERSION)?;
    reader.finish(WHAT)?;
    let mut body = Reader::new(body);
    let texts = strings::decode(&mut body)?;
    let mut buffer = Vec::new();
    let numbers = metadata::decode(&mut body, NUMBERS_BYTES_MAX, &mut buffer)?;
    body.finish(WHAT)?;
    decode_numbers(texts, numbers)
}

fn invalid(what: &'static str, found: u64, expected: &'static str) -> DecodeError {
    DecodeError::Invalid { what, found, expected }
}

/// The places in the list of texts where each kind begins, checked against their rules.
struct Places {
    metrics: usize,
    /// For each label; one more, where the units and helps begin.
    values: Vec<usize>,
}

impl Places {
    /// Reads the numbers of values, and checks the dictionaries.
    fn read(
        reader: &mut Reader<'_>,
        texts: &[String],
        labels: usize,
        metrics: usize,
    ) -> Result<Self, DecodeError> {
        let short = || DecodeError::Truncated { needed: labels + metrics, available: texts.len() };
        let mut end = labels + metrics;
        check_texts(texts.get(..labels).ok_or_else(short)?, |name| {
            check_name("label name", name).is_ok() && name != METRIC_NAME_LABEL
        })?;
        check_texts(texts.get(labels..end).ok_or_else(short)?, |name| {
            check_name("metric name", name).is_ok()
        })?;
        let mut values = vec![end];
        for _ in 0..labels {
            let count = reader.length("values of a label", texts.len())?;
            let list = texts.get(end..end + count).ok_or_else(short)?;
            check_texts(list, |value| !value.is_empty() && check_value(value).is_ok())?;
            end += count;
            values.push(end);
        }
        Ok(Self { metrics: labels, values })
    }
}

fn check_texts(texts: &[String], allowed: impl Fn(&str) -> bool) -> Result<(), DecodeError> {
    if let Some(at) = texts.windows(2).position(|pair| pair.is_sorted_by(|a, b| a >= b)) {
        return Err(invalid("order of a dictionary", at as u64, "ascending"));
    }
    match texts.iter().position(|text| !allowed(text)) {
        Some(at) => Err(invalid("text of a dictionary", at as u64, "within the rules of names")),
        None => Ok(()),
    }
}

fn decode_numbers(texts: Vec<String>, numbers: &[u8]) -> Result<SeriesTable, DecodeError> {
    let mut reader = Reader::new(numbers);
    let labels = reader.length("labels", texts.len())?;
    let metrics = reader.length("metrics", texts.len())?;
    let shape_count = reader.length("shapes", reader.remaining())?;
    let series_count = reader.length("series", reader.remaining())?;
    if shape_count > series_count {
        return Err(invalid("shapes", shape_count as u64, "at most one a series"));
    }
    let metadata_count = reader.length("metadata", texts.len() / 2)?;
    let places = Places::read(&mut reader, &texts, labels, metrics)?;
    let shapes = read_shapes(&mut reader, shape_count, labels)?;
    let (rows, row_places) = read_rows(&mut reader, series_count, &shapes, &places)?;
    let metadata = read_metadata(&mut reader, &texts, metadata_count, &places)?;
    reader.finish(WHAT)?;
    let table = SeriesTable { texts, shapes, rows, places: row_places, metadata };
    for row in 1..table.len() {
        let ascends = table.key(row - 1).zip(table.key(row)).is_some_and(|(a, b)| a.lt(b));
        if !ascends {
            return Err(invalid("order of the series", row as u64, "strictly ascending"));
        }
    }
    Ok(table)
}

fn read_shapes(
    reader: &mut Reader<'_>,
    count: usize,
    labels: usize,
) -> Result<Vec<Vec<u32>>, DecodeError> {
    let mut shapes = Vec::new();
    for _ in 0..count {
        let pairs = reader.length("labels of a series", LABEL_PAIRS_MAX)?;
        let mut shape: Vec<u32> = Vec::with_capacity(pairs);
        for _ in 0..pairs {
            let label = reader.varint()?;
            match u32::try_from(label) {
                Ok(place)
                    if (label as usize) < labels && shape.last().is_none_or(|&l| l < place) =>
                {
                    shape.push(place);
                }
                _ => return Err(invalid("label of a shape", label, "ascending and there")),
            }
        }
        shapes.push(shape);
    }
    Ok(shapes)
}

/// A column of differences being read; references count from `start` and stay below `end`.
struct Differences<'a> {
    reader: Reader<'a>,
    last: i64,
    start: usize,
    end: usize,
}

impl Differences<'_> {
    fn next(&mut self) -> Result<u32, DecodeError> {
        self.last = self.last.wrapping_add(self.reader.signed()?);
        let place = usize::try_from(self.last).ok().and_then(|place| place.checked_add(self.start));
        place
            .filter(|&place| place < self.end)
            .and_then(|place| u32::try_from(place).ok())
            .ok_or_else(|| invalid("reference", self.last as u64, "within its dictionary"))
    }
}

/// The shape and start of each series, and the places of its texts.
type Rows = (Vec<(u32, u32)>, Vec<u32>);

fn read_rows(
    reader: &mut Reader<'_>,
    count: usize,
    shapes: &[Vec<u32>],
    places: &Places,
) -> Result<Rows, DecodeError> {
    let mut rows = Vec::with_capacity(count.min(reader.remaining()));
    let mut start = 0_u64;
    for _ in 0..count {
        let number = reader.varint()?;
        let shape = usize::try_from(number).ok().and_then(|number| shapes.get(number));
        let shape = shape.ok_or_else(|| invalid("shape", number, "one of the table's"))?;
        let at = u32::try_from(start).map_err(|_| invalid("labels", start, "below 2^32"))?;
        rows.push((number as u32, at));
        start += 1 + shape.len() as u64;
    }
    // A reference takes a byte at least: the input earns what follows.
    let needed = usize::try_from(start).unwrap_or(usize::MAX);
    if needed > reader.remaining() {
        return Err(DecodeError::Truncated { needed, available: reader.remaining() });
    }
    let mut names = Vec::with_capacity(rows.len());
    let end = places.values.first().copied().unwrap_or_default();
    let mut metrics = Differences { reader: reader.clone(), last: 0, start: places.metrics, end };
    for _ in 0..count {
        names.push(metrics.next()?);
    }
    *reader = metrics.reader;
    let mut columns = Vec::new();
    for bounds in places.values.windows(2) {
        let &[start, end] = bounds else { continue };
        let length = reader.length("bytes of a column", reader.remaining())?;
        let bytes = reader.bytes(length)?;
        columns.push(Differences { reader: Reader::new(bytes), last: 0, start, end });
    }
    let mut row_places = Vec::with_capacity(needed);
    for (name, &(shape, _)) in names.into_iter().zip(&rows) {
        row_places.push(name);
        for &label in shapes.get(shape as usize).into_iter().flatten() {
            let column = columns.get_mut(label as usize);
            row_places.push(column.ok_or_else(|| invalid("label", label.into(), "there"))?.next()?);
        }
    }
    columns.into_iter().try_for_each(|column| column.reader.finish("column of references"))?;
    Ok((rows, row_places))
}

fn read_metadata(
    reader: &mut Reader<'_>,
    texts: &[String],
    count: usize,
    places: &Places,
) -> Result<Vec<(String, Metadata)>, DecodeError> {
    let first = places.values.last().copied().unwrap_or_default();
    let own = texts.get(first..).unwrap_or_default();
    if own.len() != 2 * count {
        return Err(invalid("texts of metadata", own.len() as u64, "a unit and a help each"));
    }
    let last_metric = places.values.first().copied().unwrap_or_default();
    let metrics = texts.get(places.metrics..last_metric).unwrap_or_default();
    let mut metadata = Vec::with_capacity(count);
    for pair in own.chunks_exact(2) {
        let place = reader.length("metric of metadata", metrics.len())?;
        let code = reader.u8()?;
        let kind = match code {
            0 => MetricKind::Untyped,
            1 => MetricKind::Counter,
            2 => MetricKind::Gauge,
            3 => MetricKind::Distribution,
            _ => return Err(invalid("kind of a metric", code.into(), "0 to 3")),
        };
        let (Some(metric), [unit, help]) = (metrics.get(place), pair) else {
            return Err(invalid("metric of metadata", place as u64, "one of the table's"));
        };
        let known = Metadata { kind, unit: unit.clone(), help: help.clone() };
        metadata.push((metric.clone(), known));
    }
    Ok(metadata)
}
