//! Carrying a task of compaction out: what to read, what to write, and one edit of the catalog.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::{Maintainer, MaintenanceStep, Picture, Turn, inputs_of, lock};
use crate::catalog::{Catalog, PartEntry};
use crate::compaction::plan::Task;
use crate::compaction::{
    MergeSpec, downsample, merge_events, merge_records, merge_samples, timelines,
};
use crate::engine::Engine;
use crate::engine::commit::open_parts;
use crate::engine::partition;
use crate::engine::shared::{Counters, Shared, View, sources_of};
use crate::error::{Error, Result};
use crate::model::{Series, SeriesId};
use crate::part::{self, Layout, Part, PartMeta};
use crate::query::CancelToken;
use crate::segment::SegmentLimits;
use crate::time::{Tier, TimeRange};

/// Asked often while a task runs; an error from it ends the task.
pub(super) type Pause<'a> = dyn FnMut() -> Result<()> + Send + 'a;

/// A task that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskReport {
    /// What was to be done.
    pub task: Task,
    /// Parts that it read, whether they are replaced or stay.
    pub parts_read: u64,
    /// Their bytes.
    pub bytes_read: u64,
    /// Parts that it wrote.
    pub parts_written: u64,
    /// Their bytes.
    pub bytes_written: u64,
    /// Their samples, or values of records.
    pub samples_written: u64,
}

/// How much [`Engine::compact`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CompactScope {
    /// What is due by the policy.
    #[default]
    Due,
    /// What the policy keeps no longer goes, once the tiers that are kept have taken it in; nothing
    /// else.
    Retention,
    /// Everything: the head is frozen first, tiers are built up to the newest complete bucket, the
    /// parts of each window are merged though it is not over (but for those whose merge would
    /// make records of a tier stale that no late sample touched).
    All,
}

/// What a compaction did.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct CompactReport {
    /// Every step, in order.
    pub steps: Vec<MaintenanceStep>,
    /// Bytes of parts before.
    pub bytes_before: u64,
    /// Bytes of parts after.
    pub bytes_after: u64,
}

impl Engine {
    /// Does maintenance until nothing is due, telling `progress` of each step.
    ///
    /// # Errors
    /// As [`maintain`](Self::maintain); [`Error::Cancelled`], where what was done before stays.
    pub fn compact(
        &self,
        scope: CompactScope,
        cancel: &CancelToken,
        progress: &mut dyn FnMut(&MaintenanceStep),
    ) -> Result<CompactReport> {
        let maintainer = self.maintainer();
        let mut pause = || if cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) };
        let mut policy = self.shared.options.policy.clone();
        let mut report =
            CompactReport { bytes_before: self.parts_bytes(), ..CompactReport::default() };
        if scope == CompactScope::All {
            self.freeze()?;
            policy.lateness = std::time::Duration::ZERO;
        }
        while let Some(step) = maintainer.step(&policy, scope, &mut pause)? {
            progress(&step);
            report.steps.push(step);
            pause()?;
        }
        report.bytes_after = self.parts_bytes();
        Ok(report)
    }

    fn parts_bytes(&self) -> u64 {
        let catalog = Arc::clone(&self.shared.live.read().catalog);
        catalog.parts.iter().fold(0, |sum, part| sum.saturating_add(part.bytes))
    }
}

/// What a task has published, and what it replaces.
struct Outcome {
    replaced: Vec<u64>,
    written: Vec<PartMeta>,
}

impl Maintainer {
    /// Does a task. What it could not read it reports; what it could not write latches the engine.
    pub(super) fn perform(
        &self,
        picture: &Picture,
        task: &Task,
        turn: &mut Turn,
        pause: &mut Pause<'_>,
    ) -> Result<MaintenanceStep> {
        let pool = turn.pool()?;
        let shared = &*self.shared;
        let view = shared.live.view();
        let inputs = inputs_of(task, &picture.parts);
        let mut building = Vec::new();
        let done = pool.install(|| shared.carry_out(task, &view, &mut building, pause));
        let done = done.and_then(|outcome| self.shared.settle(&outcome));
        for id in building {
            shared.discard_build(id);
        }
        match done {
            Ok(written) => {
                let bytes_of = |id: &u64| view.catalog.part(*id).map_or(0, |part| part.bytes);
                let report = TaskReport {
                    task: task.clone(),
                    parts_read: inputs.len() as u64,
                    bytes_read: inputs.iter().map(bytes_of).sum(),
                    parts_written: written.len() as u64,
                    bytes_written: written.iter().map(|part| part.bytes).sum(),
                    samples_written: written.iter().map(|part| part.samples).sum(),
                };
                shared.count(&report);
                Ok(MaintenanceStep::Compacted(report))
            }
            Err(error) => self.excuse(task, inputs, error),
        }
    }

