//! Questions while parts are merged, archived and dropped.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use icecore::catalog::PartEntry;
use icecore::engine::{CompactScope, MaintenanceStep};
use icecore::fs::{DirEntry, Fs, FsFile, FsLock, LockMode, RealFs};
use icecore::options::ArchivePart;
use icecore::query::CancelToken;

use super::*;

/// Asks for everything while a part is in the archive and still live.
#[derive(Debug)]
struct Asking {
    archive: ParquetArchive,
    engine: OnceLock<Arc<Engine>>,
    asked: AtomicUsize,
}

const COUNTS: &str = "SELECT (SELECT count(*) FROM history.things WHERE n >= 0), \
    (SELECT sum(n) FROM history.things), (SELECT count(value) FROM history.load)";

impl Archiver for Asking {
    fn archive(&self, part: &ArchivePart<'_>) -> icecore::Result<()> {
        self.archive.archive(part)?;
        let (archive, engine) = (self.archive.clone(), Arc::clone(self.engine.get().unwrap()));
        let ask = move || {
            runtime().block_on(async {
                let session = SessionContext::new();
                let options = HistoryOptions { archive: Some(archive), ..Default::default() };
                options.register(&session, &engine).unwrap();
                assert_eq!(rows(&session, COUNTS).await, ["400 79800 400"]);
            });
        };
        std::thread::spawn(ask).join().unwrap();
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn withdraw(
        &self,
        store_id: u64,
        entry: &PartEntry,
        table: Option<&str>,
    ) -> icecore::Result<()> {
        self.archive.withdraw(store_id, entry, table)
    }
}

/// Four days, two parts each, then a row far later. The sum is that of 0 to 399.
fn four_days(engine: &Engine) {
    for part in 0..8_i64 {
        let at = |i: i64| part / 2 * DAY + (i * 2 + part % 2) * 60 * SECOND;
        let row = |i: i64| -> Row { (at(i), vec![(part * 50 + i).into()]) };
        write_rows(engine, 1, &(0..50).map(row).collect::<Vec<_>>());
        write_samples(engine, &(0..50).map(|i| (0, at(i), 1.0)).collect::<Vec<_>>());
        engine.freeze().unwrap();
    }
}

/// A row of the archive whose part is still live is seen once; and so are all, whenever it is asked.
#[test]
fn rows_are_seen_once_while_their_part_is_archived() {
    let dir = tempfile::tempdir().unwrap();
    let archive = ParquetArchive::new(dir.path().join("archive"));
    let asking =
        Asking { archive: archive.clone(), engine: OnceLock::new(), asked: AtomicUsize::new(0) };
    let asking = Arc::new(asking);
    let engine =
        open(&dir.path().join("db"), Some(1), Some(Arc::clone(&asking) as Arc<dyn Archiver>));
    asking.engine.set(Arc::clone(&engine)).unwrap();
    four_days(&engine);
    let report = engine.enforce_retention().unwrap();
    assert!(report.failed.is_none(), "{report:?}");
    let asked = asking.asked.load(Ordering::Relaxed);
    assert!(asked >= 8 && report.dropped.len() == asked, "{asked}");
}

/// Queries that run while parts are archived and dropped, one after another, and others merged.
#[test]
fn rows_are_seen_once_while_retention_runs() {
    let dir = tempfile::tempdir().unwrap();
    let archive = ParquetArchive::new(dir.path().join("archive"));
    let engine = open(&dir.path().join("db"), Some(3), Some(Arc::new(archive.clone())));
    four_days(&engine);
    let stop = Arc::new(AtomicBool::new(false));
    let ask = || {
        let (engine, archive, stop) = (Arc::clone(&engine), archive.clone(), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut asked = 0;
            runtime().block_on(async {
                let session = SessionContext::new();
                let options = HistoryOptions { archive: Some(archive), ..Default::default() };
                options.register(&session, &engine).unwrap();
                let old = "time < to_timestamp(4 * 86400)";
                let sql = format!(
                    "SELECT (SELECT count(n) FROM history.things WHERE {old}), \
                    (SELECT sum(n) FROM history.things WHERE {old}), \
                    (SELECT count(value) FROM history.load WHERE {old})"
                );
                while !stop.load(Ordering::Relaxed) || asked < 3 {
                    assert_eq!(rows(&session, &sql).await, ["400 79800 400"]);
                    asked += 1;
                }
            });
            asked
        })
    };
    let asking = [ask(), ask()];
    let mut dropped = 0;
    for hour in 0..100 {
        // The frontier goes on, so that a part a day is due after another; between them merges are.
        let time = 4 * DAY + hour * 2 * HOUR;
        write_rows(&engine, 1, &[(time, vec![0.into()])]);
        engine.freeze().unwrap();
        dropped += engine.enforce_retention().unwrap().dropped.len();
        if hour % 10 == 5 {
            let report =
                engine.compact(CompactScope::All, &CancelToken::new(), &mut |_| ()).unwrap();
            let ran = report.steps.iter().all(|step| {
                if let MaintenanceStep::Dropped(report) = step {
                    dropped += report.dropped.len();
                }
                !matches!(step, MaintenanceStep::Failed { .. })
            });
            assert!(ran, "{report:?}");
        }
    }
    stop.store(true, Ordering::Relaxed);
    let asked: usize = asking.into_iter().map(|asking| asking.join().unwrap()).sum();
    assert!(dropped >= 8 && asked >= 6, "{dropped} dropped, {asked} asked");
}

