//! Crash tests: every mutating call fails, or loses power, in turn.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "parquet")]
mod archive;
mod catalog;
mod child;
mod engine;
mod events;
mod kill;
mod log;
mod log_damage;
mod maintenance;
mod power_cut;
mod snapshot;
