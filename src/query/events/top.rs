//! The first rows of an order by a column.
//!
//! Groups are read in the order of what their bounds promise, some at a time, until none of those left
//! can hold a row that is among the first. Only then are the other columns of these rows read.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::plan::{Field, Place, Scan, Stretch};
use super::request::EventEvidence;
use crate::error::Result;
use crate::model::{EventBuilder, EventData, EventRows, EventVector, ordered};
use crate::segment::{Bounds, GroupBounds};

/// Groups that are read first; then twice as many at a time. The same for every number of threads, and
/// so is what is read.
const FIRST_GROUPS: usize = 8;

/// A value as the order has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Number(i64),
    Text(Arc<str>),
}

/// A group, and the best key that it may hold; `None` where that is not known.
struct Promise {
    place: Place,
    group: u32,
    best: Option<Key>,
}

/// A row among the first.
#[derive(Debug, Clone)]
struct Row {
    key: Key,
    time: i64,
    place: Place,
    group: u32,
    row: u32,
}

/// Which of two keys comes first.
#[derive(Debug, Clone, Copy)]
struct Direction {
    largest: bool,
}

impl Direction {
    fn compare(self, one: &Key, other: &Key) -> Ordering {
        if self.largest { other.cmp(one) } else { one.cmp(other) }
    }

    fn compare_rows(self, one: &Row, other: &Row) -> Ordering {
        let arrival = |row: &Row| (row.time, row.place, row.group, row.row);
        self.compare(&one.key, &other.key).then_with(|| arrival(one).cmp(&arrival(other)))
    }

    /// Of what a group that is not known promises, everything comes first.
    fn compare_promises(self, one: &Promise, other: &Promise) -> Ordering {
        let best = match (&one.best, &other.best) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(one), Some(other)) => self.compare(one, other),
        };
        best.then_with(|| (one.place, one.group).cmp(&(other.place, other.group)))
    }
}

/// The first rows by a column.
pub(super) fn top(
    scan: &Scan<'_>,
    field: Field,
    largest: bool,
) -> Result<(EventRows, EventEvidence)> {
    let direction = Direction { largest };
    let (places, groups) = scan.places();
    let mut evidence = EventEvidence { groups, ..EventEvidence::default() };
    let mut promises = promises(scan, field, direction, &places)?;
    evidence.groups_skipped = groups - promises.len() as u64;
    promises.sort_by(|one, other| direction.compare_promises(one, other));
    let (mut first, mut done, mut wave) = (Vec::<Row>::new(), 0, FIRST_GROUPS);
    while let Some(next) = promises.get(done).filter(|_| scan.limit > 0) {
        // Of equal keys the earlier row comes first, which may be in that group.
        let worst = first.last().filter(|_| first.len() >= scan.limit).map(|row| &row.key);
        let beaten = worst.zip(next.best.as_ref());
        if beaten.is_some_and(|(worst, best)| direction.compare(worst, best) == Ordering::Less) {
            break;
        }
        let now = promises.get(done..promises.len().min(done + wave)).unwrap_or_default();
        for (rows, read) in candidates(scan, field, direction, now, worst)? {
            evidence.add(&read);
            first.extend(rows);
        }
        first.sort_by(|one, other| direction.compare_rows(one, other));
        first.truncate(scan.limit);
        done += now.len();
        wave *= 2;
    }
    evidence.groups_skipped += (promises.len() - done) as u64;
    let rows = materialize(scan, &first, &mut evidence)?;
    Ok((rows, evidence))
}

/// The groups that may hold a row that passes and has a key.
fn promises(
    scan: &Scan<'_>,
    (field, _): Field,
    direction: Direction,
    places: &[Place],
) -> Result<Vec<Promise>> {
    let step = |done: &mut u64, number: usize| {
        let Some(&place) = places.get(number) else { return Ok(Vec::new()) };
        scan.meter.check()?;
        let stretch = scan.stretch(place)?;
        let Some(column) = stretch.source.column(place.stretch, field)? else {
            // Null in all rows.
            return Ok(Vec::new());
        };
        let texts = column.dictionary().map(|dictionary| dictionary.as_slice()).unwrap_or_default();
        let groups = (0..stretch.groups).filter(|&group| scan.may_pass(&stretch, group));
        let promises = groups.filter_map(|group| match column.bounds(group) {
            None => Some(Promise { place, group, best: None }),
            Some(bounds) => {
                let best = Some(best_of(&bounds, texts, direction)?);
                Some(Promise { place, group, best })
            }
        });
        // Opening a stretch takes about as long as decoding so many values.
        *done += 4096;
        Ok(promises.collect())
    };
    let all = scan.resources.deal(places.len(), || 0, step, |done| *done)?;
    Ok(all.into_iter().flatten().collect())
}

/// The best key within bounds; `None` where there is none.
fn best_of(bounds: &GroupBounds, texts: &[Arc<str>], direction: Direction) -> Option<Key> {
    let pick = |min: i64, max: i64| Key::Number(if direction.largest { max } else { min });
    match bounds.values {
        Bounds::Empty => None,
        Bounds::Integers(min, max) => Some(pick(min, max)),
        Bounds::Floats(range, _) => range.map(|(min, max)| pick(number(min), number(max))),
        Bounds::Booleans(no, yes) => Some(pick(i64::from(!no), i64::from(yes))),
        Bounds::Texts(min, max) => {
            let among = texts.get(min as usize..=max as usize)?.iter().cloned().map(Key::Text);
            among.min_by(|one, other| direction.compare(one, other))
        }
    }
}

