//! Rows: of several series that belong together, the values at the times when one of them passes
//! a threshold.

use std::ops::Range;
use std::sync::Arc;

use super::answer::GroupKey;
use super::execute::grouped;
use super::inputs::Inputs;
use super::meter::Meter;
use super::resources::Resources;
use super::samples::{SampleRequest, prepare};
use super::scan::{Column, Located, Reader, runs};
use super::threshold::Threshold;
use crate::error::{Error, Result};
use crate::model::{Matcher, Series, SeriesId};
use crate::segment::Sources;

/// Which rows are wanted.
#[derive(Debug, Clone)]
pub struct RowRequest {
    /// Of which samples, and what that may cost.
    pub samples: SampleRequest,
    /// The labels whose values tell owners apart: series that have them alike make up the columns
    /// of one owner's rows.
    pub by: Vec<String>,
    /// Which of an owner's series decides. An owner without it has no rows.
    pub decider: Matcher,
    /// What its value has to be like.
    pub threshold: Threshold,
}

/// The rows of one owner.
#[derive(Debug, Clone, PartialEq)]
pub struct RowGroup {
    /// The labels that tell it apart.
    pub key: GroupKey,
    /// Its series, ascending, the one that decides among them.
    pub series: Vec<Arc<Series>>,
    /// When the one that decides passed: nanoseconds since the epoch, strictly ascending.
    pub timestamps: Vec<i64>,
    /// For each series its values at these times; NaN where it has no sample at one.
    pub values: Vec<Vec<f64>>,
}

/// The rows of each owner that has any, ascending by key. Only raw samples are read; chunks whose
/// statistics say that nothing passes are not decoded, nor those of other series beside them.
///
/// # Errors
/// As [`execute`](super::execute); [`Error::InvalidArgument`] where two series of one owner would
/// decide. Memory counts what is answered.
pub fn select_rows(
    request: &RowRequest,
    series: &[(SeriesId, Arc<Series>)],
    sources: &Sources,
    resources: Resources<'_>,
) -> Result<Vec<RowGroup>> {
    let (windows, meter) = prepare(&request.samples, resources, series.len())?;
    let inputs = Inputs::new(sources, request.samples.range);
    let ordered: Vec<_> = series.iter().collect();
    let owners = grouped(&request.by, &ordered);
    let found = resources.deal(
        owners.len(),
        || Finder {
            request,
            meter: &meter,
            reader: Reader::new(&inputs.samples, windows, &meter),
            located: Vec::new(),
            stretches: Vec::new(),
            indexes: Vec::new(),
        },
        |finder, number| {
            let Some((values, members)) = owners.get(number) else { return Ok(None) };
            let labels = request.by.iter().zip(values);
            let key = labels.map(|(label, value)| (label.clone(), (*value).to_owned()));
            finder.rows(GroupKey::Labels(key.collect()), members)
        },
        |finder| finder.reader.tally.samples,
    )?;
    Ok(found.into_iter().flatten().collect())
}

/// Finds rows for one thread.
struct Finder<'a> {
    request: &'a RowRequest,
    meter: &'a Meter<'a>,
    reader: Reader<'a>,
    located: Vec<Located>,
    /// Of the rows found, those that came from one chunk.
    stretches: Vec<Stretch>,
    /// Their places in the chunk, one after another as the rows are.
    indexes: Vec<u32>,
}

/// Rows found in one timestamp column.
struct Stretch {
    column: Column,
    rows: Range<usize>,
}

