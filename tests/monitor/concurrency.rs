//! Ten thousand queries at once, from several threads.

use std::sync::Barrier;
use std::thread;

use icecore::monitor::{OutcomeKind, QueryStart};

use crate::Host;

#[test]
fn ten_thousand_queries_run_at_once_and_none_is_lost() {
    let host = Host::with(icecore::monitor::MonitorOptions {
        queue_max: 20_000,
        ..icecore::monitor::MonitorOptions::default()
    });
    let (threads, each) = (8, 1250);
    let sources: Vec<_> = (0..4).map(|i| host.monitor.source(&format!("source {i}"))).collect();
    let all_run = Barrier::new(threads + 1);
    let all_seen = Barrier::new(threads + 1);
    thread::scope(|scope| {
        for thread in 0..threads {
            let (monitor, sources, all_run, all_seen) =
                (&host.monitor, &sources, &all_run, &all_seen);
            scope.spawn(move || {
                let tenant = format!("tenant {}", thread % 3);
                let queries: Vec<_> = (0..each)
                    .map(|i| {
                        let text = format!("select a from t{} where b = {i}", i % 5);
                        let start =
                            QueryStart { text: &text, tenant: &tenant, ..QueryStart::default() };
                        let query = monitor.start_query(start);
                        for source in sources {
                            let call = query.call(source);
                            call.add_rows(1);
                            call.finish();
                        }
                        query
                    })
                    .collect();
                all_run.wait();
                all_seen.wait();
                for (i, query) in queries.into_iter().enumerate() {
                    match i % 5 {
                        0 => query.fail("some"),
                        1 => query.cancel(),
                        2 => drop(query),
                        _ => query.finish(),
                    }
                }
            });
        }
        all_run.wait();
        let running = host.monitor.running();
        assert_eq!(running.len(), threads * each);
        assert!(running.windows(2).all(|pair| pair[0].so_far.id < pair[1].so_far.id));
        assert!(running.iter().all(|query| query.so_far.sources.len() == 4));
        all_seen.wait();
    });
    assert!(host.monitor.running().is_empty());
    let per_kind = (threads * each / 5) as u64;
    let counts = OutcomeKind::ALL.map(|kind| host.monitor.finished(kind));
    assert_eq!(counts, [2 * per_kind, per_kind, per_kind, 0, per_kind]);
    host.flush();
    assert_eq!(host.monitor.dropped(), 0);
    assert_eq!(host.observations("query_duration_seconds"), 10_000);
    assert_eq!(host.observations("query_duration_seconds{outcome=\"abandoned\"}"), per_kind);
    assert_eq!(host.increases("source_rows_total").values().sum::<f64>(), 40_000.0);
    let shares = host.increases("query_source_calls_total");
    assert_eq!((shares.len(), shares.values().sum::<f64>()), (5 * 4, 40_000.0));
}
