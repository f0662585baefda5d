//! What a monitored host did that has ended.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use icecore::monitor::{FederationMonitor, MonitorOptions, QueryStart};
use icecore::{Engine, Options};

/// Queries of a user, of which those in a row fail, one after another of a source whose name has an
/// escape sequence.
pub(crate) fn history(dir: &Path, user: &str, queries: usize, failing: Range<usize>) {
    let engine = Arc::new(Engine::open(dir, Options::default()).unwrap());
    let monitor = FederationMonitor::open(Arc::clone(&engine), MonitorOptions::default()).unwrap();
    let orders = monitor.source("orders\u{1b}[31m");
    for number in 0..queries {
        let start = QueryStart { user, ..QueryStart::from("SELECT 'x' FROM orders") };
        let query = monitor.start_query(start);
        let call = query.call(&orders);
        std::thread::sleep(Duration::from_millis(2));
        if failing.contains(&number) {
            call.fail("busy");
            query.fail("busy");
        } else {
            call.finish();
            query.finish();
        }
    }
    monitor.close().unwrap();
    Arc::into_inner(engine).unwrap().close().unwrap();
}
