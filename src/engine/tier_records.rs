//! The records of a tier, as its parts hold them: for exports.

use std::sync::Arc;

use super::Engine;
use crate::error::Result;
use crate::model::{Selector, Series, SeriesId};
use crate::segment::{RecordFields, RecordSource, Records, Sources};
use crate::time::{Tier, TimeRange, Timestamp};

impl Engine {
    /// Hands the records of one series after another to `visit`, ascending by series and start: of
    /// [`Tier::RAW`] distributions as they were recorded, else what the tier's parts hold of each
    /// bucket. Buckets that no part accounts for yet are not among them, nor are samples that came
    /// after their bucket was built ([`query`](Self::query) answers for both), nor records of which
    /// a delete concerns any sample. Holds one series at a time.
    ///
    /// # Errors
    /// I/O or corruption, and what `visit` returns.
    pub fn for_each_record_run(
        &self,
        selector: &Selector,
        tier: Tier,
        range: TimeRange,
        mut visit: impl FnMut(&Arc<Series>, &Records, RecordFields) -> Result<()>,
    ) -> Result<()> {
        let series = self.select(selector)?;
        let mut sources = self.shared.live.view().sources();
        sources.records.retain(|source| source.tier() == tier);
        sources.records.sort_by_key(|source| source.rank());
        for (id, series) in series.iter() {
            let (records, fields) = latest_records(&sources, *id, range)?;
            if !records.is_empty() {
                visit(series, &records, fields)?;
            }
        }
        Ok(())
    }
}

/// Of each start the record of the last source that has one, as long as it is of any sample.
fn latest_records(
    sources: &Sources,
    series: SeriesId,
    range: TimeRange,
) -> Result<(Records, RecordFields)> {
    let (mut all, mut one) = (Records::default(), Records::default());
    let mut fields = RecordFields::default();
    for source in &sources.records {
        let Some(carried) = source.fields(series)? else { continue };
        source.read_records(series, range, &mut one)?;
        leave_out_deleted(&mut one, sources, &**source, series);
        if one.is_empty() {
            continue;
        }
        fields.increase |= carried.increase;
        fields.sketches |= carried.sketches;
        // Columns stay as long as each other, whatever one source leaves out.
        one.sketches.resize(one.len());
        all.starts.append(&mut one.starts);
        all.partials.append(&mut one.partials);
        all.sketches.append(&one.sketches);
    }
    let mut order: Vec<usize> = (0..all.len()).collect();
    let start = |at: &usize| all.starts.get(*at).copied().unwrap_or_default();
    // Stable: of equal starts the last is the latest.
    order.sort_by_key(start);
    order.reverse();
    order.dedup_by_key(|at| start(at));
    order.reverse();
    let mut latest = Records::default();
    for at in order {
        let (Some(&start), Some(&partial)) = (all.starts.get(at), all.partials.get(at)) else {
            continue;
        };
        if partial.count > 0 {
            latest.starts.push(start);
            latest.partials.push(partial);
            latest.sketches.extend(all.sketches.get(at));
        }
    }
    if !fields.sketches {
        latest.sketches.clear();
    }
    Ok((latest, fields))
}

/// Removes the records of which a delete concerns any sample: one cannot be taken out of a record.
pub(crate) fn leave_out_deleted(
    records: &mut Records,
    sources: &Sources,
    source: &dyn RecordSource,
    series: SeriesId,
) {
    let masks = sources.masks.iter();
    let masks: Vec<TimeRange> = masks
        .filter(|mask| mask.affects(source.rank(), source.tombstones()))
        .filter(|mask| mask.series.contains(series.0))
        .map(|mask| mask.range)
        .collect();
    if masks.is_empty() {
        return;
    }
    let span = source.tier().nanos().max(1) - 1;
    let starts = records.starts.iter();
    let kept: Vec<bool> = starts
        .map(|&start| {
            let last = Timestamp(start.saturating_add(span));
            !masks.iter().any(|mask| mask.overlaps(Timestamp(start), last))
        })
        .collect();
    retain(&mut records.starts, &kept);
    retain(&mut records.partials, &kept);
    records.sketches.retain(|row| kept.get(row).copied().unwrap_or(true));
}

fn retain<T>(column: &mut Vec<T>, kept: &[bool]) {
    let mut kept = kept.iter();
    column.retain(|_| kept.next().copied().unwrap_or(true));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::Partial;
    use crate::segment::Mask;

    /// Records of one series: start and value.
    struct Held {
        rank: u64,
        records: Vec<(i64, f64)>,
    }

    impl RecordSource for Held {
        fn rank(&self) -> u64 {
            self.rank
        }
        fn tombstones(&self) -> u64 {
            0
        }
        fn tier(&self) -> Tier {
            Tier::MINUTE
        }
        fn window(&self) -> TimeRange {
            TimeRange::ALL
        }
        fn fields(&self, _: SeriesId) -> Result<Option<RecordFields>> {
            Ok(Some(RecordFields::default()))
        }
        fn read_records(&self, _: SeriesId, range: TimeRange, out: &mut Records) -> Result<()> {
            out.clear();
            for &(start, value) in
                self.records.iter().filter(|(s, _)| range.contains(Timestamp(*s)))
            {
                out.starts.push(start);
                // NaN stands for a bucket that became empty.
                let partial =
                    if value.is_nan() { Partial::EMPTY } else { Partial::of(&[start], &[value]) };
                out.partials.push(partial);
            }
            Ok(())
        }
    }

    #[test]
    fn the_latest_record_counts_and_deleted_ones_do_not() {
        let minute = Tier::MINUTE.nanos();
        let held = |rank, records: &[(i64, f64)]| -> Arc<dyn RecordSource> {
            let records = records.iter().map(|&(at, value)| (at * minute, value)).collect();
            Arc::new(Held { rank, records })
        };
        let mask = Mask {
            id: 1,
            rank: 6,
            range: TimeRange::new(Timestamp(4 * minute + 5), Timestamp(4 * minute + 6)),
            series: [0].into_iter().collect(),
        };
        let sources = Sources {
            records: vec![
                held(5, &[(0, 1.0), (1, 2.0), (2, 3.0), (4, 5.0)]),
                held(7, &[(1, f64::NAN), (2, 30.0), (3, 40.0)]),
            ],
            masks: vec![mask],
            ..Sources::default()
        };
        let (records, fields) = latest_records(&sources, SeriesId(0), TimeRange::ALL).unwrap();
        assert_eq!(fields, RecordFields::default());
        assert_eq!(records.starts, [0, 2 * minute, 3 * minute]);
        let sums: Vec<f64> = records.partials.iter().map(|partial| partial.sum).collect();
        assert_eq!(sums, [1.0, 30.0, 40.0]);
        let (records, _) = latest_records(&sources, SeriesId(1), TimeRange::ALL).unwrap();
        assert_eq!(records.starts.last(), Some(&(4 * minute)), "another series' delete");
    }
}
