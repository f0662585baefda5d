//! Writing segments: groups cut into chunks, chunks encoded in parallel, segments cut by size.
//!
//! Memory is bounded: values are asked for chunk by chunk, at most [`BATCH_SAMPLES`] samples'
//! chunks are encoded ahead, and a finished segment is handed on at once. The bytes do not
//! depend on the number of threads.

use std::ops::Range;

use rayon::prelude::*;

use super::builder::{Builder, EncodedTimestamps, EncodedUnit, EncodedValues};
use crate::codec::COLUMN_VALUES_MAX;
use crate::error::{Error, Result};
use crate::time::Timestamp;

/// Samples encoded in parallel before their chunks are laid into segments.
const BATCH_SAMPLES: usize = 1 << 20;

/// What a unit counts for at least: many short ones shall not make a batch of millions.
const UNIT_SAMPLES_MIN: usize = 128;

/// Chunks of one series that are encoded, and kept together, as one unit.
pub(super) const SPAN_CHUNKS: usize = 64;

/// Reads values of a group: `(index into series, rows, out)` replaces `out` with the values of
/// these rows. Called from many threads, for each series and row once.
pub type ReadValues<'a> = dyn Fn(usize, Range<usize>, &mut Vec<f64>) + Sync + 'a;

/// Series whose samples stand at the same timestamps.
pub struct Group<'a> {
    /// Strictly ascending; the rows.
    pub timestamps: &'a [i64],
    /// Positions in the part's series table, strictly ascending.
    pub series: &'a [u32],
    /// The values.
    pub read: &'a ReadValues<'a>,
}

/// How large chunks and segments get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentLimits {
    /// Samples of a chunk, 1 to [`COLUMN_VALUES_MAX`]; the last of a group is shorter.
    pub chunk_samples_max: usize,
    /// Bytes of a segment, about. Above it only where one chunk alone is.
    pub segment_bytes_target: usize,
}

impl Default for SegmentLimits {
    /// 1024 samples, at which directory and statistics cost a fiftieth of a byte each; 512 KiB,
    /// which the store under a part takes as one value without overhead.
    fn default() -> Self {
        Self { chunk_samples_max: 1024, segment_bytes_target: 512 << 10 }
    }
}

/// A finished segment.
#[derive(Debug, Clone)]
pub struct EncodedSegment {
    /// Its bytes, as [`Segment::open`](super::Segment::open) takes them.
    pub bytes: Vec<u8>,
    /// What is in it.
    pub info: SegmentInfo,
}

/// What a segment holds, for the part's own directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The lowest series in it.
    pub first_series: u32,
    /// The highest, inclusive.
    pub last_series: u32,
    /// The earliest timestamp.
    pub first: Timestamp,
    /// The latest, inclusive.
    pub last: Timestamp,
    /// Samples.
    pub samples: u64,
    /// Chunks.
    pub chunks: u32,
    /// CRC-32 of all its bytes.
    pub checksum: u32,
}

