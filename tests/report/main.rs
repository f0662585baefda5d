//! Reports of stores whose contents are known: the numbers, where trouble is found, and the page.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod live;
mod numbers;
mod overview;
mod page;
mod store;
