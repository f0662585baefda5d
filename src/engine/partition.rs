//! Which partition windows a frozen head is cut into: a pure function of its timestamps.
//!
//! A window is aligned to the epoch and spans the partition length times a power of two, up to
//! [`PARTITION_FACTOR_MAX`]. Dense series get the shortest windows, the grain of retention.
//! Sparse ones get longer windows: a series of 5-minute samples cut by the day would be chunks of
//! 288 samples in parts whose fixed cost outweighs their content. Where parts have a window
//! already, later samples go into just that one, so that a window's parts can be merged.

use std::ops::Range;

use crate::compaction::Timeline;
use crate::options::PARTITION_FACTOR_MAX;
use crate::time::{TimeRange, Timestamp};

/// A window is long enough where its series average at most this many samples: compaction's
/// chunk length.
const SAMPLES_PER_SERIES: u64 = 8192;

/// A timestamp column and how many series share it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column<'a> {
    /// Strictly ascending.
    pub(super) timestamps: &'a [i64],
    pub(super) series: u64,
}

impl Column<'_> {
    /// The positions of the timestamps that lie in the window.
    pub(super) fn rows(&self, window: TimeRange) -> Range<usize> {
        let start = self.timestamps.partition_point(|&t| t < window.start.0);
        // The last window of time is closed: its end cannot be one past i64::MAX.
        let end = if window.end == Timestamp::MAX {
            self.timestamps.len()
        } else {
            self.timestamps.partition_point(|&t| t < window.end.0)
        };
        start..end.max(start)
    }
}

/// The windows that the columns' samples fall into, ascending and disjoint, none of them empty.
/// `partition_ns` is the shortest window, at least 1. `existing` are windows that were chosen
/// before, in any order: they are kept, of those that lie in each other the shorter.
pub(super) fn windows(
    columns: &[Column<'_>],
    partition_ns: i64,
    existing: &[TimeRange],
) -> Vec<TimeRange> {
    let longest = partition_ns.saturating_mul(PARTITION_FACTOR_MAX);
    let count = |window| {
        let held = columns.iter().map(|column| (column.rows(window).len() as u64, column.series));
        Density::of(held)
    };
    let cut = Cut { count: &count, partition_ns, existing };
    let mut windows = Vec::new();
    let mut from = columns.iter().filter_map(|column| column.timestamps.first()).min().copied();
    while let Some(first) = from {
        let window = aligned(first, longest);
        cut.split(window, &mut windows);
        let next =
            columns.iter().filter_map(|column| column.timestamps.get(column.rows(window).end));
        from = next.min().copied();
    }
    windows
}

fn aligned(timestamp: i64, length: i64) -> TimeRange {
    let start = i128::from(timestamp.div_euclid(length)) * i128::from(length);
    let clamp = |t: i128| Timestamp(t.clamp(i64::MIN.into(), i64::MAX.into()) as i64);
    TimeRange::new(clamp(start), clamp(start + i128::from(length)))
}

/// These windows, each cut by how densely its samples stand, as [`windows`] would have, had it
/// known all of them: a store that was closed every hour saw few at a time. Those without samples
/// are left out.
pub(super) fn resplit(
    windows: &[TimeRange],
    timelines: &[Timeline],
    partition_ns: i64,
) -> Vec<TimeRange> {
    let count = |window: TimeRange| {
        let held = timelines.iter().map(|timeline| {
            let from = timeline.cells.partition_point(|cell| cell.start < window.start.0);
            let cells = timeline.cells.iter().skip(from);
            let cells = cells.take_while(|cell| window.contains(Timestamp(cell.start)));
            (cells.map(|cell| cell.samples).sum(), timeline.series)
        });
        Density::of(held)
    };
    let cut = Cut { count: &count, partition_ns, existing: &[] };
    let mut out = Vec::new();
    windows.iter().for_each(|&window| cut.split(window, &mut out));
    out
}

/// A window's length, nanoseconds.
pub(super) fn length(window: &TimeRange) -> i128 {
    i128::from(window.end.0) - i128::from(window.start.0)
}

/// What a window holds.
#[derive(Debug, Clone, Copy, Default)]
struct Density {
    series: u64,
    samples: u64,
}

impl Density {
    /// Of samples, each of so many series.
    fn of(held: impl Iterator<Item = (u64, u64)>) -> Self {
        held.filter(|&(samples, _)| samples > 0).fold(Self::default(), |sum, (samples, series)| {
            Self { series: sum.series + series, samples: sum.samples + samples * series }
        })
    }
}

/// What windows are cut by.
struct Cut<'a> {
    count: &'a dyn Fn(TimeRange) -> Density,
    partition_ns: i64,
    existing: &'a [TimeRange],
}

