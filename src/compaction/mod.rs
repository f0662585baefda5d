//! Compaction: many parts become few, small chunks long ones, what was deleted goes.
//!
//! Owns: merging parts into parts ([`merge_samples`], [`merge_records`]), and how densely their samples stand
//! ([`timelines`]). Everything here reads parts, writes new ones and publishes them under ids that
//! it is given. Does not own: which parts are merged and when (`engine`), or the catalog, which
//! alone makes a part live.

mod batch;
mod density;
mod inputs;
mod merge;
mod records;
mod survey;
mod weave;

pub use density::{Cell, Timeline, timelines};
pub use merge::{MergeSpec, Pause, merge_samples};
pub use records::merge_records;

#[cfg(test)]
mod tests;
