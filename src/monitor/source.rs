//! Sources: what queries read from, and what is counted of each.
//!
//! Owns: the counters that calls move, and [`SourceMetrics`], read from them. Which sources there are
//! stands in `directory`; what a call notes for its query, in `call`.

use std::array;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::instrument::{About, Counter, Gauge, Histogram, Instruments, metadata};
use super::outcome::{Classes, ERROR_CLASSES_MAX, Ended, OutcomeKind};
use crate::aggregate::Distribution;
use crate::model::Series;
use crate::time::Timestamp;

/// How far back "recent" reaches: half of this at least, and all of it just before a half is let go.
const RECENT: Duration = Duration::from_secs(60);
/// Between two marks of sums, at least: so there are never more than 120.
const MARK_EVERY: Duration = Duration::from_millis(500);
/// Calls that failed one after another, without one that went well, until a source counts as down.
const FAILURES_DOWN: u32 = 5;
/// The share of recent calls that failed from which a source counts as degraded.
const FAILED_SHARE_DEGRADED: f64 = 0.1;

/// Whether a source answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// Nobody called it lately.
    Unknown,
    /// It answers.
    Up,
    /// A tenth of the recent calls failed, or more.
    Degraded,
    /// The last five calls failed.
    Down,
}

impl Health {
    /// From the calls of the last minute, and how many failed since one went well. What the host
    /// called off says nothing of the source.
    fn of(went_well: u64, failed: u64, failures_in_a_row: u32) -> Self {
        let all = went_well + failed;
        if failures_in_a_row >= FAILURES_DOWN {
            Self::Down
        } else if all == 0 {
            Self::Unknown
        } else if failed as f64 >= FAILED_SHARE_DEGRADED * all as f64 {
            Self::Degraded
        } else {
            Self::Up
        }
    }

    /// As the series `source_health` has it: 1 up, 0.5 degraded, 0 down; NaN where nothing is known.
    #[must_use]
    pub const fn value(self) -> f64 {
        match self {
            Self::Unknown => f64::NAN,
            Self::Up => 1.0,
            Self::Degraded => 0.5,
            Self::Down => 0.0,
        }
    }

    /// As tables have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A source as it is now. Counts are of this run; the history of all of them is in the series
/// `source_*`.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceMetrics {
    /// Its name.
    pub source: Arc<str>,
    /// Calls begun.
    pub calls: u64,
    /// Calls ended, in the order of [`OutcomeKind::ALL`].
    pub ended: [u64; OutcomeKind::ALL.len()],
    /// Failed calls by class, without those of count 0.
    pub errors: Vec<(Arc<str>, u64)>,
    /// Requests that calls made.
    pub requests: u64,
    /// Rows from it.
    pub rows: u64,
    /// Bytes from it.
    pub bytes: u64,
    /// Requests repeated.
    pub retries: u64,
    /// Calls, or parts of them, that a cache answered, and those that it could not.
    pub cache_hits: u64,
    /// See `cache_hits`.
    pub cache_misses: u64,
    /// As the host last said.
    pub connections: Connections,
    /// Lengths of calls that ended in the last 30 to 60 s, seconds.
    pub response: Distribution,
    /// From beginnings of such calls to their first rows, seconds.
    pub first_row: Distribution,
    /// Rows a second over the last minute.
    pub rows_per_second: f64,
    /// Bytes a second over the last minute.
    pub bytes_per_second: f64,
    /// Whether it answers.
    pub health: Health,
}

impl SourceMetrics {
    /// Calls begun and not ended.
    #[must_use]
    pub fn under_way(&self) -> u64 {
        self.calls.saturating_sub(self.ended.iter().sum())
    }

    /// The share that the cache answered; `None` where it was never asked.
    #[must_use]
    pub fn cache_hit_rate(&self) -> Option<f64> {
        let asked = self.cache_hits + self.cache_misses;
        (asked > 0).then(|| self.cache_hits as f64 / asked as f64)
    }
}

