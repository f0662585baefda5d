//! Distributions by label sets: collected by the one thread that writes, a sample a span.
//!
//! The engine's own handles take 17 KiB of bins each, so that threads can record beside each other.
//! Here one thread records into as many label sets as queries have, so each is a plain
//! [`Distribution`], of the bins that were used. Spans are those of the engine's distributions:
//! aligned intervals, a sample at the beginning of each.

use std::collections::HashMap;
use std::time::Duration;

use super::instrument::{About, metadata};
use crate::aggregate::Distribution;
use crate::engine::{SeriesHandle, Writer};
use crate::model::{Metadata, MetricKind, Series};
use crate::time::{Tier, Timestamp};

/// Spans without an observation after which a label set's memory is let go.
const IDLE_SPANS_MAX: u32 = 6;

/// One label set.
#[derive(Debug)]
struct Observed {
    handle: SeriesHandle,
    span: Distribution,
    /// How many observations of the span are written.
    written: u64,
    idle_spans: u32,
}

/// All label sets, of however many metrics.
#[derive(Debug)]
pub(super) struct Durations {
    writer: Writer,
    interval: Tier,
    /// Where the span under way stands.
    since: Timestamp,
    max: usize,
    sets: HashMap<Series, Observed>,
    /// Observations that went nowhere: the engine refused the series.
    pub(super) refused: u64,
}

impl Durations {
    /// The first span begins now, so that it replaces nothing that an earlier run wrote.
    pub(super) fn new(writer: Writer, interval: Duration, max: usize, now: Timestamp) -> Self {
        let interval = Tier::of(interval).unwrap_or(Tier::MINUTE);
        Self { writer, interval, since: now, max, sets: HashMap::new(), refused: 0 }
    }

    /// Whether there is room for this label set.
    pub(super) fn takes(&self, series: &Series) -> bool {
        self.sets.len() < self.max || self.sets.contains_key(series)
    }

    /// Adds an observation of a metric that tells this.
    pub(super) fn record(&mut self, series: &Series, about: About, value: f64) {
        if let Some(observed) = self.sets.get_mut(series) {
            observed.span.record(value);
            return;
        }
        let metadata = Metadata { kind: MetricKind::Distribution, ..metadata(about) };
        let Ok(handle) = self.writer.series(series, &metadata) else {
            self.refused += 1;
            return;
        };
        let mut span = Distribution::default();
        span.record(value);
        self.sets.insert(series.clone(), Observed { handle, span, written: 0, idle_spans: 0 });
    }

    /// Writes the span where it is over, or so far where `all` is asked for; as a whole again later,
    /// in place of what was written of it.
    pub(super) fn write(&mut self, now: Timestamp, all: bool) {
        let begun = self.interval.floor(now);
        let over = begun != self.interval.floor(self.since);
        if !over && !all {
            return;
        }
        for observed in self.sets.values_mut() {
            observed.write(&self.writer, self.since, over);
        }
        if over {
            // A clock that was set back comes to a beginning again: what stands there stays, and
            // the span stands at this moment.
            self.since = if begun > self.since { begun } else { now };
            self.sets.retain(|_, observed| observed.idle_spans < IDLE_SPANS_MAX);
        }
    }
}

impl Observed {
    fn write(&mut self, writer: &Writer, at: Timestamp, over: bool) {
        let count = self.span.count();
        if count > self.written {
            // What the engine does not take it counts, or it has latched and takes nothing more.
            let _ = writer.append_distribution(&self.handle, at, self.span.clone());
            self.written = count;
        }
        if over {
            self.idle_spans = if count > 0 { 0 } else { self.idle_spans + 1 };
            self.span = Distribution::default();
            self.written = 0;
        }
    }
}
