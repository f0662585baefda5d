//! A made-up history through everything that time does to it: packed, kept for a while, archived,
//! deleted from, copied, brought back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::run::{icecore, json};

const END: &str = "2026-11-20T00:00:00Z";

/// A hundred days of 20 series and two distributions, a sample every ten minutes: four windows.
struct Store {
    dir: TempDir,
}

impl Store {
    fn new() -> Self {
        let store = Self { dir: tempdir().unwrap() };
        let report = json(&[
            "generate",
            "--db",
            &store.db(),
            "--series",
            "20",
            "--step",
            "10m",
            "--span",
            "100d",
            "--end",
            END,
            "--json",
        ]);
        assert_eq!(report["samples"], 22 * 14_400, "{report}");
        assert_eq!(report["series"], 22);
        store
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn db(&self) -> String {
        self.path("db")
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.dir.path().join(name), text).unwrap();
        self.path(name)
    }
}

/// Every sample on a line of its own, however the store cuts them into chunks.
fn everything(db: &str) -> String {
    icecore(&["export", "--db", db, "--format", "csv"]).success()
}

fn tiers(db: &str) -> BTreeMap<String, Value> {
    let stats = json(&["stats", "--db", db, "--json"]);
    let tiers = stats["tiers"].as_array().unwrap().iter();
    tiers.map(|tier| (tier["tier"].as_str().unwrap().to_owned(), tier.clone())).collect()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() { dirs.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

fn rows(file: &Path) -> i64 {
    let reader = SerializedFileReader::new(std::fs::File::open(file).unwrap()).unwrap();
    reader.metadata().file_metadata().num_rows()
}

#[test]
fn the_same_seed_gives_the_same_history_and_directories_must_be_new() {
    let dir = tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let generate = |name: &str, seed: &str| {
        icecore(&[
            "generate",
            "--db",
            &path(name),
            "--series",
            "7",
            "--span",
            "1h",
            "--end",
            END,
            "--seed",
            seed,
        ])
    };
    for (name, seed) in [("a", "3"), ("b", "3"), ("c", "4")] {
        generate(name, seed).success();
    }
    assert!(everything(&path("a")) == everything(&path("b")));
    assert!(everything(&path("a")) != everything(&path("c")));
    assert_eq!(generate("a", "3").code, 2);
    let short = ["generate", "--db", &path("d"), "--span", "1s", "--step", "1m"];
    assert_eq!(icecore(&short).code, 2);
    assert!(!Path::new(&path("d")).exists());
}

#[test]
fn compacting_changes_bytes_and_no_answer() {
    let store = Store::new();
    let before = everything(&store.db());
    let report = json(&["compact", "--db", &store.db(), "--all", "--json"]);
    assert_eq!(report["failures"], 0, "{report}");
    assert!(everything(&store.db()) == before);
    // A second time no tier is left to build.
    let again = json(&["compact", "--db", &store.db(), "--all", "--json"]);
    let tasks = again["tasks"].as_object().unwrap();
    assert!(report["tasks"].as_object().unwrap().keys().any(|task| task.contains("built")));
    assert!(!tasks.keys().any(|task| task.contains("built")), "{again}");
    assert_eq!(json(&["verify", "--db", &store.db(), "--json"])["whole"], true);
    // A directory that is no store stays none.
    assert_eq!(icecore(&["compact", "--db", &store.path("none")]).code, 1);
    assert!(!Path::new(&store.path("none")).exists());
}

#[test]
fn retention_shows_first_then_archives_and_drops() {
    let store = Store::new();
    let policy = store.write("policy.toml", "[keep]\nraw = '40d'\n");
    let before = everything(&store.db());
    let plan = |extra: &[&str]| {
        let retain = ["retain", "--db", &store.db(), "--policy", &policy];
        icecore(&[&retain[..], extra].concat()).success()
    };
    let planned: Value = serde_json::from_str(&plan(&["--dry-run", "--json"])).unwrap();
    let due = planned["dropped"].as_array().unwrap().clone();
    assert!(!due.is_empty(), "{planned}");
    assert!(due.iter().all(|part| part["why"] == "older than 40d"), "{planned}");
    let text = plan(&["--dry-run"]);
    assert!(text.contains("would go. Nothing was changed."), "{text}");
    assert!(everything(&store.db()) == before);

    let archive = store.path("archive");
    let done: Value = serde_json::from_str(&plan(&["--archive", &archive, "--json"])).unwrap();
    assert_eq!(done["dropped"], planned["dropped"]);
    // What is in the archive and what is left are together what there was.
    let archived: i64 = files(Path::new(&archive))
        .iter()
        .filter(|file| file.to_str().unwrap().contains("tier=raw/"))
        .map(|file| rows(file))
        .sum();
    let counted = |extra: &[&str]| -> i64 {
        let (db, all) = (store.db(), "{__name__!=\"request_seconds\"}");
        let query = ["query", "--db", &db, "--agg", "count", "--by", "none", "--json", all];
        let answer = json(&[&query[..], extra].concat());
        let groups = answer["groups"].as_array().unwrap().iter();
        let counts = groups.flat_map(|group| group["counts"].as_array().unwrap());
        counts.map(|count| count.as_i64().unwrap()).sum()
    };
    let left = counted(&["--tier", "raw"]);
    assert!(archived > 0 && left > 0);
    assert_eq!(archived + left, 20 * 14_400);
    assert_eq!(counted(&[]), 20 * 14_400, "tiers took in what went");
    let again = plan(&[]);
    assert_eq!(again, "Nothing is due.\n");
}

#[test]
fn a_policy_is_refused_with_the_place_of_its_error() {
    let store = Store::new();
    let policy = store.write("policy.toml", "[keep]\nraw = '40d'\n1m = 'long'\n");
    let refused = icecore(&["retain", "--db", &store.db(), "--policy", &policy]);
    assert_eq!(refused.code, 2);
    assert!(
        refused.stderr.contains("policy.toml") && refused.stderr.contains("line 3, column 6"),
        "{refused:?}"
    );
    let tight = store.write("tight.toml", "bytes_max = '1MiB'\n");
    assert_eq!(icecore(&["retain", "--db", &store.db(), "--policy", &tight]).code, 2);
}

#[test]
fn a_delete_asks_and_then_deletes_what_it_said() {
    let store = Store::new();
    let selector = "requests_in_flight";
    let range = ["--from", "2026-11-17T00:00:00Z", "--to", "2026-11-18T00:00:00Z"];
    let delete = |extra: &[&str]| {
        let delete = ["delete", "--db", &store.db(), selector];
        icecore(&[&delete[..], &range, extra].concat())
    };
    let before = everything(&store.db());
    let asked = delete(&[]);
    assert_eq!(asked.code, 2, "nobody is there to say yes: {asked:?}");
    assert!(everything(&store.db()) == before);
    let done: Value = serde_json::from_str(&delete(&["--yes", "--json"]).success()).unwrap();
    assert_eq!((&done["series"], &done["samples"]), (&2.into(), &288.into()), "{done}");
    let count = |db: &str| {
        let all = icecore(&["export", "--db", db, "--format", "csv"]).success();
        all.lines().filter(|line| line.contains(selector)).count()
    };
    assert_eq!(count(&store.db()), 2 * (14_400 - 144));
    json(&["compact", "--db", &store.db(), "--all", "--json"]);
    assert_eq!(count(&store.db()), 2 * (14_400 - 144), "and stays so when the bytes go");
    let again = delete(&["--yes"]).success();
    assert_eq!(again, "Nothing to delete.\n");
}

#[test]
fn snapshots_come_back_and_share_what_they_can() {
    let store = Store::new();
    let (monday, tuesday) = (store.path("monday"), store.path("tuesday"));
    let first = json(&["snapshot", "--db", &store.db(), &monday, "--json"]);
    assert!(first["parts"].as_u64().unwrap() > 0 && first["parts_linked"] == 0, "{first}");
    let before = everything(&store.db());
    let delete = ["delete", "--db", &store.db(), "queue_length", "--yes"];
    icecore(&delete).success();
    let second =
        json(&["snapshot", "--db", &store.db(), &tuesday, "--previous", &monday, "--json"]);
    assert_eq!(second["parts_linked"], second["parts"], "a delete changes no part: {second}");
    assert_eq!(icecore(&["snapshot", "--db", &store.db(), &monday]).code, 1, "it is there already");
    let restored = store.path("restored");
    let report = json(&["restore", "--db", &restored, &monday, "--json"]);
    assert_eq!(report["parts"], first["parts"]);
    assert!(everything(&restored) == before);
    assert_eq!(icecore(&["restore", "--db", &restored, &monday]).code, 1);
    // One bit of a file that both share.
    let victim = crate::run::largest_file(&Path::new(&monday).join("parts"));
    let mut bytes = std::fs::read(&victim).unwrap();
    let middle = bytes.iter().rposition(|&byte| byte != 0).unwrap() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&victim, bytes).unwrap();
    let refused = icecore(&["restore", "--db", &store.path("broken"), &monday]);
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.stderr.contains("monday/parts/"), "{refused:?}");
    assert!(!Path::new(&store.path("broken")).exists());
}

