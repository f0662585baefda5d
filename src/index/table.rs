//! The series table: the identities that a part holds, and what is known of their metrics.
//!
//! Owns: its bytes. A part's chunks name a series by its place in the part's table, so that a
//! part reads back without anything beside it. Does not own: ids ([`Index`](super::Index)), or
//! where in a part the table stands.
//!
//! Names and values stand once, in ascending dictionaries; a series is its *shape* (which labels
//! it has, a number shared by all that have the same) and one reference for each value. Every
//! label's references are a column of differences: in sorted series mostly runs of 0 and 1. The
//! layout stands in `docs/format.md`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::codec::bytes::{Reader, read_frame, write_frame, write_signed, write_varint};
use crate::codec::{Effort, compress, decompress, strings};
use crate::error::{DecodeError, Error, Result};
use crate::model::{
    LABEL_PAIRS_MAX, METRIC_NAME_LABEL, Metadata, MetricKind, Series, check_name, check_value,
};

const MAGIC: [u8; 4] = *b"ICST";
const VERSION: u8 = 1;
const WHAT: &str = "series table";

const PLAIN: u8 = 0;
const COMPRESSED: u8 = 1;
/// Numbers beyond this many bytes are stored as they are, so that damaged bytes never make a
/// reader allocate more: some 7 million series of 8 labels.
const COMPRESSED_BYTES_MAX: usize = 64 << 20;

