//! The seam of the archive: where a part goes before retention drops it.

use std::fmt;
use std::sync::Arc;

use crate::catalog::PartEntry;
use crate::error::Result;
use crate::model::{EventSchema, Metadata, Series, SeriesId};
use crate::segment::{EventSource, Sources};

/// Takes parts that are about to be dropped. Called by one thread at a time, which is that of a
/// freeze, the maintenance thread or the caller of [`Engine::maintain`](crate::Engine::maintain) and
/// [`Engine::enforce_retention`](crate::Engine::enforce_retention).
pub trait Archiver: Send + Sync + fmt::Debug {
    /// Keeps everything that the part holds, durably: the part is dropped when this returns. A
    /// crash in between offers the part again, so the same part (store id and part id) may come
    /// twice.
    ///
    /// # Errors
    /// Whatever kept it from that; the part stays and is offered again.
    fn archive(&self, part: &ArchivePart<'_>) -> Result<()>;

    /// Forgets a part that was offered and is still there, durably: what it holds is about to live on
    /// in parts that compaction made of it, and these are offered in its place. Whatever an archive has
    /// of a part, it has because the part is live or was dropped; else it would hold the same rows
    /// twice under two names. Asked of every part that is merged, most of which were never offered:
    /// an archive that keeps no files by part has nothing to do. `table` is that of a part of events.
    ///
    /// # Errors
    /// Whatever kept it from that; the part is not merged then.
    fn withdraw(&self, store_id: u64, entry: &PartEntry, table: Option<&str>) -> Result<()> {
        let _ = (store_id, entry, table);
        Ok(())
    }
}

/// A part that is about to be dropped, whole.
///
/// A part may hold what a part of the same window and a higher rank replaces; whoever reads several
/// archived parts of one window lets the highest rank win.
#[derive(Clone, Copy)]
pub struct ArchivePart<'a> {
    /// Of the store that it stems from.
    pub store_id: u64,
    /// Id, rank, window, tier, layout, counts.
    pub entry: &'a PartEntry,
    /// Its series, ascending, with their ids in `sources`.
    pub series: &'a [(SeriesId, Arc<Series>)],
    /// What is known of its metrics, ascending by name.
    pub metadata: &'a [(String, Metadata)],
    /// The part alone: one source of samples, or of records, as its layout says; and the deletes
    /// that it still holds samples of, which must not be archived. None of a part of events.
    pub sources: &'a Sources,
    /// The rows of a part of events, which has no series.
    pub events: Option<ArchiveEvents<'a>>,
}

/// The rows of a part of events.
#[derive(Debug, Clone, Copy)]
pub struct ArchiveEvents<'a> {
    /// The table, with the columns that the part has.
    pub schema: &'a EventSchema,
    /// The part.
    pub source: &'a Arc<dyn EventSource>,
}

impl fmt::Debug for ArchivePart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchivePart").field("entry", self.entry).finish_non_exhaustive()
    }
}

/// An archive, and how much it matters.
#[derive(Debug, Clone)]
pub struct Archive {
    /// Where parts go.
    pub archiver: Arc<dyn Archiver>,
    /// Whether the byte budget drops a part that the archive failed to take. If not, writes are
    /// refused once the budget is used up. Retention by age always waits for the archive.
    pub budget_drops_unarchived: bool,
}
