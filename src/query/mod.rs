//! Queries: from selected series and their sources to windowed aggregates or samples.
//!
//! Owns: the request and its limits, windows, the walk over chunks, folding and pooling, the
//! answer. Does not own: which series a matcher selects (`index`), where chunks live
//! ([`ChunkSource`](crate::segment::ChunkSource)), what an aggregate is (`aggregate`).
//!
//! Where data comes from and goes: `execute` plans groups of series, rayon folds shards of them;
//! `scan` walks one series' chunks in time order, taking statistics where a window covers a
//! chunk that nothing overlaps, and decoding the rest; `fold` sums up windows and pools series;
//! shards of a group are merged in the order of their series, so that an answer does not depend
//! on the number of threads.

mod answer;
mod execute;
mod fold;
mod meter;
mod request;
mod samples;
mod scan;
mod windows;

pub use crate::aggregate::Function;
pub use answer::{Answer, Group, GroupKey, Work};
pub use execute::execute;
pub use request::{CancelToken, Grouping, Limits, Request};
pub use samples::{SampleRequest, SeriesSamples, for_each_run, read_samples};
pub use windows::Windows;
