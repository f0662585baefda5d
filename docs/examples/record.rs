//! How an engine carries a store inside: record as it runs, look back, close.
//!
//! ```sh
//! cargo run --release --example record
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use icecore::model::{Metadata, MetricKind, Selector};
use icecore::query::{Function, Grouping, Request};
use icecore::{Engine, Options, TimeRange};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::temp_dir().join(format!("icecore-record-{}", std::process::id()));
    let history = Engine::open(&dir, Options::default())?;

    // Resolve the series once, at startup.
    let writer = history.writer("query engine");
    let counter = Metadata { kind: MetricKind::Counter, ..Metadata::default() };
    let mut handles = Vec::new();
    for source in ["lake", "warehouse", "stream"] {
        handles.push(writer.series_named("queries_total", [("source", source)], &counter)?);
    }
    let scrape = writer.scrape_group(&handles);

    // Record: one timestamp, all counters. Here ten minutes in fast motion.
    let now = history.now();
    let mut totals = [0.0, 0.0, 0.0];
    for second in 0..600 {
        for (total, step) in totals.iter_mut().zip([3.0, 1.0, 7.0]) {
            *total += step;
        }
        let at = now.saturating_sub(Duration::from_secs(600 - second));
        // The receipt can be waited on, polled or awaited; the log is durable without it too.
        drop(writer.append_scrape(&scrape, at, totals.to_vec())?);
    }
    history.sync()?;

    // Look back: queries per second and source, by the minute.
    let request = Request {
        step: Some(Duration::from_secs(60)),
        group_by: Grouping::Labels(vec!["source".into()]),
        ..Request::new(
            TimeRange::new(now.saturating_sub(Duration::from_secs(600)), now),
            vec![Function::Rate],
        )
    };
    let answer = history.query(&Selector::parse("queries_total")?, &request)?;
    for group in &answer.groups {
        println!("{:?}: {:?}", group.key, group.values);
    }

    // Everything is synced and in compressed segments when this returns.
    history.close()?;
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
