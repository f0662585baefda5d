//! The board: every alert that is not inactive, and what is to be told of it.
//!
//! Owns: the states of all rules by group, when somebody was last told, and which notifications a
//! round of measurements gives. Reads no clock and no store: a round is a function of the board,
//! what was measured and the time.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::notify::Notification;
use super::rule::{Rule, Severity};
use super::silence::Silences;
use super::state::{Patience, State, Turn};
use crate::model::Series;
use crate::time::{Timestamp, duration_nanos};

/// Alerts of one rule that are told apart; further groups are left out and counted.
pub(super) const ALERTS_A_RULE_MAX: usize = 1000;

/// What a group has in common: label names and values, in the rule's order.
pub(super) type Group = Vec<(String, String)>;

/// Where an alert stands, for who is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertState {
    /// Beyond its limit, not yet for long enough. Nobody is told.
    Pending,
    /// It fires.
    Firing,
    /// It fired, and does no longer.
    Resolved,
}

impl AlertState {
    /// As people read it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// An alert of one group.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// The rule's name.
    pub rule: String,
    /// The group's labels and the rule's, ascending by name.
    pub labels: Vec<(String, String)>,
    /// How bad it is.
    pub severity: Severity,
    /// The rule's sentence.
    pub summary: String,
    /// Where it stands.
    pub state: AlertState,
    /// The value last measured; NaN where there was nothing to measure.
    pub value: f64,
    /// Since when the value was beyond the limit.
    pub since: Timestamp,
    /// When it was resolved.
    pub ended: Option<Timestamp>,
    /// Whether a silence covers it.
    pub silenced: bool,
}

impl Alert {
    /// As series and selectors of silences see it: named by its rule, its severity among the labels.
    #[must_use]
    pub fn series(&self) -> Option<Series> {
        let labels = self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Series::new(&self.rule, labels.chain([("severity", self.severity.name())])).ok()
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.rule, self.state.name())?;
        for (name, value) in &self.labels {
            write!(f, " {name}={value:?}")?;
        }
        write!(f, " severity={} value={}", self.severity.name(), self.value)?;
        if !self.summary.is_empty() {
            write!(f, ": {}", self.summary)?;
        }
        Ok(())
    }
}

/// One alert on the board.
#[derive(Debug, Clone, Default)]
pub(super) struct Entry {
    pub(super) state: State,
    /// Since when it was not inactive; kept when it is resolved.
    since: Option<Timestamp>,
    value: f64,
    /// Whether somebody was told that it fires.
    told: bool,
    /// When each notifier was last told, in their order.
    told_at: Vec<Option<Timestamp>>,
}

/// What is to be handed to one notifier.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    pub(super) notifier: usize,
    pub(super) notification: Notification,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Board {
    /// By the rule's number and group.
    entries: BTreeMap<(usize, Group), Entry>,
    pub(super) silences: Silences,
    /// Groups that were left out.
    pub(super) left_out: u64,
}

/// What was measured of one rule: its groups and their values.
pub(super) type Measured = Vec<(Group, f64)>;

impl Board {
    /// Puts an alert where an earlier run left it. Somebody was told of one that fired, and is told
    /// again: a process that died may not have come to it.
    pub(super) fn restore(&mut self, rule: usize, group: Group, state: State) {
        let told = matches!(state, State::Firing { .. });
        let entry =
            Entry { state, since: state.since(), told, value: f64::NAN, told_at: Vec::new() };
        self.entries.insert((rule, group), entry);
    }

    /// Moves the alerts of one rule; returns those that were resolved.
    pub(super) fn step(
        &mut self,
        number: usize,
        rule: &Rule,
        measured: Measured,
        now: Timestamp,
    ) -> Vec<(Group, Entry)> {
        let mut measured: BTreeMap<Group, f64> = measured.into_iter().collect();
        let patience = Patience { hold: rule.hold, keep: rule.keep };
        let known = self.entries.keys().filter(|(of, _)| *of == number);
        let mut groups: Vec<Group> = known.map(|(_, group)| group.clone()).collect();
        let fresh = measured.iter().filter(|(group, value)| {
            rule.level.is_beyond(**value) && !self.entries.contains_key(&(number, (*group).clone()))
        });
        let fresh: Vec<Group> = fresh.map(|(group, _)| group.clone()).collect();
        let room = ALERTS_A_RULE_MAX.saturating_sub(groups.len());
        self.left_out += fresh.len().saturating_sub(room) as u64;
        groups.extend(fresh.into_iter().take(room));
        let mut resolved = Vec::new();
        for group in groups {
            let value = measured.remove(&group);
            let key = (number, group);
            let mut entry = self.entries.remove(&key).unwrap_or_default();
            let turn;
            (entry.state, turn) = entry.state.step(value, &rule.level, patience, now);
            entry.value = value.unwrap_or(f64::NAN);
            entry.since = entry.state.since().or(entry.since);
            match (turn, entry.state) {
                (Some(Turn::Resolved), _) => resolved.push((key.1, entry)),
                (_, State::Inactive) => {}
                _ => drop(self.entries.insert(key, entry)),
            }
        }
        resolved
    }

