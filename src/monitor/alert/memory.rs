//! The memory of alerts and silences: series of the store that they watch.
//!
//! `alert_state` is 1 while an alert is pending, 2 while it fires, 0 when it is over;
//! `alert_since_seconds` is since when; `alert_silence_until_seconds` is until when a silence lasts,
//! 0 when it was lifted. So what fired when can be asked like anything else, and the last samples
//! are the state that a restart begins with.

use std::collections::HashMap;
use std::time::Duration;

use super::board::{Board, Group};
use super::rule::Rule;
use super::silence::{Silence, SilenceId, Silences};
use super::state::State;
use crate::engine::{Engine, SeriesHandle, Writer};
use crate::error::{Error, Result};
use crate::model::{Metadata, MetricKind, Selector, Series, VALUE_BYTES_MAX};
use crate::options::WhenFull;
use crate::query::{LastSample, SampleRequest};
use crate::time::{TimeRange, Timestamp};

const STATE: &str = "alert_state";
const SINCE: &str = "alert_since_seconds";
const SILENCE: &str = "alert_silence_until_seconds";
/// The thread that evaluates may wait for room in the channel, not for ever.
const PATIENCE: Duration = Duration::from_secs(5);

/// Writes what is to be remembered.
#[derive(Debug)]
pub(super) struct Memory {
    writer: Writer,
    /// Of alerts that are active: the state's and the beginning's series.
    handles: HashMap<(usize, Group), [SeriesHandle; 2]>,
}

fn metadata(unit: &str, help: &str) -> Metadata {
    Metadata { kind: MetricKind::Gauge, unit: unit.to_owned(), help: help.to_owned() }
}

fn seconds(at: Timestamp) -> f64 {
    at.0 as f64 / 1e9
}

fn from_seconds(seconds: f64) -> Timestamp {
    Timestamp((seconds * 1e9) as i64)
}

impl Memory {
    pub(super) fn new(engine: &Engine) -> Self {
        let writer = engine.writer("alerts").with_when_full(WhenFull::WaitUpTo(PATIENCE));
        Self { writer, handles: HashMap::new() }
    }

    fn handles(&mut self, number: usize, rule: &Rule, group: &Group) -> Result<[SeriesHandle; 2]> {
        let key = (number, group.clone());
        if let Some(known) = self.handles.get(&key) {
            return Ok(known.clone());
        }
        let about = [
            (STATE, metadata("", "1 pending, 2 firing, 0 over.")),
            (SINCE, metadata("seconds", "Since when an alert's value was beyond its limit.")),
        ];
        let mut handles = about.iter().map(|(metric, metadata)| {
            let labels = group.iter().chain(&rule.labels);
            let labels = labels.map(|(name, value)| (name.as_str(), value.as_str()));
            let own = [("alert", rule.name.as_str()), ("severity", rule.severity.name())];
            self.writer.series(&Series::new(metric, labels.chain(own))?, metadata).map_err(refused)
        });
        let (Some(state), Some(since)) = (handles.next(), handles.next()) else {
            return Err(Error::Closed);
        };
        let handles = [state?, since?];
        self.handles.insert(key, handles.clone());
        Ok(handles)
    }

    /// Writes where an alert stands.
    pub(super) fn write(
        &mut self,
        (number, rule, group): (usize, &Rule, &Group),
        state: State,
        now: Timestamp,
    ) -> Result<()> {
        let (value, since) = match state {
            State::Inactive => (0.0, 0.0),
            State::Pending { since } => (1.0, seconds(since)),
            State::Firing { since, .. } => (2.0, seconds(since)),
        };
        let handles = self.handles(number, rule, group)?;
        if state == State::Inactive {
            self.handles.remove(&(number, group.clone()));
        }
        let scrape = self.writer.scrape_group(&handles);
        self.writer.append_scrape(&scrape, now, vec![value, since]).map(drop)
    }

