//! `icecore compact`: small parts become large, tiers are built, what was deleted goes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::{Value, json};

use super::screen::Screen;
use super::table::Columns;
use super::{Failure, StoreArguments, figures, open_to_maintain, progress, read_policy};
use crate::compaction::plan::{MergeCause, Task};
use crate::engine::{CompactReport, CompactScope, Engine, MaintenanceStep};
use crate::error::ErrorKind;
use crate::options::{Keep, Policy};
use crate::query::CancelToken;

/// Pack a store: merge small parts, build coarser tiers, remove the bytes of deleted samples
///
/// Answers stay the same, and no sample goes that was not deleted; `retain` is what drops history.
/// What an interruption leaves is a sound store: run it again. An engine that is running does all
/// this by itself in the background.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  icecore compact --db history                            what is due
  icecore compact --db history --all                      everything, up to the newest sample
  icecore compact --db history --policy policy.toml       with the tiers and sketches of a policy")]
pub(super) struct Compact {
    #[command(flatten)]
    store: StoreArguments,
    /// Which tiers and sketches to build: docs/policy.md [default: 1m, 5m, 1h and 1d, no sketches
    /// but those of distributions]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Do not wait for late samples: merge and build up to the newest sample
    #[arg(long)]
    all: bool,
}

impl Compact {
    pub(super) fn run(self, screen: &mut Screen) -> Result<(), Failure> {
        let policy = packing_only(read_policy(self.policy.as_deref())?);
        let scope = if self.all { CompactScope::All } else { CompactScope::Due };
        let engine = open_to_maintain(&self.store.db, policy, None)?;
        let began = Instant::now();
        let report = compact(&engine, scope)?;
        engine.close()?;
        let tasks = tasks(&report);
        if self.store.json {
            screen.json(&to_json(&report, &tasks, began.elapsed().as_secs_f64()))?;
        } else {
            show(screen, &report, &tasks, began)?;
        }
        failed(screen, &report)
    }
}

/// A policy that builds the same and drops nothing.
fn packing_only(policy: Policy) -> Policy {
    Policy { keep: Keep::FOREVER, rules: Vec::new(), bytes_max: None, ..policy }
}

/// Compacts with something to look at.
pub(super) fn compact(engine: &Engine, scope: CompactScope) -> Result<CompactReport, Failure> {
    let what = if scope == CompactScope::Retention { "retain" } else { "compact" };
    let bar = progress::over_steps(what);
    let report = engine.compact(scope, &CancelToken::default(), &mut |step| {
        bar.inc(1);
        if let MaintenanceStep::Compacted(report) = step {
            bar.set_message(format!("{what}: {}", name_of(&report.task)));
        }
    });
    bar.finish_and_clear();
    Ok(report?)
}

/// What the tasks of one kind came to.
#[derive(Debug, Default, serde::Serialize)]
struct Done {
    tasks: u64,
    parts_read: u64,
    bytes_read: u64,
    parts_written: u64,
    bytes_written: u64,
    samples_written: u64,
}

fn name_of(task: &Task) -> String {
    match task {
        Task::Downsample { tier, source, .. } => format!("{tier} built from {source}"),
        Task::Patch { tier, source, .. } => format!("{tier} corrected from {source}"),
        Task::Merge { why: MergeCause::Adjacent | MergeCause::Patches, .. } => {
            "parts of a tier merged".to_owned()
        }
        Task::Merge { .. } => "parts of raw samples merged".to_owned(),
        Task::Purge { .. } => "deleted samples removed".to_owned(),
    }
}

fn tasks(report: &CompactReport) -> BTreeMap<String, Done> {
    let mut tasks: BTreeMap<String, Done> = BTreeMap::new();
    for step in &report.steps {
        let MaintenanceStep::Compacted(task) = step else { continue };
        let done = tasks.entry(name_of(&task.task)).or_default();
        done.tasks += 1;
        done.parts_read += task.parts_read;
        done.bytes_read += task.bytes_read;
        done.parts_written += task.parts_written;
        done.bytes_written += task.bytes_written;
        done.samples_written += task.samples_written;
    }
    tasks
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn show(
    screen: &mut Screen,
    report: &CompactReport,
    tasks: &BTreeMap<String, Done>,
    began: Instant,
) -> Result<(), Failure> {
    if tasks.is_empty() {
        let done =
            if failures(report).next().is_none() { "Nothing to do." } else { "Nothing done." };
        screen.line(done)?;
        return Ok(());
    }
    let mut table =
        Columns::new(&["what", ">tasks", ">parts read", ">bytes", ">written", ">bytes"]);
    for (name, done) in tasks {
        table.row(vec![
            name.clone(),
            figures::count(done.tasks),
            figures::count(done.parts_read),
            figures::bytes(done.bytes_read as f64),
            figures::count(done.parts_written),
            figures::bytes(done.bytes_written as f64),
        ]);
    }
    for line in table.lines() {
        screen.line(line)?;
    }
    screen.line(format!(
        "\nParts took {}, now {}; done in {}.",
        figures::bytes(report.bytes_before as f64),
        figures::bytes(report.bytes_after as f64),
        figures::length(began.elapsed()),
    ))?;
    Ok(())
}

fn to_json(report: &CompactReport, tasks: &BTreeMap<String, Done>, seconds: f64) -> Value {
    json!({
        "tasks": tasks,
        "bytes_before": report.bytes_before,
        "bytes_after": report.bytes_after,
        "failures": failures(report).count(),
        "seconds": seconds,
    })
}

fn failures(report: &CompactReport) -> impl Iterator<Item = &crate::Error> {
    report.steps.iter().filter_map(|step| match step {
        MaintenanceStep::Failed { error, .. } => Some(error),
        _ => None,
    })
}

/// What could not be read is told.
pub(super) fn failed(screen: &mut Screen, report: &CompactReport) -> Result<(), Failure> {
    let mut ended = Ok(());
    for error in failures(report) {
        screen.complain(&format!("left alone: {error}"));
        let damaged = error.kind() == ErrorKind::Corrupt;
        ended = Err(if damaged { Failure::Damaged } else { Failure::Incomplete });
    }
    ended
}
