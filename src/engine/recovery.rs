//! Opening: lock, catalog, parts, and the log replayed into a head.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::{Arc, Mutex};

use rayon::prelude::*;

use super::Environment;
use super::commit::commit;
use super::distribution::NewRecorders;
use super::events::{Table, Tables};
use super::gate::Gate;
use super::health::Health;
use super::ledger::{self, Ledger};
use super::maintenance::Upkeep;
use super::shared::{Counters, EngineToken, Groups, Live, Shared, parts_dir};
use crate::catalog::{self, Catalog, PartEntry};
use crate::error::{DecodeError, Error, Result};
use crate::fs::{Fs, FsLock, LockMode};
use crate::head::Group;
use crate::index::Index;
use crate::model::SeriesId;
use crate::options::Options;
use crate::part::{self, CacheLimits, Part, PartCache};
use crate::query::MemoryBudget;
use crate::time::duration_nanos;
use crate::wal::{self, Record, Replay};

const LOCK_FILE: &str = "LOCK";

/// What opening found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Parts the catalog names.
    pub parts: usize,
    /// Samples replayed from the log.
    pub replayed_samples: u64,
    /// Rows of events replayed from the log.
    pub replayed_events: u64,
    /// The end of the log that a crash tore, if one did: nothing in it was ever synced.
    pub torn_tail: Option<wal::TornTail>,
    /// Leftovers of interrupted commits that were removed.
    pub swept: usize,
}

/// An engine's state, opened and not yet running.
pub(super) struct Opened {
    pub(super) shared: Arc<Shared>,
    pub(super) replay: Replay,
    pub(super) recovery: Recovery,
    pub(super) lock: Option<Box<dyn FsLock>>,
}

pub(super) fn open(dir: &Path, options: Options, environment: Environment) -> Result<Opened> {
    options.check()?;
    let Environment { fs, clock } = environment;
    let lock = lock(&*fs, dir, options.read_only)?;
    let catalog = load_catalog(&fs, dir, &options, clock.now())?;
    let live: Vec<u64> = catalog.parts.iter().map(|entry| entry.id).collect();
    let swept = if options.read_only { 0 } else { part::sweep(&*fs, &parts_dir(dir), &live)? };
    let cache = Arc::new(PartCache::new(CacheLimits {
        segment_bytes_max: options.segment_cache_bytes_max as u64,
        open_parts_max: options.open_parts_max,
    }));
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .thread_name(|i| format!("icecore-{i}"))
        .build()
        .map_err(|error| Error::io("start threads for", dir, std::io::Error::other(error)))?;
    let index = Index::new();
    let opened = pool.install(|| {
        let entries = catalog.parts.par_iter();
        let parts = entries.map(|entry| open_part(&fs, dir, entry, &index, &cache).map(Arc::new));
        parts.collect::<Result<Vec<_>>>()
    })?;
    let masks = ledger::resolve(&catalog, &index)?;
    let tables = Tables::default();
    for schema in opened.iter().filter_map(|part| part.event_schema()) {
        tables.adopt(schema)?;
    }
    let parts = opened.len();
    let query_memory = MemoryBudget::new(options.query_memory_bytes_max);
    let health = if options.read_only { Health::read_only() } else { Health::default() };
    let shared = Arc::new(Shared {
        token: EngineToken::new(),
        dir: dir.to_owned(),
        gate: Gate::new(options.gate.clone()),
        options,
        fs,
        clock,
        pool,
        query_memory,
        index,
        health,
        groups: Groups::default(),
        tables,
        new_recorders: NewRecorders::default(),
        cache,
        ledger: Ledger::new(&catalog),
        upkeep: Upkeep::default(),
        live: Live::new(catalog, opened, masks),
        counters: Counters::default(),
        changed_metrics: Mutex::default(),
        disk_full: false.into(),
    });
    let (replay, Replayed { samples: replayed_samples, events: replayed_events }) =
        replay(&shared)?;
    let torn_tail = replay.tail.clone();
    let recovery = Recovery { parts, replayed_samples, replayed_events, torn_tail, swept };
    Ok(Opened { shared, replay, recovery, lock })
}

/// Opens the part that a catalog entry names, and checks that it is the one that was committed.
pub(super) fn open_part(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    entry: &PartEntry,
    index: &Index,
    cache: &Arc<PartCache>,
) -> Result<Part> {
    let part = Part::open(fs, &parts_dir(dir), entry.id, index, cache)?;
    let (found, expected) = (part.meta().meta_crc, entry.meta_crc);
    if found != expected {
        return Err(Error::corrupt(part.dir(), 0, DecodeError::Checksum { expected, found }));
    }
    Ok(part)
}

/// Locks the directory, creating it for a writer. A reader of a directory that was never locked
/// needs no lock.
fn lock(fs: &dyn Fs, dir: &Path, read_only: bool) -> Result<Option<Box<dyn FsLock>>> {
    let path = dir.join(LOCK_FILE);
    if !read_only {
        create_parents(fs, dir)?;
        return fs.lock(&path, LockMode::Exclusive).map(Some);
    }
    if fs.file_bytes(&path)?.is_none() {
        return Ok(None);
    }
    fs.lock(&path, LockMode::Shared).map(Some)
}

