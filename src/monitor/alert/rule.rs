//! Rules: what is measured, from which value on it is an alert, and what the alert says.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::model::{Selector, Series};
use crate::query::{EventPredicate, Function};

/// Longest window that a rule may look back over. 30 days.
const WINDOW_MAX: Duration = Duration::from_secs(30 * 86_400);

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Severity {
    /// For the record.
    Info,
    /// Somebody should look.
    #[default]
    Warning,
    /// Somebody must look now.
    Critical,
}

impl Severity {
    /// As labels have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// What a rule looks at: one value for each group of series.
#[derive(Debug, Clone, PartialEq)]
pub enum Measure {
    /// A function over the last `window`.
    Value {
        /// Which series.
        selector: Selector,
        /// What of them.
        function: Function,
        /// How far back.
        window: Duration,
        /// The labels that make a group.
        by: Vec<String>,
    },
    /// How that value differs from the one of the window before.
    Change {
        /// Which series.
        selector: Selector,
        /// What of them.
        function: Function,
        /// How long each of the two windows is.
        window: Duration,
        /// The labels that make a group.
        by: Vec<String>,
        /// Difference of what kind.
        change: Change,
    },
    /// 1 for each group without a sample in the last `window`, 0 for each with one. Without labels
    /// to group by there is one group, whether or not it was ever seen.
    Absence {
        /// Which series.
        selector: Selector,
        /// How far back.
        window: Duration,
        /// The labels that make a group.
        by: Vec<String>,
        /// How far back groups are known that may be absent now.
        known_for: Duration,
    },
    /// How many times faster than allowed an error budget is used up, in both windows: the lesser
    /// of the two. A long window alone fires late and stays for hours, a short one alone fires on
    /// every blip (Google, "The Site Reliability Workbook", chapter 5).
    BurnRate {
        /// Counters, or distributions, of what went wrong.
        bad: Selector,
        /// Of everything.
        all: Selector,
        /// The share that shall go well, such as 0.999; the budget is the rest.
        objective: f64,
        /// Such as an hour.
        long: Duration,
        /// Such as five minutes.
        short: Duration,
        /// The labels that make a group.
        by: Vec<String>,
    },
    /// Rows of a table of events in the last `window` that pass all predicates.
    Events {
        /// The table.
        table: String,
        /// What rows must pass.
        predicates: Vec<EventPredicate>,
        /// How far back.
        window: Duration,
        /// The column that makes a group, if any: one of texts.
        by: Option<String>,
    },
}

/// Differences between two windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Later less earlier, a second of the window's length.
    PerSecond,
    /// Later less earlier, as a share of the earlier: 0.5 is half as much again.
    Relative,
}

/// From which value on it is an alert, and until which.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    above: bool,
    limit: f64,
    clear: f64,
}

impl Level {
    /// Values greater than `limit`.
    #[must_use]
    pub const fn above(limit: f64) -> Self {
        Self { above: true, limit, clear: limit }
    }

    /// Values less than `limit`.
    #[must_use]
    pub const fn below(limit: f64) -> Self {
        Self { above: false, limit, clear: limit }
    }

    /// An alert that fires goes on until the value is back at `clear`, so that one that moves about
    /// the limit is one alert.
    #[must_use]
    pub const fn until(self, clear: f64) -> Self {
        Self { clear, ..self }
    }

    /// Whether a value is beyond the limit. NaN is not.
    #[must_use]
    pub fn is_beyond(&self, value: f64) -> bool {
        if self.above { value > self.limit } else { value < self.limit }
    }

    /// Whether a value keeps an alert that fires. NaN does not.
    #[must_use]
    pub fn keeps(&self, value: f64) -> bool {
        if self.above { value > self.clear } else { value < self.clear }
    }

    fn is_sound(&self) -> bool {
        let ordered = if self.above { self.clear <= self.limit } else { self.clear >= self.limit };
        self.limit.is_finite() && self.clear.is_finite() && ordered
    }
}

/// A rule. Each group that it measures is an alert of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name; one of a kind.
    pub name: String,
    /// What is measured.
    pub measure: Measure,
    /// When that is an alert.
    pub level: Level,
    /// For how long it must be so before the alert fires.
    pub hold: Duration,
    /// For how long it must be over before the alert is resolved.
    pub keep: Duration,
    /// How bad it is.
    pub severity: Severity,
    /// Labels of all its alerts, beside those of the group.
    pub labels: Vec<(String, String)>,
    /// A sentence for people.
    pub summary: String,
}

impl Rule {
    /// A rule that fires at once and resolves at once, a warning without labels.
    #[must_use]
    pub fn new(name: &str, measure: Measure, level: Level) -> Self {
        Self {
            name: name.to_owned(),
            measure,
            level,
            hold: Duration::ZERO,
            keep: Duration::ZERO,
            severity: Severity::default(),
            labels: Vec::new(),
            summary: String::new(),
        }
    }

