//! The walk over one series' chunks: where they lie, which overlap, decoding and merging.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use super::cut::{Cut, WindowRows};
use super::evidence::ChunkTally;
use super::inputs::{Input, Masked};
use super::meter::Meter;
use super::windows::Windows;
use crate::aggregate::Partial;
use crate::error::{DecodeError, Error, Result};
use crate::model::{SeriesId, is_stale};
use crate::segment::{ChunkRef, ChunkSource, Columns, merge_latest_wins};
use crate::time::{TimeRange, Timestamp};

/// Timestamp columns kept by one [`Reader`], with where the windows cut them. 16 MiB hold two
/// million timestamps: three weeks of a scrape each second.
const CACHE_BYTES_MAX: usize = 16 << 20;

/// A chunk and the input that holds it, as an index into the sample inputs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Located {
    source: usize,
    series: SeriesId,
    pub(crate) chunk: ChunkRef,
    /// Whether some of its samples are deleted.
    masked: bool,
}

/// A timestamp column of an input; equal ones hold the same timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Column(usize, u64);

impl Column {
    /// One that several chunks were merged into: like no other.
    pub(crate) const MERGED: Self = Self(usize::MAX, u64::MAX);
}

impl Located {
    /// Which timestamp column it uses.
    pub(crate) fn column(&self) -> Column {
        if self.masked { Column::MERGED } else { Column(self.source, self.chunk.timestamps) }
    }
}

/// Samples of one run of chunks, cut into windows.
pub(crate) struct Decoded<'a> {
    timestamps: &'a [i64],
    values: &'a [f64],
    cut: &'a Cut,
    /// Those that count.
    rows: Range<usize>,
}

impl<'a> Decoded<'a> {
    fn new(columns: (&'a [i64], &'a [f64], &'a Cut), range: Option<TimeRange>) -> Self {
        let (timestamps, values, cut) = columns;
        let below = |point: Timestamp| timestamps.partition_point(|&time| time < point.0);
        let rows = range.map_or(0..timestamps.len(), |r| below(r.start)..below(r.end));
        Self { timestamps, values, cut, rows }
    }

    /// For each window that holds samples, ascending: the first of its rows, their timestamps and
    /// values.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (usize, &'a [i64], &'a [f64])> {
        self.pieces().map(|(_, row, timestamps, values)| (row, timestamps, values))
    }

    /// For each window that holds samples, ascending: its index, their timestamps and values.
    pub(crate) fn windows(&self) -> impl Iterator<Item = (usize, &'a [i64], &'a [f64])> {
        self.pieces().map(|(window, _, timestamps, values)| (window, timestamps, values))
    }

    fn pieces(&self) -> impl Iterator<Item = (usize, usize, &'a [i64], &'a [f64])> {
        let (timestamps, values) = (self.timestamps, self.values);
        self.cut.pieces(self.rows.clone()).filter_map(move |WindowRows { window, rows }| {
            let times = timestamps.get(rows.clone())?;
            Some((window, rows.start, times, values.get(rows)?))
        })
    }

    /// Where windows hold few samples, the windows of all, their timestamps and values; else
    /// nothing.
    pub(crate) fn numbered(&self) -> (&'a [u32], &'a [i64], &'a [f64]) {
        let (first, numbers) = self.cut.numbers(&self.rows);
        let rows = first..first + numbers.len();
        let timestamps = self.timestamps.get(rows.clone()).unwrap_or_default();
        (numbers, timestamps, self.values.get(rows).unwrap_or_default())
    }

    /// The value of a row, wherever it lies.
    pub(crate) fn value(&self, row: usize) -> Option<f64> {
        self.values.get(row).copied()
    }
}

