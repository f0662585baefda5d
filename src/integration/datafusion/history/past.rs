//! One history out of what is live and what was archived.
//!
//! A part leaves its engine only after it is in the archive, and what the archive has of a part goes
//! before compaction makes others of it. So the engine's view is taken first and the archive's files
//! are looked up then: each part is in one of the two or in both, and of those in both the live one is
//! read. Looked up the other way round, a part that is archived and dropped in between would be in
//! neither. What was merged and archived since the view was taken is in the archive under a name that
//! the view does not know: a second view, after the files, tells of it.
//!
//! Read day by day, as the archive's directories are: no more than the files of one day are held.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::error::{DataFusionError, Result as PlanResult};

use super::external;
use crate::engine::{Engine, PinnedView};
use crate::error::{Error, Result};
use crate::integration::parquet::ParquetArchive;
use crate::integration::parquet::read::{
    ArchiveReader, ArchivedEvents, ArchivedSamples, Day, Found, PartName, SeriesIds, Wanted,
};
use crate::model::{EventRows, EventSchema, METRIC_NAME_LABEL, MetricKind, Selector, Series};
use crate::query::{self, EventRequest, EventSpan, Limits, Resources, SampleRequest};
use crate::segment::{ChunkSource, EventSource, Sources};
use crate::time::{TimeRange, Timestamp};

/// See the module.
#[derive(Debug)]
pub(super) struct Past {
    engine: Option<Arc<Engine>>,
    archive: Option<ArchiveReader>,
}

/// What is known of a scan before it reads.
#[derive(Debug)]
pub(super) struct Beforehand<T> {
    /// Of what it will find; `None` where it is nothing.
    pub(super) held: Option<T>,
    /// Archived files that it looks into; `None` without an archive.
    pub(super) archived_files: Option<usize>,
}

impl Past {
    pub(super) fn new(engine: Option<Arc<Engine>>, archive: Option<&ParquetArchive>) -> Self {
        Self { engine, archive: archive.map(ArchiveReader::new) }
    }

    /// Does what may read the archive on a thread that may wait, where there is one.
    pub(super) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> PlanResult<T> {
        let runtime = tokio::runtime::Handle::try_current();
        let (Some(_), Ok(runtime)) = (&self.archive, runtime) else {
            return read(self).map_err(external);
        };
        let past = Arc::clone(self);
        let read = runtime.spawn_blocking(move || read(&past)).await;
        read.map_err(|error| DataFusionError::External(Box::new(error)))?.map_err(external)
    }

    /// # Errors
    /// Where the archive is not there.
    pub(super) fn check_archive(&self) -> Result<()> {
        let none = || Error::InvalidArgument {
            what: "history",
            reason: "neither an engine nor an archive is given".to_owned(),
        };
        self.archive.as_ref().ok_or_else(none)?.check()
    }

    /// What is live, to be taken before the archive is looked into.
    fn live(&self) -> Option<PinnedView> {
        self.engine.as_ref().map(|engine| engine.live())
    }

