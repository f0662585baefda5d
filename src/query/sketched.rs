//! What a group's row keeps of sketches: one a window, or, where they are of one series, answers.

use super::Function;
use super::meter::Meter;
use crate::aggregate::{Accumulator, Bin, Sketch, SketchRef};
use crate::error::Result;

/// What is known of values that are gone, window by window.
///
/// Where the group is one series, which comes in order of time, a window's quantiles are found when the
/// next one begins: a sketch takes some kilobytes, and an answer eight bytes. Else the sketches are kept
/// until those of all series are in them.
#[derive(Default)]
pub(super) struct Sketched {
    /// One a window; empty where nothing is kept.
    kept: Vec<Sketch>,
    /// The quantiles to find at once; empty where the sketches are kept.
    quantiles: Vec<f64>,
    /// As many for each window, NaN where one is not found; empty before the first is.
    found: Vec<f64>,
    /// Of the one series, what came of the window that is still open.
    open: Sketch,
    window: usize,
    /// Bytes of the meter's memory that it holds.
    reserved: u64,
}

impl Sketched {
    /// Those of one series alone, of which the functions are asked.
    pub(super) fn of_one(functions: &[Function]) -> Self {
        let quantiles = functions.iter().filter_map(|function| match function {
            Function::Quantile(q) => Some(*q),
            _ => None,
        });
        Self { quantiles: quantiles.collect(), ..Self::default() }
    }

