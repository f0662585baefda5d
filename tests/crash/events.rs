//! Events on a file system that fails, or loses power, at the Nth mutating call, for every N: every
//! synced row is there afterwards, none twice, none that was never sent, in their order; through
//! freezes, a table that grows, merges and retention.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use icecore::engine::{CompactScope, Environment, MaintenanceStep};
use icecore::model::{EventColumn, EventKind, EventSchema, EventValue};
use icecore::options::{GateOptions, Keep, Maintenance, Policy, TableRule};
use icecore::query::{CancelToken, EventRequest};
use icecore::store::StoreKind;
use icecore::{Engine, Error, EventWriter, Options, SimulatedClock, Tier, TimeRange, Timestamp};

use crate::support::fault_fs::{Fault, SimFs};

const SECOND: i64 = 1_000_000_000;
/// Kept for this long, in a table of its own.
const BRIEF: i64 = 2000;

fn open(fs: &SimFs) -> icecore::Result<Engine> {
    let brief = TableRule {
        table: "brief".into(),
        keep: Keep::FOREVER.with(Tier::RAW, Duration::from_secs(BRIEF as u64)),
    };
    let options = Options {
        store: StoreKind::Flat,
        partition: Duration::from_secs(60),
        log_file_bytes_max: 1 << 16,
        sync_interval: Duration::from_secs(3600),
        free_bytes_min: 0,
        threads: 1,
        self_metrics: None,
        maintenance: Maintenance::ByHand,
        policy: Policy { tables: vec![brief], lateness: Duration::ZERO, ..Policy::default() },
        gate: GateOptions { past: None, future: None, ..GateOptions::default() },
        ..Options::default()
    };
    let clock = Arc::new(SimulatedClock::new(Timestamp::from_secs(1 << 20)));
    Engine::open_in("/store", options, Environment { fs: Arc::new(fs.clone()), clock })
}

fn schema(table: &str, columns: usize) -> EventSchema {
    let all = [
        EventColumn::new("id", EventKind::Integer),
        EventColumn::new("name", EventKind::Text),
        EventColumn::new("half", EventKind::Float),
    ];
    EventSchema::new(table, all[..columns].to_vec()).unwrap()
}

fn row(id: i64) -> [EventValue; 3] {
    [id.into(), format!("name {}", id % 7).into(), (id as f64 / 2.0).into()]
}

/// When a row is: mostly later than the one before, sometimes much earlier.
fn time(id: i64) -> i64 {
    let late = if id % 9 == 5 { 300 } else { 0 };
    (1000 + id / 3 * 20 - late) * SECOND
}

/// What a workload got done before its first failure: rows have the ids 0, 1, 2, ...
#[derive(Default)]
struct Outcome {
    sent: i64,
    synced: i64,
    brief: Vec<i64>,
    engine: Option<Engine>,
    error: Option<Error>,
}

fn append(writer: &EventWriter, outcome: &mut Outcome, count: i64) -> icecore::Result<()> {
    for _ in 0..count {
        let id = outcome.sent;
        outcome.sent += 1;
        let values = &row(id)[..writer.schema().columns().len()];
        writer.append(Timestamp(time(id)), values)?.wait()?;
    }
    Ok(())
}

fn rounds(engine: &Engine, outcome: &mut Outcome) -> icecore::Result<()> {
    let narrow = engine.events(&schema("rows", 2))?;
    append(&narrow, outcome, 7)?;
    engine.sync()?;
    outcome.synced = outcome.sent;
    append(&narrow, outcome, 5)?;
    engine.freeze()?;
    outcome.synced = outcome.sent;
    let wide = engine.events(&schema("rows", 3))?;
    let brief = engine.events(&schema("brief", 1))?;
    for (old, table) in [(true, &brief), (false, &brief)] {
        let time = if old { 0 } else { 100 * BRIEF };
        outcome.brief.push(time);
        table.append(Timestamp(time * SECOND), &row(time)[..1])?.wait()?;
        append(&wide, outcome, 6)?;
        engine.freeze()?;
        outcome.synced = outcome.sent;
    }
    append(&narrow, outcome, 4)?;
    let failed = |step: &MaintenanceStep| match step {
        MaintenanceStep::Failed { error, .. } => Err(error.clone()),
        _ => Ok(()),
    };
    let done = engine.compact(CompactScope::All, &CancelToken::new(), &mut |_| ())?;
    outcome.synced = outcome.sent;
    done.steps.iter().try_for_each(failed)?;
    append(&wide, outcome, 3)
}

fn workload(fs: &SimFs) -> Outcome {
    let mut outcome = Outcome::default();
    outcome.error = match open(fs) {
        Err(error) => Some(error),
        Ok(engine) => {
            let error = rounds(&engine, &mut outcome).err();
            outcome.engine = Some(engine);
            error
        }
    };
    outcome
}

