//! What finished queries add to series: distributions and sums by the capped labels.
//!
//! Owns: names and labels of the series `query_*`. Everything here runs on the monitor's thread.
//! What must be exact although records are dropped is counted by guards, in `core` and `source`.

use std::collections::HashMap;
use std::sync::Arc;

use super::core::Core;
use super::durations::Durations;
use super::fingerprint::Fingerprint;
use super::instrument::{Counter, Instruments};
use super::label::LabelValues;
use super::options::MonitorOptions;
use super::outcome::OTHER;
use super::phase::Phase;
use super::query::{QueryMetrics, SourceUse};
use crate::engine::Engine;
use crate::model::Series;
use crate::options::WhenFull;
use crate::time::Timestamp;

/// Sets of sources told apart, as a multiple of the sources.
const SOURCE_SETS_FACTOR: usize = 4;
const NANOS: f64 = 1e-9;

/// Sums of one tenant.
#[derive(Debug)]
struct TenantSums([Counter; TENANT_SUMS.len()]);

type Described = (&'static str, &'static str, f64, &'static str);

/// Name, unit, scale, help.
const TENANT_SUMS: [Described; 8] = [
    ("query_rows_in_total", "", 1.0, "Rows that came in."),
    ("query_rows_out_total", "", 1.0, "Rows that left."),
    ("query_bytes_in_total", "bytes", 1.0, "Bytes that came in."),
    ("query_bytes_out_total", "bytes", 1.0, "Bytes that left."),
    ("query_cpu_seconds_total", "seconds", NANOS, "Time on processors."),
    ("query_spill_bytes_total", "bytes", 1.0, "Bytes spilled to disk."),
    ("query_retries_total", "", 1.0, "Repeated attempts."),
    ("query_cache_hits_total", "", 1.0, "What caches answered."),
];
const ENGINE: Described = (
    "query_engine_seconds_total",
    "seconds",
    NANOS,
    "Time in which no call to a source was under way.",
);
const SHARE: [Described; 3] = [
    ("query_source_calls_total", "", 1.0, "Calls to the source."),
    (
        "query_source_wait_seconds_total",
        "seconds",
        NANOS,
        "Time in which one of them was under way.",
    ),
    (
        "query_source_critical_seconds_total",
        "seconds",
        NANOS,
        "Time in which the critical path lay with the source.",
    ),
];

/// See the module.
#[derive(Debug)]
pub(super) struct Totals {
    instruments: Arc<Instruments>,
    durations: Durations,
    /// The series of each phase, and that of the memory: named once, not for each query.
    phases: [Option<Series>; Phase::ALL.len()],
    memory: Option<Series>,
    tenants: LabelValues,
    fingerprints: LabelValues,
    source_sets: LabelValues,
    tenant_sums: HashMap<Arc<str>, TenantSums>,
    engine_time: HashMap<Arc<str>, Counter>,
    shares: HashMap<(Arc<str>, Arc<str>), [Counter; SHARE.len()]>,
    shares_max: usize,
    /// When the query under way was taken in: where new counters begin.
    now: Timestamp,
}

impl Totals {
    pub(super) fn new(
        engine: &Engine,
        options: &MonitorOptions,
        instruments: &Arc<Instruments>,
    ) -> Self {
        let writer = engine.writer("monitor").with_when_full(WhenFull::Drop);
        let interval = engine.options().distribution_interval;
        let now = engine.now();
        Self {
            instruments: Arc::clone(instruments),
            durations: Durations::new(writer, interval, options.series_max, now),
            phases: Phase::ALL
                .map(|phase| Series::new("query_phase_seconds", [("phase", phase.name())]).ok()),
            memory: Series::new("query_memory_peak_bytes", []).ok(),
            tenants: LabelValues::new(options.tenants_max),
            fingerprints: LabelValues::new(options.fingerprints_max),
            source_sets: LabelValues::new(options.sources_max * SOURCE_SETS_FACTOR),
            tenant_sums: HashMap::new(),
            engine_time: HashMap::new(),
            shares: HashMap::new(),
            shares_max: options.series_max,
            now,
        }
    }

    /// Takes in a finished query at `now`.
    pub(super) fn add(&mut self, query: &QueryMetrics, now: Timestamp) {
        self.now = now;
        let (tenant, _) = self.tenants.admit(&query.tenant);
        let fingerprint = self.fingerprint(&query.fingerprint);
        self.add_durations(query, &tenant, &fingerprint);
        self.add_sums(query, &tenant);
        self.add_attribution(query, &fingerprint);
    }

    /// The label of a fingerprint; what it stands for is said once, by `fingerprint_info`.
    fn fingerprint(&mut self, fingerprint: &Fingerprint) -> Arc<str> {
        let (label, new) = self.fingerprints.admit(&fingerprint.name());
        if new {
            let labels = [("fingerprint", &*label), ("text", fingerprint.text())];
            let about = ("", "1 for each fingerprint, with its text.");
            self.instruments.own_gauge("fingerprint_info", &labels, about, self.now).set(1.0);
        }
        label
    }

    fn add_durations(&mut self, query: &QueryMetrics, tenant: &str, fingerprint: &str) {
        let names: Vec<&str> = query.sources.iter().map(|used| &*used.source).collect();
        let (sources, _) = self.source_sets.admit(&names.join(","));
        let outcome = query.outcome.kind().name();
        let of = |source, tenant, fingerprint| {
            let labels = [
                ("source", source),
                ("tenant", tenant),
                ("fingerprint", fingerprint),
                ("outcome", outcome),
            ];
            Series::new("query_duration_seconds", labels).ok()
        };
        // Where there are too many sets, first fingerprints are told apart no longer.
        let fits = |series: &Series| self.durations.takes(series);
        let series = of(&sources, tenant, fingerprint)
            .filter(fits)
            .or_else(|| of(&sources, tenant, OTHER).filter(fits))
            .or_else(|| of(OTHER, OTHER, OTHER));
        if let Some(series) = series {
            let about = ("seconds", "Lengths of queries; source: those touched, by name.");
            self.durations.record(&series, about, query.duration.as_secs_f64());
        }
        for ((_, length), series) in query.phases.iter().zip(&self.phases) {
            if let Some(series) = series.as_ref().filter(|_| !length.is_zero()) {
                let about = ("seconds", "Lengths of the phases of queries.");
                self.durations.record(series, about, length.as_secs_f64());
            }
        }
        if let Some(series) = self.memory.as_ref().filter(|_| query.memory_peak_bytes > 0) {
            let about = ("bytes", "The most memory that each query held.");
            self.durations.record(series, about, query.memory_peak_bytes as f64);
        }
    }

    fn add_sums(&mut self, query: &QueryMetrics, tenant: &Arc<str>) {
        let (instruments, now) = (&self.instruments, self.now);
        let sums = self.tenant_sums.entry(Arc::clone(tenant)).or_insert_with(|| {
            let labels = [("tenant", &**tenant)];
            TenantSums(TENANT_SUMS.map(|sum| counter(instruments, sum, &labels, now)))
        });
        let values = [
            query.rows_in,
            query.rows_out,
            query.bytes_in,
            query.bytes_out,
            nanos(query.cpu),
            query.spill_bytes,
            query.retries,
            query.cache_hits,
        ];
        sums.0.iter().zip(values).for_each(|(sum, value)| sum.add(value));
    }

    fn add_attribution(&mut self, query: &QueryMetrics, fingerprint: &Arc<str>) {
        let (instruments, now) = (&self.instruments, self.now);
        let engine = self.engine_time.entry(Arc::clone(fingerprint)).or_insert_with(|| {
            counter(instruments, ENGINE, &[("fingerprint", &**fingerprint)], now)
        });
        engine.add(nanos(query.engine));
        for used in &query.sources {
            let key = (Arc::clone(fingerprint), Arc::clone(&used.source));
            let room = self.shares.len() < self.shares_max || self.shares.contains_key(&key);
            let key = if room { key } else { (self.fingerprints.other(), key.1) };
            let shares = self.shares.entry(key).or_insert_with_key(|(fingerprint, source)| {
                let labels = [("fingerprint", &**fingerprint), ("source", &**source)];
                SHARE.map(|share| counter(instruments, share, &labels, now))
            });
            let SourceUse { calls, waiting, critical, .. } = used;
            let values = [*calls, nanos(*waiting), nanos(*critical)];
            shares.iter().zip(values).for_each(|(share, value)| share.add(value));
        }
    }

    /// Writes the distributions that are due, or `all` so far.
    pub(super) fn write(&mut self, now: Timestamp, all: bool) {
        self.durations.write(now, all);
    }

    /// Sets the counters of what is known elsewhere: errors by class, and overflows of caps.
    pub(super) fn set_counters(&self, core: &Core, now: Timestamp) {
        let raise = |name: &str, labels: &[(&str, &str)], help: &'static str, to: u64| {
            self.instruments.own_counter(name, labels, ("", help), 1.0, now).raise_to(to);
        };
        for (class, count) in core.errors() {
            let class = core.directory.classes.name(class);
            let help = "Queries that failed, by class.";
            raise("query_errors_total", &[("class", &class)], help, count);
        }
        for source in core.directory.all() {
            for (class, count) in source.errors() {
                let class = core.directory.classes.name(class);
                let labels = [("class", &*class), ("source", &*source.name)];
                raise("source_errors_total", &labels, "Calls that failed, by class.", count);
            }
        }
        let refused = core.directory.refused.load(std::sync::atomic::Ordering::Relaxed);
        for (label, count) in [
            ("tenant", self.tenants.overflowed),
            ("fingerprint", self.fingerprints.overflowed),
            ("sources", self.source_sets.overflowed),
            ("source", refused),
        ] {
            let help = "Values of a label beyond its cap, each time that one was met.";
            raise("monitor_labels_other_total", &[("label", label)], help, count);
        }
    }
}

fn counter(
    instruments: &Instruments,
    (name, unit, scale, help): Described,
    labels: &[(&str, &str)],
    now: Timestamp,
) -> Counter {
    instruments.own_counter(name, labels, (unit, help), scale, now)
}

fn nanos(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
