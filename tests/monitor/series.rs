//! What finished queries become in series, over restarts too.

use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use icecore::model::{Metadata, Series};
use icecore::monitor::{FederationMonitor, MonitorOptions, QueryStart};

use crate::{Host, engine, increases};

#[test]
fn a_query_is_one_observation_with_its_labels() {
    let host = Host::new();
    let (lake, warehouse) = (host.monitor.source("lake"), host.monitor.source("warehouse"));
    let start =
        QueryStart { text: "select a from t where b = 7", tenant: "acme", ..QueryStart::default() };
    let query = host.monitor.start_query(start);
    let fingerprint = query.fingerprint().name();
    let slow = query.call(&warehouse);
    query.call(&lake).finish();
    sleep(Duration::from_millis(5));
    slow.finish();
    sleep(Duration::from_millis(2));
    query.add_cpu(Duration::from_millis(1500));
    query.finish();
    host.flush();
    let durations = host.series("query_duration_seconds");
    assert_eq!(durations.len(), 1);
    let labels: Vec<_> = durations[0].labels().collect();
    let expected = [
        ("fingerprint", fingerprint.as_str()),
        ("outcome", "ok"),
        ("source", "lake,warehouse"),
        ("tenant", "acme"),
    ];
    assert_eq!(labels, expected);
    let info = host.series("fingerprint_info");
    assert_eq!(info[0].label("text"), "select a from t where b = ?");
    let critical = host.increases("query_source_critical_seconds_total");
    let key = |source: &str| format!("{fingerprint},{source}");
    assert!(critical[&key("warehouse")] >= 0.005, "{critical:?}");
    assert!(!critical.contains_key(&key("lake")) || critical[&key("lake")] < 0.001);
    let engine_time = host.increases("query_engine_seconds_total");
    assert!(engine_time[&fingerprint] >= 0.002, "{engine_time:?}");
    assert_eq!(host.increases("query_cpu_seconds_total")["acme"], 1.5);
}

/// A span that is flushed twice is written as a whole the second time; a run that begins within
/// the interval of another adds to it.
#[test]
fn observations_are_counted_once_over_flushes_and_restarts() {
    let Host { dir, clock, engine: first, monitor } = Host::new();
    for _ in 0..3 {
        monitor.start_query("select a from t").finish();
        clock.advance(Duration::from_millis(10));
        monitor.flush().unwrap();
    }
    monitor.close().unwrap();
    Arc::into_inner(first).unwrap().close().unwrap();
    clock.advance(Duration::from_millis(10));
    let second = engine(dir.path(), &clock);
    let monitor = FederationMonitor::open(Arc::clone(&second), MonitorOptions::default()).unwrap();
    for seconds in [1, 12, 25] {
        monitor.start_query("select a from t").finish();
        clock.advance(Duration::from_secs(seconds));
        monitor.flush().unwrap();
    }
    let counter = Series::new("host_total", []).unwrap();
    let counter = monitor.counter(&counter, &Metadata::default()).unwrap();
    counter.add(5);
    clock.advance(Duration::from_secs(1));
    let host = Host { dir, clock, engine: second, monitor };
    host.flush();
    assert_eq!(host.observations("query_duration_seconds"), 6);
    assert_eq!(increases(&host.engine, "queries_total")["ok"], 6.0);
    assert_eq!(host.increases("host_total")[""], 5.0);
}
