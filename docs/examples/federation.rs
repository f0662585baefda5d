//! A federated engine on DataFusion that remembers how it ran:
//! `cargo run --profile datafusion --features datafusion --example federation`.
//!
//! Two sources are asked in SQL by datafusion-federation (`tests/datafusion/remote.rs`: each is a
//! DataFusion of its own, with faults on request), beside a table of the session's own. Four tasks
//! ask a mixed workload; on the way one source becomes slow, then the other fails, one query is
//! given up by its client and one takes too long. Then history is asked what happened.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "an example"
)]

#[path = "../../tests/datafusion/remote.rs"]
mod remote;

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use icecore::integration::datafusion::{MonitoredSession, register_history};
use icecore::monitor::{FederationMonitor, MonitorOptions, QueryStart};
use icecore::{Engine, Options};
use remote::{Fault, Remote, federating};

const WORKLOAD: [&str; 4] = [
    "SELECT r.name, sum(o.amount) FROM lake.orders o JOIN shop.customers c ON o.customer = c.id \
     JOIN regions r ON c.region = r.region GROUP BY r.name",
    "SELECT count(*) FROM lake.orders WHERE customer = 17",
    "SELECT c.id FROM shop.customers c WHERE c.region = 2 ORDER BY c.id LIMIT 5",
    "SELECT r.name, count(*) FROM shop.customers c JOIN regions r ON c.region = r.region GROUP BY 1",
];

fn orders() -> RecordBatch {
    let ids: Vec<i64> = (0..20_000).collect();
    let of = |f: fn(i64) -> i64| -> ArrayRef {
        Arc::new(ids.iter().map(|&id| Some(f(id))).collect::<Int64Array>())
    };
    let columns =
        [("id", of(|id| id)), ("customer", of(|id| id % 400)), ("amount", of(|id| id % 97))];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn customers() -> RecordBatch {
    let ids: ArrayRef = Arc::new((0..400).map(Some).collect::<Int64Array>());
    let regions: ArrayRef = Arc::new((0..400).map(|id| Some(id % 4)).collect::<Int64Array>());
    RecordBatch::try_from_iter([("id", ids), ("region", regions)]).unwrap()
}

fn regions() -> RecordBatch {
    let ids: ArrayRef = Arc::new((0..4).map(Some).collect::<Int64Array>());
    let names: ArrayRef = Arc::new(StringArray::from(vec!["north", "east", "south", "west"]));
    RecordBatch::try_from_iter([("region", ids), ("name", names)]).unwrap()
}

/// Four tasks, each of its own tenant, ask the workload twice over.
async fn work(session: &MonitoredSession) {
    let tasks = ["ann", "bob", "eve", "joe"].map(|tenant| {
        let session = session.clone();
        tokio::spawn(async move {
            for text in WORKLOAD.iter().cycle().take(2 * WORKLOAD.len()) {
                let start = QueryStart { text, tenant, ..QueryStart::default() };
                // What fails is recorded; a client of this host would be told.
                let _ = session.collect(start).await;
            }
        })
    });
    for task in tasks {
        task.await.unwrap();
    }
}

async fn show(session: &SessionContext, title: &str, sql: &str) {
    let rows = session.sql(sql).await.unwrap().collect().await.unwrap();
    println!("\n{title}\n{}", pretty_format_batches(&rows).unwrap());
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::temp_dir().join(format!("icecore-federation-{}", std::process::id()));
    let engine = Arc::new(Engine::open(&dir, Options::default())?);
    let monitor =
        Arc::new(FederationMonitor::open(Arc::clone(&engine), MonitorOptions::default())?);

    let session = federating();
    let lake = Remote::new("lake", &[("orders", vec![orders()])]);
    let shop = Remote::new("shop", &[("customers", vec![customers()])]);
    lake.register(&session).await;
    shop.register(&session).await;
    session.register_batch("regions", regions())?;

    // These two lines make a session a monitored one.
    let session = MonitoredSession::new(&session, Arc::clone(&monitor));
    register_history(session.session(), &engine)?;

    work(&session).await;
    shop.set(Fault::Slow(Duration::from_millis(60)));
    work(&session).await;
    shop.set(Fault::None);
    lake.set(Fault::Fail);
    work(&session).await;
    lake.set(Fault::None);
    let mut given_up = session.stream("SELECT * FROM lake.orders").await?;
    given_up.next().await;
    drop(given_up);
    lake.set(Fault::Hang);
    let limit = Duration::from_millis(50);
    session.collect_within("SELECT max(amount) FROM lake.orders", limit).await.unwrap_err();

    monitor.flush()?;
    let asking = SessionContext::new();
    register_history(&asking, &engine)?;
    let outcomes = "SELECT outcome, error, count(*) AS queries, \
        round(approx_percentile_cont(duration, 0.95) / 1000.0, 1) AS p95_ms \
        FROM history.queries GROUP BY outcome, error ORDER BY queries DESC";
    show(&asking, "How queries ended", outcomes).await;
    let slowest = "SELECT left(text, 44) AS query, count(*) AS queries, \
        round(avg(duration) / 1000.0, 1) AS ms, round(avg(waiting) / 1000.0, 1) AS waiting_ms, \
        max(critical_source) AS waited_for, sum(rows_in) AS rows_in, max(memory_peak) AS memory \
        FROM history.queries GROUP BY text ORDER BY ms DESC LIMIT 5";
    show(&asking, "The slowest, and for whom they waited", slowest).await;
    let sources = "SELECT source, outcome, sum(calls) AS calls, sum(rows) AS rows, \
        round(max(first_row) / 1000.0, 1) AS first_row_ms, round(sum(critical) / 1000.0) AS critical_ms \
        FROM history.source_calls GROUP BY source, outcome ORDER BY source, outcome";
    show(&asking, "What sources did", sources).await;
    let tenants = "SELECT q.tenant, count(*) AS queries, sum(s.rows) AS rows_of_shop \
        FROM history.queries q JOIN history.source_calls s ON s.query = q.id \
        WHERE s.source = 'shop' AND q.outcome = 'ok' AND q.time > now() - INTERVAL '1 hour' \
        GROUP BY q.tenant ORDER BY 1";
    show(&asking, "Whose queries asked the shop", tenants).await;
    let series = "SELECT source, outcome, max(value) AS calls FROM history.source_calls_total \
        WHERE outcome <> 'ok' GROUP BY source, outcome HAVING max(value) > 0 ORDER BY 1, 2";
    show(&asking, "From series: calls that did not go well", series).await;

    drop((session, asking));
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
