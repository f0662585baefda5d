//! The state of one alert: a pure function of the state before, what was measured, and the time.
//!
//! ```text
//!            beyond              held long enough
//! inactive ──────────▶ pending ──────────────────▶ firing ◀──┐ back
//!    ▲                    │                          │  │     │
//!    │      not beyond    │            cleared       │  └▶ quiet
//!    ├────────────────────┘                          │      │ quiet long enough
//!    └───────────────────────────────────────────────┴──────┘ (resolved)
//! ```

use std::time::Duration;

use super::rule::Level;
use crate::time::{Timestamp, duration_nanos};

/// Where an alert stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    /// Nothing is wrong.
    #[default]
    Inactive,
    /// The value is beyond the limit, not yet for long enough.
    Pending {
        /// Since when.
        since: Timestamp,
    },
    /// It is an alert.
    Firing {
        /// Since when the value was beyond the limit.
        since: Timestamp,
        /// Since when it is back, if it is.
        quiet: Option<Timestamp>,
    },
}

/// What changed for who is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It fires now.
    Fired,
    /// It fires no longer.
    Resolved,
}

/// How long things must last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Beyond the limit before the alert fires.
    pub(super) hold: Duration,
    /// Back before it is resolved.
    pub(super) keep: Duration,
}

impl State {
    /// The state after `value` was measured `now`; no value where there is nothing to measure. A
    /// clock that is set back begins a wait anew and ends none early.
    pub(super) fn step(
        self,
        value: Option<f64>,
        level: &Level,
        patience: Patience,
        now: Timestamp,
    ) -> (Self, Option<Turn>) {
        let beyond = value.is_some_and(|value| level.is_beyond(value));
        let kept = value.is_some_and(|value| level.keeps(value));
        match self {
            Self::Inactive | Self::Pending { .. } if !beyond => (Self::Inactive, None),
            Self::Inactive => Self::held(now, patience, now),
            Self::Pending { since } => Self::held(since.min(now), patience, now),
            Self::Firing { since, .. } if kept => (Self::Firing { since, quiet: None }, None),
            Self::Firing { since, quiet } => {
                let quiet = quiet.unwrap_or(now).min(now);
                if lasted(quiet, patience.keep, now) {
                    (Self::Inactive, Some(Turn::Resolved))
                } else {
                    (Self::Firing { since, quiet: Some(quiet) }, None)
                }
            }
        }
    }

    /// Since when the value was beyond the limit.
    pub(super) const fn since(self) -> Option<Timestamp> {
        match self {
            Self::Inactive => None,
            Self::Pending { since } | Self::Firing { since, .. } => Some(since),
        }
    }

    fn held(since: Timestamp, patience: Patience, now: Timestamp) -> (Self, Option<Turn>) {
        if lasted(since, patience.hold, now) {
            (Self::Firing { since, quiet: None }, Some(Turn::Fired))
        } else {
            (Self::Pending { since }, None)
        }
    }
}

