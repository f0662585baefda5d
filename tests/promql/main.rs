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
mod distributions;
mod format;
mod limits;
mod properties;
mod script;
mod tiers;

/// Aggregations that are folded while their series are read.
const PUSHED: [&str; 12] = [
    "sum(m)",
    "sum by (group) (rate(m[45s]))",
    "avg without (index) (m)",
    "count by (group) (m offset 10s)",
    "min(min_over_time(m[45s]))",
    "max by (index) (m)",
    "group by (group) (m @ 50)",
    "stddev by (group) (m)",
    "stdvar(increase(m[1m]))",
    "avg by (group) (last_over_time(m[45s]))",
    "sum by (none) (quantile_over_time(0.9, m[45s]))",
    "count by (group) (timestamp(m))",
];
