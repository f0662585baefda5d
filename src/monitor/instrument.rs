//! Instruments: counters and gauges that a host's threads move, and one thread writes.
//!
//! Owns: the cells that are moved, which series each belongs to, and the scrape of all of them.
//! Does not own: when that is taken (`drain`). Moving one is one atomic operation: no lock, no
//! allocation. Distributions need no instrument of ours:
//! [`Writer::distribution`](crate::Writer::distribution) gives one, which a
//! [`Histogram`](super::Histogram) is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::engine::{DistributionHandle, Engine, ScrapeHandle, SeriesHandle, Writer};
use crate::model::{Metadata, MetricKind, Series};
use crate::options::WhenFull;
use crate::time::Timestamp;

/// A distribution's handle: [`record`](DistributionHandle::record) takes no lock and allocates
/// nothing.
pub type Histogram = DistributionHandle;

/// What a metric of the monitor's own tells: its unit and its help.
pub(super) type About = (&'static str, &'static str);

/// As the engine keeps it; the kind is said by who makes the instrument.
pub(super) fn metadata((unit, help): About) -> Metadata {
    Metadata { unit: unit.to_owned(), help: help.to_owned(), ..Metadata::default() }
}

/// A cell on a cache line of its own, so that threads that move different ones do not meet.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Cell(AtomicU64);

/// Only grows. Cheap to clone: clones are the same counter.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<Cell>);

impl Counter {
    /// Adds `count`: one atomic operation.
    pub fn add(&self, count: u64) {
        self.0.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Sets it to `count` where that is more.
    pub fn raise_to(&self, count: u64) {
        self.0.0.fetch_max(count, Ordering::Relaxed);
    }

    /// The count of this run.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.0.load(Ordering::Relaxed)
    }
}

/// Goes up and down. Cheap to clone: clones are the same gauge.
#[derive(Debug, Clone, Default)]
pub struct Gauge(Arc<Cell>);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: f64) {
        self.0.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// Moves it by `by`.
    pub fn add(&self, by: f64) {
        let moved = |bits| Some((f64::from_bits(bits) + by).to_bits());
        // Never refused.
        let _ = self.0.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, moved);
    }

    /// Where it stands.
    #[must_use]
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.0.load(Ordering::Relaxed))
    }
}

#[derive(Debug, Clone)]
enum Instrument {
    /// With what its count is multiplied by: nanoseconds are written as seconds.
    Counter(Counter, f64),
    Gauge(Gauge),
    Histogram(Histogram),
}

impl Instrument {
    /// What a scrape takes; nothing of a distribution, which the engine empties itself.
    fn value(&self) -> Option<f64> {
        match self {
            Self::Counter(counter, scale) => Some(counter.get() as f64 * scale),
            Self::Gauge(gauge) => Some(gauge.get()),
            Self::Histogram(_) => None,
        }
    }
}

/// What is written together, in the order of registration.
#[derive(Debug, Default)]
struct Scraped {
    handles: Vec<SeriesHandle>,
    instruments: Vec<Instrument>,
    /// Of the first `handles`; rebuilt when there are more.
    group: Option<ScrapeHandle>,
    /// Series whose zero is not written yet.
    new: Vec<(SeriesHandle, Timestamp)>,
}

/// The instruments of one host: at most so many, each by its series.
#[derive(Debug)]
pub struct Instruments {
    writer: Writer,
    max: usize,
    known: RwLock<HashMap<Series, Instrument>>,
    scraped: Mutex<Scraped>,
    /// Asked for, and not to be had.
    refused: AtomicU64,
    /// When the last scrape stood, ns: two never share a timestamp.
    last: AtomicI64,
}

impl Instruments {
    /// None yet, and never more than `max`. Where the engine's channel is full a scrape is dropped:
    /// what counters missed comes with the next.
    #[must_use]
    pub fn new(engine: &Engine, max: usize) -> Self {
        Self {
            writer: engine.writer("monitor").with_when_full(WhenFull::Drop),
            max,
            known: RwLock::default(),
            scraped: Mutex::default(),
            refused: AtomicU64::new(0),
            last: AtomicI64::new(i64::MIN),
        }
    }

