//! The `metrics` facade: counters, gauges and histograms of any library, in the store.
//!
//! Owns: the way from `metrics`' keys to series, and the thread that writes them. Counting is one
//! atomic operation, recording into a histogram four, as for the monitor's own instruments, which
//! these are. There are never more than a bound: what is registered beyond it goes nowhere, and is
//! counted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use metrics::{
    CounterFn, GaugeFn, HistogramFn, Key, KeyName, SetRecorderError, SharedString, Unit,
};

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::model::{Metadata, Series};
use crate::monitor::{Counter, Gauge, Histogram, Instruments};

/// What a recorder may take, and how often it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricsOptions {
    /// Between two scrapes. 10 s.
    pub interval: Duration,
    /// Counters, gauges and histograms together. 4,096; a histogram takes 17 KiB.
    pub series_max: usize,
}

impl Default for MetricsOptions {
    fn default() -> Self {
        Self { interval: Duration::from_secs(10), series_max: 4096 }
    }
}

/// A recorder of the `metrics` facade that writes to an engine. Cheap to clone: clones are the same.
///
/// ```
/// use std::sync::Arc;
/// use icecore::integration::metrics::{MetricsOptions, MetricsRecorder};
/// use icecore::{Engine, Options};
///
/// # fn main() -> icecore::Result<()> {
/// # let dir = tempfile::tempdir().expect("a directory");
/// # let path = dir.path();
/// let engine = Arc::new(Engine::open(path, Options::default())?);
/// let (recorder, writing) = MetricsRecorder::start(Arc::clone(&engine), MetricsOptions::default())?;
/// recorder.install().expect("no other recorder");
///
/// metrics::counter!("pages_total", "kind" => "index").increment(2);
/// metrics::histogram!("parse_seconds").record(0.003);
///
/// writing.stop()?;
/// assert_eq!(engine.label_values("kind", &"pages_total".parse()?), ["index"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct MetricsRecorder(Arc<Registry>);

#[derive(Debug)]
struct Registry {
    engine: Arc<Engine>,
    instruments: Instruments,
    series_max: usize,
    /// Registrations whose names break the rules.
    invalid: AtomicU64,
    described: Mutex<HashMap<String, Metadata>>,
    counters: Known<Counter>,
    gauges: Known<Gauge>,
    histograms: Known<Histogram>,
}

/// What was registered, so that a macro that asks again finds it by its key. Refused ones are not
/// kept: there may be any number of them.
#[derive(Debug)]
struct Known<I>(RwLock<HashMap<Key, Arc<I>>>);

impl<I> Known<I> {
    fn find_or(&self, key: &Key, make: impl FnOnce() -> Option<I>) -> Option<Arc<I>> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(key) {
            return Some(Arc::clone(found));
        }
        drop(known);
        let made = Arc::new(make()?);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(known.entry(key.clone()).or_insert(made)))
    }
}

impl<I> Default for Known<I> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

/// The thread that writes. Dropping it stops the thread, and tells no errors: call
/// [`stop`](Self::stop).
#[derive(Debug)]
pub struct MetricsWriting {
    recorder: MetricsRecorder,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl MetricsRecorder {
    /// A recorder, and the thread that writes what it counts.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] where the interval is shorter than 10 ms; [`Error::Io`] where there
    /// is no thread to be had.
    pub fn start(engine: Arc<Engine>, options: MetricsOptions) -> Result<(Self, MetricsWriting)> {
        if options.interval < Duration::from_millis(10) {
            let reason = format!("{:?} is shorter than 10 ms", options.interval);
            return Err(Error::InvalidOption { option: "metrics interval", reason });
        }
        let recorder = Self(Arc::new(Registry {
            instruments: Instruments::new(&engine, options.series_max),
            engine,
            series_max: options.series_max,
            invalid: AtomicU64::new(0),
            described: Mutex::default(),
            counters: Known::default(),
            gauges: Known::default(),
            histograms: Known::default(),
        }));
        let (stop, stopped) = bounded::<()>(0);
        let registry = Arc::clone(&recorder.0);
        let run = move || {
            while stopped.recv_timeout(options.interval) == Err(RecvTimeoutError::Timeout) {
                registry.instruments.scrape(registry.engine.now());
            }
        };
        let thread = std::thread::Builder::new()
            .name("icecore-metrics".to_owned())
            .spawn(run)
            .map_err(|error| Error::io("start a thread for", "icecore-metrics", error))?;
        let writing =
            MetricsWriting { recorder: recorder.clone(), stop: Some(stop), thread: Some(thread) };
        Ok((recorder, writing))
    }

    /// Makes it the recorder of the whole process.
    ///
    /// # Errors
    /// Where there is one already.
    pub fn install(&self) -> Result<(), SetRecorderError<Self>> {
        metrics::set_global_recorder(self.clone())
    }

    /// Registrations that went nowhere: too many, a name that breaks the rules, or a key that is of
    /// another kind already.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.instruments.refused() + self.0.invalid.load(Ordering::Relaxed)
    }
}

