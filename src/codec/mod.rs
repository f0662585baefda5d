//! Column codecs: bytes in, bytes out, no I/O.
//!
//! Owns: the primitives all stored bytes are made of ([`bytes`]), and lossless encodings of
//! columns of timestamps, values, integers, bits and strings. Does not own: which columns stand together
//! (`segment`), or checksums over them, but for [`bytes::write_frame`].
//!
//! Every encoder is total (any input round-trips bit for bit) and deterministic. Every decoder
//! returns [`DecodeError`](crate::DecodeError) on bytes no encoder wrote, or some column of the
//! right length: detecting damage is the checksum's work, staying in bounds is the decoder's.

pub mod bitmaps;
pub mod bytes;
mod compression;
pub mod distances;
pub mod event_integers;
mod integers;
pub mod metadata;
pub mod partials;
pub mod schemas;
pub mod sketches;
pub mod strings;
pub mod timestamps;
pub mod values;

pub use integers::{COLUMN_VALUES_MAX, Stage};
