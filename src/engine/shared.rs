//! What the engine's threads, its writers and its readers share.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use super::distribution::NewRecorders;
use super::events::Tables;
use super::gate::Gate;
use super::health::Health;
use super::ledger::Ledger;
use super::maintenance::Upkeep;
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::fs::Fs;
use crate::head::{Group, Head, Snapshot};
use crate::index::Index;
use crate::model::{Series, SeriesId};
use crate::options::Options;
use crate::part::{Layout, Part, PartCache};
use crate::query::MemoryBudget;
use crate::retention::{DropCause, Dropped};
use crate::segment::{ChunkSource, EventSource, Mask, RecordSource, Sources};
use crate::time::Clock;

/// Tells the handles of one open engine from those of another: ids mean nothing elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EngineToken(u64);

impl EngineToken {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// The one value behind an engine: its rooms, and the state they publish to each other.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) token: EngineToken,
    pub(super) dir: PathBuf,
    pub(super) options: Options,
    pub(super) fs: Arc<dyn Fs>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) pool: rayon::ThreadPool,
    /// What queries that run at the same time may hold together.
    pub(super) query_memory: MemoryBudget,
    pub(super) index: Index,
    pub(super) gate: Gate,
    pub(super) health: Health,
    pub(super) groups: Groups,
    pub(super) tables: Tables,
    pub(super) new_recorders: NewRecorders,
    pub(super) cache: Arc<PartCache>,
    pub(super) live: Live,
    pub(super) ledger: Ledger,
    pub(super) upkeep: Upkeep,
    pub(super) counters: Counters,
    /// Metrics whose metadata the log has yet to be told. A set, not a message in the channel:
    /// telling never waits, and it holds no more than there are metrics.
    pub(super) changed_metrics: Mutex<BTreeSet<String>>,
    /// Set by the ingest thread while the free-space guard refuses writes.
    pub(super) disk_full: AtomicBool,
}

/// What the engine counts of itself; read with no lock.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) batches: AtomicU64,
    pub(super) samples: AtomicU64,
    pub(super) events: AtomicU64,
    pub(super) late_samples: AtomicU64,
    pub(super) log_bytes: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) sync_nanos: AtomicU64,
    pub(super) freezes: AtomicU64,
    pub(super) commit_nanos: AtomicU64,
    pub(super) maintenance_tasks: AtomicU64,
    pub(super) maintenance_failures: AtomicU64,
    pub(super) maintenance_samples: AtomicU64,
    pub(super) maintenance_bytes_read: AtomicU64,
    pub(super) maintenance_bytes_written: AtomicU64,
    /// How often retention dropped parts; counted before any view lacks them.
    pub(super) drops: AtomicU64,
    /// Of parts that retention dropped, in the order of [`DROP_CAUSES`].
    dropped_bytes: [AtomicU64; 4],
}

const DROP_CAUSES: [&str; 4] = ["expired", "allowance", "covered", "oldest"];

impl Counters {
    pub(super) fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }

    pub(super) fn add_dropped(&self, dropped: &Dropped) {
        let [expired, allowance, covered, oldest] = &self.dropped_bytes;
        let counter = match dropped.cause {
            DropCause::Expired { .. } => expired,
            DropCause::Allowance { .. } => allowance,
            DropCause::Covered { .. } => covered,
            DropCause::Oldest => oldest,
        };
        Self::add(counter, dropped.bytes);
    }

    /// Bytes dropped in this run, by cause.
    pub(super) fn dropped_bytes(&self) -> [(&'static str, u64); 4] {
        let mut bytes = self.dropped_bytes.iter().map(|bytes| bytes.load(Ordering::Relaxed));
        DROP_CAUSES.map(|cause| (cause, bytes.next().unwrap_or(0)))
    }
}

impl Shared {
    pub(super) fn log_dir(&self) -> PathBuf {
        self.dir.join("log")
    }

    pub(super) fn parts_dir(&self) -> PathBuf {
        parts_dir(&self.dir)
    }

    /// The policy class of a series; that of no rule for one that the index has forgotten.
    pub(super) fn class_of(&self, id: SeriesId) -> usize {
        let policy = &self.options.policy;
        let series = if policy.rules.is_empty() { None } else { self.index.series(id) };
        series.map_or(policy.rules.len(), |series| policy.class_of(&series))
    }

    /// The policy class of a part: of any of its series, since it holds one class; of a part of events
    /// its table's.
    pub(super) fn class_of_part(&self, part: &Part) -> usize {
        if let Some(schema) = part.event_schema() {
            let table = self.tables.get(schema.table()).map_or(0, |table| table.number);
            return self.options.policy.class_of_table(schema.table(), table);
        }
        let first = part.series_ids().first();
        first.map_or(self.options.policy.rules.len(), |&id| self.class_of(id))
    }

    /// # Errors
    /// Why no write can be taken now.
    pub(super) fn check_writable(&self) -> Result<()> {
        self.health.check_writable()?;
        self.check_room()
    }

    /// # Errors
    /// [`Error::DiskFull`], [`Error::OverBudget`].
    pub(super) fn check_room(&self) -> Result<()> {
        if self.disk_full.load(Ordering::Relaxed) {
            return Err(self.disk_full_error());
        }
        self.over_budget().map_or(Ok(()), Err)
    }

    /// Has the log told of a metric's metadata with its next group.
    pub(super) fn note_changed_metric(&self, metric: &str) {
        let mut changed = self.changed_metrics.lock().unwrap_or_else(PoisonError::into_inner);
        changed.insert(metric.to_owned());
    }

