//! Queries: from selected series and their sources to windowed aggregates or samples.
//!
//! Owns: the request and its limits, windows, the walk over chunks, folding and pooling, the
//! answer. Does not own: which series a matcher selects (`index`), where chunks live
//! ([`ChunkSource`](crate::segment::ChunkSource)), what an aggregate is (`aggregate`).
//!
//! Where data comes from and goes: `execute` cuts groups of series into shards, rayon folds them;
//! `plan` says for each series which tier answers which stretch of time; `walk` goes through the
//! stretches, by `stored` over records and by `scan` over raw chunks, taking a chunk's statistics
//! where a window covers it and nothing overlaps it; `bucket` folds anew what a tier has not taken
//! in; `fold` sums up windows and pools series. Shards of a group are merged in the order of their
//! series, so that an answer does not depend on the number of threads. On the way `evidence`
//! tallies what the answer stands on.

mod answer;
mod arithmetic;
mod bucket;
mod cut;
mod events;
mod evidence;
mod execute;
mod fold;
mod gaps;
mod inputs;
mod kept;
mod last;
mod meter;
mod plan;
mod ranges;
mod records;
mod request;
mod resources;
mod rows;
mod runs;
mod samples;
mod scan;
mod sketched;
mod stored;
mod threshold;
mod top;
mod walk;
mod windows;

pub use crate::aggregate::Function;
pub use answer::{Answer, Group, GroupKey};
pub use arithmetic::{Combined, CombinedGroup, Operation, combine};
pub use events::{
    EventAnswer, EventEvidence, EventOrder, EventPredicate, EventRequest, EventSpan, EventTest,
    event_span, fold_events, for_each_event_group, scan_events,
};
pub use evidence::{Covered, CutShort, Evidence, Gap, Loss, TierEvidence};
pub use execute::execute;
pub use last::{LastSample, last_samples};
pub(crate) use meter::check;
pub use plan::TierChoice;
pub use records::bucket_records;
pub use request::{CancelToken, Grouping, Limits, Request};
pub use resources::{MemoryBudget, Resources};
pub use rows::{RowGroup, RowRequest, select_rows};
pub use runs::{FOLD_SERIES, SeriesRuns, fold_series};
pub use samples::{SampleRequest, SeriesSamples, for_each_run, read_samples, retain_held};
pub use threshold::{Comparison, Threshold};
pub use top::{Top, TopScope};
pub use windows::Windows;
