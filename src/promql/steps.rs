//! The times at which an expression is evaluated.

use crate::error::{Error, Result};
use crate::time::Timestamp;

/// Times `start + i·step`, `i` from 0, ascending. Nothing is stored per step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    start: Timestamp,
    /// Nanoseconds; of one step alone, 0.
    step: i64,
    len: usize,
    /// As it was asked for: no earlier than the last step.
    end: Timestamp,
}

impl Steps {
    /// One time.
    #[must_use]
    pub const fn at(time: Timestamp) -> Self {
        Self { start: time, step: 0, len: 1, end: time }
    }

    /// `start`, `start + step`, ... up to `end`, inclusive. `step` in nanoseconds.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where the step is not positive or the end lies before the start.
    pub fn new(start: Timestamp, end: Timestamp, step: i64) -> Result<Self> {
        let invalid = |what, reason: String| Err(Error::InvalidArgument { what, reason });
        if step <= 0 {
            return invalid("step", format!("{step} ns is not positive"));
        }
        if end < start {
            return invalid("end", format!("{end} lies before {start}"));
        }
        // The difference of two i64 fits into u64 where it is not negative.
        let span = end.0.wrapping_sub(start.0).cast_unsigned();
        let len = usize::try_from(span / step.unsigned_abs()).unwrap_or(usize::MAX);
        Ok(Self { start, step, len: len.saturating_add(1), end })
    }

    /// The first.
    #[must_use]
    pub const fn first(&self) -> Timestamp {
        self.start
    }

    /// The last.
    #[must_use]
    pub fn last(&self) -> Timestamp {
        self.get(self.len - 1)
    }

    /// The end that was asked for, which the last step may fall short of: what `@ end()` means.
    #[must_use]
    pub const fn end(&self) -> Timestamp {
        self.end
    }

    /// Nanoseconds from one to the next; 0 where there is only one.
    #[must_use]
    pub const fn step(&self) -> i64 {
        self.step
    }

    /// How many, at least 1.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// The step of this index, counted from 0; saturating at the ends of time.
    #[must_use]
    #[inline]
    pub fn get(&self, index: usize) -> Timestamp {
        let offset = (index as u64).saturating_mul(self.step.unsigned_abs());
        Timestamp(self.start.0.saturating_add_unsigned(offset))
    }

    /// All, ascending.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Timestamp> + use<> {
        let steps = *self;
        (0..steps.len).map(move |index| steps.get(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_a_step_where_the_steps_meet_it() {
        let times = |start, end, step| {
            let steps = Steps::new(Timestamp(start), Timestamp(end), step).unwrap();
            steps.iter().map(|time| time.0).collect::<Vec<_>>()
        };
        assert_eq!(times(5, 25, 10), [5, 15, 25]);
        assert_eq!(times(5, 24, 10), [5, 15]);
        assert_eq!(times(5, 5, 10), [5]);
        let short = Steps::new(Timestamp(5), Timestamp(24), 10).unwrap();
        assert_eq!((short.last(), short.end()), (Timestamp(15), Timestamp(24)));
    }

    #[test]
    fn nonsense_is_refused() {
        for (start, end, step) in [(0, 1, 0), (0, 1, -1), (1, 0, 1)] {
            let found = Steps::new(Timestamp(start), Timestamp(end), step);
            assert!(matches!(found, Err(Error::InvalidArgument { .. })), "{start} {end} {step}");
        }
    }

    #[test]
    fn all_of_time_can_be_counted() {
        let steps = Steps::new(Timestamp(i64::MIN), Timestamp(i64::MAX), i64::MAX).unwrap();
        assert_eq!((steps.len(), steps.last()), (3, Timestamp(i64::MAX - 1)));
    }
}
