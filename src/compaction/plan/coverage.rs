//! What a tier's parts account for, and up to which rank: a step function of time.

use std::collections::BTreeMap;

use crate::time::{TimeRange, Timestamp};

/// Up to which rank a tier has taken in samples, at each point in time that any of its parts
/// accounts for.
#[derive(Debug, Default)]
pub(in crate::compaction) struct Coverage {
    /// Ascending, disjoint, none empty; neighbours that touch differ in rank.
    stretches: Vec<(TimeRange, u64)>,
}

impl Coverage {
    /// The highest rank at each point, of windows with their ranks.
    pub(in crate::compaction) fn of(windows: impl IntoIterator<Item = (TimeRange, u64)>) -> Self {
        let mut edges: Vec<(Timestamp, bool, u64)> = windows
            .into_iter()
            .filter(|(window, _)| !window.is_empty())
            .flat_map(|(window, rank)| [(window.start, true, rank), (window.end, false, rank)])
            .collect();
        edges.sort_unstable();
        let mut coverage = Self::default();
        // How many open windows there are of each rank.
        let mut open: BTreeMap<u64, usize> = BTreeMap::new();
        let mut since = Timestamp::MIN;
        for (at, opens, rank) in edges {
            if let Some((&highest, _)) = open.last_key_value() {
                coverage.extend(TimeRange::new(since, at), highest);
            }
            since = at;
            let count = open.entry(rank).or_default();
            *count = if opens { *count + 1 } else { count.saturating_sub(1) };
            if *count == 0 {
                open.remove(&rank);
            }
        }
        coverage
    }

    fn extend(&mut self, stretch: TimeRange, rank: u64) {
        match self.stretches.last_mut() {
            _ if stretch.is_empty() => {}
            Some((last, same)) if *same == rank && last.end == stretch.start => {
                last.end = stretch.end;
            }
            _ => self.stretches.push((stretch, rank)),
        }
    }

    /// The range cut where the rank changes, gaps included, ascending.
    pub(in crate::compaction) fn pieces(
        &self,
        range: TimeRange,
    ) -> impl Iterator<Item = (TimeRange, Option<u64>)> + '_ {
        let mut next = self.stretches.partition_point(|(stretch, _)| stretch.end <= range.start);
        let mut at = range.start;
        std::iter::from_fn(move || {
            if at >= range.end {
                return None;
            }
            let stretch = self.stretches.get(next).filter(|(stretch, _)| stretch.start < range.end);
            let (end, rank) = match stretch {
                Some((stretch, _)) if at < stretch.start => (stretch.start, None),
                Some((stretch, rank)) => {
                    next += 1;
                    (stretch.end.min(range.end), Some(*rank))
                }
                None => (range.end, None),
            };
            let piece = TimeRange::new(at, end);
            at = end;
            Some((piece, rank))
        })
    }

    /// Whether any of the range is accounted for.
    pub(super) fn touches(&self, range: TimeRange) -> bool {
        self.pieces(range).any(|(_, rank)| rank.is_some())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_point_has_the_highest_rank_of_its_windows(
            windows in prop::collection::vec((0_i64..60, 0_i64..30, 0_u64..9), 0..20),
            range in (0_i64..80, 0_i64..80),
        ) {
            let windows: Vec<(TimeRange, u64)> = windows
                .into_iter()
                .map(|(start, length, rank)| {
                    (TimeRange::new(Timestamp(start), Timestamp(start + length)), rank)
                })
                .collect();
            let range = TimeRange::new(Timestamp(range.0), Timestamp(range.1));
            let coverage = Coverage::of(windows.iter().copied());
            let pieces: Vec<_> = coverage.pieces(range).collect();
            let mut reached = range.start;
            for (piece, rank) in pieces {
                prop_assert_eq!(piece.start, reached);
                prop_assert!(!piece.is_empty());
                reached = piece.end;
                for t in piece.start.0..piece.end.0 {
                    let holding = windows.iter().filter(|(window, _)| window.contains(Timestamp(t)));
                    prop_assert_eq!(rank, holding.map(|(_, rank)| *rank).max());
                }
            }
            prop_assert_eq!(reached, range.end.max(range.start));
        }
    }
}
