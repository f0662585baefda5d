//! The write-ahead log: what was acknowledged and is not yet in a part.
//!
//! Owns: log files (`docs/format.md`, "Log"), group writing, replay, truncation. Does not own:
//! when to sync, rotate or truncate (`engine`), or which part covers what (`catalog`).
//!
//! - A log file is self-contained: each declares a series, a group or a table of events
//!   before its first use in it.
//! - Every data record has a *sequence number*: 1, 2, 3, ... without gaps over all files. A file's
//!   header tells the first one it can hold; the watermark tells the last that parts cover.
//! - Records reach a file in frames, each checksummed, each written by one call. A frame also
//!   tells how much of its file was durable when it was sealed: so replay can tell a tail that a
//!   power cut tore, which is cut, from damage to what had been synced, which is an error.
//! - After the first failed write or sync a [`Writer`] repeats that error for ever.

mod format;
mod reader;
mod record;
mod rows;
mod truncate;
mod writer;

#[cfg(test)]
mod tests;

pub use format::FRAME_PAYLOAD_BYTES_MAX;
pub use reader::{Replay, TornTail, replay};
pub use record::Record;
pub use truncate::truncate;
pub use writer::Writer;
