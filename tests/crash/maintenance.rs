//! Compaction, downsampling, patches, deletes and retention on a file system that fails, or loses
//! power, at the Nth mutating call, for every N: reopened, the store answers as it did before what
//! was under way, or as after it.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use icecore::engine::{CompactScope, Environment, MaintenanceStep};
use icecore::model::{Metadata, Selector, Series};
use icecore::options::{Durability, GateOptions, Keep, Maintenance, Policy};
use icecore::query::{CancelToken, Function, GroupKey, Request, SampleRequest};
use icecore::store::StoreKind;
use icecore::{Engine, Options, SimulatedClock, Tier, TimeRange, Timestamp};

use crate::support::fault_fs::{Fault, SimFs};

const SECOND: i64 = 1_000_000_000;
const SERIES: usize = 3;
/// Second of the first sample: the windows of so few samples are half an hour long, and one ends at
/// 1,920.
const BASE: i64 = 1620;
const END: i64 = 2460;

fn open(fs: &SimFs) -> icecore::Result<Engine> {
    let options = Options {
        store: StoreKind::Flat,
        partition: Duration::from_secs(60),
        chunk_samples_max: 16,
        compacted_chunk_samples_max: 32,
        segment_bytes_target: 4096,
        sync_interval: Duration::from_secs(3600),
        free_bytes_min: 0,
        threads: 1,
        self_metrics: None,
        gate: GateOptions { past: None, future: None, ..GateOptions::default() },
        maintenance: Maintenance::ByHand,
        policy: Policy {
            tiers: [10, 60].map(|s| Tier::of(Duration::from_secs(s)).unwrap()).to_vec(),
            keep: Keep::FOREVER.with(Tier::RAW, Duration::from_secs(400)),
            lateness: Duration::ZERO,
            ..Policy::default()
        },
        ..Options::default()
    };
    let clock = Arc::new(SimulatedClock::new(Timestamp::from_secs(1 << 20)));
    Engine::open_in("/store", options, Environment { fs: Arc::new(fs.clone()), clock })
}

fn append(
    engine: &Engine,
    series: usize,
    seconds: impl Iterator<Item = i64>,
) -> icecore::Result<()> {
    let writer = engine.writer("w").with_durability(Durability::Synced);
    let name = Series::new("m", [("i", series.to_string().as_str())]).unwrap();
    let Ok(handle) = writer.series(&name, &Metadata::default()) else {
        return Err(icecore::Error::Closed);
    };
    let timestamps: Vec<i64> = seconds.map(|t| t * SECOND).collect();
    // Whole numbers: sums are exact, whatever they are sums of.
    let values = timestamps.iter().map(|t| ((t / SECOND) * (1 + series as i64)) as f64).collect();
    writer.append_column(&handle, timestamps, values)?.wait().map(drop)
}

/// Everything that may be asked: samples, and aggregates that tiers answer.
type Answers = (BTreeMap<(String, i64), u64>, BTreeMap<(String, i64), Vec<u64>>);

fn answers(engine: &Engine) -> Answers {
    let all = Selector::parse("{}").unwrap();
    let mut samples = BTreeMap::new();
    for found in engine.samples(&all, &SampleRequest::new(TimeRange::ALL)).unwrap() {
        for (&t, value) in found.timestamps.iter().zip(&found.values) {
            let twice = samples.insert((found.series.to_string(), t), value.to_bits());
            assert!(twice.is_none());
        }
    }
    let range = TimeRange::new(Timestamp::from_secs(BASE), Timestamp::from_secs(END));
    let functions = vec![Function::Count, Function::Sum, Function::Min, Function::Last];
    let mut request = Request::new(range, functions);
    request.step = Some(Duration::from_secs(60));
    let answer = engine.query(&all, &request).unwrap();
    let mut windows = BTreeMap::new();
    for group in &answer.groups {
        let GroupKey::Series(series) = &group.key else { panic!() };
        for (i, window) in answer.windows.iter().enumerate() {
            let values = group.values.iter().map(|values| values[i].to_bits()).collect();
            windows.insert((series.to_string(), window.start.0), values);
        }
    }
    (samples, windows)
}

fn maintain(engine: &Engine) -> icecore::Result<()> {
    while let Some(step) = engine.maintain()? {
        read_all(&step)?;
    }
    Ok(())
}

/// After a power cut nothing can be read either.
fn read_all(step: &MaintenanceStep) -> icecore::Result<()> {
    match step {
        MaintenanceStep::Failed { error, .. } => Err(error.clone()),
        _ => Ok(()),
    }
}

type Operation = fn(&Engine) -> icecore::Result<()>;

