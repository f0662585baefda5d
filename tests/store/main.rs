//! What every part store promises, asked of each one that this build holds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    missing_docs,
    reason = "a test binary"
)]

mod damage;
mod read_only;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use icecore::Error;
use icecore::fs::{Fs, RealFs, tree_bytes};
use icecore::store::{self, PartStore, StoreKind};

fn real_fs() -> Arc<dyn Fs> {
    Arc::new(RealFs)
}

fn kinds() -> impl Iterator<Item = StoreKind> {
    StoreKind::ALL.into_iter().filter(|kind| kind.is_built_in())
}

/// Incompressible bytes that depend on the key, so that no value can stand in for another.
fn value(key: u64, length: usize) -> Vec<u8> {
    let mut state = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(length).collect()
}

fn build(kind: StoreKind, dir: &Path, pairs: &[(u64, Vec<u8>)]) {
    let mut builder = store::build(kind, &real_fs(), dir).unwrap();
    for (key, value) in pairs {
        builder.put(*key, value).unwrap();
    }
    builder.finish().unwrap();
}

fn open(kind: StoreKind, dir: &Path) -> Box<dyn PartStore> {
    store::open(kind, &real_fs(), dir).unwrap()
}

fn get(store: &dyn PartStore, key: u64) -> Option<Vec<u8>> {
    store.get(key).unwrap().map(|value| value.as_ref().to_vec())
}

fn scan(store: &dyn PartStore) -> Vec<(u64, Vec<u8>)> {
    let mut pairs = Vec::new();
    store
        .scan(&mut |key, value| {
            pairs.push((key, value.to_vec()));
            Ok(())
        })
        .unwrap();
    pairs
}

/// Every file below a directory with its bytes.
fn snapshot(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files.extend(snapshot(&entry.path()));
        } else {
            files.insert(entry.path(), std::fs::read(entry.path()).unwrap());
        }
    }
    files
}

/// When each file below a directory was last written.
fn write_times(dir: &Path) -> BTreeMap<PathBuf, std::time::SystemTime> {
    let time = |path: &PathBuf| std::fs::metadata(path).unwrap().modified().unwrap();
    snapshot(dir).into_keys().map(|path| (path.clone(), time(&path))).collect()
}

/// Lengths on both sides of every store's thresholds: inline, sled's blobs, tree and page sizes.
fn mixed_pairs() -> Vec<(u64, Vec<u8>)> {
    let lengths = [
        1, 2, 22, 23, 100, 1_000, 1_980, 2_000, 2_027, 2_028, 2_029, 2_048, 4_096, 8_191, 8_192,
        36_000, 65_536, 131_052, 131_053, 262_144, 1_048_576, 1_048_577, 2_500_000, 1, 17,
    ];
    let keyed = |(at, &length): (usize, &usize)| {
        let key = (at as u64) * 7 + u64::from(at > 20) * (1 << 40);
        (key, value(key, length))
    };
    lengths.iter().enumerate().map(keyed).collect()
}

#[test]
fn values_of_every_length_come_back_in_order_after_each_reopen() {
    for kind in kinds() {
        let dir = tempfile::tempdir().unwrap();
        let pairs = mixed_pairs();
        build(kind, dir.path(), &pairs);
        for _ in 0..3 {
            let store = open(kind, dir.path());
            for (key, value) in pairs.iter().rev() {
                assert_eq!(get(store.as_ref(), *key).as_ref(), Some(value), "{kind} {key}");
            }
            assert_eq!(scan(store.as_ref()), pairs, "{kind}");
        }
    }
}

#[test]
fn keys_that_were_not_put_are_none() {
    for kind in kinds() {
        let dir = tempfile::tempdir().unwrap();
        build(kind, dir.path(), &[(5, value(5, 10)), (900, value(900, 10))]);
        let store = open(kind, dir.path());
        for key in [0, 4, 6, 899, 901, u64::MAX] {
            assert!(store.get(key).unwrap().is_none(), "{kind} {key}");
        }
    }
}

#[test]
fn an_empty_store_opens_and_holds_nothing() {
    for kind in kinds() {
        let dir = tempfile::tempdir().unwrap();
        build(kind, dir.path(), &[]);
        let store = open(kind, dir.path());
        assert!(store.get(0).unwrap().is_none(), "{kind}");
        assert!(scan(store.as_ref()).is_empty(), "{kind}");
    }
}

