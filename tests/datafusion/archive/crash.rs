//! Retention, and compaction after it, on a file system that fails or loses power at the Nth mutating
//! call, for every ninth N, which in the next file is another of its calls: a row is in a table once,
//! wherever the crash left it.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::{Float64Type, Int64Type};
use datafusion::prelude::SessionContext;
use icecore::engine::{CompactScope, Environment};
use icecore::integration::datafusion::HistoryOptions;
use icecore::integration::parquet::ParquetArchive;
use icecore::model::{EventColumn, EventKind, EventSchema, Metadata, Series};
use icecore::options::{Archive, GateOptions, Keep, Maintenance, Policy};
use icecore::query::CancelToken;
use icecore::store::StoreKind;
use icecore::{Engine, Options, SimulatedClock, Tier, Timestamp};

use crate::support::fault_fs::{Fault, SimFs};

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;
/// How many rows and samples, and their sums. Five pieces of 20, n is 0 to 99; one sample of m is
/// written twice.
const EVERYTHING: [i64; 4] = [100, 4950, 99, 4950];

fn archive(fs: &SimFs) -> ParquetArchive {
    ParquetArchive::on(Arc::new(fs.clone()), "/archive")
}

fn open(fs: &SimFs, keep: Keep) -> icecore::Result<Arc<Engine>> {
    let archive = Archive { archiver: Arc::new(archive(fs)), budget_drops_unarchived: false };
    let options = Options {
        store: StoreKind::Flat,
        free_bytes_min: 0,
        threads: 1,
        self_metrics: None,
        maintenance: Maintenance::ByHand,
        archive: Some(archive),
        policy: Policy { keep, tiers: Vec::new(), ..Policy::default() },
        gate: GateOptions { past: None, future: None, ..GateOptions::default() },
        ..Options::default()
    };
    let clock = Arc::new(SimulatedClock::new(Timestamp(100 * DAY)));
    Engine::open_in("/db", options, Environment { fs: Arc::new(fs.clone()), clock }).map(Arc::new)
}

fn three_days() -> Keep {
    Keep::FOREVER.with(Tier::RAW, Duration::from_secs(3 * 86_400))
}

/// Three parts of one old day, so that they can be merged, one of another and a new one; of rows and
/// of samples each.
fn prepared() -> SimFs {
    let fs = SimFs::new();
    let engine = open(&fs, three_days()).unwrap();
    let table =
        EventSchema::new("things", vec![EventColumn::new("n", EventKind::Integer)]).unwrap();
    let events = engine.events(&table).unwrap();
    let writer = engine.writer("crash");
    let series =
        writer.series(&Series::parse("m{a=\"b\"}").unwrap(), &Metadata::default()).unwrap();
    for (piece, day) in (0..).zip([0, 0, 0, 40, 99]) {
        let numbers = piece * 20..piece * 20 + 20_i64;
        let at = |n: i64| day * DAY + n * SECOND;
        for n in numbers.clone() {
            drop(events.append(Timestamp(at(n)), &[n.into()]).unwrap());
        }
        let mut times: Vec<i64> = numbers.clone().map(at).collect();
        let mut values: Vec<f64> = numbers.map(|n| n as f64).collect();
        if piece == 1 {
            // Writes the first piece's last sample again; its own last one follows with both values.
            times.insert(0, at(19));
            values.insert(0, 19.0);
        }
        if piece == 0 {
            values[19] = 1e9;
        }
        if piece == 4 {
            times.pop();
            let last = values.pop().unwrap();
            values[18] += last;
        }
        drop(writer.append_column(&series, times, values).unwrap());
        engine.sync().unwrap();
        engine.freeze().unwrap();
    }
    drop((events, writer));
    fs
}

async fn ask(session: &SessionContext, fs: &SimFs, engine: Option<Arc<Engine>>) -> [i64; 4] {
    let options = HistoryOptions { archive: Some(archive(fs)), ..HistoryOptions::default() };
    match engine {
        Some(engine) => options.register(session, &engine).unwrap(),
        None => options.register_archive(session).unwrap(),
    }
    // Counted here: plans of aggregates take longer to make than all of this to read.
    let (mut counts, mut sums) = ([0; 2], [0; 2]);
    for batch in crate::ask(session, "SELECT n FROM history.things").await {
        counts[0] += batch.num_rows() as i64;
        sums[0] += batch.column(0).as_primitive::<Int64Type>().iter().flatten().sum::<i64>();
    }
    for batch in crate::ask(session, "SELECT value FROM history.m").await {
        counts[1] += batch.num_rows() as i64;
        let values = batch.column(0).as_primitive::<Float64Type>().iter().flatten();
        sums[1] += values.sum::<f64>() as i64;
    }
    [counts[0], sums[0], counts[1], sums[1]]
}