fn lasted(since: Timestamp, long: Duration, now: Timestamp) -> bool {
    now.0.saturating_sub(since.0) >= duration_nanos(long)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEVEL: Level = Level::above(10.0).until(5.0);

    fn patience(hold: u64, keep: u64) -> Patience {
        Patience { hold: Duration::from_secs(hold), keep: Duration::from_secs(keep) }
    }

    /// The turns of a history of `(second, value)`.
    fn turns(history: &[(i64, Option<f64>)], patience: Patience) -> Vec<(i64, Turn)> {
        let mut state = State::default();
        let mut turns = Vec::new();
        for &(second, value) in history {
            let turn;
            (state, turn) = state.step(value, &LEVEL, patience, Timestamp::from_secs(second));
            turns.extend(turn.map(|turn| (second, turn)));
        }
        turns
    }

    #[test]
    fn by_hand() {
        use Turn::{Fired, Resolved};
        let at = |values: &[f64]| -> Vec<(i64, Option<f64>)> {
            (0..).step_by(10).zip(values.iter().map(|&value| Some(value))).collect()
        };
        // At once, and between the two levels neither fires nor resolves.
        let values = at(&[7.0, 11.0, 7.0, 11.0, 6.0, 5.0, 7.0, 12.0]);
        let expected = [(10, Fired), (50, Resolved), (70, Fired)];
        assert_eq!(turns(&values, patience(0, 0)), expected);
        // Held for 20 s: a dip begins the wait anew.
        let values = at(&[11.0, 11.0, 9.0, 11.0, 11.0, 11.0, 11.0]);
        assert_eq!(turns(&values, patience(20, 0)), [(50, Fired)]);
        // Quiet for 20 s: what comes back meanwhile is the same alert.
        let values = at(&[11.0, 1.0, 1.0, 6.0, 1.0, 1.0, 1.0]);
        assert_eq!(turns(&values, patience(0, 20)), [(0, Fired), (60, Resolved)]);
        // Nothing measured, and NaN, are not beyond and keep nothing.
        let values = [(0, Some(11.0)), (10, None), (20, Some(11.0)), (30, Some(f64::NAN))];
        let expected = [(0, Fired), (10, Resolved), (20, Fired), (30, Resolved)];
        assert_eq!(turns(&values, patience(0, 0)), expected);
        // The clock is set back: the wait begins there.
        let values = [(100, Some(11.0)), (50, Some(11.0)), (60, Some(11.0)), (70, Some(11.0))];
        assert_eq!(turns(&values, patience(20, 0)), [(70, Fired)]);
    }

    fn history() -> impl Strategy<Value = Vec<(i64, Option<f64>)>> {
        let value =
            prop::option::weighted(0.9, prop::sample::select(vec![1.0, 5.0, 7.0, 10.0, 12.0]));
        prop::collection::vec((1..30_i64, value), 0..60).prop_map(|steps| {
            let mut now = 0;
            let step = |(after, value)| {
                now += after;
                (now, value)
            };
            steps.into_iter().map(step).collect()
        })
    }

    proptest! {
        /// What the words mean, looked up in the whole history instead of stepped through.
        #[test]
        fn turns_are_what_the_history_says(
            history in history(),
            hold in 0..60_u64,
            keep in 0..60_u64,
        ) {
            let found = turns(&history, patience(hold, keep));
            let mut firing_since: Option<usize> = None;
            let mut expected = Vec::new();
            for (at, &(now, _)) in history.iter().enumerate() {
                let begin = firing_since.map_or(0, |fired| fired + 1);
                // How long the last values have been all of a kind, from `begin` on.
                let lasted = |of: &dyn Fn(f64) -> bool, wanted: bool| {
                    let same = history[begin..=at]
                        .iter()
                        .rev()
                        .take_while(|(_, value)| value.is_some_and(of) == wanted)
                        .count();
                    (same > 0).then(|| now - history[at + 1 - same].0)
                };
                match firing_since {
                    None => {
                        // Since the last resolution, which was not beyond.
                        if lasted(&|value| LEVEL.is_beyond(value), true)
                            .is_some_and(|long| long >= hold as i64)
                        {
                            expected.push((now, Turn::Fired));
                            firing_since = Some(at);
                        }
                    }
                    Some(_) => {
                        if lasted(&|value| LEVEL.keeps(value), false)
                            .is_some_and(|long| long >= keep as i64)
                        {
                            expected.push((now, Turn::Resolved));
                            firing_since = None;
                        }
                    }
                }
            }
            prop_assert_eq!(found, expected);
        }

        /// Whatever happens to clock and values, turns take turns, and waits are real.
        #[test]
        fn fired_and_resolved_alternate(
            steps in prop::collection::vec((any::<i64>(), prop::option::of(any::<f64>())), 0..40),
            hold in any::<u32>(),
            keep in any::<u32>(),
        ) {
            let mut state = State::default();
            let mut fires = false;
            for (now, value) in steps {
                let turn;
                let patience = patience(u64::from(hold), u64::from(keep));
                (state, turn) = state.step(value, &LEVEL, patience, Timestamp(now));
                match turn {
                    Some(Turn::Fired) => prop_assert!(!std::mem::replace(&mut fires, true)),
                    Some(Turn::Resolved) => prop_assert!(std::mem::replace(&mut fires, false)),
                    None => {}
                }
                let is_firing = matches!(state, State::Firing { .. });
                prop_assert_eq!(is_firing, fires);
            }
        }
    }
}
