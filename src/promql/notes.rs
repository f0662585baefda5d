//! What an evaluation has to say beside its value: warnings, infos, and what was read.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::plan::Selection;
use super::steps::Steps;
use super::value::{Outcome, Value};
use crate::query::Evidence;

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
        noted.evidence.push((selection.index, selector, evidence));
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
