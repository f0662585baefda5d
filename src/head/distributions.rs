//! The head's distributions, and the read contract over them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::snapshot::Snapshot;
use crate::aggregate::Distribution;
use crate::error::Result;
use crate::model::SeriesId;
use crate::segment::{ChunkSource, RecordFields, RecordSource, Records};
use crate::time::{Tier, TimeRange, Timestamp};

/// One series' distributions by time.
type ByTime = BTreeMap<i64, Arc<Distribution>>;

/// What a distribution costs in memory beyond its own bytes: a B-tree entry and two counts.
const ENTRY_BYTES: usize = 64;

/// Distributions by series. Each series' stand behind a count of their own: a new one copies
/// references to those of its series, where a reader's snapshot holds them, and of no other.
#[derive(Debug, Clone, Default)]
pub(super) struct Distributions(Arc<HashMap<SeriesId, Arc<ByTime>>>);

impl Distributions {
    /// The first and last timestamp of each series.
    pub(super) fn bounds(&self) -> impl Iterator<Item = (i64, i64)> {
        self.0
            .values()
            .filter_map(|all| Some((*all.first_key_value()?.0, *all.last_key_value()?.0)))
    }
}

impl Snapshot {
    /// Puts a distribution; returns the bytes that it takes, and those of the one it replaced.
    pub(super) fn put_distribution(
        &mut self,
        series: SeriesId,
        timestamp: i64,
        distribution: Arc<Distribution>,
    ) -> (usize, usize) {
        let bytes = |one: &Arc<Distribution>| ENTRY_BYTES + one.memory_bytes();
        let added = bytes(&distribution);
        let all = Arc::make_mut(&mut self.distributions.0).entry(series).or_default();
        let replaced = Arc::make_mut(all).insert(timestamp, distribution);
        (added, replaced.as_ref().map_or(0, bytes))
    }

    /// Whether there are distributions.
    #[must_use]
    pub fn has_distributions(&self) -> bool {
        !self.distributions.0.is_empty()
    }

    /// The timestamp of the latest distribution.
    #[must_use]
    pub fn newest_distribution(&self) -> Option<Timestamp> {
        self.distributions.bounds().map(|(_, last)| Timestamp(last)).max()
    }

    /// Every series that has distributions, in no order, and these by timestamp, ascending.
    pub fn distributions(
        &self,
    ) -> impl Iterator<Item = (SeriesId, &BTreeMap<i64, Arc<Distribution>>)> {
        self.distributions.0.iter().map(|(&series, all)| (series, &**all))
    }
}

impl RecordSource for Snapshot {
    fn rank(&self) -> u64 {
        ChunkSource::rank(self)
    }

    fn tombstones(&self) -> u64 {
        ChunkSource::tombstones(self)
    }

    fn tier(&self) -> Tier {
        Tier::RAW
    }

    fn window(&self) -> TimeRange {
        TimeRange::ALL
    }

    fn fields(&self, series: SeriesId) -> Result<Option<RecordFields>> {
        let all = RecordFields { increase: true, sketches: true };
        Ok(self.distributions.0.contains_key(&series).then_some(all))
    }

    fn read_records(&self, series: SeriesId, range: TimeRange, out: &mut Records) -> Result<()> {
        out.clear();
        let Some(all) = self.distributions.0.get(&series).filter(|_| !range.is_empty()) else {
            return Ok(());
        };
        for (&timestamp, distribution) in all.range(range.start.0..range.end.0) {
            out.starts.push(timestamp);
            out.partials.push(distribution.partial(Timestamp(timestamp)));
            out.sketches.push(distribution.sketch());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Head;

    fn observed(values: &[f64]) -> Arc<Distribution> {
        let mut all = Distribution::default();
        values.iter().for_each(|&value| assert!(all.record(value)));
        Arc::new(all)
    }

    fn read(snapshot: &Snapshot, series: u32, range: TimeRange) -> Vec<(i64, f64)> {
        let mut records = Records::default();
        snapshot.read_records(SeriesId(series), range, &mut records).unwrap();
        assert!(records.starts.is_sorted_by(|a, b| a < b));
        assert_eq!(records.len(), records.partials.len());
        for (partial, sketch) in records.partials.iter().zip(records.sketches.iter()) {
            assert_eq!((partial.count, partial.increase), (sketch.count(), sketch.count() as f64));
        }
        let sums = records.partials.iter().map(|partial| partial.sum);
        records.starts.iter().copied().zip(sums).collect()
    }

    #[test]
    fn the_later_write_wins_and_a_snapshot_stays_as_it_was() {
        let mut head = Head::default();
        head.append_column(SeriesId(0), &[5], &[1.0], 1);
        assert!(!head.snapshot().has_distributions());
        head.put_distribution(SeriesId(3), 20, observed(&[1.0, 2.0, 3.0, 4.0, 5.0]), 2);
        head.put_distribution(SeriesId(3), 10, observed(&[5.0]), 3);
        let (before, bytes) = (head.snapshot(), head.bytes());
        head.put_distribution(SeriesId(3), 20, observed(&[7.0]), 4);
        assert!(head.bytes() < bytes, "one bin in place of five");
        head.put_distribution(SeriesId(4), -3, observed(&[1.5]), 5);
        assert!(head.bytes() > bytes);

        let after = head.snapshot();
        assert_eq!(read(&before, 3, TimeRange::ALL), [(10, 5.0), (20, 15.0)]);
        assert_eq!(read(&after, 3, TimeRange::ALL), [(10, 5.0), (20, 7.0)]);
        let range = |start, end| TimeRange::new(Timestamp(start), Timestamp(end));
        assert_eq!(read(&after, 3, range(11, 21)), [(20, 7.0)]);
        assert!(read(&after, 3, range(21, 20)).is_empty());
        assert!(read(&after, 0, TimeRange::ALL).is_empty());
        assert_eq!(after.fields(SeriesId(0)).unwrap(), None);
        assert!(after.fields(SeriesId(4)).unwrap().unwrap().sketches);
        assert_eq!(after.time_bounds(), Some((Timestamp(-3), Timestamp(20))));
        assert_eq!((after.samples(), RecordSource::rank(&after)), (5, 5));
        assert_eq!(after.newest_distribution(), Some(Timestamp(20)));
    }
}
