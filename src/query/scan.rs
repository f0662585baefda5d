//! The walk over one series' chunks: where they lie, which overlap, decoding and merging.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::meter::Meter;
use super::windows::{Stretch, Windows};
use crate::aggregate::Partial;
use crate::error::{DecodeError, Error, Result};
use crate::model::SeriesId;
use crate::segment::{ChunkRef, ChunkSource, Columns, merge_latest_wins};
use crate::time::Timestamp;

/// Timestamp columns kept by one [`Reader`], with where the windows cut them. 16 MiB hold two
/// million timestamps: three weeks of a scrape each second.
const CACHE_BYTES_MAX: usize = 16 << 20;

/// A chunk and the source that holds it, as an index into the reader's sources.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Located {
    source: usize,
    pub(crate) chunk: ChunkRef,
}

/// Samples of one run of chunks, cut into windows.
pub(crate) struct Decoded<'a> {
    timestamps: &'a [i64],
    values: &'a [f64],
    stretches: &'a [Stretch],
}

impl<'a> Decoded<'a> {
    /// For each window that holds samples, ascending: its index, their timestamps and values.
    pub(crate) fn stretches(&self) -> impl Iterator<Item = (usize, &'a [i64], &'a [f64])> {
        let (timestamps, values) = (self.timestamps, self.values);
        self.stretches.iter().filter_map(move |Stretch { window, rows }| {
            Some((*window, timestamps.get(rows.clone())?, values.get(rows.clone())?))
        })
    }
}

/// Cuts chunks that ascend by their first timestamp into runs: chunks of one run overlap, directly
/// or through others; those of different runs do not.
pub(crate) fn runs(located: &[Located]) -> impl Iterator<Item = &[Located]> {
    let mut reach = Timestamp::MIN;
    located.chunk_by(move |one, next| {
        reach = reach.max(one.chunk.last);
        next.chunk.first <= reach
    })
}

