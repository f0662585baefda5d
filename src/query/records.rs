//! Buckets folded into records: what a tier is built from.

use super::evidence::Ledger;
use super::inputs::Inputs;
use super::meter::Meter;
use super::plan::TierChoice;
use super::request::{CancelToken, Limits};
use super::walk::{Sink, Walker};
use super::windows::Windows;
use crate::aggregate::{Accumulator, Needs, Partial, Sketch};
use crate::error::Result;
use crate::model::SeriesId;
use crate::segment::{Records, Sources};
use crate::time::{Tier, TimeRange};

/// Replaces `out` with the records of one series for the buckets of `tier` in `range` (aligned to
/// them, not empty) as the sources tell them now: from the tier's own records and from finer ones
/// where they hold all that is needed, anew from raw samples where these were written or deleted
/// later. Buckets without a sample have no record. With `sketches` each record has one.
///
/// Cost: what a query with the tier's resolution as its step costs, and putting the sources in
/// order.
///
/// # Errors
/// Those of the sources; [`Error::InvalidArgument`](crate::Error::InvalidArgument) where the range
/// is empty.
pub fn bucket_records(
    series: SeriesId,
    tier: Tier,
    range: TimeRange,
    sources: &Sources,
    sketches: bool,
    out: &mut Records,
) -> Result<()> {
    let windows = Windows::of_tier(range, tier)?;
    let needs = Needs { values: sketches, ..Needs::PARTIAL };
    let limits = Limits { samples_max: u64::MAX, memory_bytes_max: u64::MAX, ..Limits::default() };
    let meter = Meter::new(limits, None, &CancelToken::new(), 1)?;
    let (inputs, ledger) = (Inputs::new(sources), Ledger::default());
    out.clear();
    let mut sink = Buckets { windows, needs, out, current: None };
    let choice = TierChoice::Auto;
    Walker::new(&inputs, windows, needs, choice, (&meter, &ledger)).series(series, &mut sink)?;
    sink.close();
    Ok(())
}

/// Collects records, bucket by bucket.
struct Buckets<'o> {
    windows: Windows,
    needs: Needs,
    out: &'o mut Records,
    /// The bucket being folded: which window, what it holds.
    current: Option<(usize, Partial, Sketch)>,
}

impl Buckets<'_> {
    /// Continues the bucket of a window, or begins it.
    fn bucket(&mut self, window: usize) -> &mut (usize, Partial, Sketch) {
        if self.current.as_ref().is_some_and(|(current, ..)| *current != window) {
            self.close();
        }
        self.current.get_or_insert_with(|| (window, Partial::EMPTY, Sketch::default()))
    }

    /// Ends the bucket.
    fn close(&mut self) {
        let Some((window, partial, sketch)) = self.current.take() else { return };
        if let Some(bounds) = self.windows.get(window).filter(|_| partial.count > 0) {
            self.out.starts.push(bounds.start.0);
            self.out.partials.push(partial);
            if self.needs.values {
                self.out.sketches.push(sketch);
            }
        }
    }
}

impl Sink for Buckets<'_> {
    fn expect(&mut self, _samples: u64) -> Result<()> {
        Ok(())
    }

    fn samples(&mut self, window: usize, timestamps: &[i64], values: &[f64]) {
        let needs = self.needs;
        let (_, partial, sketch) = self.bucket(window);
        partial.append(&Accumulator::of(timestamps, values, needs).partial);
        if needs.values {
            values.iter().for_each(|&value| sketch.record(value, 1));
        }
    }

    fn partial(&mut self, window: usize, later: &Partial, known: Option<&Sketch>) -> Result<()> {
        let (_, partial, sketch) = self.bucket(window);
        partial.append(later);
        known.into_iter().for_each(|known| sketch.merge(known));
        Ok(())
    }
}
