//! A host with a monitor inside: `cargo run --release --example embed`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;
use std::{thread, time::Duration};

use icecore::monitor::{FederationMonitor, MonitorOptions, Phase, QUERIES};
use icecore::query::{EventOrder, EventRequest};
use icecore::{Engine, Options, TimeRange};

fn main() -> icecore::Result<()> {
    let dir = std::env::temp_dir().join(format!("icecore-embed-{}", std::process::id()));
    let engine = Arc::new(Engine::open(&dir, Options::default())?);
    let monitor = FederationMonitor::open(Arc::clone(&engine), MonitorOptions::default())?;
    let (lake, warehouse) = (monitor.source("lake"), monitor.source("warehouse"));
    for customer in 0..20 {
        let query =
            monitor.start_query(&format!("SELECT * FROM orders WHERE customer = {customer}"));
        let _execute = query.phase(Phase::Execute);
        for (source, millis) in [(&lake, customer), (&warehouse, 3)] {
            let call = query.call(source);
            thread::sleep(Duration::from_millis(millis)); // the source's work
            call.add_rows(10);
            call.finish();
        }
        query.finish(); // or fail("io"), cancel(), time_out(); dropped, it is abandoned
    }
    monitor.flush()?;
    let columns = ["text", "duration", "critical_source", "critical"].map(str::to_owned);
    let order = EventOrder::Largest("duration".to_owned());
    let request = EventRequest::new(QUERIES, TimeRange::ALL);
    let request =
        EventRequest { order, limit: Some(3), projection: Some(columns.to_vec()), ..request };
    let slowest = engine.scan_events(&request)?.rows;
    for row in 0..slowest.len() {
        println!("{:?}", [0, 1, 2, 3].map(|column| slowest.value(row, column)));
    }
    monitor.close()
}
