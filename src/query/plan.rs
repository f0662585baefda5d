//! Which tier answers which stretch of time, for one series.
//!
//! A tier part accounts for its window up to its rank. So the coverage of a tier at a point in
//! time is the highest rank among its parts about that point, and raw samples of a higher rank
//! are what the tier has not taken in. Where no part about a point holds the series, the tier is
//! not asked: finer ones may know more, since series that are kept for different times have parts
//! of their own. Series that the same parts hold share one plan.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::inputs::{Input, Inputs};
use super::ranges::{Ranges, intersection};
use super::windows::Windows;
use crate::aggregate::Needs;
use crate::error::{Error, Result};
use crate::model::SeriesId;
use crate::segment::{RecordFields, RecordSource};
use crate::time::{Tier, TimeRange, Timestamp};

/// A record takes about as long to read as so many samples: where its bucket holds fewer, raw is
/// read as long as it is whole.
const RECORD_SAMPLES: f64 = 8.0;

/// Which tiers a query may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TierChoice {
    /// The coarsest that answers exactly what is asked, finer ones and raw samples elsewhere; but
    /// raw samples where these are whole and hardly more than the records.
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
            Self::Only(tier) if !tier.is_raw() && needs.samples() => {
                format!("what the functions need of samples is not kept in {tier}")
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

/// Plans for one task, each made once. Tiers are asked for a series from coarse to fine, each part
/// only where nothing coarser answers: to know which fields its records have, a part must be opened.
pub(crate) struct Planner<'a> {
    inputs: &'a Inputs<'a>,
    choice: TierChoice,
    needs: Needs,
    /// The tiers that can answer the windows, from coarse to fine, with the indexes of their inputs
    /// that overlap the range.
    tiers: Vec<(Tier, Vec<usize>)>,
    /// How far plans are alike; the first two are the roots, of samples and of distributions.
    steps: Vec<Step>,
    held: Vec<Held>,
}

