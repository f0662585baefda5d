//! The walk over one series in time order: stretch by stretch, from records or from raw samples.
//!
//! A bucket that a raw source wrote to after the tier had taken in the others, or that a delete
//! touches which the tier has not taken in, is *dirty*: it is folded from raw samples. Where those
//! that the record was made of are gone, what came later is merged into the record instead.

use std::iter::Peekable;

use super::bucket::{self, Bucket};
use super::evidence::{ChunkTally, Ledger, Tally};
use super::inputs::{Inputs, Masked};
use super::meter::Meter;
use super::plan::{Planner, SeriesPlan, Stretch, TierChoice};
use super::scan::{Located, Reader, runs};
use super::stored::{RecordReader, Stored};
use super::threshold::Threshold;
use super::windows::Windows;
use crate::aggregate::{Needs, Partial, SketchRef};
use crate::error::Result;
use crate::model::SeriesId;
use crate::segment::Columns;
use crate::time::{Tier, TimeRange, Timestamp};

/// Most buckets whose records are read at once: two long chunks of records; of those with sketches what
/// their sources give in one piece.
const BUCKETS_MAX: i64 = 8192;
/// How much time of a recorded distribution is read at once: at one record every 10 s, 2,160.
const RECORDED_NANOS: i64 = 6 * Tier::HOUR.nanos();

/// What a walk hands over, ascending in time; nothing lies in two windows.
pub(crate) trait Sink {
    /// So many samples come next, at most.
    ///
    /// # Errors
    /// [`Limit`](crate::Error::Limit) where keeping them would take too much memory.
    fn expect(&mut self, samples: u64) -> Result<()>;

    /// Samples of one window: timestamps and values of equal length.
    fn samples(&mut self, window: usize, timestamps: &[i64], values: &[f64]);

    /// Samples of windows that hold few: the window of each, ascending, its time and its value.
    /// Whether they were taken in; else they come [window by window](Self::samples).
    fn numbered(&mut self, _windows: &[u32], _timestamps: &[i64], _values: &[f64]) -> bool {
        false
    }

    /// A record, or the statistics of a chunk; with the record's sketch if it has one. `whole` says that
    /// nothing else comes of the window.
    ///
    /// # Errors
    /// As [`expect`](Self::expect).
    fn partial(
        &mut self,
        window: usize,
        partial: &Partial,
        sketch: Option<SketchRef<'_>>,
        whole: bool,
    ) -> Result<()>;
}

/// Walks series for one task; its buffers are reused from series to series.
pub(crate) struct Walker<'a> {
    pub(super) inputs: &'a Inputs<'a>,
    pub(super) windows: Windows,
    needs: Needs,
    filter: Option<Threshold>,
    /// What passes the filter, of one window.
    passed: Columns,
    ledger: &'a Ledger,
    pub(super) reader: Reader<'a>,
    planner: Planner<'a>,
    pub(super) located: Vec<Located>,
    pub(super) records: RecordReader<'a>,
    /// Indexes of the recorded inputs that hold the series.
    pub(super) recorded_in: Vec<usize>,
    /// The closed spans that raw chunks and records of the series take in the current stretch.
    pub(super) spans: Vec<(i64, i64)>,
    /// Starts of the series' dirty buckets, ascending.
    dirty: Vec<i64>,
    bucket: Bucket<'a>,
    pub(super) tally: Tally,
}