/// Once, when the files of a table are looked up: parts are merged, archived and dropped.
#[derive(Debug)]
struct Meddling {
    engine: Arc<Engine>,
    armed: AtomicBool,
}

impl Meddling {
    fn meddle(&self) {
        let report =
            self.engine.compact(CompactScope::All, &CancelToken::new(), &mut |_| ()).unwrap();
        assert!(!report.steps.is_empty());
        write_rows(&self.engine, 1, &[(30 * DAY, vec![0.into()])]);
        self.engine.freeze().unwrap();
        assert!(!self.engine.enforce_retention().unwrap().dropped.is_empty());
    }
}

macro_rules! passed_on {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {
        $(fn $name(&self, $($argument: $kind),*) -> icecore::Result<$answer> {
            RealFs.$name($($argument),*)
        })*
    };
}

impl Fs for Meddling {
    fn file_bytes(&self, path: &Path) -> icecore::Result<Option<u64>> {
        if path.ends_with("table=things") && self.armed.swap(false, Ordering::Relaxed) {
            self.meddle();
        }
        RealFs.file_bytes(path)
    }

    passed_on! {
        create_new(path: &Path) -> Box<dyn FsFile>;
        open_append(path: &Path) -> Box<dyn FsFile>;
        open_read(path: &Path) -> Box<dyn FsFile>;
        list(path: &Path) -> Vec<DirEntry>;
        rename(from: &Path, to: &Path) -> ();
        remove_file(path: &Path) -> ();
        remove_dir_all(path: &Path) -> ();
        create_dir_all(path: &Path) -> ();
        sync_dir(path: &Path) -> ();
        lock(path: &Path, mode: LockMode) -> Box<dyn FsLock>;
        free_bytes(path: &Path) -> u64;
    }
}

/// What was merged between the view and the files is in the archive under a name that the view does not
/// know, and its rows are in the view.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_seen_once_though_their_parts_are_merged_and_go_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("archive");
    let archiver = Arc::new(ParquetArchive::new(&archive));
    let engine = open(&dir.path().join("db"), Some(5), Some(archiver));
    four_days(&engine);
    let meddling =
        Arc::new(Meddling { engine: Arc::clone(&engine), armed: AtomicBool::new(false) });
    let session = SessionContext::new();
    let watched = ParquetArchive::on(Arc::clone(&meddling) as Arc<dyn Fs>, &archive);
    let options = HistoryOptions { archive: Some(watched), ..HistoryOptions::default() };
    options.register(&session, &engine).unwrap();
    let sql = "SELECT n FROM history.things WHERE time < to_timestamp(4 * 86400)";
    let plan = session.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    meddling.armed.store(true, Ordering::Relaxed);
    let batches = datafusion::physical_plan::collect(plan, session.task_ctx()).await.unwrap();
    assert!(!meddling.armed.load(Ordering::Relaxed));
    assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 400);
    assert_eq!(files(&archive.join("table=things")).len(), 4);
}
