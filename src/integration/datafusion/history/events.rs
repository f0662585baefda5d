//! A table of events as a table of DataFusion.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Statistics};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::scalar::ScalarValue;

use super::HistoryOptions;
use super::columns::{Dictionaries, UTC, event_field, time_field, times};
use super::conditions::{Condition, both, pushdown, understand};
use super::past::{Beforehand, Past};
use super::scan::{BATCH_ROWS, HistoryExec, Reader, Reading, cut};
use crate::error::Error;
use crate::model::{EventRows, EventSchema};
use crate::query::{EventPredicate, EventRequest, EventSpan, Limits};
use crate::time::{TimeRange, Timestamp};

/// Rows that are worth a partition of their own: below it starting one costs more than it saves.
const PARTITION_ROWS: u64 = 65_536;

/// See the module.
#[derive(Debug)]
pub(super) struct EventTable {
    past: Arc<Past>,
    table: Arc<EventSchema>,
    schema: SchemaRef,
    time_order: bool,
    limits: Limits,
}

impl EventTable {
    pub(super) fn new(past: Arc<Past>, table: EventSchema, options: &HistoryOptions) -> Self {
        let fields = std::iter::once(time_field());
        let fields: Vec<_> = fields.chain(table.columns().iter().map(event_field)).collect();
        Self {
            past,
            table: Arc::new(table),
            schema: Arc::new(Schema::new(fields)),
            time_order: options.time_order,
            limits: options.limits,
        }
    }

    fn understand(&self, filter: &Expr) -> Option<Vec<Condition>> {
        let columns = self.table.columns();
        let kind = |name: &str| columns.iter().find(|known| known.name == name).map(|of| of.kind);
        understand(filter, &kind)
    }
}

#[async_trait]
impl TableProvider for EventTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (mut range, mut predicates) = (TimeRange::ALL, Vec::new());
        for condition in filters.iter().filter_map(|filter| self.understand(filter)).flatten() {
            match condition {
                Condition::Within(within) => range = both(range, within),
                Condition::Column(column, test) => {
                    predicates.push(EventPredicate::new(column, test));
                }
            }
        }
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let columns = projection.unwrap_or(&all).clone();
        let schema = Arc::new(self.schema.project(&columns)?);
        let table = Arc::clone(&self.table);
        let known = self.past.blocking(move |past| past.event_span(&table, range)).await;
        let Beforehand { held: span, archived_files } = known?;
        let span = span.filter(|_| !range.is_empty());
        let parts = parts(range, span, state.config_options().execution.target_partitions);
        let statistics = statistics(&schema, &columns, span, predicates.is_empty());
        // Column 0 is the time, which every row has.
        let asked = columns.iter().filter_map(|at| self.table.columns().get(at.checked_sub(1)?));
        let request = EventRequest {
            predicates,
            projection: Some(asked.map(|column| column.name.clone()).collect()),
            limits: self.limits,
            ..EventRequest::new(self.table.table(), range)
        };
        let reader = EventReader {
            past: Arc::clone(&self.past),
            table: Arc::clone(&self.table),
            archived_files,
            request,
            schema: Arc::clone(&schema),
            time_at: columns.iter().position(|&at| at == 0),
        };
        let scan = HistoryExec::new(Arc::new(reader), schema, parts, statistics, self.time_order);
        Ok(Arc::new(scan.limited(limit)))
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(pushdown(filters, |filter| self.understand(filter).is_some()))
    }
}

/// The range by stretches that hold about equal time, as many as there are rows for.
fn parts(range: TimeRange, span: Option<EventSpan>, partitions: usize) -> Vec<TimeRange> {
    let Some(span) = span else { return vec![range] };
    let worth = span.rows.div_ceil(PARTITION_ROWS).min(partitions as u64);
    let held = TimeRange::new(span.first, Timestamp(span.last.0.saturating_add(1)));
    let mut parts = cut(held, worth);
    // What is written until the scan runs may lie on either side of what is held now.
    if let Some(first) = parts.first_mut() {
        first.start = range.start;
    }
    if let Some(last) = parts.last_mut() {
        last.end = range.end;
    }
    parts
}

/// What is known of the scan beforehand.
fn statistics(
    schema: &Schema,
    columns: &[usize],
    span: Option<EventSpan>,
    unfiltered: bool,
) -> Statistics {
    let mut statistics = Statistics::new_unknown(schema);
    let Some(span) = span else {
        statistics.num_rows = Precision::Exact(0);
        return statistics;
    };
    let rows = usize::try_from(span.rows).unwrap_or(usize::MAX);
    if !(unfiltered && span.exact) {
        statistics.num_rows = Precision::Inexact(rows);
        return statistics;
    }
    statistics.num_rows = Precision::Exact(rows);
    let moment = |at: Timestamp| {
        Precision::Exact(ScalarValue::TimestampNanosecond(Some(at.0), Some(UTC.into())))
    };
    for (known, &at) in statistics.column_statistics.iter_mut().zip(columns) {
        if at == 0 {
            *known = ColumnStatistics {
                null_count: Precision::Exact(0),
                min_value: moment(span.first),
                max_value: moment(span.last),
                ..ColumnStatistics::new_unknown()
            };
        }
    }
    statistics
}

/// Reads a table of events by time.
#[derive(Debug)]
struct EventReader {
    past: Arc<Past>,
    table: Arc<EventSchema>,
    /// Files of the archive that the range is in.
    archived_files: Option<usize>,
    request: EventRequest,
    schema: SchemaRef,
    /// Where the time stands among the columns, if it does.
    time_at: Option<usize>,
}

impl fmt::Display for EventReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EventRequest { table, range, predicates, projection, .. } = &self.request;
        write!(f, "events={table}")?;
        if *range != TimeRange::ALL {
            write!(f, ", time=[{}, {})", range.start, range.end)?;
        }
        for EventPredicate { column, test } in predicates {
            write!(f, ", {column}: {test:?}")?;
        }
        write!(f, ", columns={}", projection.as_ref().map_or(0, Vec::len))?;
        self.archived_files.map_or(Ok(()), |files| write!(f, ", archived_files={files}"))
    }
}

impl Reader for EventReader {
    fn read(&self, reading: Reading<'_>) -> Result<(), Error> {
        let Reading { range, limit, cancel, give } = reading;
        if range.is_empty() {
            return Ok(());
        }
        let request = EventRequest { range, limit, cancel, ..self.request.clone() };
        let mut known = Dictionaries::default();
        self.past.for_each_event_group(&request, &self.table, |rows| {
            let batch = batch(rows, &self.schema, self.time_at, &mut known)?;
            // Those of an archived file come by row groups.
            (0..batch.num_rows()).step_by(BATCH_ROWS).try_for_each(|start| {
                give(batch.slice(start, BATCH_ROWS.min(batch.num_rows() - start)))
            })
        })
    }
}

fn batch(
    rows: EventRows,
    schema: &SchemaRef,
    time_at: Option<usize>,
    known: &mut Dictionaries,
) -> Result<RecordBatch, Error> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let columns = rows.columns.into_iter().enumerate();
    let columns = columns.map(|(at, data)| known.array(at, data));
    columns
        .collect::<Result<Vec<_>, _>>()
        .and_then(|mut columns| {
            if let Some(at) = time_at {
                columns.insert(at.min(columns.len()), times(rows.times));
            }
            RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        })
        .map_err(|error| Error::InvalidArgument { what: "columns", reason: error.to_string() })
}
