//! Retention carried out: parts are archived where the host wants that, then leave the catalog.

use std::sync::Arc;

use super::budget::Budget;
use super::{Picture, lock};
use crate::catalog::{Catalog, PartEntry};
use crate::engine::shared::{Counters, Shared, sources_of};
use crate::error::{Error, Result};
use crate::model::{Series, SeriesId};
use crate::options::{Archive, ArchiveEvents, ArchivePart, Keep};
use crate::part::Part;
use crate::retention::{Dropped, due, over_budget};
use crate::segment::EventSource;

/// What retention did.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RetentionReport {
    /// The parts that went, in the order in which they did.
    pub dropped: Vec<Dropped>,
    /// Why some stayed that should have gone: the archive did not take them.
    pub failed: Option<Error>,
    /// By how many bytes the store is above its budget, though nothing more can be dropped. Writes
    /// are refused while this is not 0.
    pub short_bytes: u64,
}

impl Shared {
    /// Drops what is too old or beyond its allowance, then what does not fit.
    ///
    /// # Errors
    /// A failure to save the catalog, which latches the engine.
    pub(super) fn enforce_retention(&self) -> Result<RetentionReport> {
        let _one_at_a_time = lock(&self.upkeep.dropping);
        let mut report = RetentionReport::default();
        if !self.keeps_all() {
            let due = self.due(&self.picture_of_all());
            self.drop_parts(due, false, &mut report)?;
        }
        self.drop_excess(report)
    }

    /// Drops what was found to be due.
    ///
    /// # Errors
    /// As [`enforce_retention`](Self::enforce_retention).
    pub(super) fn drop_due(&self, due: Vec<Dropped>) -> Result<RetentionReport> {
        let _one_at_a_time = lock(&self.upkeep.dropping);
        let mut report = RetentionReport::default();
        self.drop_parts(due, false, &mut report)?;
        Ok(report)
    }

    /// Drops what does not fit, now that a freeze is about to write, or at any other time.
    ///
    /// # Errors
    /// As [`enforce_retention`](Self::enforce_retention).
    pub(in crate::engine) fn enforce_budget(&self) -> Result<RetentionReport> {
        if self.options.policy.bytes_max.is_none() {
            return Ok(RetentionReport::default());
        }
        let _one_at_a_time = lock(&self.upkeep.dropping);
        self.drop_excess(RetentionReport::default())
    }

    /// What would go now.
    pub(super) fn plan_retention(&self) -> Vec<Dropped> {
        let picture = self.picture_of_all();
        let mut dropped = self.due(&picture);
        if let Some(budget) = Budget::of(&self.options) {
            let stays = |id: u64| dropped.iter().all(|gone| gone.id != id);
            let mut parts = picture.parts;
            parts.retain(|part| stays(part.entry.id));
            let other = self.other_bytes(&picture.catalog);
            dropped.extend(over_budget(&parts, budget.data_bytes, other).dropped);
        }
        dropped
    }

    /// What the policy keeps no longer, for its age or its allowance.
    pub(super) fn due(&self, picture: &Picture) -> Vec<Dropped> {
        due(&picture.parts, &self.options.policy, picture.frontier)
    }

    /// Whether nothing is ever due: then no picture is needed to know.
    pub(super) fn keeps_all(&self) -> bool {
        let policy = &self.options.policy;
        let tables = policy.tables.iter().map(|rule| &rule.keep);
        let mut keeps =
            policy.rules.iter().map(|rule| &rule.keep).chain(tables).chain([&policy.keep]);
        keeps.all(|keep| *keep == Keep::FOREVER)
    }

    /// Drops what is above the budget, adding to `report`; notes whether writes must be refused.
    fn drop_excess(&self, mut report: RetentionReport) -> Result<RetentionReport> {
        let Some(budget) = Budget::of(&self.options) else { return Ok(report) };
        let picture = self.picture_of_all();
        let other = self.other_bytes(&picture.catalog);
        let drops = over_budget(&picture.parts, budget.data_bytes, other);
        let forced = self.options.archive.as_ref().is_none_or(|a| a.budget_drops_unarchived);
        self.drop_parts(drops.dropped, forced, &mut report)?;
        report.short_bytes = self.refuse_over_budget(&budget);
        Ok(report)
    }

