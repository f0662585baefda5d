//! Merging parts of events: rows of several parts in one order, in full stretches.

use std::sync::Arc;

use super::merge::{MergeSpec, Pause, check_windows};
use super::publish::all_or_none;
use crate::error::{Error, Result};
use crate::model::{EventKind, EventSchema};
use crate::part::{self, Builder, Layout, Part, PartMeta, PartSpec};
use crate::segment::{EventMerge, EventSource, StretchCutter, read_group};
use crate::time::{Tier, TimeRange};

/// Merges parts of [`Layout::Events`] and one table, in any order, into a new part for each of
/// `windows`, which ascend, do not overlap, and hold every row of the inputs. The parts are published
/// under ids of `next_id`; no catalog names them yet. A window without rows gets no part.
///
/// Every row is kept, in the order of time and arrival (the inputs' ranks); the columns are those of
/// the input that has most, older rows null in the others. A new part has the highest rank of the
/// inputs and `spec.tombstones`. Holds a group of each input that reaches into one time, and a stretch.
///
/// # Errors
/// As [`merge_samples`](super::merge_samples); [`Error::SchemaConflict`] where the inputs are of
/// different tables.
pub fn merge_events(
    inputs: &[Arc<Part>],
    windows: &[TimeRange],
    spec: &MergeSpec<'_>,
    next_id: &mut (dyn FnMut() -> u64 + Send),
    pause: &mut Pause<'_>,
) -> Result<Vec<PartMeta>> {
    check_windows(windows)?;
    let mut inputs = inputs.to_vec();
    inputs.sort_by_key(|part| (part.meta().rank, part.meta().tombstones, part.meta().id));
    let schema = schema_of(&inputs)?;
    let rank = inputs.last().map_or(0, |part| part.meta().rank);
    all_or_none(spec, |published| {
        for &window in windows {
            let MergeSpec { fs, parts_dir, store, limits, tombstones, .. } = *spec;
            let (id, tier, layout) = (next_id(), Tier::RAW, Layout::Events);
            let part = PartSpec { id, rank, window, tier, layout, tombstones, store, limits };
            let mut builder = Builder::events(fs, parts_dir, &part, &schema)?;
            match fill(&mut builder, &inputs, window, &schema, pause) {
                Ok(()) if builder.is_empty() => builder.discard()?,
                Ok(()) => published.push(builder.finish()?),
                Err(error) => {
                    // The error that counts is the first; what stays of the part is swept at open.
                    let _ = builder.discard();
                    return Err(error);
                }
            }
        }
        let held: u64 = inputs.iter().map(|part| part.meta().event_rows()).sum();
        let written: u64 = published.iter().map(PartMeta::event_rows).sum();
        if held != written {
            let reason = format!("hold {written} of {held} rows");
            return Err(Error::InvalidArgument { what: "windows of a merge", reason });
        }
        Ok(())
    })
}

/// The table, with the columns of whichever has most.
fn schema_of(inputs: &[Arc<Part>]) -> Result<EventSchema> {
    let mut schema: Option<EventSchema> = None;
    for part in inputs {
        let found = part.event_schema().ok_or_else(|| {
            let reason = format!("part {} is of another layout", part.meta().id);
            Error::InvalidArgument { what: "parts to merge", reason }
        })?;
        let known = schema.get_or_insert_with(|| (**found).clone());
        if known.table() != found.table() {
            let (table, column) = (known.table().to_owned(), found.table().to_owned());
            return Err(Error::SchemaConflict { table, column, reason: "is another table" });
        }
        *known = known.adopt(found)?;
    }
    schema.ok_or_else(|| Error::InvalidArgument {
        what: "parts to merge",
        reason: "there are none".to_owned(),
    })
}

fn fill(
    builder: &mut part::Builder,
    inputs: &[Arc<Part>],
    window: TimeRange,
    schema: &EventSchema,
    pause: &mut Pause<'_>,
) -> Result<()> {
    let kinds: Vec<EventKind> = schema.columns().iter().map(|column| column.kind).collect();
    let sources: Vec<Arc<dyn EventSource>> =
        inputs.iter().map(|part| Arc::clone(part) as Arc<dyn EventSource>).collect();
    let load = |source: usize, stretch, group| {
        pause()?;
        match sources.get(source) {
            Some(source) => read_group(&**source, stretch, group, &kinds),
            None => Ok(Default::default()),
        }
    };
    let mut merge = EventMerge::new(&sources, window, Box::new(load));
    let mut cutter = StretchCutter::new(&kinds);
    let mut add = |rows: &crate::model::EventRows| builder.add_events(rows);
    while let Some((rows, range)) = merge.next_run()? {
        cutter.push(rows, range, &mut add)?;
    }
    cutter.finish(&mut add)
}
