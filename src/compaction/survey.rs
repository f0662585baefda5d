//! A pass over the directories of all inputs: which series has samples in which window, where its
//! chunks are, and which series share their timestamps.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::inputs::{Inputs, Pool};
use crate::error::{Error, Result};
use crate::segment::{Chunk, Segment, TimestampColumn};
use crate::time::{TimeRange, Timestamp};

/// What the pass found.
pub(super) struct Survey {
    /// For each window.
    pub(super) windows: Vec<Members>,
    /// Ascending.
    spots: Vec<Spot>,
}

/// The series that have samples in a window.
pub(super) struct Members {
    /// By place. Series that share all their timestamp columns and lose the same to deletes have
    /// equal ones; others have not, but for chance.
    signatures: Vec<u64>,
    /// By place: whether a sample is left of it.
    present: Vec<bool>,
}

/// That a segment holds chunks of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Spot {
    place: u32,
    part: u32,
    segment: u32,
    /// Of the series in the part's table.
    position: u32,
}

/// A chunk of an input, and the segment that holds it.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// Index into the inputs: the higher wins.
    pub(super) part: u32,
    pub(super) number: u32,
    pub(super) segment: Arc<Segment>,
    pub(super) chunk: Chunk,
}

/// What a window leaves of a chunk: rows within it, and whether any of them was not deleted.
#[derive(Clone, Copy)]
struct Within {
    rows: u32,
    present: bool,
}

impl Survey {
    /// Surveys `windows`, which ascend and do not overlap.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where a sample lies in none of the windows.
    pub(super) fn new(
        inputs: &Inputs<'_>,
        windows: &[TimeRange],
        pool: &mut Pool,
        pause: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Self> {
        let places = inputs.table.len();
        let empty = || Members { signatures: vec![0; places], present: vec![false; places] };
        let mut survey =
            Self { windows: windows.iter().map(|_| empty()).collect(), spots: Vec::new() };
        for (part, input) in (0..).zip(&inputs.parts) {
            for number in 0..input.meta().segments.len() as u32 {
                pause()?;
                let segment = pool.segment(inputs, part, number)?;
                survey.add(inputs, windows, part, number, &segment)?;
            }
        }
        survey.spots.sort_unstable();
        Ok(survey)
    }

    fn add(
        &mut self,
        inputs: &Inputs<'_>,
        windows: &[TimeRange],
        part: u32,
        number: u32,
        segment: &Segment,
    ) -> Result<()> {
        let corrupt = |source| match inputs.parts.get(part as usize) {
            Some(part) => part.corrupt(number, source),
            None => Error::corrupt("", 0, source),
        };
        // Chunks that share a timestamp column and lose the same are alike.
        let mut known: HashMap<(u32, usize, u32), Within> = HashMap::new();
        let fingerprint = |column: &TimestampColumn| {
            let mut hasher = DefaultHasher::new();
            (part, column.fingerprint()).hash(&mut hasher);
            hasher.finish()
        };
        let fingerprints: Vec<u64> = segment.timestamp_columns().iter().map(fingerprint).collect();
        let mut last_spot = None;
        for chunk in segment.chunks() {
            let position = chunk.series;
            let Some(place) = inputs.place(part, position) else { continue };
            if last_spot.replace(place) != Some(place) {
                self.spots.push(Spot { place, part, segment: number, position });
            }
            let mask_set = inputs.mask_set(place);
            let mut rows = 0;
            let from = windows.partition_point(|window| window.end <= chunk.first);
            let to = windows.partition_point(|window| window.start <= chunk.last);
            for at in from..to {
                let (Some(window), Some(members)) = (windows.get(at), self.windows.get_mut(at))
                else {
                    continue;
                };
                let key = (chunk.timestamps, at, mask_set);
                let within = match known.get(&key) {
                    Some(within) => *within,
                    None => {
                        let deleted: Vec<TimeRange> = inputs.deleted(mask_set, part).collect();
                        let within = within(segment, chunk, *window, &deleted).map_err(corrupt)?;
                        *known.entry(key).or_insert(within)
                    }
                };
                rows += within.rows;
                let fingerprint = fingerprints.get(chunk.timestamps as usize).copied();
                let fingerprint = fingerprint.unwrap_or_default() ^ u64::from(mask_set) << 40;
                members.note(place, fingerprint, within);
            }
            if rows != chunk.samples {
                let (what, all) = ("windows of a merge", chunk.samples);
                let reason = format!("they hold {rows} of {all} samples from {} on", chunk.first);
                return Err(Error::InvalidArgument { what, reason });
            }
        }
        Ok(())
    }

    /// Replaces `out` with the chunks of a series that overlap the window, ascending by their first
    /// timestamp; of equal ones the later part's come later.
    pub(super) fn sources(
        &self,
        inputs: &Inputs<'_>,
        pool: &mut Pool,
        place: u32,
        window: TimeRange,
        out: &mut Vec<Source>,
    ) -> Result<()> {
        out.clear();
        let start = self.spots.partition_point(|spot| spot.place < place);
        let spots = self.spots.iter().skip(start).take_while(|spot| spot.place == place);
        for &Spot { part, segment: number, position, .. } in spots {
            let segment = pool.segment(inputs, part, number)?;
            for chunk in segment.chunks_of(position) {
                if window.overlaps(chunk.first, chunk.last) {
                    let segment = Arc::clone(&segment);
                    out.push(Source { part, number, segment, chunk: *chunk });
                }
            }
        }
        out.sort_by_key(|source| (source.chunk.first, source.part));
        Ok(())
    }
}

impl Members {
    fn note(&mut self, place: u32, fingerprint: u64, within: Within) {
        if let Some(signature) = self.signatures.get_mut(place as usize) {
            // A sum, so that the order of segments does not matter.
            *signature = signature.wrapping_add(fingerprint);
        }
        if let Some(present) = self.present.get_mut(place as usize) {
            *present |= within.present;
        }
    }

