//! A frozen head's distributions become parts of records, as [`commit`](super::commit) makes parts
//! of its samples.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::commit::{series_table, specs};
use super::partition::Column;
use super::shared::Shared;
use crate::aggregate::Distribution;
use crate::catalog::PartEntry;
use crate::error::Result;
use crate::head::Snapshot;
use crate::model::{Series, SeriesId};
use crate::part::{self, Builder, Layout, PartMeta, PartSpec};
use crate::segment::{Records, SeriesRecords};
use crate::time::{TimeRange, Timestamp};

/// Bins that are copied out of the head at once, for the series of a batch to be encoded: 4 MiB.
const BATCH_BINS: usize = 1 << 18;

/// One series' distributions by time.
type ByTime = BTreeMap<i64, Arc<Distribution>>;
/// Those of many series.
type Observed<'a> = BTreeMap<SeriesId, &'a ByTime>;

/// Writes one part for each policy class and window that the head's distributions fall into.
/// `beside` are the parts of its samples: where they have a window, so have the distributions.
pub(super) fn write(
    shared: &Shared,
    head: &Snapshot,
    watermark: u64,
    beside: &[PartEntry],
) -> Result<Vec<PartEntry>> {
    let mut classes: BTreeMap<usize, Observed<'_>> = BTreeMap::new();
    for (series, all) in head.distributions() {
        classes.entry(shared.class_of(series)).or_default().insert(series, all);
    }
    let windows: Vec<TimeRange> = beside.iter().map(|entry| entry.window).collect();
    let mut entries = Vec::new();
    for (class, observed) in classes {
        let times: Vec<Vec<i64>> =
            observed.values().map(|all| all.keys().copied().collect()).collect();
        let columns: Vec<Column<'_>> =
            times.iter().map(|timestamps| Column { timestamps, series: 1 }).collect();
        for spec in specs(shared, class, &columns, &windows, Layout::Records, watermark) {
            let meta = shared.pool.install(|| write_part(shared, &spec, &observed))?;
            let bytes = part::size_bytes(&*shared.fs, &shared.parts_dir(), spec.id)?;
            entries.push(PartEntry::of(&meta, bytes));
        }
    }
    Ok(entries)
}

fn write_part(shared: &Shared, spec: &PartSpec, observed: &Observed<'_>) -> Result<PartMeta> {
    let present = observed.iter().filter(|(_, all)| within(all, spec.window).next().is_some());
    let table = series_table(shared, present.map(|(series, _)| series));
    let names: Vec<Arc<Series>> = table.iter().map(|(series, _)| Arc::clone(series)).collect();
    let metadata = shared.index.metadata_of(&names);
    let mut builder = Builder::new(&shared.fs, &shared.parts_dir(), spec, &names, &metadata)?;
    let mut batch: Vec<(u32, Records)> = Vec::new();
    let mut bins = 0;
    for (position, (_, series)) in (0..).zip(&table) {
        let Some(all) = observed.get(series) else { continue };
        let mut records = Records::default();
        for (&timestamp, one) in within(all, spec.window) {
            records.starts.push(timestamp);
            records.partials.push(one.partial(Timestamp(timestamp)));
            records.sketches.push(one.sketch());
            bins += one.sketch().bins();
        }
        batch.push((position, records));
        if bins >= BATCH_BINS {
            add(&mut builder, &batch)?;
            batch.clear();
            bins = 0;
        }
    }
    add(&mut builder, &batch)?;
    builder.finish()
}

fn add(builder: &mut Builder, batch: &[(u32, Records)]) -> Result<()> {
    let series = batch.iter().map(|(position, records)| SeriesRecords {
        position: *position,
        increase: true,
        records,
    });
    builder.add_records(&series.collect::<Vec<_>>())
}

/// The distributions of a window. The last window of time is closed, but nothing is let in at its
/// end.
fn within(all: &ByTime, window: TimeRange) -> impl Iterator<Item = (&i64, &Arc<Distribution>)> {
    all.range(window.start.0..window.end.0)
}
