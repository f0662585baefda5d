//! Reading a store without touching it, and a directory that really cannot be written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use icecore::engine::Refusal;
use icecore::error::ReadOnlyCause;
use icecore::model::{Metadata, Series};
use icecore::store::StoreKind;
use icecore::{Engine, Error, Options, Timestamp};

use crate::disk_full::Mounted;
use crate::{handle, options, read, values};

fn read_only() -> Options {
    Options { read_only: true, ..options() }
}

/// Incompressible, so that sled writes blobs.
fn bits(t: i64) -> u64 {
    (t as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A part, and as many samples in the log alone.
fn build(dir: &Path, store: StoreKind) {
    let options = Options { store, freeze_on_close: false, ..options() };
    let engine = Engine::open(dir, options).unwrap();
    let writer = engine.writer("w");
    let series = handle(&writer, "m");
    for from in [0, 1_000] {
        let times = (from..from + 1_000).collect();
        let values = (from..from + 1_000).map(|t| f64::from_bits(bits(t)));
        drop(writer.append_column(&series, times, values.collect()).unwrap());
        if from == 0 {
            engine.freeze().unwrap();
        }
    }
    engine.close().unwrap();
}

type Tree = BTreeMap<PathBuf, (SystemTime, Option<Vec<u8>>)>;

/// Every file and directory, its time of change and its bytes.
fn tree(dir: &Path) -> Tree {
    let mut found = Tree::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let (path, metadata) = entry.map(|e| (e.path(), e.metadata().unwrap())).unwrap();
            let bytes = metadata.is_file().then(|| std::fs::read(&path).unwrap());
            if metadata.is_dir() {
                dirs.push(path.clone());
            }
            found.insert(path, (metadata.modified().unwrap(), bytes));
        }
        found.insert(dir.clone(), (std::fs::metadata(&dir).unwrap().modified().unwrap(), None));
    }
    found
}

fn check_reads(engine: &Engine) {
    let found = read(engine, "m").remove("m").unwrap();
    let expected: Vec<(i64, u64)> = (0..2_000).map(|t| (t, bits(t))).collect();
    assert!(found == expected, "{} samples", found.len());
}

#[test]
fn reading_changes_nothing_and_writing_is_refused() {
    for store in StoreKind::ALL.into_iter().filter(|store| store.is_built_in()) {
        let dir = tempfile::tempdir().unwrap();
        build(dir.path(), store);
        let before = tree(dir.path());
        let engine = Engine::open(dir.path(), read_only()).unwrap();
        check_reads(&engine);
        assert_eq!(engine.recovery().replayed_samples, 1_000);
        assert!(matches!(engine.read_only_cause(), Some(ReadOnlyCause::Opened)));
        let opened = |result: icecore::Result<()>| {
            matches!(result, Err(Error::ReadOnly { cause: ReadOnlyCause::Opened }))
        };
        let writer = engine.writer("w");
        let resolved = writer.series(&Series::parse("m").unwrap(), &Metadata::default());
        assert!(matches!(resolved, Err(Refusal::Unavailable(Error::ReadOnly { .. }))));
        let group = writer.scrape_group(&[]);
        assert!(opened(writer.append_scrape(&group, Timestamp(1), vec![]).map(drop)));
        assert!(opened(engine.sync()) && opened(engine.freeze()));
        engine.stats().unwrap();
        engine.close().unwrap();
        let report = Engine::verify(dir.path(), &mut |_| {}).unwrap();
        assert!(report.is_whole() && report.log_samples == 1_000, "{store}: {report:?}");
        let after = tree(dir.path());
        for (path, state) in &before {
            assert_eq!(after.get(path), Some(state), "{store}: {} changed", path.display());
        }
        assert_eq!(after.len(), before.len(), "{store}");
    }
}

#[test]
fn a_file_system_mounted_read_only_can_be_read() {
    let mut mounted = match Mounted::new(16 << 20) {
        Ok(mounted) => mounted,
        Err(why) => {
            println!("SKIPPED: cannot mount a tmpfs: {why}");
            return;
        }
    };
    let stores: Vec<(StoreKind, PathBuf)> = StoreKind::ALL
        .into_iter()
        .filter(|store| store.is_built_in())
        .map(|store| (store, mounted.path().join(store.to_string())))
        .collect();
    for (store, dir) in &stores {
        build(dir, *store);
    }
    mounted.remount("ro").unwrap();
    for (store, dir) in &stores {
        let refused = Engine::open(dir, options()).unwrap_err();
        match &refused {
            Error::Io { path, source, .. } => {
                assert!(path.starts_with(dir), "{store}: {refused}");
                assert_eq!(source.kind(), std::io::ErrorKind::ReadOnlyFilesystem, "{store}");
            }
            other => panic!("{store}: {other:?}"),
        }
        let engine = Engine::open(dir, read_only()).unwrap();
        check_reads(&engine);
        drop(engine);
        let report = Engine::verify(dir, &mut |_| {}).unwrap();
        assert!(report.is_whole() && report.samples == 1_000, "{store}: {report:?}");
    }
    let nowhere = mounted.path().join("new/store");
    let refused = Engine::open(&nowhere, options()).unwrap_err().to_string();
    assert!(refused.contains("new"), "{refused}");
    mounted.remount("rw").unwrap();
    for (_, dir) in &stores {
        let engine = Engine::open(dir, options()).unwrap();
        check_reads(&engine);
        assert_eq!(values(&engine, "m").len(), 2_000);
    }
}
