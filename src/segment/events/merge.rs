//! Rows of several sources in one order: time, then arrival.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::sync::Arc;

use super::source::{EventSource, TIME_FIELD};
use crate::error::Result;
use crate::model::{EventBuilder, EventData, EventKind, EventRows};
use crate::time::TimeRange;

/// Reads a group of a source: its rows (or those that are wanted), ascending by time. Is told the
/// source's index, the stretch and the group.
pub type LoadGroup<'a> = dyn FnMut(usize, u32, u32) -> Result<EventRows> + 'a;

/// Merges sources, which are in the order of arrival. Holds one group of each source that reaches
/// into the time it is at.
pub struct EventMerge<'a> {
    sources: &'a [Arc<dyn EventSource>],
    range: TimeRange,
    load: Box<LoadGroup<'a>>,
    cursors: Vec<Cursor>,
    /// When the next row of each source comes at the earliest, and which source; of one time the
    /// earlier source comes first. None for one that is at its end.
    next: BinaryHeap<Reverse<(i64, usize)>>,
}

/// Where the merge is in a source.
#[derive(Debug, Default)]
struct Cursor {
    stretch: u32,
    /// The next to be loaded.
    group: u32,
    rows: EventRows,
    /// Of these, the rows that are to come.
    left: Range<usize>,
}

impl<'a> EventMerge<'a> {
    /// Begins a merge of the rows in `range`.
    pub fn new(
        sources: &'a [Arc<dyn EventSource>],
        range: TimeRange,
        load: Box<LoadGroup<'a>>,
    ) -> Self {
        let cursors = sources.iter().map(|_| Cursor::default()).collect();
        let mut merge = Self { sources, range, load, cursors, next: BinaryHeap::new() };
        (0..sources.len()).for_each(|source| merge.announce(source));
        merge
    }

    /// Says when the source's next row comes at the earliest.
    fn announce(&mut self, source: usize) {
        let (Some(cursor), Some(from)) = (self.cursors.get_mut(source), self.sources.get(source))
        else {
            return;
        };
        if let Some(&time) = cursor.rows.times.get(cursor.left.clone()).and_then(<[i64]>::first) {
            self.next.push(Reverse((time, source)));
            return;
        }
        let stretches = from.stretches();
        while let Some(stretch) = stretches.get(cursor.stretch as usize) {
            if cursor.group < stretch.groups && stretch.meets(self.range) {
                self.next.push(Reverse((stretch.first.0.max(self.range.start.0), source)));
                return;
            }
            cursor.stretch += 1;
            cursor.group = 0;
        }
    }

    /// Loads the next group of a source that has none.
    fn advance(&mut self, source: usize) -> Result<()> {
        let Some(cursor) = self.cursors.get_mut(source) else { return Ok(()) };
        cursor.rows = (self.load)(source, cursor.stretch, cursor.group)?;
        cursor.group += 1;
        let times = &cursor.rows.times;
        let start = times.partition_point(|&time| time < self.range.start.0);
        let end = times.partition_point(|&time| time < self.range.end.0);
        cursor.left = start..end.max(start);
        if end < times.len() {
            // Nothing behind it is wanted.
            cursor.stretch = u32::MAX;
        }
        Ok(())
    }

    /// The next rows that come from one source without another's between them; `None` at the end.
    /// Never none of them.
    ///
    /// # Errors
    /// What loading returns.
    pub fn next_run(&mut self) -> Result<Option<(&EventRows, Range<usize>)>> {
        let Some((source, run)) = self.step()? else { return Ok(None) };
        Ok(self.cursors.get(source).map(|cursor| (&cursor.rows, run)))
    }

    fn step(&mut self) -> Result<Option<(usize, Range<usize>)>> {
        while let Some(Reverse((_, source))) = self.next.pop() {
            if self.cursors.get(source).is_some_and(|cursor| cursor.left.is_empty()) {
                self.advance(source)?;
                self.announce(source);
                continue;
            }
            let until = self.next.peek().map(|Reverse(next)| *next);
            let Some(cursor) = self.cursors.get_mut(source) else { continue };
            let times = cursor.rows.times.get(cursor.left.clone()).unwrap_or_default();
            let length = match until {
                None => times.len(),
                Some((time, other)) if source < other => times.partition_point(|&t| t <= time),
                Some((time, _)) => times.partition_point(|&t| t < time),
            };
            let run = cursor.left.start..cursor.left.start + length;
            cursor.left.start = run.end;
            self.announce(source);
            if !run.is_empty() {
                return Ok(Some((source, run)));
            }
        }
        Ok(None)
    }

    /// The next rows, about `rows_max` of them, with columns of these kinds; `None` at the end. A group
    /// whose time no other source reaches into is handed over as it was loaded, whatever its size.
    ///
    /// # Errors
    /// As [`next_run`](Self::next_run).
    pub fn next_rows(&mut self, kinds: &[EventKind], rows_max: usize) -> Result<Option<EventRows>> {
        let mut built = EventBuilder::new(kinds.iter().copied());
        while built.rows().len() < rows_max {
            let Some((source, run)) = self.step()? else { break };
            let Some(cursor) = self.cursors.get_mut(source) else { break };
            let whole = run == (0..cursor.rows.len());
            if built.rows().is_empty() && whole && cursor.rows.columns.len() == kinds.len() {
                // The cursor is past all of it.
                cursor.left = 0..0;
                return Ok(Some(std::mem::take(&mut cursor.rows)));
            }
            built.append(&cursor.rows, run);
        }
        let rows = built.take();
        Ok((!rows.is_empty()).then(|| Arc::unwrap_or_clone(rows)))
    }
}

/// Reads all columns of a group, those of `kinds` that the source lacks as nulls.
///
/// # Errors
/// I/O or corruption.
pub fn read_group(
    source: &dyn EventSource,
    stretch: u32,
    group: u32,
    kinds: &[EventKind],
) -> Result<EventRows> {
    let mut rows = EventRows::default();
    if let Some(times) = source.column(stretch, TIME_FIELD)? {
        let damaged = |error| source.damaged(stretch, TIME_FIELD, error);
        times.read_times(group, &mut rows.times).map_err(damaged)?;
    }
    for (field, &kind) in (TIME_FIELD + 1..).zip(kinds) {
        let known = &rows.columns;
        let column = read_field(source, (stretch, group), (field, kind), rows.times.len(), known)?;
        rows.columns.push(column);
    }
    Ok(rows)
}

/// Reads a group (of a stretch) of `rows` rows of a column, its number and kind given, behind the columns
/// that are `known`; nulls where the source lacks it.
///
/// # Errors
/// I/O or corruption: also where it is of another kind or has more or fewer rows.
pub fn read_field(
    source: &dyn EventSource,
    (stretch, group): (u32, u32),
    (field, kind): (u32, EventKind),
    rows: usize,
    known: &[EventData],
) -> Result<EventData> {
    let Some(column) = source.column(stretch, field)? else {
        return Ok(EventData::nulls(kind, rows));
    };
    let damaged = |error| source.damaged(stretch, field, error);
    let data = column.read_behind(group, known).map_err(damaged)?.into_owned();
    if data.kind() != kind || data.len() != rows {
        let (what, found) = ("rows of a column", data.len() as u64);
        let expected = "as many as its neighbours have, of its kind";
        return Err(damaged(crate::DecodeError::Invalid { what, found, expected }));
    }
    Ok(data)
}
