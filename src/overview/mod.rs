//! What a monitored host does at a moment, and did in the window before it: for a screen that is
//! looked at again and again, over a store at rest or a host that runs.
//!
//! Owns: the sums and grids that rows of the monitor's tables are folded into ([`QuerySums`],
//! [`SourceSums`], [`Grid`]), which `report` is made of too; an [`Overview`] as plain data that is
//! read back from its JSON; one query in full ([`QueryDetail`]). Does not own: recording
//! ([`crate::monitor`]), finding trouble (`report`), answering over HTTP (`server`), drawing (`cli`).
//!
//! A query counts in the window in which it ended, as it does in the series; a call to a source in
//! that in which its query began, because that is when its row stands. What runs is told by the host
//! where it hands over a [`LiveView`]; of other moments and from a store alone it is told by rows of
//! queries that ended later, and by marks that nothing answers.

mod facts;
mod grid;
mod lines;
mod question;
mod reading;
pub(crate) mod sheet;
mod sources;
mod tally;
mod wire;

use std::cmp::Reverse;
use std::collections::HashSet;

pub use facts::{
    AlertLine, CallLine, Load, Overview, PhaseTime, QueryDetail, QueryLine, SourceLine, StoreFacts,
    UnderWay,
};
pub use grid::Grid;
pub use question::{Order, Question};
pub use reading::Reading;
pub use sheet::{Lengths, QuerySums, SourceSums};

use crate::error::Result;
use crate::model::{METRIC_NAME_LABEL, MatchOp, Matcher, Selector};
use crate::monitor::{LiveView, OutcomeKind, QUERIES, QueryId, RUNNING_QUERIES};
use crate::time::{TimeRange, Timestamp, duration_nanos};
use tally::Tally;

/// Steps of curves, at most and one more: what a terminal has room for beside figures.
const STEPS_MAX: usize = 60;
/// As `alert_state` has it.
const FIRING: f64 = 2.0;
const PENDING: f64 = 1.0;

/// What [`QueryId`]'s `Display` says.
#[must_use]
pub fn parse_id(text: &str) -> Option<QueryId> {
    let digits = text.len() <= 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u64::from_str_radix(text, 16).ok()).flatten().map(QueryId)
}

impl Overview {
    /// What the question asks, from the store that is read, and from the host where there is a live
    /// view of it. Cost: one pass over the rows of finished queries and one over those of calls in the
    /// window, in parallel as far as decoding goes, and some small questions to series.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use icecore::monitor::{FederationMonitor, MonitorOptions};
    /// use icecore::overview::{Overview, Question, Reading};
    /// # use icecore::{Engine, Options};
    /// # fn main() -> icecore::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory");
    /// # let engine = Arc::new(Engine::open(dir.path(), Options::default())?);
    /// # let monitor = FederationMonitor::open(Arc::clone(&engine), MonitorOptions::default())?;
    /// let query = monitor.start_query("SELECT 1");
    /// let view = monitor.live_view();
    /// let overview = Overview::of(&Reading::of(&engine), &Question::default(), Some(&view))?;
    /// assert_eq!(overview.running[0].text, "SELECT ?");
    /// # query.finish();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Question::check`]'s; limits, deadline and cancellation of the reading; I/O or corruption.
    pub fn of(reading: &Reading<'_>, question: &Question, live: Option<&LiveView>) -> Result<Self> {
        question.check()?;
        let monitored = reading.is_monitored();
        let now = reading.engine.now();
        let held = if monitored { held(reading, live.map(|_| now))? } else { None };
        let latest = held.map_or(now, |held| held.end);
        let at = question.at.map_or(latest, |at| at.min(latest));
        let from = Timestamp(at.0.saturating_sub(duration_nanos(question.window)));
        let window = TimeRange::new(from, at);
        let mut overview = Self {
            at,
            from,
            first: held.map(|held| held.start),
            last: held.map(|held| held.end),
            monitored,
            live: live.is_some() && at == now,
            load: Load::default(),
            running: Vec::new(),
            running_count: 0,
            recent: Vec::new(),
            recent_count: 0,
            sources: Vec::new(),
            alerts: alerts(reading, at)?,
            store: store(reading, window)?,
        };
        if monitored && !window.is_empty() {
            let grid = Grid::over(window, STEPS_MAX);
            let tally = Tally::of(reading, question, grid)?;
            overview.load = load(&grid, &tally.windows);
            overview.recent_count = tally.recent.count;
            overview.recent = lines::picked(reading, &tally.recent.sorted())?;
            overview.running_count = tally.running.count;
            let ran = lines::picked(reading, &tally.running.sorted())?;
            overview.running = ran.into_iter().map(|line| line.running_at(at)).collect();
            let now = live.filter(|_| overview.live);
            overview.sources = sources::lines(reading, &grid, now)?;
        }
        overview.add_running(reading, question, live)?;
        Ok(overview)
    }

