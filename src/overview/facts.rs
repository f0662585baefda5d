//! What an overview tells: plain data, the same from a store, from a server, and as JSON.
//!
//! Lengths are whole microseconds where they are of single queries, as in the monitor's tables, and
//! seconds where they are quantiles.

use serde::{Deserialize, Serialize};

use super::wire;
use crate::monitor::{OutcomeKind, QueryId};
use crate::time::Timestamp;

/// What a monitored host did up to a moment, and does at it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Overview {
    /// The moment.
    #[serde(with = "wire::time")]
    pub at: Timestamp,
    /// The beginning of the window that ends there.
    #[serde(with = "wire::time")]
    pub from: Timestamp,
    /// The first moment that the store tells of; `None` where it has no monitor's tables, or nothing in
    /// them.
    #[serde(with = "wire::time_or_none")]
    pub first: Option<Timestamp>,
    /// The last moment that the store tells of.
    #[serde(with = "wire::time_or_none")]
    pub last: Option<Timestamp>,
    /// Whether the store has the tables of a monitor.
    pub monitored: bool,
    /// Whether the host itself says what runs; otherwise the store does, which knows of phases and
    /// rows only once a query has ended.
    pub live: bool,
    /// All queries that ended in the window.
    pub load: Load,
    /// Queries that run at the moment: the longest first; at most as many as were asked for.
    pub running: Vec<QueryLine>,
    /// How many run.
    pub running_count: u64,
    /// Queries that ended in the window, in the order asked for; at most as many as were asked for.
    pub recent: Vec<QueryLine>,
    /// How many ended that pass the filter, as far as they are kept one by one.
    pub recent_count: u64,
    /// Sources that were called in the window, or are known to the host; the one with most time on
    /// critical paths first.
    pub sources: Vec<SourceLine>,
    /// Alerts that fire or are pending at the moment; those that fire first.
    pub alerts: Vec<AlertLine>,
    /// The store.
    pub store: StoreFacts,
}

/// Queries that ended in the window.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Load {
    /// How many.
    pub queries: u64,
    /// Of them, those that failed or timed out.
    pub failed: u64,
    /// Of them, those that were cancelled or abandoned.
    pub broken_off: u64,
    /// A second of the window.
    pub per_second: f64,
    /// Lengths of those that were ok or timed out, seconds; `None` where there are none.
    pub p50: Option<f64>,
    /// The same.
    pub p95: Option<f64>,
    /// The same.
    pub p99: Option<f64>,
    /// The engine's time of all of them, µs.
    pub engine_us: u64,
    /// Their time of waiting for sources, µs.
    pub waiting_us: u64,
    /// The length of the steps below, seconds: but for the first and the last, which the window cuts.
    pub step: f64,
    /// Queries that ended in each step of the window.
    pub curve: Vec<u64>,
    /// Of them, those that failed or timed out.
    pub failed_curve: Vec<u64>,
    /// Of them, the 95th percentile of lengths, seconds.
    pub p95_curve: Vec<Option<f64>>,
}

/// A query, in a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueryLine {
    /// Its number.
    #[serde(with = "wire::id")]
    pub id: QueryId,
    /// When it began.
    #[serde(with = "wire::time")]
    pub began: Timestamp,
    /// How it ended; `None` while it runs.
    #[serde(with = "wire::outcome")]
    pub outcome: Option<OutcomeKind>,
    /// The class of its error; empty where there was none.
    pub error: String,
    /// Whose it is; may be empty.
    pub tenant: String,
    /// Who asked; may be empty.
    pub user: String,
    /// Its fingerprint's name.
    pub fingerprint: String,
    /// Its text without literals; as it came, where the host keeps that. Cut in an overview.
    pub text: String,
    /// How long it took, or runs already, µs; `None` where a crash ended it.
    pub length_us: Option<u64>,
    /// Of one that runs, the last phase that is open, where the host says.
    pub phase: Option<String>,
    /// Of one that runs, the share of expected rows that have left, where the host says.
    pub progress: Option<f64>,
    /// Of one that runs, the sources with calls under way.
    pub under_way: Vec<UnderWay>,
    /// Rows that came in; 0 of one that runs where the host does not say, as of all that follow.
    pub rows_in: u64,
    /// Rows that left.
    pub rows_out: u64,
    /// Bytes that came in.
    pub bytes_in: u64,
    /// Bytes that left.
    pub bytes_out: u64,
    /// Time on processors, µs.
    pub cpu_us: u64,
    /// Time of waiting for sources, µs.
    pub waiting_us: u64,
    /// The source with which the critical path lay longest.
    pub critical_source: Option<String>,
    /// How long it lay there, µs.
    pub critical_us: u64,
}

