//! JSON lines: one object a line, in either of two forms.
//!
//! - One sample: `{"metric":"up","labels":{"job":"a"},"timestamp":1795425382586,"value":1}`.
//! - A column, as VictoriaMetrics exports: `{"metric":{"__name__":"up","job":"a"},
//!   "timestamps":[...],"values":[...]}`.
//!
//! The ways to name the series and to give the samples mix freely. Timestamps are numbers (unit
//! by magnitude) or texts; values are numbers, `null` (NaN), or texts (`"NaN"`, `"+Inf"`,
//! `"NaN(0x7ff0000000000002)"`), both as [`notation`] says. Unknown keys are passed over.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};

use serde::de::{self, Deserialize, Deserializer, Visitor};

use super::intake::Intake;
use super::lines::{Line, LineReader};
use super::notation::{self, ExactValue, Rfc3339, TimestampUnit};
use super::{Batch, DeclaredSeries, RejectReason, Rejections, SampleReader};
use crate::model::{Metadata, MetricKind, Series};
use crate::time::Timestamp;

/// Longest line, bytes. A column of a million samples fits.
pub const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Samples that [`JsonlWriter`] puts on one line.
const LINE_SAMPLES_MAX: usize = 8192;

#[derive(serde::Deserialize)]
struct Object {
    metric: Metric,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    timestamp: Option<When>,
    value: Option<HowMuch>,
    timestamps: Option<Vec<When>>,
    values: Option<Vec<HowMuch>>,
    #[serde(default)]
    kind: Kind,
    #[serde(default)]
    unit: String,
    #[serde(default)]
    help: String,
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Metric {
    Name(String),
    /// The name is the label `__name__`.
    Labels(BTreeMap<String, String>),
}

#[derive(serde::Deserialize, serde::Serialize, Default, Clone, Copy)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    #[default]
    Untyped,
    Counter,
    Gauge,
    Distribution,
}

impl Kind {
    pub(super) fn of(kind: MetricKind) -> Self {
        match kind {
            MetricKind::Untyped => Self::Untyped,
            MetricKind::Counter => Self::Counter,
            MetricKind::Gauge => Self::Gauge,
            MetricKind::Distribution => Self::Distribution,
        }
    }

    fn to_metric_kind(self) -> MetricKind {
        match self {
            Self::Untyped => MetricKind::Untyped,
            Self::Counter => MetricKind::Counter,
            Self::Gauge => MetricKind::Gauge,
            Self::Distribution => MetricKind::Distribution,
        }
    }
}

/// A timestamp, nanoseconds; `None` where it was none, so that one of them does not cost the line.
struct When(Option<i64>);

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WhenVisitor;
        impl Visitor<'_> for WhenVisitor {
            type Value = When;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a timestamp")
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<When, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<When, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<When, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<When, E> {
                Ok(When(notation::parse_timestamp(text).map(Timestamp::nanos)))
            }
        }
        deserializer.deserialize_any(WhenVisitor)
    }
}

/// A value; `None` where it was none.
struct HowMuch(Option<f64>);

impl<'de> Deserialize<'de> for HowMuch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HowMuchVisitor;
        impl Visitor<'_> for HowMuchVisitor {
            type Value = HowMuch;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            #[expect(clippy::cast_precision_loss, reason = "rounds to nearest, as reading does")]
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<HowMuch, E> {
                Ok(HowMuch(Some(number as f64)))
            }
            #[expect(clippy::cast_precision_loss, reason = "rounds to nearest, as reading does")]
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<HowMuch, E> {
                Ok(HowMuch(Some(number as f64)))
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<HowMuch, E> {
                Ok(HowMuch(Some(number)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<HowMuch, E> {
                Ok(HowMuch(notation::parse_value(text.as_bytes())))
            }
            fn visit_unit<E: de::Error>(self) -> Result<HowMuch, E> {
                Ok(HowMuch(Some(f64::NAN)))
            }
        }
        deserializer.deserialize_any(HowMuchVisitor)
    }
}

/// Reads JSON lines.
///
/// ```
/// use icecore::integration::jsonl::JsonlReader;
/// use icecore::integration::SampleReader;
///
/// let text = r#"{"metric":{"__name__":"up"},"values":[1,0],"timestamps":[1549891472010,1549891487724]}"#;
/// let mut reader = JsonlReader::new(text.as_bytes());
/// assert_eq!(reader.next_batch()?.map(|batch| batch.samples()), Some(2));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct JsonlReader<R> {
    lines: LineReader<R>,
    intake: Intake,
    at_end: bool,
}

