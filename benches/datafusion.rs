//! What monitoring a DataFusion session costs: the same queries, monitored and not, in pairs.
//!
//! Each pair runs a query in both sessions, in turns first; what is told is the median of the pairs'
//! ratios, and the ratio of all time. `cargo bench --profile datafusion --features datafusion --bench
//! datafusion [-- PAIRS]`; built like that, DataFusion is not optimised and neither is what listens
//! to it much, so that it is the ratio that counts.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark"
)]

#[expect(dead_code, reason = "tests ask for more faults")]
#[path = "../tests/datafusion/remote.rs"]
mod remote;

use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::{Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use icecore::integration::datafusion::MonitoredSession;
use icecore::monitor::{FederationMonitor, MonitorOptions};
use icecore::{Engine, Options};
use remote::{Fault, Remote, federating};

const PAIRS: usize = 60;

fn table(names: [&str; 2], rows: i64, of: i64) -> Vec<RecordBatch> {
    let fields = names.map(|name| Field::new(name, DataType::Int64, false));
    let schema = Arc::new(Schema::new(fields.to_vec()));
    let all: Vec<i64> = (0..rows).collect();
    let batch = |part: &[i64]| {
        let others = Int64Array::from(part.iter().map(|id| id % of).collect::<Vec<_>>());
        let ids = Int64Array::from(part.to_vec());
        RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(ids), Arc::new(others)]).unwrap()
    };
    all.chunks(8192).map(batch).collect()
}

const QUERIES: [(&str, &str); 5] = [
    ("point", "SELECT * FROM regions WHERE region = 3"),
    (
        "local aggregate",
        "SELECT amount, count(*), sum(id) FROM sales GROUP BY amount ORDER BY 3 DESC LIMIT 10",
    ),
    ("one source", "SELECT customer, count(*) FROM lake.orders GROUP BY customer"),
    (
        "join of three",
        "SELECT r.zone, count(*) FROM lake.orders o JOIN shop.customers c ON o.customer = c.id \
         JOIN regions r ON c.region = r.region GROUP BY r.zone",
    ),
    ("rows out", "SELECT id, amount FROM sales WHERE amount < 500"),
];

async fn run(session: &SessionContext, sql: &str) -> Duration {
    let began = Instant::now();
    let frame = session.sql(sql).await.unwrap();
    let rows = frame.collect().await.unwrap();
    let length = began.elapsed();
    drop(rows);
    length
}

async fn run_monitored(session: &MonitoredSession, sql: &str) -> Duration {
    let began = Instant::now();
    let rows = session.collect(sql).await.unwrap();
    let length = began.elapsed();
    drop(rows);
    length
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

async fn measure(pairs: usize) {
    let dir = tempfile::tempdir().unwrap();
    let engine = Arc::new(Engine::open(dir.path(), Options::default()).unwrap());
    let monitor = FederationMonitor::open(Arc::clone(&engine), MonitorOptions::default()).unwrap();
    let session = federating();
    let lake = Remote::new("lake", &[("orders", table(["id", "customer"], 200_000, 1000))]);
    let shop = Remote::new("shop", &[("customers", table(["id", "region"], 1000, 8))]);
    lake.register(&session).await;
    shop.register(&session).await;
    for (name, batches) in [
        ("regions", table(["region", "zone"], 8, 3)),
        ("sales", table(["id", "amount"], 400_000, 1000)),
    ] {
        let held = MemTable::try_new(batches[0].schema(), vec![batches]).unwrap();
        session.register_table(name, Arc::new(held)).unwrap();
    }
    let monitored = MonitoredSession::new(&session, Arc::new(monitor));
    println!("{pairs} pairs each\n{:<28}{:>10}{:>12}{:>12}", "", "ms", "median", "all time");
    let mut totals = (0.0, 0.0);
    for (fault, faults) in
        [(Fault::None, ""), (Fault::Slow(Duration::from_millis(5)), ", sources take 5 ms")]
    {
        lake.set(fault);
        shop.set(fault);
        for (name, sql) in QUERIES {
            if fault != Fault::None && !sql.contains("lake") {
                continue;
            }
            for _ in 0..3 {
                run(&session, sql).await;
                run_monitored(&monitored, sql).await;
            }
            let (mut ratios, mut plain, mut listened) = (Vec::new(), Vec::new(), 0.0);
            for pair in 0..pairs {
                let (one, other) = if pair % 2 == 0 {
                    let one = run(&session, sql).await;
                    (one, run_monitored(&monitored, sql).await)
                } else {
                    let other = run_monitored(&monitored, sql).await;
                    (run(&session, sql).await, other)
                };
                ratios.push(other.as_secs_f64() / one.as_secs_f64());
                plain.push(one.as_secs_f64());
                listened += other.as_secs_f64();
            }
            let all: f64 = plain.iter().sum();
            totals = (totals.0 + all, totals.1 + listened);
            let (millis, ratio) = (median(plain) * 1e3, median(ratios));
            let name = format!("{name}{faults}");
            println!("{name:<28}{millis:>10.2}{ratio:>12.4}{:>12.4}", listened / all);
        }
    }
    println!("{:<28}{:>10}{:>12}{:>12.4}", "all", "", "", totals.1 / totals.0);
}

fn main() {
    let pairs = std::env::args().filter_map(|argument| argument.parse().ok()).next();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(measure(pairs.unwrap_or(PAIRS)));
}
