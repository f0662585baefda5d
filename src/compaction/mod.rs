//! Compaction: what becomes of parts in the background.
//!
//! Owns: the plan (`plan`), building tiers (`downsample`), merging parts. Does not own: committing
//! what it built, and when it runs (`engine`).

pub mod plan;
