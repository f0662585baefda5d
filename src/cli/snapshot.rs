//! `icecore snapshot` and `icecore restore`: a copy of a store, and the way back.

use std::path::PathBuf;
use std::time::Instant;

use indicatif::ProgressBar;
use serde_json::json;

use super::screen::Screen;
use super::{Failure, StoreArguments, figures, open_to_read, progress};
use crate::engine::{CopyStep, SnapshotOptions, SnapshotReport, restore};

/// Copy a store into a new directory, consistently; with --previous only what is new
///
/// A snapshot is a store: query, export and verify it like any other, and bring it back with
/// `restore`. Parts that the previous snapshot holds are hard links, so that each snapshot is whole
/// and either may be deleted. Of a store that a running engine has open, the engine itself takes
/// snapshots (Engine::snapshot).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  icecore snapshot --db history backups/monday
  icecore snapshot --db history backups/tuesday --previous backups/monday
  icecore verify --db backups/tuesday")]
pub(super) struct Snapshot {
    #[command(flatten)]
    store: StoreArguments,
    /// The directory to make
    #[arg(value_name = "SNAPSHOT")]
    to: PathBuf,
    /// An earlier snapshot of the same store, on the same file system
    #[arg(long, value_name = "SNAPSHOT")]
    previous: Option<PathBuf>,
}

/// Bring a snapshot back as a store, every checksum verified
///
/// Copies into a new directory, which is there only when everything was copied and found whole. A
/// damaged snapshot is refused, and what is damaged is named.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  icecore restore --db history backups/tuesday")]
pub(super) struct Restore {
    #[command(flatten)]
    store: StoreArguments,
    /// The snapshot
    #[arg(value_name = "SNAPSHOT")]
    from: PathBuf,
}

impl Snapshot {
    pub(super) fn run(self, screen: &mut Screen) -> Result<(), Failure> {
        let engine = open_to_read(&self.store.db)?;
        let options = SnapshotOptions { previous: self.previous };
        let bar = progress::over_bytes("snapshot", Some(0));
        let began = Instant::now();
        let report = engine.snapshot(&self.to, &options, &mut |step| show_step(&bar, step))?;
        bar.finish_and_clear();
        tell(screen, self.store.json, &report, began)
    }
}

impl Restore {
    pub(super) fn run(self, screen: &mut Screen) -> Result<(), Failure> {
        let bar = progress::over_bytes("restore", Some(0));
        let began = Instant::now();
        let report = restore(&self.from, &self.store.db, &mut |step| show_step(&bar, step))?;
        bar.finish_and_clear();
        tell(screen, self.store.json, &report, began)
    }
}

fn show_step(bar: &ProgressBar, step: CopyStep) {
    bar.set_length(step.bytes_total);
    bar.set_position(step.bytes_done);
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn tell(
    screen: &mut Screen,
    json: bool,
    report: &SnapshotReport,
    began: Instant,
) -> Result<(), Failure> {
    if json {
        screen.json(&json!({
            "parts": report.parts,
            "parts_linked": report.parts_linked,
            "samples": report.samples,
            "bytes_copied": report.bytes_copied,
            "bytes_linked": report.bytes_linked,
            "seconds": began.elapsed().as_secs_f64(),
        }))?;
        return Ok(());
    }
    screen.line(format!(
        "{} parts; {} copied in {}",
        figures::count(report.parts),
        figures::bytes(report.bytes_copied as f64),
        figures::length(began.elapsed()),
    ))?;
    if report.parts_linked > 0 {
        screen.line(format!(
            "{} of them shared with the previous snapshot, {}",
            figures::count(report.parts_linked),
            figures::bytes(report.bytes_linked as f64),
        ))?;
    }
    Ok(())
}
