//! A query under way, as all that follow it share it.
//!
//! Owns: its guard and the guards of its open calls, so that whichever end comes first (the last
//! row, an error, a dropped stream, a host that gives up) ends everything once, and with one word.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::ExecutionPlan;

use super::failure::class;
use super::memory::PeakPool;
use crate::monitor::{
    CallGuard, FederationMonitor, Phase, PhaseGuard, QueryGuard, QueryHandle, QueryStart, Source,
};

/// Calls that are kept to be ended with the query before those that have ended are let go.
const CALLS_KEPT: usize = 256;

/// How a query ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum End<'a> {
    /// It gave its last row.
    Ok,
    Failed(&'a DataFusionError),
    /// Nobody wants more of it.
    Cancelled,
    TimedOut,
    /// Its thread panics.
    Panicked,
}

impl End<'static> {
    /// Of something that is dropped before its end.
    pub(super) fn dropped() -> Self {
        if std::thread::panicking() { Self::Panicked } else { Self::Cancelled }
    }
}

/// A call to a source, until it is ended by its own stream or with the query.
pub(super) type OpenCall = Arc<Mutex<Option<CallGuard>>>;

/// See the module.
pub(super) struct Running {
    handle: QueryHandle,
    guard: Mutex<Option<QueryGuard>>,
    phase: Mutex<Option<PhaseGuard>>,
    streaming: AtomicBool,
    calls: Mutex<Vec<OpenCall>>,
    /// What runs, to be asked for its metrics; it holds this in turn, so it goes at the end.
    plan: Mutex<Option<Arc<dyn ExecutionPlan>>>,
    parts_left: AtomicUsize,
    task: OnceLock<(Arc<TaskContext>, Arc<PeakPool>)>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("id", &self.handle.id()).finish_non_exhaustive()
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does something with a call that has not ended.
pub(super) fn with_call(call: &OpenCall, f: impl FnOnce(&CallGuard)) {
    if let Some(call) = &*lock(call) {
        f(call);
    }
}

/// Ends a call, unless it has ended with its query.
pub(super) fn end_call(call: &OpenCall, how: End<'_>) {
    let Some(call) = lock(call).take() else { return };
    match how {
        End::Ok => call.finish(),
        End::Failed(error) => call.fail(class(error)),
        End::Cancelled => call.cancel(),
        End::TimedOut => call.time_out(),
        // Dropped by a panic it says so.
        End::Panicked => drop(call),
    }
}

impl Running {
    pub(super) fn begin(monitor: &FederationMonitor, start: QueryStart<'_>) -> Arc<Self> {
        let guard = monitor.start_query(start);
        Arc::new(Self {
            handle: guard.handle(),
            guard: Mutex::new(Some(guard)),
            phase: Mutex::default(),
            streaming: AtomicBool::new(false),
            calls: Mutex::default(),
            plan: Mutex::default(),
            parts_left: AtomicUsize::new(0),
            task: OnceLock::new(),
        })
    }

    pub(super) const fn handle(&self) -> &QueryHandle {
        &self.handle
    }

    /// The plan is about to be run: the phase begins that lasts to its first row.
    pub(super) fn execute(&self, plan: &Arc<dyn ExecutionPlan>) {
        let mut known = lock(&self.plan);
        if known.is_none() && lock(&self.guard).is_some() {
            *known = Some(Arc::clone(plan));
            let parts = plan.properties().output_partitioning().partition_count();
            self.parts_left.store(parts, Ordering::Release);
            *lock(&self.phase) = Some(self.handle.phase(Phase::Execute));
        }
    }

    /// What partitions run in: as `host` has it, but for the memory pool, which is told apart.
    pub(super) fn task(&self, host: &TaskContext) -> Arc<TaskContext> {
        let make = || {
            let pool = Arc::new(PeakPool::new(Arc::clone(host.memory_pool())));
            let shared = Arc::clone(&pool) as _;
            let runtime = RuntimeEnv { memory_pool: shared, ..(*host.runtime_env()).clone() };
            let task = TaskContext::new(
                host.task_id(),
                host.session_id(),
                host.session_config().clone(),
                host.scalar_functions().clone(),
                host.higher_order_functions().clone(),
                host.aggregate_functions().clone(),
                host.window_functions().clone(),
                Arc::new(runtime),
            );
            (Arc::new(task), pool)
        };
        Arc::clone(&self.task.get_or_init(make).0)
    }

    /// A batch leaves.
    pub(super) fn produced(&self, batch: &RecordBatch) {
        if !self.streaming.swap(true, Ordering::Relaxed) {
            let phase = self.handle.phase(Phase::Stream);
            *lock(&self.phase) = Some(phase);
        }
        self.handle.add_rows_out(batch.num_rows() as u64);
        self.handle.add_bytes_out(batch_bytes(batch));
    }

    /// One partition gave its last row; the last one ends the query.
    pub(super) fn part_done(&self) {
        if self.parts_left.fetch_sub(1, Ordering::AcqRel) <= 1 {
            self.end(End::Ok);
        }
    }

    pub(super) fn begin_call(&self, source: &Source) -> OpenCall {
        let call = Arc::new(Mutex::new(Some(self.handle.call(source))));
        let mut calls = lock(&self.calls);
        if calls.len() >= CALLS_KEPT {
            calls.retain(|call| lock(call).is_some());
        }
        calls.push(Arc::clone(&call));
        call
    }

    /// Ends the query, the first time that this is said: what the operators counted is added up,
    /// and calls that are open end the way the query does. Those beside a failed one were called
    /// off; those of a query that went well gave as much as was wanted.
    pub(super) fn end(&self, how: End<'_>) {
        let Some(guard) = lock(&self.guard).take() else { return };
        lock(&self.phase).take();
        let calls = std::mem::take(&mut *lock(&self.calls));
        let others = if matches!(how, End::Failed(_)) { End::Cancelled } else { how };
        calls.iter().for_each(|call| end_call(call, others));
        let plan = lock(&self.plan).take();
        if let Some(plan) = plan {
            let mut counted = Counted::default();
            counted.add(&plan);
            guard.add_cpu(Duration::from_nanos(counted.cpu_nanos));
            guard.add_spill(counted.spilled_bytes);
        }
        if let Some((_, pool)) = self.task.get() {
            guard.memory(pool.peak_bytes());
        }
        match how {
            End::Ok => guard.finish(),
            End::Failed(error) => guard.fail(class(error)),
            End::Cancelled => guard.cancel(),
            End::TimedOut => guard.time_out(),
            End::Panicked => drop(guard),
        }
    }
}

/// What the operators of a plan counted.
#[derive(Debug, Default)]
struct Counted {
    cpu_nanos: u64,
    spilled_bytes: u64,
}

impl Counted {
    fn add(&mut self, plan: &Arc<dyn ExecutionPlan>) {
        if let Some(metrics) = plan.metrics() {
            self.cpu_nanos += metrics.elapsed_compute().unwrap_or(0) as u64;
            self.spilled_bytes += metrics.spilled_bytes().unwrap_or(0) as u64;
        }
        plan.children().into_iter().for_each(|child| self.add(child));
    }
}

/// Bytes of a batch's own rows: of a slice, the slice's. `get_array_memory_size` would count the
/// buffers behind a slice again for each slice of them.
pub(super) fn batch_bytes(batch: &RecordBatch) -> u64 {
    let bytes = |column: &Arc<dyn Array>| {
        let data = column.to_data();
        data.get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
    };
    batch.columns().iter().map(bytes).sum::<usize>() as u64
}
