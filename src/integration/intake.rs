//! What all readers share: numbering the series and shaping samples into batches.

use std::collections::{HashMap, VecDeque};

use super::{Batch, DeclaredSeries, RejectReason, Rejections, Slot};
use crate::model::{Metadata, Series};
use crate::time::Timestamp;

/// Most distinct series that one reader numbers; about 2 GiB of names at 200 bytes each.
pub(crate) const SERIES_MAX: usize = 10_000_000;
/// Most samples of a batch: enough that the cost per batch does not matter (a column of 8192
/// samples is 128 KiB), few enough to pass through the engine's bounded channel.
const BATCH_SAMPLES_MAX: usize = 8192;

/// The series of one reader, and the samples not yet handed out.
#[derive(Default)]
pub(crate) struct Intake {
    declared: Vec<DeclaredSeries>,
    by_series: HashMap<Series, Slot>,
    pub(crate) rejections: Rejections,
    pending: Pending,
    ready: VecDeque<Batch>,
}

impl Intake {
    pub(crate) fn declared(&self) -> &[DeclaredSeries] {
        &self.declared
    }

    /// The slot of a series, given at its first appearance.
    pub(crate) fn declare(
        &mut self,
        series: Series,
        metadata: impl FnOnce(&Series) -> Metadata,
    ) -> Result<Slot, RejectReason> {
        if let Some(&slot) = self.by_series.get(&series) {
            return Ok(slot);
        }
        if self.declared.len() >= SERIES_MAX {
            return Err(RejectReason::TooManySeries);
        }
        let slot = u32::try_from(self.declared.len()).map_err(|_| RejectReason::TooManySeries)?;
        let metadata = metadata(&series);
        self.declared.push(DeclaredSeries { series: series.clone(), metadata });
        self.by_series.insert(series, Slot(slot));
        self.pending.seen_in.push(0);
        Ok(Slot(slot))
    }

    /// Adds a sample; a batch that it does not fit into becomes ready.
    #[inline]
    pub(crate) fn push(&mut self, slot: Slot, timestamp: i64, value: f64) {
        if !self.pending.push(slot, timestamp, value) {
            self.flush();
            self.pending.start(slot, timestamp, value);
        }
    }

    /// Adds a whole column at once; `values.len() == timestamps.len()`.
    pub(crate) fn push_column(&mut self, slot: Slot, timestamps: Vec<i64>, values: Vec<f64>) {
        self.flush();
        if !values.is_empty() {
            self.ready.push_back(Batch::Column { slot, timestamps, values });
        }
    }

    pub(crate) fn flush(&mut self) {
        self.ready.extend(self.pending.take());
    }

    pub(crate) fn take_ready(&mut self) -> Option<Batch> {
        self.ready.pop_front()
    }
}

#[derive(Default, PartialEq)]
enum Shape {
    #[default]
    Empty,
    /// One sample: the next one decides.
    One,
    Scrape,
    Column,
}

/// Samples that share a timestamp or a series, whichever the second sample decided.
#[derive(Default)]
struct Pending {
    shape: Shape,
    /// Of the first sample.
    slot: Slot,
    /// Of the first sample.
    timestamp: i64,
    slots: Vec<Slot>,
    timestamps: Vec<i64>,
    values: Vec<f64>,
    /// For each slot, the number of the scrape that it was last seen in: a slot that repeats
    /// within a scrape starts a new one, so that the later value wins.
    seen_in: Vec<u64>,
    scrape: u64,
}

impl Default for Slot {
    fn default() -> Self {
        Self(u32::MAX)
    }
}

impl Pending {
    /// Whether the sample fitted; if not, take the batch and start the next.
    #[inline]
    fn push(&mut self, slot: Slot, timestamp: i64, value: f64) -> bool {
        if self.shape == Shape::One {
            self.shape = if slot == self.slot { Shape::Column } else { Shape::Scrape };
        }
        let fits = self.values.len() < BATCH_SAMPLES_MAX
            && match self.shape {
                Shape::Empty | Shape::One => false,
                Shape::Scrape => timestamp == self.timestamp && self.mark(slot),
                Shape::Column => slot == self.slot,
            };
        if fits {
            match self.shape {
                Shape::Column => self.timestamps.push(timestamp),
                _ => self.slots.push(slot),
            }
            self.values.push(value);
        }
        fits
    }

