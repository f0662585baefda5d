//! Writers: how samples come in.

use std::sync::Arc;

use super::channel::{Outlet, Rows};
use super::dispatch::Dispatch;
use super::distribution::DistributionHandle;
use super::gate::{Bucket, Reason, Refusal, Sampler, Window};
use super::receipt::Receipt;
use super::shared::{EngineToken, Shared};
use crate::aggregate::Distribution;
use crate::error::{Error, Result};
use crate::head::Group;
use crate::model::{Metadata, MetricKind, Series, SeriesId};
use crate::options::{Durability, WhenFull};
use crate::time::Timestamp;

/// A series resolved once, so that appends skip labels altogether. Cheap to clone; valid for the
/// engine that gave it.
#[derive(Debug, Clone)]
pub struct SeriesHandle {
    engine: EngineToken,
    id: SeriesId,
    sampler: Option<Arc<Sampler>>,
    overflow: bool,
}

impl SeriesHandle {
    /// The series' number in this run of the engine.
    #[must_use]
    pub fn id(&self) -> SeriesId {
        self.id
    }

    /// Whether the store held its maximum of series, so that this handle writes to the overflow
    /// series instead.
    #[must_use]
    pub fn is_overflow(&self) -> bool {
        self.overflow
    }
}

/// The series that one scrape writes together, resolved once. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ScrapeHandle(Arc<Scrape>);

#[derive(Debug)]
struct Scrape {
    /// The engine that gave every handle, if it was one.
    engine: Option<EngineToken>,
    handles: Box<[SeriesHandle]>,
    group: Arc<Group>,
    /// Which of the handles the group holds, where some name the same series: the last one wins.
    distinct: Option<Box<[usize]>>,
    sampled: bool,
    overflows: u64,
}

impl ScrapeHandle {
    /// How many values an append takes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.handles.len()
    }

    /// Whether it has no series.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.handles.is_empty()
    }
}

