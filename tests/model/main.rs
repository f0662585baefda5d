//! Random operations on an engine, with maintenance, deletes, reopenings and kills, against a plain
//! map.
//!
//! Each case is one seed; a failure prints it. `ICECORE_MODEL_SEEDS=1000..2000` runs others.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "tests"
)]

mod events;
mod retention;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use icecore::engine::{
    CompactScope, Environment, MaintenanceStep, Receipt, ScrapeHandle, SeriesHandle, Writer,
};
use icecore::fs::{Fs, RealFs};
use icecore::model::{Metadata, Selector, Series, is_stale};
use icecore::options::{Durability, GateOptions, Maintenance, Policy};
use icecore::query::{CancelToken, Function, Request, SampleRequest};
use icecore::store::StoreKind;
use icecore::{Engine, Options, SimulatedClock, Tier, TimeRange, Timestamp};
use rand::prelude::*;
use rand::rngs::StdRng;
use support::fault_fs::SimFs;

const SERIES: usize = 12;
/// Nanoseconds that samples fall into: several partitions of one minute.
const SPAN: i64 = 600_000_000_000;

const SELECTORS: [&str; 4] =
    ["{}", "up", r#"requests_total{zone="a"}"#, r#"{instance=~"host-[01]"}"#];

/// Series → timestamp → bits of the value: what the engine must answer.
type Reference = BTreeMap<usize, BTreeMap<i64, u64>>;

struct Case {
    rng: StdRng,
    fs: CaseFs,
    store: StoreKind,
    clock: Arc<SimulatedClock>,
    engine: Option<Engine>,
    writer: Option<Writer>,
    handles: Vec<SeriesHandle>,
    groups: Vec<(Vec<usize>, ScrapeHandle)>,
    reference: Reference,
    receipts: Vec<Receipt>,
    newest: i64,
}

enum CaseFs {
    Simulated(SimFs),
    Real(tempfile::TempDir),
}

fn series(i: usize) -> Series {
    Series::new(
        ["requests_total", "latency_seconds", "up"][i % 3],
        [("instance", format!("host-{}", i / 3).as_str()), ("zone", ["a", "b"][i % 2])],
    )
    .unwrap()
}

impl Case {
    fn new(seed: u64, fs: CaseFs, store: StoreKind) -> Self {
        let clock = Arc::new(SimulatedClock::new(Timestamp(SPAN)));
        let rng = StdRng::seed_from_u64(seed);
        let mut case = Self {
            rng,
            fs,
            store,
            clock,
            engine: None,
            writer: None,
            handles: Vec::new(),
            groups: Vec::new(),
            reference: Reference::new(),
            receipts: Vec::new(),
            newest: 0,
        };
        case.open();
        case
    }

    fn open(&mut self) {
        let (fs, path): (Arc<dyn Fs>, &Path) = match &self.fs {
            CaseFs::Simulated(fs) => (Arc::new(fs.clone()), Path::new("/store")),
            CaseFs::Real(dir) => (Arc::new(RealFs), dir.path()),
        };
        let options = Options {
            store: self.store,
            partition: Duration::from_secs(60),
            // Small, so that heads freeze by themselves and chunks are many.
            head_bytes_max: 1 << 16,
            chunk_samples_max: 16,
            segment_bytes_target: 4096,
            log_file_bytes_max: 1 << 16,
            freeze_on_close: self.rng.random(),
            free_bytes_min: 0,
            threads: 1,
            self_metrics: None,
            gate: GateOptions { past: None, future: None, ..GateOptions::default() },
            compacted_chunk_samples_max: 64,
            maintenance: Maintenance::ByHand,
            policy: Policy {
                tiers: [10, 60].map(|s| Tier::of(Duration::from_secs(s)).unwrap()).to_vec(),
                lateness: Duration::from_secs(20),
                ..Policy::default()
            },
            ..Options::default()
        };
        let environment = Environment { fs, clock: Arc::clone(&self.clock) as _ };
        let engine = Engine::open_in(path, options, environment).unwrap();
        let writer = engine.writer("model").with_durability(Durability::Logged);
        self.handles =
            (0..SERIES).map(|i| writer.series(&series(i), &Metadata::default()).unwrap()).collect();
        self.groups = (0..4)
            .map(|_| {
                let size = self.rng.random_range(1..=SERIES);
                let mut members: Vec<usize> = (0..SERIES).collect();
                members.shuffle(&mut self.rng);
                members.truncate(size);
                let handles: Vec<_> = members.iter().map(|&i| self.handles[i].clone()).collect();
                let group = writer.scrape_group(&handles);
                (members, group)
            })
            .collect();
        self.engine = Some(engine);
        self.writer = Some(writer);
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    fn step(&mut self) {
        match self.rng.random_range(0..1000) {
            0..600 => self.scrapes(),
            600..850 => self.column(),
            850..880 => self.engine().sync().unwrap(),
            880..910 => self.engine().freeze().unwrap(),
            910..925 => self.reopen(),
            925..935 => self.kill(),
            935..955 => self.maintain(),
            955..958 => self.compact(),
            958..965 => self.delete(),
            _ => self.check_some(),
        }
    }

    /// Mostly ascending, sometimes late, sometimes again.
    fn timestamp(&mut self) -> i64 {
        if self.rng.random_bool(0.85) {
            self.newest += self.rng.random_range(1..2_000_000_000);
        }
        match self.rng.random_range(0..10) {
            0 => self.rng.random_range(0..=self.newest),
            _ => self.newest,
        }
    }

    fn value(&mut self) -> f64 {
        match self.rng.random_range(0..20) {
            0 => f64::from_bits(self.rng.random()),
            1 => f64::from_bits(0x7ff0_0000_0000_0002),
            2 => [f64::NAN, -0.0, f64::INFINITY, f64::NEG_INFINITY][self.rng.random_range(0..4)],
            3..10 => 1.0,
            _ => f64::from(self.rng.random_range(-1000..100_000)) / 10.0,
        }
    }

    fn note(&mut self, series: usize, timestamp: i64, value: f64) {
        self.reference.entry(series).or_default().insert(timestamp, value.to_bits());
    }

    fn scrapes(&mut self) {
        let group = self.rng.random_range(0..self.groups.len());
        for _ in 0..self.rng.random_range(1..20) {
            let timestamp = self.timestamp();
            let members = self.groups[group].0.clone();
            let values: Vec<f64> = members.iter().map(|_| self.value()).collect();
            for (&series, &value) in members.iter().zip(&values) {
                self.note(series, timestamp, value);
            }
            let writer = self.writer.as_ref().unwrap();
            let receipt =
                writer.append_scrape(&self.groups[group].1, Timestamp(timestamp), values).unwrap();
            self.receipts.push(receipt);
        }
    }

    fn column(&mut self) {
        let series = self.rng.random_range(0..SERIES);
        let length = self.rng.random_range(1..60);
        let timestamps: Vec<i64> = (0..length).map(|_| self.timestamp()).collect();
        let values: Vec<f64> = (0..length).map(|_| self.value()).collect();
        for (&timestamp, &value) in timestamps.iter().zip(&values) {
            self.note(series, timestamp, value);
        }
        let writer = self.writer.as_ref().unwrap();
        let receipt = writer.append_column(&self.handles[series], timestamps, values).unwrap();
        self.receipts.push(receipt);
    }

    /// Everything appended is logged: from here on it survives the process.
    fn settle(&mut self) {
        for receipt in self.receipts.drain(..) {
            assert_eq!(receipt.wait().unwrap().refused, 0);
        }
    }

    fn reopen(&mut self) {
        self.settle();
        self.engine.take().unwrap().close().unwrap();
        self.open();
        self.check_all();
    }

    /// The process dies: nothing is closed, the power stays on.
    fn kill(&mut self) {
        self.settle();
        if let CaseFs::Simulated(fs) = &self.fs {
            let restarted = fs.restart();
            // The old engine goes on in the dead process's own file system.
            drop(self.engine.take());
            self.fs = CaseFs::Simulated(restarted);
            self.open();
            self.check_all();
        }
    }

    /// A few steps, or as many as there are; none changes an answer.
    fn maintain(&mut self) {
        self.clock.set(Timestamp(self.newest));
        let steps = if self.rng.random() { self.rng.random_range(1..4) } else { usize::MAX };
        for _ in 0..steps {
            let Some(step) = self.engine().maintain().unwrap() else { break };
            assert!(!matches!(step, MaintenanceStep::Failed { .. }), "{step:?}");
        }
        self.check_some();
    }

    fn compact(&mut self) {
        self.clock.set(Timestamp(self.newest));
        let cancel = CancelToken::new();
        self.engine()
            .compact(CompactScope::All, &cancel, &mut |step| {
                assert!(!matches!(step, MaintenanceStep::Failed { .. }), "{step:?}");
            })
            .unwrap();
        self.settle();
        self.check_all();
    }

    fn delete(&mut self) {
        self.settle();
        let range = self.range();
        let selector = Selector::parse(SELECTORS[self.rng.random_range(0..4)]).unwrap();
        self.engine().delete(&selector, range).unwrap();
        for (&i, samples) in &mut self.reference {
            if selector.accepts(&series(i)) {
                samples.retain(|&t, _| !range.contains(Timestamp(t)));
            }
        }
        self.check_all();
    }

    fn range(&mut self) -> TimeRange {
        let (a, b) =
            (self.rng.random_range(0..=self.newest), self.rng.random_range(0..=self.newest));
        TimeRange::new(Timestamp(a.min(b)), Timestamp(a.max(b) + 1))
    }

    fn check_some(&mut self) {
        self.settle();
        let mut range = self.range();
        let selector = SELECTORS[self.rng.random_range(0..4)];
        self.check_samples(selector, range);
        let step = match self.rng.random_range(0..3) {
            0 => None,
            1 => Some(Duration::from_nanos(self.rng.random_range(1_000_000_000..=200_000_000_000))),
            // What tiers can answer.
            _ => {
                let seconds = [10, 20, 60, 120][self.rng.random_range(0..4)];
                let step = seconds * 1_000_000_000;
                range.start.0 -= range.start.0.rem_euclid(step);
                range.end.0 += step - range.end.0.rem_euclid(step);
                Some(Duration::from_secs(seconds as u64))
            }
        };
        self.check_windows(selector, range, step);
    }

    fn check_all(&self) {
        self.check_samples("{}", TimeRange::ALL);
    }

    fn selected(&self, selector: &Selector) -> Vec<(Series, &BTreeMap<i64, u64>)> {
        let all = self.reference.iter().map(|(&i, samples)| (series(i), samples));
        let mut selected: Vec<_> = all.filter(|(series, _)| selector.accepts(series)).collect();
        selected.sort_by(|a, b| a.0.cmp(&b.0));
        selected
    }

    fn check_samples(&self, selector: &str, range: TimeRange) {
        let selector = Selector::parse(selector).unwrap();
        let found = self.engine().samples(&selector, &SampleRequest::new(range)).unwrap();
        let found: Vec<(Series, Vec<(i64, u64)>)> = found
            .into_iter()
            .map(|samples| {
                let values = samples.values.iter().map(|value| value.to_bits());
                let pairs = samples.timestamps.iter().copied().zip(values).collect();
                ((*samples.series).clone(), pairs)
            })
            .collect();
        let expected: Vec<(Series, Vec<(i64, u64)>)> = self
            .selected(&selector)
            .into_iter()
            .map(|(series, samples)| {
                let inside = samples.iter().filter(|&(&t, _)| range.contains(Timestamp(t)));
                (series, inside.map(|(&t, &bits)| (t, bits)).collect())
            })
            .filter(|(_, samples): &(_, Vec<_>)| !samples.is_empty())
            .collect();
        assert_eq!(found, expected, "{selector} in {range:?}");
    }

    fn check_windows(&self, selector: &str, range: TimeRange, step: Option<Duration>) {
        let selector = Selector::parse(selector).unwrap();
        let mut request = Request::new(range, vec![Function::Count, Function::Max, Function::Last]);
        request.step = step;
        let answer = self.engine().query(&selector, &request).unwrap();
        let expected: Vec<_> = self.selected(&selector);
        let mut answered = 0;
        for group in &answer.groups {
            let icecore::query::GroupKey::Series(of) = &group.key else { panic!() };
            let (_, samples) = expected.iter().find(|(series, _)| *series == **of).unwrap();
            for (i, window) in answer.windows.iter().enumerate() {
                let inside: Vec<f64> = samples
                    .range(window.start.0..window.end.0)
                    .map(|(_, &bits)| f64::from_bits(bits))
                    .filter(|&value| !is_stale(value))
                    .collect();
                assert_eq!(group.counts[i], inside.len() as u64, "{of} {window:?}");
                answered += inside.len();
                if let Some(last) = inside.last() {
                    let max = inside.iter().copied().fold(f64::NAN, f64::max);
                    let found = group.values[1][i];
                    let equal = found == max || (found.is_nan() && max.is_nan());
                    assert!(equal, "{of} {window:?}: {found} instead of {max}");
                    assert_eq!(group.values[2][i].to_bits(), last.to_bits(), "{of} {window:?}");
                }
            }
        }
        let all =
            expected.iter().flat_map(|(_, samples)| samples.range(range.start.0..range.end.0));
        let all = all.filter(|&(_, &bits)| !is_stale(f64::from_bits(bits))).count();
        assert_eq!(answered, all, "{selector} in {range:?}");
    }

    fn run(mut self, steps: usize) {
        for _ in 0..steps {
            self.step();
        }
        self.settle();
        self.check_all();
        self.engine.take().unwrap().close().unwrap();
        self.open();
        self.check_all();
    }
}

fn seeds(default: Range<u64>) -> Range<u64> {
    let Ok(text) = std::env::var("ICECORE_MODEL_SEEDS") else { return default };
    let (start, end) = text.split_once("..").expect("ICECORE_MODEL_SEEDS=START..END");
    start.parse().unwrap()..end.parse().unwrap()
}

fn run(seed: u64, fs: CaseFs, store: StoreKind) {
    println!("seed {seed}");
    Case::new(seed, fs, store).run(150);
}

#[test]
fn a_simulated_store_answers_as_a_map() {
    for seed in seeds(0..60) {
        run(seed, CaseFs::Simulated(SimFs::new()), StoreKind::Flat);
    }
}

#[test]
fn every_store_answers_as_a_map() {
    for store in StoreKind::ALL.into_iter().filter(|store| store.is_built_in()) {
        for seed in seeds(0..3) {
            run(seed, CaseFs::Real(tempfile::tempdir().unwrap()), store);
        }
    }
}
