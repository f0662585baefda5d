//! `FederationMonitor`: what a host holds.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, bounded, unbounded};

use super::core::Core;
use super::drain::{Drain, Order};
use super::fingerprint::{Fingerprint, TEXT_BYTES_MAX};
use super::guard::{QueryGuard, QueryStart};
use super::history::History;
use super::instrument::{Counter, Gauge, Histogram, Instruments};
use super::options::MonitorOptions;
use super::outcome::OutcomeKind;
use super::query::{Live, QueryId, RunningQuery};
use super::recovery::{Recovered, recover};
use super::source::{Source, SourceMetrics};
use super::totals::Totals;
use super::view::LiveView;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::model::{Metadata, Series};

/// Instruments that a host may add beside the monitor's own.
const HOST_INSTRUMENTS_MAX: usize = 4096;
/// Instruments of one source, and of one tenant or label set, at most.
const INSTRUMENTS_A_SOURCE: usize = 64;
const INSTRUMENTS_A_SET: usize = 8;

/// Follows the queries of one host. Share it by reference, or in an [`Arc`].
///
/// Dropping it closes it, and tells no errors: call [`close`](Self::close). Guards may outlive it;
/// what they say then goes nowhere.
#[derive(Debug)]
pub struct FederationMonitor {
    engine: Arc<Engine>,
    core: Arc<Core>,
    instruments: Arc<Instruments>,
    orders: Sender<Order>,
    thread: Option<JoinHandle<Result<()>>>,
    recovered: u64,
}

impl FederationMonitor {
    /// A monitor that writes to `engine`. Queries that ran when an earlier one died are recorded as
    /// abandoned. One monitor an engine: two would write the same series.
    ///
    /// # Errors
    /// [`Error::InvalidOption`]; [`Error::SchemaConflict`] where the host has tables of the monitor's
    /// names; [`Error::ReadOnly`] and the like where the engine takes no writes; [`Error::Io`] where
    /// there is no thread to be had.
    pub fn open(engine: Arc<Engine>, options: MonitorOptions) -> Result<Self> {
        options.check()?;
        let sources = options.sources_max.saturating_add(1) * INSTRUMENTS_A_SOURCE;
        let sets = options.series_max + options.tenants_max + options.fingerprints_max;
        let max = sources + sets * INSTRUMENTS_A_SET + HOST_INSTRUMENTS_MAX;
        let instruments = Arc::new(Instruments::new(&engine, max));
        let mut history = History::open(&engine)?;
        let now = engine.now();
        let since = now.saturating_sub(options.recover_within);
        let Recovered { abandoned, first_id } = recover(&engine, &mut history, since)?;
        let totals = Totals::new(&engine, &options, &instruments);
        let (core, finished) = Core::new(options, &instruments, now, first_id);
        let core = Arc::new(core);
        core.count_recovered(abandoned);
        let (orders, taken) = unbounded();
        let drain = Drain {
            running: Drain::gauge(&engine, &instruments),
            engine: Arc::clone(&engine),
            core: Arc::clone(&core),
            instruments: Arc::clone(&instruments),
            totals,
            history,
            finished,
            orders: taken,
        };
        let thread = std::thread::Builder::new()
            .name("icecore-monitor".to_owned())
            .spawn(move || drain.run())
            .map_err(|error| Error::io("start a thread for", "icecore-monitor", error))?;
        Ok(Self { engine, core, instruments, orders, thread: Some(thread), recovered: abandoned })
    }

    /// Begins a query: a text, or a [`QueryStart`] that says whose it is. Cost: the fingerprint of
    /// the text (unless it is given) and about a microsecond.
    pub fn start_query<'a>(&self, start: impl Into<QueryStart<'a>>) -> QueryGuard {
        let start = start.into();
        let options = &self.core.options;
        let fingerprint = start
            .fingerprint
            .map_or_else(|| Fingerprint::new(start.text, options.double_quotes), Clone::clone);
        let text = options.raw_text.then(|| {
            let end = start.text.floor_char_boundary(TEXT_BYTES_MAX);
            start.text.get(..end).unwrap_or_default().into()
        });
        let id = QueryId(self.core.next_id());
        let from = (start.tenant, start.user);
        let live = Arc::new(Live::new(id, (fingerprint, text), from, self.engine.now()));
        let slot = self.core.begin(&live);
        QueryGuard::new(Arc::clone(&self.core), live, slot)
    }

    /// A source by its name: resolve it once, and keep it. Beyond
    /// [`MonitorOptions::sources_max`] it is the one called `other`.
    #[must_use]
    pub fn source(&self, name: &str) -> Source {
        self.core.directory.source(name, &self.instruments, self.engine.now())
    }

    /// The sources as they are now, by name.
    #[must_use]
    pub fn sources(&self) -> Vec<SourceMetrics> {
        self.live_view().sources()
    }

    /// What runs, and how sources are, for somebody else to see: a server, or a screen.
    #[must_use]
    pub fn live_view(&self) -> LiveView {
        LiveView::new(&self.core)
    }

    /// The queries that run now, by id. Cost: a copy of each.
    #[must_use]
    pub fn running(&self) -> Vec<RunningQuery> {
        self.live_view().running()
    }

    /// Queries begun in this run.
    #[must_use]
    pub fn started(&self) -> u64 {
        self.core.started.get()
    }

    /// Queries that ended so in this run: exact, whatever was dropped.
    #[must_use]
    pub fn finished(&self, kind: OutcomeKind) -> u64 {
        self.core.finished(kind)
    }

    /// Finished queries whose records were dropped because the queue was full: they are counted by
    /// outcome, and in no distribution and no event.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.core.dropped.get()
    }

    /// Queries that an earlier run left unfinished, recorded as abandoned when this one opened.
    #[must_use]
    pub const fn recovered(&self) -> u64 {
        self.recovered
    }

    /// A counter of the host's own, written with the monitor's: see [`Instruments::counter`].
    pub fn counter(&self, series: &Series, metadata: &Metadata) -> Option<Counter> {
        self.instruments.counter(series, metadata, self.engine.now())
    }

    /// A gauge of the host's own: see [`Instruments::gauge`].
    pub fn gauge(&self, series: &Series, metadata: &Metadata) -> Option<Gauge> {
        self.instruments.gauge(series, metadata, self.engine.now())
    }

    /// A distribution of the host's own: see [`Instruments::histogram`].
    pub fn histogram(&self, series: &Series, metadata: &Metadata) -> Option<Histogram> {
        self.instruments.histogram(series, metadata, self.engine.now())
    }

    /// Waits until everything that ended before is written and synced.
    ///
    /// # Errors
    /// The failure that prevents it.
    pub fn flush(&self) -> Result<()> {
        let (answer, answered) = bounded(1);
        self.orders.send(Order::Flush(answer)).map_err(|_| Error::Closed)?;
        self.wake();
        answered.recv().map_err(|_| Error::Closed)??;
        self.engine.sync()
    }

    /// Writes everything, those queries that still run as abandoned, and ends the thread. The
    /// engine stays open.
    ///
    /// # Errors
    /// The failure that prevented it; [`Error::Panicked`].
    pub fn close(mut self) -> Result<()> {
        self.end()
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    fn end(&mut self) -> Result<()> {
        // Fails where the thread has ended by itself.
        let _ = self.orders.send(Order::Close);
        self.wake();
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|panic| {
            let message = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "no message".to_owned());
            Err(Error::Panicked { thread: "monitor", message })
        })
    }
}

impl Drop for FederationMonitor {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.end();
    }
}
