//! Deletes: a tombstone in the catalog, a mask for readers at once; the bytes go when compaction
//! writes the parts again.

use super::Engine;
use super::shared::View;
use crate::error::Result;
use crate::model::{Selector, SeriesId};
use crate::part::{Layout, Part};
use crate::segment::{ChunkSource, Mask};
use crate::time::{TimeRange, Timestamp};

/// What a delete did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeleteReport {
    /// Series that the selector names.
    pub series: u64,
    /// Parts that may hold samples of them in the range; compaction writes them again.
    pub parts: u64,
    /// The tombstone's id; `None` where no part holds anything to delete, and so nothing was done.
    pub tombstone: Option<u64>,
}

impl Engine {
    /// Deletes the samples of the series that the selector names in `range`, in every tier: those
    /// whose append completed before the call; of later ones some may go. When this returns they are
    /// gone for every reader, durably. Their bytes go with compaction.
    ///
    /// Cost: freezes the head, writes the catalog.
    ///
    /// # Errors
    /// As [`freeze`](Self::freeze); a failure to save the catalog.
    pub fn delete(&self, selector: &Selector, range: TimeRange) -> Result<DeleteReport> {
        self.freeze()?;
        let ids = self.shared.index.select(selector);
        let held = |part: &Part| ids.iter().any(|&id| part.position(id).is_some());
        let parts = self.shared.live.read().parts.clone();
        let reaches = |part: &Part| {
            let meta = part.meta();
            // A record speaks for its whole bucket.
            let last = Timestamp(meta.last.0.saturating_add(meta.tier.nanos()));
            range.overlaps(meta.first, last)
        };
        let affected = parts.iter().filter(|part| reaches(part) && held(part)).count() as u64;
        let mut report =
            DeleteReport { series: ids.len() as u64, parts: affected, tombstone: None };
        if affected > 0 && !range.is_empty() {
            let text = selector.to_string();
            let make = |catalog: &crate::catalog::Catalog| Ok(catalog.with_tombstone(range, text));
            let catalog = self.shared.edit(Vec::new(), make, |_| ())?;
            report.tombstone = catalog.tombstones.last().map(|tombstone| tombstone.id);
        }
        Ok(report)
    }
}

/// Whether a mask hides any sample of this source.
fn masks_of<'a>(source: &dyn ChunkSource, series: SeriesId, masks: &'a [Mask]) -> Vec<&'a Mask> {
    let affecting = masks.iter().filter(|mask| {
        mask.affects(source.rank(), source.tombstones()) && mask.series.contains(series.0)
    });
    affecting.collect()
}

/// The time bounds of what a view holds, both inclusive.
///
/// # Errors
/// I/O or corruption, where parts that deletes affect are looked into.
pub(super) fn time_bounds(view: &View) -> Result<Option<(Timestamp, Timestamp)>> {
    let mut bounds: Option<(Timestamp, Timestamp)> = None;
    let mut widen = |first: Timestamp, last: Timestamp| {
        let (from, to) = bounds.unwrap_or((first, last));
        bounds = Some((from.min(first), to.max(last)));
    };
    let raw = |part: &&std::sync::Arc<Part>| {
        part.meta().tier.is_raw() && part.meta().layout != Layout::Events
    };
    for part in view.parts.iter().filter(raw) {
        if let Some((first, last)) = part_bounds(part, &view.masks)? {
            widen(first, last);
        }
    }
    for head in view.frozen.iter().chain([&view.head]) {
        if let Some((first, last)) = head.time_bounds() {
            widen(first, last);
        }
    }
    // A record's first sample lies somewhere in its bucket: it says more only where it is older.
    for part in view.parts.iter().filter(|part| !part.meta().tier.is_raw()) {
        let meta = part.meta();
        let first = match bounds {
            Some((first, _)) if meta.tier.floor(first) <= meta.first => first,
            _ => meta.first,
        };
        let (from, to) = bounds.unwrap_or((first, meta.last));
        bounds = Some((from.min(first), to.max(meta.last)));
    }
    Ok(bounds)
}

/// The bounds of what deletes have left of a raw part; `None` where that is nothing.
fn part_bounds(part: &Part, masks: &[Mask]) -> Result<Option<(Timestamp, Timestamp)>> {
    let meta = part.meta();
    let cuts = |mask: &&Mask| {
        mask.affects(meta.rank, meta.tombstones)
            && (mask.range.contains(meta.first) || mask.range.contains(meta.last))
    };
    if meta.layout != Layout::Samples || !masks.iter().any(|mask| cuts(&mask)) {
        return Ok(Some((meta.first, meta.last)));
    }
    let (mut chunks, mut timestamps) = (Vec::new(), Vec::new());
    let mut bounds: Option<(Timestamp, Timestamp)> = None;
    for &series in part.series_ids() {
        let masks = masks_of(part, series, masks);
        chunks.clear();
        part.chunks(series, TimeRange::ALL, &mut chunks)?;
        for chunk in &chunks {
            let (from, to) = bounds.unwrap_or((Timestamp::MAX, Timestamp::MIN));
            if from <= chunk.first && chunk.last <= to {
                continue;
            }
            part.read_timestamps(chunk, &mut timestamps)?;
            let mut kept = timestamps
                .iter()
                .map(|&t| Timestamp(t))
                .filter(|&t| !masks.iter().any(|mask| mask.range.contains(t)));
            if let Some(first) = kept.next() {
                let last = kept.next_back().unwrap_or(first);
                bounds = Some((from.min(first), to.max(last)));
            }
        }
    }
    Ok(bounds)
}
