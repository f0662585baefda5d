//! Folding: from decoded samples to the windows of a series, from series to a group.

use std::borrow::Cow;
use std::ops::Range;

use super::Function;
use super::evidence::Covered;
use super::kept::{ByWindow, Kept};
use super::meter::Meter;
use super::resources::Resources;
use super::sketched::Sketched;
use super::walk::Sink;
use super::windows::Windows;
use crate::aggregate::{Accumulator, Line, Needs, Partial, SketchRef, lanes};
use crate::error::Result;
use crate::model::is_stale;

/// Tasks that look for the quantiles of one group, at most.
const QUANTILE_TASKS: usize = 64;

/// The windows of a group while its series are folded in, one after another.
pub(crate) struct Row {
    windows: Vec<Accumulator>,
    /// For quantiles, the values of all series; else empty.
    kept: Kept,
    /// For quantiles, what is known of values that are gone, of all series together.
    sketched: Sketched,
    coverage: Coverage,
    needs: Needs,
    /// Bytes of the meter's memory that kept values hold.
    reserved: u64,
}

/// How much of the range the series of a row cover.
#[derive(Default)]
struct Coverage {
    least: f64,
    sum: f64,
    series: u64,
}

impl Coverage {
    fn add(&mut self, other: &Self) {
        if other.series > 0 {
            let least = if self.series == 0 { other.least } else { self.least.min(other.least) };
            *self = Self { least, sum: self.sum + other.sum, series: self.series + other.series };
        }
    }
}

impl Row {
    pub(crate) fn new(windows: &Windows, needs: Needs) -> Self {
        Self {
            windows: vec![Accumulator::EMPTY; windows.len()],
            kept: Kept::default(),
            sketched: Sketched::default(),
            coverage: Coverage::default(),
            needs,
            reserved: 0,
        }
    }

    /// The row of a group that is one series: what is asked of it is found as the series goes on.
    pub(crate) fn of_one(windows: &Windows, needs: Needs, functions: &[Function]) -> Self {
        Self { sketched: Sketched::of_one(functions), ..Self::new(windows, needs) }
    }

    /// Memory of a row without kept values and sketches, bytes.
    pub(crate) fn bytes(windows: &Windows) -> u64 {
        (windows.len() as u64).saturating_mul(size_of::<Accumulator>() as u64)
    }

    /// Bytes reserved for kept values and sketches, for whoever drops the row to give back.
    pub(crate) fn reserved(&self) -> u64 {
        self.reserved + self.sketched.reserved()
    }

    /// Whether some of its quantiles come from sketches.
    pub(crate) fn is_sketched(&self) -> bool {
        !self.sketched.is_empty()
    }

    /// How much of the range its series cover.
    pub(crate) fn covered(&self) -> Covered {
        let Coverage { least, sum, series } = self.coverage;
        Covered { least, mean: if series == 0 { 0.0 } else { sum / series as f64 } }
    }

