//! `/api/v1/status/*` and what Grafana asks for and finds empty here.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::failure::Failure;
use super::output::Output;
use super::work::Ask;
use crate::integration::notation::Rfc3339;
use crate::model::Selector;
use crate::time::{TimeRange, Timestamp};

/// The version of Prometheus whose API this is: clients turn features on by it.
const API_VERSION: &str = "2.53.0";
/// Rows of each of the tables of `status/tsdb`, unless `limit` says.
const ROWS: usize = 10;

/// Answers with `data`.
pub(super) fn tell(out: &mut Output, data: &impl Serialize) -> Result<(), Failure> {
    out.bytes.extend_from_slice(b"{\"status\":\"success\",\"data\":");
    serde_json::to_writer(&mut out.bytes, data)
        .map_err(|error| Failure::internal(error.to_string()))?;
    out.bytes.push(b'}');
    Ok(())
}

pub(super) fn build_info(_: &Ask, out: &mut Output) -> Result<(), Failure> {
    tell(
        out,
        &json!({
            "version": API_VERSION,
            "revision": concat!("icecore ", env!("CARGO_PKG_VERSION")),
            "branch": "", "buildUser": "", "buildDate": "", "goVersion": "",
        }),
    )
}

pub(super) fn runtime_info(ask: &Ask, out: &mut Output) -> Result<(), Failure> {
    let app = &ask.app;
    tell(
        out,
        &json!({
            "startTime": Rfc3339(app.began).to_string(),
            "CWD": "", "reloadConfigSuccess": true,
            "lastConfigTime": Rfc3339(app.began).to_string(),
            "corruptionCount": 0, "goroutineCount": 0,
            "GOMAXPROCS": app.options.threads,
            "storageRetention": "",
        }),
    )
}

pub(super) fn config(_: &Ask, out: &mut Output) -> Result<(), Failure> {
    tell(out, &json!({ "yaml": "" }))
}

pub(super) fn flags(ask: &Ask, out: &mut Output) -> Result<(), Failure> {
    let options = &ask.app.options;
    let seconds = |length: std::time::Duration| format!("{}s", length.as_secs());
    tell(
        out,
        &json!({
            "query.lookback-delta": seconds(options.lookback),
            "query.timeout": seconds(options.query_timeout),
            "query.max-concurrency": options.queries_max.to_string(),
            "web.listen-address": options.listen.to_string(),
        }),
    )
}

pub(super) fn no_list(_: &Ask, out: &mut Output) -> Result<(), Failure> {
    tell(out, &json!([]))
}

pub(super) fn no_rules(_: &Ask, out: &mut Output) -> Result<(), Failure> {
    tell(out, &json!({ "groups": [] }))
}

pub(super) fn no_alerts(_: &Ask, out: &mut Output) -> Result<(), Failure> {
    tell(out, &json!({ "alerts": [] }))
}

pub(super) fn no_targets(_: &Ask, out: &mut Output) -> Result<(), Failure> {
    tell(out, &json!({ "activeTargets": [], "droppedTargets": [], "droppedTargetCounts": {} }))
}

pub(super) fn no_alertmanagers(_: &Ask, out: &mut Output) -> Result<(), Failure> {
    tell(out, &json!({ "activeAlertmanagers": [], "droppedAlertmanagers": [] }))
}

/// How many series there are, and of what.
pub(super) fn tsdb(ask: &Ask, out: &mut Output) -> Result<(), Failure> {
    ask.caller.check_whole_store()?;
    let rows = ask.parameters.limit("limit")?;
    let rows = if rows == usize::MAX { ROWS } else { rows };
    let engine = &ask.app.engine;
    let all = engine.series(&Selector::default(), TimeRange::ALL)?;
    let mut by_metric: BTreeMap<&str, u64> = BTreeMap::new();
    let mut by_pair: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for (_, series) in &all {
        *by_metric.entry(series.name()).or_default() += 1;
        for pair in super::metadata::pairs(series) {
            *by_pair.entry(pair).or_default() += 1;
        }
    }
    let mut by_label: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (label, value) in by_pair.keys() {
        let counts = by_label.entry(label).or_default();
        *counts = (counts.0 + 1, counts.1 + value.len() as u64);
    }
    let bounds = engine.time_bounds()?;
    let millis =
        |time: Option<Timestamp>| time.map_or(0, |time| time.nanos().div_euclid(1_000_000));
    tell(
        out,
        &json!({
            "headStats": {
                "numSeries": all.len(),
                "numLabelPairs": by_pair.len(),
                "chunkCount": 0,
                "minTime": millis(bounds.map(|bounds| bounds.0)),
                "maxTime": millis(bounds.map(|bounds| bounds.1)),
            },
            "seriesCountByMetricName": largest(by_metric.iter().map(|(&n, &c)| (n.to_owned(), c)), rows),
            "labelValueCountByLabelName": largest(by_label.iter().map(|(&n, c)| (n.to_owned(), c.0)), rows),
            "memoryInBytesByLabelName": largest(by_label.iter().map(|(&n, c)| (n.to_owned(), c.1)), rows),
            "seriesCountByLabelValuePair":
                largest(by_pair.iter().map(|((n, v), &c)| (format!("{n}={v}"), c)), rows),
        }),
    )
}

/// The rows with the largest counts, largest first.
fn largest(counts: impl Iterator<Item = (String, u64)>, rows: usize) -> Vec<Value> {
    let mut counts: Vec<(String, u64)> = counts.collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let named = counts.into_iter().take(rows);
    named.map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

/// What the store holds and how large it is: for the page.
pub(super) fn store(ask: &Ask, out: &mut Output) -> Result<(), Failure> {
    ask.caller.check_whole_store()?;
    let engine = &ask.app.engine;
    let stats = engine.stats()?;
    let seconds = |time: Timestamp| time.nanos().div_euclid(1_000_000) as f64 / 1e3;
    let bounds = engine.time_bounds()?;
    let tiers: Vec<Value> = stats
        .tiers
        .iter()
        .map(|tier| {
            let parts = stats.parts.iter().filter(|part| part.meta.tier == tier.tier);
            let first = parts.clone().map(|part| part.meta.first).min();
            let last = parts.map(|part| part.meta.last).max();
            json!({
                "tier": tier.tier.to_string(), "parts": tier.parts, "samples": tier.samples,
                "bytes": tier.bytes_on_disk, "from": first.map(seconds), "to": last.map(seconds),
            })
        })
        .collect();
    let refusals = engine.refusals().into_iter().filter(|(_, samples)| *samples > 0);
    let refusals: Vec<Value> = refusals
        .map(|(reason, samples)| json!({ "reason": reason.name(), "samples": samples }))
        .collect();
    tell(
        out,
        &json!({
            "path": engine.path().display().to_string(),
            "samples": stats.samples,
            "series": stats.series,
            "bytes": stats.bytes_on_disk,
            "parts": stats.parts.len(),
            "head_samples": stats.head_samples,
            "tiers": tiers,
            "from": bounds.map(|bounds| seconds(bounds.0)),
            "to": bounds.map(|bounds| seconds(bounds.1)),
            "read_only": engine.read_only_cause().map(|cause| cause.to_string()),
            "refusals": refusals,
        }),
    )
}
