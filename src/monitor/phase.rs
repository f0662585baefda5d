//! Phases of a query, and the clock of one: how long at least one guard of it was open.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a query does, in the order in which most do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Text to logical plan.
    Plan,
    /// Logical plan to a better one.
    Optimize,
    /// Parts of the plan given to sources.
    Federate,
    /// Running it, up to the first row that leaves.
    Execute,
    /// Rows leave, up to the last.
    Stream,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Self; 5] =
        [Self::Plan, Self::Optimize, Self::Federate, Self::Execute, Self::Stream];

    /// As labels and tables have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Optimize => "optimize",
            Self::Federate => "federate",
            Self::Execute => "execute",
            Self::Stream => "stream",
        }
    }
}

/// How long each phase took: [`Duration::ZERO`] of those that were not entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Phases([Duration; Phase::ALL.len()]);

impl Phases {
    /// The time in which at least one guard of the phase was open.
    #[must_use]
    pub fn of(&self, phase: Phase) -> Duration {
        self.0.get(phase as usize).copied().unwrap_or_default()
    }

    /// Phases and their times, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Phase, Duration)> {
        Phase::ALL.into_iter().zip(self.0)
    }
}

/// Guards open at once that are told apart; far more than threads of one query.
const OPEN_BITS: u32 = 12;
const OPEN_MAX: u64 = (1 << OPEN_BITS) - 1;
/// 52 days: what a longer query does after that has no length.
const NANOS_MAX: u64 = (1 << (u64::BITS - OPEN_BITS)) - 1;

/// One phase of one query, shared by the threads that run it. Times are ns since the query's
/// beginning.
#[derive(Debug, Default)]
pub(super) struct PhaseClock {
    /// When the first of the open guards opened, and below it how many are open: one word, so that
    /// of threads that come and go at once exactly one adds each stretch.
    open: AtomicU64,
    nanos: AtomicU64,
}

impl PhaseClock {
    pub(super) fn begin(&self, now: u64) {
        let began = now.min(NANOS_MAX);
        let more = |open: u64| match open & OPEN_MAX {
            0 => Some(began << OPEN_BITS | 1),
            OPEN_MAX => None,
            _ => Some(open + 1),
        };
        // Refused only where 4,095 are open: then one that ends is one too many, which `end` bears.
        let _ = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    pub(super) fn end(&self, now: u64) {
        let fewer = |open: u64| match open & OPEN_MAX {
            0 => None,
            1 => Some(0),
            _ => Some(open - 1),
        };
        let before = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer);
        if let Ok(open) = before
            && open & OPEN_MAX == 1
        {
            let began = open >> OPEN_BITS;
            self.nanos.fetch_add(now.min(NANOS_MAX).saturating_sub(began), Ordering::Relaxed);
        }
    }

    /// Whether a guard is open.
    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed) & OPEN_MAX > 0
    }

    /// The time so far, an open stretch included.
    pub(super) fn nanos(&self, now: u64) -> u64 {
        let open = self.open.load(Ordering::Relaxed);
        let under_way = if open & OPEN_MAX > 0 { now.saturating_sub(open >> OPEN_BITS) } else { 0 };
        self.nanos.load(Ordering::Relaxed) + under_way
    }
}

/// The clocks of all phases of one query.
#[derive(Debug, Default)]
pub(super) struct PhaseClocks([PhaseClock; Phase::ALL.len()]);

impl PhaseClocks {
    pub(super) fn of(&self, phase: Phase) -> Option<&PhaseClock> {
        self.0.get(phase as usize)
    }

    pub(super) fn times(&self, now: u64) -> Phases {
        let mut phases = Phases::default();
        for (time, clock) in phases.0.iter_mut().zip(&self.0) {
            *time = Duration::from_nanos(clock.nanos(now));
        }
        phases
    }

    /// The last one that is open.
    pub(super) fn current(&self) -> Option<Phase> {
        Phase::ALL.into_iter().rev().find(|&phase| self.of(phase).is_some_and(PhaseClock::is_open))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn guards_beside_each_other_count_once() {
        let clock = PhaseClock::default();
        clock.begin(10);
        clock.begin(20);
        assert_eq!(clock.nanos(25), 15);
        clock.end(30);
        assert!(clock.is_open());
        clock.end(50);
        clock.begin(70);
        clock.end(71);
        assert!(!clock.is_open());
        assert_eq!(clock.nanos(99), 41);
        // One end too many, a time that runs backwards, and one beyond the last: no harm.
        clock.end(99);
        clock.begin(200);
        clock.end(150);
        clock.begin(u64::MAX - 1);
        clock.end(u64::MAX);
        assert_eq!(clock.nanos(1000), 41);
    }

    proptest! {
        #[test]
        fn the_time_is_the_union(spans in prop::collection::vec((0..50_u64, 0..50_u64), 0..10)) {
            let clock = PhaseClock::default();
            let mut steps: Vec<(u64, bool)> = Vec::new();
            for &(began, length) in &spans {
                steps.extend([(began, true), (began + length, false)]);
            }
            steps.sort_by_key(|&(at, begins)| (at, !begins));
            for &(at, begins) in &steps {
                if begins { clock.begin(at) } else { clock.end(at) }
            }
            let covered = |now: u64| spans.iter().any(|&(b, l)| b <= now && now < b + l);
            prop_assert_eq!(clock.nanos(1000), (0..100).filter(|&now| covered(now)).count() as u64);
        }
    }
}
