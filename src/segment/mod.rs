//! Segments: immutable bytes that hold chunks of many series of one partition and tier.
//!
//! A segment holds *groups*: series whose samples stand at the same timestamps share one
//! timestamp column, so that time costs nearly nothing where one scrape wrote them all. A chunk
//! is one value column with its statistics; a constant one lives in the directory alone.
//!
//! Owns: the bytes (`format`, docs/format.md), cutting groups into segments ([`encode_segments`]),
//! reading them back verified ([`Segment`]), and the read contract ([`ChunkSource`]). Does not
//! own: files and stores (`part`), or which label set a series number means (`index`).

mod builder;
mod directory;
mod encoded;
mod events;
mod format;
mod merge;
mod reader;
mod records;
mod source;
mod statistics;
mod writer;

pub use builder::{EncodedTimestamps, EncodedValues};
pub use directory::{Chunk, TimestampColumn};
pub use encoded::{EncodedGroup, ReadEncoded, lay_segments};
pub use events::{
    Bounds, Column, EncodedColumn, EventMerge, EventSegment, EventSource, EventStretch, GROUP_ROWS,
    GroupBounds, LoadGroup, STRETCH_ROWS_MAX, STRETCH_TEXT_BYTES_MAX, StoredColumn, StretchCutter,
    TIME_FIELD, check_stretch, encode_column, encode_stretch, encode_times, read_field, read_group,
};
pub use merge::{Columns, merge_latest_wins};
pub(crate) use merge::{count_below, weave_latest_wins};
pub use reader::{ColumnKind, ColumnStats, Segment, SharedBytes};
pub(crate) use records::within_bucket;
pub use records::{Field, Records, SeriesRecords, encode_records};
pub use source::{
    ChunkRef, ChunkSource, Extent, Latest, Mask, RecordFields, RecordSource, Sources,
};
pub use writer::{EncodedSegment, Group, ReadValues, SegmentInfo, SegmentLimits, encode_segments};

#[cfg(test)]
mod tests;
