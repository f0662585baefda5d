//! Writes log files: records into a buffer, the buffer in one call, a sync when asked.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::format::{
    FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FRAME_PAYLOAD_BYTES_MAX, FileHeader, FrameHeader,
    file_path, seeded_crc,
};
use super::reader::Replay;
use super::record::{Declared, Record};
use super::rows::VALUES_MAX;
use crate::aggregate::Distribution;
use crate::error::{Error, Result};
use crate::fs::{Fs, FsFile};
use crate::model::{EventBatch, EventSchema, Metadata, Series, SeriesId};

/// What the group buffer keeps between groups; one large group does not hold its memory for ever.
const BUFFER_KEPT_BYTES: usize = 4 << 20;

/// The log's only writer. One thread owns it.
///
/// Push records, then [`write_group`](Self::write_group), then [`sync`](Self::sync) where someone
/// waits for that. A data record's sequence number is *buffered* after the push, *logged* after
/// the write, *synced* after the sync. After a failed write or sync every call returns that error.
#[derive(Debug)]
pub struct Writer {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    file: OpenFile,
    /// Frames not yet written; all but the last are sealed.
    buffer: Vec<u8>,
    /// The frame being filled.
    frame: Option<OpenFrame>,
    next_sequence: u64,
    logged_sequence: u64,
    synced_sequence: u64,
    failed: Option<Error>,
}

#[derive(Debug)]
struct OpenFile {
    file: Box<dyn FsFile>,
    number: u64,
    /// Checksum of the header, which seeds those of the frames.
    seed: u32,
    written_bytes: u64,
    synced_bytes: u64,
    declared: Declared,
    metrics: HashSet<Box<str>>,
}

#[derive(Debug, Clone, Copy)]
struct OpenFrame {
    /// Where its header starts in the buffer.
    start: usize,
    first_sequence: u64,
    data_records: u32,
}

impl Writer {
    /// Settles what `replay` read ([`Replay::settle`]), and begins the next file in `dir` (the
    /// log's own directory, created where it is missing).
    ///
    /// # Errors
    /// [`Error::Io`]; nothing that replay delivered is lost by it.
    pub fn open(fs: Arc<dyn Fs>, dir: &Path, replay: &Replay) -> Result<Self> {
        fs.create_dir_all(dir)?;
        // Even where it existed: the process that made it may have died before its name was durable.
        if let Some(parent) = dir.parent() {
            fs.sync_dir(parent)?;
        }
        replay.settle(&*fs)?;
        // The last file's name and a torn file's removal are durable before the next file is.
        fs.sync_dir(dir)?;
        let file = OpenFile::create(&*fs, dir, replay.next_file, replay.next_sequence)?;
        let last = replay.next_sequence.saturating_sub(1);
        Ok(Self {
            fs,
            dir: dir.to_owned(),
            file,
            buffer: Vec::new(),
            frame: None,
            next_sequence: replay.next_sequence,
            logged_sequence: last,
            synced_sequence: last,
            failed: None,
        })
    }

    /// Whether the current file has declared the series.
    #[must_use]
    pub fn has_series(&self, id: SeriesId) -> bool {
        self.file.declared.series.contains(id.0)
    }

    /// Whether the current file has declared the group.
    #[must_use]
    pub fn has_group(&self, id: u32) -> bool {
        self.file.declared.groups.contains_key(&id)
    }

    /// Whether the current file has told the metric's metadata.
    #[must_use]
    pub fn has_metadata(&self, metric: &str) -> bool {
        self.file.metrics.contains(metric)
    }

    /// Declares a series in the current file.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where it is declared already.
    pub fn declare_series(&mut self, id: SeriesId, series: &Series) -> Result<()> {
        if self.has_series(id) {
            return Err(invalid("series", format!("{series} is declared in this log file")));
        }
        self.push(&Record::Series { id, series })?;
        self.file.declared.series.insert(id.0);
        Ok(())
    }

    /// Tells a metric's metadata, in place of what was told before.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where the text exceeds [`FRAME_PAYLOAD_BYTES_MAX`].
    pub fn declare_metadata(&mut self, metric: &str, metadata: &Metadata) -> Result<()> {
        self.push(&Record::Metadata { metric, metadata })?;
        self.file.metrics.insert(metric.into());
        Ok(())
    }

