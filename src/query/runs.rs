//! Series by series in parallel: raw samples handed over run by run, for whoever folds them in
//! ways of its own.

use std::sync::Arc;
use std::time::Duration;

use super::evidence::{Evidence, Ledger};
use super::inputs::Inputs;
use super::plan::TierChoice;
use super::ranges::intersection;
use super::records::{Fold, needs};
use super::resources::Resources;
use super::samples::{SampleRequest, prepare};
use super::walk::Walker;
use super::windows::Windows;
use crate::aggregate::Needs;
use crate::error::Result;
use crate::model::{Series, SeriesId};
use crate::segment::{RecordFields, Records, Sources};
use crate::time::{TimeRange, Timestamp};

/// Series that one task folds, one after another. Fixed, so that what is folded together does not
/// depend on the number of threads.
pub const FOLD_SERIES: usize = 16;

/// The samples of one series, to be visited once.
pub struct SeriesRuns<'w, 'a> {
    walker: &'w mut Walker<'a>,
    series: SeriesId,
    range: TimeRange,
    wanted: Option<Box<dyn Fn(Timestamp, Timestamp) -> bool>>,
}

impl SeriesRuns<'_, '_> {
    /// Reads the series bucket by bucket, where the fold was begun with
    /// [buckets](fold_series): of each that holds any sample what a record would hold, ascending,
    /// but for increase and resets. From the coarsest tiers that hold it, else from raw samples,
    /// without stale markers; observations of distributions too.
    ///
    /// # Errors
    /// Those of the sources and limits.
    pub fn buckets(&mut self) -> Result<Records> {
        let windows = self.walker.windows;
        let mut fold = Fold::new(&windows, RecordFields::default());
        self.walker.series(self.series, &mut fold)?;
        Ok(fold.finish())
    }

    /// Reads only samples in `range`.
    #[must_use]
    pub fn within(self, range: TimeRange) -> Self {
        Self { range: intersection(self.range, range), ..self }
    }

    /// Reads only what lies in spans of time (both ends inclusive) that are `wanted`: chunks that
    /// reach into none are left alone.
    #[must_use]
    pub fn only(self, wanted: impl Fn(Timestamp, Timestamp) -> bool + 'static) -> Self {
        Self { wanted: Some(Box::new(wanted)), ..self }
    }

    /// Calls `visit` with one run of samples after another, ascending in time: `timestamps`
    /// (nanoseconds, strictly ascending) and `values` of equal length, never empty, stale markers
    /// among them. No call where the series has no sample in the range.
    ///
    /// # Errors
    /// Those of the sources and limits, and the first of `visit`, which ends the reading.
    pub fn visit(self, visit: impl FnMut(&[i64], &[f64]) -> Result<()>) -> Result<()> {
        if self.range.is_empty() {
            return Ok(());
        }
        self.walker.samples(self.series, self.range, self.wanted.as_deref(), visit)
    }
}

/// Folds `series`, in that order and in parallel with the threads of `resources`: `begin` makes the state
/// of one task, `fold` takes in one series after another, at most [`FOLD_SERIES`] of them. Returns
/// the states in the order of the series, and what they stand on.
///
/// Only raw samples are read; where retention left nothing but tiers, the evidence tells of a gap.
/// With `buckets`, their length, counted from the range's start, series may be read
/// [by them](SeriesRuns::buckets) too.
/// What the states hold is the caller's to bound; time is checked once a chunk.
///
/// # Errors
/// As [`execute`](super::execute), and the first of `fold`.
pub fn fold_series<S: Send>(
    request: &SampleRequest,
    series: &[(SeriesId, Arc<Series>)],
    sources: &Sources,
    resources: Resources<'_>,
    buckets: Option<Duration>,
    begin: impl Fn() -> S + Sync,
    fold: impl Fn(&mut S, &Arc<Series>, SeriesRuns<'_, '_>) -> Result<()> + Sync,
) -> Result<(Vec<S>, Evidence)> {
    let (whole, meter) = prepare(request, resources, series.len())?;
    let range = request.range;
    let (windows, needs, tiers) = match buckets {
        None => (whole, Needs::default(), TierChoice::Raw),
        Some(_) => {
            (Windows::new(range, buckets)?, needs(RecordFields::default()), TierChoice::Auto)
        }
    };
    let (inputs, ledger) = (Inputs::new(sources, range), Ledger::default());
    let states = resources.deal(
        series.len().div_ceil(FOLD_SERIES),
        || {
            let parts = (&meter, &ledger);
            Walker::new(&inputs, windows, needs, tiers, parts)
        },
        |walker, number| {
            let mut state = begin();
            for (id, series) in series.iter().skip(number * FOLD_SERIES).take(FOLD_SERIES) {
                let runs = SeriesRuns { walker: &mut *walker, series: *id, range, wanted: None };
                fold(&mut state, series, runs)?;
            }
            Ok(state)
        },
        Walker::work,
    )?;
    Ok((states, ledger.evidence(series.len(), range)))
}
