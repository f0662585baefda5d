//! Queries of the Time Series Benchmark Suite (cpu-only), in process, warm.
//!
//! `cargo bench --bench tsbs`: 100 hosts with ten gauges each and eight tags, a reading every 10 s
//! for 24 h (8.64 M samples), integer random walks within 0 to 100 as the suite makes them. Loaded
//! through the public API into a store of default options on a simulated clock, which then does all
//! the maintenance that is due: parts merged, tiers of 1 min, 5 min, 1 h and 1 d built. Queries are
//! asked through the public API with selectors that are parsed before; each answer is checked once
//! against a plain loop over the readings.
//!
//! Beside what criterion tells, the least time by the clock and the mean time on processors are
//! printed. `auto/` is what a default store answers: from a tier where that is exact and cheaper. `raw/` may
//! read raw samples alone. `ICECORE_TSBS_HOSTS=1000` makes ten times the hosts;
//! `ICECORE_TSBS_DIR=DIR` keeps the store there, and asks it where there is one.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "a benchmark on data it made itself"
)]

#[path = "support/processor.rs"]
mod processor;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use criterion::Criterion;
use icecore::engine::Environment;
use icecore::fs::RealFs;
use icecore::model::{MatchOp, Matcher, Metadata, MetricKind, Selector, Series};
use icecore::options::{Durability, GateOptions, Maintenance};
use icecore::query::{
    Answer, Comparison, Function, GroupKey, Grouping, Request, RowRequest, SampleRequest,
    Threshold, TierChoice,
};
use icecore::{Engine, Options, SimulatedClock, TimeRange, Timestamp};

const SECOND: i64 = 1_000_000_000;
const STEP: i64 = 10 * SECOND;
const HOUR: i64 = 3600 * SECOND;
const DAY: i64 = 24 * HOUR;
/// A midnight.
const START: i64 = 20_000 * DAY;

/// When the last reading stands.
const LATER: i64 = START + DAY + 2 * HOUR;

const METRICS: [&str; 10] = [
    "cpu_usage_user",
    "cpu_usage_system",
    "cpu_usage_idle",
    "cpu_usage_nice",
    "cpu_usage_iowait",
    "cpu_usage_irq",
    "cpu_usage_softirq",
    "cpu_usage_steal",
    "cpu_usage_guest",
    "cpu_usage_guest_nice",
];

/// Whether each thing is done once, small: criterion's `--test`.
fn testing() -> bool {
    std::env::args().any(|argument| argument == "--test")
}

fn hosts() -> usize {
    let asked = std::env::var("ICECORE_TSBS_HOSTS").ok().and_then(|hosts| hosts.parse().ok());
    asked.unwrap_or(if testing() { 10 } else { 100 })
}

/// The readings: of each host and metric its values in time order, as integers.
struct Readings {
    hosts: usize,
    values: Vec<Vec<u8>>,
}

/// A small generator (PCG's multiplier): the same readings in every run.
struct Dice(u64);