impl Finder<'_> {
    fn rows(
        &mut self,
        key: GroupKey,
        members: &[&(SeriesId, Arc<Series>)],
    ) -> Result<Option<RowGroup>> {
        let matcher = &self.request.decider;
        let decides = |series: &Series| matcher.accepts(series.label(matcher.name()));
        let mut deciding = members.iter().filter(|(_, series)| decides(series));
        let (Some((decider, first)), second) = (deciding.next(), deciding.next()) else {
            return Ok(None);
        };
        if let Some((_, second)) = second {
            let reason = format!("both {first} and {second} would decide");
            return Err(Error::InvalidArgument { what: "decider", reason });
        }
        let (timestamps, decided) = self.decide(*decider)?;
        let Some((&first, &last)) = timestamps.first().zip(timestamps.last()) else {
            return Ok(None);
        };
        let bytes = timestamps.len() * size_of::<f64>() * members.len();
        self.meter.reserve(bytes as u64)?;
        let mut decided = Some(decided);
        let mut values = Vec::with_capacity(members.len());
        for (id, _) in members {
            values.push(match decided.take_if(|_| id == decider) {
                Some(decided) => decided,
                None => self.gather(*id, &timestamps, (first, last))?,
            });
        }
        let series = members.iter().map(|(_, series)| Arc::clone(series)).collect();
        Ok(Some(RowGroup { key, series, timestamps, values }))
    }

    /// When a series passes, and its values then.
    fn decide(&mut self, series: SeriesId) -> Result<(Vec<i64>, Vec<f64>)> {
        let Self { request, reader, located, stretches, indexes, meter } = self;
        let (range, threshold) = (request.samples.range, request.threshold);
        stretches.clear();
        indexes.clear();
        let (mut timestamps, mut values) = (Vec::new(), Vec::new());
        reader.locate(series, range, located)?;
        for run in runs(located) {
            if let [single] = run
                && let Some(partial) = reader.statistics_of(single)?
                && !threshold.may_pass(&partial)
            {
                continue;
            }
            let start = timestamps.len();
            let decoded = reader.read(run, range)?;
            for (first, times, held) in decoded.rows() {
                let rows = (first as u32..).zip(times.iter().zip(held));
                for (row, (&time, &value)) in rows {
                    if threshold.passes(value) {
                        timestamps.push(time);
                        values.push(value);
                        indexes.push(row);
                    }
                }
            }
            let rows = start..timestamps.len();
            meter.reserve((2 * size_of::<i64>() * rows.len()) as u64)?;
            if let [single] = run {
                stretches.push(Stretch { column: single.column(), rows });
            } else {
                stretches.push(Stretch { column: Column::MERGED, rows });
            }
        }
        Ok((timestamps, values))
    }

    /// The values of a series at these times.
    fn gather(
        &mut self,
        series: SeriesId,
        wanted: &[i64],
        (first, last): (i64, i64),
    ) -> Result<Vec<f64>> {
        let Self { request, reader, located, stretches, indexes, .. } = self;
        let range = request.samples.range;
        let mut values = vec![f64::NAN; wanted.len()];
        reader.locate(series, range, located)?;
        for run in runs(located) {
            let below = |point: i64| wanted.partition_point(|&time| time < point);
            let begin = run.iter().map(|located| located.chunk.first.0).min().unwrap_or(first);
            let end = run.iter().map(|located| located.chunk.last.0).max().unwrap_or(last);
            let rows = below(begin)..below(end.saturating_add(1));
            let (Some(times), Some(out)) = (wanted.get(rows.clone()), values.get_mut(rows.clone()))
            else {
                continue;
            };
            if times.is_empty() {
                continue;
            }
            let alike = match run {
                [single] => stretches.iter().find(|stretch| stretch.column == single.column()),
                _ => None,
            };
            let decoded = reader.read(run, range)?;
            match alike.filter(|stretch| stretch.rows == rows) {
                Some(_) => {
                    let indexes = indexes.get(rows).unwrap_or_default();
                    for (value, &index) in out.iter_mut().zip(indexes) {
                        *value = decoded.value(index as usize).unwrap_or(f64::NAN);
                    }
                }
                None => decoded.rows().for_each(|(_, held, values)| pick(held, values, times, out)),
            }
        }
        Ok(values)
    }
}

/// Puts the values that stand at the wanted times in their places; both lists ascend.
fn pick(times: &[i64], values: &[f64], wanted: &[i64], out: &mut [f64]) {
    let mut rest = times.iter().zip(values).peekable();
    for (&time, place) in wanted.iter().zip(out) {
        while rest.next_if(|&(&held, _)| held < time).is_some() {}
        if let Some((_, &value)) = rest.next_if(|&(&held, _)| held == time) {
            *place = value;
        }
    }
}
