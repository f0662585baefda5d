//! The head's events: rows by table, in blocks, and the read contract over them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{DecodeError, Error, Result};
use crate::model::{EventBatch, EventBuilder, EventKind, EventRows, EventSchema};
use crate::segment::{EventSource, EventStretch, StoredColumn};
use crate::time::Timestamp;

/// Rows of a block: what the next append copies at most where a reader holds the last one, some
/// 800 KiB of a table of twenty columns. Fewer in tests, so that small cases have several.
const BLOCK_ROWS: usize = if cfg!(test) { 16 } else { 4096 };

/// The writer's side: the block that is being filled of each table.
#[derive(Debug, Default)]
pub(super) struct EventLanes {
    lanes: BTreeMap<u32, Lane>,
    rows: u64,
}

#[derive(Debug)]
struct Lane {
    schema: Arc<EventSchema>,
    /// What a row takes, texts counted by their numbers.
    row_bytes: usize,
    /// Full, each ascending by time.
    blocks: Vec<Arc<EventRows>>,
    /// In the order of arrival.
    filling: EventBuilder,
}

impl EventLanes {
    /// Appends rows to the table of this number; `schema` is what is known of it, or was when the rows'
    /// writer declared it. Returns the bytes that takes, about.
    pub(super) fn append(
        &mut self,
        table: u32,
        schema: &Arc<EventSchema>,
        batch: &EventBatch,
    ) -> usize {
        let lane = self.lanes.entry(table).or_insert_with(|| Lane::new(Arc::clone(schema)));
        if schema.columns().len() > lane.schema.columns().len() {
            lane.seal();
            let blocks = std::mem::take(&mut lane.blocks);
            *lane = Lane { blocks, ..Lane::new(Arc::clone(schema)) };
        }
        let mut bytes = batch.len() * lane.row_bytes;
        for (time, values) in batch.rows() {
            bytes += lane.filling.push(time, values);
            if lane.filling.rows().len() >= BLOCK_ROWS {
                lane.seal();
            }
        }
        self.rows += batch.len() as u64;
        bytes
    }

    pub(super) const fn rows(&self) -> u64 {
        self.rows
    }

    /// What is there now. Cost: a few reference counts a block.
    pub(super) fn snapshot(&self) -> EventTables {
        let tables = self.lanes.iter().map(|(&number, lane)| {
            let mut blocks = lane.blocks.clone();
            if !lane.filling.rows().is_empty() {
                blocks.push(Arc::clone(lane.filling.rows()));
            }
            (number, EventTable { schema: Arc::clone(&lane.schema), blocks })
        });
        EventTables { tables: Arc::new(tables.collect()), rows: self.rows }
    }
}

fn kinds(schema: &EventSchema) -> impl Iterator<Item = EventKind> {
    schema.columns().iter().map(|column| column.kind)
}

impl Lane {
    fn new(schema: Arc<EventSchema>) -> Self {
        let filling = EventBuilder::new(kinds(&schema));
        let of_kind = |kind: EventKind| match kind {
            EventKind::Integer | EventKind::Float => 8,
            EventKind::Text => 4,
            EventKind::Boolean => 1,
        };
        // The time, the values, and a bit a column that says whether there is one.
        let columns: usize = kinds(&schema).map(of_kind).sum();
        let row_bytes = 8 + columns + schema.columns().len().div_ceil(8);
        Self { schema, row_bytes, blocks: Vec::new(), filling }
    }

    fn seal(&mut self) {
        let rows = self.filling.take();
        if !rows.is_empty() {
            self.blocks.push(rows.sorted().map_or(rows, Arc::new));
        }
    }
}

/// The events of a head as it was at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct EventTables {
    tables: Arc<BTreeMap<u32, EventTable>>,
    rows: u64,
}

/// The rows of one table.
#[derive(Debug, Clone)]
struct EventTable {
    schema: Arc<EventSchema>,
    /// In the order of arrival; all but the last ascending by time.
    blocks: Vec<Arc<EventRows>>,
}

impl EventTables {
    pub(super) const fn rows(&self) -> u64 {
        self.rows
    }

    /// The numbers of the tables that have rows, ascending, and what is known of them.
    pub(super) fn tables(&self) -> impl Iterator<Item = (u32, &Arc<EventSchema>)> {
        self.tables.iter().map(|(&number, table)| (number, &table.schema))
    }

    /// The rows of a table, in the order of arrival: one source a block.
    pub(super) fn sources(&self, table: u32) -> Vec<Arc<dyn EventSource>> {
        let blocks = self.tables.get(&table).map_or(&[][..], |table| &table.blocks);
        let sources = blocks.iter().filter_map(|rows| {
            let rows = rows.sorted().map_or_else(|| Arc::clone(rows), Arc::new);
            let (&first, &last) = rows.times.first().zip(rows.times.last())?;
            let stretch = EventStretch {
                first: Timestamp(first),
                last: Timestamp(last),
                rows: rows.len() as u32,
                groups: 1,
            };
            Some(Arc::new(Block { rows, stretch: [stretch] }) as Arc<dyn EventSource>)
        });
        sources.collect()
    }

    /// The times of the first and the last row, both inclusive.
    pub(super) fn bounds(&self) -> Option<(Timestamp, Timestamp)> {
        let blocks = self.tables.values().flat_map(|table| &table.blocks);
        let bounds = blocks.filter_map(|rows| {
            let (first, last) = (rows.times.iter().min()?, rows.times.iter().max()?);
            Some((Timestamp(*first), Timestamp(*last)))
        });
        bounds.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }
}

/// Rows in memory, ascending by time.
#[derive(Debug)]
struct Block {
    rows: Arc<EventRows>,
    stretch: [EventStretch; 1],
}

impl EventSource for Block {
    fn stretches(&self) -> &[EventStretch] {
        &self.stretch
    }

    fn column(&self, _stretch: u32, field: u32) -> Result<Option<StoredColumn>> {
        let held = field as usize <= self.rows.columns.len();
        Ok(held.then(|| StoredColumn::Rows(Arc::clone(&self.rows), field)))
    }

    fn damaged(&self, _stretch: u32, _field: u32, source: DecodeError) -> Error {
        Error::InvalidArgument { what: "rows in the head", reason: source.to_string() }
    }
}
