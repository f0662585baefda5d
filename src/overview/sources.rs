//! Sources: what queries of the window made of them, and how they are at its end.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::facts::SourceLine;
use super::grid::Grid;
use super::reading::Reading;
use super::sheet::SourceSums;
use crate::error::Result;
use crate::model::Selector;
use crate::monitor::LiveView;
use crate::time::{TimeRange, Timestamp};

/// How long a gauge's sample tells of what is, ns: 5 min, as in PromQL.
const GAUGE_NANOS: i64 = 300_000_000_000;

/// Whole things that a gauge counts.
fn whole(value: Option<&f64>) -> Option<u64> {
    value.filter(|value| value.is_finite()).map(|value| value.round() as u64)
}

/// All sources; with `live`, as the host sees them now.
pub(super) fn lines(
    reading: &Reading<'_>,
    grid: &Grid,
    live: Option<&LiveView>,
) -> Result<Vec<SourceLine>> {
    let calls = reading.calls(grid)?.sources;
    let TimeRange { end, .. } = grid.range;
    let lately = TimeRange::new(Timestamp(end.0.saturating_sub(GAUGE_NANOS)), end);
    let gauge = |selector: &str| -> Result<BTreeMap<Arc<str>, f64>> {
        reading.last_by(&Selector::parse(selector)?, "source", lately)
    };
    let health = gauge("source_health")?;
    let running = gauge("source_calls_running")?;
    let open = gauge("source_connections{state=\"open\"}")?;
    let waiting = gauge("source_connections{state=\"waiting\"}")?;
    let hits = reading.increase_by("source_cache_hits_total", "source", grid.range)?;
    let misses = reading.increase_by("source_cache_misses_total", "source", grid.range)?;
    let names: BTreeSet<&Arc<str>> = calls.keys().chain(health.keys()).collect();
    let line = |name: &Arc<str>| {
        let windows = calls.get(name).map(Vec::as_slice).unwrap_or_default();
        let mut all = SourceSums::default();
        windows.iter().for_each(|window| all.merge(window));
        let error = all.classes.iter().max_by_key(|(class, count)| (**count, Reverse(*class)));
        let hit = hits.get(name).copied().unwrap_or(0.0);
        let asked = hit + misses.get(name).copied().unwrap_or(0.0);
        SourceLine {
            source: name.to_string(),
            calls: all.calls,
            failed: all.failed,
            error: error.map(|(class, _)| class.to_string()).unwrap_or_default(),
            requests_per_second: all.requests as f64 / grid.seconds(),
            p50: all.lengths.quantile(0.5),
            p95: all.lengths.quantile(0.95),
            cache_hit_rate: (asked > 0.0).then(|| hit / asked),
            rows: all.rows,
            bytes: all.bytes,
            critical_us: all.critical_us,
            in_flight: whole(running.get(name)),
            connections: whole(open.get(name)),
            connections_waiting: whole(waiting.get(name)),
            health: health.get(name).copied().filter(|value| value.is_finite()),
            p95_curve: windows.iter().map(|window| window.lengths.quantile(0.95)).collect(),
        }
    };
    let mut lines: Vec<SourceLine> = names.into_iter().map(line).collect();
    add_live(&mut lines, live);
    lines.sort_by(|a, b| b.critical_us.cmp(&a.critical_us).then_with(|| a.source.cmp(&b.source)));
    Ok(lines)
}

/// What the host knows better than series, which it writes every some seconds.
fn add_live(lines: &mut Vec<SourceLine>, live: Option<&LiveView>) {
    for now in live.map(LiveView::sources).unwrap_or_default() {
        let known = lines.iter().position(|line| *line.source == *now.source);
        let at = known.unwrap_or_else(|| {
            lines.push(SourceLine { source: now.source.to_string(), ..SourceLine::default() });
            lines.len() - 1
        });
        if let Some(line) = lines.get_mut(at) {
            line.in_flight = Some(now.under_way());
            line.connections = Some(now.connections.open);
            line.connections_waiting = Some(now.connections.waiting);
            line.health = Some(now.health.value()).filter(|value| value.is_finite());
        }
    }
}
