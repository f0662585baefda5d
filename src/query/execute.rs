//! From request and selected series to the answer: groups, shards, rayon.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::Function;
use super::answer::{Answer, Group, GroupKey};
use super::evidence::{CutShort, Evidence, Ledger};
use super::fold::{Finished, Row};
use super::inputs::Inputs;
use super::meter::Meter;
use super::request::{Grouping, Request};
use super::walk::Walker;
use super::windows::Windows;
use crate::aggregate::{Needs, SKETCH_RELATIVE_ERROR};
use crate::error::{Error, Result};
use crate::model::{Series, SeriesId};
use crate::segment::Sources;

/// Most series of one task within a group: large enough that merging the tasks' rows is little
/// beside folding them.
const SHARD_SERIES_MAX: usize = 32;
/// Tasks that even few series are spread over, so that they keep as many threads busy.
const SHARDS_WANTED: usize = 16;

/// Answers a request over `series`, already selected, from `sources`, in any order. Runs on the
/// ambient rayon pool; the answer is bit for bit the same for every number of threads and for
/// every order of `series`.
///
/// Where several sources hold a series and timestamp, the sample of the highest
/// [`rank`](crate::segment::ChunkSource::rank) counts. A chunk that lies in one window and is overlapped by no
/// other answers from its statistics if these hold what the functions need; the rest is decoded.
///
/// # Errors
/// [`InvalidArgument`](crate::Error::InvalidArgument) where the request contradicts itself,
/// [`Limit`](crate::Error::Limit), [`Deadline`](crate::Error::Deadline),
/// [`Cancelled`](crate::Error::Cancelled), and whatever a source fails with.
pub fn execute(
    request: &Request,
    series: &[(SeriesId, Arc<Series>)],
    sources: &Sources,
) -> Result<Answer> {
    request.check()?;
    let windows = request.windows()?;
    let needs = Function::needs(&request.functions);
    request.tier.check(&windows, needs)?;
    let meter = Meter::new(request.limits, request.deadline, &request.cancel, series.len())?;
    let plan = Plan::new(&request.group_by, series);
    meter.reserve(plan.memory_bytes(&windows, request.functions.len()))?;
    let task = Task {
        windows,
        functions: &request.functions,
        needs,
        meter: &meter,
        plan: &plan,
        cut_short: request.cut_short,
        sketched: AtomicBool::new(false),
    };
    let (inputs, ledger) = (Inputs::new(sources), Ledger::default());
    let folded: Vec<Folded> = plan
        .shards
        .par_iter()
        .map_init(
            || Walker::new(&inputs, windows, needs, request.tier, (&meter, &ledger)),
            |walker, shard| task.fold_or_leave(walker, shard),
        )
        .collect::<Result<_>>()?;
    let (groups, cut_short) = task.merge(folded)?;
    let sketched = task.sketched.into_inner();
    let evidence = Evidence {
        quantile_relative_error: if sketched { SKETCH_RELATIVE_ERROR } else { 0.0 },
        cut_short,
        ..ledger.evidence(series.len(), windows.range())
    };
    Ok(Answer { windows, functions: request.functions.clone(), groups, evidence })
}

/// Which series make up which group, and who folds them.
struct Plan {
    /// Ascending.
    keys: Vec<GroupKey>,
    /// All series, ordered by group, then by series.
    members: Vec<SeriesId>,
    /// In the order of their members.
    shards: Vec<Shard>,
    /// Shards of groups that have more than one.
    pieces: usize,
}

/// Series of one group that one task folds in order.
struct Shard {
    /// Index of the key.
    group: usize,
    /// Of the plan's members.
    members: Range<usize>,
    /// Whether these are all of the group.
    whole: bool,
}

