//! A host's clock drives everything that asks for the time.

use std::sync::Arc;
use std::time::Duration;

use icecore::engine::{Environment, Reason};
use icecore::options::GateOptions;
use icecore::{Engine, Options, SimulatedClock, Timestamp};

use crate::support::fault_fs::SimFs;
use crate::{eventually, handle, options, read, refused, values};

#[test]
fn the_clock_given_is_the_only_one() {
    let start = Timestamp::from_secs(10);
    let clock = Arc::new(SimulatedClock::new(start));
    let environment = Environment { fs: Arc::new(SimFs::new()), clock: Arc::clone(&clock) as _ };
    let gate = GateOptions {
        past: Some(Duration::from_secs(3600)),
        future: Some(Duration::ZERO),
        ..GateOptions::default()
    };
    let every = Some(Duration::from_millis(10));
    let options = Options { gate, self_metrics: every, ..options() };
    let engine = Engine::open_in("/store", options, environment).unwrap();
    assert_eq!(engine.now(), start);

    // A year of hours in no time, each sample stamped by the engine's clock.
    let writer = engine.writer("w");
    let series = handle(&writer, "m");
    let mut expected = Vec::new();
    for hour in 0..8_760 {
        let now = engine.now().nanos();
        assert_eq!(now, start.nanos() + hour * 3_600_000_000_000);
        drop(writer.append_column(&series, vec![now], vec![hour as f64]).unwrap());
        expected.push((now, hour as f64));
        clock.advance(Duration::from_secs(3600));
    }
    engine.sync().unwrap();
    assert_eq!(values(&engine, "m"), expected);
    let too_old = writer.append_column(&series, vec![start.nanos()], vec![0.0]).unwrap();
    assert_eq!(too_old.wait().unwrap().refused, 1);
    assert_eq!(refused(&engine, Reason::TooOld), 1);

    // The engine's own series are stamped by it too.
    let stamps = || read(&engine, "icecore_series").remove("icecore_series").unwrap_or_default();
    let now = engine.now().nanos();
    eventually("a sample at the clock's time", || stamps().last().is_some_and(|s| s.0 == now));
    let count = stamps().len();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(stamps().len(), count, "the clock stands, so there is nothing new");
}
