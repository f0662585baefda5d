//! How the chunks of one group of series become its new chunks: worked out once on the timestamps,
//! followed by the values of each series.
//!
//! Chunks that nothing overlaps and nothing was deleted from are stretches as they are; others are
//! decoded and woven. A stretch that is a whole chunk, and long enough, is copied undecoded;
//! whatever lies between two of these is cut into chunks of even length, as long as they may be.

use std::cell::RefCell;
use std::ops::Range;

use super::inputs::Inputs;
use super::survey::Source;
use crate::error::{DecodeError, Error, Result};
use crate::segment::{EncodedTimestamps, EncodedValues, weave_latest_wins};
use crate::time::{TimeRange, Timestamp};

/// What weaving needs to know of the merge.
#[derive(Clone, Copy)]
pub(super) struct Loom<'a> {
    pub(super) inputs: &'a Inputs<'a>,
    pub(super) chunk_samples_max: usize,
}

/// The new chunks of a group, in a stretch of time.
#[derive(Default)]
pub(super) struct Weave {
    /// One a chunk, ascending.
    pub(super) timestamps: Vec<EncodedTimestamps>,
    chunks: Vec<Cut>,
}

/// Where the values of a new chunk come from. Columns are indexes into the sources of a series.
enum Cut {
    /// A chunk as it is.
    Copied(u32),
    /// Rows of some.
    Woven { timestamps: Vec<i64>, columns: Vec<u32>, runs: Vec<Run> },
}

/// Successive rows of a column; in a [`Cut`] the column is an index into its columns. Small, since
/// there may be one for every row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    column: u32,
    start: u32,
    length: u32,
}

impl Run {
    const fn new(column: u32, rows: Range<usize>) -> Self {
        // A chunk has at most 65,536 rows.
        Self { column, start: rows.start as u32, length: (rows.end - rows.start) as u32 }
    }

    /// The rows of the column.
    const fn rows(&self) -> Range<usize> {
        self.start as usize..(self.start + self.length) as usize
    }

    const fn len(&self) -> usize {
        self.length as usize
    }
}

