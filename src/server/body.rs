//! Bodies of requests: read within bounds of size and time, decompressed within bounds.

use std::io::Read;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::failure::Failure;
use super::options::ServerOptions;

/// The type of a form.
pub(super) const FORM: &str = "application/x-www-form-urlencoded";

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Plain,
    Gzip,
    /// A snappy block, as remote write and read carry.
    Snappy,
}

impl Coding {
    /// # Errors
    /// [`Failure::media`] for a coding that is not known here.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let Some(coding) = headers.get(header::CONTENT_ENCODING) else { return Ok(Self::Plain) };
        match coding.as_bytes().to_ascii_lowercase().as_slice() {
            b"" | b"identity" => Ok(Self::Plain),
            b"gzip" | b"x-gzip" => Ok(Self::Gzip),
            b"snappy" => Ok(Self::Snappy),
            other => {
                let other = String::from_utf8_lossy(other);
                Err(Failure::media(format!("Content-Encoding {other:?} is not understood")))
            }
        }
    }
}

/// The body as it comes.
///
/// # Errors
/// [`Failure::too_large`], [`Failure::slow`]; [`Failure::bad_data`] where the connection breaks.
pub(super) async fn read_raw(options: &ServerOptions, body: Body) -> Result<Bytes, Failure> {
    let collected = Limited::new(body, options.body_bytes_max).collect();
    match tokio::time::timeout(options.transfer_timeout, collected).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let limit = options.body_bytes_max;
            Err(Failure::too_large(format!("the body is longer than {limit} bytes")))
        }
        Ok(Err(error)) => Err(Failure::bad_data(format!("the body breaks off: {error}"))),
        Err(_) => Err(Failure::slow("the body took too long")),
    }
}

/// The body, unpacked where it was gzip.
///
/// # Errors
/// As [`read_raw`] and [`unpack`].
pub(super) async fn read(
    options: &ServerOptions,
    headers: &HeaderMap,
    body: Body,
) -> Result<Bytes, Failure> {
    let coding = Coding::of(headers)?;
    let raw = read_raw(options, body).await?;
    if coding == Coding::Plain {
        return Ok(raw);
    }
    let limit = options.decoded_bytes_max;
    let unpacked = tokio::task::spawn_blocking(move || unpack(&raw, coding, limit)).await;
    unpacked.map_err(|_| Failure::internal("unpacking panicked"))?.map(Bytes::from)
}

/// Unpacks at most `limit` bytes.
///
/// # Errors
/// [`Failure::too_large`]; [`Failure::bad_data`] for bytes that are not what they are said to be.
pub(super) fn unpack(raw: &[u8], coding: Coding, limit: usize) -> Result<Vec<u8>, Failure> {
    let too_large = || Failure::too_large(format!("the body unpacks to more than {limit} bytes"));
    match coding {
        Coding::Plain => Ok(raw.to_vec()),
        Coding::Gzip => {
            let mut unpacked = Vec::new();
            let mut bounded = MultiGzDecoder::new(raw).take(limit as u64 + 1);
            let read = bounded.read_to_end(&mut unpacked);
            read.map_err(|error| Failure::bad_data(format!("the body is not gzip: {error}")))?;
            if unpacked.len() > limit { Err(too_large()) } else { Ok(unpacked) }
        }
        Coding::Snappy => match super::remote::decompress(raw, limit) {
            Ok(unpacked) => Ok(unpacked),
            Err(super::remote::Malformed::TooLong { .. }) => Err(too_large()),
            Err(error) => Err(Failure::bad_data(error.to_string())),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use axum::http::StatusCode;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn a_small_body_cannot_become_a_large_one() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&vec![0; 1 << 20]).unwrap();
        let packed = gzip.finish().unwrap();
        assert!(packed.len() < 2000);
        assert_eq!(unpack(&packed, Coding::Gzip, 1 << 20).unwrap().len(), 1 << 20);
        let refused = unpack(&packed, Coding::Gzip, (1 << 20) - 1).unwrap_err();
        assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
        let broken = unpack(&packed[..packed.len() / 2], Coding::Gzip, 1 << 20).unwrap_err();
        assert_eq!(broken.status, StatusCode::BAD_REQUEST);
    }
}
