//! One pass over the rows of finished queries: sums of those that ended in the window, which of them
//! are listed, and which ran at the moment.
//!
//! Rows stand at the time when a query began. So that those that began before the window and ended in
//! it are met, the pass begins earlier: a minute before it with all rows, and a day before it with those of
//! queries that took a minute or longer.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use super::grid::Grid;
use super::question::{Order, Question};
use super::reading::Reading;
use super::sheet::{QuerySums, integer, one_query};
use crate::error::Result;
use crate::model::{EventData, EventRows, EventValue};
use crate::monitor::{OutcomeKind, QUERIES};
use crate::query::{EventPredicate, EventRequest, EventTest};
use crate::time::{TimeRange, Timestamp};

const NEAR_NANOS: i64 = 60_000_000_000;
const NEAR_MICROS: i64 = NEAR_NANOS / 1_000;
/// A day: longer queries are not met once the window is past their beginning.
pub(super) const FAR_NANOS: i64 = 86_400_000_000_000;

const COLUMNS: [&str; 6] = ["id", "outcome", "duration", "waiting", "rows_out", "kept_one_in"];
/// What the text of a filter is looked for in.
const TEXTS: [&str; 6] = ["text", "user", "tenant", "fingerprint", "error", "critical_source"];

/// Rows of queries that may have run in a range, the earlier ones first.
fn reaching(reading: &Reading<'_>, range: TimeRange, columns: &[&str]) -> [EventRequest; 2] {
    let near = Timestamp(range.start.0.saturating_sub(NEAR_NANOS));
    let far = Timestamp(range.start.0.saturating_sub(FAR_NANOS));
    let mut far_off = reading.rows(QUERIES, TimeRange::new(far, near), columns);
    let long = EventTest::GreaterOrEqual(EventValue::Integer(NEAR_MICROS));
    far_off.predicates.push(EventPredicate::new("duration", long));
    [far_off, reading.rows(QUERIES, TimeRange::new(near, range.end), columns)]
}

/// The last end of a query that began at `last` or before, if there is one.
pub(super) fn last_end(reading: &Reading<'_>, last: Timestamp) -> Result<Option<Timestamp>> {
    let range = TimeRange::new(last, Timestamp(last.0.saturating_add(1)));
    let mut latest = None;
    for request in reaching(reading, range, &["duration"]) {
        latest = reading.folded(&request, latest, |latest, rows| {
            let [duration] = &*rows.columns else { return };
            for (row, time) in rows.times.iter().enumerate() {
                let micros = integer(duration, row).unwrap_or(0);
                let end = time.saturating_add_unsigned(micros.saturating_mul(1_000));
                *latest = (*latest).max(Some(Timestamp(end)));
            }
        })?;
    }
    Ok(latest)
}

/// Columns beside [`COLUMNS`] that an order is by.
const fn by(order: Order) -> &'static [&'static str] {
    match order {
        Order::Newest | Order::Slowest => &[],
        Order::Rows => &["rows_in"],
        Order::Bytes => &["bytes_in", "bytes_out"],
        Order::Cpu => &["cpu"],
    }
}

/// A query that is to be listed: what it is ordered by, and where its row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pick {
    key: i64,
    end: i64,
    pub(super) id: u64,
    pub(super) time: i64,
}

/// At most so many picks, the greatest.
#[derive(Debug)]
pub(super) struct Picks {
    max: usize,
    pub(super) count: u64,
    kept: Vec<Pick>,
}

impl Picks {
    fn new(max: u64) -> Self {
        Self { max: usize::try_from(max).unwrap_or(usize::MAX), count: 0, kept: Vec::new() }
    }

    fn add(&mut self, pick: Pick) {
        self.count += 1;
        self.kept.push(pick);
        if self.kept.len() >= self.max.saturating_mul(2) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.kept.sort_unstable_by_key(|&pick| Reverse(pick));
        self.kept.truncate(self.max);
    }

