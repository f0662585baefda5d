//! A request resolved against a table, and what is known of a stretch before rows are read.

use std::sync::Arc;

use super::predicate::{Test, Verdict};
use super::request::{EventEvidence, EventOrder, EventRequest};
use crate::error::{DecodeError, Error, Result};
use crate::model::{Bitmap, EventColumn, EventData, EventKind, EventRows, EventSchema};
use crate::query::meter::Meter;
use crate::query::resources::Resources;
use crate::segment::{EventSource, StoredColumn, TIME_FIELD};
use crate::time::TimeRange;

/// A column: its number among those of a stretch, and its kind.
pub(super) type Field = (u32, EventKind);

/// A request resolved.
pub(super) struct Scan<'a> {
    pub(super) sources: &'a [Arc<dyn EventSource>],
    pub(super) range: TimeRange,
    tests: Vec<(Field, Test)>,
    pub(super) projection: Vec<Field>,
    pub(super) columns: Vec<EventColumn>,
    pub(super) order: Option<(Field, bool)>,
    pub(super) limit: usize,
    pub(super) meter: Meter<'a>,
    pub(super) resources: Resources<'a>,
}

/// A stretch of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// In the order of arrival.
    pub(super) source: usize,
    pub(super) stretch: u32,
}

impl<'a> Scan<'a> {
    /// Resolves a request.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`].
    pub(super) fn new(
        request: &EventRequest,
        schema: &EventSchema,
        sources: &'a [Arc<dyn EventSource>],
        resources: Resources<'a>,
    ) -> Result<Self> {
        let column = |name: &str| {
            let found = schema.position(name).and_then(|at| Some((at, schema.columns().get(at)?)));
            found.ok_or_else(|| {
                let reason = format!("table {} has no column {name:?}", schema.table());
                Error::InvalidArgument { what: "event column", reason }
            })
        };
        let field = |name: &str| column(name).map(|(at, column)| (at as u32 + 1, column.kind));
        let tests = request.predicates.iter().map(|predicate| {
            let (at, column) = column(&predicate.column)?;
            Ok(((at as u32 + 1, column.kind), Test::new(&predicate.test, column)?))
        });
        let names: Vec<&str> = match &request.projection {
            Some(names) => names.iter().map(String::as_str).collect(),
            None => schema.columns().iter().map(|column| column.name.as_str()).collect(),
        };
        let order = match &request.order {
            EventOrder::Time => None,
            EventOrder::Largest(name) => Some((field(name)?, true)),
            EventOrder::Smallest(name) => Some((field(name)?, false)),
        };
        if order.is_some() && request.limit.is_none() {
            let reason = "an order by a column needs a limit".to_owned();
            return Err(Error::InvalidArgument { what: "event request", reason });
        }
        let limit =
            request.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let (limits, deadline, cancel) = (request.limits, request.deadline, &request.cancel);
        Ok(Self {
            sources,
            range: request.range,
            tests: tests.collect::<Result<_>>()?,
            projection: names.iter().map(|name| field(name)).collect::<Result<_>>()?,
            columns: names
                .iter()
                .map(|name| column(name).map(|(_, column)| column.clone()))
                .collect::<Result<_>>()?,
            order,
            limit,
            meter: Meter::new(limits, deadline, cancel, resources.memory, 0)?,
            resources,
        })
    }

    pub(super) fn kinds(&self) -> impl Iterator<Item = EventKind> {
        self.projection.iter().map(|&(_, kind)| kind)
    }

    /// The stretches whose time meets the range, in the order of arrival, then time; and how many
    /// groups they have.
    pub(super) fn places(&self) -> (Vec<Place>, u64) {
        let (mut places, mut groups) = (Vec::new(), 0);
        for (source, from) in self.sources.iter().enumerate() {
            for (stretch, known) in (0..).zip(from.stretches()) {
                if known.meets(self.range) {
                    places.push(Place { source, stretch });
                    groups += u64::from(known.groups);
                }
            }
        }
        (places, groups)
    }

