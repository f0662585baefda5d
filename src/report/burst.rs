//! Where in time something happened more often than in the rest of it.
//!
//! The scan statistic of Kulldorff ("A spatial scan statistic", Communications in Statistics 26(6),
//! 1997), in one dimension, for Bernoulli trials: of all intervals of windows, the one whose share of
//! hits is the least likely to be the share outside. Its score is the logarithm of the likelihood
//! ratio of "one share within, another one outside" to "one share everywhere".
//!
//! A score counts where it exceeds `ln(intervals) + ln(1000)`: so high an interval comes up by chance
//! at most about once in a thousand searches, however many intervals were looked at (the bound of
//! Bonferroni). The interval is then set aside, and what is left is searched again.

/// Chance is left at most one in so many.
const CHANCE: f64 = 1_000.0;

/// An interval with a higher share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Burst {
    /// Its first window.
    pub(super) first: usize,
    /// The window behind its last.
    pub(super) end: usize,
    /// What happened in it.
    pub(super) inside: Share,
    /// What happened in all other windows that are not set aside.
    pub(super) outside: Share,
    /// The logarithm of the likelihood ratio.
    pub(super) score: f64,
}

/// Hits among trials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    /// How many were hits.
    pub hits: u64,
    /// How many there were.
    pub trials: u64,
}

impl Share {
    /// Hits among trials, within 0 and 1; 0 where there were no trials.
    #[must_use]
    pub fn value(self) -> f64 {
        if self.trials == 0 { 0.0 } else { self.hits as f64 / self.trials as f64 }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.hits += other.hits;
        self.trials += other.trials;
    }

    fn minus(self, other: Self) -> Self {
        Self { hits: self.hits - other.hits, trials: self.trials - other.trials }
    }

    /// The logarithm of the likelihood of these hits at their own share.
    fn log_likelihood(self) -> f64 {
        let misses = self.trials - self.hits;
        let term = |count: u64| {
            if count == 0 { 0.0 } else { count as f64 * (count as f64 / self.trials as f64).ln() }
        };
        term(self.hits) + term(misses)
    }
}

/// Up to `max` bursts in these windows, `hits <= trials` in each, the strongest first; they do not
/// overlap. Cost: the square of the windows.
pub(super) fn bursts(windows: &[Share], max: usize) -> Vec<Burst> {
    let intervals = windows.len() as f64 * (windows.len() as f64 + 1.0) / 2.0;
    let least = intervals.max(1.0).ln() + CHANCE.ln();
    let mut aside = vec![false; windows.len()];
    let mut found = Vec::new();
    while found.len() < max
        && let Some(burst) = strongest(windows, &aside)
        && burst.score > least
    {
        aside.iter_mut().take(burst.end).skip(burst.first).for_each(|aside| *aside = true);
        found.push(burst);
    }
    found
}

/// The interval with the highest score that holds no window set aside.
fn strongest(windows: &[Share], aside: &[bool]) -> Option<Burst> {
    let mut all = Share::default();
    for (window, _) in windows.iter().zip(aside).filter(|(_, aside)| !**aside) {
        all.add(*window);
    }
    let everywhere = all.log_likelihood();
    let mut best: Option<Burst> = None;
    for first in 0..windows.len() {
        let mut inside = Share::default();
        let rest = windows.iter().zip(aside).enumerate().skip(first);
        for (at, (window, _)) in rest.take_while(|(_, (_, aside))| !**aside) {
            inside.add(*window);
            // An interval begins and ends with a hit: what surrounds those only weakens it.
            if inside.hits == 0 {
                break;
            }
            if window.hits == 0 {
                continue;
            }
            let outside = all.minus(inside);
            if inside.value() <= outside.value() || outside.trials == 0 {
                continue;
            }
            let score = inside.log_likelihood() + outside.log_likelihood() - everywhere;
            if best.is_none_or(|best| score > best.score) {
                best = Some(Burst { first, end: at + 1, inside, outside, score });
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn share(hits: u64, trials: u64) -> Share {
        Share { hits, trials }
    }

    #[test]
    fn a_burst_is_found_where_it_is() {
        let mut windows = vec![share(0, 20); 100];
        windows[40..50].fill(share(6, 20));
        windows[3] = share(1, 20);
        let found = bursts(&windows, 3);
        assert_eq!(found.len(), 1, "{found:?}");
        let burst = found[0];
        assert_eq!((burst.first, burst.end), (40, 50));
        assert_eq!((burst.inside, burst.outside), (share(60, 200), share(1, 1_800)));
        // By hand: 60 ln 0.3 + 140 ln 0.7 + ln(1/1800) + 1799 ln(1799/1800)
        // - 61 ln(61/2000) - 1939 ln(1939/2000).
        assert!((burst.score - 142.2).abs() < 0.5, "{}", burst.score);
    }

    #[test]
    fn two_bursts_are_two() {
        let mut windows = vec![share(1, 50); 120];
        windows[10..14].fill(share(40, 50));
        windows[70..90].fill(share(15, 50));
        let found = bursts(&windows, 3);
        let places: Vec<_> = found.iter().map(|burst| (burst.first, burst.end)).collect();
        assert_eq!(places, [(10, 14), (70, 90)]);
    }

    #[test]
    fn what_is_even_or_rare_is_no_burst() {
        assert!(bursts(&[], 3).is_empty());
        assert!(bursts(&[share(5, 10)], 3).is_empty());
        assert!(bursts(&vec![share(3, 10); 100], 3).is_empty());
        let mut windows = vec![share(0, 10); 100];
        windows[5] = share(1, 10);
        windows[60] = share(1, 10);
        assert!(bursts(&windows, 3).is_empty());
    }

    /// Hits that fall evenly by chance: false alarms are as rare as promised.
    #[test]
    fn chance_is_no_burst() {
        let mut state = 7_u64;
        let mut random = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as f64 / (1_u64 << 31) as f64
        };
        let mut alarms = 0;
        for _ in 0..400 {
            let windows: Vec<Share> = (0..60)
                .map(|_| share((0..10).filter(|_| random() < 0.1).count() as u64, 10))
                .collect();
            alarms += bursts(&windows, 1).len();
        }
        assert!(alarms <= 2, "{alarms} of 400");
    }

    proptest! {
        #[test]
        fn bursts_are_apart_and_higher_within(
            windows in prop::collection::vec((0_u64..20, 0_u64..20), 0..60)
        ) {
            let windows: Vec<Share> =
                windows.into_iter().map(|(hits, misses)| share(hits, hits + misses)).collect();
            let found = bursts(&windows, 5);
            let mut taken = vec![false; windows.len()];
            for burst in &found {
                prop_assert!(burst.inside.value() > burst.outside.value());
                prop_assert!(burst.score.is_finite() && burst.score > 0.0);
                for taken in &mut taken[burst.first..burst.end] {
                    prop_assert!(!std::mem::replace(taken, true));
                }
            }
        }
    }
}
