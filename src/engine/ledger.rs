//! The ledger: the one place that edits the catalog of a running engine.
//!
//! Several threads commit: the committer its frozen heads, the maintenance its merges and drops,
//! a caller its deletes. Each builds its parts without any lock, under ids given here; the edit
//! itself (next catalog, saved, told to the readers) happens under one lock. Of catalogs that
//! readers see, each was on disk before.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use roaring::RoaringBitmap;

use super::shared::{Shared, State};
use crate::catalog::{self, Catalog};
use crate::error::Result;
use crate::index::Index;
use crate::model::Selector;
use crate::part::Part;
use crate::segment::Mask;

/// What edits need beside the catalog itself, which is published with the readers' state.
#[derive(Debug)]
pub(super) struct Ledger {
    editing: Mutex<()>,
    /// Ids are given before parts are built, so that they may be committed in any order.
    next_part: AtomicU64,
}

/// A catalog, and the parts that it names, in its order: they stay on disk while this is held.
#[derive(Debug, Clone)]
pub(crate) struct Pinned {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) parts: Arc<Vec<Arc<Part>>>,
}

impl Ledger {
    pub(super) fn new(catalog: &Catalog) -> Self {
        Self { editing: Mutex::new(()), next_part: AtomicU64::new(catalog.next_part) }
    }

    /// The id of a part that is about to be built.
    pub(super) fn next_part(&self) -> u64 {
        self.next_part.fetch_add(1, Ordering::Relaxed)
    }
}

impl Shared {
    /// Puts another catalog in place: saved first, then published with `added`, the open parts
    /// that it names and the one before did not, and whatever `publish` changes in the same
    /// moment. Parts that it no longer names are retired: each removes its directory when its last
    /// reader leaves.
    ///
    /// # Errors
    /// What `make` refuses, which changes nothing; a failure to save, which latches the engine
    /// read-only.
    pub(super) fn edit(
        &self,
        added: Vec<Arc<Part>>,
        make: impl FnOnce(&Catalog) -> Result<Catalog>,
        publish: impl FnOnce(&mut State),
    ) -> Result<Arc<Catalog>> {
        let editing = self.ledger.editing.lock().unwrap_or_else(PoisonError::into_inner);
        self.health.check_latch()?;
        let current = Arc::clone(&self.live.read().catalog);
        let next = Arc::new(make(&current)?);
        catalog::save(&*self.fs, &self.dir, &next)
            .inspect_err(|error| self.health.latch(error.clone()))?;
        let masks = (next.tombstones != current.tombstones)
            .then(|| resolve(&next, &self.index).map(Arc::new))
            .transpose()?;
        let gone = {
            let mut state = self.live.write();
            let mut all: Vec<Arc<Part>> = state.parts.iter().cloned().chain(added).collect();
            all.sort_unstable_by_key(|part| part.meta().id);
            let (live, gone): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|part| next.part(part.meta().id).is_some());
            state.parts = Arc::new(live);
            state.catalog = Arc::clone(&next);
            if let Some(masks) = masks {
                state.masks = masks;
            }
            publish(&mut state);
            gone
        };
        drop(editing);
        gone.iter().for_each(|part| part.retire());
        Ok(next)
    }
}

/// What the catalog's tombstones mask for readers. Series that the index learns later hold no
/// sample that was written before a tombstone: all that live parts held were known by then.
///
/// # Errors
/// [`Error::InvalidSelector`](crate::Error::InvalidSelector): the catalog is another build's.
pub(super) fn resolve(catalog: &Catalog, index: &Index) -> Result<Vec<Mask>> {
    let resolved = catalog.tombstones.iter().map(|tombstone| {
        let selector = Selector::parse(&tombstone.selector)?;
        let ids: RoaringBitmap = index.select(&selector).into_iter().map(|id| id.0).collect();
        Ok(Mask { id: tombstone.id, rank: tombstone.rank, range: tombstone.range, series: ids })
    });
    resolved.collect()
}
