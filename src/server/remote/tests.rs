use super::protobuf::push_varint;
use super::*;
use crate::model::STALE_MARKER_BITS;

fn label(name: &str, value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    push_bytes(&mut out, 1, name.as_bytes());
    push_bytes(&mut out, 2, value.as_bytes());
    out
}

fn sample(timestamp: i64, value: f64) -> Vec<u8> {
    let mut out = Vec::new();
    push_double(&mut out, 1, value);
    push_integer(&mut out, 2, timestamp);
    out
}

/// A request of two series, an exemplar, a histogram, metadata, and a field from the future.
fn request() -> Vec<u8> {
    let mut first = Vec::new();
    push_bytes(&mut first, 1, &label("__name__", "up"));
    push_bytes(&mut first, 1, &label("job", "a"));
    push_bytes(&mut first, 2, &sample(1_000, 1.5));
    push_bytes(&mut first, 2, &sample(-2_000, f64::from_bits(STALE_MARKER_BITS)));
    push_bytes(&mut first, 3, &label("trace", "x"));
    let mut second = Vec::new();
    push_bytes(&mut second, 1, &label("__name__", "down"));
    push_bytes(&mut second, 4, &[]);
    let mut metadata = Vec::new();
    push_integer(&mut metadata, 1, 1);
    push_bytes(&mut metadata, 2, b"up");
    push_bytes(&mut metadata, 4, b"Whether it is.");
    let mut out = Vec::new();
    push_bytes(&mut out, 1, &first);
    push_bytes(&mut out, 1, &second);
    push_bytes(&mut out, 3, &metadata);
    push_bytes(&mut out, 99, b"future");
    out
}

#[test]
fn a_write_request_is_read_bit_for_bit() {
    let message = request();
    let read = decode_write(&message).unwrap();
    assert_eq!(read.series[0].labels, [("__name__", "up"), ("job", "a")]);
    assert_eq!(read.series[0].samples[0], (1_000, 1.5));
    let (timestamp, stale) = read.series[0].samples[1];
    assert_eq!((timestamp, stale.to_bits()), (-2_000, STALE_MARKER_BITS));
    assert_eq!((read.exemplars, read.histograms, read.series.len()), (1, 1, 2));
    let metadata = WrittenMetadata { kind: 1, family: "up", help: "Whether it is.", unit: "" };
    assert_eq!(read.metadata, [metadata]);
}

#[test]
fn every_truncation_is_refused_or_shorter() {
    let message = request();
    let whole = decode_write(&message).unwrap();
    for length in 0..message.len() {
        match decode_write(&message[..length]) {
            // Cut between two fields of the outermost message.
            Ok(read) => assert!(read.series.len() <= 2 && read != whole || length > 60),
            Err(error) => assert_eq!(error, Malformed::Truncated, "{length}"),
        }
    }
}

#[test]
fn lying_lengths_and_types_are_refused() {
    let mut long = vec![0x0a];
    push_varint(&mut long, u64::MAX);
    assert_eq!(decode_write(&long), Err(Malformed::Truncated));
    let endless = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
    assert_eq!(decode_write(&endless), Err(Malformed::Varint));
    assert_eq!(decode_write(&[0x0b]), Err(Malformed::WireType(3)));
    assert_eq!(decode_write(&[0x08, 0x00]), Err(Malformed::Field));
    let mut series = Vec::new();
    push_bytes(&mut series, 1, &[0x0a, 0x01, 0xff]);
    let mut out = Vec::new();
    push_bytes(&mut out, 1, &series);
    assert_eq!(decode_write(&out), Err(Malformed::Text));
}

#[test]
fn a_block_that_lies_about_its_length_takes_no_memory() {
    let packed = compress(&request()).unwrap();
    assert_eq!(decompress(&packed, 1 << 20).unwrap(), request());
    assert!(matches!(decompress(&packed, 10), Err(Malformed::TooLong { limit: 10, .. })));
    let mut lying = Vec::new();
    push_varint(&mut lying, 100 << 20);
    lying.extend_from_slice(&[0, 0, 0]);
    assert!(matches!(decompress(&lying, 128 << 20), Err(Malformed::Snappy(_))));
    for length in 0..packed.len() {
        assert!(decompress(&packed[..length], 1 << 20).is_err(), "{length}");
    }
    // The most that a block can hold is no lie.
    let zeros = vec![0; 10 << 20];
    assert_eq!(decompress(&compress(&zeros).unwrap(), 10 << 20).unwrap(), zeros);
}

#[test]
fn a_read_request_is_read() {
    let mut matcher = Vec::new();
    push_integer(&mut matcher, 1, 3);
    push_bytes(&mut matcher, 2, b"job");
    push_bytes(&mut matcher, 3, b"a|b");
    let mut query = Vec::new();
    push_integer(&mut query, 1, -5);
    push_integer(&mut query, 2, 10);
    push_bytes(&mut query, 3, &matcher);
    let mut message = Vec::new();
    push_bytes(&mut message, 1, &query);
    push_bytes(&mut message, 2, &[1, 0]);
    let read = decode_read(&message).unwrap();
    assert_eq!((read.queries[0].start, read.queries[0].end), (-5, 10));
    assert_eq!(read.queries[0].matchers, [(MatchOp::NotMatches, "job", "a|b")]);
    assert_eq!(read.accepted, [1, 0]);
    let mut unknown = Vec::new();
    push_integer(&mut unknown, 1, 9);
    let mut query = Vec::new();
    push_bytes(&mut query, 3, &unknown);
    let mut message = Vec::new();
    push_bytes(&mut message, 1, &query);
    assert_eq!(decode_read(&message), Err(Malformed::Matcher(9)));
}

#[test]
fn what_is_answered_reads_back_as_what_would_be_written() {
    // A `QueryResult` and a `WriteRequest` hold series in the same field, in the same shape.
    let series = Series::new("up", [("Zone", "z"), ("job", "a")]).unwrap();
    let mut result = Vec::new();
    push_series(&mut result, &series, [(0, 0.0), (-1, -0.0), (5, f64::NAN)]);
    let read = decode_write(&result).unwrap();
    assert_eq!(read.series[0].labels, [("Zone", "z"), ("__name__", "up"), ("job", "a")]);
    let bits: Vec<_> = read.series[0].samples.iter().map(|(t, v)| (*t, v.to_bits())).collect();
    assert_eq!(bits, [(0, 0), (-1, (-0.0f64).to_bits()), (5, f64::NAN.to_bits())]);
    let mut response = Vec::new();
    push_result(&mut response, &result);
    assert!(response.ends_with(&result));
}