/// What each changes is seen whole or not at all.
const OPERATIONS: [(&str, Operation); 8] = [
    ("compaction and tiers", maintain),
    ("late samples", |engine| {
        append(engine, 1, (BASE + 205..BASE + 215).chain(BASE + 401..BASE + 403))
    }),
    ("patches", maintain),
    ("a delete", |engine| {
        let range =
            TimeRange::new(Timestamp::from_secs(BASE + 250), Timestamp::from_secs(BASE + 333));
        engine.delete(&Selector::parse("m{i=~\"[01]\"}").unwrap(), range).map(drop)
    }),
    ("purges", maintain),
    ("more samples", |engine| append(engine, 2, END - 60..END)),
    ("retention", |engine| engine.enforce_retention().map(drop)),
    ("everything merged", |engine| {
        let done = engine.compact(CompactScope::All, &CancelToken::new(), &mut |_| ())?;
        done.steps.iter().try_for_each(read_all)
    }),
];

/// Partitions in several parts each, some late, some of them still in the log.
fn prepared() -> SimFs {
    let fs = SimFs::new();
    let engine = open(&fs).unwrap();
    for start in (BASE..BASE + 300).step_by(50) {
        for series in 0..SERIES {
            append(&engine, series, (start..start + 50).step_by(2)).unwrap();
        }
        let late = (start + BASE) / 2 + 1;
        append(&engine, 0, (late..late + 8).step_by(4)).unwrap();
        engine.freeze().unwrap();
    }
    for series in 0..SERIES {
        append(&engine, series, (BASE + 300..BASE + 420).step_by(3)).unwrap();
    }
    engine.close().unwrap();
    fs
}

/// Runs the operations until one fails; returns how many succeeded, the engine, the failure.
fn run(fs: &SimFs) -> (usize, Option<Engine>, Option<icecore::Error>) {
    let engine = match open(fs) {
        Ok(engine) => engine,
        Err(error) => return (0, None, Some(error)),
    };
    for (done, (_, operation)) in OPERATIONS.iter().enumerate() {
        if let Err(error) = operation(&engine) {
            return (done, Some(engine), Some(error));
        }
    }
    (OPERATIONS.len(), Some(engine), None)
}

#[test]
fn a_power_cut_at_any_call_leaves_the_answers_of_before_or_after() {
    every_call_leaves_the_answers_of_before_or_after(Fault::Cut);
}

#[test]
fn a_failed_call_leaves_the_answers_of_before_or_after() {
    every_call_leaves_the_answers_of_before_or_after(Fault::Error(ErrorKind::Other));
}

#[test]
fn a_short_write_leaves_the_answers_of_before_or_after() {
    every_call_leaves_the_answers_of_before_or_after(Fault::ShortWrite);
}

/// Whichever call meets the fault.
fn every_call_leaves_the_answers_of_before_or_after(fault: Fault) {
    let prepared = prepared();
    let mut history = Vec::new();
    {
        let fs = prepared.restart();
        let engine = open(&fs).unwrap();
        history.push(answers(&engine));
        for (_, operation) in OPERATIONS {
            operation(&engine).unwrap();
            history.push(answers(&engine));
        }
        assert_ne!(history[3], history[4], "the delete changes answers");
        assert_eq!(history[0], history[1], "maintenance alone changes none");
        let raw = |answers: &Answers| answers.0.len();
        assert!(raw(&history[7]) < raw(&history[6]), "retention takes raw samples");
        engine.close().unwrap();
    }
    let mut met = 0;
    for nth in 1.. {
        let fs = prepared.restart();
        fs.arm(nth, fault);
        let (done, engine, failure) = run(&fs);
        if !fs.fired() {
            assert!(failure.is_none(), "{failure:?}");
            break;
        }
        met += 1;
        let under_way = OPERATIONS.get(done).map_or("closing", |(name, _)| name);
        let what = format!("{fault:?} at call {nth}, {under_way}");
        let possible = &history[done..(done + 2).min(history.len())];
        if fault != Fault::Cut
            && let Some(engine) = &engine
        {
            if failure.is_some() {
                assert!(engine.read_only_cause().is_some(), "{what}: {failure:?} did not latch");
            }
            assert!(possible.contains(&answers(engine)), "{what}: answers of the running engine");
        }
        drop(engine);
        let mut images = vec![fs.reboot(nth % 5)];
        if fault != Fault::Cut {
            images.push(fs.restart());
        }
        for image in images {
            check(&image, possible, &what);
        }
    }
    assert!(met > 100, "only {met} calls: the operations do not do what they should");
}

/// Reopened, it answers as one of these, and after all maintenance too.
fn check(fs: &SimFs, possible: &[Answers], what: &str) {
    let engine = open(fs).unwrap_or_else(|error| panic!("{what}: cannot reopen: {error}"));
    let found = answers(&engine);
    assert!(possible.contains(&found), "{what}: other answers than before or after");
    engine.close().unwrap_or_else(|error| panic!("{what}: cannot close: {error}"));
    let engine = open(fs).unwrap();
    assert_eq!(engine.recovery().swept, 0, "{what}: the first open left something");
    assert!(answers(&engine) == found, "{what}: reopening changed the answers");
}
