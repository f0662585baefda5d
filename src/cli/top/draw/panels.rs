//! The four tables: what runs, what ended, sources, alerts.

use super::pen::{Looks, Pen, spark, width};
use super::table::{Cell, Column, Table, left, right};
use crate::cli::top::view::{FILTERS, Panel, View};
use crate::integration::figures::{bytes, count, number, percent, seconds, time};
use crate::overview::{AlertLine, Order, Overview, QueryLine, SourceLine};
use crate::time::Timestamp;

/// From these widths on there is room for more.
const ROOMY: u16 = 92;
const WIDE: u16 = 110;
const WIDER: u16 = 150;

/// Columns of a curve that tell something.
const CURVE_MIN: u16 = 8;

const RUNNING: [Column; 10] = [
    left("id", 16, WIDER),
    right("runs for", 8, 0),
    left("phase", 8, 0),
    right("done", 4, 0),
    left("user", 10, 0),
    left("waits for", 13, 0),
    right("rows in", 7, WIDE),
    right("rows out", 8, ROOMY),
    right("bytes in", 9, WIDER),
    left("query", 0, 0),
];

const RECENT: [Column; 12] = [
    left("id", 16, WIDER),
    left("ended", 12, 0),
    right("took", 8, 0),
    left("outcome", 10, 0),
    right("waited", 6, 0),
    left("most for", 12, WIDE),
    right("rows", 7, 0),
    right("bytes", 9, WIDE),
    right("CPU", 8, WIDER),
    left("error", 10, WIDER),
    left("user", 10, ROOMY),
    left("query", 0, 0),
];

const SOURCES: [Column; 12] = [
    left("source", 14, 0),
    left("health", 8, 0),
    right("req/s", 7, 0),
    right("p50", 8, 0),
    right("p95", 8, 0),
    right("failed", 6, 0),
    left("mostly", 10, WIDE),
    right("cache", 5, 0),
    right("conns", 5, 0),
    right("busy", 4, 0),
    right("critical", 8, WIDE),
    left("p95 over the window", 0, 0),
];

const ALERTS: [Column; 5] = [
    left("state", 8, 0),
    left("since", 12, 0),
    left("severity", 9, 0),
    left("alert", 24, 0),
    left("of", 0, 0),
];

pub(super) fn draw(pen: &mut Pen<'_>, panel: Panel, view: &View, facts: &Overview, choosing: bool) {
    if pen.height() == 0 {
        return;
    }
    title(pen, panel, view, facts, choosing);
    let looks = pen.looks;
    let at = facts.at;
    let rows = panel.rows(facts);
    let chosen = (choosing && panel == view.panel && rows > 0).then(|| view.row(panel));
    let height = pen.height() - 1;
    let pen = &mut pen.rows(1, height);
    if rows == 0 || height == 0 {
        return;
    }
    let table = |columns| Table { columns, rows, chosen };
    match panel {
        Panel::Running => table(&RUNNING).draw(pen, |row| {
            facts.running.get(row).map(|line| running(looks, line)).unwrap_or_default()
        }),
        Panel::Recent => table(&RECENT).draw(pen, |row| {
            facts.recent.get(row).map(|line| recent(looks, line, at)).unwrap_or_default()
        }),
        Panel::Sources => {
            let room = pen.width();
            table(&SOURCES).draw(pen, |row| {
                facts.sources.get(row).map(|line| source(looks, line, room)).unwrap_or_default()
            });
        }
        Panel::Alerts => table(&ALERTS).draw(pen, |row| {
            facts.alerts.get(row).map(|line| alert(looks, line, at)).unwrap_or_default()
        }),
    }
}

