//! A damaged store of events: an error or exactly the rows that were written, and verification tells.

use std::path::{Path, PathBuf};

use icecore::model::{EventColumn, EventKind, EventSchema, EventValue};
use icecore::options::GateOptions;
use icecore::query::{EventOrder, EventRequest};
use icecore::store::StoreKind;
use icecore::{Engine, Options, TimeRange};

const ROWS: i64 = 9000;

fn options() -> Options {
    Options {
        store: StoreKind::Flat,
        threads: 1,
        free_bytes_min: 0,
        self_metrics: None,
        gate: GateOptions { past: None, future: None, ..GateOptions::default() },
        ..Options::default()
    }
}

fn values(row: i64) -> [EventValue; 4] {
    let text = ["ok", "error", "cancelled"][row as usize % 3];
    let noise = (row as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44;
    let float = (row % 4 != 0).then_some((noise as f64).sqrt());
    [(noise as i64).into(), text.into(), float.into(), (row % 5 == 0).into()]
}

fn build(dir: &Path) {
    let engine = Engine::open(dir, options()).unwrap();
    let kinds = [EventKind::Integer, EventKind::Text, EventKind::Float, EventKind::Boolean];
    let columns = kinds.iter().map(|&kind| EventColumn::new(kind.name(), kind));
    let writer = engine.events(&EventSchema::new("rows", columns.collect()).unwrap()).unwrap();
    let mut batch = writer.batch();
    for row in 0..ROWS {
        batch.push(row / 3, values(row)).unwrap();
    }
    drop(writer.append_batch(batch).unwrap());
    engine.close().unwrap();
}

/// Everything, and the first rows by a column; `None` where any of it is an error.
fn read_all(dir: &Path) -> Option<bool> {
    let engine = Engine::open(dir, Options { read_only: true, ..options() }).ok()?;
    let all = EventRequest::new("rows", TimeRange::ALL);
    let rows = engine.scan_events(&all).ok()?.rows;
    let order = EventOrder::Largest("integer".into());
    let top = engine.scan_events(&EventRequest { order, limit: Some(3), ..all }).ok()?.rows;
    let whole = rows.len() as i64 == ROWS
        && (0..ROWS).all(|row| {
            let found: Vec<EventValue> = (0..4).map(|at| rows.value(row as usize, at)).collect();
            rows.times[row as usize] == row / 3 && found == values(row)
        });
    Some(whole && top.len() == 3)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let (mut found, mut dirs) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(at) = dirs.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => dirs.push(path),
                false if path.ends_with("LOCK") => {}
                false => found.push(path),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn damage_is_an_error_or_changes_nothing_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    build(dir.path());
    assert_eq!(read_all(dir.path()), Some(true));
    assert!(Engine::verify(dir.path(), &mut |_| ()).unwrap().is_whole());
    let mut tried = 0;
    for path in
        files(dir.path()).into_iter().filter(|path| !path.starts_with(dir.path().join("log")))
    {
        let sound = std::fs::read(&path).unwrap();
        // Some hundred places of each file, its ends among them.
        let step = (sound.len() / 150).max(1);
        for at in (0..sound.len()).step_by(step).chain([sound.len() - 1]) {
            let mut damaged = sound.clone();
            damaged[at] ^= 1 << (at % 8);
            std::fs::write(&path, &damaged).unwrap();
            let what = format!("byte {at} of {}", path.display());
            assert_ne!(read_all(dir.path()), Some(false), "{what}: other rows");
            let told = Engine::verify(dir.path(), &mut |_| ());
            assert!(!told.unwrap().is_whole(), "{what}: not told");
            tried += 1;
        }
        for cut in [0, sound.len() / 2, sound.len() - 1] {
            std::fs::write(&path, &sound[..cut]).unwrap();
            assert_ne!(read_all(dir.path()), Some(true), "{} cut at {cut}", path.display());
        }
        std::fs::write(&path, &sound).unwrap();
    }
    assert!(tried > 300, "{tried}");
    assert_eq!(read_all(dir.path()), Some(true));
}
