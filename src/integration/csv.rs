//! CSV: `timestamp,value` of one series that the caller names, or `timestamp,series,value` with
//! the series as [`Series::parse`] reads it (`name{label="value"}`).
//!
//! A header is optional: the first record is one if its first field is no timestamp. A header
//! that names `timestamp`, `value` and (of three) `series` may name them in any order, and then
//! other columns are passed over. Timestamps are read as [`notation::parse_timestamp`] says.
//! Metadata has no place in CSV.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use ::csv::ByteRecord;

use super::intake::Intake;
use super::notation::{self, ExactValue, Rfc3339};
use super::{Batch, DeclaredSeries, RejectReason, Rejections, SampleReader, Slot};
use crate::model::{Metadata, Series};
use crate::time::Timestamp;

/// Longest line, bytes; a longer one ends the reading, since quotes may span lines and nothing
/// says where the next record would begin.
pub const LINE_BYTES_MAX: usize = 512 * 1024;

/// Where the fields stand.
#[derive(Debug, Clone, Copy)]
struct Columns {
    timestamp: usize,
    series: Option<usize>,
    value: usize,
}

/// Reads CSV.
///
/// ```
/// use icecore::integration::csv::CsvReader;
/// use icecore::integration::{Batch, SampleReader};
///
/// let text = "timestamp,series,value\n2014-04-01 00:00:00,\"cpu{host=\"\"a\"\"}\",0.5\n";
/// let mut reader = CsvReader::new(text.as_bytes(), None);
/// assert_eq!(reader.next_batch()?.map(|batch| batch.samples()), Some(1));
/// assert_eq!(reader.declared()[0].series.to_string(), "cpu{host=\"a\"}");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct CsvReader<R> {
    records: ::csv::Reader<BoundedLines<R>>,
    record: ByteRecord,
    /// `None` before the first record.
    columns: Option<Columns>,
    /// Of texts without a series column.
    series: Option<Series>,
    slots: HashMap<Vec<u8>, Slot>,
    latest: Option<(Vec<u8>, Slot)>,
    intake: Intake,
    at_end: bool,
}

impl<R: Read> CsvReader<R> {
    /// `series` is what the values belong to where the text has no series column.
    pub fn new(input: R, series: Option<Series>) -> Self {
        let records = ::csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(::csv::Trim::All)
            .buffer_capacity(64 * 1024)
            .from_reader(BoundedLines { input, line_bytes: 0 });
        Self {
            records,
            record: ByteRecord::new(),
            columns: None,
            series,
            slots: HashMap::new(),
            latest: None,
            intake: Intake::default(),
            at_end: false,
        }
    }

