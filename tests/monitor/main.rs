//! The federation monitor, from outside: what becomes of queries, and what is left of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod abandoned;
mod alerts;
mod clock;
mod concurrency;
mod events;
mod lifecycle;
mod live;
mod series;
#[cfg(feature = "webhook")]
mod webhook;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use icecore::engine::Environment;
use icecore::model::{Selector, Series};
use icecore::monitor::{FederationMonitor, MonitorOptions};
use icecore::options::GateOptions;
use icecore::query::{Function, Grouping, Request, SampleRequest};
use icecore::{Engine, Options, SimulatedClock, TimeRange, Timestamp};

pub(crate) struct Host {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) clock: Arc<SimulatedClock>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) monitor: FederationMonitor,
}

pub(crate) const START: Timestamp = Timestamp::from_secs(1_700_000_000);

pub(crate) fn engine(dir: &std::path::Path, clock: &Arc<SimulatedClock>) -> Arc<Engine> {
    let gate = GateOptions { past: None, future: None, ..GateOptions::default() };
    let options = Options { self_metrics: None, gate, threads: 1, ..Options::default() };
    let clock: Arc<dyn icecore::Clock> = Arc::clone(clock) as _;
    let environment = Environment { clock, ..Environment::default() };
    Arc::new(Engine::open_in(dir, options, environment).unwrap())
}

impl Host {
    pub(crate) fn new() -> Self {
        Self::with(MonitorOptions::default())
    }

    pub(crate) fn with(options: MonitorOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(SimulatedClock::new(START));
        let engine = engine(dir.path(), &clock);
        let monitor = FederationMonitor::open(Arc::clone(&engine), options).unwrap();
        Self { dir, clock, engine, monitor }
    }

    /// What is written when a second has passed on the engine's clock.
    pub(crate) fn flush(&self) {
        self.clock.advance(Duration::from_secs(1));
        self.monitor.flush().unwrap();
    }

    /// The increase of each series of a metric over all time, by its labels.
    pub(crate) fn increases(&self, metric: &str) -> BTreeMap<String, f64> {
        increases(&self.engine, metric)
    }

    /// Observations of the selected distributions, together.
    pub(crate) fn observations(&self, selector: &str) -> u64 {
        let request = Request {
            group_by: Grouping::Labels(Vec::new()),
            ..Request::new(TimeRange::ALL, vec![Function::Count])
        };
        let answer = self.engine.query(&Selector::parse(selector).unwrap(), &request).unwrap();
        answer.groups.iter().map(|group| group.values[0][0] as u64).sum()
    }

    pub(crate) fn series(&self, selector: &str) -> Vec<Arc<Series>> {
        let selector = Selector::parse(selector).unwrap();
        let found = self.engine.series(&selector, TimeRange::ALL).unwrap();
        found.into_iter().map(|(_, series)| series).collect()
    }
}

pub(crate) fn increases(engine: &Engine, metric: &str) -> BTreeMap<String, f64> {
    let selector = Selector::parse(metric).unwrap();
    let request = Request::new(TimeRange::ALL, vec![Function::Increase]);
    let answer = engine.query(&selector, &request).unwrap();
    let named = answer.groups.iter().map(|group| {
        let icecore::query::GroupKey::Series(series) = &group.key else { panic!("by series") };
        let labels: Vec<&str> = series.labels().map(|(_, value)| value).collect();
        (labels.join(","), group.values[0][0])
    });
    named.filter(|(_, value)| *value > 0.0).collect()
}

pub(crate) fn last(engine: &Engine, selector: &str) -> f64 {
    let selector = Selector::parse(selector).unwrap();
    let found = engine.last_samples(&selector, &SampleRequest::new(TimeRange::ALL)).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].sample.value
}
