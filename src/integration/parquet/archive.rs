//! The archive: a directory of Parquet files that retention fills before it drops.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::events::EventFile;
use super::read::PartName;
use super::{Rows, Table, event_partitions, partitions};
use crate::catalog::PartEntry;
use crate::engine::leave_out_deleted;
use crate::error::{DecodeError, Error, Result};
use crate::fs::{Fs, RealFs};
use crate::integration::jsonl::Kind;
use crate::model::{EventKind, Metadata};
use crate::options::{ArchiveEvents, ArchivePart, Archiver};
use crate::part::Layout;
use crate::query::{self, Limits, SampleRequest};
use crate::segment::{EventMerge, GROUP_ROWS, Records, read_group};
use crate::time::TimeRange;

/// Writes each part as `DIR/tier=raw/date=2026-11-23/RANK-STORE-PART.parquet`, one file a
/// [partition](super::partitions), each read back and compared before it counts.
///
/// Rows of events go to `DIR/table=queries/date=...`, files of the same names; there every row of every
/// file counts.
///
/// The numbers of a name are of 16 hexadecimal digits: where two files hold the same series and
/// time, the name that sorts last was written later and is right. A part that comes again replaces
/// its own files.
#[derive(Debug, Clone)]
pub struct ParquetArchive {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
}

impl ParquetArchive {
    /// An archive in `dir`, which is created with the first part.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self::on(Arc::new(RealFs), dir)
    }

    /// As [`new`](Self::new), on another file system.
    #[must_use]
    pub fn on(fs: Arc<dyn Fs>, dir: impl Into<PathBuf>) -> Self {
        Self { fs, dir: dir.into() }
    }

    /// Where it is.
    pub(super) fn place(&self) -> (&Arc<dyn Fs>, &Path) {
        (&self.fs, &self.dir)
    }

    /// Makes a partition's directory, its name durable.
    fn directory(&self, partition: &Path) -> Result<PathBuf> {
        let directory = self.dir.join(partition);
        if self.fs.file_bytes(&directory)?.is_none() {
            self.fs.create_dir_all(&directory)?;
            for made in [&*directory, directory.parent().unwrap_or(&self.dir), &self.dir] {
                let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty());
                self.fs.sync_dir(parent.unwrap_or(Path::new(".")))?;
            }
        }
        Ok(directory)
    }
}

impl ParquetArchive {
    /// Removes a file, durably, if it is there.
    fn remove(&self, path: &Path) -> Result<()> {
        if self.fs.file_bytes(path)?.is_none() {
            return Ok(());
        }
        self.fs.remove_file(path)?;
        self.fs.sync_dir(path.parent().unwrap_or(&self.dir))
    }

    fn archive_events(&self, part: &ArchivePart<'_>, name: &str) -> Result<()> {
        let Some(ArchiveEvents { schema, source }) = part.events else {
            let reason = "comes without its rows".to_owned();
            return Err(Error::InvalidArgument { what: "part of events", reason });
        };
        let kinds: Vec<EventKind> = schema.columns().iter().map(|column| column.kind).collect();
        let sources = [Arc::clone(source)];
        let mut archived = 0;
        for (partition, range) in event_partitions(schema.table(), part.entry.window) {
            let path = self.directory(&partition)?.join(name);
            let mut file = EventFile::create(&self.fs, &path, schema)?;
            let load = |_, stretch, group| read_group(&**source, stretch, group, &kinds);
            let mut merge = EventMerge::new(&sources, range, Box::new(load));
            while let Some(rows) = merge.next_rows(&kinds, GROUP_ROWS)? {
                file.push(&rows)?;
            }
            archived += file.rows();
            if file.rows() == 0 {
                file.discard()?;
                self.remove(&path)?;
                continue;
            }
            file.finish()?;
        }
        let held: u64 = source.stretches().iter().map(|stretch| u64::from(stretch.rows)).sum();
        if archived != held {
            let (found, expected) = (archived, "as many rows as the part has");
            let source = DecodeError::Invalid { what: "rows of the part", found, expected };
            return Err(Error::corrupt(&self.dir, 0, source));
        }
        Ok(())
    }
}

impl Archiver for ParquetArchive {
    fn archive(&self, part: &ArchivePart<'_>) -> Result<()> {
        let entry = part.entry;
        let name = name_of(part.store_id, entry);
        let Some(rows) = rows_of(entry) else { return self.archive_events(part, &name) };
        let mut archived = 0;
        for (partition, range) in partitions(entry.tier, rows, entry.window) {
            let path = self.directory(&partition)?.join(&name);
            let mut table = Table::create(&self.fs, &path, rows)?;
            match rows {
                Rows::Samples => push_samples(&mut table, part, range)?,
                Rows::Records => push_records(&mut table, part, range)?,
            }
            archived += table.rows();
            if table.rows() == 0 {
                table.discard()?;
                // Deletes may have left nothing of what was archived before.
                self.remove(&path)?;
                continue;
            }
            table.describe("icecore.metrics", metrics(part.metadata));
            table.finish()?;
        }
        // Nothing may go that was not seen; what deletes hide was seen and is not wanted.
        if part.sources.masks.is_empty() && rows == Rows::Samples && archived != entry.samples {
            let (found, expected) = (archived, "as many samples as the catalog says");
            let source = DecodeError::Invalid { what: "samples of the part", found, expected };
            return Err(Error::corrupt(&self.dir, 0, source));
        }
        Ok(())
    }

    fn withdraw(&self, store_id: u64, entry: &PartEntry, table: Option<&str>) -> Result<()> {
        let name = name_of(store_id, entry);
        let partitions = match (rows_of(entry), table) {
            (Some(rows), _) => partitions(entry.tier, rows, entry.window),
            (None, Some(table)) => event_partitions(table, entry.window),
            (None, None) => return Ok(()),
        };
        partitions.iter().try_for_each(|(path, _)| self.remove(&self.dir.join(path).join(&name)))
    }
}

/// What the rows of a part of series are; none of a part of events.
const fn rows_of(entry: &PartEntry) -> Option<Rows> {
    match entry.layout {
        Layout::Samples => Some(Rows::Samples),
        Layout::Records => Some(Rows::Records),
        Layout::Events => None,
    }
}

/// What the files of a part are called.
fn name_of(store_id: u64, entry: &PartEntry) -> String {
    PartName { rank: entry.rank, store_id, part: entry.id }.to_string()
}

fn push_samples(table: &mut Table, part: &ArchivePart<'_>, range: TimeRange) -> Result<()> {
    let limits = Limits { series_max: u64::MAX, samples_max: u64::MAX, ..Limits::default() };
    let request = SampleRequest { limits, ..SampleRequest::new(range) };
    query::for_each_run(&request, part.series, part.sources, |series, timestamps, values| {
        table.push_samples(series, timestamps, values)
    })
}

fn push_records(table: &mut Table, part: &ArchivePart<'_>, range: TimeRange) -> Result<()> {
    let mut records = Records::default();
    for source in &part.sources.records {
        for (id, series) in part.series {
            let Some(fields) = source.fields(*id)? else { continue };
            source.read_records(*id, range, &mut records)?;
            leave_out_deleted(&mut records, part.sources, &**source, *id);
            table.push_records(series, &records, fields)?;
        }
    }
    Ok(())
}

/// What is known of the metrics, as JSON.
fn metrics(metadata: &[(String, Metadata)]) -> String {
    let each = metadata.iter().map(|(name, Metadata { kind, unit, help })| {
        json!({ "name": name, "kind": Kind::of(*kind), "unit": unit, "help": help })
    });
    each.collect::<serde_json::Value>().to_string()
}
