//! A damaged store: an error or exactly what was written, never a panic, never other values; and
//! verification tells of every damage.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use icecore::engine::VerifyReport;
use icecore::model::{Metadata, Selector, Series};
use icecore::options::GateOptions;
use icecore::query::{Function, Request, SampleRequest};
use icecore::store::StoreKind;
use icecore::{Engine, Options, TimeRange, Timestamp};

/// Series, timestamps and bits of values.
type Samples = BTreeMap<String, Vec<(i64, u64)>>;

const SERIES: usize = 4;
/// Rows in parts, and rows that only the log has.
const PART_ROWS: i64 = 2_000;
const LOG_ROWS: i64 = 6;

fn options(store: StoreKind) -> Options {
    Options {
        store,
        threads: 1,
        free_bytes_min: 0,
        self_metrics: None,
        freeze_on_close: false,
        gate: GateOptions { past: None, future: None, ..GateOptions::default() },
        ..Options::default()
    }
}

fn bits(row: i64, series: usize) -> u64 {
    // One series of any bits, so that sled writes a blob; the others as metrics are.
    match series {
        0 => (row as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        _ => ((row * series as i64) as f64 / 4.0).to_bits(),
    }
}

/// A store at rest: rows in a part, some more in the log, each synced by itself.
fn build(dir: &Path, store: StoreKind) {
    let engine = Engine::open(dir, options(store)).unwrap();
    let writer = engine.writer("w");
    let metadata = Metadata { help: "Something measured.".to_owned(), ..Metadata::default() };
    let handles: Vec<_> = (0..SERIES)
        .map(|i| {
            let series = Series::parse(&format!("m{{i=\"{i}\"}}")).unwrap();
            writer.series(&series, &metadata).unwrap()
        })
        .collect();
    let group = writer.scrape_group(&handles);
    for row in 0..PART_ROWS + LOG_ROWS {
        let values = (0..SERIES).map(|i| f64::from_bits(bits(row, i))).collect();
        drop(writer.append_scrape(&group, Timestamp(row), values).unwrap());
        if row + 1 == PART_ROWS {
            engine.freeze().unwrap();
        } else if row >= PART_ROWS {
            engine.sync().unwrap();
        }
    }
    engine.close().unwrap();
}

/// Rows `0..rows` of every series.
fn expected(rows: i64) -> Samples {
    let series = (0..SERIES).map(|i| {
        let samples = (0..rows).map(|row| (row, bits(row, i))).collect();
        (format!("m{{i=\"{i}\"}}"), samples)
    });
    series.collect()
}

/// Opens and reads everything in two ways; `None` where any of it is an error, else the samples
/// and whether the log's end was found torn.
fn read_all(dir: &Path, store: StoreKind) -> Option<(Samples, bool)> {
    let engine = Engine::open(dir, Options { read_only: true, ..options(store) }).ok()?;
    let all = Selector::parse("{}").unwrap();
    let found = engine.samples(&all, &SampleRequest::new(TimeRange::ALL)).ok()?;
    let samples: Samples = found
        .into_iter()
        .map(|found| {
            let bits = found.values.iter().map(|value| value.to_bits());
            (found.series.to_string(), found.timestamps.iter().copied().zip(bits).collect())
        })
        .collect();
    let range = TimeRange::new(Timestamp(0), Timestamp(PART_ROWS + LOG_ROWS));
    let answer = engine.query(&all, &Request::new(range, vec![Function::Count])).ok()?;
    let counted: u64 = answer.groups.iter().map(|group| group.counts[0]).sum();
    // The first series' bits may be the stale marker's, which is not counted; here none is.
    assert_eq!(counted, samples.values().map(|samples| samples.len() as u64).sum::<u64>());
    Some((samples, engine.recovery().torn_tail.is_some()))
}

fn verify(dir: &Path) -> VerifyReport {
    Engine::verify(dir, &mut |_| {}).unwrap()
}

/// Files below `dir` but the lock, with their bytes, the path relative.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut found, mut dirs) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(at) = dirs.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if !path.ends_with("LOCK") {
                let bytes = std::fs::read(&path).unwrap();
                found.push((path.strip_prefix(dir).unwrap().to_owned(), bytes));
            }
        }
    }
    found.sort();
    found
}

