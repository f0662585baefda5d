//! Distributions: what is recorded is stored, once, after any end of the engine; exact counts, sums
//! and extremes, quantiles within their bound. What is stored is read from the disk: parts and log.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use icecore::aggregate::{Distribution, Partial, Sketch};
use icecore::engine::{DistributionHandle, Environment, Reason};
use icecore::fs::Fs;
use icecore::index::Index;
use icecore::model::{Metadata, MetricKind, SeriesId};
use icecore::options::{Durability, GateOptions, RateLimit};
use icecore::part::{CacheLimits, Layout, Part, PartCache};
use icecore::segment::{RecordSource, Records};
use icecore::wal::{self, Record};
use icecore::{Engine, Options, SimulatedClock, TimeRange, Timestamp, Writer, catalog};

use crate::support::fault_fs::SimFs;
use crate::{eventually, handle, options, refused};

const SECOND: i64 = 1_000_000_000;
/// Where the clock of these tests stands at first: four seconds into an interval.
const START: i64 = 1_000_004 * SECOND;

/// By series and time.
type Stored = BTreeMap<(String, i64), (Partial, Sketch)>;

fn open_at(fs: &SimFs, options: Options, now: i64) -> (Engine, Arc<SimulatedClock>) {
    let clock = Arc::new(SimulatedClock::new(Timestamp(now)));
    let environment = Environment { fs: Arc::new(fs.clone()), clock: Arc::clone(&clock) as _ };
    (Engine::open_in("/store", options, environment).unwrap(), clock)
}

fn read_part(fs: &SimFs, id: u64, all: &mut Stored) {
    let (index, limits) = (Index::new(), CacheLimits::default());
    let (fs, cache): (Arc<dyn Fs>, _) = (Arc::new(fs.clone()), Arc::new(PartCache::new(limits)));
    let part = Part::open(&fs, Path::new("/store/parts"), id, &index, &cache).unwrap();
    assert!(part.tier().is_raw());
    let mut records = Records::default();
    for &id in part.series_ids() {
        let fields = part.fields(id).unwrap().unwrap();
        assert!(fields.increase && fields.sketches);
        part.read_records(id, TimeRange::ALL, &mut records).unwrap();
        let name = index.series(id).unwrap().to_string();
        let Records { starts, partials, sketches } = &records;
        for ((&at, partial), sketch) in starts.iter().zip(partials).zip(sketches.iter()) {
            all.insert((name.clone(), at), (*partial, sketch.to_sketch()));
        }
    }
}

/// Everything in the store's parts and log; the later write wins.
fn stored(fs: &SimFs) -> Stored {
    let dir = Path::new("/store");
    let catalog = catalog::load(fs, dir).unwrap().unwrap();
    let mut all = Stored::new();
    let mut entries = catalog.parts.clone();
    entries.sort_by_key(|entry| entry.rank);
    for entry in entries.iter().filter(|entry| entry.layout == Layout::Records) {
        read_part(fs, entry.id, &mut all);
    }
    let mut names: HashMap<SeriesId, String> = HashMap::new();
    wal::replay(fs, &dir.join("log"), catalog.watermark, &mut |record| {
        match record {
            Record::File { .. } => names.clear(),
            Record::Series { id, series } => drop(names.insert(id, series.to_string())),
            Record::Distribution { series, timestamp, distribution, .. } => {
                let found = (distribution.partial(Timestamp(timestamp)), distribution.sketch());
                all.insert((names[&series].clone(), timestamp), (found.0, found.1.clone()));
            }
            _ => {}
        }
        Ok(())
    })
    .unwrap();
    all
}

/// When and how many.
fn counts(fs: &SimFs, series: &str) -> Vec<(i64, u64)> {
    let all = stored(fs).into_iter().filter(|((name, _), _)| name == series);
    all.map(|((_, timestamp), (partial, _))| ((timestamp - START) / SECOND, partial.count))
        .collect()
}

