//! Snapshots of a store that is written to, their way back, and what they share.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use icecore::engine::{SnapshotOptions, SnapshotReport, restore};
use icecore::options::Durability;
use icecore::store::StoreKind;
use icecore::{Engine, Error, Options};

use crate::{handle, options, read, values};

const DAY: i64 = 86_400_000_000_000;

fn take(engine: &Engine, dir: &Path, previous: Option<&Path>) -> icecore::Result<SnapshotReport> {
    let options = SnapshotOptions { previous: previous.map(Path::to_owned) };
    engine.snapshot(dir, &options, &mut |_| {})
}

fn back(from: &Path, to: &Path) -> icecore::Result<SnapshotReport> {
    restore(from, to, &mut |_| {})
}

fn read_only() -> Options {
    Options { read_only: true, ..options() }
}

fn append(engine: &Engine, days: std::ops::Range<i64>) {
    let writer = engine.writer("test");
    for name in ["a{x=\"1\"}", "b"] {
        let series = handle(&writer, name);
        for day in days.clone() {
            let times: Vec<i64> = (0..500).map(|i| day * DAY + i * 100_000_000_000).collect();
            let values = times.iter().map(|&t| f64::from_bits(t as u64 ^ 0x3ff0_5555)).collect();
            drop(writer.append_column(&series, times, values).unwrap());
        }
    }
}

/// The inode of every file of the parts.
fn inodes(dir: &Path) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    let mut dirs = vec![dir.join("parts")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap().map(Result::unwrap) {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                dirs.push(entry.path());
            } else {
                found.insert(metadata.ino());
            }
        }
    }
    found
}

#[test]
fn a_snapshot_taken_while_writes_go_on_holds_what_came_before_it_and_no_gap() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(dir.path().join("db"), options()).unwrap();
    let writer = engine.writer("test").with_durability(Durability::Buffered);
    let series = handle(&writer, "m");
    let (stop, sent) = (AtomicBool::new(false), AtomicI64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for t in 0.. {
                drop(writer.append_column(&series, vec![t], vec![t as f64]).unwrap());
                sent.store(t + 1, Ordering::SeqCst);
                if stop.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
        for round in 0..3 {
            while sent.load(Ordering::SeqCst) < 1_000 * (round + 1) {
                std::thread::yield_now();
            }
            let before = sent.load(Ordering::SeqCst);
            let path = dir.path().join(round.to_string());
            let report = take(&engine, &path, None).unwrap();
            let snapshot = Engine::open(&path, read_only()).unwrap();
            let found = values(&snapshot, "m");
            assert!(found.len() as i64 >= before, "{} of {before}", found.len());
            assert_eq!(report.samples, found.len() as u64);
            assert!(found.iter().zip(0..).all(|(&(t, v), i)| t == i && v == i as f64));
            assert!(!dir.path().join(format!("{round}.tmp")).exists());
        }
        stop.store(true, Ordering::SeqCst);
    });
    engine.close().unwrap();
}

#[test]
fn what_is_restored_is_the_store_and_goes_on_as_one() {
    for store in [StoreKind::Flat, StoreKind::Sled] {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let engine = Engine::open(at("db"), Options { store, ..options() }).unwrap();
        append(&engine, 0..3);
        let report = take(&engine, &at("snap"), None).unwrap();
        assert_eq!((report.parts_linked, report.bytes_linked), (0, 0));
        assert!(report.parts >= 1 && report.bytes_copied > 1_000, "{report:?}");
        let expected = read(&engine, "{}");
        append(&engine, 3..4);
        let restored = back(&at("snap"), &at("new")).unwrap();
        assert_eq!((restored.parts, restored.samples), (report.parts, report.samples));
        let copy = Engine::open(at("new"), Options { store, ..options() }).unwrap();
        assert_eq!(read(&copy, "{}"), expected);
        // Sequence numbers go on where the parts end: nothing new is taken for replayed.
        append(&copy, 7..8);
        copy.close().unwrap();
        let copy = Engine::open(at("new"), Options { store, ..options() }).unwrap();
        assert_eq!(read(&copy, "b")["b"].len(), 2_000);
        assert!(Engine::verify(at("snap"), &mut |_| {}).unwrap().is_whole());
    }
}

