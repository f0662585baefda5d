//! The engine's own state as series of its own: `icecore_*`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::channel::{Batch, Rows};
use super::gate::Reason;
use super::shared::Shared;
use crate::head::Group;
use crate::model::{Metadata, MetricKind, Series, SeriesId};

/// One metric: name, kind, unit, what it tells.
type Metric = (&'static str, MetricKind, &'static str, &'static str);

const COUNTERS: [Metric; 13] = [
    ("icecore_batches_total", MetricKind::Counter, "", "Batches written to the log."),
    ("icecore_samples_total", MetricKind::Counter, "", "Samples written to the log."),
    ("icecore_events_total", MetricKind::Counter, "", "Rows of events written to the log."),
    ("icecore_log_bytes_total", MetricKind::Counter, "bytes", "Bytes written to the log."),
    ("icecore_syncs_total", MetricKind::Counter, "", "Syncs of the log."),
    ("icecore_sync_seconds_total", MetricKind::Counter, "seconds", "Time spent in syncs."),
    ("icecore_freezes_total", MetricKind::Counter, "", "Heads committed as parts."),
    ("icecore_commit_seconds_total", MetricKind::Counter, "seconds", "Time spent committing."),
    ("icecore_maintenance_tasks_total", MetricKind::Counter, "", "Tasks of compaction done."),
    (
        "icecore_maintenance_failures_total",
        MetricKind::Counter,
        "",
        "Tasks that could not read what they should.",
    ),
    (
        "icecore_maintenance_samples_total",
        MetricKind::Counter,
        "",
        "Samples, and values of records, that compaction wrote.",
    ),
    ("icecore_maintenance_read_bytes_total", MetricKind::Counter, "bytes", "Parts it read."),
    ("icecore_maintenance_written_bytes_total", MetricKind::Counter, "bytes", "Parts it wrote."),
];
const GAUGES: [Metric; 5] = [
    ("icecore_series", MetricKind::Gauge, "", "Series in the index."),
    ("icecore_index_bytes", MetricKind::Gauge, "bytes", "Memory the index takes."),
    ("icecore_head_bytes", MetricKind::Gauge, "bytes", "Samples in the head, in memory."),
    ("icecore_channel_batches", MetricKind::Gauge, "", "Batches waiting in the channel."),
    ("icecore_parts", MetricKind::Gauge, "", "Live parts."),
];
const LATE: Metric = (
    "icecore_samples_late_total",
    MetricKind::Counter,
    "",
    "Samples that came after a later one of their series, as long as that was in the head.",
);
const REFUSED: Metric = (
    "icecore_samples_refused_total",
    MetricKind::Counter,
    "",
    "Samples and rows of events (for invalid_name and filtered: series) refused at the door, or \
     redirected (series_limit), by reason.",
);

const DROPPED: Metric = (
    "icecore_dropped_bytes_total",
    MetricKind::Counter,
    "bytes",
    "Parts that retention dropped, by cause.",
);

/// The metrics that tell what came late or did not come in, the latter by a label `reason`.
pub(super) const LOSSES: [&str; 2] = [LATE.0, REFUSED.0];

/// Makes a batch of the engine's own state whenever the interval is over.
#[derive(Debug)]
pub(super) struct SelfMetrics {
    every: Duration,
    last: Instant,
    group: Arc<Group>,
}

impl SelfMetrics {
    pub(super) fn new(shared: &Shared, every: Duration) -> Self {
        let plain = COUNTERS.iter().chain(&GAUGES).chain([&LATE]).map(|metric| (metric, None));
        let refused = Reason::ALL.map(|reason| (&REFUSED, Some(("reason", reason.name()))));
        let dropped = shared.counters.dropped_bytes();
        let dropped = dropped.map(|(cause, _)| (&DROPPED, Some(("cause", cause))));
        let ids: Box<[SeriesId]> = plain
            .chain(refused)
            .chain(dropped)
            .filter_map(|(metric, label)| intern(shared, metric, label))
            .collect();
        Self { every, last: Instant::now(), group: shared.groups.of(ids) }
    }

    /// The batch that is due now, if one is: when the interval is over, and at the end.
    pub(super) fn due(
        &mut self,
        shared: &Shared,
        channel_batches: usize,
        ending: bool,
    ) -> Option<Batch> {
        let refused = shared.health.check_latch().is_err() || shared.check_room().is_err();
        if refused || !ending && self.last.elapsed() < self.every {
            return None;
        }
        self.last = Instant::now();
        Some(self.batch(shared, channel_batches))
    }

    fn batch(&self, shared: &Shared, channel_batches: usize) -> Batch {
        let counters = &shared.counters;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        let (head_bytes, parts) = {
            let state = shared.live.read();
            (state.head.bytes(), state.parts.len())
        };
        let mut values = vec![
            count(&counters.batches),
            count(&counters.samples),
            count(&counters.events),
            count(&counters.log_bytes),
            count(&counters.syncs),
            count(&counters.sync_nanos) / 1e9,
            count(&counters.freezes),
            count(&counters.commit_nanos) / 1e9,
            count(&counters.maintenance_tasks),
            count(&counters.maintenance_failures),
            count(&counters.maintenance_samples),
            count(&counters.maintenance_bytes_read),
            count(&counters.maintenance_bytes_written),
            shared.index.len() as f64,
            shared.index.memory_bytes() as f64,
            head_bytes as f64,
            channel_batches as f64,
            parts as f64,
            count(&counters.late_samples),
        ];
        values.extend(shared.gate.refusals.all().map(|(_, samples)| samples as f64));
        values.extend(counters.dropped_bytes().map(|(_, bytes)| bytes as f64));
        let timestamp = shared.clock.now().nanos();
        let group = Arc::clone(&self.group);
        Batch { rows: Rows::Scrape { group, timestamp, values }, receipt: None }
    }
}

/// Past the series limit too: the limit is for the host's series, not for the counts of what it
/// refused.
fn intern(
    shared: &Shared,
    metric: &Metric,
    labels: Option<(&'static str, &'static str)>,
) -> Option<SeriesId> {
    let &(name, kind, unit, help) = metric;
    // Names of ours obey the rules.
    let series = Series::new(name, labels).ok()?;
    let metadata = Metadata { kind, unit: unit.to_owned(), help: help.to_owned() };
    shared.index.set_metadata(name, &metadata);
    Some(shared.index.intern(&series))
}
