//! What is asked, and how much it may cost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Function;
use super::plan::TierChoice;
use super::threshold::Threshold;
use super::top::Top;
use super::windows::Windows;
use crate::error::{Error, Result};
use crate::time::{TimeRange, Timestamp, duration_nanos};

/// A windowed aggregation over selected series.
///
/// ```
/// use std::time::Duration;
/// use icecore::{TimeRange, Timestamp, query::{Function, Grouping, Request}};
/// let hour = TimeRange::new(Timestamp::from_secs(0), Timestamp::from_secs(3600));
/// let request = Request {
///     step: Some(Duration::from_secs(60)),
///     group_by: Grouping::Labels(vec!["job".into()]),
///     ..Request::new(hour, vec![Function::Avg, "p99".parse()?])
/// };
/// assert_eq!(request.windows()?.len(), 60);
/// # Ok::<(), icecore::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Request {
    /// Samples at `start <= t < end` are looked at, no others.
    pub range: TimeRange,
    /// The windows' length; windows start at `range.start` and the last is cut at `range.end`.
    /// `None`: one window over the whole range.
    pub step: Option<Duration>,
    /// What to answer for each window, in this order.
    pub functions: Vec<Function>,
    /// Which series are pooled.
    pub group_by: Grouping,
    /// Which groups are answered, if not all.
    pub top: Option<Top>,
    /// Which samples are folded, if not all: those that pass. Then only raw samples are read, and
    /// distributions, which hold none, are left out.
    pub filter: Option<Threshold>,
    /// Which tiers may answer.
    pub tier: TierChoice,
    /// What it may cost.
    pub limits: Limits,
    /// When to give up.
    pub deadline: Option<Instant>,
    /// Whether a limit or the deadline leaves out the groups that could not be read in full,
    /// instead of failing the query; the answer's evidence tells. Which groups these are may
    /// differ from run to run.
    pub cut_short: bool,
    /// Whether the evidence tells what came late or was refused while the range was recorded: a
    /// small query of its own over the engine's own counters.
    pub losses: bool,
    /// Lets another thread give up.
    pub cancel: CancelToken,
}

impl Request {
    /// One window over the range, each series by itself, tiers where they answer exactly, default
    /// limits, no deadline, losses told.
    #[must_use]
    pub fn new(range: TimeRange, functions: Vec<Function>) -> Self {
        Self {
            range,
            step: None,
            functions,
            group_by: Grouping::Series,
            top: None,
            filter: None,
            tier: TierChoice::Auto,
            limits: Limits::default(),
            deadline: None,
            cut_short: false,
            losses: true,
            cancel: CancelToken::default(),
        }
    }

    /// The request with its range widened to multiples of the step since the epoch: start
    /// rounded down, end up (not beyond the ends of time). Unchanged without a step.
    #[must_use]
    pub fn aligned(mut self) -> Self {
        if let Some(step @ 1..) = self.step.map(duration_nanos) {
            let (start, end) = (self.range.start.0, self.range.end.0);
            let up = (step - end.rem_euclid(step)) % step;
            self.range.start = Timestamp(start.saturating_sub(start.rem_euclid(step)));
            self.range.end = Timestamp(end.saturating_add(up));
        }
        self
    }

    /// The windows it asks for.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where the range is empty or the step is 0.
    pub fn windows(&self) -> Result<Windows> {
        Windows::new(self.range, self.step)
    }

    /// What it may cost, and when to give up.
    pub(crate) fn costs(&self) -> (Limits, Option<Instant>, &CancelToken) {
        (self.limits, self.deadline, &self.cancel)
    }

    /// # Errors
    /// [`Error::InvalidArgument`] where a function or a label repetition makes no sense.
    pub(crate) fn check(&self) -> Result<()> {
        self.functions.iter().try_for_each(|function| function.check())?;
        self.top.iter().try_for_each(|top| top.check(&self.functions))?;
        let labels = match &self.group_by {
            Grouping::Series => &[],
            Grouping::Labels(labels) => labels.as_slice(),
        };
        for (index, label) in labels.iter().enumerate() {
            if labels.iter().skip(index + 1).any(|later| later == label) {
                let reason = format!("label {label:?} repeats");
                return Err(Error::InvalidArgument { what: "grouping", reason });
            }
        }
        Ok(())
    }
}

/// Which series are pooled into one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grouping {
    /// None: each series by itself.
    Series,
    /// Those with equal values of these labels (`__name__` is the metric name, an absent label is
    /// an empty value). No labels: all into one.
    Labels(Vec<String>),
}

/// What a query may cost before it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Selected series.
    pub series_max: u64,
    /// Samples decoded; those answered from statistics do not count.
    pub samples_max: u64,
    /// Bytes of accumulators, kept values (quantiles, samples), merges and the answer. Beside it
    /// each thread keeps one decoded chunk and at most 16 MiB of timestamps.
    pub memory_bytes_max: u64,
}

impl Default for Limits {
    /// 100,000 series; 2 billion samples, seconds of decoding; 1 GiB.
    fn default() -> Self {
        Self { series_max: 100_000, samples_max: 2_000_000_000, memory_bytes_max: 1 << 30 }
    }
}

/// Cancels a running query from another thread; clones are the same token.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A token that nobody has cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels every query that holds this token; they return
    /// [`Cancelled`](crate::Error::Cancelled) within one chunk.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligned_widens_to_multiples_of_the_step() {
        let aligned = |start, end, step| {
            let range = TimeRange::new(Timestamp(start), Timestamp(end));
            let step = Some(Duration::from_nanos(step));
            let range = Request { step, ..Request::new(range, vec![]) }.aligned().range;
            (range.start.0, range.end.0)
        };
        assert_eq!(aligned(13, 27, 10), (10, 30));
        assert_eq!(aligned(-13, -7, 10), (-20, 0));
        assert_eq!(aligned(10, 30, 10), (10, 30));
        assert_eq!(aligned(i64::MIN, i64::MAX, 10), (i64::MIN, i64::MAX));
        assert_eq!(aligned(3, 4, 0), (3, 4));
    }

    #[test]
    fn contradictions_are_refused() {
        let range = TimeRange::new(Timestamp(0), Timestamp(1));
        let twice = Request {
            group_by: Grouping::Labels(vec!["a".into(), "a".into()]),
            ..Request::new(range, vec![])
        };
        assert!(matches!(twice.check(), Err(Error::InvalidArgument { what: "grouping", .. })));
        let beyond = Request::new(range, vec![Function::Quantile(1.5)]);
        assert!(matches!(beyond.check(), Err(Error::InvalidArgument { what: "function", .. })));
        assert!(Request::new(range, vec![Function::Avg]).check().is_ok());
    }
}
