//! `kill -9` of the command while it imports: the store is whole, holds a prefix of what was sent,
//! and takes the import again.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::tempdir;

use crate::run::json;

const ROWS: i64 = 40_000;

/// Rows `from..to` of three series, a millisecond apart.
fn rows(from: i64, to: i64) -> String {
    let row = |row: i64| {
        let timestamp = 1_795_425_382_586 + row;
        let line =
            |series: i64| format!("rows{{series=\"{series}\"}} {} {timestamp}\n", row + series);
        (0..3).map(line).collect::<String>()
    };
    (from..to).map(row).collect()
}

#[test]
fn a_killed_import_leaves_a_whole_store() {
    let dir = tempdir().unwrap();
    let db = dir.path().join("db");
    let db = db.to_str().unwrap();
    for (round, sent) in [500, 9_000, ROWS / 2].into_iter().enumerate() {
        let mut child = Command::new(env!("CARGO_BIN_EXE_icecore"))
            .args(["import", "--db", db, "--format", "prometheus", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(rows(0, sent).as_bytes()).unwrap();
        // The import is at work on what it got and waits for more: the pipe stays open.
        let began = Instant::now();
        while !dir.path().join("db/catalog").exists() {
            assert!(began.elapsed() < Duration::from_secs(60), "no store");
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(50 * (1 + round as u64)));
        child.kill().unwrap();
        child.wait().unwrap();
        drop(stdin);

        let verified = json(&["verify", "--db", db, "--json"]);
        assert_eq!(verified["whole"], true, "round {round}: {verified}");
        let counts =
            json(&["query", "--db", db, "--json", "rows", "--agg", "count,last", "--step", "365d"]);
        for group in counts["groups"].as_array().unwrap() {
            let count: i64 =
                group["counts"].as_array().unwrap().iter().map(|n| n.as_i64().unwrap()).sum();
            assert!(count <= sent, "round {round}: {count} rows of {sent} sent");
        }
    }
    let all = dir.path().join("all.prom");
    std::fs::write(&all, rows(0, ROWS)).unwrap();
    json(&["import", "--db", db, "--json", all.to_str().unwrap()]);
    let counts = json(&["query", "--db", db, "--json", "rows", "--agg", "count", "--step", "365d"]);
    let groups = counts["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 3, "{counts}");
    for group in groups {
        let count: i64 =
            group["counts"].as_array().unwrap().iter().map(|n| n.as_i64().unwrap()).sum();
        assert_eq!(count, ROWS);
    }
}
