//! Where plans are made: the session's planner and its federation rule, listened to.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use datafusion::physical_plan::ExecutionPlan;

use super::output::OutputExec;
use super::running::{End, Running};
use super::scanned::Sources;
use crate::monitor::{Phase, QueryStart};

/// Whose planning a task does.
#[derive(Debug, Clone)]
pub(super) enum Planning {
    /// Of a query that was begun before.
    Query(Arc<Running>),
    /// Of a command's inner queries, which count as the command.
    Inner,
}

tokio::task_local! {
    pub(super) static PLANNING: Planning;
}

/// Passes planning on to the session's own planner, and puts ears into what it plans. A query that
/// nobody began before (it came by the session's own interface) begins here.
#[derive(Debug)]
pub(super) struct MonitoredPlanner {
    inner: Arc<dyn QueryPlanner + Send + Sync>,
    sources: Sources,
}

impl MonitoredPlanner {
    pub(super) fn new(inner: Arc<dyn QueryPlanner + Send + Sync>, sources: Sources) -> Self {
        Self { inner, sources }
    }

    async fn plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
        running: &Arc<Running>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let _phase = running.handle().phase(Phase::Plan);
        let plan = self.sources.listen_to_tables(plan, session, running)?;
        let plan = self.inner.create_physical_plan(&plan, session).await?;
        let plan = self.sources.listen_to_federated(plan, running)?;
        Ok(Arc::new(OutputExec::new(plan, Arc::clone(running))))
    }
}

#[async_trait]
impl QueryPlanner for MonitoredPlanner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match PLANNING.try_with(Clone::clone) {
            Ok(Planning::Inner) => self.inner.create_physical_plan(plan, session).await,
            Ok(Planning::Query(running)) => self.plan(plan, session, &running).await,
            Err(_) => {
                let text = plan.display_indent().to_string();
                let start = QueryStart::from(text.as_str());
                let running = Running::begin(&self.sources.monitor, start);
                let ending = EndOnDrop(Some(Arc::clone(&running)));
                let planned = self.plan(plan, session, &running).await;
                ending.tell(&planned);
                planned
            }
        }
    }
}

/// Ends a query whose planning is dropped, or fails.
#[derive(Debug)]
pub(super) struct EndOnDrop(pub(super) Option<Arc<Running>>);

impl EndOnDrop {
    /// Planning is over: a failure ends the query.
    pub(super) fn tell<T>(mut self, planned: &Result<T>) {
        if let (Some(running), Err(error)) = (self.0.take(), planned) {
            running.end(End::Failed(error));
        }
    }
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        if let Some(running) = self.0.take() {
            running.end(End::dropped());
        }
    }
}

/// The name of the rule that gives parts of plans to federation providers.
pub(super) const FEDERATION_RULE: &str = "federation_optimizer_rule";

/// A rule whose time is the phase *federate*.
#[derive(Debug)]
pub(super) struct TimedRule(pub(super) Arc<dyn OptimizerRule + Send + Sync>);

impl OptimizerRule for TimedRule {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let _phase = PLANNING
            .try_with(|planning| match planning {
                Planning::Query(running) => Some(running.handle().phase(Phase::Federate)),
                Planning::Inner => None,
            })
            .ok()
            .flatten();
        self.0.rewrite(plan, config)
    }
}
