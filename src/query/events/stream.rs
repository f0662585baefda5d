//! Rows handed to a caller, group by group: by time, or in parallel to be folded.

use std::collections::HashMap;
use std::sync::Arc;

use super::plan::{Place, Scan, Stretch};
use super::request::{EventEvidence, EventRequest};
use super::scan::for_each_group;
use crate::error::{Error, Result};
use crate::model::{EventKind, EventRows, EventSchema};
use crate::query::resources::Resources;
use crate::segment::{EventMerge, EventSource, GROUP_ROWS};

/// Hands the rows that pass to `visit`, by time, then arrival. `sources` are in the order of arrival.
///
/// # Errors
/// As [`scan_events`](super::scan_events), and what `visit` returns; [`Error::InvalidArgument`] for an
/// order by a column.
pub fn for_each_event_group(
    request: &EventRequest,
    schema: &EventSchema,
    sources: &[Arc<dyn EventSource>],
    resources: Resources<'_>,
    mut visit: impl FnMut(EventRows) -> Result<()>,
) -> Result<EventEvidence> {
    let scan = Scan::new(request, schema, sources, resources)?;
    if scan.order.is_some() {
        let reason = "rows are handed over by time only".to_owned();
        return Err(Error::InvalidArgument { what: "event request", reason });
    }
    let (_, groups) = scan.places();
    let mut evidence = EventEvidence { groups, ..EventEvidence::default() };
    let kinds: Vec<EventKind> = scan.kinds().collect();
    let mut left = scan.limit;
    let mut read = EventEvidence::default();
    {
        // The stretch that each source is at.
        let mut open: HashMap<usize, Stretch<'_>> = HashMap::new();
        let load = |source: usize, stretch: u32, group: u32| {
            let known = open.remove(&source).filter(|open| open.place.stretch == stretch);
            let mut at = match known {
                Some(known) => known,
                None => scan.stretch(Place { source, stretch })?,
            };
            let wanted = scan.select(&mut at, group, &mut read)?;
            let rows = if wanted.is_empty() {
                EventRows::default()
            } else {
                scan.materialize(&mut at, group, &wanted, &mut read)?
            };
            open.insert(source, at);
            Ok(rows)
        };
        let mut merge = EventMerge::new(sources, scan.range, Box::new(load));
        while left > 0
            && let Some(mut rows) = merge.next_rows(&kinds, GROUP_ROWS)?
        {
            if rows.len() > left {
                rows = rows.gather(&(0..).take(left).collect::<Vec<u32>>());
            }
            left -= rows.len();
            visit(rows)?;
        }
    }
    evidence.add(&read);
    Ok(evidence)
}

/// Folds the rows that pass: `begin` makes the state of one task, `fold` takes in the rows of one group
/// after another. Returns the states in the order of arrival, then time; the same for every number of
/// threads.
///
/// # Errors
/// As [`scan_events`](super::scan_events), and what `fold` returns.
pub fn fold_events<S: Send>(
    request: &EventRequest,
    schema: &EventSchema,
    sources: &[Arc<dyn EventSource>],
    resources: Resources<'_>,
    begin: impl Fn() -> S + Sync + Send,
    fold: impl Fn(&mut S, &EventRows) -> Result<()> + Sync + Send,
) -> Result<(Vec<S>, EventEvidence)> {
    let scan = Scan::new(request, schema, sources, resources)?;
    let (places, groups) = scan.places();
    let mut evidence = EventEvidence { groups, ..EventEvidence::default() };
    let step = |decoded: &mut u64, number: usize| {
        let (mut state, mut evidence) = (begin(), EventEvidence::default());
        if let Some(&place) = places.get(number) {
            for_each_group(&scan, place, &mut evidence, &mut |rows| fold(&mut state, &rows))?;
        }
        *decoded += evidence.values_decoded;
        Ok((state, evidence))
    };
    let done = scan.resources.deal(places.len(), || 0, step, |decoded| *decoded)?;
    let states = done.into_iter().map(|(state, read)| {
        evidence.add(&read);
        state
    });
    let states = states.collect();
    Ok((states, evidence))
}