    /// An alert while nothing comes for `window`.
    #[must_use]
    pub fn absence(name: &str, selector: Selector, window: Duration, by: Vec<String>) -> Self {
        let known_for = Duration::from_secs(86_400).max(window * 2);
        let measure = Measure::Absence { selector, window, by, known_for };
        Self::new(name, measure, Level::above(0.5))
    }

    /// An alert while an error budget is used up `factor` times faster than allowed.
    #[must_use]
    pub fn burn_rate(
        name: &str,
        (bad, all): (Selector, Selector),
        objective: f64,
        (long, short): (Duration, Duration),
        factor: f64,
    ) -> Self {
        let measure = Measure::BurnRate { bad, all, objective, long, short, by: Vec::new() };
        Self::new(name, measure, Level::above(factor))
    }

    /// # Errors
    /// [`Error::InvalidArgument`] where it makes no sense.
    pub(super) fn check(&self) -> Result<()> {
        let invalid = |reason: &str| {
            let reason = format!("{:?} {reason}", self.name);
            Err(Error::InvalidArgument { what: "alert rule", reason })
        };
        // As its alerts' states are stored.
        let labels = self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let own = [("alert", self.name.as_str()), ("severity", self.severity.name())];
        let by = self.measure.by().iter().map(|label| (label.as_str(), "x"));
        Series::new("alert_state", labels.chain(own).chain(by))?;
        // As silences name them.
        Series::new(&self.name, [])?;
        if !self.level.is_sound() {
            return invalid("has a level that is not finite, or clears beyond its limit");
        }
        if self.measure.windows().any(|window| window.is_zero() || window > WINDOW_MAX) {
            return invalid("has a window of no length, or of more than 30 days");
        }
        match &self.measure {
            Measure::BurnRate { objective, .. } if !(*objective >= 0.0 && *objective < 1.0) => {
                invalid("has an objective that is not at least 0 and below 1")
            }
            Measure::BurnRate { long, short, .. } if short >= long => {
                invalid("has a short window that is not shorter than the long one")
            }
            Measure::Absence { window, known_for, .. } if known_for <= window => {
                invalid("knows groups for no longer than its window")
            }
            _ => Ok(()),
        }
    }
}

impl Measure {
    /// The labels that make a group.
    pub(super) fn by(&self) -> &[String] {
        match self {
            Self::Value { by, .. }
            | Self::Change { by, .. }
            | Self::Absence { by, .. }
            | Self::BurnRate { by, .. } => by,
            Self::Events { by, .. } => by.as_slice(),
        }
    }

    fn windows(&self) -> impl Iterator<Item = Duration> {
        let (one, other) = match self {
            Self::Value { window, .. }
            | Self::Change { window, .. }
            | Self::Events { window, .. } => (*window, None),
            Self::Absence { window, known_for, .. } => (*window, Some(*known_for)),
            Self::BurnRate { long, short, .. } => (*long, Some(*short)),
        };
        std::iter::once(one).chain(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_make_no_sense_are_refused() {
        let selector = || Selector::parse("up").unwrap();
        let minute = Duration::from_secs(60);
        let measure = |window, by: &[&str]| Measure::Value {
            selector: selector(),
            function: Function::Avg,
            window,
            by: by.iter().map(|label| (*label).to_owned()).collect(),
        };
        let good = Rule::new("Good", measure(minute, &["job"]), Level::above(1.0).until(0.5));
        assert!(good.check().is_ok());
        let labels = vec![("severity".to_owned(), "mine".to_owned())];
        let both = (selector(), selector());
        for bad in [
            Rule::new("", measure(minute, &[]), Level::above(1.0)),
            Rule::new("NaN", measure(minute, &[]), Level::above(f64::NAN)),
            Rule::new("Clear", measure(minute, &[]), Level::above(1.0).until(2.0)),
            Rule::new("Clear", measure(minute, &[]), Level::below(1.0).until(0.5)),
            Rule::new("Window", measure(Duration::ZERO, &[]), Level::above(1.0)),
            Rule::new("Window", measure(minute * 50_000, &[]), Level::above(1.0)),
            Rule::new("Twice", measure(minute, &["job", "job"]), Level::above(1.0)),
            Rule::new("Own", measure(minute, &["alert"]), Level::above(1.0)),
            Rule { labels, ..good },
            Rule::burn_rate("Objective", both.clone(), 1.0, (minute * 60, minute), 14.4),
            Rule::burn_rate("Windows", both, 0.99, (minute, minute), 14.4),
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