fn archived_files(fs: &SimFs) -> usize {
    use icecore::fs::Fs;
    let (mut dirs, mut found) = (vec![std::path::PathBuf::from("/archive")], 0);
    while let Some(dir) = dirs.pop() {
        if fs.file_bytes(&dir).unwrap().is_none() {
            continue;
        }
        for entry in fs.list(&dir).unwrap() {
            match entry.is_dir {
                true => dirs.push(dir.join(entry.name)),
                false => found += usize::from(!entry.name.to_str().unwrap().ends_with(".tmp")),
            }
        }
    }
    found
}

/// Opened after the crash, then with everything merged that can be, then archived to the end.
async fn check(session: &SessionContext, fs: &SimFs, story: &str) {
    let engine = open(fs, three_days()).unwrap();
    assert_eq!(ask(session, fs, Some(engine)).await, EVERYTHING, "{story}");
    release(session);
    let engine = open(fs, Keep::FOREVER).unwrap();
    compact(&engine).unwrap();
    assert_eq!(ask(session, fs, Some(engine)).await, EVERYTHING, "{story}, merged");
    release(session);
    let engine = open(fs, three_days()).unwrap();
    let report = engine.enforce_retention().unwrap();
    assert!(report.failed.is_none(), "{story}: {report:?}");
    assert_eq!(ask(session, fs, Some(engine)).await, EVERYTHING, "{story}, archived again");
    let alone = ask(session, fs, None).await;
    assert_eq!(alone, [80, 3160, 80, 3160], "{story}, the archive alone");
}

/// Has a session let go of its engine.
fn release(session: &SessionContext) {
    let catalog = session.catalog("datafusion").unwrap();
    catalog.deregister_schema("history", true).unwrap();
}

fn compact(engine: &Engine) -> icecore::Result<bool> {
    let report = engine.compact(CompactScope::All, &CancelToken::new(), &mut |_| ())?;
    Ok(report
        .steps
        .iter()
        .all(|step| !matches!(step, icecore::engine::MaintenanceStep::Failed { .. })))
}

#[tokio::test]
async fn a_row_is_seen_once_wherever_retention_stopped() {
    let (before, session) = (prepared(), SessionContext::new());
    let engine = open(&before, three_days()).unwrap();
    assert_eq!(ask(&session, &before, Some(engine)).await, EVERYTHING);
    let mut met = 0;
    for fault in [Fault::Error(ErrorKind::Other), Fault::Cut] {
        for nth in (1..).step_by(9) {
            let fs = before.restart();
            fs.arm(nth, fault);
            let done = open(&fs, three_days()).and_then(|engine| engine.enforce_retention());
            let fired = fs.fired();
            let image = if matches!(fault, Fault::Cut) { fs.reboot(nth) } else { fs.restart() };
            check(&session, &image, &format!("{fault:?} at {nth}")).await;
            met += 1;
            if !fired {
                assert_eq!(done.unwrap().dropped.len(), 8);
                break;
            }
        }
    }
    assert!(met > 8, "{met}");
}

/// The archive has files of parts that never left, and compaction makes others of them.
#[tokio::test]
async fn a_row_is_seen_once_wherever_compaction_stopped() {
    let (before, session) = (prepared(), SessionContext::new());
    let whole = before.restart();
    assert_eq!(open(&whole, three_days()).unwrap().enforce_retention().unwrap().dropped.len(), 8);
    // The last fault that leaves all parts live: all are archived by then.
    let half = (1..whole.calls()).rev().find_map(|nth| {
        let fs = before.restart();
        fs.arm(nth, Fault::Error(ErrorKind::Other));
        drop(open(&fs, three_days()).and_then(|engine| engine.enforce_retention()));
        let image = fs.restart();
        let parts = open(&image, Keep::FOREVER).unwrap().stats().unwrap().parts.len();
        (parts == 10).then(|| image.restart())
    });
    let half = half.unwrap();
    assert_eq!(archived_files(&half), 8, "all archived, none dropped");
    let mut met = 0;
    for fault in [Fault::Error(ErrorKind::Other), Fault::Cut] {
        for nth in (1..).step_by(9) {
            let fs = half.restart();
            fs.arm(nth, fault);
            let done = open(&fs, Keep::FOREVER).and_then(|engine| compact(&engine));
            let fired = fs.fired();
            let image = if matches!(fault, Fault::Cut) { fs.reboot(nth) } else { fs.restart() };
            check(&session, &image, &format!("{fault:?} at {nth}")).await;
            met += 1;
            if !fired {
                assert!(done.unwrap());
                assert_eq!(archived_files(&image), 4, "files of parts that were merged are gone");
                break;
            }
        }
    }
    assert!(met > 8, "{met}");
}