    /// Queries that have not ended yet, beside those that had not at the moment and have since.
    fn add_running(
        &mut self,
        reading: &Reading<'_>,
        question: &Question,
        live: Option<&LiveView>,
    ) -> Result<()> {
        let at = self.at;
        let more = match live {
            Some(view) if self.live => view.running().iter().map(lines::live).collect(),
            Some(view) => {
                let running = view.running();
                let began = running.iter().filter(|query| query.so_far.started < at);
                began.map(|query| lines::live(query).running_at(at)).collect()
            }
            None if self.monitored => lines::marked(reading, at)?,
            None => Vec::new(),
        };
        let known: HashSet<QueryId> = self.running.iter().map(|line| line.id).collect();
        let more: Vec<QueryLine> =
            more.into_iter().filter(|line| !known.contains(&line.id)).map(QueryLine::cut).collect();
        self.running_count += more.len() as u64;
        self.running.extend(more);
        self.running.sort_by_key(|line| (Reverse(line.length_us), line.id));
        self.running.truncate(usize::try_from(question.limit).unwrap_or(usize::MAX));
        Ok(())
    }
}

impl QueryDetail {
    /// All that is known of a query: from the host while it runs, then from its row; `None` where
    /// nothing is. Cost: the groups of rows that may hold it, told by bounds.
    ///
    /// # Errors
    /// Limits, deadline and cancellation of the reading; I/O or corruption.
    pub fn of(reading: &Reading<'_>, id: QueryId, live: Option<&LiveView>) -> Result<Option<Self>> {
        let running = live.map(LiveView::running).unwrap_or_default();
        if let Some(query) = running.iter().find(|query| query.so_far.id == id) {
            return Ok(Some(lines::live_detail(query)));
        }
        if !reading.is_monitored() {
            return Ok(None);
        }
        if let Some(detail) = lines::stored_detail(reading, id)? {
            return Ok(Some(detail));
        }
        let latest = held(reading, None)?.map_or(reading.engine.now(), |held| held.end);
        let marks = lines::marked(reading, latest)?;
        Ok(marks.into_iter().find(|mark| mark.id == id).map(lines::of_mark))
    }
}

/// From the first beginning of a query to behind the last moment at which the monitor is known to have
/// been there: the end of a query, a mark, a count of what runs.
///
/// Whoever has a host that runs needs not know when it ended: `now` is that.
fn held(reading: &Reading<'_>, now: Option<Timestamp>) -> Result<Option<TimeRange>> {
    let engine = reading.engine;
    let queries = engine.event_span(QUERIES, TimeRange::ALL)?;
    let marks = match engine.event_schema(RUNNING_QUERIES) {
        Some(_) => engine.event_span(RUNNING_QUERIES, TimeRange::ALL)?,
        None => None,
    };
    let spans = [queries, marks];
    let spans = || spans.iter().flatten();
    let (Some(first), Some(mut last)) =
        (spans().map(|span| span.first).min(), spans().map(|span| span.last).max())
    else {
        return Ok(None);
    };
    if let Some(now) = now {
        return Ok(Some(TimeRange::new(first.min(now), now)));
    }
    if let Some(queries) = queries {
        last = last.max(tally::last_end(reading, queries.last)?.unwrap_or(last));
    }
    let counted = reading.last(&Selector::metric("queries_running")?, TimeRange::ALL)?;
    let counted = counted.iter().map(|of| of.sample.timestamp).max();
    last = last.max(counted.unwrap_or(last));
    Ok(Some(TimeRange::new(first, Timestamp(last.0.saturating_add(1)))))
}

