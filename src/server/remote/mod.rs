//! The bodies of remote write and remote read, version 1: snappy blocks of Protocol Buffers.
//!
//! Owns: the messages of `prometheus/prompb` as far as they are stored or asked for. Does not own:
//! what becomes of them. Bodies come from anybody: lengths are checked before memory is taken, and
//! nothing is reserved on a message's word.

mod protobuf;

use self::protobuf::{Fields, push_bytes, push_double, push_integer};
use crate::model::{MatchOp, Series};

/// Snappy's longest copy, 64 bytes, takes 3 bytes: no block unpacks to more times its length.
const SNAPPY_RATIO_MAX: usize = 22;

/// What is wrong with a body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The bytes end within a field.
    #[error("the message ends within a field")]
    Truncated,
    /// An integer of more than 64 bits.
    #[error("an integer has more than 64 bits")]
    Varint,
    /// A wire type that the format does not know, or no longer.
    #[error("wire type {0} is unknown")]
    WireType(u64),
    /// A field of another type than it must be.
    #[error("a field has the wrong type")]
    Field,
    /// A text that is not UTF-8.
    #[error("a text is not UTF-8")]
    Text,
    /// A matcher of a kind that there is none of.
    #[error("matcher type {0} is unknown")]
    Matcher(i64),
    /// Not a snappy block.
    #[error("the body is not a snappy block: {0}")]
    Snappy(String),
    /// A block that says it unpacks to more than is allowed.
    #[error("the body unpacks to {bytes} bytes, more than {limit}")]
    TooLong {
        /// What it says.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
}

/// One series of a write request.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WrittenSeries<'a> {
    /// Names and values as sent, `__name__` among them; neither checked nor sorted.
    pub labels: Vec<(&'a str, &'a str)>,
    /// Milliseconds since the epoch, and values bit for bit; in the order sent.
    pub samples: Vec<(i64, f64)>,
}

/// What a write request says of a metric family.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WrittenMetadata<'a> {
    /// The number of its type in `MetricMetadata.MetricType`; 0 is unknown.
    pub kind: i64,
    /// The family's name.
    pub family: &'a str,
    /// What it is.
    pub help: &'a str,
    /// Its unit.
    pub unit: &'a str,
}

/// A write request; borrows its texts from the unpacked body.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WriteRequest<'a> {
    /// Series, in the order sent; labels may repeat.
    pub series: Vec<WrittenSeries<'a>>,
    /// Metadata, in the order sent.
    pub metadata: Vec<WrittenMetadata<'a>>,
    /// How many exemplars came along.
    pub exemplars: u64,
    /// How many native histograms came along.
    pub histograms: u64,
}

/// One query of a read request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadQuery<'a> {
    /// Milliseconds since the epoch, inclusive.
    pub start: i64,
    /// Milliseconds since the epoch, inclusive.
    pub end: i64,
    /// Operators, names and texts of the matchers.
    pub matchers: Vec<(MatchOp, &'a str, &'a str)>,
}

/// A read request; borrows its texts from the unpacked body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadRequest<'a> {
    /// Queries, each of which gets a result.
    pub queries: Vec<ReadQuery<'a>>,
    /// The response types that the client takes, by number: 0 is samples; empty means samples.
    pub accepted: Vec<i64>,
}

/// Unpacks a snappy block.
///
/// # Errors
/// [`Malformed::TooLong`] where it would be longer than `limit` bytes, [`Malformed::Snappy`].
pub fn decompress(body: &[u8], limit: usize) -> Result<Vec<u8>, Malformed> {
    let broken = |error: snap::Error| Malformed::Snappy(error.to_string());
    let bytes = snap::raw::decompress_len(body).map_err(broken)?;
    if bytes > limit {
        return Err(Malformed::TooLong { bytes, limit });
    }
    if bytes > body.len().saturating_mul(SNAPPY_RATIO_MAX) {
        return Err(Malformed::Snappy("it cannot be as long as it says".to_owned()));
    }
    snap::raw::Decoder::new().decompress_vec(body).map_err(broken)
}

/// Packs a snappy block.
///
/// # Errors
/// [`Malformed::Snappy`] beyond 4 GiB.
pub fn compress(message: &[u8]) -> Result<Vec<u8>, Malformed> {
    let packed = snap::raw::Encoder::new().compress_vec(message);
    packed.map_err(|error| Malformed::Snappy(error.to_string()))
}

