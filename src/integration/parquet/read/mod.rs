//! Parquet back in: what was archived, as sources that the engine's own queries read.
//!
//! ```no_run
//! # fn main() -> icecore::Result<()> {
//! # use std::sync::Arc;
//! use icecore::integration::parquet::ParquetArchive;
//! use icecore::integration::parquet::read::{ArchiveReader, ArchivedEvents};
//! use icecore::query::{EventRequest, Resources, for_each_event_group};
//! use icecore::segment::EventSource;
//! use icecore::TimeRange;
//!
//! let archive = ArchiveReader::new(&ParquetArchive::new("/archive"));
//! let Some(schema) = archive.event_schema("queries", &|_| true)? else { return Ok(()) };
//! for day in archive.event_days("queries", TimeRange::ALL, &|_| true)? {
//!     let mut sources: Vec<Arc<dyn EventSource>> = Vec::new();
//!     for found in &day.files {
//!         let file = archive.event_file("queries", found)?;
//!         sources.push(Arc::new(ArchivedEvents::new(file, &schema)?));
//!     }
//!     let request = EventRequest::new("queries", day.range);
//!     for_each_event_group(&request, &schema, &sources, Resources::default(), |rows| {
//!         println!("{} rows from {} on", rows.len(), rows.times[0]);
//!         Ok(())
//!     })?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Owns: which files an archive has (`files`), a file's description and columns, each value compared
//! with the file's checksums (`file`), and the read contracts of events and samples over them
//! (`events`, `samples`). Does not own: which archived parts are still live, since only their engine
//! knows; how sources are merged, whose rank decides, what a condition passes (`query`).

mod events;
mod file;
mod files;
mod samples;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

pub use self::events::ArchivedEvents;
pub use self::file::ArchivedFile;
use self::file::Descriptions;
pub use self::files::{Day, Found, PartName};
use self::files::{days, entries, plain_name};
pub use self::samples::{ArchivedSamples, SeriesIds};
use self::samples::{METRIC_LEAF, check_columns};
use super::{ParquetArchive, encoded_name};
use crate::error::{Error, Result};
use crate::fs::Fs;
use crate::model::{EventSchema, Series, TIME_COLUMN};
use crate::time::TimeRange;

/// Below it lie files of samples.
const SAMPLES: &str = "tier=raw";
/// Before the name of a table of events.
const TABLE: &str = "table=";

/// Which of the parts that were archived are wanted: those that are live are read where they live.
pub type Wanted<'a> = &'a dyn Fn(&PartName) -> bool;

/// Reads an archive. Nothing that it says is true for longer than its directory stays as it is, but
/// for what files hold: these are written once.
#[derive(Debug)]
pub struct ArchiveReader {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    known: Descriptions,
}

impl ArchiveReader {
    /// Of this archive. Reads nothing yet.
    #[must_use]
    pub fn new(archive: &ParquetArchive) -> Self {
        let (fs, dir) = archive.place();
        Self { fs: Arc::clone(fs), dir: dir.to_owned(), known: Descriptions::default() }
    }

    /// Whether the archive is there: a store makes it with the first part that it archives.
    ///
    /// # Errors
    /// [`Error::Io`] where the directory is not there.
    pub fn check(&self) -> Result<()> {
        self.fs.list(&self.dir).map(drop)
    }

    /// The days of a table of events whose time meets `range`, with their files.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Foreign`] of what is no file of an archive.
    pub fn event_days(
        &self,
        table: &str,
        range: TimeRange,
        wanted: Wanted<'_>,
    ) -> Result<Vec<Day>> {
        let dir = self.dir.join(format!("{TABLE}{}", encoded_name(table)));
        days(&*self.fs, &dir, range, wanted)
    }

    /// As [`event_days`](Self::event_days), of samples.
    ///
    /// # Errors
    /// As [`event_days`](Self::event_days).
    pub fn sample_days(&self, range: TimeRange, wanted: Wanted<'_>) -> Result<Vec<Day>> {
        days(&*self.fs, &self.dir.join(SAMPLES), range, wanted)
    }

    /// A file of rows of a table, its description read if it was not before.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Corrupt`] where it is not what was written there.
    pub fn event_file(&self, table: &str, found: &Found) -> Result<Arc<ArchivedFile>> {
        let file = self.known.open(&self.fs, found, TIME_COLUMN)?;
        match file.told("icecore.table") {
            Some(told) if told != table => {
                Err(file.wrong("table", format!("{told:?} in the directory of {table:?}")))
            }
            _ => Ok(file),
        }
    }