fn load(grid: &Grid, windows: &[QuerySums]) -> Load {
    let mut all = QuerySums::default();
    windows.iter().for_each(|window| all.merge(window));
    Load {
        queries: all.count(),
        failed: all.failed(),
        broken_off: all.of(OutcomeKind::Cancelled) + all.of(OutcomeKind::Abandoned),
        per_second: all.count() as f64 / grid.seconds(),
        p50: all.lengths.quantile(0.5),
        p95: all.lengths.quantile(0.95),
        p99: all.lengths.quantile(0.99),
        engine_us: all.engine_us,
        waiting_us: all.waiting_us,
        step: grid.step_nanos as f64 * 1e-9,
        curve: windows.iter().map(QuerySums::count).collect(),
        failed_curve: windows.iter().map(QuerySums::failed).collect(),
        p95_curve: windows.iter().map(|window| window.lengths.quantile(0.95)).collect(),
    }
}

/// Of what was written last of each alert: what is not over.
fn alerts(reading: &Reading<'_>, at: Timestamp) -> Result<Vec<AlertLine>> {
    // States are written when they change.
    let until = TimeRange::new(TimeRange::ALL.start, Timestamp(at.0.saturating_add(1)));
    let states = reading.last(&Selector::metric("alert_state")?, until)?;
    let active = states.into_iter().filter(|last| [PENDING, FIRING].contains(&last.sample.value));
    let own = ["alert", "severity", METRIC_NAME_LABEL];
    let mut alerts: Vec<AlertLine> = Vec::new();
    for last in active {
        let series = &last.series;
        let others = series.labels().filter(|(name, _)| !own.contains(name));
        let labels: Vec<String> = others.map(|(name, value)| format!("{name}={value:?}")).collect();
        // The metric's name is a label too: all the others are those of the state.
        let same = series.labels().filter(|(name, _)| *name != METRIC_NAME_LABEL);
        let same = same.map(|(name, value)| Matcher::new(name, MatchOp::Equal, value));
        let metric = Matcher::new(METRIC_NAME_LABEL, MatchOp::Equal, "alert_since_seconds");
        let since = Selector::new(same.chain([metric]).collect::<Result<_>>()?)?;
        let since = reading.last(&since, until)?;
        let since = since.first().map(|since| Timestamp((since.sample.value * 1e9) as i64));
        alerts.push(AlertLine {
            alert: series.label("alert").to_owned(),
            severity: series.label("severity").to_owned(),
            labels: labels.join(", "),
            fires: last.sample.value == FIRING,
            since: since.unwrap_or(last.sample.timestamp),
        });
    }
    alerts.sort_by(|a, b| {
        (!a.fires, a.since, &a.alert, &a.labels).cmp(&(!b.fires, b.since, &b.alert, &b.labels))
    });
    Ok(alerts)
}

fn store(reading: &Reading<'_>, window: TimeRange) -> Result<StoreFacts> {
    // Asked again and again: not `stats`, which reads every part.
    let engine = reading.engine;
    let queries = match engine.event_schema(QUERIES) {
        Some(_) => engine.event_span(QUERIES, TimeRange::ALL)?,
        None => None,
    };
    let increase = |metric| -> Result<u64> {
        if window.is_empty() { Ok(0) } else { Ok(reading.increase(metric, window)?.round() as u64) }
    };
    Ok(StoreFacts {
        path: engine.path().display().to_string(),
        bytes_on_disk: engine.bytes_on_disk()?,
        series: engine.series_count(),
        query_rows: queries.map_or(0, |rows| rows.rows),
        records_dropped: increase("monitor_records_dropped_total")?,
        samples_refused: increase("icecore_samples_refused_total")?,
    })
}