    /// Tells failures of reading from those of writing.
    fn excuse(&self, task: &Task, inputs: Vec<u64>, error: Error) -> Result<MaintenanceStep> {
        let shared = &self.shared;
        let parts = match &error {
            Error::Cancelled | Error::ReadOnly { .. } | Error::Closed => return Err(error),
            // The archive's.
            Error::Io { path, .. } if !path.starts_with(&shared.dir) => inputs,
            Error::Io { path, .. } | Error::Store { path, .. } => match shared.part_of(path) {
                Some(id) => vec![id],
                None => {
                    shared.health.latch(error.clone());
                    return Err(error);
                }
            },
            Error::Corrupt { path, .. } => shared.part_of(path).map_or(inputs, |id| vec![id]),
            _ => inputs,
        };
        shared.upkeep.note(&error);
        Counters::add(&shared.counters.maintenance_failures, 1);
        let mut unreadable = lock(&shared.upkeep.unreadable);
        unreadable.extend(parts.iter().map(|&id| (id, error.clone())));
        Ok(MaintenanceStep::Failed { task: task.clone(), parts, error })
    }
}

impl Turn {
    fn pool(&mut self) -> Result<Arc<rayon::ThreadPool>> {
        if let Some(pool) = &self.pool {
            return Ok(Arc::clone(pool));
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .thread_name(|_| "icecore-compact".to_owned())
            .build()
            .map_err(|error| {
                Error::io("start threads for", "icecore-compact", std::io::Error::other(error))
            })?;
        Ok(Arc::clone(self.pool.insert(Arc::new(pool))))
    }
}

impl Shared {
    /// Reads and writes; publishes parts that no catalog names yet. `building` gets the ids that it
    /// took.
    fn carry_out(
        &self,
        task: &Task,
        view: &View,
        building: &mut Vec<u64>,
        pause: &mut Pause<'_>,
    ) -> Result<Outcome> {
        let parts_dir = self.parts_dir();
        let mut spec = MergeSpec {
            fs: &self.fs,
            parts_dir: &parts_dir,
            store: self.options.store,
            limits: SegmentLimits {
                chunk_samples_max: self.options.compacted_chunk_samples_max,
                segment_bytes_target: self.options.segment_bytes_target,
            },
            masks: &view.masks,
            tombstones: view.catalog.next_tombstone - 1,
            index: &self.index,
        };
        let mut next_id = || {
            let id = self.ledger.next_part();
            building.push(id);
            id
        };
        let (replaced, last_purged) = match task {
            Task::Patch { tier, window, .. } | Task::Downsample { tier, window, .. } => {
                let (sources, policy) =
                    (sources_of(&view.parts, &view.masks), &self.options.policy);
                let series = self.series_within(view, *tier, *window);
                let written =
                    downsample(task, &sources, &series, policy, &spec, &mut next_id, pause)?;
                return Ok(Outcome { replaced: Vec::new(), written });
            }
            Task::Merge { parts, .. } => (parts, None),
            Task::Purge { parts, tombstones } => (parts, tombstones.last().copied()),
        };
        let mut outcome = Outcome { replaced: replaced.clone(), written: Vec::new() };
        let Some(inputs) = parts_of(replaced, view) else { return Ok(outcome) };
        let windows = self.windows_of(&inputs, view, pause)?;
        let first = inputs.first().map(|part| (part.meta().tier, part.meta().layout));
        outcome.written = match first.unwrap_or_default() {
            (_, Layout::Samples) => merge_samples(&inputs, &windows, &spec, &mut next_id, pause)?,
            (_, Layout::Events) => merge_events(&inputs, &windows, &spec, &mut next_id, pause)?,
            (tier, Layout::Records) => {
                if !tier.is_raw() {
                    // Deletes are taken in by patches, which are among the inputs.
                    let known = inputs.iter().map(|part| part.meta().tombstones).max();
                    spec.tombstones = known.max(last_purged).unwrap_or(0);
                }
                let hides = hides_others(&inputs, &windows, view);
                let mut merge = |keep_empty| {
                    merge_records(&inputs, &windows, &spec, keep_empty, &mut next_id, pause)
                };
                match merge(hides)? {
                    // The window is accounted for, whatever is left in it.
                    none if none.is_empty() && !tier.is_raw() => merge(true)?,
                    written => written,
                }
            }
        };
        Ok(outcome)
    }

    /// The series that the parts of a tier and of finer ones hold about the window.
    fn series_within(
        &self,
        view: &View,
        tier: Tier,
        window: TimeRange,
    ) -> Vec<(SeriesId, Arc<Series>)> {
        let near = view.parts.iter().map(|part| (part, part.meta())).filter(|(_, meta)| {
            meta.tier <= tier && meta.window.start < window.end && window.start < meta.window.end
        });
        let ids: RoaringBitmap =
            near.flat_map(|(part, _)| part.series_ids()).map(|id| id.0).collect();
        let ids = ids.into_iter().map(SeriesId);
        ids.filter_map(|id| Some((id, self.index.series(id)?))).collect()
    }