/// Puts damaged bytes in a file's place and checks what everyone says; then puts it right again.
fn check(
    dir: &Path,
    store: StoreKind,
    (file, sound): &(PathBuf, Vec<u8>),
    damaged: &[u8],
    what: &str,
) {
    let what = format!("{store}, {}: {what}", file.display());
    let path = dir.join(file);
    std::fs::write(&path, damaged).unwrap();
    let (read, report) = catch_unwind(AssertUnwindSafe(|| (read_all(dir, store), verify(dir))))
        .unwrap_or_else(|_| panic!("{what}: panicked"));
    let whole = expected(PART_ROWS + LOG_ROWS);
    let is_log = file.starts_with("log");
    if let Some((samples, torn)) = read {
        let rows = samples.values().next().map_or(0, Vec::len) as i64;
        // What stands last in the log looks as if a crash had torn it while it was written.
        let allowed = is_log && torn && rows >= PART_ROWS && samples == expected(rows);
        assert!(allowed || samples == whole, "{what}: other samples, {rows} rows");
    }
    let told = !report.is_whole() || (is_log && report.torn_bytes > 0);
    // A log cut just behind one of its frames is a shorter log.
    let shorter = is_log && damaged.len() < sound.len();
    assert!(told || shorter, "{what}: verification found nothing");
    std::fs::write(&path, sound).unwrap();
}

/// Which bytes are damaged: all, but for the store's own files, where it is those at the ends and
/// some in between; and fewer of the log where each look at the part takes long.
fn positions(store: StoreKind, file: &Path, bytes: usize) -> Vec<usize> {
    let in_store = file.components().any(|part| part.as_os_str() == "store");
    if in_store && bytes > 80 {
        let between = (0..50).map(|i| 20 + i * (bytes - 40) / 50);
        return (0..20).chain(between).chain(bytes - 20..bytes).collect();
    }
    let slow = store != StoreKind::Flat && file.starts_with("log");
    (0..bytes).step_by(if slow { 5 } else { 1 }).collect()
}

fn damage(store: StoreKind) {
    let dir = tempfile::tempdir().unwrap();
    build(dir.path(), store);
    let all = files(dir.path());
    let begins = |start: &str| all.iter().any(|(file, _)| file.starts_with(start));
    assert!(begins("catalog") && begins("log") && begins("parts"), "{all:?}");
    let sound = read_all(dir.path(), store).unwrap();
    assert_eq!(sound, (expected(PART_ROWS + LOG_ROWS), false));
    assert!(verify(dir.path()).is_whole());
    for file in &all {
        for at in positions(store, &file.0, file.1.len()) {
            let mut damaged = file.1.clone();
            damaged[at] ^= 1 << (at % 8);
            check(dir.path(), store, file, &damaged, &format!("bit {} of byte {at}", at % 8));
        }
        let bytes = file.1.len();
        for keep in
            [0, 1, 7, bytes / 3, bytes / 2, bytes.saturating_sub(9), bytes.saturating_sub(1)]
        {
            if keep < bytes {
                check(dir.path(), store, file, &file.1[..keep], &format!("cut to {keep}"));
            }
        }
    }
    assert!(files(dir.path()) == all, "{store}: reading or verifying changed a file");
    assert_eq!(read_all(dir.path(), store).unwrap(), sound);
}

#[test]
fn a_damaged_flat_store_tells_or_answers_rightly() {
    damage(StoreKind::Flat);
}

#[cfg(feature = "sled")]
#[test]
fn a_damaged_sled_store_tells_or_answers_rightly() {
    damage(StoreKind::Sled);
}

/// What is missing altogether.
#[test]
fn a_missing_file_is_an_error() {
    for store in StoreKind::ALL.into_iter().filter(|store| store.is_built_in()) {
        let dir = tempfile::tempdir().unwrap();
        build(dir.path(), store);
        for (file, sound) in files(dir.path()) {
            let path = dir.path().join(&file);
            std::fs::remove_file(&path).unwrap();
            let read = read_all(dir.path(), store);
            // The last log file has been synced and closed; who removes it removes what was last
            // written, and nothing is left to tell.
            let last = file.starts_with("log");
            assert!(read.is_none() || last, "{store}: {} is not missed", file.display());
            if let Some((samples, _)) = read {
                assert_eq!(samples, expected(PART_ROWS), "{store}: {}", file.display());
            }
            assert!(!verify(dir.path()).is_whole() || last, "{store}: {}", file.display());
            std::fs::write(&path, sound).unwrap();
        }
    }
}
