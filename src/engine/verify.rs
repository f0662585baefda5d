//! Checking a store at rest: every checksum and invariant, and where it is broken.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::recovery::open_part;
use super::shared::parts_dir;
use crate::catalog::{self, Catalog};
use crate::error::{Error, Result};
use crate::fs::{Fs, FsLock, LockMode, RealFs};
use crate::index::Index;
use crate::part::{CacheLimits, PartCache, PartReport, directory_name};
use crate::wal::{self, Record};

/// How far a verification has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyStep {
    /// Bytes of parts checked so far.
    pub bytes_done: u64,
    /// Bytes of parts there are.
    pub bytes_total: u64,
}

/// A broken checksum or invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The file or directory.
    pub path: PathBuf,
    /// Where in it, bytes, where that is known.
    pub offset: Option<u64>,
    /// What is wrong.
    pub message: String,
}

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Parts checked.
    pub parts: u64,
    /// Segments decoded whole.
    pub segments: u64,
    /// Chunks decoded, their statistics computed anew.
    pub chunks: u64,
    /// Samples in parts.
    pub samples: u64,
    /// Rows of events in parts.
    pub event_rows: u64,
    /// Samples in the log.
    pub log_samples: u64,
    /// Rows of events in the log.
    pub log_event_rows: u64,
    /// Log files read.
    pub log_files: u64,
    /// Bytes at the log's end that a crash tore; no damage, since none of them was ever synced.
    pub torn_bytes: u64,
    /// Directories of parts that no catalog names: left by a crash, removed at the next open.
    pub leftovers: u64,
    /// What is broken; empty where the store is whole.
    pub problems: Vec<Problem>,
}

impl VerifyReport {
    /// Whether nothing is broken.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.problems.is_empty()
    }

    fn note(&mut self, path: &Path, error: &Error) {
        let (path, offset) = match error {
            Error::Corrupt { path, offset, .. } => (path.clone(), Some(*offset)),
            Error::Io { path, .. } | Error::Store { path, .. } => (path.clone(), None),
            _ => (path.to_owned(), None),
        };
        self.problems.push(Problem { path, offset, message: error.to_string() });
    }
}

/// Checks the store in `dir`; see [`Engine::verify`](super::Engine::verify).
pub(super) fn verify(dir: &Path, progress: &mut dyn FnMut(VerifyStep)) -> Result<VerifyReport> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    if fs.file_bytes(dir)?.is_none() {
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(Error::io("open", dir, missing));
    }
    let _lock = lock(&*fs, dir)?;
    verify_in(&fs, dir, progress)
}

/// Keeps writers out of a store; `None` where it was never locked.
pub(super) fn lock(fs: &dyn Fs, dir: &Path) -> Result<Option<Box<dyn FsLock>>> {
    let lock = dir.join("LOCK");
    match fs.file_bytes(&lock)? {
        Some(_) => fs.lock(&lock, LockMode::Shared).map(Some),
        None => Ok(None),
    }
}

/// Checks a store that nobody else can write to.
pub(super) fn verify_in(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    progress: &mut dyn FnMut(VerifyStep),
) -> Result<VerifyReport> {
    let mut report = VerifyReport::default();
    let catalog = match catalog::load(&**fs, dir) {
        Ok(Some(catalog)) => catalog,
        Ok(None) => {
            report.problems.push(Problem {
                path: dir.join(catalog::CATALOG_FILE),
                offset: None,
                message: "there is no catalog: this is no store".to_owned(),
            });
            return Ok(report);
        }
        Err(error) => {
            report.note(&dir.join(catalog::CATALOG_FILE), &error);
            return Ok(report);
        }
    };
    verify_parts(fs, dir, &catalog, &mut report, progress);
    verify_log(&**fs, dir, catalog.watermark, &mut report);
    count_leftovers(&**fs, dir, &catalog, &mut report);
    Ok(report)
}

fn verify_parts(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    catalog: &Catalog,
    report: &mut VerifyReport,
    progress: &mut dyn FnMut(VerifyStep),
) {
    let cache = Arc::new(PartCache::new(CacheLimits::default()));
    let bytes = catalog.parts.iter().map(|entry| entry.bytes);
    let bytes_total = bytes.fold(0, u64::saturating_add);
    let mut bytes_done = 0;
    for entry in &catalog.parts {
        progress(VerifyStep { bytes_done, bytes_total });
        let part = open_part(fs, dir, entry, &Index::new(), &cache);
        let PartReport { segments, chunks, samples, event_rows, problems } = match part {
            Ok(part) => part.verify(&mut |_| {}),
            Err(error) => PartReport { problems: vec![error], ..PartReport::default() },
        };
        report.parts += 1;
        report.segments += segments;
        report.chunks += chunks;
        report.samples += samples;
        report.event_rows += event_rows;
        for problem in problems {
            report.note(&parts_dir(dir).join(directory_name(entry.id)), &problem);
        }
        bytes_done = entry.bytes.saturating_add(bytes_done);
    }
    progress(VerifyStep { bytes_done, bytes_total });
}

fn verify_log(fs: &dyn Fs, dir: &Path, watermark: u64, report: &mut VerifyReport) {
    let log = dir.join("log");
    let (mut samples, mut rows) = (0, 0);
    let replayed = wal::replay(fs, &log, watermark, &mut |record| {
        match record {
            Record::Scrape { values, .. } | Record::Column { values, .. } => {
                samples += values.len() as u64;
            }
            Record::Events { batch, .. } => rows += batch.len() as u64,
            _ => {}
        }
        Ok(())
    });
    (report.log_samples, report.log_event_rows) = (samples, rows);
    match replayed {
        Ok(replay) => {
            report.log_files = replay.files;
            report.torn_bytes = replay.tail.map_or(0, |tail| tail.dropped_bytes);
        }
        Err(error) => report.note(&log, &error),
    }
}

fn count_leftovers(fs: &dyn Fs, dir: &Path, catalog: &Catalog, report: &mut VerifyReport) {
    let parts_dir = parts_dir(dir);
    let live: Vec<String> = catalog.parts.iter().map(|entry| directory_name(entry.id)).collect();
    match fs.list(&parts_dir) {
        Ok(entries) => {
            let is_live = |name: &std::ffi::OsStr| live.iter().any(|live| name == live.as_str());
            let leftovers = entries.iter().filter(|entry| entry.is_dir && !is_live(&entry.name));
            report.leftovers = leftovers.count() as u64;
        }
        Err(error) => report.note(&parts_dir, &error),
    }
}
