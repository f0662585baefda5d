//! Carrying a task of compaction out: what to read, what to write, and one edit of the catalog.

use std::sync::Arc;

use super::{Maintainer, MaintenanceStep, Picture, Turn, inputs_of, lock};
use crate::catalog::{Catalog, PartEntry};
use crate::compaction::plan::Task;
use crate::compaction::{MergeSpec, merge_samples, timelines};
use crate::engine::Engine;
use crate::engine::commit::open_parts;
use crate::engine::partition;
use crate::engine::shared::{Counters, Shared, View};
use crate::error::{Error, Result};
use crate::part::{self, Layout, Part, PartMeta};
use crate::query::CancelToken;
use crate::segment::SegmentLimits;
use crate::time::TimeRange;

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
    /// Everything: the head is frozen first, tiers are built up to the newest complete bucket, the
    /// parts of each window are merged though it is not over.
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
            while let Some(step) = maintainer.merge_window(&mut pause)? {
                progress(&step);
                report.steps.push(step);
            }
        }
        while let Some(step) = maintainer.step(&policy, &mut pause)? {
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

    /// Merges the raw parts of one window, where there are several; `None` where there is no such
    /// window.
    fn merge_window(&self, pause: &mut Pause<'_>) -> Result<Option<MaintenanceStep>> {
        let mut turn = lock(&self.shared.upkeep.turn);
        self.shared.health.check_writable()?;
        let Some(picture) = self.shared.picture() else { return Ok(None) };
        let bytes_max = self.shared.scratch_bytes_max(&picture.catalog);
        let Some(task) = several(&picture, bytes_max) else { return Ok(None) };
        self.perform(&picture, &task, &mut turn, pause).map(Some)
    }
}

/// A merge of the raw parts of the first window that has several of one class.
fn several(picture: &Picture, bytes_max: u64) -> Option<Task> {
    use crate::compaction::plan::MergeCause;

    let raw = picture.parts.iter().filter(|part| part.entry.tier.is_raw());
    let mut raw: Vec<_> = raw.collect();
    raw.sort_by_key(|part| {
        let window = part.entry.window;
        let order = (part.entry.rank, part.entry.tombstones, part.entry.id);
        (window.start, window.end, part.entry.layout as u8, part.classes.clone(), order)
    });
    let alike = raw.chunk_by(|one, next| {
        (one.entry.window, one.entry.layout, &one.classes)
            == (next.entry.window, next.entry.layout, &next.classes)
    });
    let mut due = alike.filter(|parts| {
        parts.len() > 1 && parts.iter().map(|part| part.entry.bytes).sum::<u64>() <= bytes_max
    });
    let parts = due.next()?.iter().map(|part| part.entry.id).collect();
    Some(Task::Merge { parts, why: MergeCause::Many })
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
        match task {
            Task::Merge { parts, .. } | Task::Purge { parts, .. } => {
                self.merge(parts, view, building, pause)
            }
            Task::Patch { .. } | Task::Downsample { .. } => {
                let reason = "tiers are not built yet".to_owned();
                Err(Error::InvalidArgument { what: "task", reason })
            }
        }
    }

    fn merge(
        &self,
        ids: &[u64],
        view: &View,
        building: &mut Vec<u64>,
        pause: &mut Pause<'_>,
    ) -> Result<Outcome> {
        let replaced = ids.to_vec();
        let Some(inputs) = parts_of(ids, view) else {
            return Ok(Outcome { replaced, written: Vec::new() });
        };
        let parts_dir = self.parts_dir();
        let spec = MergeSpec {
            fs: &self.fs,
            parts_dir: &parts_dir,
            store: self.options.store,
            limits: self.compacted_limits(),
            masks: &view.masks,
            tombstones: view.catalog.next_tombstone - 1,
            index: &self.index,
        };
        let mut next_id = || {
            let id = self.ledger.next_part();
            building.push(id);
            id
        };
        let windows = self.windows_of(&inputs, view, pause)?;
        let written = merge_samples(&inputs, &windows, &spec, &mut next_id, pause)?;
        Ok(Outcome { replaced, written })
    }

    /// The windows of a merge's parts: those of the inputs, cut by how densely samples stand now.
    fn windows_of(
        &self,
        inputs: &[Arc<Part>],
        view: &View,
        pause: &mut Pause<'_>,
    ) -> Result<Vec<TimeRange>> {
        let partition_ns = view.catalog.partition_ns;
        let mut windows: Vec<TimeRange> = inputs.iter().map(|part| part.meta().window).collect();
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

    fn compacted_limits(&self) -> SegmentLimits {
        SegmentLimits {
            chunk_samples_max: self.options.compacted_chunk_samples_max,
            segment_bytes_target: self.options.segment_bytes_target,
        }
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

/// The parts of these ids, in their order; `None` where one has gone.
fn parts_of(ids: &[u64], view: &View) -> Option<Vec<Arc<Part>>> {
    let find = |id: &u64| view.parts.iter().find(|part| part.meta().id == *id).cloned();
    ids.iter().map(find).collect()
}
