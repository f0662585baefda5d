//! The shape of the tree, held by a test: layer order, sizes, and what may stand only in one place.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a failing test panics")]

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms in layer order: a room imports only rooms that stand before it.
const ROOMS: [&str; 25] = [
    "time",
    "error",
    "model",
    "aggregate",
    "codec",
    "fs",
    "segment",
    "store",
    "index",
    "part",
    "wal",
    "head",
    "catalog",
    "options",
    "query",
    "retention",
    "compaction",
    "engine",
    "monitor",
    "promql",
    "integration",
    "overview",
    "server",
    "report",
    "cli",
];
const FILE_LINES_MAX: usize = 500;

struct Source {
    path: PathBuf,
    /// Relative to `src`, with `/`.
    name: String,
    text: String,
}

impl Source {
    fn room(&self) -> Option<&str> {
        let room = self.name.split('/').next().unwrap().trim_end_matches(".rs");
        (!matches!(room, "lib" | "main")).then_some(room)
    }

    /// The lines before the file's own tests; none where it holds nothing but unit tests.
    fn lines(&self) -> impl Iterator<Item = &str> {
        let all = if self.name.ends_with("/tests.rs") { "" } else { self.text.as_str() };
        all.lines().take_while(|line| *line != "#[cfg(test)]")
    }

    /// As [`lines`](Self::lines), numbered, comments blanked.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let blanked = |line: &str| line.trim_start().starts_with("//");
        self.lines()
            .enumerate()
            .map(move |(i, line)| (i + 1, if blanked(line) { "" } else { line }))
    }

    fn fail(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path.display())
    }
}

fn sources(dir: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    let mut found = Vec::new();
    let mut dirs = vec![root.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("target") && !path.ends_with("corpus") {
                    dirs.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
                found.push(Source { text: fs::read_to_string(&path).unwrap(), path, name });
            }
        }
    }
    assert!(!found.is_empty(), "no sources in {}", root.display());
    found
}

fn report(problems: &[String]) {
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn rooms_import_only_rooms_above_them() {
    let rank = |room: &str| ROOMS.iter().position(|&known| known == room);
    let mut problems = Vec::new();
    for source in sources("src") {
        let Some(room) = source.room() else { continue };
        let Some(own) = rank(room) else {
            problems.push(source.fail(1, &format!("room `{room}` is not in the layer order")));
            continue;
        };
        for (line, code) in source.code() {
            for (at, _) in code.match_indices("crate::") {
                let rest = &code[at + "crate::".len()..];
                let target: String =
                    rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if rank(&target).is_some_and(|other| other > own) {
                    problems.push(source.fail(line, &format!("`{room}` imports `{target}`")));
                }
            }
        }
    }
    report(&problems);
}

#[test]
fn files_stay_within_their_limit() {
    let mut problems = Vec::new();
    for dir in ["src", "tests", "benches", "fuzz"] {
        for source in sources(dir) {
            let lines = source.lines().count();
            if lines > FILE_LINES_MAX {
                problems.push(source.fail(lines, "more than 500 lines before its tests"));
            }
        }
    }
    report(&problems);
}

/// What may stand only in some files: the word, where it may, and why.
const ONLY_IN: [(&str, &[&str], &str); 8] = [
    ("sled::", &["store/sled.rs", "store/mod.rs"], "one file names sled, one that file"),
    ("redb::", &["store/redb.rs", "store/mod.rs"], "one file names redb, one that file"),
    ("println!", &["cli/", "main.rs"], "the command is the only printer"),
    ("SystemTime", &["time.rs"], "one clock"),
    ("std::fs::", &["fs/", "store/", "cli/"], "files are reached through the seam"),
    ("allow(", &[], "an exception says why: #[expect(.., reason = ..)]"),
    ("todo!", &[], "nothing is left undone"),
    ("FIXME", &[], "nothing is left undone"),
];

#[test]
fn words_stand_only_where_they_belong() {
    let mut problems = Vec::new();
    for source in sources("src") {
        for (line, code) in source.code() {
            for (word, places, why) in ONLY_IN {
                let allowed = places.iter().any(|place| source.name.starts_with(place));
                if code.contains(word) && !allowed {
                    problems.push(source.fail(line, &format!("`{word}`: {why}")));
                }
            }
        }
    }
    report(&problems);
}

#[test]
fn vague_names_are_not_rooms() {
    let vague = ["util", "utils", "helper", "helpers", "common", "manager", "context", "misc"];
    let problems: Vec<String> = sources("src")
        .into_iter()
        .filter(|source| {
            source.name.trim_end_matches(".rs").split('/').any(|piece| vague.contains(&piece))
        })
        .map(|source| source.fail(1, "a name that says nothing"))
        .collect();
    report(&problems);
}