    fn resources(&self) -> Resources<'_> {
        self.engine.as_ref().map_or_else(Resources::default, |engine| engine.query_resources())
    }

    /// A table of events: the columns that are known of it, live or archived; `None` where there is
    /// none.
    ///
    /// # Errors
    /// [`Error::SchemaConflict`] where the two differ; the archive's own.
    pub(super) fn event_schema(&self, table: &str) -> Result<Option<EventSchema>> {
        let view = self.live();
        let live = self.engine.as_ref().and_then(|engine| engine.event_schema(table));
        let live = live.map(Arc::unwrap_or_clone);
        let Some(archive) = &self.archive else { return Ok(live) };
        let archived = archive.event_schema(table, &|name| is_archived(view.as_ref(), name))?;
        match (live, archived) {
            (Some(live), Some(archived)) => united(&live, &archived).map(Some),
            (live, archived) => Ok(live.or(archived)),
        }
    }

    /// The names of all tables.
    ///
    /// # Errors
    /// The archive's own.
    pub(super) fn tables(&self) -> Result<BTreeSet<String>> {
        let view = self.live();
        let mut names = BTreeSet::new();
        if let Some(engine) = &self.engine {
            names.extend(engine.event_tables().iter().map(|table| table.table().to_owned()));
            let metrics = engine.label_values(METRIC_NAME_LABEL, &Selector::new(Vec::new())?);
            names.extend(metrics.into_iter().filter(|metric| self.may_have_samples(metric)));
        }
        if let Some(archive) = &self.archive {
            let wanted = |name: &PartName| is_archived(view.as_ref(), name);
            names.extend(archive.tables(&wanted)?);
            names.append(&mut archive.metrics(&wanted)?);
        }
        Ok(names)
    }

    /// Distributions hold none.
    fn may_have_samples(&self, metric: &str) -> bool {
        let known = self.engine.as_ref().and_then(|engine| engine.metadata(metric));
        known.is_none_or(|metadata| metadata.kind != MetricKind::Distribution)
    }

    /// The labels of a metric, ascending; `None` where there is none that has samples.
    ///
    /// # Errors
    /// The archive's own.
    pub(super) fn labels(&self, metric: &str) -> Result<Option<Vec<String>>> {
        // What is no metric's name is no table's either.
        let Ok(selector) = Selector::metric(metric) else { return Ok(None) };
        let view = self.live();
        let live = self.engine.as_ref().map(|engine| engine.label_names(&selector));
        let live = live.filter(|live| !live.is_empty() && self.may_have_samples(metric));
        let archived = match &self.archive {
            Some(archive) => archive.labels(metric, &|name| is_archived(view.as_ref(), name))?,
            None => None,
        };
        if live.is_none() && archived.is_none() {
            return Ok(None);
        }
        let mut all: BTreeSet<String> = live.into_iter().flatten().collect();
        all.extend(archived.into_iter().flatten());
        all.remove(METRIC_NAME_LABEL);
        Ok(Some(all.into_iter().collect()))
    }

    /// What is known of a table's rows in a range without reading one.
    ///
    /// # Errors
    /// The archive's own.
    pub(super) fn event_span(
        &self,
        table: &EventSchema,
        range: TimeRange,
    ) -> Result<Beforehand<EventSpan>> {
        let (view, days) = self.event_days(table.table(), range)?;
        let mut sources = Vec::new();
        for day in &days {
            self.add_archived_events(table, &day.files, &mut sources)?;
        }
        let archived_files = self.archive.as_ref().map(|_| sources.len());
        sources.append(&mut self.live_events(view.as_ref(), table.table()));
        Ok(Beforehand { held: query::event_span(&sources, range), archived_files })
    }

    /// Hands the rows that pass to `visit`, ascending by time.
    ///
    /// # Errors
    /// As [`query::for_each_event_group`]; the archive's own.
    pub(super) fn for_each_event_group(
        &self,
        request: &EventRequest,
        table: &EventSchema,
        mut visit: impl FnMut(EventRows) -> Result<()>,
    ) -> Result<()> {
        let (view, days) = self.event_days(&request.table, request.range)?;
        let live = self.live_events(view.as_ref(), &request.table);
        let mut left = request.clone();
        for (range, files) in stretches(request.range, &days) {
            let mut sources = Vec::new();
            self.add_archived_events(table, files, &mut sources)?;
            sources.extend(live.iter().cloned());
            left.range = range;
            let mut rows = 0;
            let count = |group: EventRows| {
                rows += group.len() as u64;
                visit(group)
            };
            let read =
                query::for_each_event_group(&left, table, &sources, self.resources(), count)?;
            left.limits.samples_max = left.limits.samples_max.saturating_sub(read.values_decoded);
            left.limit = left.limit.map(|limit| limit.saturating_sub(rows));
            if left.limit == Some(0) {
                break;
            }
        }
        Ok(())
    }

    /// What is live, and the archived files that are not, as they were at one moment.
    fn settled(
        &self,
        list: impl Fn(&ArchiveReader, Wanted<'_>) -> Result<Vec<Day>>,
    ) -> Result<(Option<PinnedView>, Vec<Day>)> {
        let drops = || self.engine.as_ref().map(|engine| engine.drops());
        loop {
            let before = drops();
            let view = self.live();
            let Some(archive) = &self.archive else { return Ok((view, Vec::new())) };
            let mut days = list(archive, &|name| is_archived(view.as_ref(), name))?;
            let after = self.live();
            // Drops are rare, and files are listed soon.
            if drops() != before {
                continue;
            }
            for day in &mut days {
                day.files.retain(|file| is_archived(after.as_ref(), &file.name));
            }
            days.retain(|day| !day.files.is_empty());
            return Ok((view, days));
        }
    }

    fn event_days(&self, table: &str, range: TimeRange) -> Result<(Option<PinnedView>, Vec<Day>)> {
        self.settled(|archive, wanted| archive.event_days(table, range, wanted))
    }

    fn live_events(&self, view: Option<&PinnedView>, table: &str) -> Vec<Arc<dyn EventSource>> {
        let both = self.engine.as_ref().zip(view);
        both.map_or_else(Vec::new, |(engine, view)| engine.event_sources_in(view, table))
    }

    fn add_archived_events(
        &self,
        table: &EventSchema,
        files: &[Found],
        sources: &mut Vec<Arc<dyn EventSource>>,
    ) -> Result<()> {
        let Some(archive) = &self.archive else { return Ok(()) };
        for found in files {
            let file = archive.event_file(table.table(), found)?;
            sources.push(Arc::new(ArchivedEvents::new(file, table)?));
        }
        Ok(())
    }

    /// What samples about a range lie in, both ends inclusive, of whichever metrics; what is live
    /// counts whole.
    ///
    /// # Errors
    /// Those of the two.
    pub(super) fn sample_bounds(
        &self,
        range: TimeRange,
    ) -> Result<Beforehand<(Timestamp, Timestamp)>> {
        let live = self.engine.as_ref().map(|engine| engine.time_bounds());
        let live = live.transpose()?.flatten();
        if self.archive.is_none() {
            return Ok(Beforehand { held: live, archived_files: None });
        }
        let (_, days) = self.settled(|archive, wanted| archive.sample_days(range, wanted))?;
        let archived_files = Some(days.iter().map(|day| day.files.len()).sum());
        let archived = days.first().zip(days.last()).map(|(first, last)| {
            (first.range.start, Timestamp(last.range.end.0.saturating_sub(1)))
        });
        let all = live.into_iter().chain(archived);
        let held = all.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)));
        Ok(Beforehand { held, archived_files })
    }

    /// Hands the samples of a metric's selected series to `visit`, run by run: a stretch of days after
    /// another, in each by series, and of each by time.
    ///
    /// # Errors
    /// As [`query::for_each_run`]; the archive's own.
    pub(super) fn for_each_run(
        &self,
        metric: &str,
        selector: &Selector,
        request: &SampleRequest,
        mut visit: impl FnMut(&Arc<Series>, &[i64], &[f64]) -> Result<()>,
    ) -> Result<()> {
        let known = match &self.engine {
            Some(engine) => engine.series_within(selector, request.costs())?,
            None => Vec::new(),
        };
        let (view, days) =
            self.settled(|archive, wanted| archive.sample_days(request.range, wanted))?;
        let live = view.as_ref().map_or_else(Sources::default, PinnedView::sources);
        let mut left = request.clone();
        for (range, files) in stretches(request.range, &days) {
            query::check(left.deadline, &left.cancel)?;
            let mut ids = SeriesIds::new(known.iter().cloned());
            let mut sources = live.clone();
            let mut archived: Vec<Arc<dyn ChunkSource>> = Vec::new();
            for found in files {
                let Some(archive) = &self.archive else { break };
                let file = archive.sample_file(found)?;
                let wanted = (metric, selector, range);
                let samples = ArchivedSamples::new(file, found.name.rank, wanted, &mut ids)?;
                archived.push(Arc::new(samples));
            }
            // Of two of one rank the later one wins: the file whose name sorts last.
            archived.append(&mut sources.samples);
            sources.samples = archived;
            left.range = range;
            let mut rows = 0;
            query::for_each_run(&left, &ids.series(), &sources, |series, times, values| {
                rows += times.len() as u64;
                visit(series, times, values)
            })?;
            let Limits { samples_max, .. } = &mut left.limits;
            *samples_max = samples_max.saturating_sub(rows);
        }
        Ok(())
    }
}

