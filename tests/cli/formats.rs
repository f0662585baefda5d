//! Every format, compressed or not, from files and pipes, and back out again.

use std::io::Write;
use std::path::Path;

use tempfile::tempdir;

use crate::CAPTURE;
use crate::run::{fed, icecore, json};

/// Everything in a store, exactly.
fn everything(db: &str) -> String {
    icecore(&["export", "--db", db]).success()
}

#[test]
fn what_is_exported_imports_to_the_same_store() {
    let dir = tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let first = path("first");
    icecore(&["import", "--db", &first, CAPTURE]).success();
    let expected = everything(&first);
    assert!(expected.lines().count() >= 66);
    for (format, file) in
        [("jsonl", "all.jsonl.zst"), ("csv", "all.csv"), ("prometheus", "all.prom.gz")]
    {
        let file = path(file);
        let report =
            json(&["export", "--db", &first, "--format", format, "--output", &file, "--json"]);
        assert_eq!(report["samples"], 108_204, "{format}");
        assert_eq!(report["stale_left_out"], 0, "{format}");
        let second = path(format);
        let report = json(&["import", "--db", &second, "--json", &file]);
        assert_eq!(report["samples"], 108_204, "{format}: {report}");
        let found = everything(&second);
        // CSV has no place for what is known of a metric.
        let comparable = |text: &str| match format {
            "csv" => text.lines().map(without_metadata).collect::<Vec<_>>().join("\n"),
            _ => text.to_owned(),
        };
        assert!(comparable(&found) == comparable(&expected), "{format} changed something");
    }
}

fn without_metadata(line: &str) -> String {
    let mut object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(line).unwrap();
    for key in ["kind", "unit", "help"] {
        object.remove(key);
    }
    serde_json::to_string(&object).unwrap()
}

#[test]
fn every_bit_pattern_survives_jsonl_and_csv() {
    let dir = tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let text = concat!(
        r#"{"metric":"odd","labels":{"q":"a\"b\\c\nd"},"#,
        r#""timestamps":["1677-09-21T00:12:43.145224193Z","1969-12-31T23:59:59.999999999Z",0,1795425382586],"#,
        r#""values":["NaN(0x7ff0000000000002)",-0.0,"-Inf",5e-324]}"#,
        "\n",
    );
    let first = path("first");
    let report = fed(&["import", "--db", &first, "--json", "-"], text.as_bytes()).success();
    assert!(report.contains("\"samples\":4"), "{report}");
    let expected = everything(&first);
    for kept in
        ["NaN(0x7ff0000000000002)", "[-0]", "\"-Inf\"", "5e-324", "1969-12-31T23:59:59.999999999Z"]
    {
        assert!(expected.contains(kept), "no {kept} in {expected}");
    }
    for format in ["jsonl", "csv"] {
        let exported = icecore(&["export", "--db", &first, "--format", format]).success();
        let second = path(format);
        fed(&["import", "--db", &second, "-"], exported.as_bytes()).success();
        assert_eq!(everything(&second), expected, "{format}");
    }
    // Prometheus text cannot hold a nanosecond, and says so.
    assert_eq!(icecore(&["export", "--db", &first, "--format", "prometheus"]).code, 2);
}

#[test]
fn inputs_are_unpacked_whatever_they_are_called() {
    let dir = tempdir().unwrap();
    let text = b"up{job=\"a\"} 1 1795425382000\nup{job=\"a\"} 0 1795425383000\n".to_vec();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&text).unwrap();
    // Two members, as `cat a.gz b.gz` makes them.
    let gzip = [gzip.finish().unwrap(), Vec::new()].concat();
    let zstandard = zstd::encode_all(&text[..], 1).unwrap();
    for (name, bytes) in [("plain", text), ("gzip", gzip), ("zstandard", zstandard)] {
        let file = dir.path().join(name);
        std::fs::write(&file, &bytes).unwrap();
        for (input, stdin) in [(file.to_str().unwrap(), &[][..]), ("-", &bytes[..])] {
            let db = tempdir().unwrap();
            let db = db.path().to_str().unwrap();
            let ended = fed(&["import", "--db", db, "--json", input], stdin);
            assert!(ended.stdout.contains("\"samples\":2"), "{name} {input}: {ended:?}");
        }
    }
}

#[test]
fn csv_of_one_series_takes_its_name_from_the_arguments() {
    let dir = tempdir().unwrap();
    let db = dir.path().join("db");
    let db = db.to_str().unwrap();
    let text = "timestamp,value\n2014-04-01 00:00:00,1.5\n2014-04-01 00:05:00,oops\n2014-04-01 00:10:00,2.5\n";
    assert_eq!(fed(&["import", "--db", db, "-"], text.as_bytes()).code, 2);
    let arguments = ["import", "--db", db, "--metric", "cpu", "--label", "host=a", "--json", "-"];
    let ended = fed(&arguments, text.as_bytes());
    assert!(ended.stderr.contains("-:3: the value is not a number"), "{ended:?}");
    let report: serde_json::Value = serde_json::from_str(&ended.success()).unwrap();
    assert_eq!(report["samples"], 2);
    assert_eq!(report["rejected"], serde_json::json!({"value": 1}));
    let answer =
        json(&["query", "--db", db, "cpu{host=\"a\"}", "--agg", "sum", "--step", "1d", "--json"]);
    assert_eq!(answer["groups"][0]["values"]["sum"], serde_json::json!([4.0]));
}

#[test]
fn lines_without_a_timestamp_need_one_from_the_arguments() {
    let dir = tempdir().unwrap();
    let db = dir.path().join("db");
    let db = db.to_str().unwrap();
    let text = b"# TYPE up gauge\nup 1\nbroken\n";
    let refused = fed(&["import", "--db", db, "--json", "-"], text).success();
    assert!(
        refused.contains("\"no_timestamp\":1") && refused.contains("\"samples\":0"),
        "{refused}"
    );
    let taken =
        fed(&["import", "--db", db, "--json", "--timestamp", "now-5m", "-"], text).success();
    assert!(taken.contains("\"samples\":1"), "{taken}");
    let answer = json(&[
        "query", "--db", db, "up", "--from", "now-10m", "--to", "now", "--step", "10m", "--json",
    ]);
    assert_eq!(answer["groups"][0]["counts"], serde_json::json!([1]));
    assert!(Path::new(db).join("catalog").exists());
}
