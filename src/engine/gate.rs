//! The gate: what is let in, checked on the writer's own thread, every refusal counted.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Error;
use crate::model::{Matcher, Series, SeriesId};
use crate::options::{GateOptions, RateLimit};
use crate::time::{Timestamp, duration_nanos};

/// Why samples were refused. The names are the values of the label `reason` of
/// `icecore_samples_refused_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// A name or label breaks the rules; one refusal a series asked for.
    InvalidName,
    /// A filter rule denies the series; one refusal a series asked for.
    Filtered,
    /// Older than the window takes.
    TooOld,
    /// Newer than the window takes.
    TooNew,
    /// Thinned out by a sampling rule.
    Sampled,
    /// The source's rate limit.
    RateLimited,
    /// The channel was full and the writer would not wait.
    ChannelFull,
    /// Less free space on the disk than the guard keeps.
    DiskFull,
    /// An observation of a distribution that is NaN or infinite.
    NotFinite,
    /// An observation of a distribution that spread over more bins at once than a handle holds.
    TooManyBins,
    /// Not refused but redirected: written to an overflow series, since the store holds as many
    /// series as it may.
    SeriesLimit,
    /// The byte budget is used up, and nothing more can be dropped.
    OverBudget,
}

impl Reason {
    /// Every reason, in a fixed order.
    pub const ALL: [Self; 12] = [
        Self::InvalidName,
        Self::Filtered,
        Self::TooOld,
        Self::TooNew,
        Self::Sampled,
        Self::RateLimited,
        Self::ChannelFull,
        Self::DiskFull,
        Self::NotFinite,
        Self::TooManyBins,
        Self::SeriesLimit,
        Self::OverBudget,
    ];

    /// The reason of an error that keeps samples out for want of room.
    pub(super) const fn of(error: &Error) -> Option<Self> {
        match error {
            Error::DiskFull { .. } => Some(Self::DiskFull),
            Error::OverBudget { .. } => Some(Self::OverBudget),
            _ => None,
        }
    }

    /// The reason's name in snake case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidName => "invalid_name",
            Self::Filtered => "filtered",
            Self::TooOld => "too_old",
            Self::TooNew => "too_new",
            Self::Sampled => "sampled",
            Self::RateLimited => "rate_limited",
            Self::ChannelFull => "channel_full",
            Self::DiskFull => "disk_full",
            Self::NotFinite => "not_finite",
            Self::TooManyBins => "too_many_bins",
            Self::SeriesLimit => "series_limit",
            Self::OverBudget => "over_budget",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a series was not let in.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A name or label breaks the rules.
    #[error(transparent)]
    InvalidName(Error),
    /// A filter rule denies it.
    #[error("{series} is denied by filter rule {rule}")]
    Filtered {
        /// The series.
        series: Series,
        /// The rule's place in [`GateOptions::filters`], from 0.
        rule: usize,
    },
    /// The engine takes no writes, or is closed.
    #[error(transparent)]
    Unavailable(Error),
}

/// Samples refused so far, by reason.
#[derive(Debug, Default)]
pub(super) struct Refusals([AtomicU64; Reason::ALL.len()]);

impl Refusals {
    pub(super) fn count(&self, reason: Reason, samples: u64) {
        if let Some(counter) = self.0.get(reason as usize) {
            counter.fetch_add(samples, Ordering::Relaxed);
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.into_iter().zip(self.0.iter().map(|counter| counter.load(Ordering::Relaxed)))
    }
}

/// Which timestamps come in, inclusive at both ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) oldest: i64,
    pub(super) newest: i64,
}

impl Window {
    pub(super) fn check(&self, timestamp: i64) -> Result<(), Reason> {
        if timestamp < self.oldest {
            Err(Reason::TooOld)
        } else if timestamp > self.newest {
            Err(Reason::TooNew)
        } else {
            Ok(())
        }
    }

    /// Whether every timestamp comes in.
    pub(super) fn takes_all(&self, timestamps: &[i64]) -> bool {
        timestamps.iter().all(|&t| self.oldest <= t && t <= self.newest)
    }
}

/// Lets the first sample of each aligned interval pass. Shared by all handles of its series.
#[derive(Debug)]
pub(super) struct Sampler {
    interval: i64,
    latest: AtomicI64,
}

impl Sampler {
    pub(super) fn passes(&self, timestamp: i64) -> bool {
        // One more, so that the first interval of time is above "none yet" too.
        let interval = timestamp.div_euclid(self.interval).saturating_add(1);
        self.latest.fetch_max(interval, Ordering::Relaxed) < interval
    }
}

/// A token bucket, held as the time at which it will be full again (GCRA, ITU-T I.371).
#[derive(Debug)]
pub(super) struct Bucket {
    limit: RateLimit,
    full_at: AtomicI64,
}

impl Bucket {
    fn nanos(&self, samples: u64) -> i64 {
        let nanos = u128::from(samples) * 1_000_000_000 / u128::from(self.limit.samples_per_second);
        i64::try_from(nanos).unwrap_or(i64::MAX)
    }

