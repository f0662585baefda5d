//! Guards: what a host holds while a query, a phase or a call is under way.
//!
//! Owns: which word ends what. Guards are `Send` and borrow nothing, so that they live in async
//! tasks, move between threads, and may be dropped anywhere. A guard dropped without a word says
//! *abandoned*; dropped by a panic that began after it, an error of class `panic`.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::call::{Note, Sum};
use super::core::Core;
use super::fingerprint::Fingerprint;
use super::instrument::Counter;
use super::outcome::{Ended, OutcomeKind};
use super::phase::Phase;
use super::query::{Live, QueryId};
use super::source::Source;

/// What is known of a query when it starts. A plain text is one of an unnamed tenant.
#[derive(Debug, Clone, Copy, Default)]
pub struct QueryStart<'a> {
    /// Its text: its fingerprint is made of it, and it is kept only where
    /// [`MonitorOptions::raw_text`](super::MonitorOptions::raw_text) says so.
    pub text: &'a str,
    /// Its fingerprint, where the host made it before: then the text is not looked at.
    pub fingerprint: Option<&'a Fingerprint>,
    /// Whose it is.
    pub tenant: &'a str,
    /// Who asks.
    pub user: &'a str,
}

impl<'a> From<&'a str> for QueryStart<'a> {
    fn from(text: &'a str) -> Self {
        Self { text, ..Self::default() }
    }
}

impl<'a> From<&'a String> for QueryStart<'a> {
    fn from(text: &'a String) -> Self {
        text.as_str().into()
    }
}

/// A query under way, until it ends by a word or by being dropped.
///
/// ```
/// # use std::sync::Arc;
/// # use icecore::monitor::{FederationMonitor, MonitorOptions, OutcomeKind, Phase};
/// # use icecore::{Engine, Options};
/// # fn main() -> icecore::Result<()> {
/// # let dir = tempfile::tempdir().expect("a directory");
/// # let engine = Arc::new(Engine::open(dir.path(), Options::default())?);
/// let monitor = FederationMonitor::open(Arc::clone(&engine), MonitorOptions::default())?;
/// let lake = monitor.source("lake");
///
/// let query = monitor.start_query("SELECT sum(amount) FROM orders WHERE day = '2026-11-27'");
/// drop(query.phase(Phase::Plan)); // a phase lasts as long as its guard
/// let call = query.call(&lake);
/// call.add_rows(20);
/// call.finish();
/// query.add_rows_out(1);
/// query.finish();
///
/// monitor.flush()?;
/// assert_eq!(monitor.finished(OutcomeKind::Ok), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a query guard that is dropped records the query as abandoned"]
pub struct QueryGuard {
    core: Arc<Core>,
    handle: QueryHandle,
    slot: Option<usize>,
    panicking: bool,
    ended: bool,
}

impl QueryGuard {
    pub(super) fn new(core: Arc<Core>, live: Arc<Live>, slot: Option<usize>) -> Self {
        let handle = QueryHandle { live };
        Self { core, handle, slot, panicking: std::thread::panicking(), ended: false }
    }

    /// A way to the query for other threads and tasks: phases, calls and sums, no end.
    #[must_use]
    pub fn handle(&self) -> QueryHandle {
        self.handle.clone()
    }

    /// It went well.
    pub fn finish(self) {
        self.end(Ended::OK);
    }

    /// It failed. Classes are few and without data: `io`, `parse`, `memory`; beyond 30 of them
    /// further ones are `other`.
    pub fn fail(self, class: &str) {
        let class = self.core.directory.classes.number(class);
        self.end(Ended::error(class));
    }

    /// It was called off.
    pub fn cancel(self) {
        self.end(Ended::plain(OutcomeKind::Cancelled));
    }

    /// It took longer than it was given.
    pub fn time_out(self) {
        self.end(Ended::plain(OutcomeKind::TimedOut));
    }

    /// [`finish`](Self::finish), or [`fail`](Self::fail) with the class that `class` gives; hands
    /// the result back.
    ///
    /// # Errors
    /// Those of `result`.
    pub fn finish_with<T, E>(
        self,
        result: Result<T, E>,
        class: impl FnOnce(&E) -> &str,
    ) -> Result<T, E> {
        match &result {
            Ok(_) => self.finish(),
            Err(error) => self.fail(class(error)),
        }
        result
    }

