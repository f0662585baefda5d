//! However a query ends, it is recorded once, and as what it was.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use icecore::monitor::{
    FederationMonitor, MonitorOptions, OutcomeKind, Phase, QueryGuard, QueryStart,
};

use crate::{Host, engine};

fn counts(monitor: &FederationMonitor) -> [u64; 5] {
    OutcomeKind::ALL.map(|kind| monitor.finished(kind))
}

#[test]
fn every_word_is_an_outcome() {
    let host = Host::new();
    host.monitor.start_query("select 1").finish();
    host.monitor.start_query("select 2").fail("io");
    host.monitor.start_query("select 3").fail("io");
    host.monitor.start_query("select 4").cancel();
    host.monitor.start_query("select 5").time_out();
    drop(host.monitor.start_query("select 6"));
    let failed: Result<(), String> =
        host.monitor.start_query("select 7").finish_with(Err("disk".to_owned()), |error| error);
    assert_eq!(failed, Err("disk".to_owned()));
    assert_eq!(counts(&host.monitor), [1, 3, 1, 1, 1]);
    host.flush();
    let by_outcome = host.increases("queries_total");
    let expected =
        [("abandoned", 1.0), ("cancelled", 1.0), ("error", 3.0), ("ok", 1.0), ("timed_out", 1.0)];
    assert_eq!(by_outcome, expected.map(|(name, count)| (name.to_owned(), count)).into());
    let classes = host.increases("query_errors_total");
    assert_eq!(classes, [("disk".to_owned(), 1.0), ("io".to_owned(), 2.0)].into());
    assert_eq!(host.observations("query_duration_seconds"), 7);
    assert_eq!(host.observations("query_duration_seconds{outcome=\"error\"}"), 3);
}

#[test]
fn a_panic_is_an_error_of_its_own_class() {
    let host = Host::new();
    let lake = host.monitor.source("lake");
    let result = catch_unwind(AssertUnwindSafe(|| {
        let query = host.monitor.start_query("select a from t");
        let _phase = query.phase(Phase::Execute);
        let _call = query.call(&lake);
        panic!("the host's own");
    }));
    assert!(result.is_err());
    // A guard that is made while another panic unwinds is abandoned, not panicked.
    struct Late<'a>(&'a FederationMonitor);
    impl Drop for Late<'_> {
        fn drop(&mut self) {
            drop(self.0.start_query("select b from t"));
        }
    }
    let result = catch_unwind(AssertUnwindSafe(|| {
        let _late = Late(&host.monitor);
        panic!("the host's own");
    }));
    assert!(result.is_err());
    assert_eq!(counts(&host.monitor), [0, 1, 0, 0, 1]);
    host.flush();
    assert_eq!(host.increases("query_errors_total"), [("panic".to_owned(), 1.0)].into());
    assert_eq!(host.increases("source_errors_total"), [("panic,lake".to_owned(), 1.0)].into());
    assert!(host.monitor.running().is_empty());
}

#[test]
fn guards_go_through_threads_and_tasks() {
    fn needs_send<T: Send + 'static>(value: T) -> T {
        value
    }
    let host = Host::new();
    let lake = host.monitor.source("lake");
    let query = needs_send(host.monitor.start_query("select a from t"));
    let phase = needs_send(query.phase(Phase::Execute));
    let parts: Vec<_> = (0..4)
        .map(|_| {
            let (handle, lake) = (needs_send(query.handle()), lake.clone());
            thread::spawn(move || {
                let call = needs_send(handle.call(&lake));
                call.add_rows(10);
                thread::sleep(Duration::from_millis(2));
                call.finish();
                handle.add_rows_out(5);
            })
        })
        .collect();
    parts.into_iter().for_each(|part| part.join().unwrap());
    thread::spawn(move || {
        drop(phase);
        query.finish();
    })
    .join()
    .unwrap();
    host.flush();
    assert_eq!(host.increases("source_calls_total"), [("ok,lake".to_owned(), 4.0)].into());
    assert_eq!(host.increases("source_rows_total"), [("lake".to_owned(), 40.0)].into());
    assert_eq!(host.increases("query_rows_out_total").values().sum::<f64>(), 20.0);
    assert_eq!(host.increases("query_rows_in_total").values().sum::<f64>(), 40.0);
    assert_eq!(host.observations("source_response_seconds{outcome=\"ok\"}"), 4);
}

