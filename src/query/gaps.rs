//! What raw samples no longer tell: stretches of which only a coarser tier is left.

use super::inputs::{Input, Masked};
use super::ranges::{Ranges, intersection};
use super::walk::Walker;
use crate::error::Result;
use crate::model::SeriesId;
use crate::segment::RecordSource;
use crate::time::{Tier, TimeRange, Timestamp};

impl Walker<'_> {
    /// Notes where, in a range that raw samples had to answer, tiers hold records of samples that
    /// are gone. `self.spans` are what raw chunks and records span of the range.
    ///
    /// Retention drops whole parts, so only stretches are looked at that no raw chunk spans and
    /// that are at least a bucket of the finest tier long. That a record holds a sample which raw
    /// no longer does is certain for its first and its last, whose times it tells.
    pub(super) fn find_gaps(&mut self, series: SeriesId, range: TimeRange) -> Result<()> {
        let Some(finest) = self.inputs.resolutions.first().copied() else { return Ok(()) };
        let known = TimeRange::new(range.start, range.end.min(self.inputs.raw_whole_from));
        if known.is_empty() {
            return Ok(());
        }
        let range = known;
        let mut rest = Ranges::from(range);
        for &(first, last) in &self.spans {
            let end = Timestamp(last.saturating_add(1));
            rest.remove(TimeRange::new(Timestamp(first), end));
        }
        let long = |gap: &TimeRange| {
            *gap == range || gap.end.0.abs_diff(gap.start.0) >= finest.nanos().unsigned_abs()
        };
        let mut open = Ranges::default();
        rest.into_vec().into_iter().filter(long).for_each(|gap| open.insert(gap));
        for &tier in &self.inputs.resolutions {
            for gap in open.clone().into_vec() {
                for found in self.gone(series, tier, gap)? {
                    self.tally.gap(tier, found);
                    open.remove(found);
                }
            }
        }
        Ok(())
    }

    /// Of a stretch without raw samples, the buckets of which a tier holds samples.
    fn gone(&mut self, series: SeriesId, tier: Tier, gap: TimeRange) -> Result<Vec<TimeRange>> {
        let about = TimeRange::new(tier.floor(gap.start), tier.ceil(gap.end));
        let mut chosen = Vec::new();
        for (index, input) in self.inputs.tiers.iter().enumerate() {
            let holds = |input: &Input<'_, dyn RecordSource>| {
                input.source.tier() == tier
                    && !intersection(input.source.window(), about).is_empty()
            };
            if holds(input) && input.source.holds(series)? {
                chosen.push(index);
            }
        }
        if chosen.is_empty() {
            return Ok(Vec::new());
        }
        self.records.read(&self.inputs.tiers, chosen, (series, about), |_, _| ())?;
        let mut found = Vec::new();
        let mut unsure = Vec::new();
        for row in self.records.rows().filter(|row| row.partial.count > 0) {
            let (first, last) = (row.partial.first.timestamp, row.partial.last.timestamp);
            let input = self.inputs.tiers.get(row.from);
            let masked = input.is_none_or(|i| i.masked(series, first, last) != Masked::No);
            if masked || !gap.overlaps(first, last) {
                continue;
            }
            let bucket = TimeRange::new(
                Timestamp(row.start),
                Timestamp(row.start.saturating_add(tier.nanos())),
            );
            let within = intersection(bucket, gap);
            if gap.contains(first) || gap.contains(last) {
                found.push(within);
            } else {
                unsure.push((first, within));
            }
        }
        // A bucket that reaches out of the gap on both sides: is its first sample still there?
        for (first, within) in unsure {
            let moment = TimeRange::new(first, Timestamp(first.0.saturating_add(1)));
            self.reader.locate(series, moment, &mut self.located)?;
            let recorded = self.recorded_in.iter().copied();
            self.records.read(&self.inputs.recorded, recorded, (series, moment), |_, _| ())?;
            if self.located.is_empty() && self.records.is_empty() {
                found.push(within);
            }
        }
        Ok(found)
    }
}
