//! Functions over ranges answered from buckets, which tiers hold ready, instead of samples.
//!
//! PromQL's windows are open at their start and closed at their end, buckets the other way round;
//! what a sample that stands exactly at a border changes is put right where that can be known, and
//! else the series is read sample by sample. So the values are those that samples give; only where
//! the caller says so ([`Tiers::Near`]), sums are taken as records hold them, whose additions were
//! in another order.

use super::Tiers;
use super::plan::Reach;
use super::range::{RangeCall, RangeFunction};
use super::value::ABSENT;
use crate::aggregate::Partial;
use crate::segment::Records;
use crate::time::{Tier, greatest_common_divisor};

/// Windows that are made of shorter buckets are read sample by sample: buckets hold hardly fewer.
const BUCKET_MIN: i64 = 5 * Tier::MINUTE.nanos();

/// The length of the buckets that make up all windows of a call, where it can be answered from
/// some: the longest that divides both the range and the step.
pub(super) fn bucket_of(
    function: RangeFunction,
    (range, reach): (i64, Reach),
    tiers: Tiers,
) -> Option<i64> {
    use RangeFunction as F;
    let answers = match function {
        F::Count | F::Last | F::Max | F::Min | F::Present => true,
        F::Avg | F::Sum => tiers == Tiers::Near,
        _ => false,
    };
    let step = reach.step();
    let minutes = |nanos: i64| nanos % Tier::MINUTE.nanos() == 0;
    let aligned = minutes(reach.first()) && minutes(range) && minutes(step);
    // Between windows that leave time out, buckets of that time would be read for nothing.
    let gapless = step <= range;
    let bucket = greatest_common_divisor(range.unsigned_abs(), step.unsigned_abs()) as i64;
    (answers && aligned && gapless && bucket >= BUCKET_MIN).then_some(bucket)
}

/// Appends the value of every step, or tells that buckets leave one open; then nothing was
/// appended.
pub(super) fn column(call: &RangeCall, records: &Records, out: &mut Vec<f64>) -> bool {
    // Observations of distributions are no samples, and have no first one.
    if records.partials.iter().any(|partial| partial.first.value.is_nan()) {
        return false;
    }
    let before = out.len();
    for step in 0..call.reach.steps.len() {
        let end = call.reach.end(step);
        let Some(value) =
            Window::new(records, end.saturating_sub(call.range), end).value(call.function)
        else {
            out.truncate(before);
            return false;
        };
        out.push(value);
    }
    true
}

/// The buckets of one window.
struct Window<'r> {
    /// Those that start in it, its start among them.
    inside: &'r [Partial],
    /// The value of a sample at its very start, which is not of it.
    at_start: Option<f64>,
    /// The value of a sample at its very end, which is of it, and in the next bucket.
    at_end: Option<f64>,
}

impl<'r> Window<'r> {
    fn new(records: &'r Records, start: i64, end: i64) -> Self {
        let below = |point: i64| records.starts.partition_point(|&start| start < point);
        let (first, behind) = (below(start), below(end));
        let sample_at = |index: usize, border: i64| {
            let partial = records.partials.get(index)?;
            (partial.first.timestamp.0 == border).then_some(partial.first.value)
        };
        Self {
            inside: records.partials.get(first..behind).unwrap_or_default(),
            at_start: sample_at(first, start).filter(|_| first < behind),
            at_end: sample_at(behind, end),
        }
    }

    fn count(&self) -> u64 {
        let all: u64 = self.inside.iter().map(|partial| partial.count).sum();
        all + u64::from(self.at_end.is_some()) - u64::from(self.at_start.is_some())
    }

    /// The function's value, [`ABSENT`] where there is no sample; `None` where it depends on samples
    /// that no bucket tells of.
    fn value(&self, function: RangeFunction) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return Some(ABSENT);
        }
        match function {
            RangeFunction::Count => Some(count as f64),
            RangeFunction::Present => Some(1.0),
            RangeFunction::Last => {
                self.at_end.or(self.inside.last().map(|partial| partial.last.value))
            }
            RangeFunction::Max => self.extreme(|partial| partial.max, |value, best| value > best),
            RangeFunction::Min => self.extreme(|partial| partial.min, |value, best| value < best),
            RangeFunction::Sum => Some(self.sum()),
            RangeFunction::Avg => Some(self.sum() / count as f64),
            _ => None,
        }
    }

    fn extreme(
        &self,
        of: impl Fn(&Partial) -> f64,
        beats: impl Fn(f64, f64) -> bool,
    ) -> Option<f64> {
        let mut inside = self.inside;
        if let (Some(value), Some((first, rest))) = (self.at_start, inside.split_first()) {
            if first.count == 1 {
                inside = rest;
            } else if value.to_bits() == of(first).to_bits() {
                // Without it another would be the extreme: which, is not known.
                return None;
            }
        }
        let values = inside.iter().map(of).chain(self.at_end);
        values.reduce(|best, value| if best.is_nan() || beats(value, best) { value } else { best })
    }

    fn sum(&self) -> f64 {
        let all: f64 = self.inside.iter().map(|partial| partial.sum).sum();
        all - self.at_start.unwrap_or(0.0) + self.at_end.unwrap_or(0.0)
    }
}
