//! Rows by time.

use super::plan::{Place, Scan};
use super::request::{EventAnswer, EventEvidence, EventRequest};
use super::top;
use crate::error::Result;
use crate::model::{EventBuilder, EventRows, EventSchema};
use crate::query::resources::Resources;
use crate::segment::EventSource;
use crate::time::Timestamp;
use std::sync::Arc;

/// Stretches that a scan with a limit looks at first; then twice as many at a time. The same for
/// every number of threads, and so is what is read beyond the limit.
const FIRST_STRETCHES: usize = 4;

/// Answers a request over the sources of a table, which are in the order of arrival.
///
/// # Errors
/// [`Error::InvalidArgument`](crate::Error::InvalidArgument) where the request does not fit the
/// schema; a limit, the deadline, a cancellation; I/O or corruption.
pub fn scan_events(
    request: &EventRequest,
    schema: &EventSchema,
    sources: &[Arc<dyn EventSource>],
    resources: Resources<'_>,
) -> Result<EventAnswer> {
    let scan = Scan::new(request, schema, sources, resources)?;
    let (rows, evidence) = match scan.order {
        None => by_time(&scan)?,
        Some((field, largest)) => top::top(&scan, field, largest)?,
    };
    Ok(EventAnswer { columns: scan.columns.clone(), rows, evidence })
}

/// What a stretch gave: the rows of each of its groups that pass.
struct Found {
    place: Place,
    rows: Vec<EventRows>,
}

fn by_time(scan: &Scan<'_>) -> Result<(EventRows, EventEvidence)> {
    let (mut places, groups) = scan.places();
    let mut evidence = EventEvidence { groups, ..EventEvidence::default() };
    places.sort_by_key(|&place| (first(scan, place), place));
    let mut found: Vec<Found> = Vec::new();
    let (mut done, mut wave) =
        (0, if scan.limit == usize::MAX { usize::MAX } else { FIRST_STRETCHES });
    while done < places.len() && !is_enough(scan, &found, places.get(done)) {
        let now = places.get(done..places.len().min(done.saturating_add(wave))).unwrap_or_default();
        for (rows, read) in read_all(scan, now)? {
            evidence.add(&read);
            found.push(rows);
        }
        done += now.len();
        wave = wave.saturating_mul(2);
    }
    for place in places.get(done..).unwrap_or_default() {
        let known = scan.source(*place)?.stretches().get(place.stretch as usize);
        evidence.groups_skipped += known.map_or(0, |stretch| u64::from(stretch.groups));
    }
    // In the order of arrival, so that a sort by time alone keeps it.
    found.sort_by_key(|found| found.place);
    let mut built = EventBuilder::new(scan.kinds());
    for rows in found.iter().flat_map(|found| &found.rows) {
        built.append(rows, 0..rows.len());
    }
    let all = built.take();
    let mut rows = all.sorted().unwrap_or_else(|| Arc::unwrap_or_clone(all));
    if rows.len() > scan.limit {
        rows = rows.gather(&(0..).take(scan.limit).collect::<Vec<u32>>());
    }
    Ok((rows, evidence))
}

fn first(scan: &Scan<'_>, place: Place) -> Timestamp {
    let source = scan.sources.get(place.source);
    let stretch = source.and_then(|source| source.stretches().get(place.stretch as usize));
    stretch.map_or(Timestamp::MAX, |stretch| stretch.first)
}

/// Whether as many rows as are wanted lie before the next stretch begins.
fn is_enough(scan: &Scan<'_>, found: &[Found], next: Option<&Place>) -> bool {
    let Some(next) = next.map(|&place| first(scan, place).0).filter(|_| scan.limit < usize::MAX)
    else {
        return false;
    };
    let rows = found.iter().flat_map(|found| &found.rows);
    // Each group's rows ascend.
    let before = rows.map(|rows| rows.times.partition_point(|&time| time < next));
    before.sum::<usize>() >= scan.limit
}

fn read_all(scan: &Scan<'_>, places: &[Place]) -> Result<Vec<(Found, EventEvidence)>> {
    let step = |decoded: &mut u64, number: usize| {
        let mut evidence = EventEvidence::default();
        let Some(&place) = places.get(number) else {
            let place = Place { source: 0, stretch: 0 };
            return Ok((Found { place, rows: Vec::new() }, evidence));
        };
        let mut rows = Vec::new();
        for_each_group(scan, place, &mut evidence, &mut |group| {
            // The groups of a stretch share its dictionaries.
            let bytes = if rows.is_empty() { group.memory_bytes() } else { group.value_bytes() };
            scan.meter.reserve(bytes as u64)?;
            rows.push(group);
            Ok(())
        })?;
        *decoded += evidence.values_decoded;
        Ok((Found { place, rows }, evidence))
    };
    scan.resources.deal(places.len(), || 0, step, |decoded| *decoded)
}

/// Hands over the rows of each group of a stretch that pass, with the projected columns.
pub(super) fn for_each_group(
    scan: &Scan<'_>,
    place: Place,
    evidence: &mut EventEvidence,
    visit: &mut dyn FnMut(EventRows) -> Result<()>,
) -> Result<()> {
    let mut stretch = scan.stretch(place)?;
    for group in 0..stretch.groups {
        let wanted = scan.select(&mut stretch, group, evidence)?;
        if !wanted.is_empty() {
            visit(scan.materialize(&mut stretch, group, &wanted, evidence)?)?;
        }
    }
    Ok(())
}

impl EventEvidence {
    /// Adds what a task read; groups are counted before.
    pub(super) fn add(&mut self, other: &Self) {
        self.groups_skipped += other.groups_skipped;
        self.rows_read += other.rows_read;
        self.values_decoded += other.values_decoded;
        self.rows_matched += other.rows_matched;
    }
}