    /// Finds the columns from the first record; whether that was a header.
    fn first_record(&mut self) -> io::Result<(Columns, bool)> {
        let fields: Vec<String> = self
            .record
            .iter()
            .map(|field| {
                String::from_utf8_lossy(field).trim_start_matches('\u{feff}').to_ascii_lowercase()
            })
            .collect();
        let is_header =
            fields.first().is_none_or(|field| notation::parse_timestamp(field).is_none());
        let named = |name: &str| fields.iter().position(|field| field == name);
        let positional = |series: Option<usize>, value| Columns { timestamp: 0, series, value };
        let columns = match (named("timestamp"), named("series"), named("value")) {
            (Some(timestamp), series, Some(value)) => Columns { timestamp, series, value },
            _ if fields.len() == 2 => positional(None, 1),
            _ if fields.len() == 3 => positional(Some(1), 2),
            _ => {
                let message = "CSV needs the columns timestamp,value or timestamp,series,value";
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        };
        if columns.series.is_none() && self.series.is_none() {
            let message = "CSV without a series column needs the metric's name from the caller";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok((columns, is_header))
    }

    fn sample(&mut self, columns: Columns) -> Result<(), (RejectReason, String)> {
        let refuse = |reason, what: &str| Err((reason, what.to_owned()));
        let field = |at: usize| self.record.get(at);
        let (Some(timestamp), Some(value)) = (field(columns.timestamp), field(columns.value))
        else {
            return refuse(RejectReason::Syntax, "the record has too few fields");
        };
        if columns.series.is_none() && self.record.len() < 2 {
            return refuse(RejectReason::Syntax, "the record has too few fields");
        }
        let Some(timestamp) =
            std::str::from_utf8(timestamp).ok().and_then(notation::parse_timestamp)
        else {
            return refuse(RejectReason::Timestamp, "the timestamp is not one");
        };
        let Some(value) = notation::parse_value(value) else {
            return refuse(RejectReason::Value, "the value is not a number");
        };
        let text = columns.series.map_or(Some(&b""[..]), |at| self.record.get(at));
        let Some(text) = text else {
            return refuse(RejectReason::Syntax, "the record has too few fields");
        };
        let slot = match &self.latest {
            Some((latest, slot)) if latest == text => *slot,
            _ => {
                let slot =
                    find_slot(&mut self.slots, &mut self.intake, self.series.as_ref(), text)?;
                self.latest = Some((text.to_vec(), slot));
                slot
            }
        };
        self.intake.push(slot, timestamp.nanos(), value);
        Ok(())
    }
}

/// The slot of a series text; the empty text is the caller's series.
fn find_slot(
    slots: &mut HashMap<Vec<u8>, Slot>,
    intake: &mut Intake,
    given: Option<&Series>,
    text: &[u8],
) -> Result<Slot, (RejectReason, String)> {
    if let Some(&slot) = slots.get(text) {
        return Ok(slot);
    }
    let series = match given {
        Some(series) if text.is_empty() => series.clone(),
        _ => {
            let text = std::str::from_utf8(text)
                .map_err(|_| (RejectReason::Series, "the series is not UTF-8".to_owned()))?;
            Series::parse(text).map_err(|error| (RejectReason::Series, error.to_string()))?
        }
    };
    let slot = intake
        .declare(series, |_| Metadata::default())
        .map_err(|reason| (reason, "more than 10 million series".to_owned()))?;
    if slots.len() < super::intake::SERIES_MAX {
        slots.insert(text.to_vec(), slot);
    }
    Ok(slot)
}

impl<R: Read> SampleReader for CsvReader<R> {
    fn next_batch(&mut self) -> io::Result<Option<Batch>> {
        loop {
            if let Some(batch) = self.intake.take_ready() {
                return Ok(Some(batch));
            }
            if self.at_end {
                return Ok(None);
            }
            if !self.records.read_byte_record(&mut self.record).map_err(input_error)? {
                self.intake.flush();
                self.at_end = true;
                continue;
            }
            let columns = match self.columns {
                Some(columns) => columns,
                None => {
                    let (columns, is_header) = self.first_record()?;
                    self.columns = Some(columns);
                    if is_header {
                        continue;
                    }
                    columns
                }
            };
            if let Err((reason, what)) = self.sample(columns) {
                let line = self.record.position().map_or(0, ::csv::Position::line);
                let text = self.record.iter().collect::<Vec<_>>().join(&b","[..]);
                self.intake.rejections.add(line, reason, &what, &text);
            }
        }
    }

    fn declared(&self) -> &[DeclaredSeries] {
        self.intake.declared()
    }

    fn rejections(&self) -> &Rejections {
        &self.intake.rejections
    }
}

/// The input's own error, out of the wrapping of the csv crate.
fn input_error(error: ::csv::Error) -> io::Error {
    match error.into_kind() {
        ::csv::ErrorKind::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, format!("{other:?}")),
    }
}

/// Fails where a line is longer than [`LINE_BYTES_MAX`], so that no field can grow without end.
struct BoundedLines<R> {
    input: R,
    line_bytes: usize,
}

impl<R: Read> Read for BoundedLines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        self.line_bytes = match memchr::memrchr(b'\n', bytes) {
            Some(at) => read - at - 1,
            None => self.line_bytes + read,
        };
        if self.line_bytes > LINE_BYTES_MAX {
            let message = "a line of the CSV is longer than 512 KiB";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(read)
    }
}

/// Writes `timestamp,series,value` with a header, timestamps as RFC 3339; exact for every
/// timestamp and every bit pattern of a value ([`notation`]). Metadata is left out.
pub struct CsvWriter<W: Write> {
    records: ::csv::Writer<W>,
}

impl<W: Write> CsvWriter<W> {
    /// Writes to `output`, buffered, beginning with the header.
    ///
    /// # Errors
    /// The output's own.
    pub fn new(output: W) -> io::Result<Self> {
        let mut records = ::csv::Writer::from_writer(output);
        records.write_record(["timestamp", "series", "value"])?;
        Ok(Self { records })
    }

