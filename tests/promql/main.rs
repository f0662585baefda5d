//! PromQL against what Prometheus documents, case by case.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "tests"
)]

mod cases;
mod properties;
mod script;

/// Aggregations that are folded while their series are read.
const PUSHED: [&str; 0] = [];
