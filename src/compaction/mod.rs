//! Compaction: many parts become few, small chunks long ones, what was deleted goes.
//!
//! Owns: the plan (`plan`), building tiers (`downsample`), merging parts into parts
//! ([`merge_samples`], [`merge_records`], [`merge_events`]), and how densely their samples stand ([`timelines`]).
//! What is built is published under ids that it is given. Does not own: committing it, which alone
//! makes a part live, and when it runs (`engine`).

pub mod plan;

mod batch;
mod density;
mod dirty;
mod downsample;
mod events;
mod inputs;
mod merge;
mod publish;
mod records;
mod survey;
mod weave;

pub use density::{Cell, Timeline, timelines};
pub use downsample::downsample;
pub use events::merge_events;
pub use merge::{MergeSpec, Pause, merge_samples};
pub use records::merge_records;

#[cfg(test)]
mod tests;
