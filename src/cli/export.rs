//! `icecore export`: a store, or a part of it, as text.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::arguments::Between;
use super::parquet::{self, Contents, contents};
use super::screen::Screen;
use super::{Failure, StoreArguments, figures, open_to_read};
use crate::engine::Engine;
use crate::error::Error;
use crate::integration::csv::CsvWriter;
use crate::integration::exposition::ExpositionWriter;
use crate::integration::jsonl::JsonlWriter;
use crate::model::{Metadata, Selector, Series};
use crate::query::{Limits, SampleRequest};
use crate::time::{Tier, TimeRange};

/// Write samples as text, which imports to the same store, or as Parquet for other tools
///
/// jsonl is exact to the last bit and keeps kinds, units and help; csv is exact and keeps none of
/// these; prometheus holds whole milliseconds only (other timestamps are refused), leaves stale
/// markers out and counts both them and NaN payloads lost. parquet writes one FILE.parquet, or a new
/// directory partitioned as DuckDB, pandas and Spark read it (tier=raw/date=2026-11-23/...), of
/// samples or of a tier's records; each file is read back and compared before it gets its name.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  icecore export --db history > everything.jsonl
  icecore export --db history 'node_load1' --format csv --from now-1h
  icecore export --db history --output history.jsonl.zst
  icecore export --db history --format parquet --output lake
  icecore export --db history --format parquet --tier 1h --output hours.parquet 'node_load1'

  duckdb -c \"SELECT labels['mode'], avg(value) FROM read_parquet('lake/tier=raw/*/*.parquet')
             WHERE metric = 'cpu_seconds_total' AND date = '2026-11-23' GROUP BY ALL\"")]
pub(super) struct Export {
    #[command(flatten)]
    store: StoreArguments,
    /// Which series [default: all]
    selector: Option<String>,
    #[command(flatten)]
    between: Between,
    /// What to write
    #[arg(long, value_enum, default_value = "jsonl")]
    format: Format,
    /// What parquet holds: raw, raw-distributions, or a tier such as 1m or 1h [default: raw, and of
    /// a directory raw-distributions too]
    #[arg(long, value_name = "TIER", value_parser = contents)]
    tier: Option<Contents>,
    /// File to write, compressed where it ends in .gz or .zst; - is stdout; for parquet a file that
    /// ends in .parquet, or a directory
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    output: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Prometheus text with HELP and TYPE, timestamps in milliseconds
    Prometheus,
    /// timestamp,series,value
    Csv,
    /// A JSON object a line, many samples of one series each
    Jsonl,
    /// Columns for DuckDB, pandas, Spark
    Parquet,
}

/// What an export wrote.
#[derive(Default)]
struct Report {
    samples: u64,
    series: u64,
    stale_left_out: u64,
    nan_payloads_lost: u64,
}

