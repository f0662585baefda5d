//! The committer: a frozen head becomes parts, and the catalog names them.
//!
//! The order holds against a crash between any two steps: parts built and synced under temporary
//! names, renamed, their directory synced → catalog with the new watermark replaced → the new
//! parts published to readers in the frozen head's place → log files cut.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::event_parts;
use super::ingest::elapsed_nanos;
use super::partition::{self, Column};
use super::receipt::Promise;
use super::record_parts;
use super::recovery::open_part;
use super::shared::{Counters, Shared};
use crate::catalog::{Catalog, PartEntry};
use crate::error::{Error, Result};
use crate::head::{FrozenGroup, Snapshot};
use crate::model::{Series, SeriesId};
use crate::options::Durability;
use crate::part::{self, Layout, Part, PartMeta, PartSpec};
use crate::segment::{Group, SegmentLimits};
use crate::time::{Tier, TimeRange};
use crate::wal;

/// A frozen head, and who waits for its commit.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) promises: Vec<Promise>,
}

/// The ingest thread's end of the committer thread.
#[derive(Debug)]
pub(super) struct Committer {
    jobs: Option<Sender<Job>>,
    done: Receiver<()>,
    busy: bool,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`Error::Io`] where the system gives no thread.
    pub(super) fn start(shared: Arc<Shared>) -> Result<Self> {
        let (jobs, inbox) = bounded::<Job>(1);
        let (outbox, done) = bounded(1);
        let run = move || {
            for job in inbox {
                let began = Instant::now();
                // A panic must neither hang the waiters nor let writes go on.
                let result = catch_unwind(AssertUnwindSafe(|| {
                    commit(&shared, &job.snapshot)?;
                    let watermark = shared.live.read().catalog.watermark;
                    wal::truncate(&*shared.fs, &shared.log_dir(), watermark).map(drop)
                }))
                .unwrap_or_else(|panic| Err(panicked("commit", &*panic)))
                .inspect_err(|error| shared.health.latch(error.clone()));
                if !job.snapshot.is_empty() {
                    Counters::add(&shared.counters.freezes, 1);
                    Counters::add(&shared.counters.commit_nanos, elapsed_nanos(began));
                }
                for promise in job.promises {
                    promise.complete(result.clone().map(|()| Durability::Synced));
                }
                if outbox.send(()).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("icecore-commit".to_owned())
            .spawn(run)
            .map_err(|error| Error::io("start a thread for", "icecore-commit", error))?;
        Ok(Self { jobs: Some(jobs), done, busy: false, thread: Some(thread) })
    }

    /// Hands over a frozen head. The one before must be done: see [`wait_idle`](Self::wait_idle).
    pub(super) fn submit(&mut self, job: Job) {
        if let Some(jobs) = &self.jobs {
            self.busy = jobs.send(job).is_ok();
        }
    }

    /// Waits until no commit is under way.
    pub(super) fn wait_idle(&mut self) {
        if self.busy {
            // An error means that the thread is gone, which is idle too.
            let _ = self.done.recv();
            self.busy = false;
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.wait_idle();
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // Its panics were caught and latched.
            let _ = thread.join();
        }
    }
}

/// The error of a thread that panicked.
pub(super) fn panicked(thread: &'static str, panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    Error::Panicked { thread, message: text.unwrap_or_else(|| "no message".to_owned()) }
}

/// Commits a frozen head: after this its samples are in parts, and its log files may go.
pub(super) fn commit(shared: &Shared, head: &Snapshot) -> Result<()> {
    let Some(watermark) = head.last_sequence() else { return Ok(()) };
    shared.enforce_budget()?;
    let mut entries = write_parts(shared, head, watermark)?;
    let records = record_parts::write(shared, head, watermark, &entries)?;
    entries.extend(records);
    entries.extend(event_parts::write(shared, head, watermark)?);
    let parts = open_parts(shared, &entries)?;
    let make = |catalog: &Catalog| catalog.with_added(&entries, watermark);
    shared.edit(parts, make, |state| state.frozen = None).map(drop)
}

/// Opens parts that were just published, for the edit that names them.
pub(super) fn open_parts(shared: &Shared, entries: &[PartEntry]) -> Result<Vec<Arc<Part>>> {
    let opened = entries.iter().map(|entry| {
        let part = open_part(&shared.fs, &shared.dir, entry, &shared.index, &shared.cache);
        part.map(Arc::new)
    });
    opened.collect()
}

/// Series of one policy class that share their timestamps in a frozen head.
struct Members<'a> {
    group: &'a FrozenGroup<'a>,
    series: Vec<SeriesId>,
}

/// Writes one part for each policy class and window that the head's samples fall into.
fn write_parts(shared: &Shared, head: &Snapshot, watermark: u64) -> Result<Vec<PartEntry>> {
    let groups = head.groups();
    let mut entries = Vec::new();
    for (class, members) in by_class(shared, &groups) {
        entries.extend(write_class(shared, class, &members, watermark)?);
    }
    Ok(entries)
}

/// Segregates the groups by how long their series are kept.
fn by_class<'a>(
    shared: &Shared,
    groups: &'a [FrozenGroup<'a>],
) -> BTreeMap<usize, Vec<Members<'a>>> {
    let mut classes: BTreeMap<usize, Vec<Members<'a>>> = BTreeMap::new();
    for group in groups {
        let mut members: BTreeMap<usize, Vec<SeriesId>> = BTreeMap::new();
        for &id in group.series() {
            members.entry(shared.class_of(id)).or_default().push(id);
        }
        for (class, series) in members {
            classes.entry(class).or_default().push(Members { group, series });
        }
    }
    classes
}