impl Dice {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 40) as f64 / (1_u64 << 24) as f64
    }

    /// About normal, of deviation 1: twelve uniforms, as Irwin and Hall have it.
    fn step(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

impl Readings {
    fn make(hosts: usize) -> Self {
        let walk = |index: usize| {
            let mut dice = Dice(index as u64 * 0x9e37_79b9 + 7);
            let mut at = dice.unit() * 100.0;
            let reading = |_| {
                at = (at + dice.step()).clamp(0.0, 100.0);
                at as u8
            };
            (0..(DAY / STEP)).map(reading).collect()
        };
        Self { hosts, values: (0..hosts * METRICS.len()).map(walk).collect() }
    }

    fn of(&self, host: usize, metric: usize) -> &[u8] {
        &self.values[host * METRICS.len() + metric]
    }

    /// The values of `from..to`, hours since the start.
    fn hours(&self, host: usize, metric: usize, from: usize, to: usize) -> &[u8] {
        let hour = (HOUR / STEP) as usize;
        &self.of(host, metric)[from * hour..to * hour]
    }
}

fn series(host: usize, metric: usize) -> Series {
    let (name, region) = (format!("host_{host}"), format!("region-{}", host % 9));
    let (datacenter, rack) = (format!("region-{}{}", host % 9, host % 3), format!("{}", host % 97));
    let labels = [
        ("hostname", name.as_str()),
        ("region", &region),
        ("datacenter", &datacenter),
        ("rack", &rack),
        ("os", ["Ubuntu16.10", "Ubuntu16.04LTS", "Ubuntu15.10"][host % 3]),
        ("arch", ["x64", "x86"][host % 2]),
        ("team", ["SF", "NYC", "LON", "CHI"][host % 4]),
        ("service", ["api", "web", "queue", "lake", "ml", "etl"][host % 6]),
    ];
    Series::new(METRICS[metric], labels).unwrap()
}

fn open(dir: &Path) -> Engine {
    let options = Options {
        gate: GateOptions { past: None, future: None, ..GateOptions::default() },
        // When it is done, not whether.
        maintenance: Maintenance::ByHand,
        ..Options::default()
    };
    let clock = Arc::new(SimulatedClock::new(Timestamp(START + 2 * DAY)));
    Engine::open_in(dir, options, Environment { fs: Arc::new(RealFs), clock }).unwrap()
}

fn load(dir: &Path, readings: &Readings) {
    let engine = open(dir);
    let writer = engine.writer("bench").with_durability(Durability::Buffered);
    let metadata = Metadata { kind: MetricKind::Gauge, ..Metadata::default() };
    let groups: Vec<_> = (0..readings.hosts)
        .map(|host| {
            let handle = |metric| writer.series(&series(host, metric), &metadata).unwrap();
            writer.scrape_group(&(0..METRICS.len()).map(handle).collect::<Vec<_>>())
        })
        .collect();
    for row in 0..(DAY / STEP) as usize {
        for (host, group) in groups.iter().enumerate() {
            let values = (0..METRICS.len()).map(|m| f64::from(readings.of(host, m)[row])).collect();
            let time = Timestamp(START + row as i64 * STEP);
            drop(writer.append_scrape(group, time, values).unwrap());
        }
    }
    engine.freeze().unwrap();
    // One reading more, later than late samples of the day may be: the day is over, and what is due
    // of it is done.
    for (host, group) in groups.iter().enumerate() {
        let values = (0..METRICS.len()).map(|m| later(readings, host, m)).collect();
        drop(writer.append_scrape(group, Timestamp(LATER), values).unwrap());
    }
    engine.freeze().unwrap();
    while engine.maintain().unwrap().is_some() {}
    engine.close().unwrap();
}

/// The last reading.
fn later(readings: &Readings, host: usize, metric: usize) -> f64 {
    f64::from(*readings.of(host, metric).last().unwrap()) + 1.0
}

fn hours(from: i64, to: i64) -> TimeRange {
    TimeRange::new(Timestamp(START + from * HOUR), Timestamp(START + to * HOUR))
}

/// A windowed query of the suite.
struct Windowed {
    name: &'static str,
    hosts: usize,
    metrics: usize,
    hours: (i64, i64),
    step: i64,
    function: Function,
    by: &'static [&'static str],
}

const WINDOWED: [Windowed; 4] = [
    Windowed {
        name: "single-groupby-1-1-1",
        hosts: 1,
        metrics: 1,
        hours: (13, 14),
        step: 60 * SECOND,
        function: Function::Max,
        by: &["__name__"],
    },
    Windowed {
        name: "single-groupby-5-8-1",
        hosts: 8,
        metrics: 5,
        hours: (13, 14),
        step: 60 * SECOND,
        function: Function::Max,
        by: &["__name__"],
    },
    Windowed {
        name: "cpu-max-all-8",
        hosts: 8,
        metrics: 10,
        hours: (9, 17),
        step: HOUR,
        function: Function::Max,
        by: &["__name__"],
    },
    Windowed {
        name: "double-groupby-all",
        hosts: usize::MAX,
        metrics: 10,
        hours: (7, 19),
        step: HOUR,
        function: Function::Avg,
        by: &["__name__", "hostname"],
    },
];

