//! Golden bytes: each format as its first release wrote it, field by field, read forever.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "tests"
)]

#[path = "../support/mod.rs"]
mod support;

mod catalog;
mod events;
mod log;
mod part;
mod records;
mod segment;