/// A future that is dropped halfway takes its guards with it.
#[test]
fn a_cancelled_future_is_abandoned() {
    struct Never;
    impl Future for Never {
        type Output = ();
        fn poll(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<()> {
            std::task::Poll::Pending
        }
    }
    async fn work(query: QueryGuard) {
        let _phase = query.phase(Phase::Stream);
        Never.await;
        query.finish();
    }
    let host = Host::new();
    let mut future = Box::pin(work(host.monitor.start_query("select a from t")));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(future.as_mut().poll(&mut context).is_pending());
    assert_eq!(host.monitor.running()[0].phase, Some(Phase::Stream));
    drop(future);
    assert_eq!(counts(&host.monitor), [0, 0, 0, 0, 1]);
    assert!(host.monitor.running().is_empty());
}

#[test]
fn closing_tells_what_still_runs_and_guards_may_come_later() {
    let Host { dir, clock, engine: first, monitor } = Host::new();
    let lake = monitor.source("lake");
    let late = monitor.start_query("select a from t");
    let late_call = late.call(&lake);
    monitor.start_query("select b from t").finish();
    clock.advance(Duration::from_secs(1));
    monitor.close().unwrap();
    late_call.finish();
    late.finish();
    let first = Arc::into_inner(first).expect("nobody else holds the engine");
    first.close().unwrap();
    let again = engine(dir.path(), &clock);
    let by_outcome = crate::increases(&again, "queries_total");
    assert_eq!(by_outcome, [("abandoned".to_owned(), 1.0), ("ok".to_owned(), 1.0)].into());
}

#[test]
fn calls_outlive_their_query_without_harm() {
    let host = Host::new();
    let lake = host.monitor.source("lake");
    let query = host.monitor.start_query("select a from t");
    let (handle, call) = (query.handle(), query.call(&lake));
    query.finish();
    call.add_rows(3);
    call.finish();
    handle.call(&lake).fail("late");
    drop(handle.phase(Phase::Plan));
    host.flush();
    let calls = host.increases("source_calls_total");
    assert_eq!(calls, [("error,lake".to_owned(), 1.0), ("ok,lake".to_owned(), 1.0)].into());
    assert_eq!(counts(&host.monitor), [1, 0, 0, 0, 0]);
}

/// A full queue drops records, and no count.
#[test]
fn overload_drops_records_and_counts_them() {
    let host =
        Host::with(MonitorOptions { queue_max: 1, running_max: 64, ..MonitorOptions::default() });
    let many: Vec<_> = (0..5000).map(|_| host.monitor.start_query("select a from t")).collect();
    assert_eq!(host.monitor.running().len(), 64);
    many.into_iter().for_each(QueryGuard::finish);
    host.flush();
    assert_eq!(counts(&host.monitor), [5000, 0, 0, 0, 0]);
    let dropped = host.monitor.dropped();
    assert!(dropped > 0 && dropped < 5000, "{dropped}");
    assert_eq!(host.observations("query_duration_seconds"), 5000 - dropped);
    assert_eq!(host.increases("monitor_records_dropped_total")[""], dropped as f64);
    assert_eq!(host.increases("monitor_queries_unlisted_total")[""], 5000.0 - 64.0);
    assert_eq!(host.increases("queries_total")["ok"], 5000.0);
}

#[test]
fn what_is_told_of_a_query_is_bounded() {
    let host = Host::with(MonitorOptions {
        tenants_max: 3,
        fingerprints_max: 4,
        sources_max: 2,
        series_max: 20,
        ..MonitorOptions::default()
    });
    let long = "x".repeat(100_000);
    for i in 0..300 {
        let tenant = format!("tenant {i} {long}");
        let text = format!("select column_{i} from t");
        let start =
            QueryStart { text: &text, tenant: &tenant, user: &long, ..QueryStart::default() };
        let query = host.monitor.start_query(start);
        query.call(&host.monitor.source(&format!("source {i} {long}"))).finish();
        query.finish();
    }
    host.flush();
    assert_eq!(host.observations("query_duration_seconds"), 300);
    let values = |label: &str| {
        host.engine.label_values(
            label,
            &icecore::model::Selector::parse("query_duration_seconds").unwrap(),
        )
    };
    assert_eq!(values("tenant").len(), 4);
    assert_eq!(values("fingerprint").len(), 5);
    assert!(values("tenant").contains(&"other".to_owned()));
    assert!(values("tenant").iter().all(|tenant| tenant.len() <= 128));
    let names: Vec<_> = host.monitor.sources().into_iter().map(|source| source.source).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    let overflows = host.increases("monitor_labels_other_total");
    assert_eq!(
        (overflows["tenant"], overflows["fingerprint"], overflows["source"]),
        (297.0, 296.0, 298.0)
    );
}