    /// Begins to fold a series into this row.
    pub(crate) fn series<'a>(
        &'a mut self,
        windows: &'a Windows,
        meter: &'a Meter<'a>,
    ) -> SeriesFold<'a> {
        SeriesFold {
            row: self,
            windows,
            meter,
            window: 0,
            current: Accumulator::EMPTY,
            line: Line::default(),
            before: None,
            span: Span::default(),
            extent: Extent::default(),
        }
    }

    /// Adds the row of the group's next series.
    pub(crate) fn pool(&mut self, next: Self) {
        for (window, other) in self.windows.iter_mut().zip(&next.windows) {
            window.pool(other, self.needs);
        }
        self.kept.pool(next.kept);
        self.sketched.pool(next.sketched);
        self.coverage.add(&next.coverage);
        self.reserved += next.reserved;
    }

    /// Whether no window holds a sample.
    pub(crate) fn is_empty(&self) -> bool {
        self.windows.iter().all(|window| window.partial.count == 0)
    }

    /// What the functions answer.
    pub(crate) fn finish(
        &self,
        windows: &Windows,
        functions: &[Function],
        meter: &Meter<'_>,
    ) -> Result<Finished> {
        let sorted = self.kept.by_window(self.windows.len(), meter)?;
        self.finish_block(0..self.windows.len(), &sorted, windows, (functions, meter))
    }

    /// What the functions answer, quantiles looked for in parallel. A window belongs to one task,
    /// so its answer does not depend on how many there are.
    pub(crate) fn finish_parallel(
        &self,
        windows: &Windows,
        functions: &[Function],
        meter: &Meter<'_>,
        resources: Resources<'_>,
    ) -> Result<Finished> {
        if !self.needs.values {
            return self.finish(windows, functions, meter);
        }
        let length = self.windows.len();
        let block = length.div_ceil(QUANTILE_TASKS).max(1);
        let values = self.kept.len() as u64;
        let sorted = self.kept.by_window(length, meter)?;
        let blocks: Vec<Finished> = resources.deal(
            length.div_ceil(block),
            || 0,
            |done: &mut u64, number| {
                *done += values * block as u64 / length as u64;
                let start = number * block;
                let block = start..length.min(start + block);
                self.finish_block(block, &sorted, windows, (functions, meter))
            },
            |done| *done,
        )?;
        let mut whole = Finished::with_capacity(length, functions.len());
        for block in blocks {
            whole.counts.extend(block.counts);
            for (column, values) in whole.values.iter_mut().zip(block.values) {
                column.extend(values);
            }
        }
        Ok(whole)
    }

    fn finish_block(
        &self,
        block: Range<usize>,
        sorted: &ByWindow<'_>,
        windows: &Windows,
        (functions, meter): (&[Function], &Meter<'_>),
    ) -> Result<Finished> {
        let mut finished = Finished::with_capacity(block.len(), functions.len());
        let mut values = Vec::new();
        for index in block {
            let Some(window) = self.windows.get(index) else { continue };
            let seconds = windows.seconds(index);
            if self.needs.values {
                meter.check()?;
            }
            values.clear();
            values.extend_from_slice(sorted.window(index));
            finished.counts.push(window.partial.count);
            let sketch = self.sketched.kept(index).map(|sketch| {
                let mut all = Cow::Borrowed(sketch);
                values.iter().for_each(|&value| all.to_mut().record(value, 1));
                all
            });
            for (column, function) in finished.values.iter_mut().zip(functions) {
                let known = match (function, &sketch) {
                    (Function::Quantile(q), Some(sketch)) => Some(sketch.quantile(*q)),
                    (Function::Quantile(q), None) => self.sketched.found(index, *q),
                    _ => None,
                };
                column.push(known.unwrap_or_else(|| function.finish(window, &mut values, seconds)));
            }
        }
        Ok(finished)
    }
}

/// The columns of a group's answer.
pub(crate) struct Finished {
    pub(crate) counts: Vec<u64>,
    pub(crate) values: Vec<Vec<f64>>,
}

impl Finished {
    fn with_capacity(windows: usize, functions: usize) -> Self {
        let values = (0..functions).map(|_| Vec::with_capacity(windows)).collect();
        Self { counts: Vec::with_capacity(windows), values }
    }
}

/// How far the samples of a series reach within its windows.
#[derive(Default)]
struct Extent {
    samples: u64,
    /// Steps from one sample to the next within a window, and how long they are together.
    steps: u64,
    steps_ns: u64,
    /// Length of the windows that hold samples: whole, so that their sum is the same in any order.
    windows_ns: u64,
}

impl Extent {
    #[inline]
    fn add(&mut self, count: u64, span_ns: u64, windows: &Windows, window: usize) {
        self.samples += count;
        self.steps += count - 1;
        self.steps_ns += span_ns;
        if self.steps_ns == 0 {
            self.windows_ns += windows.nanos(window);
        }
    }