    fn end(mut self, how: Ended) {
        self.ended = true;
        self.core.end(&self.handle.live, self.slot, how);
    }
}

impl Drop for QueryGuard {
    fn drop(&mut self) {
        if !self.ended {
            let how = Ended::dropped(self.panicking);
            self.core.end(&self.handle.live, self.slot, how);
        }
    }
}

impl Deref for QueryGuard {
    type Target = QueryHandle;

    fn deref(&self) -> &QueryHandle {
        &self.handle
    }
}

/// A way to a running query: phases, calls and sums, from any thread. Cheap to clone. What it says
/// after the query's end goes nowhere, but calls count for their source in any case.
#[derive(Debug, Clone)]
pub struct QueryHandle {
    live: Arc<Live>,
}

impl QueryHandle {
    /// The query's number.
    #[must_use]
    pub fn id(&self) -> QueryId {
        self.live.id
    }

    /// The query's fingerprint.
    #[must_use]
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.live.fingerprint
    }

    /// Enters a phase, until the guard is dropped. Guards of one phase that are open beside each
    /// other count once.
    pub fn phase(&self, phase: Phase) -> PhaseGuard {
        if let Some(clock) = self.live.phases.of(phase) {
            clock.begin(self.live.now());
        }
        PhaseGuard { live: Arc::clone(&self.live), phase }
    }

    /// Begins a call to a source, until the guard ends.
    pub fn call(&self, source: &Source) -> CallGuard {
        let began = self.live.now();
        source.0.calls.add(1);
        CallGuard {
            note: self.live.calls.begin(source.0.number, began),
            live: Arc::clone(&self.live),
            source: source.clone(),
            began,
            panicking: std::thread::panicking(),
            ended: false,
        }
    }

    /// Rows came in from elsewhere than a source's call.
    pub fn add_rows_in(&self, rows: u64) {
        self.live.sums.add(Sum::RowsIn, rows);
    }

    /// Bytes came in from elsewhere than a source's call.
    pub fn add_bytes_in(&self, bytes: u64) {
        self.live.sums.add(Sum::BytesIn, bytes);
    }

    /// Rows left.
    pub fn add_rows_out(&self, rows: u64) {
        self.live.sums.add(Sum::RowsOut, rows);
    }

    /// Bytes left.
    pub fn add_bytes_out(&self, bytes: u64) {
        self.live.sums.add(Sum::BytesOut, bytes);
    }

    /// Time spent on processors.
    pub fn add_cpu(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.live.sums.add(Sum::CpuNanos, nanos);
    }

    /// So much memory is held now, bytes; the most is kept.
    pub fn memory(&self, bytes: u64) {
        self.live.sums.raise(Sum::MemoryPeak, bytes);
    }

    /// Bytes went to disk for want of memory.
    pub fn add_spill(&self, bytes: u64) {
        self.live.sums.add(Sum::Spill, bytes);
    }

    /// Something was tried again.
    pub fn add_retries(&self, retries: u64) {
        self.live.sums.add(Sum::Retries, retries);
    }

    /// A cache of the host's own answered.
    pub fn add_cache_hits(&self, hits: u64) {
        self.live.sums.add(Sum::CacheHits, hits);
    }

    /// So many rows are expected to leave: what progress is measured by. The greatest is kept.
    pub fn expect_rows(&self, rows: u64) {
        self.live.sums.raise(Sum::RowsExpected, rows);
    }
}

/// A phase of a query, until it is dropped.
#[derive(Debug)]
#[must_use = "a phase lasts as long as its guard"]
pub struct PhaseGuard {
    live: Arc<Live>,
    phase: Phase,
}

impl Drop for PhaseGuard {
    fn drop(&mut self) {
        if let Some(clock) = self.live.phases.of(self.phase) {
            clock.end(self.live.now());
        }
    }
}