#[test]
fn parquet_holds_what_the_store_holds() {
    let store = Store::new();
    let lake = store.path("lake");
    let db = store.db();
    let export = [
        "export",
        "--db",
        &db,
        "--from",
        "2026-11-16",
        "--format",
        "parquet",
        "--json",
        "--output",
    ];
    let report = json(&[&export[..], &[&lake]].concat());
    assert_eq!((&report["rows"], &report["series"]), (&(22 * 4 * 144).into(), &22.into()));
    let of_tier = |tier: &str| -> Vec<PathBuf> {
        let all = files(Path::new(&lake)).into_iter();
        all.filter(|file| file.to_str().unwrap().contains(tier)).collect()
    };
    assert_eq!(of_tier("/tier=raw/").len(), 4);
    assert_eq!(of_tier("/tier=raw-distributions/").len(), 4);
    assert_eq!(
        of_tier("/tier=raw/date=2026-11-17/").iter().map(|f| rows(f)).sum::<i64>(),
        20 * 144
    );
    // One file of a selection, value by value beside the CSV of the same.
    let file = store.path("one.parquet");
    json(&[&export[..], &[&file, "temperature_celsius"]].concat());
    let csv =
        ["export", "--db", &db, "--from", "2026-11-16", "--format", "csv", "temperature_celsius"];
    let csv = icecore(&csv).success();
    let expected: Vec<f64> =
        csv.lines().skip(1).map(|line| line.rsplit(',').next().unwrap().parse().unwrap()).collect();
    let reader = SerializedFileReader::new(std::fs::File::open(&file).unwrap()).unwrap();
    let found: Vec<f64> =
        reader.get_row_iter(None).unwrap().map(|row| row.unwrap().get_double(4).unwrap()).collect();
    assert_eq!(found, expected);
    assert_eq!(icecore(&["export", "--db", &store.db(), "--format", "parquet"]).code, 2);
    assert_eq!(icecore(&["export", "--db", &store.db(), "--tier", "1h"]).code, 2);
    assert_eq!(icecore(&[&export[..], &[&lake]].concat()).code, 2, "the directory is not new");
}

#[test]
fn stats_tell_of_tiers() {
    let store = Store::new();
    let tiers = tiers(&store.db());
    assert_eq!(tiers["raw"]["stored_values"], 20 * 14_400);
    assert!(tiers.contains_key("raw-distributions"), "{tiers:?}");
    let text = icecore(&["stats", "--db", &store.db()]).success();
    assert!(text.contains("raw-distributions"), "{text}");
}
