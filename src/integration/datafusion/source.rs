//! Around one scan: a call to its source.
//!
//! A call begins when the first batch is asked for, not when the plan is started: a join may leave
//! a started scan alone until its other side is read. It is waited for while more is asked for
//! (from the request to the batch, pending in between), and paused while the query works on what
//! came.

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, Statistics};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalSortExpr;
use datafusion::physical_plan::execution_plan::{CardinalityEffect, InvariantLevel};
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterDescription, FilterPushdownPhase, FilterPushdownPropagation,
};
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sort_pushdown::SortOrderPushdownResult;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties, RecordBatchStream,
    SendableRecordBatchStream, StatisticsArgs,
};
use futures::{Stream, StreamExt};

use super::running::{End, OpenCall, Running, batch_bytes, end_call, with_call};
use crate::monitor::Source;

/// A scan, listened to. It stands in the scan's place, a leaf as that is: what an optimizer asks of
/// it, the scan answers, and a better scan that it answers with is listened to in turn.
#[derive(Debug)]
pub(super) struct SourceExec {
    scan: Arc<dyn ExecutionPlan>,
    source: Source,
    running: Arc<Running>,
}

impl SourceExec {
    pub(super) fn new(scan: Arc<dyn ExecutionPlan>, source: Source, running: Arc<Running>) -> Self {
        Self { scan, source, running }
    }

    /// Another scan in this one's place.
    fn instead(&self, scan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        let plain = Arc::clone(&scan);
        // Only DataFusion's own refusal to put a plan together again: then it goes unheard.
        listen(scan, &self.source, &self.running).unwrap_or(plain)
    }
}

/// Leaves of a scan that read nothing from anybody.
const NO_SOURCES: [&str; 3] = ["EmptyExec", "PlaceholderRowExec", "WorkTableExec"];

/// What reads from the source in a plan, its leaves, listened to.
///
/// # Errors
/// DataFusion's own.
pub(super) fn listen(
    plan: Arc<dyn ExecutionPlan>,
    source: &Source,
    running: &Arc<Running>,
) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        if !node.children().is_empty() || NO_SOURCES.contains(&node.name()) {
            return Ok(Transformed::no(node));
        }
        let scan = SourceExec::new(node, source.clone(), Arc::clone(running));
        Ok(Transformed::yes(Arc::new(scan)))
    })
    .data()
}

impl DisplayAs for SourceExec {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MonitoredSourceExec: source={}, ", self.source.name())?;
        self.scan.fmt_as(kind, f)
    }
}

impl ExecutionPlan for SourceExec {
    fn name(&self) -> &'static str {
        "MonitoredSourceExec"
    }

    fn schema(&self) -> SchemaRef {
        self.scan.schema()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.scan.properties()
    }

    fn check_invariants(&self, check: InvariantLevel) -> Result<()> {
        self.scan.check_invariants(check)
    }

    fn dynamic_expressions_produced(&self) -> Vec<Arc<dyn PhysicalExpr>> {
        self.scan.dynamic_expressions_produced()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.scan.apply_expressions(f)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self.instead(Arc::clone(&self.scan).reset_state()?))
    }

    fn repartitioned(
        &self,
        target_partitions: usize,
        config: &ConfigOptions,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let scan = self.scan.repartitioned(target_partitions, config)?;
        Ok(scan.map(|scan| self.instead(scan)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        self.scan.metrics()
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        self.scan.statistics_from_inputs(inputs, args)
    }

    fn supports_limit_pushdown(&self) -> bool {
        self.scan.supports_limit_pushdown()
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        Some(self.instead(self.scan.with_fetch(limit)?))
    }

    fn fetch(&self) -> Option<usize> {
        self.scan.fetch()
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        self.scan.cardinality_effect()
    }

    fn try_swapping_with_projection(
        &self,
        projection: &ProjectionExec,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let swapped = self.scan.try_swapping_with_projection(projection)?;
        // A projection of its own above the scan would be hidden in here.
        let swapped = swapped.filter(|scan| scan.children().is_empty());
        Ok(swapped.map(|scan| self.instead(scan)))
    }

    fn gather_filters_for_pushdown(
        &self,
        phase: FilterPushdownPhase,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> Result<FilterDescription> {
        self.scan.gather_filters_for_pushdown(phase, filters, config)
    }

    fn handle_child_pushdown_result(
        &self,
        phase: FilterPushdownPhase,
        result: ChildPushdownResult,
        config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let mut pushed = self.scan.handle_child_pushdown_result(phase, result, config)?;
        pushed.updated_node = pushed.updated_node.map(|scan| self.instead(scan));
        Ok(pushed)
    }

    fn with_new_state(&self, state: Arc<dyn Any + Send + Sync>) -> Option<Arc<dyn ExecutionPlan>> {
        Some(self.instead(self.scan.with_new_state(state)?))
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
    ) -> Result<SortOrderPushdownResult<Arc<dyn ExecutionPlan>>> {
        Ok(self.scan.try_pushdown_sort(order)?.map(|scan| self.instead(scan)))
    }

    fn with_preserve_order(&self, preserve: bool) -> Option<Arc<dyn ExecutionPlan>> {
        Some(self.instead(self.scan.with_preserve_order(preserve)?))
    }

    fn execute(
        &self,
        partition: usize,
        task: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let scan = self.scan.execute(partition, task).inspect_err(|error| {
            end_call(&self.running.begin_call(&self.source), End::Failed(error));
        })?;
        let (source, running) = (self.source.clone(), Arc::clone(&self.running));
        Ok(Box::pin(Scan { scan, source, running, call: None, asked: false }))
    }
}

/// One partition of it.
struct Scan {
    scan: SendableRecordBatchStream,
    source: Source,
    running: Arc<Running>,
    /// From when it is first asked for rows on.
    call: Option<OpenCall>,
    /// Whether it was asked, and has not answered yet.
    asked: bool,
}

impl Scan {
    fn ask(&mut self) -> OpenCall {
        let call = if let Some(call) = &self.call {
            if !self.asked {
                with_call(call, |call| call.resume());
            }
            Arc::clone(call)
        } else {
            let call = self.running.begin_call(&self.source);
            self.call = Some(Arc::clone(&call));
            call
        };
        self.asked = true;
        call
    }
}

impl Stream for Scan {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let call = self.ask();
        let polled = self.scan.poll_next_unpin(cx);
        match &polled {
            Poll::Pending => return polled,
            Poll::Ready(Some(Ok(batch))) => with_call(&call, |call| {
                call.pause();
                call.add_rows(batch.num_rows() as u64);
                call.add_bytes(batch_bytes(batch));
            }),
            Poll::Ready(Some(Err(error))) => end_call(&call, End::Failed(error)),
            Poll::Ready(None) => end_call(&call, End::Ok),
        }
        self.asked = false;
        polled
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.scan.size_hint()
    }
}

impl RecordBatchStream for Scan {
    fn schema(&self) -> SchemaRef {
        self.scan.schema()
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        // A query that was called off has ended its calls already: this one gave enough.
        let how = if std::thread::panicking() { End::Panicked } else { End::Ok };
        if let Some(call) = &self.call {
            end_call(call, how);
        }
    }
}
