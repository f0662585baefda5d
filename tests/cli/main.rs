//! The command as scripts see it: exit codes, JSON keys, pipes, compressed files, and a store
//! that survives the way through every text format.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "a test stops at the first surprise"
)]

mod events;
mod formats;
mod history;
mod host;
mod kill;
mod report;
mod run;
#[cfg(feature = "server")]
mod serve;
mod top;

use run::{icecore, json};
use tempfile::tempdir;

const CAPTURE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/node_exporter_excerpt.prom.zst");

#[test]
fn a_capture_is_imported_queried_and_verified() {
    let dir = tempdir().unwrap();
    let db = dir.path().join("db");
    let db = db.to_str().unwrap();

    let report = json(&["import", "--db", db, "--json", CAPTURE]);
    assert_eq!(report["samples"], 108_204);
    assert_eq!(report["series"], 66);
    assert_eq!(report["rejected"], serde_json::json!({}));
    for key in ["seconds", "samples_per_second", "bytes_on_disk", "bytes_per_sample"] {
        assert!(report[key].as_f64().unwrap() > 0.0, "{key} in {report}");
    }
    assert!(report["bytes_per_sample"].as_f64().unwrap() < 1.0, "{report}");

    let answer = json(&[
        "query",
        "--db",
        db,
        "--json",
        "node_load1",
        "--from",
        "2026-11-23T09:20:00Z",
        "--to",
        "1795426200",
        "--step",
        "5m",
        "--agg",
        "avg,max,count",
    ]);
    assert_eq!(answer["functions"], serde_json::json!(["avg", "max", "count"]));
    assert_eq!(answer["windows"][1], "2026-11-23T09:25:00Z");
    assert_eq!(answer["groups"][0]["labels"]["__name__"], "node_load1");
    assert_eq!(answer["groups"][0]["counts"], serde_json::json!([300, 300]));
    // Read off the capture by awk, not by icecore.
    assert_eq!(answer["groups"][0]["values"]["max"], serde_json::json!([9.26, 9.65]));

    let stats = json(&["stats", "--db", db, "--json"]);
    assert_eq!(stats["samples"], 108_204);
    assert_eq!(stats["series"], 66);
    assert!(
        stats["columns"].as_array().unwrap().iter().any(|column| column["kind"] == "timestamps")
    );
    assert_eq!(stats["partitions"][0]["samples"], 108_204);

    let verified = json(&["verify", "--db", db, "--json"]);
    assert_eq!(verified["whole"], true);
    assert_eq!(verified["samples"], 108_204);

    let listed = json(&["series", "--db", db, "--json", "node_load1"]);
    assert_eq!(listed["series"][0]["kind"], "gauge");
}

#[test]
fn people_get_a_chart_and_a_table_without_colours_in_a_pipe() {
    let dir = tempdir().unwrap();
    let db = dir.path().join("db");
    let db = db.to_str().unwrap();
    icecore(&["import", "--db", db, CAPTURE]).success();
    let text =
        icecore(&["query", "--db", db, "node_cpu_seconds_total", "--agg", "rate", "--by", "mode"])
            .success();
    assert!(text.contains("s/s ┤") && text.contains("09:30:00") && text.contains("user"), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn the_demo_runs_and_leaves_nothing_unless_told() {
    let text = icecore(&["demo"]).success();
    assert!(
        text.contains("108,204 samples of 66 series") && text.contains("every checksum"),
        "{text}"
    );
    let dir = tempdir().unwrap();
    let db = dir.path().join("db");
    let report = json(&["demo", "--json", "--db", db.to_str().unwrap()]);
    assert_eq!(report["whole"], true);
    assert_eq!(report["import"]["samples"], 108_204);
    // The store is there, and a second demo does not write into it.
    assert_eq!(icecore(&["demo", "--db", db.to_str().unwrap()]).code, 2);
    icecore(&["verify", "--db", db.to_str().unwrap()]).success();
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    let dir = tempdir().unwrap();
    let db = dir.path().join("db");
    let db = db.to_str().unwrap();
    icecore(&["import", "--db", db, CAPTURE]).success();

    let code = |arguments: &[&str]| icecore(arguments).code;
    let missing = dir.path().join("missing");
    assert_eq!(code(&["stats", "--db", missing.to_str().unwrap()]), 1);
    assert_eq!(code(&["import", "--db", db, "no-such-file.prom"]), 1);
    assert_eq!(code(&["query", "--db", db, "node_load1{"]), 2);
    assert_eq!(code(&["query", "--db", db, "node_load1", "--agg", "median"]), 2);
    assert_eq!(code(&["query", "--db", db, "node_load1", "--from", "yesterday"]), 2);
    assert_eq!(code(&["query", "--db", db, "node_load1", "--from", "now", "--to", "now-1h"]), 2);
    assert_eq!(code(&["query"]), 2);
    assert_eq!(code(&["query", "--db", db, "node_load1", "--samples-max", "10"]), 4);
    assert_eq!(code(&["query", "--db", db, "{__name__=~\".+\"}", "--series-max", "10"]), 4);
    assert_eq!(code(&["query", "--db", db, "no_such_metric"]), 0);

    // One bit of a part flipped.
    let part = run::largest_file(&dir.path().join("db/parts"));
    let mut bytes = std::fs::read(&part).unwrap();
    let middle = bytes.iter().rposition(|&byte| byte != 0).unwrap() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&part, bytes).unwrap();
    let damaged = icecore(&["verify", "--db", db]);
    assert_eq!(damaged.code, 3, "{damaged:?}");
    assert!(damaged.stdout.contains("DAMAGED"), "{damaged:?}");
}

/// A store of constants that are no sums of powers of two failed its own verification: the chunk's
/// sum was taken in another order when it was written than when it was checked.
#[test]
fn a_store_of_constants_is_whole() {
    let dir = tempdir().unwrap();
    let db = dir.path().join("db");
    let db = db.to_str().unwrap();
    let text: String = (0..3_000).map(|i| format!("{},const,0.1\n", 1_795_425_382 + i)).collect();
    run::fed(&["import", "--db", db, "--format", "csv", "-"], text.as_bytes()).success();
    assert_eq!(json(&["verify", "--db", db, "--json"])["whole"], true);
}

#[test]
fn an_expression_is_asked_in_place_of_a_selector() {
    let dir = tempdir().unwrap();
    let db = dir.path().join("db");
    let db = db.to_str().unwrap();
    json(&["import", "--db", db, "--json", CAPTURE]);
    let query = ["query", "--db", db, "--promql", "max_over_time(node_load1[5m])"];
    let at = ["--at", "2026-11-23T09:25:00Z", "--json"];
    let answer = json(&[&query[..], &at].concat());
    assert_eq!(answer["series"][0]["values"], serde_json::json!([9.26]), "{answer}");
    let shown = icecore(&[&query[..], &["--near", "--explain"]].concat()).success();
    assert!(shown.contains("Max over") || shown.contains("max_over_time"), "{shown}");
    let wrong = icecore(&["query", "--db", db, "--promql", "1 +"]);
    assert_ne!(wrong.code, 0, "{wrong:?}");
}
