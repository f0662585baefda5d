//! Building tiers: the records of a stretch of time, or of the buckets of it that became dirty.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rayon::prelude::*;

use super::dirty::Dirty;
use super::merge::{MergeSpec, Pause};
use super::plan::Task;
use super::publish::{Identity, all_or_none, publish};
use crate::aggregate::Partial;
use crate::error::{Error, Result};
use crate::model::{MetricKind, Series, SeriesId};
use crate::options::Policy;
use crate::part::{self, Layout, PartMeta};
use crate::query::bucket_records;
use crate::segment::{RecordFields, RecordSource, Records, SeriesRecords, Sources};
use crate::time::{Tier, TimeRange, Timestamp};

/// Records that are folded and encoded at a time, bytes in memory, about.
const BATCH_BYTES: usize = 32 << 20;
/// What a sketch takes in memory, about.
const SKETCH_BYTES: usize = 2048;
/// Dirty buckets with at most so many clean ones between them are folded in one go.
const CLEAN_BUCKETS_MAX: i64 = 256;

/// Carries out a [`Task::Downsample`] or [`Task::Patch`]: writes a part of records for each of its
/// classes of series, published under ids of `next_id`; no catalog names them yet. `sources` are all
/// live parts and the deletes that may affect them; `series` those that parts in the task's window
/// hold, in any order.
///
/// Sources of a rank above the task's are not read. Samples that deletes mask are left out, and
/// stale markers. Records of a distribution carry sketches, and those of series that the policy
/// wants them of. Where a patch finds that samples of a record are gone from its sources, what came
/// later is merged into the record; where a delete cuts such a record, it goes whole.
///
/// At least one part is written, so that the window counts as done: where there is nothing to say,
/// it says once more what one bucket of one series holds. None without any series of its classes.
///
/// Runs on the current rayon pool. Memory is bounded, but for a few dozen bytes a series: some
/// 32 MiB of records, and the readers' caches.
///
/// # Errors
/// [`Error::InvalidArgument`] for another task; the error of `pause`; whatever sources, store and
/// file system fail with. What was published by then is removed.
pub fn downsample(
    task: &Task,
    sources: &Sources,
    series: &[(SeriesId, Arc<Series>)],
    policy: &Policy,
    spec: &MergeSpec<'_>,
    next_id: &mut (dyn FnMut() -> u64 + Send),
    pause: &mut Pause<'_>,
) -> Result<Vec<PartMeta>> {
    let build = Build::new(task, sources, policy, spec)?;
    let kept = |(_, series): &&(SeriesId, Arc<Series>)| {
        build.classes.binary_search(&policy.class_of(series)).is_ok()
    };
    let series: Vec<_> = series.iter().filter(kept).cloned().collect();
    let mut classes: BTreeMap<usize, Vec<Member>> = BTreeMap::new();
    for member in build.members(sources, &series)? {
        classes.entry(policy.class_of(&member.series)).or_default().push(member);
    }
    all_or_none(spec, |published| {
        for members in classes.values_mut() {
            members.sort_unstable_by(|one, other| one.series.cmp(&other.series));
            published.extend(build.write(members, next_id(), pause)?);
        }
        if published.is_empty()
            && let Some((id, series)) = series.first()
        {
            published.extend(build.write(&[build.any_member(*id, series)?], next_id(), pause)?);
        }
        Ok(())
    })
}

/// A series that gets records.
struct Member {
    id: SeriesId,
    series: Arc<Series>,
    fields: RecordFields,
    buckets: Buckets,
}

/// Which buckets are written.
enum Buckets {
    /// All that hold a sample.
    All,
    /// The ones that start there, ascending; those that became empty too.
    These(Vec<i64>),
}

/// What is built.
struct Build<'a> {
    tier: Tier,
    window: TimeRange,
    rank: u64,
    /// Of which classes, ascending.
    classes: &'a [usize],
    patch: bool,
    /// What it is folded from.
    sources: Sources,
    policy: &'a Policy,
    spec: &'a MergeSpec<'a>,
}

