//! What a crash left running: recorded as abandoned when the next monitor opens.

use std::collections::HashSet;

use super::history::{History, MARK_COLUMNS, QUERIES, RUNNING_QUERIES};
use crate::engine::Engine;
use crate::error::Result;
use crate::model::{EventRows, EventValue};
use crate::query::{EventOrder, EventPredicate, EventRequest, EventTest};
use crate::time::{TimeRange, Timestamp};

/// What an earlier run left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recovered {
    /// Queries that were recorded as abandoned now.
    pub(super) abandoned: u64,
    /// The first id of this run.
    pub(super) first_id: u64,
}

/// Records as abandoned every query that has a mark at `since` or later and no row of its own.
/// Cost: reads the marks, and the rows of queries that had one.
///
/// # Errors
/// I/O or corruption.
pub(super) fn recover(
    engine: &Engine,
    history: &mut History,
    since: Timestamp,
) -> Result<Recovered> {
    let range = TimeRange::new(since, Timestamp::MAX);
    let marks = engine.scan_events(&EventRequest::new(RUNNING_QUERIES, range))?.rows;
    let marked = ids(&marks);
    let mut abandoned = 0;
    if !marks.is_empty() {
        let finished = EventRequest {
            predicates: vec![EventPredicate::new("marked", EventTest::Equal(true.into()))],
            projection: Some(vec!["id".to_owned()]),
            ..EventRequest::new(QUERIES, range)
        };
        let finished = ids(&engine.scan_events(&finished)?.rows);
        let finished: HashSet<i64> = finished.into_iter().flatten().collect();
        for (row, (id, &time)) in marked.iter().zip(&marks.times).enumerate() {
            if id.is_some_and(|id| !finished.contains(&id)) {
                let mark = (0..MARK_COLUMNS.len()).map(|column| marks.value(row, column));
                history.add_abandoned(Timestamp(time), mark.collect());
                abandoned += 1;
            }
        }
        history.write();
        history.failure()?;
    }
    let newest = marked.into_iter().flatten().max().unwrap_or(0);
    Ok(Recovered { abandoned, first_id: first_id(engine, newest)? })
}

/// The time, so that ids ascend over runs; or behind the greatest there is, where the clock was set
/// back.
fn first_id(engine: &Engine, newest_mark: i64) -> Result<u64> {
    let now = engine.now();
    let ahead = EventRequest {
        projection: Some(vec!["id".to_owned()]),
        order: EventOrder::Largest("id".to_owned()),
        limit: Some(1),
        ..EventRequest::new(QUERIES, TimeRange::new(now, Timestamp::MAX))
    };
    let ahead = ids(&engine.scan_events(&ahead)?.rows).into_iter().flatten().max().unwrap_or(0);
    let next = newest_mark.max(ahead).saturating_add(1);
    Ok(now.0.max(next).max(1).cast_unsigned())
}

/// The first column.
fn ids(rows: &EventRows) -> Vec<Option<i64>> {
    let id = |row| match rows.value(row, 0) {
        EventValue::Integer(id) => Some(id),
        _ => None,
    };
    (0..rows.len()).map(id).collect()
}