/// Reads chunks for one task; its buffers and its cache of timestamp columns are reused from
/// series to series.
pub(crate) struct Reader<'a> {
    /// Ascending by rank, so that the later in order wins a merge.
    sources: Vec<&'a dyn ChunkSource>,
    windows: Windows,
    meter: &'a Meter,
    cache: TimestampCache,
    found: Vec<ChunkRef>,
    values: Vec<f64>,
    streams: Vec<Columns>,
    merged: Columns,
    stretches: Vec<Stretch>,
    /// Bytes of the meter's memory that the merge buffers hold.
    merge_bytes: u64,
    chunks_from_statistics: u64,
    chunks_decoded: u64,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(
        sources: &'a [Arc<dyn ChunkSource>],
        windows: Windows,
        meter: &'a Meter,
    ) -> Self {
        let mut sources: Vec<&dyn ChunkSource> = sources.iter().map(|source| &**source).collect();
        sources.sort_by_key(|source| source.rank());
        Self {
            sources,
            windows,
            meter,
            cache: TimestampCache::new(CACHE_BYTES_MAX),
            found: Vec::new(),
            values: Vec::new(),
            streams: Vec::new(),
            merged: Columns::default(),
            stretches: Vec::new(),
            merge_bytes: 0,
            chunks_from_statistics: 0,
            chunks_decoded: 0,
        }
    }

    /// Replaces `out` with the chunks of the series that overlap the range, of all sources,
    /// ascending by first timestamp.
    pub(crate) fn locate(&mut self, series: SeriesId, out: &mut Vec<Located>) -> Result<()> {
        self.meter.check()?;
        out.clear();
        for (index, source) in self.sources.iter().enumerate() {
            self.found.clear();
            source.chunks(series, self.windows.range(), &mut self.found)?;
            out.extend(self.found.iter().map(|&chunk| Located { source: index, chunk }));
        }
        out.sort_by_key(|located| located.chunk.first);
        Ok(())
    }

    /// The statistics of a chunk that nothing overlaps, with the window that holds all of it.
    /// `None` where it crosses a window's end or its source keeps no statistics.
    pub(crate) fn statistics(&mut self, located: &Located) -> Result<Option<(usize, Partial)>> {
        let Located { source, chunk } = located;
        let Some(window) = self.windows.holding(chunk.first, chunk.last) else {
            return Ok(None);
        };
        let Some(source) = self.sources.get(*source) else { return Ok(None) };
        let statistics = source.statistics(chunk)?;
        self.chunks_from_statistics += u64::from(statistics.is_some());
        Ok(statistics.map(|partial| (window, partial)))
    }

    /// Decodes a run of overlapping chunks, or a single chunk.
    pub(crate) fn read(&mut self, run: &[Located]) -> Result<Decoded<'_>> {
        self.meter.check()?;
        if let [single] = run {
            let (column, values) = self.read_chunk(single)?;
            let Column { timestamps, stretches } = column;
            return Ok(Decoded { timestamps, values, stretches });
        }
        self.merge(run)?;
        self.windows.split(&self.merged.timestamps, &mut self.stretches);
        Ok(Decoded {
            timestamps: &self.merged.timestamps,
            values: &self.merged.values,
            stretches: &self.stretches,
        })
    }

    fn read_chunk(&mut self, located: &Located) -> Result<(&Column, &[f64])> {
        let Located { source: index, chunk } = located;
        let Some(&source) = self.sources.get(*index) else {
            return Err(wrong_length(0, chunk, 0));
        };
        self.meter.decode(chunk.samples)?;
        self.chunks_decoded += 1;
        source.read_values(chunk, &mut self.values)?;
        let column = self.cache.column(*index, source, chunk, &self.windows)?;
        for length in [self.values.len(), column.timestamps.len()] {
            if length != chunk.samples as usize {
                return Err(wrong_length(source.rank(), chunk, length));
            }
        }
        Ok((column, &self.values))
    }

    /// Merges the run into `self.merged`, by way of one stream of samples for each source.
    fn merge(&mut self, run: &[Located]) -> Result<()> {
        // Every sample stands in its stream and once more in the merged columns.
        let samples: u64 = run.iter().map(|located| u64::from(located.chunk.samples)).sum();
        let bytes = 2 * 16 * samples;
        if bytes > self.merge_bytes {
            self.meter.reserve(bytes - self.merge_bytes)?;
            self.merge_bytes = bytes;
        }
        let mut by_source = run.to_vec();
        by_source.sort_by_key(|located| located.source);
        let mut streams = std::mem::take(&mut self.streams);
        streams.iter_mut().for_each(Columns::clear);
        // Streams that this run does not use are empty, which a merge passes over.
        let by_source = by_source.chunk_by(|one, next| one.source == next.source);
        streams.resize_with(self.sources.len(), Columns::default);
        for (stream, chunks) in streams.iter_mut().zip(by_source) {
            for located in chunks {
                self.meter.check()?;
                let (column, values) = self.read_chunk(located)?;
                stream.timestamps.extend_from_slice(&column.timestamps);
                stream.values.extend_from_slice(values);
            }
        }
        merge_latest_wins(&streams, &mut self.merged);
        self.streams = streams;
        Ok(())
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.meter.release(self.merge_bytes);
        self.meter.chunks(self.chunks_from_statistics, self.chunks_decoded);
    }
}

/// A source that breaks its contract would otherwise answer wrongly in silence.
fn wrong_length(rank: u64, chunk: &ChunkRef, found: usize) -> Error {
    let what = "length of a decoded column";
    let source =
        DecodeError::Invalid { what, found: found as u64, expected: "the samples of its chunk" };
    Error::corrupt(format!("source of rank {rank}"), chunk.values, source)
}

/// One timestamp column and where the windows cut it.
#[derive(Default)]
struct Column {
    timestamps: Vec<i64>,
    stretches: Vec<Stretch>,
}

impl Column {
    fn bytes(&self) -> usize {
        size_of_val(&*self.timestamps) + size_of_val(&*self.stretches)
    }
}

/// Timestamp columns by source and number. Series scraped together share a column, so it is
/// decoded and cut once for all of them that a task reads.
struct TimestampCache {
    bytes_max: usize,
    columns: HashMap<(usize, u64), Column>,
    keys: Vec<(usize, u64)>,
    bytes: usize,
    evicted: usize,
}

impl TimestampCache {
    fn new(bytes_max: usize) -> Self {
        Self { bytes_max, columns: HashMap::new(), keys: Vec::new(), bytes: 0, evicted: 0 }
    }

