//! What can be seen of queries and sources while they are under way.

use std::time::Duration;

use icecore::monitor::{Health, MonitorOptions, OutcomeKind, Phase, QueryStart};

use crate::Host;

#[test]
fn a_running_query_shows_where_it_is() {
    let host = Host::with(MonitorOptions { raw_text: true, ..MonitorOptions::default() });
    let (lake, warehouse) = (host.monitor.source("lake"), host.monitor.source("warehouse"));
    let start = QueryStart {
        text: "select a from t where b = 'secret'",
        tenant: "acme",
        user: "ann",
        ..QueryStart::default()
    };
    let query = host.monitor.start_query(start);
    drop(query.phase(Phase::Plan));
    let _execute = query.phase(Phase::Execute);
    let _stream = query.phase(Phase::Stream);
    let call = query.call(&lake);
    call.add_rows(7);
    call.add_bytes(700);
    let _other = query.call(&lake);
    query.call(&warehouse).fail("io");
    query.expect_rows(40);
    query.add_rows_out(10);
    query.memory(500);
    query.memory(300);
    let running = &host.monitor.running()[0];
    assert_eq!(running.phase, Some(Phase::Stream));
    assert_eq!(running.progress, Some(0.25));
    assert_eq!(running.calls_under_way, [("lake".into(), 2)]);
    let so_far = &running.so_far;
    assert_eq!((&*so_far.tenant, &*so_far.user), ("acme", "ann"));
    assert_eq!(so_far.text.as_deref(), Some(start.text));
    assert_eq!(so_far.fingerprint.text(), "select a from t where b = ?");
    assert_eq!((so_far.rows_in, so_far.bytes_in, so_far.memory_peak_bytes), (7, 700, 500));
    assert_eq!(so_far.sources[1].outcome.class(), "io");
    query.cancel();
    assert!(host.monitor.running().is_empty());
}

#[test]
fn without_being_asked_no_raw_text_is_kept() {
    let host = Host::new();
    let query = host.monitor.start_query("select a from t where b = 'secret'");
    let seen = format!("{:?} {query:?}", host.monitor.running());
    assert!(!seen.contains("secret"), "{seen}");
    query.finish();
}

#[test]
fn a_source_tells_what_calls_met() {
    let host = Host::new();
    let lake = host.monitor.source("lake");
    let query = host.monitor.start_query("select a from t");
    lake.set_connections(3, 1);
    lake.connection_failed();
    for _ in 0..8 {
        let call = query.call(&lake);
        call.request();
        call.request();
        call.retry();
        call.cache_hit();
        call.cache_miss();
        std::thread::sleep(Duration::from_millis(1));
        call.add_rows(5);
        call.finish();
    }
    query.call(&lake).fail("io");
    let open = query.call(&lake);
    let metrics = &host.monitor.sources()[0];
    assert_eq!((metrics.calls, metrics.under_way(), metrics.rows), (10, 1, 40));
    assert_eq!((metrics.requests, metrics.retries), (17, 8));
    assert_eq!(metrics.cache_hit_rate(), Some(0.5));
    assert_eq!(metrics.errors, [("io".into(), 1)]);
    assert_eq!(metrics.ended[OutcomeKind::Error as usize], 1);
    assert_eq!(
        (metrics.connections.open, metrics.connections.waiting, metrics.connections.failed),
        (3, 1, 1)
    );
    assert_eq!(metrics.health, Health::Degraded);
    open.cancel();
    query.finish();
    host.flush();
    let metrics = &host.monitor.sources()[0];
    assert_eq!((metrics.response.count(), metrics.first_row.count()), (10, 8));
    assert!(metrics.response.sketch().quantile(0.5) >= 0.00099);
    assert_eq!(crate::last(&host.engine, "source_connections{state=\"open\"}"), 3.0);
    let query = host.monitor.start_query("select a from t");
    (0..5).for_each(|_| query.call(&lake).time_out());
    assert_eq!(host.monitor.sources()[0].health, Health::Down);
    query.call(&lake).finish();
    assert_eq!(host.monitor.sources()[0].health, Health::Degraded);
}
