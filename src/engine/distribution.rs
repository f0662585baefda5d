//! Distributions at the door: handles that observations are recorded into, and what is recorded
//! written as one sample a series and span.
//!
//! A span is an interval of the clock, aligned to it; the first begins when the engine opens. What
//! was observed in a span stands at its beginning. Where somebody waits for it (`sync`, `freeze`,
//! `close`) the span so far is written, and written again as a whole when more was observed: the
//! later write wins.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::channel::{Batch, Rows};
use super::gate::Reason;
use super::recorder::Recorder;
use super::shared::{Shared, View};
use super::writer::SeriesHandle;
use crate::aggregate::Distribution;
use crate::model::SeriesId;
use crate::part::Layout;
use crate::time::{Tier, Timestamp};

/// How often bins that fill up are looked for.
const LOOK: Duration = Duration::from_millis(250);

/// A distribution metric's series, resolved once, and bins to record observations into. Cheap to
/// clone: clones share the bins. Cost of memory: 17 KiB, and 16 bytes for each bin that was used
/// in the current interval.
///
/// Threads that get in each other's way are given bins of their own within a quarter of a second:
/// 17 KiB for each processor, eight at most.
///
/// What was recorded before the engine's `sync`, `freeze` or `close` began is in it; what is
/// recorded once the engine is closed goes nowhere.
#[derive(Debug, Clone)]
pub struct DistributionHandle {
    series: SeriesHandle,
    recorder: Arc<Recorder>,
}

impl DistributionHandle {
    /// Adds an observation: takes no lock, allocates nothing, never waits. NaN and infinities are
    /// not recorded but counted as refused ([`Reason::NotFinite`]); so is what would need more
    /// than 1,024 different bins of 2 % between two looks of the ingest thread, four a second
    /// ([`Reason::TooManyBins`]).
    pub fn record(&self, value: f64) {
        self.recorder.record(value);
    }

    /// The series, for [`append_distribution`](super::Writer::append_distribution).
    #[must_use]
    pub fn series(&self) -> &SeriesHandle {
        &self.series
    }
}

/// Bins that were handed out and that the ingest thread does not know yet.
#[derive(Debug, Default)]
pub(super) struct NewRecorders(Mutex<Vec<(SeriesHandle, Arc<Recorder>)>>);

impl NewRecorders {
    /// A handle with bins of its own.
    pub(super) fn add(&self, series: SeriesHandle) -> DistributionHandle {
        let recorder = Arc::new(Recorder::new());
        let mut new = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        new.push((series.clone(), Arc::clone(&recorder)));
        DistributionHandle { series, recorder }
    }

    fn take(&self) -> Vec<(SeriesHandle, Arc<Recorder>)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One series, on the ingest thread.
#[derive(Debug, Default)]
struct Observed {
    recorders: Vec<Arc<Recorder>>,
    /// What was observed in this span.
    span: Distribution,
    /// How much of it was written.
    written: u64,
    overflow: bool,
}

/// Collects what handles recorded. Owned by the ingest thread.
#[derive(Debug)]
pub(super) struct Collector {
    interval: Tier,
    /// When the span began: where its distributions stand.
    since: Timestamp,
    looked: Instant,
    series: BTreeMap<SeriesId, Observed>,
}

impl Collector {
    /// The first span begins now, so that it replaces nothing that a run before this one wrote.
    pub(super) fn new(shared: &Shared) -> Self {
        let interval = Tier::of(shared.options.distribution_interval).unwrap_or(Tier::MINUTE);
        let now = shared.clock.now();
        let since = match newest(&shared.live.view()) {
            // The clock stands, or was set back a little.
            Some(newest) if now <= newest && newest.0.saturating_sub(now.0) < interval.nanos() => {
                Timestamp(newest.0 + 1)
            }
            _ => now,
        };
        Self { interval, since, looked: Instant::now(), series: BTreeMap::new() }
    }

    /// Empties the bins where the span is over, or `all` is asked for; returns what is to be
    /// written then. While writes are refused, the span goes on.
    pub(super) fn due(&mut self, shared: &Shared, all: bool) -> Vec<Batch> {
        let now = shared.clock.now();
        let refused =
            shared.health.check_latch().is_err() || shared.disk_full.load(Ordering::Relaxed);
        let over = !refused && self.interval.floor(now) != self.interval.floor(self.since);
        let due = over || all && !refused;
        if !due && self.looked.elapsed() < LOOK {
            return Vec::new();
        }
        self.looked = Instant::now();
        self.take_new(shared);
        if !due {
            self.series.values_mut().for_each(|observed| observed.collect(shared, false));
            return Vec::new();
        }
        let at = self.since;
        let batches = self.series.iter_mut().filter_map(|(&series, observed)| {
            observed.collect(shared, true);
            let distribution = observed.take(over)?;
            let refusals = &shared.gate.refusals;
            refusals.count(Reason::SeriesLimit, u64::from(observed.overflow));
            let rows = Rows::Distribution { series, timestamp: at.0, distribution };
            Some(Batch { rows, receipt: None })
        });
        let batches = batches.collect();
        if over {
            self.since = self.interval.floor(now);
        }
        self.series.retain(|_, observed| !observed.is_finished());
        batches
    }

    fn take_new(&mut self, shared: &Shared) {
        for (handle, recorder) in shared.new_recorders.take() {
            let observed = self.series.entry(handle.id()).or_default();
            observed.overflow = handle.is_overflow();
            observed.recorders.push(recorder);
        }
    }
}

impl Observed {
    /// Empties the bins, `all` or those that are nearly full, and for the last time those whose
    /// handles are gone.
    fn collect(&mut self, shared: &Shared, all: bool) {
        let Self { recorders, span, .. } = self;
        recorders.retain_mut(|recorder| {
            recorder.relieve();
            if !all && !recorder.is_crowded() && Arc::strong_count(recorder) > 1 {
                return true;
            }
            // Asked before they are emptied: nothing can come later. Then both sides are.
            let in_use = Arc::get_mut(recorder).is_none();
            for _ in 0..if in_use { 1 } else { 2 } {
                let missed = recorder.empty(span);
                shared.gate.refusals.count(Reason::NotFinite, missed.not_finite);
                shared.gate.refusals.count(Reason::TooManyBins, missed.no_bin);
            }
            in_use
        });
    }

    /// The span as it is to be written, if there is anything new; it is `over`, or goes on.
    fn take(&mut self, over: bool) -> Option<Arc<Distribution>> {
        let count = self.span.count();
        // A thread suspended halfway may leave a bin without extremes: it goes with the next span.
        if count == 0 || self.span.min() > self.span.max() {
            return None;
        }
        let is_new = count > self.written;
        if over {
            self.written = 0;
            let span = std::mem::take(&mut self.span);
            return is_new.then(|| Arc::new(span));
        }
        self.written = count;
        is_new.then(|| Arc::new(self.span.clone()))
    }

    /// Whether nothing can come any more.
    fn is_finished(&self) -> bool {
        self.recorders.is_empty() && self.span.count() == 0
    }
}

/// The latest timestamp of a stored distribution.
fn newest(view: &View) -> Option<Timestamp> {
    let parts = view.parts.iter().map(|part| part.meta());
    let parts = parts.filter(|meta| meta.layout == Layout::Records && meta.tier.is_raw());
    let heads = view.frozen.iter().chain([&view.head]);
    let heads = heads.filter_map(|head| head.newest_distribution());
    parts.map(|meta| meta.last).chain(heads).max()
}
