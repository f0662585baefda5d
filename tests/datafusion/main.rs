//! Hosting in DataFusion: what becomes of queries, and history asked in SQL.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod archive;
mod history;
mod metrics;
mod remote;
mod sessions;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::SessionContext;
use icecore::options::{GateOptions, Maintenance};
use icecore::{Engine, Options};

/// An engine without series of its own, and the directory that it is in.
pub(crate) fn engine() -> (tempfile::TempDir, Arc<Engine>) {
    let dir = tempfile::tempdir().unwrap();
    let gate = GateOptions { past: None, future: None, ..GateOptions::default() };
    let maintenance = Maintenance::ByHand;
    let options = Options { self_metrics: None, gate, maintenance, ..Options::default() };
    let engine = Arc::new(Engine::open(dir.path(), options).unwrap());
    (dir, engine)
}

pub(crate) async fn ask(session: &SessionContext, sql: &str) -> Vec<RecordBatch> {
    let frame = session.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    frame.collect().await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// Rows as people read them, without the frame and the heads of columns.
pub(crate) async fn rows(session: &SessionContext, sql: &str) -> Vec<String> {
    let batches = ask(session, sql).await;
    let text = pretty_format_batches(&batches).unwrap().to_string();
    let lines = text.lines().skip(3).filter(|line| line.starts_with('|'));
    let cells = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        cells.join(" ").trim_end().to_owned()
    };
    lines.map(cells).collect()
}

/// The physical plan of a query.
pub(crate) async fn explain(session: &SessionContext, sql: &str) -> String {
    let batches = ask(session, &format!("EXPLAIN FORMAT INDENT {sql}")).await;
    pretty_format_batches(&batches).unwrap().to_string()
}