#[test]
fn parts_of_the_previous_snapshot_are_shared_and_outlive_it() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let engine = Engine::open(at("db"), options()).unwrap();
    append(&engine, 0..3);
    let first = take(&engine, &at("first"), None).unwrap();
    append(&engine, 5..6);
    let second = take(&engine, &at("second"), Some(&at("first"))).unwrap();
    assert_eq!(second.parts_linked, first.parts);
    assert_eq!(second.bytes_linked, first.bytes_copied);
    assert!(second.parts > first.parts && second.bytes_copied > 0);
    assert!(inodes(&at("second")).is_superset(&inodes(&at("first"))));
    assert!(inodes(&at("second")).is_disjoint(&inodes(&at("db"))), "never of the live store");
    std::fs::remove_dir_all(at("first")).unwrap();
    assert!(Engine::verify(at("second"), &mut |_| {}).unwrap().is_whole());
    back(&at("second"), &at("new")).unwrap();
    assert_eq!(read(&Engine::open(at("new"), options()).unwrap(), "{}"), read(&engine, "{}"));
    // A damaged length in the previous one: copied from the store instead.
    let part = largest(&at("second").join("parts"));
    std::fs::write(&part, b"short").unwrap();
    let third = take(&engine, &at("third"), Some(&at("second"))).unwrap();
    assert_eq!(third.parts_linked, second.parts - 1);
    assert!(Engine::verify(at("third"), &mut |_| {}).unwrap().is_whole());
}

#[test]
fn a_snapshot_of_a_store_open_for_reading_keeps_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let engine = Engine::open(at("db"), Options { freeze_on_close: false, ..options() }).unwrap();
    append(&engine, 0..1);
    engine.freeze().unwrap();
    append(&engine, 1..2);
    engine.close().unwrap();
    let engine = Engine::open(at("db"), read_only()).unwrap();
    let expected = read(&engine, "{}");
    take(&engine, &at("snap"), None).unwrap();
    back(&at("snap"), &at("new")).unwrap();
    for name in ["snap", "new"] {
        assert_eq!(read(&Engine::open(at(name), read_only()).unwrap(), "{}"), expected, "{name}");
    }
}

fn largest(dir: &Path) -> PathBuf {
    let mut dirs = vec![dir.to_owned()];
    let mut found = (0, PathBuf::new());
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap().map(Result::unwrap) {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                dirs.push(entry.path());
            } else if metadata.len() > found.0 {
                found = (metadata.len(), entry.path());
            }
        }
    }
    found.1
}

#[test]
fn a_damaged_snapshot_is_refused_and_its_damage_named() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let engine = Engine::open(at("db"), options()).unwrap();
    append(&engine, 0..2);
    take(&engine, &at("snap"), None).unwrap();
    let victim = largest(&at("snap").join("parts"));
    let mut bytes = std::fs::read(&victim).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(&victim, bytes).unwrap();
    let error = back(&at("snap"), &at("new")).unwrap_err();
    let Error::Corrupt { path, .. } = &error else { panic!("{error}") };
    let part = victim.ancestors().find(|path| path.parent().unwrap().ends_with("parts")).unwrap();
    assert!(path.starts_with(part), "{error}");
    assert!(!error.to_string().contains("new.tmp"), "{error}");
    assert!(!at("new").exists() && !at("new.tmp").exists());
    // A part that is not there at all.
    std::fs::remove_dir_all(part).unwrap();
    let error = back(&at("snap"), &at("new")).unwrap_err();
    assert!(error.to_string().contains(&*part.to_string_lossy()), "{error}");
    assert!(!at("new").exists());
}

#[test]
fn what_is_there_is_never_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let engine = Engine::open(at("db"), options()).unwrap();
    append(&engine, 0..1);
    std::fs::create_dir(at("there")).unwrap();
    let exists = |error: Error| error.to_string().contains("exists");
    assert!(exists(take(&engine, &at("there"), None).unwrap_err()));
    take(&engine, &at("snap"), None).unwrap();
    assert!(exists(back(&at("snap"), &at("there")).unwrap_err()));
    assert!(back(&at("nothing"), &at("new")).is_err());
    // Another store's snapshot is no previous one.
    let other = Engine::open(at("other"), options()).unwrap();
    append(&other, 0..1);
    let refused = take(&other, &at("mixed"), Some(&at("snap"))).unwrap_err();
    assert!(refused.to_string().contains("another store"), "{refused}");
    // Leftovers of a crash are no obstacle.
    std::fs::create_dir_all(at("late.tmp").join("parts")).unwrap();
    take(&engine, &at("late"), None).unwrap();
    assert!(!at("late.tmp").exists());
    // A restore of a store that is being written to would be torn.
    assert!(matches!(back(&at("db"), &at("new")), Err(Error::Locked { .. })));
}
