//! A `ChunkSource` in memory: what a part or a head is to a query, without bytes.

use std::collections::HashMap;

use icecore::aggregate::Partial;
use icecore::model::SeriesId;
use icecore::segment::{ChunkRef, ChunkSource, Extent};
use icecore::{Result, TimeRange, Timestamp};

/// Chunks of series, their columns plain vectors; equal timestamp columns are shared.
#[derive(Default)]
pub struct MemorySource {
    rank: u64,
    tombstones: Option<u64>,
    with_statistics: bool,
    timestamps: Vec<Vec<i64>>,
    ids: HashMap<Vec<i64>, u64>,
    values: Vec<Vec<f64>>,
    statistics: Vec<Partial>,
    series: HashMap<SeriesId, Vec<ChunkRef>>,
}

impl MemorySource {
    pub fn new(rank: u64, with_statistics: bool) -> Self {
        Self { rank, with_statistics, ..Self::default() }
    }

    /// Deletes up to this one were left out; without it nothing in here was ever deleted.
    pub fn with_tombstones(mut self, id: u64) -> Self {
        self.tombstones = Some(id);
        self
    }

    /// Adds samples of a series, later than those it has, cut into chunks of `chunk_samples`.
    pub fn push(&mut self, series: SeriesId, samples: &[(i64, f64)], chunk_samples: usize) {
        for chunk in samples.chunks(chunk_samples.max(1)) {
            let (timestamps, values): (Vec<i64>, Vec<f64>) = chunk.iter().copied().unzip();
            let next = self.timestamps.len() as u64;
            let id = *self.ids.entry(timestamps.clone()).or_insert(next);
            self.statistics.push(Partial::of(&timestamps, &values));
            self.series.entry(series).or_default().push(ChunkRef {
                first: Timestamp(timestamps[0]),
                last: Timestamp(timestamps[timestamps.len() - 1]),
                samples: timestamps.len() as u32,
                timestamps: id,
                values: self.values.len() as u64,
            });
            self.values.push(values);
            if id == next {
                self.timestamps.push(timestamps);
            }
        }
    }
}

impl ChunkSource for MemorySource {
    fn rank(&self) -> u64 {
        self.rank
    }

    fn tombstones(&self) -> u64 {
        self.tombstones.unwrap_or(u64::MAX)
    }

    fn extent(&self) -> Option<Extent> {
        let chunks = || self.series.values().flatten();
        Some(Extent {
            first: chunks().map(|chunk| chunk.first).min()?,
            last: chunks().map(|chunk| chunk.last).max()?,
            samples: chunks().map(|chunk| u64::from(chunk.samples)).sum(),
            series: self.series.len() as u64,
        })
    }

    fn chunks(&self, series: SeriesId, range: TimeRange, out: &mut Vec<ChunkRef>) -> Result<()> {
        let chunks = self.series.get(&series).map_or(&[][..], Vec::as_slice);
        out.extend(chunks.iter().filter(|chunk| range.overlaps(chunk.first, chunk.last)));
        Ok(())
    }

    fn statistics(&self, chunk: &ChunkRef) -> Result<Option<Partial>> {
        Ok(self.with_statistics.then(|| self.statistics[chunk.values as usize]))
    }

    fn read_timestamps(&self, chunk: &ChunkRef, out: &mut Vec<i64>) -> Result<()> {
        out.clear();
        out.extend_from_slice(&self.timestamps[chunk.timestamps as usize]);
        Ok(())
    }

    fn read_values(&self, chunk: &ChunkRef, out: &mut Vec<f64>) -> Result<()> {
        out.clear();
        out.extend_from_slice(&self.values[chunk.values as usize]);
        Ok(())
    }
}