/// Reads an unpacked write request. Unknown fields are passed over.
///
/// # Errors
/// [`Malformed`].
pub fn decode_write(message: &[u8]) -> Result<WriteRequest<'_>, Malformed> {
    let mut request = WriteRequest::default();
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => {
                let series = decode_series(field.bytes()?, &mut request)?;
                request.series.push(series);
            }
            3 => request.metadata.push(decode_metadata(field.bytes()?)?),
            _ => {}
        }
    }
    Ok(request)
}

fn decode_series<'a>(
    message: &'a [u8],
    request: &mut WriteRequest<'_>,
) -> Result<WrittenSeries<'a>, Malformed> {
    let mut series = WrittenSeries::default();
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => series.labels.push(decode_label(field.bytes()?)?),
            2 => series.samples.push(decode_sample(field.bytes()?)?),
            3 => request.exemplars += 1,
            4 => request.histograms += 1,
            _ => {}
        }
    }
    Ok(series)
}

fn decode_label(message: &[u8]) -> Result<(&str, &str), Malformed> {
    let (mut name, mut value) = ("", "");
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => name = field.text()?,
            2 => value = field.text()?,
            _ => {}
        }
    }
    Ok((name, value))
}

fn decode_sample(message: &[u8]) -> Result<(i64, f64), Malformed> {
    let (mut timestamp, mut value) = (0, 0.0);
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => value = field.double()?,
            2 => timestamp = field.integer()?,
            _ => {}
        }
    }
    Ok((timestamp, value))
}

fn decode_metadata(message: &[u8]) -> Result<WrittenMetadata<'_>, Malformed> {
    let mut metadata = WrittenMetadata::default();
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => metadata.kind = field.integer()?,
            2 => metadata.family = field.text()?,
            4 => metadata.help = field.text()?,
            5 => metadata.unit = field.text()?,
            _ => {}
        }
    }
    Ok(metadata)
}

/// Reads an unpacked read request. Unknown fields are passed over, hints too.
///
/// # Errors
/// [`Malformed`].
pub fn decode_read(message: &[u8]) -> Result<ReadRequest<'_>, Malformed> {
    let mut request = ReadRequest::default();
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match (number, field) {
            (1, field) => request.queries.push(decode_query(field.bytes()?)?),
            // A list of integers comes packed, or one by one.
            (2, protobuf::Field::Bytes(packed)) => {
                let accepted = packed.iter().map(|&number| i64::from(number));
                request.accepted.extend(accepted);
            }
            (2, field) => request.accepted.push(field.integer()?),
            _ => {}
        }
    }
    Ok(request)
}

fn decode_query(message: &[u8]) -> Result<ReadQuery<'_>, Malformed> {
    let mut query = ReadQuery::default();
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => query.start = field.integer()?,
            2 => query.end = field.integer()?,
            3 => query.matchers.push(decode_matcher(field.bytes()?)?),
            _ => {}
        }
    }
    Ok(query)
}

fn decode_matcher(message: &[u8]) -> Result<(MatchOp, &str, &str), Malformed> {
    let (mut op, mut name, mut value) = (MatchOp::Equal, "", "");
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => {
                op = match field.integer()? {
                    0 => MatchOp::Equal,
                    1 => MatchOp::NotEqual,
                    2 => MatchOp::Matches,
                    3 => MatchOp::NotMatches,
                    other => return Err(Malformed::Matcher(other)),
                }
            }
            2 => name = field.text()?,
            3 => value = field.text()?,
            _ => {}
        }
    }
    Ok((op, name, value))
}

/// Appends one series to a query's result: the bytes of a `QueryResult` so far. Milliseconds.
pub fn push_series(
    result: &mut Vec<u8>,
    series: &Series,
    samples: impl IntoIterator<Item = (i64, f64)>,
) {
    let (mut message, mut piece) = (Vec::new(), Vec::new());
    let mut push_label = |message: &mut Vec<u8>, name: &str, value: &str| {
        piece.clear();
        push_bytes(&mut piece, 1, name.as_bytes());
        push_bytes(&mut piece, 2, value.as_bytes());
        push_bytes(message, 1, &piece);
    };
    for (name, value) in super::metadata::pairs(series) {
        push_label(&mut message, name, value);
    }
    for (timestamp, value) in samples {
        piece.clear();
        push_double(&mut piece, 1, value);
        push_integer(&mut piece, 2, timestamp);
        push_bytes(&mut message, 2, &piece);
    }
    push_bytes(result, 1, &message);
}

/// Appends one query's result to a response: the bytes of a `ReadResponse` so far.
pub fn push_result(response: &mut Vec<u8>, result: &[u8]) {
    push_bytes(response, 1, result);
}

#[cfg(test)]
mod tests;
