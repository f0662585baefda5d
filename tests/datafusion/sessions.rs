//! Queries that end in every way, and what is recorded of them and their sources.

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::{Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SessionStateBuilder, runtime_env::RuntimeEnv};
use datafusion::physical_plan::{ExecutionPlanProperties, execute_stream_partitioned};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use icecore::integration::datafusion::{MonitoredSession, Scanned, register_history};
use icecore::monitor::{FederationMonitor, MonitorOptions, OutcomeKind, QueryStart};

use super::remote::{Fault, Remote, federating};
use super::{engine, rows};

const ORDERS: i64 = 20_000;
const CUSTOMERS: i64 = 200;

pub(crate) fn numbered(names: [&str; 2], rows: i64, of: i64) -> Vec<RecordBatch> {
    let fields = names.map(|name| Field::new(name, DataType::Int64, false));
    let schema = Arc::new(Schema::new(fields.to_vec()));
    let all: Vec<i64> = (0..rows).collect();
    let batch = |part: &[i64]| {
        let ids = Int64Array::from(part.to_vec());
        let others = Int64Array::from(part.iter().map(|id| id % of).collect::<Vec<_>>());
        RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(ids), Arc::new(others)]).unwrap()
    };
    all.chunks(4096).map(batch).collect()
}

fn regions() -> RecordBatch {
    let fields = vec![
        Field::new("region", DataType::Int64, false),
        Field::new("name", DataType::Utf8, false),
    ];
    let names = ["north", "east", "south", "west"];
    let ids = Int64Array::from(vec![0, 1, 2, 3]);
    let columns: [Arc<dyn datafusion::arrow::array::Array>; 2] =
        [Arc::new(ids), Arc::new(StringArray::from(names.to_vec()))];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.to_vec()).unwrap()
}

struct Host {
    _dir: tempfile::TempDir,
    monitor: Arc<FederationMonitor>,
    session: MonitoredSession,
    lake: Arc<Remote>,
    shop: Arc<Remote>,
    /// Another session, which sees the history.
    asking: SessionContext,
}

/// Joins both sources and a table of the session's own.
const JOIN: &str = "SELECT r.name, count(*) AS orders \
    FROM lake.orders o JOIN shop.customers c ON o.customer = c.id \
    JOIN regions r ON c.region = r.region \
    WHERE o.id >= 100 GROUP BY r.name ORDER BY r.name";

impl Host {
    async fn new() -> Self {
        Self::with(federating()).await
    }

    async fn with(session: SessionContext) -> Self {
        let (dir, engine) = engine();
        let monitor = FederationMonitor::open(Arc::clone(&engine), MonitorOptions::default());
        let monitor = Arc::new(monitor.unwrap());
        let orders = numbered(["id", "customer"], ORDERS, CUSTOMERS);
        let lake = Remote::new("lake", &[("orders", orders)]);
        let customers = numbered(["id", "region"], CUSTOMERS, 4);
        let shop = Remote::new("shop", &[("customers", customers)]);
        lake.register(&session).await;
        shop.register(&session).await;
        session.register_batch("regions", regions()).unwrap();
        let session = MonitoredSession::new(&session, Arc::clone(&monitor));
        let asking = SessionContext::new();
        register_history(&asking, &engine).unwrap();
        Self { _dir: dir, monitor, session, lake, shop, asking }
    }

    /// The finished queries: outcome, class, rows out.
    async fn queries(&self) -> Vec<String> {
        self.monitor.flush().unwrap();
        assert!(self.monitor.running().is_empty());
        let sql = "SELECT outcome, error, rows_out FROM history.queries ORDER BY id";
        rows(&self.asking, sql).await
    }

    /// What they made of sources: source, outcome, class, calls, rows.
    async fn calls(&self) -> Vec<String> {
        let sql = "SELECT source, outcome, error, calls, rows FROM history.source_calls \
            ORDER BY query, source";
        rows(&self.asking, sql).await
    }

