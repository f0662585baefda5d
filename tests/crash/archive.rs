//! Retention with an archive on a file system that fails, or loses power, at the Nth mutating call,
//! for every N: each sample is in the store, or whole in a file of the archive that has its name.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use icecore::engine::Environment;
use icecore::fs::Fs;
use icecore::integration::parquet::ParquetArchive;
use icecore::model::{Metadata, Selector, Series};
use icecore::options::{Archive, GateOptions, Keep, Maintenance, Policy};
use icecore::query::SampleRequest;
use icecore::store::StoreKind;
use icecore::{Engine, Options, SimulatedClock, Tier, TimeRange, Timestamp};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;

use crate::support::fault_fs::{Fault, SimFs};

const DAY: i64 = 86_400_000_000_000;

fn open(fs: &SimFs) -> icecore::Result<Engine> {
    let archive = Archive {
        archiver: Arc::new(ParquetArchive::on(Arc::new(fs.clone()), "/archive")),
        budget_drops_unarchived: false,
    };
    let keep = Keep::FOREVER.with(Tier::RAW, Duration::from_secs(3 * 86_400));
    let options = Options {
        store: StoreKind::Flat,
        free_bytes_min: 0,
        threads: 1,
        self_metrics: None,
        maintenance: Maintenance::ByHand,
        archive: Some(archive),
        policy: Policy { keep, ..Policy::default() },
        gate: GateOptions { past: None, future: None, ..GateOptions::default() },
        ..Options::default()
    };
    let clock = Arc::new(SimulatedClock::new(Timestamp(100 * DAY)));
    Engine::open_in("/db", options, Environment { fs: Arc::new(fs.clone()), clock })
}

/// Two old windows far apart and a new one, a part each.
fn prepared() -> (SimFs, BTreeSet<(i64, u64)>) {
    let fs = SimFs::new();
    let engine = open(&fs).unwrap();
    let writer = engine.writer("crash");
    let series = writer.series(&Series::parse("m").unwrap(), &Metadata::default()).unwrap();
    let mut all = BTreeSet::new();
    for day in [0, 40, 99] {
        let times: Vec<i64> = (0..30).map(|i| day * DAY + i * 1_000_000_000).collect();
        let values: Vec<f64> = times.iter().map(|&t| (t / 1_000_000_000) as f64).collect();
        all.extend(times.iter().zip(&values).map(|(&t, value)| (t, value.to_bits())));
        writer.append_column(&series, times, values).unwrap().wait().unwrap();
        engine.freeze().unwrap();
    }
    drop(engine);
    (fs, all)
}

fn stored(fs: &SimFs) -> BTreeSet<(i64, u64)> {
    let engine = open(fs).unwrap();
    let request = SampleRequest::new(TimeRange::ALL);
    let found = engine.samples(&Selector::parse("m").unwrap(), &request).unwrap();
    let samples = found.iter().flat_map(|found| found.timestamps.iter().zip(&found.values));
    samples.map(|(&time, value)| (time, value.to_bits())).collect()
}

fn archived(fs: &SimFs) -> BTreeSet<(i64, u64)> {
    let mut found = BTreeSet::new();
    let mut dirs = vec![PathBuf::from("/archive")];
    while let Some(dir) = dirs.pop() {
        if fs.file_bytes(&dir).unwrap().is_none() {
            continue;
        }
        for entry in fs.list(&dir).unwrap() {
            let path = dir.join(&entry.name);
            if entry.is_dir {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "parquet") {
                found.extend(rows(fs, &path));
            }
        }
    }
    found
}

fn rows(fs: &SimFs, path: &Path) -> Vec<(i64, u64)> {
    let reader = SerializedFileReader::new(bytes::Bytes::from(fs.content(path))).unwrap();
    let rows = reader.get_row_iter(None).unwrap().map(Result::unwrap);
    rows.map(|row| (row.get_long(3).unwrap(), row.get_double(4).unwrap().to_bits())).collect()
}

#[test]
fn what_leaves_the_store_is_in_the_archive() {
    let (before, all) = prepared();
    assert_eq!(stored(&before), all);
    for fault in [Fault::Error(ErrorKind::Other), Fault::ShortWrite, Fault::Cut] {
        let mut met = 0;
        for nth in 1.. {
            let fs = before.restart();
            fs.arm(nth, fault);
            let done = open(&fs).and_then(|engine| engine.enforce_retention());
            let fired = fs.fired();
            met += u32::from(fired);
            let images = std::iter::once((fs.restart(), "restarted".to_owned()));
            let cuts =
                [0, 2].into_iter().map(|seed| (fs.reboot(seed), format!("power cut, seed {seed}")));
            for (image, story) in images.chain(cuts) {
                let story = format!("{fault:?} at {nth}, {story}");
                let (left, kept) = (stored(&image), archived(&image));
                let both: BTreeSet<_> = left.union(&kept).copied().collect();
                assert_eq!(both, all, "{story}: something is nowhere, or was never there");
                let again = open(&image).unwrap().enforce_retention().unwrap();
                assert!(again.failed.is_none(), "{story}: {again:?}");
                assert_eq!((stored(&image).len(), archived(&image).len()), (30, 60), "{story}");
            }
            if !fired {
                assert_eq!(done.unwrap().dropped.len(), 2);
                break;
            }
        }
        assert!(met > 15, "only {met} calls");
    }
}