    /// Takes `samples` at `now`; says whether it could.
    pub(super) fn take(&self, samples: u64, now: Timestamp) -> bool {
        let (now, cost) = (now.0, self.nanos(samples));
        let depth = self.nanos(self.limit.burst_samples);
        let take = |full_at: i64| {
            // Further ahead than a burst can bring it: the clock was set back.
            let full_at = if full_at.saturating_sub(now) > depth { now } else { full_at.max(now) };
            let after = full_at.saturating_add(cost);
            (after.saturating_sub(now) <= depth).then_some(after)
        };
        self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

/// The rules at the door, and their state.
#[derive(Debug)]
pub(super) struct Gate {
    options: GateOptions,
    samplers: Mutex<HashMap<SeriesId, Arc<Sampler>>>,
    buckets: Mutex<HashMap<String, Arc<Bucket>>>,
    pub(super) refusals: Refusals,
}

impl Gate {
    pub(super) fn new(options: GateOptions) -> Self {
        Self {
            options,
            samplers: Mutex::default(),
            buckets: Mutex::default(),
            refusals: Refusals::default(),
        }
    }

    pub(super) fn series_max(&self) -> usize {
        self.options.series_max
    }

    /// # Errors
    /// [`Refusal::Filtered`] where the first filter rule that matches denies the series.
    pub(super) fn check_filters(&self, series: &Series) -> Result<(), Refusal> {
        let matching = |rule: &crate::options::FilterRule| accepts(&rule.matcher, series);
        match self.options.filters.iter().position(matching) {
            Some(rule) if self.options.filters.get(rule).is_some_and(|found| !found.allow) => {
                Err(Refusal::Filtered { series: series.clone(), rule })
            }
            _ => Ok(()),
        }
    }

    /// The sampler of a series that a rule thins out.
    pub(super) fn sampler(&self, id: SeriesId, series: &Series) -> Option<Arc<Sampler>> {
        let rule = self.options.sampling.iter().find(|rule| accepts(&rule.matcher, series))?;
        let mut samplers = self.samplers.lock().unwrap_or_else(PoisonError::into_inner);
        let sampler = samplers.entry(id).or_insert_with(|| {
            let interval = duration_nanos(rule.interval).max(1);
            Arc::new(Sampler { interval, latest: AtomicI64::new(i64::MIN) })
        });
        Some(Arc::clone(sampler))
    }

    /// The bucket of a source, where there is a rate limit.
    pub(super) fn bucket(&self, source: &str) -> Option<Arc<Bucket>> {
        let limit = self.options.rate?;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets
            .entry(source.to_owned())
            .or_insert_with(|| Arc::new(Bucket { limit, full_at: AtomicI64::new(i64::MIN) }));
        Some(Arc::clone(bucket))
    }

    /// Whether a batch needs to know the time at all.
    pub(super) fn reads_clock(&self) -> bool {
        self.options.past.is_some() || self.options.future.is_some() || self.options.rate.is_some()
    }

    /// The window of timestamps taken at `now`, which only an unbounded window can do without.
    /// The last nanosecond of time never comes in: no half-open range could name it.
    pub(super) fn window(&self, now: Option<Timestamp>) -> Window {
        let bound = |duration: Option<_>| now.zip(duration);
        let oldest =
            bound(self.options.past).map_or(i64::MIN, |(t, past)| t.saturating_sub(past).0);
        let newest =
            bound(self.options.future).map_or(i64::MAX, |(t, future)| t.saturating_add(future).0);
        Window { oldest, newest: newest.min(i64::MAX - 1) }
    }
}

fn accepts(matcher: &Matcher, series: &Series) -> bool {
    matcher.accepts(series.label(matcher.name()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn reasons_index_their_counters() {
        for (i, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, i);
        }
    }

    #[test]
    fn a_bucket_holds_its_rate_and_survives_a_clock_set_back() {
        let limit = RateLimit { samples_per_second: 1000, burst_samples: 500 };
        let bucket = Bucket { limit, full_at: AtomicI64::new(i64::MIN) };
        let mut now = Timestamp::from_secs(1_000_000);
        assert!(!bucket.take(501, now), "more than a burst never passes");
        assert!(bucket.take(500, now) && !bucket.take(1, now));
        let mut passed = 0;
        for _ in 0..10_000 {
            now = now.saturating_add(Duration::from_micros(100));
            passed += u64::from(bucket.take(1, now));
        }
        assert_eq!(passed, 1000, "one second at 1,000 a second");
        now = now.saturating_sub(Duration::from_secs(3600));
        assert!(bucket.take(1, now));
    }

    #[test]
    fn a_sampler_passes_the_first_of_each_interval() {
        let sampler = Sampler { interval: 10, latest: AtomicI64::new(i64::MIN) };
        let passed: Vec<i64> =
            [-5, -1, 0, 3, 9, 10, 35, 20, 40].into_iter().filter(|&t| sampler.passes(t)).collect();
        assert_eq!(passed, [-5, 0, 10, 35, 40]);
    }
}
