//! What is live at one moment, for readers that have more to read beside it: an archive's files.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Engine;
use super::shared::View;
use crate::error::Result;
use crate::model::{Selector, Series, SeriesId};
use crate::query::{CancelToken, Limits, Resources};
use crate::segment::{EventSource, Sources};

/// One view of an engine, which stays as it is while the engine goes on.
///
/// A part leaves an engine only after it is in the archive. So whoever takes the view first and
/// looks into the archive then finds each part in at least one of the two; and who passes over
/// archived parts that the view [holds](Self::holds), in just one. What was merged since the view was
/// taken may be in the archive under another name by then: it is live in a view that is taken next, or
/// there was a [drop](Engine::drops) in between.
#[derive(Debug)]
pub(crate) struct PinnedView(View);

impl PinnedView {
    /// Whether a part of this store, id and rank is among what is live.
    pub(crate) fn holds(&self, store_id: u64, id: u64, rank: u64) -> bool {
        let catalog = &self.0.catalog;
        catalog.store_id == store_id && catalog.part(id).is_some_and(|part| part.rank == rank)
    }

    /// Everything of series.
    pub(crate) fn sources(&self) -> Sources {
        self.0.sources()
    }
}

impl Engine {
    /// What is live now.
    pub(crate) fn live(&self) -> PinnedView {
        PinnedView(self.shared.live.view())
    }

    /// How often retention has dropped parts. Asked before one view and after another: none were
    /// dropped between the two where it is the same number.
    pub(crate) fn drops(&self) -> u64 {
        self.shared.counters.drops.load(Ordering::Acquire)
    }

    /// The rows of a table in a view, in the order of arrival; none of a table that there is none of.
    pub(crate) fn event_sources_in(
        &self,
        PinnedView(view): &PinnedView,
        table: &str,
    ) -> Vec<Arc<dyn EventSource>> {
        let known = self.shared.tables.get(table);
        known.map_or_else(Vec::new, |known| view.event_sources(table, known.number))
    }

    /// The series that the selector names, ascending, within what a query may cost.
    pub(crate) fn series_within(
        &self,
        selector: &Selector,
        costs: (Limits, Option<Instant>, &CancelToken),
    ) -> Result<Vec<(SeriesId, Arc<Series>)>> {
        self.select_within(selector, costs).map(|found| found.to_vec())
    }

    /// The threads and the memory that its queries share.
    pub(crate) fn query_resources(&self) -> Resources<'_> {
        self.resources()
    }
}
