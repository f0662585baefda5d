//! Questions to an engine: the series selected, within what they may cost, asked of one view.

use std::time::Instant;

use super::Engine;
use super::self_metrics;
use super::shared::Shared;
use crate::error::{Error, Result};
use crate::index::Selected;
use crate::model::Selector;
use crate::query::{
    self, Answer, CancelToken, Function, GroupKey, LastSample, Limits, Loss, Request, Resources,
    RowGroup, RowRequest, SampleRequest,
};
use crate::segment::Sources;

impl Engine {
    /// The index's answer, ascending by series.
    pub(super) fn select(&self, selector: &Selector) -> Result<Selected> {
        self.shared.index.selected(selector, &|_| Ok(()))
    }

    /// As [`select`](Self::select), within what a query may cost.
    pub(super) fn select_within(
        &self,
        selector: &Selector,
        (limits, deadline, cancel): (Limits, Option<Instant>, &CancelToken),
    ) -> Result<Selected> {
        self.shared.index.selected(selector, &|series| {
            query::check(deadline, cancel)?;
            let (what, limit) = ("series", limits.series_max);
            if series > limit { Err(Error::Limit { what, limit }) } else { Ok(()) }
        })
    }

    pub(super) fn resources(&self) -> Resources<'_> {
        let Shared { pool, query_memory, .. } = &*self.shared;
        Resources { pool: Some(pool), memory: Some(query_memory) }
    }

    /// The latest sample of every series that the selector names, ascending by series: see
    /// [`query::last_samples`]. Hardly anything is decoded.
    ///
    /// # Errors
    /// As [`samples`](Self::samples).
    pub fn last_samples(
        &self,
        selector: &Selector,
        request: &SampleRequest,
    ) -> Result<Vec<LastSample>> {
        let series = self.select_within(selector, request.costs())?;
        let sources = self.shared.live.view().sources();
        query::last_samples(request, &series, &sources, self.resources())
    }

    /// Of the series that the selector names, several of which belong to one owner, the rows at
    /// whose times one of the owner's series passes a threshold: see [`query::select_rows`].
    ///
    /// # Errors
    /// As [`samples`](Self::samples); [`Error::InvalidArgument`] where two series of one owner
    /// would decide.
    pub fn rows(&self, selector: &Selector, request: &RowRequest) -> Result<Vec<RowGroup>> {
        let series = self.select_within(selector, request.samples.costs())?;
        let sources = self.shared.live.view().sources();
        query::select_rows(request, &series, &sources, self.resources())
    }

    /// Answers a windowed aggregation over the series that the selector names, in parallel, from
    /// the coarsest tiers that answer exactly (see [`query::TierChoice`]).
    ///
    /// # Errors
    /// [`Error::Limit`], [`Error::Deadline`], [`Error::Cancelled`], [`Error::InvalidArgument`];
    /// I/O or corruption.
    pub fn query(&self, selector: &Selector, request: &Request) -> Result<Answer> {
        let series = self.select_within(selector, request.costs())?;
        let sources = self.shared.live.view().sources();
        let mut answer = query::execute(request, &series, &sources, self.resources())?;
        if request.losses {
            answer.evidence.losses = Some(self.losses(request, &sources)?);
        }
        Ok(answer)
    }

    /// What came late or was refused in the request's range, as the engine's own metrics tell.
    fn losses(&self, request: &Request, sources: &Sources) -> Result<Vec<Loss>> {
        let mut losses = Vec::new();
        for metric in self_metrics::LOSSES {
            let selector = Selector::metric(metric)?;
            let series = self.select(&selector)?;
            let request = Request {
                deadline: request.deadline,
                cancel: request.cancel.clone(),
                ..Request::new(request.range, vec![Function::Increase])
            };
            let answer = query::execute(&request, &series, sources, self.resources())?;
            losses.extend(answer.groups.iter().filter_map(|group| {
                let GroupKey::Series(series) = &group.key else { return None };
                let samples = *group.values.first()?.first()?;
                let reason = match series.label("reason") {
                    "" => "late",
                    reason => reason,
                };
                (samples > 0.0).then(|| Loss { reason: reason.to_owned(), samples })
            }));
        }
        Ok(losses)
    }
}
