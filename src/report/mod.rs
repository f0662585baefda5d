//! What a monitored host did over a stretch of time, from the store alone: in figures, in a few
//! sentences that say where trouble was, and as one HTML file.
//!
//! Owns: folding the monitor's tables into windows ([`QueryWindow`], [`SourceSums`]), finding trouble
//! ([`Trouble`]), what the store cost, and the page with its charts. Does not own: recording
//! ([`crate::monitor`]), printing, nor how figures are rounded ([`figures`]).
//!
//! A report is made of finished queries as rows, because these tell times to the millisecond and who
//! waited for whom; series add what rows cannot tell: exact counts, what was lost, health and alerts. It
//! reads in bounded memory, whatever the store holds. A store without a monitor's tables gives an
//! empty report, not an error.

mod alerts;
mod burst;
mod chart;
mod cost;
mod html;
mod read;
mod sheet;
mod trouble;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use alerts::FiredAlert;
pub use burst::Share;
pub use cost::{Cost, TableCost};
pub use sheet::{FingerprintSums, QueryWindow};
pub use trouble::{Kind, Subject, Trouble};

pub use crate::overview::{Grid, Lengths, QuerySums, SourceSums};

use crate::engine::Engine;
use crate::error::Result;
use crate::integration::figures;
use crate::model::Selector;
use crate::monitor::{OutcomeKind, QueryId};
use crate::overview::Reading;
use crate::overview::sheet::CallSheet;
use crate::time::{TimeRange, Timestamp};

/// Windows of a report: as many as a chart has room to show apart.
const WINDOWS_MAX: usize = 160;
/// Queries shown one by one, and fingerprints.
const SHOWN_MAX: usize = 15;

/// What happened in a stretch of time.
///
/// ```
/// # use std::sync::Arc;
/// # use icecore::monitor::{FederationMonitor, MonitorOptions};
/// # use icecore::report::Report;
/// # use icecore::{Engine, Options, TimeRange};
/// # fn main() -> icecore::Result<()> {
/// # let dir = tempfile::tempdir().expect("a directory");
/// # let engine = Arc::new(Engine::open(dir.path(), Options::default())?);
/// # let monitor = FederationMonitor::open(Arc::clone(&engine), MonitorOptions::default())?;
/// # monitor.start_query("SELECT 1").finish();
/// # monitor.flush()?;
/// let report = Report::of(&engine, TimeRange::ALL)?;
/// for trouble in &report.troubles {
///     println!("{trouble} {}", trouble.when());
/// }
/// assert!(report.to_html().starts_with("<!doctype html>"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// Its range and windows: the range asked for; all of time is narrowed to that of the queries.
    pub grid: Grid,
    /// All queries.
    pub queries: QuerySums,
    /// Queries by window.
    pub windows: Vec<QueryWindow>,
    /// Each source, the one with most time on critical paths first.
    pub sources: Vec<SourceReport>,
    /// Fingerprints by name.
    pub fingerprints: BTreeMap<Arc<str>, FingerprintSums>,
    /// The longest queries, the longest first.
    pub slowest: Vec<SlowQuery>,
    /// The latest queries that were cancelled, timed out or abandoned, the latest first.
    pub broken_off: Vec<SlowQuery>,
    /// Where trouble was, the surest first.
    pub troubles: Vec<Trouble>,
    /// Alerts that fired; `None` where the store never had alerts.
    pub alerts: Option<Vec<FiredAlert>>,
    /// What the store costs.
    pub cost: Cost,
}

/// One source.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SourceReport {
    /// Its name.
    pub name: Arc<str>,
    /// All calls.
    pub all: SourceSums,
    /// Calls by window: those of queries that began in it.
    pub windows: Vec<SourceSums>,
    /// The last value of `source_health` in the range: 1 up, 0.5 degraded, 0 down; `None` where nothing
    /// is known.
    pub health: Option<f64>,
    /// Of what was asked of caches, the share that they answered; `None` where none was asked.
    pub cache_hit_rate: Option<f64>,
}

/// A single query.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlowQuery {
    /// Its number.
    pub id: QueryId,
    /// When it began.
    pub began: Timestamp,
    /// Its fingerprint's name.
    pub fingerprint: Arc<str>,
    /// Its text without literals; as it came, where the host keeps that.
    pub text: Arc<str>,
    /// Whose it was; may be empty.
    pub tenant: Arc<str>,
    /// Who asked; may be empty.
    pub user: Arc<str>,
    /// How it ended.
    pub outcome: OutcomeKind,
    /// The class of its error; empty where there was none.
    pub error: Arc<str>,
    /// How long it took, µs; `None` where a crash ended it.
    pub duration_us: Option<u64>,
    /// How long it waited for sources, µs; the rest was the engine's.
    pub waiting_us: u64,
    /// The source with which the critical path lay longest, and how long, µs.
    pub critical: Option<(Arc<str>, u64)>,
    /// Rows that left.
    pub rows_out: u64,
    /// What it made of each source, the one that it waited for longest first.
    pub calls: Vec<SourceCall>,
}

