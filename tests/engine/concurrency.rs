//! Reading while writing and freezing: every reader sees a prefix of what was written, whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use icecore::model::Selector;
use icecore::options::Durability;
use icecore::query::{Function, Request};
use icecore::store::StoreKind;
use icecore::{Engine, Options, TimeRange, Timestamp};

use crate::{handle, options, read};

const SERIES: usize = 5;

/// Rows `0..n` of every series, where row `i` is the value `i` at time `i`; returns `n`.
fn prefix(engine: &Engine) -> usize {
    let found = read(engine, "row");
    let mut rows = None;
    for (series, samples) in &found {
        for (i, &(timestamp, bits)) in samples.iter().enumerate() {
            assert_eq!((timestamp, f64::from_bits(bits)), (i as i64, i as f64), "{series}");
        }
        assert_eq!(*rows.get_or_insert(samples.len()), samples.len(), "{series} is torn");
    }
    assert!(found.is_empty() || found.len() == SERIES, "{} series", found.len());
    rows.unwrap_or(0)
}

/// As [`prefix`], counted by windows.
fn counted(engine: &Engine) -> usize {
    let range = TimeRange::new(Timestamp(0), Timestamp(1 << 40));
    let functions = vec![Function::Count, Function::Max, Function::Increase];
    let answer =
        engine.query(&Selector::parse("row").unwrap(), &Request::new(range, functions)).unwrap();
    let counts: Vec<u64> = answer.groups.iter().map(|group| group.counts[0]).collect();
    for group in &answer.groups {
        assert_eq!(group.counts[0], counts[0], "torn: {counts:?}");
        assert_eq!(group.values[1][0], counts[0] as f64 - 1.0, "a gap or a duplicate");
    }
    counts.first().map_or(0, |&count| count as usize)
}

fn stress(store: StoreKind, time: Duration) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { store, head_bytes_max: 1 << 16, chunk_samples_max: 64, ..options() };
    let engine = Arc::new(Engine::open(dir.path(), options.clone()).unwrap());
    let done = Arc::new(AtomicBool::new(false));
    // A slow machine takes longer; what was to be seen must have been seen.
    let (looks, freezes) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let reader = |see: fn(&Engine) -> usize| {
        let (engine, done, looks) = (Arc::clone(&engine), Arc::clone(&done), Arc::clone(&looks));
        thread::spawn(move || {
            let mut seen = 0;
            while !done.load(Ordering::SeqCst) {
                let now = see(&engine);
                assert!(now >= seen, "{seen} rows were there, now {now}");
                seen = now;
                looks.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    let readers = [reader(prefix), reader(counted)];
    let freezer = {
        let (engine, done, freezes) =
            (Arc::clone(&engine), Arc::clone(&done), Arc::clone(&freezes));
        thread::spawn(move || {
            while !done.load(Ordering::SeqCst) {
                engine.freeze().unwrap();
                freezes.fetch_add(1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(15));
            }
        })
    };
    let writer = engine.writer("w").with_durability(Durability::Buffered);
    let handles: Vec<_> =
        (0..SERIES).map(|i| handle(&writer, &format!("row{{i=\"{i}\"}}"))).collect();
    let group = writer.scrape_group(&handles);
    let (began, mut row) = (Instant::now(), 0);
    let enough = || freezes.load(Ordering::SeqCst) > 4 && looks.load(Ordering::SeqCst) > 10;
    while began.elapsed() < time || !enough() {
        assert!(began.elapsed() < Duration::from_secs(30), "{store}: it hardly froze");
        for _ in 0..50 {
            drop(writer.append_scrape(&group, Timestamp(row), vec![row as f64; SERIES]).unwrap());
            row += 1;
        }
        thread::sleep(Duration::from_millis(1));
    }
    engine.sync().unwrap();
    assert_eq!((prefix(&engine), counted(&engine)), (row as usize, row as usize));
    done.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.join().unwrap();
    }
    freezer.join().unwrap();
    assert!(engine.stats().unwrap().parts.len() > 3, "{store}");
    Arc::into_inner(engine).unwrap().close().unwrap();
    assert_eq!(prefix(&Engine::open(dir.path(), options).unwrap()), row as usize);
}

#[test]
fn readers_see_a_prefix_while_heads_freeze_into_flat_parts() {
    stress(StoreKind::Flat, Duration::from_millis(400));
}

#[test]
fn readers_see_a_prefix_while_heads_freeze_into_default_parts() {
    stress(StoreKind::default(), Duration::from_millis(400));
}

#[test]
fn many_threads_write_at_once_and_nothing_is_lost() {
    let (engine, _) = crate::in_memory(Options { head_bytes_max: 1 << 17, ..options() });
    let threads: Vec<_> = (0..4_i64)
        .map(|i| {
            let writer = engine.writer("w");
            thread::spawn(move || {
                // One series of its own and one that all of them write, each its own times.
                let own = handle(&writer, &format!("own{{i=\"{i}\"}}"));
                let all = handle(&writer, "all");
                let group = writer.scrape_group(&[own, all]);
                for t in 0..2_000_i64 {
                    let at = Timestamp(4 * t + i);
                    drop(writer.append_scrape(&group, at, vec![t as f64, i as f64]).unwrap());
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    engine.sync().unwrap();
    let expected: Vec<(i64, f64)> = (0..8_000).map(|t| (t, (t % 4) as f64)).collect();
    assert_eq!(crate::values(&engine, "all"), expected);
    assert_eq!(read(&engine, "own").values().map(Vec::len).collect::<Vec<_>>(), [2_000; 4]);
}