impl Plan {
    fn new(grouping: &Grouping, series: &[(SeriesId, Arc<Series>)]) -> Self {
        // Ids are given anew at every open; ordered by what the series are called, sums round the
        // same way in every run.
        let mut ordered: Vec<(Vec<&str>, &Arc<Series>, SeriesId)> =
            series.iter().map(|(id, series)| (group_of(grouping, series), series, *id)).collect();
        ordered.sort_by(|(key, series, _), (other_key, other, _)| {
            key.cmp(other_key).then_with(|| series.cmp(other))
        });
        let mut plan = Self { keys: vec![], members: vec![], shards: vec![], pieces: 0 };
        let together = |one: &(Vec<&str>, _, _), next: &(Vec<&str>, _, _)| match grouping {
            Grouping::Series => false,
            Grouping::Labels(_) => one.0 == next.0,
        };
        // Never by the number of threads: sums are taken in the same order with any.
        let shard_series = (series.len() / SHARDS_WANTED).clamp(1, SHARD_SERIES_MAX);
        for members in ordered.chunk_by(together) {
            let Some((values, first, _)) = members.first() else { continue };
            let whole = members.len() <= shard_series;
            for shard in members.chunks(shard_series) {
                let start = plan.members.len();
                plan.members.extend(shard.iter().map(|(_, _, id)| *id));
                let members = start..plan.members.len();
                plan.shards.push(Shard { group: plan.keys.len(), members, whole });
                plan.pieces += usize::from(!whole);
            }
            plan.keys.push(match grouping {
                Grouping::Series => GroupKey::Series(Arc::clone(first)),
                Grouping::Labels(labels) => GroupKey::Labels(
                    labels.iter().cloned().zip(values.iter().map(|v| (*v).to_owned())).collect(),
                ),
            });
        }
        plan
    }

    /// Rows that stand at the same time, and the answer; saturating.
    fn memory_bytes(&self, windows: &Windows, functions: usize) -> u64 {
        let rows = self.pieces.saturating_add(rayon::current_num_threads()) as u64;
        let columns = (self.keys.len() as u64).saturating_mul(1 + functions as u64);
        let column_bytes = (windows.len() as u64).saturating_mul(size_of::<f64>() as u64);
        Row::bytes(windows)
            .saturating_mul(rows)
            .saturating_add(columns.saturating_mul(column_bytes))
    }
}

/// The values of the labels grouped by, in the request's order.
fn group_of<'a>(grouping: &Grouping, series: &'a Series) -> Vec<&'a str> {
    match grouping {
        Grouping::Series => Vec::new(),
        Grouping::Labels(labels) => labels.iter().map(|label| series.label(label)).collect(),
    }
}

/// What a shard leaves.
enum Folded {
    /// Its group's answer, `None` where that holds no sample.
    Whole(Option<Group>),
    /// A part of it.
    Piece(usize, Row),
    /// Nothing, since a limit was reached.
    Left(usize, &'static str),
}

impl Folded {
    /// The group, where it has further shards.
    fn piece_of(&self) -> Option<usize> {
        match self {
            Self::Whole(_) => None,
            Self::Piece(group, _) | Self::Left(group, _) => Some(*group),
        }
    }
}

/// [`Row::finish`] or [`Row::finish_parallel`].
type Finish = fn(&Row, &Windows, &[Function], &Meter) -> Result<Finished>;

/// What all tasks of a query share.
struct Task<'a> {
    windows: Windows,
    functions: &'a [Function],
    needs: Needs,
    meter: &'a Meter,
    plan: &'a Plan,
    cut_short: bool,
    /// Whether the quantiles of some group come from sketches.
    sketched: AtomicBool,
}

