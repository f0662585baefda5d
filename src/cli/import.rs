//! `icecore import`: brings text into a store.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::arguments::{When, label, when};
use super::input::{Format, Reading};
use super::screen::Screen;
use super::{Failure, StoreArguments, figures, import_options, input};
use crate::engine::{Engine, Environment, Refusal, ScrapeHandle, SeriesHandle, Writer};
use crate::integration::{Batch, SampleReader, Slot};
use crate::model::{Metadata, Series};
use crate::options::Options;

/// Bring Prometheus or OpenMetrics text, CSV or JSON lines into a store
///
/// The format is told from the file's name or its first line; gzip and Zstandard are read as they
/// are. A line that cannot be read is counted by reason and does not end the import.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  icecore import --db history node_exporter.prom.gz
  icecore import --db history --metric cpu --label host=a ec2_cpu.csv     timestamp,value
  icecore import --db history samples.csv                                 timestamp,series,value
  curl -s localhost:9100/metrics | icecore import --db history --timestamp now -

Timestamps in CSV and JSON: RFC 3339, 'YYYY-MM-DD HH:MM:SS' (UTC), or Unix time, whose unit is
told by its size: below 10^11 seconds, 10^14 milliseconds, 10^17 microseconds, else nanoseconds.")]
pub(super) struct Import {
    #[command(flatten)]
    store: StoreArguments,
    /// What the input is
    #[arg(long, value_enum, default_value = "auto")]
    format: Format,
    /// Metric name for CSV of timestamp,value
    #[arg(long, value_name = "NAME")]
    metric: Option<String>,
    /// Label for CSV of timestamp,value; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = label, requires = "metric")]
    label: Vec<(String, String)>,
    /// Stands in for timestamps that exposition text leaves out: now, or a time
    #[arg(long, value_name = "TIME", value_parser = when, allow_hyphen_values = true)]
    timestamp: Option<When>,
    /// Files to read; - is stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
}

/// What an import did.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Samples stored.
    pub(super) samples: u64,
    /// Series that they belong to.
    pub(super) series: u64,
    /// Lines or samples not stored, by reason.
    pub(super) rejected: BTreeMap<String, u64>,
    /// From opening the store to having closed it.
    pub(super) seconds: f64,
    pub(super) samples_per_second: f64,
    /// Of the whole store, whatever was in it before.
    pub(super) bytes_on_disk: u64,
    /// Of the whole store.
    pub(super) bytes_per_sample: f64,
}

impl Import {
    pub(super) fn run(self, screen: &mut Screen) -> Result<(), Failure> {
        let series = match &self.metric {
            Some(metric) => {
                let labels = self.label.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                Some(Series::new(metric, labels)?)
            }
            None => None,
        };
        let mut importer = Importer::open(&self.store.db)?;
        let timestamp = self.timestamp.map(|when| when.resolve(importer.engine.now()));
        let reading = Reading { format: self.format, series, timestamp };
        for file in &self.files {
            let (mut reader, bar) = input::open(file, &reading)?;
            importer.take(file, &mut *reader)?;
            bar.finish_and_clear();
            for rejection in reader.rejections().details() {
                screen.complain(&format!("{file}:{}: {}", rejection.line, rejection.detail));
            }
        }
        let report = importer.close()?;
        report.tell(screen, self.store.json)
    }
}

impl Report {
    /// Shows it, to people or to a program.
    pub(super) fn tell(&self, screen: &mut Screen, json: bool) -> Result<(), Failure> {
        if json {
            screen.json(self)?;
            return Ok(());
        }
        for line in self.lines() {
            screen.line(line)?;
        }
        Ok(())
    }

    /// The report for people.
    fn lines(&self) -> Vec<String> {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let disk = self.bytes_on_disk as f64;
        let mut lines = vec![
            format!(
                "{} samples of {} series in {:.2} s ({} samples/s)",
                figures::count(self.samples),
                figures::count(self.series),
                self.seconds,
                figures::number(self.samples_per_second),
            ),
            format!(
                "{} on disk, {:.3} bytes per sample",
                figures::bytes(disk),
                self.bytes_per_sample
            ),
        ];
        let rejected =
            self.rejected.iter().map(|(reason, n)| format!("{reason} {}", figures::count(*n)));
        let rejected: Vec<String> = rejected.collect();
        if !rejected.is_empty() {
            lines.push(format!("rejected: {}", rejected.join(", ")));
        }
        lines
    }
}

/// A store being imported into.
pub(super) struct Importer {
    pub(super) engine: Engine,
    pub(super) writer: Writer,
    began: Instant,
    series: HashSet<u32>,
    /// Samples appended.
    pub(super) samples: u64,
    rejected: BTreeMap<String, u64>,
}

impl Importer {
    pub(super) fn open(db: &Path) -> Result<Self, Failure> {
        Self::open_in(db, import_options(), Environment::default())
    }

    pub(super) fn open_in(
        db: &Path,
        options: Options,
        environment: Environment,
    ) -> Result<Self, Failure> {
        let began = Instant::now();
        let engine = Engine::open_in(db, options, environment)?;
        let writer = engine.writer("import");
        let (series, rejected) = (HashSet::new(), BTreeMap::new());
        Ok(Self { engine, writer, began, series, samples: 0, rejected })
    }

