//! Checking a part whole, and counting what its columns take.

use std::collections::BTreeMap;

use super::{META_BYTES_MAX, META_FILE, Part, meta};
use crate::error::{DecodeError, Error, Result};
use crate::fs::read_file;
use crate::segment::ColumnStats;

/// What checking a part found.
#[derive(Debug, Default)]
pub struct PartReport {
    /// Segments that are whole.
    pub segments: u64,
    /// Chunks in them.
    pub chunks: u64,
    /// Samples in them.
    pub samples: u64,
    /// Everything that is wrong; empty for a part that is whole.
    pub problems: Vec<Error>,
}

impl Part {
    /// Checks everything: the meta on disk, every segment of the store (checksums, every column
    /// decoded, statistics recomputed), and that the store holds nothing else. Reads past the
    /// caches. `progress` is told the number of segments done after each.
    pub fn verify(&self, progress: &mut dyn FnMut(u32)) -> PartReport {
        let mut report = PartReport::default();
        if let Err(problem) = self.verify_meta() {
            report.problems.push(problem);
        }
        let store = match self.open_store() {
            Ok(store) => store,
            Err(problem) => {
                report.problems.push(problem);
                return report;
            }
        };
        for (number, entry) in (0_u32..).zip(&self.meta.segments) {
            match self.verify_segment(store.as_ref(), number) {
                Ok(()) => {
                    report.segments += 1;
                    report.chunks += u64::from(entry.info.chunks);
                    report.samples += entry.info.samples;
                }
                Err(problem) => report.problems.push(problem),
            }
            progress(number + 1);
        }
        if let Err(problem) = self.verify_count(store.as_ref()) {
            report.problems.push(problem);
        }
        report
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

    fn verify_segment(&self, store: &dyn crate::store::PartStore, number: u32) -> Result<()> {
        let segment = self.load(store, number)?;
        segment.verify().map_err(|source| self.corrupt(number, source))?;
        let Some(entry) = self.meta.segments.get(number as usize) else { return Ok(()) };
        let (info, chunks) = (&entry.info, segment.chunks());
        let series = (chunks.first().map(|chunk| chunk.series), chunks.last().map(|c| c.series));
        let first = chunks.iter().map(|chunk| chunk.first).min();
        let last = chunks.iter().map(|chunk| chunk.last).max();
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

    fn verify_count(&self, store: &dyn crate::store::PartStore) -> Result<()> {
        let found = store.count()?;
        if found == self.meta.segments.len() as u64 {
            return Ok(());
        }
        let expected = "as many as the meta names";
        let source = DecodeError::Invalid { what: "values in the store", found, expected };
        Err(Error::corrupt(&self.dir, 0, source))
    }

    /// Columns, samples and bytes by kind and encoding, over all segments. Reads every segment's
    /// directory, past the segment cache.
    ///
    /// # Errors
    /// The first segment that does not read.
    pub fn column_stats(&self) -> Result<Vec<ColumnStats>> {
        let store = self.cache.store(self.tenant, &self.opening, || self.open_store())?;
        let mut sums: BTreeMap<_, ColumnStats> = BTreeMap::new();
        for (number, _) in (0_u32..).zip(&self.meta.segments) {
            let segment = self.load(store.as_ref(), number)?;
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
