//! Raw samples: stale markers and every other bit pattern come back as written.

use std::sync::Arc;
use std::time::Instant;

use rayon::prelude::*;

use super::meter::Meter;
use super::request::{CancelToken, Limits};
use super::scan::{Located, Reader, runs};
use super::windows::Windows;
use crate::error::Result;
use crate::model::{Series, SeriesId};
use crate::segment::{Columns, Sources};
use crate::time::TimeRange;

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
/// Reads in parallel on the ambient rayon pool and holds everything: see [`for_each_run`] for
/// less.
///
/// # Errors
/// As [`execute`](super::execute); memory counts 16 bytes a sample of the chunks touched.
pub fn read_samples(
    request: &SampleRequest,
    series: &[(SeriesId, Arc<Series>)],
    sources: &Sources,
) -> Result<Vec<SeriesSamples>> {
    let (windows, meter) = prepare(request, series.len())?;
    let read: Vec<Option<SeriesSamples>> = series
        .par_iter()
        .map_init(
            || (Reader::new(&sources.samples, windows, &meter), Vec::new()),
            |(reader, located), (id, series)| {
                let Columns { timestamps, values } = collect(reader, located, *id, &meter)?;
                let any = !timestamps.is_empty();
                Ok(any.then(|| SeriesSamples { series: Arc::clone(series), timestamps, values }))
            },
        )
        .collect::<Result<_>>()?;
    Ok(read.into_iter().flatten().collect())
}

fn collect(
    reader: &mut Reader<'_>,
    located: &mut Vec<Located>,
    series: SeriesId,
    meter: &Meter,
) -> Result<Columns> {
    reader.locate(series, located)?;
    let samples: u64 = located.iter().map(|located| u64::from(located.chunk.samples)).sum();
    meter.reserve(samples * 16)?;
    let mut columns = Columns::default();
    columns.timestamps.reserve_exact(samples as usize);
    columns.values.reserve_exact(samples as usize);
    for run in runs(located) {
        for (_, timestamps, values) in reader.read(run)?.stretches() {
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
    let (windows, meter) = prepare(request, series.len())?;
    let mut reader = Reader::new(&sources.samples, windows, &meter);
    let mut located = Vec::new();
    for (id, series) in series {
        reader.locate(*id, &mut located)?;
        for run in runs(&located) {
            for (_, timestamps, values) in reader.read(run)?.stretches() {
                visit(series, timestamps, values)?;
            }
        }
    }
    Ok(())
}

/// One window over the range: what lies in it is what is wanted.
fn prepare(request: &SampleRequest, series: usize) -> Result<(Windows, Meter)> {
    let windows = Windows::new(request.range, None)?;
    Ok((windows, Meter::new(request.limits, request.deadline, &request.cancel, series)?))
}
