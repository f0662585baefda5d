//! The engine: one directory of history, opened by one process.
//!
//! Owns: the ingestion channel, the gate, the threads that write, the order of commits, recovery,
//! and what a reader sees. Does not own: any byte layout (`segment`, `part`, `wal`, `catalog`) or
//! how a query is computed (`query`).
//!
//! ```
//! use icecore::model::{Metadata, Selector};
//! use icecore::query::SampleRequest;
//! use icecore::{Engine, Options, TimeRange};
//!
//! # fn main() -> icecore::Result<()> {
//! # let dir = tempfile::tempdir().expect("a directory");
//! # let path = dir.path();
//! let engine = Engine::open(path, Options::default())?;
//! let writer = engine.writer("my engine");
//! let series = writer
//!     .series_named("queries_total", [("source", "lake")], &Metadata::default())
//!     .expect("a valid name");
//! let now = engine.now();
//! writer.append_column(&series, vec![now.nanos()], vec![1.0])?.wait()?;
//!
//! let found = engine.samples(&Selector::parse("queries_total")?, &SampleRequest::new(TimeRange::ALL))?;
//! assert_eq!(found[0].values, [1.0]);
//! engine.close()
//! # }
//! ```

mod channel;
mod commit;
mod delete;
mod dispatch;
mod distribution;
mod event_parts;
mod event_queries;
mod events;
mod gate;
mod health;
mod ingest;
mod ledger;
#[cfg(feature = "datafusion")]
mod live;
mod maintenance;
mod partition;
mod queries;
mod receipt;
mod record_parts;
mod recorder;
mod recovery;
mod self_metrics;
mod shared;
mod snapshot;
mod stats;
mod thread;
mod tier_records;
mod verify;
mod writer;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

pub use delete::DeleteReport;
pub use distribution::DistributionHandle;
pub use events::EventWriter;
pub use gate::{Reason, Refusal};
pub(crate) use ledger::Pinned;
#[cfg(feature = "datafusion")]
pub(crate) use live::PinnedView;
pub use maintenance::{CompactReport, CompactScope, MaintenanceStep, RetentionReport, TaskReport};
pub use receipt::{Accepted, Receipt};
pub use recovery::Recovery;
pub use snapshot::{CopyStep, SnapshotOptions, SnapshotReport, restore, restore_in};
pub use stats::{EventTableStats, PartStats, Stats, TierStats};
pub(crate) use thread::thread_number;
#[cfg(feature = "parquet")]
pub(crate) use tier_records::leave_out_deleted;
pub use verify::{Problem, VerifyReport, VerifyStep};
pub use writer::{ScrapeHandle, SeriesHandle, Writer};

use crate::error::{Error, ReadOnlyCause, Result};
use crate::fs::{Fs, FsLock, RealFs};
use crate::model::{Metadata, Selector, Series, SeriesId};
use crate::options::{Maintenance, Options};
use crate::query::{self, Evidence, SampleRequest, SeriesRuns, SeriesSamples};
use crate::time::{Clock, SystemClock, TimeRange, Timestamp};
use crate::wal;
use channel::{Message, Outlet};
use commit::Committer;
use ingest::Ingest;
use maintenance::Background;
use receipt::Promise;
use shared::Shared;

/// What the engine stands on: the file system and the clock. Tests and hosts bring their own.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Where every byte of ours goes.
    pub fs: Arc<dyn Fs>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
}

impl Default for Environment {
    fn default() -> Self {
        Self { fs: Arc::new(RealFs), clock: Arc::new(SystemClock) }
    }
}

/// An open store. Shared by reference among threads; [`Writer`]s are cloned from it.
///
/// Dropping it ends its threads and syncs the log, but tells no errors and does not freeze the
/// head: call [`close`](Self::close).
#[derive(Debug)]
pub struct Engine {
    shared: Arc<Shared>,
    outlet: Outlet,
    ingest: Option<JoinHandle<Result<()>>>,
    background: Option<Background>,
    /// What the ingest thread does with the head when it is told to close.
    freeze_on_close: Arc<AtomicBool>,
    recovery: Recovery,
    _lock: Option<Box<dyn FsLock>>,
}