impl<'a> Build<'a> {
    fn new(
        task: &'a Task,
        sources: &Sources,
        policy: &'a Policy,
        spec: &'a MergeSpec<'a>,
    ) -> Result<Self> {
        let patch = matches!(task, Task::Patch { .. });
        let (Task::Downsample { tier, source, window, rank, classes }
        | Task::Patch { tier, source, window, rank, classes }) = task
        else {
            let reason = format!("{task} builds no tier");
            return Err(Error::InvalidArgument { what: "task", reason });
        };
        let (tier, source, window, rank) = (*tier, *source, *window, *rank);
        let mut chosen = sources.clone();
        chosen.samples.retain(|samples| samples.rank() <= rank);
        chosen.records.retain(|records| {
            let (of, held) = (records.tier(), records.window());
            // A finer tier is named where it and those below it know all. Raw may not: what it no
            // longer has stands in records, the tier's own among them.
            let wanted = of <= source || source.is_raw() && of <= tier;
            wanted && records.rank() <= rank && held.start < window.end && window.start < held.end
        });
        Ok(Self { tier, window, rank, classes, patch, sources: chosen, policy, spec })
    }

    /// The series that hold anything to be written.
    fn members(&self, all: &Sources, series: &[(SeriesId, Arc<Series>)]) -> Result<Vec<Member>> {
        let dirty = self.patch.then(|| Dirty::new(all, &self.sources, self.tier, self.window));
        let corrected =
            if self.patch { self.corrected_classes(all, series)? } else { BTreeSet::new() };
        let found = series.par_iter().map_init(
            || dirty.as_ref().map(Dirty::finder),
            |finder, (id, series)| {
                let is_corrected = || corrected.contains(&self.policy.class_of(series));
                let buckets = match finder {
                    Some(finder) if is_corrected() => Buckets::These(finder.buckets(*id)?),
                    _ if self.holds(*id)? => Buckets::All,
                    _ => return Ok(None),
                };
                if matches!(&buckets, Buckets::These(buckets) if buckets.is_empty()) {
                    return Ok(None);
                }
                let fields = self.fields(*id, series)?;
                Ok(Some(Member { id: *id, series: Arc::clone(series), fields, buckets }))
            },
        );
        let found = found.collect::<Result<Vec<_>>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    /// The classes that parts of the tier hold records of about the window: a patch corrects those,
    /// and stands for all that others have there.
    fn corrected_classes(
        &self,
        all: &Sources,
        series: &[(SeriesId, Arc<Series>)],
    ) -> Result<BTreeSet<usize>> {
        let about = |held: TimeRange| held.start < self.window.end && self.window.start < held.end;
        let own = all.records.iter().filter(|own| own.tier() == self.tier && about(own.window()));
        let own: Vec<_> = own.collect();
        let mut classes = BTreeSet::new();
        for (id, series) in series {
            let class = self.policy.class_of(series);
            if !classes.contains(&class) && held(&own, *id)? {
                classes.insert(class);
            }
        }
        Ok(classes)
    }

    /// Whether the series may hold anything in the window.
    fn holds(&self, series: SeriesId) -> Result<bool> {
        for source in &self.sources.records {
            if source.fields(series)?.is_some() {
                return Ok(true);
            }
        }
        let mut chunks = Vec::new();
        for source in &self.sources.samples {
            source.chunks(series, self.window, &mut chunks)?;
            if !chunks.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// One bucket of a series, where none needs to be written.
    fn any_member(&self, id: SeriesId, series: &Arc<Series>) -> Result<Member> {
        let fields = self.fields(id, series)?;
        let buckets = Buckets::These(vec![self.window.start.0]);
        Ok(Member { id, series: Arc::clone(series), fields, buckets })
    }

    /// What records of the series carry: what is wanted, as far as the tiers that they come from
    /// have it.
    fn fields(&self, id: SeriesId, series: &Series) -> Result<RecordFields> {
        let kind = self.spec.index.metadata(series.name()).map(|metadata| metadata.kind);
        let mut fields = RecordFields {
            increase: kind != Some(MetricKind::Gauge),
            sketches: kind == Some(MetricKind::Distribution) || self.policy.wants_sketches(series),
        };
        let mut tiers = Vec::new();
        for source in &self.sources.records {
            match source.fields(id)? {
                Some(_) if source.tier().is_raw() => fields.sketches = true,
                Some(held) => tiers.push(held),
                None => {}
            }
        }
        fields.increase &= tiers.iter().all(|held| held.increase);
        fields.sketches &= tiers.iter().all(|held| held.sketches);
        Ok(fields)
    }

    /// Writes and publishes the part of one class; none where there is nothing in it.
    fn write(
        &self,
        members: &[Member],
        id: u64,
        pause: &mut Pause<'_>,
    ) -> Result<Option<PartMeta>> {
        let identity = Identity {
            id,
            rank: self.rank,
            window: self.window,
            tier: self.tier,
            layout: Layout::Records,
        };
        let table: Vec<Arc<Series>> =
            members.iter().map(|member| Arc::clone(&member.series)).collect();
        publish(self.spec, identity, &table, |builder| self.fill(members, builder, pause))
    }

    fn fill(
        &self,
        members: &[Member],
        builder: &mut part::Builder,
        pause: &mut Pause<'_>,
    ) -> Result<()> {
        let mut position = 0;
        while let Some(rest @ [_, ..]) = members.get(position..) {
            let mut bytes = 0;
            let within = rest.iter().take_while(|member| {
                let fits = bytes < BATCH_BYTES;
                bytes += self.bytes(member);
                fits
            });
            let batch = rest.get(..within.count()).unwrap_or_default();
            let records = self.fold(batch)?;
            let rows = (position as u32..).zip(batch).zip(&records);
            let rows: Vec<SeriesRecords<'_>> = rows
                .map(|((position, member), records)| SeriesRecords {
                    position,
                    increase: member.fields.increase,
                    records,
                })
                .collect();
            builder.add_records(&rows)?;
            position += batch.len();
            pause()?;
        }
        Ok(())
    }

    /// What its records take in memory, at most, about.
    fn bytes(&self, member: &Member) -> usize {
        let all = (self.window.end.0 - self.window.start.0) / self.tier.nanos();
        let rows = match &member.buckets {
            Buckets::All => usize::try_from(all).unwrap_or(usize::MAX),
            Buckets::These(starts) => starts.len(),
        };
        let sketch = if member.fields.sketches { SKETCH_BYTES } else { 0 };
        rows.saturating_mul(size_of::<i64>() + size_of::<Partial>() + sketch)
    }

    /// The records of each member.
    fn fold(&self, batch: &[Member]) -> Result<Vec<Records>> {
        let mut starts = Vec::new();
        for member in batch {
            match &member.buckets {
                Buckets::All => return self.records(batch.iter(), self.window),
                Buckets::These(these) => starts.extend_from_slice(these),
            }
        }
        starts.sort_unstable();
        starts.dedup();
        let mut folded: Vec<Records> = batch.iter().map(|_| Records::default()).collect();
        let near = |one: &i64, next: &i64| next - one <= CLEAN_BUCKETS_MAX * self.tier.nanos();
        for run in starts.chunk_by(near) {
            let (Some(&first), Some(&last)) = (run.first(), run.last()) else { continue };
            let range = TimeRange::new(Timestamp(first), Timestamp(last + self.tier.nanos()));
            let within: Vec<(&Member, &[i64], &mut Records)> = batch
                .iter()
                .zip(&mut folded)
                .filter_map(|(member, out)| Some((member, member.buckets.within(range)?, out)))
                .collect();
            let found = self.records(within.iter().map(|(member, ..)| *member), range)?;
            for ((member, starts, out), found) in within.into_iter().zip(found) {
                pick(starts, &found, member.fields.sketches, out);
            }
        }
        Ok(folded)
    }

    fn records<'b>(
        &self,
        members: impl Iterator<Item = &'b Member>,
        range: TimeRange,
    ) -> Result<Vec<Records>> {
        let series: Vec<_> = members.map(|member| (member.id, member.fields)).collect();
        bucket_records(self.tier, range, &series, &self.sources)
    }
}

/// Whether any of them holds records of the series.
fn held(parts: &[&Arc<dyn RecordSource>], series: SeriesId) -> Result<bool> {
    for part in parts {
        if part.holds(series)? {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Buckets {
    /// Those of the listed ones that start in the range, if any does.
    fn within(&self, range: TimeRange) -> Option<&[i64]> {
        let Self::These(starts) = self else { return None };
        let below = |point: Timestamp| starts.partition_point(|&start| start < point.0);
        starts.get(below(range.start)..below(range.end)).filter(|within| !within.is_empty())
    }
}

/// Appends the records of these starts; of count 0 where there is none.
fn pick(starts: &[i64], found: &Records, sketches: bool, out: &mut Records) {
    for start in starts {
        let row = found.starts.binary_search(start).ok();
        let partial = row.and_then(|row| found.partials.get(row).copied());
        out.starts.push(*start);
        out.partials.push(partial.unwrap_or(Partial::EMPTY));
        if sketches {
            let sketch = row.and_then(|row| found.sketches.get(row));
            out.sketches.push(sketch.unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests;