    async fn one(&self, what: &str) -> i64 {
        let sql = format!("SELECT coalesce({what}, 0) FROM history.queries");
        let found = rows(&self.asking, &sql).await;
        assert_eq!(found.len(), 1);
        found[0].parse().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_over_three_sources_is_recorded_with_what_each_of_them_did() {
    let host = Host::new().await;
    let delay = Duration::from_millis(80);
    host.shop.set(Fault::Slow(delay));
    let start = QueryStart { text: JOIN, tenant: "analytics", user: "ann", ..Default::default() };
    let batches = host.session.collect(start).await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 4);

    assert_eq!(host.queries().await, ["ok  4"]);
    // Federation sends each source its own part: the lake's with the filter, or all of it.
    let calls = host.calls().await;
    assert_eq!(calls.len(), 3, "{calls:?}");
    assert!(calls[0].starts_with("lake ok  1 "), "{calls:?}");
    assert_eq!(calls[1..], ["regions ok  1 4", "shop ok  1 200"]);
    let lake_rows: i64 = calls[0].rsplit(' ').next().unwrap().parse().unwrap();
    assert!((ORDERS - 100..=ORDERS).contains(&lake_rows), "{lake_rows}");
    assert_eq!(host.one("rows_in").await, lake_rows + 204);
    assert!(host.one("bytes_in").await >= lake_rows * 8);

    let slow = delay.as_micros() as i64;
    let found = rows(&host.asking, "SELECT tenant, \"user\", critical_source FROM history.queries");
    assert_eq!(found.await, ["analytics ann shop"]);
    for (what, least) in [
        ("critical", slow),
        ("waiting", slow),
        ("duration", slow),
        ("plan", 1),
        ("optimize", 1),
        ("federate", 1),
        ("execute", slow),
        ("cpu", 1),
        ("memory_peak", 1),
        ("bytes_out", 1),
        ("optimize - federate", 1),
        ("duration - waiting", 0),
        ("duration - execute - coalesce(stream, 0) - plan - optimize", 0),
    ] {
        let found = host.one(what).await;
        assert!(found >= least, "{what}: {found} < {least}");
    }
    let first = "SELECT first_row >= 80000, longest >= first_row FROM history.source_calls \
        WHERE source = 'shop'";
    assert_eq!(rows(&host.asking, first).await, ["true true"]);
}

/// Waits of sources that are read beside each other overlap: they are not added up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waits_that_overlap_count_once() {
    let host = Host::new().await;
    let delay = Duration::from_millis(100);
    host.lake.set(Fault::Slow(delay));
    host.shop.set(Fault::Slow(delay));
    let union = "SELECT id FROM lake.orders UNION ALL SELECT id FROM shop.customers";
    host.session.collect(union).await.unwrap();
    assert_eq!(host.queries().await, [format!("ok  {}", ORDERS + CUSTOMERS)]);
    let waits = "SELECT waiting >= 95000 FROM history.source_calls";
    assert_eq!(rows(&host.asking, waits).await, ["true", "true"]);
    assert!(host.one("waiting").await <= host.one("duration").await);
    let critical = "SELECT sum(critical) <= (SELECT max(waiting) FROM history.queries) \
        FROM history.source_calls";
    assert_eq!(rows(&host.asking, critical).await, ["true"]);
}

/// What the query does with a batch is the engine's time, not a wait for the source.
#[tokio::test]
async fn time_between_batches_is_not_the_sources() {
    let host = Host::new().await;
    let mut stream = host.session.stream("SELECT id FROM lake.orders").await.unwrap();
    let mut seen = 0;
    while let Some(batch) = stream.next().await {
        seen += batch.unwrap().num_rows() as i64;
        std::thread::sleep(Duration::from_millis(25));
    }
    drop(stream);
    assert_eq!(seen, ORDERS);
    host.queries().await;
    let (waiting, duration) = (host.one("waiting").await, host.one("duration").await);
    assert!(duration >= 5 * 25_000 && waiting <= duration - 4 * 25_000, "{waiting} of {duration}");
}

#[tokio::test]
async fn a_sources_error_is_the_querys_and_the_calls() {
    let host = Host::new().await;
    host.lake.set(Fault::Fail);
    host.session.collect(JOIN).await.unwrap_err();
    assert_eq!(host.queries().await, ["error io"]);
    let calls = host.calls().await;
    assert!(calls[0].starts_with("lake error io 1 "), "{calls:?}");
    assert!(calls[1..].iter().all(|call| !call.contains("error")), "{calls:?}");
    assert_eq!(host.monitor.finished(OutcomeKind::Error), 1);
}

