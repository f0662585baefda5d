//! Segments of events: one column of one stretch of rows each, so that a scan reads what it asks for.
//!
//! A *stretch* is up to [`STRETCH_ROWS_MAX`] rows of one table, ascending by time. Its columns (the
//! time first) are segments of their own. A segment is cut into *groups* of [`GROUP_ROWS`] rows, each
//! with bounds of its values: what a scan reads or passes over. A text stands once in the dictionary
//! of its stretch, in the order of first appearance, so that frequent ones have small numbers. A column
//! that is near another may be kept as its distance from that one, its *base*.
//!
//! Owns: the bytes (`docs/format/events.md`), writing and reading them, bounds, and the read contract
//! ([`EventSource`]). Does not own: which segments make a part (`part`), what a scan wants (`query`).

mod base;
mod bounds;
mod cut;
mod merge;
mod reader;
mod source;
mod writer;

pub use bounds::{Bounds, GroupBounds};
pub use cut::StretchCutter;
pub use merge::{EventMerge, LoadGroup, read_field, read_group};
pub use reader::EventSegment;
pub use source::{Column, EventSource, EventStretch, StoredColumn, TIME_FIELD};
pub use writer::{EncodedColumn, check_stretch, encode_column, encode_stretch, encode_times};

/// Rows of a group. 4,096: a column of it decodes in some 10 µs, and bounds and code tables cost a
/// fiftieth of a byte a row. Fewer in unit tests, so that small cases have several.
pub const GROUP_ROWS: usize = if cfg!(test) { 32 } else { 4096 };

/// Most rows of a stretch, as one column's codec takes at most.
pub const STRETCH_ROWS_MAX: usize = crate::codec::COLUMN_VALUES_MAX;

/// Most bytes of texts in a stretch, all its columns together, each text counted as often as it
/// occurs: what decoding a dictionary may allocate.
pub const STRETCH_TEXT_BYTES_MAX: usize = 32 << 20;

const MAGIC: [u8; 4] = *b"ICEV";
/// Of version 1 no column had a base.
const VERSION: u8 = 2;
/// The kind of the column of times; the others' are those of
/// [`EventKind`](crate::model::EventKind).
const TIME_KIND: u8 = 0;

#[cfg(test)]
mod tests;
