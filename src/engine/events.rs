//! Events coming in: tables as hosts declare them, and writers of rows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Engine;
use super::channel::Rows;
use super::dispatch::Dispatch;
use super::receipt::Receipt;
use crate::error::{Error, Result};
use crate::model::{EVENT_TABLES_MAX, EventBatch, EventSchema, EventValue};
use crate::options::{Durability, WhenFull};
use crate::time::Timestamp;

/// A table of this run: what is known of it, and the number that stands for it in memory and log.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) number: u32,
    pub(super) schema: Arc<EventSchema>,
}

/// The tables of events of a store, by name. Numbers are of one run, given from 0; a table stays
/// known until the store is closed.
#[derive(Debug, Default)]
pub(super) struct Tables(Mutex<HashMap<String, Table>>);

impl Tables {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Table>> {
        // What the lock guards is whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a host declares.
    ///
    /// # Errors
    /// [`Error::SchemaConflict`]; [`Error::InvalidArgument`] where there are [`EVENT_TABLES_MAX`].
    pub(super) fn declare(&self, declared: &EventSchema) -> Result<Table> {
        self.enter(declared, EventSchema::declare)
    }

    /// What a part or the log holds.
    ///
    /// # Errors
    /// As [`declare`](Self::declare).
    pub(super) fn adopt(&self, stored: &EventSchema) -> Result<Table> {
        self.enter(stored, EventSchema::adopt)
    }

    fn enter(
        &self,
        schema: &EventSchema,
        join: impl Fn(&EventSchema, &EventSchema) -> Result<EventSchema>,
    ) -> Result<Table> {
        let mut tables = self.lock();
        let number = tables.len();
        if let Some(known) = tables.get_mut(schema.table()) {
            let joined = join(&known.schema, schema)?;
            if joined != *known.schema {
                known.schema = Arc::new(joined);
            }
            return Ok(known.clone());
        }
        if number >= EVENT_TABLES_MAX {
            let reason = format!("there are {EVENT_TABLES_MAX} already");
            return Err(Error::InvalidArgument { what: "event table", reason });
        }
        let table = Table { number: number as u32, schema: Arc::new(schema.clone()) };
        tables.insert(schema.table().to_owned(), table.clone());
        Ok(table)
    }

    /// The table of this name.
    pub(super) fn get(&self, name: &str) -> Option<Table> {
        self.lock().get(name).cloned()
    }

    /// All tables, ascending by name.
    pub(super) fn all(&self) -> Vec<Table> {
        let mut all: Vec<Table> = self.lock().values().cloned().collect();
        all.sort_unstable_by(|one, next| one.schema.table().cmp(next.schema.table()));
        all
    }
}

/// Appends rows to one table of events. Cheap to clone; each thread may have its own.
///
/// The gate checks the window of time of each row on the caller's thread; what it refuses is counted
/// and said in the receipt, never an error. Rate limits and sampling rules are of series and do not
/// apply. Rows of one writer arrive in the order in which they were appended. Receipts, durability and
/// what happens where the channel is full are as for [`Writer`](super::Writer): with
/// [`WhenFull::Drop`] an append never blocks.
#[derive(Debug, Clone)]
pub struct EventWriter {
    dispatch: Dispatch,
    /// As the host declared it: what its rows look like.
    declared: Arc<EventSchema>,
    /// As the store knows it.
    table: Table,
}

impl EventWriter {
    /// This writer, with receipts that complete at another level.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.dispatch.durability = durability;
        self
    }

    /// This writer, doing something else where the channel is full.
    #[must_use]
    pub fn with_when_full(mut self, when_full: WhenFull) -> Self {
        self.dispatch.when_full = when_full;
        self
    }

    /// The table as it was declared for this writer: the columns that its rows have.
    #[must_use]
    pub fn schema(&self) -> &EventSchema {
        &self.declared
    }

    /// An empty batch for [`append_batch`](Self::append_batch).
    #[must_use]
    pub fn batch(&self) -> EventBatch {
        EventBatch::new(self.declared.columns().len())
    }

