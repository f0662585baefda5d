//! Merging parts of records: of a tier, or distributions as they were recorded.

use std::sync::Arc;

use super::inputs::Inputs;
use super::merge::{MergeSpec, Pause, check_windows};
use super::publish::{Identity, all_or_none, publish};
use crate::aggregate::Partial;
use crate::error::{Error, Result};
use crate::part::{self, Layout, Part, PartMeta};
use crate::segment::{Records, SeriesRecords, weave_latest_wins};
use crate::time::{Tier, TimeRange, Timestamp};

/// Bytes of merged records that are written at once.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// Buckets of a series that are in memory at once.
const SLICE_BUCKETS: i64 = 16 << 10;

/// What a slice of distributions as they were recorded is counted in: at most one a second.
const RAW_GRAIN_NS: i64 = 1_000_000_000;

/// Merges parts of [`Layout::Records`] and one tier, in any order, into a new part for each of
/// `windows`, which ascend, do not overlap, begin and end at buckets, and hold the span of each
/// input without a gap. Publishing, memory and errors are as with
/// [`merge_samples`](super::merge_samples).
///
/// For a bucket the record of the highest rank wins. A tier's record of count 0, which says that
/// its bucket became empty, is left out unless `keep_empty`: it is wanted where parts of lower rank
/// stay that it hides. A tier's records are not masked, since what a delete touched is built anew;
/// distributions as they were recorded are, by when.
///
/// A new part has the highest rank of the inputs and `spec.tombstones`: the caller sees to it that
/// all inputs together account for the new windows up to these.
///
/// # Errors
/// As [`merge_samples`](super::merge_samples).
pub fn merge_records(
    inputs: &[Arc<Part>],
    windows: &[TimeRange],
    spec: &MergeSpec<'_>,
    keep_empty: bool,
    next_id: &mut (dyn FnMut() -> u64 + Send),
    pause: &mut Pause<'_>,
) -> Result<Vec<PartMeta>> {
    check_windows(windows)?;
    let inputs = Inputs::new(inputs, Layout::Records, spec.masks, spec.index)?;
    let tier = inputs.parts.first().map_or(Tier::RAW, |part| part.meta().tier);
    check_spans(&inputs, tier, windows)?;
    let holders = inputs.holders();
    let mut merge = Merge { inputs: &inputs, holders, tier, spec, keep_empty, read: Vec::new() };
    all_or_none(spec, |published| {
        for &window in windows {
            published.extend(merge.window(window, next_id, pause)?);
        }
        Ok(())
    })
}

/// The buckets between a part's earliest and latest sample; empty where it holds none.
fn span(meta: &PartMeta, tier: Tier) -> TimeRange {
    let end = if meta.samples == 0 { meta.first.0 } else { meta.last.0.saturating_add(1) };
    TimeRange::new(tier.floor(meta.first), tier.ceil(Timestamp(end)))
}

fn check_spans(inputs: &Inputs<'_>, tier: Tier, windows: &[TimeRange]) -> Result<()> {
    let invalid = |reason| Err(Error::InvalidArgument { what: "windows of a merge", reason });
    let ends = || windows.iter().flat_map(|window| [window.start, window.end]);
    if ends().any(|end| tier.floor(end) != end) {
        return invalid(format!("they cut buckets of {tier}"));
    }
    for part in &inputs.parts {
        let span = span(part.meta(), tier);
        let mut held = span.start;
        for window in windows {
            if window.contains(held) {
                held = window.end;
            }
        }
        if !span.is_empty() && held < span.end {
            return invalid(format!("they do not hold all of part {}", part.meta().id));
        }
    }
    Ok(())
}

struct Merge<'a> {
    inputs: &'a Inputs<'a>,
    /// Place, part and position there, ascending.
    holders: Vec<(u32, u32, u32)>,
    tier: Tier,
    spec: &'a MergeSpec<'a>,
    keep_empty: bool,
    /// What was read of each holder of a series.
    read: Vec<Records>,
}

/// Merged records of one series, in runs that carry the same fields.
struct Merged {
    position: u32,
    runs: Vec<Run>,
}

struct Run {
    increase: bool,
    records: Records,
}