    pub(super) fn source(&self, place: Place) -> Result<&'a dyn EventSource> {
        self.sources.get(place.source).map(|source| &**source).ok_or(Error::Closed)
    }

    /// What is known of a stretch: opens the columns that conditions look at.
    ///
    /// # Errors
    /// I/O or corruption.
    pub(super) fn stretch(&self, place: Place) -> Result<Stretch<'a>> {
        let source = self.source(place)?;
        let known = source.stretches().get(place.stretch as usize).copied();
        let known = known.ok_or(Error::Closed)?;
        let mut tests = Vec::with_capacity(self.tests.len());
        for &((field, _), ref test) in &self.tests {
            let column = source.column(place.stretch, field)?;
            let dictionary = column.as_ref().and_then(StoredColumn::dictionary);
            let passing = dictionary.and_then(|dictionary| test.passing(dictionary));
            tests.push(Tested { column, passing });
        }
        Ok(Stretch { place, source, groups: known.groups, times: None, tests })
    }

    /// Whether a group may hold a row that passes.
    pub(super) fn may_pass(&self, stretch: &Stretch<'_>, group: u32) -> bool {
        let tests = self.tests.iter().zip(&stretch.tests);
        tests.into_iter().all(|((_, test), tested)| tested.verdict(test, group) != Verdict::None)
    }

    /// The rows of a group that pass, ascending; decodes no more than it must.
    ///
    /// # Errors
    /// A limit; I/O or corruption.
    pub(super) fn select(
        &self,
        stretch: &mut Stretch<'a>,
        group: u32,
        evidence: &mut EventEvidence,
    ) -> Result<Vec<u32>> {
        self.meter.check()?;
        if !self.may_pass(stretch, group) {
            evidence.groups_skipped += 1;
            return Ok(Vec::new());
        }
        let Some((mut wanted, rows)) = self.within(stretch, group, evidence)? else {
            evidence.groups_skipped += 1;
            return Ok(Vec::new());
        };
        evidence.rows_read += rows;
        for (((field, kind), test), tested) in self.tests.iter().zip(&stretch.tests) {
            if wanted.is_empty() {
                break;
            }
            if tested.verdict(test, group) == Verdict::All {
                continue;
            }
            match &tested.column {
                None => test.retain(&EventData::nulls(*kind, rows as usize), None, &mut wanted),
                Some(column) => {
                    self.count(column, rows, evidence)?;
                    let damaged = |error| stretch.damaged(*field, error);
                    let data = column.read(group).map_err(damaged)?;
                    if data.len() as u64 != rows {
                        let (what, found) = ("rows of a group", data.len() as u64);
                        let expected = "as many as its neighbours have";
                        return Err(damaged(DecodeError::Invalid { what, found, expected }));
                    }
                    test.retain(&data, tested.passing.as_ref(), &mut wanted);
                }
            }
        }
        evidence.rows_matched += wanted.len() as u64;
        Ok(wanted)
    }

    /// The rows of a group within the range, and how many it has; `None` where none are.
    fn within(
        &self,
        stretch: &mut Stretch<'a>,
        group: u32,
        evidence: &mut EventEvidence,
    ) -> Result<Option<(Vec<u32>, u64)>> {
        let times = stretch.times()?;
        if let Some(bounds) = times.bounds(group) {
            let crate::segment::Bounds::Integers(first, last) = bounds.values else {
                return Ok(None);
            };
            let inside = |time: i64| self.range.contains(crate::Timestamp(time));
            if inside(first) && inside(last) {
                return Ok(Some(((0..bounds.rows).collect(), u64::from(bounds.rows))));
            }
            if !self.range.overlaps(crate::Timestamp(first), crate::Timestamp(last)) {
                return Ok(None);
            }
        }
        let mut all = Vec::new();
        self.read_times(stretch, group, &mut all, evidence)?;
        let start = all.partition_point(|&time| time < self.range.start.0) as u32;
        let end = all.partition_point(|&time| time < self.range.end.0) as u32;
        Ok((start < end).then(|| ((start..end).collect(), all.len() as u64)))
    }

    /// The times of a group.
    ///
    /// # Errors
    /// A limit; I/O or corruption.
    pub(super) fn read_times(
        &self,
        stretch: &mut Stretch<'a>,
        group: u32,
        out: &mut Vec<i64>,
        evidence: &mut EventEvidence,
    ) -> Result<()> {
        let times = stretch.times()?;
        let rows = times.bounds(group).map_or(0, |bounds| bounds.rows);
        self.count(&times, u64::from(rows), evidence)?;
        times.read_times(group, out).map_err(|error| stretch.damaged(TIME_FIELD, error))
    }

    /// Reads a column of a group, of `rows` rows; nulls where there is none.
    ///
    /// # Errors
    /// A limit; I/O or corruption.
    pub(super) fn read(
        &self,
        stretch: &Stretch<'a>,
        group: u32,
        (field, kind): Field,
        wanted: &[u32],
        evidence: &mut EventEvidence,
    ) -> Result<EventData> {
        let Some(column) = stretch.source.column(stretch.place.stretch, field)? else {
            return Ok(EventData::nulls(kind, wanted.len()));
        };
        let rows = column.bounds(group).map_or(0, |bounds| u64::from(bounds.rows));
        self.count(&column, rows, evidence)?;
        let data = column.read(group).map_err(|error| stretch.damaged(field, error))?;
        let last = wanted.last().map_or(0, |&row| row as usize);
        if data.kind() != kind || last >= data.len() {
            let (what, found) = ("rows of a column", data.len() as u64);
            let expected = "as many as its neighbours have, of its kind";
            return Err(stretch.damaged(field, DecodeError::Invalid { what, found, expected }));
        }
        // Ascending, so that as many are all.
        Ok(if wanted.len() == data.len() { data.into_owned() } else { data.gather(wanted) })
    }

    /// The projected columns of some rows of a group, ascending.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(super) fn materialize(
        &self,
        stretch: &mut Stretch<'a>,
        group: u32,
        wanted: &[u32],
        evidence: &mut EventEvidence,
    ) -> Result<EventRows> {
        let mut all = Vec::new();
        self.read_times(stretch, group, &mut all, evidence)?;
        let times = if wanted.len() == all.len() {
            all
        } else {
            wanted.iter().filter_map(|&row| all.get(row as usize).copied()).collect()
        };
        let columns = self.projection.iter();
        let columns = columns.map(|&field| self.read(stretch, group, field, wanted, evidence));
        Ok(EventRows { times, columns: columns.collect::<Result<_>>()? })
    }

    fn count(&self, column: &StoredColumn, rows: u64, evidence: &mut EventEvidence) -> Result<()> {
        if column.is_stored() {
            evidence.values_decoded += rows;
            self.meter.decode(u32::try_from(rows).unwrap_or(u32::MAX))?;
        }
        Ok(())
    }
}

