//! The one read contract over head and parts. Nothing above it asks where data lives.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::records::Records;
use crate::aggregate::Partial;
use crate::error::Result;
use crate::model::SeriesId;
use crate::time::{Tier, TimeRange, Timestamp};

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

    /// The id of the last tombstone whose samples were left out when it was written; sources that
    /// hold nothing deleted answer `u64::MAX`.
    fn tombstones(&self) -> u64 {
        u64::MAX
    }

    /// What all of its samples lie in, and how many there are of how many series, about; nothing
    /// where it does not know. A query passes over sources that lie outside of its range, and
    /// weighs by the rest whether a tier is worth reading.
    fn extent(&self) -> Option<Extent> {
        None
    }

    /// Appends for each of `series` what is known of its last sample without decoding anything;
    /// `None` where it holds no sample of it.
    ///
    /// # Errors
    /// I/O or corruption, where a directory had to be read.
    fn latest(&self, series: &[SeriesId], out: &mut Vec<Option<Latest>>) -> Result<()> {
        let mut chunks = Vec::new();
        for &one in series {
            chunks.clear();
            self.chunks(one, TimeRange::ALL, &mut chunks)?;
            out.push(chunks.last().map(|chunk| Latest { last: chunk.last, value: None }));
        }
        Ok(())
    }

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

/// The last sample of a series in a source.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latest {
    /// When; a stale marker counts.
    pub last: Timestamp,
    /// Its value; `None` for a stale marker, or where it is not known.
    pub value: Option<f64>,
}

/// What a source knows of its samples together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Timestamp of the earliest, inclusive.
    pub first: Timestamp,
    /// Timestamp of the latest, inclusive.
    pub last: Timestamp,
    /// How many there are.
    pub samples: u64,
    /// Of how many series.
    pub series: u64,
}

/// Which optional fields the records of a series carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecordFields {
    /// Increase and resets; left out where the metric is known to be a gauge.
    pub increase: bool,
    /// Sketches.
    pub sketches: bool,
}

/// Something that holds records of many series: a tier part, or distributions as they were
/// recorded ([`Tier::RAW`], where a record stands at the time it was recorded).
pub trait RecordSource: Send + Sync {
    /// The order of writes, as [`ChunkSource::rank`]. A tier source has taken in every sample of
    /// its window that was written up to its rank.
    fn rank(&self) -> u64;

    /// As [`ChunkSource::tombstones`].
    fn tombstones(&self) -> u64;

    /// How coarse its records are.
    fn tier(&self) -> Tier;

    /// What it accounts for, aligned to its tier's buckets: a bucket of the window without a record
    /// held no sample, unless a source of lower rank has a record of it.
    fn window(&self) -> TimeRange;

    /// Whether it holds records of the series. Reads nothing where the source knows it without.
    ///
    /// # Errors
    /// I/O or corruption.
    fn holds(&self, series: SeriesId) -> Result<bool> {
        Ok(self.fields(series)?.is_some())
    }

    /// Which fields its records of the series carry; `None` where it holds none. Cost: may read, so
    /// ask [`holds`](Self::holds) where that is enough.
    ///
    /// # Errors
    /// I/O or corruption.
    fn fields(&self, series: SeriesId) -> Result<Option<RecordFields>>;

    /// Up to where reading the series from the start of `range` on goes well in one piece, at most to its
    /// end: records with sketches take much memory, and who pauses elsewhere decodes some of them twice.
    ///
    /// # Errors
    /// I/O or corruption.
    fn pause(&self, _series: SeriesId, range: TimeRange) -> Result<Timestamp> {
        Ok(range.end)
    }

    /// Replaces `out` with the series' records whose start lies in `range`, ascending. A record of
    /// count 0 says that the bucket became empty: it hides those of lower rank.
    ///
    /// # Errors
    /// I/O or corruption.
    fn read_records(&self, series: SeriesId, range: TimeRange, out: &mut Records) -> Result<()>;
}

/// A delete as a reader applies it: samples of these series in this range are not there, in
/// sources that it [`affects`](Self::affects).
#[derive(Debug, Clone, PartialEq)]
pub struct Mask {
    /// The tombstone's id.
    pub id: u64,
    /// Sources above this rank were written later, and are not affected.
    pub rank: u64,
    /// Which samples.
    pub range: TimeRange,
    /// Of which series: their ids.
    pub series: RoaringBitmap,
}

impl Mask {
    /// Whether a source of this rank, which left out tombstones up to an id, may hold what is
    /// masked.
    #[must_use]
    pub const fn affects(&self, rank: u64, tombstones: u64) -> bool {
        rank <= self.rank && tombstones < self.id
    }
}

/// Everything a reader may read: it never changes under the reader's hands.
#[derive(Clone, Default)]
pub struct Sources {
    /// Samples, in any order; ranks order the writes.
    pub samples: Vec<Arc<dyn ChunkSource>>,
    /// Tiers and distributions, in any order.
    pub records: Vec<Arc<dyn RecordSource>>,
    /// Deletes that sources may still hold samples of, ascending by id.
    pub masks: Vec<Mask>,
    /// From here on `samples`, and what was recorded of distributions, is all that there ever was
    /// and was not deleted: no tier knows more. `None` where that is not known.
    pub raw_whole_from: Option<Timestamp>,
}

impl From<Vec<Arc<dyn ChunkSource>>> for Sources {
    fn from(samples: Vec<Arc<dyn ChunkSource>>) -> Self {
        Self { samples, ..Self::default() }
    }
}
