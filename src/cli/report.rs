//! `icecore report`: how a monitored host's queries ran, in a few lines and as a page.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::arguments::Between;
use super::figures::{bytes, count, percent, plain, seconds};
use super::screen::Screen;
use super::table::Columns;
use super::{Failure, StoreArguments, open_to_read};
use crate::error::Error;
use crate::integration::notation::Rfc3339;
use crate::monitor::OutcomeKind;
use crate::report::{
    Cost, FiredAlert, Kind, Lengths, QuerySums, Report, Share, SlowQuery, SourceReport, Subject,
    Trouble,
};
use crate::time::TimeRange;

/// Queries and sources in the tables of a terminal.
const ROWS_MAX: usize = 8;

/// Tell how a monitored host's queries ran, and where trouble was
///
/// From what a FederationMonitor left in the store: how many queries, how long, what failed, whom they
/// waited for, and in which stretches of time it was worse than in the rest. With -o all of it as one
/// HTML file with charts, without scripts, to keep, print or send.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  icecore report --db history
  icecore report --db history --from now-1d -o report.html
  icecore report --db history --json | jq '.troubles[] | {subject, kind, from, to}'")]
pub(super) struct MakeReport {
    #[command(flatten)]
    store: StoreArguments,
    #[command(flatten)]
    between: Between,
    /// Write the page to this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl MakeReport {
    pub(super) fn run(self, screen: &mut Screen) -> Result<(), Failure> {
        let engine = open_to_read(&self.store.db)?;
        let report = Report::of(&engine, self.between.of_all_time(engine.now())?)?;
        let page = self.output.as_ref().map(|file| (file, report.to_html()));
        if let Some((file, html)) = &page {
            std::fs::write(file, html).map_err(|error| Error::io("write", file, error))?;
        }
        if self.store.json {
            screen.json(&to_json(&report))?;
            return Ok(());
        }
        show(screen, &report)?;
        if let Some((file, html)) = &page {
            let size = bytes(html.len() as f64);
            screen.line(format!("\nAs a page: {} ({size})", file.display()))?;
        }
        Ok(())
    }
}

fn quantile(lengths: &Lengths, q: f64) -> String {
    lengths.quantile(q).map_or_else(|| "-".to_owned(), seconds)
}

fn share(hits: u64, trials: u64) -> String {
    percent(Share { hits, trials }.value())
}

fn show(screen: &mut Screen, report: &Report) -> Result<(), Failure> {
    let sums = &report.queries;
    if sums.count() == 0 {
        screen.line("No finished queries here.")?;
        return Ok(());
    }
    screen.line(report.span())?;
    screen.line(counts(sums))?;
    let busy = sums.engine_us + sums.waiting_us;
    screen.line(format!(
        "median {}, p95 {}, p99 {}; {} of their time in the engine, the rest waiting for sources",
        quantile(&sums.lengths, 0.5),
        quantile(&sums.lengths, 0.95),
        quantile(&sums.lengths, 0.99),
        share(sums.engine_us, busy)
    ))?;
    troubles(screen, &report.troubles)?;
    sources(screen, report)?;
    heaviest(screen, report)?;
    alerts(screen, report)?;
    cost(screen, report)
}

/// `2,903 queries: 2,641 ok, 237 failed, ...`, without those of count 0.
fn counts(sums: &QuerySums) -> String {
    let kinds = OutcomeKind::ALL.map(|kind| (kind, sums.of(kind)));
    let kinds = kinds.into_iter().filter(|(_, ended)| *ended > 0);
    let kinds: Vec<String> = kinds
        .map(|(kind, ended)| {
            let name = match kind {
                OutcomeKind::Error => "failed",
                OutcomeKind::TimedOut => "timed out",
                other => other.name(),
            };
            format!("{} {name}", count(ended))
        })
        .collect();
    format!("{} queries: {}", count(sums.count()), kinds.join(", "))
}

