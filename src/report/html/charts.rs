//! The sections that are charts.

use std::fmt::Write;

use super::escape;
use crate::integration::figures::{number, percent, seconds};
use crate::report::chart::{Chart, LINES_MAX, Line, legend};
use crate::report::{Grid, Kind, QueryWindow, Report, SourceReport, Subject};
use crate::time::TimeRange;

/// Sources with a chart of their own.
const SOURCES_MAX: usize = 8;

fn figure(title: &str, note: &str, chart: &Chart<'_>) -> String {
    let legend = if chart.lines.len() > 1 { legend(chart.lines) } else { String::new() };
    let note =
        if note.is_empty() { String::new() } else { format!("<p class=\"note\">{note}</p>") };
    format!(
        "<figure><figcaption><h3>{title}</h3>{note}</figcaption>{legend}\
         <div class=\"chart\" tabindex=\"0\">{}</div></figure>\n",
        chart.svg()
    )
}

/// One value a window, at its beginning.
fn line<W>(
    name: impl Into<String>,
    grid: &Grid,
    windows: &[W],
    value: impl Fn(usize, &W) -> f64,
) -> Line {
    let points = windows.iter().enumerate();
    let points = points.map(|(at, window)| (grid.start_of(at), value(at, window)));
    Line { name: name.into(), points: points.collect() }
}

/// The troubles of this subject and kind; of any where `None`.
fn marks(report: &Report, subject: Option<&Subject>, kind: Option<&str>) -> Vec<TimeRange> {
    let matching = report.troubles.iter().filter(|trouble| {
        subject.is_none_or(|subject| *subject == trouble.subject)
            && kind.is_none_or(|kind| kind == trouble.kind.name())
    });
    matching.map(|trouble| trouble.range).collect()
}

pub(super) fn load(report: &Report) -> String {
    let grid = &report.grid;
    let rate = line("queries a second", grid, &report.windows, |at, window: &QueryWindow| {
        window.began.count() as f64 / grid.seconds_of(at).max(1e-9)
    });
    let in_flight = line("in flight", grid, &report.windows, |at, window: &QueryWindow| {
        window.in_flight_ns as f64 * 1e-9 / grid.seconds_of(at).max(1e-9)
    });
    let chart = |label: &str, lines: &[Line]| {
        Chart {
            half: false,
            label: label.to_owned(),
            range: grid.range,
            lines,
            filled: true,
            marks: &[],
            unit: "",
            value: &number,
        }
        .svg_in_figure(label)
    };
    chart("Queries a second", &[rate]) + &chart("Queries in flight, on average", &[in_flight])
}

impl Chart<'_> {
    fn svg_in_figure(&self, title: &str) -> String {
        figure(title, "", self)
    }
}

pub(super) fn latency(report: &Report) -> String {
    let grid = &report.grid;
    let quantiles = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)];
    let lines: Vec<Line> = quantiles
        .map(|(name, q)| {
            line(name, grid, &report.windows, |_, window: &QueryWindow| {
                window.began.lengths.quantile(q).unwrap_or(f64::NAN)
            })
        })
        .into();
    let note = "Of queries that ended by themselves or by their deadline, by when they began.";
    let all_marks = marks(report, None, Some("slow"));
    let mut out = figure(
        "All queries",
        note,
        &Chart {
            half: false,
            label: "Quantiles of the lengths of queries over time".to_owned(),
            range: grid.range,
            lines: &lines,
            filled: false,
            marks: &all_marks,
            unit: "seconds",
            value: &seconds,
        },
    );
    out += "<h3>By source</h3>\n<p class=\"note\">The longest call that each query made of the source; the \
            sources that queries waited for most come first.</p>\n<div class=\"pair\">\n";
    for source in report.sources.iter().take(SOURCES_MAX) {
        out += &source_latency(report, source);
    }
    out += "</div>";
    if report.sources.is_empty() {
        out += "<p class=\"none\">No calls to sources in this range.</p>";
    }
    if let Some(more) = report.sources.len().checked_sub(SOURCES_MAX).filter(|&more| more > 0) {
        let _ =
            write!(out, "<p class=\"note\">{more} further sources have no chart; see Sources.</p>");
    }
    out
}

fn source_latency(report: &Report, source: &SourceReport) -> String {
    let grid = &report.grid;
    let lines: Vec<Line> = [("p50", 0.5), ("p95", 0.95)]
        .map(|(name, q)| {
            line(name, grid, &source.windows, |_, window| {
                window.lengths.quantile(q).unwrap_or(f64::NAN)
            })
        })
        .into();
    let subject = Subject::Source(source.name.clone());
    let marks = marks(report, Some(&subject), Some("slow"));
    figure(
        &escape(&source.name),
        "",
        &Chart {
            half: true,
            label: format!("Quantiles of the lengths of calls to {}", source.name),
            range: grid.range,
            lines: &lines,
            filled: false,
            marks: &marks,
            unit: "seconds",
            value: &seconds,
        },
    )
}

pub(super) fn errors(report: &Report) -> String {
    let grid = &report.grid;
    let mut sources: Vec<&SourceReport> =
        report.sources.iter().filter(|source| source.all.failed > 0).collect();
    sources.sort_by_key(|source| std::cmp::Reverse(source.all.failed));
    if report.queries.failed() == 0 && sources.is_empty() {
        return "<p class=\"none\">Nothing failed, and nothing timed out.</p>".to_owned();
    }
    let share = |failed: u64, all: u64| {
        if all == 0 { f64::NAN } else { failed as f64 / all as f64 }
    };
    let mut lines = vec![line("all queries", grid, &report.windows, |_, window: &QueryWindow| {
        share(window.began.failed(), window.began.count())
    })];
    lines.extend(sources.iter().take(LINES_MAX - 1).map(|source| {
        line(format!("calls to {}", source.name), grid, &source.windows, |_, window| {
            share(window.failed, window.calls)
        })
    }));
    let name = Kind::Failures { class: "".into() }.name();
    let marks = marks(report, None, Some(name));
    figure(
        "Share that failed",
        "Failed or timed out, of what began in each window.",
        &Chart {
            half: false,
            label: "Shares of queries and calls that failed, over time".to_owned(),
            range: grid.range,
            lines: &lines,
            filled: false,
            marks: &marks,
            unit: "",
            value: &percent,
        },
    )
}