    /// The greatest first.
    pub(super) fn sorted(mut self) -> Vec<Pick> {
        self.cut();
        self.kept
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Tally<'a> {
    question: &'a Question,
    needle: String,
    grid: Grid,
    /// By the step of the grid in which queries ended.
    pub(super) windows: Vec<QuerySums>,
    pub(super) recent: Picks,
    pub(super) running: Picks,
}

impl<'a> Tally<'a> {
    /// Of the queries that ended in the grid's range, and of those that ran at its end.
    pub(super) fn of(reading: &Reading<'_>, question: &'a Question, grid: Grid) -> Result<Self> {
        let columns: Vec<&str> = COLUMNS
            .iter()
            .chain(by(question.order))
            .chain(TEXTS.iter().filter(|_| !question.text.is_empty()))
            .copied()
            .collect();
        let tally = Self {
            question,
            needle: question.text.to_lowercase(),
            grid,
            windows: vec![QuerySums::default(); grid.len()],
            recent: Picks::new(question.limit),
            running: Picks::new(question.limit),
        };
        let [far_off, near_by] = reaching(reading, grid.range, &columns);
        let tally = reading.folded(&far_off, tally, Self::add)?;
        reading.folded(&near_by, tally, Self::add)
    }

    fn add(&mut self, rows: &EventRows) {
        let [id, outcome, duration, waiting, rows_out, one_in, more @ ..] = &*rows.columns else {
            return;
        };
        let (keys, texts) =
            more.split_at_checked(by(self.question.order).len()).unwrap_or((more, &[]));
        let mut passing = Passing { needle: &self.needle, known: HashMap::new() };
        let TimeRange { start, end: at } = self.grid.range;
        for (row, &time) in rows.times.iter().enumerate() {
            let number = |column| integer(column, row).unwrap_or(0);
            let length = integer(duration, row);
            // What a crash ended has no length: it counts where it began.
            let nanos = length.unwrap_or(0).saturating_mul(1_000);
            let end = time.saturating_add_unsigned(nanos);
            if end < start.0 {
                continue;
            }
            let (id, rows_out) = (number(id), number(rows_out));
            if end >= at.0 {
                self.running.add(Pick { key: time.saturating_neg(), end, id, time });
                continue;
            }
            let kind = outcome.text(row).and_then(|name| OutcomeKind::parse(name));
            let kind = kind.unwrap_or(OutcomeKind::Abandoned);
            let count = number(one_in).max(1);
            if let Some(window) = self.windows.get_mut(self.grid.window_of(end)) {
                window.merge(&one_query(kind, length, number(waiting), rows_out, count));
            }
            let outcomes = &self.question.outcomes;
            if (outcomes.is_empty() || outcomes.contains(&kind)) && passing.row(texts, row) {
                let key = match self.question.order {
                    Order::Newest => 0,
                    Order::Slowest => length.unwrap_or(0),
                    Order::Rows => rows_out.saturating_add(keys.iter().map(number).sum()),
                    Order::Bytes | Order::Cpu => keys.iter().map(number).sum(),
                };
                let key = i64::try_from(key).unwrap_or(i64::MAX);
                self.recent.add(Pick { key, end, id, time });
            }
        }
    }
}

/// Which texts hold the needle: each text of a dictionary is looked at once.
struct Passing<'a> {
    needle: &'a str,
    known: HashMap<*const u8, bool>,
}

impl Passing<'_> {
    fn row(&mut self, columns: &[EventData], row: usize) -> bool {
        self.needle.is_empty()
            || columns.iter().any(|column| column.text(row).is_some_and(|text| self.text(text)))
    }

    fn text(&mut self, text: &Arc<str>) -> bool {
        let known = self.known.entry(text.as_ptr());
        *known.or_insert_with(|| text.to_lowercase().contains(self.needle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_are_kept_and_all_are_counted() {
        let mut picks = Picks::new(3);
        for key in [5, 1, 9, 7, 3, 8, 2, 6, 4] {
            picks.add(Pick { key, end: 0, id: 0, time: 0 });
        }
        assert_eq!(picks.count, 9);
        let keys: Vec<i64> = picks.sorted().into_iter().map(|pick| pick.key).collect();
        assert_eq!(keys, [9, 8, 7]);
    }
}
