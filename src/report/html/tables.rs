//! The sections that are tables.

use std::fmt::Write;
use std::sync::Arc;

use super::escape;
use crate::integration::figures::{bytes, count, moment, number, percent, seconds};
use crate::monitor::OutcomeKind;
use crate::report::chart::{Cell, strip};
use crate::report::{FingerprintSums, Lengths, Report, SlowQuery, SourceReport, SourceSums};

/// Bytes of a text that are shown at once; the rest is folded: in the table of fingerprints, and of
/// single queries.
const TEXT_SHOWN: usize = 220;
const TEXT_SHOWN_SHORT: usize = 70;

/// A table that scrolls by itself where the page is narrow; columns whose name begins with `>` hold
/// numbers.
fn table(caption: &str, columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let class = |column: &str| if column.starts_with('>') { " class=\"n\"" } else { "" };
    let head: String = columns
        .iter()
        .map(|column| {
            let name = column.trim_start_matches('>');
            format!("<th scope=\"col\"{}>{name}</th>", class(column))
        })
        .collect();
    let mut out = format!(
        "<div class=\"table\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\"><table>\
         <thead><tr>{head}</tr></thead><tbody>\n"
    );
    for row in rows {
        let cells: String = row
            .iter()
            .zip(columns)
            .map(|(cell, column)| format!("<td{}>{cell}</td>", class(column)))
            .collect();
        let _ = writeln!(out, "<tr>{cells}</tr>");
    }
    out + "</tbody></table></div>\n"
}

fn none(what: &str) -> String {
    format!("<p class=\"none\">{what}</p>\n")
}

fn micros(micros: u64) -> String {
    seconds(micros as f64 * 1e-6)
}

fn quantile(lengths: &Lengths, q: f64) -> String {
    lengths.quantile(q).map_or_else(|| "–".to_owned(), seconds)
}

/// A length, where there are any.
fn of_some(lengths: &Lengths, length_us: u64) -> String {
    if lengths.sketch.is_empty() { "–".to_owned() } else { micros(length_us) }
}

/// A query's text, folded where it is long.
fn text(text: &str, shown: usize) -> String {
    let shown = text.floor_char_boundary(shown);
    match text.split_at_checked(shown) {
        Some((beginning, rest)) if !rest.is_empty() => format!(
            "<details><summary><code>{}…</code></summary><code>{}</code></details>",
            escape(beginning),
            escape(text)
        ),
        _ if text.is_empty() => "<span class=\"note\">no text</span>".to_owned(),
        _ => format!("<code>{}</code>", escape(text)),
    }
}

fn share(part: u64, all: u64) -> String {
    percent(if all == 0 { 0.0 } else { part as f64 / all as f64 })
}

pub(super) fn errors(report: &Report) -> String {
    let mut rows: Vec<(Arc<str>, Arc<str>, u64, u64)> = Vec::new();
    for source in &report.sources {
        let classes = source.all.classes.iter().filter(|(_, failed)| **failed > 0);
        rows.extend(classes.map(|(class, failed)| {
            (Arc::clone(&source.name), Arc::clone(class), *failed, source.all.calls)
        }));
    }
    if rows.is_empty() {
        return String::new();
    }
    rows.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| (&a.0, &a.1).cmp(&(&b.0, &b.1))));
    let rows = rows.into_iter().map(|(source, class, failed, calls)| {
        let (first, last) = extent(report, &source, &class);
        vec![escape(&source), escape(&class), count(failed), share(failed, calls), first, last]
    });
    let columns = ["Source", "Class", ">Failed calls", ">Of its calls", "First", "Last"];
    format!("<h3>By source and class</h3>\n{}", table("Errors by source and class", &columns, rows))
}

