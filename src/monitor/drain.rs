//! The monitor's thread: takes what ended out of the queue and writes.
//!
//! It looks for work every few milliseconds instead of waiting to be woken: waking it would be a
//! system call on the host's thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::core::{Core, Finished};
use super::history::History;
use super::instrument::{Gauge, Instruments};
use super::outcome::{Ended, OutcomeKind};
use super::totals::Totals;
use crate::engine::Engine;
use crate::error::Result;

/// Between two looks at the queue.
const LOOK: Duration = Duration::from_millis(20);
/// Between two looks at what is recent, and at who runs.
const TICK: Duration = Duration::from_secs(1);
/// Records taken before the clock is looked at again.
const BURST: usize = 1024;

/// What a host asks the thread.
#[derive(Debug)]
pub(super) enum Order {
    /// Write what ended before, and answer.
    Flush(Sender<Result<()>>),
    /// Write everything, those that still run as abandoned, and end.
    Close,
}

/// State of the thread.
#[derive(Debug)]
pub(super) struct Drain {
    pub(super) engine: Arc<Engine>,
    pub(super) core: Arc<Core>,
    pub(super) instruments: Arc<Instruments>,
    pub(super) totals: Totals,
    pub(super) history: History,
    pub(super) finished: Receiver<Finished>,
    pub(super) orders: Receiver<Order>,
    pub(super) running: Gauge,
}

impl Drain {
    pub(super) fn gauge(engine: &Engine, instruments: &Instruments) -> Gauge {
        let about = ("", "Queries under way, as far as there is room to list them.");
        instruments.own_gauge("queries_running", &[], about, engine.now())
    }

    /// Until it is told to close, or nobody is left who could tell it.
    pub(super) fn run(mut self) -> Result<()> {
        let (mut ticked, mut scraped) = (Instant::now(), Instant::now());
        loop {
            let busy = self.take_finished();
            let order = match self.orders.try_recv() {
                Ok(order) => Some(order),
                Err(crossbeam_channel::TryRecvError::Empty) => None,
                Err(crossbeam_channel::TryRecvError::Disconnected) => Some(Order::Close),
            };
            match order {
                Some(Order::Flush(answer)) => {
                    while self.take_finished() {}
                    let written = self.write(true);
                    // Who asked may have gone.
                    let _ = answer.send(written);
                }
                Some(Order::Close) => return self.close(),
                None => {}
            }
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.tick();
            }
            if scraped.elapsed() >= self.core.options.interval {
                scraped = Instant::now();
                // A failure has latched the engine, and stands in every answer to `flush`.
                let _ = self.write(false);
            }
            if !busy {
                std::thread::park_timeout(LOOK);
            }
        }
    }

    /// Says whether there is more.
    fn take_finished(&mut self) -> bool {
        for _ in 0..BURST {
            let Ok(finished) = self.finished.try_recv() else {
                self.history.write();
                return false;
            };
            self.take(&finished);
        }
        self.history.write();
        true
    }

    fn take(&mut self, finished: &Finished) {
        let Finished { live, nanos, how } = finished;
        let outcome = self.core.directory.classes.outcome(*how);
        let query = live.metrics(*nanos, outcome, &self.core.directory);
        for call in live.calls.read() {
            let Some(source) = self.core.directory.state(call.source) else { continue };
            if let Some((ended, _)) = call.ended {
                let length = |to: u64| to.saturating_sub(call.began) as f64 * 1e-9;
                source.note_recent(length(ended), call.first_row.map(length));
            }
        }
        self.totals.add(&query, self.engine.now());
        let marked = live.marked.load(Ordering::Acquire);
        // One that was marked is kept, so that its mark is answered.
        let kept = if marked { Some(1) } else { self.core.options.keeps(&query) };
        if let Some(one_in) = kept {
            self.history.add(&query, one_in, marked);
        }
    }

    /// Once a second: what is recent, and marks of those that run long.
    fn tick(&mut self) {
        let now = Instant::now();
        for source in self.core.directory.all() {
            source.tick(now);
        }
        self.totals.write(self.engine.now(), false);
        let after = self.core.options.mark_after;
        for live in self.core.running.all() {
            if live.began.elapsed() >= after && !live.marked.swap(true, Ordering::AcqRel) {
                self.history.mark(&live);
            }
        }
        self.history.write();
    }

    /// Counters and gauges, and distributions that are due, or `all` so far.
    fn write(&mut self, all: bool) -> Result<()> {
        let now = self.engine.now();
        self.running.set(self.core.running.len() as f64);
        for source in self.core.directory.all() {
            source.tick(Instant::now());
        }
        self.totals.set_counters(&self.core, now);
        self.totals.write(now, all);
        self.instruments.scrape(now);
        self.history.write();
        self.history.failure()
    }

    fn close(mut self) -> Result<()> {
        self.core.closed.store(true, Ordering::Release);
        while self.take_finished() {}
        for live in self.core.running.all() {
            if !live.told.swap(true, Ordering::AcqRel) {
                let how = Ended::plain(OutcomeKind::Abandoned);
                self.core.count(how);
                let nanos = live.now();
                self.take(&Finished { live, nanos, how });
            }
        }
        self.write(true)
    }
}