/// Appends batches to the engine. Cheap to clone; each thread may have its own.
///
/// The gate checks each batch on the caller's thread: the window of time, the source's rate limit,
/// sampling rules. What it refuses is counted and said in the receipt, never an error. Batches of
/// one writer arrive in the order in which they were appended.
#[derive(Debug, Clone)]
pub struct Writer {
    dispatch: Dispatch,
    bucket: Option<Arc<Bucket>>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, outlet: Outlet, source: &str) -> Self {
        let bucket = shared.gate.bucket(source);
        Self { dispatch: Dispatch::new(shared, outlet), bucket }
    }

    fn shared(&self) -> &Shared {
        &self.dispatch.shared
    }

    /// This writer, with receipts that complete at another level.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.dispatch.durability = durability;
        self
    }

    /// This writer, doing something else where the channel is full.
    #[must_use]
    pub fn with_when_full(mut self, when_full: WhenFull) -> Self {
        self.dispatch.when_full = when_full;
        self
    }

    /// Resolves a series by name and labels (in any order), as [`series`](Self::series) does; a
    /// name that breaks the rules is counted.
    ///
    /// # Errors
    /// As [`series`](Self::series), and [`Refusal::InvalidName`].
    pub fn series_named<'a>(
        &self,
        name: &str,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        metadata: &Metadata,
    ) -> Result<SeriesHandle, Refusal> {
        let series = Series::new(name, labels).map_err(|error| {
            self.shared().gate.refusals.count(Reason::InvalidName, 1);
            Refusal::InvalidName(error)
        })?;
        self.series(&series, metadata)
    }

    /// Resolves a series: a new one is added to the store's index, the metric's metadata is
    /// remembered ([cut](Metadata::bounded) where its texts are long). Where the store holds its
    /// maximum of series, the handle is one of the metric's overflow series,
    /// `metric{icecore_overflow="true"}`. Cost: a filter check and a hash lookup under a read
    /// lock; call it once a series, not once a sample.
    ///
    /// # Errors
    /// [`Refusal::Filtered`] where a filter rule denies the series, [`Refusal::Unavailable`] where
    /// the engine takes no writes.
    pub fn series(&self, series: &Series, metadata: &Metadata) -> Result<SeriesHandle, Refusal> {
        self.shared().health.check_writable().map_err(Refusal::Unavailable)?;
        self.shared().gate.check_filters(series).inspect_err(|_| {
            self.shared().gate.refusals.count(Reason::Filtered, 1);
        })?;
        let engine = self.shared().token;
        let limit = self.shared().gate.series_max();
        let found = self.shared().index.intern_limited(series, limit);
        // Of metrics that are kept out nothing is remembered: names may be without bound.
        if found.is_some() {
            self.remember(series.name(), metadata);
        } else {
            self.describe(series.name(), metadata);
        }
        let Some(id) = found else {
            let id = self.shared().overflow_series(series.name());
            return Ok(SeriesHandle { engine, id, sampler: None, overflow: true });
        };
        let sampler = self.shared().gate.sampler(id, series);
        Ok(SeriesHandle { engine, id, sampler, overflow: false })
    }

    /// Remembers what is newly known of a metric, as [`series`](Self::series) does; nothing where the
    /// store has no series of it, or takes no writes.
    pub fn describe(&self, metric: &str, metadata: &Metadata) {
        if self.shared().health.check_writable().is_ok() && self.shared().index.has_metric(metric) {
            self.remember(metric, metadata);
        }
    }

    fn remember(&self, metric: &str, metadata: &Metadata) {
        if *metadata != Metadata::default()
            && self.shared().index.set_metadata(metric, &metadata.bounded())
        {
            self.shared().note_changed_metric(metric);
        }
    }

    /// Resolves a distribution's series, as [`series_named`](Self::series_named) does, its metric's
    /// kind being [`MetricKind::Distribution`] in any case, and gives bins to record observations
    /// into. What was recorded is written as one sample of the series for each
    /// [`Options::distribution_interval`](crate::Options::distribution_interval), at the
    /// interval's beginning. Sampling rules, rate limits and the window of time do not apply to
    /// it. Cost: an allocation of 17 KiB; see [`DistributionHandle`] for when to ask for several.
    ///
    /// # Errors
    /// As [`series_named`](Self::series_named).
    ///
    /// ```
    /// use icecore::model::Metadata;
    /// use icecore::{Engine, Options};
    ///
    /// # fn main() -> icecore::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory");
    /// # let path = dir.path();
    /// let engine = Engine::open(path, Options::default())?;
    /// let latency = engine
    ///     .writer("my engine")
    ///     .distribution("query_seconds", [("source", "lake")], &Metadata::default())
    ///     .expect("a valid name");
    /// latency.record(0.0021);
    /// latency.record(0.0350);
    /// engine.close()
    /// # }
    /// ```
    pub fn distribution<'a>(
        &self,
        name: &str,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        metadata: &Metadata,
    ) -> Result<DistributionHandle, Refusal> {
        let metadata = Metadata { kind: MetricKind::Distribution, ..metadata.clone() };
        let series = self.series_named(name, labels, &metadata)?;
        Ok(self.shared().new_recorders.add(series))
    }

    /// Joins series into the shape of a scrape: one timestamp, one value each, in this order.
    /// Equal lists share one group, so this may be called for each scrape, but costs a hash over
    /// the ids.
    #[must_use]
    pub fn scrape_group(&self, handles: &[SeriesHandle]) -> ScrapeHandle {
        let mut last = std::collections::HashMap::with_capacity(handles.len());
        for (i, handle) in handles.iter().enumerate() {
            last.insert(handle.id, i);
        }
        let distinct: Option<Box<[usize]>> = (last.len() < handles.len()).then(|| {
            let kept = handles.iter().enumerate();
            kept.filter(|(i, handle)| last.get(&handle.id) == Some(i)).map(|(i, _)| i).collect()
        });
        let ids: Box<[SeriesId]> = match &distinct {
            None => handles.iter().map(SeriesHandle::id).collect(),
            Some(kept) => {
                kept.iter().filter_map(|&i| handles.get(i)).map(SeriesHandle::id).collect()
            }
        };
        let engine = handles.iter().all(|handle| handle.engine == self.shared().token);
        ScrapeHandle(Arc::new(Scrape {
            engine: engine.then_some(self.shared().token),
            group: self.shared().groups.of(ids),
            sampled: handles.iter().any(|handle| handle.sampler.is_some()),
            overflows: handles.iter().filter(|handle| handle.overflow).count() as u64,
            handles: handles.into(),
            distinct,
        }))
    }

    /// Appends samples of one series: `timestamps` (nanoseconds, any order) and `values` of equal
    /// length. Of equal timestamps the one that stands later wins, also over what is stored.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where the lengths differ, the handle is another engine's, or
    /// the batch is larger than the whole channel (or 32 MiB); [`Error::ReadOnly`],
    /// [`Error::DiskFull`], [`Error::OverBudget`], [`Error::Closed`] where nothing can be written.
    pub fn append_column(
        &self,
        series: &SeriesHandle,
        mut timestamps: Vec<i64>,
        mut values: Vec<f64>,
    ) -> Result<Receipt> {
        check_lengths(timestamps.len(), values.len())?;
        self.check_engine(Some(series.engine))?;
        let offered = values.len() as u64;
        self.dispatch.check_writable(offered)?;
        let now = self.dispatch.now();
        let window = self.shared().gate.window(now);
        if !window.takes_all(&timestamps) || series.sampler.is_some() {
            (timestamps, values) = self.filter_column(series, window, &timestamps, &values);
        }
        let taken = values.len() as u64;
        if !self.take_tokens(now, taken) {
            return Ok(Receipt::ready(0, offered, Durability::Buffered));
        }
        if series.overflow {
            self.shared().gate.refusals.count(Reason::SeriesLimit, taken);
        }
        self.send(Rows::Column { series: series.id, timestamps, values }, taken, offered)
    }

    fn filter_column(
        &self,
        series: &SeriesHandle,
        window: Window,
        timestamps: &[i64],
        values: &[f64],
    ) -> (Vec<i64>, Vec<f64>) {
        let refusals = &self.shared().gate.refusals;
        let passes = |timestamp: i64| {
            if let Err(reason) = window.check(timestamp) {
                refusals.count(reason, 1);
                return false;
            }
            let sampled = series.sampler.as_ref().is_none_or(|sampler| sampler.passes(timestamp));
            if !sampled {
                refusals.count(Reason::Sampled, 1);
            }
            sampled
        };
        timestamps.iter().zip(values).filter(|&(&timestamp, _)| passes(timestamp)).unzip()
    }

    /// Appends what a host observed of a series and aggregated itself: one sample at `timestamp`,
    /// in place of what is stored there. An empty distribution is nothing.
    ///
    /// # Errors
    /// As [`append_column`](Self::append_column).
    pub fn append_distribution(
        &self,
        series: &SeriesHandle,
        timestamp: Timestamp,
        distribution: Distribution,
    ) -> Result<Receipt> {
        self.check_engine(Some(series.engine))?;
        if distribution.is_empty() {
            return Ok(self.dispatch.none_taken(0));
        }
        self.dispatch.check_writable(1)?;
        let now = self.dispatch.now();
        let window = self.shared().gate.window(now);
        let sampled = || series.sampler.as_ref().is_none_or(|s| s.passes(timestamp.0));
        let checked = window.check(timestamp.0).and_then(|()| match sampled() {
            true => Ok(()),
            false => Err(Reason::Sampled),
        });
        if let Err(reason) = checked {
            self.shared().gate.refusals.count(reason, 1);
            return Ok(Receipt::ready(0, 1, Durability::Buffered));
        }
        if !self.take_tokens(now, 1) {
            return Ok(Receipt::ready(0, 1, Durability::Buffered));
        }
        if series.overflow {
            self.shared().gate.refusals.count(Reason::SeriesLimit, 1);
        }
        let distribution = Arc::new(distribution);
        let rows = Rows::Distribution { series: series.id, timestamp: timestamp.0, distribution };
        self.send(rows, 1, 1)
    }

    /// Appends a scrape: `values[i]` is the value of the group's `i`th series at `timestamp`.
    ///
    /// # Errors
    /// As [`append_column`](Self::append_column).
    pub fn append_scrape(
        &self,
        group: &ScrapeHandle,
        timestamp: Timestamp,
        mut values: Vec<f64>,
    ) -> Result<Receipt> {
        let scrape = &*group.0;
        check_lengths(scrape.handles.len(), values.len())?;
        self.check_engine(scrape.engine)?;
        let offered = values.len() as u64;
        self.dispatch.check_writable(offered)?;
        let now = self.dispatch.now();
        if let Err(reason) = self.shared().gate.window(now).check(timestamp.0) {
            self.shared().gate.refusals.count(reason, offered);
            return Ok(Receipt::ready(0, offered, Durability::Buffered));
        }
        let mut target = Arc::clone(&scrape.group);
        let mut taken = offered;
        if scrape.sampled || scrape.distinct.is_some() {
            let sampled;
            (target, values, sampled) = self.thin_scrape(scrape, timestamp, &values);
            taken -= sampled;
        }
        if !self.take_tokens(now, taken) {
            return Ok(Receipt::ready(0, offered, Durability::Buffered));
        }
        if scrape.overflows > 0 {
            self.shared().gate.refusals.count(Reason::SeriesLimit, scrape.overflows);
        }
        self.send(Rows::Scrape { group: target, timestamp: timestamp.0, values }, taken, offered)
    }

    /// What is left of a scrape after the sampling rules, with the last of equal series only; and
    /// how many values the rules refused.
    fn thin_scrape(
        &self,
        scrape: &Scrape,
        timestamp: Timestamp,
        values: &[f64],
    ) -> (Arc<Group>, Vec<f64>, u64) {
        let distinct = scrape.distinct.as_deref();
        let candidates: Vec<usize> =
            distinct.map_or_else(|| (0..values.len()).collect(), <[usize]>::to_vec);
        let total = candidates.len();
        let kept: Vec<usize> = candidates
            .into_iter()
            .filter(|&i| match scrape.handles.get(i).and_then(|handle| handle.sampler.as_ref()) {
                Some(sampler) => sampler.passes(timestamp.0),
                None => true,
            })
            .collect();
        let sampled = (total - kept.len()) as u64;
        self.shared().gate.refusals.count(Reason::Sampled, sampled);
        let kept_values = kept.iter().filter_map(|&i| values.get(i)).copied().collect();
        if sampled == 0 {
            return (Arc::clone(&scrape.group), kept_values, 0);
        }
        let ids = kept.iter().filter_map(|&i| scrape.handles.get(i)).map(SeriesHandle::id);
        (self.shared().groups.of(ids.collect()), kept_values, sampled)
    }

    fn check_engine(&self, engine: Option<EngineToken>) -> Result<()> {
        if engine == Some(self.shared().token) {
            return Ok(());
        }
        let reason = "was given by another engine, or by an earlier open of this one".to_owned();
        Err(Error::InvalidArgument { what: "series handle", reason })
    }

    /// Asks the source's bucket; refused samples are counted.
    fn take_tokens(&self, now: Option<Timestamp>, samples: u64) -> bool {
        let (Some(bucket), Some(now)) = (&self.bucket, now) else { return true };
        let taken = bucket.take(samples, now);
        if !taken {
            self.shared().gate.refusals.count(Reason::RateLimited, samples);
        }
        taken
    }

    /// Sends the samples that the gate has `taken`, of those `offered`. Rows may be fewer than
    /// taken: a series twice in one scrape is one row, the later value, as of equal timestamps in
    /// a column.
    fn send(&self, rows: Rows, taken: u64, offered: u64) -> Result<Receipt> {
        if rows.samples() == 0 {
            return Ok(self.dispatch.none_taken(offered));
        }
        self.dispatch.send(rows, taken, offered)
    }
}

fn check_lengths(expected: usize, values: usize) -> Result<()> {
    if expected == values {
        return Ok(());
    }
    let reason = format!("{values} values for {expected} timestamps or series");
    Err(Error::InvalidArgument { what: "batch", reason })
}
