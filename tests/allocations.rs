//! What a host's thread does while it counts and records allocates nothing.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::sync::Arc;

use icecore::model::{Metadata, Series};
use icecore::monitor::{FederationMonitor, MonitorOptions, Phase};
use icecore::{Engine, Options};

fn allocations(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

#[test]
fn counting_and_recording_allocate_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(dir.path(), Options::default()).unwrap();
    let monitor = FederationMonitor::open(Arc::new(engine), MonitorOptions::default()).unwrap();
    let series = |name: &str| Series::new(name, []).unwrap();
    let counter = monitor.counter(&series("host_total"), &Metadata::default()).unwrap();
    let gauge = monitor.gauge(&series("host_level"), &Metadata::default()).unwrap();
    let histogram = monitor.histogram(&series("host_seconds"), &Metadata::default()).unwrap();
    // The test can fail.
    assert!(allocations(|| drop(std::hint::black_box(vec![1_u8]))) > 0);
    let counted = allocations(|| {
        for i in 0..10_000_u32 {
            counter.add(1);
            gauge.set(f64::from(i));
            gauge.add(0.5);
            histogram.record(f64::from(i) * 1e-4);
        }
    });
    assert_eq!((counted, counter.get()), (0, 10_000));

    // Nor do phases and the first calls of a query, once it has begun; its start allocates its
    // record and its fingerprint.
    let (lake, query) = (monitor.source("lake"), monitor.start_query("select a from t"));
    let counted = allocations(|| {
        drop(query.phase(Phase::Plan));
        for _ in 0..4 {
            let call = query.call(&lake);
            call.request();
            call.add_rows(10);
            call.add_bytes(10);
            call.finish();
        }
        query.add_rows_out(1);
    });
    assert_eq!(counted, 0);
    let ended = allocations(|| query.finish());
    assert_eq!(ended, 0);
    let begun = allocations(|| drop(monitor.start_query("select a from t where b = 1")));
    assert!((1..=4).contains(&begun), "{begun}");
}
