//! Sessions that are monitored: what a host holds.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SessionStateBuilder, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::OptimizerRule;
use datafusion::physical_plan::{RecordBatchStream, SendableRecordBatchStream, execute_stream};
use datafusion::prelude::SessionContext;
use futures::{Stream, StreamExt, TryStreamExt};

use super::planner::{EndOnDrop, FEDERATION_RULE, MonitoredPlanner, PLANNING, Planning, TimedRule};
use super::running::{End, Running};
use super::scanned::{Scanned, Sources};
use crate::error::Error;
use crate::monitor::{FederationMonitor, Phase, QueryHandle, QueryStart};
use crate::time::{Clock, SystemClock};

/// A DataFusion session whose queries are followed from their texts to their last rows.
///
/// It shares the catalogs and the runtime of the session that it is made of, which stays as it was.
/// Each query is recorded once, as whatever came first: its last row (*ok*), an error of parsing,
/// binding, optimizing, planning or running (*error*, with a class by the kind of
/// [`DataFusionError`]), a stream or a future that was dropped (*cancelled*), or a word of the
/// host's ([`MonitoredStream::time_out`], [`collect_within`](Self::collect_within)).
///
/// ```
/// # use std::sync::Arc;
/// # use datafusion::prelude::SessionContext;
/// # use icecore::integration::datafusion::{MonitoredSession, register_history};
/// # use icecore::monitor::{FederationMonitor, MonitorOptions, OutcomeKind};
/// # use icecore::{Engine, Options};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let engine = Arc::new(Engine::open(dir.path(), Options::default())?);
/// # let monitor = Arc::new(FederationMonitor::open(Arc::clone(&engine), MonitorOptions::default())?);
/// let session = MonitoredSession::new(&SessionContext::new(), Arc::clone(&monitor));
/// let rows = session.collect("SELECT 1 AS one UNION ALL SELECT 2").await?;
/// # assert_eq!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>(), 2);
/// assert!(session.collect("SELECT nothing FROM nowhere").await.is_err());
/// assert_eq!(monitor.finished(OutcomeKind::Ok), 1);
/// assert_eq!(monitor.finished(OutcomeKind::Error), 1);
///
/// // History is asked in SQL too, by any session.
/// monitor.flush()?;
/// let asking = SessionContext::new();
/// register_history(&asking, &engine)?;
/// let asked = asking.sql("SELECT outcome, count(*) FROM history.queries GROUP BY outcome").await?;
/// # assert_eq!(asked.count().await?, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MonitoredSession {
    session: SessionContext,
    monitor: Arc<FederationMonitor>,
}

impl fmt::Debug for MonitoredSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MonitoredSession")
            .field("session", &self.session.session_id())
            .finish_non_exhaustive()
    }
}

impl MonitoredSession {
    /// Follows the queries of a session like `session`. Sources have the names that
    /// [`Scanned::name`] gives.
    #[must_use]
    pub fn new(session: &SessionContext, monitor: Arc<FederationMonitor>) -> Self {
        Self::with_names(session, monitor, |scanned| scanned.name())
    }

    /// As [`new`](Self::new); `name` says which source a scan belongs to, for instance the catalog
    /// of its table. Asked while a query is planned, once a scan.
    #[must_use]
    pub fn with_names(
        session: &SessionContext,
        monitor: Arc<FederationMonitor>,
        name: impl Fn(&Scanned<'_>) -> String + Send + Sync + 'static,
    ) -> Self {
        let state = session.state();
        let sources = Sources { monitor: Arc::clone(&monitor), naming: Arc::new(name) };
        let planner = MonitoredPlanner::new(Arc::clone(state.query_planner()), sources);
        let timed = |rule: &Arc<dyn OptimizerRule + Send + Sync>| {
            if rule.name() == FEDERATION_RULE {
                Arc::new(TimedRule(Arc::clone(rule))) as Arc<dyn OptimizerRule + Send + Sync>
            } else {
                Arc::clone(rule)
            }
        };
        let rules = state.optimizers().iter().map(timed).collect();
        let state = SessionStateBuilder::new_from_existing(state)
            .with_optimizer_rules(rules)
            .with_query_planner(Arc::new(planner))
            .build();
        Self { session: SessionContext::new_with_state(state), monitor }
    }

    /// The session itself: tables are registered with it, and queries that are asked of it by its
    /// own interface are recorded too, from their physical planning on. Their text is the logical
    /// plan's; what fails before it is not known of.
    #[must_use]
    pub const fn session(&self) -> &SessionContext {
        &self.session
    }

    /// The rows of a query, given as SQL, as they come. Commands (`CREATE TABLE`, `SET`) are
    /// carried out.
    ///
    /// # Errors
    /// DataFusion's own, which are recorded as the query's.
    pub async fn stream<'a>(&self, start: impl Into<QueryStart<'a>>) -> Result<MonitoredStream> {
        let start = start.into();
        let running = Running::begin(&self.monitor, start);
        let ending = EndOnDrop(Some(Arc::clone(&running)));
        let streamed = self.plan_and_run(start.text, running).await;
        ending.tell(&streamed);
        streamed
    }

