//! A store of samples in a map, and functions written as their definitions read.

use std::collections::BTreeMap;

use icecore::model::{SeriesId, is_stale};
use icecore::query::{Function, GroupKey, Grouping, Request};

use crate::Selected;

/// By series and timestamp: the rank that wrote the value last, and the value.
#[derive(Default, Debug, Clone)]
pub struct Reference(pub BTreeMap<SeriesId, BTreeMap<i64, (u64, f64)>>);

/// One group's windows: for each its count and the functions' values.
#[derive(Debug)]
pub struct Expected {
    pub key: GroupKey,
    pub windows: Vec<(u64, Vec<f64>)>,
}

impl Reference {
    pub fn push(&mut self, rank: u64, series: SeriesId, samples: &[(i64, f64)]) {
        let held = self.0.entry(series).or_default();
        for &(time, value) in samples {
            let slot = held.entry(time).or_insert((rank, value));
            if slot.0 <= rank {
                *slot = (rank, value);
            }
        }
    }

    /// All samples of a series in a range, stale markers too.
    pub fn samples(&self, series: SeriesId, start: i64, end: i64) -> Vec<(i64, f64)> {
        let held = self.0.get(&series).into_iter().flatten();
        held.filter(|(time, _)| (start..end).contains(*time)).map(|(&t, &(_, v))| (t, v)).collect()
    }

    pub fn execute(&self, request: &Request, selected: &Selected) -> Vec<Expected> {
        let mut groups: BTreeMap<GroupKey, Vec<SeriesId>> = BTreeMap::new();
        let mut ordered = selected.clone();
        ordered.sort_by(|a, b| a.1.cmp(&b.1));
        for (id, series) in &ordered {
            let key = match &request.group_by {
                Grouping::Series => GroupKey::Series(series.clone()),
                Grouping::Labels(labels) => GroupKey::Labels(
                    labels.iter().map(|l| (l.clone(), series.label(l).to_owned())).collect(),
                ),
            };
            groups.entry(key).or_default().push(*id);
        }
        groups
            .into_iter()
            .map(|(key, ids)| Expected { key, windows: self.windows(request, &ids) })
            .filter(|group| group.windows.iter().any(|window| window.0 > 0))
            .collect()
    }

    /// The values, stale markers left out, of a group's series in one window.
    pub fn pooled(
        &self,
        request: &Request,
        selected: &Selected,
        key: &GroupKey,
        window: usize,
    ) -> Vec<f64> {
        let (start, end) = (request.range.start.0, request.range.end.0);
        let step = request.step.map_or(end - start, |step| step.as_nanos() as i64);
        let from = start + step * window as i64;
        let belongs = |series: &icecore::model::Series| match key {
            GroupKey::Series(one) => **one == *series,
            GroupKey::Labels(labels) => labels.iter().all(|(l, v)| series.label(l) == v),
        };
        let ids = selected.iter().filter(|(_, series)| belongs(series)).map(|(id, _)| *id);
        ids.flat_map(|id| self.samples(id, from, (from + step).min(end)))
            .map(|(_, value)| value)
            .filter(|value| !is_stale(*value))
            .collect()
    }

    fn windows(&self, request: &Request, ids: &[SeriesId]) -> Vec<(u64, Vec<f64>)> {
        let (start, end) = (request.range.start.0, request.range.end.0);
        let step = request.step.map_or(end - start, |step| step.as_nanos() as i64);
        let mut windows = vec![];
        let mut from = start;
        while from < end {
            let to = (from + step).min(end);
            let mut samples = vec![];
            let mut increase = 0.0;
            for &id in ids {
                let all: Vec<(i64, f64)> =
                    self.samples(id, start, end).into_iter().filter(|s| !is_stale(s.1)).collect();
                samples.extend(all.iter().copied().filter(|s| (from..to).contains(&s.0)));
                for pair in all.windows(2).filter(|pair| (from..to).contains(&pair[1].0)) {
                    let (a, b) = (pair[0].1, pair[1].1);
                    let growth = if b < a { b } else { b - a };
                    increase += if growth.is_nan() { 0.0 } else { growth };
                }
            }
            let seconds = (to - from) as f64 / 1e9;
            let value = |function: &Function| finish(*function, &samples, increase, seconds);
            windows.push((samples.len() as u64, request.functions.iter().map(value).collect()));
            from = to;
        }
        windows
    }
}

fn finish(function: Function, samples: &[(i64, f64)], increase: f64, seconds: f64) -> f64 {
    let values: Vec<f64> = samples.iter().map(|sample| sample.1).collect();
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    sorted.sort_by(f64::total_cmp);
    match function {
        Function::Count => count,
        _ if values.is_empty() => f64::NAN,
        Function::Sum => values.iter().sum(),
        Function::Avg => mean,
        Function::Min => sorted.first().copied().unwrap_or(f64::NAN),
        Function::Max => sorted.last().copied().unwrap_or(f64::NAN),
        // `min_by_key` keeps the first of equals, `max_by_key` the last.
        Function::First => samples.iter().min_by_key(|sample| sample.0).unwrap().1,
        Function::Last => samples.iter().max_by_key(|sample| sample.0).unwrap().1,
        Function::Stddev => {
            (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt()
        }
        Function::Rate => increase / seconds,
        Function::Increase => increase,
        Function::Quantile(_) if sorted.is_empty() => f64::NAN,
        Function::Quantile(q) => {
            let rank = q * (sorted.len() - 1) as f64;
            let below = sorted[rank.floor() as usize];
            let above = sorted[rank.ceil() as usize];
            if below == above { below } else { below * (1.0 - rank.fract()) + above * rank.fract() }
        }
        other => panic!("no reference for {other}"),
    }
}

/// Equal within rounding; NaN equals NaN.
pub fn close(found: f64, expected: f64) -> bool {
    found == expected
        || (found.is_nan() && expected.is_nan())
        || (found - expected).abs() <= 1e-9 * (1.0 + expected.abs())
}