#[test]
fn many_small_values_and_the_ends_of_the_key_space() {
    for kind in kinds() {
        let dir = tempfile::tempdir().unwrap();
        let keys = (0..2_000).map(|at| at * 3).chain([u64::MAX - 1, u64::MAX]);
        let pairs: Vec<_> = keys.map(|key| (key, value(key, 1 + key as usize % 300))).collect();
        build(kind, dir.path(), &pairs);
        let store = open(kind, dir.path());
        assert_eq!(scan(store.as_ref()), pairs, "{kind}");
        assert_eq!(get(store.as_ref(), u64::MAX).as_ref(), Some(&pairs[2_001].1), "{kind}");
    }
}

#[test]
fn a_builder_refuses_what_no_store_could_keep() {
    for kind in kinds() {
        let dir = tempfile::tempdir().unwrap();
        let mut builder = store::build(kind, &real_fs(), dir.path()).unwrap();
        builder.put(7, b"seven").unwrap();
        for (key, value) in [(7, &b"again"[..]), (6, b"back"), (8, b"")] {
            let refused = builder.put(key, value);
            assert!(matches!(refused, Err(Error::InvalidArgument { .. })), "{kind} {key}");
        }
        builder.put(8, b"eight").unwrap();
        builder.finish().unwrap();
        let expected = [(7, b"seven".to_vec()), (8, b"eight".to_vec())];
        assert_eq!(scan(open(kind, dir.path()).as_ref()), expected, "{kind}");
    }
}

#[test]
fn a_scan_stops_at_the_visitors_error() {
    for kind in kinds() {
        let dir = tempfile::tempdir().unwrap();
        build(kind, dir.path(), &mixed_pairs());
        let mut seen = 0;
        let stopped = open(kind, dir.path()).scan(&mut |_, _| {
            seen += 1;
            if seen == 3 { Err(Error::Cancelled) } else { Ok(()) }
        });
        assert!(matches!(stopped, Err(Error::Cancelled)), "{kind}");
        assert_eq!(seen, 3, "{kind}");
    }
}

#[test]
fn two_readers_at_once_and_threads_within_each() {
    for kind in kinds() {
        let dir = tempfile::tempdir().unwrap();
        let pairs = mixed_pairs();
        build(kind, dir.path(), &pairs);
        let stores = [open(kind, dir.path()), open(kind, dir.path())];
        std::thread::scope(|scope| {
            for store in stores.iter().chain(&stores) {
                scope.spawn(|| {
                    for (key, value) in &pairs {
                        assert_eq!(get(store.as_ref(), *key).as_ref(), Some(value));
                    }
                });
            }
        });
    }
}

#[test]
fn opening_and_reading_leave_every_byte_as_it_was() {
    for (kind, count) in kinds().flat_map(|kind| [0, 1, 2, 3, 5, 8, 13, 25].map(|n| (kind, n))) {
        let dir = tempfile::tempdir().unwrap();
        let mut pairs = mixed_pairs();
        pairs.truncate(count);
        build(kind, dir.path(), &pairs);
        let (sealed, written) = (snapshot(dir.path()), write_times(dir.path()));
        for _ in 0..3 {
            assert_eq!(scan(open(kind, dir.path()).as_ref()).len(), pairs.len());
            assert!(snapshot(dir.path()) == sealed, "{kind}: reading changed a sealed store");
            // sled zeroed the end of its log at each open: the same bytes, but a write and a sync.
            assert_eq!(write_times(dir.path()), written, "{kind}: reading wrote");
        }
    }
}

/// The bar for a store directory of a whole small capture leaves 80 KB for this.
#[test]
fn a_small_part_costs_little_more_than_its_payload() {
    for kind in kinds() {
        let dir = tempfile::tempdir().unwrap();
        build(kind, dir.path(), &[(0, value(0, 36_000))]);
        scan(open(kind, dir.path()).as_ref());
        let overhead = tree_bytes(&RealFs, dir.path()).unwrap() - 36_000;
        let bar = if kind == StoreKind::Redb { 200_000 } else { 12_000 };
        assert!(overhead <= bar, "{kind}: {overhead} bytes beside 36,000 of payload");
    }
}

#[test]
fn the_stored_numbers_of_kinds_never_change() {
    let numbers = StoreKind::ALL.map(|kind| (kind as u8, kind.name()));
    assert_eq!(numbers, [(1, "sled"), (2, "redb"), (3, "flat")]);
    assert_eq!(StoreKind::from_number(2), Some(StoreKind::Redb));
    assert_eq!(StoreKind::from_number(0), None);
}

#[test]
fn a_kind_that_is_not_built_in_says_so() {
    for kind in StoreKind::ALL.into_iter().filter(|kind| !kind.is_built_in()) {
        let dir = tempfile::tempdir().unwrap();
        let refused = store::open(kind, &real_fs(), dir.path()).unwrap_err();
        assert!(refused.to_string().contains("lacks the feature"), "{refused}");
    }
}
