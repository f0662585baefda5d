//! Segments: immutable bytes that hold chunks of many series of one partition and tier.

mod merge;
mod source;

pub(crate) use merge::count_below;
pub use merge::{Columns, merge_latest_wins};
pub use source::{ChunkRef, ChunkSource};
