//! A disk that really is full: a small tmpfs. Needs root; says so and does nothing without.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use icecore::engine::Reason;
use icecore::error::ReadOnlyCause;
use icecore::options::Durability;
use icecore::store::StoreKind;
use icecore::{Engine, Error, Options, Timestamp};

use crate::support::fault_fs::SimFs;
use crate::{eventually, handle, in_memory, open_on, options, read, refused};

/// A tmpfs of its own; unmounted when dropped.
pub(crate) struct Mounted(tempfile::TempDir);

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(text) }
}

impl Mounted {
    pub(crate) fn new(bytes: u64) -> Result<Self, String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let size = format!("size={bytes}");
        run("mount", &["-t", "tmpfs", "-o", &size, "icecore-test", dir.path().to_str().unwrap()])?;
        Ok(Self(dir))
    }

    pub(crate) fn remount(&mut self, option: &str) -> Result<(), String> {
        let option = format!("remount,{option}");
        run("mount", &["-o", &option, self.path().to_str().unwrap()])
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: after a failed write sled keeps its files open.
        let _ = run("umount", &["-l", self.0.path().to_str().unwrap()]);
    }
}

const WIDTH: usize = 50;

/// Incompressible enough that every sample takes its place.
fn value(row: i64, series: usize) -> f64 {
    let mixed = (row as u64 * WIDTH as u64 + series as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    f64::from_bits((mixed ^ mixed >> 29) & !(0x7ff << 52) | 0x3ff << 52)
}

/// Appends synced rows until one fails; returns how many were acknowledged, and the failure.
fn write_until_full(engine: &Engine, from: i64) -> (i64, Error) {
    let writer = engine.writer("w").with_durability(Durability::Synced);
    let handles: Vec<_> =
        (0..WIDTH).map(|i| handle(&writer, &format!("m{{i=\"{i:02}\"}}"))).collect();
    let group = writer.scrape_group(&handles);
    for row in from.. {
        // A hundred rows a sync, so that it does not take long.
        let rows = (row * 100..row * 100 + 100).map(|row| {
            let values = (0..WIDTH).map(|i| value(row, i)).collect();
            writer.append_scrape(&group, Timestamp(row), values)
        });
        let receipts: Result<Vec<_>, _> = rows.collect();
        let synced = receipts.and_then(|all| all.into_iter().try_for_each(|r| r.wait().map(drop)));
        if let Err(error) = synced {
            return (row, error);
        }
        assert!(row < 10_000, "the disk never filled up");
    }
    unreachable!("rows have no end")
}

/// At least `rows` hundreds are there, whole and right, and no holes before what is beyond.
fn check(engine: &Engine, rows: i64) {
    let found = read(engine, "m");
    assert_eq!(found.len(), WIDTH);
    for (i, samples) in found.values().enumerate() {
        assert!(samples.len() as i64 >= rows * 100, "{} of {} rows", samples.len(), rows * 100);
        for (row, &(timestamp, bits)) in (0..).zip(samples) {
            assert_eq!((timestamp, bits), (row, value(row, i).to_bits()));
        }
    }
}

fn mounted(bytes: u64) -> Option<Mounted> {
    Mounted::new(bytes).inspect_err(|why| println!("SKIPPED: cannot mount a tmpfs: {why}")).ok()
}

/// The log fills the disk, or a part does; the store is of every kind.
#[test]
fn a_full_disk_latches_and_loses_nothing() {
    for store in StoreKind::ALL.into_iter().filter(|store| store.is_built_in()) {
        for head_bytes_max in [64 << 20, 1 << 20] {
            let what = format!("{store}, heads of {head_bytes_max}");
            let Some(mut disk) = mounted(6 << 20) else { return };
            let dir = disk.path().join("store");
            let options = Options { store, head_bytes_max, ..options() };
            let engine = Engine::open(&dir, options.clone()).unwrap();
            let (rows, failure) = write_until_full(&engine, 0);
            assert!(rows > 10, "{what}: only {rows} rows");
            let kind = failure.kind();
            assert!(
                matches!(kind, icecore::ErrorKind::Io | icecore::ErrorKind::ReadOnly),
                "{what}: {failure}"
            );
            let Some(ReadOnlyCause::Failed(cause)) = engine.read_only_cause() else {
                panic!("{what}: not latched after {failure}");
            };
            if head_bytes_max == 64 << 20 {
                let Error::Io { path, source, .. } = &*cause else { panic!("{what}: {cause:?}") };
                assert!(path.starts_with(&dir), "{what}: {cause}");
                assert_eq!(source.kind(), ErrorKind::StorageFull, "{what}: {cause}");
            }
            let writer = engine.writer("w");
            assert!(matches!(engine.sync(), Err(Error::ReadOnly { .. })), "{what}");
            let group = writer.scrape_group(&[]);
            let appended = writer.append_scrape(&group, Timestamp(0), vec![]).map(drop);
            assert!(matches!(appended, Err(Error::ReadOnly { .. })), "{what}");
            check(&engine, rows);
            assert!(engine.close().is_err(), "{what}: closing hides the failure");

            // Still full: reading works. With space: everything does.
            let reader = Options { read_only: true, ..options.clone() };
            check(&Engine::open(&dir, reader).unwrap(), rows);
            disk.remount("size=64m").unwrap();
            let engine = Engine::open(&dir, options.clone()).unwrap();
            check(&engine, rows);
            engine.close().unwrap_or_else(|error| panic!("{what}: {error}"));
            let report = Engine::verify(&dir, &mut |_| {}).unwrap();
            assert!(report.is_whole(), "{what}: {:?}", report.problems);
            check(&Engine::open(&dir, options).unwrap(), rows);
        }
    }
}

#[test]
fn the_guard_refuses_in_time_and_recovers() {
    let Some(disk) = mounted(32 << 20) else { return };
    // A stranger's file takes the room.
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![1; 12 << 20]).unwrap();
    let dir = disk.path().join("store");
    let options = Options { free_bytes_min: 12 << 20, freeze_on_close: false, ..options() };
    let engine = Engine::open(&dir, options.clone()).unwrap();
    let (rows, failure) = write_until_full(&engine, 0);
    let Error::DiskFull { path, available_bytes, required_bytes } = failure else {
        panic!("{failure}")
    };
    assert_eq!((path, required_bytes), (dir.clone(), 12 << 20));
    assert!(available_bytes < required_bytes, "{available_bytes}");
    assert!(refused(&engine, Reason::DiskFull) > 0);
    assert!(engine.read_only_cause().is_none(), "the guard does not latch");
    check(&engine, rows);
    std::fs::remove_file(&ballast).unwrap();
    let writer = engine.writer("w");
    let group = writer.scrape_group(&[handle(&writer, "after")]);
    eventually("writes are taken again", || {
        writer.append_scrape(&group, Timestamp(0), vec![1.0]).is_ok_and(|r| r.wait().is_ok())
    });
    engine.close().unwrap();
    check(&Engine::open(&dir, options).unwrap(), rows);
}

