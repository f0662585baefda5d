//! What a store holds, and where its bytes go.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::Engine;
use super::shared::{Shared, View};
use crate::error::Result;
use crate::fs::tree_bytes;
use crate::part::{Layout, PartMeta};
use crate::segment::{ColumnStats, EventSource};
use crate::time::Tier;

/// What a store holds and how large it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Series in the index.
    pub series: u64,
    /// Raw samples in parts and heads; those that a later write replaced, or a delete, count until
    /// compaction.
    pub samples: u64,
    /// Samples in the heads, not yet in a part.
    pub head_samples: u64,
    /// Bytes that the active head holds in memory.
    pub head_bytes: u64,
    /// Memory that the index takes, bytes, about.
    pub index_bytes: u64,
    /// Segments of all parts.
    pub segments: u64,
    /// All bytes in the directory.
    pub bytes_on_disk: u64,
    /// Bytes of the log.
    pub log_bytes: u64,
    /// Each part, ascending by id.
    pub parts: Vec<PartStats>,
    /// The columns of all parts together, by kind and encoding.
    pub columns: Vec<ColumnStats>,
    /// The parts of each tier together, ascending; those of events apart.
    pub tiers: Vec<TierStats>,
    /// The tables of events, ascending by name.
    pub events: Vec<EventTableStats>,
    /// Deletes whose bytes are not all gone yet.
    pub tombstones: u64,
    /// Bytes of parts that retention dropped in this run, by cause: `expired`, `covered` (bytes
    /// were short, a coarser tier covered them), `oldest`.
    pub dropped_bytes: Vec<(&'static str, u64)>,
    /// What last kept maintenance, in this run, from reading or archiving a part.
    pub maintenance_error: Option<String>,
}

/// The parts of one tier together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TierStats {
    /// Which tier.
    pub tier: Tier,
    /// Parts.
    pub parts: u64,
    /// Bytes of their directories.
    pub bytes_on_disk: u64,
    /// Samples; of coarser tiers, and of distributions, values of records.
    pub samples: u64,
}

/// One table of events.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventTableStats {
    /// Its name.
    pub table: String,
    /// Its version.
    pub version: u32,
    /// Its columns, the time not counted.
    pub columns: u64,
    /// Rows in parts.
    pub rows: u64,
    /// Rows in the heads, not yet in a part.
    pub head_rows: u64,
    /// Parts.
    pub parts: u64,
    /// Bytes of their directories.
    pub bytes_on_disk: u64,
}

/// One part.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartStats {
    /// What its own meta says: window, time bounds, counts, segments.
    pub meta: PartMeta,
    /// Bytes of its directory.
    pub bytes_on_disk: u64,
    /// Its columns, by kind and encoding.
    pub columns: Vec<ColumnStats>,
}

impl Engine {
    /// How many series the store has. Cost: a load.
    #[must_use]
    pub fn series_count(&self) -> u64 {
        self.shared.index.len() as u64
    }

    /// Bytes of all files in the store's directory. Cost: lists it, and reads nothing.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) where a directory cannot be listed.
    pub fn bytes_on_disk(&self) -> Result<u64> {
        tree_bytes(&*self.shared.fs, &self.shared.dir)
    }
}

pub(super) fn collect(shared: &Shared) -> Result<Stats> {
    let view = shared.live.view();
    let parts: Vec<PartStats> = shared.pool.install(|| {
        let parts = view.parts.par_iter();
        let stats = parts.map(|part| {
            Ok(PartStats {
                meta: part.meta().clone(),
                bytes_on_disk: tree_bytes(&*shared.fs, part.dir())?,
                columns: part.column_stats()?,
            })
        });
        stats.collect::<Result<_>>()
    })?;
    let head_samples: u64 = view.frozen.iter().chain([&view.head]).map(|head| head.samples()).sum();
    let log_dir = shared.log_dir();
    let log_bytes = match shared.fs.file_bytes(&log_dir)? {
        Some(_) => tree_bytes(&*shared.fs, &log_dir)?,
        None => 0,
    };
    Ok(Stats {
        series: shared.index.len() as u64,
        samples: head_samples + parts.iter().map(PartStats::raw_samples).sum::<u64>(),
        head_samples,
        head_bytes: shared.live.read().head.bytes() as u64,
        index_bytes: shared.index.memory_bytes() as u64,
        segments: parts.iter().map(|part| part.meta.segments.len() as u64).sum(),
        bytes_on_disk: tree_bytes(&*shared.fs, &shared.dir)?,
        log_bytes,
        columns: merged(parts.iter().flat_map(|part| &part.columns)),
        tiers: tiers(&parts),
        events: event_tables(shared, &view, &parts),
        tombstones: view.catalog.tombstones.len() as u64,
        dropped_bytes: shared.counters.dropped_bytes().to_vec(),
        maintenance_error: shared.upkeep.last_error().map(|error| error.to_string()),
        parts,
    })
}

impl PartStats {
    fn raw_samples(&self) -> u64 {
        if self.meta.layout == Layout::Samples { self.meta.samples } else { 0 }
    }
}

fn tiers(parts: &[PartStats]) -> Vec<TierStats> {
    let mut tiers: BTreeMap<Tier, TierStats> = BTreeMap::new();
    for part in parts.iter().filter(|part| part.meta.layout != Layout::Events) {
        let tier = part.meta.tier;
        let empty = TierStats { tier, parts: 0, bytes_on_disk: 0, samples: 0 };
        let sum = tiers.entry(tier).or_insert(empty);
        sum.parts += 1;
        sum.bytes_on_disk += part.bytes_on_disk;
        sum.samples += part.meta.samples;
    }
    tiers.into_values().collect()
}

/// `parts` are the view's, in its order.
fn event_tables(shared: &Shared, view: &View, parts: &[PartStats]) -> Vec<EventTableStats> {
    let tables = shared.tables.all().into_iter().map(|table| {
        let schema = &table.schema;
        let of_table = view.parts.iter().zip(parts).filter(|(part, _)| {
            part.event_schema().is_some_and(|found| found.table() == schema.table())
        });
        let of_table: Vec<&PartStats> = of_table.map(|(_, stats)| stats).collect();
        let blocks = view.frozen.iter().chain([&view.head]);
        let blocks = blocks.flat_map(|head| head.event_sources(table.number));
        let in_head = |source: &dyn EventSource| -> u64 {
            source.stretches().iter().map(|stretch| u64::from(stretch.rows)).sum()
        };
        EventTableStats {
            table: schema.table().to_owned(),
            version: schema.version(),
            columns: schema.columns().len() as u64,
            rows: of_table.iter().map(|part| part.meta.event_rows()).sum(),
            head_rows: blocks.map(|source| in_head(&*source)).sum(),
            parts: of_table.len() as u64,
            bytes_on_disk: of_table.iter().map(|part| part.bytes_on_disk).sum(),
        }
    });
    tables.collect()
}

/// Sums columns of equal kind and encoding, ordered by these.
fn merged<'a>(columns: impl Iterator<Item = &'a ColumnStats>) -> Vec<ColumnStats> {
    let mut all: Vec<ColumnStats> = columns.copied().collect();
    all.sort_by_key(|column| (column.kind, column.encoding));
    all.dedup_by(|next, sum| {
        let same = (next.kind, next.encoding) == (sum.kind, sum.encoding);
        if same {
            sum.columns += next.columns;
            sum.samples += next.samples;
            sum.bytes += next.bytes;
        }
        same
    });
    all
}
