//! Alerts that fired, as the series `alert_state` tells: written whenever an alert's state changes, 1
//! while it is pending, 2 while it fires, 0 when it is over.

use std::sync::Arc;

use crate::engine::Engine;
use crate::error::Result;
use crate::model::{Selector, Series};
use crate::query::SampleRequest;
use crate::time::{TimeRange, Timestamp};

const STATE: &str = "alert_state";
const FIRING: f64 = 2.0;

/// A stretch of time in which an alert fired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FiredAlert {
    /// The rule's name.
    pub alert: Arc<str>,
    /// How bad it is, as the rule says.
    pub severity: Arc<str>,
    /// The other labels, `name="value"`, by name; may be empty.
    pub labels: String,
    /// When it began to fire; may lie before the report's range.
    pub began: Timestamp,
    /// When it was over; `None` where it fired still at the end of the range.
    pub ended: Option<Timestamp>,
}

/// The stretches that meet the range, by their beginning; `None` where no alert ever had a state.
pub(super) fn fired(engine: &Engine, range: TimeRange) -> Result<Option<Vec<FiredAlert>>> {
    let selector = Selector::metric(STATE)?;
    if engine.series(&selector, TimeRange::ALL)?.is_empty() {
        return Ok(None);
    }
    // States are written when they change: what fires at the beginning may have begun long before.
    let until = TimeRange::new(TimeRange::ALL.start, range.end);
    let mut found = Vec::new();
    for of in engine.samples(&selector, &SampleRequest::new(until))? {
        let states = of.timestamps.iter().zip(&of.values);
        found.extend(stretches(states).map(|(began, ended)| alert(&of.series, began, ended)));
    }
    found.retain(|alert| alert.ended.is_none_or(|ended| ended > range.start));
    found.sort_by(|a, b| a.began.cmp(&b.began).then(a.alert.cmp(&b.alert)));
    Ok(Some(found))
}

/// From each beginning to the next other state.
fn stretches<'a>(
    states: impl Iterator<Item = (&'a i64, &'a f64)>,
) -> impl Iterator<Item = (i64, Option<i64>)> {
    let mut all = Vec::new();
    let mut began = None;
    for (&time, &state) in states {
        match (began, state == FIRING) {
            (None, true) => began = Some(time),
            (Some(since), false) => {
                all.push((since, Some(time)));
                began = None;
            }
            _ => {}
        }
    }
    all.extend(began.map(|since| (since, None)));
    all.into_iter()
}

fn alert(series: &Series, began: i64, ended: Option<i64>) -> FiredAlert {
    let own = ["alert", "severity", crate::model::METRIC_NAME_LABEL];
    let others = series.labels().filter(|(name, _)| !own.contains(name));
    let labels: Vec<String> = others.map(|(name, value)| format!("{name}={value:?}")).collect();
    FiredAlert {
        alert: series.label("alert").into(),
        severity: series.label("severity").into(),
        labels: labels.join(", "),
        began: Timestamp(began),
        ended: ended.map(Timestamp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_fires_from_a_two_to_the_next_other_state() {
        let times = [1, 2, 3, 4, 5, 6, 7];
        let states = [1.0, 2.0, 2.0, 0.0, 1.0, 0.0, 2.0];
        let found: Vec<_> = stretches(times.iter().zip(&states)).collect();
        assert_eq!(found, [(2, Some(4)), (7, None)]);
        assert_eq!(stretches([].into_iter()).count(), 0);
    }
}
