//! The plan that reads history.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Statistics;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalSortExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties, RecordBatchStream,
    SendableRecordBatchStream, StatisticsArgs,
};
use futures::{Stream, StreamExt};

use super::external;
use crate::error::Error;
use crate::integration::arrow::TIME;
use crate::query::CancelToken;
use crate::time::{TimeRange, Timestamp};

/// Rows of a batch at most, or about: as DataFusion has them.
pub(super) const BATCH_ROWS: usize = 8192;
/// Batches that wait for whoever asks for them, a partition.
const BATCHES_AHEAD: usize = 2;

/// One partition being read.
pub(super) struct Reading<'a> {
    /// Its stretch of time.
    pub(super) range: TimeRange,
    /// The most rows that are wanted of it.
    pub(super) limit: Option<u64>,
    /// Whether nobody wants it any more.
    pub(super) cancel: CancelToken,
    /// Takes a batch; an error means that no more is wanted.
    pub(super) give: &'a mut dyn FnMut(RecordBatch) -> Result<(), Error>,
}

/// What a partition is read by; its display says what of.
pub(super) trait Reader: fmt::Debug + fmt::Display + Send + Sync {
    /// Reads one partition, ascending as the table says.
    ///
    /// # Errors
    /// The engine's own, and that of `give`.
    fn read(&self, reading: Reading<'_>) -> Result<(), Error>;
}

/// A scan of a table of history: a partition for each stretch of time.
#[derive(Debug, Clone)]
pub(super) struct HistoryExec {
    reader: Arc<dyn Reader>,
    parts: Arc<Vec<TimeRange>>,
    limit: Option<u64>,
    statistics: Arc<Statistics>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl HistoryExec {
    /// `time_order` says that each partition comes in the order of time, to be told to plans.
    pub(super) fn new(
        reader: Arc<dyn Reader>,
        schema: SchemaRef,
        parts: Vec<TimeRange>,
        statistics: Statistics,
        time_order: bool,
    ) -> Self {
        let time = schema.index_of(TIME).ok().filter(|_| time_order);
        let order = time.map(|at| {
            let options = SortOptions { descending: false, nulls_first: false };
            vec![PhysicalSortExpr { expr: Arc::new(Column::new(TIME, at)), options }]
        });
        let known = EquivalenceProperties::new_with_orderings(schema, order);
        let properties = PlanProperties::new(
            known,
            Partitioning::UnknownPartitioning(parts.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            reader,
            parts: Arc::new(parts),
            limit: None,
            statistics: Arc::new(statistics),
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    pub(super) fn limited(mut self, limit: Option<usize>) -> Self {
        self.limit = limit.map(|rows| rows as u64);
        self
    }
}

impl DisplayAs for HistoryExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HistoryExec: {}", self.reader)?;
        match self.limit {
            Some(limit) => write!(f, ", limit={limit}"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for HistoryExec {
    fn name(&self) -> &'static str {
        "HistoryExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(
        &self,
        _: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        if args.partition().is_none() && self.limit.is_none() {
            return Ok(Arc::clone(&self.statistics));
        }
        Ok(Arc::new(Statistics::new_unknown(&self.schema())))
    }

    fn supports_limit_pushdown(&self) -> bool {
        true
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        Some(Arc::new(self.clone().limited(limit)))
    }

    fn fetch(&self) -> Option<usize> {
        self.limit.and_then(|rows| usize::try_from(rows).ok())
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let range = self.parts.get(partition).copied().ok_or_else(|| {
            DataFusionError::Internal(format!("history has no partition {partition}"))
        })?;
        let (reader, limit) = (Arc::clone(&self.reader), self.limit);
        let mut rows = RecordBatchReceiverStream::builder(self.schema(), BATCHES_AHEAD);
        let (to, cancel) = (rows.tx(), CancelToken::default());
        let cancelled = CancelOnDrop(cancel.clone());
        rows.spawn_blocking(move || {
            let give = &mut |batch| to.blocking_send(Ok(batch)).map_err(|_| Error::Cancelled);
            match reader.read(Reading { range, limit, cancel: cancel.clone(), give }) {
                Err(Error::Cancelled) if cancel.is_cancelled() || to.is_closed() => Ok(()),
                read => read.map_err(external),
            }
        });
        let measured = BaselineMetrics::new(&self.metrics, partition);
        Ok(Box::pin(Rows { rows: rows.build(), measured, _cancelled: cancelled }))
    }
}

/// Ends reading when its stream is dropped: a reader that finds nothing for long would not notice.
struct CancelOnDrop(CancelToken);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// The rows of one partition.
struct Rows {
    rows: SendableRecordBatchStream,
    measured: BaselineMetrics,
    _cancelled: CancelOnDrop,
}

impl Stream for Rows {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.rows.poll_next_unpin(cx);
        self.measured.record_poll(polled)
    }
}

impl RecordBatchStream for Rows {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }
}

/// Cuts a range into at most `parts` ones of equal length, none empty; one where it is empty.
pub(super) fn cut(range: TimeRange, parts: u64) -> Vec<TimeRange> {
    let length = range.start.0.abs_diff(range.end.0);
    if range.is_empty() || parts <= 1 {
        return vec![range];
    }
    let step = length.div_ceil(parts.min(length));
    let mut all = Vec::new();
    let mut start = range.start;
    while start < range.end {
        let end = start.0.checked_add_unsigned(step).unwrap_or(i64::MAX).min(range.end.0);
        all.push(TimeRange::new(start, Timestamp(end)));
        start = Timestamp(end);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_without_gaps() {
        for (start, end, parts, expected) in
            [(0, 10, 3, 3), (5, 5, 4, 1), (0, 2, 8, 2), (i64::MIN, i64::MAX, 4, 4), (0, 9, 1, 1)]
        {
            let range = TimeRange::new(Timestamp(start), Timestamp(end));
            let all = cut(range, parts);
            assert_eq!(all.len(), expected, "{range:?}");
            assert_eq!((all[0].start, all[expected - 1].end), (range.start, range.end));
            assert!(all.windows(2).all(|pair| pair[0].end == pair[1].start));
        }
    }
}