    /// Appends one row: a value for each column that was declared, in that order. Cost: an allocation
    /// for the values, one for the time, and the channel; several rows at once cost less.
    ///
    /// # Errors
    /// As [`append_batch`](Self::append_batch).
    pub fn append(&self, time: Timestamp, values: &[EventValue]) -> Result<Receipt> {
        let mut batch = EventBatch::with_capacity(self.declared.columns().len(), 1);
        batch.push(time.0, values.iter().cloned())?;
        self.append_batch(batch)
    }

    /// Appends rows, in their order. Rows of one time are all kept.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where a row has another number of values than was declared, a value
    /// is not of its column's kind, a text is longer than
    /// [`EVENT_TEXT_BYTES_MAX`](crate::model::EVENT_TEXT_BYTES_MAX), or the batch is larger than the
    /// whole channel (or 32 MiB): then no row is taken. [`Error::ReadOnly`], [`Error::DiskFull`],
    /// [`Error::OverBudget`], [`Error::Closed`] where nothing can be written.
    pub fn append_batch(&self, mut batch: EventBatch) -> Result<Receipt> {
        batch.check(&self.declared)?;
        let offered = batch.len() as u64;
        self.dispatch.check_writable(offered)?;
        let gate = &self.dispatch.shared.gate;
        let window = gate.window(self.dispatch.now());
        if !window.takes_all(batch.times()) {
            batch.retain(|time| match window.check(time) {
                Ok(()) => true,
                Err(reason) => {
                    gate.refusals.count(reason, 1);
                    false
                }
            });
        }
        let taken = batch.len() as u64;
        if taken == 0 {
            return Ok(self.dispatch.none_taken(offered));
        }
        let table = self.table.clone();
        self.dispatch.send(Rows::Events { table, batch }, taken, offered)
    }
}

impl Engine {
    /// A writer of rows of a table, which is declared by the way: the first declaration makes it, a
    /// later one may append columns (or know fewer). A table is stored with its first row.
    ///
    /// # Errors
    /// [`Error::SchemaConflict`] where the table is stored otherwise; [`Error::InvalidArgument`] where
    /// the store has [`EVENT_TABLES_MAX`] tables; [`Error::ReadOnly`], [`Error::Closed`].
    ///
    /// ```
    /// use icecore::model::{EventColumn, EventKind, EventSchema};
    /// use icecore::query::{EventOrder, EventRequest};
    /// use icecore::{Engine, Options, TimeRange};
    ///
    /// # fn main() -> icecore::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory");
    /// # let path = dir.path();
    /// let engine = Engine::open(path, Options::default())?;
    /// let writer = engine.events(&EventSchema::new("queries", vec![
    ///     EventColumn::new("user", EventKind::Text),
    ///     EventColumn::new("duration", EventKind::Integer).with_unit("us"),
    /// ])?)?;
    /// writer.append(engine.now(), &["ann".into(), 1200.into()])?.wait()?;
    /// writer.append(engine.now(), &["bob".into(), 3400.into()])?.wait()?;
    ///
    /// let slowest = EventRequest {
    ///     order: EventOrder::Largest("duration".into()),
    ///     limit: Some(1),
    ///     ..EventRequest::new("queries", TimeRange::ALL)
    /// };
    /// let answer = engine.scan_events(&slowest)?;
    /// assert_eq!(answer.rows.value(0, 0), "bob".into());
    /// engine.close()
    /// # }
    /// ```
    pub fn events(&self, schema: &EventSchema) -> Result<EventWriter> {
        self.shared.health.check_writable()?;
        let table = self.shared.tables.declare(schema)?;
        Ok(EventWriter {
            dispatch: Dispatch::new(Arc::clone(&self.shared), self.outlet.clone()),
            declared: Arc::new(schema.clone()),
            table,
        })
    }

    /// The tables of events: those that are stored, and those declared in this run, ascending by
    /// name.
    #[must_use]
    pub fn event_tables(&self) -> Vec<Arc<EventSchema>> {
        self.shared.tables.all().into_iter().map(|table| table.schema).collect()
    }

    /// What a table of events is; `None` where there is none of this name.
    #[must_use]
    pub fn event_schema(&self, table: &str) -> Option<Arc<EventSchema>> {
        self.shared.tables.get(table).map(|table| table.schema)
    }
}