impl Merge<'_> {
    /// Writes and publishes one part; none where there would be nothing in it.
    fn window(
        &mut self,
        window: TimeRange,
        next_id: &mut dyn FnMut() -> u64,
        pause: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Option<PartMeta>> {
        let spans = self.inputs.parts.iter().map(|part| span(part.meta(), self.tier));
        let spans = spans.filter(|span| !span.is_empty());
        let start = spans.clone().map(|span| span.start).min().unwrap_or(window.end);
        let end = spans.map(|span| span.end).max().unwrap_or(window.start);
        let span = TimeRange::new(window.start.max(start), window.end.min(end));
        let mut places = Vec::new();
        for place in 0..self.inputs.table.len() as u32 {
            pause()?;
            if self.is_present(place, span)? {
                places.push(place);
            }
        }
        if places.is_empty() {
            return Ok(None);
        }
        let table = self.inputs.series_at(&places);
        let identity = Identity {
            id: next_id(),
            rank: self.inputs.rank(),
            window,
            tier: self.tier,
            layout: Layout::Records,
        };
        publish(self.spec, identity, &table, |builder| self.fill(builder, span, &places, pause))
    }

    fn fill(
        &mut self,
        builder: &mut part::Builder,
        span: TimeRange,
        places: &[u32],
        pause: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        for slice in self.slices(span, SLICE_BUCKETS) {
            let (mut batch, mut bytes) = (Vec::new(), 0);
            for (position, &place) in (0..).zip(places) {
                pause()?;
                let runs = self.merged(place, slice)?;
                bytes += runs.iter().map(|run| memory_bytes(&run.records)).sum::<usize>();
                batch.push(Merged { position, runs });
                if bytes >= BATCH_BYTES_MAX {
                    write(builder, &batch)?;
                    (batch, bytes) = (Vec::new(), 0);
                }
            }
            write(builder, &batch)?;
        }
        Ok(())
    }

    /// Whether any record of a series is left. Looks at ever longer slices, since the first that
    /// holds one tells.
    fn is_present(&mut self, place: u32, span: TimeRange) -> Result<bool> {
        let mut buckets = 64;
        let mut rest = span;
        while !rest.is_empty() {
            let Some(slice) = self.slices(rest, buckets).next() else { break };
            if !self.merged(place, slice)?.is_empty() {
                return Ok(true);
            }
            rest.start = slice.end;
            buckets = (2 * buckets).min(SLICE_BUCKETS);
        }
        Ok(false)
    }

    /// The span cut into slices of so many buckets.
    fn slices(&self, span: TimeRange, buckets: i64) -> impl Iterator<Item = TimeRange> + use<> {
        let grain = if self.tier.is_raw() { RAW_GRAIN_NS } else { self.tier.nanos() };
        let length = grain.saturating_mul(buckets);
        let mut start = span.start;
        std::iter::from_fn(move || {
            let end = Timestamp(start.0.saturating_add(length)).min(span.end);
            let slice = TimeRange::new(start, end);
            start = end;
            (!slice.is_empty()).then_some(slice)
        })
    }

    /// The records of a series that start in the slice, those of the highest rank, in runs.
    fn merged(&mut self, place: u32, slice: TimeRange) -> Result<Vec<Run>> {
        let first = self.holders.partition_point(|holder| holder.0 < place);
        let holders = self.holders.iter().skip(first).take_while(|holder| holder.0 == place);
        let mask_set = self.inputs.mask_set(place);
        let mut used = 0;
        for &(_, part, position) in holders {
            if self.read.len() == used {
                self.read.push(Records::default());
            }
            let (Some(source), Some(out)) =
                (self.inputs.parts.get(part as usize), self.read.get_mut(used))
            else {
                continue;
            };
            source.read_records_at(position, slice, out)?;
            if self.tier.is_raw() {
                let deleted: Vec<TimeRange> = self.inputs.deleted(mask_set, part).collect();
                remove(out, &deleted);
            }
            used += 1;
        }
        let read = self.read.get_mut(..used).unwrap_or_default();
        Ok(merge(read, self.keep_empty || self.tier.is_raw()))
    }
}

/// Takes out records that start in deleted ranges.
fn remove(records: &mut Records, deleted: &[TimeRange]) {
    if deleted.is_empty() {
        return;
    }
    let Records { starts, partials, sketches } = records;
    let kept: Vec<bool> = starts
        .iter()
        .map(|&start| !deleted.iter().any(|range| range.contains(Timestamp(start))))
        .collect();
    let mut rest = kept.iter();
    starts.retain(|_| rest.next() == Some(&true));
    let mut rest = kept.iter();
    partials.retain(|_| rest.next() == Some(&true));
    sketches.retain(|row| kept.get(row) == Some(&true));
}

/// Merges records of ascending rank.
fn merge(read: &mut [Records], keep_empty: bool) -> Vec<Run> {
    let mut stretches = Vec::new();
    let starts: Vec<&[i64]> = read.iter().map(|records| &*records.starts).collect();
    weave_latest_wins(&starts, |index, rows| stretches.push((index, rows)));
    let mut runs: Vec<Run> = Vec::new();
    for (index, rows) in stretches {
        let Some(Records { starts, partials, sketches }) = read.get_mut(index) else { continue };
        let sketched = !sketches.is_empty();
        for row in rows {
            let (Some(&start), Some(&partial)) = (starts.get(row), partials.get(row)) else {
                continue;
            };
            if partial.count == 0 && !keep_empty {
                continue;
            }
            // An empty record carries whatever its neighbours do.
            let increase = has_increase(&partial);
            let fits = |run: &Run| {
                let sketches = !run.records.sketches.is_empty();
                partial.count == 0 || (run.increase, sketches) == (increase, sketched)
            };
            if !runs.last().is_some_and(fits) {
                runs.push(Run { increase, records: Records::default() });
            }
            let Some(Run { records, .. }) = runs.last_mut() else { continue };
            if sketched && records.is_empty() || !records.sketches.is_empty() {
                records.sketches.push(sketches.get(row).unwrap_or_default());
            }
            records.starts.push(start);
            records.partials.push(partial);
        }
    }
    runs
}

/// Whether increase and resets are there: what reading leaves in place of those left out is this.
fn has_increase(partial: &Partial) -> bool {
    !partial.increase.is_nan() || partial.resets > 0
}

fn memory_bytes(records: &Records) -> usize {
    let Records { starts, partials, sketches } = records;
    size_of_val(&**starts) + size_of_val(&**partials) + sketches.heap_bytes()
}

/// Writes the first runs of all series, then the second, ...: a batch names a series once.
fn write(builder: &mut part::Builder, batch: &[Merged]) -> Result<()> {
    for nth in 0.. {
        let runs: Vec<SeriesRecords<'_>> = batch
            .iter()
            .filter_map(|Merged { position, runs }| {
                let Run { increase, records } = runs.get(nth)?;
                Some(SeriesRecords { position: *position, increase: *increase, records })
            })
            .collect();
        if runs.is_empty() {
            break;
        }
        builder.add_records(&runs)?;
    }
    Ok(())
}