/// Encodes the table of `series`, strictly ascending, and `metadata` by metric name, in an order
/// that is kept; the metrics need not be those of the series.
///
/// # Errors
/// [`InvalidArgument`](Error::InvalidArgument) where the series do not ascend or a metric's name
/// breaks the rules of names; [`Limit`](Error::Limit) where the texts are more than
/// [`strings::STRINGS_BYTES_MAX`] or [`strings::STRINGS_COUNT_MAX`].
pub fn encode(series: &[Arc<Series>], metadata: &[(String, Metadata)]) -> Result<Vec<u8>> {
    let refused = |reason: String| Error::InvalidArgument { what: WHAT, reason };
    if let Some(at) = series.windows(2).position(|pair| pair.is_sorted_by(|a, b| a >= b)) {
        return Err(refused(format!("series {} does not come after the one before", at + 1)));
    }
    for (metric, _) in metadata {
        check_name("metric name", metric).map_err(|error| refused(error.to_string()))?;
    }
    let dictionary = Dictionary::of(series, metadata);
    let mut body = Vec::new();
    strings::encode(&dictionary.texts(metadata), &mut body)?;
    let numbers = encode_numbers(&dictionary, series, metadata);
    let method_at = body.len();
    body.push(COMPRESSED);
    write_varint(&mut body, numbers.len() as u64);
    let fits = numbers.len() <= COMPRESSED_BYTES_MAX;
    if !fits || !compress(Effort::Text, &numbers, &mut body) {
        if let Some(method) = body.get_mut(method_at) {
            *method = PLAIN;
        }
        body.extend_from_slice(&numbers);
    }
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

/// A decoded table. Series are made when asked for, since an index knows most of them already;
/// until then one takes 4 bytes for its name, for each label, and 8.
#[derive(Debug)]
pub struct SeriesTable {
    texts: Vec<String>,
    /// Places in `texts` of each shape's label names.
    shapes: Vec<Vec<u32>>,
    /// Shape, and where in `places` the series begins.
    rows: Vec<(u32, u32)>,
    /// Places in `texts`: for each series its metric name, then the values of its labels.
    places: Vec<u32>,
    metadata: Vec<(String, Metadata)>,
}

impl SeriesTable {
    /// Series in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The series, strictly ascending: the order in which they were given to [`encode`].
    pub fn series(&self) -> impl ExactSizeIterator<Item = Series> {
        let mut pairs = Vec::with_capacity(LABEL_PAIRS_MAX);
        self.rows.iter().map(move |&(shape, start)| {
            let labels = self.shapes.get(shape as usize).map_or(&[][..], Vec::as_slice);
            let places = self.places.get(start as usize..).unwrap_or_default();
            let (name, values) = places.split_first().unwrap_or((&u32::MAX, &[]));
            pairs.clear();
            pairs.extend(labels.iter().zip(values).map(|(&l, &v)| (self.text(l), self.text(v))));
            Series::from_sorted(self.text(*name), &pairs)
        })
    }

    /// What is known of metrics, in the order given to [`encode`].
    #[must_use]
    pub fn metadata(&self) -> &[(String, Metadata)] {
        &self.metadata
    }

    fn text(&self, place: u32) -> &str {
        self.texts.get(place as usize).map_or("", String::as_str)
    }

    /// What orders a series as its texts do, since the dictionaries ascend.
    fn key(&self, row: usize) -> Option<impl Iterator<Item = u32>> {
        let &(shape, start) = self.rows.get(row)?;
        let (name, values) = self.places.get(start as usize..)?.split_first()?;
        let labels = self.shapes.get(shape as usize)?.iter().zip(values);
        Some(std::iter::once(*name).chain(labels.flat_map(|(&label, &value)| [label, value])))
    }
}

/// Decodes a table, checking all that [`encode`] promises: names by the rules, dictionaries and
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
    let method = body.u8()?;
    let length = body.varint()?;
    let stored = body.bytes(body.remaining())?;
    let mut buffer = Vec::new();
    let numbers = match (method, usize::try_from(length)) {
        (PLAIN, Ok(length)) if length == stored.len() => stored,
        (COMPRESSED, Ok(length)) if length <= COMPRESSED_BYTES_MAX => {
            decompress(stored, length, &mut buffer)?;
            &buffer
        }
        _ => return Err(invalid("numbers of a series table", length, "the length stored")),
    };
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;
    use crate::model::tests::{any_series, small_series};

    fn sorted(series: impl IntoIterator<Item = Series>) -> Vec<Arc<Series>> {
        BTreeSet::from_iter(series).into_iter().map(Arc::new).collect()
    }

    fn round_trip(series: &[Arc<Series>], metadata: &[(String, Metadata)]) -> usize {
        let bytes = encode(series, metadata).unwrap();
        let table = decode(&bytes).unwrap();
        assert!(table.series().eq(series.iter().map(|series| Series::clone(series))));
        assert_eq!((table.len(), table.metadata()), (series.len(), metadata));
        bytes.len()
    }

    fn any_metadata() -> impl Strategy<Value = (String, Metadata)> {
        let kind = prop::sample::select(vec![
            MetricKind::Untyped,
            MetricKind::Counter,
            MetricKind::Gauge,
            MetricKind::Distribution,
        ]);
        let metric = prop::sample::select(vec!["up", "http.requests", "other"]);
        (metric, kind, "[a-z]{0,5}", any::<String>()).prop_map(|(metric, kind, unit, help)| {
            (metric.to_owned(), Metadata { kind, unit, help })
        })
    }

    proptest! {
        #[test]
        fn tables_round_trip(
            some in prop::collection::vec(any_series(), 0..20),
            alike in prop::collection::vec(small_series(), 0..60),
            metadata in prop::collection::vec(any_metadata(), 0..6),
        ) {
            round_trip(&sorted(some.into_iter().chain(alike)), &metadata);
        }

        #[test]
        fn framed_noise_decodes_without_panic(
            at in any::<prop::sample::Index>(),
            byte: u8,
            noise in prop::collection::vec(any::<u8>(), 0..40),
            series in prop::collection::vec(small_series(), 0..10),
        ) {
            // A right checksum over a damaged body: only the decoder's own checks stand.
            let good = encode(&sorted(series), &[]).unwrap();
            let mut body = good[13..].to_vec();
            let at = at.index(body.len());
            body[at] = byte;
            for body in [body, noise] {
                let mut bytes = Vec::new();
                write_frame(&mut bytes, MAGIC, VERSION, &body);
                if let Ok(table) = decode(&bytes) {
                    let series: Vec<Series> = table.series().collect();
                    prop_assert!(series.is_sorted_by(|a, b| a < b));
                    for series in series {
                        prop_assert_eq!(&Series::parse(&series.to_string()).unwrap(), &series);
                    }
                }
            }
        }
    }

    fn small_table() -> Vec<u8> {
        let series = ["up", r#"up{job="a"}"#, r#"up{job="b",zone="é"}"#];
        let series = sorted(series.iter().map(|text| Series::parse(text).unwrap()));
        let known = Metadata {
            kind: MetricKind::Gauge,
            unit: "s".to_owned(),
            help: "Whether it is up.".to_owned(),
        };
        encode(&series, &[("up".to_owned(), known)]).unwrap()
    }

    #[test]
    fn golden_bytes_read_forever() {
        // Taken apart in docs/format.md.
        let golden = "49435354014f0000007995672b082f002f0003000400020001000100020001001\
                      16a6f627a6f6e6575706162c3a973576865746865722069742069732075702e\
                      001a0201030301020100010002000100010200000002000201000002";
        let hex: String = small_table().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden);
    }

    #[test]
    fn every_flip_and_cut_is_an_error() {
        let bytes = small_table();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&damaged).is_err(), "bit {bit}");
        }
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(decode(&longer).is_err());
    }

    #[test]
    fn bad_arguments_are_refused() {
        let [a, b] = ["a", "b"].map(|text| Arc::new(Series::parse(text).unwrap()));
        assert!(encode(&[b.clone(), a.clone()], &[]).is_err());
        assert!(encode(&[a.clone(), a.clone()], &[]).is_err());
        assert!(encode(&[a, b], &[(String::new(), Metadata::default())]).is_err());
        assert_eq!(round_trip(&[], &[]), 24);
    }

    #[test]
    fn many_series_are_small() {
        let text = |i: usize| {
            format!(
                "http_requests_{}{{cluster=\"eu\",code=\"{}\",instance=\"10.0.{}.{}:9100\",\
                 job=\"api\",method=\"{}\",path=\"/v1/items/{}\",pod=\"api-{:x}-{:05x}\",zone=\"z{}\"}}",
                i % 7,
                200 + i % 5,
                i / 250 % 250,
                i % 250,
                i % 3,
                i % 40,
                i / 40,
                i.wrapping_mul(2654435761) % 1048576,
                i % 3
            )
        };
        let series = sorted((0..10_000).map(|i| Series::parse(&text(i)).unwrap()));
        let start = Instant::now();
        let bytes = encode(&series, &[]).unwrap();
        let encoded = start.elapsed();
        let start = Instant::now();
        let table = decode(&bytes).unwrap();
        let decoded = start.elapsed();
        let start = Instant::now();
        let count = table.series().count();
        let made = start.elapsed();
        println!("{} B, encode {encoded:?}, decode {decoded:?}, series {made:?}", bytes.len());
        assert_eq!(count, series.len());
        assert!(bytes.len() <= 15 * series.len(), "{} bytes", bytes.len());
    }
}
