//! Folding: from decoded samples to the windows of a series, from series to a group.

use std::ops::Range;

use rayon::prelude::*;

use super::Function;
use super::meter::Meter;
use super::scan::Decoded;
use super::windows::Windows;
use crate::aggregate::{Accumulator, Needs, Partial};
use crate::error::Result;

/// Tasks that look for the quantiles of one group, at most.
const QUANTILE_TASKS: usize = 64;

/// The windows of a group while its series are folded in, one after another.
pub(crate) struct Row {
    windows: Vec<Accumulator>,
    /// For quantiles, of every series the values it has; else empty.
    kept: Vec<Kept>,
    needs: Needs,
}

/// The values of one series, NaNs left out, in window order.
#[derive(Default)]
struct Kept {
    values: Vec<f64>,
    /// Windows that hold values, ascending, and where these end in `values`.
    ends: Vec<(usize, usize)>,
}

impl Row {
    pub(crate) fn new(windows: &Windows, needs: Needs) -> Self {
        Self { windows: vec![Accumulator::EMPTY; windows.len()], kept: Vec::new(), needs }
    }

    /// Memory of a row without kept values, bytes.
    pub(crate) fn bytes(windows: &Windows) -> u64 {
        (windows.len() as u64).saturating_mul(size_of::<Accumulator>() as u64)
    }

    /// Memory of the kept values of a series of so many samples, bytes.
    pub(crate) fn kept_bytes(windows: &Windows, samples: u64) -> u64 {
        let ends = samples.min(windows.len() as u64) * size_of::<(usize, usize)>() as u64;
        samples * size_of::<f64>() as u64 + ends
    }

    /// Begins to fold a series of `samples` samples at most into this row.
    pub(crate) fn series(&mut self, samples: u64) -> SeriesFold<'_> {
        let mut kept = Kept::default();
        if self.needs.values {
            kept.values.reserve_exact(samples as usize);
            kept.ends.reserve_exact(self.windows.len().min(samples as usize));
        }
        SeriesFold { row: self, window: 0, current: Accumulator::EMPTY, before: None, kept }
    }

    /// Adds the row of the group's next series.
    pub(crate) fn pool(&mut self, mut next: Self) {
        for (window, other) in self.windows.iter_mut().zip(&next.windows) {
            window.pool(other, self.needs);
        }
        self.kept.append(&mut next.kept);
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
        meter: &Meter,
    ) -> Result<Finished> {
        self.finish_block(0..self.windows.len(), windows, functions, meter)
    }

    /// What the functions answer, quantiles looked for in parallel. A window belongs to one task,
    /// so its answer does not depend on how many there are.
    pub(crate) fn finish_parallel(
        &self,
        windows: &Windows,
        functions: &[Function],
        meter: &Meter,
    ) -> Result<Finished> {
        if !self.needs.values {
            return self.finish(windows, functions, meter);
        }
        let length = self.windows.len();
        let block = length.div_ceil(QUANTILE_TASKS).max(1);
        let starts: Vec<usize> = (0..length).step_by(block).collect();
        let blocks: Vec<Finished> = starts
            .into_par_iter()
            .map(|start| {
                let end = length.min(start + block);
                self.finish_block(start..end, windows, functions, meter)
            })
            .collect::<Result<_>>()?;
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
        windows: &Windows,
        functions: &[Function],
        meter: &Meter,
    ) -> Result<Finished> {
        let mut finished = Finished::with_capacity(block.len(), functions.len());
        let mut gather = Gather::new(&self.kept, block.start);
        for index in block {
            let Some(window) = self.windows.get(index) else { continue };
            let seconds = windows.seconds(index);
            if self.needs.values {
                meter.check()?;
            }
            let gathered = gather.window(index);
            finished.counts.push(window.partial.count);
            for (column, function) in finished.values.iter_mut().zip(functions) {
                column.push(function.finish(window, gathered, seconds));
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

/// Collects the kept values of all series, window by window.
struct Gather<'a> {
    /// Of each series: its values, and how many of its ends lie behind.
    series: Vec<(&'a Kept, usize)>,
    values: Vec<f64>,
}

impl<'a> Gather<'a> {
    /// Begins at the window `first`.
    fn new(kept: &'a [Kept], first: usize) -> Self {
        let passed = |kept: &Kept| kept.ends.partition_point(|&(window, _)| window < first);
        let series = kept.iter().map(|kept| (kept, passed(kept))).collect();
        Self { series, values: Vec::new() }
    }

    /// The values of a window; windows are asked for in ascending order, none left out.
    fn window(&mut self, window: usize) -> &mut Vec<f64> {
        self.values.clear();
        for (kept, passed) in &mut self.series {
            if let Some(&(held, end)) = kept.ends.get(*passed)
                && held == window
            {
                let before = passed.checked_sub(1).and_then(|index| kept.ends.get(index));
                let start = before.map_or(0, |&(_, end)| end);
                self.values.extend_from_slice(kept.values.get(start..end).unwrap_or_default());
                *passed += 1;
            }
        }
        &mut self.values
    }
}

/// Folds the samples of one series, ascending in time, into a row.
pub(crate) struct SeriesFold<'a> {
    row: &'a mut Row,
    /// The window being folded.
    window: usize,
    current: Accumulator,
    /// The value of the latest sample so far.
    before: Option<f64>,
    kept: Kept,
}

impl SeriesFold<'_> {
    /// Adds the statistics of a chunk that lies in one window.
    pub(crate) fn add_statistics(&mut self, window: usize, partial: Partial) {
        self.add(window, Accumulator::of_partial(partial));
    }

    /// Adds decoded samples.
    pub(crate) fn add_samples(&mut self, decoded: &Decoded<'_>) {
        for (window, timestamps, values) in decoded.stretches() {
            self.add(window, Accumulator::of(timestamps, values, self.row.needs));
            if self.row.needs.values {
                self.keep(window, values);
            }
        }
    }

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

    fn keep(&mut self, window: usize, values: &[f64]) {
        let Kept { values: kept, ends } = &mut self.kept;
        kept.extend(values.iter().filter(|value| !value.is_nan()));
        match ends.last_mut() {
            Some((last, end)) if *last == window => *end = kept.len(),
            _ => ends.push((window, kept.len())),
        }
    }

    /// Pools the window that has ended into the row.
    fn close(&mut self) {
        if let Some(pooled) = self.row.windows.get_mut(self.window) {
            pooled.pool(&self.current, self.row.needs);
        }
        self.current = Accumulator::EMPTY;
    }

    /// Ends the series.
    pub(crate) fn end(mut self) {
        self.close();
        if !self.kept.values.is_empty() {
            self.row.kept.push(std::mem::take(&mut self.kept));
        }
    }
}
