//! A process of its own that uses a store until it is killed: this test binary, run again.
//!
//! It says on its standard output what was acknowledged as synced; whoever kills it, or cuts the
//! power under it, holds the store to that.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use icecore::model::{Metadata, Selector, Series};
use icecore::options::{Durability, GateOptions};
use icecore::query::SampleRequest;
use icecore::{Engine, Options, TimeRange, Timestamp};

const DIR: &str = "ICECORE_CRASH_CHILD_DIR";
const ROLE: &str = "ICECORE_CRASH_CHILD_ROLE";
const SERIES: usize = 40;
const STEP_NS: i64 = 1_000_000_000;

/// What the child does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Appends rows, each synced, and freezes the head often.
    Write,
    /// Opens read-only and reads everything, again and again.
    Read,
}

pub(crate) fn options() -> Options {
    Options {
        head_bytes_max: 1 << 16,
        log_file_bytes_max: 1 << 16,
        free_bytes_min: 1 << 20,
        partition: Duration::from_secs(120),
        self_metrics: None,
        threads: 1,
        gate: GateOptions { past: None, future: None, ..GateOptions::default() },
        ..Options::default()
    }
}

fn value(series: usize, row: i64) -> f64 {
    (series as i64 * 1_000_003 + row * row % 977) as f64 / 8.0
}

/// Does nothing, unless this binary was started by [`Running::start`].
#[test]
fn child_process() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let engine_of = |options| Engine::open(&dir, options).unwrap();
    if std::env::var(ROLE).is_ok_and(|role| role == "Read") {
        loop {
            let engine = engine_of(Options { read_only: true, ..options() });
            let rows = rows(&engine).map_or(-1, |rows| rows - 1);
            say(&format!("read {rows}"));
        }
    }
    let engine = engine_of(options());
    let first = rows(&engine).unwrap();
    let writer = engine.writer("child").with_durability(Durability::Synced);
    let handles: Vec<_> = (0..SERIES)
        .map(|i| {
            let series = Series::new("rows", [("series", i.to_string().as_str())]).unwrap();
            writer.series(&series, &Metadata::default()).unwrap()
        })
        .collect();
    let group = writer.scrape_group(&handles);
    for row in first.. {
        let values = (0..SERIES).map(|series| value(series, row)).collect();
        let receipt = writer.append_scrape(&group, Timestamp(row * STEP_NS), values).unwrap();
        receipt.wait().unwrap();
        say(&format!("synced {row}"));
    }
}

/// On a line of its own, whatever the test harness printed before.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // The parent may be gone; then so is the purpose.
    if write!(out, "\n{line}\n").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Checks what is stored: rows `0..n` of every series, whole, with the right values; returns `n`.
pub(crate) fn rows(engine: &Engine) -> Result<i64, String> {
    let all = Selector::parse("rows").unwrap();
    let found = engine
        .samples(&all, &SampleRequest::new(TimeRange::ALL))
        .map_err(|error| error.to_string())?;
    let mut counts = Vec::new();
    for samples in &found {
        let series: usize = samples.series.label("series").parse().unwrap();
        for (row, (&timestamp, &stored)) in
            (0_i64..).zip(samples.timestamps.iter().zip(&samples.values))
        {
            if timestamp != row * STEP_NS || stored.to_bits() != value(series, row).to_bits() {
                return Err(format!("series {series}, row {row}: {stored} at {timestamp}"));
            }
        }
        counts.push(samples.timestamps.len() as i64);
    }
    match counts.first() {
        None => Ok(0),
        Some(&rows) if counts.len() == SERIES && counts.iter().all(|&count| count == rows) => {
            Ok(rows)
        }
        Some(_) => Err(format!("{} series with {counts:?} rows", counts.len())),
    }
}

/// A child at work.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    last: i64,
}

impl Running {
    pub(crate) fn start(dir: &Path, role: Role) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child::child_process", "--nocapture", "--test-threads=1"])
            .env(DIR, dir)
            .env(ROLE, format!("{role:?}"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, last: -1 }
    }

    fn note(&mut self, line: &str) {
        let number = line.strip_prefix("synced ").or_else(|| line.strip_prefix("read "));
        if let Some(row) = number {
            self.last = self.last.max(row.parse().unwrap());
        }
    }

    /// Waits until the child has said something, then lets it go on for a while.
    pub(crate) fn run_for(&mut self, while_: Duration) {
        while self.last < 0 {
            let line = self.lines.recv_timeout(Duration::from_secs(60)).expect("the child's word");
            self.note(&line);
        }
        std::thread::sleep(while_);
    }

    /// The last row acknowledged up to now; -1 where none was.
    pub(crate) fn acknowledged(&mut self) -> i64 {
        while let Ok(line) = self.lines.try_recv() {
            self.note(&line);
        }
        self.last
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(status.success(), "kill {signal}");
    }

    pub(crate) fn kill(mut self) -> i64 {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // The pipe's rest: said before the kill.
        while let Ok(line) = self.lines.recv_timeout(Duration::from_secs(5)) {
            self.note(&line);
        }
        self.last
    }
}
