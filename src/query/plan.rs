//! Which tier answers which stretch of time, for one series.
//!
//! A tier part accounts for its window up to its rank. So the coverage of a tier at a point in
//! time is the highest rank among its parts about that point, and raw samples of a higher rank
//! are what the tier has not taken in. Where no part about a point holds the series, the tier is
//! not asked: finer ones may know more, since series that are kept for different times have parts
//! of their own. Series that the same parts hold share one plan.

use std::collections::HashMap;
use std::sync::Arc;

use super::inputs::{Input, Inputs};
use super::ranges::{Ranges, intersection};
use super::windows::Windows;
use crate::aggregate::Needs;
use crate::error::{Error, Result};
use crate::model::SeriesId;
use crate::segment::{RecordFields, RecordSource};
use crate::time::{Tier, TimeRange};

/// Which tiers a query may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TierChoice {
    /// The coarsest that answers exactly what is asked, finer ones and raw samples elsewhere.
    #[default]
    Auto,
    /// Samples as they came, and distributions as they were recorded.
    Raw,
    /// This tier, and raw samples only where it has not taken in late ones or deletes. What it
    /// does not cover is left out.
    Only(Tier),
}

impl TierChoice {
    pub(super) fn admits(self, tier: Tier) -> bool {
        match self {
            Self::Auto => true,
            Self::Raw => tier.is_raw(),
            Self::Only(only) => tier == only,
        }
    }

    /// # Errors
    /// [`Error::InvalidArgument`] where the tier cannot answer these windows or functions.
    pub(super) fn check(self, windows: &Windows, needs: Needs) -> Result<()> {
        let reason = match self {
            Self::Only(tier) if !tier.is_raw() && needs.moments => {
                format!("the deviation is not kept in {tier}")
            }
            Self::Only(tier) if !windows.divided_by(tier) => {
                format!("buckets of {tier} do not divide the windows")
            }
            _ => return Ok(()),
        };
        Err(Error::InvalidArgument { what: "tier", reason })
    }
}

/// A stretch of time that one tier answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) tier: Tier,
    /// Aligned to the tier's buckets.
    pub(crate) range: TimeRange,
    /// Up to which writes the tier has taken in; of raw, nothing to know.
    pub(crate) rank: u64,
    /// Indexes of the tier's inputs that may hold its records, ascending by rank.
    pub(crate) inputs: Vec<usize>,
}

/// How a series is read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SeriesPlan {
    /// Ascending in time, disjoint.
    pub(crate) stretches: Vec<Stretch>,
    /// Of the sample inputs by index: where they may hold what the stretches' tiers have not taken
    /// in.
    pub(crate) later_samples: Vec<(usize, TimeRange)>,
    /// As [`later_samples`](Self::later_samples), of recorded distributions.
    pub(crate) later_recorded: Vec<(usize, TimeRange)>,
}

impl SeriesPlan {
    /// The stretches that overlap a closed span, ascending.
    pub(crate) fn about(&self, span: TimeRange) -> impl Iterator<Item = &Stretch> {
        let start = self.stretches.partition_point(|stretch| stretch.range.end <= span.start);
        let rest = self.stretches.get(start..).unwrap_or_default();
        rest.iter().take_while(move |stretch| stretch.range.start <= span.end)
    }
}

/// Plans for one task, each made once.
pub(crate) struct Planner<'a> {
    inputs: &'a Inputs<'a>,
    range: TimeRange,
    auto: bool,
    needs: Needs,
    /// Indexes of the tier inputs that can answer the windows and overlap the range.
    fitting: Vec<usize>,
    /// By what each fitting input holds of the series.
    plans: HashMap<Vec<Held>, Arc<SeriesPlan>>,
    held: Vec<Held>,
}

