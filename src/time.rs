//! Timestamps, half-open ranges, and the only reader of the system clock.
//!
//! Columns of timestamps are plain `i64` slices of nanoseconds since the Unix epoch (UTC); a
//! single point in time is a [`Timestamp`].

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nanoseconds since the Unix epoch, UTC; negative before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The earliest point in time.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest point in time.
    pub const MAX: Self = Self(i64::MAX);

    /// From whole milliseconds since the epoch, saturating at the ends.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// From whole seconds since the epoch, saturating at the ends.
    #[must_use]
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// This point moved later, saturating at the end of time.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration_nanos(duration)))
    }

    /// This point moved earlier, saturating at the beginning of time.
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration_nanos(duration)))
    }
}

impl fmt::Display for Timestamp {
    /// Unix seconds with nine decimals, as `1795425382.586000000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, magnitude) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        write!(f, "{sign}{}.{:09}", magnitude / 1_000_000_000, magnitude % 1_000_000_000)
    }
}

/// A duration in nanoseconds, saturating at 292 years.
#[must_use]
pub fn duration_nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// A half-open window of time: `start <= t < end`. Empty where `start >= end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimeRange {
    /// Inclusive.
    pub start: Timestamp,
    /// Exclusive.
    pub end: Timestamp,
}

impl TimeRange {
    /// All of time but its last nanosecond.
    pub const ALL: Self = Self { start: Timestamp::MIN, end: Timestamp::MAX };

    /// The window `start <= t < end`.
    #[must_use]
    pub const fn new(start: Timestamp, end: Timestamp) -> Self {
        Self { start, end }
    }

    /// Whether no point lies in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start >= self.end
    }

    /// Whether the point lies in it.
    #[must_use]
    pub fn contains(&self, point: Timestamp) -> bool {
        self.start <= point && point < self.end
    }

    /// Whether any point of the *closed* span `first..=last` lies in it.
    #[must_use]
    pub fn overlaps(&self, first: Timestamp, last: Timestamp) -> bool {
        self.start <= last && first < self.end
    }

    /// Whether every point of the *closed* span `first..=last` lies in it.
    #[must_use]
    pub fn covers(&self, first: Timestamp, last: Timestamp) -> bool {
        self.start <= first && last < self.end
    }
}

/// How coarse samples are kept: raw as they came, or one record a bucket.
///
/// Buckets are aligned to the epoch: a tier of resolution `r` has the buckets `k·r <= t < (k+1)·r`.
/// Orders from fine to coarse, raw first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tier(i64);

impl Tier {
    /// Samples as they came.
    pub const RAW: Self = Self(0);
    /// One record a minute.
    pub const MINUTE: Self = Self(60_000_000_000);
    /// One record every five minutes.
    pub const FIVE_MINUTES: Self = Self(300_000_000_000);
    /// One record an hour.
    pub const HOUR: Self = Self(3_600_000_000_000);
    /// One record a day.
    pub const DAY: Self = Self(86_400_000_000_000);

    /// The tier of buckets this long; `None` where the length is 0 or beyond 2^62 ns (146 years).
    #[must_use]
    pub fn of(resolution: Duration) -> Option<Self> {
        Self::from_nanos(duration_nanos(resolution)).filter(|tier| *tier != Self::RAW)
    }

    /// From nanoseconds, 0 for raw; `None` outside of `0..=2^62`.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Option<Self> {
        if 0 <= nanos && nanos <= 1 << 62 { Some(Self(nanos)) } else { None }
    }

    /// The buckets' length, nanoseconds; 0 for raw.
    #[must_use]
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Whether samples are kept as they came.
    #[must_use]
    pub const fn is_raw(self) -> bool {
        self.0 == 0
    }

    /// The start of the bucket that holds the point; the point itself for raw. Saturates at the
    /// beginning of time.
    #[must_use]
    pub const fn floor(self, point: Timestamp) -> Timestamp {
        if self.0 == 0 {
            return point;
        }
        Timestamp(point.0.saturating_sub(point.0.rem_euclid(self.0)))
    }

    /// The earliest bucket start at or after the point; the point itself for raw. Saturates at the
    /// end of time.
    #[must_use]
    pub const fn ceil(self, point: Timestamp) -> Timestamp {
        let below = self.floor(point);
        if below.0 == point.0 { point } else { Timestamp(below.0.saturating_add(self.0)) }
    }
}

