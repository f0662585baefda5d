//! `icecore report`: figures for programs, sentences for people, a page for the browser.

use icecore::{Engine, Options};
use tempfile::tempdir;

use crate::host::history;
use crate::run::{icecore, json};

#[test]
fn a_report_is_told_and_written() {
    let dir = tempdir().unwrap();
    let (db, page) = (dir.path().join("db"), dir.path().join("report.html"));
    // Those in the middle fail.
    history(&db, "", 80, 30..50);
    let (db, page) = (db.to_str().unwrap(), page.to_str().unwrap());

    let report = json(&["report", "--db", db, "--json"]);
    assert_eq!(report["queries"]["count"], 80);
    assert_eq!(report["queries"]["outcomes"]["error"], 20);
    assert_eq!(report["sources"][0]["errors"]["busy"], 20);
    assert_eq!(report["slowest"].as_array().unwrap().len(), 15);
    assert_eq!(report["fingerprints"][0]["text"], "SELECT ? FROM orders");
    let trouble = &report["troubles"][0];
    assert_eq!((&trouble["kind"], &trouble["class"]), (&"failures".into(), &"busy".into()));
    assert_eq!(trouble["inside"]["hits"], 20, "{trouble}");
    assert!(trouble["from"].as_str().unwrap() < trouble["to"].as_str().unwrap());
    assert!(report["cost"]["bytes_on_disk"].as_f64().unwrap() > 0.0);

    let text = icecore(&["report", "--db", db, "-o", page]).success();
    for piece in ["80 queries: 60 ok, 20 failed", "Where trouble was", "(mostly busy)", page] {
        assert!(text.contains(piece), "no {piece:?} in\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "a name steers the terminal: {text:?}");
    let html = std::fs::read_to_string(page).unwrap();
    assert!(html.starts_with("<!doctype html>") && html.ends_with("</html>\n"));
    assert!(html.contains("(mostly busy)"));

    let none = json(&["report", "--db", db, "--json", "--to", "2001-01-01"]);
    assert_eq!(none["queries"]["count"], 0);
    let text = icecore(&["report", "--db", db, "--to", "2001-01-01"]).success();
    assert!(text.contains("No finished queries"), "{text}");
}

#[test]
fn what_cannot_be_reported_is_said() {
    let dir = tempdir().unwrap();
    let db = dir.path().join("db");
    Engine::open(&db, Options::default()).unwrap().close().unwrap();
    let db = db.to_str().unwrap();
    // A store that no monitor wrote to.
    assert!(icecore(&["report", "--db", db]).success().contains("No finished queries"));
    let code = |arguments: &[&str]| icecore(arguments).code;
    assert_eq!(code(&["report"]), 2);
    assert_eq!(code(&["report", "--db", "no-such-store"]), 1);
    assert_eq!(code(&["report", "--db", db, "--from", "now", "--to", "now-1h"]), 2);
    let nowhere = dir.path().join("no/such/directory.html");
    assert_eq!(code(&["report", "--db", db, "-o", nowhere.to_str().unwrap()]), 1);
}