impl Cut<'_> {
    /// Halves the window until it is one of the existing, or short enough for what it holds and
    /// around none of them.
    fn split(&self, window: TimeRange, out: &mut Vec<TimeRange>) {
        let Density { series, samples } = (self.count)(window);
        if series == 0 {
            return;
        }
        let lies_in = |other: &TimeRange| window.start <= other.start && other.end <= window.end;
        let around = self.existing.iter().any(|other| *other != window && lies_in(other));
        let fits = samples <= series * SAMPLES_PER_SERIES || self.existing.contains(&window);
        let half = length(&window) / 2;
        if fits && !around || half < i128::from(self.partition_ns) {
            out.push(window);
            return;
        }
        let middle = Timestamp((i128::from(window.start.0) + half) as i64);
        self.split(TimeRange::new(window.start, middle), out);
        self.split(TimeRange::new(middle, window.end), out);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: i64 = 86_400_000_000_000;

    fn grid(start: i64, step: i64, count: usize) -> Vec<i64> {
        (0..count as i64).map(|i| start + i * step).collect()
    }

    fn cut(timestamps: &[i64], series: u64) -> Vec<i64> {
        let windows = windows(&[Column { timestamps, series }], DAY, &[]);
        windows.iter().map(|window| (window.end.0 - window.start.0) / DAY).collect()
    }

    #[test]
    fn dense_series_get_days_and_sparse_ones_get_weeks() {
        let second = 1_000_000_000;
        // 10 s for three days from the midnight of an aligned month.
        assert_eq!(cut(&grid(32 * DAY, 10 * second, 3 * 8640), 1000), [1, 1, 1]);
        // 5 min for two weeks, 4,032 samples: one window.
        assert_eq!(cut(&grid(32 * DAY, 300 * second, 4032), 1), [32]);
        // 1 min for eight days, 11,520 samples.
        assert_eq!(cut(&grid(32 * DAY, 60 * second, 11_520), 5), [4, 4]);
    }

    proptest! {
        #[test]
        fn every_sample_lies_in_exactly_one_window(
            mut a in prop::collection::vec(any::<i64>(), 0..40),
            mut b in prop::collection::vec(-100 * DAY..100 * DAY, 0..40),
            partition in 60_000_000_000..366 * DAY,
        ) {
            for column in [&mut a, &mut b] {
                column.sort_unstable();
                column.dedup();
            }
            let columns = [Column { timestamps: &a, series: 3 }, Column { timestamps: &b, series: 9000 }];
            let windows = windows(&columns, partition, &[]);
            prop_assert!(windows.is_sorted_by(|x, y| x.end <= y.start));
            for column in columns {
                let mut next = 0;
                for &window in &windows {
                    let rows = column.rows(window);
                    if !rows.is_empty() {
                        prop_assert_eq!(rows.start, next);
                        next = rows.end;
                    }
                }
                prop_assert_eq!(next, column.timestamps.len());
            }
        }

        #[test]
        fn a_window_that_was_chosen_before_stays(
            first in prop::collection::btree_set(0..100 * DAY, 1..60),
            dense in prop::option::of((0_i64..64, 1_i64..8)),
            second in prop::collection::btree_set(0..100 * DAY, 1..60),
        ) {
            let mut first = Vec::from_iter(first);
            if let Some((day, days)) = dense {
                // Ten seconds apart: cut by the day.
                first.extend(grid(day * DAY, 10_000_000_000, days as usize * 8640));
                first.sort_unstable();
                first.dedup();
            }
            let second = Vec::from_iter(second);
            let before = windows(&[Column { timestamps: &first, series: 7 }], DAY, &[]);
            let column = Column { timestamps: &second, series: 1 };
            let after = windows(&[column], DAY, &before);
            for &window in &after {
                for &other in &before {
                    let apart = window.end <= other.start || other.end <= window.start;
                    prop_assert!(apart || window == other, "{window:?} {other:?}");
                }
            }
            let held: usize = after.iter().map(|&window| column.rows(window).len()).sum();
            prop_assert_eq!(held, second.len());
        }
    }
}
