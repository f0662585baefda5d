//! The engine's behaviours, one file each.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a test may fail loudly"
)]

mod append;
mod budget;
mod by_hand;
mod channel;
mod clock;
mod concurrency;
mod delete;
mod disk_full;
mod distributions;
mod durability;
mod events;
mod evidence;
mod gate;
mod later_write_wins;
mod lifecycle;
mod limits;
mod locks;
mod maintenance;
mod probe_fs;
mod queries;
mod read_only;
mod receipts;
mod retention;
mod sampling;
mod self_metrics;
mod series_limit;
mod snapshot;

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use icecore::engine::{Environment, Reason, SeriesHandle};
use icecore::fs::Fs;
use icecore::model::{Metadata, Selector, Series};
use icecore::options::GateOptions;
use icecore::query::SampleRequest;
use icecore::store::StoreKind;
use icecore::{Engine, Options, SimulatedClock, TimeRange, Timestamp, Writer};
use support::fault_fs::SimFs;

/// Every sample by series: timestamp and bits of the value, in the order they came back.
type Samples = BTreeMap<String, Vec<(i64, u64)>>;

/// Takes every timestamp, says nothing of itself, and leaves disk and threads alone.
fn options() -> Options {
    Options {
        store: StoreKind::Flat,
        threads: 1,
        free_bytes_min: 0,
        self_metrics: None,
        gate: GateOptions { past: None, future: None, ..GateOptions::default() },
        ..Options::default()
    }
}

fn open_on(fs: Arc<dyn Fs>, options: Options) -> icecore::Result<Engine> {
    let clock = Arc::new(SimulatedClock::new(Timestamp::from_secs(1_000_000)));
    Engine::open_in(Path::new("/store"), options, Environment { fs, clock })
}

/// An engine in memory, and its file system.
fn in_memory(options: Options) -> (Engine, SimFs) {
    let fs = SimFs::new();
    (open_on(Arc::new(fs.clone()), options).unwrap(), fs)
}

fn handle(writer: &Writer, series: &str) -> SeriesHandle {
    writer.series(&Series::parse(series).unwrap(), &Metadata::default()).unwrap()
}

fn read(engine: &Engine, selector: &str) -> Samples {
    let request = SampleRequest::new(TimeRange::ALL);
    let found = engine.samples(&Selector::parse(selector).unwrap(), &request).unwrap();
    let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let pairs = found.into_iter().map(|found| {
        let samples = found.timestamps.iter().copied().zip(bits(&found.values)).collect();
        (found.series.to_string(), samples)
    });
    pairs.collect()
}

/// The values of one series, whole numbers in every test that asks.
fn values(engine: &Engine, series: &str) -> Vec<(i64, f64)> {
    let found = read(engine, series).remove(series).unwrap_or_default();
    found.into_iter().map(|(timestamp, bits)| (timestamp, f64::from_bits(bits))).collect()
}

fn refused(engine: &Engine, reason: Reason) -> u64 {
    let all = engine.refusals();
    all.into_iter().find(|&(found, _)| found == reason).unwrap().1
}

/// Asks again and again, for ten seconds at most.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within ten seconds");
        std::thread::sleep(Duration::from_millis(2));
    }
}
