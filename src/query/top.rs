//! The groups that rank first, over the whole range or window by window.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use super::Function;
use super::answer::{Answer, Group, GroupKey};
use super::evidence::Evidence;
use super::request::{Grouping, Request};
use crate::error::{Error, Result};
use crate::model::{Series, SeriesId};

/// Which groups are answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Top {
    /// How many, at least one.
    pub count: usize,
    /// By the largest values, else by the smallest. NaN comes last either way; of equal values the
    /// lower key ranks first.
    pub largest: bool,
    /// By which function. Within windows, one of the request's.
    pub by: Function,
    /// Of what.
    pub scope: TopScope,
}

/// Of which samples groups are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopScope {
    /// All of the range: the answer's groups stand in their rank's order, the first first.
    Range,
    /// Those of each window by itself: elsewhere a group is as if it held no sample there. Groups
    /// that are in no window are left out; those that are ascend by key.
    Window,
}

impl Top {
    /// # Errors
    /// [`Error::InvalidArgument`] where none are wanted, or a window is ranked by what is not asked.
    pub(super) fn check(&self, functions: &[Function]) -> Result<()> {
        self.by.check()?;
        let reason = if self.count == 0 {
            "of no group".to_owned()
        } else if self.scope == TopScope::Window && !functions.contains(&self.by) {
            format!("within windows by {}, which is not asked for", self.by)
        } else {
            return Ok(());
        };
        Err(Error::InvalidArgument { what: "top", reason })
    }

    /// Answers the request by `execute`, which answers it without a top.
    pub(super) fn execute(
        &self,
        request: &Request,
        series: &[(SeriesId, Arc<Series>)],
        execute: impl Fn(&Request, &[(SeriesId, Arc<Series>)]) -> Result<Answer>,
    ) -> Result<Answer> {
        let all = Request { top: None, ..request.clone() };
        if self.scope == TopScope::Window {
            let mut answer = execute(&all, series)?;
            self.keep_in_windows(&mut answer);
            return Ok(answer);
        }
        let ranking = Request { step: None, functions: vec![self.by], ..all.clone() };
        let ranked = execute(&ranking, series)?;
        let mut keys = self.first(&ranked.groups);
        let mut answer = if all.step.is_none() && all.functions == ranking.functions {
            ranked
        } else {
            let chosen: HashSet<&GroupKey> = keys.iter().collect();
            let member =
                |one: &&(SeriesId, Arc<Series>)| chosen.contains(&key_of(&all.group_by, &one.1));
            let members: Vec<_> = series.iter().filter(member).cloned().collect();
            let answer = execute(&all, &members)?;
            let cut_short = answer.evidence.cut_short.clone().or(ranked.evidence.cut_short);
            let evidence =
                Evidence { cut_short, series: ranked.evidence.series, ..answer.evidence };
            Answer { evidence, ..answer }
        };
        let groups = std::mem::take(&mut answer.groups);
        let mut places: Vec<Option<Group>> = keys.iter().map(|_| None).collect();
        for group in groups {
            let at = keys.iter().position(|key| *key == group.key);
            if let Some(place) = at.and_then(|at| places.get_mut(at)) {
                *place = Some(group);
            }
        }
        keys.clear();
        answer.groups = places.into_iter().flatten().collect();
        Ok(answer)
    }

    /// The keys that rank first by the only value of their groups, in that order.
    fn first(&self, groups: &[Group]) -> Vec<GroupKey> {
        let value = |group: &Group| {
            group.values.first().and_then(|column| column.first()).copied().unwrap_or(f64::NAN)
        };
        let mut ranked: Vec<(f64, usize)> = groups.iter().map(value).zip(0..).collect();
        self.cut(&mut ranked);
        let key = |&(_, at): &(f64, usize)| groups.get(at).map(|group| group.key.clone());
        ranked.iter().filter_map(key).collect()
    }

    /// Leaves those that rank first, in order. They are numbered ascending by key.
    fn cut(&self, ranked: &mut Vec<(f64, usize)>) {
        let order = |one: &(f64, usize), other: &(f64, usize)| {
            self.order(one.0, other.0).then(one.1.cmp(&other.1))
        };
        if self.count < ranked.len() {
            ranked.select_nth_unstable_by(self.count, order);
            ranked.truncate(self.count);
        }
        ranked.sort_unstable_by(order);
    }

    fn order(&self, one: f64, other: f64) -> Ordering {
        let ordered = if self.largest { other.partial_cmp(&one) } else { one.partial_cmp(&other) };
        ordered.unwrap_or_else(|| one.is_nan().cmp(&other.is_nan()))
    }

    fn keep_in_windows(&self, answer: &mut Answer) {
        let by = answer.functions.iter().position(|function| *function == self.by).unwrap_or(0);
        let functions = answer.functions.clone();
        let mut ranked = Vec::with_capacity(answer.groups.len());
        let mut kept = vec![false; answer.groups.len()];
        for window in 0..answer.windows.len() {
            ranked.clear();
            for (at, group) in answer.groups.iter().enumerate() {
                if group.counts.get(window).is_some_and(|&count| count > 0) {
                    let column = group.values.get(by);
                    ranked.push((
                        column.and_then(|c| c.get(window)).copied().unwrap_or(f64::NAN),
                        at,
                    ));
                }
            }
            self.cut(&mut ranked);
            kept.fill(false);
            for &(_, at) in &ranked {
                kept.get_mut(at).into_iter().for_each(|kept| *kept = true);
            }
            let out = answer.groups.iter_mut().zip(&kept).filter(|(_, kept)| !**kept);
            for (group, _) in out {
                group.counts.get_mut(window).into_iter().for_each(|count| *count = 0);
                for (column, function) in group.values.iter_mut().zip(&functions) {
                    let empty = if *function == Function::Count { 0.0 } else { f64::NAN };
                    column.get_mut(window).into_iter().for_each(|value| *value = empty);
                }
            }
        }
        answer.groups.retain(|group| group.counts.iter().any(|&count| count > 0));
    }
}

fn key_of(grouping: &Grouping, series: &Arc<Series>) -> GroupKey {
    match grouping {
        Grouping::Series => GroupKey::Series(Arc::clone(series)),
        Grouping::Labels(labels) => GroupKey::Labels(
            labels.iter().map(|label| (label.clone(), series.label(label).to_owned())).collect(),
        ),
    }
}
