//! The ingest thread: the only one that writes the log and the head.
//!
//! It drains the channel in groups. A group is written to the log with one call and at most one
//! sync, applied to the head, and answered. A freeze hands the whole head to the committer under
//! one watermark.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::channel::{Batch, Inlet, Message, Rows};
use super::commit::{Committer, Job};
use super::distribution::Collector;
use super::gate::Reason;
use super::receipt::Promise;
use super::self_metrics::SelfMetrics;
use super::shared::{Counters, Shared};
use crate::error::{Error, Result};
use crate::head::Head;
use crate::model::SeriesId;
use crate::options::Durability;
use crate::wal;

/// Bytes of samples that one group takes at the most: what one write call and one lock of the
/// head cover. 4 MiB: a few milliseconds of either.
const GROUP_BYTES_MAX: usize = 4 << 20;
/// How often the ingest thread looks at the clock when nothing arrives.
const TICK: Duration = Duration::from_millis(250);
/// How often the free space is asked for, unless this many log bytes come first.
const SPACE_CHECK_INTERVAL: Duration = Duration::from_secs(1);
const SPACE_CHECK_BYTES: u64 = 8 << 20;

/// The ingest thread's state.
#[derive(Debug)]
pub(super) struct Ingest {
    shared: Arc<Shared>,
    inlet: Inlet,
    log: wal::Writer,
    committer: Committer,
    self_metrics: Option<SelfMetrics>,
    collector: Collector,
    unsynced_since: Option<Instant>,
    head_since: Option<Instant>,
    /// Log bytes of what is in the head.
    head_log_bytes: u64,
    space: SpaceGuard,
}

#[derive(Debug)]
struct SpaceGuard {
    checked: Instant,
    log_bytes: u64,
}

/// Batches that go through log and head together, and the words that came with them.
#[derive(Debug, Default)]
struct Work {
    batches: Vec<Batch>,
    bytes: usize,
    syncs: Vec<Promise>,
    freezes: Vec<Promise>,
    close: bool,
}

impl Ingest {
    pub(super) fn new(
        shared: Arc<Shared>,
        inlet: Inlet,
        log: wal::Writer,
        committer: Committer,
    ) -> Self {
        let now = Instant::now();
        let self_metrics =
            shared.options.self_metrics.map(|every| SelfMetrics::new(&shared, every));
        let head_since = (!shared.live.read().head.is_empty()).then_some(now);
        let space = SpaceGuard { checked: now, log_bytes: 0 };
        let collector = Collector::new(&shared);
        let mut ingest = Self {
            collector,
            shared,
            inlet,
            log,
            committer,
            self_metrics,
            unsynced_since: None,
            head_since,
            head_log_bytes: 0,
            space,
        };
        ingest.check_space();
        ingest
    }

    /// Runs until told to close; returns the last failure, if any.
    pub(super) fn run(mut self, freeze_on_close: impl Fn() -> bool) -> Result<()> {
        loop {
            let mut work = self.receive();
            self.check_space();
            let waited_for = work.close || !work.syncs.is_empty() || !work.freezes.is_empty();
            work.batches.extend(self.collector.due(&self.shared, waited_for));
            if let Some(metrics) = &mut self.self_metrics {
                work.batches.extend(metrics.due(&self.shared, self.inlet.len(), work.close));
            }
            let close = work.close;
            self.process(work);
            if close {
                return self.finish(freeze_on_close());
            }
        }
    }

    /// Waits for the first message and takes what else is there, up to a group's size.
    fn receive(&mut self) -> Work {
        let mut work = Work::default();
        let Some(first) = self.inlet.receive(self.patience()) else { return work };
        work.take(first);
        let bytes_max = GROUP_BYTES_MAX.min(self.shared.options.head_bytes_max);
        while work.bytes < bytes_max
            && !work.close
            && let Some(next) = self.inlet.try_receive()
        {
            work.take(next);
        }
        work
    }

    /// How long to wait for a message: not past the next sync.
    fn patience(&self) -> Duration {
        let since = self.unsynced_since.map(|since| since.elapsed());
        let left = since.map(|since| self.shared.options.sync_interval.saturating_sub(since));
        left.unwrap_or(TICK).min(TICK)
    }

    fn process(&mut self, work: Work) {
        let Work { batches, bytes, syncs, freezes, .. } = work;
        let logged = self.take_in(&batches);
        self.inlet.release(bytes);
        let wants_sync = !syncs.is_empty()
            || batches.iter().any(|batch| {
                batch.receipt.as_ref().is_some_and(|(level, _)| *level == Durability::Synced)
            });
        let synced = logged.and_then(|()| self.sync(wants_sync));
        for (_, promise) in batches.into_iter().filter_map(|batch| batch.receipt) {
            promise.complete(synced.clone());
        }
        for promise in syncs {
            promise.complete(synced.clone());
        }
        if !freezes.is_empty() || self.freeze_is_due() {
            self.freeze(freezes);
        }
    }