    /// Archives the parts in turn, then drops them in one edit. Where the archive does not take
    /// one, that one and those behind it stay, unless they are `forced` out: what overrides a part
    /// never goes before it.
    fn drop_parts(
        &self,
        due: Vec<Dropped>,
        forced: bool,
        report: &mut RetentionReport,
    ) -> Result<()> {
        let mut going = Vec::with_capacity(due.len());
        for dropped in due {
            let archived = match &self.options.archive {
                Some(archive) => self.archive(archive, dropped.id),
                None => Ok(()),
            };
            if let Err(error) = archived {
                self.upkeep.note(&error);
                report.failed = Some(error);
                if !forced {
                    break;
                }
            }
            going.push(dropped);
        }
        if going.is_empty() {
            return Ok(());
        }
        let remove = |catalog: &Catalog| {
            // Compaction may have replaced some meanwhile: what it wrote goes the next time.
            going.retain(|dropped| catalog.part(dropped.id).is_some());
            let ids: Vec<u64> = going.iter().map(|dropped| dropped.id).collect();
            catalog.with_removed(&ids)
        };
        self.edit(Vec::new(), remove, |_| Counters::add(&self.counters.drops, 1))?;
        going.iter().for_each(|dropped| self.counters.add_dropped(dropped));
        report.dropped.append(&mut going);
        Ok(())
    }

    fn archive(&self, archive: &Archive, id: u64) -> Result<()> {
        let view = self.live.view();
        let part = view.parts.iter().find(|part| part.meta().id == id);
        let (Some(part), Some(&entry)) = (part, view.catalog.part(id)) else { return Ok(()) };
        self.archive_part(archive, part, entry, view.catalog.store_id)
    }

    /// Has the archive forget parts that are live and about to be replaced. Whoever asks holds off
    /// retention until they are.
    ///
    /// # Errors
    /// The archive's own.
    pub(super) fn withdraw(&self, ids: &[u64]) -> Result<()> {
        let Some(archive) = &self.options.archive else { return Ok(()) };
        let view = self.live.view();
        let replaced = view.parts.iter().filter(|part| ids.contains(&part.meta().id));
        let live: Vec<_> =
            replaced.filter_map(|part| Some((part, view.catalog.part(part.meta().id)?))).collect();
        // One that is not live was dropped: what the archive has of it is all there is.
        if live.len() < ids.len() {
            return Ok(());
        }
        live.into_iter().try_for_each(|(part, entry)| {
            let table = part.event_schema().map(|schema| schema.table());
            archive.archiver.withdraw(view.catalog.store_id, entry, table)
        })
    }

    fn archive_part(
        &self,
        archive: &Archive,
        part: &Arc<Part>,
        entry: PartEntry,
        store_id: u64,
    ) -> Result<()> {
        let ids = part.series_ids().iter();
        let mut series: Vec<(SeriesId, Arc<Series>)> =
            ids.filter_map(|&id| Some((id, self.index.series(id)?))).collect();
        series.sort_unstable_by(|a, b| a.1.cmp(&b.1));
        let names: Vec<Arc<Series>> = series.iter().map(|(_, series)| Arc::clone(series)).collect();
        let sources = sources_of(std::slice::from_ref(part), &self.live.read().masks);
        let rows = Arc::clone(part) as Arc<dyn EventSource>;
        let events = part.event_schema().map(|schema| ArchiveEvents { schema, source: &rows });
        archive.archiver.archive(&ArchivePart {
            events,
            store_id,
            entry: &entry,
            series: &series,
            metadata: &self.index.metadata_of(&names),
            sources: &sources,
        })
    }
}