fn of(values: &[f64]) -> Distribution {
    let mut all = Distribution::default();
    values.iter().for_each(|&value| assert!(all.record(value)));
    all
}

fn distribution(writer: &Writer, name: &str) -> DistributionHandle {
    writer.distribution(name, [], &Metadata::default()).unwrap()
}

/// Latencies of a thread: log-normal, about 2 ms, up to seconds.
fn latencies(thread: u64, count: usize) -> Vec<f64> {
    let mut state = thread.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut uniform = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((state >> 11) + 1) as f64 / (1_u64 << 53) as f64
    };
    let mut normal =
        move || (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
    (0..count).map(|_| (normal() - 6.0).exp()).collect()
}

/// A million observations from four threads while spans end and syncs ask; the process is killed
/// after the last sync. Every one of them is there, once.
#[test]
fn a_million_observations_are_counted_once_and_survive_a_kill() {
    let fs = SimFs::new();
    let (engine, clock) = open_at(&fs, options(), START);
    let writer = engine.writer("w");
    let shared = distribution(&writer, "query_seconds");
    let all: Vec<Vec<f64>> = (0..4).map(|thread| latencies(thread, 250_000)).collect();
    thread::scope(|scope| {
        for (thread, values) in all.iter().enumerate() {
            // Two threads share a handle and its clone, two have bins of their own.
            let handle =
                if thread < 2 { shared.clone() } else { distribution(&writer, "query_seconds") };
            let (engine, clock) = (&engine, &clock);
            scope.spawn(move || {
                for values in values.chunks(25_000) {
                    values.iter().for_each(|&value| handle.record(value));
                    clock.advance(Duration::from_secs(3));
                    engine.sync().unwrap();
                }
            });
        }
    });
    let after_kill = fs.reboot(0);
    assert_eq!(engine.refusals().iter().map(|(_, count)| count).sum::<u64>(), 0);
    engine.close().unwrap();

    let (reopened, _) = open_at(&after_kill, options(), START + 3600 * SECOND);
    reopened.close().unwrap();
    let mut values = all.concat();
    values.sort_by(f64::total_cmp);
    for fs in [&fs, &after_kill] {
        let stored = stored(fs);
        assert!(stored.len() > 1);
        assert!(stored.keys().all(|(name, _)| name == "query_seconds"));
        let mut sketch = Sketch::default();
        stored.values().for_each(|(_, one)| sketch.merge(one));
        let partials = || stored.values().map(|(partial, _)| partial);
        assert_eq!(partials().map(|partial| partial.count).sum::<u64>(), values.len() as u64);
        assert_eq!(sketch, Sketch::of(&values));
        let (sum, expected): (f64, f64) =
            (partials().map(|partial| partial.sum).sum(), values.iter().sum());
        assert!((sum / expected - 1.0).abs() < 1e-12, "{sum} {expected}");
        assert_eq!(partials().map(|p| p.min).fold(f64::NAN, f64::min), values[0]);
        assert_eq!(partials().map(|p| p.max).fold(f64::NAN, f64::max), values[values.len() - 1]);
        for q in [0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0] {
            let exact = values[(q * (values.len() - 1) as f64) as usize];
            assert!((sketch.quantile(q) / exact - 1.0).abs() <= 0.01 + 1e-9, "q {q}");
        }
        for partial in partials() {
            assert_eq!((partial.increase, partial.resets), (partial.count as f64, 0));
            assert!(partial.min <= partial.max && partial.first.value.is_nan());
        }
    }
}

