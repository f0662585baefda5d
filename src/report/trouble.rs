//! Where trouble was: stretches of time in which failures, long waits or broken-off queries were more
//! frequent than in the rest of the range.
//!
//! Each subject (all queries, each source) is searched for bursts ([`super::burst`]) of three kinds:
//! - *failures* among calls, or queries: failed or timed out;
//! - *slowness*: calls, or queries, that took over twice the median of the range; a burst counts only
//!   where the median within it is [`SLOWER`] times the one outside, or every third call was slow;
//! - *cancelled* and *abandoned* queries.
//!
//! A burst of all queries is left out where one of the same kind of a source explains it: covers half of
//! it or more.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::burst::{Burst, Share, bursts};
use super::sheet::QueryWindow;
use crate::integration::figures::{self, percent, seconds};
use crate::monitor::OutcomeKind;
use crate::overview::{Grid, Lengths, SourceSums};
use crate::time::TimeRange;

/// Most bursts of one kind of one subject.
const BURSTS_MAX: usize = 3;
/// What took longer than this times the median was slow.
const SLOW_FACTOR: f64 = 2.0;
/// How many times longer the median within a burst of slowness is than outside, at least ...
const SLOWER: f64 = 1.5;
/// ... or how much larger the share of what is slow.
const SLOW_SHARE: f64 = 0.33;
/// How much larger the share of failures is within than outside, at least.
const FAILED_SHARE: f64 = 0.02;
/// Hits of a burst, at least: one or two are no burst.
const HITS_MIN: u64 = 3;

/// What was in trouble.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// Queries, of whatever source.
    Queries,
    /// One source.
    Source(Arc<str>),
}

/// What kind of trouble it was.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Failures; with the most frequent class.
    Failures {
        /// Of all within the stretch; `timed_out` for time-outs.
        class: Arc<str>,
    },
    /// Long waits.
    Slow {
        /// The median within, seconds.
        median: f64,
        /// The median outside, seconds.
        median_outside: f64,
    },
    /// Queries that were called off.
    Cancelled,
    /// Queries of which nobody said how they ended.
    Abandoned,
}

/// A stretch of time with trouble.
#[derive(Debug, Clone, PartialEq)]
pub struct Trouble {
    /// Whose trouble it was.
    pub subject: Subject,
    /// Which kind.
    pub kind: Kind,
    /// From its first window to the end of its last. Queries count where they began.
    pub range: TimeRange,
    /// Hits among trials within: failed calls of all calls, slow ones, cancelled queries.
    pub inside: Share,
    /// The same outside.
    pub outside: Share,
    /// How sure it is: the logarithm of a likelihood ratio.
    pub score: f64,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queries => f.write_str("queries"),
            Self::Source(name) => write!(f, "source {name}"),
        }
    }
}

impl Kind {
    /// In a word: `failures`, `slow`, `cancelled`, `abandoned`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Failures { .. } => "failures",
            Self::Slow { .. } => "slow",
            Self::Cancelled => "cancelled",
            Self::Abandoned => "abandoned",
        }
    }
}

impl fmt::Display for Trouble {
    /// One sentence without the time: see [`Trouble::when`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, kind, inside, outside, .. } = self;
        let what = if *subject == Subject::Queries { "queries" } else { "calls" };
        write!(f, "{subject}: ")?;
        match kind {
            Kind::Failures { class } => write!(
                f,
                "{} of {what} failed (mostly {class}), {} otherwise",
                percent(inside.value()),
                percent(outside.value())
            ),
            Kind::Slow { median, median_outside } => write!(
                f,
                "{what} took {} (median), {} otherwise",
                seconds(*median),
                seconds(*median_outside)
            ),
            Kind::Cancelled | Kind::Abandoned => {
                write!(f, "{} {}", figures::count(inside.hits), kind.name())?;
                match outside.hits {
                    0 => f.write_str(", none otherwise"),
                    hits => write!(f, ", {} otherwise", figures::count(hits)),
                }
            }
        }
    }
}

impl Trouble {
    /// When, UTC: `from 2026-11-27 10:02:10 to 10:02:40`, the day of the end too where it is another.
    #[must_use]
    pub fn when(&self) -> String {
        format!("from {}", figures::stretch(self.range))
    }
}