/// Encodes `groups` into segments and hands each to `sink`, in order. Equal input gives equal
/// bytes. Groups without rows or series are passed over.
///
/// A group's rows are cut at the same places for all its series, so that these share timestamp
/// columns. A segment is cut between series where that is possible, else between chunks.
///
/// # Errors
/// [`Error::InvalidOption`] for limits out of bounds; [`Error::InvalidArgument`] where
/// timestamps or series do not ascend strictly, `read` returns another number of values than
/// asked for, or chunks of one series overlap within a segment; whatever `sink` returns.
pub fn encode_segments(
    groups: &[Group<'_>],
    limits: &SegmentLimits,
    sink: &mut dyn FnMut(EncodedSegment) -> Result<()>,
) -> Result<()> {
    check_limits(limits)?;
    groups.iter().try_for_each(check_group)?;
    lay_units(units(groups, limits.chunk_samples_max), limits, sink)
}

fn check_limits(limits: &SegmentLimits) -> Result<()> {
    if !(1..=COLUMN_VALUES_MAX).contains(&limits.chunk_samples_max) {
        let reason = format!("{} is not within 1..=65536", limits.chunk_samples_max);
        return Err(Error::InvalidOption { option: "chunk_samples_max", reason });
    }
    if !(1 << 10..=1 << 30).contains(&limits.segment_bytes_target) {
        let reason = format!("{} is not within 1 KiB to 1 GiB", limits.segment_bytes_target);
        return Err(Error::InvalidOption { option: "segment_bytes_target", reason });
    }
    Ok(())
}

/// Encodes units in parallel and lays what they made into segments, in order.
pub(super) fn lay_units<U: Unit>(
    units: impl Iterator<Item = U>,
    limits: &SegmentLimits,
    sink: &mut dyn FnMut(EncodedSegment) -> Result<()>,
) -> Result<()> {
    check_limits(limits)?;
    let mut builder = Builder::new(limits.segment_bytes_target);
    let mut units = units.peekable();
    while units.peek().is_some() {
        let mut samples = 0;
        let mut batch = Vec::new();
        while let Some(unit) = units.next_if(|_| samples < BATCH_SAMPLES) {
            samples += unit.samples().max(UNIT_SAMPLES_MIN);
            batch.push(unit);
        }
        let encoded: Vec<Result<EncodedUnit>> = batch.par_iter().map(Unit::encode).collect();
        for encoded in encoded {
            match encoded? {
                EncodedUnit::Timestamps(columns) => builder.begin_span(columns),
                EncodedUnit::Values(series, columns) => builder.add(series, columns, sink)?,
            }
        }
    }
    builder.finish(sink)
}

fn check_group(group: &Group<'_>) -> Result<()> {
    check_ascending(group.timestamps, "timestamps of a group")?;
    check_ascending(group.series, "series of a group")
}

pub(super) fn check_ascending<T: PartialOrd>(list: &[T], what: &'static str) -> Result<()> {
    if list.is_sorted_by(|a, b| a < b) {
        return Ok(());
    }
    Err(Error::InvalidArgument { what, reason: "do not ascend strictly".to_owned() })
}

/// What one task encodes.
pub(super) trait Unit: Sync {
    /// Samples of it, which are what it costs.
    fn samples(&self) -> usize;

    fn encode(&self) -> Result<EncodedUnit>;
}

/// Some rows of one series, or the timestamps of these rows.
struct Rows<'a> {
    group: &'a Group<'a>,
    /// Index into the group's series; `None` for the timestamps.
    series: Option<usize>,
    rows: Range<usize>,
    chunk_samples: usize,
}

/// All units in the order of their bytes: spans of rows, in each the timestamps, then series.
fn units<'a>(groups: &'a [Group<'a>], chunk_samples: usize) -> impl Iterator<Item = Rows<'a>> {
    let span = chunk_samples * SPAN_CHUNKS;
    groups.iter().flat_map(move |group| {
        let Group { timestamps, series, .. } = group;
        let rows = if series.is_empty() { 0 } else { timestamps.len() };
        (0..rows).step_by(span).flat_map(move |start| {
            let span = start..rows.min(start + span);
            let members = std::iter::once(None).chain((0..series.len()).map(Some));
            members.map(move |series| Rows { group, series, rows: span.clone(), chunk_samples })
        })
    })
}

impl Rows<'_> {
    fn cuts(&self) -> impl Iterator<Item = Range<usize>> {
        let Self { rows, chunk_samples, .. } = self;
        let cut = move |start| start..rows.end.min(start + chunk_samples);
        rows.clone().step_by(*chunk_samples).map(cut)
    }
}

impl Unit for Rows<'_> {
    fn samples(&self) -> usize {
        self.rows.len()
    }

    /// One column for each cut of the rows.
    fn encode(&self) -> Result<EncodedUnit> {
        let group = self.group;
        let rows_of = |rows: &Range<usize>| group.timestamps.get(rows.clone()).unwrap_or_default();
        let Some(index) = self.series else {
            let columns = self.cuts();
            let columns = columns.map(|rows| EncodedTimestamps::of(rows_of(&rows)));
            return Ok(EncodedUnit::Timestamps(columns.collect()));
        };
        let (mut read, mut columns) = (Vec::new(), Vec::new());
        for rows in self.cuts() {
            (group.read)(index, rows.clone(), &mut read);
            if read.len() != rows.len() {
                let reason = format!("{} where {} rows were asked for", read.len(), rows.len());
                return Err(Error::InvalidArgument { what: "values read", reason });
            }
            columns.push(EncodedValues::of(rows_of(&rows), &read));
        }
        let series = group.series.get(index).copied().unwrap_or_default();
        Ok(EncodedUnit::Values(series, columns))
    }
}