#[test]
fn spans_are_aligned_and_written_once_they_are_over() {
    let fs = SimFs::new();
    let (engine, clock) = open_at(&fs, options(), START);
    let writer = engine.writer("w");
    let latency = distribution(&writer, "latency");
    assert_eq!(engine.metadata("latency").unwrap().kind, MetricKind::Distribution);
    latency.record(1.0);
    latency.record(2.0);
    clock.set(Timestamp(START + 7 * SECOND));
    eventually("the first span", || counts(&fs, "latency") == [(0, 2)]);
    latency.record(5.0);
    // A span in which nothing is observed leaves nothing.
    clock.set(Timestamp(START + 17 * SECOND));
    eventually("the second span", || counts(&fs, "latency") == [(0, 2), (6, 1)]);
    clock.set(Timestamp(START + 48 * SECOND));
    thread::sleep(Duration::from_millis(600));
    latency.record(7.0);
    clock.set(Timestamp(START + 200 * SECOND));
    eventually("a later span", || counts(&fs, "latency") == [(0, 2), (6, 1), (46, 1)]);
    engine.close().unwrap();
    assert_eq!(counts(&fs, "latency"), [(0, 2), (6, 1), (46, 1)]);
}

/// A span that somebody waited for is written again as a whole: one sample, the later one.
#[test]
fn a_span_that_goes_on_after_a_sync_is_one_sample() {
    let fs = SimFs::new();
    let (engine, clock) = open_at(&fs, options(), START);
    let writer = engine.writer("w");
    let latency = distribution(&writer, "latency");
    for round in 1..=5 {
        latency.record(f64::from(round));
        engine.sync().unwrap();
        assert_eq!(counts(&fs, "latency"), [(0, round as u64)]);
        clock.advance(Duration::from_millis(800));
    }
    let log_bytes = engine.stats().unwrap().log_bytes;
    engine.sync().unwrap();
    assert_eq!(engine.stats().unwrap().log_bytes, log_bytes, "nothing new was observed");
    engine.freeze().unwrap();
    latency.record(9.0);
    engine.close().unwrap();
    assert_eq!(counts(&fs, "latency"), [(0, 6)]);
    let (partial, sketch) = stored(&fs).into_values().next().unwrap();
    assert_eq!((partial.sum, partial.min, partial.max), (24.0, 1.0, 9.0));
    assert_eq!(sketch, Sketch::of(&[1.0, 2.0, 3.0, 4.0, 5.0, 9.0]));
}

/// The clock stands still over reopenings, or goes back a little: no run replaces what another
/// one wrote.
#[test]
fn a_reopened_engine_begins_a_span_of_its_own() {
    let fs = SimFs::new();
    for (run, now) in [START, START, START - 2 * SECOND, START + SECOND].into_iter().enumerate() {
        let options = Options { freeze_on_close: run % 2 == 0, ..options() };
        let (engine, _) = open_at(&fs, options, now);
        let latency = distribution(&engine.writer("w"), "latency");
        latency.record(run as f64);
        engine.sync().unwrap();
        latency.record(run as f64);
        engine.close().unwrap();
    }
    let expected = [(START, 2), (START + 1, 2), (START + 2, 2), (START + SECOND, 2)];
    let found = stored(&fs);
    let found: Vec<_> = found.iter().map(|((_, at), (partial, _))| (*at, partial.count)).collect();
    assert_eq!(found, expected);
}

#[test]
fn handles_that_are_gone_are_emptied_once_more() {
    let fs = SimFs::new();
    let (engine, clock) = open_at(&fs, options(), START);
    let writer = engine.writer("w");
    let kept = distribution(&writer, "latency");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| distribution(&writer, "latency").record(3.0));
        }
    });
    drop(distribution(&writer, "silent"));
    distribution(&writer, "gone").record(1.0);
    kept.record(4.0);
    clock.set(Timestamp(START + 7 * SECOND));
    eventually("the first span", || stored(&fs).len() == 2);
    assert_eq!((counts(&fs, "latency"), counts(&fs, "gone")), (vec![(0, 9)], vec![(0, 1)]));
    kept.record(5.0);
    engine.close().unwrap();
    kept.record(6.0);
    assert_eq!(counts(&fs, "latency"), [(0, 9), (6, 1)]);
}