/// The windows in which a class of a source was first and last met.
fn extent(report: &Report, source: &str, class: &str) -> (String, String) {
    let Some(source) = report.sources.iter().find(|of| *of.name == *source) else {
        return Default::default();
    };
    let met = |window: &SourceSums| window.classes.get(class).is_some_and(|failed| *failed > 0);
    let at = |window: Option<usize>| {
        window.map_or_else(String::new, |at| moment(report.grid.start_of(at)))
    };
    (at(source.windows.iter().position(met)), at(source.windows.iter().rposition(met)))
}

pub(super) fn sources(report: &Report) -> String {
    if report.sources.is_empty() {
        return none("No calls to sources in this range.");
    }
    let any_retries = report.sources.iter().any(|source| source.all.retries > 0);
    let any_cached = report.sources.iter().any(|source| source.cache_hit_rate.is_some());
    let rows = report.sources.iter().map(|source| {
        let all = &source.all;
        let mut row = vec![
            format!("<strong>{}</strong>", escape(&source.name)),
            health(source),
            over_time(source),
            count(all.calls),
            share(all.failed, all.calls),
            quantile(&all.lengths, 0.5),
            quantile(&all.lengths, 0.95),
            quantile(&all.lengths, 0.99),
            quantile(&all.first_row, 0.5),
            number(all.rows as f64),
            bytes(all.bytes as f64),
        ];
        if any_retries {
            row.push(count(all.retries));
        }
        if any_cached {
            row.push(source.cache_hit_rate.map_or_else(|| "–".to_owned(), percent));
        }
        row
    });
    let mut columns = vec![
        "Source",
        "At the end",
        "Over time",
        ">Calls",
        ">Failed",
        ">p50",
        ">p95",
        ">p99",
        ">1st row",
        ">Rows",
        ">Bytes",
    ];
    if any_retries {
        columns.push(">Retries");
    }
    if any_cached {
        columns.push(">Cached");
    }
    let step = seconds(report.grid.step_nanos as f64 * 1e-9);
    table("Sources", &columns, rows)
        + &format!(
            "<p class=\"note\">Over time, from left to right, a cell each {step}: \
             <span class=\"cell well\"></span> all went well, <span class=\"cell some\"></span> below a \
             tenth failed, <span class=\"cell many\"></span> a tenth or more, \
             <span class=\"cell most\"></span> half or more, <span class=\"cell idle\"></span> not \
             called. Quantiles are of the longest call that each query made.</p>"
        )
}

fn health(source: &SourceReport) -> String {
    let (class, name) = match source.health {
        Some(value) if value >= 1.0 => ("well", "up"),
        Some(value) if value > 0.0 => ("many", "degraded"),
        Some(_) => ("most", "down"),
        None => ("idle", "unknown"),
    };
    format!("<span class=\"cell {class}\"></span> {name}")
}

fn over_time(source: &SourceReport) -> String {
    let cell = |window: &SourceSums| match (window.failed as f64, window.calls as f64) {
        (_, 0.0) => Cell::Idle,
        (0.0, _) => Cell::Well,
        (failed, calls) if failed >= 0.5 * calls => Cell::Most,
        (failed, calls) if failed >= 0.1 * calls => Cell::Many,
        _ => Cell::Some,
    };
    let cells: Vec<Cell> = source.windows.iter().map(cell).collect();
    let bad = cells.iter().filter(|cell| matches!(cell, Cell::Some | Cell::Many | Cell::Most));
    let label = format!("{} of {} windows with failures", bad.count(), cells.len());
    strip(&cells, &label)
}

