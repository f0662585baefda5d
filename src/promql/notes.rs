//! What an evaluation has to say beside its value: warnings, infos, and what was read.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::plan::Selection;
use super::steps::Steps;
use super::value::{Outcome, Value};
use crate::query::Evidence;
use crate::time::TimeRange;

/// Filled by all tasks of an evaluation.
#[derive(Debug, Default)]
pub(super) struct Notes(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    warnings: BTreeSet<String>,
    infos: BTreeSet<String>,
    /// With the selector's place in the query.
    evidence: Vec<(usize, String, Evidence)>,
}

impl Notes {
    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn warn(&self, warning: String) {
        self.lock().warnings.insert(warning);
    }

    pub(super) fn inform(&self, info: String) {
        self.lock().infos.insert(info);
    }

    /// Says where only a tier is left of what a selector wanted.
    pub(super) fn read(&self, selection: &Selection, evidence: Evidence) {
        let selector = selection.selector.to_string();
        let mut noted = self.lock();
        for gap in &evidence.gaps {
            let (start, end) = (gap.range.start, gap.range.end);
            noted.warnings.insert(format!(
                "samples of {selector} from {start} to {end} are gone; only the {} tier is left",
                gap.tier
            ));
        }
        match noted.evidence.iter_mut().find(|(index, ..)| *index == selection.index) {
            Some((_, _, known)) => add(known, evidence),
            None => noted.evidence.push((selection.index, selector, evidence)),
        }
    }

    /// That a rate of this metric may make no sense: what Prometheus says.
    pub(super) fn not_a_counter(&self, metric: &str) {
        if ["_total", "_sum", "_count", "_bucket"].iter().any(|end| metric.ends_with(end)) {
            return;
        }
        self.inform(format!(
            "PromQL info: metric might not be a counter, name does not end in \
             _total/_sum/_count/_bucket: {metric:?}"
        ));
    }

    /// That a quantile lies outside of 0 to 1.
    pub(super) fn invalid_quantile(&self, phi: f64) {
        self.warn(format!(
            "PromQL warning: quantile value should be between 0 and 1, got {}",
            if phi.is_nan() { "NaN".to_owned() } else { phi.to_string() }
        ));
    }

    pub(super) fn outcome(self, steps: Steps, value: Value) -> Outcome {
        let mut noted = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        noted.evidence.sort_by_key(|(index, ..)| *index);
        let evidence = noted.evidence.into_iter().map(|(_, selector, read)| (selector, read));
        Outcome {
            steps,
            value,
            warnings: noted.warnings.into_iter().collect(),
            infos: noted.infos.into_iter().collect(),
            evidence: evidence.collect(),
        }
    }
}

/// Adds what a selector read again, for other steps.
fn add(known: &mut Evidence, more: Evidence) {
    known.series = known.series.max(more.series);
    for tier in more.tiers {
        match known.tiers.iter_mut().find(|known| known.tier == tier.tier) {
            Some(known) => {
                known.records += tier.records;
                known.parts = known.parts.max(tier.parts);
                known.stretches.extend(tier.stretches);
            }
            None => known.tiers.push(tier),
        }
    }
    for tier in &mut known.tiers {
        tier.stretches = joined(std::mem::take(&mut tier.stretches));
    }
    known.chunks_from_statistics += more.chunks_from_statistics;
    known.chunks_decoded += more.chunks_decoded;
    known.samples_decoded += more.samples_decoded;
    known.dirty_buckets += more.dirty_buckets;
    known.quantile_relative_error = known.quantile_relative_error.max(more.quantile_relative_error);
    known.gaps.extend(more.gaps);
}

/// Stretches that touch or overlap, as one.
fn joined(mut stretches: Vec<TimeRange>) -> Vec<TimeRange> {
    stretches.sort_by_key(|stretch| stretch.start);
    let mut joined: Vec<TimeRange> = Vec::new();
    for stretch in stretches {
        match joined.last_mut().filter(|last| last.end >= stretch.start) {
            Some(last) => last.end = last.end.max(stretch.end),
            None => joined.push(stretch),
        }
    }
    joined
}
