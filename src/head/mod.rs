//! The head: recent samples in memory, until they freeze into parts.
//!
//! Owns: the *lanes* that samples are appended to (one a scrape group, one a series that comes
//! alone), the late lane for samples out of order, the distributions and the rows of events beside them, the rule that for
//! equal timestamps the later write wins, and the way a head freezes into groups for the segment
//! writer. Written by one thread (`engine::ingest`); readers hold a [`Snapshot`], which never
//! changes.
//!
//! Does not own: durability (`wal`), or which head is live (`engine`).

mod distributions;
mod events;
mod freeze;
mod lane;
mod plan;
mod snapshot;

use std::collections::HashMap;
use std::sync::Arc;

pub use freeze::FrozenGroup;
pub use snapshot::Snapshot;

use crate::aggregate::Distribution;
use crate::model::{EventBatch, EventSchema, SeriesId};
use events::EventLanes;
use lane::Lane;
use snapshot::Late;

/// A list of distinct series that one scrape writes together, declared once and named by its id.
#[derive(Debug, PartialEq, Eq)]
pub struct Group {
    /// Unique among the groups of one engine run.
    pub id: u32,
    /// Its series, distinct, in the order of a scrape's values.
    pub series: Box<[SeriesId]>,
}

/// What a late sample costs in memory beyond its own bytes: a B-tree entry.
const LATE_BYTES: usize = 64;

/// The writer's side of the head.
#[derive(Debug, Default)]
pub struct Head {
    snapshot: Snapshot,
    /// Holding the group keeps its id for later scrapes of the same series: with a new id each
    /// would get a lane of its own.
    lane_of_group: HashMap<u32, (u32, Arc<Group>)>,
    lane_of_series: HashMap<SeriesId, u32>,
    events: EventLanes,
    bytes: usize,
    late: u64,
}

impl Head {
    /// Appends one value to each series of `group` at `timestamp`: `values.len()` is the group's
    /// length. `sequence` is the batch's number in the log, ascending from call to call.
    pub fn append_scrape(
        &mut self,
        group: &Arc<Group>,
        timestamp: i64,
        values: &[f64],
        sequence: u64,
    ) {
        debug_assert_eq!(group.series.len(), values.len());
        if values.is_empty() {
            return;
        }
        let lane = match self.lane_of_group.get(&group.id) {
            Some(&(lane, _)) => lane,
            None => {
                let lane = self.add_lane(Arc::from(&*group.series));
                self.lane_of_group.insert(group.id, (lane, Arc::clone(group)));
                lane
            }
        };
        let order = self.snapshot.note(sequence, values.len());
        let Some(target) = self.snapshot.lanes.get_mut(lane as usize) else { return };
        if target.accepts(timestamp) {
            self.bytes += target.push_row(timestamp, order, values);
        } else {
            for (&series, &value) in group.series.iter().zip(values) {
                self.push_late(series, timestamp, Late { order, value });
            }
        }
    }

    /// Appends samples of one series: `timestamps` and `values` of equal length, in any order.
    pub fn append_column(
        &mut self,
        series: SeriesId,
        timestamps: &[i64],
        values: &[f64],
        sequence: u64,
    ) {
        debug_assert_eq!(timestamps.len(), values.len());
        if timestamps.is_empty() {
            return;
        }
        let lane = match self.lane_of_series.get(&series) {
            Some(&lane) => lane,
            None => {
                let lane = self.add_lane(Arc::from([series]));
                self.lane_of_series.insert(series, lane);
                lane
            }
        };
        let order = self.snapshot.note(sequence, values.len());
        for (&timestamp, &value) in timestamps.iter().zip(values) {
            match self.snapshot.lanes.get_mut(lane as usize) {
                Some(target) if target.accepts(timestamp) => {
                    self.bytes += target.push_row(timestamp, order, std::slice::from_ref(&value));
                }
                _ => self.push_late(series, timestamp, Late { order, value }),
            }
        }
    }

    /// Puts what was observed of a series at `timestamp`, in place of what an earlier batch put
    /// there.
    pub fn put_distribution(
        &mut self,
        series: SeriesId,
        timestamp: i64,
        distribution: Arc<Distribution>,
        sequence: u64,
    ) {
        self.snapshot.note(sequence, 1);
        let (added, replaced) = self.snapshot.put_distribution(series, timestamp, distribution);
        self.bytes = (self.bytes + added).saturating_sub(replaced);
    }

    /// Appends rows of the table of events of this number; `schema` is what is known of the table, or
    /// was when the rows were declared: the rows have as many values, or fewer.
    pub fn append_events(
        &mut self,
        table: u32,
        schema: &Arc<EventSchema>,
        batch: &EventBatch,
        sequence: u64,
    ) {
        self.snapshot.note(sequence, 0);
        self.bytes += self.events.append(table, schema, batch);
    }

    fn add_lane(&mut self, series: Arc<[SeriesId]>) -> u32 {
        // Each lane holds at least one of at most 2^30 series' samples within the byte budget.
        let lane = u32::try_from(self.snapshot.lanes.len()).unwrap_or(u32::MAX);
        self.bytes += self.snapshot.add_places(lane, &series);
        self.snapshot.lanes.push(Lane::new(series));
        lane
    }

    fn push_late(&mut self, series: SeriesId, timestamp: i64, late: Late) {
        self.snapshot.push_late(series, timestamp, late);
        self.bytes += LATE_BYTES;
        self.late += 1;
    }

