//! Damage: every flipped bit and every truncation of small files is an error, never a panic and
//! never a wrong answer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "a test may fail loudly"
)]

mod records;
mod segment;
mod store;
