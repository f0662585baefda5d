//! Snapshot and restore on a file system that fails, or loses power, at the Nth mutating call, for
//! every N: under the final name there is a whole copy or nothing, and the store itself does not
//! suffer.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use icecore::engine::{Environment, SnapshotOptions, restore_in};
use icecore::fs::Fs;
use icecore::model::{Metadata, Selector, Series};
use icecore::options::GateOptions;
use icecore::query::SampleRequest;
use icecore::store::StoreKind;
use icecore::{Engine, Options, SimulatedClock, TimeRange, Timestamp};

use crate::support::fault_fs::{Fault, SimFs};

type Samples = BTreeMap<i64, u64>;

const FAULTS: [Fault; 3] = [Fault::Error(ErrorKind::Other), Fault::ShortWrite, Fault::Cut];

fn open(fs: &SimFs, dir: &str, read_only: bool) -> icecore::Result<Engine> {
    let options = Options {
        read_only,
        store: StoreKind::Flat,
        free_bytes_min: 0,
        threads: 1,
        self_metrics: None,
        gate: GateOptions { past: None, future: None, ..GateOptions::default() },
        ..Options::default()
    };
    let clock = Arc::new(SimulatedClock::new(Timestamp(0)));
    Engine::open_in(dir, options, Environment { fs: Arc::new(fs.clone()), clock })
}

fn append(engine: &Engine, day: i64) -> icecore::Result<()> {
    let writer = engine.writer("crash");
    let series = writer.series(&Series::parse("m").unwrap(), &Metadata::default()).unwrap();
    let times: Vec<i64> = (0..20).map(|i| (day * 86_400 + i) * 1_000_000_000).collect();
    let values = times.iter().map(|&t| t as f64).collect();
    writer.append_column(&series, times, values)?.wait().map(drop)
}

fn read(fs: &SimFs, dir: &str, story: &str) -> Samples {
    let engine = open(fs, dir, true).unwrap_or_else(|error| panic!("{story}: {dir}: {error}"));
    let request = SampleRequest::new(TimeRange::ALL);
    let found = engine.samples(&Selector::parse("m").unwrap(), &request);
    let found = found.unwrap_or_else(|error| panic!("{story}: {dir}: {error}"));
    let samples = found.iter().flat_map(|found| found.timestamps.iter().zip(&found.values));
    samples.map(|(&time, value)| (time, value.to_bits())).collect()
}

/// A store of two parts, and a snapshot of the first.
fn prepared() -> (SimFs, Samples) {
    let fs = SimFs::new();
    let engine = open(&fs, "/db", false).unwrap();
    append(&engine, 0).unwrap();
    engine.snapshot("/first", &SnapshotOptions::default(), &mut |_| {}).unwrap();
    append(&engine, 5).unwrap();
    engine.close().unwrap();
    let expected = read(&fs, "/db", "prepared");
    assert_eq!(expected.len(), 40);
    (fs, expected)
}

/// Runs `copy`, which makes `/copy`, with every fault at every call; then looks at what is left.
fn for_every_call(copy: fn(&SimFs) -> icecore::Result<()>) {
    let (before, expected) = prepared();
    for fault in FAULTS {
        let mut met = 0;
        for nth in 1.. {
            let fs = before.restart();
            fs.arm(nth, fault);
            let copied = copy(&fs);
            if !fs.fired() {
                copied.unwrap();
                assert_eq!(read(&fs, "/copy", "done"), expected);
                break;
            }
            met += 1;
            let story = format!("{fault:?} at {nth}");
            let image = (fs.restart(), copied.is_ok(), format!("{story}, restarted"));
            let cuts = (0..6).map(|seed| {
                (fs.reboot(seed), copied.is_ok(), format!("{story}, power cut, seed {seed}"))
            });
            for (image, done, story) in std::iter::once(image).chain(cuts) {
                let there = image.file_bytes(Path::new("/copy")).unwrap().is_some();
                assert!(there || !done, "{story}: said to be done, and gone");
                if there {
                    assert_eq!(read(&image, "/copy", &story), expected, "{story}");
                }
                assert_eq!(read(&image, "/db", &story), expected, "{story}");
                assert_eq!(read(&image, "/first", &story).len(), 20, "{story}");
                if !there {
                    copy(&image).unwrap_or_else(|error| panic!("{story}: again: {error}"));
                    assert_eq!(read(&image, "/copy", &story), expected, "{story}");
                }
            }
        }
        assert!(met > 12, "only {met} calls");
    }
}

#[test]
fn a_snapshot_is_whole_or_not_there() {
    for_every_call(|fs| {
        let engine = open(fs, "/db", true)?;
        engine.snapshot("/copy", &SnapshotOptions::default(), &mut |_| {}).map(drop)
    });
}

#[test]
fn an_incremental_snapshot_is_whole_or_not_there() {
    for_every_call(|fs| {
        let engine = open(fs, "/db", true)?;
        let options = SnapshotOptions { previous: Some("/first".into()) };
        let report = engine.snapshot("/copy", &options, &mut |_| {})?;
        assert_eq!((report.parts, report.parts_linked), (2, 1));
        Ok(())
    });
}

#[test]
fn a_restored_store_is_whole_or_not_there() {
    for_every_call(|fs| {
        let fs: Arc<dyn Fs> = Arc::new(fs.clone());
        restore_in(&fs, Path::new("/db"), Path::new("/copy"), &mut |_| {}).map(drop)
    });
}

/// A failed snapshot is the snapshot's failure: the store goes on taking writes.
#[test]
fn a_failed_snapshot_does_not_latch_the_store() {
    let (fs, expected) = prepared();
    let engine = open(&fs, "/db", false).unwrap();
    // The freeze of an empty head writes nothing.
    fs.arm(5, Fault::ShortWrite);
    assert!(engine.snapshot("/copy", &SnapshotOptions::default(), &mut |_| {}).is_err());
    assert!(fs.fired());
    append(&engine, 9).unwrap();
    engine.snapshot("/copy", &SnapshotOptions::default(), &mut |_| {}).unwrap();
    assert_eq!(read(&fs, "/copy", "after").len(), expected.len() + 20);
}