pub(super) fn fingerprints(report: &Report) -> String {
    let heaviest = report.heaviest();
    if heaviest.is_empty() {
        return none("No queries in this range.");
    }
    let rows = heaviest.iter().map(|(name, of)| {
        let sums = &of.queries;
        vec![
            format!("{}<span class=\"note\">{}</span>", text(&of.text, TEXT_SHOWN), escape(name)),
            count(sums.count()),
            share(sums.failed(), sums.count()),
            quantile(&sums.lengths, 0.5),
            quantile(&sums.lengths, 0.95),
            of_some(&sums.lengths, sums.lengths.max_us),
            micros(sums.engine_us.saturating_add(sums.waiting_us)),
            attribution(of),
        ]
    });
    let columns = [
        "Query",
        ">Count",
        ">Failed",
        ">p50",
        ">p95",
        ">Longest",
        ">All together",
        "Where it went",
    ];
    let hidden = report.fingerprints.len().saturating_sub(heaviest.len());
    let more = if hidden > 0 {
        format!(" {} more are not shown.", count(hidden as u64))
    } else {
        "".into()
    };
    format!(
        "<h3>By text without literals</h3>\n<p class=\"note\">Those that took most time, all their \
         queries together. A bar is the engine's own time, then the waiting for sources, as the \
         critical path lay with them.{more}</p>\n{}",
        table("Queries by fingerprint", &columns, rows)
    )
}

/// A bar of the engine's time and each source's share of the waiting, with words.
fn attribution(of: &FingerprintSums) -> String {
    const WIDTH: f64 = 200.0;
    let sums = &of.queries;
    let all = (sums.engine_us + sums.waiting_us) as f64;
    let critical: u64 = of.critical_us.values().sum();
    if all <= 0.0 {
        return "–".to_owned();
    }
    let mut pieces: Vec<(&str, f64)> = vec![("engine", sums.engine_us as f64 / all)];
    let waiting = sums.waiting_us as f64 / all;
    let mut sources: Vec<_> = of.critical_us.iter().filter(|(_, time)| **time > 0).collect();
    sources.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    pieces.extend(
        sources.iter().map(|(name, time)| (&***name, waiting * **time as f64 / critical as f64)),
    );
    let (mut bar, mut words, mut at) = (String::new(), Vec::new(), 0.0);
    for (number, (name, share)) in pieces.iter().enumerate() {
        let (class, width) = (number.min(7), share * WIDTH);
        let _ = write!(
            bar,
            "<rect class=\"b{class}\" x=\"{at:.1}\" width=\"{width:.1}\" height=\"10\"/>"
        );
        at += width;
        if *share >= 0.005 {
            words.push(format!("{} {}", escape(name), percent(*share)));
        }
    }
    format!(
        "<svg class=\"bar\" viewBox=\"0 0 {WIDTH} 10\" preserveAspectRatio=\"none\" \
         aria-hidden=\"true\">{bar}</svg><span class=\"words\">{}</span>",
        words.join(", ")
    )
}

pub(super) fn slowest(report: &Report) -> String {
    if report.slowest.is_empty() {
        return String::new();
    }
    format!("<h3>The slowest, one by one</h3>\n{}", single(&report.slowest, "The slowest queries"))
}

pub(super) fn broken_off(report: &Report) -> String {
    let sums = &report.queries;
    let kinds = [OutcomeKind::Cancelled, OutcomeKind::TimedOut, OutcomeKind::Abandoned];
    let all: u64 = kinds.iter().map(|kind| sums.of(*kind)).sum();
    if all == 0 {
        return none("Every query ended by itself.");
    }
    let counts: Vec<String> =
        kinds.iter().map(|kind| format!("{} {}", count(sums.of(*kind)), words(*kind))).collect();
    let latest = if all > report.broken_off.len() as u64 { " The latest of them:" } else { "" };
    format!(
        "<p>{}.{latest}</p>\n{}",
        counts.join(", "),
        single(&report.broken_off, "Queries that were broken off")
    )
}

const fn words(kind: OutcomeKind) -> &'static str {
    match kind {
        OutcomeKind::TimedOut => "timed out",
        other => other.name(),
    }
}