impl fmt::Display for Tier {
    /// `raw`, or the resolution in its largest whole unit: `1m`, `5m`, `1h`, `1d`, `1500ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_raw() {
            return f.write_str("raw");
        }
        let units = [
            (86_400_000_000_000, "d"),
            (3_600_000_000_000, "h"),
            (60_000_000_000, "m"),
            (1_000_000_000, "s"),
            (1_000_000, "ms"),
            (1_000, "us"),
        ];
        let unit = units.into_iter().find(|(nanos, _)| self.0 % nanos == 0);
        let (nanos, name) = unit.unwrap_or((1, "ns"));
        write!(f, "{}{name}", self.0 / nanos)
    }
}

/// Where the engine reads the time. Nothing else in the crate asks the system.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The system's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => Timestamp(duration_nanos(since)),
            Err(before) => Timestamp(-duration_nanos(before.duration())),
        }
    }
}

/// A clock that stands until it is moved: for tests, demos and generated history.
#[derive(Debug, Default)]
pub struct SimulatedClock(AtomicI64);

impl SimulatedClock {
    /// A clock standing at `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.0))
    }

    /// Moves the clock to `now`, backwards too.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.0, Ordering::SeqCst);
    }

    /// Moves the clock later.
    pub fn advance(&self, duration: Duration) {
        self.0.fetch_add(duration_nanos(duration), Ordering::SeqCst);
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// The longest length that divides both; that of 0 and another is the other.
pub(crate) fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_half_open() {
        let range = TimeRange::new(Timestamp(10), Timestamp(20));
        assert!(range.contains(Timestamp(10)) && !range.contains(Timestamp(20)));
        assert!(range.overlaps(Timestamp(19), Timestamp(30)));
        assert!(!range.overlaps(Timestamp(20), Timestamp(30)));
        assert!(!range.overlaps(Timestamp(0), Timestamp(9)));
        assert!(range.covers(Timestamp(10), Timestamp(19)));
        assert!(!range.covers(Timestamp(10), Timestamp(20)));
    }

    #[test]
    fn tiers_align_to_the_epoch_and_tell_their_name() {
        assert_eq!(Tier::MINUTE.floor(Timestamp::from_secs(-1)), Timestamp::from_secs(-60));
        assert_eq!(Tier::MINUTE.ceil(Timestamp::from_secs(61)), Timestamp::from_secs(120));
        assert_eq!(Tier::MINUTE.ceil(Timestamp::from_secs(60)), Timestamp::from_secs(60));
        assert_eq!(Tier::RAW.floor(Timestamp(7)), Timestamp(7));
        assert_eq!(Tier::DAY.floor(Timestamp::MIN), Timestamp::MIN);
        let named = [Tier::RAW, Tier::MINUTE, Tier::FIVE_MINUTES, Tier::HOUR, Tier::DAY];
        let names: Vec<String> = named.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["raw", "1m", "5m", "1h", "1d"]);
        assert!(named.is_sorted());
    }

    #[test]
    fn display_keeps_nanoseconds() {
        assert_eq!(Timestamp(1_795_425_382_586_000_001).to_string(), "1795425382.586000001");
        assert_eq!(Timestamp(-1).to_string(), "-0.000000001");
    }

    #[test]
    fn a_simulated_clock_moves_only_when_told() {
        let clock = SimulatedClock::new(Timestamp::from_secs(5));
        clock.advance(Duration::from_millis(1));
        assert_eq!(clock.now(), Timestamp(5_001_000_000));
    }
}
