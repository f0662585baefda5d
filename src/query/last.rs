//! The latest sample of each series: from directories and the head, decoding only where deletes,
//! stale markers or the range ask for it.

use std::sync::Arc;

use super::inputs::{Inputs, Masked};
use super::resources::Resources;
use super::samples::{SampleRequest, prepare};
use super::scan::{Located, Reader, runs};
use crate::error::Result;
use crate::model::{Sample, Series, SeriesId, is_stale};
use crate::segment::{Latest, Sources};
use crate::time::{TimeRange, Timestamp};

/// Series that one task looks at.
const SHARD_SERIES: usize = 512;

/// The latest sample of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct LastSample {
    /// Whose it is.
    pub series: Arc<Series>,
    /// When it stood at what; never a stale marker.
    pub sample: Sample,
}

/// The latest sample in the request's range of each of `series`, in that order, stale markers
/// passed over; series without one are left out. Distributions, which have no samples, are too.
///
/// # Errors
/// As [`execute`](super::execute).
pub fn last_samples(
    request: &SampleRequest,
    series: &[(SeriesId, Arc<Series>)],
    sources: &Sources,
    resources: Resources<'_>,
) -> Result<Vec<LastSample>> {
    let (windows, meter) = prepare(request, resources, series.len())?;
    meter.reserve((series.len() * size_of::<LastSample>()) as u64)?;
    let inputs = Inputs::new(sources, request.range);
    let found = resources.deal(
        series.len().div_ceil(SHARD_SERIES),
        || Finder::new(&inputs, Reader::new(&inputs.samples, windows, &meter)),
        |finder, number| {
            meter.check()?;
            let start = number * SHARD_SERIES;
            let rest = series.get(start..).unwrap_or_default();
            finder.find(rest.get(..SHARD_SERIES).unwrap_or(rest), request.range)
        },
        |finder| 16 * finder.asked + finder.reader.tally.samples,
    )?;
    let mut found = found.into_iter();
    let mut all = found.next().unwrap_or_default();
    found.for_each(|mut more| all.append(&mut more));
    Ok(all)
}

/// Finds latest samples for one thread.
struct Finder<'a> {
    inputs: &'a Inputs<'a>,
    reader: Reader<'a>,
    ids: Vec<SeriesId>,
    /// What one input knows of each series.
    known: Vec<Option<Latest>>,
    /// The latest of all inputs.
    best: Vec<Option<Latest>>,
    located: Vec<Located>,
    asked: u64,
}

impl<'a> Finder<'a> {
    fn new(inputs: &'a Inputs<'a>, reader: Reader<'a>) -> Self {
        let (ids, known, best, located) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { inputs, reader, ids, known, best, located, asked: 0 }
    }

    fn find(
        &mut self,
        series: &[(SeriesId, Arc<Series>)],
        range: TimeRange,
    ) -> Result<Vec<LastSample>> {
        self.asked += series.len() as u64;
        self.ids.clear();
        self.ids.extend(series.iter().map(|(id, _)| *id));
        self.best.clear();
        self.best.resize(series.len(), None);
        // Ascending by rank: of equal times the later write counts.
        for input in &self.inputs.samples {
            self.known.clear();
            input.source.latest(&self.ids, &mut self.known)?;
            let pairs = self.best.iter_mut().zip(&self.known).zip(&self.ids);
            for ((best, known), &id) in pairs {
                let Some(mut latest) = *known else { continue };
                // Whether it is deleted, or which sample comes before, the source cannot tell.
                if input.masked(id, Timestamp::MIN, latest.last) != Masked::No {
                    latest.value = None;
                }
                if best.is_none_or(|best| best.last <= latest.last) {
                    *best = Some(latest);
                }
            }
        }
        let mut found = Vec::with_capacity(series.len());
        for (at, (id, series)) in series.iter().enumerate() {
            let Some(Latest { last, value }) = self.best.get(at).copied().flatten() else {
                continue;
            };
            let sample = match value {
                _ if last < range.start => None,
                Some(value) if last < range.end => Some(Sample { timestamp: last, value }),
                _ => self.search(*id, range)?,
            };
            let series = || Arc::clone(series);
            found.extend(sample.map(|sample| LastSample { series: series(), sample }));
        }
        Ok(found)
    }

    /// Decodes from the end until there is one.
    fn search(&mut self, series: SeriesId, range: TimeRange) -> Result<Option<Sample>> {
        self.reader.locate(series, range, &mut self.located)?;
        let runs: Vec<&[Located]> = runs(&self.located).collect();
        for run in runs.into_iter().rev() {
            let mut latest = None;
            for (_, timestamps, values) in self.reader.read(run, range)?.windows() {
                let fresh = values.iter().rposition(|&value| !is_stale(value));
                let sample = fresh.and_then(|row| timestamps.get(row).zip(values.get(row)));
                latest = sample.or(latest.take());
            }
            if let Some((&time, &value)) = latest {
                return Ok(Some(Sample { timestamp: Timestamp(time), value }));
            }
        }
        Ok(None)
    }
}