fn single(queries: &[SlowQuery], caption: &str) -> String {
    let rows = queries.iter().map(|query| {
        let outcome = match &*query.error {
            "" => words(query.outcome).to_owned(),
            class => format!("{}: {}", words(query.outcome), escape(class)),
        };
        let who = [&query.tenant, &query.user].map(|name| escape(name));
        let who: Vec<&str> = who.iter().map(String::as_str).filter(|who| !who.is_empty()).collect();
        let took = query.duration_us;
        let engine = took.map(|took| took.saturating_sub(query.waiting_us));
        let or_crash = |time: Option<u64>| time.map_or_else(|| "–".to_owned(), micros);
        vec![
            format!("<span class=\"time\">{}</span>", moment(query.began)),
            text(&query.text, TEXT_SHOWN_SHORT),
            if who.is_empty() { "–".to_owned() } else { who.join(" / ") },
            format!("<span class=\"o-{}\">{outcome}</span>", query.outcome.name()),
            or_crash(took),
            or_crash(engine),
            calls(query),
            count(query.rows_out),
        ]
    });
    let columns = ["Began", "Query", "Who", "Ended", ">Took", ">Engine", "Waited for", ">Rows out"];
    table(caption, &columns, rows)
}

fn calls(query: &SlowQuery) -> String {
    let critical = query.critical.as_ref().map(|(source, _)| source);
    let calls: Vec<String> = query
        .calls
        .iter()
        .map(|call| {
            let name = escape(&call.source);
            let name = if Some(&call.source) == critical {
                format!("<strong>{name}</strong>")
            } else {
                name
            };
            let ended = match (call.outcome, &*call.error) {
                (OutcomeKind::Ok, _) => String::new(),
                (kind, "") => format!(" ({})", words(kind)),
                (_, class) => format!(" ({})", escape(class)),
            };
            format!("{name} {}{ended}", micros(call.waiting_us))
        })
        .collect();
    if calls.is_empty() {
        return "–".to_owned();
    }
    format!("<div class=\"waited\">{}</div>", calls.join("<br>"))
}

pub(super) fn alerts(report: &Report) -> String {
    let Some(fired) = &report.alerts else {
        return none("The store has no history of alerts.");
    };
    if fired.is_empty() {
        return none("No alert fired.");
    }
    let rows = fired.iter().map(|alert| {
        vec![
            format!("<strong>{}</strong>", escape(&alert.alert)),
            escape(&alert.severity),
            format!("<code>{}</code>", escape(&alert.labels)),
            moment(alert.began),
            alert.ended.map_or_else(|| "fires still".to_owned(), moment),
        ]
    });
    table("Alerts that fired", &["Alert", "Severity", "Labels", "From", "To"], rows)
}

pub(super) fn cost(report: &Report) -> String {
    let cost = &report.cost;
    let mut rows = vec![
        ("On disk, everything", bytes(cost.bytes_on_disk as f64)),
        ("Of it the log: not in parts yet", bytes(cost.log_bytes as f64)),
    ];
    for table in &cost.tables {
        rows.push((
            "",
            format!(
                "{}: {} rows, {} in parts",
                escape(&table.table),
                count(table.rows),
                bytes(table.bytes_on_disk as f64)
            ),
        ));
    }
    if let Some(each) = cost.bytes_per_query {
        rows.push(("A finished query, with its calls", format!("{} bytes", number(each))));
    }
    rows.push((
        "Series, and their samples",
        format!("{}, {}", count(cost.series), count(cost.samples)),
    ));
    rows.push((
        "Queries in this report",
        format!("{} rows stand for {}", count(cost.query_rows), count(cost.represented)),
    ));
    rows.push(("Counted while they ran", number(cost.counted)));
    rows.push(("Records dropped, the queue was full", number(cost.records_dropped)));
    rows.push(("Samples that came late", number(cost.samples_late)));
    let refused: Vec<String> = cost
        .samples_refused
        .iter()
        .map(|(reason, samples)| format!("{} {}", number(*samples), escape(reason)))
        .collect();
    let refused = if refused.is_empty() { "0".to_owned() } else { refused.join(", ") };
    rows.push(("Samples refused at the door", refused));
    let body: String = rows
        .into_iter()
        .map(|(name, value)| format!("<tr><th scope=\"row\">{name}</th><td>{value}</td></tr>\n"))
        .collect();
    format!("<div class=\"table\"><table class=\"facts\"><tbody>\n{body}</tbody></table></div>")
}