impl Windowed {
    /// The hosts asked about: every eleventh from the third on, as many as are wanted.
    fn chosen(&self, hosts: usize) -> Vec<usize> {
        if self.hosts >= hosts {
            return (0..hosts).collect();
        }
        (0..self.hosts).map(|i| (3 + 11 * i) % hosts).collect()
    }

    fn selector(&self, hosts: usize) -> Selector {
        let names = METRICS[..self.metrics].join("|");
        let chosen: Vec<String> =
            self.chosen(hosts).into_iter().map(|host| format!("host_{host}")).collect();
        let hosts = if chosen.len() == hosts { ".+".to_owned() } else { chosen.join("|") };
        Selector::parse(&format!("{{__name__=~\"{names}\",hostname=~\"{hosts}\"}}")).unwrap()
    }

    fn request(&self, tier: TierChoice) -> Request {
        let labels = self.by.iter().map(|&label| label.to_owned()).collect();
        Request {
            step: Some(Duration::from_nanos(self.step as u64)),
            group_by: Grouping::Labels(labels),
            tier,
            ..Request::new(hours(self.hours.0, self.hours.1), vec![self.function])
        }
    }

    /// Values by group and window, by a plain loop.
    fn naive(&self, readings: &Readings) -> BTreeMap<Vec<String>, Vec<f64>> {
        let rows = (self.step / STEP) as usize;
        let mut pooled: BTreeMap<Vec<String>, Vec<Vec<u8>>> = BTreeMap::new();
        for host in self.chosen(readings.hosts) {
            for (metric, &name) in METRICS.iter().enumerate().take(self.metrics) {
                let series = series(host, metric);
                let value = |&label: &&str| match label {
                    "__name__" => name.to_owned(),
                    label => series.label(label).to_owned(),
                };
                let held = pooled.entry(self.by.iter().map(value).collect()).or_default();
                let (from, to) = (self.hours.0 as usize, self.hours.1 as usize);
                let windows = readings.hours(host, metric, from, to).chunks(rows);
                held.resize(windows.len(), Vec::new());
                held.iter_mut().zip(windows).for_each(|(held, more)| held.extend(more));
            }
        }
        let finish = |values: &Vec<u8>| match self.function {
            Function::Max => f64::from(*values.iter().max().unwrap()),
            _ => values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64,
        };
        let groups = pooled.into_iter();
        groups.map(|(key, windows)| (key, windows.iter().map(finish).collect())).collect()
    }

    fn check(&self, answer: &Answer, readings: &Readings) {
        let expected = self.naive(readings);
        assert_eq!(answer.groups.len(), expected.len(), "{}", self.name);
        for (group, (key, values)) in answer.groups.iter().zip(&expected) {
            let GroupKey::Labels(labels) = &group.key else { panic!("grouped by labels") };
            assert!(labels.iter().map(|(_, value)| value).eq(key), "{}", self.name);
            // Sums of integers round nowhere.
            assert_eq!(&group.values[0], values, "{} {key:?}", self.name);
        }
    }
}

