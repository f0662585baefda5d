//! `icecore retain`: drops what a policy keeps no longer.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::screen::Screen;
use super::table::Columns;
use super::{
    Failure, StoreArguments, compact, figures, open_to_maintain, open_to_read_with, read_policy,
};
use crate::engine::{CompactScope, MaintenanceStep};
use crate::integration::notation::Rfc3339;
use crate::integration::parquet::ParquetArchive;
use crate::integration::quantity::Length;
use crate::options::Archive;
use crate::retention::{DropCause, Dropped};

/// Drop the history that a policy keeps no longer, for its age or to fit a number of bytes
///
/// Whole parts go, oldest first, and their disk space with them. Coarser tiers that are kept take in
/// first what they lack of it. With --archive each part is written as Parquet, read back and compared
/// before it goes; one that cannot be archived stays. Look before you leap: --dry-run shows what would
/// go and why, and changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  icecore retain --db history --policy policy.toml --dry-run
  icecore retain --db history --policy policy.toml --archive /archive/history

The policy file: docs/policy.md. In short:
  bytes_max = '10GiB'
  [keep]
  raw = '15d'
  1m = '90d'")]
pub(super) struct Retain {
    #[command(flatten)]
    store: StoreArguments,
    /// What is kept, and how long
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// Write what goes to this directory first, as Parquet
    #[arg(long, value_name = "DIR")]
    archive: Option<PathBuf>,
    /// Show what would go, and why; change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Retain {
    pub(super) fn run(self, screen: &mut Screen) -> Result<(), Failure> {
        let policy = read_policy(Some(&self.policy))?;
        if self.dry_run {
            let planned = open_to_read_with(&self.store.db, policy)?.plan_retention();
            return self.tell(screen, &planned, 0);
        }
        let archive = self.archive.as_ref().map(|dir| Archive {
            archiver: Arc::new(ParquetArchive::new(dir)),
            budget_drops_unarchived: false,
        });
        let engine = open_to_maintain(&self.store.db, policy, archive)?;
        let done = compact::compact(&engine, CompactScope::Retention)?;
        // Tells what could not go, and why.
        let left = engine.enforce_retention()?;
        engine.close()?;
        let steps = done.steps.iter().flat_map(|step| match step {
            MaintenanceStep::Dropped(report) => report.dropped.as_slice(),
            _ => &[],
        });
        let dropped: Vec<Dropped> = steps.chain(&left.dropped).copied().collect();
        self.tell(screen, &dropped, left.short_bytes)?;
        compact::failed(screen, &done)?;
        left.failed.map_or(Ok(()), |error| Err(error.into()))
    }

    fn tell(
        &self,
        screen: &mut Screen,
        dropped: &[Dropped],
        short_bytes: u64,
    ) -> Result<(), Failure> {
        if self.store.json {
            let parts: Vec<Value> = dropped.iter().map(to_json).collect();
            screen.json(&json!({
                "dry_run": self.dry_run,
                "dropped": parts,
                "bytes": bytes_of(dropped),
                "short_bytes": short_bytes,
            }))?;
            return Ok(());
        }
        self.show(screen, dropped)?;
        if short_bytes > 0 {
            screen.complain(&format!(
                "the store is still {} above its budget, and nothing more can go",
                size(short_bytes)
            ));
        }
        Ok(())
    }

    fn show(&self, screen: &mut Screen, dropped: &[Dropped]) -> Result<(), Failure> {
        if dropped.is_empty() {
            screen.line("Nothing is due.")?;
            return Ok(());
        }
        let mut table = Columns::new(&[">part", "tier", "from", "to", ">bytes", "why"]);
        for part in dropped {
            table.row(vec![
                part.id.to_string(),
                part.tier.to_string(),
                figures::time(part.window.start),
                figures::time(part.window.end),
                size(part.bytes),
                why(part.cause),
            ]);
        }
        for line in table.lines() {
            screen.line(line)?;
        }
        let (parts, bytes) = (figures::count(dropped.len() as u64), size(bytes_of(dropped)));
        screen.line(if self.dry_run {
            format!("\n{parts} parts with {bytes} would go. Nothing was changed.")
        } else {
            format!("\n{parts} parts with {bytes} are gone.")
        })?;
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn size(bytes: u64) -> String {
    figures::bytes(bytes as f64)
}

fn bytes_of(dropped: &[Dropped]) -> u64 {
    dropped.iter().map(|part| part.bytes).sum()
}

fn why(cause: DropCause) -> String {
    match cause {
        DropCause::Expired { keep } => format!("older than {}", Length(keep)),
        DropCause::Allowance { bytes_max } => {
            format!("its tier and class are kept within {}", size(bytes_max))
        }
        DropCause::Covered { by } => format!("bytes are short, {by} covers it"),
        DropCause::Oldest => "bytes are short, nothing is older".to_owned(),
    }
}

fn to_json(part: &Dropped) -> Value {
    let cause = match part.cause {
        DropCause::Expired { .. } => "expired",
        DropCause::Allowance { .. } => "allowance",
        DropCause::Covered { .. } => "covered",
        DropCause::Oldest => "oldest",
    };
    json!({
        "part": part.id,
        "tier": part.tier.to_string(),
        "from": Rfc3339(part.window.start).to_string(),
        "to": Rfc3339(part.window.end).to_string(),
        "bytes": part.bytes,
        "cause": cause,
        "why": why(part.cause),
    })
}
