//! When a selector looks, seen from the step that is evaluated: `@` and `offset`.

use crate::promql::steps::Steps;
use crate::time::Timestamp;

/// `@`: one time whatever the step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::promql) enum Pin {
    /// `@ start()`: the first step of the whole query.
    Start,
    /// `@ end()`: the end that was asked for, which its last step may fall short of.
    End,
    /// `@ 1609746000`.
    At(Timestamp),
}

/// The modifiers of a selector or subquery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::promql) struct Moment {
    pub(in crate::promql) pin: Option<Pin>,
    /// Nanoseconds back from the step or the pinned time; negative: forward.
    pub(in crate::promql) offset: i64,
}

impl Moment {
    /// Where it looks from at `steps`; `query` are the steps of the whole query.
    pub(in crate::promql) fn reach(self, steps: Steps, query: Steps) -> Reach {
        let pinned = self.pin.map(|pin| match pin {
            Pin::Start => query.first(),
            Pin::End => query.end(),
            Pin::At(time) => time,
        });
        Reach { steps, pinned, offset: self.offset }
    }
}

/// For each step the time at which a look ends. Ascending.
#[derive(Debug, Clone, Copy)]
pub(in crate::promql) struct Reach {
    /// The steps evaluated.
    pub(in crate::promql) steps: Steps,
    pinned: Option<Timestamp>,
    offset: i64,
}

impl Reach {
    /// Where the look of a step ends, inclusive; saturating at the ends of time.
    #[inline]
    pub(in crate::promql) fn end(&self, step: usize) -> i64 {
        let time = self.pinned.unwrap_or_else(|| self.steps.get(step));
        time.0.saturating_sub(self.offset)
    }

    /// Where the look of the first step ends.
    pub(in crate::promql) fn first(&self) -> i64 {
        self.end(0)
    }

    /// Where the look of the last step ends.
    pub(in crate::promql) fn last(&self) -> i64 {
        self.end(self.steps.len() - 1)
    }

    /// Nanoseconds from one look to the next; 0 where all are the same.
    pub(in crate::promql) fn step(&self) -> i64 {
        if self.pinned.is_some() { 0 } else { self.steps.step() }
    }

    /// Whether a look of this length at some step sees any time of the closed span.
    pub(in crate::promql) fn sees(&self, length: i64, (first, last): (i64, i64)) -> bool {
        let step = self.step();
        let start = self.first();
        // The earliest look that ends at or after the span's first time sees it, or none does.
        let end = if first <= start {
            start
        } else if step == 0 {
            return false;
        } else {
            let behind = first.abs_diff(start).div_ceil(step.unsigned_abs());
            let back = usize::try_from(behind).unwrap_or(usize::MAX);
            if back >= self.steps.len() {
                return false;
            }
            self.end(back)
        };
        last > end.saturating_sub(length)
    }
}
