//! Spans of a host, followed by the monitor.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use icecore::integration::tracing::{MonitorLayer, TARGET};
use icecore::monitor::{FederationMonitor, MonitorOptions, OutcomeKind, Phase};
use icecore::{Engine, Options};
use tracing::field::Empty;
use tracing::info_span;
use tracing_subscriber::layer::SubscriberExt;

fn followed(work: impl FnOnce(&FederationMonitor)) -> (tempfile::TempDir, Arc<FederationMonitor>) {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(dir.path(), Options { threads: 1, ..Options::default() }).unwrap();
    let monitor = FederationMonitor::open(Arc::new(engine), MonitorOptions::default()).unwrap();
    let monitor = Arc::new(monitor);
    let layers = tracing_subscriber::registry().with(MonitorLayer::new(Arc::clone(&monitor)));
    tracing::subscriber::with_default(layers, || work(&monitor));
    (dir, monitor)
}

fn counts(monitor: &FederationMonitor) -> [u64; 5] {
    OutcomeKind::ALL.map(|kind| monitor.finished(kind))
}

#[test]
fn spans_are_queries_phases_and_calls() {
    let (_dir, monitor) = followed(|monitor| {
        let text = "select a from t where b = 'secret'";
        let query = info_span!(
            target: TARGET, "query", text, tenant = %"acme", rows_out = Empty, memory = Empty, outcome = Empty
        );
        let _in_query = query.enter();
        // A span of another target, and one that is none of ours, are passed over.
        let _other = info_span!("query", text = "not followed").entered();
        let _unknown = info_span!(target: TARGET, "unknown").entered();
        let _execute = info_span!(target: TARGET, "execute").entered();
        let call = info_span!(
            target: TARGET, "call", source = "lake", rows = 5, bytes = Empty, outcome = Empty, error = Empty
        );
        call.record("bytes", 50_u64);
        let failed = info_span!(target: TARGET, "call", source = "lake", error = Empty);
        failed.record("error", "io");
        query.record("rows_out", 2);
        query.record("memory", 900);
        let running = monitor.running();
        assert_eq!(running.len(), 1);
        let [running] = &running[..] else { unreachable!() };
        assert_eq!(running.phase, Some(Phase::Execute));
        assert_eq!(running.calls_under_way, [("lake".into(), 2)]);
        let so_far = &running.so_far;
        assert_eq!(so_far.fingerprint.text(), "select a from t where b = ?");
        assert_eq!((&*so_far.tenant, so_far.rows_out, so_far.memory_peak_bytes), ("acme", 2, 900));
        assert_eq!((so_far.rows_in, so_far.bytes_in), (5, 50));
        call.record("outcome", "ok");
        query.record("outcome", "ok");
    });
    assert_eq!(counts(&monitor), [1, 0, 0, 0, 0]);
    let [lake] = &monitor.sources()[..] else { panic!("one source") };
    assert_eq!(lake.ended, [1, 1, 0, 0, 0]);
    assert_eq!(lake.errors, [("io".into(), 1)]);
}

#[test]
fn a_span_without_an_outcome_is_abandoned_and_a_panic_an_error() {
    let (_dir, monitor) = followed(|_| {
        for outcome in ["ok", "cancelled", "timed_out", "error", "nonsense"] {
            drop(info_span!(target: TARGET, "query", text = "select 1", outcome));
        }
        drop(info_span!(target: TARGET, "query", text = "select 1"));
        // A call outside of a query is nobody's.
        drop(info_span!(target: TARGET, "call", source = "lake"));
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _query = info_span!(target: TARGET, "query", text = "select 1").entered();
            panic!("the host's own");
        }));
        assert!(panicked.is_err());
    });
    assert_eq!(counts(&monitor), [1, 2, 1, 1, 2]);
    assert!(monitor.sources().is_empty());
}
