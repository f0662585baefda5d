//! Records of a tier as queries fold them: what tiers are built of.

use rayon::prelude::*;

use super::TierChoice;
use super::evidence::Ledger;
use super::inputs::Inputs;
use super::meter::Meter;
use super::request::{CancelToken, Limits};
use super::walk::{Sink, Walker};
use super::windows::Windows;
use crate::aggregate::{Accumulator, Needs, Partial, Sketch, SketchRef};
use crate::error::{Error, Result};
use crate::model::SeriesId;
use crate::segment::{RecordFields, Records, Sources};
use crate::time::{Tier, TimeRange};

/// No limits: whoever asks cuts what is asked into batches.
const UNLIMITED: Limits =
    Limits { series_max: u64::MAX, samples_max: u64::MAX, memory_bytes_max: u64::MAX };

/// The records of a tier's buckets in `range`, which is aligned to them: for each of the `series`,
/// in their order, what it holds in each bucket that holds any sample. They are what a query with
/// the tier's resolution as its step reads, but that the step of a counter from one bucket to the
/// next is in neither: appending them counts it.
///
/// Sources of other tiers that divide this one are read where they account for a stretch, and hold
/// the fields; raw ones elsewhere, and where they hold what these have not taken in.
///
/// Runs on the current rayon pool. Memory: the records.
///
/// # Errors
/// [`Error::InvalidArgument`] for raw, or a range that is empty or not aligned; whatever a source
/// fails with.
pub fn bucket_records(
    tier: Tier,
    range: TimeRange,
    series: &[(SeriesId, RecordFields)],
    sources: &Sources,
) -> Result<Vec<Records>> {
    if tier.is_raw() || tier.floor(range.start) != range.start || tier.floor(range.end) != range.end
    {
        let reason = format!("{} to {} are not buckets of {tier}", range.start, range.end);
        return Err(Error::InvalidArgument { what: "range", reason });
    }
    let windows = Windows::of_tier(range, tier)?;
    let meter = Meter::new(UNLIMITED, None, &CancelToken::default(), None, 0)?;
    let (inputs, ledger) = (Inputs::new(sources, range), Ledger::default());
    let walker = |fields: RecordFields| {
        let choice = TierChoice::Auto;
        Walker::new(&inputs, windows, needs(fields), choice, (&meter, &ledger))
    };
    series
        .par_iter()
        .map_init(Vec::<(RecordFields, Walker<'_>)>::new, |walkers, &(id, fields)| {
            let mut fold = Fold::new(&windows, fields);
            match walkers.iter_mut().find(|(same, _)| *same == fields) {
                Some((_, walker)) => walker.series(id, &mut fold)?,
                None => {
                    let mut fresh = walker(fields);
                    fresh.series(id, &mut fold)?;
                    walkers.push((fields, fresh));
                }
            }
            Ok(fold.finish())
        })
        .collect()
}

/// What must be folded, and so what a record must hold to be read.
pub(super) const fn needs(fields: RecordFields) -> Needs {
    let RecordFields { increase, sketches } = fields;
    Needs { increase, values: sketches, ..Needs::PARTIAL }
}

/// Turns a walk over one series into records.
pub(super) struct Fold<'a> {
    windows: &'a Windows,
    fields: RecordFields,
    needs: Needs,
    /// The window being folded.
    window: usize,
    current: Accumulator,
    sketch: Sketch,
    out: Records,
}

impl<'a> Fold<'a> {
    pub(super) fn new(windows: &'a Windows, fields: RecordFields) -> Self {
        let (current, sketch) = (Accumulator::EMPTY, Sketch::default());
        let needs = needs(fields);
        Self { windows, fields, needs, window: 0, current, sketch, out: Records::default() }
    }

    fn turn_to(&mut self, window: usize) {
        if window != self.window {
            self.close();
            self.window = window;
        }
    }

    /// Ends the window being folded: a record, if it held anything.
    fn close(&mut self) {
        let mut partial = std::mem::take(&mut self.current).partial;
        let Some(window) = self.windows.get(self.window).filter(|_| partial.count > 0) else {
            self.sketch.clear();
            return;
        };
        if !self.fields.increase {
            (partial.increase, partial.resets) = (f64::NAN, 0);
        }
        self.out.starts.push(window.start.0);
        self.out.partials.push(partial);
        if self.fields.sketches {
            self.out.sketches.push(&self.sketch);
            self.sketch.clear();
        }
    }

    pub(super) fn finish(mut self) -> Records {
        self.close();
        self.out
    }
}

impl Sink for Fold<'_> {
    fn expect(&mut self, _: u64) -> Result<()> {
        Ok(())
    }

    fn samples(&mut self, window: usize, timestamps: &[i64], values: &[f64]) {
        self.turn_to(window);
        let later = Accumulator::of(timestamps, values, self.needs);
        self.current.append(&later, self.needs);
        if self.fields.sketches {
            values.iter().for_each(|&value| self.sketch.record(value, 1));
        }
    }

    fn partial(
        &mut self,
        window: usize,
        partial: &Partial,
        sketch: Option<SketchRef<'_>>,
        _: bool,
    ) -> Result<()> {
        self.turn_to(window);
        self.current.append(&Accumulator::of_partial(*partial), self.needs);
        if let Some(sketch) = sketch {
            self.sketch.merge(sketch);
        }
        Ok(())
    }
}