/// Connections to a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Connections {
    /// Open now.
    pub open: u64,
    /// Asked for and waited for now.
    pub waiting: u64,
    /// That could not be had, in this run.
    pub failed: u64,
}

/// Sums at one moment.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Instant,
    went_well: u64,
    failed: u64,
    rows: u64,
    bytes: u64,
}

/// What happened lately; written by one thread, once a second.
#[derive(Debug)]
struct Recent {
    marks: VecDeque<Mark>,
    /// The half under way, and the one before it.
    response: [Distribution; 2],
    first_row: [Distribution; 2],
    half_began: Instant,
}

/// The counters of one source, shared by all calls to it.
#[derive(Debug)]
pub(super) struct SourceState {
    pub(super) name: Arc<str>,
    pub(super) number: u32,
    /// Those of the monitor, for calls that fail.
    pub(super) classes: Arc<Classes>,
    pub(super) calls: Counter,
    ended: [Counter; OutcomeKind::ALL.len()],
    errors: [AtomicU64; ERROR_CLASSES_MAX],
    pub(super) requests: Counter,
    pub(super) rows: Counter,
    pub(super) bytes: Counter,
    pub(super) retries: Counter,
    pub(super) cache_hits: Counter,
    pub(super) cache_misses: Counter,
    connections_failed: Counter,
    connections_open: Gauge,
    connections_waiting: Gauge,
    under_way: Gauge,
    health: Gauge,
    response: Option<Histogram>,
    response_failed: Option<Histogram>,
    first_row: Option<Histogram>,
    failures_in_a_row: AtomicU32,
    recent: Mutex<Recent>,
}

impl SourceState {
    pub(super) fn new(
        (name, number, classes): (Arc<str>, u32, Arc<Classes>),
        instruments: &Instruments,
        now: Timestamp,
    ) -> Self {
        let labels = |label: Option<(&'static str, &'static str)>| {
            std::iter::once(("source", &*name)).chain(label).collect::<Vec<_>>()
        };
        let counter = |metric: &str, label, about: About| {
            instruments.own_counter(metric, &labels(label), about, 1.0, now)
        };
        let gauge = |metric: &str, label, about: About| {
            instruments.own_gauge(metric, &labels(label), about, now)
        };
        let histogram = |metric: &str, label, help| {
            let series = Series::new(metric, labels(label)).ok()?;
            instruments.histogram(&series, &metadata(("seconds", help)), now)
        };
        let outcome = |kind: OutcomeKind| Some(("outcome", kind.name()));
        let state = |state| Some(("state", state));
        let ended = ("", "Calls to the source that ended, by outcome.");
        let connections = ("", "Connections to the source, by state.");
        let response =
            "Lengths of calls to the source; outcome error: of all that did not end well.";
        Self {
            number,
            classes,
            calls: counter("source_calls_started_total", None, ("", "Calls begun.")),
            ended: OutcomeKind::ALL.map(|kind| counter("source_calls_total", outcome(kind), ended)),
            errors: array::from_fn(|_| AtomicU64::new(0)),
            requests: counter("source_requests_total", None, ("", "Requests made.")),
            rows: counter("source_rows_total", None, ("", "Rows from the source.")),
            bytes: counter("source_bytes_total", None, ("bytes", "Bytes from it.")),
            retries: counter("source_retries_total", None, ("", "Requests repeated.")),
            cache_hits: counter("source_cache_hits_total", None, ("", "Answered by a cache.")),
            cache_misses: counter("source_cache_misses_total", None, ("", "Not in the cache.")),
            connections_failed: counter(
                "source_connections_failed_total",
                None,
                ("", "Connections that could not be had."),
            ),
            connections_open: gauge("source_connections", state("open"), connections),
            connections_waiting: gauge("source_connections", state("waiting"), connections),
            under_way: gauge("source_calls_running", None, ("", "Calls under way.")),
            health: gauge("source_health", None, ("", "1 up, 0.5 degraded, 0 down.")),
            response: histogram("source_response_seconds", outcome(OutcomeKind::Ok), response),
            response_failed: histogram(
                "source_response_seconds",
                outcome(OutcomeKind::Error),
                response,
            ),
            first_row: histogram("source_first_row_seconds", None, "From a call to its first row."),
            failures_in_a_row: AtomicU32::new(0),
            recent: Mutex::new(Recent::new(Instant::now())),
            name,
        }
    }

