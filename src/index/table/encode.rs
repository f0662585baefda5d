//! Writing a table: dictionaries, shapes, columns of references.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{MAGIC, NUMBERS_BYTES_MAX, VERSION, WHAT};
use crate::codec::bytes::{write_frame, write_signed, write_varint};
use crate::codec::{metadata, strings};
use crate::error::{Error, Result};
use crate::model::{Metadata, MetricKind, Series, check_name};

/// Encodes the table of `series`, strictly ascending, and `metadata` by metric name, in an order
/// that is kept; the metrics need not be those of the series.
///
/// # Errors
/// [`InvalidArgument`](Error::InvalidArgument) where the series do not ascend or a metric's name
/// breaks the rules of names; [`Limit`](Error::Limit) where the texts are more than
/// [`strings::STRINGS_BYTES_MAX`] or [`strings::STRINGS_COUNT_MAX`], or their references take more
/// than 256 MiB.
pub fn encode(series: &[Arc<Series>], known: &[(String, Metadata)]) -> Result<Vec<u8>> {
    let refused = |reason: String| Error::InvalidArgument { what: WHAT, reason };
    if let Some(at) = series.windows(2).position(|pair| pair.is_sorted_by(|a, b| a >= b)) {
        return Err(refused(format!("series {} does not come after the one before", at + 1)));
    }
    for (metric, _) in known {
        check_name("metric name", metric).map_err(|error| refused(error.to_string()))?;
    }
    let dictionary = Dictionary::of(series, known);
    let mut body = Vec::new();
    strings::encode(&dictionary.texts(known), &mut body)?;
    let numbers = encode_numbers(&dictionary, series, known);
    if numbers.len() > NUMBERS_BYTES_MAX {
        return Err(Error::Limit {
            what: "bytes of a series table",
            limit: NUMBERS_BYTES_MAX as u64,
        });
    }
    metadata::encode(&numbers, &mut body);
    let mut out = Vec::with_capacity(body.len() + 16);
    write_frame(&mut out, MAGIC, VERSION, &body);
    Ok(out)
}

/// The texts of a table being encoded: each list ascending, without repeats.
struct Dictionary<'a> {
    metrics: Vec<&'a str>,
    labels: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Dictionary<'a> {
    fn of(series: &'a [Arc<Series>], metadata: &'a [(String, Metadata)]) -> Self {
        let mut metrics: Vec<&str> = metadata.iter().map(|(metric, _)| metric.as_str()).collect();
        let mut labels: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for series in series {
            push_new(&mut metrics, series.name());
            for (label, value) in series.labels() {
                push_new(labels.entry(label).or_default(), value);
            }
        }
        for texts in labels.values_mut().chain([&mut metrics]) {
            texts.sort_unstable();
            texts.dedup();
        }
        Self { metrics, labels }
    }

    /// Label names, metric names, the values label by label, unit and help of each metric.
    fn texts(&self, metadata: &'a [(String, Metadata)]) -> Vec<&'a str> {
        let mut texts: Vec<&str> = self.labels.keys().copied().collect();
        texts.extend(&self.metrics);
        texts.extend(self.labels.values().flatten());
        texts.extend(metadata.iter().flat_map(|(_, known)| [known.unit.as_str(), &known.help]));
        texts
    }
}

/// Neighbours mostly share their values: that spares the sort most of its work.
fn push_new<'a>(texts: &mut Vec<&'a str>, text: &'a str) {
    if texts.last() != Some(&text) {
        texts.push(text);
    }
}

/// One column of references into an ascending dictionary, as differences.
#[derive(Default)]
struct Column<'a> {
    texts: &'a [&'a str],
    last: usize,
    bytes: Vec<u8>,
}

impl Column<'_> {
    fn push(&mut self, text: &str) {
        let place = match self.texts.get(self.last) {
            Some(&last) if last == text => self.last,
            // Every text is in its dictionary.
            _ => self.texts.binary_search(&text).unwrap_or_default(),
        };
        write_signed(&mut self.bytes, place as i64 - self.last as i64);
        self.last = place;
    }
}

fn encode_numbers(
    dictionary: &Dictionary<'_>,
    series: &[Arc<Series>],
    metadata: &[(String, Metadata)],
) -> Vec<u8> {
    let column = |texts| Column { texts, ..Column::default() };
    let mut metrics = column(&dictionary.metrics);
    let mut columns: Vec<Column<'_>> = dictionary.labels.values().map(|t| column(t)).collect();
    let places: HashMap<&str, usize> = dictionary.labels.keys().copied().zip(0..).collect();
    let mut shapes: HashMap<Vec<usize>, usize> = HashMap::new();
    let mut shape_bytes = Vec::new();
    let mut rows = Vec::new();
    for series in series {
        metrics.push(series.name());
        let mut shape = Vec::new();
        for (label, value) in series.labels() {
            let place = places.get(label).copied().unwrap_or_default();
            shape.push(place);
            columns.iter_mut().skip(place).take(1).for_each(|column| column.push(value));
        }
        let next = shapes.len();
        let number = *shapes.entry(shape).or_insert_with_key(|shape| {
            write_varint(&mut shape_bytes, shape.len() as u64);
            shape.iter().for_each(|&place| write_varint(&mut shape_bytes, place as u64));
            next
        });
        write_varint(&mut rows, number as u64);
    }

    let mut out = Vec::new();
    let counts = [columns.len(), dictionary.metrics.len(), shapes.len(), series.len()];
    let counts = counts.into_iter().chain([metadata.len()]);
    counts.for_each(|count| write_varint(&mut out, count as u64));
    columns.iter().for_each(|column| write_varint(&mut out, column.texts.len() as u64));
    out.extend(shape_bytes);
    out.extend(rows);
    out.extend(metrics.bytes);
    for column in columns {
        write_varint(&mut out, column.bytes.len() as u64);
        out.extend(column.bytes);
    }
    for (metric, known) in metadata {
        let place = dictionary.metrics.binary_search(&metric.as_str()).unwrap_or_default();
        write_varint(&mut out, place as u64);
        out.push(kind_code(known.kind));
    }
    out
}

fn kind_code(kind: MetricKind) -> u8 {
    match kind {
        MetricKind::Untyped => 0,
        MetricKind::Counter => 1,
        MetricKind::Gauge => 2,
        MetricKind::Distribution => 3,
    }
}
