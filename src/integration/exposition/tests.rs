use proptest::prelude::*;

use super::*;
use crate::integration::testing::read_all;
use crate::model::{Metadata, MetricKind, Series};

/// Series, nanoseconds, and the value or its bits.
type Read<V> = Vec<(String, i64, V)>;

/// Every sample, values as bits, and the reader.
fn read_as(
    text: &[u8],
    dialect: Dialect,
    default: Option<Timestamp>,
) -> (Read<u64>, ExpositionReader<&[u8]>) {
    let mut reader = ExpositionReader::new(text, dialect, default);
    let samples = read_all(&mut reader);
    (samples, reader)
}

fn read(text: &str) -> (Read<f64>, Vec<(u64, RejectReason)>) {
    let (samples, reader) = read_as(text.as_bytes(), Dialect::Auto, None);
    let samples = samples.into_iter().map(|(s, t, v)| (s, t, f64::from_bits(v))).collect();
    let details = reader.rejections().details();
    (samples, details.iter().map(|detail| (detail.line, detail.reason)).collect())
}

fn sample(series: &str, millis: i64, value: f64) -> (String, i64, f64) {
    (series.to_owned(), millis * 1_000_000, value)
}

#[test]
fn prometheus_text_with_all_its_freedoms() {
    let text = "\
# HELP http_requests_total The \\\\ total \\n number.
# TYPE http_requests_total counter
# just a comment
http_requests_total{method=\"post\",code=\"200\"} 1027 1395066363000
  http_requests_total { code = \"400\", method=\"post\", }\t3 1395066363000

metric_without_labels 12.47 1395066363000
something_weird{problem=\"division by zero\"} +Inf -3982045
msdos_file{path=\"C:\\\\DIR\\\\FILE.TXT\",error=\"Cannot find:\\n\\\"FILE.TXT\\\"\"} -1.458e9 1395066363000\r
";
    let (samples, reader) = read_as(text.as_bytes(), Dialect::Prometheus, None);
    let values: Vec<f64> = samples.iter().map(|sample| f64::from_bits(sample.2)).collect();
    assert_eq!(values, [1027.0, 3.0, 12.47, f64::INFINITY, -1.458e9]);
    assert_eq!(samples[0].0, "http_requests_total{code=\"200\",method=\"post\"}");
    assert_eq!(samples[1].0, "http_requests_total{code=\"400\",method=\"post\"}");
    assert_eq!(samples[3].1, -3_982_045_000_000);
    assert_eq!(reader.declared()[4].series.label("error"), "Cannot find:\n\"FILE.TXT\"");
    let metadata = &reader.declared()[1].metadata;
    assert_eq!(metadata.kind, MetricKind::Counter);
    assert_eq!(metadata.help, "The \\ total \n number.");
    assert_eq!(reader.rejections().total(), 0);
}

#[test]
fn openmetrics_text_with_units_fractions_and_exemplars() {
    let text = "\
# TYPE foo_seconds histogram
# UNIT foo_seconds seconds
# HELP foo_seconds How long.
foo_seconds_bucket{le=\"0.1\"} 8 1520879607.789 # {trace_id=\"a b\"} 0.054 1520879607.7
foo_seconds_bucket{le=\"+Inf\"} 17 1520879607.789 # {} 9
foo_seconds_sum 324789.3 1520879607.789
foo_seconds_created 1520430000.123 1520879607.789
{\"http.status\",\"a.b\"=\"x\"} NaN 1520879607.789000001
# EOF
";
    let (samples, reader) = read_as(text.as_bytes(), Dialect::OpenMetrics, None);
    assert_eq!(samples.len(), 5);
    assert!(samples.iter().take(4).all(|sample| sample.1 == 1_520_879_607_789_000_000));
    assert_eq!(samples[4].1, 1_520_879_607_789_000_001);
    assert_eq!(samples[4].2, f64::NAN.to_bits());
    let of = |i: usize| &reader.declared()[i].metadata;
    assert_eq!((of(0).kind, of(0).unit.as_str()), (MetricKind::Counter, ""));
    assert_eq!((of(2).kind, of(2).unit.as_str()), (MetricKind::Counter, "seconds"));
    assert_eq!(of(3).kind, MetricKind::Gauge);
    assert_eq!(of(2).help, "How long.");
    assert_eq!(reader.rejections().total(), 0);
}

#[test]
fn lines_of_one_time_are_one_scrape() {
    let text = "a 1 1395066363000\nb 2 1395066363000\na 3 1395066364000\nb 4 1395066364000\n";
    let mut reader = ExpositionReader::new(text.as_bytes(), Dialect::Auto, None);
    for expected in [[1.0, 2.0], [3.0, 4.0]] {
        let Some(Batch::Scrape { slots, values, .. }) = reader.next_batch().unwrap() else {
            panic!("no scrape");
        };
        assert_eq!(slots, [Slot(0), Slot(1)]);
        assert_eq!(values, expected);
    }
    assert_eq!(reader.next_batch().unwrap(), None);
    assert_eq!(reader.next_batch().unwrap(), None);
}

#[test]
fn a_bad_line_is_counted_and_the_next_one_read() {
    let text = "\
a 1 1395066363000
a one 1395066363000
a 1 never
a 1 1395066363000 more
a{b=\"c\" 1 1395066363000
a{b=c} 1 1395066363000
a 1
a
a 2 1395066364000
";
    let (samples, rejected) = read(text);
    assert_eq!(samples, [sample("a", 1_395_066_363_000, 1.0), sample("a", 1_395_066_364_000, 2.0)]);
    assert_eq!(
        rejected,
        [
            (2, RejectReason::Value),
            (3, RejectReason::Timestamp),
            (4, RejectReason::Syntax),
            (5, RejectReason::Syntax),
            (6, RejectReason::Series),
            (7, RejectReason::NoTimestamp),
            (8, RejectReason::Value),
        ]
    );
}

#[test]
fn the_callers_timestamp_stands_in() {
    let (samples, _) = read_as(b"a 1\nb 2 # {} 1\n", Dialect::Auto, Some(Timestamp(7)));
    assert_eq!(samples.iter().map(|sample| sample.1).collect::<Vec<_>>(), [7, 7]);
}

#[test]
fn a_prediction_does_not_take_one_series_for_another() {
    let (samples, rejected) = read(
        "up 1 1395066363000\nup_total 2 1395066363000\nup 3 1395066364000\nup {a=\"b\"} 4 1395066364000\n\
         up 5 1395066365000\nup{a=\"b\"} 6 1395066365000\nup 7 1395066366000\nup_total 8 1395066366000\n",
    );
    let names: Vec<&str> = samples.iter().map(|sample| sample.0.as_str()).collect();
    let labelled = "up{a=\"b\"}";
    assert_eq!(names, ["up", "up_total", "up", labelled, "up", labelled, "up", "up_total"]);
    assert_eq!(rejected, []);
}

#[test]
fn two_spellings_are_one_series() {
    let text = "a{x=\"1\",y=\"2\"} 1 1395066363000\na{y=\"2\",x=\"1\"} 2 1395066364000\n";
    let (_, reader) = read_as(text.as_bytes(), Dialect::Auto, None);
    assert_eq!(reader.declared().len(), 1);
}

#[test]
fn a_line_beyond_the_bound_is_counted() {
    let text = format!("a{{b=\"{}\"}} 1 1\nok 1 1395066363000\n", "x".repeat(LINE_BYTES_MAX));
    let (samples, rejected) = read(&text);
    assert_eq!(samples, [sample("ok", 1_395_066_363_000, 1.0)]);
    assert_eq!(rejected, [(1, RejectReason::LineTooLong)]);
}

#[test]
fn what_the_format_cannot_hold_is_refused_or_counted() {
    let series = Series::new("a", []).unwrap();
    let mut writer = ExpositionWriter::new(Vec::new());
    let stale = f64::from_bits(crate::model::STALE_MARKER_BITS);
    let payload = f64::from_bits(0x7ff8_0000_0000_0001);
    let none = Metadata::default();
    writer.write(&series, &none, &[1_000_000, 2_000_000], &[stale, payload]).unwrap();
    assert_eq!((writer.stale_left_out(), writer.nan_payloads_lost()), (1, 1));
    let error = writer.write(&series, &none, &[1], &[1.0]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    let text = String::from_utf8(writer.finish().unwrap()).unwrap();
    assert_eq!(text, "# TYPE a untyped\na NaN 2\n");
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let kind = prop_oneof![
        Just(MetricKind::Untyped),
        Just(MetricKind::Counter),
        Just(MetricKind::Gauge),
        Just(MetricKind::Distribution)
    ];
    (kind, "[a-z]{0,5}", "[ -~\n\\\\é]{0,20}").prop_map(|(kind, unit, help)| Metadata {
        kind,
        unit,
        help,
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        names in proptest::collection::btree_set("[a-z.]{1,6}", 1..4),
        label in "[ -~\n\\\\é]{1,8}",
        metadata in metadata(),
        rows in proptest::collection::vec((-9_000_000_000_000i64..9_000_000_000_000, any::<u64>()), 1..20),
    ) {
        let mut writer = ExpositionWriter::new(Vec::new());
        let timestamps: Vec<i64> = rows.iter().map(|row| row.0 * 1_000_000).collect();
        let values: Vec<f64> = rows
            .iter()
            .map(|row| f64::from_bits(row.1))
            .map(|value| if value.is_nan() { f64::NAN } else { value })
            .collect();
        let mut expected = Vec::new();
        for name in &names {
            let series = Series::new(name, [("l", label.as_str())]).unwrap();
            writer.write(&series, &metadata, &timestamps, &values).unwrap();
            let rows = timestamps.iter().zip(&values);
            expected.extend(rows.map(|(t, v)| (series.to_string(), *t, v.to_bits())));
        }
        let text = writer.finish().unwrap();
        let (samples, reader) = read_as(&text, Dialect::Prometheus, None);
        prop_assert_eq!(samples, expected);
        prop_assert_eq!(reader.rejections().total(), 0);
        for declared in reader.declared() {
            prop_assert_eq!(&declared.metadata, &metadata);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..300)) {
        read_as(&text, Dialect::Auto, Some(Timestamp(0)));
    }

    #[test]
    fn text_near_the_grammar_is_read_or_refused(
        lines in proptest::collection::vec("[ab#{}=\",\\\\ 0-9.eE+-]{0,20}", 0..20),
    ) {
        read_as(lines.join("\n").as_bytes(), Dialect::Auto, Some(Timestamp(0)));
    }
}