    /// Counts the end of a call of `nanos`.
    pub(super) fn end(&self, how: Ended, nanos: u64) {
        if let Some(counter) = self.ended.get(how.kind as usize) {
            counter.add(1);
        }
        let well = how.kind == OutcomeKind::Ok;
        let histogram = if well { &self.response } else { &self.response_failed };
        if let Some(histogram) = histogram {
            histogram.record(nanos as f64 * 1e-9);
        }
        match how.kind {
            OutcomeKind::Ok if self.failures_in_a_row.load(Ordering::Relaxed) > 0 => {
                self.failures_in_a_row.store(0, Ordering::Relaxed);
            }
            OutcomeKind::Error | OutcomeKind::TimedOut => {
                self.failures_in_a_row.fetch_add(1, Ordering::Relaxed);
            }
            OutcomeKind::Ok | OutcomeKind::Cancelled | OutcomeKind::Abandoned => {}
        }
        if how.kind == OutcomeKind::Error
            && let Some(counter) = self.errors.get(usize::from(how.class))
        {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn first_row(&self, nanos: u64) {
        if let Some(histogram) = &self.first_row {
            histogram.record(nanos as f64 * 1e-9);
        }
    }

    fn ended(&self, kind: OutcomeKind) -> u64 {
        self.ended.get(kind as usize).map_or(0, Counter::get)
    }

    fn mark(&self, at: Instant) -> Mark {
        Mark {
            at,
            went_well: self.ended(OutcomeKind::Ok),
            failed: self.ended(OutcomeKind::Error) + self.ended(OutcomeKind::TimedOut),
            rows: self.rows.get(),
            bytes: self.bytes.get(),
        }
    }

    /// Notes a call of a finished query, and its first row, seconds.
    pub(super) fn note_recent(&self, length: f64, first_row: Option<f64>) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let [response, _] = &mut recent.response;
        response.record(length);
        if let (Some(first_row), [of, _]) = (first_row, &mut recent.first_row) {
            of.record(first_row);
        }
    }

    /// Once a second: lets go of what is no longer recent, and sets the gauges.
    pub(super) fn tick(&self, now: Instant) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = self.mark(now);
        recent.tick(mark);
        let health = recent.health(mark, self.failures_in_a_row.load(Ordering::Relaxed));
        drop(recent);
        self.health.set(health.value());
        let ended: u64 = self.ended.iter().map(Counter::get).sum();
        self.under_way.set(self.calls.get().saturating_sub(ended) as f64);
    }

    /// Failures by class, the class' number first.
    pub(super) fn errors(&self) -> impl Iterator<Item = (u8, u64)> {
        let counts = self.errors.iter().map(|count| count.load(Ordering::Relaxed));
        (0..).zip(counts).filter(|&(_, count)| count > 0)
    }

    pub(super) fn metrics(&self) -> SourceMetrics {
        let now = self.mark(Instant::now());
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let (rows_per_second, bytes_per_second) = recent.rates(now);
        SourceMetrics {
            source: Arc::clone(&self.name),
            // Ends first: none is counted that has not begun.
            ended: array::from_fn(|kind| self.ended.get(kind).map_or(0, Counter::get)),
            calls: self.calls.get(),
            errors: self.errors().map(|(class, count)| (self.classes.name(class), count)).collect(),
            requests: self.requests.get(),
            rows: now.rows,
            bytes: now.bytes,
            retries: self.retries.get(),
            cache_hits: self.cache_hits.get(),
            cache_misses: self.cache_misses.get(),
            connections: Connections {
                open: self.connections_open.get() as u64,
                waiting: self.connections_waiting.get() as u64,
                failed: self.connections_failed.get(),
            },
            response: joined(&recent.response),
            first_row: joined(&recent.first_row),
            rows_per_second,
            bytes_per_second,
            health: recent.health(now, self.failures_in_a_row.load(Ordering::Relaxed)),
        }
    }
}