impl Engine {
    /// Opens the store in `path`, creating it where there is none (unless read-only). Cost: reads
    /// the catalog, each part's meta, and the log.
    ///
    /// # Errors
    /// [`Error::Locked`] where another engine has it open; [`Error::Corrupt`] where what had been
    /// synced is damaged; [`Error::InvalidOption`]; [`Error::Io`].
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        Self::open_in(path, options, Environment::default())
    }

    /// As [`open`](Self::open), on another file system or clock.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_in(
        path: impl AsRef<Path>,
        options: Options,
        environment: Environment,
    ) -> Result<Self> {
        let opened = recovery::open(path.as_ref(), options, environment)?;
        let shared = opened.shared;
        let options = &shared.options;
        let (outlet, inlet) =
            channel::channel(options.channel_batches_max, options.channel_bytes_max);
        let freeze_on_close = Arc::new(AtomicBool::new(false));
        let mut engine = Self {
            shared: Arc::clone(&shared),
            outlet,
            ingest: None,
            background: None,
            freeze_on_close: Arc::clone(&freeze_on_close),
            recovery: opened.recovery,
            _lock: opened.lock,
        };
        if shared.options.read_only {
            return Ok(engine);
        }
        let log = wal::Writer::open(Arc::clone(&shared.fs), &shared.log_dir(), &opened.replay)?;
        let committer = Committer::start(Arc::clone(&shared))?;
        let ingest = Ingest::new(Arc::clone(&shared), inlet, log, committer);
        let run = move || {
            let freeze = || freeze_on_close.load(Ordering::SeqCst);
            catch_unwind(AssertUnwindSafe(|| ingest.run(freeze))).unwrap_or_else(|panic| {
                let error = commit::panicked("ingest", &*panic);
                shared.health.latch(error.clone());
                Err(error)
            })
        };
        let thread = std::thread::Builder::new()
            .name("icecore-ingest".to_owned())
            .spawn(run)
            .map_err(|error| Error::io("start a thread for", "icecore-ingest", error))?;
        engine.ingest = Some(thread);
        let maintenance = engine.options().maintenance;
        if let Maintenance::Background { interval, cpu_share } = maintenance {
            engine.background = Some(Background::start(engine.maintainer(), interval, cpu_share)?);
        }
        Ok(engine)
    }

    /// The store's directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.dir
    }

    /// The options it was opened with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// Now, by the engine's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// What opening found and did.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Why the engine takes no writes, if it takes none. Reads go on in any case.
    #[must_use]
    pub fn read_only_cause(&self) -> Option<ReadOnlyCause> {
        self.shared.health.cause().cloned()
    }

    /// A writer; `source` names whose rate limit it counts against.
    #[must_use]
    pub fn writer(&self, source: &str) -> Writer {
        Writer::new(Arc::clone(&self.shared), self.outlet.clone(), source)
    }

    /// Waits until everything appended before is synced.
    ///
    /// # Errors
    /// The failure that prevents it.
    pub fn sync(&self) -> Result<()> {
        self.ask(Message::Sync)
    }

    /// Freezes the head, and waits until everything appended before is in committed parts.
    ///
    /// # Errors
    /// The failure that prevents it.
    pub fn freeze(&self) -> Result<()> {
        self.ask(Message::Freeze)
    }

    /// Freezes the head (but of an engine that was opened read-only) and pins what the catalog names
    /// then: the catalog as it is on disk and its parts, in its order. Their directories stay until
    /// they are dropped.
    ///
    /// # Errors
    /// As [`freeze`](Self::freeze).
    pub(crate) fn pin(&self) -> Result<Pinned> {
        if !self.opened_read_only() {
            self.freeze()?;
        }
        let state = self.shared.live.read();
        Ok(Pinned { catalog: Arc::clone(&state.catalog), parts: Arc::clone(&state.parts) })
    }

    fn ask(&self, question: fn(Promise) -> Message) -> Result<()> {
        self.shared.health.check_writable()?;
        let (promise, slot) = Promise::new();
        self.outlet.tell(question(promise))?;
        Receipt::pending(0, 0, slot).wait().map(drop)
    }

    /// Ends the engine: takes what was appended before, syncs it, freezes the head (unless
    /// [`Options::freeze_on_close`] says no) and unlocks the directory. Writers that are still
    /// there get [`Error::Closed`].
    ///
    /// # Errors
    /// The first failure of this run, also where it was told before.
    pub fn close(mut self) -> Result<()> {
        self.freeze_on_close.store(self.shared.options.freeze_on_close, Ordering::SeqCst);
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        let Some(thread) = self.ingest.take() else { return Ok(()) };
        // It may wait for a freeze, so it ends before what freezes.
        self.background = None;
        // First the flag: what a writer sent behind the word would be lost without a sound.
        self.shared.health.close();
        // An error means that the thread has ended by itself.
        let _ = self.outlet.tell(Message::Close);
        thread.join().unwrap_or_else(|panic| Err(commit::panicked("ingest", &*panic)))
    }

    /// The series that the selector names and that have samples about `range` (chunks that overlap
    /// it and are not deleted as a whole), ascending. For [`TimeRange::ALL`] all that the index
    /// knows, also those that were resolved and not yet written to, or deleted since the engine
    /// was opened: that reads nothing.
    ///
    /// # Errors
    /// I/O or corruption.
    pub fn series(
        &self,
        selector: &Selector,
        range: TimeRange,
    ) -> Result<Vec<(SeriesId, Arc<Series>)>> {
        let mut found = self.select(selector)?.to_vec();
        if range != TimeRange::ALL {
            let sources = self.shared.live.view().sources();
            query::retain_held(&mut found, range, &sources)?;
        }
        Ok(found)
    }

    /// The names of the labels that the selected series have, ascending, `__name__` among them; as
    /// the index knows, whatever is left of their samples.
    #[must_use]
    pub fn label_names(&self, selector: &Selector) -> Vec<String> {
        self.shared.index.label_names(selector)
    }

    /// The values of a label among the selected series, ascending; as
    /// [`label_names`](Self::label_names).
    #[must_use]
    pub fn label_values(&self, label: &str, selector: &Selector) -> Vec<String> {
        self.shared.index.label_values(label, selector)
    }

    /// What is known of a metric.
    #[must_use]
    pub fn metadata(&self, metric: &str) -> Option<Metadata> {
        self.shared.index.metadata(metric).map(|metadata| (*metadata).clone())
    }

    /// The time bounds of everything stored, both inclusive; `None` where nothing is.
    ///
    /// # Errors
    /// I/O or corruption.
    pub fn time_bounds(&self) -> Result<Option<(Timestamp, Timestamp)>> {
        delete::time_bounds(&self.shared.live.view())
    }

    /// The samples of every series that the selector names, ascending by series and time. Holds
    /// them all: see [`for_each_run`](Self::for_each_run) for less.
    ///
    /// # Errors
    /// [`Error::Limit`], [`Error::Deadline`], [`Error::Cancelled`]; I/O or corruption.
    pub fn samples(
        &self,
        selector: &Selector,
        request: &SampleRequest,
    ) -> Result<Vec<SeriesSamples>> {
        let series = self.select_within(selector, request.costs())?;
        let sources = self.shared.live.view().sources();
        query::read_samples(request, &series, &sources, self.resources())
    }

    /// Hands the samples of one series after another to `visit`, ascending by series and time, a
    /// run (timestamps and values of equal length) at a time: what an export needs that must not
    /// hold everything.
    ///
    /// # Errors
    /// As [`samples`](Self::samples), and what `visit` returns.
    pub fn for_each_run(
        &self,
        selector: &Selector,
        request: &SampleRequest,
        visit: impl FnMut(&Arc<Series>, &[i64], &[f64]) -> Result<()>,
    ) -> Result<()> {
        let series = self.select_within(selector, request.costs())?;
        let sources = self.shared.live.view().sources();
        query::for_each_run(request, &series, &sources, visit)
    }

    /// Folds the raw samples of every series that the selector names in ways of the caller's own,
    /// in parallel: `begin` makes the state of one task, `fold` takes in one series after another,
    /// ascending by series, at most [`query::FOLD_SERIES`] of them. Returns the states in the order
    /// of the series: the same for every number of threads. With `buckets`, their length, series may
    /// be read by them, and so from tiers: see [`query::SeriesRuns::buckets`].
    ///
    /// # Errors
    /// As [`samples`](Self::samples), and what `fold` returns.
    pub fn fold_series<S: Send>(
        &self,
        selector: &Selector,
        request: &SampleRequest,
        buckets: Option<Duration>,
        begin: impl Fn() -> S + Sync + Send,
        fold: impl Fn(&mut S, &Arc<Series>, SeriesRuns<'_, '_>) -> Result<()> + Sync + Send,
    ) -> Result<(Vec<S>, Evidence)> {
        let series = self.select_within(selector, request.costs())?;
        let sources = self.shared.live.view().sources();
        query::fold_series(request, &series, &sources, self.resources(), buckets, begin, fold)
    }

    /// Samples refused so far in this run, by reason.
    #[must_use]
    pub fn refusals(&self) -> Vec<(Reason, u64)> {
        self.shared.gate.refusals.all().collect()
    }

    /// What the store holds and how large it is. Cost: opens every part.
    ///
    /// # Errors
    /// I/O or corruption.
    pub fn stats(&self) -> Result<Stats> {
        stats::collect(&self.shared)
    }

    /// Copies the store as it is now into the new directory `dir`, while writes go on: everything
    /// appended before is in it. What is there afterwards is a store that opens read-only, and that
    /// [`restore`] brings back; under a failure or a crash there is no such directory. Freezes the
    /// head first; an engine that was opened read-only copies the log instead.
    ///
    /// # Errors
    /// [`Error::Io`], with kind `AlreadyExists` where there is something at `dir`;
    /// [`Error::InvalidArgument`] where the previous snapshot is another store's;
    /// [`Error::ReadOnly`] where a failure latched the engine.
    pub fn snapshot(
        &self,
        dir: impl AsRef<Path>,
        options: &SnapshotOptions,
        progress: &mut dyn FnMut(CopyStep),
    ) -> Result<SnapshotReport> {
        let pinned = self.pin()?;
        // What an engine has open for reading only has no writer: the log stands still.
        let log = self.opened_read_only().then(|| self.shared.log_dir());
        let source = snapshot::Source { log, pinned };
        snapshot::snapshot(&*self.shared.fs, &source, dir.as_ref(), options, progress)
    }

    /// Runs what is parallel on the engine's own threads.
    #[cfg(feature = "server")]
    pub(crate) fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.shared.pool.install(work)
    }

    fn opened_read_only(&self) -> bool {
        matches!(self.read_only_cause(), Some(ReadOnlyCause::Opened))
    }

    /// Checks every checksum and invariant of the store in `path`, offline: no engine may have it
    /// open for writing. Changes nothing.
    ///
    /// # Errors
    /// Only where the store cannot be looked at; damage is reported, not returned.
    pub fn verify(
        path: impl AsRef<Path>,
        progress: &mut dyn FnMut(VerifyStep),
    ) -> Result<VerifyReport> {
        verify::verify(path.as_ref(), progress)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Durability, GateOptions};

    /// Closing told the writers "closed" by the flag that the ingest thread asked too: what still
    /// stood in the channel was refused, and a bulk load lost its last four per cent.
    #[test]
    fn what_was_sent_before_closing_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            self_metrics: None,
            gate: GateOptions { past: None, future: None, ..GateOptions::default() },
            ..Options::default()
        };
        let engine = Engine::open(dir.path(), options.clone()).unwrap();
        let writer = engine.writer("test").with_durability(Durability::Buffered);
        let series = writer.series_named("up", [], &Metadata::default()).unwrap();
        let (batches, length) = (500, 2_000);
        for batch in 0..batches {
            let timestamps = (batch * length..(batch + 1) * length).collect();
            drop(writer.append_column(&series, timestamps, vec![1.0; length as usize]).unwrap());
        }
        engine.close().unwrap();
        let engine = Engine::open(dir.path(), options).unwrap();
        let all = engine.stats().unwrap();
        assert_eq!((all.samples, all.head_samples), ((batches * length) as u64, 0));
    }
}