/// A stretch whose tested columns are open.
pub(super) struct Stretch<'a> {
    pub(super) place: Place,
    pub(super) source: &'a dyn EventSource,
    pub(super) groups: u32,
    times: Option<StoredColumn>,
    tests: Vec<Tested>,
}

/// A column that a condition looks at; `None` where the rows were written before there was one.
struct Tested {
    column: Option<StoredColumn>,
    /// The texts of its dictionary that pass.
    passing: Option<Bitmap>,
}

impl Tested {
    fn verdict(&self, test: &Test, group: u32) -> Verdict {
        match &self.column {
            None if *test == Test::Presence(false) => Verdict::All,
            None => Verdict::None,
            Some(column) => match column.bounds(group) {
                Some(bounds) => test.verdict(&bounds, self.passing.as_ref()),
                None => Verdict::Some,
            },
        }
    }
}

impl Stretch<'_> {
    pub(super) fn damaged(&self, field: u32, error: DecodeError) -> Error {
        self.source.damaged(self.place.stretch, field, error)
    }

    /// The column of times, opened when it is first wanted.
    fn times(&mut self) -> Result<StoredColumn> {
        if let Some(times) = &self.times {
            return Ok(times.clone());
        }
        let times = self.source.column(self.place.stretch, TIME_FIELD)?;
        let times = times.ok_or_else(|| {
            let (what, expected) = ("times of a stretch", "a column");
            self.damaged(TIME_FIELD, DecodeError::Invalid { what, found: 0, expected })
        })?;
        Ok(self.times.insert(times).clone())
    }
}
