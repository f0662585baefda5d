//! Checking a part whole, and counting what its columns take.

use std::collections::BTreeMap;

use super::{Layout, META_BYTES_MAX, META_FILE, Part, STORE_READ_BYTES_MAX, meta};
use crate::error::{DecodeError, Error, Result};
use crate::fs::read_file;
use crate::segment::{ColumnStats, Records, TIME_FIELD};
use crate::store::PartStore;
use crate::time::TimeRange;

/// What checking a part found.
#[derive(Debug, Default)]
pub struct PartReport {
    /// Segments that are whole.
    pub segments: u64,
    /// Chunks in them.
    pub chunks: u64,
    /// Samples in them.
    pub samples: u64,
    /// Rows of events in them.
    pub event_rows: u64,
    /// Everything that is wrong; empty for a part that is whole.
    pub problems: Vec<Error>,
}

impl Part {
    /// Checks everything: the meta on disk, every segment of the store (checksums, every column
    /// decoded, statistics recomputed), that the store holds nothing else, and that the columns of
    /// records fit together. Segments are read past the caches. `progress` is told the number of segments done after each.
    pub fn verify(&self, progress: &mut dyn FnMut(u32)) -> PartReport {
        let mut report = PartReport::default();
        if let Err(problem) = self.verify_meta() {
            report.problems.push(problem);
        }
        if let Err(problem) = self.verify_store(&mut report, progress) {
            report.problems.push(problem);
        }
        if report.problems.is_empty()
            && let Err(problem) = self.verify_records()
        {
            report.problems.push(problem);
        }
        report
    }

    /// Whether the columns of each series fit together; of a part of records. Every segment is
    /// known to be whole, so this may go through the caches.
    fn verify_records(&self) -> Result<()> {
        if self.meta.layout != Layout::Records {
            return Ok(());
        }
        let mut records = Records::default();
        (0..self.meta.series)
            .try_for_each(|position| self.read_records_at(position, TimeRange::ALL, &mut records))
    }

    /// Every segment, and their number; an error where the store itself does not open or count.
    fn verify_store(&self, report: &mut PartReport, progress: &mut dyn FnMut(u32)) -> Result<()> {
        let (mut store, mut read_bytes) = (self.open_store()?, 0);
        for (number, entry) in (0_u32..).zip(&self.meta.segments) {
            // What was read from an open store may stay in its memory.
            read_bytes += u64::from(entry.bytes);
            if read_bytes > STORE_READ_BYTES_MAX {
                drop(store);
                (store, read_bytes) = (self.open_store()?, u64::from(entry.bytes));
            }
            match self.verify_segment(store.as_ref(), number) {
                Ok(()) => {
                    report.segments += 1;
                    report.chunks += u64::from(entry.info.chunks);
                    match self.meta.layout {
                        Layout::Samples | Layout::Records => report.samples += entry.info.samples,
                        Layout::Events if entry.info.first_series == TIME_FIELD => {
                            report.event_rows += entry.info.samples;
                        }
                        Layout::Events => {}
                    }
                }
                Err(problem) => report.problems.push(problem),
            }
            progress(number + 1);
        }
        drop(store);
        self.verify_count(self.open_store()?.as_ref())
    }

    fn verify_meta(&self) -> Result<()> {
        let path = self.dir.join(META_FILE);
        let file = read_file(self.fs.as_ref(), &path, META_BYTES_MAX)?;
        let decoded = meta::decode(&file).map_err(|source| Error::corrupt(&path, 0, source))?;
        if decoded.0 == self.meta {
            return Ok(());
        }
        let (expected, found) = (decoded.0.meta_crc, self.meta.meta_crc);
        Err(Error::corrupt(path, 0, DecodeError::Checksum { expected, found }))
    }

    fn verify_segment(&self, store: &dyn PartStore, number: u32) -> Result<()> {
        if self.meta.layout == Layout::Events {
            return self.verify_events(store, number);
        }
        let segment = self.load(store, number)?;
        segment.verify().map_err(|source| self.corrupt(number, source))?;
        let Some(entry) = self.meta.segments.get(number as usize) else { return Ok(()) };
        let (info, chunks) = (&entry.info, segment.chunks());
        let series = (chunks.first().map(|chunk| chunk.series), chunks.last().map(|c| c.series));
        let columns = segment.timestamp_columns();
        let first = columns.iter().map(|column| column.first).min();
        let last = columns.iter().map(|column| column.last).max();
        let samples: u64 = chunks.iter().map(|chunk| u64::from(chunk.samples)).sum();
        let agrees = series == (Some(info.first_series), Some(info.last_series))
            && (first, last) == (Some(info.first), Some(info.last))
            && (samples, chunks.len()) == (info.samples, info.chunks as usize);
        if agrees {
            return Ok(());
        }
        let (found, expected) = (samples, "the bounds and counts of the part's meta");
        Err(self.corrupt(number, DecodeError::Invalid { what: "segment", found, expected }))
    }

    fn verify_count(&self, store: &dyn PartStore) -> Result<()> {
        let found = store.count()?;
        if found == self.meta.segments.len() as u64 {
            return Ok(());
        }
        let expected = "as many as the meta names";
        let source = DecodeError::Invalid { what: "values in the store", found, expected };
        Err(Error::corrupt(&self.dir, 0, source))
    }

    /// Columns, samples and bytes by kind and encoding, over all segments; none of a part of events.
    /// Reads every segment's
    /// directory, past the segment cache.
    ///
    /// # Errors
    /// The first segment that does not read.
    pub fn column_stats(&self) -> Result<Vec<ColumnStats>> {
        let mut sums: BTreeMap<_, ColumnStats> = BTreeMap::new();
        if self.meta.layout == Layout::Events {
            return Ok(Vec::new());
        }
        for (number, _) in (0_u32..).zip(&self.meta.segments) {
            let segment = self.load_pooled(number)?;
            let stats = segment.column_stats().map_err(|source| self.corrupt(number, source))?;
            for stats in stats {
                let sum = sums.entry((stats.kind, stats.encoding)).or_insert(ColumnStats {
                    columns: 0,
                    samples: 0,
                    bytes: 0,
                    ..stats
                });
                sum.columns += stats.columns;
                sum.samples += stats.samples;
                sum.bytes += stats.bytes;
            }
        }
        Ok(sums.into_values().collect())
    }
}