impl MetricsWriting {
    /// Writes what was counted so far, and waits until it is synced.
    ///
    /// # Errors
    /// The failure that prevents it.
    pub fn flush(&self) -> Result<()> {
        let Registry { engine, instruments, .. } = &*self.recorder.0;
        instruments.scrape(engine.now());
        engine.sync()
    }

    /// Ends the thread, and writes what was counted so far. What is counted later goes nowhere.
    ///
    /// # Errors
    /// The failure that prevents it.
    pub fn stop(mut self) -> Result<()> {
        self.end();
        self.flush()
    }

    fn end(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It does nothing that panics.
            let _ = thread.join();
        }
    }
}

impl Drop for MetricsWriting {
    fn drop(&mut self) {
        self.end();
    }
}

impl Registry {
    fn describe(&self, name: &KeyName, unit: Option<Unit>, help: &SharedString) {
        let unit = unit.map_or("", |unit| unit.as_str()).to_owned();
        let metadata = Metadata { unit, help: help.to_string(), ..Metadata::default() }.bounded();
        let mut described = self.described.lock().unwrap_or_else(PoisonError::into_inner);
        if described.len() < self.series_max || described.contains_key(name.as_str()) {
            described.insert(name.as_str().to_owned(), metadata);
        }
    }

    /// The series of a key and what was said of it; `None` where its names break the rules.
    fn series(&self, key: &Key) -> Option<(Series, Metadata)> {
        let labels = key.labels().map(|label| (label.key(), label.value()));
        let Ok(series) = Series::new(key.name(), labels) else {
            self.invalid.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        let described = self.described.lock().unwrap_or_else(PoisonError::into_inner);
        Some((series, described.get(key.name()).cloned().unwrap_or_default()))
    }
}

impl CounterFn for Counter {
    fn increment(&self, value: u64) {
        self.add(value);
    }

    fn absolute(&self, value: u64) {
        self.raise_to(value);
    }
}

impl GaugeFn for Gauge {
    fn increment(&self, value: f64) {
        self.add(value);
    }

    fn decrement(&self, value: f64) {
        self.add(-value);
    }

    fn set(&self, value: f64) {
        Self::set(self, value);
    }
}

impl HistogramFn for Histogram {
    fn record(&self, value: f64) {
        Self::record(self, value);
    }
}

impl metrics::Recorder for MetricsRecorder {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.0.describe(&key, unit, &description);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.0.describe(&key, unit, &description);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.0.describe(&key, unit, &description);
    }

    fn register_counter(&self, key: &Key, _: &metrics::Metadata<'_>) -> metrics::Counter {
        let Registry { instruments, engine, counters, .. } = &*self.0;
        let counter = counters.find_or(key, || {
            let (series, metadata) = self.0.series(key)?;
            instruments.counter(&series, &metadata, engine.now())
        });
        counter.map_or_else(metrics::Counter::noop, metrics::Counter::from_arc)
    }

    fn register_gauge(&self, key: &Key, _: &metrics::Metadata<'_>) -> metrics::Gauge {
        let Registry { instruments, engine, gauges, .. } = &*self.0;
        let gauge = gauges.find_or(key, || {
            let (series, metadata) = self.0.series(key)?;
            instruments.gauge(&series, &metadata, engine.now())
        });
        gauge.map_or_else(metrics::Gauge::noop, metrics::Gauge::from_arc)
    }

    fn register_histogram(&self, key: &Key, _: &metrics::Metadata<'_>) -> metrics::Histogram {
        let Registry { instruments, engine, histograms, .. } = &*self.0;
        let histogram = histograms.find_or(key, || {
            let (series, metadata) = self.0.series(key)?;
            instruments.histogram(&series, &metadata, engine.now())
        });
        histogram.map_or_else(metrics::Histogram::noop, metrics::Histogram::from_arc)
    }
}