impl Task<'_> {
    /// As [`fold`](Self::fold); where a limit is reached nothing, if that is what was asked for.
    fn fold_or_leave(&self, walker: &mut Walker<'_>, shard: &Shard) -> Result<Folded> {
        let mut row = Row::new(&self.windows, self.needs);
        let folded = self.fold(walker, shard, &mut row);
        match folded {
            Ok(Some(whole)) => {
                self.meter.release(row.reserved());
                Ok(whole)
            }
            Ok(None) => Ok(Folded::Piece(shard.group, row)),
            Err(error) => {
                let limit = self.left_by(error)?;
                self.meter.release(row.reserved());
                Ok(Folded::Left(shard.group, limit))
            }
        }
    }

    /// The limit that an error tells of, if that may cut the answer short.
    fn left_by(&self, error: Error) -> Result<&'static str> {
        match error {
            Error::Limit { what, .. } if self.cut_short => Ok(what),
            Error::Deadline { .. } if self.cut_short => Ok("deadline"),
            other => Err(other),
        }
    }

    /// Folds a shard into `row`; finishes it where it is all of its group.
    fn fold(
        &self,
        walker: &mut Walker<'_>,
        shard: &Shard,
        row: &mut Row,
    ) -> Result<Option<Folded>> {
        for &series in self.plan.members.get(shard.members.clone()).unwrap_or_default() {
            let mut fold = row.series(&self.windows, self.meter);
            walker.series(series, &mut fold)?;
            fold.end();
        }
        if !shard.whole {
            return Ok(None);
        }
        // In this task alone: waiting for others it could begin a further shard, and hold its row.
        let group = self.finish(shard.group, row, Row::finish)?;
        Ok(Some(Folded::Whole(group)))
    }

    /// Puts the pieces of each group together, in the order of their series.
    fn merge(&self, folded: Vec<Folded>) -> Result<(Vec<Group>, Option<CutShort>)> {
        let mut groups = Vec::with_capacity(self.plan.keys.len());
        let mut cut_short: Option<CutShort> = None;
        let mut leave = |limit: &'static str| {
            cut_short.get_or_insert(CutShort { limit, groups: 0 }).groups += 1;
        };
        let mut folded = folded.into_iter().peekable();
        while let Some(first) = folded.next() {
            let group = first.piece_of();
            let mut rest = Vec::new();
            while let Some(next) =
                folded.next_if(|next| group.is_some() && next.piece_of() == group)
            {
                rest.push(next);
            }
            let pieces = std::iter::once(first).chain(rest);
            match self.pool(pieces).or_else(|error| self.left_by(error).map(Pooled::Left))? {
                Pooled::Group(group) => groups.extend(group),
                Pooled::Left(limit) => leave(limit),
            }
        }
        Ok((groups, cut_short))
    }

    /// Pools all that the shards of one group left.
    fn pool(&self, pieces: impl Iterator<Item = Folded>) -> Result<Pooled> {
        let mut pooled: Option<(usize, Row)> = None;
        for piece in pieces {
            match piece {
                Folded::Whole(group) => return Ok(Pooled::Group(group)),
                Folded::Left(_, limit) => return Ok(Pooled::Left(limit)),
                Folded::Piece(group, row) => match &mut pooled {
                    None => pooled = Some((group, row)),
                    Some((_, whole)) => {
                        self.meter.check()?;
                        whole.pool(row);
                    }
                },
            }
        }
        let Some((group, row)) = pooled else { return Ok(Pooled::Group(None)) };
        self.finish(group, &row, Row::finish_parallel).map(Pooled::Group)
    }

    /// `None` where the group holds no sample.
    fn finish(&self, group: usize, row: &Row, how: Finish) -> Result<Option<Group>> {
        let Some(key) = self.plan.keys.get(group).filter(|_| !row.is_empty()) else {
            return Ok(None);
        };
        if row.is_sketched() {
            self.sketched.store(true, Ordering::Relaxed);
        }
        let columns = how(row, &self.windows, self.functions, self.meter)?;
        let (covered, Finished { counts, values }) = (row.covered(), columns);
        Ok(Some(Group { key: key.clone(), covered, counts, values }))
    }
}

/// What the shards of a group amount to.
enum Pooled {
    /// Its answer, `None` where it holds no sample.
    Group(Option<Group>),
    /// Nothing, since this limit was reached.
    Left(&'static str),
}