#[tokio::test]
async fn what_fails_before_it_runs_is_recorded_too() {
    let host = Host::new().await;
    for sql in ["SELEKT 1", "SELECT id FROM nowhere", "SELECT nothing FROM regions"] {
        host.session.collect(sql).await.unwrap_err();
    }
    // Bound and optimized, and refused by the planner.
    let plan = host.session.session().sql("SELECT id FROM lake.orders").await.unwrap();
    let plan = plan.into_unoptimized_plan();
    let run = host.session.stream_plan("a plan", plan).await.unwrap();
    drop(run);
    assert_eq!(host.queries().await, ["error parse", "error plan", "error schema", "cancelled"]);
    assert_eq!(host.calls().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_dropped_stream_is_a_cancel() {
    let host = Host::new().await;
    let mut stream = host.session.stream("SELECT id, customer FROM lake.orders").await.unwrap();
    let first = stream.next().await.unwrap().unwrap();
    assert_eq!(host.monitor.running().len(), 1);
    drop(stream);
    let rows = first.num_rows();
    assert_eq!(host.queries().await, [format!("cancelled  {rows}")]);
    assert_eq!(host.calls().await, [format!("lake cancelled  1 {rows}")]);
}

/// A future that is dropped while the first row is awaited, in a join whose inputs are read by
/// tasks of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_future_is_a_cancel() {
    let host = Host::new().await;
    host.shop.set(Fault::Hang);
    let shop_is_called = async {
        let calls = |host: &Host| host.monitor.running().remove(0).calls_under_way;
        while !calls(&host).iter().any(|(source, _)| &**source == "shop") {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        biased;
        collected = host.session.collect(JOIN) => panic!("{collected:?}"),
        () = shop_is_called => {}
    }
    assert_eq!(host.queries().await, ["cancelled"]);
    let calls = host.calls().await;
    assert!(calls.iter().any(|call| call.starts_with("shop cancelled")), "{calls:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_of_the_hosts_is_a_time_out() {
    let host = Host::new().await;
    host.lake.set(Fault::Hang);
    let limit = Duration::from_millis(60);
    let sql = "SELECT count(*) FROM lake.orders";
    let error = host.session.collect_within(sql, limit).await.unwrap_err();
    assert!(matches!(error, DataFusionError::External(_)), "{error}");
    // And where the host has a clock of its own.
    let stream = host.session.stream(sql).await.unwrap();
    stream.time_out();
    host.lake.set(Fault::None);
    host.session.collect_within(sql, Duration::from_secs(60)).await.unwrap();
    assert_eq!(host.queries().await, ["timed_out", "timed_out", "ok  1"]);
    assert_eq!(host.calls().await, ["lake timed_out  1", "lake ok  1 1"]);
}

/// The session's own interface is listened to from physical planning on.
#[tokio::test]
async fn frames_of_the_session_itself_are_recorded() {
    let host = Host::new().await;
    let session = host.session.session();
    let frame = session.table("lake.orders").await.unwrap();
    assert_eq!(frame.limit(0, Some(10)).unwrap().collect().await.unwrap()[0].num_rows(), 10);
    host.lake.set(Fault::Fail);
    session.sql("SELECT * FROM lake.orders").await.unwrap().collect().await.unwrap_err();
    assert_eq!(host.queries().await, ["ok  10", "error io 4096"]);
    let calls = host.calls().await;
    assert!(calls[0].starts_with("lake ok  1 "), "{calls:?}");
    assert!(calls[1].starts_with("lake error io 1 "), "{calls:?}");
}

/// A source that is read no further because there are rows enough has done well.
#[tokio::test]
async fn a_limit_is_no_cancel() {
    let host = Host::new().await;
    let sql = "SELECT o.id FROM lake.orders o CROSS JOIN regions LIMIT 3";
    let batches = host.session.collect(sql).await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
    assert_eq!(host.queries().await, ["ok  3"]);
    let calls = host.calls().await;
    assert!(calls.iter().all(|call| call.contains(" ok ")), "{calls:?}");
}

/// Partitions end one by one: the last one ends the query, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_end_one_query() {
    let host = Host::new().await;
    let session = host.session.session();
    session.sql("SET datafusion.execution.target_partitions = 4").await.unwrap();
    let batches = numbered(["id", "of"], 100_000, 7);
    let parts = batches.chunks(5).map(<[RecordBatch]>::to_vec).collect();
    let table = datafusion::datasource::MemTable::try_new(batches[0].schema(), parts).unwrap();
    session.register_table("wide", Arc::new(table)).unwrap();
    let frame = session.sql("SELECT id + 1 FROM wide WHERE of < 3").await.unwrap();
    let (task, plan) = (frame.task_ctx(), frame.create_physical_plan().await.unwrap());
    assert!(plan.output_partitioning().partition_count() > 1);
    let streams = execute_stream_partitioned(plan, Arc::new(task)).unwrap();
    let mut rows = 0;
    for mut stream in streams {
        assert_eq!(host.monitor.running().len(), 1, "until the last one");
        while let Some(batch) = stream.next().await {
            rows += batch.unwrap().num_rows();
        }
    }
    assert_eq!(host.queries().await, [format!("ok  {rows}")]);
    let calls = host.calls().await;
    assert!(calls.len() == 1 && calls[0].starts_with("wide ok "), "{calls:?}");
    assert!(calls[0].ends_with(" 100000"), "{calls:?}");
}

/// A plan that is thrown away before all of its partitions were run is called off, and let go.
#[tokio::test]
async fn a_plan_that_is_dropped_is_a_cancel() {
    let host = Host::new().await;
    let batches = numbered(["id", "of"], 20_000, 7);
    let parts = batches.chunks(2).map(<[RecordBatch]>::to_vec).collect();
    let table = datafusion::datasource::MemTable::try_new(batches[0].schema(), parts).unwrap();
    host.session.session().register_table("wide", Arc::new(table)).unwrap();
    let frame = host.session.session().sql("SELECT id + 1 FROM wide").await.unwrap();
    let plan = frame.create_physical_plan().await.unwrap();
    assert!(plan.output_partitioning().partition_count() > 1);
    let mut first = plan.execute(0, Arc::new(frame.task_ctx())).unwrap();
    let mut rows = 0;
    while let Some(batch) = first.next().await {
        rows += batch.unwrap().num_rows();
    }
    drop(first);
    assert_eq!(host.monitor.running().len(), 1);
    drop(plan);
    drop(frame.create_physical_plan().await.unwrap());
    assert_eq!(host.queries().await, [format!("cancelled  {rows}"), "cancelled".to_owned()]);
}

/// A command that runs a query inside is one query.
#[tokio::test]
async fn a_command_is_recorded_once() {
    let host = Host::new().await;
    let make = "CREATE TABLE copied AS SELECT * FROM shop.customers";
    host.session.collect(make).await.unwrap();
    host.session.collect("SELECT count(*) FROM copied WHERE region = 1").await.unwrap();
    assert_eq!(host.queries().await, ["ok", "ok  1"]);
}

/// Memory and spilling are the query's own, under the limit that all share.
#[tokio::test]
async fn memory_and_spills_are_measured() {
    let pool = Arc::new(FairSpillPool::new(10 << 20));
    let runtime: Arc<RuntimeEnv> =
        RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().unwrap();
    let config =
        SessionConfig::new().with_target_partitions(1).with_sort_spill_reservation_bytes(3 << 20);
    let state = SessionStateBuilder::new_from_existing(federating().state())
        .with_config(config)
        .with_runtime_env(runtime)
        .build();
    let host = Host::with(SessionContext::new_with_state(state)).await;
    let batches = numbered(["id", "of"], 600_000, 977);
    let table = datafusion::datasource::MemTable::try_new(batches[0].schema(), vec![batches]);
    host.session.session().register_table("wide", Arc::new(table.unwrap())).unwrap();
    host.session.collect("SELECT id, of FROM wide ORDER BY of, id DESC").await.unwrap();
    assert_eq!(host.queries().await, ["ok  600000"]);
    let (peak, spill) = (host.one("memory_peak").await, host.one("spill").await);
    assert!((1 << 20..=10 << 20).contains(&peak), "{peak}");
    assert!(spill > 1 << 20, "{spill}");
}

#[tokio::test]
async fn a_host_names_its_sources() {
    let host = Host::new().await;
    let monitor = Arc::clone(&host.monitor);
    let named = |scanned: &Scanned<'_>| match scanned {
        Scanned::Table { table, .. } => format!("catalog {}", table.catalog),
        Scanned::Federated { executor, .. } => format!("remote {executor}"),
        _ => "another".to_owned(),
    };
    let session = MonitoredSession::with_names(&federating(), monitor, named);
    host.lake.register(session.session()).await;
    session.session().register_batch("regions", regions()).unwrap();
    session.collect("SELECT * FROM lake.orders, regions WHERE region = 1").await.unwrap();
    host.queries().await;
    let named = rows(&host.asking, "SELECT source FROM history.source_calls ORDER BY 1").await;
    assert_eq!(named, ["catalog datafusion", "remote lake"]);
}