    /// Whether there were none.
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.found.is_empty()
    }

    /// Bytes of the meter's memory that it holds, for whoever drops it to give back.
    pub(super) fn reserved(&self) -> u64 {
        self.reserved
    }

    fn reserve(&mut self, bytes: usize, meter: &Meter<'_>) -> Result<()> {
        meter.reserve(bytes as u64)?;
        self.reserved += bytes as u64;
        Ok(())
    }

    /// Adds one to a window of `windows`, which hold what has come of those before it; `whole` says that
    /// nothing but this comes of the window.
    ///
    /// # Errors
    /// [`Limit`](crate::Error::Limit).
    pub(super) fn add(
        &mut self,
        (window, whole): (usize, bool),
        sketch: SketchRef<'_>,
        windows: &[Accumulator],
        meter: &Meter<'_>,
    ) -> Result<()> {
        if self.quantiles.is_empty() {
            return self.keep(window, sketch, windows.len(), meter);
        }
        if window != self.window {
            self.close(windows, meter)?;
            self.window = window;
        }
        if whole {
            return self.find(sketch, windows.len(), meter);
        }
        self.open.merge(sketch);
        Ok(())
    }

    /// Finds the quantiles of the window that has ended; where it has values beside those of its sketch,
    /// that is kept. As [`add`](Self::add).
    pub(super) fn close(&mut self, windows: &[Accumulator], meter: &Meter<'_>) -> Result<()> {
        if self.open.is_empty() {
            return Ok(());
        }
        let mut open = std::mem::take(&mut self.open);
        let all = windows.get(self.window).map(|window| window.partial.count);
        if all == Some(open.count()) {
            self.find(open.view(), windows.len(), meter)?;
        } else {
            self.keep(self.window, open.view(), windows.len(), meter)?;
        }
        open.clear();
        self.open = open;
        Ok(())
    }

    fn find(&mut self, sketch: SketchRef<'_>, windows: usize, meter: &Meter<'_>) -> Result<()> {
        let each = self.quantiles.len();
        if self.found.is_empty() {
            self.reserve(windows * each * size_of::<f64>(), meter)?;
            self.found.resize(windows * each, f64::NAN);
        }
        let places = self.found.iter_mut().skip(self.window * each);
        for (place, q) in places.zip(&self.quantiles) {
            *place = sketch.quantile(*q);
        }
        Ok(())
    }

    fn keep(
        &mut self,
        window: usize,
        sketch: SketchRef<'_>,
        windows: usize,
        meter: &Meter<'_>,
    ) -> Result<()> {
        if self.kept.is_empty() {
            self.reserve(windows * size_of::<Sketch>(), meter)?;
            self.kept.resize(windows, Sketch::default());
        }
        let Some(kept) = self.kept.get_mut(window) else { return Ok(()) };
        let before = kept.bins();
        kept.merge(sketch);
        let more = kept.bins() - before;
        self.reserve(more * size_of::<Bin>(), meter)
    }

    /// Adds those of the group's next series.
    pub(super) fn pool(&mut self, next: Self) {
        self.reserved += next.reserved;
        if self.kept.is_empty() {
            self.kept = next.kept;
        } else {
            for (kept, other) in self.kept.iter_mut().zip(&next.kept) {
                kept.merge(other);
            }
        }
    }

    /// What is kept of a window, if anything is.
    pub(super) fn kept(&self, window: usize) -> Option<&Sketch> {
        self.kept.get(window).filter(|sketch| !sketch.is_empty())
    }

    /// A window's quantile, if it is found already.
    pub(super) fn found(&self, window: usize, q: f64) -> Option<f64> {
        let at = self.quantiles.iter().position(|one| *one == q)?;
        self.found.get(window * self.quantiles.len() + at).copied().filter(|found| !found.is_nan())
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::{CancelToken, Limits};
    use super::*;
    use crate::aggregate::Partial;

    fn window(values: &[f64]) -> Accumulator {
        let times: Vec<i64> = (0..).take(values.len()).collect();
        Accumulator::of_partial(Partial::of(&times, values))
    }

    fn meter() -> Meter<'static> {
        Meter::new(Limits::default(), None, &CancelToken::default(), None, 0).unwrap()
    }

    #[test]
    fn of_one_series_what_is_all_of_a_window_is_found_and_the_rest_kept() {
        let functions = [Function::Quantile(0.5), Function::Avg, Function::Quantile(0.9)];
        let (first, second) = (Sketch::of(&[1.0, 2.0, 3.0]), Sketch::of(&[40.0, 50.0]));
        // The last one holds a value that its sketch does not know of.
        let all = [
            window(&[1.0, 2.0, 3.0]),
            window(&[]),
            window(&[1.0, 2.0, 3.0, 40.0, 50.0]),
            window(&[40.0, 50.0, 7.0]),
        ];
        let (mut sketched, meter) = (Sketched::of_one(&functions), meter());
        for (at, whole, sketch) in
            [(0, true, &first), (2, false, &first), (2, false, &second), (3, false, &second)]
        {
            sketched.add((at, whole), sketch.view(), &all, &meter).unwrap();
        }
        sketched.close(&all, &meter).unwrap();
        let kept = 4 * size_of::<Sketch>() + second.bins() * size_of::<Bin>();
        assert_eq!(sketched.reserved(), (4 * 2 * size_of::<f64>() + kept) as u64);

        let mut both = first.clone();
        both.merge(&second);
        for q in [0.5, 0.9] {
            assert_eq!(sketched.found(0, q), Some(first.quantile(q)));
            assert_eq!(sketched.found(2, q), Some(both.quantile(q)));
            assert_eq!((sketched.found(1, q), sketched.found(3, q)), (None, None));
        }
        assert_eq!(sketched.found(0, 0.7), None);
        assert_eq!(sketched.kept(3), Some(&second));
        assert!((0..3).all(|at| sketched.kept(at).is_none()));
        assert!(!sketched.is_empty());
    }

    #[test]
    fn of_several_series_all_is_kept() {
        let (one, other) = (Sketch::of(&[1.0]), Sketch::of(&[2.0]));
        let (all, meter) = ([window(&[1.0, 2.0])], meter());
        let mut pooled = Sketched::default();
        for sketch in [&one, &other] {
            let mut series = Sketched::default();
            series.add((0, true), sketch.view(), &all, &meter).unwrap();
            pooled.pool(series);
        }
        assert_eq!(pooled.kept(0), Some(&Sketch::of(&[1.0, 2.0])));
        assert_eq!(pooled.found(0, 0.5), None);
    }
}
