//! History that goes: random samples, late ones too, of classes that are kept for different times.
//! Whatever raw samples and fine tiers went, the coarsest tier and what is left below it answer as
//! if nothing had.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use icecore::engine::{CompactScope, Environment, MaintenanceStep};
use icecore::model::{Metadata, Selector, Series};
use icecore::options::{GateOptions, Keep, Maintenance, Policy, RetentionRule};
use icecore::query::{CancelToken, Function, GroupKey, Request};
use icecore::store::StoreKind;
use icecore::{Engine, Options, SimulatedClock, Tier, TimeRange, Timestamp};
use rand::prelude::*;
use rand::rngs::StdRng;

use crate::seeds;
use crate::support::fault_fs::SimFs;

const SECOND: i64 = 1_000_000_000;
/// Seconds of the coarsest tier's buckets.
const COARSEST: i64 = 300;
const METRICS: [&str; 4] = ["kept", "brief", "brief_too", "kept_too"];

fn tier(seconds: u64) -> Tier {
    Tier::of(Duration::from_secs(seconds)).unwrap()
}

struct Case {
    rng: StdRng,
    fs: SimFs,
    options: Options,
    engine: Option<Engine>,
    /// Metric → time → value; no time comes twice, since what replaced a sample that is gone cannot
    /// be told from one more.
    reference: [BTreeMap<i64, f64>; METRICS.len()],
    /// Seconds.
    newest: i64,
    dropped: usize,
}

