//! One engine a directory, in this process and among processes.

use std::path::Path;
use std::process::Command;

use icecore::{Engine, Error, Options};

use crate::{handle, options, values};

const CHILD_DIR: &str = "ICECORE_ENGINE_LOCK_DIR";

fn open(dir: &Path, read_only: bool) -> icecore::Result<Engine> {
    Engine::open(dir, Options { read_only, ..options() })
}

fn outcome(dir: &Path, read_only: bool) -> String {
    match open(dir, read_only) {
        Ok(_) => "opened".to_owned(),
        Err(Error::Locked { path }) => format!("locked {}", path.display()),
        Err(error) => format!("failed {error}"),
    }
}

/// Does nothing, unless this binary was started by [`outcomes_of_a_process`].
#[test]
fn child_process() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    for read_only in [false, true] {
        println!("\noutcome {}", outcome(Path::new(&dir), read_only));
    }
}

/// What another process meets that opens the directory for writing, then for reading.
fn outcomes_of_a_process(dir: &Path) -> Vec<String> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "locks::child_process", "--nocapture", "--test-threads=1"])
        .env(CHILD_DIR, dir)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.strip_prefix("outcome ")).map(str::to_owned).collect()
}

#[test]
fn a_writer_keeps_everyone_else_out() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), false).unwrap();
    let writer = engine.writer("w");
    writer.append_column(&handle(&writer, "m"), vec![1], vec![1.0]).unwrap().wait().unwrap();
    let locked = format!("locked {}", dir.path().display());
    for read_only in [false, true] {
        assert_eq!(outcome(dir.path(), read_only), locked, "read only: {read_only}");
    }
    assert_eq!(outcomes_of_a_process(dir.path()), [locked.clone(), locked]);
    assert!(matches!(
        Engine::verify(dir.path(), &mut |_| {}),
        Err(Error::Locked { path }) if path == dir.path()
    ));
    // Whoever failed to open has broken nothing.
    writer.append_column(&handle(&writer, "m"), vec![2], vec![2.0]).unwrap().wait().unwrap();
    assert_eq!(values(&engine, "m"), [(1, 1.0), (2, 2.0)]);
    engine.close().unwrap();
    assert_eq!(outcomes_of_a_process(dir.path()), ["opened", "opened"]);
    assert_eq!(values(&open(dir.path(), false).unwrap(), "m"), [(1, 1.0), (2, 2.0)]);
}

#[test]
fn readers_share_and_keep_writers_out() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), false).unwrap();
    let writer = engine.writer("w");
    drop(writer.append_column(&handle(&writer, "m"), vec![1], vec![1.0]).unwrap());
    engine.close().unwrap();
    let readers = [open(dir.path(), true).unwrap(), open(dir.path(), true).unwrap()];
    let locked = format!("locked {}", dir.path().display());
    assert_eq!(outcome(dir.path(), false), locked);
    assert_eq!(outcomes_of_a_process(dir.path()), [locked, "opened".to_owned()]);
    for reader in &readers {
        assert_eq!(values(reader, "m"), [(1, 1.0)]);
    }
    drop(readers);
    assert_eq!(outcome(dir.path(), false), "opened");
}

#[test]
fn dropping_unlocks_though_writers_are_left() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), false).unwrap();
    let writer = engine.writer("w");
    drop(engine);
    assert_eq!(outcome(dir.path(), false), "opened");
    drop(writer);
}
