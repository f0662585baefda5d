//! Hosting in Apache DataFusion: sessions that are monitored, and history as tables.
//!
//! Owns: where a session is listened to ([`MonitoredSession`]), what of it goes to which guard of
//! the [monitor](crate::monitor), and how event tables and series are tables of a catalog
//! ([`register_history`]). Does not own: what is recorded (`monitor`), how it is stored (`engine`).
//!
//! A query is followed from its text on: `session` plans and optimizes it and hands it to
//! `planner`, which names the sources of its scans (`scanned`), puts `source` around each of them
//! and `output` around the whole. `running` is what all of these share, and ends the query once.

mod failure;
mod history;

mod memory;
mod output;
mod planner;
mod running;
mod scanned;
mod session;
mod source;

pub use history::{HistoryOptions, register_archive, register_history};
pub use scanned::Scanned;
pub use session::{MonitoredSession, MonitoredStream};