    /// What is to be told now: resolved alerts of which somebody was told, those that fire and of
    /// which nobody was, and again those whose time has come. Silenced ones are left out.
    pub(super) fn tell(
        &mut self,
        rules: &[Rule],
        resolved: &[(usize, Group, Entry)],
        told: &Telling<'_>,
        now: Timestamp,
    ) -> Vec<Told> {
        let mut out: BTreeMap<(usize, Group), Vec<Alert>> = BTreeMap::new();
        let mut add = |notifier: usize, alert: &Alert| {
            let group = told.group_by.iter().map(|label| {
                let value = match label.as_str() {
                    "alert" => alert.rule.as_str(),
                    "severity" => alert.severity.name(),
                    label => alert.label(label),
                };
                (label.clone(), value.to_owned())
            });
            out.entry((notifier, group.collect())).or_default().push(alert.clone());
        };
        for (number, group, entry) in resolved {
            let Some(rule) = rules.get(*number) else { continue };
            let alert = self.alert(rule, group, entry, now);
            if entry.told && !alert.silenced {
                (0..told.repeat_every.len()).for_each(|notifier| add(notifier, &alert));
            }
        }
        let silences = &self.silences;
        for ((number, group), entry) in &mut self.entries {
            let Some(rule) = rules.get(*number) else { continue };
            if !matches!(entry.state, State::Firing { .. }) {
                continue;
            }
            let alert = alert(rule, group, entry, silences, now);
            if alert.silenced {
                continue;
            }
            entry.told = true;
            entry.told_at.resize(told.repeat_every.len(), None);
            for (notifier, (at, every)) in
                entry.told_at.iter_mut().zip(told.repeat_every).enumerate()
            {
                let waited = |at: Timestamp| now.0.saturating_sub(at.0);
                // A clock that was set back does not silence anybody.
                let due = |at| waited(at) < 0 || waited(at) >= duration_nanos(*every);
                if at.is_none_or(due) {
                    *at = Some(now);
                    add(notifier, &alert);
                }
            }
        }
        out.into_iter()
            .map(|((notifier, group), alerts)| Told {
                notifier,
                notification: Notification { group, alerts, at: now },
            })
            .collect()
    }

    fn alert(&self, rule: &Rule, group: &Group, entry: &Entry, now: Timestamp) -> Alert {
        alert(rule, group, entry, &self.silences, now)
    }

    /// All that is pending or fires.
    pub(super) fn active(&self, rules: &[Rule], now: Timestamp) -> Vec<Alert> {
        let of = |((number, group), entry): (&(usize, Group), &Entry)| {
            Some(self.alert(rules.get(*number)?, group, entry, now))
        };
        self.entries.iter().filter_map(of).collect()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (usize, &Group, &State)> {
        self.entries.iter().map(|((number, group), entry)| (*number, group, &entry.state))
    }
}

/// How notifications are made.
#[derive(Debug)]
pub(super) struct Telling<'a> {
    pub(super) group_by: &'a [String],
    /// Of each notifier.
    pub(super) repeat_every: &'a [Duration],
}

fn alert(rule: &Rule, group: &Group, entry: &Entry, silences: &Silences, now: Timestamp) -> Alert {
    let mut labels: Vec<(String, String)> = group.iter().chain(&rule.labels).cloned().collect();
    labels.sort_unstable();
    let (state, since, ended) = match entry.state {
        State::Inactive => (AlertState::Resolved, now, Some(now)),
        State::Pending { since } => (AlertState::Pending, since, None),
        State::Firing { since, .. } => (AlertState::Firing, since, None),
    };
    let mut alert = Alert {
        rule: rule.name.clone(),
        labels,
        severity: rule.severity,
        summary: rule.summary.clone(),
        state,
        value: entry.value,
        since: entry.since.unwrap_or(since),
        ended,
        silenced: false,
    };
    alert.silenced = alert.series().is_some_and(|series| silences.covers(&series, now));
    alert
}

impl Alert {
    fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(label, _)| label == name).map_or("", |(_, value)| value)
    }
}