impl<R: Read> JsonlReader<R> {
    /// Reads from `input` to its end.
    pub fn new(input: R) -> Self {
        let lines = LineReader::new(input, LINE_BYTES_MAX);
        Self { lines, intake: Intake::default(), at_end: false }
    }
}

impl<R: Read> SampleReader for JsonlReader<R> {
    fn next_batch(&mut self) -> io::Result<Option<Batch>> {
        loop {
            if let Some(batch) = self.intake.take_ready() {
                return Ok(Some(batch));
            }
            if self.at_end {
                return Ok(None);
            }
            let number = self.lines.number() + 1;
            match self.lines.next_line()? {
                Some(Line::Text(line)) if line.trim_ascii().is_empty() => {}
                Some(Line::Text(line)) => object(&mut self.intake, number, line),
                Some(Line::TooLong) => {
                    let what = "the line is longer than 64 MiB";
                    self.intake.rejections.add(number, RejectReason::LineTooLong, what, b"");
                }
                None => {
                    self.intake.flush();
                    self.at_end = true;
                }
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

/// Takes in one line; what cannot be is counted.
fn object(intake: &mut Intake, number: u64, line: &[u8]) {
    let object: Object = match serde_json::from_slice(line) {
        Ok(object) => object,
        Err(error) => {
            intake.rejections.add(number, RejectReason::Syntax, &error.to_string(), line);
            return;
        }
    };
    let (timestamps, values) =
        match (object.timestamp, object.value, object.timestamps, object.values) {
            (Some(timestamp), Some(value), None, None) => (vec![timestamp], vec![value]),
            (None, None, Some(timestamps), Some(values)) if timestamps.len() == values.len() => {
                (timestamps, values)
            }
            (None, Some(_), None, None) => {
                let what = "the object has no timestamp";
                intake.rejections.add(number, RejectReason::NoTimestamp, what, line);
                return;
            }
            _ => {
                let what = "needs timestamp and value, or timestamps and values of one length";
                intake.rejections.add(number, RejectReason::Syntax, what, line);
                return;
            }
        };
    let (name, labels) = match object.metric {
        Metric::Name(name) => (name, object.labels),
        Metric::Labels(mut labels) => {
            let name = labels.remove("__name__").unwrap_or_default();
            labels.extend(object.labels);
            (name, labels)
        }
    };
    let pairs = labels.iter().map(|(label, value)| (label.as_str(), value.as_str()));
    let series = match Series::new(&name, pairs) {
        Ok(series) => series,
        Err(error) => {
            intake.rejections.add(number, RejectReason::Series, &error.to_string(), line);
            return;
        }
    };
    let kind = object.kind.to_metric_kind();
    let metadata = Metadata { kind, unit: object.unit, help: object.help };
    let slot = match intake.declare(series, |_| metadata) {
        Ok(slot) => slot,
        Err(reason) => {
            intake.rejections.add(number, reason, "more than 10 million series", line);
            return;
        }
    };
    let mut times = Vec::with_capacity(timestamps.len());
    let mut numbers = Vec::with_capacity(values.len());
    for (When(timestamp), HowMuch(value)) in timestamps.into_iter().zip(values) {
        match (timestamp, value) {
            (Some(timestamp), Some(value)) => {
                times.push(timestamp);
                numbers.push(value);
            }
            (None, _) => {
                let what = "a timestamp is not one";
                intake.rejections.add(number, RejectReason::Timestamp, what, line);
            }
            (_, None) => {
                intake.rejections.add(number, RejectReason::Value, "a value is not a number", line);
            }
        }
    }
    match (times.as_slice(), numbers.as_slice()) {
        (&[timestamp], &[value]) => intake.push(slot, timestamp, value),
        _ => intake.push_column(slot, times, numbers),
    }
}

/// Writes JSON lines in the column form, exactly: every timestamp, every bit pattern of a value,
/// and the metadata (keys `kind`, `unit`, `help`, where known).
///
/// A timestamp of whole milliseconds is written as such, which VictoriaMetrics imports; others,
/// and those before March 1973, are written as RFC 3339 text.
pub struct JsonlWriter<W> {
    output: W,
}

impl<W: Write> JsonlWriter<W> {
    /// Writes to `output`, one line at a time.
    pub fn new(output: W) -> Self {
        Self { output }
    }

    /// Writes samples of one series; `values.len() == timestamps.len()`.
    ///
    /// # Errors
    /// The output's own.
    pub fn write(
        &mut self,
        series: &Series,
        metadata: &Metadata,
        timestamps: &[i64],
        values: &[f64],
    ) -> io::Result<()> {
        let mut metric = serde_json::Map::new();
        metric.insert("__name__".to_owned(), series.name().into());
        metric.extend(series.labels().map(|(label, value)| (label.to_owned(), value.into())));
        let mut head = format!("{{\"metric\":{}", serde_json::Value::Object(metric));
        if metadata.kind != MetricKind::Untyped {
            head += &format!(",\"kind\":{}", serde_json::to_string(&Kind::of(metadata.kind))?);
        }
        for (key, text) in [("unit", &metadata.unit), ("help", &metadata.help)] {
            if !text.is_empty() {
                head += &format!(",\"{key}\":{}", serde_json::to_string(text)?);
            }
        }
        let chunks = timestamps.chunks(LINE_SAMPLES_MAX).zip(values.chunks(LINE_SAMPLES_MAX));
        for (timestamps, values) in chunks {
            self.output.write_all(head.as_bytes())?;
            self.output.write_all(b",\"values\":[")?;
            for (i, &value) in values.iter().enumerate() {
                let comma = if i > 0 { "," } else { "" };
                if value.is_finite() {
                    write!(self.output, "{comma}{}", ExactValue(value))?;
                } else {
                    write!(self.output, "{comma}\"{}\"", ExactValue(value))?;
                }
            }
            self.output.write_all(b"],\"timestamps\":[")?;
            for (i, &nanos) in timestamps.iter().enumerate() {
                let comma = if i > 0 { "," } else { "" };
                match whole_millis(nanos) {
                    Some(millis) => write!(self.output, "{comma}{millis}")?,
                    None => write!(self.output, "{comma}\"{}\"", Rfc3339(Timestamp(nanos)))?,
                }
            }
            self.output.write_all(b"]}\n")?;
        }
        Ok(())
    }

    /// Flushes the output and gives it back.
    ///
    /// # Errors
    /// The output's own.
    pub fn finish(mut self) -> io::Result<W> {
        self.output.flush()?;
        Ok(self.output)
    }
}

/// Milliseconds, where they say the same and their magnitude says that they are milliseconds.
fn whole_millis(nanos: i64) -> Option<i64> {
    let millis = nanos / 1_000_000;
    let text = millis.to_string();
    let read = notation::parse_numeric_timestamp(text.as_bytes(), TimestampUnit::ByMagnitude);
    (read == Some(Timestamp(nanos))).then_some(millis)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bits, read_all};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_forms_mix() {
        let text = r#"
{"metric":"up","labels":{"job":"a"},"timestamp":"2014-04-01T00:00:00Z","value":1}
{"metric":{"__name__":"up","job":"b"},"timestamp":1396310400.5,"value":"NaN","extra":[1]}

{"metric":{"__name__":"up","job":"a"},"values":[1,null,-0,"-Inf"],"timestamps":[1396310401000,1396310402000,1396310403000,1396310404000]}
"#;
        let mut reader = JsonlReader::new(text.as_bytes());
        let samples = read_all(&mut reader);
        let values: Vec<u64> = samples.iter().map(|sample| sample.2).collect();
        let expected = [1.0, f64::NAN, 1.0, f64::NAN, -0.0, f64::NEG_INFINITY].map(bits);
        assert_eq!(values, expected);
        assert_eq!(samples[1].1, 1_396_310_400_500_000_000);
        assert_eq!(samples[2].0, "up{job=\"a\"}");
        assert_eq!(reader.rejections().total(), 0);
    }

    #[test]
    fn what_is_no_sample_is_counted_with_its_line() {
        let text = r#"not json
{"metric":"up","value":1}
{"metric":"up","timestamps":[1396310400,1396310401],"values":[1]}
{"metric":{"job":"a"},"timestamp":1396310400,"value":1}
{"metric":"up","timestamps":[1396310400,"never",1396310402],"values":[1,2,"x"]}
"#;
        let mut reader = JsonlReader::new(text.as_bytes());
        assert_eq!(read_all(&mut reader).len(), 1);
        let details: Vec<_> =
            reader.rejections().details().iter().map(|d| (d.line, d.reason)).collect();
        let expected = [
            (1, RejectReason::Syntax),
            (2, RejectReason::NoTimestamp),
            (3, RejectReason::Syntax),
            (4, RejectReason::Series),
            (5, RejectReason::Timestamp),
            (5, RejectReason::Value),
        ];
        assert_eq!(details, expected);
    }

    #[test]
    fn real_timestamps_are_written_as_milliseconds() {
        let series = Series::new("up", [("job", "a")]).unwrap();
        let metadata = Metadata { kind: MetricKind::Gauge, ..Metadata::default() };
        let mut writer = JsonlWriter::new(Vec::new());
        let timestamps = [1_396_310_400_000_000_000, 1_396_310_400_000_000_001];
        writer.write(&series, &metadata, &timestamps, &[1.0, f64::INFINITY]).unwrap();
        assert_eq!(
            String::from_utf8(writer.finish().unwrap()).unwrap(),
            "{\"metric\":{\"__name__\":\"up\",\"job\":\"a\"},\"kind\":\"gauge\",\
             \"values\":[1,\"+Inf\"],\
             \"timestamps\":[1396310400000,\"2014-04-01T00:00:00.000000001Z\"]}\n"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_bit_for_bit(
            label in "\\PC{1,8}",
            unit in "[a-z]{0,4}",
            help in ".{0,10}",
            rows in proptest::collection::vec(any::<(i64, u64)>(), 1..20),
        ) {
            let series = Series::new("http.status", [("l", label.as_str())]).unwrap();
            let metadata = Metadata { kind: MetricKind::Distribution, unit, help };
            let (timestamps, values): (Vec<i64>, Vec<f64>) =
                rows.iter().map(|&(t, v)| (t, f64::from_bits(v))).unzip();
            let mut writer = JsonlWriter::new(Vec::new());
            writer.write(&series, &metadata, &timestamps, &values).unwrap();
            let text = writer.finish().unwrap();
            let mut reader = JsonlReader::new(&text[..]);
            let expected: Vec<_> = rows.iter().map(|&(t, v)| (series.to_string(), t, v)).collect();
            prop_assert_eq!(read_all(&mut reader), expected);
            prop_assert_eq!(&reader.declared()[0].metadata, &metadata);
        }

        #[test]
        fn any_line_is_read_or_refused(text in ".{0,100}") {
            read_all(&mut JsonlReader::new(text.as_bytes()));
        }
    }
}
