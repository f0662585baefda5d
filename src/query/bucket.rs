//! One bucket of a tier, folded from raw: all that count of it, told apart by whether the tier had
//! taken them in.

use std::ops::Range;

use super::evidence::Tally;
use super::inputs::Inputs;
use super::meter::Meter;
use super::plan::Stretch;
use super::scan::{BucketSamples, Reader};
use super::stored::{RecordReader, Stored};
use super::walk::{Sink, hand_over, interleave};
use super::windows::Windows;
use crate::aggregate::{Needs, Partial, Sketch, SketchRef};
use crate::error::Result;
use crate::model::SeriesId;
use crate::segment::Columns;
use crate::time::{Tier, TimeRange, Timestamp};

/// A bucket of one series, and the buffers it is folded in.
pub(crate) struct Bucket<'a> {
    inputs: &'a Inputs<'a>,
    series: SeriesId,
    /// Indexes of the recorded inputs that hold the series.
    recorded_in: Vec<usize>,
    range: TimeRange,
    samples: BucketSamples,
    recorded: RecordReader<'a>,
    /// What came later, merged into a record whose own samples are gone.
    merged: Option<(Partial, Sketch)>,
}

impl<'a> Bucket<'a> {
    pub(crate) fn new(inputs: &'a Inputs<'a>, meter: &'a Meter<'a>) -> Self {
        Self {
            inputs,
            series: SeriesId(0),
            recorded_in: Vec::new(),
            range: TimeRange::new(Timestamp(0), Timestamp(0)),
            samples: BucketSamples::default(),
            recorded: RecordReader::new(meter),
            merged: None,
        }
    }

    /// The buckets that follow are of this series, which these recorded inputs hold.
    pub(crate) fn begin(&mut self, series: SeriesId, recorded_in: &[usize]) {
        self.series = series;
        self.recorded_in.clear();
        self.recorded_in.extend_from_slice(recorded_in);
    }

    /// Folds the bucket that starts at `start`; `record` is what its tier holds of it, if that
    /// still counts. Afterwards it can be handed over.
    pub(crate) fn fold(
        &mut self,
        stretch: &Stretch,
        start: i64,
        record: Option<Stored<'_>>,
        reader: &mut Reader<'_>,
        tally: &mut Tally,
    ) -> Result<()> {
        tally.dirty_buckets += 1;
        let end = start.saturating_add(stretch.tier.nanos());
        self.range = TimeRange::new(Timestamp(start), Timestamp(end));
        self.merged = None;
        reader.read_bucket(self.series, self.range, stretch.rank, &mut self.samples)?;
        if let Some(record) = record {
            self.read_recorded(|rank| rank <= stretch.rank, tally)?;
            let recorded: u64 = self.recorded_rows().map(|row| row.partial.count).sum();
            if self.samples.older + recorded < record.partial.count {
                self.read_recorded(|rank| rank > stretch.rank, tally)?;
                self.merged = Some(self.merged_into(&record));
                return Ok(());
            }
        }
        self.read_recorded(|_| true, tally)
    }

    fn read_recorded(&mut self, chosen: impl Fn(u64) -> bool, tally: &mut Tally) -> Result<()> {
        if self.recorded_in.is_empty() {
            return Ok(());
        }
        let inputs = &self.inputs.recorded;
        let chosen = |index: &usize| inputs.get(*index).is_some_and(|input| chosen(input.rank));
        let indexes = self.recorded_in.iter().copied().filter(chosen);
        let read = |input, count| tally.records(Tier::RAW, input, count);
        self.recorded.read(inputs, indexes, (self.series, self.range), read)
    }

    /// The records that are not deleted, ascending.
    fn recorded_rows(&self) -> impl Iterator<Item = Stored<'_>> {
        let held = !self.recorded_in.is_empty();
        self.recorded.rows().filter(move |row| {
            let input = self.inputs.recorded.get(row.from);
            held && input.is_some_and(|input| !input.is_masked(self.series, row.start))
        })
    }

    /// The record with what came later. Samples that came between its first and its last add no
    /// increase: what it grew by between them is in the record, and their order in it is lost.
    fn merged_into(&self, record: &Stored<'_>) -> (Partial, Sketch) {
        let Columns { timestamps, values } = &self.samples.newer;
        let part = |rows: Range<usize>| {
            let timestamps = timestamps.get(rows.clone()).unwrap_or_default();
            Partial::of(timestamps, values.get(rows).unwrap_or_default())
        };
        let from = timestamps.partition_point(|&t| t < record.partial.first.timestamp.0);
        let to = timestamps.partition_point(|&t| t <= record.partial.last.timestamp.0);
        let mut between = *record.partial;
        between.pool(&part(from..to));
        between.increase = record.partial.increase;
        between.resets = record.partial.resets;
        let mut whole = part(0..from);
        whole.append(&between);
        whole.append(&part(to..timestamps.len()));
        let mut sketch = record.sketch.map_or_else(Sketch::default, SketchRef::to_sketch);
        values.iter().for_each(|&value| sketch.record(value, 1));
        for row in self.recorded_rows() {
            whole.pool(row.partial);
            row.sketch.into_iter().for_each(|newer| sketch.merge(newer));
        }
        (whole, sketch)
    }

    /// Whether nothing is left of it.
    pub(crate) fn is_empty(&self) -> bool {
        self.merged.is_none()
            && self.samples.all.values.is_empty()
            && self.recorded_rows().next().is_none()
    }

    /// Where it lies.
    pub(crate) fn range(&self) -> TimeRange {
        self.range
    }

    /// Hands over what [`fold`](Self::fold) found.
    pub(crate) fn hand_over(
        &self,
        windows: &Windows,
        needs: Needs,
        sink: &mut impl Sink,
    ) -> Result<()> {
        let Some(window) = windows.index(self.range.start) else { return Ok(()) };
        if let Some((partial, sketch)) = &self.merged {
            let sketch = needs.values.then_some(sketch.view());
            return sink.partial(window, partial, sketch, false);
        }
        let Columns { timestamps, values } = &self.samples.all;
        sink.expect(values.len() as u64)?;
        let mut rows = self.recorded_rows().peekable();
        interleave((window, timestamps, values), &mut rows, windows, needs, sink)?;
        rows.try_for_each(|row| hand_over(&row, Tier::RAW, windows, needs, sink))
    }
}

/// Appends the starts of the buckets of a stretch that hold any of the ascending timestamps.
pub(crate) fn touched(timestamps: &[i64], stretch: &Stretch, out: &mut Vec<i64>) {
    let below = |point: i64| timestamps.partition_point(|&time| time < point);
    let within = below(stretch.range.start.0)..below(stretch.range.end.0);
    let mut rest = timestamps.get(within).unwrap_or_default();
    while let Some(&first) = rest.first() {
        let bucket = stretch.tier.floor(Timestamp(first)).0;
        out.push(bucket);
        let end = bucket.saturating_add(stretch.tier.nanos());
        let passed = rest.partition_point(|&time| time < end);
        rest = rest.get(passed..).unwrap_or_default();
    }
}