/// A call to a source, until it ends by a word or by being dropped.
#[derive(Debug)]
#[must_use = "a call guard that is dropped records the call as abandoned"]
pub struct CallGuard {
    live: Arc<Live>,
    source: Source,
    /// `None` where the query has too many calls to note them one by one.
    note: Option<usize>,
    began: u64,
    panicking: bool,
    ended: bool,
}

impl CallGuard {
    fn note(&self) -> Option<&Note> {
        self.live.calls.get(self.note?)
    }

    fn add(&self, count: u64, to: &Counter, noted: fn(&Note) -> &AtomicU64) {
        to.add(count);
        if let Some(note) = self.note() {
            noted(note).fetch_add(count, Ordering::Relaxed);
        }
    }

    /// The query goes on without this call for a while: it has an answer to work on. Until
    /// [`resume`](Self::resume) the call is no wait, and the time is the engine's. Calls that are
    /// read as streams are paused between two requests for more; others need not say so.
    pub fn pause(&self) {
        if let Some(note) = self.note()
            && let Some(began) = note.pause()
            && !self.live.stretches.add(self.source.0.number, began, self.live.now())
        {
            // Then this pause is none: the engine's time comes out too small, never too large.
            note.resume(began);
        }
    }

    /// The query waits for this call again.
    pub fn resume(&self) {
        if let Some(note) = self.note() {
            note.resume(self.live.now());
        }
    }

    /// A request goes out. A call of which none is said made one.
    pub fn request(&self) {
        self.add(1, &self.source.0.requests, |note| &note.requests);
    }

    /// A request goes out again.
    pub fn retry(&self) {
        self.add(1, &self.source.0.retries, |note| &note.retries);
    }

    /// The first row is there: the first time that this is said, or that rows are added.
    pub fn first_row(&self) {
        if let Some(note) = self.note() {
            let now = self.live.now();
            if note.first_row(now) {
                self.source.0.first_row(now.saturating_sub(self.began));
            }
        }
    }

    /// Rows came.
    pub fn add_rows(&self, rows: u64) {
        if rows > 0 {
            if self.note().is_some_and(|note| !note.has_row()) {
                self.first_row();
            }
            self.add(rows, &self.source.0.rows, |note| &note.rows);
        }
    }

    /// Bytes came.
    pub fn add_bytes(&self, bytes: u64) {
        self.add(bytes, &self.source.0.bytes, |note| &note.bytes);
    }

    /// A cache answered, for the source.
    pub fn cache_hit(&self) {
        self.add(1, &self.source.0.cache_hits, |note| &note.cache_hits);
    }

    /// A cache was asked and could not answer.
    pub fn cache_miss(&self) {
        self.source.0.cache_misses.add(1);
    }

    /// It went well.
    pub fn finish(self) {
        self.end(Ended::OK);
    }

    /// It failed; for classes see [`QueryGuard::fail`].
    pub fn fail(self, class: &str) {
        let class = self.source.0.classes.number(class);
        self.end(Ended::error(class));
    }

    /// It was called off.
    pub fn cancel(self) {
        self.end(Ended::plain(OutcomeKind::Cancelled));
    }

    /// It took longer than it was given.
    pub fn time_out(self) {
        self.end(Ended::plain(OutcomeKind::TimedOut));
    }

    /// As [`QueryGuard::finish_with`].
    ///
    /// # Errors
    /// Those of `result`.
    pub fn finish_with<T, E>(
        self,
        result: Result<T, E>,
        class: impl FnOnce(&E) -> &str,
    ) -> Result<T, E> {
        match &result {
            Ok(_) => self.finish(),
            Err(error) => self.fail(class(error)),
        }
        result
    }

    fn end(mut self, how: Ended) {
        self.ended = true;
        self.record(how);
    }

    fn record(&self, how: Ended) {
        let now = self.live.now();
        let source = &*self.source.0;
        if self.note().is_none_or(|note| note.requests.load(Ordering::Relaxed) == 0) {
            source.requests.add(1);
        }
        if let Some(note) = self.note() {
            note.end(now, how);
        }
        source.end(how, now.saturating_sub(self.began));
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        if !self.ended {
            self.record(Ended::dropped(self.panicking));
        }
    }
}