/// Calls under way to one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UnderWay {
    /// The source.
    pub source: String,
    /// How many.
    pub calls: u64,
}

/// A source, in a line.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SourceLine {
    /// Its name.
    pub source: String,
    /// Calls of queries that began in the window.
    pub calls: u64,
    /// Of them, those that failed or timed out.
    pub failed: u64,
    /// The class of failures that was most frequent; empty where there were none.
    pub error: String,
    /// Requests that calls made, a second of the window.
    pub requests_per_second: f64,
    /// Lengths of calls, seconds; `None` where there were none.
    pub p50: Option<f64>,
    /// The same.
    pub p95: Option<f64>,
    /// Of what was asked of caches in the window, the share that they answered.
    pub cache_hit_rate: Option<f64>,
    /// Rows from it.
    pub rows: u64,
    /// Bytes from it.
    pub bytes: u64,
    /// Time that critical paths lay with it, µs.
    pub critical_us: u64,
    /// Calls under way at the moment; without the host, as it was written last before that, as all
    /// that follows. `None` where nothing is known.
    pub in_flight: Option<u64>,
    /// Connections open at the moment.
    pub connections: Option<u64>,
    /// Connections waited for at the moment.
    pub connections_waiting: Option<u64>,
    /// 1 up, 0.5 degraded, 0 down; `None` where nothing is known.
    pub health: Option<f64>,
    /// The 95th percentile of lengths of calls in each step of the window, seconds.
    pub p95_curve: Vec<Option<f64>>,
}

/// An alert, in a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AlertLine {
    /// The rule's name.
    pub alert: String,
    /// How bad it is, as the rule says.
    pub severity: String,
    /// The other labels, `name="value"`, by name; may be empty.
    pub labels: String,
    /// Whether it fires; otherwise it is pending.
    pub fires: bool,
    /// Since when.
    #[serde(with = "wire::time")]
    pub since: Timestamp,
}

/// The store that remembers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StoreFacts {
    /// Where it is, on its host.
    pub path: String,
    /// All bytes in the directory, now.
    pub bytes_on_disk: u64,
    /// Series, now.
    pub series: u64,
    /// Rows of finished queries, now.
    pub query_rows: u64,
    /// Finished queries whose record was dropped in the window because the monitor's queue was full.
    pub records_dropped: u64,
    /// Samples that were refused in the window.
    pub samples_refused: u64,
}

/// All that is known of one query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueryDetail {
    /// The query; its text is whole.
    #[serde(flatten)]
    pub line: QueryLine,
    /// Phases in order, those that it did not enter left out.
    pub phases: Vec<PhaseTime>,
    /// The most memory it held, bytes.
    pub memory_peak_bytes: u64,
    /// Bytes spilled to disk.
    pub spill_bytes: u64,
    /// Repeated attempts.
    pub retries: u64,
    /// What caches answered.
    pub cache_hits: u64,
    /// Calls beyond those noted one by one.
    pub calls_unlisted: u64,
    /// What it made of each source, the one with most time on the critical path first.
    pub calls: Vec<CallLine>,
}

/// How long a phase took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PhaseTime {
    /// Its name.
    pub phase: String,
    /// At least one guard of it was open, µs.
    pub micros: u64,
}

/// What one query made of one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CallLine {
    /// The source.
    pub source: String,
    /// How the last call ended that did not end well, else ok; `None` while the query runs and calls
    /// are under way.
    #[serde(with = "wire::outcome")]
    pub outcome: Option<OutcomeKind>,
    /// The class of its error; empty where there was none.
    pub error: String,
    /// Calls.
    pub calls: u64,
    /// Of them, those that did not end well.
    pub failed: u64,
    /// Requests that they made.
    pub requests: u64,
    /// Rows from it.
    pub rows: u64,
    /// Bytes from it.
    pub bytes: u64,
    /// Requests repeated.
    pub retries: u64,
    /// What a cache answered.
    pub cache_hits: u64,
    /// From a call to its first row, of the fastest call, µs.
    pub first_row_us: Option<u64>,
    /// The longest call, µs.
    pub longest_us: u64,
    /// At least one call was under way, µs.
    pub waiting_us: u64,
    /// The critical path lay with it, µs.
    pub critical_us: u64,
}