    /// The windows of what a merge writes: of samples those of the inputs, cut by how densely they
    /// stand now; of a tier's records one that spans all of theirs.
    fn windows_of(
        &self,
        inputs: &[Arc<Part>],
        view: &View,
        pause: &mut Pause<'_>,
    ) -> Result<Vec<TimeRange>> {
        let partition_ns = view.catalog.partition_ns;
        let mut windows: Vec<TimeRange> = inputs.iter().map(|part| part.meta().window).collect();
        if inputs.iter().any(|part| !part.meta().tier.is_raw()) {
            let start = windows.iter().map(|window| window.start).min().unwrap_or_default();
            let end = windows.iter().map(|window| window.end).max().unwrap_or_default();
            return Ok(vec![TimeRange::new(start, end)]);
        }
        windows.sort_unstable_by_key(|window| (window.start, window.end));
        windows.dedup();
        let longest = windows.iter().map(partition::length).max().unwrap_or(0);
        if inputs.iter().any(|part| part.meta().layout != Layout::Samples)
            || longest < 2 * i128::from(partition_ns)
        {
            return Ok(windows);
        }
        let timelines = timelines(inputs, &self.index, partition_ns, pause)?;
        Ok(partition::resplit(&windows, &timelines, partition_ns))
    }

    /// Has the catalog name what a task wrote, in place of what it replaces. Where a part that it
    /// replaces was dropped meanwhile, what it wrote goes too.
    fn settle(&self, outcome: &Outcome) -> Result<Vec<PartEntry>> {
        let parts_dir = self.parts_dir();
        let entries = outcome.written.iter().map(|meta| {
            let bytes = part::size_bytes(&*self.fs, &parts_dir, meta.id)?;
            Ok(PartEntry::of(meta, bytes))
        });
        let entries = entries.collect::<Result<Vec<_>>>()?;
        let parts = open_parts(self, &entries)?;
        let mut overtaken = false;
        // Retention archives what it drops: between the archive's forgetting a part and its leaving
        // the catalog it must not be archived again.
        let _no_drops = lock(&self.upkeep.dropping);
        if let Err(error) = self.withdraw(&outcome.replaced) {
            parts.iter().for_each(|part| part.retire());
            return Err(error);
        }
        let replace = |catalog: &Catalog| {
            if outcome.replaced.iter().any(|&id| catalog.part(id).is_none()) {
                overtaken = true;
                return Err(Error::Cancelled);
            }
            catalog.with_replaced(&outcome.replaced, &entries, catalog.watermark)
        };
        match self.edit(parts.clone(), replace, |_| ()) {
            Ok(_) => {
                self.note_rewritten(&parts);
                Ok(entries)
            }
            Err(_) if overtaken => {
                parts.iter().for_each(|part| part.retire());
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        }
    }

    fn count(&self, report: &TaskReport) {
        let counters = &self.counters;
        Counters::add(&counters.maintenance_tasks, 1);
        Counters::add(&counters.maintenance_samples, report.samples_written);
        Counters::add(&counters.maintenance_bytes_read, report.bytes_read);
        Counters::add(&counters.maintenance_bytes_written, report.bytes_written);
    }

    /// The id of the part whose directory holds the path: such files are only ever read.
    fn part_of(&self, path: &std::path::Path) -> Option<u64> {
        let within = path.strip_prefix(self.parts_dir()).ok()?;
        let name = within.components().next()?.as_os_str().to_str()?;
        let id = name.parse().ok()?;
        (part::directory_name(id) == name).then_some(id)
    }
}

/// Whether other parts of the inputs' tier stay that lie below one of them, so that a record which
/// says that its bucket became empty still has something to hide.
fn hides_others(inputs: &[Arc<Part>], windows: &[TimeRange], view: &View) -> bool {
    let order = |part: &Part| (part.meta().rank, part.meta().tombstones, part.meta().id);
    let highest = inputs.iter().map(|part| order(part)).max();
    let tier = inputs.first().map(|part| part.meta().tier);
    let id = |part: &Part| part.meta().id;
    view.parts.iter().any(|other| {
        let TimeRange { start, end } = other.meta().window;
        Some(other.meta().tier) == tier
            && other.meta().layout == Layout::Records
            && inputs.iter().all(|input| id(input) != id(other))
            && Some(order(other)) < highest
            && windows.iter().any(|window| start < window.end && window.start < end)
    })
}

/// The parts of these ids, in their order; `None` where one has gone.
fn parts_of(ids: &[u64], view: &View) -> Option<Vec<Arc<Part>>> {
    let find = |id: &u64| view.parts.iter().find(|part| part.meta().id == *id).cloned();
    ids.iter().map(find).collect()
}