    /// As [`stream`](Self::stream), of a logical plan (for instance
    /// [`DataFrame::into_unoptimized_plan`](datafusion::dataframe::DataFrame::into_unoptimized_plan));
    /// the text of `start` only names it.
    ///
    /// # Errors
    /// As [`stream`](Self::stream).
    pub async fn stream_plan<'a>(
        &self,
        start: impl Into<QueryStart<'a>>,
        plan: LogicalPlan,
    ) -> Result<MonitoredStream> {
        let running = Running::begin(&self.monitor, start.into());
        let ending = EndOnDrop(Some(Arc::clone(&running)));
        let streamed = self.run(plan, running).await;
        ending.tell(&streamed);
        streamed
    }

    /// All rows of a query.
    ///
    /// # Errors
    /// As [`stream`](Self::stream).
    pub async fn collect<'a>(&self, start: impl Into<QueryStart<'a>>) -> Result<Vec<RecordBatch>> {
        self.stream(start).await?.try_collect().await
    }

    /// All rows of a query, if it takes no longer than `limit`; otherwise it is recorded as timed
    /// out, and given up. Needs a Tokio runtime with time.
    ///
    /// # Errors
    /// As [`stream`](Self::stream); [`Error::Deadline`] as [`DataFusionError::External`].
    pub async fn collect_within<'a>(
        &self,
        start: impl Into<QueryStart<'a>>,
        limit: Duration,
    ) -> Result<Vec<RecordBatch>> {
        let start = start.into();
        let deadline = SystemClock.now().saturating_add(limit);
        let running = Running::begin(&self.monitor, start);
        let ending = EndOnDrop(Some(Arc::clone(&running)));
        let all = async {
            let stream = self.plan_and_run(start.text, Arc::clone(&running)).await?;
            stream.try_collect().await
        };
        // The work is dropped when the query has ended, so that what it leaves is not a cancel.
        let mut all = Box::pin(all);
        let collected = match tokio::time::timeout(limit, &mut all).await {
            Ok(collected) => collected,
            Err(_) => {
                running.end(End::TimedOut);
                Err(DataFusionError::External(Box::new(Error::Deadline { deadline })))
            }
        };
        ending.tell(&collected);
        collected
    }

    async fn plan_and_run(&self, text: &str, running: Arc<Running>) -> Result<MonitoredStream> {
        let plan = {
            let _phase = running.handle().phase(Phase::Plan);
            let plan = self.session.state().create_logical_plan(text).await?;
            let done = self.session.execute_logical_plan(plan);
            PLANNING.scope(Planning::Inner, done).await?.into_parts().1
        };
        self.run(plan, running).await
    }

    async fn run(&self, plan: LogicalPlan, running: Arc<Running>) -> Result<MonitoredStream> {
        let state = self.session.state();
        let planning = Planning::Query(Arc::clone(&running));
        let plan = {
            let _phase = running.handle().phase(Phase::Optimize);
            PLANNING.sync_scope(planning.clone(), || state.optimize(&plan))?
        };
        let planned = state.query_planner().create_physical_plan(&plan, &state);
        let plan = PLANNING.scope(planning, planned).await?;
        let stream = execute_stream(plan, Arc::new(TaskContext::from(&state)))?;
        Ok(MonitoredStream { stream, running })
    }
}

/// The rows of a monitored query. Dropped before the last one, it records the query as cancelled.
#[must_use = "a stream that is dropped cancels its query"]
pub struct MonitoredStream {
    stream: SendableRecordBatchStream,
    running: Arc<Running>,
}

impl fmt::Debug for MonitoredStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MonitoredStream").field("query", &self.running).finish_non_exhaustive()
    }
}

impl MonitoredStream {
    /// The query, to add what only the host knows: retries, cache hits, rows expected.
    #[must_use]
    pub fn query(&self) -> &QueryHandle {
        self.running.handle()
    }

    /// Gives it up because it took too long: it is recorded as timed out.
    pub fn time_out(self) {
        self.running.end(End::TimedOut);
    }
}

impl Stream for MonitoredStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.stream.poll_next_unpin(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.size_hint()
    }
}

impl RecordBatchStream for MonitoredStream {
    fn schema(&self) -> SchemaRef {
        self.stream.schema()
    }
}

impl Drop for MonitoredStream {
    fn drop(&mut self) {
        // Does nothing where it has ended. Said here, before the stream is dropped: tasks behind it
        // learn of that later.
        self.running.end(End::dropped());
    }
}
