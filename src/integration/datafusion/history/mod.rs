//! History as tables of a DataFusion session.
//!
//! Owns: which tables there are and what their columns are called. `events` and `metrics` are the
//! two kinds of tables; `conditions` says which parts of a `WHERE` the engine understands, `columns`
//! makes Arrow of what it answers, `scan` is the plan that reads.

mod columns;
mod conditions;
mod events;
mod metrics;
mod scan;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::prelude::SessionContext;

use self::events::EventTable;
use self::metrics::MetricTable;
use crate::engine::Engine;
use crate::error::Error;
use crate::model::{METRIC_NAME_LABEL, MatchOp, Matcher, MetricKind, Selector};
use crate::query::Limits;

/// How history is registered.
#[derive(Debug, Clone)]
pub struct HistoryOptions {
    /// The name of the schema, in the session's default catalog.
    pub schema: String,
    /// Whether tables of events are declared to be in the order of time, which they are. An
    /// aggregation by bins of time then streams and holds one bin, where it would hold all; with
    /// few groups it costs some speed. No.
    pub time_order: bool,
    /// What one partition of a scan may cost.
    pub limits: Limits,
}

impl Default for HistoryOptions {
    fn default() -> Self {
        Self { schema: "history".to_owned(), time_order: false, limits: Limits::default() }
    }
}

/// Registers the history of an engine as the schema `history` of the session's default catalog.
///
/// A table for each table of events (`history.queries`, `history.source_calls`), of the columns
/// `time` and those of its schema, texts as dictionaries; and for each metric whose name no table
/// of events has (`history.queries_total`), of the columns `time`, `value` and one for each label,
/// null where a series does not have it. Distributions hold no samples and are no tables. Which
/// tables there are is looked up by every query, so that those that come later are found.
///
/// Answered by the engine itself, and left out of the plan: conditions that compare `time` with a
/// moment, columns of events or labels with constants (`=`, `!=`, `IN`, `NOT IN`; of events also
/// `<`, `<=`, `>`, `>=`), and `IS [NOT] NULL`; projections; limits. Orders of floats are left to
/// DataFusion, to which NaN is the greatest number.
///
/// # Errors
/// Where the session has no default catalog, or that refuses.
pub fn register_history(session: &SessionContext, engine: &Arc<Engine>) -> Result<()> {
    HistoryOptions::default().register(session, engine)
}

impl HistoryOptions {
    /// As [`register_history`], in ways of the caller's own.
    ///
    /// # Errors
    /// As [`register_history`].
    pub fn register(&self, session: &SessionContext, engine: &Arc<Engine>) -> Result<()> {
        let state = session.state();
        let name = &state.config_options().catalog.default_catalog;
        let catalog = session.catalog(name).ok_or_else(|| {
            DataFusionError::Configuration(format!("there is no default catalog {name:?}"))
        })?;
        let history = History { engine: Arc::clone(engine), options: self.clone() };
        catalog.register_schema(&self.schema, Arc::new(history)).map(drop)
    }
}

/// The schema.
#[derive(Debug)]
struct History {
    engine: Arc<Engine>,
    options: HistoryOptions,
}

impl History {
    fn metrics(&self) -> Vec<String> {
        let Ok(all) = Selector::new(Vec::new()) else { return Vec::new() };
        let mut names = self.engine.label_values(METRIC_NAME_LABEL, &all);
        names.retain(|name| self.has_samples(name));
        names
    }

    fn has_samples(&self, metric: &str) -> bool {
        let known = self.engine.metadata(metric);
        known.is_none_or(|metadata| metadata.kind != MetricKind::Distribution)
    }

    fn find(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, Error> {
        if let Some(schema) = self.engine.event_schema(name) {
            let table = EventTable::new(Arc::clone(&self.engine), &schema, &self.options);
            return Ok(Some(Arc::new(table)));
        }
        let Ok(selector) = Matcher::new(METRIC_NAME_LABEL, MatchOp::Equal, name) else {
            return Ok(None);
        };
        let labels = self.engine.label_names(&Selector::new(vec![selector])?);
        if labels.is_empty() || !self.has_samples(name) {
            return Ok(None);
        }
        let table = MetricTable::new(Arc::clone(&self.engine), name, labels, &self.options);
        Ok(Some(Arc::new(table)))
    }
}

#[async_trait]
impl SchemaProvider for History {
    fn table_names(&self) -> Vec<String> {
        let tables = self.engine.event_tables();
        let mut names: Vec<String> = tables.iter().map(|table| table.table().to_owned()).collect();
        names.extend(self.metrics());
        names.sort_unstable();
        names.dedup();
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        self.find(name).map_err(external)
    }

    fn table_exist(&self, name: &str) -> bool {
        self.find(name).is_ok_and(|found| found.is_some())
    }
}

/// An error of the engine's as one of DataFusion's.
fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