fn title(pen: &mut Pen<'_>, panel: Panel, view: &View, facts: &Overview, choosing: bool) {
    let looks = pen.looks;
    let (name, about) = match panel {
        Panel::Running => ("Running", running_title(facts)),
        Panel::Recent => ("Recent", recent_title(view, facts)),
        Panel::Sources if facts.sources.is_empty() => ("Sources", "none".to_owned()),
        Panel::Sources => ("Sources", facts.sources.len().to_string()),
        Panel::Alerts => ("Alerts", alerts_title(facts)),
    };
    let focused = choosing && panel == view.panel;
    let mark = if focused { "▶" } else { " " };
    let x = pen.text(0, 0, 1, mark, looks.strong());
    let number = if choosing { format!("{} ", panel as usize + 1) } else { String::new() };
    let x = pen.text(x, 0, u16::MAX, &format!("{number}{name}"), looks.strong());
    let x = pen.text(x + 2, 0, u16::MAX, &about, looks.plain());
    let rule = "─".repeat(pen.width().saturating_sub(x + 1).into());
    pen.text(x + 1, 0, u16::MAX, &rule, looks.faint());
}

fn some(shown: usize, all: u64) -> String {
    if all > shown as u64 {
        format!("{} of {}", count(shown as u64), count(all))
    } else {
        count(all)
    }
}

fn running_title(facts: &Overview) -> String {
    match facts.running_count {
        0 => "none".to_owned(),
        all => some(facts.running.len(), all) + ", longest first",
    }
}

fn recent_title(view: &View, facts: &Overview) -> String {
    let question = &view.question;
    let mut title = match facts.recent_count {
        0 => "none".to_owned(),
        all => some(facts.recent.len(), all),
    };
    title += match question.order {
        Order::Newest => ", newest first",
        Order::Slowest => ", slowest first",
        Order::Rows => ", most rows first",
        Order::Bytes => ", most bytes first",
        Order::Cpu => ", most CPU first",
    };
    if !question.outcomes.is_empty() {
        let known = FILTERS.iter().find(|(_, ends)| *ends == question.outcomes);
        let names = || question.outcomes.iter().map(|kind| kind.name()).collect::<Vec<_>>();
        let name = known.map_or_else(|| names().join(" or "), |(name, _)| (*name).to_owned());
        title += &format!(", {name} only");
    }
    if !question.text.is_empty() {
        title += &format!(", with {:?}", question.text);
    }
    title
}

fn alerts_title(facts: &Overview) -> String {
    let firing = facts.alerts.iter().filter(|alert| alert.fires).count();
    match (firing, facts.alerts.len() - firing) {
        (0, 0) => "none".to_owned(),
        (firing, 0) => format!("{firing} firing"),
        (firing, pending) => format!("{firing} firing, {pending} pending"),
    }
}

pub(super) fn micros(micros: u64) -> String {
    seconds(micros as f64 * 1e-6)
}

/// `ann`, or `ann/acme` where there are tenants.
pub(super) fn whose(line: &QueryLine) -> String {
    match (&*line.user, &*line.tenant) {
        (user, "") => user.to_owned(),
        ("", tenant) => format!("/{tenant}"),
        (user, tenant) => format!("{user}/{tenant}"),
    }
}

/// What is not known.
fn dash() -> String {
    "-".to_owned()
}

/// A share where every column counts.
fn narrow(share: f64) -> String {
    percent(share).replace(' ', "")
}

/// Nothing for 0: of what runs, the store does not know.
fn known(value: u64, shown: impl Fn(f64) -> String) -> String {
    if value == 0 { dash() } else { shown(value as f64) }
}

/// To the millisecond, without the day where that is the day of `now`: `09:16:22.500`.
fn when(at: Timestamp, now: Timestamp) -> String {
    let (text, today) = (time(at), time(now));
    let same_day = text.get(..11).is_some_and(|day| today.starts_with(day));
    if !same_day {
        return text.get(5..16).map(str::to_owned).unwrap_or(text);
    }
    let millis = at.0.rem_euclid(1_000_000_000) / 1_000_000;
    format!("{}.{millis:03}", text.get(11..).unwrap_or(&text))
}

fn running(looks: Looks, line: &QueryLine) -> Vec<Cell> {
    let plain = looks.plain();
    let under_way = line.under_way.iter().map(|of| match of.calls {
        1 => of.source.clone(),
        calls => format!("{}×{calls}", of.source),
    });
    let progress = line.progress.map_or_else(dash, narrow);
    vec![
        (line.id.to_string(), looks.faint()),
        (micros(line.length_us.unwrap_or(0)), looks.strong()),
        (line.phase.clone().unwrap_or_else(dash), plain),
        (progress, looks.curve()),
        (whose(line), plain),
        (under_way.collect::<Vec<_>>().join(" "), plain),
        (known(line.rows_in, number), plain),
        (known(line.rows_out, number), plain),
        (known(line.bytes_in, bytes), plain),
        (line.text.clone(), plain),
    ]
}

