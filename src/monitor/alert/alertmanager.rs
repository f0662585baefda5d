//! Alertmanager's HTTP interface, version 2: alerts as a JSON array.
//!
//! <https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml>, `postAlerts`.

use std::time::Duration;

use serde_json::{Map, Value, json};
use ureq::Agent;

use super::board::{Alert, AlertState};
use super::notify::{Notification, Notifier, NotifyError};
use crate::time::Timestamp;

/// How often what still fires is posted again, as Prometheus does: Alertmanager takes an alert that
/// it hears nothing of for resolved.
const REPEAT_EVERY: Duration = Duration::from_secs(60);
/// An alert is over if it was not posted again for so long: four repetitions.
const EXPIRES_AFTER: Duration = Duration::from_secs(240);
const TIMEOUT: Duration = Duration::from_secs(10);

/// Posts alerts to an Alertmanager, or to whatever takes its JSON. Speaks plain HTTP: where the way
/// is not to be trusted, a proxy beside the host encrypts it.
#[derive(Debug)]
pub struct Alertmanager {
    url: String,
    agent: Agent,
}

impl Alertmanager {
    /// Of the server at `base`, such as `http://alertmanager:9093`.
    #[must_use]
    pub fn new(base: &str) -> Self {
        Self::at(format!("{}/api/v2/alerts", base.trim_end_matches('/')))
    }

    /// Posts to this very address.
    #[must_use]
    pub fn at(url: impl Into<String>) -> Self {
        let config = Agent::config_builder().timeout_global(Some(TIMEOUT)).build();
        Self { url: url.into(), agent: config.into() }
    }
}

impl Notifier for Alertmanager {
    fn notify(&mut self, notification: &Notification) -> Result<(), NotifyError> {
        let body = body(notification).to_string();
        let sent = self.agent.post(&self.url).content_type("application/json").send(body);
        sent.map(drop).map_err(|error| {
            // What was refused will be refused again.
            let transient = !matches!(error, ureq::Error::StatusCode(400..=499));
            NotifyError { reason: format!("{}: {error}", self.url), transient }
        })
    }

    fn repeat_every(&self) -> Option<Duration> {
        Some(REPEAT_EVERY)
    }
}

fn body(notification: &Notification) -> Value {
    notification.alerts.iter().map(|alert| one(alert, notification.at)).collect()
}

fn one(alert: &Alert, at: Timestamp) -> Value {
    let labels = alert.labels.iter().filter(|(_, value)| !value.is_empty());
    let mut labels: Map<String, Value> =
        labels.map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    labels.insert("alertname".to_owned(), alert.rule.as_str().into());
    labels.insert("severity".to_owned(), alert.severity.name().into());
    let expires = at.saturating_add(EXPIRES_AFTER);
    let ends =
        if alert.state == AlertState::Resolved { alert.ended.unwrap_or(at) } else { expires };
    json!({
        "labels": labels,
        "annotations": { "summary": alert.summary, "value": alert.value.to_string() },
        "startsAt": rfc3339(alert.since),
        "endsAt": rfc3339(ends),
        "generatorURL": "",
    })
}

/// As `2026-11-27T06:14:56.000000000Z`, of the years 0 to 9999.
fn rfc3339(at: Timestamp) -> String {
    const DAY: i64 = 86_400;
    let (seconds, nanos) = (at.0.div_euclid(1_000_000_000), at.0.rem_euclid(1_000_000_000));
    let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`: years begin
    // in March, eras of 400 years.
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::alert::Severity;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000000Z"),
            (1_795_760_096, "2026-11-27T06:14:56.000000000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000000Z"),
            (-1, "1969-12-31T23:59:59.000000000Z"),
        ] {
            assert_eq!(rfc3339(Timestamp::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn an_alert_is_what_alertmanager_takes() {
        let at = Timestamp::from_secs(1_795_760_096);
        let alert = Alert {
            rule: "SlowSource".to_owned(),
            labels: vec![
                ("source".to_owned(), "lake".to_owned()),
                ("empty".to_owned(), String::new()),
            ],
            severity: Severity::Critical,
            summary: "it is \"slow\"".to_owned(),
            state: AlertState::Firing,
            value: 2.5,
            since: Timestamp::from_secs(0),
            ended: None,
            silenced: false,
        };
        let resolved = Alert { state: AlertState::Resolved, ended: Some(at), ..alert.clone() };
        let notification = Notification { group: Vec::new(), alerts: vec![alert, resolved], at };
        let expected = |ends: &str| {
            json!({
                "labels": { "alertname": "SlowSource", "severity": "critical", "source": "lake" },
                "annotations": { "summary": "it is \"slow\"", "value": "2.5" },
                "startsAt": "1970-01-01T00:00:00.000000000Z",
                "endsAt": ends,
                "generatorURL": "",
            })
        };
        let ends = ["2026-11-27T06:18:56.000000000Z", "2026-11-27T06:14:56.000000000Z"];
        assert_eq!(body(&notification), json!(ends.map(expected)));
    }
}
