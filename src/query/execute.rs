//! From request and selected series to the answer: groups, shards, rayon.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Function;
use super::answer::{Answer, Group, GroupKey};
use super::evidence::{Covered, CutShort, Evidence, Ledger};
use super::fold::{Finished, Row};
use super::inputs::Inputs;
use super::meter::Meter;
use super::plan::TierChoice;
use super::request::{Grouping, Request};
use super::resources::Resources;
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
/// caller's thread, and the threads of `resources` help where there is much to do; the answer is
/// bit for bit the same for every number of threads and for every order of `series`.
///
/// Where several sources hold a series and timestamp, the sample of the highest
/// [`rank`](crate::segment::ChunkSource::rank) counts. A chunk that lies in one window and is overlapped by no
/// other answers from its statistics if these hold what the functions need; the rest is decoded.
///
/// With [`Request::top`] over the range, groups are ranked by a query of their own first, and only
/// the series of those that are in it are folded.
///
/// # Errors
/// [`InvalidArgument`](crate::Error::InvalidArgument) where the request contradicts itself,
/// [`Limit`](crate::Error::Limit), [`Deadline`](crate::Error::Deadline),
/// [`Cancelled`](crate::Error::Cancelled), and whatever a source fails with.
pub fn execute(
    request: &Request,
    series: &[(SeriesId, Arc<Series>)],
    sources: &Sources,
    resources: Resources<'_>,
) -> Result<Answer> {
    request.check()?;
    match request.top {
        None => execute_all(request, series, sources, resources),
        Some(top) => top.execute(request, series, |request, series| {
            execute_all(request, series, sources, resources)
        }),
    }
}