    /// Declares a group of series, in place of an earlier one of the same id.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where a member is not declared in this file, or the group is
    /// too large for a frame.
    pub fn declare_group(&mut self, id: u32, series: &[SeriesId]) -> Result<()> {
        if let Some(member) = series.iter().find(|&&member| !self.has_series(member)) {
            return Err(invalid("group", format!("member {} is not declared", member.0)));
        }
        self.push(&Record::Group { id, series })?;
        self.file.declared.groups.insert(id, series.len());
        Ok(())
    }

    /// Adds one timestamp of a group: one value a member, in the group's order. Returns the
    /// record's sequence number.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where the group is not declared in this file or has another
    /// size; the latched error.
    pub fn push_scrape(&mut self, group: u32, timestamp: i64, values: &[f64]) -> Result<u64> {
        let size = self.file.declared.groups.get(&group);
        if size != Some(&values.len()) {
            let reason = format!("{} values for group {group} of {size:?}", values.len());
            return Err(invalid("scrape", reason));
        }
        let sequence = self.next_sequence;
        self.push(&Record::Scrape { sequence, group, timestamp, values })
    }

    /// Adds samples of one series, in any order; `timestamps.len() == values.len()`. Returns the
    /// record's sequence number.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where the series is not declared in this file, the lengths
    /// differ, or there are more than three million samples; the latched error.
    pub fn push_column(
        &mut self,
        series: SeriesId,
        timestamps: &[i64],
        values: &[f64],
    ) -> Result<u64> {
        if timestamps.len() != values.len() {
            let reason = format!("{} timestamps, {} values", timestamps.len(), values.len());
            return Err(invalid("column", reason));
        }
        if !self.has_series(series) {
            return Err(invalid("column", format!("series {} is not declared", series.0)));
        }
        let sequence = self.next_sequence;
        self.push(&Record::Column { sequence, series, timestamps, values })
    }

    /// Adds what was observed of one series. Returns the record's sequence number.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where the series is not declared in this file, or the
    /// distribution is empty; the latched error.
    pub fn push_distribution(
        &mut self,
        series: SeriesId,
        timestamp: i64,
        distribution: &Distribution,
    ) -> Result<u64> {
        if !self.has_series(series) {
            let reason = format!("series {} is not declared", series.0);
            return Err(invalid("distribution", reason));
        }
        if distribution.is_empty() {
            return Err(invalid("distribution", "is empty".to_owned()));
        }
        let sequence = self.next_sequence;
        self.push(&Record::Distribution { sequence, series, timestamp, distribution })
    }

    /// Whether the current file has declared the table of events with all the columns of `schema`.
    #[must_use]
    pub fn has_event_table(&self, id: u32, schema: &EventSchema) -> bool {
        let declared = self.file.declared.tables.get(&id);
        declared.is_some_and(|kinds| kinds.len() >= schema.columns().len())
    }

    /// Declares a table of events, in place of an earlier one of the same id and fewer columns.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where the declaration is too long for a frame; the latched error.
    pub fn declare_event_table(&mut self, id: u32, schema: &EventSchema) -> Result<()> {
        self.push(&Record::EventTable { id, schema })?;
        self.file.declared.add_table(id, schema);
        Ok(())
    }

    /// Adds rows of a table of events, in any order of time; their values are of the kinds that the
    /// table declares. Returns the record's sequence number.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where the table is not declared in this file, or has fewer columns
    /// than the rows, or these hold more than 4,194,304 values; the latched error.
    pub fn push_events(&mut self, table: u32, batch: &EventBatch) -> Result<u64> {
        let columns = self.file.declared.tables.get(&table).map_or(0, Vec::len);
        if batch.width() == 0 || batch.width() > columns {
            let reason = format!("{} values of table {table} of {columns} columns", batch.width());
            return Err(invalid("events", reason));
        }
        if batch.len() * batch.width() > VALUES_MAX {
            let reason = format!("{} rows of {} values at once", batch.len(), batch.width());
            return Err(invalid("events", reason));
        }
        let sequence = self.next_sequence;
        self.push(&Record::Events { sequence, table, batch })
    }

