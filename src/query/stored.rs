//! Records of one series out of several sources, the latest of each bucket.

use super::inputs::Input;
use super::meter::Meter;
use crate::aggregate::{Partial, SketchRef};
use crate::error::{DecodeError, Error, Result};
use crate::model::SeriesId;
use crate::segment::{RecordSource, Records};
use crate::time::{TimeRange, Timestamp};

/// Reads the records of one stretch after another; its buffers are reused.
pub(crate) struct RecordReader<'a> {
    meter: &'a Meter<'a>,
    /// What the sources hold, one after another.
    read: Records,
    /// Where each record of `read` comes from, an index of an input.
    from: Vec<usize>,
    one: Records,
    /// The records that count, ascending by start, as indexes into `read`.
    order: Vec<usize>,
    /// Bytes of the meter's memory that the buffers hold.
    bytes: u64,
    /// How many it read so far.
    pub(crate) records_read: u64,
    /// How often it looked for some.
    pub(crate) reads: u64,
}

/// One record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stored<'r> {
    pub(crate) start: i64,
    pub(crate) partial: &'r Partial,
    pub(crate) sketch: Option<SketchRef<'r>>,
    /// The index of the input that it comes from.
    pub(crate) from: usize,
}

impl<'a> RecordReader<'a> {
    pub(crate) fn new(meter: &'a Meter<'a>) -> Self {
        Self {
            meter,
            read: Records::default(),
            from: Vec::new(),
            one: Records::default(),
            order: Vec::new(),
            bytes: 0,
            records_read: 0,
            reads: 0,
        }
    }

    /// Reads the series' records that start in `range`, of the `chosen` inputs, indexes ascending:
    /// where two hold one start, that of the later input counts. `read` is told of each input how
    /// many it gave.
    ///
    /// # Errors
    /// Those of the sources; [`Error::Limit`] where they take too much memory.
    pub(crate) fn read(
        &mut self,
        inputs: &[Input<'_, dyn RecordSource>],
        chosen: impl IntoIterator<Item = usize>,
        (series, range): (SeriesId, TimeRange),
        mut read: impl FnMut(usize, u64),
    ) -> Result<()> {
        self.meter.check()?;
        self.read.clear();
        self.from.clear();
        for index in chosen {
            let Some(input) = inputs.get(index) else { continue };
            let target = if self.from.is_empty() { &mut self.read } else { &mut self.one };
            target.clear();
            input.source.read_records(series, range, target)?;
            check(input, target)?;
            read(index, target.len() as u64);
            self.from.resize(self.from.len() + target.len(), index);
            if self.from.len() > self.read.len() {
                self.append_one();
            }
        }
        self.records_read += self.read.len() as u64;
        self.reads += 1;
        self.account()?;
        let starts = &self.read.starts;
        self.order.clear();
        self.order.extend(0..starts.len());
        if !starts.is_sorted_by(|one, next| one < next) {
            // Stable: of equal starts the last is of the latest input.
            self.order.sort_by_key(|&index| starts.get(index));
            self.order.reverse();
            self.order.dedup_by_key(|index| starts.get(*index));
            self.order.reverse();
        }
        Ok(())
    }

    /// Up to where reading these inputs from the start of `range` on goes well in one piece.
    ///
    /// # Errors
    /// Those of the sources.
    pub(crate) fn pause(
        inputs: &[Input<'_, dyn RecordSource>],
        chosen: impl IntoIterator<Item = usize>,
        (series, range): (SeriesId, TimeRange),
    ) -> Result<Timestamp> {
        let mut chosen = chosen.into_iter().filter_map(|index| inputs.get(index));
        chosen.try_fold(range.end, |end, input| {
            input.source.pause(series, TimeRange::new(range.start, end))
        })
    }

    fn append_one(&mut self) {
        let before = self.read.len();
        // Where only some carry sketches, the others' are empty.
        if self.read.sketches.is_empty() != self.one.sketches.is_empty() {
            self.read.sketches.resize(before);
            self.one.sketches.resize(self.one.len());
        }
        self.read.starts.append(&mut self.one.starts);
        self.read.partials.append(&mut self.one.partials);
        self.read.sketches.append(&self.one.sketches);
    }

    fn account(&mut self) -> Result<()> {
        let each = size_of::<i64>() + size_of::<Partial>() + 2 * size_of::<usize>();
        let bytes = (self.read.sketches.heap_bytes() + self.read.len() * each) as u64;
        if bytes > self.bytes {
            self.meter.reserve(bytes - self.bytes)?;
            self.bytes = bytes;
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// The records, ascending by start.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Stored<'_>> {
        (0..self.len()).filter_map(|at| self.row(at))
    }

    /// One of the records.
    pub(crate) fn row(&self, at: usize) -> Option<Stored<'_>> {
        let index = *self.order.get(at)?;
        Some(Stored {
            start: *self.read.starts.get(index)?,
            partial: self.read.partials.get(index)?,
            sketch: self.read.sketches.get(index),
            from: *self.from.get(index)?,
        })
    }
}

impl Drop for RecordReader<'_> {
    fn drop(&mut self) {
        self.meter.release(self.bytes);
    }
}

/// A source that breaks its contract would otherwise answer wrongly in silence.
fn check(input: &Input<'_, dyn RecordSource>, records: &Records) -> Result<()> {
    let starts = records.starts.len();
    let sketches = records.sketches.len();
    let sound = records.partials.len() == starts
        && (sketches == 0 || sketches == starts)
        && records.starts.is_sorted_by(|one, next| one < next);
    if sound {
        return Ok(());
    }
    let expected = "ascending records with all of their fields";
    let source = DecodeError::Invalid { what: "records", found: starts as u64, expected };
    Err(Error::corrupt(format!("records of rank {}", input.rank), 0, source))
}