    /// Appends everything that the reader yields; `name` is for complaints.
    pub(super) fn take(
        &mut self,
        name: &str,
        reader: &mut dyn SampleReader,
    ) -> Result<(), Failure> {
        let mut resolved = Resolved::default();
        loop {
            let batch =
                reader.next_batch().map_err(|error| Failure::Input(name.to_owned(), error))?;
            let Some(batch) = batch else { break };
            self.resolve(&mut resolved, reader)?;
            self.samples += batch.samples() as u64;
            // What becomes of a batch is told by the engine's counters, and by `close`.
            drop(match batch {
                Batch::Scrape { timestamp, slots, values } => {
                    let group = resolved.group(&self.writer, slots);
                    self.writer.append_scrape(&group, timestamp, values)?
                }
                Batch::Column { slot, timestamps, values } => {
                    let Some(handle) = resolved.handles.get(slot.0 as usize) else { continue };
                    self.writer.append_column(handle, timestamps, values)?
                }
            });
        }
        for (reason, count) in reader.rejections().counts() {
            *self.rejected.entry(reason.to_string()).or_default() += count;
        }
        Ok(())
    }

    /// Resolves the series that the reader met since the last time.
    fn resolve(
        &mut self,
        resolved: &mut Resolved,
        reader: &dyn SampleReader,
    ) -> Result<(), Failure> {
        let known = resolved.handles.len();
        for declared in reader.declared().iter().skip(known) {
            resolved.handles.push(self.series(&declared.series, &declared.metadata)?);
        }
        Ok(())
    }

    pub(super) fn series(
        &mut self,
        series: &Series,
        metadata: &Metadata,
    ) -> Result<SeriesHandle, Failure> {
        let handle = self.writer.series(series, metadata).map_err(|refusal| match refusal {
            Refusal::InvalidName(error) | Refusal::Unavailable(error) => error.into(),
            filtered @ Refusal::Filtered { .. } => Failure::Usage(filtered.to_string()),
        })?;
        self.series.insert(handle.id().0);
        Ok(handle)
    }

    /// Resolves series that will be written together.
    pub(super) fn group(&mut self, series: &[(Series, Metadata)]) -> Result<ScrapeHandle, Failure> {
        let resolved = series.iter().map(|(series, metadata)| self.series(series, metadata));
        let handles = resolved.collect::<Result<Vec<_>, _>>()?;
        Ok(self.writer.scrape_group(&handles))
    }

    /// Makes everything durable and says what it came to.
    pub(super) fn close(self) -> Result<Report, Failure> {
        let Self { engine, writer, began, series, mut samples, mut rejected } = self;
        drop(writer);
        engine.freeze()?;
        for (reason, count) in engine.refusals() {
            if count > 0 {
                samples -= count.min(samples);
                *rejected.entry(reason.to_string()).or_default() += count;
            }
        }
        let stored = engine.stats()?.samples;
        let db = engine.path().to_owned();
        engine.close()?;
        let seconds = began.elapsed().as_secs_f64();
        let bytes_on_disk = directory_bytes(&db)
            .map_err(|error| Failure::Input(db.display().to_string(), error))?;
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        Ok(Report {
            samples,
            series: series.len() as u64,
            rejected,
            seconds,
            samples_per_second: samples as f64 / seconds,
            bytes_on_disk,
            bytes_per_sample: bytes_on_disk as f64 / (stored.max(1)) as f64,
        })
    }
}

/// A reader's series, resolved in the engine.
#[derive(Default)]
struct Resolved {
    /// By slot.
    handles: Vec<SeriesHandle>,
    groups: HashMap<Vec<Slot>, ScrapeHandle>,
    /// The group used last: scrapes mostly repeat.
    latest: Option<(Vec<Slot>, ScrapeHandle)>,
}

/// Most lists of series that are remembered: a few for each target, whose series come and go.
const GROUPS_MAX: usize = 1024;

impl Resolved {
    fn group(&mut self, writer: &Writer, slots: Vec<Slot>) -> ScrapeHandle {
        if let Some((latest, group)) = &self.latest
            && *latest == slots
        {
            return group.clone();
        }
        let group = match self.groups.get(&slots) {
            Some(group) => group.clone(),
            None => {
                let handles: Vec<SeriesHandle> = slots
                    .iter()
                    .filter_map(|slot| self.handles.get(slot.0 as usize).cloned())
                    .collect();
                let group = writer.scrape_group(&handles);
                if self.groups.len() >= GROUPS_MAX {
                    self.groups.clear();
                }
                self.groups.insert(slots.clone(), group.clone());
                group
            }
        };
        self.latest = Some((slots, group.clone()));
        group
    }
}

/// Bytes of all files below a directory.
pub(super) fn directory_bytes(directory: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { directory_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// Counts the bytes that pass, for figures.
pub(super) struct CountedRead<R> {
    pub(super) input: R,
    pub(super) bytes: std::rc::Rc<std::cell::Cell<u64>>,
}

impl<R: Read> Read for CountedRead<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.bytes.set(self.bytes.get() + read as u64);
        Ok(read)
    }
}
