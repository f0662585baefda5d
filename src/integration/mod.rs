//! Formats and facades of others: translation only.
//!
//! Owns: reading and writing Prometheus and OpenMetrics text ([`exposition`]), CSV ([`csv`]) and
//! JSON lines ([`jsonl`]), how timestamps and values look in them ([`notation`]), how people write
//! lengths of time and numbers of bytes ([`quantity`]), how figures and axes are rounded for them
//! ([`figures`], [`axis`]), and the policy file ([`policy`]). Does not own: storing anything. A reader
//! yields [`Batch`]es in terms of [`Slot`]s, its own dense numbering of series, so that a caller
//! resolves each series once and appends by handle.
//!
//! Input is never trusted: lines are bounded, a line that cannot be read is counted by reason
//! ([`Rejections`]) and does not end the reading.

#[cfg(feature = "arrow")]
pub mod arrow;
#[cfg(feature = "text")]
pub mod axis;
#[cfg(feature = "text")]
pub mod csv;
#[cfg(feature = "datafusion")]
pub mod datafusion;
#[cfg(feature = "text")]
pub mod exposition;
#[cfg(feature = "text")]
pub mod figures;
#[cfg(feature = "text")]
mod intake;
#[cfg(feature = "text")]
pub mod jsonl;
#[cfg(feature = "text")]
mod lines;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(feature = "text")]
pub mod notation;
#[cfg(feature = "parquet")]
pub mod parquet;
#[cfg(feature = "text")]
pub mod policy;
#[cfg(feature = "text")]
pub mod quantity;
#[cfg(feature = "text")]
mod rejection;
#[cfg(test)]
#[cfg(feature = "text")]
mod testing;
#[cfg(feature = "tracing")]
pub mod tracing;

#[cfg(feature = "text")]
pub use rejection::{RejectReason, Rejection, Rejections};

#[cfg(feature = "text")]
use crate::model::{Metadata, Series};
#[cfg(feature = "text")]
use crate::time::Timestamp;

#[cfg(feature = "text")]
/// A series' number within one reader: dense, from 0, in the order of first appearance. It is
/// the index into [`SampleReader::declared`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

#[cfg(feature = "text")]
/// A series as a reader met it.
#[derive(Debug, Clone, PartialEq)]
pub struct DeclaredSeries {
    /// The identity.
    pub series: Series,
    /// What the text said of its metric before the series' first sample.
    pub metadata: Metadata,
}

#[cfg(feature = "text")]
/// Samples in the shape they came in, which is the shape the engine appends them in.
#[derive(Debug, Clone, PartialEq)]
pub enum Batch {
    /// One point in time, many series: a scrape.
    Scrape {
        /// When, for all of them.
        timestamp: Timestamp,
        /// Which series; no slot repeats.
        slots: Vec<Slot>,
        /// `values.len() == slots.len()`, in the same order.
        values: Vec<f64>,
    },
    /// One series, many points in time.
    Column {
        /// Which series.
        slot: Slot,
        /// Nanoseconds since the Unix epoch, in the order of the text: neither sorted nor unique
        /// unless the text is.
        timestamps: Vec<i64>,
        /// `values.len() == timestamps.len()`, in the same order.
        values: Vec<f64>,
    },
}

#[cfg(feature = "text")]
impl Batch {
    /// Samples in it.
    #[must_use]
    pub fn samples(&self) -> usize {
        match self {
            Self::Scrape { values, .. } | Self::Column { values, .. } => values.len(),
        }
    }
}

#[cfg(feature = "text")]
/// A text being read, batch by batch.
pub trait SampleReader {
    /// The next batch, `None` at the end of the text. Lines that cannot be read are counted in
    /// [`rejections`](Self::rejections) and passed over.
    ///
    /// # Errors
    /// The input's own, and `InvalidData` where the text as a whole is not of the format (its
    /// message says why). After an error the reader is not to be used further.
    fn next_batch(&mut self) -> std::io::Result<Option<Batch>>;

    /// Every series met so far; a batch's slots index it. Only ever grows.
    fn declared(&self) -> &[DeclaredSeries];

    /// What was passed over so far, and why.
    fn rejections(&self) -> &Rejections;
}