/// What a tier part holds of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Held {
    Nothing,
    /// Records that lack a field that is needed.
    TooLittle,
    Enough,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(
        inputs: &'a Inputs<'a>,
        windows: &Windows,
        needs: Needs,
        choice: TierChoice,
    ) -> Self {
        let range = windows.range();
        let fits = |input: &Input<'_, dyn RecordSource>| {
            let tier = input.source.tier();
            choice.admits(tier)
                && windows.divided_by(tier)
                && !intersection(input.source.window(), range).is_empty()
        };
        let fitting = inputs.tiers.iter().enumerate().filter(|(_, input)| fits(input));
        Self {
            inputs,
            range,
            auto: choice.admits(Tier::RAW),
            needs,
            fitting: fitting.map(|(index, _)| index).collect(),
            plans: HashMap::new(),
            held: Vec::new(),
        }
    }

    /// How to read the series, and whether no series was read like this before.
    pub(crate) fn plan(&mut self, series: SeriesId) -> Result<(Arc<SeriesPlan>, bool)> {
        let mut held = std::mem::take(&mut self.held);
        held.clear();
        for &index in &self.fitting {
            let Some(input) = self.inputs.tiers.get(index) else { continue };
            held.push(self.held(input, series)?);
        }
        let planned = match self.plans.get(&held) {
            Some(plan) => (Arc::clone(plan), false),
            None => {
                let plan = Arc::new(self.make(&held));
                self.plans.insert(held.clone(), Arc::clone(&plan));
                (plan, true)
            }
        };
        self.held = held;
        Ok(planned)
    }

    fn held(&self, input: &Input<'_, dyn RecordSource>, series: SeriesId) -> Result<Held> {
        let Needs { increase, moments, values, .. } = self.needs;
        if !(increase || moments || values) {
            // Every record has what else may be needed.
            let holds = input.source.holds(series)?;
            return Ok(if holds { Held::Enough } else { Held::Nothing });
        }
        Ok(match input.source.fields(series)? {
            None => Held::Nothing,
            Some(fields) if self.suffices(fields) => Held::Enough,
            Some(_) => Held::TooLittle,
        })
    }

    fn suffices(&self, fields: RecordFields) -> bool {
        !self.needs.moments
            && (fields.increase || !self.needs.increase)
            && (fields.sketches || !self.needs.values)
    }

    fn make(&self, held: &[Held]) -> SeriesPlan {
        let parts: Vec<Part> = self
            .fitting
            .iter()
            .zip(held)
            .filter_map(|(&index, &held)| {
                let Input { source, rank, .. } = self.inputs.tiers.get(index)?;
                let (tier, window) = (source.tier(), source.window());
                Some(Part { index, tier, held, rank: *rank, window })
            })
            .collect();
        let mut tiers: Vec<Tier> = parts.iter().map(|part| part.tier).collect();
        tiers.sort_unstable();
        tiers.dedup();
        let mut plan = SeriesPlan::default();
        let mut rest = Ranges::from(self.range);
        for tier in tiers.into_iter().rev() {
            let before = plan.stretches.len();
            let parts: Vec<&Part> = parts.iter().filter(|part| part.tier == tier).collect();
            cover(tier, &parts, &rest, &mut plan.stretches);
            let added = plan.stretches.get(before..).unwrap_or_default();
            added.iter().for_each(|stretch| rest.remove(stretch.range));
        }
        self.add_later(&mut plan);
        if self.auto {
            let raw = |&range: &TimeRange| Stretch {
                tier: Tier::RAW,
                range,
                rank: u64::MAX,
                inputs: Vec::new(),
            };
            plan.stretches.extend(rest.as_slice().iter().map(raw));
        }
        plan.stretches.sort_by_key(|stretch| stretch.range.start);
        plan
    }

    /// Notes for each raw input where tiers have not taken it in.
    fn add_later(&self, plan: &mut SeriesPlan) {
        let later = |rank: u64| -> Option<TimeRange> {
            let behind = plan.stretches.iter().filter(|stretch| stretch.rank < rank);
            behind.map(|stretch| stretch.range).reduce(|all, range| {
                TimeRange::new(all.start.min(range.start), all.end.max(range.end))
            })
        };
        let samples = self.inputs.samples.iter().map(|input| input.rank).enumerate();
        let recorded = self.inputs.recorded.iter().map(|input| input.rank).enumerate();
        let samples: Vec<_> = samples.filter_map(|(i, rank)| Some((i, later(rank)?))).collect();
        let recorded: Vec<_> = recorded.filter_map(|(i, rank)| Some((i, later(rank)?))).collect();
        (plan.later_samples, plan.later_recorded) = (samples, recorded);
    }
}

/// What covering needs to know of a tier part.
struct Part {
    index: usize,
    tier: Tier,
    held: Held,
    rank: u64,
    window: TimeRange,
}

/// Appends the stretches of `rest` that the parts of one tier cover, each of one rank. A point
/// where some part lacks a field that is needed is not covered.
fn cover(tier: Tier, parts: &[&Part], rest: &Ranges, out: &mut Vec<Stretch>) {
    let mut bounds: Vec<_> =
        parts.iter().flat_map(|part| [part.window.start, part.window.end]).collect();
    bounds.sort_unstable();
    bounds.dedup();
    let mut covered: Vec<(TimeRange, u64)> = Vec::new();
    for pair in bounds.windows(2) {
        let &[start, end] = pair else { continue };
        let about = || parts.iter().filter(|part| part.window.contains(start));
        let Some(rank) = about().map(|part| part.rank).max() else { continue };
        let holds = |held: Held| about().any(|part| part.held == held);
        if !holds(Held::Enough) || holds(Held::TooLittle) {
            continue;
        }
        match covered.last_mut() {
            Some((range, same)) if *same == rank && range.end == start => range.end = end,
            _ => covered.push((TimeRange::new(start, end), rank)),
        }
    }
    for (piece, rank) in covered {
        for &open in rest.as_slice() {
            let inside = intersection(piece, open);
            let range = TimeRange::new(tier.ceil(inside.start), tier.floor(inside.end));
            if range.is_empty() {
                continue;
            }
            let holding = parts.iter().filter(|part| {
                part.held == Held::Enough && !intersection(part.window, range).is_empty()
            });
            let inputs = holding.map(|part| part.index).collect();
            out.push(Stretch { tier, range, rank, inputs });
        }
    }
}