/// What one query made of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceCall {
    /// The source.
    pub source: Arc<str>,
    /// How the last call ended that did not end well.
    pub outcome: OutcomeKind,
    /// The class of its error; empty where there was none.
    pub error: Arc<str>,
    /// Calls.
    pub calls: u64,
    /// The longest, µs.
    pub longest_us: u64,
    /// At least one was under way, µs.
    pub waiting_us: u64,
}

impl Report {
    /// What happened in `range`: queries that began in it. Cost: three passes over their rows, in
    /// parallel as far as decoding goes.
    ///
    /// # Errors
    /// I/O or corruption.
    pub fn of(engine: &Engine, range: TimeRange) -> Result<Self> {
        let reading = &Reading::of(engine);
        let held = if reading.is_monitored() { read::bounds(reading, range)? } else { None };
        let open = |asked: Timestamp, end: Timestamp, held: Option<Timestamp>| {
            if asked == end { held.unwrap_or(Timestamp(0)) } else { asked }
        };
        let all = TimeRange::ALL;
        // Counts that are written every few seconds lie behind the last query: of them all that was
        // asked for counts.
        let asked = range;
        let range = TimeRange::new(
            open(range.start, all.start, held.map(|held| held.start)),
            open(range.end, all.end, held.map(|held| held.end)),
        );
        let grid = Grid::over(range, WINDOWS_MAX);
        let (mut queries, mut calls) = if held.is_some() {
            (read::queries(reading, &grid)?, reading.calls(&grid)?)
        } else {
            (sheet::QuerySheet::new(&grid), CallSheet::default())
        };
        let (mut slowest, mut broken_off) = (Vec::new(), Vec::new());
        if held.is_some() {
            let max = SHOWN_MAX as u64;
            slowest = read::single(reading, range, read::Choice::Slowest, max)?;
            broken_off = read::single(reading, range, read::Choice::BrokenOff, max)?;
        }
        for (print, sums) in &mut queries.fingerprints {
            sums.critical_us = calls.critical_us.remove(print).unwrap_or_default();
        }
        let mut sums = QuerySums::default();
        queries.windows.iter().for_each(|window| sums.merge(&window.began));
        Ok(Self {
            grid,
            troubles: trouble::find(&grid, &queries.windows, &calls.sources),
            cost: Cost::of(reading, asked, (&sums, queries.rows, calls.rows))?,
            queries: sums,
            windows: queries.windows,
            sources: sources(reading, asked, calls.sources)?,
            fingerprints: queries.fingerprints,
            slowest,
            broken_off,
            alerts: alerts::fired(engine, asked)?,
        })
    }

    /// The report as one HTML file: no script, nothing that is loaded, light or dark as the reader likes
    /// it, fit to print.
    #[must_use]
    pub fn to_html(&self) -> String {
        html::page(self)
    }

    /// What it covers, in words, UTC: `2026-11-27 10:00:00 to 10:00:30 (30 s), in windows of 200 ms`.
    #[must_use]
    pub fn span(&self) -> String {
        let range = self.grid.range;
        if range.is_empty() {
            return "no finished queries".to_owned();
        }
        let nanos = i128::from(range.end.0) - i128::from(range.start.0);
        format!(
            "{} ({}), in windows of {}",
            figures::stretch(range),
            figures::seconds(nanos as f64 * 1e-9),
            figures::seconds(self.grid.step_nanos as f64 * 1e-9)
        )
    }

    /// Fingerprints by the time that their queries took, the most first, with their names.
    #[must_use]
    pub fn heaviest(&self) -> Vec<(&Arc<str>, &FingerprintSums)> {
        let mut all: Vec<_> = self.fingerprints.iter().collect();
        let time = |sums: &FingerprintSums| sums.queries.engine_us + sums.queries.waiting_us;
        all.sort_by(|a, b| time(b.1).cmp(&time(a.1)).then(a.0.cmp(b.0)));
        all.truncate(SHOWN_MAX);
        all
    }
}

fn sources(
    reading: &Reading<'_>,
    range: TimeRange,
    found: BTreeMap<Arc<str>, Vec<SourceSums>>,
) -> Result<Vec<SourceReport>> {
    let health = reading.last_by(&Selector::metric("source_health")?, "source", range)?;
    let hits = reading.increase_by("source_cache_hits_total", "source", range)?;
    let misses = reading.increase_by("source_cache_misses_total", "source", range)?;
    let mut sources: Vec<SourceReport> = found
        .into_iter()
        .map(|(name, windows)| {
            let mut all = SourceSums::default();
            windows.iter().for_each(|window| all.merge(window));
            let of = |counts: &BTreeMap<Arc<str>, f64>| counts.get(&name).copied().unwrap_or(0.0);
            let asked = of(&hits) + of(&misses);
            SourceReport {
                health: health.get(&name).copied().filter(|value| !value.is_nan()),
                cache_hit_rate: (asked > 0.0).then(|| of(&hits) / asked),
                all,
                windows,
                name,
            }
        })
        .collect();
    sources.sort_by(|a, b| {
        b.all.critical_us.cmp(&a.all.critical_us).then_with(|| a.name.cmp(&b.name))
    });
    Ok(sources)
}