impl<'a> Walker<'a> {
    pub(crate) fn new(
        inputs: &'a Inputs<'a>,
        windows: Windows,
        needs: Needs,
        choice: TierChoice,
        (meter, ledger): (&'a Meter<'a>, &'a Ledger),
    ) -> Self {
        Self {
            inputs,
            windows,
            needs,
            filter: None,
            passed: Columns::default(),
            ledger,
            reader: Reader::new(&inputs.samples, windows, meter),
            planner: Planner::new(inputs, &windows, needs, choice),
            located: Vec::new(),
            records: RecordReader::new(meter),
            recorded_in: Vec::new(),
            spans: Vec::new(),
            dirty: Vec::new(),
            bucket: Bucket::new(inputs, meter),
            tally: Tally::default(),
        }
    }

    /// Hands over only samples that pass; nothing of distributions.
    pub(crate) fn with_filter(mut self, filter: Option<Threshold>) -> Self {
        self.filter = filter;
        self
    }

    /// What it did so far, in samples: looking for records, reading one or the statistics of a chunk
    /// are as many as they take the time of.
    pub(crate) fn work(&self) -> u64 {
        let ChunkTally { from_statistics, samples, .. } = &self.reader.tally;
        let RecordReader { reads, records_read, .. } = &self.records;
        samples + 32 * (from_statistics + records_read) + 1024 * reads
    }

    /// Hands what the series holds to `sink`.
    ///
    /// # Errors
    /// Those of the sources, of the meter and of the sink.
    pub(crate) fn series(&mut self, series: SeriesId, sink: &mut impl Sink) -> Result<()> {
        self.recorded_in.clear();
        for (index, input) in self.inputs.recorded.iter().enumerate() {
            if input.source.holds(series)? {
                self.recorded_in.push(index);
            }
        }
        let (plan, fresh) = self.planner.plan(series, !self.recorded_in.is_empty())?;
        if fresh {
            self.tally.planned(&plan);
        }
        self.find_dirty(series, &plan)?;
        let dirty = std::mem::take(&mut self.dirty);
        for stretch in &plan.stretches {
            if stretch.tier.is_raw() {
                self.raw(series, stretch.range, sink)?;
            } else {
                self.stored(series, stretch, &dirty, sink)?;
            }
        }
        self.dirty = dirty;
        Ok(())
    }

    /// Hands over the raw samples of a range, stale markers among them, run by run; only runs whose
    /// span is `wanted`, if that is said.
    pub(crate) fn samples(
        &mut self,
        series: SeriesId,
        range: TimeRange,
        wanted: Option<&dyn Fn(Timestamp, Timestamp) -> bool>,
        mut visit: impl FnMut(&[i64], &[f64]) -> Result<()>,
    ) -> Result<()> {
        let (plan, fresh) = self.planner.plan(series, false)?;
        if fresh {
            self.tally.planned(&plan);
        }
        self.reader.locate(series, range, &mut self.located)?;
        for run in runs(&self.located) {
            let last = run.iter().map(|located| located.chunk.last).max();
            let span = run.first().map(|located| located.chunk.first).zip(last);
            if wanted.zip(span).is_some_and(|(wanted, (first, last))| !wanted(first, last)) {
                continue;
            }
            for (_, timestamps, values) in self.reader.read(run, range)?.windows() {
                visit(timestamps, values)?;
            }
        }
        if self.inputs.tiers.is_empty() {
            return Ok(());
        }
        self.spans.clear();
        let spans = self.located.iter().map(|Located { chunk, .. }| (chunk.first.0, chunk.last.0));
        self.spans.extend(spans);
        self.find_gaps(series, range)
    }

    /// Hands over what a range holds of raw samples and of recorded distributions.
    fn raw(&mut self, series: SeriesId, range: TimeRange, sink: &mut impl Sink) -> Result<()> {
        self.spans.clear();
        if let Some(filter) = self.filter {
            self.filtered_samples(series, range, filter, sink)?;
        } else if self.recorded_in.is_empty() {
            self.raw_samples(series, range, sink)?;
        } else {
            self.raw_recorded(series, range, sink)?;
        }
        if self.inputs.tiers.is_empty() { Ok(()) } else { self.find_gaps(series, range) }
    }

    fn raw_samples(
        &mut self,
        series: SeriesId,
        range: TimeRange,
        sink: &mut impl Sink,
    ) -> Result<()> {
        self.reader.locate(series, range, &mut self.located)?;
        sink.expect(self.located.iter().map(|located| u64::from(located.chunk.samples)).sum())?;
        for run in runs(&self.located) {
            if let [single] = run
                && self.needs.in_partial()
                && let Some((window, partial)) = self.reader.statistics(single, range)?
            {
                sink.partial(window, &partial, None, false)?;
            } else {
                let run = self.reader.read(run, range)?;
                let (numbers, timestamps, values) = run.numbered();
                if !sink.numbered(numbers, timestamps, values) {
                    for (window, timestamps, values) in run.windows() {
                        sink.samples(window, timestamps, values);
                    }
                }
            }
        }
        let spans = self.located.iter().map(|Located { chunk, .. }| (chunk.first.0, chunk.last.0));
        self.spans.extend(spans);
        Ok(())
    }

    /// As [`raw_samples`](Self::raw_samples), of those that pass.
    fn filtered_samples(
        &mut self,
        series: SeriesId,
        range: TimeRange,
        filter: Threshold,
        sink: &mut impl Sink,
    ) -> Result<()> {
        let Self { reader, located, passed, .. } = self;
        reader.locate(series, range, located)?;
        for run in runs(located) {
            if let [single] = run
                && let Some(partial) = reader.statistics_of(single)?
                && !filter.may_pass(&partial)
            {
                continue;
            }
            for (window, timestamps, values) in reader.read(run, range)?.windows() {
                passed.clear();
                for (&time, &value) in timestamps.iter().zip(values) {
                    if filter.passes(value) {
                        passed.timestamps.push(time);
                        passed.values.push(value);
                    }
                }
                if !passed.values.is_empty() {
                    sink.expect(passed.values.len() as u64)?;
                    sink.samples(window, &passed.timestamps, &passed.values);
                }
            }
        }
        let spans = located.iter().map(|Located { chunk, .. }| (chunk.first.0, chunk.last.0));
        self.spans.extend(spans);
        Ok(())
    }

    /// A distribution's records, and samples between them should there be any.
    fn raw_recorded(
        &mut self,
        series: SeriesId,
        range: TimeRange,
        sink: &mut impl Sink,
    ) -> Result<()> {
        let mut span = TimeRange::new(range.end, range.start);
        let mut widen = |first: Timestamp, end: Timestamp| {
            span = TimeRange::new(span.start.min(first), span.end.max(end));
        };
        for &index in &self.recorded_in {
            let Some(input) = self.inputs.recorded.get(index) else { continue };
            let window = input.source.window();
            if window != TimeRange::ALL {
                widen(window.start, window.end);
                continue;
            }
            // A head holds little, and does not say from when to when.
            let read = |_, _| ();
            self.records.read(&self.inputs.recorded, [index], (series, range), read)?;
            for row in self.records.rows() {
                widen(Timestamp(row.start), Timestamp(row.start.saturating_add(1)));
            }
        }
        self.reader.locate(series, range, &mut self.located)?;
        for Located { chunk, .. } in &self.located {
            widen(chunk.first, Timestamp(chunk.last.0.saturating_add(1)));
        }
        let end = range.end.min(span.end);
        let mut start = range.start.max(span.start);
        while start < end {
            let block =
                TimeRange::new(start, Timestamp(start.0.saturating_add(RECORDED_NANOS)).min(end));
            self.recorded_block(series, block, sink)?;
            start = block.end;
        }
        Ok(())
    }

    fn recorded_block(
        &mut self,
        series: SeriesId,
        block: TimeRange,
        sink: &mut impl Sink,
    ) -> Result<()> {
        let Self { inputs, windows, needs, reader, located, records, spans, tally, .. } = self;
        let chosen = self.recorded_in.iter().copied();
        let read = |input, count| tally.records(Tier::RAW, input, count);
        records.read(&inputs.recorded, chosen, (series, block), read)?;
        reader.locate(series, block, located)?;
        sink.expect(located.iter().map(|located| u64::from(located.chunk.samples)).sum())?;
        let there = |row: &Stored<'_>| {
            let input = inputs.recorded.get(row.from);
            input.is_some_and(|input| !input.is_masked(series, row.start))
        };
        let mut rows = records.rows().filter(there).peekable();
        for run in runs(located) {
            for piece in reader.read(run, block)?.windows() {
                interleave(piece, &mut rows, windows, *needs, sink)?;
            }
        }
        for row in rows {
            hand_over(&row, Tier::RAW, windows, *needs, sink)?;
        }
        spans.extend(located.iter().map(|Located { chunk, .. }| (chunk.first.0, chunk.last.0)));
        spans.extend(records.rows().map(|row| (row.start, row.start)));
        Ok(())
    }