/// The last reading of every host.
fn last_point(criterion: &mut Criterion, engine: &Engine, readings: &Readings) {
    let selector = Selector::parse("{__name__=~\"cpu_.*\",hostname!=\"\"}").unwrap();
    let request = SampleRequest::new(TimeRange::ALL);
    let found = engine.last_samples(&selector, &request).unwrap();
    assert_eq!(found.len(), readings.hosts * METRICS.len());
    for last in &found {
        let host = last.series.label("hostname").strip_prefix("host_").unwrap().parse().unwrap();
        let metric = METRICS.iter().position(|&name| name == last.series.name()).unwrap();
        assert_eq!(last.sample.timestamp, Timestamp(LATER));
        assert_eq!(last.sample.value, later(readings, host, metric));
    }
    let ask = || engine.last_samples(black_box(&selector), &request).unwrap();
    processor::measure("lastpoint", ask);
    criterion.bench_function("lastpoint", |bencher| {
        bencher.iter(ask);
    });
}

/// All readings of all hosts when the processor was busy.
fn high_cpu(criterion: &mut Criterion, engine: &Engine, readings: &Readings) {
    let selector = Selector::parse("{__name__=~\"cpu_.*\",hostname!=\"\"}").unwrap();
    let (from, to) = (7, 19);
    let request = RowRequest {
        samples: SampleRequest::new(hours(from, to)),
        by: vec!["hostname".to_owned()],
        decider: Matcher::new("__name__", MatchOp::Equal, "cpu_usage_user").unwrap(),
        threshold: Threshold { comparison: Comparison::Greater, bound: 90.0 },
    };
    let found = engine.rows(&selector, &request).unwrap();
    let rows: usize = found.iter().map(|group| group.timestamps.len()).sum();
    println!("high-cpu-all: {rows} rows of {} hosts", found.len());
    let (from, to) = (from as usize, to as usize);
    let busy = |host: usize| readings.hours(host, 0, from, to).iter().filter(|&&v| v > 90).count();
    assert_eq!(rows, (0..readings.hosts).map(busy).sum::<usize>());
    for group in &found {
        let GroupKey::Labels(labels) = &group.key else { panic!("owners are labels") };
        let host: usize = labels[0].1.strip_prefix("host_").unwrap().parse().unwrap();
        for (series, values) in group.series.iter().zip(&group.values) {
            let metric = METRICS.iter().position(|&name| name == series.name()).unwrap();
            for (time, &value) in group.timestamps.iter().zip(values) {
                let row = ((time - START) / STEP) as usize;
                assert_eq!(value, f64::from(readings.of(host, metric)[row]));
            }
        }
    }
    let ask = || engine.rows(black_box(&selector), &request).unwrap();
    processor::measure("high-cpu-all", ask);
    criterion.bench_function("high-cpu-all", |bencher| {
        bencher.iter(ask);
    });
}

fn main() {
    let dir = std::env::var("ICECORE_TSBS_DIR").ok().map(PathBuf::from);
    let scratch = tempfile::tempdir().unwrap();
    let dir = dir.unwrap_or_else(|| scratch.path().join("store"));
    let readings = Readings::make(hosts());
    if !dir.exists() {
        load(&dir, &readings);
    }
    let engine = open(&dir);
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(50)
        .configure_from_args();
    for (name, tier) in [("auto", TierChoice::Auto), ("raw", TierChoice::Raw)] {
        for query in &WINDOWED {
            let (selector, request) = (query.selector(readings.hosts), query.request(tier));
            let answer = engine.query(&selector, &request).unwrap();
            query.check(&answer, &readings);
            let read: Vec<_> =
                answer.evidence.tiers.iter().map(|tier| tier.tier.to_string()).collect();
            let decoded = answer.evidence.samples_decoded;
            println!("{name}/{}: from {}, {decoded} samples decoded", query.name, read.join(" "));
            let name = format!("{name}/{}", query.name);
            processor::measure(&name, || engine.query(black_box(&selector), &request).unwrap());
            criterion.bench_function(&name, |bencher| {
                bencher.iter(|| engine.query(black_box(&selector), &request).unwrap());
            });
        }
    }
    last_point(&mut criterion, &engine, &readings);
    high_cpu(&mut criterion, &engine, &readings);
    criterion.final_summary();
}
