//! History as tables of a DataFusion session.
//!
//! Owns: which tables there are and what their columns are called. `events` and `metrics` are the
//! two kinds of tables; `past` makes one history of what is live and what was archived, `conditions`
//! says which parts of a `WHERE` the engine understands, `columns` makes Arrow of what it answers,
//! `scan` is the plan that reads.

mod columns;
mod conditions;
mod events;
mod metrics;
mod past;
mod scan;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::prelude::SessionContext;

use self::events::EventTable;
use self::metrics::MetricTable;
use self::past::Past;
use crate::engine::Engine;
use crate::error::Error;
use crate::integration::parquet::ParquetArchive;
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
    /// Where retention archives to ([`Options::archive`](crate::Options::archive)): what it took out of
    /// the engine is then in the same tables as what is left. No.
    pub archive: Option<ParquetArchive>,
}

impl Default for HistoryOptions {
    fn default() -> Self {
        let (schema, limits) = ("history".to_owned(), Limits::default());
        Self { schema, time_order: false, limits, archive: None }
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

/// Registers an archive alone, without the engine that it stems from, as [`register_history`] does: its
/// tables of events, and its samples by metric.
///
/// An archive holds what was dropped, so rows of a part that is archived and still live (retention
/// stood still in between) are among these: ask an engine and its archive together
/// ([`HistoryOptions::archive`]), and each is there once.
///
/// # Errors
/// Where the directory is not there; as [`register_history`].
pub fn register_archive(session: &SessionContext, archive: &ParquetArchive) -> Result<()> {
    let options = HistoryOptions { archive: Some(archive.clone()), ..HistoryOptions::default() };
    options.register_archive(session)
}

impl HistoryOptions {
    /// As [`register_history`], in ways of the caller's own. With an archive a query sees archived
    /// and live rows as one table, each once, whether or not retention runs meanwhile; conditions on
    /// time pass over directories and row groups. Files that are damaged, or are none of an archive,
    /// are errors that name them. A delete does not reach what was archived before it.
    ///
    /// # Errors
    /// As [`register_history`].
    pub fn register(&self, session: &SessionContext, engine: &Arc<Engine>) -> Result<()> {
        self.put(session, Past::new(Some(Arc::clone(engine)), self.archive.as_ref()))
    }

    /// As [`register_archive()`], in ways of the caller's own.
    ///
    /// # Errors
    /// As [`register_archive()`]; where there is no [`archive`](Self::archive).
    pub fn register_archive(&self, session: &SessionContext) -> Result<()> {
        let past = Past::new(None, self.archive.as_ref());
        past.check_archive().map_err(external)?;
        self.put(session, past)
    }

    fn put(&self, session: &SessionContext, past: Past) -> Result<()> {
        let state = session.state();
        let name = &state.config_options().catalog.default_catalog;
        let catalog = session.catalog(name).ok_or_else(|| {
            DataFusionError::Configuration(format!("there is no default catalog {name:?}"))
        })?;
        let history = History { past: Arc::new(past), options: self.clone() };
        catalog.register_schema(&self.schema, Arc::new(history)).map(drop)
    }
}

/// The schema.
#[derive(Debug)]
struct History {
    past: Arc<Past>,
    options: HistoryOptions,
}

/// What a table is of.
enum Known {
    Events(crate::model::EventSchema),
    Metric(Vec<String>),
}

fn find(past: &Past, name: &str) -> Result<Option<Known>, Error> {
    if let Some(schema) = past.event_schema(name)? {
        return Ok(Some(Known::Events(schema)));
    }
    Ok(past.labels(name)?.map(Known::Metric))
}

#[async_trait]
impl SchemaProvider for History {
    fn table_names(&self) -> Vec<String> {
        let names = self.past.tables().unwrap_or_else(|error| {
            // There is no way to tell it; who asks one of its tables is told.
            log::warn!(
                "the tables of the schema {:?} cannot be listed: {error}",
                self.options.schema
            );
            Default::default()
        });
        names.into_iter().collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let asked = name.to_owned();
        let known = self.past.blocking(move |past| find(past, &asked)).await?;
        let past = Arc::clone(&self.past);
        Ok(known.map(|known| -> Arc<dyn TableProvider> {
            match known {
                Known::Events(schema) => Arc::new(EventTable::new(past, schema, &self.options)),
                Known::Metric(labels) => {
                    Arc::new(MetricTable::new(past, name, labels, &self.options))
                }
            }
        }))
    }

    fn table_exist(&self, name: &str) -> bool {
        // One that cannot be read is there: asked for, it says why not.
        find(&self.past, name).map_or(true, |found| found.is_some())
    }
}

/// An error of the engine's as one of DataFusion's.
fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