impl Case {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut keep = |raw: std::ops::Range<u64>| {
            let raw = rng.random_range(raw);
            let minutes = rng.random_range(raw..raw + 2_000);
            let keep = Keep::FOREVER.with(Tier::RAW, Duration::from_secs(raw));
            keep.with(tier(10), Duration::from_secs(minutes))
        };
        let selector = Selector::parse("{__name__=~\"brief.*\"}").unwrap();
        let rules = vec![RetentionRule { selector, keep: keep(100..600) }];
        let policy = Policy {
            tiers: vec![tier(10), tier(60), tier(COARSEST as u64)],
            keep: keep(300..2_000),
            rules,
            lateness: Duration::from_secs(20),
            ..Policy::default()
        };
        let options = Options {
            store: StoreKind::Flat,
            partition: Duration::from_secs([60, 120][rng.random_range(0..2)]),
            chunk_samples_max: 16,
            compacted_chunk_samples_max: 64,
            segment_bytes_target: 4096,
            free_bytes_min: 0,
            threads: 1,
            self_metrics: None,
            gate: GateOptions { past: None, future: None, ..GateOptions::default() },
            maintenance: Maintenance::ByHand,
            policy,
            ..Options::default()
        };
        let mut case = Self {
            rng,
            fs: SimFs::new(),
            options,
            engine: None,
            reference: Default::default(),
            newest: 0,
            dropped: 0,
        };
        case.open();
        case
    }

    fn open(&mut self) {
        self.engine = None;
        let clock = Arc::new(SimulatedClock::new(Timestamp::from_secs(1 << 30)));
        let environment = Environment { fs: Arc::new(self.fs.clone()), clock };
        let engine = Engine::open_in("/store", self.options.clone(), environment).unwrap();
        self.engine = Some(engine);
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    fn append(&mut self, metric: usize, seconds: impl Iterator<Item = i64>) {
        let mut samples = BTreeMap::new();
        for second in seconds.filter(|second| *second >= 0) {
            let time = second * SECOND;
            if !self.reference[metric].contains_key(&time) {
                // Whole: sums are exact, whatever they are sums of.
                samples.insert(time, f64::from(self.rng.random_range(-50..1000)));
            }
        }
        if samples.is_empty() {
            return;
        }
        let writer = self.engine().writer("model");
        let series = Series::new(METRICS[metric], []).unwrap();
        let handle = writer.series(&series, &Metadata::default()).unwrap();
        let (times, values) = samples.iter().map(|(&time, &value)| (time, value)).unzip();
        writer.append_column(&handle, times, values).unwrap().wait().unwrap();
        self.reference[metric].append(&mut samples);
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..55 => {
                let (start, length) = (self.newest + 1, self.rng.random_range(5..150));
                let every = self.rng.random_range(1..8);
                self.newest = start + length;
                for metric in 0..METRICS.len() {
                    if self.rng.random_bool(0.8) {
                        self.append(metric, (start..=start + length).step_by(every));
                    }
                }
            }
            55..70 => {
                let metric = self.rng.random_range(0..METRICS.len());
                let count = self.rng.random_range(1..6);
                let late: Vec<i64> =
                    (0..count).map(|_| self.rng.random_range(0..=self.newest)).collect();
                self.append(metric, late.into_iter());
            }
            70..80 => self.engine().freeze().unwrap(),
            80..83 => self.open(),
            83..92 => {
                for _ in 0..self.rng.random_range(1..8) {
                    if let Some(step) = self.engine().maintain().unwrap() {
                        self.note(&step);
                    }
                }
            }
            92..96 => self.compact(CompactScope::Retention),
            _ => self.check(),
        }
    }

    fn compact(&mut self, scope: CompactScope) {
        let report = self.engine().compact(scope, &CancelToken::new(), &mut |_| ()).unwrap();
        report.steps.iter().for_each(|step| self.note(step));
    }

    fn note(&mut self, step: &MaintenanceStep) {
        match step {
            MaintenanceStep::Dropped(report) => self.dropped += report.dropped.len(),
            MaintenanceStep::Failed { error, .. } => panic!("{error}"),
            _ => {}
        }
    }

    fn check(&self) {
        let end = self.newest - self.newest.rem_euclid(COARSEST) + COARSEST;
        let range = TimeRange::new(Timestamp(0), Timestamp::from_secs(end));
        let functions = [Function::Count, Function::Sum, Function::Min, Function::Max];
        let step = Some(Duration::from_secs(COARSEST as u64));
        let request = Request { step, ..Request::new(range, functions.to_vec()) };
        let answer = self.engine().query(&Selector::parse("{}").unwrap(), &request).unwrap();
        assert!(answer.evidence.gaps.is_empty(), "{:?}", answer.evidence.gaps);
        for (metric, samples) in METRICS.iter().zip(&self.reference) {
            let of = |key: &GroupKey| matches!(key, GroupKey::Series(s) if s.name() == *metric);
            let group = answer.groups.iter().find(|group| of(&group.key));
            assert_eq!(group.is_some(), !samples.is_empty(), "{metric}");
            for (i, window) in answer.windows.iter().enumerate() {
                let within = || samples.range(window.start.0..window.end.0).map(|(_, v)| *v);
                let Some(group) = group.filter(|_| within().next().is_some()) else { continue };
                let expected = [
                    within().sum(),
                    within().fold(f64::NAN, f64::min),
                    within().fold(f64::NAN, f64::max),
                ];
                let found = [1, 2, 3].map(|function: usize| group.values[function][i]);
                assert_eq!(group.counts[i], within().count() as u64, "{metric} {window:?}");
                assert_eq!(found, expected, "{metric} {window:?}");
            }
            let counted: u64 = group.map_or(0, |group| group.counts.iter().sum());
            assert_eq!(counted, samples.len() as u64, "{metric}");
        }
    }

    fn run(mut self) -> usize {
        for _ in 0..120 {
            self.step();
        }
        for scope in [CompactScope::Due, CompactScope::Retention, CompactScope::All] {
            self.compact(scope);
            self.check();
        }
        self.open();
        self.check();
        self.dropped
    }
}

#[test]
fn what_went_is_known_to_coarser_tiers() {
    let mut dropped = 0;
    for seed in seeds(0..40) {
        println!("seed {seed}");
        dropped += Case::new(seed).run();
    }
    assert!(dropped > 500, "only {dropped} parts went");
}