    /// The head as it is now. Cost: a few reference counts a lane; the next append copies the
    /// tail rows of the lanes that a snapshot still holds.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.snapshot.clone();
        snapshot.events = self.events.snapshot();
        snapshot
    }

    /// Samples that came after a later one of their lane.
    #[must_use]
    pub fn late_samples(&self) -> u64 {
        self.late
    }

    /// Bytes that the samples and their lanes hold in memory, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing was appended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.snapshot.samples() == 0 && self.events.rows() == 0
    }

    /// Rows of events appended.
    #[must_use]
    pub fn event_rows(&self) -> u64 {
        self.events.rows()
    }

    /// Samples appended, replaced ones included.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.snapshot.samples()
    }

    /// The last sequence number appended; `None` where nothing was.
    #[must_use]
    pub fn last_sequence(&self) -> Option<u64> {
        self.snapshot.last_sequence()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::segment::ChunkSource;
    use crate::time::TimeRange;

    type Reference = BTreeMap<SeriesId, BTreeMap<i64, u64>>;

    #[derive(Debug, Clone)]
    enum Write {
        Scrape { group: usize, timestamp: i64, seed: u32 },
        Column { series: u32, timestamps: Vec<i64>, seed: u32 },
    }

    fn groups() -> [Arc<Group>; 3] {
        let group = |id, series: &[u32]| {
            let series = series.iter().map(|&s| SeriesId(s)).collect();
            Arc::new(Group { id, series })
        };
        [group(0, &[0, 1, 2, 3]), group(1, &[1, 2, 5]), group(2, &[7])]
    }

    fn writes() -> impl Strategy<Value = Vec<Write>> {
        let scrape = (0..3_usize, 0..400_i64, any::<u32>())
            .prop_map(|(group, timestamp, seed)| Write::Scrape { group, timestamp, seed });
        let column = (0..9_u32, prop::collection::vec(0..400_i64, 0..40), any::<u32>())
            .prop_map(|(series, timestamps, seed)| Write::Column { series, timestamps, seed });
        prop::collection::vec(prop_oneof![4 => scrape, 1 => column], 0..300)
    }

    fn value(seed: u32, i: usize) -> f64 {
        f64::from_bits((u64::from(seed) << 32) ^ i as u64)
    }

    fn apply(head: &mut Head, reference: &mut Reference, writes: &[Write]) {
        let groups = groups();
        for (sequence, write) in (100_u64..).zip(writes) {
            match write {
                Write::Scrape { group, timestamp, seed } => {
                    let group = &groups[*group];
                    let values: Vec<f64> =
                        (0..group.series.len()).map(|i| value(*seed, i)).collect();
                    head.append_scrape(group, *timestamp, &values, sequence);
                    for (&series, value) in group.series.iter().zip(&values) {
                        reference.entry(series).or_default().insert(*timestamp, value.to_bits());
                    }
                }
                Write::Column { series, timestamps, seed } => {
                    let values: Vec<f64> = (0..timestamps.len()).map(|i| value(*seed, i)).collect();
                    head.append_column(SeriesId(*series), timestamps, &values, sequence);
                    for (&t, value) in timestamps.iter().zip(&values) {
                        reference.entry(SeriesId(*series)).or_default().insert(t, value.to_bits());
                    }
                }
            }
        }
    }

    fn read(snapshot: &Snapshot, series: SeriesId, range: TimeRange) -> Vec<(i64, u64)> {
        let (mut chunks, mut timestamps, mut values) = (Vec::new(), Vec::new(), Vec::new());
        snapshot.chunks(series, range, &mut chunks).unwrap();
        let mut samples = Vec::new();
        for chunk in &chunks {
            snapshot.read_timestamps(chunk, &mut timestamps).unwrap();
            snapshot.read_values(chunk, &mut values).unwrap();
            assert_eq!(
                (timestamps.len(), values.len()),
                (chunk.samples as usize, chunk.samples as usize)
            );
            assert_eq!(
                (timestamps[0], timestamps[timestamps.len() - 1]),
                (chunk.first.0, chunk.last.0)
            );
            samples.extend(timestamps.iter().zip(&values).map(|(&t, v)| (t, v.to_bits())));
        }
        assert!(samples.is_sorted_by_key(|&(t, _)| t));
        samples.retain(|&(t, _)| range.contains(crate::Timestamp(t)));
        samples
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The head answers as a map in which the later write wins; so do its frozen groups, and
        /// a snapshot does not see what came after it.
        #[test]
        fn a_head_is_a_map_where_the_later_write_wins(
            before in writes(), after in writes(), start in 0..400_i64, length in 0..400_i64,
        ) {
            let (mut head, mut reference) = (Head::default(), Reference::new());
            apply(&mut head, &mut reference, &before);
            let snapshot = head.snapshot();
            apply(&mut head, &mut Reference::new(), &after);

            let range = TimeRange::new(crate::Timestamp(start), crate::Timestamp(start + length));
            for series in (0..9).map(SeriesId) {
                let expected: Vec<(i64, u64)> = reference.get(&series).into_iter().flatten()
                    .map(|(&t, &v)| (t, v)).filter(|&(t, _)| range.contains(crate::Timestamp(t))).collect();
                prop_assert_eq!(read(&snapshot, series, range), expected);
            }

            let mut frozen = Reference::new();
            for group in snapshot.groups() {
                prop_assert!(group.timestamps().is_sorted_by(|a, b| a < b));
                for &series in group.series() {
                    let mut values = Vec::new();
                    let rows = group.timestamps().len();
                    group.read(series, 0..rows / 2, &mut values);
                    group.read(series, rows / 2..rows, &mut values);
                    let column = group.timestamps().iter().zip(&values).map(|(&t, v)| (t, v.to_bits())).collect();
                    prop_assert!(frozen.insert(series, column).is_none());
                }
            }
            reference.retain(|_, samples| !samples.is_empty());
            prop_assert_eq!(frozen, reference);
        }
    }
}