/// What was planned of coarser tiers, for all series of which their parts hold alike.
struct Step {
    /// Whether the series was recorded as distributions.
    recorded: bool,
    /// How many tiers were asked.
    asked: usize,
    stretches: Vec<Stretch>,
    /// What they leave to finer ones.
    rest: Ranges,
    /// Inputs of the next tier about the rest.
    next: Vec<usize>,
    /// By what each of these holds of a series: the step after.
    after: HashMap<Vec<Held>, usize>,
    /// Where nothing is left to ask.
    plan: Option<Arc<SeriesPlan>>,
    /// Whether a series was read by it.
    used: bool,
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
        let mut tiers: BTreeMap<Tier, Vec<usize>> = BTreeMap::new();
        for (index, input) in inputs.tiers.iter().enumerate().filter(|(_, input)| fits(input)) {
            tiers.entry(input.source.tier()).or_default().push(index);
        }
        let tiers = tiers.into_iter().rev().collect();
        let (steps, held) = (Vec::new(), Vec::new());
        let mut planner = Self { inputs, choice, needs, tiers, steps, held };
        planner.add(false, 0, Vec::new(), Ranges::from(range));
        planner.add(true, 0, Vec::new(), Ranges::from(range));
        planner
    }

    /// Up to where a tier is worth asking: nowhere behind, raw is as good.
    fn worth(&self, tier: Tier, recorded: bool) -> Timestamp {
        let few = |density: f64| density * (tier.nanos() as f64) < RECORD_SAMPLES;
        let raw =
            !recorded && self.choice == TierChoice::Auto && self.inputs.density.is_some_and(few);
        if raw { self.inputs.raw_whole_from } else { Timestamp::MAX }
    }

    /// How to read the series, recorded as distributions or not, and whether no series was read
    /// like this before.
    pub(crate) fn plan(
        &mut self,
        series: SeriesId,
        recorded: bool,
    ) -> Result<(Arc<SeriesPlan>, bool)> {
        let mut held = std::mem::take(&mut self.held);
        let mut at = usize::from(recorded);
        let planned = loop {
            let Some(step) = self.steps.get_mut(at) else { break Default::default() };
            if let Some(plan) = &step.plan {
                break (Arc::clone(plan), !std::mem::replace(&mut step.used, true));
            }
            held.clear();
            for &index in &step.next {
                let Some(input) = self.inputs.tiers.get(index) else { continue };
                held.push(held_of(input, series, self.needs)?);
            }
            let known = step.after.get(held.as_slice()).copied();
            at = known.unwrap_or_else(|| self.advance(at, &held));
        };
        self.held = held;
        Ok(planned)
    }

    /// The step after one, for series of which the inputs that are next hold this.
    fn advance(&mut self, at: usize, held: &[Held]) -> usize {
        let after = self.steps.len();
        let Some(step) = self.steps.get_mut(at) else { return after };
        step.after.insert(held.to_vec(), after);
        let (recorded, asked, mut stretches) = (step.recorded, step.asked, step.stretches.clone());
        let (mut rest, next) = (step.rest.clone(), step.next.clone());
        if let Some((tier, _)) = self.tiers.get(asked) {
            let parts = next.iter().zip(held).filter_map(|(&index, &held)| {
                let Input { source, rank, .. } = self.inputs.tiers.get(index)?;
                Some(Part { index, held, rank: *rank, window: source.window() })
            });
            let before = stretches.len();
            let open = rest.before(self.worth(*tier, recorded));
            cover(*tier, &parts.collect::<Vec<_>>(), &open, &mut stretches);
            let added = stretches.get(before..).unwrap_or_default();
            added.iter().for_each(|stretch| rest.remove(stretch.range));
        }
        self.add(recorded, asked + 1, stretches, rest);
        after
    }

    /// Adds a step; passes over tiers without a part about the rest.
    fn add(&mut self, recorded: bool, mut asked: usize, stretches: Vec<Stretch>, rest: Ranges) {
        let mut next = Vec::new();
        while let Some((tier, inputs)) = self.tiers.get(asked) {
            let open = rest.before(self.worth(*tier, recorded));
            let about = |&index: &usize| {
                let window = self.inputs.tiers.get(index).map(|input| input.source.window());
                window.is_some_and(|window| {
                    let mut open = open.as_slice().iter();
                    open.any(|range| !intersection(*range, window).is_empty())
                })
            };
            next = inputs.iter().copied().filter(about).collect();
            if !next.is_empty() {
                break;
            }
            asked += 1;
        }
        let plan = next.is_empty().then(|| Arc::new(self.finish(&stretches, &rest)));
        let after = HashMap::new();
        self.steps.push(Step { recorded, asked, stretches, rest, next, after, plan, used: false });
    }

    /// The plan of these stretches, what they leave being raw's.
    fn finish(&self, stretches: &[Stretch], rest: &Ranges) -> SeriesPlan {
        let mut plan = SeriesPlan { stretches: stretches.to_vec(), ..SeriesPlan::default() };
        self.add_later(&mut plan);
        if self.choice.admits(Tier::RAW) {
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

fn held_of(input: &Input<'_, dyn RecordSource>, series: SeriesId, needs: Needs) -> Result<Held> {
    let Needs { increase, values, .. } = needs;
    if !(increase || values || needs.samples()) {
        // Every record has what else may be needed.
        let holds = input.source.holds(series)?;
        return Ok(if holds { Held::Enough } else { Held::Nothing });
    }
    let suffices = |fields: RecordFields| {
        !needs.samples() && (fields.increase || !increase) && (fields.sketches || !values)
    };
    Ok(match input.source.fields(series)? {
        None => Held::Nothing,
        Some(fields) if suffices(fields) => Held::Enough,
        Some(_) => Held::TooLittle,
    })
}

/// What covering needs to know of a tier part.
struct Part {
    index: usize,
    held: Held,
    rank: u64,
    window: TimeRange,
}

/// Appends the stretches of `rest` that the parts of one tier cover, each of one rank. A point
/// where some part lacks a field that is needed is not covered.
fn cover(tier: Tier, parts: &[Part], rest: &Ranges, out: &mut Vec<Stretch>) {
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