    /// Takes the batches in, unless writes are refused.
    fn take_in(&mut self, batches: &[Batch]) -> Result<()> {
        self.shared.health.check_latch()?;
        self.tell_metadata();
        if batches.is_empty() && self.log.pending_bytes() == 0 {
            return Ok(());
        }
        let room = if batches.is_empty() { Ok(()) } else { self.shared.check_room() };
        if let Err(error) = room {
            if let Some(reason) = Reason::of(&error) {
                self.shared.gate.refusals.count(reason, samples(batches) + events(batches));
            }
            return Err(error);
        }
        self.log_and_apply(batches)
    }

    /// Puts the metadata that changed since the last group into this one.
    fn tell_metadata(&mut self) {
        for metric in self.shared.take_changed_metrics() {
            if let Some(metadata) = self.shared.index.metadata(&metric) {
                // A failure latches in the log and shows at the group's write.
                let _ = self.log.declare_metadata(&metric, &metadata);
            }
        }
    }

    /// Writes the batches to the log, then applies them to the head.
    fn log_and_apply(&mut self, batches: &[Batch]) -> Result<()> {
        let mut sequences = Vec::with_capacity(batches.len());
        let written = batches
            .iter()
            .try_for_each(|batch| {
                sequences.push(push(&mut self.log, &self.shared, &batch.rows)?);
                Ok(())
            })
            .and_then(|()| {
                self.note_log_bytes();
                self.log.write_group()
            });
        self.latch(written)?;
        self.unsynced_since.get_or_insert_with(Instant::now);
        let mut state = self.shared.live.write();
        let late = state.head.late_samples();
        for (batch, &sequence) in batches.iter().zip(&sequences) {
            apply(&mut state.head, &batch.rows, sequence);
        }
        let late = state.head.late_samples() - late;
        drop(state);
        Counters::add(&self.shared.counters.late_samples, late);
        self.head_since.get_or_insert_with(Instant::now);
        Counters::add(&self.shared.counters.samples, samples(batches));
        Counters::add(&self.shared.counters.events, events(batches));
        Counters::add(&self.shared.counters.batches, batches.len() as u64);
        if self.log.file_bytes() > self.shared.options.log_file_bytes_max {
            let rotated = self.log.rotate();
            self.latch(rotated)?;
            self.unsynced_since = None;
        }
        Ok(())
    }

    fn note_log_bytes(&mut self) {
        let bytes = self.log.pending_bytes() as u64;
        self.space.log_bytes += bytes;
        self.head_log_bytes += bytes;
        Counters::add(&self.shared.counters.log_bytes, bytes);
    }

    /// Syncs if somebody waits for it or the interval is over; says which level was reached.
    fn sync(&mut self, wanted: bool) -> Result<Durability> {
        let interval = self.shared.options.sync_interval;
        let due = self.unsynced_since.is_some_and(|since| since.elapsed() >= interval);
        if !wanted && !due {
            return Ok(Durability::Logged);
        }
        let began = Instant::now();
        let synced = self.log.sync();
        self.latch(synced)?;
        self.unsynced_since = None;
        Counters::add(&self.shared.counters.syncs, 1);
        Counters::add(&self.shared.counters.sync_nanos, elapsed_nanos(began));
        Ok(Durability::Synced)
    }

    fn latch<T>(&self, result: Result<T>) -> Result<T> {
        result.inspect_err(|error| self.shared.health.latch(error.clone()))
    }

    fn freeze_is_due(&self) -> bool {
        if self.shared.health.check_latch().is_err() {
            return false;
        }
        let options = &self.shared.options;
        let full = self.shared.live.read().head.bytes() >= options.head_bytes_max;
        // The byte budget keeps room for so much log.
        let long = options.policy.bytes_max.is_some()
            && self.head_log_bytes >= options.head_bytes_max as u64;
        full || long || self.head_since.is_some_and(|since| since.elapsed() >= options.freeze_after)
    }

    /// Hands the head to the committer, waiting for it to finish the one before; the promises are
    /// kept when it has committed.
    fn freeze(&mut self, promises: Vec<Promise>) {
        let prepared = self.prepare_freeze();
        match prepared {
            Err(error) => {
                for promise in promises {
                    promise.complete(Err(error.clone()));
                }
            }
            Ok(job) => self.committer.submit(Job { promises, ..job }),
        }
    }

