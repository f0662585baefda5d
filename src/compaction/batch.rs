//! As much of a merge as is in memory at once: some groups of series, woven and encoded.

use std::collections::HashSet;

use rayon::prelude::*;

use super::inputs::Inputs;
use super::survey::Source;
use super::weave::{Loom, Weave};
use crate::error::Result;
use crate::part;
use crate::segment::{EncodedGroup, EncodedValues};
use crate::time::{TimeRange, Timestamp};

/// Bytes of segments and chunk lists that a batch holds.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// Timestamps that are woven at once, over all groups: 16 MiB.
const WOVEN_ROWS_MAX: usize = 2 << 20;

/// Timestamps of a group that are woven as one, where chunk ends allow: a long series is cut into
/// such stretches of time.
const STRETCH_ROWS: usize = 512 << 10;

/// Groups to be merged next.
#[derive(Default)]
pub(super) struct Batch {
    groups: Vec<Shared>,
    /// Part and number of the segments held.
    held: HashSet<(u32, u32)>,
    bytes: usize,
}

/// Series whose chunks share their timestamp columns and lose the same to deletes.
struct Shared {
    mask_set: u32,
    /// Positions in the new part's series table, ascending.
    series: Vec<u32>,
    /// Chunks of each series.
    width: usize,
    /// Of the first series, then of the second, ...
    sources: Vec<Source>,
}

impl Shared {
    /// The chunks of a series, by its index; those of the first stand for the timestamps of all.
    fn sources_of(&self, series: usize) -> &[Source] {
        self.sources.get(series * self.width..(series + 1) * self.width).unwrap_or_default()
    }

    /// Whether a series with these chunks belongs here.
    fn fits(
        &self,
        inputs: &Inputs<'_>,
        series: u32,
        mask_set: u32,
        sources: &[Source],
    ) -> Result<bool> {
        if self.series.last().is_none_or(|&last| last >= series)
            || self.mask_set != mask_set
            || self.width != sources.len()
        {
            return Ok(false);
        }
        for (own, other) in self.sources_of(self.series.len() - 1).iter().zip(sources) {
            if own.part != other.part || !own.shares_timestamps(inputs, other)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The window cut into stretches of about [`STRETCH_ROWS`] timestamps, at first timestamps of
    /// chunks, with what each holds at most.
    fn stretches(&self, window: TimeRange) -> Vec<(TimeRange, usize)> {
        let mut stretches = Vec::new();
        let (mut start, mut rows) = (window.start, 0);
        let mut crossing: Vec<(Timestamp, usize)> = Vec::new();
        for Source { chunk, .. } in self.sources_of(0) {
            if rows >= STRETCH_ROWS && chunk.first > start {
                stretches.push((TimeRange::new(start, chunk.first), rows));
                start = chunk.first;
                crossing.retain(|&(last, _)| last >= start);
                rows = crossing.iter().map(|(_, rows)| rows).sum();
            }
            crossing.push((chunk.last, chunk.samples as usize));
            rows += chunk.samples as usize;
        }
        stretches.push((TimeRange::new(start, window.end), rows));
        stretches
    }
}

/// A stretch of time of a group, woven.
struct Stretch<'a> {
    group: &'a Shared,
    weave: Weave,
}

impl Batch {
    /// Adds a series by its position in the new part's table, with its chunks.
    pub(super) fn add(
        &mut self,
        inputs: &Inputs<'_>,
        series: u32,
        mask_set: u32,
        sources: &[Source],
    ) -> Result<()> {
        for source in sources {
            if self.held.insert((source.part, source.number)) {
                self.bytes += source.segment.memory_bytes();
            }
        }
        self.bytes += size_of_val(sources);
        if let Some(group) = self.groups.last_mut()
            && group.fits(inputs, series, mask_set, sources)?
        {
            group.series.push(series);
            group.sources.extend_from_slice(sources);
        } else {
            let (series, width) = (vec![series], sources.len());
            self.groups.push(Shared { mask_set, series, width, sources: sources.to_vec() });
        }
        Ok(())
    }

    pub(super) const fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES_MAX
    }

    /// Merges the groups, as far as they lie in the window, into a part, and is empty then.
    pub(super) fn write(
        &mut self,
        loom: Loom<'_>,
        window: TimeRange,
        builder: &mut part::Builder,
        pause: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        let Self { groups, .. } = std::mem::take(self);
        let stretches = groups.iter().flat_map(|group| {
            group.stretches(window).into_iter().map(move |(range, rows)| (group, range, rows))
        });
        let mut stretches = stretches.peekable();
        while stretches.peek().is_some() {
            pause()?;
            let (mut round, mut total) = (Vec::new(), 0);
            while let Some((group, range, rows)) = stretches.next_if(|_| total < WOVEN_ROWS_MAX) {
                round.push((group, range));
                total += rows;
            }
            let woven: Result<Vec<Stretch<'_>>> = round
                .into_par_iter()
                .map(|(group, range)| {
                    let weave = loom.weave(group.sources_of(0), group.mask_set, range)?;
                    Ok(Stretch { group, weave })
                })
                .collect();
            encode(&woven?, loom.inputs, builder, pause)?;
        }
        Ok(())
    }
}

fn encode(
    stretches: &[Stretch<'_>],
    inputs: &Inputs<'_>,
    builder: &mut part::Builder,
    pause: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    let reads: Vec<_> = stretches
        .iter()
        .map(|Stretch { group, weave }| {
            move |series: usize, chunk: usize| -> Result<EncodedValues> {
                weave.values(inputs, group.sources_of(series), chunk)
            }
        })
        .collect();
    let groups: Vec<EncodedGroup<'_>> = stretches
        .iter()
        .zip(&reads)
        .map(|(Stretch { group, weave }, read)| EncodedGroup {
            series: &group.series,
            timestamps: &weave.timestamps,
            read,
        })
        .collect();
    builder.add_encoded(&groups, pause)
}
