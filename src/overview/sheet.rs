//! Sums that rows are folded into: of queries, and of what they made of sources.
//!
//! All sums are whole numbers and sketches depend on what was recorded only, so they are the same in
//! whatever order the rows come. A sheet's size is bounded: by the windows, the sources that a monitor
//! tells apart, and [`FINGERPRINTS_MAX`].

use std::collections::BTreeMap;
use std::sync::Arc;

use super::grid::Grid;
use crate::aggregate::Sketch;
use crate::model::{EventData, EventRows, EventVector};
use crate::monitor::{OTHER, OutcomeKind};

/// Fingerprints, and names of sources and classes, that are told apart; further ones are one, named
/// `other`. Which these are depends on the order of rows; a monitor keeps far fewer in its series.
pub(crate) const FINGERPRINTS_MAX: usize = 1_024;
const NAMES_MAX: usize = 256;

/// Lengths of time: of queries that ended by themselves or by their deadline. What failed or was called
/// off has a length that tells of something else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lengths {
    /// Seconds, within 1 %.
    pub sketch: Sketch,
    /// Their sum, µs.
    pub sum_us: u64,
    /// The longest, µs.
    pub max_us: u64,
}

impl Lengths {
    fn record(&mut self, micros: u64, count: u64) {
        self.sketch.record(micros as f64 * 1e-6, count);
        self.sum_us = self.sum_us.saturating_add(micros.saturating_mul(count));
        self.max_us = self.max_us.max(micros);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.sketch.merge(&other.sketch);
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
        self.max_us = self.max_us.max(other.max_us);
    }

    /// A quantile, seconds; `None` where there are no lengths.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        Some(self.sketch.quantile(q)).filter(|value| value.is_finite())
    }

    /// How many are longer than so many seconds, as far as the sketch tells them apart.
    pub fn longer_than(&self, seconds: f64) -> u64 {
        let bins = self.sketch.positive().iter();
        bins.filter(|bin| Sketch::value_of(bin.index) > seconds).map(|bin| bin.count).sum()
    }
}

/// Queries: of a window, of a fingerprint, or all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuerySums {
    /// How many ended, in the order of [`OutcomeKind::ALL`].
    pub ended: [u64; OutcomeKind::ALL.len()],
    /// How long those took that were ok or timed out.
    pub lengths: Lengths,
    /// Time of the engine's own of all of them, µs.
    pub engine_us: u64,
    /// Time in which they waited for sources, µs.
    pub waiting_us: u64,
    /// Rows that left.
    pub rows_out: u64,
}

impl QuerySums {
    /// All that ended.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.ended.iter().sum()
    }

    /// Those that ended so.
    #[must_use]
    pub fn of(&self, kind: OutcomeKind) -> u64 {
        self.ended.get(kind as usize).copied().unwrap_or(0)
    }

    /// Those that failed or timed out.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.of(OutcomeKind::Error) + self.of(OutcomeKind::TimedOut)
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.ended.iter_mut().zip(other.ended).for_each(|(sum, more)| *sum += more);
        self.lengths.merge(&other.lengths);
        self.engine_us = self.engine_us.saturating_add(other.engine_us);
        self.waiting_us = self.waiting_us.saturating_add(other.waiting_us);
        self.rows_out = self.rows_out.saturating_add(other.rows_out);
    }
}

/// Calls to one source: of a window, or all. Counted by query: what one query made of the source is
/// one length, that of its longest call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceSums {
    /// Queries that called it.
    pub queries: u64,
    /// Calls.
    pub calls: u64,
    /// Of them, those that failed or timed out. What the host called off says nothing of a source.
    pub failed: u64,
    /// Failures by class; time-outs as `timed_out`.
    pub classes: BTreeMap<Arc<str>, u64>,
    /// The longest call of each query, where all of them went well or timed out.
    pub lengths: Lengths,
    /// From a call to its first row.
    pub first_row: Lengths,
    /// Requests that calls made.
    pub requests: u64,
    /// Rows from it.
    pub rows: u64,
    /// Bytes from it.
    pub bytes: u64,
    /// Requests repeated.
    pub retries: u64,
    /// What caches answered.
    pub cache_hits: u64,
    /// Time in which queries waited for it, µs.
    pub waiting_us: u64,
    /// Time that the critical path lay with it, µs.
    pub critical_us: u64,
}

impl SourceSums {
    pub(crate) fn merge(&mut self, other: &Self) {
        for (sum, more) in [
            (&mut self.queries, other.queries),
            (&mut self.calls, other.calls),
            (&mut self.failed, other.failed),
            (&mut self.requests, other.requests),
            (&mut self.rows, other.rows),
            (&mut self.bytes, other.bytes),
            (&mut self.retries, other.retries),
            (&mut self.cache_hits, other.cache_hits),
            (&mut self.waiting_us, other.waiting_us),
            (&mut self.critical_us, other.critical_us),
        ] {
            *sum = sum.saturating_add(more);
        }
        for (class, count) in &other.classes {
            *self.classes.entry(Arc::clone(class)).or_default() += count;
        }
        self.lengths.merge(&other.lengths);
        self.first_row.merge(&other.first_row);
    }
}