/// A float that is no NaN, ordered; -0.0 as 0.0.
fn number(value: f64) -> i64 {
    ordered(value + 0.0)
}

/// The key of a row; `None` where it has none.
fn key(data: &EventData, row: u32) -> Option<Key> {
    let at = row as usize;
    if !data.is_present(at) {
        return None;
    }
    match &data.values {
        EventVector::Integer(values) => values.get(at).copied().map(Key::Number),
        EventVector::Float(values) => {
            values.get(at).filter(|value| !value.is_nan()).map(|&value| Key::Number(number(value)))
        }
        EventVector::Boolean(bits) => Some(Key::Number(i64::from(bits.get(at)))),
        EventVector::Text { .. } => data.text(at).map(|text| Key::Text(Arc::clone(text))),
    }
}

/// The rows of each group that may be among the first: at most as many as are wanted, none worse than
/// `worst`.
fn candidates(
    scan: &Scan<'_>,
    field: Field,
    direction: Direction,
    groups: &[Promise],
    worst: Option<&Key>,
) -> Result<Vec<(Vec<Row>, EventEvidence)>> {
    let step = |decoded: &mut u64, number: usize| {
        let mut evidence = EventEvidence::default();
        let Some(promise) = groups.get(number) else { return Ok((Vec::new(), evidence)) };
        let mut stretch = scan.stretch(promise.place)?;
        let rows = of_group(scan, field, direction, promise, &mut stretch, worst, &mut evidence)?;
        *decoded += evidence.values_decoded;
        Ok((rows, evidence))
    };
    scan.resources.deal(groups.len(), || 0, step, |decoded| *decoded)
}

fn of_group<'a>(
    scan: &Scan<'a>,
    field: Field,
    direction: Direction,
    &Promise { place, group, .. }: &Promise,
    stretch: &mut Stretch<'a>,
    worst: Option<&Key>,
    evidence: &mut EventEvidence,
) -> Result<Vec<Row>> {
    let wanted = scan.select(stretch, group, evidence)?;
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let data = scan.read(stretch, group, field, &wanted, evidence)?;
    let beaten =
        |key: &Key| worst.is_some_and(|worst| direction.compare(worst, key) == Ordering::Less);
    let keys = (0..).zip(&wanted).filter_map(|(at, &row)| Some((key(&data, at)?, row)));
    let mut keys: Vec<(Key, u32)> = keys.filter(|(key, _)| !beaten(key)).collect();
    if keys.len() > scan.limit {
        // Of equal keys within a group, the earlier row is the earlier in time.
        let order = |one: &(Key, u32), other: &(Key, u32)| {
            direction.compare(&one.0, &other.0).then(one.1.cmp(&other.1))
        };
        keys.select_nth_unstable_by(scan.limit, order);
        keys.truncate(scan.limit);
    }
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    scan.meter.reserve((keys.len() * size_of::<Row>()) as u64)?;
    let mut times = Vec::new();
    scan.read_times(stretch, group, &mut times, evidence)?;
    let rows = keys.into_iter().filter_map(|(key, row)| {
        let time = times.get(row as usize).copied()?;
        Some(Row { key, time, place, group, row })
    });
    Ok(rows.collect())
}

/// The projected columns of the rows, in their order.
fn materialize(scan: &Scan<'_>, rows: &[Row], evidence: &mut EventEvidence) -> Result<EventRows> {
    let mut groups: BTreeMap<(Place, u32), Vec<u32>> = BTreeMap::new();
    for row in rows {
        groups.entry((row.place, row.group)).or_default().push(row.row);
    }
    groups.values_mut().for_each(|rows| rows.sort_unstable());
    let groups: Vec<((Place, u32), Vec<u32>)> = groups.into_iter().collect();
    let step = |decoded: &mut u64, number: usize| {
        let mut evidence = EventEvidence::default();
        let Some(((place, group), wanted)) = groups.get(number) else {
            return Ok((EventRows::default(), evidence));
        };
        let mut stretch = scan.stretch(*place)?;
        let rows = scan.materialize(&mut stretch, *group, wanted, &mut evidence)?;
        scan.meter.reserve(rows.memory_bytes() as u64)?;
        *decoded += evidence.values_decoded;
        Ok((rows, evidence))
    };
    let read = scan.resources.deal(groups.len(), || 0, step, |decoded| *decoded)?;
    let mut built = EventBuilder::new(scan.kinds());
    let mut at: BTreeMap<(Place, u32, u32), u32> = BTreeMap::new();
    for (((place, group), wanted), (found, read)) in groups.iter().zip(&read) {
        evidence.add(read);
        for (row, number) in wanted.iter().zip(built.rows().len() as u32..) {
            at.insert((*place, *group, *row), number);
        }
        built.append(found, 0..found.len());
    }
    let order: Vec<u32> =
        rows.iter().filter_map(|row| at.get(&(row.place, row.group, row.row)).copied()).collect();
    Ok(built.take().gather(&order))
}
