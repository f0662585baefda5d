//! A wall clock that jumps moves queries and changes no length.

use std::time::Duration;

use icecore::Timestamp;
use icecore::monitor::Phase;

use crate::{Host, START};

#[test]
fn lengths_are_those_of_the_monotonic_clock() {
    let host = Host::new();
    let lake = host.monitor.source("lake");
    let jumps = [-86_400 * 365 * 20, -3600, 86_400 * 365, 1, 0, -1];
    for (i, jump) in jumps.into_iter().enumerate() {
        host.clock.set(START);
        let query = host.monitor.start_query("select a from t");
        let phase = query.phase(Phase::Execute);
        let call = query.call(&lake);
        host.clock.set(Timestamp(START.0 + jump * 1_000_000_000));
        std::thread::sleep(Duration::from_millis(3));
        let running = &host.monitor.running()[0];
        assert_eq!(running.so_far.started, START);
        let lengths = [
            running.so_far.duration,
            running.so_far.phases.of(Phase::Execute),
            running.so_far.waiting,
            running.so_far.sources[0].longest,
        ];
        for length in lengths {
            let sane = Duration::from_millis(3)..Duration::from_secs(30);
            assert!(sane.contains(&length), "jump {i}: {length:?}");
        }
        call.finish();
        drop(phase);
        query.finish();
        host.monitor.flush().unwrap();
    }
    // All of them are there, and none is absurd.
    host.clock.set(START);
    host.flush();
    assert_eq!(host.observations("query_duration_seconds"), jumps.len() as u64);
    let max =
        icecore::query::Request::new(icecore::TimeRange::ALL, vec![icecore::query::Function::Max]);
    let all = icecore::model::Selector::parse("query_duration_seconds").unwrap();
    let answer = host.engine.query(&all, &max).unwrap();
    assert!(answer.groups.iter().all(|group| (0.003..30.0).contains(&group.values[0][0])));
}