    fn prepare_freeze(&mut self) -> Result<Job> {
        self.committer.wait_idle();
        self.shared.health.check_latch()?;
        if !self.shared.live.read().head.is_empty() {
            // The frozen head's log files end here, so that the commit can cut them all.
            let rotated = self.log.rotate();
            self.latch(rotated)?;
            self.unsynced_since = None;
        }
        self.head_since = None;
        self.head_log_bytes = 0;
        let mut state = self.shared.live.write();
        let head = std::mem::take(&mut state.head);
        let snapshot = Arc::new(head.snapshot());
        state.frozen = (!head.is_empty()).then(|| Arc::clone(&snapshot));
        Ok(Job { snapshot, promises: Vec::new() })
    }

    /// Asks for the free space now and then; refuses writes while there is too little.
    fn check_space(&mut self) {
        let full = self.shared.check_room().is_err();
        let first = self.space.log_bytes == 0 && self.log.next_sequence() == 1;
        if self.space.checked.elapsed() < SPACE_CHECK_INTERVAL
            && self.space.log_bytes < SPACE_CHECK_BYTES
            && !full
            && !first
        {
            return;
        }
        self.space = SpaceGuard { checked: Instant::now(), log_bytes: 0 };
        // Where the system will not tell, the write itself will.
        let free = self.shared.fs.free_bytes(&self.shared.dir).unwrap_or(u64::MAX);
        let full = free < self.shared.options.free_bytes_min;
        self.shared.disk_full.store(full, Ordering::Relaxed);
        self.shared.check_budget();
    }

    fn finish(mut self, freeze: bool) -> Result<()> {
        let healthy = self.shared.health.cause().is_none();
        let synced = if healthy { self.log.sync() } else { Ok(()) };
        let result = self.latch(synced);
        if freeze && healthy && result.is_ok() {
            self.freeze(Vec::new());
        }
        self.committer.wait_idle();
        match self.shared.health.cause() {
            Some(cause) => Err(Error::ReadOnly { cause: cause.clone() }),
            None => result,
        }
    }
}

impl Work {
    fn take(&mut self, message: Message) {
        match message {
            Message::Batch(batch) => {
                self.bytes += batch.rows.bytes();
                self.batches.push(batch);
            }
            Message::Sync(promise) => self.syncs.push(promise),
            Message::Freeze(promise) => self.freezes.push(promise),
            Message::Close => self.close = true,
        }
    }
}

/// Pushes rows to the log, declaring what its current file has not seen; returns their sequence
/// number.
fn push(log: &mut wal::Writer, shared: &Shared, rows: &Rows) -> Result<u64> {
    match rows {
        Rows::Scrape { group, timestamp, values } => {
            if !log.has_group(group.id) {
                for &series in &group.series {
                    declare(log, shared, series)?;
                }
                log.declare_group(group.id, &group.series)?;
            }
            log.push_scrape(group.id, *timestamp, values)
        }
        Rows::Column { series, timestamps, values } => {
            declare(log, shared, *series)?;
            log.push_column(*series, timestamps, values)
        }
        Rows::Distribution { series, timestamp, distribution } => {
            declare(log, shared, *series)?;
            log.push_distribution(*series, *timestamp, distribution)
        }
        Rows::Events { table, batch } => {
            if !log.has_event_table(table.number, &table.schema) {
                log.declare_event_table(table.number, &table.schema)?;
            }
            log.push_events(table.number, batch)
        }
    }
}

fn declare(log: &mut wal::Writer, shared: &Shared, id: SeriesId) -> Result<()> {
    if log.has_series(id) {
        return Ok(());
    }
    let Some(series) = shared.index.series(id) else {
        let reason = format!("id {} is not this engine's", id.0);
        return Err(Error::InvalidArgument { what: "series handle", reason });
    };
    if !log.has_metadata(series.name())
        && let Some(metadata) = shared.index.metadata(series.name())
    {
        log.declare_metadata(series.name(), &metadata)?;
    }
    log.declare_series(id, &series)
}

fn samples(batches: &[Batch]) -> u64 {
    batches.iter().map(|batch| batch.rows.samples() as u64).sum()
}

fn events(batches: &[Batch]) -> u64 {
    batches.iter().map(|batch| batch.rows.events() as u64).sum()
}

fn apply(head: &mut Head, rows: &Rows, sequence: u64) {
    match rows {
        Rows::Scrape { group, timestamp, values } => {
            head.append_scrape(group, *timestamp, values, sequence);
        }
        Rows::Column { series, timestamps, values } => {
            head.append_column(*series, timestamps, values, sequence);
        }
        Rows::Distribution { series, timestamp, distribution } => {
            head.put_distribution(*series, *timestamp, Arc::clone(distribution), sequence);
        }
        Rows::Events { table, batch } => {
            head.append_events(table.number, &table.schema, batch, sequence);
        }
    }
}

pub(super) fn elapsed_nanos(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
