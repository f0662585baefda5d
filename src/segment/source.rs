//! The one read contract over head and parts. Nothing above it asks where data lives.

use crate::aggregate::Partial;
use crate::error::Result;
use crate::model::SeriesId;
use crate::time::{TimeRange, Timestamp};

/// A stretch of one series in a source: its time bounds, how many samples, where to find them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkRef {
    /// Timestamp of the first sample, inclusive.
    pub first: Timestamp,
    /// Timestamp of the last sample, inclusive.
    pub last: Timestamp,
    /// Samples, stale markers included.
    pub samples: u32,
    /// Which timestamp column it uses: chunks of one source with equal ids share one, so that a
    /// reader decodes it once for all the series that one scrape wrote.
    pub timestamps: u64,
    /// Which value column, the source's own numbering.
    pub values: u64,
}

/// Something that holds samples of many series: a sealed part, or the head.
pub trait ChunkSource: Send + Sync {
    /// The order of writes: where two sources hold the same series and timestamp, the one of
    /// higher rank was written later and wins.
    fn rank(&self) -> u64;

    /// Appends to `out` the chunks of `series` that overlap `range`, ascending in time. Chunks of
    /// one series in one source never overlap each other.
    ///
    /// # Errors
    /// I/O or corruption, where a directory had to be read.
    fn chunks(&self, series: SeriesId, range: TimeRange, out: &mut Vec<ChunkRef>) -> Result<()>;

    /// The chunk's statistics where the source keeps them: the aggregate of all its samples.
    ///
    /// # Errors
    /// I/O or corruption.
    fn statistics(&self, chunk: &ChunkRef) -> Result<Option<Partial>>;

    /// Replaces `out` with the chunk's timestamps, strictly ascending, `chunk.samples` of them.
    ///
    /// # Errors
    /// I/O or corruption.
    fn read_timestamps(&self, chunk: &ChunkRef, out: &mut Vec<i64>) -> Result<()>;

    /// Replaces `out` with the chunk's values, `chunk.samples` of them, bit for bit as written.
    ///
    /// # Errors
    /// I/O or corruption.
    fn read_values(&self, chunk: &ChunkRef, out: &mut Vec<f64>) -> Result<()>;
}
