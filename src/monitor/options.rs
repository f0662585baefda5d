//! What a monitor may take, what it keeps in full, and how often it writes.

use std::time::Duration;

use super::fingerprint::DoubleQuotes;
use super::outcome::OutcomeKind;
use super::query::QueryMetrics;
use crate::error::{Error, Result};

/// Everything a monitor can be told when it is opened.
#[derive(Debug, Clone)]
pub struct MonitorOptions {
    /// Whether the text of queries is kept as it came. No: it may hold what must not be stored.
    pub raw_text: bool,
    /// What a text in double quotes is to the host's language.
    pub double_quotes: DoubleQuotes,
    /// Which finished queries are kept in full, one by one. The first rule that fits decides; where
    /// none does, the query is kept. Series count all of them in any case.
    pub keep: Vec<KeepRule>,
    /// Finished queries that wait to be written. 8,192: those of 20 ms at 400,000 a second. Beyond
    /// it their records are dropped and counted.
    pub queue_max: usize,
    /// Running queries that can be looked at, and found abandoned after a crash. 16,384: a slot
    /// takes 16 bytes. Beyond it they are measured all the same.
    pub running_max: usize,
    /// Sources told apart; further ones are `other`. 64: each takes 51 KiB of bins.
    pub sources_max: usize,
    /// Tenants told apart in series; further ones are `other`. 64.
    pub tenants_max: usize,
    /// Fingerprints told apart in series; further ones are `other`. 256: what a person looks at.
    pub fingerprints_max: usize,
    /// Sets of labels of one family of series; in further ones the fingerprint is `other`, then all
    /// is. 2,048, of some 5 KiB each while they are used.
    pub series_max: usize,
    /// How often counters and gauges are written. 10 s, as metrics are scraped.
    pub interval: Duration,
    /// A query that runs as long as this is marked as running, so that a crash leaves it to be
    /// recorded as abandoned. 1 s: a mark is a row in the log.
    pub mark_after: Duration,
    /// How far back unfinished marks are looked for when the monitor opens. 7 days.
    pub recover_within: Duration,
}

impl Default for MonitorOptions {
    fn default() -> Self {
        Self {
            raw_text: false,
            double_quotes: DoubleQuotes::default(),
            keep: Vec::new(),
            queue_max: 8192,
            running_max: 16_384,
            sources_max: 64,
            tenants_max: 64,
            fingerprints_max: 256,
            series_max: 2048,
            interval: Duration::from_secs(10),
            mark_after: Duration::from_secs(1),
            recover_within: Duration::from_secs(7 * 86_400),
        }
    }
}

impl MonitorOptions {
    /// # Errors
    /// [`Error::InvalidOption`].
    pub(super) fn check(&self) -> Result<()> {
        let limits = [
            ("monitor queue_max", self.queue_max, 1 << 20),
            ("monitor running_max", self.running_max, 1 << 20),
            ("monitor sources_max", self.sources_max, 4096),
            ("monitor tenants_max", self.tenants_max, 1 << 16),
            ("monitor fingerprints_max", self.fingerprints_max, 1 << 16),
            ("monitor series_max", self.series_max, 1 << 20),
        ];
        for (option, value, max) in limits {
            if value == 0 || value > max {
                let reason = format!("{value} is not within 1 and {max}");
                return Err(Error::InvalidOption { option, reason });
            }
        }
        if self.interval < Duration::from_millis(10) {
            let reason = format!("{:?} is shorter than 10 ms", self.interval);
            return Err(Error::InvalidOption { option: "monitor interval", reason });
        }
        Ok(())
    }

    /// One in how many of queries like this is kept in full, if this one is.
    pub(super) fn keeps(&self, query: &QueryMetrics) -> Option<u64> {
        // The golden ratio spreads ids that follow each other, so that no habit of the host's (every
        // tenth query a special one) meets the rule's.
        let spread = query.id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let one_in = self.keep.iter().find(|rule| rule.fits(query)).map_or(1, |rule| rule.one_in);
        (one_in > 0 && spread.is_multiple_of(one_in)).then_some(one_in)
    }
}

/// One in how many of certain queries is kept in full. Conditions that are `None` always hold.
///
/// ```
/// use std::time::Duration;
/// use icecore::monitor::{KeepRule, MonitorOptions, OutcomeKind};
///
/// // Of quick ones that went well one in a hundred; everything else.
/// let quick = KeepRule {
///     outcome: Some(OutcomeKind::Ok),
///     below: Some(Duration::from_millis(50)),
///     ..KeepRule::one_in(100)
/// };
/// let options = MonitorOptions { keep: vec![quick], ..MonitorOptions::default() };
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeepRule {
    /// Of this outcome.
    pub outcome: Option<OutcomeKind>,
    /// Shorter than this.
    pub below: Option<Duration>,
    /// Of this tenant.
    pub tenant: Option<String>,
    /// Of this fingerprint, by its hash.
    pub fingerprint: Option<u64>,
    /// That touched this source.
    pub source: Option<String>,
    /// One in so many is kept, which one is decided by the query's id; 1 keeps all, 0 none.
    pub one_in: u64,
}

impl KeepRule {
    /// A rule for all queries.
    #[must_use]
    pub fn one_in(one_in: u64) -> Self {
        Self { one_in, ..Self::default() }
    }

    fn fits(&self, query: &QueryMetrics) -> bool {
        self.outcome.is_none_or(|outcome| outcome == query.outcome.kind())
            && self.below.is_none_or(|below| query.duration < below)
            && self.tenant.as_ref().is_none_or(|tenant| **tenant == *query.tenant)
            && self.fingerprint.is_none_or(|hash| hash == query.fingerprint.hash())
            && self.source.as_ref().is_none_or(|source| {
                query.sources.iter().any(|touched| *touched.source == **source)
            })
    }
}