/// The ids of all rows, in their order; what else is in a row must be the id's.
fn read(engine: &Engine, table: &str) -> Vec<i64> {
    let Some(schema) = engine.event_schema(table) else { return Vec::new() };
    let answer = engine.scan_events(&EventRequest::new(table, TimeRange::ALL)).unwrap();
    let rows = answer.rows;
    let ids = (0..rows.len()).map(|at| {
        let EventValue::Integer(id) = rows.value(at, 0) else { panic!("row {at} has no id") };
        for (column, expected) in row(id).iter().enumerate().take(schema.columns().len()) {
            let found = rows.value(at, column);
            let lacks = column == 2 && found.is_null();
            assert!(found == *expected || lacks, "row {id}: {found:?} in column {column}");
        }
        if table == "rows" {
            assert_eq!(rows.times[at], time(id), "row {id}");
        }
        id
    });
    ids.collect()
}

fn check_visible(engine: &Engine, outcome: &Outcome, what: &str) {
    let found = read(engine, "rows");
    let ids: BTreeSet<i64> = found.iter().copied().collect();
    assert_eq!(ids.len(), found.len(), "{what}: a row is there twice: {found:?}");
    let last = ids.last().map_or(0, |last| last + 1);
    assert!(last <= outcome.sent, "{what}: row {last} was never sent");
    assert!(last >= outcome.synced, "{what}: {last} rows of {} synced ones", outcome.synced);
    assert_eq!(ids.len() as i64, last, "{what}: rows are missing in between: {found:?}");
    let mut expected: Vec<i64> = (0..last).collect();
    expected.sort_by_key(|&id| time(id));
    assert_eq!(found, expected, "{what}: not in the order of time and arrival");
    let brief = read(engine, "brief");
    assert!(brief.iter().all(|id| outcome.brief.contains(id)), "{what}: {brief:?}");
}

fn check_reopened(fs: &SimFs, outcome: &Outcome, what: &str) {
    let engine = open(fs).unwrap_or_else(|error| panic!("{what}: cannot reopen: {error}"));
    let first = (read(&engine, "rows"), read(&engine, "brief"));
    check_visible(&engine, outcome, what);
    drop(engine);
    let engine = open(fs).unwrap_or_else(|error| panic!("{what}: cannot reopen again: {error}"));
    assert_eq!((read(&engine, "rows"), read(&engine, "brief")), first, "{what}: reopened twice");
    engine.close().unwrap_or_else(|error| panic!("{what}: cannot close: {error}"));
    let engine = open(fs).unwrap();
    assert_eq!((read(&engine, "rows"), read(&engine, "brief")), first, "{what}: closed");
}

fn for_every_call(fault: Fault, mut check: impl FnMut(&SimFs, Outcome, &str)) {
    let mut met = 0;
    for nth in 1.. {
        let fs = SimFs::new();
        fs.arm(nth, fault);
        let mut outcome = workload(&fs);
        if outcome.error.is_none()
            && let Some(engine) = outcome.engine.take()
        {
            outcome.error = engine.close().err();
            if outcome.error.is_none() {
                outcome.synced = outcome.sent;
            }
        }
        if !fs.fired() {
            assert!(outcome.error.is_none(), "{:?}", outcome.error);
            let engine = open(&fs.restart()).unwrap();
            assert_eq!(read(&engine, "brief"), [100 * BRIEF], "retention dropped the old row");
            break;
        }
        met += 1;
        check(&fs, outcome, &format!("{fault:?} at call {nth}"));
    }
    assert!(met > 60, "only {met} calls: the workload does not do what it should");
}

#[test]
fn a_power_cut_at_any_call_loses_no_synced_row_and_doubles_none() {
    for_every_call(Fault::Cut, |fs, mut outcome, what| {
        drop(outcome.engine.take());
        for seed in 0..4 {
            check_reopened(&fs.reboot(seed), &outcome, &format!("{what}, seed {seed}"));
        }
    });
}

#[test]
fn a_failed_call_latches_the_engine_and_loses_no_row() {
    for fault in [Fault::Error(ErrorKind::Other), Fault::ShortWrite] {
        for_every_call(fault, |fs, mut outcome, what| {
            if let (Some(engine), Some(_)) = (outcome.engine.take(), &outcome.error) {
                check_visible(&engine, &outcome, &format!("{what}, failed"));
                drop(engine);
            }
            check_reopened(&fs.restart(), &outcome, &format!("{what}, restarted"));
            check_reopened(&fs.reboot(2), &outcome, &format!("{what}, rebooted"));
        });
    }
}

#[test]
fn a_killed_process_loses_no_logged_row() {
    let fs = SimFs::new();
    let outcome = workload(&fs);
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    let restarted = fs.restart();
    drop(outcome.engine);
    let engine = open(&restarted).unwrap();
    assert_eq!(read(&engine, "rows").len() as i64, outcome.sent);
}