fn load_catalog(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    options: &Options,
    now: crate::Timestamp,
) -> Result<Catalog> {
    if let Some(catalog) = catalog::load(&**fs, dir)? {
        return Ok(catalog);
    }
    if options.read_only {
        let missing = std::io::Error::new(std::io::ErrorKind::NotFound, "there is no catalog");
        return Err(Error::io("open", dir, missing));
    }
    // Unpredictable enough to tell two stores apart; no secret.
    let store_id = RandomState::new().hash_one(now.nanos());
    let catalog = Catalog::new(store_id, now, duration_nanos(options.partition));
    fs.create_dir_all(&parts_dir(dir))?;
    catalog::save(&**fs, dir, &catalog)?;
    // The directory's own name must survive a power cut as what is in it does.
    fs.sync_dir(parent(dir))?;
    Ok(catalog)
}

/// The directory that holds `path`'s name.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

/// Creates `dir` and its missing parents, their names durable but for `dir`'s own.
pub(super) fn create_parents(fs: &dyn Fs, dir: &Path) -> Result<()> {
    let ancestors = dir.ancestors().skip(1).take_while(|path| !path.as_os_str().is_empty());
    let mut missing = Vec::new();
    for ancestor in ancestors {
        if fs.file_bytes(ancestor)?.is_some() {
            break;
        }
        missing.push(ancestor);
    }
    fs.create_dir_all(dir)?;
    missing.into_iter().try_for_each(|made| fs.sync_dir(parent(made)))
}

/// Replays the log into the head, committing whenever the head is full.
fn replay(shared: &Shared) -> Result<(Replay, Replayed)> {
    let mut names = Names::default();
    let mut replayed = Replayed::default();
    let watermark = shared.live.read().catalog.watermark;
    let replay = wal::replay(&*shared.fs, &shared.log_dir(), watermark, &mut |record| {
        names.apply(shared, &record, &mut replayed)?;
        let full = shared.live.read().head.bytes() >= shared.options.head_bytes_max;
        if full && !shared.options.read_only {
            let head = std::mem::take(&mut shared.live.write().head);
            commit(shared, &head.snapshot())?;
        }
        Ok(())
    })?;
    Ok((replay, replayed))
}

/// What came out of the log.
#[derive(Debug, Default)]
struct Replayed {
    samples: u64,
    events: u64,
}

/// What one log file's ids stand for in this run.
#[derive(Debug, Default)]
struct Names {
    series: HashMap<SeriesId, SeriesId>,
    groups: HashMap<u32, Arc<Group>>,
    tables: HashMap<u32, Table>,
}

impl Names {
    /// Applies a record to the head, and counts what it held.
    fn apply(
        &mut self,
        shared: &Shared,
        record: &Record<'_>,
        replayed: &mut Replayed,
    ) -> Result<()> {
        match *record {
            Record::File { .. } => {
                *self = Self::default();
            }
            Record::Series { id, series } => {
                self.series.insert(id, shared.index.intern(series));
            }
            Record::Metadata { metric, metadata } => {
                shared.index.set_metadata(metric, metadata);
            }
            Record::Group { id, series } => {
                let members: Option<Box<[SeriesId]>> =
                    series.iter().map(|member| self.series.get(member).copied()).collect();
                let members = members.ok_or_else(|| undeclared("group member"))?;
                self.groups.insert(id, shared.groups.of(members));
            }
            Record::Scrape { sequence, group, timestamp, values } => {
                let group = self.groups.get(&group).ok_or_else(|| undeclared("group"))?;
                let mut state = shared.live.write();
                state.head.append_scrape(group, timestamp, values, sequence);
                replayed.samples += values.len() as u64;
            }
            Record::Column { sequence, series, timestamps, values } => {
                let series = *self.series.get(&series).ok_or_else(|| undeclared("series"))?;
                let mut state = shared.live.write();
                state.head.append_column(series, timestamps, values, sequence);
                replayed.samples += values.len() as u64;
            }
            Record::Distribution { sequence, series, timestamp, distribution } => {
                let series = *self.series.get(&series).ok_or_else(|| undeclared("series"))?;
                let distribution = Arc::new(distribution.clone());
                let mut state = shared.live.write();
                state.head.put_distribution(series, timestamp, distribution, sequence);
                replayed.samples += 1;
            }
            Record::EventTable { id, schema } => {
                self.tables.insert(id, shared.tables.adopt(schema)?);
            }
            Record::Events { sequence, table, batch } => {
                let table = self.tables.get(&table).ok_or_else(|| undeclared("event table"))?;
                let mut state = shared.live.write();
                state.head.append_events(table.number, &table.schema, batch, sequence);
                replayed.events += batch.len() as u64;
            }
        }
        Ok(())
    }
}

/// The log's reader checks declarations: this cannot happen unless it is broken.
fn undeclared(what: &'static str) -> Error {
    Error::InvalidArgument { what, reason: "used in the log before it was declared".to_owned() }
}