fn recent(looks: Looks, line: &QueryLine, now: Timestamp) -> Vec<Cell> {
    let plain = looks.plain();
    let length = line.length_us.unwrap_or(0);
    let ended = line.began.0.saturating_add_unsigned(length.saturating_mul(1_000));
    let waited = if length == 0 { 0.0 } else { line.waiting_us as f64 / length as f64 };
    let waited = waited.min(1.0);
    vec![
        (line.id.to_string(), looks.faint()),
        (when(Timestamp(ended), now), looks.faint()),
        (line.length_us.map_or_else(dash, micros), looks.strong()),
        (
            line.outcome.map_or("running", |kind| kind.name()).to_owned(),
            looks.outcome(line.outcome),
        ),
        (percent(waited), plain),
        (line.critical_source.clone().unwrap_or_else(dash), plain),
        (number((line.rows_in + line.rows_out) as f64), plain),
        (known(line.bytes_in + line.bytes_out, bytes), plain),
        (known(line.cpu_us, |us| seconds(us * 1e-6)), plain),
        (line.error.clone(), looks.outcome(line.outcome)),
        (whose(line), plain),
        (line.text.clone(), plain),
    ]
}

fn source(looks: Looks, line: &SourceLine, room: u16) -> Vec<Cell> {
    let plain = looks.plain();
    let (health, style) = match line.health {
        None => ("-", looks.faint()),
        Some(1.0..) => ("up", looks.good()),
        Some(health) if health > 0.0 => ("degraded", looks.doubtful()),
        Some(_) => ("down", looks.bad()),
    };
    let failed = if line.calls == 0 { 0.0 } else { line.failed as f64 / line.calls as f64 };
    let connections = match (line.connections, line.connections_waiting) {
        (Some(open), Some(waiting @ 1..)) => format!("{open}+{waiting}"),
        (Some(open), _) => open.to_string(),
        (None, _) => dash(),
    };
    // What the columns before it leave, and the curve's greatest value behind it.
    let shown = SOURCES.iter().filter(|column| column.from <= room);
    let taken: u16 = shown.map(|column| column.width + 1).sum();
    let greatest = line.p95_curve.iter().flatten().copied().fold(0.0, f64::max);
    let top = if greatest > 0.0 { seconds(greatest) } else { String::new() };
    // A figure behind the curve, unless it would take the curve's place.
    let left = room.saturating_sub(taken + width(&top) + 2);
    let curve = match left {
        ..CURVE_MIN => spark(&line.p95_curve, room.saturating_sub(taken)),
        _ => format!("{} {top}", spark(&line.p95_curve, left)),
    };
    vec![
        (line.source.clone(), looks.strong()),
        (health.to_owned(), style),
        (number((line.requests_per_second * 100.0).round() / 100.0), plain),
        (line.p50.map_or_else(dash, seconds), plain),
        (line.p95.map_or_else(dash, seconds), plain),
        (percent(failed), if line.failed > 0 { looks.bad() } else { plain }),
        (line.error.clone(), if line.failed > 0 { looks.bad() } else { plain }),
        (line.cache_hit_rate.map_or_else(dash, narrow), plain),
        (connections, plain),
        (line.in_flight.map_or_else(dash, |calls| calls.to_string()), plain),
        (micros(line.critical_us), plain),
        (curve, looks.curve()),
    ]
}

fn alert(looks: Looks, line: &AlertLine, now: Timestamp) -> Vec<Cell> {
    let style = if line.fires { looks.bad() } else { looks.doubtful() };
    vec![
        (if line.fires { "fires" } else { "pending" }.to_owned(), style),
        (when(line.since, now), looks.plain()),
        (line.severity.clone(), looks.plain()),
        (line.alert.clone(), looks.strong()),
        (line.labels.clone(), looks.plain()),
    ]
}