/// More bins than a handle holds, but not at once: the ingest thread makes room.
#[test]
fn bins_that_run_out_are_emptied_before_the_span_is_over() {
    let fs = SimFs::new();
    let (engine, _) = open_at(&fs, options(), START);
    let latency = distribution(&engine.writer("w"), "latency");
    let mut expected = Sketch::default();
    for bins in 0..4 {
        for index in 0..800 {
            let value = Sketch::value_of(bins * 800 + index);
            latency.record(value);
            expected.record(value, 1);
        }
        thread::sleep(Duration::from_millis(600));
    }
    assert!(stored(&fs).is_empty());
    engine.close().unwrap();
    let (_, sketch) = stored(&fs).into_values().next().unwrap();
    assert_eq!(sketch, expected);
}

#[test]
fn what_a_host_aggregated_comes_in_through_the_gate() {
    let gate = GateOptions {
        past: Some(Duration::from_secs(60)),
        future: Some(Duration::from_secs(60)),
        rate: Some(RateLimit { samples_per_second: 1, burst_samples: 3 }),
        ..GateOptions::default()
    };
    let fs = SimFs::new();
    let (engine, _) = open_at(&fs, Options { gate, ..options() }, START);
    let writer = engine.writer("w").with_durability(Durability::Synced);
    let series = handle(&writer, "latency");
    let append = |seconds: i64, values: &[f64]| {
        let at = Timestamp(START + seconds * SECOND);
        let accepted = writer.append_distribution(&series, at, of(values)).unwrap().wait();
        let accepted = accepted.unwrap();
        (accepted.samples, accepted.refused)
    };
    assert_eq!(append(-61, &[1.0]), (0, 1));
    assert_eq!(append(61, &[1.0]), (0, 1));
    assert_eq!(append(5, &[1.0, 2.0]), (1, 0));
    // Late, and again at a time that was written: the later write wins.
    assert_eq!(append(-5, &[4.0]), (1, 0));
    assert_eq!(append(5, &[3.0, 1e-9, -2.0]), (1, 0));
    assert_eq!(append(0, &[]), (0, 0));
    assert_eq!(append(6, &[3.0]), (0, 1));
    for (reason, samples) in
        [(Reason::TooOld, 1), (Reason::TooNew, 1), (Reason::RateLimited, 1), (Reason::NotFinite, 0)]
    {
        assert_eq!(refused(&engine, reason), samples, "{reason}");
    }
    let expected = [(-5, of(&[4.0])), (5, of(&[3.0, 1e-9, -2.0]))];
    let expected: Stored = expected
        .into_iter()
        .map(|(seconds, distribution)| {
            let at = START + seconds * SECOND;
            let found = (distribution.partial(Timestamp(at)), distribution.sketch().clone());
            (("latency".to_owned(), at), found)
        })
        .collect();
    let bits = |stored: &Stored| format!("{stored:?}");
    assert_eq!(bits(&stored(&fs)), bits(&expected));
    let (other, _) = open_at(&SimFs::new(), options(), START);
    let foreign = handle(&other.writer("w"), "latency");
    assert!(writer.append_distribution(&foreign, Timestamp(START), of(&[1.0])).is_err());
    engine.close().unwrap();
    assert_eq!(bits(&stored(&fs)), bits(&expected));
}

/// What is kept out by the series limit is observed all the same, together.
#[test]
fn distributions_beyond_the_series_limit_share_one() {
    let gate = GateOptions { series_max: 1, past: None, future: None, ..GateOptions::default() };
    let fs = SimFs::new();
    let (engine, _) = open_at(&fs, Options { gate, ..options() }, START);
    let writer = engine.writer("w");
    let handles: Vec<_> = (0..3)
        .map(|i| {
            let host = i.to_string();
            let labels = [("host", host.as_str())];
            writer.distribution("latency", labels, &Metadata::default()).unwrap()
        })
        .collect();
    handles.iter().for_each(|handle| handle.record(1.0));
    engine.sync().unwrap();
    assert_eq!(counts(&fs, "latency{host=\"0\"}"), [(0, 1)]);
    assert_eq!(counts(&fs, "latency{icecore_overflow=\"true\"}"), [(0, 2)]);
    assert_eq!(refused(&engine, Reason::SeriesLimit), 1);
}