/// Whether an archived part is read from the archive: it is not live.
fn is_archived(view: Option<&PinnedView>, name: &PartName) -> bool {
    !view.is_some_and(|view| view.holds(name.store_id, name.part, name.rank))
}

/// A range in stretches, ascending, without gaps: one for each day that there are files of, and the
/// time between.
fn stretches(range: TimeRange, days: &[Day]) -> Vec<(TimeRange, &[Found])> {
    let mut all: Vec<(TimeRange, &[Found])> = Vec::new();
    let mut at = range.start;
    for day in days {
        let (start, end) = (day.range.start.max(at), day.range.end.min(range.end));
        if start < end {
            all.extend((at < start).then(|| (TimeRange::new(at, start), &[][..])));
            all.push((TimeRange::new(start, end), &day.files));
            at = end;
        }
    }
    all.extend((at < range.end).then(|| (TimeRange::new(at, range.end), &[][..])));
    all
}

/// A table as its engine knows it, with the columns that only its archive knows.
fn united(live: &EventSchema, archived: &EventSchema) -> Result<EventSchema> {
    for (known, stored) in live.columns().iter().zip(archived.columns()) {
        if (&known.name, known.kind) != (&stored.name, stored.kind) {
            let (table, column) = (live.table().to_owned(), stored.name.clone());
            return Err(Error::SchemaConflict { table, column, reason: "is archived otherwise" });
        }
    }
    let more = archived.columns().iter().skip(live.columns().len());
    let columns = live.columns().iter().chain(more).cloned().collect();
    EventSchema::new(live.table(), columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_have_no_gaps() {
        let range = |start, end| TimeRange::new(Timestamp(start), Timestamp(end));
        let name = PartName { rank: 1, store_id: 1, part: 1 };
        let day = |start, end| {
            let day = range(start, end);
            Day { range: day, files: vec![Found { name, path: "a".into(), day }] }
        };
        let days = [day(10, 20), day(20, 30), day(50, 60)];
        for (asked, expected) in [
            (
                range(0, 70),
                &[(0, 10, 0), (10, 20, 1), (20, 30, 1), (30, 50, 0), (50, 60, 1), (60, 70, 0)][..],
            ),
            (range(15, 55), &[(15, 20, 1), (20, 30, 1), (30, 50, 0), (50, 55, 1)]),
            (range(30, 40), &[(30, 40, 0)]),
            (range(5, 5), &[]),
        ] {
            let found = stretches(asked, &days);
            let found: Vec<_> = found.iter().map(|(r, f)| (r.start.0, r.end.0, f.len())).collect();
            assert_eq!(found, expected);
        }
    }
}