/// As [`execute`], without a top.
fn execute_all(
    request: &Request,
    series: &[(SeriesId, Arc<Series>)],
    sources: &Sources,
    resources: Resources<'_>,
) -> Result<Answer> {
    let windows = request.windows()?;
    let needs = Function::needs(&request.functions);
    let tier = if request.filter.is_some() { TierChoice::Raw } else { request.tier };
    tier.check(&windows, needs)?;
    let Request { limits, deadline, cancel, .. } = request;
    let meter = Meter::new(*limits, *deadline, cancel, resources.memory, series.len())?;
    let plan = Plan::new(&request.group_by, series, &meter)?;
    meter.reserve(plan.memory_bytes(&windows, request.functions.len()))?;
    let task = Task {
        windows,
        functions: &request.functions,
        needs,
        meter: &meter,
        resources,
        plan: &plan,
        cut_short: request.cut_short,
        sketched: AtomicBool::new(false),
    };
    let (inputs, ledger) = (Inputs::new(sources, windows.range()), Ledger::default());
    let folded: Vec<Folded> = resources.deal(
        plan.shards.len(),
        || {
            let walker = Walker::new(&inputs, windows, needs, tier, (&meter, &ledger));
            walker.with_filter(request.filter)
        },
        |walker, number| match plan.shards.get(number) {
            Some(shard) => task.fold_or_leave(walker, shard),
            None => Ok(Folded::Whole(None)),
        },
        Walker::work,
    )?;
    let (groups, cut_short) = task.merge(folded)?;
    let sketched = task.sketched.into_inner();
    let groups = plan.name(groups);
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
    fn new(
        grouping: &Grouping,
        series: &[(SeriesId, Arc<Series>)],
        meter: &Meter<'_>,
    ) -> Result<Self> {
        // Ids are given anew at every open; ordered by what the series are called, sums round the
        // same way in every run.
        let mut ordered: Vec<&(SeriesId, Arc<Series>)> = series.iter().collect();
        if !series.is_sorted_by(|one, next| one.1 <= next.1) {
            meter.check()?;
            ordered.sort_by(|one, other| one.1.cmp(&other.1));
        }
        meter.check()?;
        let mut plan = Self { keys: vec![], members: vec![], shards: vec![], pieces: 0 };
        // Never by the number of threads: sums are taken in the same order with any.
        let shard_series = (series.len() / SHARDS_WANTED).clamp(1, SHARD_SERIES_MAX);
        match grouping {
            Grouping::Series => {
                for one in ordered {
                    plan.add(GroupKey::Series(Arc::clone(&one.1)), &[one], shard_series);
                }
            }
            Grouping::Labels(labels) => {
                for (values, members) in grouped(labels, &ordered) {
                    let values = values.iter().map(|value| (*value).to_owned());
                    let key = GroupKey::Labels(labels.iter().cloned().zip(values).collect());
                    plan.add(key, &members, shard_series);
                }
            }
        }
        Ok(plan)
    }

    /// The groups with their keys, which the plan gives away.
    fn name(self, groups: Vec<Unnamed>) -> Vec<Group> {
        let mut keys = self.keys.into_iter().zip(0..);
        let named = groups.into_iter().filter_map(|Unnamed { group, covered, columns }| {
            let (key, _) = keys.find(|(_, number)| *number == group)?;
            let Finished { counts, values } = columns;
            Some(Group { key, covered, counts, values })
        });
        named.collect()
    }

    /// Adds a group, later than those before.
    fn add(&mut self, key: GroupKey, series: &[&(SeriesId, Arc<Series>)], shard_series: usize) {
        let whole = series.len() <= shard_series;
        for shard in series.chunks(shard_series) {
            let start = self.members.len();
            self.members.extend(shard.iter().map(|(id, _)| *id));
            let members = start..self.members.len();
            self.shards.push(Shard { group: self.keys.len(), members, whole });
            self.pieces += usize::from(!whole);
        }
        self.keys.push(key);
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

/// Values of labels, and the series that have them.
type Members<'a> = (Vec<&'a str>, Vec<&'a (SeriesId, Arc<Series>)>);

/// The values of the labels, in their order, and the series that have them: ascending by values,
/// the series of each in the order given.
pub(super) fn grouped<'a>(
    labels: &[String],
    series: &[&'a (SeriesId, Arc<Series>)],
) -> Vec<Members<'a>> {
    let mut numbers: HashMap<Vec<&str>, usize> = HashMap::new();
    let mut groups: Vec<Members<'a>> = Vec::new();
    let mut values = Vec::with_capacity(labels.len());
    for &one in series {
        values.clear();
        values.extend(labels.iter().map(|label| one.1.label(label)));
        let known = numbers.get(&values).copied();
        let number = known.unwrap_or_else(|| {
            numbers.insert(values.clone(), groups.len());
            groups.push((values.clone(), Vec::new()));
            groups.len() - 1
        });
        if let Some((_, members)) = groups.get_mut(number) {
            members.push(one);
        }
    }
    groups.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    groups
}

/// A group's answer, before it is told whose it is.
struct Unnamed {
    /// Index of the key.
    group: usize,
    covered: Covered,
    columns: Finished,
}

/// What a shard leaves.
enum Folded {
    /// Its group's answer, `None` where that holds no sample.
    Whole(Option<Unnamed>),
    /// A part of it.
    Piece(usize, Box<Row>),
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

/// What all tasks of a query share.
struct Task<'a> {
    windows: Windows,
    functions: &'a [Function],
    needs: Needs,
    meter: &'a Meter<'a>,
    resources: Resources<'a>,
    plan: &'a Plan,
    cut_short: bool,
    /// Whether the quantiles of some group come from sketches.
    sketched: AtomicBool,
}

impl Task<'_> {
    /// As [`fold`](Self::fold); where a limit is reached nothing, if that is what was asked for.
    fn fold_or_leave(&self, walker: &mut Walker<'_>, shard: &Shard) -> Result<Folded> {
        let mut row = if shard.whole && shard.members.len() == 1 {
            Row::of_one(&self.windows, self.needs, self.functions)
        } else {
            Row::new(&self.windows, self.needs)
        };
        let folded = self.fold(walker, shard, &mut row);
        match folded {
            Ok(Some(whole)) => {
                self.meter.release(row.reserved());
                Ok(whole)
            }
            Ok(None) => Ok(Folded::Piece(shard.group, Box::new(row))),
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
            fold.end()?;
        }
        if !shard.whole {
            return Ok(None);
        }
        // In this task alone: the others have shards of their own.
        let group = self.finish(shard.group, row, |row| {
            row.finish(&self.windows, self.functions, self.meter)
        })?;
        Ok(Some(Folded::Whole(group)))
    }

    /// Puts the pieces of each group together, in the order of their series.
    fn merge(&self, folded: Vec<Folded>) -> Result<(Vec<Unnamed>, Option<CutShort>)> {
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
        let mut pooled: Option<(usize, Box<Row>)> = None;
        for piece in pieces {
            match piece {
                Folded::Whole(group) => return Ok(Pooled::Group(group)),
                Folded::Left(_, limit) => return Ok(Pooled::Left(limit)),
                Folded::Piece(group, row) => match &mut pooled {
                    None => pooled = Some((group, row)),
                    Some((_, whole)) => {
                        self.meter.check()?;
                        whole.pool(*row);
                    }
                },
            }
        }
        let Some((group, row)) = pooled else { return Ok(Pooled::Group(None)) };
        let finish = |row: &Row| {
            row.finish_parallel(&self.windows, self.functions, self.meter, self.resources)
        };
        self.finish(group, &row, finish).map(Pooled::Group)
    }

    /// `None` where the group holds no sample.
    fn finish(
        &self,
        group: usize,
        row: &Row,
        how: impl FnOnce(&Row) -> Result<Finished>,
    ) -> Result<Option<Unnamed>> {
        if row.is_empty() {
            return Ok(None);
        }
        if row.is_sketched() {
            self.sketched.store(true, Ordering::Relaxed);
        }
        Ok(Some(Unnamed { group, covered: row.covered(), columns: how(row)? }))
    }
}

/// What the shards of a group amount to.
enum Pooled {
    /// Its answer, `None` where it holds no sample.
    Group(Option<Unnamed>),
    /// Nothing, since this limit was reached.
    Left(&'static str),
}
