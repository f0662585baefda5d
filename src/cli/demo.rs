//! `icecore demo`: the whole way of real samples, in a few seconds.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::import::{CountedRead, Importer, Report};
use super::input::{self, Format, Reading};
use super::screen::Screen;
use super::{Failure, figures, new_directory, open_to_read, query};
use crate::engine::Engine;
use crate::model::Selector;
use crate::query::{Answer, Function, Grouping, Request};

/// 30 minutes of a machine's node_exporter, one scrape a second: `tests/data/README.md`.
const CAPTURE: &[u8] = include_bytes!("../../tests/data/node_exporter_excerpt.prom.zst");
const CAPTURE_NAME: &str = "node_exporter_excerpt.prom.zst";
/// What the demo asks.
const SELECTOR: &str = "node_cpu_seconds_total{mode=~\"user|system|iowait\"}";
const STEP: Duration = Duration::from_secs(15);

/// Import a real capture, show what it cost, ask it something, check it
///
/// Carries 30 minutes of a machine's metrics inside the binary, so it needs nothing else.
#[derive(Debug, clap::Args)]
pub(super) struct Demo {
    /// Keep the store in this directory [default: a temporary one, removed at the end]
    #[arg(long, value_name = "DIR")]
    db: Option<PathBuf>,
    /// Answer with one JSON object
    #[arg(long)]
    json: bool,
}

/// What the demo found on its way.
struct Seen {
    text_bytes: u64,
    report: Report,
    open: Duration,
    answer: Answer,
    query: Duration,
    verified_chunks: u64,
    verified_samples: u64,
    verify: Duration,
}

impl Demo {
    pub(super) fn run(self, screen: &mut Screen) -> Result<(), Failure> {
        match &self.db {
            Some(db) => self.run_in(db, screen),
            None => {
                let db = Temporary::new();
                self.run_in(&db.0, screen)
            }
        }
    }

    fn run_in(&self, db: &Path, screen: &mut Screen) -> Result<(), Failure> {
        new_directory(db)?;
        let (text_bytes, report) = import(db)?;
        let began = Instant::now();
        let engine = open_to_read(db)?;
        let open = began.elapsed();
        let began = Instant::now();
        let answer = ask(&engine)?;
        let query = began.elapsed();
        let began = Instant::now();
        let verified = Engine::verify(db, &mut |_| {})?;
        let seen = Seen {
            text_bytes,
            report,
            open,
            answer,
            query,
            verified_chunks: verified.chunks,
            verified_samples: verified.samples,
            verify: began.elapsed(),
        };
        if self.json {
            screen.json(&seen.to_json(verified.is_whole()))?;
        } else {
            seen.show(screen, &engine)?;
            if let Some(db) = &self.db {
                screen.line(format!(
                    "\nThe store is in {0}. Try:  icecore series --db {0}",
                    db.display()
                ))?;
            }
        }
        if verified.is_whole() { Ok(()) } else { Err(Failure::Damaged) }
    }
}

fn import(db: &Path) -> Result<(u64, Report), Failure> {
    let failed = |error| Failure::Input(CAPTURE_NAME.to_owned(), error);
    let text_bytes = Rc::new(Cell::new(0));
    let plain = input::decompress(CAPTURE).map_err(failed)?;
    let counted = CountedRead { input: plain, bytes: Rc::clone(&text_bytes) };
    let reading = Reading { format: Format::Prometheus, series: None, timestamp: None };
    let mut importer = Importer::open(db)?;
    let text = std::io::BufReader::new(counted);
    let mut reader = input::reader(text, CAPTURE_NAME, &reading).map_err(failed)?;
    importer.take(CAPTURE_NAME, &mut *reader)?;
    Ok((text_bytes.get(), importer.close()?))
}

fn ask(engine: &Engine) -> Result<Answer, Failure> {
    let Some((first, last)) = engine.time_bounds()? else {
        return Err(Failure::Usage("the capture is empty".to_owned()));
    };
    let range = crate::time::TimeRange::new(first, crate::time::Timestamp(last.nanos() + 1));
    let request = Request {
        step: Some(STEP),
        group_by: Grouping::Labels(vec!["mode".to_owned()]),
        ..Request::new(range, vec![Function::Rate])
    };
    Ok(engine.query(&Selector::parse(SELECTOR)?, &request)?)
}

impl Seen {
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn show(&self, screen: &mut Screen, engine: &Engine) -> Result<(), Failure> {
        let samples = self.report.samples as f64;
        let disk = self.report.bytes_on_disk as f64;
        screen.line("30 minutes of a machine's node_exporter, one scrape a second, as text:")?;
        screen.line(format!(
            "  {} samples of {} series, {}",
            figures::count(self.report.samples),
            figures::count(self.report.series),
            figures::bytes(self.text_bytes as f64),
        ))?;
        screen.line(format!(
            "Imported, synced, reopened in {:.2} s ({} samples/s); opening took {}.",
            self.report.seconds + self.open.as_secs_f64(),
            figures::number(self.report.samples_per_second),
            figures::length(self.open),
        ))?;
        screen.line(format!(
            "On disk, everything: {}, {:.2} bytes per sample:",
            figures::bytes(disk),
            self.report.bytes_per_sample,
        ))?;
        screen.line(format!(
            "  {:.1} times smaller than 16 bytes a sample, {:.0} times smaller than the text.\n",
            16.0 * samples / disk,
            self.text_bytes as f64 / disk,
        ))?;
        screen.line("Where did the processors' time go? (seconds per second, by mode)")?;
        query::show(screen, engine, &Selector::parse(SELECTOR)?, &self.answer, Some(STEP))?;
        screen.line(format!(
            "\nAnswered in {}: {} series, {} samples decoded.",
            figures::length(self.query),
            figures::count(self.answer.evidence.series),
            figures::count(self.answer.evidence.samples_decoded),
        ))?;
        screen.line(format!(
            "Verified in {}: {} chunks, {} samples, every checksum and statistic.",
            figures::length(self.verify),
            figures::count(self.verified_chunks),
            figures::count(self.verified_samples),
        ))?;
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn to_json(&self, whole: bool) -> serde_json::Value {
        let disk = self.report.bytes_on_disk as f64;
        json!({
            "import": self.report,
            "text_bytes": self.text_bytes,
            "ratio_to_text": self.text_bytes as f64 / disk,
            "ratio_to_16_bytes": 16.0 * self.report.samples as f64 / disk,
            "open_seconds": self.open.as_secs_f64(),
            "query_seconds": self.query.as_secs_f64(),
            "groups": self.answer.groups.len(),
            "windows": self.answer.windows.len(),
            "verify_seconds": self.verify.as_secs_f64(),
            "verified_samples": self.verified_samples,
            "whole": whole,
        })
    }
}

/// A directory of this process that goes when it is dropped.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("icecore-demo-{}", std::process::id())))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // A leftover in the temporary directory is no failure of the demo.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