    /// The counter of this series, a new one beginning at 0 `now`. `None`, counted by
    /// [`refused`](Self::refused), where there are too many instruments, the engine refuses the
    /// series, or it has another kind already. Cost: a hash lookup under a read lock; ask once and
    /// keep it.
    pub fn counter(&self, series: &Series, metadata: &Metadata, now: Timestamp) -> Option<Counter> {
        self.scaled_counter(series, metadata, 1.0, now)
    }

    /// As [`counter`](Self::counter), written as its count times `scale`.
    pub(super) fn scaled_counter(
        &self,
        series: &Series,
        metadata: &Metadata,
        scale: f64,
        now: Timestamp,
    ) -> Option<Counter> {
        let metadata = Metadata { kind: MetricKind::Counter, ..metadata.clone() };
        let make = |handle: SeriesHandle| {
            Some((Instrument::Counter(Counter::default(), scale), Some(handle)))
        };
        match self.find_or(series, &metadata, now, make) {
            Some(Instrument::Counter(counter, _)) => Some(counter),
            _ => self.refuse(),
        }
    }

    /// The gauge of this series; as [`counter`](Self::counter).
    pub fn gauge(&self, series: &Series, metadata: &Metadata, now: Timestamp) -> Option<Gauge> {
        let metadata = Metadata { kind: MetricKind::Gauge, ..metadata.clone() };
        let make = |handle| Some((Instrument::Gauge(Gauge::default()), Some(handle)));
        match self.find_or(series, &metadata, now, make) {
            Some(Instrument::Gauge(gauge)) => Some(gauge),
            _ => self.refuse(),
        }
    }

    /// The distribution of this series, 17 KiB of bins; as [`counter`](Self::counter).
    pub fn histogram(
        &self,
        series: &Series,
        metadata: &Metadata,
        now: Timestamp,
    ) -> Option<Histogram> {
        let metadata = Metadata { kind: MetricKind::Distribution, ..metadata.clone() };
        let make = |_| {
            let labels = series.labels();
            let histogram = self.writer.distribution(series.name(), labels, &metadata).ok()?;
            Some((Instrument::Histogram(histogram), None))
        };
        match self.find_or(series, &metadata, now, make) {
            Some(Instrument::Histogram(histogram)) => Some(histogram),
            _ => self.refuse(),
        }
    }

    /// A counter of the monitor's own, written as its count times `scale`; one that nobody writes
    /// where there is none to be had.
    pub(super) fn own_counter(
        &self,
        name: &str,
        labels: &[(&str, &str)],
        about: About,
        scale: f64,
        now: Timestamp,
    ) -> Counter {
        let series = Series::new(name, labels.iter().copied()).ok();
        let counter = series.and_then(|s| self.scaled_counter(&s, &metadata(about), scale, now));
        counter.unwrap_or_default()
    }

    /// A gauge of the monitor's own; as [`own_counter`](Self::own_counter).
    pub(super) fn own_gauge(
        &self,
        name: &str,
        labels: &[(&str, &str)],
        about: About,
        now: Timestamp,
    ) -> Gauge {
        let series = Series::new(name, labels.iter().copied()).ok();
        let gauge = series.and_then(|s| self.gauge(&s, &metadata(about), now));
        gauge.unwrap_or_default()
    }

    fn refuse<I>(&self) -> Option<I> {
        self.refused.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// Instruments that were asked for and could not be had.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// The instrument of the series, or the one that `make` makes of its handle, with the handle
    /// again where a scrape is to take it.
    fn find_or(
        &self,
        series: &Series,
        metadata: &Metadata,
        now: Timestamp,
        make: impl FnOnce(SeriesHandle) -> Option<(Instrument, Option<SeriesHandle>)>,
    ) -> Option<Instrument> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(instrument) = known.get(series) {
            return Some(instrument.clone());
        }
        // What is refused again and again must not hold up what is known.
        if known.len() >= self.max {
            return None;
        }
        drop(known);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(instrument) = known.get(series) {
            return Some(instrument.clone());
        }
        if known.len() >= self.max {
            return None;
        }
        let handle = self.writer.series(series, metadata).ok()?;
        let (instrument, scraped) = make(handle)?;
        if let Some(handle) = scraped {
            let mut all = self.scraped.lock().unwrap_or_else(PoisonError::into_inner);
            if matches!(instrument, Instrument::Counter(..)) {
                all.new.push((handle.clone(), now));
            }
            all.handles.push(handle);
            all.instruments.push(instrument.clone());
            all.group = None;
        }
        known.insert(series.clone(), instrument.clone());
        Some(instrument)
    }