    /// Writes samples of one series; `values.len() == timestamps.len()`.
    ///
    /// # Errors
    /// The output's own.
    pub fn write(&mut self, series: &Series, timestamps: &[i64], values: &[f64]) -> io::Result<()> {
        let text = series.to_string();
        let (mut when, mut how_much) = (String::new(), String::new());
        for (&nanos, &value) in timestamps.iter().zip(values) {
            use std::fmt::Write as _;
            when.clear();
            how_much.clear();
            write!(when, "{}", Rfc3339(Timestamp(nanos))).map_err(io::Error::other)?;
            write!(how_much, "{}", ExactValue(value)).map_err(io::Error::other)?;
            self.records.write_record([when.as_str(), text.as_str(), how_much.as_str()])?;
        }
        Ok(())
    }

    /// Flushes and gives the output back.
    ///
    /// # Errors
    /// The output's own.
    pub fn finish(self) -> io::Result<W> {
        self.records
            .into_inner()
            .map_err(|error| io::Error::new(error.error().kind(), error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bits, read_all};
    use super::*;
    use proptest::prelude::*;

    fn one() -> Option<Series> {
        Some(Series::new("load", [("host", "a")]).unwrap())
    }

    #[test]
    fn two_columns_belong_to_the_callers_series() {
        let text = "timestamp,value\n2014-04-01 00:00:00,1.5\n2014-04-01 00:05:00,2\n";
        let mut reader = CsvReader::new(text.as_bytes(), one());
        let samples = read_all(&mut reader);
        let name = || "load{host=\"a\"}".to_owned();
        let start = 1_396_310_400_000_000_000;
        assert_eq!(
            samples,
            [(name(), start, bits(1.5)), (name(), start + 300_000_000_000, bits(2.0))]
        );
    }

    #[test]
    fn a_header_is_optional_and_may_reorder() {
        for text in [
            "1396310400,up,1\n",
            "time,what,number\n1396310400,up,1\n",
            "\u{feff}series,timestamp,note,value\nup,1396310400,x,1\n",
        ] {
            let mut reader = CsvReader::new(text.as_bytes(), None);
            let expected = ("up".to_owned(), 1_396_310_400_000_000_000, bits(1.0));
            assert_eq!(read_all(&mut reader), [expected], "{text}");
        }
    }

    #[test]
    fn what_is_no_sample_is_counted_with_its_line() {
        let text = "timestamp,series,value\nnever,up,1\n1396310400,up,x\n1396310400,{,1\n1396310400\n1396310401,up,2\n";
        let mut reader = CsvReader::new(text.as_bytes(), None);
        assert_eq!(read_all(&mut reader).len(), 1);
        let details: Vec<_> =
            reader.rejections().details().iter().map(|d| (d.line, d.reason)).collect();
        let expected = [
            (2, RejectReason::Timestamp),
            (3, RejectReason::Value),
            (4, RejectReason::Series),
            (5, RejectReason::Syntax),
        ];
        assert_eq!(details, expected);
    }

    #[test]
    fn a_text_that_cannot_be_understood_at_all_is_an_error() {
        let fails = |text: &str, series| {
            CsvReader::new(text.as_bytes(), series).next_batch().unwrap_err().kind()
        };
        assert_eq!(fails("1396310400,1\n", None), io::ErrorKind::InvalidData);
        assert_eq!(fails("a,b,c,d\n", one()), io::ErrorKind::InvalidData);
        let endless = format!("1396310400,\"{}", "x".repeat(LINE_BYTES_MAX * 2));
        assert_eq!(fails(&endless, one()), io::ErrorKind::InvalidData);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_bit_for_bit(
            label in "[ -~\n\\\\é\t]{1,8}",
            rows in proptest::collection::vec(any::<(i64, u64)>(), 1..20),
        ) {
            let series = Series::new("http.status", [("l", label.as_str())]).unwrap();
            let (timestamps, values): (Vec<i64>, Vec<f64>) =
                rows.iter().map(|&(t, v)| (t, f64::from_bits(v))).unzip();
            let mut writer = CsvWriter::new(Vec::new()).unwrap();
            writer.write(&series, &timestamps, &values).unwrap();
            let text = writer.finish().unwrap();
            let mut reader = CsvReader::new(&text[..], None);
            let expected: Vec<_> = rows.iter().map(|&(t, v)| (series.to_string(), t, v)).collect();
            prop_assert_eq!(read_all(&mut reader), expected);
        }

        #[test]
        fn any_bytes_are_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = CsvReader::new(&text[..], one());
            while let Ok(Some(_)) = reader.next_batch() {}
        }
    }
}
