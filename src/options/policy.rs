//! The policy of a store: which tiers there are, how long each is kept, within how many bytes.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::model::{Selector, Series};
use crate::time::Tier;

/// How long, and within how many bytes, each tier is kept; a tier that is not named is kept for ever.
///
/// Age counts from the newest sample or now, whichever is earlier: a wrong clock deletes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keep {
    ages: Vec<(Tier, Duration)>,
    bytes: Vec<(Tier, u64)>,
}

impl Keep {
    /// Everything, for ever.
    pub const FOREVER: Self = Self { ages: Vec::new(), bytes: Vec::new() };

    /// This, and `tier` for `age`.
    #[must_use]
    pub fn with(mut self, tier: Tier, age: Duration) -> Self {
        self.ages.retain(|(named, _)| *named != tier);
        self.ages.push((tier, age));
        self.ages.sort_unstable();
        self
    }

    /// This, and `tier` within `bytes_max`: of the series that this is about, its oldest parts go
    /// beyond that; the youngest stays.
    #[must_use]
    pub fn with_bytes(mut self, tier: Tier, bytes_max: u64) -> Self {
        self.bytes.retain(|(named, _)| *named != tier);
        self.bytes.push((tier, bytes_max));
        self.bytes.sort_unstable();
        self
    }

    /// How long the tier is kept; `None` for ever.
    #[must_use]
    pub fn age(&self, tier: Tier) -> Option<Duration> {
        self.ages.iter().find(|(named, _)| *named == tier).map(|&(_, age)| age)
    }

    /// Within how many bytes the tier is kept; `None` without a bound of its own.
    #[must_use]
    pub fn bytes(&self, tier: Tier) -> Option<u64> {
        self.bytes.iter().find(|(named, _)| *named == tier).map(|&(_, bytes)| bytes)
    }

    /// The tiers that go at some age, ascending.
    pub fn limits(&self) -> impl Iterator<Item = (Tier, Duration)> {
        self.ages.iter().copied()
    }

    /// The tiers that have a bound of bytes, ascending.
    pub fn byte_limits(&self) -> impl Iterator<Item = (Tier, u64)> {
        self.bytes.iter().copied()
    }
}

/// Keeps the series that a selector names for another time than the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionRule {
    /// Which series.
    pub selector: Selector,
    /// How long.
    pub keep: Keep,
}

/// Keeps a table of events for another time than the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRule {
    /// The table's name.
    pub table: String,
    /// How long.
    pub keep: Keep,
}

/// What is kept of history, how long, and within how many bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The tiers beside raw, ascending; each resolution divides the next. By default 1 min, 5 min,
    /// 1 h and 1 d.
    pub tiers: Vec<Tier>,
    /// Which series' tier records carry a quantile sketch, beside distributions, which always do.
    /// None by default: a sketch takes as much as all other fields together, and more.
    pub sketches: Vec<Selector>,
    /// How long series are kept that no rule names. For ever by default: nothing goes that nobody
    /// told to go.
    pub keep: Keep,
    /// Exceptions; the first rule whose selector accepts a series decides.
    pub rules: Vec<RetentionRule>,
    /// Tables of events that are kept for another time, or within other bytes, than
    /// [`keep`](Self::keep) says of raw, which counts for all others. Of their own tiers only raw
    /// counts: events have no other.
    pub tables: Vec<TableRule>,
    /// The most bytes that the store's directory takes, log and compaction scratch included;
    /// `None` for no bound. At least four times [`Options::head_bytes_max`](super::Options).
    pub bytes_max: Option<u64>,
    /// How long after the end of a bucket or partition its samples may still come before it is
    /// downsampled or compacted for the first time. 1 h. Later ones are taken in as well, at the
    /// price of rebuilding what they touch.
    pub lateness: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            tiers: vec![Tier::MINUTE, Tier::FIVE_MINUTES, Tier::HOUR, Tier::DAY],
            sketches: Vec::new(),
            keep: Keep::FOREVER,
            rules: Vec::new(),
            tables: Vec::new(),
            bytes_max: None,
            lateness: Duration::from_secs(3600),
        }
    }
}

impl Policy {
    /// The class of a series: the index of the rule that decides for it, or the number of rules
    /// where none does. Series of one class are kept equally long, so each part holds one class.
    #[must_use]
    pub fn class_of(&self, series: &Series) -> usize {
        let rule = self.rules.iter().position(|rule| rule.selector.accepts(series));
        rule.unwrap_or(self.rules.len())
    }

    /// The class of a table of events, `number` being its own among those of the store: each table is
    /// one, above the classes of series.
    #[must_use]
    pub fn class_of_table(&self, table: &str, number: u32) -> usize {
        let rule = self.tables.iter().position(|rule| rule.table == table);
        let rule = rule.unwrap_or(self.tables.len() + number as usize);
        self.rules.len() + 1 + rule
    }

    /// How long a class is kept.
    #[must_use]
    pub fn keep_of(&self, class: usize) -> &Keep {
        if let Some(rule) = self.rules.get(class) {
            return &rule.keep;
        }
        let table = class.checked_sub(self.rules.len() + 1).and_then(|at| self.tables.get(at));
        table.map_or(&self.keep, |rule| &rule.keep)
    }

    /// Whether the series' tier records carry sketches because the policy says so.
    #[must_use]
    pub fn wants_sketches(&self, series: &Series) -> bool {
        self.sketches.iter().any(|selector| selector.accepts(series))
    }