    /// The places of the series, ascending.
    pub(super) fn places(&self) -> impl Iterator<Item = u32> {
        (0..).zip(&self.present).filter(|(_, present)| **present).map(|(place, _)| place)
    }

    /// The places of the series, those that share their timestamps next to each other.
    pub(super) fn by_signature(&self) -> Vec<u32> {
        self.groups().into_iter().map(|(_, place)| place).collect()
    }

    /// As [`by_signature`](Self::by_signature), each with the first place of those it stands with.
    pub(super) fn groups(&self) -> Vec<(u32, u32)> {
        let mut first: HashMap<u64, u32> = HashMap::new();
        let signature = |place: u32| self.signatures.get(place as usize).copied();
        let mut ordered: Vec<(u32, u32)> = self
            .places()
            .map(|place| {
                (*first.entry(signature(place).unwrap_or_default()).or_insert(place), place)
            })
            .collect();
        ordered.sort_unstable();
        ordered
    }
}

/// What a window, and what was deleted, leave of a chunk. Decodes its timestamps only where its
/// bounds do not tell.
fn within(
    segment: &Segment,
    chunk: &Chunk,
    window: TimeRange,
    deleted: &[TimeRange],
) -> Result<Within, crate::DecodeError> {
    let (first, last) = (chunk.first, chunk.last);
    let touched = deleted.iter().any(|range| range.overlaps(first, last));
    let gone = deleted.iter().any(|range| range.covers(first, last));
    if window.covers(first, last) && (gone || !touched) {
        return Ok(Within { rows: chunk.samples, present: !gone });
    }
    let mut timestamps = Vec::new();
    segment.read_timestamps(chunk.timestamps, &mut timestamps)?;
    let within = timestamps.iter().map(|&t| Timestamp(t)).filter(|&t| window.contains(t));
    let mut rows = 0;
    let mut present = false;
    for timestamp in within {
        rows += 1;
        present |= !deleted.iter().any(|range| range.contains(timestamp));
    }
    Ok(Within { rows, present })
}
