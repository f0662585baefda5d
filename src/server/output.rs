//! An answer on its way out: small ones go whole, large ones piece by piece as they are written.
//!
//! The writer runs on a blocking thread and sees plain bytes. What it has written leaves through a
//! channel of few pieces, so that an answer of any length takes little memory, and a client that
//! reads slowly or has gone stops the writer.

use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Response, header};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body::Frame;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::failure::Failure;

/// Bytes of one piece. Below it an answer goes whole, with its length.
const PIECE_BYTES: usize = 256 << 10;
/// Pieces written and not yet sent.
const PIECES_AHEAD: usize = 4;
/// Shorter answers are not worth compressing: they fit into one packet.
const GZIP_BYTES_MIN: usize = 1400;

/// What a writer's answer is like from outside.
#[derive(Debug, Clone)]
pub(super) struct Form {
    pub(super) content_type: &'static str,
    /// Whether the client takes gzip.
    pub(super) gzip: bool,
    /// How long a client may leave a piece unread.
    pub(super) stall: Duration,
}

type Answered = Result<Response<Body>, Failure>;

/// Where an answer is written.
pub(super) struct Output {
    /// What was written and not sent yet; append, then call [`checkpoint`](Self::checkpoint).
    pub(super) bytes: Vec<u8>,
    form: Form,
    runtime: Handle,
    head: Option<oneshot::Sender<Answered>>,
    pieces: Option<mpsc::Sender<Piece>>,
    gzip: Option<GzEncoder<Vec<u8>>>,
}

type Piece = Result<Bytes, std::io::Error>;

impl Output {
    /// An output, and where its answer's head appears. To be made within the runtime.
    pub(super) fn new(form: Form) -> (Self, oneshot::Receiver<Answered>) {
        let (head, answered) = oneshot::channel();
        let output = Self {
            bytes: Vec::new(),
            form,
            runtime: Handle::current(),
            head: Some(head),
            pieces: None,
            gzip: None,
        };
        (output, answered)
    }

    /// Sends what was written, if it is enough to be a piece. Called now and then by whoever writes.
    ///
    /// # Errors
    /// Where nobody reads any more.
    #[inline]
    pub(super) fn checkpoint(&mut self) -> Result<(), Failure> {
        if self.bytes.len() < PIECE_BYTES {
            return Ok(());
        }
        self.send_piece()
    }

    fn send_piece(&mut self) -> Result<(), Failure> {
        if self.pieces.is_none() {
            self.begin_pieces()?;
        }
        let mut piece = std::mem::take(&mut self.bytes);
        self.bytes.reserve(PIECE_BYTES + PIECE_BYTES / 4);
        if let Some(gzip) = &mut self.gzip {
            gzip.write_all(&piece).map_err(|error| Failure::internal(error.to_string()))?;
            piece = std::mem::take(gzip.get_mut());
            if piece.len() < PIECE_BYTES / 8 {
                // Not worth a piece yet.
                *gzip.get_mut() = piece;
                return Ok(());
            }
        }
        self.send(Ok(piece.into()))
    }

    fn begin_pieces(&mut self) -> Result<(), Failure> {
        let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
        self.pieces = Some(sender);
        self.gzip = self.form.gzip.then(|| GzEncoder::new(Vec::new(), Compression::fast()));
        let response = self.response(Body::new(Pieces(receiver)), self.form.gzip);
        self.answer(Ok(response))
    }

    fn send(&self, piece: Piece) -> Result<(), Failure> {
        let Some(pieces) = &self.pieces else { return Ok(()) };
        let sent = async { tokio::time::timeout(self.form.stall, pieces.send(piece)).await };
        match self.runtime.block_on(sent) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Failure::unavailable("the client has gone")),
            Err(_) => Err(Failure::unavailable("the client does not read")),
        }
    }

    fn response(&self, body: Body, gzip: bool) -> Response<Body> {
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.form.content_type));
        if gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        response
    }

    fn answer(&mut self, answered: Answered) -> Result<(), Failure> {
        let Some(head) = self.head.take() else { return Ok(()) };
        head.send(answered).map_err(|_| Failure::unavailable("the client has gone"))
    }

    /// Ends the answer with what its writer came to.
    pub(super) fn finish(mut self, written: Result<(), Failure>) {
        // Whoever has gone need not be told.
        let _ = match written {
            Ok(()) if self.pieces.is_none() => self.finish_whole(),
            Ok(()) => self.finish_pieces(),
            Err(failure) if self.pieces.is_none() => self.answer(Err(failure)),
            // The head is out already: a connection that breaks is all there is left to say.
            Err(failure) => self.send(Err(std::io::Error::other(failure.message))),
        };
    }

    fn finish_whole(&mut self) -> Result<(), Failure> {
        let bytes = std::mem::take(&mut self.bytes);
        let gzip = self.form.gzip && bytes.len() >= GZIP_BYTES_MIN;
        let bytes = if gzip { compressed(&bytes)? } else { bytes };
        let response = self.response(Body::from(bytes), gzip);
        self.answer(Ok(response))
    }

    fn finish_pieces(&mut self) -> Result<(), Failure> {
        let mut piece = std::mem::take(&mut self.bytes);
        if let Some(mut gzip) = self.gzip.take() {
            let ended = gzip.write_all(&piece).and_then(|()| gzip.finish());
            piece = ended.map_err(|error| Failure::internal(error.to_string()))?;
        }
        self.send(Ok(piece.into()))
    }
}

fn compressed(bytes: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut gzip = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    let ended = gzip.write_all(bytes).and_then(|()| gzip.finish());
    ended.map_err(|error| Failure::internal(error.to_string()))
}

/// The receiving end, as a body.
struct Pieces(mpsc::Receiver<Piece>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// Whether `Accept-Encoding` takes gzip.
pub(super) fn takes_gzip(accepted: Option<&HeaderValue>) -> bool {
    let Some(accepted) = accepted.and_then(|value| value.to_str().ok()) else { return false };
    accepted.split(',').any(|coding| {
        let mut pieces = coding.split(';').map(str::trim);
        let named = pieces.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let refused = pieces.any(|piece| {
            let weight = piece.strip_prefix("q=").or_else(|| piece.strip_prefix("Q="));
            weight.is_some_and(|weight| weight.parse() == Ok(0.0))
        });
        named && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_taken_where_it_is_named_and_not_refused() {
        for (accepted, takes) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip; q=0.0", false),
            ("br", false),
            ("", false),
        ] {
            assert_eq!(takes_gzip(Some(&HeaderValue::from_static(accepted))), takes, "{accepted}");
        }
        assert!(!takes_gzip(None));
    }
}