    /// A file of samples, its description read if it was not before.
    ///
    /// # Errors
    /// As [`event_file`](Self::event_file).
    pub fn sample_file(&self, found: &Found) -> Result<Arc<ArchivedFile>> {
        let file = self.known.open(&self.fs, found, "timestamp")?;
        check_columns(&file)?;
        Ok(file)
    }

    /// The tables of events that there are files of.
    ///
    /// # Errors
    /// As [`event_days`](Self::event_days).
    pub fn tables(&self, wanted: Wanted<'_>) -> Result<Vec<String>> {
        let mut tables = Vec::new();
        for (name, is_dir) in entries(&*self.fs, &self.dir)? {
            let Some(encoded) = name.strip_prefix(TABLE).filter(|_| is_dir) else { continue };
            let path = self.dir.join(&name);
            let table = plain_name(encoded)
                .ok_or(Error::Foreign { path, expected: "a directory table=NAME" })?;
            if !self.event_days(&table, TimeRange::ALL, wanted)?.is_empty() {
                tables.push(table);
            }
        }
        Ok(tables)
    }

    /// What is known of a table from its files; `None` where there are none. Of each store the file
    /// that was written last is asked: a table only ever gets more columns. Units are not archived.
    ///
    /// # Errors
    /// As [`event_file`](Self::event_file); [`Error::SchemaConflict`] where files of two stores
    /// differ.
    pub fn event_schema(&self, table: &str, wanted: Wanted<'_>) -> Result<Option<EventSchema>> {
        let days = self.event_days(table, TimeRange::ALL, wanted)?;
        let mut last: BTreeMap<u64, &Found> = BTreeMap::new();
        for found in days.iter().flat_map(|day| &day.files) {
            let of_store = last.entry(found.name.store_id).or_insert(found);
            if found.name > of_store.name {
                *of_store = found;
            }
        }
        let mut schema: Option<EventSchema> = None;
        for found in last.into_values() {
            let file = self.event_file(table, found)?;
            let stored = EventSchema::new(table, events::columns_of(&file)?)?;
            schema = Some(match schema {
                None => stored,
                Some(known) => known.adopt(&stored)?,
            });
        }
        Ok(schema)
    }

    /// The metrics that there are samples of.
    ///
    /// # Errors
    /// As [`sample_file`](Self::sample_file).
    pub fn metrics(&self, wanted: Wanted<'_>) -> Result<BTreeSet<String>> {
        let mut all = BTreeSet::new();
        for found in self.sample_days(TimeRange::ALL, wanted)?.iter().flat_map(|day| &day.files) {
            let file = self.sample_file(found)?;
            if file.metrics.get().is_none() {
                let mut metrics = BTreeSet::new();
                for group in 0..file.groups() {
                    metrics.append(&mut file.distinct(group, METRIC_LEAF)?);
                }
                // Whoever was faster found the same.
                let _ = file.metrics.set(metrics);
            }
            all.extend(file.metrics.get().into_iter().flatten().cloned());
        }
        Ok(all)
    }

    /// The labels of a metric's archived series; `None` where there are no samples of it.
    ///
    /// # Errors
    /// As [`sample_file`](Self::sample_file).
    pub fn labels(&self, metric: &str, wanted: Wanted<'_>) -> Result<Option<BTreeSet<String>>> {
        let mut all: Option<BTreeSet<String>> = None;
        for found in self.sample_days(TimeRange::ALL, wanted)?.iter().flat_map(|day| &day.files) {
            let file = self.sample_file(found)?;
            if let Some(labels) = labels_in(&file, metric)? {
                all.get_or_insert_default().extend(labels.iter().cloned());
            }
        }
        Ok(all)
    }
}

/// The labels of a metric's series in a file; `None` where there are none of it.
fn labels_in(file: &ArchivedFile, metric: &str) -> Result<Option<Arc<BTreeSet<String>>>> {
    let lock = || file.labels.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = lock().get(metric) {
        return Ok(Some(Arc::clone(known)));
    }
    let mut labels: Option<BTreeSet<String>> = None;
    for group in (0..file.groups()).filter(|&group| file.may_hold(group, METRIC_LEAF, metric)) {
        for text in file.distinct(group, samples::SERIES_LEAF)? {
            let series = Series::parse(&text);
            let series = series.map_err(|error| file.wrong("series", error.to_string()))?;
            if series.name() == metric {
                let names = series.labels().map(|(name, _)| name.to_owned());
                labels.get_or_insert_default().extend(names);
            }
        }
    }
    let labels = labels.map(Arc::new);
    if let Some(labels) = &labels {
        lock().insert(metric.to_owned(), Arc::clone(labels));
    }
    Ok(labels)
}
