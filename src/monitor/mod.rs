//! The federation monitor: how an engine that queries many sources ran, remembered.
//!
//! Owns: guards that follow queries, their phases and their calls to sources, whatever becomes of
//! them; what is counted of queries and sources; who waited for whom; the list of what runs now;
//! rules that watch it all ([`alert`]). Does not own: storing anything. It lives on the engine's
//! public interface, as a host does.
//!
//! A guard writes atomics; when its query ends, one record goes into a bounded queue, and one
//! thread makes series and events of it. A host's thread never waits: where the queue is full, the
//! record is dropped and counted, while counts by outcome and by source stay exact.

pub mod alert;
pub mod attribution;
mod call;
mod core;
mod directory;
mod drain;
mod durations;
mod federation;
mod fingerprint;
mod guard;
mod history;
mod instrument;
mod label;
mod options;
mod outcome;
mod phase;
mod query;
mod recovery;
mod running;
mod source;
mod stretch;
mod totals;
mod view;

use std::sync::{Mutex, MutexGuard, TryLockError};

pub use call::CALLS_MAX;
pub use federation::FederationMonitor;
pub use fingerprint::{DoubleQuotes, FINGERPRINT_BYTES_MAX, Fingerprint, TEXT_BYTES_MAX};
pub use guard::{CallGuard, PhaseGuard, QueryGuard, QueryHandle, QueryStart};
pub use history::{QUERIES, RUNNING_QUERIES, SOURCE_CALLS};
pub use instrument::{Counter, Gauge, Histogram, Instruments};
pub use options::{KeepRule, MonitorOptions};
pub use outcome::{ERROR_CLASSES_MAX, NAME_BYTES_MAX, OTHER, Outcome, OutcomeKind, PANIC};
pub use phase::{Phase, Phases};
pub use query::{QueryId, QueryMetrics, RunningQuery, SourceUse};
pub use source::{Connections, Health, Source, SourceMetrics};
pub use view::LiveView;

/// The lock, unless another thread holds it: threads of the host wait for nobody who looks on.
fn try_lock<T>(of: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match of.try_lock() {
        Ok(held) => Some(held),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}