    pub(super) fn take_changed_metrics(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.changed_metrics.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn disk_full_error(&self) -> Error {
        Error::DiskFull {
            path: self.dir.clone(),
            available_bytes: self.fs.free_bytes(&self.dir).unwrap_or(0),
            required_bytes: self.options.free_bytes_min,
        }
    }

    /// The series that takes what the series limit keeps out: one a known metric, one for all
    /// others, so that names without bound cannot grow the store without bound.
    pub(super) fn overflow_series(&self, metric: &str) -> SeriesId {
        let known = self.index.has_metric(metric);
        let name = if known { metric } else { "icecore_overflow" };
        match Series::new(name, [("icecore_overflow", "true")]) {
            Ok(series) => self.index.intern(&series),
            // A known metric's name and two constants obey the rules.
            Err(_) => SeriesId(0),
        }
    }
}

pub(super) fn parts_dir(dir: &Path) -> PathBuf {
    dir.join("parts")
}

/// The scrape groups in use: equal lists of series share one group.
#[derive(Debug, Default)]
pub(super) struct Groups(Mutex<Registry>);

#[derive(Debug, Default)]
struct Registry {
    groups: HashMap<Box<[SeriesId]>, Weak<Group>>,
    next: u32,
    /// Forgotten groups are swept when the registry has grown to this.
    sweep_at: usize,
}

impl Groups {
    /// The group of a list of distinct series.
    pub(super) fn of(&self, series: Box<[SeriesId]>) -> Arc<Group> {
        let mut registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = registry.groups.get(&series).and_then(Weak::upgrade) {
            return group;
        }
        if registry.groups.len() >= registry.sweep_at {
            registry.groups.retain(|_, group| group.strong_count() > 0);
            registry.sweep_at = (2 * registry.groups.len()).max(1024);
        }
        let group = Arc::new(Group { id: registry.next, series: series.clone() });
        registry.next = registry.next.wrapping_add(1);
        registry.groups.insert(series, Arc::downgrade(&group));
        group
    }
}

/// Where every sample that may be read is: the parts, a head being committed, the head.
#[derive(Debug)]
pub(super) struct Live(RwLock<State>);

#[derive(Debug)]
pub(super) struct State {
    pub(super) head: Head,
    pub(super) frozen: Option<Arc<Snapshot>>,
    /// What the catalog names, opened.
    pub(super) parts: Arc<Vec<Arc<Part>>>,
    /// As it is on disk.
    pub(super) catalog: Arc<Catalog>,
    /// The catalog's tombstones.
    pub(super) masks: Arc<Vec<Mask>>,
}

/// What one reader sees: it never changes under the reader's hands.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) head: Arc<Snapshot>,
    pub(super) frozen: Option<Arc<Snapshot>>,
    pub(super) parts: Arc<Vec<Arc<Part>>>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) masks: Arc<Vec<Mask>>,
}

impl Live {
    pub(super) fn new(catalog: Catalog, parts: Vec<Arc<Part>>, masks: Vec<Mask>) -> Self {
        let (catalog, parts, masks) = (Arc::new(catalog), Arc::new(parts), Arc::new(masks));
        Self(RwLock::new(State { head: Head::default(), frozen: None, parts, catalog, masks }))
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn view(&self) -> View {
        let state = self.read();
        View {
            head: Arc::new(state.head.snapshot()),
            frozen: state.frozen.clone(),
            parts: Arc::clone(&state.parts),
            catalog: Arc::clone(&state.catalog),
            masks: Arc::clone(&state.masks),
        }
    }
}

impl View {
    /// The sources of a table of events, its name and number given, in the order of arrival.
    pub(super) fn event_sources(&self, name: &str, number: u32) -> Vec<Arc<dyn EventSource>> {
        let of_table = |part: &&Arc<Part>| part.event_schema().is_some_and(|s| s.table() == name);
        let mut parts: Vec<&Arc<Part>> = self.parts.iter().filter(of_table).collect();
        parts.sort_by_key(|part| (part.meta().rank, part.meta().tombstones, part.meta().id));
        let parts = parts.into_iter().map(|part| Arc::clone(part) as Arc<dyn EventSource>);
        let heads = self.frozen.iter().chain([&self.head]);
        parts.chain(heads.flat_map(|head| head.event_sources(number))).collect()
    }

    /// Every source, in no order; their ranks order the writes.
    pub(super) fn sources(&self) -> Sources {
        let mut sources = sources_of(&self.parts, &self.masks);
        sources.raw_whole_from = Some(self.catalog.raw_whole_from);
        for head in self.frozen.iter().chain([&self.head]) {
            if head.samples() > 0 {
                sources.samples.push(Arc::clone(head) as Arc<dyn ChunkSource>);
            }
            if head.has_distributions() {
                sources.records.push(Arc::clone(head) as Arc<dyn RecordSource>);
            }
        }
        sources
    }
}

/// Parts as readers see them, and what deletes mask of them.
pub(super) fn sources_of(parts: &[Arc<Part>], masks: &[Mask]) -> Sources {
    let mut sources = Sources { masks: masks.to_vec(), ..Sources::default() };
    for part in parts {
        match part.meta().layout {
            Layout::Samples => sources.samples.push(Arc::clone(part) as Arc<dyn ChunkSource>),
            Layout::Records => sources.records.push(Arc::clone(part) as Arc<dyn RecordSource>),
            // Its rows are of no series.
            Layout::Events => {}
        }
    }
    sources
}
