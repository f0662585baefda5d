//! Groups of series, each folded value by value.

use std::collections::HashMap;

use super::fold::Fold;
use super::{AggregateOp, Grouping};
use crate::promql::labels::Labels;
use crate::promql::value::Column;

/// The groups of an aggregator for which [`AggregateOp::folds`]; memory is groups × steps.
#[derive(Debug)]
pub(in crate::promql) struct Groups<'a> {
    op: AggregateOp,
    grouping: &'a Grouping,
    steps: usize,
    places: HashMap<Labels, usize>,
    /// In the order of first appearance.
    folds: Vec<Fold>,
}

impl<'a> Groups<'a> {
    /// Without any group.
    pub(in crate::promql) fn new(op: AggregateOp, grouping: &'a Grouping, steps: usize) -> Self {
        Self { op, grouping, steps, places: HashMap::new(), folds: Vec::new() }
    }

    /// How many groups there are.
    pub(in crate::promql) fn len(&self) -> usize {
        self.folds.len()
    }

    /// Bytes that one group's state takes, beside its labels.
    pub(in crate::promql) fn group_bytes(&self) -> u64 {
        let numbers: u64 = match self.op {
            AggregateOp::Sum => 2,
            // Three numbers and a flag, rounded up.
            AggregateOp::Avg => 4,
            AggregateOp::Stddev | AggregateOp::Stdvar => 3,
            _ => 1,
        };
        numbers.saturating_mul(8).saturating_mul(self.steps as u64)
    }

    /// Folds a series of these labels in: a value a step.
    pub(in crate::promql) fn add(&mut self, labels: &Labels, values: &[f64]) {
        self.fold(self.grouping.key(labels)).add(values);
    }

    fn fold(&mut self, key: Labels) -> &mut Fold {
        let place = *self.places.entry(key).or_insert(self.folds.len());
        if place == self.folds.len() {
            self.folds.push(Fold::new(self.op, self.steps));
        }
        #[expect(clippy::indexing_slicing, reason = "places are of folds that were pushed")]
        &mut self.folds[place]
    }

    /// Takes in what another, of the same aggregator, grouping and steps, has folded.
    pub(in crate::promql) fn merge(&mut self, later: Self) {
        for (key, fold) in in_order(later.places, later.folds) {
            if self.places.contains_key(&key) {
                self.fold(key).merge(fold);
            } else {
                self.places.insert(key, self.folds.len());
                self.folds.push(fold);
            }
        }
    }

    /// The groups' columns, in the order of first appearance. None is empty, if no series was.
    pub(in crate::promql) fn finish(self) -> Vec<Column> {
        in_order(self.places, self.folds)
            .map(|(labels, fold)| Column { labels, values: fold.finish() })
            .filter(|column| !column.is_empty())
            .collect()
    }
}

fn in_order(
    places: HashMap<Labels, usize>,
    folds: Vec<Fold>,
) -> impl Iterator<Item = (Labels, Fold)> {
    let mut keys: Vec<(Labels, usize)> = places.into_iter().collect();
    keys.sort_unstable_by_key(|(_, place)| *place);
    keys.into_iter().map(|(key, _)| key).zip(folds)
}
