//! Raw samples: stale markers and every other bit pattern come back as written.

use std::sync::Arc;
use std::time::Instant;

use super::inputs::{Inputs, Masked};
use super::meter::Meter;
use super::ranges::intersection;
use super::request::{CancelToken, Limits};
use super::resources::Resources;
use super::scan::{Located, Reader, runs};
use super::windows::Windows;
use crate::error::Result;
use crate::model::{Series, SeriesId};
use crate::segment::{ChunkRef, Columns, Sources};
use crate::time::{TimeRange, Timestamp};

/// Which samples are wanted, and how much that may cost.
#[derive(Debug, Clone)]
pub struct SampleRequest {
    /// Samples at `start <= t < end`.
    pub range: TimeRange,
    /// What it may cost.
    pub limits: Limits,
    /// When to give up.
    pub deadline: Option<Instant>,
    /// Lets another thread give up.
    pub cancel: CancelToken,
}

impl SampleRequest {
    /// All samples of a range, default limits, no deadline.
    #[must_use]
    pub fn new(range: TimeRange) -> Self {
        Self { range, limits: Limits::default(), deadline: None, cancel: CancelToken::default() }
    }

    /// What it may cost, and when to give up.
    pub(crate) fn costs(&self) -> (Limits, Option<Instant>, &CancelToken) {
        (self.limits, self.deadline, &self.cancel)
    }
}

/// The samples of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesSamples {
    /// Whose they are.
    pub series: Arc<Series>,
    /// Nanoseconds since the epoch, strictly ascending.
    pub timestamps: Vec<i64>,
    /// As many, bit for bit as written.
    pub values: Vec<f64>,
}

/// The samples of `series`, in that order; series without a sample in the range are left out.
/// Reads in parallel, with the threads of `resources`, and holds everything: see [`for_each_run`]
/// for less.
///
/// # Errors
/// As [`execute`](super::execute); memory counts 16 bytes a sample of the chunks touched.
pub fn read_samples(
    request: &SampleRequest,
    series: &[(SeriesId, Arc<Series>)],
    sources: &Sources,
    resources: Resources<'_>,
) -> Result<Vec<SeriesSamples>> {
    let (windows, meter) = prepare(request, resources, series.len())?;
    let inputs = Inputs::new(sources, request.range);
    let read: Vec<Option<SeriesSamples>> = resources.deal(
        series.len(),
        || (Reader::new(&inputs.samples, windows, &meter), Vec::new()),
        |(reader, located), number| {
            let Some((id, series)) = series.get(number) else { return Ok(None) };
            let Columns { timestamps, values } =
                collect(reader, located, (*id, request.range), &meter)?;
            let any = !timestamps.is_empty();
            Ok(any.then(|| SeriesSamples { series: Arc::clone(series), timestamps, values }))
        },
        |(reader, _)| reader.tally.samples,
    )?;
    Ok(read.into_iter().flatten().collect())
}

fn collect(
    reader: &mut Reader<'_>,
    located: &mut Vec<Located>,
    (series, range): (SeriesId, TimeRange),
    meter: &Meter<'_>,
) -> Result<Columns> {
    reader.locate(series, range, located)?;
    let samples: u64 = located.iter().map(|located| u64::from(located.chunk.samples)).sum();
    meter.reserve(samples * 16)?;
    let mut columns = Columns::default();
    columns.timestamps.reserve_exact(samples as usize);
    columns.values.reserve_exact(samples as usize);
    for run in runs(located) {
        for (_, timestamps, values) in reader.read(run, range)?.windows() {
            columns.timestamps.extend_from_slice(timestamps);
            columns.values.extend_from_slice(values);
        }
    }
    Ok(columns)
}

/// Calls `visit` with one run of samples after another: `timestamps` (strictly ascending) and
/// `values` of equal length, never empty. Series come in the order given, the runs of one series
/// ascending in time and one after another, so that an export need not hold more than one run: a
/// chunk, or the chunks that overlap each other.
///
/// # Errors
/// As [`execute`](super::execute), and the first error of `visit`, which ends the reading.
pub fn for_each_run(
    request: &SampleRequest,
    series: &[(SeriesId, Arc<Series>)],
    sources: &Sources,
    mut visit: impl FnMut(&Arc<Series>, &[i64], &[f64]) -> Result<()>,
) -> Result<()> {
    let (windows, meter) = prepare(request, Resources::default(), series.len())?;
    let inputs = Inputs::new(sources, request.range);
    let mut reader = Reader::new(&inputs.samples, windows, &meter);
    let mut located = Vec::new();
    for (id, series) in series {
        reader.locate(*id, request.range, &mut located)?;
        for run in runs(&located) {
            for (_, timestamps, values) in reader.read(run, request.range)?.windows() {
                visit(series, timestamps, values)?;
            }
        }
    }
    Ok(())
}

/// Keeps those of `series` that may hold anything about `range` that is not deleted: a chunk that
/// overlaps it, or records of a source that accounts for some of it.
///
/// # Errors
/// Those of the sources.
pub fn retain_held(
    series: &mut Vec<(SeriesId, Arc<Series>)>,
    range: TimeRange,
    sources: &Sources,
) -> Result<()> {
    let inputs = Inputs::new(sources, range);
    let mut chunks = Vec::new();
    let mut failed = None;
    series.retain(|(id, _)| {
        failed.is_none()
            && may_hold(*id, range, &inputs, &mut chunks).unwrap_or_else(|error| {
                failed = Some(error);
                false
            })
    });
    failed.map_or(Ok(()), Err)
}

fn may_hold(
    series: SeriesId,
    range: TimeRange,
    inputs: &Inputs<'_>,
    chunks: &mut Vec<ChunkRef>,
) -> Result<bool> {
    for input in &inputs.samples {
        chunks.clear();
        input.source.chunks(series, range, chunks)?;
        let there =
            |chunk: &ChunkRef| input.masked(series, chunk.first, chunk.last) != Masked::Wholly;
        if chunks.iter().any(there) {
            return Ok(true);
        }
    }
    for input in inputs.recorded.iter().chain(&inputs.tiers) {
        let about = intersection(input.source.window(), range);
        let last = Timestamp(about.end.0.saturating_sub(1));
        if !about.is_empty()
            && input.masked(series, about.start, last) != Masked::Wholly
            && input.source.holds(series)?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// One window over the range: what lies in it is what is wanted.
pub(super) fn prepare<'a>(
    request: &SampleRequest,
    resources: Resources<'a>,
    series: usize,
) -> Result<(Windows, Meter<'a>)> {
    let windows = Windows::new(request.range, None)?;
    let SampleRequest { limits, deadline, cancel, .. } = request;
    Ok((windows, Meter::new(*limits, *deadline, cancel, resources.memory, series)?))
}