fn joined([a, b]: &[Distribution; 2]) -> Distribution {
    let mut all = a.clone();
    all.merge(b);
    all
}

impl Recent {
    fn new(now: Instant) -> Self {
        let (response, first_row) = Default::default();
        let nothing = Mark { at: now, went_well: 0, failed: 0, rows: 0, bytes: 0 };
        Self { marks: [nothing].into(), response, first_row, half_began: now }
    }

    fn tick(&mut self, mark: Mark) {
        // The latest of those that lie further back stays: what came since is recent.
        while self.marks.get(1).is_some_and(|old| mark.at.duration_since(old.at) > RECENT) {
            self.marks.pop_front();
        }
        let last = self.marks.back().map(|last| mark.at.duration_since(last.at));
        if last.is_none_or(|since| since >= MARK_EVERY) {
            self.marks.push_back(mark);
        }
        if mark.at.duration_since(self.half_began) >= RECENT / 2 {
            self.half_began = mark.at;
            for halves in [&mut self.response, &mut self.first_row] {
                let [under_way, before] = halves;
                *before = std::mem::take(under_way);
            }
        }
    }

    fn health(&self, now: Mark, failures_in_a_row: u32) -> Health {
        let since = self.marks.front().map_or((0, 0), |mark| (mark.went_well, mark.failed));
        let (well, failed) = (now.went_well - since.0, now.failed - since.1);
        Health::of(well, failed, failures_in_a_row)
    }

    /// Rows and bytes a second.
    fn rates(&self, now: Mark) -> (f64, f64) {
        let Some(since) = self.marks.front() else { return (0.0, 0.0) };
        let seconds = now.at.duration_since(since.at).as_secs_f64();
        if seconds <= 0.0 {
            return (0.0, 0.0);
        }
        let rate = |now: u64, since: u64| (now - since) as f64 / seconds;
        (rate(now.rows, since.rows), rate(now.bytes, since.bytes))
    }
}

/// A source, resolved once. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Source(pub(super) Arc<SourceState>);

impl Source {
    /// Its name; `other` where there were too many sources.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Says how many connections are open and how many are waited for now.
    pub fn set_connections(&self, open: u64, waiting: u64) {
        self.0.connections_open.set(open as f64);
        self.0.connections_waiting.set(waiting as f64);
    }

    /// Counts a connection that could not be had.
    pub fn connection_failed(&self) {
        self.0.connections_failed.add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_what_calls_lately_met() {
        for (well, failed, in_a_row, expected) in [
            (0, 0, 0, Health::Unknown),
            (100, 0, 0, Health::Up),
            (100, 9, 0, Health::Up),
            (90, 10, 1, Health::Degraded),
            (0, 1, 1, Health::Degraded),
            (1000, 5, 5, Health::Down),
            (0, 0, 7, Health::Down),
        ] {
            assert_eq!(Health::of(well, failed, in_a_row), expected, "{well} {failed} {in_a_row}");
        }
        assert!(Health::Unknown.value().is_nan());
    }

    /// Also what happened before the first look, or between two that lay far apart.
    #[test]
    fn what_came_since_the_last_mark_is_recent() {
        let began = Instant::now();
        let mark = |seconds, went_well| Mark {
            at: began + Duration::from_secs(seconds),
            went_well,
            failed: 0,
            rows: 10 * went_well,
            bytes: 0,
        };
        let mut recent = Recent::new(began);
        for (seconds, well, expected) in
            [(1, 5, Health::Up), (300, 6, Health::Up), (400, 6, Health::Unknown)]
        {
            recent.tick(mark(seconds, well));
            assert_eq!(recent.health(mark(seconds, well), 0), expected, "after {seconds} s");
        }
        assert_eq!(Recent::new(began).rates(mark(2, 1)), (5.0, 0.0));
    }
}