/// Looks for trouble; ordered by score, the surest first.
pub(super) fn find(
    grid: &Grid,
    queries: &[QueryWindow],
    sources: &BTreeMap<Arc<str>, Vec<SourceSums>>,
) -> Vec<Trouble> {
    let mut found = Vec::new();
    for (name, windows) in sources {
        let subject = Subject::Source(Arc::clone(name));
        let failed: Vec<Share> =
            windows.iter().map(|w| Share { hits: w.failed, trials: w.calls }).collect();
        let classes: Vec<_> = windows.iter().map(|window| &window.classes).collect();
        let lengths: Vec<&Lengths> = windows.iter().map(|window| &window.lengths).collect();
        found.extend(failures(grid, &subject, &failed, &classes));
        found.extend(slowness(grid, &subject, &lengths));
    }
    let explained = found.clone();
    let subject = Subject::Queries;
    let failed: Vec<Share> = shares(queries, |w| w.began.failed());
    let classes: Vec<_> = queries.iter().map(|window| &window.classes).collect();
    let lengths: Vec<&Lengths> = queries.iter().map(|window| &window.began.lengths).collect();
    let of_all = failures(grid, &subject, &failed, &classes);
    let of_all = of_all.chain(slowness(grid, &subject, &lengths));
    found.extend(of_all.filter(|trouble| !is_explained(trouble, &explained)));
    for (outcome, kind) in
        [(OutcomeKind::Cancelled, Kind::Cancelled), (OutcomeKind::Abandoned, Kind::Abandoned)]
    {
        let hits = shares(queries, |window| window.began.of(outcome));
        let bursts = bursts(&hits, BURSTS_MAX).into_iter();
        let bursts = bursts.filter(|burst| burst.inside.hits >= HITS_MIN);
        found.extend(bursts.map(|burst| trouble(grid, &subject, kind.clone(), &burst)));
    }
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found
}

fn shares(queries: &[QueryWindow], hits: impl Fn(&QueryWindow) -> u64) -> Vec<Share> {
    let share = |window| Share { hits: hits(window), trials: window.began.count() };
    queries.iter().map(share).collect()
}

fn failures<'a>(
    grid: &'a Grid,
    subject: &'a Subject,
    windows: &'a [Share],
    classes: &'a [&BTreeMap<Arc<str>, u64>],
) -> impl Iterator<Item = Trouble> + 'a {
    let counts = |burst: &Burst| {
        burst.inside.hits >= HITS_MIN
            && burst.inside.value() - burst.outside.value() >= FAILED_SHARE
    };
    bursts(windows, BURSTS_MAX).into_iter().filter(counts).map(|burst| {
        let mut sums: BTreeMap<&Arc<str>, u64> = BTreeMap::new();
        for (class, count) in
            classes.get(burst.first..burst.end).into_iter().flatten().copied().flatten()
        {
            *sums.entry(class).or_default() += count;
        }
        let most = sums.into_iter().max_by_key(|(_, count)| *count);
        let class = most.map_or_else(|| "".into(), |(class, _)| Arc::clone(class));
        trouble(grid, subject, Kind::Failures { class }, &burst)
    })
}

fn slowness<'a>(
    grid: &'a Grid,
    subject: &'a Subject,
    windows: &'a [&Lengths],
) -> impl Iterator<Item = Trouble> + 'a {
    let all = merged(windows.iter());
    let slow = all.quantile(0.5).unwrap_or(0.0) * SLOW_FACTOR;
    let hits: Vec<Share> = windows
        .iter()
        .map(|of| Share { hits: of.longer_than(slow), trials: of.sketch.count() })
        .collect();
    let found = bursts(&hits, BURSTS_MAX);
    let mut aside = vec![false; windows.len()];
    for burst in &found {
        aside.iter_mut().take(burst.end).skip(burst.first).for_each(|aside| *aside = true);
    }
    // All bursts aside: what is usual.
    let usual = merged(windows.iter().zip(aside).filter(|(_, aside)| !aside).map(|(of, _)| of));
    found.into_iter().filter_map(move |burst| {
        let within = merged(windows.get(burst.first..burst.end)?.iter());
        let (median, median_outside) = (within.quantile(0.5)?, usual.quantile(0.5)?);
        let more = burst.inside.value() - burst.outside.value();
        let counts = median >= SLOWER * median_outside || more >= SLOW_SHARE;
        (counts && burst.inside.hits >= HITS_MIN)
            .then(|| trouble(grid, subject, Kind::Slow { median, median_outside }, &burst))
    })
}

fn merged<'a>(windows: impl Iterator<Item = &'a &'a Lengths>) -> Lengths {
    windows.fold(Lengths::default(), |mut sum, of| {
        sum.merge(of);
        sum
    })
}

fn trouble(grid: &Grid, subject: &Subject, kind: Kind, burst: &Burst) -> Trouble {
    let Burst { first, end, inside, outside, score } = *burst;
    let (subject, range) = (subject.clone(), grid.stretch(first, end));
    Trouble { subject, kind, range, inside, outside, score }
}

/// Whether trouble of sources, of the same kind, covers half of it or more.
fn is_explained(trouble: &Trouble, by: &[Trouble]) -> bool {
    let same = by.iter().filter(|other| other.kind.name() == trouble.kind.name());
    let covered: i64 = same.map(|other| overlap(other.range, trouble.range)).sum();
    covered.saturating_mul(2) >= trouble.range.end.0.saturating_sub(trouble.range.start.0)
}

fn overlap(a: TimeRange, b: TimeRange) -> i64 {
    a.end.min(b.end).0.saturating_sub(a.start.max(b.start).0).max(0)
}