fn troubles(screen: &mut Screen, troubles: &[Trouble]) -> Result<(), Failure> {
    if troubles.is_empty() {
        screen.line("\nNo stretch of time stood out.")?;
        return Ok(());
    }
    screen.line("\nWhere trouble was")?;
    for trouble in troubles {
        screen.line(format!("  {}\n      {}", plain(&trouble.to_string()), trouble.when()))?;
    }
    Ok(())
}

fn print(screen: &mut Screen, table: &Columns) -> Result<(), Failure> {
    for line in table.lines() {
        screen.line(line)?;
    }
    Ok(())
}

fn sources(screen: &mut Screen, report: &Report) -> Result<(), Failure> {
    if report.sources.is_empty() {
        return Ok(());
    }
    screen.line("")?;
    let mut table =
        Columns::new(&["source", ">calls", ">failed", ">p50", ">p95", ">p99", ">waited for"]);
    for source in report.sources.iter().take(ROWS_MAX) {
        let all = &source.all;
        table.row(vec![
            plain(&source.name),
            count(all.calls),
            share(all.failed, all.calls),
            quantile(&all.lengths, 0.5),
            quantile(&all.lengths, 0.95),
            quantile(&all.lengths, 0.99),
            seconds(all.critical_us as f64 * 1e-6),
        ]);
    }
    print(screen, &table)
}

fn heaviest(screen: &mut Screen, report: &Report) -> Result<(), Failure> {
    screen.line("")?;
    let mut table = Columns::new(&[">count", ">failed", ">p95", ">all", ">engine", "query"]);
    // What the other columns take, and air.
    let room = usize::from(screen.columns()).saturating_sub(48).max(20);
    for (_, print) in report.heaviest().into_iter().take(ROWS_MAX) {
        let sums = &print.queries;
        let all = sums.engine_us + sums.waiting_us;
        let text: String = plain(&print.text).chars().take(room).collect();
        table.row(vec![
            count(sums.count()),
            share(sums.failed(), sums.count()),
            quantile(&sums.lengths, 0.95),
            seconds(all as f64 * 1e-6),
            share(sums.engine_us, all),
            text,
        ]);
    }
    print(screen, &table)
}

fn alerts(screen: &mut Screen, report: &Report) -> Result<(), Failure> {
    let Some(fired) = report.alerts.as_ref().filter(|fired| !fired.is_empty()) else {
        return Ok(());
    };
    screen.line("\nAlerts that fired")?;
    for alert in fired {
        let ended = alert.ended.map_or_else(|| "still".to_owned(), super::figures::moment);
        let labels = plain(&alert.labels);
        let began = super::figures::moment(alert.began);
        screen.line(format!("  {} {labels}: {began} to {ended}", plain(&alert.alert)))?;
    }
    Ok(())
}

fn cost(screen: &mut Screen, report: &Report) -> Result<(), Failure> {
    let cost = &report.cost;
    let each = cost
        .bytes_per_query
        .map_or_else(String::new, |each| format!(", {each:.0} bytes a query with its calls"));
    let dropped = cost.records_dropped;
    screen.line(format!(
        "\n{} on disk{each}; {dropped} records dropped",
        bytes(cost.bytes_on_disk as f64)
    ))?;
    Ok(())
}

fn at(range: TimeRange) -> [String; 2] {
    [Rfc3339(range.start).to_string(), Rfc3339(range.end).to_string()]
}

fn lengths_json(lengths: &Lengths) -> Value {
    json!({
        "p50": lengths.quantile(0.5),
        "p95": lengths.quantile(0.95),
        "p99": lengths.quantile(0.99),
        "max": lengths.max_us as f64 * 1e-6,
    })
}

fn sums_json(sums: &QuerySums) -> Value {
    let ended: serde_json::Map<String, Value> = OutcomeKind::ALL
        .into_iter()
        .map(|kind| (kind.name().to_owned(), json!(sums.of(kind))))
        .collect();
    json!({
        "count": sums.count(),
        "outcomes": ended,
        "seconds": lengths_json(&sums.lengths),
        "engine_seconds": sums.engine_us as f64 * 1e-6,
        "waiting_seconds": sums.waiting_us as f64 * 1e-6,
    })
}

