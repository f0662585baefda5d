//! A store whose maintenance is the test's: small partitions, two tiers, a clock that stands.

use std::sync::Arc;
use std::time::Duration;

use icecore::engine::{Environment, MaintenanceStep};
use icecore::options::{Keep, Maintenance, Policy};
use icecore::{Engine, Options, SimulatedClock, Tier, Timestamp};

use crate::support::fault_fs::SimFs;

pub(crate) const SECOND: i64 = 1_000_000_000;
/// Seconds of a partition.
pub(crate) const PARTITION: i64 = 600;

/// A file system in memory, and the clock.
pub(crate) struct Store {
    pub(crate) fs: SimFs,
    pub(crate) clock: Arc<SimulatedClock>,
}

pub(crate) fn store() -> Store {
    Store { fs: SimFs::new(), clock: Arc::new(SimulatedClock::new(Timestamp(0))) }
}

impl Store {
    pub(crate) fn open(&self, options: Options) -> Engine {
        let clock = Arc::clone(&self.clock) as _;
        let environment = Environment { fs: Arc::new(self.fs.clone()), clock };
        Engine::open_in("/store", options, environment).unwrap()
    }
}

/// Ten minutes a partition, tiers of a minute and ten, everything kept, nothing done unasked.
pub(crate) fn options() -> Options {
    Options {
        partition: Duration::from_secs(PARTITION as u64),
        maintenance: Maintenance::ByHand,
        policy: Policy {
            tiers: vec![Tier::MINUTE, Tier::FIVE_MINUTES],
            keep: Keep::FOREVER,
            lateness: Duration::from_secs(60),
            ..Policy::default()
        },
        ..crate::options()
    }
}

/// Maintains until nothing is due. Nothing may fail.
pub(crate) fn drain(engine: &Engine) -> Vec<MaintenanceStep> {
    let mut steps = Vec::new();
    while let Some(step) = engine.maintain().unwrap() {
        assert!(!matches!(step, MaintenanceStep::Failed { .. }), "{step:?}");
        steps.push(step);
        assert!(steps.len() < 1000, "it does not end: {:?}", &steps[990..]);
    }
    steps
}