    fn column(
        &mut self,
        index: usize,
        source: &dyn ChunkSource,
        chunk: &ChunkRef,
        windows: &Windows,
    ) -> Result<&Column> {
        let key = (index, chunk.timestamps);
        let mut recycled = Column::default();
        if !self.columns.contains_key(&key) {
            let coming = chunk.samples as usize * size_of::<i64>();
            while self.bytes + coming > self.bytes_max && !self.keys.is_empty() {
                recycled = self.evict();
            }
        }
        match self.columns.entry(key) {
            Entry::Occupied(held) => Ok(held.into_mut()),
            Entry::Vacant(place) => {
                source.read_timestamps(chunk, &mut recycled.timestamps)?;
                windows.split(&recycled.timestamps, &mut recycled.stretches);
                self.bytes += recycled.bytes();
                self.keys.push(key);
                Ok(place.insert(recycled))
            }
        }
    }

    /// Throws out a column picked without regard to use. Every series walks the same columns in
    /// the same order, so that throwing out the least recently used one would always hit the one
    /// needed next.
    fn evict(&mut self) -> Column {
        // Knuth's multiplicative hash of a counter: scattered, and the same in every run.
        self.evicted = self.evicted.wrapping_add(1);
        let scattered = (self.evicted as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let victim = self.keys.swap_remove(scattered as usize % self.keys.len());
        let column = self.columns.remove(&victim).unwrap_or_default();
        self.bytes -= column.bytes();
        column
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::time::TimeRange;

    /// Column `id` holds ten timestamps from `100 · id` on; counts how often one is decoded.
    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl ChunkSource for Counted {
        fn rank(&self) -> u64 {
            0
        }
        fn chunks(&self, _: SeriesId, _: TimeRange, _: &mut Vec<ChunkRef>) -> Result<()> {
            Ok(())
        }
        fn statistics(&self, _: &ChunkRef) -> Result<Option<Partial>> {
            Ok(None)
        }
        fn read_timestamps(&self, chunk: &ChunkRef, out: &mut Vec<i64>) -> Result<()> {
            self.0.fetch_add(1, Ordering::Relaxed);
            out.clear();
            out.extend((0..10).map(|i| chunk.first.0 + i));
            Ok(())
        }
        fn read_values(&self, _: &ChunkRef, _: &mut Vec<f64>) -> Result<()> {
            Ok(())
        }
    }

    fn chunk(id: i64, samples: u32) -> ChunkRef {
        let (first, last) = (Timestamp(100 * id), Timestamp(100 * id + 9));
        ChunkRef { first, last, samples, timestamps: id as u64, values: 0 }
    }

    #[test]
    fn a_full_cache_still_spares_most_of_a_walk_that_just_does_not_fit() {
        let windows = Windows::new(TimeRange::ALL, None).unwrap();
        let source = Counted::default();
        // A column of ten timestamps and one stretch is 104 bytes: nine fit, ten are walked.
        let mut cache = TimestampCache::new(9 * 104);
        for _series in 0..100 {
            for id in 0..10 {
                let column = cache.column(0, &source, &chunk(id, 10), &windows).unwrap();
                assert_eq!(column.timestamps[0], 100 * id);
                assert_eq!(column.stretches, [Stretch { window: 0, rows: 0..10 }]);
                assert!(cache.bytes <= cache.bytes_max);
                assert_eq!(cache.columns.len(), cache.keys.len());
            }
        }
        let decoded = source.0.into_inner();
        assert!(decoded < 500, "{decoded} of 1000 reads decoded; the least recently used: all");
    }

    #[test]
    fn chunks_that_touch_or_reach_over_others_are_one_run() {
        let spans = [(0, 9), (10, 50), (20, 25), (30, 35), (50, 60), (61, 70)];
        let located: Vec<Located> = spans
            .into_iter()
            .map(|(first, last)| {
                let (first, last) = (Timestamp(first), Timestamp(last));
                Located { source: 0, chunk: ChunkRef { first, last, ..chunk(0, 2) } }
            })
            .collect();
        let lengths: Vec<usize> = runs(&located).map(<[Located]>::len).collect();
        assert_eq!(lengths, [1, 4, 1]);
    }
}
