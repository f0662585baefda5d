//! How densely samples stand in time: what windows are chosen by.

use std::sync::Arc;

use super::inputs::{Inputs, Pool};
use super::survey::{Source, Survey};
use crate::error::Result;
use crate::index::Index;
use crate::part::{Layout, Part};
use crate::time::TimeRange;

/// The samples of series that share their timestamps, counted by cells of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    /// Series that share it.
    pub series: u64,
    /// The cells that hold samples, ascending.
    pub cells: Vec<Cell>,
}

/// A stretch of time, aligned to the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// Where it starts, a multiple of the cells' length; `i64::MIN` for the first cell of time.
    pub start: i64,
    /// Samples of each of the series in it, those that several parts hold counted in each.
    pub samples: u64,
}

/// The timelines of all series of raw parts of [`Layout::Samples`], in cells of `cell_ns`, at least
/// 1. Windows that begin and end at cells hold exactly the cells' samples.
///
/// Reads all directories, and decodes timestamps only where a chunk reaches over a cell's end, once
/// for series that share them. `pause` is called often.
///
/// # Errors
/// As [`merge_samples`](super::merge_samples).
pub fn timelines(
    parts: &[Arc<Part>],
    index: &Index,
    cell_ns: i64,
    pause: &mut (dyn FnMut() -> Result<()> + Send),
) -> Result<Vec<Timeline>> {
    let inputs = Inputs::new(parts, Layout::Samples, &[], index)?;
    let mut pool = Pool::default();
    let survey = Survey::new(&inputs, &[TimeRange::ALL], &mut pool, pause)?;
    let groups = survey.windows.first().map(|members| members.groups()).unwrap_or_default();
    let (mut timelines, mut sources) = (Vec::new(), Vec::new());
    for group in groups.chunk_by(|one, next| one.0 == next.0) {
        pause()?;
        let first = group.first().map(|(_, place)| *place).unwrap_or_default();
        survey.sources(&inputs, &mut pool, first, TimeRange::ALL, &mut sources)?;
        let cells = cells(&inputs, &sources, cell_ns.max(1))?;
        timelines.push(Timeline { series: group.len() as u64, cells });
    }
    Ok(timelines)
}

fn cells(inputs: &Inputs<'_>, sources: &[Source], cell_ns: i64) -> Result<Vec<Cell>> {
    let cell_of = |time: i64| time.saturating_sub(time.rem_euclid(cell_ns));
    let mut cells: Vec<Cell> = Vec::new();
    let mut times = Vec::new();
    for source in sources {
        let (first, last) = (cell_of(source.chunk.first.0), cell_of(source.chunk.last.0));
        if first == last {
            cells.push(Cell { start: first, samples: u64::from(source.chunk.samples) });
            continue;
        }
        source.timestamps(inputs, &mut times)?;
        let runs = times.chunk_by(|&one, &next| cell_of(one) == cell_of(next));
        cells.extend(runs.filter_map(|run| {
            Some(Cell { start: cell_of(*run.first()?), samples: run.len() as u64 })
        }));
    }
    cells.sort_unstable_by_key(|cell| cell.start);
    cells.dedup_by(|next, kept| {
        let same = next.start == kept.start;
        kept.samples += if same { next.samples } else { 0 };
        same
    });
    Ok(cells)
}