    /// Hands over what a tier's records hold of a stretch, but for dirty buckets.
    fn stored(
        &mut self,
        series: SeriesId,
        stretch: &Stretch,
        dirty: &[i64],
        sink: &mut impl Sink,
    ) -> Result<()> {
        let length = stretch.tier.nanos().saturating_mul(BUCKETS_MAX);
        let mut start = stretch.range.start;
        while start < stretch.range.end {
            let mut end = Timestamp(start.0.saturating_add(length)).min(stretch.range.end);
            if self.needs.values {
                let (inputs, range) = (&self.inputs.tiers, TimeRange::new(start, end));
                end = RecordReader::pause(inputs, stretch.inputs.iter().copied(), (series, range))?;
            }
            let bound = |point: Timestamp| dirty.partition_point(|&start| start < point.0);
            let dirty = dirty.get(bound(start)..bound(end)).unwrap_or_default();
            let block = Stretch { range: TimeRange::new(start, end), ..stretch.clone() };
            self.stored_block(series, &block, dirty, sink)?;
            start = end;
        }
        Ok(())
    }

    fn stored_block(
        &mut self,
        series: SeriesId,
        stretch: &Stretch,
        dirty: &[i64],
        sink: &mut impl Sink,
    ) -> Result<()> {
        let Self { inputs, windows, needs, reader, records, tally, bucket, .. } = self;
        let read = |input, count| tally.records(stretch.tier, input, count);
        let chosen = stretch.inputs.iter().copied();
        records.read(&inputs.tiers, chosen, (series, stretch.range), read)?;
        bucket.begin(series, &self.recorded_in);
        let mut dirty = dirty.iter().copied().peekable();
        for row in records.rows() {
            while let Some(early) = dirty.next_if(|&start| start < row.start) {
                bucket.fold(stretch, early, None, reader, tally)?;
                bucket.hand_over(windows, *needs, sink)?;
            }
            let is_dirty = dirty.next_if(|&start| start == row.start).is_some();
            let Some(input) = inputs.tiers.get(row.from).filter(|_| row.partial.count > 0) else {
                if is_dirty {
                    bucket.fold(stretch, row.start, None, reader, tally)?;
                    bucket.hand_over(windows, *needs, sink)?;
                }
                continue;
            };
            let (first, last) = (row.partial.first.timestamp, row.partial.last.timestamp);
            match (input.masked(series, first, last), is_dirty) {
                (Masked::No, false) => {
                    hand_over(&row, stretch.tier, windows, *needs, sink)?;
                }
                (Masked::Wholly, false) => {}
                (masked, _) => {
                    let record = (masked == Masked::No).then_some(row);
                    bucket.fold(stretch, row.start, record, reader, tally)?;
                    if masked == Masked::Partly && bucket.is_empty() {
                        tally.gap(stretch.tier, bucket.range());
                    }
                    bucket.hand_over(windows, *needs, sink)?;
                }
            }
        }
        for late in dirty {
            bucket.fold(stretch, late, None, reader, tally)?;
            bucket.hand_over(windows, *needs, sink)?;
        }
        Ok(())
    }

