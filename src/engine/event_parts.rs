//! A frozen head's rows of events become parts, as [`commit`](super::commit) makes parts of its
//! samples.

use std::sync::Arc;

use super::partition::{self, Column};
use super::shared::Shared;
use crate::catalog::PartEntry;
use crate::error::Result;
use crate::head::Snapshot;
use crate::model::{EventKind, EventRows, EventSchema};
use crate::part::{self, Builder, Layout, PartMeta, PartSpec};
use crate::segment::{EventMerge, EventSource, SegmentLimits, StretchCutter, read_group};
use crate::time::{Tier, TimeRange};

/// Writes one part for each table and window that the head's rows fall into.
pub(super) fn write(shared: &Shared, head: &Snapshot, watermark: u64) -> Result<Vec<PartEntry>> {
    let mut entries = Vec::new();
    for (table, schema) in head.event_tables() {
        let sources = head.event_sources(table);
        for spec in specs(shared, schema, &sources, watermark)? {
            let meta = shared.pool.install(|| write_part(shared, &spec, schema, &sources))?;
            let bytes = part::size_bytes(&*shared.fs, &shared.parts_dir(), spec.id)?;
            entries.push(PartEntry::of(&meta, bytes));
        }
    }
    Ok(entries)
}

/// The parts that a table's rows become: one for each window, those that its parts have where there
/// are any.
fn specs(
    shared: &Shared,
    schema: &EventSchema,
    sources: &[Arc<dyn EventSource>],
    watermark: u64,
) -> Result<Vec<PartSpec>> {
    let mut times = Vec::new();
    let mut block = Vec::new();
    for source in sources {
        if let Some(column) = source.column(0, crate::segment::TIME_FIELD)? {
            let damaged = |error| source.damaged(0, crate::segment::TIME_FIELD, error);
            column.read_times(0, &mut block).map_err(damaged)?;
            times.append(&mut block);
        }
    }
    times.sort_unstable();
    let (catalog, parts) = {
        let state = shared.live.read();
        (Arc::clone(&state.catalog), Arc::clone(&state.parts))
    };
    let existing: Vec<TimeRange> = parts
        .iter()
        .filter(|part| part.event_schema().is_some_and(|s| s.table() == schema.table()))
        .map(|part| part.meta().window)
        .collect();
    let columns = [Column { timestamps: &times, series: 1 }];
    let windows = partition::windows(&columns, catalog.partition_ns, &existing).into_iter();
    let specs = windows.map(|window| PartSpec {
        id: shared.ledger.next_part(),
        window,
        rank: watermark,
        store: shared.options.store,
        limits: SegmentLimits::default(),
        tier: Tier::RAW,
        layout: Layout::Events,
        tombstones: catalog.next_tombstone - 1,
    });
    Ok(specs.collect())
}

fn write_part(
    shared: &Shared,
    spec: &PartSpec,
    schema: &EventSchema,
    sources: &[Arc<dyn EventSource>],
) -> Result<PartMeta> {
    let kinds: Vec<EventKind> = schema.columns().iter().map(|column| column.kind).collect();
    let load = |source: usize, stretch, group| match sources.get(source) {
        Some(source) => read_group(&**source, stretch, group, &kinds),
        None => Ok(EventRows::default()),
    };
    let mut builder = Builder::events(&shared.fs, &shared.parts_dir(), spec, schema)?;
    let mut merge = EventMerge::new(sources, spec.window, Box::new(load));
    let mut cutter = StretchCutter::new(&kinds);
    let mut add = |rows: &EventRows| builder.add_events(rows);
    while let Some((rows, range)) = merge.next_run()? {
        cutter.push(rows, range, &mut add)?;
    }
    cutter.finish(&mut add)?;
    builder.finish()
}