fn trouble_json(trouble: &Trouble) -> Value {
    let [from, to] = at(trouble.range);
    let source = match &trouble.subject {
        Subject::Queries => None,
        Subject::Source(name) => Some(&**name),
    };
    let (class, median) = match &trouble.kind {
        Kind::Failures { class } => (Some(&**class), None),
        Kind::Slow { median, median_outside } => (None, Some([median, median_outside])),
        Kind::Cancelled | Kind::Abandoned => (None, None),
    };
    json!({
        "subject": if source.is_some() { "source" } else { "queries" },
        "source": source,
        "kind": trouble.kind.name(),
        "class": class,
        "from": from,
        "to": to,
        "inside": { "hits": trouble.inside.hits, "trials": trouble.inside.trials },
        "outside": { "hits": trouble.outside.hits, "trials": trouble.outside.trials },
        "median_seconds": median.map(|[inside, _]| inside),
        "median_seconds_outside": median.map(|[_, outside]| outside),
        "score": trouble.score,
        "text": trouble.to_string(),
    })
}

fn named(counts: &BTreeMap<Arc<str>, u64>) -> Value {
    counts.iter().map(|(name, count)| (name.to_string(), json!(count))).collect()
}

fn source_json(source: &SourceReport) -> Value {
    json!({
        "source": &*source.name,
        "calls": source.all.calls,
        "failed": source.all.failed,
        "errors": named(&source.all.classes),
        "seconds": lengths_json(&source.all.lengths),
        "rows": source.all.rows,
        "bytes": source.all.bytes,
        "critical_seconds": source.all.critical_us as f64 * 1e-6,
        "health": source.health,
    })
}

fn query_json(query: &SlowQuery) -> Value {
    json!({
        "id": query.id.0,
        "at": Rfc3339(query.began).to_string(),
        "fingerprint": &*query.fingerprint,
        "outcome": query.outcome.name(),
        "error": &*query.error,
        "seconds": query.duration_us.map(|us| us as f64 * 1e-6),
        "waiting_seconds": query.waiting_us as f64 * 1e-6,
        "critical_source": query.critical.as_ref().map(|(source, _)| &**source),
    })
}

fn alert_json(alert: &FiredAlert) -> Value {
    json!({
        "alert": &*alert.alert,
        "severity": &*alert.severity,
        "labels": alert.labels,
        "from": Rfc3339(alert.began).to_string(),
        "to": alert.ended.map(|ended| Rfc3339(ended).to_string()),
    })
}

fn cost_json(cost: &Cost) -> Value {
    json!({
        "bytes_on_disk": cost.bytes_on_disk,
        "bytes_per_query": cost.bytes_per_query,
        "query_rows": cost.query_rows,
        "call_rows": cost.call_rows,
        "records_dropped": cost.records_dropped,
        "samples_late": cost.samples_late,
    })
}

fn to_json(report: &Report) -> Value {
    let [from, to] = at(report.grid.range);
    let fingerprints = report.heaviest().into_iter().map(|(name, print)| {
        json!({
            "fingerprint": &**name,
            "text": &*print.text,
            "queries": sums_json(&print.queries),
            "critical_us": named(&print.critical_us),
        })
    });
    let alerts = report.alerts.as_ref();
    json!({
        "from": from,
        "to": to,
        "queries": sums_json(&report.queries),
        "troubles": report.troubles.iter().map(trouble_json).collect::<Vec<Value>>(),
        "sources": report.sources.iter().map(source_json).collect::<Vec<Value>>(),
        "fingerprints": fingerprints.collect::<Vec<Value>>(),
        "slowest": report.slowest.iter().map(query_json).collect::<Vec<Value>>(),
        "alerts": alerts.map(|fired| fired.iter().map(alert_json).collect::<Vec<Value>>()),
        "cost": cost_json(&report.cost),
    })
}
