//! `icecore verify`: whether a store is whole, and where not.

use serde_json::{Value, json};

use super::screen::Screen;
use super::{Failure, StoreArguments, figures, progress};
use crate::engine::Engine;

/// Check every checksum and invariant; exits with 0 only where the store is whole
///
/// Reads every byte of the store and changes none. No engine may have it open for writing.
#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    #[command(flatten)]
    store: StoreArguments,
}

impl Verify {
    pub(super) fn run(self, screen: &mut Screen) -> Result<(), Failure> {
        let bar = progress::over_bytes("verify", Some(0));
        let report = Engine::verify(&self.store.db, &mut |step| {
            bar.set_length(step.bytes_total);
            bar.set_position(step.bytes_done);
        })?;
        bar.finish_and_clear();
        if self.store.json {
            let problems: Vec<Value> = report
                .problems
                .iter()
                .map(|problem| {
                    json!({
                        "path": problem.path.display().to_string(),
                        "offset": problem.offset,
                        "message": problem.message,
                    })
                })
                .collect();
            screen.json(&json!({
                "whole": report.is_whole(),
                "parts": report.parts,
                "segments": report.segments,
                "chunks": report.chunks,
                "samples": report.samples,
                "log_files": report.log_files,
                "log_samples": report.log_samples,
                "event_rows": report.event_rows,
                "log_event_rows": report.log_event_rows,
                "torn_bytes": report.torn_bytes,
                "leftovers": report.leftovers,
                "problems": problems,
            }))?;
        } else {
            screen.line(format!(
                "{} parts, {} segments, {} chunks, {} samples; {} log files, {} samples",
                figures::count(report.parts),
                figures::count(report.segments),
                figures::count(report.chunks),
                figures::count(report.samples),
                figures::count(report.log_files),
                figures::count(report.log_samples),
            ))?;
            if report.event_rows + report.log_event_rows > 0 {
                let (parts, log) = (report.event_rows, report.log_event_rows);
                let (parts, log) = (figures::count(parts), figures::count(log));
                screen.line(format!("{parts} rows of events; {log} in the log"))?;
            }
            for problem in &report.problems {
                let offset = problem.offset.map(|offset| format!(" at byte {offset}"));
                let place = format!("{}{}", problem.path.display(), offset.unwrap_or_default());
                screen.line(format!("DAMAGED {place}: {}", problem.message))?;
            }
            screen.line(if report.is_whole() { "whole" } else { "not whole" })?;
        }
        if report.is_whole() { Ok(()) } else { Err(Failure::Damaged) }
    }
}