/// The samples of one bucket, told apart by who wrote them.
#[derive(Default)]
pub(crate) struct BucketSamples {
    /// All that count.
    pub(crate) all: Columns,
    /// Without stale markers: how many there were before the later writes.
    pub(crate) older: u64,
    /// The later writes alone.
    pub(crate) newer: Columns,
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
    inputs: &'a [Input<'a, dyn ChunkSource>],
    windows: Windows,
    meter: &'a Meter<'a>,
    cache: TimestampCache,
    found: Vec<ChunkRef>,
    values: Vec<f64>,
    streams: Vec<Columns>,
    merged: Columns,
    merged_cut: Cut,
    /// Bytes of the meter's memory that the merge buffers hold.
    merge_bytes: u64,
    /// For each input the chunk that a bucket was last read from, for the buckets beside it.
    recent: Vec<Option<(ChunkRef, Columns)>>,
    pub(crate) tally: ChunkTally,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(
        inputs: &'a [Input<'a, dyn ChunkSource>],
        windows: Windows,
        meter: &'a Meter<'a>,
    ) -> Self {
        Self {
            inputs,
            windows,
            meter,
            cache: TimestampCache::new(CACHE_BYTES_MAX),
            found: Vec::new(),
            values: Vec::new(),
            streams: Vec::new(),
            merged: Columns::default(),
            merged_cut: Cut::default(),
            merge_bytes: 0,
            recent: Vec::new(),
            tally: ChunkTally::new(inputs.len()),
        }
    }

    /// Replaces `out` with the chunks of the series that overlap `range`, of all inputs, ascending
    /// by first timestamp. Chunks that are deleted wholly are left out.
    pub(crate) fn locate(
        &mut self,
        series: SeriesId,
        range: TimeRange,
        out: &mut Vec<Located>,
    ) -> Result<()> {
        self.meter.check()?;
        out.clear();
        for source in 0..self.inputs.len() {
            self.locate_in(source, series, range, out)?;
        }
        out.sort_by_key(|located| located.chunk.first);
        Ok(())
    }

    /// As [`locate`](Self::locate), appends those of one input.
    pub(crate) fn locate_in(
        &mut self,
        source: usize,
        series: SeriesId,
        range: TimeRange,
        out: &mut Vec<Located>,
    ) -> Result<()> {
        let Some(input) = self.inputs.get(source) else { return Ok(()) };
        self.found.clear();
        input.source.chunks(series, range, &mut self.found)?;
        for &chunk in &self.found {
            let masked = match input.masked(series, chunk.first, chunk.last) {
                Masked::Wholly => continue,
                masked => masked == Masked::Partly,
            };
            out.push(Located { source, series, chunk, masked });
        }
        Ok(())
    }

    /// The statistics of a chunk that nothing overlaps and that lies in `range`, with the window
    /// that holds all of it. `None` where it crosses a window's end, some of it is deleted, or its
    /// source keeps no statistics.
    pub(crate) fn statistics(
        &mut self,
        located: &Located,
        range: TimeRange,
    ) -> Result<Option<(usize, Partial)>> {
        let Located { chunk, masked, .. } = located;
        let Some(window) = self.windows.holding(chunk.first, chunk.last) else {
            return Ok(None);
        };
        if *masked || !range.covers(chunk.first, chunk.last) {
            return Ok(None);
        }
        Ok(self.statistics_of(located)?.map(|partial| (window, partial)))
    }

    /// The statistics of a chunk that nothing overlaps, whether or not it lies in a range; `None`
    /// where some of it is deleted, or its source keeps none.
    pub(crate) fn statistics_of(&mut self, located: &Located) -> Result<Option<Partial>> {
        let Located { source, chunk, masked, .. } = located;
        let Some(input) = self.inputs.get(*source).filter(|_| !masked) else { return Ok(None) };
        let statistics = input.source.statistics(chunk)?;
        if statistics.is_some() {
            self.tally.from_statistics += 1;
            self.tally.read(*source);
        }
        Ok(statistics)
    }

    /// Decodes a run of overlapping chunks, or a single chunk, and keeps what lies in `range`.
    pub(crate) fn read(&mut self, run: &[Located], range: TimeRange) -> Result<Decoded<'_>> {
        self.meter.check()?;
        let within = (range != self.windows.range()).then_some(range);
        if let [single] = run
            && !single.masked
        {
            let (column, values) = self.read_chunk(single)?;
            let CutColumn { timestamps, cut } = column;
            return Ok(Decoded::new((timestamps, values, cut), within));
        }
        self.merge(run)?;
        self.merged_cut.split(&self.windows, &self.merged.timestamps);
        let Columns { timestamps, values } = &self.merged;
        Ok(Decoded::new((timestamps, values, &self.merged_cut), within))
    }

    /// The chunk's timestamps, deleted ones too.
    pub(crate) fn timestamps(&mut self, located: &Located) -> Result<&[i64]> {
        self.meter.check()?;
        let Some(input) = self.inputs.get(located.source) else { return Ok(&[]) };
        let column =
            self.cache.column(located.source, input.source, &located.chunk, &self.windows)?;
        Ok(&column.timestamps)
    }

    /// Replaces `out` with the series' samples in `bucket`; what inputs of a rank above `rank` hold
    /// is newer. Chunks decoded for the bucket before are not decoded again.
    pub(crate) fn read_bucket(
        &mut self,
        series: SeriesId,
        bucket: TimeRange,
        rank: u64,
        out: &mut BucketSamples,
    ) -> Result<()> {
        let mut located = Vec::new();
        self.locate(series, bucket, &mut located)?;
        // Of one source ascending in time: a later chunk of it continues the stream.
        let mut streams = std::mem::take(&mut self.streams);
        streams.iter_mut().for_each(Columns::clear);
        streams.resize_with(self.inputs.len(), Columns::default);
        for located in &located {
            let decoded = self.recent(located)?;
            let Some(stream) = streams.get_mut(located.source) else { continue };
            let below =
                |point: Timestamp| decoded.timestamps.partition_point(|&time| time < point.0);
            append(decoded, below(bucket.start)..below(bucket.end), stream);
        }
        let older = self.inputs.partition_point(|input| input.rank <= rank);
        let (older, newer) = streams.split_at(older.min(streams.len()));
        merge_latest_wins(older, &mut out.all);
        out.older = out.all.values.iter().filter(|value| !is_stale(**value)).count() as u64;
        merge_latest_wins(newer, &mut out.newer);
        merge_latest_wins(&streams, &mut out.all);
        self.streams = streams;
        Ok(())
    }

    /// The chunk's samples that are not deleted, decoded unless it was the last of its input.
    fn recent(&mut self, located: &Located) -> Result<&Columns> {
        let index = located.source;
        self.recent.resize_with(self.inputs.len(), || None);
        let known = |held: &Option<(ChunkRef, Columns)>| {
            held.as_ref().is_some_and(|(chunk, _)| *chunk == located.chunk)
        };
        if !self.recent.get(index).is_some_and(known) {
            let mut columns = Columns::default();
            self.append_chunk(located, &mut columns)?;
            if let Some(held) = self.recent.get_mut(index) {
                *held = Some((located.chunk, columns));
            }
        }
        let held = self.recent.get(index).and_then(Option::as_ref);
        held.map(|(_, columns)| columns).ok_or_else(|| wrong_length(0, &located.chunk, 0))
    }

    /// Appends the chunk's samples that are not deleted.
    fn append_chunk(&mut self, located: &Located, out: &mut Columns) -> Result<()> {
        let input = self.inputs.get(located.source);
        let (column, values) = self.read_chunk(located)?;
        match input.filter(|_| located.masked) {
            None => {
                out.timestamps.extend_from_slice(&column.timestamps);
                out.values.extend_from_slice(values);
            }
            Some(input) => {
                let rows = column.timestamps.iter().zip(values);
                let kept = rows.filter(|(time, _)| !input.is_masked(located.series, **time));
                for (&time, &value) in kept {
                    out.timestamps.push(time);
                    out.values.push(value);
                }
            }
        }
        Ok(())
    }

    fn read_chunk(&mut self, located: &Located) -> Result<(&CutColumn, &[f64])> {
        let Located { source: index, chunk, .. } = located;
        let Some(input) = self.inputs.get(*index) else {
            return Err(wrong_length(0, chunk, 0));
        };
        self.meter.decode(chunk.samples)?;
        self.tally.decoded += 1;
        self.tally.samples += u64::from(chunk.samples);
        self.tally.read(*index);
        input.source.read_values(chunk, &mut self.values)?;
        let column = self.cache.column(*index, input.source, chunk, &self.windows)?;
        for length in [self.values.len(), column.timestamps.len()] {
            if length != chunk.samples as usize {
                return Err(wrong_length(input.rank, chunk, length));
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
        streams.resize_with(self.inputs.len(), Columns::default);
        for (stream, chunks) in streams.iter_mut().zip(by_source) {
            for located in chunks {
                self.meter.check()?;
                self.append_chunk(located, stream)?;
            }
        }
        merge_latest_wins(&streams, &mut self.merged);
        self.streams = streams;
        Ok(())
    }
}

fn append(from: &Columns, rows: Range<usize>, out: &mut Columns) {
    out.timestamps.extend_from_slice(from.timestamps.get(rows.clone()).unwrap_or_default());
    out.values.extend_from_slice(from.values.get(rows).unwrap_or_default());
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.meter.release(self.merge_bytes);
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
struct CutColumn {
    timestamps: Vec<i64>,
    cut: Cut,
}

impl CutColumn {
    fn bytes(&self) -> usize {
        size_of_val(&*self.timestamps) + self.cut.bytes()
    }
}

/// Timestamp columns by source and number. Series scraped together share a column, so it is
/// decoded and cut once for all of them that a task reads.
struct TimestampCache {
    bytes_max: usize,
    columns: HashMap<(usize, u64), CutColumn>,
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
    ) -> Result<&CutColumn> {
        let key = (index, chunk.timestamps);
        let mut recycled = CutColumn::default();
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
                recycled.cut.split(windows, &recycled.timestamps);
                self.bytes += recycled.bytes();
                self.keys.push(key);
                Ok(place.insert(recycled))
            }
        }
    }

    /// Throws out a column picked without regard to use. Every series walks the same columns in
    /// the same order, so that throwing out the least recently used one would always hit the one
    /// needed next.
    fn evict(&mut self) -> CutColumn {
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
        // A column of ten timestamps in one window is 104 bytes: nine fit, ten are walked.
        let mut cache = TimestampCache::new(9 * 104);
        for _series in 0..100 {
            for id in 0..10 {
                let column = cache.column(0, &source, &chunk(id, 10), &windows).unwrap();
                assert_eq!(column.timestamps[0], 100 * id);
                let whole = WindowRows { window: 0, rows: 0..10 };
                assert!(column.cut.pieces(0..10).eq([whole]));
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
                let chunk = ChunkRef { first, last, ..chunk(0, 2) };
                Located { source: 0, series: SeriesId(0), chunk, masked: false }
            })
            .collect();
        let lengths: Vec<usize> = runs(&located).map(<[Located]>::len).collect();
        assert_eq!(lengths, [1, 4, 1]);
    }
}