    /// Adds all samples but the first, and the steps from one to the next within a window.
    fn add_numbered(&mut self, numbers: &[u32], timestamps: &[i64], windows: &Windows) {
        let (later, times) = (numbers.iter().skip(1), timestamps.iter().skip(1));
        let pairs = numbers.iter().zip(later).zip(timestamps.iter().zip(times));
        let (mut steps, mut nanos) = (0, 0);
        for ((window, next), (time, later)) in pairs {
            let within = u64::from(window == next);
            steps += within;
            nanos += within.wrapping_neg() & later.wrapping_sub(*time).cast_unsigned();
        }
        self.samples += numbers.len() as u64 - 1;
        self.steps += steps;
        self.steps_ns += nanos;
        if self.steps_ns == 0 {
            let inner = numbers.get(1..numbers.len() - 1).unwrap_or_default();
            let nanos = inner.iter().map(|&window| windows.nanos(window as usize));
            self.windows_ns += nanos.sum::<u64>();
        }
    }

    /// The share of the range that is covered: see [`Covered`].
    fn share(&self, windows: &Windows) -> f64 {
        let covered = if self.steps_ns == 0 {
            self.windows_ns as f64 / 1e9
        } else {
            self.samples as f64 * (self.steps_ns as f64 / self.steps as f64) / 1e9
        };
        (covered / windows.range_seconds()).min(1.0)
    }
}

/// Folds what one series holds, ascending in time, into a row.
pub(crate) struct SeriesFold<'a> {
    row: &'a mut Row,
    windows: &'a Windows,
    meter: &'a Meter<'a>,
    /// The window being folded.
    window: usize,
    current: Accumulator,
    line: Line,
    /// The value of the latest sample so far.
    before: Option<f64>,
    span: Span,
    extent: Extent,
}

/// How far the samples reach of the window being folded, where nothing else is kept of it.
#[derive(Default)]
struct Span {
    count: u64,
    first: i64,
    last: i64,
}

impl Sink for SeriesFold<'_> {
    fn expect(&mut self, samples: u64) -> Result<()> {
        if !self.row.needs.values {
            return Ok(());
        }
        let row = &mut *self.row;
        row.reserved += row.kept.expect(samples, self.meter)?;
        Ok(())
    }

    fn samples(&mut self, window: usize, timestamps: &[i64], values: &[f64]) {
        if !self.row.needs.ordered() {
            return self.samples_unordered(window, timestamps, values);
        }
        self.add(window, Accumulator::of(timestamps, values, self.row.needs));
        if self.row.needs.line {
            self.line.extend(timestamps, values);
        }
        if self.row.needs.values {
            self.row.kept.add(window, values);
        }
    }

    fn numbered(&mut self, numbers: &[u32], timestamps: &[i64], values: &[f64]) -> bool {
        let needs = self.row.needs;
        // Of a number that is none, each window has to say whether it is a stale marker.
        if numbers.is_empty() || needs.ordered() || lanes::sum(values).is_nan() {
            return false;
        }
        for (&window, &value) in numbers.iter().zip(values) {
            if let Some(pooled) = self.row.windows.get_mut(window as usize) {
                pooled.add_one(value, needs);
            }
        }
        if needs.values {
            self.row.kept.add_numbered(numbers, values);
        }
        self.reach_numbered(numbers, timestamps);
        true
    }

    fn partial(
        &mut self,
        window: usize,
        partial: &Partial,
        sketch: Option<SketchRef<'_>>,
        whole: bool,
    ) -> Result<()> {
        if !self.row.needs.ordered() {
            if partial.count > 0 {
                let (first, last) = (partial.first.timestamp.0, partial.last.timestamp.0);
                self.reach(window, partial.count, (first, last));
                if let Some(pooled) = self.row.windows.get_mut(window) {
                    pooled.add_partial(partial);
                }
            }
            return sketch.map_or(Ok(()), |sketch| self.sketch(window, sketch, whole));
        }
        self.add(window, Accumulator::of_partial(*partial));
        sketch.map_or(Ok(()), |sketch| self.sketch(window, sketch, whole))
    }
}