/// Every sample that the guard refuses is counted, wherever it noticed.
#[test]
fn refusals_of_the_guard_are_counted() {
    let fs = SimFs::new();
    fs.set_capacity(1 << 20);
    let guarded = Options { free_bytes_min: 2 << 20, ..options() };
    let engine = open_on(Arc::new(fs.clone()), guarded).unwrap();
    let writer = engine.writer("w");
    let series = handle(&writer, "m");
    let mut offered = 0;
    for t in 0..10 {
        let full = writer.append_column(&series, vec![t, t + 1], vec![1.0; 2]);
        assert!(matches!(full.and_then(|r| r.wait()), Err(Error::DiskFull { .. })));
        offered += 2;
    }
    let group = writer.scrape_group(&[series.clone(), handle(&writer, "n")]);
    let full = writer.append_scrape(&group, Timestamp(5), vec![1.0; 2]);
    assert!(matches!(full.and_then(|r| r.wait()), Err(Error::DiskFull { .. })));
    assert_eq!(refused(&engine, Reason::DiskFull), offered + 2);
    assert!(read(&engine, "{}").is_empty());
    fs.set_capacity(16 << 20);
    eventually("writes are taken again", || {
        writer.append_column(&series, vec![9], vec![9.0]).is_ok_and(|r| r.wait().is_ok())
    });
    assert_eq!(crate::values(&engine, "m"), [(9, 9.0)]);
}

#[test]
fn a_simulated_full_disk_latches_too() {
    let (engine, fs) = in_memory(options());
    fs.set_capacity(20_000);
    let (rows, failure) = write_until_full(&engine, 0);
    assert!(failure.kind() == icecore::ErrorKind::Io, "{failure}");
    assert!(engine.close().is_err());
    fs.set_capacity(64 << 20);
    let engine = open_on(Arc::new(fs.reboot(0)), options()).unwrap();
    if rows > 0 {
        check(&engine, rows);
    }
}