    /// Writes until when a silence lasts; not at all, where it was lifted.
    pub(super) fn write_silence(
        &self,
        id: SilenceId,
        silence: &Silence,
        lifted: bool,
        now: Timestamp,
    ) -> Result<()> {
        let series = silence_series(id, silence)?;
        let about = metadata("seconds", "Until when a silence lasts; 0 when it was lifted.");
        let handle = self.writer.series(&series, &about).map_err(refused)?;
        let until = if lifted { 0.0 } else { seconds(silence.until) };
        self.writer.append_column(&handle, vec![now.0], vec![until]).map(drop)
    }

    /// What an earlier run left: alerts of these rules, and silences. An alert whose rule is gone is
    /// over.
    pub(super) fn restore(
        &mut self,
        engine: &Engine,
        rules: &[Rule],
        since: Timestamp,
    ) -> Result<Board> {
        // What an earlier run of this process wrote last may be on its way yet.
        engine.sync()?;
        let now = engine.now();
        let mut board = Board::default();
        let mut states = last(engine, STATE, since)?;
        // Of one alert whose severity was changed the latest counts.
        states.sort_by_key(|state| state.sample.timestamp);
        let beginnings = last(engine, SINCE, since)?;
        for state in states.iter().filter(|state| state.sample.value > 0.0) {
            let labels = &state.series;
            let number = rules.iter().position(|rule| rule.name == labels.label("alert"));
            let Some((number, rule)) = number.and_then(|at| Some((at, rules.get(at)?))) else {
                self.end(&state.series, now)?;
                continue;
            };
            let began = beginnings.iter().find(|began| began.series.labels().eq(labels.labels()));
            let began = began.map_or(state.sample.timestamp, |b| from_seconds(b.sample.value));
            let by = rule.measure.by();
            let group = by.iter().map(|label| (label.clone(), labels.label(label).to_owned()));
            let restored = if state.sample.value < 2.0 {
                // The wait goes on where it was; while nobody measured, it stood.
                let waited = state.sample.timestamp.0.saturating_sub(began.0).max(0);
                State::Pending { since: Timestamp(now.0.saturating_sub(waited)) }
            } else {
                State::Firing { since: began, quiet: None }
            };
            board.restore(number, group.collect(), restored);
        }
        board.silences = silences(engine, since, now)?;
        Ok(board)
    }

    fn end(&self, series: &Series, now: Timestamp) -> Result<()> {
        let handle = self.writer.series(series, &Metadata::default()).map_err(refused)?;
        self.writer.append_column(&handle, vec![now.0], vec![0.0]).map(drop)
    }
}

fn refused(refusal: crate::engine::Refusal) -> Error {
    Error::InvalidArgument { what: "alert", reason: refusal.to_string() }
}

fn silence_series(id: SilenceId, silence: &Silence) -> Result<Series> {
    let selector = silence.selector.to_string();
    if selector.len() > VALUE_BYTES_MAX {
        let reason = format!("its selector takes more than {VALUE_BYTES_MAX} bytes");
        return Err(Error::InvalidArgument { what: "silence", reason });
    }
    let end = silence.comment.floor_char_boundary(VALUE_BYTES_MAX);
    let comment = silence.comment.get(..end).unwrap_or_default();
    let id = id.to_string();
    Series::new(SILENCE, [("id", id.as_str()), ("selector", &selector), ("comment", comment)])
}

fn silences(engine: &Engine, since: Timestamp, now: Timestamp) -> Result<Silences> {
    let mut silences = Silences::default();
    for found in last(engine, SILENCE, since)? {
        let Ok(id) = found.series.label("id").parse() else { continue };
        let until = from_seconds(found.sample.value);
        let selector = Selector::parse(found.series.label("selector")).ok();
        let lasting = selector.filter(|_| now < until).map(|selector| Silence {
            selector,
            until,
            comment: found.series.label("comment").to_owned(),
        });
        silences.restore(SilenceId(id), lasting);
    }
    Ok(silences)
}

fn last(engine: &Engine, metric: &str, since: Timestamp) -> Result<Vec<LastSample>> {
    let range = TimeRange::new(since, Timestamp::MAX);
    engine.last_samples(&Selector::metric(metric)?, &SampleRequest::new(range))
}
