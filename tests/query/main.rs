//! Queries against a naive reference, and what bounds them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "tests"
)]

mod distributions;
mod functions;
mod last;
mod limits;
mod parallel;
mod reference;
mod rows;
mod samples;
mod semantics;
mod stretches;
mod tiers;
mod top;
mod windowed;

#[path = "../support/memory_records.rs"]
mod memory_records;
#[path = "../support/memory_source.rs"]
mod memory_source;

use std::sync::Arc;

use icecore::model::{Series, SeriesId};
use icecore::query::Answer;
use icecore::{TimeRange, Timestamp};

type Selected = Vec<(SeriesId, Arc<Series>)>;

/// Series `load` with `core` = id (two digits) and `job` = id modulo 3.
fn selected(count: u32) -> Selected {
    (0..count)
        .map(|id| {
            let (core, job) = (format!("{id:02}"), format!("{}", id % 3));
            let labels = [("core", core.as_str()), ("job", job.as_str())];
            (SeriesId(id), Arc::new(Series::new("load", labels).unwrap()))
        })
        .collect()
}

fn range(start: i64, end: i64) -> TimeRange {
    TimeRange::new(Timestamp(start), Timestamp(end))
}

/// Every bit of an answer's columns, so that answers with NaNs can be compared.
fn bits(answer: &Answer) -> Vec<(String, Vec<u64>, Vec<Vec<u64>>)> {
    let column = |values: &Vec<f64>| values.iter().map(|value| value.to_bits()).collect();
    answer
        .groups
        .iter()
        .map(|group| {
            let values = group.values.iter().map(column).collect();
            (format!("{:?}", group.key), group.counts.clone(), values)
        })
        .collect()
}