    /// Encodes a record into the open frame, beginning another where it would grow too large.
    fn push(&mut self, record: &Record<'_>) -> Result<u64> {
        self.check()?;
        let bytes_max = record.bytes_max();
        if bytes_max > FRAME_PAYLOAD_BYTES_MAX {
            let reason = format!("may take {bytes_max} bytes of {FRAME_PAYLOAD_BYTES_MAX}");
            return Err(invalid("log record", reason));
        }
        let used = |frame: OpenFrame| self.buffer.len() - frame.start - FRAME_HEADER_BYTES;
        if self.frame.is_some_and(|frame| used(frame) + bytes_max > FRAME_PAYLOAD_BYTES_MAX) {
            self.seal();
        }
        let frame = self.frame.get_or_insert_with(|| {
            let start = self.buffer.len();
            self.buffer.resize(start + FRAME_HEADER_BYTES, 0);
            OpenFrame { start, first_sequence: self.next_sequence, data_records: 0 }
        });
        record.encode(&mut self.buffer);
        let sequence = self.next_sequence;
        if record.is_data() {
            frame.data_records += 1;
            self.next_sequence += 1;
        }
        Ok(sequence)
    }

    /// Fills in the open frame's header.
    fn seal(&mut self) {
        let Some(frame) = self.frame.take() else { return };
        let payload = self.buffer.get(frame.start + FRAME_HEADER_BYTES..).unwrap_or_default();
        let header = FrameHeader {
            // At most FRAME_PAYLOAD_BYTES_MAX, which push holds.
            payload_bytes: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            data_records: frame.data_records,
            first_sequence: frame.first_sequence,
            synced_bytes: self.file.synced_bytes,
            payload_crc: seeded_crc(self.file.seed, payload),
        };
        let bytes = header.encode(self.file.seed);
        if let Some(slot) = self.buffer.get_mut(frame.start..frame.start + FRAME_HEADER_BYTES) {
            slot.copy_from_slice(&bytes);
        }
    }

    /// Writes everything pushed so far with one call: all of it is *logged* then. Does nothing
    /// where nothing was pushed.
    ///
    /// # Errors
    /// [`Error::Io`], which latches.
    pub fn write_group(&mut self) -> Result<()> {
        self.check()?;
        self.seal();
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = self.file.file.write_all(&self.buffer);
        self.latch(written)?;
        self.file.written_bytes += self.buffer.len() as u64;
        self.logged_sequence = self.next_sequence - 1;
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_KEPT_BYTES);
        Ok(())
    }

    /// Makes everything written so far durable; does nothing where it is already.
    ///
    /// # Errors
    /// [`Error::Io`], which latches: a sync is never tried again.
    pub fn sync(&mut self) -> Result<()> {
        self.check()?;
        if self.file.synced_bytes < self.file.written_bytes {
            let synced = self.file.file.sync();
            self.latch(synced)?;
            self.file.synced_bytes = self.file.written_bytes;
        }
        self.synced_sequence = self.logged_sequence;
        Ok(())
    }

    /// Writes and syncs what is pending and begins the next file, which has declared nothing.
    /// The old file is durable before the new one exists.
    ///
    /// # Errors
    /// [`Error::Io`], which latches.
    pub fn rotate(&mut self) -> Result<()> {
        self.write_group()?;
        self.sync()?;
        let next = self.file.number + 1;
        let created = OpenFile::create(&*self.fs, &self.dir, next, self.next_sequence);
        self.file = self.latch(created)?;
        Ok(())
    }

    /// Sequence number the next data record gets; the last one pushed is one less.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Last sequence number that reached the operating system.
    #[must_use]
    pub fn logged_sequence(&self) -> u64 {
        self.logged_sequence
    }

    /// Last sequence number that survives a power cut.
    #[must_use]
    pub fn synced_sequence(&self) -> u64 {
        self.synced_sequence
    }

    /// Bytes of the current file, pending ones included.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.file.written_bytes + self.pending_bytes() as u64
    }

    /// Bytes pushed and not yet written.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.buffer.len()
    }

    fn check(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn latch<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            self.failed = Some(error.clone());
        }
        result
    }
}

impl OpenFile {
    /// Creates a file with a durable header under a durable name: only then may frames follow.
    fn create(fs: &dyn Fs, dir: &Path, number: u64, first_sequence: u64) -> Result<Self> {
        let (bytes, seed) = FileHeader { number, first_sequence }.encode();
        let mut file = fs.create_new(&file_path(dir, number))?;
        file.write_all(&bytes)?;
        file.sync()?;
        fs.sync_dir(dir)?;
        Ok(Self {
            file,
            number,
            seed,
            written_bytes: FILE_HEADER_BYTES as u64,
            synced_bytes: FILE_HEADER_BYTES as u64,
            declared: Declared::default(),
            metrics: HashSet::new(),
        })
    }
}

fn invalid(what: &'static str, reason: String) -> Error {
    Error::InvalidArgument { what, reason }
}
