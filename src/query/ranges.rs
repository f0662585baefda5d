//! Sets of points in time: disjoint ranges, ascending, none empty, none touching the next.

use crate::time::{TimeRange, Timestamp};

/// A set of points in time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ranges(Vec<TimeRange>);

impl Ranges {
    /// Adds the points of a range. Cost: a search, and moving what stands behind it.
    pub(crate) fn insert(&mut self, range: TimeRange) {
        if range.is_empty() {
            return;
        }
        let start = self.0.partition_point(|held| held.end < range.start);
        let end = self.0.partition_point(|held| held.start <= range.end);
        let joined = self.0.get(start..end).unwrap_or_default().iter().fold(range, |all, held| {
            TimeRange::new(all.start.min(held.start), all.end.max(held.end))
        });
        self.0.splice(start..end, [joined]);
    }

    /// Adds the points of another set.
    pub(crate) fn extend(&mut self, other: &Self) {
        other.0.iter().for_each(|&range| self.insert(range));
    }

    /// Takes the points of a range away.
    pub(crate) fn remove(&mut self, range: TimeRange) {
        if range.is_empty() {
            return;
        }
        let start = self.0.partition_point(|held| held.end <= range.start);
        let end = self.0.partition_point(|held| held.start < range.end);
        let overlapping = self.0.get(start..end).unwrap_or_default();
        let (Some(first), Some(last)) = (overlapping.first(), overlapping.last()) else { return };
        let left = TimeRange::new(first.start, range.start);
        let right = TimeRange::new(range.end, last.end);
        self.0.splice(start..end, [left, right].into_iter().filter(|range| !range.is_empty()));
    }

    /// The points before one.
    pub(crate) fn before(&self, point: Timestamp) -> Self {
        let below = self.0.iter().map(|range| TimeRange::new(range.start, range.end.min(point)));
        Self(below.filter(|range| !range.is_empty()).collect())
    }

    /// The ranges, ascending.
    pub(crate) fn as_slice(&self) -> &[TimeRange] {
        &self.0
    }

    pub(crate) fn into_vec(self) -> Vec<TimeRange> {
        self.0
    }
}

impl From<TimeRange> for Ranges {
    fn from(range: TimeRange) -> Self {
        let mut ranges = Self::default();
        ranges.insert(range);
        ranges
    }
}

/// The points that lie in both; empty where none do.
pub(crate) fn intersection(one: TimeRange, other: TimeRange) -> TimeRange {
    TimeRange::new(one.start.max(other.start), one.end.min(other.end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn is_a_set_of_points(
            edits in prop::collection::vec((any::<bool>(), 0_i64..40, 0_i64..12), 0..30),
        ) {
            let (mut ranges, mut points) = (Ranges::default(), BTreeSet::new());
            for (insert, start, length) in edits {
                let range = TimeRange::new(Timestamp(start), Timestamp(start + length));
                if insert {
                    ranges.insert(range);
                    points.extend(start..start + length);
                } else {
                    ranges.remove(range);
                    points.retain(|point| !(start..start + length).contains(point));
                }
            }
            let held = ranges.as_slice();
            prop_assert!(held.iter().all(|range| !range.is_empty()));
            prop_assert!(held.is_sorted_by(|one, next| one.end < next.start));
            let cut = ranges.before(Timestamp(20));
            prop_assert_eq!(
                cut.as_slice().iter().flat_map(|range| range.start.0..range.end.0).collect::<Vec<_>>(),
                points.iter().copied().filter(|point| *point < 20).collect::<Vec<_>>()
            );
            let found: BTreeSet<i64> =
                held.iter().flat_map(|range| range.start.0..range.end.0).collect();
            prop_assert_eq!(found, points);
        }
    }
}
