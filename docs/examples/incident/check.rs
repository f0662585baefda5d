//! Whether the report shows what was injected: where it was, and as often as it was.

use std::time::Duration;

use icecore::TimeRange;
use icecore::monitor::OutcomeKind;
use icecore::report::{Kind, Report, Subject, Trouble};

use crate::faults::Happened;

/// How far the ends of a stretch in the report may lie from those of the fault: a window of the report,
/// the longest query, and that random queries do not begin on the dot.
const TOLERANCE: Duration = Duration::from_millis(1_200);

/// Trouble that the report must tell of.
struct Expected {
    what: &'static str,
    subject: Subject,
    kind: fn(&Kind) -> bool,
    when: TimeRange,
}

/// What is missing or wrong; empty where all is there.
pub(crate) fn compare(report: &Report, html: &str, happened: &Happened) -> Vec<String> {
    let mut missed = Vec::new();
    let source = |name: &str| Subject::Source(name.into());
    let expected = [
        Expected {
            what: "the slow stock",
            subject: source("stock"),
            kind: |kind| matches!(kind, Kind::Slow { median, .. } if *median > 0.15),
            when: happened.stock_is_slow,
        },
        Expected {
            what: "the locked orders",
            subject: source("orders"),
            kind: |kind| matches!(kind, Kind::Failures { class } if **class == *"busy"),
            when: happened.orders_are_locked,
        },
        Expected {
            what: "the cancelled queries",
            subject: Subject::Queries,
            kind: |kind| *kind == Kind::Cancelled,
            when: happened.cancelling,
        },
        Expected {
            what: "the clients that hung up",
            subject: Subject::Queries,
            kind: |kind| *kind == Kind::Abandoned,
            when: happened.hanging_up,
        },
    ];
    for Expected { what, subject, kind, when } in expected {
        let found = report.troubles.iter().find(|trouble| {
            trouble.subject == subject && kind(&trouble.kind) && is_near(trouble, when)
        });
        match found {
            None => missed.push(format!("{what}: not found around {when:?}")),
            Some(found) if !html.contains(&found.when()) => {
                missed.push(format!("{what}: found, but not on the page"));
            }
            Some(_) => {}
        }
    }
    let of = |name: &str, class: &str| {
        let source = report.sources.iter().find(|source| *source.name == *name);
        source.and_then(|source| source.all.classes.get(class)).copied().unwrap_or(0)
    };
    for (what, counted, reported) in [
        ("failures of locked orders", happened.busy, of("orders", "busy")),
        ("late answers of the stock", happened.late, of("stock", "timed_out")),
        ("cancelled queries", happened.cancelled, report.queries.of(OutcomeKind::Cancelled)),
        ("abandoned queries", happened.abandoned, report.queries.of(OutcomeKind::Abandoned)),
    ] {
        if counted != reported || counted == 0 {
            missed.push(format!("{what}: the host counted {counted}, the report {reported}"));
        }
    }
    missed
}

/// Whether a stretch begins and ends about where the fault did.
fn is_near(trouble: &Trouble, when: TimeRange) -> bool {
    let near = |a: icecore::Timestamp, b: icecore::Timestamp| {
        a.nanos().abs_diff(b.nanos()) <= TOLERANCE.as_nanos() as u64
    };
    near(trouble.range.start, when.start) && near(trouble.range.end, when.end)
}
