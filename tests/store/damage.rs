//! Damaged files: an error, a missing value or the right bytes, never others, never a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use icecore::store::{self, StoreKind};

use super::{build, kinds, real_fs, snapshot, value};

fn pairs() -> Vec<(u64, Vec<u8>)> {
    [40, 900, 3_000, 20_000, 70_000]
        .iter()
        .enumerate()
        .map(|(at, &length)| (at as u64, value(at as u64, length)))
        .collect()
}

/// Opens and reads all; whether everything came back whole.
fn read_all(kind: StoreKind, dir: &Path, pairs: &[(u64, Vec<u8>)], what: &str) -> bool {
    let read = || {
        let Ok(store) = store::open(kind, &real_fs(), dir) else { return false };
        let mut whole = true;
        for (key, expected) in pairs {
            match store.get(*key) {
                Ok(Some(found)) => {
                    assert!(found.as_ref() == &expected[..], "{kind}: {what}: wrong bytes")
                }
                Ok(None) | Err(_) => whole = false,
            }
        }
        let scanned = store.scan(&mut |key, found| {
            let expected = pairs.iter().find(|(known, _)| *known == key);
            assert!(expected.is_some_and(|(_, bytes)| found == &bytes[..]), "{kind}: {what}");
            Ok(())
        });
        whole && scanned.is_ok()
    };
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| panic!("{kind}: {what}: panicked"))
}

#[test]
fn a_flipped_bit_anywhere_is_an_error_or_harmless() {
    for kind in kinds() {
        let dir = tempfile::tempdir().unwrap();
        let pairs = pairs();
        build(kind, dir.path(), &pairs);
        let (mut noticed, mut flips) = (0, 0);
        for (path, sound) in snapshot(dir.path()) {
            let samples = 24.min(sound.len());
            for sample in 0..samples {
                let at = if sample < 8 { sample } else { sample * (sound.len() - 1) / samples };
                let mut damaged = sound.clone();
                damaged[at] ^= 1 << (sample % 8);
                std::fs::write(&path, &damaged).unwrap();
                let what = format!("bit {} of byte {at} of {}", sample % 8, path.display());
                noticed += u32::from(!read_all(kind, dir.path(), &pairs, &what));
                flips += 1;
                // Whatever the store did about it, the next flip meets the sealed bytes again.
                restore(dir.path(), &path, &sound);
            }
        }
        assert!(noticed > flips / 4, "{kind}: only {noticed} of {flips} flips were noticed");
        assert!(read_all(kind, dir.path(), &pairs, "restored"), "{kind}: damage outlived repair");
    }
}

fn restore(dir: &Path, path: &Path, sound: &[u8]) {
    std::fs::write(path, sound).unwrap();
    assert!(dir.is_dir());
}

#[test]
fn a_cut_or_missing_file_is_an_error() {
    for kind in kinds() {
        let dir = tempfile::tempdir().unwrap();
        let pairs = pairs();
        build(kind, dir.path(), &pairs);
        for (path, sound) in snapshot(dir.path()) {
            for keep in [0, 1, 11, sound.len() / 2, sound.len() - 1] {
                std::fs::write(&path, &sound[..keep.min(sound.len())]).unwrap();
                let what = format!("{} cut to {keep}", path.display());
                assert!(!read_all(kind, dir.path(), &pairs, &what), "{kind}: {what} unnoticed");
            }
            std::fs::remove_file(&path).unwrap();
            let what = format!("{} removed", path.display());
            assert!(!read_all(kind, dir.path(), &pairs, &what), "{kind}: {what} unnoticed");
            restore(dir.path(), &path, &sound);
        }
        assert!(read_all(kind, dir.path(), &pairs, "restored"), "{kind}: damage outlived repair");
    }
}

/// sled answered damage by deleting what it could not place: a part that had one bad bit lost all
/// its values for good. The seal keeps it from seeing such files.
#[test]
fn reading_a_damaged_store_changes_nothing_in_it() {
    for kind in kinds() {
        let dir = tempfile::tempdir().unwrap();
        let pairs = pairs();
        build(kind, dir.path(), &pairs);
        for (path, sound) in snapshot(dir.path()) {
            let mut damaged = sound.clone();
            damaged[sound.len() / 3] ^= 0x10;
            std::fs::write(&path, &damaged).unwrap();
            let before = snapshot(dir.path());
            read_all(kind, dir.path(), &pairs, "damaged");
            assert!(snapshot(dir.path()) == before, "{kind}: {} led to writes", path.display());
            std::fs::write(&path, &sound).unwrap();
        }
    }
}

#[test]
fn a_build_that_was_not_finished_does_not_open() {
    for kind in kinds() {
        let dir = tempfile::tempdir().unwrap();
        let mut builder = store::build(kind, &real_fs(), dir.path()).unwrap();
        for (key, value) in pairs() {
            builder.put(key, &value).unwrap();
        }
        drop(builder);
        if kind != StoreKind::Redb {
            assert!(store::open(kind, &real_fs(), dir.path()).is_err(), "{kind}");
        }
    }
}
