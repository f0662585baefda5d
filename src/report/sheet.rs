//! The sheet of a report: all its queries, by window and by fingerprint. Its size is bounded by the
//! windows and [`FINGERPRINTS_MAX`].

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::EventRows;
use crate::monitor::{OTHER, OutcomeKind};
use crate::overview::Grid;
use crate::overview::sheet::{
    FINGERPRINTS_MAX, QuerySums, add_named, class_of, integer, one_query,
};

/// Bytes of a fingerprint's text that are kept.
const TEXT_BYTES_MAX: usize = 2_000;

/// Queries of one window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueryWindow {
    /// Queries that began in it.
    pub began: QuerySums,
    /// Time that queries spent in it, those that began earlier too, ns: divided by its length, how
    /// many were in flight.
    pub in_flight_ns: u128,
    /// Failures of queries that began in it, by class; time-outs as `timed_out`.
    pub classes: BTreeMap<Arc<str>, u64>,
}

/// Queries of one fingerprint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FingerprintSums {
    /// Its text: of the first query met, or of the greatest text where raw texts are kept.
    pub text: Arc<str>,
    /// Its queries.
    pub queries: QuerySums,
    /// Time that the critical path lay with each source, µs; of queries kept in full.
    pub critical_us: BTreeMap<Arc<str>, u64>,
}

/// Of all queries.
#[derive(Debug, Default)]
pub(super) struct QuerySheet {
    pub(super) windows: Vec<QueryWindow>,
    pub(super) fingerprints: BTreeMap<Arc<str>, FingerprintSums>,
    /// Rows read; each stands for at least one query.
    pub(super) rows: u64,
}

/// The columns of `queries` that a sheet is made of, in this order.
pub(super) const QUERY_COLUMNS: [&str; 8] =
    ["fingerprint", "text", "outcome", "error", "duration", "waiting", "rows_out", "kept_one_in"];

impl QuerySheet {
    pub(super) fn new(grid: &Grid) -> Self {
        let windows = vec![QueryWindow::default(); grid.len()];
        Self { windows, ..Self::default() }
    }

    /// Takes in rows of [`QUERY_COLUMNS`].
    pub(super) fn add(&mut self, grid: &Grid, rows: &EventRows) {
        let [fingerprint, text, outcome, error, rest @ ..] = &*rows.columns else { return };
        let [duration, waiting, rows_out, one_in] = rest else { return };
        for (row, &time) in rows.times.iter().enumerate() {
            self.rows += 1;
            let count = integer(one_in, row).unwrap_or(1).max(1);
            let kind = outcome.text(row).and_then(|name| OutcomeKind::parse(name));
            let kind = kind.unwrap_or(OutcomeKind::Abandoned);
            // A crash leaves no length.
            let length = integer(duration, row);
            let waited = integer(waiting, row).unwrap_or(0);
            let sums = one_query(kind, length, waited, integer(rows_out, row).unwrap_or(0), count);
            if let Some(length) = length {
                let nanos = i64::try_from(length.saturating_mul(1_000)).unwrap_or(i64::MAX);
                let windows = &mut self.windows;
                grid.spread(time, time.saturating_add(nanos), |window, nanos| {
                    if let Some(window) = windows.get_mut(window) {
                        window.in_flight_ns += u128::from(nanos) * u128::from(count);
                    }
                });
            }
            if let Some(window) = self.windows.get_mut(grid.window_of(time)) {
                if matches!(kind, OutcomeKind::Error | OutcomeKind::TimedOut) {
                    let class = class_of(kind, error.text(row));
                    add_named(&mut window.classes, &class, count);
                }
                window.began.merge(&sums);
            }
            let print = fingerprint.text(row).map_or_else(|| OTHER.into(), Arc::clone);
            let of = self.fingerprint(print);
            of.queries.merge(&sums);
            if let Some(text) = text.text(row).filter(|text| ***text > *of.text) {
                of.text = cut(text);
            }
        }
    }

    fn fingerprint(&mut self, name: Arc<str>) -> &mut FingerprintSums {
        let room =
            self.fingerprints.len() < FINGERPRINTS_MAX || self.fingerprints.contains_key(&name);
        self.fingerprints.entry(if room { name } else { OTHER.into() }).or_default()
    }
}

fn cut(text: &Arc<str>) -> Arc<str> {
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    if end == text.len() { Arc::clone(text) } else { text.get(..end).unwrap_or_default().into() }
}
