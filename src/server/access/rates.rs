//! Rate limits: a token bucket for each caller.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::server::options::RequestRate;

/// Callers remembered at once. Where there are more, those whose buckets are full are forgotten.
const CALLERS_MAX: usize = 4096;

/// Each bucket is held as the time at which it will be full again (GCRA, ITU-T I.371).
#[derive(Debug)]
pub(super) struct Rates {
    /// What one request costs.
    cost: Duration,
    /// What a full bucket holds.
    depth: Duration,
    full_at: Mutex<HashMap<String, Instant>>,
}

impl Rates {
    pub(super) fn new(rate: RequestRate) -> Self {
        let cost = Duration::from_secs(1) / rate.requests_per_second.max(1);
        Self { cost, depth: cost.saturating_mul(rate.burst), full_at: Mutex::default() }
    }

    /// Takes one request of `who`; says whether it could.
    pub(super) fn take(&self, who: &str) -> bool {
        self.take_at(who, Instant::now())
    }

    fn take_at(&self, who: &str, now: Instant) -> bool {
        let mut callers = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if callers.len() >= CALLERS_MAX && !callers.contains_key(who) {
            callers.retain(|_, full_at| *full_at > now);
            if callers.len() >= CALLERS_MAX {
                return false;
            }
        }
        let full_at = callers.get(who).copied().unwrap_or(now).max(now) + self.cost;
        let taken = full_at - now <= self.depth;
        if taken {
            callers.insert(who.to_owned(), full_at);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let rates = Rates::new(RequestRate { requests_per_second: 10, burst: 5 });
        let begin = Instant::now();
        let passed = (0..20).filter(|_| rates.take_at("a", begin)).count();
        assert_eq!(passed, 5);
        let passed = (1..=1000).filter(|ms| rates.take_at("a", begin + Duration::from_millis(*ms)));
        assert_eq!(passed.count(), 10);
        assert!(rates.take_at("b", begin), "each caller has a bucket");
    }

    #[test]
    fn callers_are_bounded() {
        let rates = Rates::new(RequestRate { requests_per_second: 1, burst: 1 });
        let begin = Instant::now();
        let passed = (0..CALLERS_MAX + 5).filter(|i| rates.take_at(&i.to_string(), begin));
        assert_eq!(passed.count(), CALLERS_MAX);
        assert!(rates.take_at("late", begin + Duration::from_secs(2)));
        assert_eq!(rates.full_at.lock().unwrap().len(), 1);
    }
}