    /// Writes where all instruments stand, at `now`; a new counter's zero at the time when it was
    /// made, so that its first increase is one. Counters and gauges are dropped, not waited for,
    /// where the engine takes nothing.
    pub fn scrape(&self, now: Timestamp) {
        let mut all = self.scraped.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that stands, or was set back, does not rewrite what was said.
        let last = self.last.load(Ordering::Relaxed);
        for (handle, made) in std::mem::take(&mut all.new) {
            let made = if made < now { made } else { Timestamp(now.0.saturating_sub(1)) };
            // What is refused is counted there, and a failure has latched the engine.
            let _ = self.writer.append_column(&handle, vec![made.0], vec![0.0]);
        }
        if all.handles.is_empty() {
            return;
        }
        let Scraped { handles, instruments, group, .. } = &mut *all;
        let group = group.get_or_insert_with(|| self.writer.scrape_group(handles));
        let values = instruments.iter().filter_map(Instrument::value).collect();
        let at = if now.0 == last { Timestamp(now.0.saturating_add(1)) } else { now };
        self.last.store(at.0, Ordering::Relaxed);
        let _ = self.writer.append_scrape(group, at, values);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::Selector;
    use crate::options::GateOptions;
    use crate::query::{Function, Request, SampleRequest};
    use crate::time::TimeRange;
    use crate::{Options, SimulatedClock};

    fn engine(dir: &tempfile::TempDir, clock: &Arc<SimulatedClock>) -> Engine {
        let gate = GateOptions { past: None, future: None, ..GateOptions::default() };
        let options = Options { self_metrics: None, gate, threads: 1, ..Options::default() };
        let clock: Arc<dyn crate::Clock> = Arc::clone(clock) as _;
        let environment = crate::engine::Environment { clock, ..Default::default() };
        Engine::open_in(dir.path(), options, environment).unwrap()
    }

    #[test]
    fn what_is_counted_is_the_increase() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(SimulatedClock::new(Timestamp::from_secs(1000)));
        let engine = engine(&dir, &clock);
        let instruments = Instruments::new(&engine, 3);
        let series = Series::new("done_total", [("by", "us")]).unwrap();
        let counter = instruments.counter(&series, &Metadata::default(), engine.now()).unwrap();
        let again = instruments.counter(&series, &Metadata::default(), engine.now()).unwrap();
        let gauge = Series::new("level", []).unwrap();
        let gauge = instruments.gauge(&gauge, &Metadata::default(), engine.now()).unwrap();
        counter.add(3);
        again.add(4);
        gauge.set(2.5);
        gauge.add(-1.0);
        clock.advance(Duration::from_secs(10));
        instruments.scrape(engine.now());
        // The clock stands: nothing is overwritten.
        counter.add(1);
        instruments.scrape(engine.now());
        engine.sync().unwrap();
        let range = TimeRange::new(Timestamp::from_secs(0), Timestamp::from_secs(2000));
        let request = Request::new(range, vec![Function::Increase]);
        let answer = engine.query(&Selector::parse("done_total").unwrap(), &request).unwrap();
        assert_eq!(answer.groups[0].values, [[8.0]]);
        let level = Selector::parse("level").unwrap();
        let level = engine.samples(&level, &SampleRequest::new(TimeRange::ALL)).unwrap();
        assert_eq!(level[0].values, [1.5, 1.5]);
    }

    #[test]
    fn there_are_never_more_than_the_bound() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(SimulatedClock::new(Timestamp::from_secs(1000)));
        let engine = engine(&dir, &clock);
        let instruments = Instruments::new(&engine, 2);
        let series = |i: usize| Series::new(&format!("metric_{i}"), []).unwrap();
        for i in 0..5 {
            let counter = instruments.counter(&series(i), &Metadata::default(), engine.now());
            assert_eq!(counter.is_some(), i < 2);
        }
        // Of another kind than it was.
        assert!(instruments.histogram(&series(0), &Metadata::default(), engine.now()).is_none());
        assert_eq!(instruments.refused(), 4);
        instruments.scrape(engine.now());
        engine.sync().unwrap();
        let all = Selector::parse("{__name__=~\"metric_.*\"}").unwrap();
        assert_eq!(engine.series(&all, TimeRange::ALL).unwrap().len(), 2);
    }
}