thread_local! {
    /// Decoded columns, and the values woven from them.
    static VALUES: RefCell<(Vec<Vec<f64>>, Vec<f64>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

impl Weave {
    /// The values of one series' new chunk; `sources` are the series' own.
    pub(super) fn values(
        &self,
        inputs: &Inputs<'_>,
        sources: &[Source],
        chunk: usize,
    ) -> Result<EncodedValues> {
        let source = |column: u32| sources.get(column as usize).ok_or_else(lost);
        let corrupt = |source: &Source, error| source.corrupt(inputs, error);
        match self.chunks.get(chunk).ok_or_else(lost)? {
            Cut::Copied(column) => {
                let source = source(*column)?;
                source.segment.copy_values(&source.chunk).map_err(|error| corrupt(source, error))
            }
            Cut::Woven { timestamps, columns, runs } => VALUES.with_borrow_mut(|buffers| {
                let (decoded, woven) = buffers;
                decoded.resize_with(columns.len().max(decoded.len()), Vec::new);
                for (column, out) in columns.iter().zip(decoded.iter_mut()) {
                    let source = source(*column)?;
                    let read = source.segment.read_values(&source.chunk, out);
                    read.map_err(|error| corrupt(source, error))?;
                }
                woven.clear();
                for run in runs {
                    let column = decoded.get(run.column as usize);
                    let values = column.and_then(|values| values.get(run.rows()));
                    woven.extend_from_slice(values.ok_or_else(lost)?);
                }
                Ok(EncodedValues::of(timestamps, woven))
            }),
        }
    }
}

/// A plan that does not fit its sources.
fn lost() -> Error {
    let reason = "rows that the chunks do not have".to_owned();
    Error::InvalidArgument { what: "chunks of a merge", reason }
}

impl Source {
    fn corrupt(&self, inputs: &Inputs<'_>, error: DecodeError) -> Error {
        match inputs.parts.get(self.part as usize) {
            Some(part) => part.corrupt(self.number, error),
            None => Error::corrupt("", 0, error),
        }
    }

    pub(super) fn timestamps(&self, inputs: &Inputs<'_>, out: &mut Vec<i64>) -> Result<()> {
        let read = self.segment.read_timestamps(self.chunk.timestamps, out);
        read.map_err(|error| self.corrupt(inputs, error))
    }

    /// Whether two chunks stand at the same timestamps.
    pub(super) fn shares_timestamps(&self, inputs: &Inputs<'_>, other: &Self) -> Result<bool> {
        let (own, others) = (self.chunk.timestamps, other.chunk.timestamps);
        let shared = self.segment.shares_timestamps(own, &other.segment, others);
        shared.map_err(|error| self.corrupt(inputs, error))
    }
}

impl<'a> Loom<'a> {
    /// Works out the new chunks of series that have the timestamps of `sources` (ascending by their
    /// first) and are in `mask_set`, as far as they lie in `range`.
    pub(super) fn weave(
        self,
        sources: &'a [Source],
        mask_set: u32,
        range: TimeRange,
    ) -> Result<Weave> {
        let mut work = Work {
            loom: self,
            sources,
            mask_set,
            range,
            weave: Weave::default(),
            times: Vec::new(),
            runs: Vec::new(),
        };
        let columns = (0..).zip(sources);
        let columns: Vec<(u32, &Source)> = columns
            .filter(|(_, source)| range.overlaps(source.chunk.first, source.chunk.last))
            .collect();
        let mut reach = Timestamp::MIN;
        let clusters = columns.chunk_by(|one, next| {
            reach = reach.max(one.1.chunk.last);
            next.1.chunk.first <= reach
        });
        for cluster in clusters {
            match cluster {
                [(column, source)] if work.is_untouched(source) => work.whole(*column, source)?,
                _ => work.overlapping(cluster)?,
            }
        }
        work.flush()?;
        Ok(work.weave)
    }
}

/// A [`Weave`] being worked out.
struct Work<'a> {
    loom: Loom<'a>,
    sources: &'a [Source],
    mask_set: u32,
    range: TimeRange,
    weave: Weave,
    /// What is to be cut into chunks: where from, and when.
    runs: Vec<Run>,
    times: Vec<i64>,
}

/// The rows that a part adds to a cluster.
#[derive(Default)]
struct Stream {
    times: Vec<i64>,
    /// Where in `times` rows of a column begin, and which rows these are.
    runs: Vec<(usize, Run)>,
}

impl Work<'_> {
    /// Whether every sample of a chunk stays.
    fn is_untouched(&self, source: &Source) -> bool {
        let (first, last) = (source.chunk.first, source.chunk.last);
        let mut deleted = self.loom.inputs.deleted(self.mask_set, source.part);
        self.range.covers(first, last) && !deleted.any(|range| range.overlaps(first, last))
    }

    /// Whether a run is a whole chunk that is long enough to be copied.
    fn is_long(&self, run: &Run) -> bool {
        self.is_whole(run) && 2 * run.len() >= self.loom.chunk_samples_max
    }

    fn is_whole(&self, run: &Run) -> bool {
        let chunk = self.sources.get(run.column as usize).map(|source| &source.chunk);
        run.start == 0 && chunk.is_some_and(|chunk| chunk.samples == run.length)
    }

    /// Adds a chunk that stays as it is and that nothing overlaps.
    fn whole(&mut self, column: u32, source: &Source) -> Result<()> {
        let run = Run { column, start: 0, length: source.chunk.samples };
        if self.is_long(&run) {
            return self.copy(column);
        }
        let mut times = Vec::new();
        source.timestamps(self.loom.inputs, &mut times)?;
        self.times.append(&mut times);
        self.runs.push(run);
        Ok(())
    }

    /// Adds chunks that overlap each other, the range's ends, or what was deleted.
    fn overlapping(&mut self, cluster: &[(u32, &Source)]) -> Result<()> {
        let mut by_part = cluster.to_vec();
        by_part.sort_by_key(|(_, source)| source.part);
        let streams = by_part.chunk_by(|one, next| one.1.part == next.1.part);
        let streams = streams.map(|chunks| self.stream(chunks)).collect::<Result<Vec<_>>>()?;
        let times: Vec<&[i64]> = streams.iter().map(|stream| &*stream.times).collect();
        let (mut merged, mut runs) = (Vec::new(), Vec::new());
        weave_latest_wins(&times, |index, rows| {
            let Some(stream) = streams.get(index) else { return };
            merged.extend_from_slice(stream.times.get(rows.clone()).unwrap_or_default());
            stream.split(rows, |run| push(&mut runs, run));
        });
        let mut row = 0;
        for run in runs {
            let rows = row..row + run.len();
            row = rows.end;
            if self.is_long(&run) {
                self.copy(run.column)?;
            } else {
                self.times.extend_from_slice(merged.get(rows).unwrap_or_default());
                self.runs.push(run);
            }
        }
        Ok(())
    }

    /// What is left of a part's chunks, which ascend in time.
    fn stream(&self, chunks: &[(u32, &Source)]) -> Result<Stream> {
        let mut stream = Stream::default();
        let mut times = Vec::new();
        for &(column, source) in chunks {
            source.timestamps(self.loom.inputs, &mut times)?;
            let deleted = self.loom.inputs.deleted(self.mask_set, source.part);
            let deleted: Vec<Range<usize>> = deleted.map(|range| rows_of(&times, range)).collect();
            let within = rows_of(&times, self.range);
            let mut start = within.start;
            while start < within.end {
                if let Some(gone) = deleted.iter().find(|gone| gone.contains(&start)) {
                    start = gone.end;
                    continue;
                }
                let ends = deleted.iter().map(|gone| gone.start).filter(|&gone| gone > start);
                let end = ends.min().unwrap_or(within.end).min(within.end);
                stream.runs.push((stream.times.len(), Run::new(column, start..end)));
                stream.times.extend_from_slice(times.get(start..end).unwrap_or_default());
                start = end;
            }
        }
        Ok(stream)
    }

    /// Ends what is to be cut before a chunk that is copied, and copies that.
    fn copy(&mut self, column: u32) -> Result<()> {
        self.flush()?;
        let source = self.sources.get(column as usize).ok_or_else(lost)?;
        let copied = source.segment.copy_timestamps(source.chunk.timestamps);
        let copied = copied.map_err(|error| source.corrupt(self.loom.inputs, error))?;
        self.weave.timestamps.push(copied);
        self.weave.chunks.push(Cut::Copied(column));
        Ok(())
    }

    /// Cuts what has gathered into chunks of even length: each at least half as long as it may be
    /// where there is more than one, so that the next merge copies them.
    fn flush(&mut self) -> Result<()> {
        let (runs, times) = (std::mem::take(&mut self.runs), std::mem::take(&mut self.times));
        if let [run] = &*runs
            && self.is_whole(run)
        {
            return self.copy(run.column);
        }
        let mut rest = runs.into_iter();
        let mut open = rest.next();
        let chunks = times.len().div_ceil(self.loom.chunk_samples_max.max(1));
        for chunk in 0..chunks {
            let rows = chunk * times.len() / chunks..(chunk + 1) * times.len() / chunks;
            let mut missing = rows.len() as u32;
            let mut runs = Vec::new();
            while missing > 0
                && let Some(run) = open
            {
                let length = run.length.min(missing);
                runs.push(Run { length, ..run });
                missing -= length;
                let left = Run { start: run.start + length, length: run.length - length, ..run };
                open = if left.length > 0 { Some(left) } else { rest.next() };
            }
            self.cut(times.get(rows).unwrap_or_default(), runs)?;
        }
        Ok(())
    }

    fn cut(&mut self, times: &[i64], mut runs: Vec<Run>) -> Result<()> {
        if !times.is_sorted_by(|one, next| one < next) {
            let what = "timestamps of overlapping chunks";
            let (found, expected) = (times.len() as u64, "ascending in each part");
            let source = runs.first().and_then(|run| self.sources.get(run.column as usize));
            let source = source.ok_or_else(lost)?;
            let error = DecodeError::Invalid { what, found, expected };
            return Err(source.corrupt(self.loom.inputs, error));
        }
        let mut columns: Vec<u32> = runs.iter().map(|run| run.column).collect();
        columns.sort_unstable();
        columns.dedup();
        for run in &mut runs {
            run.column = columns.binary_search(&run.column).unwrap_or_default() as u32;
        }
        self.weave.timestamps.push(EncodedTimestamps::of(times));
        self.weave.chunks.push(Cut::Woven { timestamps: times.to_vec(), columns, runs });
        Ok(())
    }
}

impl Stream {
    /// The rows of columns that rows of the stream are.
    fn split(&self, rows: Range<usize>, mut each: impl FnMut(Run)) {
        let from = self.runs.partition_point(|(begin, run)| begin + run.len() <= rows.start);
        for &(begin, run) in self.runs.iter().skip(from) {
            if begin >= rows.end {
                return;
            }
            let (start, end) = (rows.start.max(begin), rows.end.min(begin + run.len()));
            let first = run.rows().start + start - begin;
            each(Run::new(run.column, first..first + end - start));
        }
    }
}

/// Appends a run, to the one before where it continues that.
fn push(runs: &mut Vec<Run>, run: Run) {
    match runs.last_mut() {
        Some(last) if last.column == run.column && last.start + last.length == run.start => {
            last.length += run.length;
        }
        _ => runs.push(run),
    }
}

/// Which of ascending timestamps lie in the range.
fn rows_of(times: &[i64], range: TimeRange) -> Range<usize> {
    let start = times.partition_point(|&time| time < range.start.0);
    let end = times.partition_point(|&time| time < range.end.0);
    start..end.max(start)
}
