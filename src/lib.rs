//! icecore: an embedded time-series storage engine.
//!
//! Long-running engines carry it inside themselves to remember how they ran: fresh samples in
//! memory, sealed columnar segments below them, coarser tiers below those.
//!
//! The rooms stand here in layer order: a module imports only modules listed above it
//! (`tests/tidy.rs` holds the order). `docs/architecture.md` tells what each room owns.

pub mod time;

pub mod error;

pub mod model;

pub mod aggregate;

pub mod codec;

pub mod fs;

pub mod segment;

pub mod store;

pub mod index;

pub mod part;

pub mod wal;

pub mod head;

pub mod catalog;

pub mod options;

pub mod query;

pub mod retention;

pub mod compaction;

pub mod engine;

pub use engine::{Engine, EventWriter, Writer};

pub mod monitor;

#[cfg(feature = "promql")]
pub mod promql;

#[cfg(any(feature = "text", feature = "metrics", feature = "tracing"))]
pub mod integration;

#[cfg(any(feature = "report", feature = "server"))]
pub mod overview;

#[cfg(feature = "server")]
pub mod server;

#[cfg(feature = "report")]
pub mod report;

#[cfg(feature = "cli")]
pub mod cli;

pub use error::{DecodeError, Error, ErrorKind, Result};
pub use options::Options;
pub use time::{Clock, SimulatedClock, SystemClock, Tier, TimeRange, Timestamp};
