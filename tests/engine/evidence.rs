//! What an answer tells of samples that came late or did not come in.

use std::sync::Arc;
use std::time::Duration;

use icecore::engine::Environment;
use icecore::model::Selector;
use icecore::options::GateOptions;
use icecore::query::{Function, Loss, Request};
use icecore::{Engine, Options, SimulatedClock, TimeRange, Timestamp};

use crate::support::fault_fs::SimFs;
use crate::{eventually, handle, options, values};

const NOW: Timestamp = Timestamp::from_secs(1_000_000);

#[test]
fn losses_of_the_range_are_told_by_reason() {
    let clock = Arc::new(SimulatedClock::new(NOW));
    let environment = Environment { fs: Arc::new(SimFs::new()), clock: Arc::clone(&clock) as _ };
    let options = Options {
        self_metrics: Some(Duration::from_millis(10)),
        gate: GateOptions { past: Some(Duration::from_secs(100)), ..GateOptions::default() },
        ..options()
    };
    let engine = Engine::open_in("/store", options, environment).unwrap();
    // The counters' first values stand, then the clock moves on.
    eventually("counters", || !values(&engine, "icecore_samples_late_total").is_empty());
    clock.advance(Duration::from_secs(10));
    let writer = engine.writer("w");
    let series = handle(&writer, "m");
    let seconds = [9, 5, 7, 8, -500, -600];
    let times: Vec<i64> = seconds.iter().map(|s| NOW.0 + s * 1_000_000_000).collect();
    let count = times.len();
    writer.append_column(&series, times, vec![1.0; count]).unwrap().wait().unwrap();

    let hour = TimeRange::new(Timestamp(NOW.0), Timestamp::from_secs(1_003_600));
    let request = Request::new(hour, vec![Function::Count]);
    let selector = Selector::parse("m").unwrap();
    let mut losses = None;
    eventually("losses", || {
        losses = engine.query(&selector, &request).unwrap().evidence.losses;
        losses.as_ref().is_some_and(|losses| losses.len() == 2)
    });
    let told = |reason: &str, samples| Loss { reason: reason.to_owned(), samples };
    assert_eq!(losses.unwrap(), [told("late", 3.0), told("too_old", 2.0)]);

    let before = TimeRange::new(Timestamp(0), Timestamp(NOW.0));
    let earlier = Request { range: before, ..request.clone() };
    assert_eq!(engine.query(&selector, &earlier).unwrap().evidence.losses, Some(vec![]));
    let quiet = Request { losses: false, ..request };
    assert_eq!(engine.query(&selector, &quiet).unwrap().evidence.losses, None);
}