    fn start(&mut self, slot: Slot, timestamp: i64, value: f64) {
        self.scrape += 1;
        self.mark(slot);
        (self.shape, self.slot, self.timestamp) = (Shape::One, slot, timestamp);
        self.slots.push(slot);
        self.timestamps.push(timestamp);
        self.values.push(value);
    }

    /// Whether the slot is new in this scrape.
    #[inline]
    fn mark(&mut self, slot: Slot) -> bool {
        let Some(seen) = self.seen_in.get_mut(slot.0 as usize) else { return false };
        std::mem::replace(seen, self.scrape) != self.scrape
    }

    fn take(&mut self) -> Option<Batch> {
        let shape = std::mem::take(&mut self.shape);
        // The next batch is probably as long as this one.
        let capacity = self.values.len();
        let values = std::mem::replace(&mut self.values, Vec::with_capacity(capacity));
        match shape {
            Shape::Empty => None,
            Shape::One | Shape::Scrape => {
                self.timestamps.clear();
                let slots = std::mem::replace(&mut self.slots, Vec::with_capacity(capacity));
                Some(Batch::Scrape { timestamp: Timestamp(self.timestamp), slots, values })
            }
            Shape::Column => {
                self.slots.clear();
                let timestamps =
                    std::mem::replace(&mut self.timestamps, Vec::with_capacity(capacity));
                Some(Batch::Column { slot: self.slot, timestamps, values })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(samples: &[(usize, i64, f64)]) -> Vec<Batch> {
        let mut intake = Intake::default();
        let slots: Vec<Slot> = ["a", "b", "c"]
            .map(|name| {
                let series = Series::new(name, []).unwrap();
                intake.declare(series, |_| Metadata::default()).unwrap()
            })
            .to_vec();
        for &(series, timestamp, value) in samples {
            intake.push(slots[series], timestamp, value);
        }
        intake.flush();
        std::iter::from_fn(|| intake.take_ready()).collect()
    }

    fn scrape(timestamp: i64, slots: &[u32], values: &[f64]) -> Batch {
        let slots = slots.iter().map(|&slot| Slot(slot)).collect();
        Batch::Scrape { timestamp: Timestamp(timestamp), slots, values: values.to_vec() }
    }

    #[test]
    fn equal_timestamps_make_a_scrape() {
        let samples = [(0, 10, 1.0), (1, 10, 2.0), (2, 10, 3.0), (0, 20, 4.0), (1, 20, 5.0)];
        let expected = [scrape(10, &[0, 1, 2], &[1.0, 2.0, 3.0]), scrape(20, &[0, 1], &[4.0, 5.0])];
        assert_eq!(batches(&samples), expected);
    }

    #[test]
    fn a_series_that_repeats_makes_a_column() {
        let samples = [(1, 10, 1.0), (1, 20, 2.0), (1, 20, 3.0), (0, 20, 4.0)];
        let column = Batch::Column {
            slot: Slot(1),
            timestamps: vec![10, 20, 20],
            values: vec![1.0, 2.0, 3.0],
        };
        assert_eq!(batches(&samples), [column, scrape(20, &[0], &[4.0])]);
    }

    #[test]
    fn a_series_repeating_within_a_scrape_starts_another() {
        let samples = [(0, 10, 1.0), (1, 10, 2.0), (0, 10, 3.0), (1, 10, 4.0)];
        let expected = [scrape(10, &[0, 1], &[1.0, 2.0]), scrape(10, &[0, 1], &[3.0, 4.0])];
        assert_eq!(batches(&samples), expected);
    }

    #[test]
    fn no_batch_is_longer_than_the_bound() {
        let samples: Vec<_> = (0..20_000).map(|t| (0, t, t as f64)).collect();
        let batches = batches(&samples);
        assert!(batches.iter().all(|batch| batch.samples() <= BATCH_SAMPLES_MAX));
        assert_eq!(batches.iter().map(Batch::samples).sum::<usize>(), 20_000);
    }
}