impl Export {
    pub(super) fn run(self, screen: &mut Screen) -> Result<(), Failure> {
        let selector = match &self.selector {
            Some(text) => Selector::parse(text)?,
            None => Selector::default(),
        };
        let engine = open_to_read(&self.store.db)?;
        let range = self.between.resolve(&engine)?;
        let to_stdout = self.output.as_os_str() == "-";
        if self.format == Format::Parquet && !to_stdout {
            return self.run_parquet(&engine, &selector, range, screen);
        }
        if self.tier.is_some_and(|tier| tier != Contents::Samples) {
            let message = "tiers are written with --format parquet --output FILE".to_owned();
            return Err(Failure::Usage(message));
        }
        let report = if to_stdout {
            self.write(&engine, &selector, range, screen.writer()).map(|(report, _)| report)?
        } else {
            self.write_file(&engine, &selector, range)?
        };
        // Where stdout carries the samples, only they go there.
        let text = if self.store.json { report.to_json().to_string() } else { report.to_string() };
        if to_stdout {
            screen.flush()?;
            let lost = report.stale_left_out + report.nan_payloads_lost > 0;
            if self.store.json || lost {
                screen.note(&text);
            }
        } else {
            screen.line(text)?;
        }
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn run_parquet(
        &self,
        engine: &Engine,
        selector: &Selector,
        range: Option<TimeRange>,
        screen: &mut Screen,
    ) -> Result<(), Failure> {
        let to_file = self.output.extension().is_some_and(|extension| extension == "parquet");
        let raw = [Contents::Samples, Contents::Records(Tier::RAW)];
        let all = match &self.tier {
            Some(tier) => std::slice::from_ref(tier),
            None if to_file => &raw[..1],
            None => &raw,
        };
        let exported = match range {
            Some(range) => parquet::Export { engine, selector, range }.write(all, &self.output)?,
            None => parquet::Exported::default(),
        };
        let parquet::Exported { rows, series, files, bytes } = exported;
        let series = series.len() as u64;
        if self.store.json {
            let report = json!({ "rows": rows, "series": series, "files": files, "bytes": bytes });
            screen.json(&report)?;
        } else {
            screen.line(format!(
                "{} rows of {} series in {} files, {}",
                figures::count(rows),
                figures::count(series),
                figures::count(files),
                figures::bytes(bytes as f64),
            ))?;
        }
        Ok(())
    }

    fn write_file(
        &self,
        engine: &Engine,
        selector: &Selector,
        range: Option<TimeRange>,
    ) -> Result<Report, Failure> {
        let failed = |operation| move |error| Error::io(operation, &self.output, error);
        let file = BufWriter::new(File::create(&self.output).map_err(failed("create"))?);
        let name = self.output.to_string_lossy();
        let (report, file) = if name.ends_with(".gz") {
            let packer = flate2::write::GzEncoder::new(file, flate2::Compression::default());
            let (report, packer) = self.write(engine, selector, range, packer)?;
            (report, packer.finish().map_err(failed("write"))?)
        } else if name.ends_with(".zst") {
            let packer = zstd::stream::write::Encoder::new(file, 0).map_err(failed("write"))?;
            let (report, packer) = self.write(engine, selector, range, packer)?;
            (report, packer.finish().map_err(failed("write"))?)
        } else {
            self.write(engine, selector, range, file)?
        };
        let file = file.into_inner().map_err(|error| failed("write")(error.into_error()))?;
        file.sync_all().map_err(failed("sync"))?;
        Ok(report)
    }

    fn write<W: Write>(
        &self,
        engine: &Engine,
        selector: &Selector,
        range: Option<TimeRange>,
        output: W,
    ) -> Result<(Report, W), Failure> {
        let mut writer = match self.format {
            Format::Prometheus => Writer::Prometheus(ExpositionWriter::new(output)),
            Format::Csv => Writer::Csv(Box::new(CsvWriter::new(output)?)),
            Format::Jsonl => Writer::Jsonl(JsonlWriter::new(output)),
            // What is no stdout has its own way.
            Format::Parquet => {
                let message = "parquet needs --output FILE.parquet or --output DIR".to_owned();
                return Err(Failure::Usage(message));
            }
        };
        let mut report = Report::default();
        let mut latest: Option<(std::sync::Arc<Series>, Metadata)> = None;
        // An error of the output ends the walk; it is told apart from the engine's afterwards.
        let mut broken = None;
        if let Some(range) = range {
            let everything = u64::MAX;
            let limits =
                Limits { series_max: everything, samples_max: everything, ..Limits::default() };
            let request = SampleRequest { limits, ..SampleRequest::new(range) };
            let walked = engine.for_each_run(selector, &request, |series, timestamps, values| {
                let metadata = match &latest {
                    Some((known, metadata)) if known == series => metadata,
                    _ => {
                        report.series += 1;
                        let metadata = engine.metadata(series.name()).unwrap_or_default();
                        &latest.insert((series.clone(), metadata)).1
                    }
                };
                report.samples += timestamps.len() as u64;
                writer.write(series, metadata, timestamps, values).map_err(|error| {
                    broken = Some(error);
                    Error::Cancelled
                })
            });
            match (walked, broken) {
                (_, Some(error)) if error.kind() == io::ErrorKind::InvalidInput => {
                    return Err(Failure::Usage(error.to_string()));
                }
                (_, Some(error)) => return Err(Failure::Output(error)),
                (walked, None) => walked?,
            }
        }
        if let Writer::Prometheus(writer) = &writer {
            report.stale_left_out = writer.stale_left_out();
            report.nan_payloads_lost = writer.nan_payloads_lost();
            report.samples -= report.stale_left_out;
        }
        Ok((report, writer.finish()?))
    }
}

enum Writer<W: Write> {
    Prometheus(ExpositionWriter<W>),
    Csv(Box<CsvWriter<W>>),
    Jsonl(JsonlWriter<W>),
}

impl<W: Write> Writer<W> {
    fn write(
        &mut self,
        series: &Series,
        metadata: &Metadata,
        timestamps: &[i64],
        values: &[f64],
    ) -> io::Result<()> {
        match self {
            Self::Prometheus(writer) => writer.write(series, metadata, timestamps, values),
            Self::Csv(writer) => writer.write(series, timestamps, values),
            Self::Jsonl(writer) => writer.write(series, metadata, timestamps, values),
        }
    }

    fn finish(self) -> io::Result<W> {
        match self {
            Self::Prometheus(writer) => writer.finish(),
            Self::Csv(writer) => writer.finish(),
            Self::Jsonl(writer) => writer.finish(),
        }
    }
}

impl Report {
    fn to_json(&self) -> Value {
        json!({
            "samples": self.samples,
            "series": self.series,
            "stale_left_out": self.stale_left_out,
            "nan_payloads_lost": self.nan_payloads_lost,
        })
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (samples, series) = (figures::count(self.samples), figures::count(self.series));
        write!(f, "{samples} samples of {series} series")?;
        if self.stale_left_out > 0 {
            write!(f, "; {} stale markers left out", figures::count(self.stale_left_out))?;
        }
        if self.nan_payloads_lost > 0 {
            write!(f, "; {} NaN payloads lost", figures::count(self.nan_payloads_lost))?;
        }
        Ok(())
    }
}
