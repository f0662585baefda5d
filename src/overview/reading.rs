//! Reading the monitor's tables and series, under limits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::grid::Grid;
use super::sheet::{self, CallSheet};
use crate::engine::Engine;
use crate::error::Result;
use crate::model::{EventRows, Selector};
use crate::monitor::{QUERIES, SOURCE_CALLS};
use crate::query::{
    CancelToken, EventRequest, Function, GroupKey, Grouping, LastSample, Limits, Request,
    SampleRequest,
};
use crate::time::TimeRange;

/// Values of a scan are bounded by what is stored; what is kept of it by the sheets.
const LIMITS: Limits =
    Limits { series_max: 100_000, samples_max: u64::MAX, memory_bytes_max: 1 << 30 };

/// An engine to read from, and what that may cost.
#[derive(Debug, Clone)]
pub struct Reading<'a> {
    /// What is read.
    pub engine: &'a Engine,
    /// What each question may cost.
    pub limits: Limits,
    /// When to give up.
    pub deadline: Option<Instant>,
    /// Lets another thread give up.
    pub cancel: CancelToken,
}

impl<'a> Reading<'a> {
    /// As long as it takes, in bounded memory.
    #[must_use]
    pub fn of(engine: &'a Engine) -> Self {
        Self { engine, limits: LIMITS, deadline: None, cancel: CancelToken::default() }
    }

    /// Whether the engine has the tables of a monitor.
    pub(crate) fn is_monitored(&self) -> bool {
        [QUERIES, SOURCE_CALLS].iter().all(|table| self.engine.event_schema(table).is_some())
    }

    /// Rows of a table, these columns of them.
    pub(crate) fn rows(&self, table: &str, range: TimeRange, columns: &[&str]) -> EventRequest {
        EventRequest {
            projection: Some(columns.iter().map(|&column| column.to_owned()).collect()),
            limits: self.limits,
            deadline: self.deadline,
            cancel: self.cancel.clone(),
            ..EventRequest::new(table, range)
        }
    }

    /// Folds all calls to sources of the grid's range.
    pub(crate) fn calls(&self, grid: &Grid) -> Result<CallSheet> {
        let request = self.rows(SOURCE_CALLS, grid.range, &sheet::CALL_COLUMNS);
        self.folded(&request, CallSheet::default(), |sheet, rows| sheet.add(grid, rows))
    }

    /// Rows are decoded in parallel and taken in one group at a time: a sheet a thread would take
    /// more memory than it saves time.
    pub(crate) fn folded<S: Send>(
        &self,
        request: &EventRequest,
        sheet: S,
        add: impl Fn(&mut S, &EventRows) + Sync + Send,
    ) -> Result<S> {
        let sheet = Mutex::new(sheet);
        self.engine.fold_events(
            request,
            || (),
            |(), rows| {
                add(&mut sheet.lock().unwrap_or_else(PoisonError::into_inner), rows);
                Ok(())
            },
        )?;
        Ok(sheet.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn increases(&self, range: TimeRange) -> Request {
        Request {
            limits: self.limits,
            deadline: self.deadline,
            cancel: self.cancel.clone(),
            ..Request::new(range, vec![Function::Increase])
        }
    }

    /// The increase of a counter over a range, all its series together.
    pub(crate) fn increase(&self, metric: &str, range: TimeRange) -> Result<f64> {
        let all = Grouping::Labels(Vec::new());
        let request = Request { group_by: all, ..self.increases(range) };
        let answer = self.engine.query(&Selector::metric(metric)?, &request)?;
        let groups = answer.groups.iter();
        let values = groups.filter_map(|group| group.values.first()?.first().copied());
        Ok(values.filter(|value| value.is_finite()).sum())
    }

    /// The increase of each of a counter's series, by the value of one label.
    pub(crate) fn increase_by(
        &self,
        metric: &str,
        label: &str,
        range: TimeRange,
    ) -> Result<BTreeMap<Arc<str>, f64>> {
        let answer = self.engine.query(&Selector::metric(metric)?, &self.increases(range))?;
        let mut sums: BTreeMap<Arc<str>, f64> = BTreeMap::new();
        for group in &answer.groups {
            let GroupKey::Series(series) = &group.key else { continue };
            let value = group.values.first().and_then(|values| values.first()).copied();
            if let Some(value) = value.filter(|value| value.is_finite()) {
                *sums.entry(series.label(label).into()).or_default() += value;
            }
        }
        Ok(sums)
    }

    /// The last sample in a range of each series that a selector takes.
    pub(crate) fn last(&self, selector: &Selector, range: TimeRange) -> Result<Vec<LastSample>> {
        let request = SampleRequest {
            limits: self.limits,
            deadline: self.deadline,
            cancel: self.cancel.clone(),
            ..SampleRequest::new(range)
        };
        self.engine.last_samples(selector, &request)
    }

    /// The last value of each of a gauge's series in a range, by the value of one label.
    pub(crate) fn last_by(
        &self,
        selector: &Selector,
        label: &str,
        range: TimeRange,
    ) -> Result<BTreeMap<Arc<str>, f64>> {
        let found = self.last(selector, range)?;
        let named =
            found.into_iter().map(|last| (last.series.label(label).into(), last.sample.value));
        Ok(named.collect())
    }
}
