//! Questions about events, asked of one view.

use std::sync::Arc;

use super::Engine;
use crate::error::{Error, Result};
use crate::model::{EventRows, EventSchema};
use crate::query::{self, EventAnswer, EventEvidence, EventRequest};
use crate::segment::EventSource;

/// A table as one question sees it.
struct Table {
    schema: Arc<EventSchema>,
    /// In the order of arrival.
    sources: Vec<Arc<dyn EventSource>>,
}

impl Engine {
    /// The rows of a table that pass the request's range and predicates, in its order, with the columns
    /// that it names. Groups of rows are read in parallel, those whose statistics tell that they hold
    /// nothing wanted not at all; columns beyond those of predicates and order only for rows that are
    /// answered.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where there is no such table or column, a value is not of its
    /// column's kind, or an order by a column has no limit; [`Error::Limit`], [`Error::Deadline`],
    /// [`Error::Cancelled`]; I/O or corruption.
    pub fn scan_events(&self, request: &EventRequest) -> Result<EventAnswer> {
        let Table { schema, sources } = self.event_sources(&request.table)?;
        query::scan_events(request, &schema, &sources, self.resources())
    }

    /// Hands the rows of a table that pass to `visit`, by time, some thousands at a time: what an
    /// export needs that must not hold everything. Holds a group of rows of each part that reaches
    /// into the same time. The columns are those of the request, in its order; dictionaries of texts
    /// are shared among the rows of a stretch.
    ///
    /// # Errors
    /// As [`scan_events`](Self::scan_events), and what `visit` returns; [`Error::InvalidArgument`] for
    /// any other order than [`EventOrder::Time`](crate::query::EventOrder::Time).
    pub fn for_each_event_group(
        &self,
        request: &EventRequest,
        visit: impl FnMut(EventRows) -> Result<()>,
    ) -> Result<EventEvidence> {
        let Table { schema, sources } = self.event_sources(&request.table)?;
        query::for_each_event_group(request, &schema, &sources, self.resources(), visit)
    }

    /// Folds the rows of a table that pass in ways of the caller's own, in parallel: `begin` makes the
    /// state of one task, `fold` takes in the rows of one group after another, each group's ascending
    /// by time. Returns the states in the order of the groups (parts by the order of writes, then
    /// time): the same for every number of threads. Order and limit of the request do not count.
    ///
    /// # Errors
    /// As [`scan_events`](Self::scan_events), and what `fold` returns.
    pub fn fold_events<S: Send>(
        &self,
        request: &EventRequest,
        begin: impl Fn() -> S + Sync + Send,
        fold: impl Fn(&mut S, &EventRows) -> Result<()> + Sync + Send,
    ) -> Result<(Vec<S>, EventEvidence)> {
        let Table { schema, sources } = self.event_sources(&request.table)?;
        query::fold_events(request, &schema, &sources, self.resources(), begin, fold)
    }

    fn event_sources(&self, table: &str) -> Result<Table> {
        // First the rows, then what is known of their columns: a table only ever gets more.
        let view = self.shared.live.view();
        let known = self.shared.tables.get(table).ok_or_else(|| {
            let reason = format!("there is none of the name {table:?}");
            Error::InvalidArgument { what: "event table", reason }
        })?;
        let sources = view.event_sources(table, known.number);
        Ok(Table { schema: known.schema, sources })
    }
}
