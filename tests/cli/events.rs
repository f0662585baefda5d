//! Rows of events on the command line.

use icecore::model::{EventColumn, EventKind, EventSchema, EventValue};
use icecore::options::GateOptions;
use icecore::{Engine, Options, Timestamp};
use serde_json::json;
use tempfile::tempdir;

use crate::run::{icecore, json as ask};

#[test]
fn tables_are_listed_and_rows_are_found() {
    let dir = tempdir().unwrap();
    let db = dir.path().join("db");
    let gate = GateOptions { past: None, future: None, ..GateOptions::default() };
    let engine =
        Engine::open(&db, Options { gate, self_metrics: None, ..Options::default() }).unwrap();
    let columns = vec![
        EventColumn::new("user", EventKind::Text).with_help("Who asked."),
        EventColumn::new("duration", EventKind::Integer).with_unit("us"),
        EventColumn::new("error", EventKind::Text),
    ];
    let writer = engine.events(&EventSchema::new("queries", columns).unwrap()).unwrap();
    for i in 0..100_i64 {
        let user = ["ann", "bob"][i as usize % 2];
        let error: EventValue = (i % 10 == 7).then_some("timeout").into();
        let row = [user.into(), (i * i).into(), error];
        drop(writer.append(Timestamp::from_secs(1_700_000_000 + i), &row).unwrap());
    }
    engine.close().unwrap();
    let db = db.to_str().unwrap();

    let listed = icecore(&["events", "--db", db]).success();
    assert!(listed.contains("queries, version 1\n  user (text): Who asked."), "{listed}");
    assert!(listed.contains("  duration (integer, us)\n"), "{listed}");
    let tables = ask(&["events", "--db", db, "--json"]);
    assert_eq!(tables["tables"][0]["columns"][1]["unit"], "us");

    let slowest =
        ask(&["events", "--db", db, "queries", "--top", "2", "--by", "duration", "--json"]);
    let first = json!({
        "time": "2023-11-14T22:14:59Z", "user": "bob", "duration": 9801, "error": null,
    });
    assert_eq!(slowest["rows"][0], first, "{slowest}");
    assert_eq!(slowest["rows"].as_array().unwrap().len(), 2);

    let failed = ["events", "--db", db, "queries", "--where", "error is not null"];
    let failed =
        ask(&[&failed[..], &["--where", "duration>=1000", "--columns", "duration", "--json"]]
            .concat());
    let durations: Vec<i64> = failed["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["duration"].as_i64().unwrap())
        .collect();
    assert_eq!(durations, [37, 47, 57, 67, 77, 87, 97].map(|i: i64| i * i));

    let shown = icecore(&["events", "--db", db, "queries", "--to", "1700000002"]).success();
    assert!(shown.contains("2 rows; 1 of 1 groups read"), "{shown}");
    let stats = ask(&["stats", "--db", db, "--json"]);
    assert_eq!(stats["events"][0]["rows"], 100);
    assert_eq!(ask(&["verify", "--db", db, "--json"])["event_rows"], 100);

    assert_eq!(icecore(&["events", "--db", db, "nobody"]).code, 2);
    assert_eq!(icecore(&["events", "--db", db, "queries", "--where", "duration=x"]).code, 2);
    assert_eq!(icecore(&["events", "--db", db, "queries", "--by", "duration"]).code, 2);
}