impl SeriesFold<'_> {
    fn add(&mut self, window: usize, mut later: Accumulator) {
        if later.partial.count == 0 {
            return;
        }
        if window != self.window {
            self.close();
            self.window = window;
        }
        if self.current.partial.count == 0
            && let Some(before) = self.before
        {
            later.partial.follow(before);
        }
        self.before = Some(later.partial.last.value);
        self.current.append(&later, self.row.needs);
    }

    /// Pools samples at once: which series they are of says nothing more.
    fn samples_unordered(&mut self, window: usize, timestamps: &[i64], values: &[f64]) {
        let needs = self.row.needs;
        let Some(pooled) = self.row.windows.get_mut(window) else { return };
        let (mut count, mut ends) = (pooled.add_unordered(values, needs), (timestamps, values));
        if count < values.len() as u64 {
            // Stale markers at the ends reach nowhere.
            let fresh = |value: &f64| !is_stale(*value);
            let first = values.iter().position(fresh).unwrap_or(values.len());
            let end = values.iter().rposition(fresh).map_or(first, |last| last + 1);
            ends = (
                timestamps.get(first..end).unwrap_or_default(),
                values.get(first..end).unwrap_or_default(),
            );
            count = count.min(ends.1.len() as u64);
        }
        if let ([first, ..], [.., last]) = (ends.0, ends.0) {
            self.reach(window, count, (*first, *last));
        }
        if needs.values {
            self.row.kept.add(window, values);
        }
    }

    /// Notes up to where samples of a window reach.
    fn reach(&mut self, window: usize, count: u64, (first, last): (i64, i64)) {
        if window != self.window {
            self.end_span();
            self.window = window;
        }
        if self.span.count == 0 {
            self.span.first = first;
        }
        self.span.last = last;
        self.span.count += count;
    }

    /// As [`reach`](Self::reach), of many windows that hold few samples each.
    fn reach_numbered(&mut self, numbers: &[u32], timestamps: &[i64]) {
        let ([first, .., last], [start, .., end]) = (numbers, timestamps) else {
            let one = numbers.first().zip(timestamps.first());
            one.into_iter().for_each(|(&w, &time)| self.reach(w as usize, 1, (time, time)));
            return;
        };
        if first == last {
            return self.reach(*first as usize, numbers.len() as u64, (*start, *end));
        }
        self.reach(*first as usize, 1, (*start, *start));
        self.end_span();
        self.extent.add_numbered(numbers, timestamps, self.windows);
        // The last sample is the span's that is open now.
        self.extent.samples -= 1;
        self.reach(*last as usize, 1, (*end, *end));
    }

    fn end_span(&mut self) {
        let Span { count, first, last } = std::mem::take(&mut self.span);
        if count > 0 {
            self.extent.add(count, last.abs_diff(first), self.windows, self.window);
        }
    }

    fn sketch(&mut self, window: usize, sketch: SketchRef<'_>, whole: bool) -> Result<()> {
        let Row { sketched, windows, .. } = &mut *self.row;
        sketched.add((window, whole), sketch, windows, self.meter)
    }

    /// Pools the window that has ended into the row.
    fn close(&mut self) {
        if self.current.partial.count == 0 {
            return;
        }
        let Partial { count, first, last, .. } = &self.current.partial;
        let span = last.timestamp.0.abs_diff(first.timestamp.0);
        self.extent.add(*count, span, self.windows, self.window);
        self.current.close(&std::mem::take(&mut self.line), self.row.needs);
        if let Some(pooled) = self.row.windows.get_mut(self.window) {
            pooled.pool(&self.current, self.row.needs);
        }
        self.current = Accumulator::EMPTY;
    }

    /// Ends the series.
    ///
    /// # Errors
    /// As [`expect`](Sink::expect).
    pub(crate) fn end(mut self) -> Result<()> {
        self.close();
        self.end_span();
        let Row { sketched, windows, .. } = &mut *self.row;
        sketched.close(windows, self.meter)?;
        let share = self.extent.share(self.windows);
        self.row.coverage.add(&Coverage { least: share, sum: share, series: 1 });
        Ok(())
    }
}