    /// Finds the buckets that raw sources wrote to after their stretch's tier took in the others.
    fn find_dirty(&mut self, series: SeriesId, plan: &SeriesPlan) -> Result<()> {
        self.dirty.clear();
        for &(index, about) in &plan.later_samples {
            let Some(input) = self.inputs.samples.get(index) else { continue };
            self.located.clear();
            self.reader.locate_in(index, series, about, &mut self.located)?;
            for located in &self.located {
                let chunk = &located.chunk;
                let span = TimeRange::new(chunk.first, chunk.last);
                let behind = |stretch: &&Stretch| stretch.rank < input.rank;
                for stretch in plan.about(span).filter(behind) {
                    let tier = stretch.tier;
                    if tier.floor(chunk.first) == tier.floor(chunk.last) {
                        self.dirty.push(tier.floor(chunk.first).0);
                    } else {
                        bucket::touched(self.reader.timestamps(located)?, stretch, &mut self.dirty);
                    }
                }
            }
        }
        for &(index, about) in &plan.later_recorded {
            let Some(input) = self.inputs.recorded.get(index) else { continue };
            if !self.recorded_in.contains(&index) {
                continue;
            }
            let read = |_, _| ();
            self.records.read(&self.inputs.recorded, [index], (series, about), read)?;
            let starts: Vec<i64> = self.records.rows().map(|row| row.start).collect();
            for stretch in plan.about(about).filter(|stretch| stretch.rank < input.rank) {
                bucket::touched(&starts, stretch, &mut self.dirty);
            }
        }
        self.dirty.sort_unstable();
        self.dirty.dedup();
        Ok(())
    }
}

impl Drop for Walker<'_> {
    fn drop(&mut self) {
        self.tally.chunks(&self.reader.tally);
        self.ledger.add(&self.tally);
    }
}

/// Hands over one record of a tier; it is all of its window where the bucket is the window. One of raw
/// stands at a time and is no bucket.
pub(super) fn hand_over(
    row: &Stored<'_>,
    tier: Tier,
    windows: &Windows,
    needs: Needs,
    sink: &mut impl Sink,
) -> Result<()> {
    let Some(window) = windows.index(Timestamp(row.start)) else { return Ok(()) };
    let end = Timestamp(row.start.saturating_add(tier.nanos()));
    let whole =
        !tier.is_raw() && windows.get(window) == Some(TimeRange::new(Timestamp(row.start), end));
    sink.partial(window, row.partial, row.sketch.filter(|_| needs.values), whole)
}

/// Hands over samples of one window, and between them the records that come before the last.
pub(super) fn interleave<'r>(
    (window, mut timestamps, mut values): (usize, &[i64], &[f64]),
    rows: &mut Peekable<impl Iterator<Item = Stored<'r>>>,
    windows: &Windows,
    needs: Needs,
    sink: &mut impl Sink,
) -> Result<()> {
    while let Some(&last) = timestamps.last()
        && let Some(row) = rows.next_if(|row| row.start <= last)
    {
        let before = timestamps.partition_point(|&time| time < row.start);
        let (earlier_times, later_times) = timestamps.split_at(before);
        let (earlier_values, later_values) = values.split_at(before);
        if before > 0 {
            sink.samples(window, earlier_times, earlier_values);
        }
        hand_over(&row, Tier::RAW, windows, needs, sink)?;
        (timestamps, values) = (later_times, later_values);
    }
    if !timestamps.is_empty() {
        sink.samples(window, timestamps, values);
    }
    Ok(())
}