    fn is_kept(&self, tier: Tier) -> bool {
        tier.is_raw() || self.tiers.contains(&tier)
    }

    /// # Errors
    /// [`Error::InvalidOption`] naming the first rule that does not hold.
    pub(crate) fn check(&self, head_bytes_max: usize) -> Result<()> {
        let invalid = |option, reason: String| Err(Error::InvalidOption { option, reason });
        if self.tiers.first().is_some_and(|tier| tier.is_raw()) {
            return invalid("policy.tiers", "raw is always there, it is no tier to build".into());
        }
        for pair in self.tiers.windows(2) {
            if let [fine, coarse] = pair
                && (fine >= coarse || coarse.nanos() % fine.nanos() != 0)
            {
                return invalid("policy.tiers", format!("{coarse} is no multiple of {fine}"));
            }
        }
        let names: std::collections::HashSet<&str> =
            self.tables.iter().map(|rule| rule.table.as_str()).collect();
        if names.len() < self.tables.len() {
            return invalid("policy.tables", "a table has two rules".into());
        }
        let of_tables = || self.tables.iter().map(|rule| &rule.keep);
        let keeps =
            || self.rules.iter().map(|rule| &rule.keep).chain(of_tables()).chain([&self.keep]);
        let aged = keeps().flat_map(Keep::limits).map(|(tier, _)| tier);
        let bounded = || keeps().flat_map(Keep::byte_limits).map(|(tier, _)| tier);
        if let Some(tier) = aged.chain(bounded()).find(|tier| !self.is_kept(*tier)) {
            return invalid("policy.keep", format!("there is no tier {tier}"));
        }
        // Dropped while what it is built of is still there, it would be built again at once.
        if let Some(tier) = bounded().find(|tier| self.tiers.last() == Some(tier)) {
            let reason = format!("{tier} is the coarsest: bound its age, or bytes_max");
            return invalid("policy.keep_bytes", reason);
        }
        for (tier, age) in keeps().flat_map(Keep::limits) {
            if age.is_zero() {
                return invalid("policy.keep", format!("{tier} would be kept for no time"));
            }
        }
        let least = 4 * head_bytes_max as u64;
        match self.bytes_max {
            Some(bytes) if bytes < least => {
                invalid("policy.bytes_max", format!("must be at least {least}: four heads"))
            }
            _ => Ok(()),
        }
    }
}

/// Who does the maintenance: retention, the byte budget, tiers and compaction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Maintenance {
    /// A thread of the engine's own.
    Background {
        /// How often it looks for work.
        interval: Duration,
        /// How much of one core it takes while there is work, above 0 and up to 1.
        cpu_share: f64,
    },
    /// The host, by [`Engine::maintain`](crate::Engine::maintain). Retention by age, the byte budget
    /// and everything else wait for it.
    ByHand,
}

impl Default for Maintenance {
    /// Looks every 30 s, takes half of a core.
    fn default() -> Self {
        Self::Background { interval: Duration::from_secs(30), cpu_share: 0.5 }
    }
}

impl Maintenance {
    /// # Errors
    /// [`Error::InvalidOption`].
    pub(crate) fn check(self) -> Result<()> {
        let reason = match self {
            Self::Background { cpu_share, .. } if !(cpu_share > 0.0 && cpu_share <= 1.0) => {
                "cpu_share must be above 0 and at most 1"
            }
            Self::Background { interval, .. } if interval < Duration::from_millis(1) => {
                "the interval must be at least 1 ms"
            }
            _ => return Ok(()),
        };
        Err(Error::InvalidOption { option: "maintenance", reason: reason.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_accepts_decides() {
        let rule = |selector: &str, days: u64| RetentionRule {
            selector: Selector::parse(selector).unwrap(),
            keep: Keep::FOREVER.with(Tier::RAW, Duration::from_secs(86_400 * days)),
        };
        let policy = Policy {
            rules: vec![rule("debug_metric", 1), rule("{job=\"a\"}", 7)],
            ..Policy::default()
        };
        policy.check(1 << 20).unwrap();
        let class = |text| policy.class_of(&Series::parse(text).unwrap());
        assert_eq!(
            (class("debug_metric{job=\"a\"}"), class("up{job=\"a\"}"), class("up")),
            (0, 1, 2)
        );
        assert_eq!(policy.keep_of(1).age(Tier::RAW), Some(Duration::from_secs(7 * 86_400)));
        assert_eq!(policy.keep_of(2).age(Tier::RAW), None);
    }

    #[test]
    fn contradictions_are_named() {
        let refused = |policy: Policy| policy.check(1 << 20).unwrap_err().to_string();
        let tiers = Policy { tiers: vec![Tier::HOUR, Tier::MINUTE], ..Policy::default() };
        assert!(refused(tiers).contains("multiple"));
        let keep = Keep::FOREVER.with(Tier::of(Duration::from_secs(7)).unwrap(), Duration::MAX);
        assert!(refused(Policy { keep, ..Policy::default() }).contains("no tier 7s"));
        let coarsest = Keep::FOREVER.with_bytes(Tier::DAY, 1 << 30);
        assert!(refused(Policy { keep: coarsest, ..Policy::default() }).contains("coarsest"));
        assert!(refused(Policy { bytes_max: Some(1), ..Policy::default() }).contains("four heads"));
    }
}
