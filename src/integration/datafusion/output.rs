//! Around a whole plan: what leaves it, and how it ends.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties, RecordBatchStream,
    SendableRecordBatchStream,
};
use futures::{Stream, StreamExt};

use super::running::{End, Running};

/// The plan of a query, listened to. It changes nothing of the plan: properties, order and limits
/// are the input's.
#[derive(Debug)]
pub(super) struct OutputExec {
    input: Arc<dyn ExecutionPlan>,
    running: Arc<Wanted>,
}

/// A query that somebody may still read. Once nobody can, because the plan and all streams of it are
/// gone, it has been called off: also where some partition never was run.
#[derive(Debug)]
struct Wanted(Arc<Running>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.end(End::dropped());
    }
}

impl OutputExec {
    pub(super) fn new(input: Arc<dyn ExecutionPlan>, running: Arc<Running>) -> Self {
        Self { input, running: Arc::new(Wanted(running)) }
    }

    fn instead(&self, input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        Arc::new(Self { input, running: Arc::clone(&self.running) })
    }
}

impl DisplayAs for OutputExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MonitoredOutputExec")
    }
}

impl ExecutionPlan for OutputExec {
    fn name(&self) -> &'static str {
        "MonitoredOutputExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = <[Arc<dyn ExecutionPlan>; 1]>::try_from(children).map_err(|children| {
            let found = children.len();
            DataFusionError::Internal(format!("MonitoredOutputExec has one input, not {found}"))
        })?;
        Ok(self.instead(input))
    }

    fn supports_limit_pushdown(&self) -> bool {
        true
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        Some(self.instead(self.input.with_fetch(limit)?))
    }

    fn fetch(&self) -> Option<usize> {
        self.input.fetch()
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }

    fn execute(
        &self,
        partition: usize,
        host: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let Wanted(running) = &*self.running;
        running.execute(&self.input);
        let task = running.task(&host);
        let input = self.input.execute(partition, task).inspect_err(|error| {
            running.end(End::Failed(error));
        })?;
        Ok(Box::pin(Output { input, running: Arc::clone(&self.running), done: false }))
    }
}

/// One partition of it.
struct Output {
    input: SendableRecordBatchStream,
    running: Arc<Wanted>,
    done: bool,
}

impl Stream for Output {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.input.poll_next_unpin(cx);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(batch))) => self.running.0.produced(batch),
            Poll::Ready(Some(Err(error))) => {
                self.done = true;
                self.running.0.end(End::Failed(error));
            }
            Poll::Ready(None) => {
                if !self.done {
                    self.done = true;
                    self.running.0.part_done();
                }
            }
        }
        polled
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.input.size_hint()
    }
}

impl RecordBatchStream for Output {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.done {
            self.running.0.end(End::dropped());
        }
    }
}
