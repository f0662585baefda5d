//! What all guards share: who runs, what ended, and the queue to the thread that writes.
//!
//! Nothing here waits: a queue that is full drops the record and counts it, a table that is full
//! lets the query run unlisted and counts that. Counts by outcome are made on the host's thread, so
//! that they are exact whatever becomes of a record.

use std::array;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::directory::Directory;
use super::instrument::{Counter, Instruments};
use super::options::MonitorOptions;
use super::outcome::{ERROR_CLASSES_MAX, Ended, OutcomeKind};
use super::query::Live;
use super::running::RunningTable;
use crate::time::Timestamp;

/// A query that ended.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) live: Arc<Live>,
    /// Its length, ns.
    pub(super) nanos: u64,
    pub(super) how: Ended,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) options: MonitorOptions,
    pub(super) directory: Directory,
    pub(super) running: RunningTable,
    pub(super) started: Counter,
    ended: [Counter; OutcomeKind::ALL.len()],
    errors: [AtomicU64; ERROR_CLASSES_MAX],
    /// Records that found the queue full, or the monitor closed.
    pub(super) dropped: Counter,
    /// Queries that found the table of running ones full.
    pub(super) unlisted: Counter,
    pub(super) closed: AtomicBool,
    queue: Sender<Finished>,
    next_id: AtomicU64,
}

impl Core {
    /// And the other end of the queue. Ids begin at `first_id`.
    pub(super) fn new(
        options: MonitorOptions,
        instruments: &Instruments,
        now: Timestamp,
        first_id: u64,
    ) -> (Self, Receiver<Finished>) {
        let (queue, finished) = bounded(options.queue_max);
        let counter = |name: &str, labels: &[(&str, &str)], help| {
            instruments.own_counter(name, labels, ("", help), 1.0, now)
        };
        let ended = "Queries that ended, by outcome: exact, also where records were dropped.";
        let dropped = "Finished queries whose record found the queue full; in no distribution.";
        let unlisted = "Queries that ran without a place in the table of running ones.";
        let core = Self {
            directory: Directory::new(options.sources_max),
            running: RunningTable::new(options.running_max),
            started: counter("queries_started_total", &[], "Queries begun."),
            ended: OutcomeKind::ALL
                .map(|kind| counter("queries_total", &[("outcome", kind.name())], ended)),
            errors: array::from_fn(|_| AtomicU64::new(0)),
            dropped: counter("monitor_records_dropped_total", &[], dropped),
            unlisted: counter("monitor_queries_unlisted_total", &[], unlisted),
            closed: AtomicBool::new(false),
            queue,
            next_id: AtomicU64::new(first_id),
            options,
        };
        (core, finished)
    }

    pub(super) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Enters a query that begins.
    pub(super) fn begin(&self, live: &Arc<Live>) -> Option<usize> {
        self.started.add(1);
        let slot = self.running.enter(live);
        if slot.is_none() {
            self.unlisted.add(1);
        }
        slot
    }

    /// Takes in how a query ended, once.
    pub(super) fn end(&self, live: &Arc<Live>, slot: Option<usize>, how: Ended) {
        let nanos = live.now();
        let told = live.told.swap(true, Ordering::AcqRel);
        if let Some(slot) = slot {
            self.running.leave(slot);
        }
        // By closing.
        if told {
            return;
        }
        self.count(how);
        let finished = Finished { live: Arc::clone(live), nanos, how };
        if self.closed.load(Ordering::Acquire) || self.queue.try_send(finished).is_err() {
            self.dropped.add(1);
        }
    }

    pub(super) fn count(&self, how: Ended) {
        if let Some(counter) = self.ended.get(how.kind as usize) {
            counter.add(1);
        }
        if how.kind == OutcomeKind::Error
            && let Some(count) = self.errors.get(usize::from(how.class))
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts queries that an earlier run left unfinished.
    pub(super) fn count_recovered(&self, queries: u64) {
        if let Some(counter) = self.ended.get(OutcomeKind::Abandoned as usize) {
            counter.add(queries);
        }
    }

    pub(super) fn finished(&self, kind: OutcomeKind) -> u64 {
        self.ended.get(kind as usize).map_or(0, Counter::get)
    }

    /// Failures by class, the class' number first.
    pub(super) fn errors(&self) -> impl Iterator<Item = (u8, u64)> {
        let counts = self.errors.iter().map(|count| count.load(Ordering::Relaxed));
        (0..).zip(counts).filter(|&(_, count)| count > 0)
    }
}
