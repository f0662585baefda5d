//! The parts that are merged, seen as one: all their series in one table, their segments at hand.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::index::Index;
use crate::model::{Series, SeriesId};
use crate::part::{Layout, Part};
use crate::segment::{Mask, Segment};
use crate::time::TimeRange;

/// Segments kept at hand beside those that a batch holds, bytes in memory.
const POOL_BYTES_MAX: usize = 32 << 20;

/// Parts of one layout and tier.
pub(super) struct Inputs<'a> {
    /// Ascending by rank: the later in order wins.
    pub(super) parts: Vec<&'a Part>,
    /// The series of all of them, ascending. A *place* is an index into it.
    pub(super) table: Vec<(Arc<Series>, SeriesId)>,
    /// By part, then by position in its series table: the place.
    places: Vec<Vec<u32>>,
    masks: &'a [Mask],
    /// The distinct sets of masks that a series is in, each by index into the masks, ascending.
    /// The first is empty.
    mask_sets: Vec<Vec<usize>>,
    /// By place: index into `mask_sets`.
    mask_set_of: Vec<u32>,
}

impl<'a> Inputs<'a> {
    pub(super) fn new(
        parts: &'a [Arc<Part>],
        layout: Layout,
        masks: &'a [Mask],
        index: &Index,
    ) -> Result<Self> {
        let mut parts: Vec<&Part> = parts.iter().map(|part| &**part).collect();
        parts.sort_by_key(|part| (part.meta().rank, part.meta().tombstones, part.meta().id));
        let tier = parts.first().map(|part| part.meta().tier);
        let alike = |part: &&&Part| part.meta().layout == layout && Some(part.meta().tier) == tier;
        if let Some(stranger) = parts.iter().find(|part| !alike(part)) {
            let reason = format!("part {} is of another layout or tier", stranger.meta().id);
            return Err(Error::InvalidArgument { what: "parts to merge", reason });
        }
        let table = series_table(&parts, index)?;
        let mut place_of: Vec<(SeriesId, u32)> =
            (0..).zip(&table).map(|(place, &(_, id))| (id, place)).collect();
        place_of.sort_unstable();
        let place = |id: &SeriesId| {
            let at = place_of.binary_search_by_key(id, |&(id, _)| id).unwrap_or_default();
            place_of.get(at).map_or(0, |&(_, place)| place)
        };
        let places =
            parts.iter().map(|part| part.series_ids().iter().map(place).collect()).collect();
        let (mask_sets, mask_set_of) = mask_sets(&table, masks);
        Ok(Self { parts, table, places, masks, mask_sets, mask_set_of })
    }

    /// The place of a part's series.
    pub(super) fn place(&self, part: u32, position: u32) -> Option<u32> {
        self.places.get(part as usize)?.get(position as usize).copied()
    }

    /// Place, part and position in the part's table of every series of every part, ascending.
    pub(super) fn holders(&self) -> Vec<(u32, u32, u32)> {
        let parts = (0..).zip(&self.places);
        let mut holders: Vec<(u32, u32, u32)> = parts
            .flat_map(|(part, places)| {
                (0..).zip(places).map(move |(position, &place)| (place, part, position))
            })
            .collect();
        holders.sort_unstable();
        holders
    }

    /// Which set of masks a series is in: series of equal sets lose the same stretches of time.
    pub(super) fn mask_set(&self, place: u32) -> u32 {
        self.mask_set_of.get(place as usize).copied().unwrap_or_default()
    }

    /// What a set of masks takes from a part's series.
    pub(super) fn deleted(&self, mask_set: u32, part: u32) -> impl Iterator<Item = TimeRange> {
        let meta = self.parts.get(part as usize).map(|part| part.meta());
        let set = self.mask_sets.get(mask_set as usize).map(Vec::as_slice).unwrap_or_default();
        let masks = set.iter().filter_map(|&mask| self.masks.get(mask));
        masks
            .filter(move |mask| meta.is_some_and(|meta| mask.affects(meta.rank, meta.tombstones)))
            .map(|mask| mask.range)
    }

    /// The highest rank; 0 where there are no parts.
    pub(super) fn rank(&self) -> u64 {
        self.parts.last().map_or(0, |part| part.meta().rank)
    }

    /// The series at these places of the table.
    pub(super) fn series_at(&self, places: &[u32]) -> Vec<Arc<Series>> {
        let named = places.iter().filter_map(|&place| self.table.get(place as usize));
        named.map(|(series, _)| Arc::clone(series)).collect()
    }
}

/// All series of the parts, ascending.
fn series_table(parts: &[&Part], index: &Index) -> Result<Vec<(Arc<Series>, SeriesId)>> {
    let mut ids: Vec<SeriesId> = parts.iter().flat_map(|part| part.series_ids()).copied().collect();
    ids.sort_unstable();
    ids.dedup();
    let named = ids.into_iter().map(|id| match index.series(id) {
        Some(series) => Ok((series, id)),
        None => {
            let reason = format!("series {} is not in the index", id.0);
            Err(Error::InvalidArgument { what: "parts to merge", reason })
        }
    });
    let mut table = named.collect::<Result<Vec<_>>>()?;
    table.sort_unstable();
    Ok(table)
}

fn mask_sets(table: &[(Arc<Series>, SeriesId)], masks: &[Mask]) -> (Vec<Vec<usize>>, Vec<u32>) {
    let mut sets = vec![Vec::new()];
    let mut known = HashMap::from([(Vec::new(), 0)]);
    let of = table.iter().map(|&(_, id)| {
        let holds = |(at, mask): (usize, &Mask)| mask.series.contains(id.0).then_some(at);
        let set: Vec<usize> = masks.iter().enumerate().filter_map(holds).collect();
        *known.entry(set).or_insert_with_key(|set| {
            sets.push(set.clone());
            sets.len() as u32 - 1
        })
    });
    let of = of.collect();
    (sets, of)
}

/// Segments that were read last. Those who still use one that is let go hold it themselves.
#[derive(Default)]
pub(super) struct Pool {
    segments: HashMap<(u32, u32), Arc<Segment>>,
    bytes: usize,
}

impl Pool {
    /// A segment of a part, by its number.
    pub(super) fn segment(
        &mut self,
        inputs: &Inputs<'_>,
        part: u32,
        number: u32,
    ) -> Result<Arc<Segment>> {
        if let Some(segment) = self.segments.get(&(part, number)) {
            return Ok(Arc::clone(segment));
        }
        let Some(source) = inputs.parts.get(part as usize) else {
            let reason = format!("there is no part {part}");
            return Err(Error::InvalidArgument { what: "parts to merge", reason });
        };
        if self.bytes > POOL_BYTES_MAX {
            *self = Self::default();
        }
        let segment = source.segment_once(number)?;
        self.bytes += segment.memory_bytes();
        self.segments.insert((part, number), Arc::clone(&segment));
        Ok(segment)
    }
}
