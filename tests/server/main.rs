//! The server as its clients see it, over real sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "a test stops at the first surprise"
)]

mod access;
mod client;
mod exchange;
mod limits;
mod metadata;
mod overview;
mod queries;
mod tenants;
mod writes;