fn write_class(
    shared: &Shared,
    class: usize,
    members: &[Members<'_>],
    watermark: u64,
) -> Result<Vec<PartEntry>> {
    let columns: Vec<Column<'_>> = members
        .iter()
        .map(|Members { group, series }| Column {
            timestamps: group.timestamps(),
            series: series.len() as u64,
        })
        .collect();
    let specs = specs(shared, class, &columns, &[], Layout::Samples, watermark);
    let written = specs.into_iter().map(|spec| {
        let meta = shared.pool.install(|| write_part(shared, &spec, members, &columns))?;
        let bytes = part::size_bytes(&*shared.fs, &shared.parts_dir(), spec.id)?;
        Ok(PartEntry::of(&meta, bytes))
    });
    written.collect()
}

/// The parts that columns of one class become: one for each window. These are those that raw parts
/// of the class have, or some of `beside`, where there are any.
pub(super) fn specs(
    shared: &Shared,
    class: usize,
    columns: &[Column<'_>],
    beside: &[TimeRange],
    layout: Layout,
    watermark: u64,
) -> Vec<PartSpec> {
    let (catalog, parts) = {
        let state = shared.live.read();
        (Arc::clone(&state.catalog), Arc::clone(&state.parts))
    };
    let existing: Vec<TimeRange> = parts
        .iter()
        .filter(|part| part.meta().tier.is_raw() && part.meta().layout != Layout::Events)
        .filter(|part| shared.class_of_part(part) == class)
        .map(|part| part.meta().window)
        .chain(beside.iter().copied())
        .collect();
    let windows = partition::windows(columns, catalog.partition_ns, &existing).into_iter();
    let specs = windows.map(|window| PartSpec {
        id: shared.ledger.next_part(),
        window,
        rank: watermark,
        store: shared.options.store,
        limits: SegmentLimits {
            chunk_samples_max: shared.options.chunk_samples_max,
            segment_bytes_target: shared.options.segment_bytes_target,
        },
        tier: Tier::RAW,
        layout,
        // Whatever was deleted before was written before the samples of this head, and what is
        // deleted meanwhile as well.
        tombstones: catalog.next_tombstone - 1,
    });
    specs.collect()
}

/// A frozen group as the segment writer wants it: the rows of one window, the series by their
/// place in the part's table.
struct Slice<'a> {
    group: &'a FrozenGroup<'a>,
    rows: std::ops::Range<usize>,
    /// Ordinals, ascending, and the series they stand for.
    ordinals: Vec<u32>,
    ids: Vec<SeriesId>,
}

fn write_part(
    shared: &Shared,
    spec: &PartSpec,
    members: &[Members<'_>],
    columns: &[Column<'_>],
) -> Result<PartMeta> {
    let rows = columns.iter().map(|column| column.rows(spec.window));
    let slices = members.iter().zip(rows);
    let slices: Vec<_> = slices.filter(|(_, rows)| !rows.is_empty()).collect();
    let table = series_table(shared, slices.iter().flat_map(|(members, _)| &members.series));
    let mut ordered: Vec<(SeriesId, u32)> =
        (0..).zip(&table).map(|(i, &(_, id))| (id, i)).collect();
    ordered.sort_unstable();
    let ordinal = |id: SeriesId| {
        let found = ordered.binary_search_by_key(&id, |&(id, _)| id).ok()?;
        ordered.get(found).map(|&(_, ordinal)| ordinal)
    };
    let slices: Vec<Slice<'_>> = slices
        .into_iter()
        .map(|(&Members { group, ref series }, rows)| {
            let mut pairs: Vec<(u32, SeriesId)> =
                series.iter().filter_map(|&id| Some((ordinal(id)?, id))).collect();
            pairs.sort_unstable();
            let (ordinals, ids) = pairs.into_iter().unzip();
            Slice { group, rows, ordinals, ids }
        })
        .collect();
    let read: Vec<_> = slices
        .iter()
        .map(|slice| {
            move |column: usize, rows: std::ops::Range<usize>, out: &mut Vec<f64>| {
                out.clear();
                if let Some(&id) = slice.ids.get(column) {
                    let rows = slice.rows.start + rows.start..slice.rows.start + rows.end;
                    slice.group.read(id, rows, out);
                }
            }
        })
        .collect();
    let groups: Vec<Group<'_>> = slices
        .iter()
        .zip(&read)
        .map(|(slice, read)| Group {
            timestamps: slice.group.timestamps().get(slice.rows.clone()).unwrap_or_default(),
            series: &slice.ordinals,
            read,
        })
        .collect();
    let names: Vec<Arc<Series>> = table.into_iter().map(|(series, _)| series).collect();
    let metadata = shared.index.metadata_of(&names);
    part::write(&shared.fs, &shared.parts_dir(), spec, &names, &metadata, &groups)
}

/// The series of a part, ascending, with their ids.
pub(super) fn series_table<'a>(
    shared: &Shared,
    ids: impl Iterator<Item = &'a SeriesId>,
) -> Vec<(Arc<Series>, SeriesId)> {
    let mut table: Vec<_> = ids.filter_map(|&id| Some((shared.index.series(id)?, id))).collect();
    table.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    table
}
