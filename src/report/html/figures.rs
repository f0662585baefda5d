//! The figures that come first.

use std::fmt::Write;

use crate::integration::figures::{count, number, percent, seconds};
use crate::monitor::OutcomeKind;
use crate::report::Report;

/// How many in all, how long, how many at once.
pub(super) fn key(report: &Report) -> String {
    let sums = &report.queries;
    let all = sums.count();
    let share = |part: u64| if all == 0 { 0.0 } else { part as f64 / all as f64 };
    let length = report.grid.range.end.0.saturating_sub(report.grid.range.start.0) as f64 * 1e-9;
    let rate = if length > 0.0 { all as f64 / length } else { 0.0 };
    let quantile = |q| sums.lengths.quantile(q).map_or_else(|| "–".to_owned(), seconds);
    let busy = sums.engine_us + sums.waiting_us;
    let engine = if busy == 0 { 0.0 } else { sums.engine_us as f64 / busy as f64 };
    let (mean, most) = in_flight(report, length);
    let broken = sums.of(OutcomeKind::Cancelled) + sums.of(OutcomeKind::Abandoned);
    let figures = [
        ("Queries", count(all), format!("{} a second", short(rate))),
        (
            "Failed",
            percent(share(sums.failed())),
            format!(
                "{} errors, {} timed out",
                count(sums.of(OutcomeKind::Error)),
                count(sums.of(OutcomeKind::TimedOut))
            ),
        ),
        (
            "Broken off",
            count(broken),
            format!(
                "{} cancelled, {} abandoned",
                count(sums.of(OutcomeKind::Cancelled)),
                count(sums.of(OutcomeKind::Abandoned))
            ),
        ),
        ("Median", quantile(0.5), format!("p95 {}, p99 {}", quantile(0.95), quantile(0.99))),
        ("In flight", short(mean), format!("at most {} in a window", short(most))),
        ("Engine", percent(engine), "of query time; the rest waited for sources".to_owned()),
    ];
    let mut out = String::from("<dl class=\"figures\">\n");
    for (name, value, note) in figures {
        let _ = writeln!(
            out,
            "<div><dt>{name}</dt><dd>{value}</dd><dd class=\"note\">{note}</dd></div>"
        );
    }
    out + "</dl>\n"
}

/// Two digits behind the point at most, and fewer of large numbers.
fn short(value: f64) -> String {
    let factor = if value < 10.0 { 100.0 } else { 10.0 };
    number((value * factor).round() / factor)
}

/// On average over so many seconds, and in the fullest window.
fn in_flight(report: &Report, length: f64) -> (f64, f64) {
    let mut sum = 0.0;
    let mut most: f64 = 0.0;
    for (at, window) in report.windows.iter().enumerate() {
        let spent = window.in_flight_ns as f64 * 1e-9;
        sum += spent;
        most = most.max(spent / report.grid.seconds_of(at).max(1e-9));
    }
    if length > 0.0 { (sum / length, most) } else { (0.0, 0.0) }
}
