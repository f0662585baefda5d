//! A host that runs: its report while it does, and the one of what it leaves.

use std::sync::Arc;
use std::time::Duration;

use icecore::monitor::{FederationMonitor, MonitorOptions, OutcomeKind, QueryStart};
use icecore::report::Report;
use icecore::{Engine, Options, TimeRange};

fn run(monitor: &FederationMonitor) {
    let (lake, orders) = (monitor.source("lake"), monitor.source("orders"));
    for number in 0..40 {
        let start = QueryStart { tenant: "shop", ..QueryStart::from("SELECT 1 FROM lake") };
        let query = monitor.start_query(start);
        let call = query.call(&lake);
        call.add_rows(7);
        std::thread::sleep(Duration::from_millis(1));
        call.finish();
        if number % 10 == 3 {
            query.call(&orders).fail("refused");
            query.fail("refused");
        } else if number == 20 {
            query.cancel();
        } else if number == 21 {
            drop(query);
        } else {
            query.finish();
        }
    }
}

#[test]
fn a_running_host_and_what_it_leaves_tell_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Arc::new(Engine::open(dir.path(), Options::default()).unwrap());
    let monitor = FederationMonitor::open(Arc::clone(&engine), MonitorOptions::default()).unwrap();
    run(&monitor);
    monitor.flush().unwrap();
    let live = Report::of(&engine, TimeRange::ALL).unwrap();
    assert_eq!(OutcomeKind::ALL.map(|kind| live.queries.of(kind)), [34, 4, 1, 0, 1]);
    for kind in OutcomeKind::ALL {
        assert_eq!(live.queries.of(kind), monitor.finished(kind), "{kind}");
    }
    assert_eq!(live.cost.counted, 40.0);
    let names: Vec<&str> = live.sources.iter().map(|source| &*source.name).collect();
    assert_eq!(names, ["lake", "orders"]);
    assert_eq!(live.sources[0].all.rows, 280);
    assert_eq!(live.sources[1].all.classes.get("refused"), Some(&4));
    assert_eq!(live.fingerprints.len(), 1);
    assert_eq!(&*live.slowest[0].text, "SELECT ? FROM lake");

    monitor.close().unwrap();
    Arc::into_inner(engine).unwrap().close().unwrap();
    let options = Options { read_only: true, self_metrics: None, ..Options::default() };
    let engine = Engine::open(dir.path(), options).unwrap();
    let left = Report::of(&engine, TimeRange::ALL).unwrap();
    assert_eq!(left.grid, live.grid);
    assert_eq!(left.queries, live.queries);
    assert_eq!(left.windows, live.windows);
    assert_eq!(left.sources, live.sources);
    assert_eq!(left.slowest, live.slowest);
    assert_eq!(left.broken_off, live.broken_off);
}
