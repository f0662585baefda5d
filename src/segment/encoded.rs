//! Groups whose chunks somebody else cut: each encoded afresh, or copied from another segment.

use std::ops::Range;

use super::builder::{EncodedTimestamps, EncodedUnit, EncodedValues};
use super::writer::{EncodedSegment, SPAN_CHUNKS, SegmentLimits, Unit, check_ascending, lay_units};
use crate::error::{Error, Result};

/// Makes value columns of a group: `(index into series, index into timestamps)`. Called from many
/// threads, for each pair once.
pub type ReadEncoded<'a> = dyn Fn(usize, usize) -> Result<EncodedValues> + Sync + 'a;

/// Series whose chunks stand at the same timestamp columns.
pub struct EncodedGroup<'a> {
    /// Positions in the part's series table, strictly ascending.
    pub series: &'a [u32],
    /// One for each chunk of a series, ascending in time without overlap.
    pub timestamps: &'a [EncodedTimestamps],
    /// The value columns, of as many samples as their timestamp columns.
    pub read: &'a ReadEncoded<'a>,
}

/// As [`encode_segments`](super::encode_segments), but of chunks that are cut already: only the
/// limits' segment size counts. Equal input gives equal bytes, whatever the number of threads.
///
/// # Errors
/// [`Error::InvalidOption`] for limits out of bounds; [`Error::InvalidArgument`] where series or
/// timestamp columns do not ascend, a value column has another length than its timestamps, or
/// chunks of one series overlap within a segment; whatever `read` or `sink` return.
pub fn lay_segments(
    groups: &[EncodedGroup<'_>],
    limits: &SegmentLimits,
    sink: &mut dyn FnMut(EncodedSegment) -> Result<()>,
) -> Result<()> {
    for group in groups {
        let ends = group.timestamps.iter().map(EncodedTimestamps::bounds);
        if !ends.is_sorted_by(|one, next| one.1 < next.0) {
            let reason = "overlap or do not ascend".to_owned();
            return Err(Error::InvalidArgument { what: "timestamp columns of a group", reason });
        }
        check_ascending(group.series, "series of a group")?;
    }
    lay_units(units(groups), limits, sink)
}

/// Some chunks of one series, or their timestamp columns.
struct Chunks<'a> {
    group: &'a EncodedGroup<'a>,
    /// Index into the group's series; `None` for the timestamps.
    series: Option<usize>,
    chunks: Range<usize>,
}

fn units<'a>(groups: &'a [EncodedGroup<'a>]) -> impl Iterator<Item = Chunks<'a>> {
    groups.iter().flat_map(|group| {
        let chunks = if group.series.is_empty() { 0 } else { group.timestamps.len() };
        (0..chunks).step_by(SPAN_CHUNKS).flat_map(move |start| {
            let span = start..chunks.min(start + SPAN_CHUNKS);
            let members = std::iter::once(None).chain((0..group.series.len()).map(Some));
            members.map(move |series| Chunks { group, series, chunks: span.clone() })
        })
    })
}

impl Chunks<'_> {
    fn timestamps(&self) -> &[EncodedTimestamps] {
        self.group.timestamps.get(self.chunks.clone()).unwrap_or_default()
    }
}

impl Unit for Chunks<'_> {
    fn samples(&self) -> usize {
        self.timestamps().iter().map(|column| column.samples() as usize).sum()
    }

    fn encode(&self) -> Result<EncodedUnit> {
        let Some(index) = self.series else {
            return Ok(EncodedUnit::Timestamps(self.timestamps().to_vec()));
        };
        let mut columns = Vec::with_capacity(self.chunks.len());
        for (chunk, timestamps) in self.chunks.clone().zip(self.timestamps()) {
            let values = (self.group.read)(index, chunk)?;
            if values.samples() != timestamps.samples() {
                let reason = format!("{} at {} timestamps", values.samples(), timestamps.samples());
                return Err(Error::InvalidArgument { what: "values of a chunk", reason });
            }
            columns.push(values);
        }
        let series = self.group.series.get(index).copied().unwrap_or_default();
        Ok(EncodedUnit::Values(series, columns))
    }
}
