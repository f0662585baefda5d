//! `icecore generate`: a made-up history, for tests, demos and measurements.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::arguments::{When, duration, when};
use super::history::{self, World};
use super::import::Importer;
use super::screen::Screen;
use super::{
    Failure, StoreArguments, compact, import_options, new_directory, progress, read_policy,
};
use crate::engine::{CompactScope, Environment, ScrapeHandle, SeriesHandle};
use crate::fs::RealFs;
use crate::options::{Durability, Maintenance, Options};
use crate::time::{Clock, SimulatedClock, SystemClock, Timestamp, duration_nanos};

/// How often latencies are told, nanoseconds.
const LATENCY_INTERVAL: i64 = 60_000_000_000;
/// Rows between two looks at the progress bar.
const ROWS_A_STEP: u64 = 256;

/// Make up a history of months or years in seconds
///
/// Services on a few instances each, ten series an instance (requests, errors, processor time,
/// memory, queues, temperatures), with days and weeks in their load, noise, and an incident every
/// other week: errors, long queues, then a restart. And for each service the distribution of its
/// latencies, request_seconds, once a minute. The same seed gives the same history.
///
/// The directory must be new. A simulated clock runs through the span, so the samples are stored
/// just as they would have been then.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  icecore generate --db demo                              a month of 100 series, every 10 s
  icecore generate --db year --series 1000 --step 1m --span 1y --compact
  icecore query --db demo 'http_requests_total{code=\"500\"}' --agg rate --by service --step 1h
  icecore query --db demo 'request_seconds{service=\"search\"}' --agg p50,p99 --step 1d")]
pub(super) struct Generate {
    #[command(flatten)]
    store: StoreArguments,
    /// How many series beside the distributions
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    series: u32,
    /// Time between two samples of a series
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    step: Duration,
    /// How long the history is
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = duration)]
    span: Duration,
    /// Where it ends, exclusive
    #[arg(long, value_name = "TIME", default_value = "now", value_parser = when, allow_hyphen_values = true)]
    end: When,
    /// Which history
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Tiers and limits of the store: docs/policy.md [default: all tiers, for ever]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Build the tiers and pack everything at the end
    #[arg(long)]
    compact: bool,
}

impl Generate {
    pub(super) fn run(self, screen: &mut Screen) -> Result<(), Failure> {
        if self.span < self.step {
            return Err(Failure::Usage("--span is shorter than --step".to_owned()));
        }
        new_directory(&self.store.db)?;
        let (mut importer, clock) = self.open()?;
        self.fill(&mut importer, &clock)?;
        if self.compact {
            importer.engine.freeze()?;
            let compacted = compact::compact(&importer.engine, CompactScope::All)?;
            compact::failed(screen, &compacted)?;
        }
        let report = importer.close()?;
        report.tell(screen, self.store.json)
    }

    /// Beginning and end, multiples of the step.
    fn bounds(&self) -> (i64, i64) {
        let step = duration_nanos(self.step);
        let end = self.end.resolve(SystemClock.now()).nanos();
        let end = end.saturating_sub(end.rem_euclid(step));
        let span = duration_nanos(self.span);
        (end.saturating_sub(span.saturating_sub(span.rem_euclid(step))), end)
    }

    fn open(&self) -> Result<(Importer, Arc<SimulatedClock>), Failure> {
        let policy = read_policy(self.policy.as_deref())?;
        // Maintenance meanwhile would take a core from the writing; there is --compact for it.
        let options = Options { policy, maintenance: Maintenance::ByHand, ..import_options() };
        let clock = Arc::new(SimulatedClock::new(Timestamp(self.bounds().0)));
        let environment = Environment { fs: Arc::new(RealFs), clock: clock.clone() };
        Ok((Importer::open_in(&self.store.db, options, environment)?, clock))
    }

    #[expect(clippy::cast_precision_loss, reason = "lengths of steps")]
    fn fill(&self, importer: &mut Importer, clock: &SimulatedClock) -> Result<(), Failure> {
        let (start, end) = self.bounds();
        let step = duration_nanos(self.step);
        let seconds = step as f64 / 1e9;
        let mut world = World::new(self.series as usize, self.seed)?;
        importer.writer = importer.writer.clone().with_durability(Durability::Buffered);
        let groups: Vec<ScrapeHandle> = world
            .services
            .iter()
            .map(|service| importer.group(&service.series))
            .collect::<Result<_, _>>()?;
        let latencies: Vec<SeriesHandle> = world
            .services
            .iter()
            .map(|service| {
                importer.series(&service.latency_series()?, &history::latency_metadata())
            })
            .collect::<Result<_, _>>()?;
        let rows = (start..end).step_by(usize::try_from(step).unwrap_or(usize::MAX));
        let total = ((end - start) / step).unsigned_abs() * u64::from(self.series);
        let bar = progress::over_samples("generate", total);
        for (number, now) in (0_u64..).zip(rows) {
            clock.set(Timestamp(now));
            let minute = now.rem_euclid(LATENCY_INTERVAL) < step;
            for (service, series) in world.services.iter_mut().zip(&latencies).filter(|_| minute) {
                let length = LATENCY_INTERVAL.max(step) as f64 / 1e9;
                if let Some(taken) = service.latencies(Timestamp(now), length) {
                    importer.samples += 1;
                    drop(importer.writer.append_distribution(series, Timestamp(now), taken)?);
                }
            }
            for (service, group) in world.services.iter_mut().zip(&groups) {
                let mut values = Vec::with_capacity(group.len());
                service.row(Timestamp(now), seconds, &mut values);
                importer.samples += values.len() as u64;
                drop(importer.writer.append_scrape(group, Timestamp(now), values)?);
            }
            if number % ROWS_A_STEP == 0 {
                bar.set_position(importer.samples);
            }
        }
        clock.set(Timestamp(end));
        bar.finish_and_clear();
        Ok(())
    }
}
