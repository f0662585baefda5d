//! Which segments of a part may hold a series: found by bounds, without looking at all of them.

use super::meta::SegmentEntry;
use crate::time::{TimeRange, Timestamp};

/// The segments of a part in the order of their first series.
#[derive(Debug)]
pub(super) struct Directory {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    first_series: u32,
    last_series: u32,
    /// The highest last series of this entry and all before it: where it is below a series, no
    /// earlier entry holds that series.
    reach: u32,
    number: u32,
    first: Timestamp,
    last: Timestamp,
}

impl Directory {
    pub(super) fn new(segments: &[SegmentEntry]) -> Self {
        let numbered = (0..).zip(segments);
        let mut entries: Vec<Entry> = numbered
            .map(|(number, SegmentEntry { info, .. })| Entry {
                first_series: info.first_series,
                last_series: info.last_series,
                reach: info.last_series,
                number,
                first: info.first,
                last: info.last,
            })
            .collect();
        entries.sort_unstable_by_key(|entry| (entry.first_series, entry.number));
        let mut reach = 0;
        for entry in &mut entries {
            reach = entry.last_series.max(reach);
            entry.reach = reach;
        }
        Self { entries }
    }

    /// Numbers of the segments whose bounds hold the series and meet the window, in no order.
    pub(super) fn segments_of(&self, series: u32, range: TimeRange) -> impl Iterator<Item = u32> {
        let end = self.entries.partition_point(|entry| entry.first_series <= series);
        let candidates = self.entries.get(..end).unwrap_or_default().iter().rev();
        candidates
            .take_while(move |entry| entry.reach >= series)
            .filter(move |entry| entry.last_series >= series)
            .filter(move |entry| range.overlaps(entry.first, entry.last))
            .map(|entry| entry.number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::segment::SegmentInfo;

    proptest! {
        /// The same as looking at every segment.
        #[test]
        fn finds_what_a_scan_finds(
            bounds in prop::collection::vec((0_u32..50, 0_u32..20, 0_i64..50, 0_i64..20), 0..30),
            series in 0_u32..80,
            window in (0_i64..60, 0_i64..30),
        ) {
            let segments: Vec<_> = bounds
                .into_iter()
                .map(|(series, span, first, length)| SegmentEntry {
                    info: SegmentInfo {
                        first_series: series,
                        last_series: series + span,
                        first: Timestamp(first),
                        last: Timestamp(first + length),
                        samples: 1,
                        chunks: 1,
                        checksum: 0,
                    },
                    bytes: 1,
                })
                .collect();
            let range = TimeRange::new(Timestamp(window.0), Timestamp(window.0 + window.1));
            let mut found: Vec<u32> = Directory::new(&segments).segments_of(series, range).collect();
            found.sort_unstable();
            let holds = |info: &SegmentInfo| {
                (info.first_series..=info.last_series).contains(&series)
                    && range.overlaps(info.first, info.last)
            };
            let scanned = (0_u32..).zip(&segments).filter(|(_, entry)| holds(&entry.info));
            prop_assert_eq!(found, scanned.map(|(number, _)| number).collect::<Vec<_>>());
        }
    }
}
