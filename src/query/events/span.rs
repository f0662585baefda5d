//! How many rows, and from when to when: as far as that is known without reading any.

use std::sync::Arc;

use crate::segment::EventSource;
use crate::time::{TimeRange, Timestamp};

/// What is known of the rows of a table in a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventSpan {
    /// How many there are; at most so many where it is not [`exact`](Self::exact).
    pub rows: u64,
    /// When the first is, inclusive; not later than it where this is not exact.
    pub first: Timestamp,
    /// When the last is, inclusive; not earlier than it where this is not exact.
    pub last: Timestamp,
    /// Whether no stretch of rows reaches beyond the range.
    pub exact: bool,
}

/// What is known of the rows of `sources` in a range; `None` where there are none.
#[must_use]
pub fn event_span(sources: &[Arc<dyn EventSource>], range: TimeRange) -> Option<EventSpan> {
    let mut span: Option<EventSpan> = None;
    let stretches = sources.iter().flat_map(|source| source.stretches());
    for stretch in stretches.filter(|stretch| stretch.meets(range)) {
        let (first, last) = (stretch.first, stretch.last);
        let last_in_range = Timestamp(range.end.0.saturating_sub(1));
        let of = span.get_or_insert(EventSpan { rows: 0, first, last, exact: true });
        of.rows += u64::from(stretch.rows);
        of.exact &= range.covers(first, last);
        of.first = of.first.min(first).max(range.start);
        of.last = of.last.max(last).min(last_in_range);
    }
    span
}