/// Of all calls to sources, by source.
#[derive(Debug, Default)]
pub(crate) struct CallSheet {
    pub(crate) sources: BTreeMap<Arc<str>, Vec<SourceSums>>,
    /// Time that the critical path lay with each source, µs, by fingerprint.
    pub(crate) critical_us: BTreeMap<Arc<str>, BTreeMap<Arc<str>, u64>>,
    pub(crate) rows: u64,
}

/// The columns of `source_calls` that a sheet is made of, in this order.
pub(crate) const CALL_COLUMNS: [&str; 15] = [
    "source",
    "outcome",
    "error",
    "calls",
    "failed",
    "requests",
    "rows",
    "bytes",
    "retries",
    "cache_hits",
    "first_row",
    "longest",
    "waiting",
    "critical",
    "fingerprint",
];

impl CallSheet {
    /// Takes in rows of [`CALL_COLUMNS`].
    pub(crate) fn add(&mut self, grid: &Grid, rows: &EventRows) {
        let [source, outcome, error, calls, failed, counts @ ..] = &*rows.columns else { return };
        let [requests, came, bytes, retries, cache_hits, lengths @ ..] = counts else { return };
        let [first_row, longest, waiting, critical, fingerprint] = lengths else { return };
        for (row, &time) in rows.times.iter().enumerate() {
            self.rows += 1;
            let count = |column| integer(column, row).unwrap_or(0);
            let kind = outcome.text(row).and_then(|name| OutcomeKind::parse(name));
            let kind = kind.unwrap_or(OutcomeKind::Abandoned);
            let mut sums = SourceSums {
                queries: 1,
                calls: count(calls),
                requests: count(requests),
                rows: count(came),
                bytes: count(bytes),
                retries: count(retries),
                cache_hits: count(cache_hits),
                waiting_us: count(waiting),
                critical_us: count(critical),
                ..SourceSums::default()
            };
            if matches!(kind, OutcomeKind::Error | OutcomeKind::TimedOut) {
                sums.failed = count(failed).min(sums.calls);
                sums.classes.insert(class_of(kind, error.text(row)), sums.failed);
            }
            if matches!(kind, OutcomeKind::Ok | OutcomeKind::TimedOut) {
                sums.lengths.record(count(longest), 1);
            }
            if let Some(first_row) = integer(first_row, row) {
                sums.first_row.record(first_row, 1);
            }
            let name = source.text(row).map_or_else(|| OTHER.into(), Arc::clone);
            let print = fingerprint.text(row).map_or_else(|| OTHER.into(), Arc::clone);
            let room =
                self.critical_us.len() < FINGERPRINTS_MAX || self.critical_us.contains_key(&print);
            let of = self.critical_us.entry(if room { print } else { OTHER.into() }).or_default();
            add_named(of, &name, sums.critical_us);
            let room = self.sources.len() < NAMES_MAX || self.sources.contains_key(&name);
            let windows = self.sources.entry(if room { name } else { OTHER.into() });
            let windows = windows.or_insert_with(|| vec![SourceSums::default(); grid.len()]);
            if let Some(window) = windows.get_mut(grid.window_of(time)) {
                window.merge(&sums);
            }
        }
    }
}

/// A query that ended so and stands for `count`; lengths in µs, `None` where a crash left none.
pub(crate) fn one_query(
    kind: OutcomeKind,
    length: Option<u64>,
    waited: u64,
    rows_out: u64,
    count: u64,
) -> QuerySums {
    let mut sums = QuerySums { rows_out: rows_out.saturating_mul(count), ..QuerySums::default() };
    if let Some(ended) = sums.ended.get_mut(kind as usize) {
        *ended = count;
    }
    if let Some(length) = length {
        sums.waiting_us = waited.min(length).saturating_mul(count);
        sums.engine_us = length.saturating_sub(waited).saturating_mul(count);
        if matches!(kind, OutcomeKind::Ok | OutcomeKind::TimedOut) {
            sums.lengths.record(length, count);
        }
    }
    sums
}

pub(crate) fn class_of(kind: OutcomeKind, class: Option<&Arc<str>>) -> Arc<str> {
    match (kind, class) {
        (OutcomeKind::Error, Some(class)) => Arc::clone(class),
        (OutcomeKind::Error, None) => OTHER.into(),
        _ => kind.name().into(),
    }
}

pub(crate) fn add_named(sums: &mut BTreeMap<Arc<str>, u64>, name: &Arc<str>, count: u64) {
    let room = sums.len() < NAMES_MAX || sums.contains_key(name);
    let name = if room { Arc::clone(name) } else { OTHER.into() };
    let sum = sums.entry(name).or_default();
    *sum = sum.saturating_add(count);
}

/// What stands in a row; `None` of a null. Nothing that is stored here is negative.
pub(crate) fn integer(column: &EventData, row: usize) -> Option<u64> {
    let EventVector::Integer(values) = &column.values else { return None };
    let value = values.get(row).filter(|_| column.is_present(row))?;
    Some(u64::try_from(*value).unwrap_or(0))
}
