//! What an answer stands on, shown under it.

use serde_json::{Value, json};

use super::figures;
use super::screen::Screen;
use super::table::Columns;
use crate::integration::notation::Rfc3339;
use crate::query::{Answer, Evidence, Gap, TierEvidence};
use crate::time::TimeRange;

/// Gaps and stretches that are listed; of more, how many there are.
const LISTED_MAX: usize = 5;

/// A few lines: what was read, how much of the range is covered, and whatever is not as it should
/// be.
pub(super) fn show(screen: &mut Screen, answer: &Answer) -> std::io::Result<()> {
    let evidence = &answer.evidence;
    let tiers = evidence.tiers.iter().rev().filter(|read| !read.tier.is_raw() && read.records > 0);
    let mut read: Vec<String> = tiers
        .map(|read| format!("{} records of {}", figures::count(read.records), read.tier))
        .collect();
    let recorded = evidence.tiers.iter().find(|read| read.tier.is_raw());
    if let Some(recorded) = recorded.filter(|read| read.records > 0) {
        read.push(format!("{} recorded distributions", figures::count(recorded.records)));
    }
    if evidence.chunks_from_statistics + evidence.chunks_decoded > 0 || read.is_empty() {
        read.push(format!(
            "{} raw chunks from statistics, {} decoded ({} samples)",
            figures::count(evidence.chunks_from_statistics),
            figures::count(evidence.chunks_decoded),
            figures::count(evidence.samples_decoded),
        ));
    }
    screen.line(format!("{} series; {}", figures::count(evidence.series), read.join("; ")))?;
    if let Some(covered) = covered(answer) {
        screen.line(covered)?;
    }
    if evidence.quantile_relative_error > 0.0 {
        let percent = figures::number(100.0 * evidence.quantile_relative_error);
        screen.line(format!("quantiles come from sketches, within {percent} %"))?;
    }
    if evidence.dirty_buckets > 0 {
        let buckets = figures::count(evidence.dirty_buckets);
        screen.line(format!("{buckets} buckets folded anew: samples came or went later"))?;
    }
    complaints(evidence).into_iter().try_for_each(|line| screen.line(line))
}

/// How much of the range the series cover, where it is not all.
fn covered(answer: &Answer) -> Option<String> {
    let groups = answer.groups.iter().map(|group| group.covered);
    let least = groups.clone().map(|covered| covered.least).reduce(f64::min)?;
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let mean = groups.map(|covered| covered.mean).sum::<f64>() / answer.groups.len() as f64;
    let percent = |share: f64| figures::number((share * 1e4).floor() / 100.0);
    (least < 0.9995).then(|| {
        format!("covers {} % of the range, some series {} %", percent(mean), percent(least))
    })
}

/// What is not in the answer.
fn complaints(evidence: &Evidence) -> Vec<String> {
    let mut lines: Vec<String> = evidence
        .gaps
        .iter()
        .take(LISTED_MAX)
        .map(|Gap { tier, range }| {
            format!("missing: {} of which only {tier} is left", span(*range))
        })
        .collect();
    if let Some(more) = evidence.gaps.len().checked_sub(LISTED_MAX).filter(|more| *more > 0) {
        lines.push(format!("missing: {more} more stretches"));
    }
    if let Some(cut) = &evidence.cut_short {
        lines.push(format!(
            "cut short by a limit ({}): {} groups left out",
            cut.limit,
            figures::count(cut.groups)
        ));
    }
    let losses = evidence.losses.iter().flatten();
    let losses: Vec<String> =
        losses.map(|loss| format!("{} {}", figures::number(loss.samples), loss.reason)).collect();
    if !losses.is_empty() {
        lines.push(format!("while it was recorded, in the whole store: {}", losses.join(", ")));
    }
    lines
}

/// The plan as it was carried out: which tier answered which stretch, out of what.
pub(super) fn explain(screen: &mut Screen, evidence: &Evidence) -> std::io::Result<()> {
    let mut table = Columns::new(&["tier", "stretches", ">records", ">parts"]);
    for read in evidence.tiers.iter().rev() {
        let mut stretches = read.stretches.iter();
        let first = stretches.next().map(|range| span(*range)).unwrap_or_default();
        table.row(vec![
            read.tier.to_string(),
            first,
            figures::count(read.records),
            figures::count(read.parts),
        ]);
        for range in stretches.by_ref().take(LISTED_MAX - 1) {
            table.row(vec![String::new(), span(*range), String::new(), String::new()]);
        }
        let more = stretches.count();
        if more > 0 {
            table.row(vec![
                String::new(),
                format!("and {more} more"),
                String::new(),
                String::new(),
            ]);
        }
    }
    screen.line("")?;
    for line in table.lines() {
        screen.line(line)?;
    }
    screen.line(format!(
        "raw chunks: {} from statistics, {} decoded ({} samples); dirty buckets: {}\n",
        figures::count(evidence.chunks_from_statistics),
        figures::count(evidence.chunks_decoded),
        figures::count(evidence.samples_decoded),
        figures::count(evidence.dirty_buckets),
    ))
}

fn span(range: TimeRange) -> String {
    format!("{} to {}", figures::time(range.start), figures::time(range.end))
}

pub(super) fn to_json(evidence: &Evidence) -> Value {
    let time = |timestamp| Rfc3339(timestamp).to_string();
    let ends = |range: TimeRange| json!({ "from": time(range.start), "to": time(range.end) });
    let tier = |read: &TierEvidence| {
        let stretches: Vec<Value> = read.stretches.iter().map(|range| ends(*range)).collect();
        json!({
            "tier": read.tier.to_string(),
            "stretches": stretches,
            "records": read.records,
            "parts": read.parts,
        })
    };
    let gap = |Gap { tier, range }: &Gap| {
        let (from, to) = (time(range.start), time(range.end));
        json!({ "tier": tier.to_string(), "from": from, "to": to })
    };
    let losses = evidence.losses.as_ref().map(|losses| {
        let losses = losses.iter().map(|loss| (loss.reason.clone(), json!(loss.samples)));
        Value::Object(losses.collect())
    });
    let cut_short = evidence
        .cut_short
        .as_ref()
        .map(|cut| json!({ "limit": cut.limit, "groups_left_out": cut.groups }));
    json!({
        "series": evidence.series,
        "tiers": evidence.tiers.iter().map(tier).collect::<Vec<_>>(),
        "chunks_from_statistics": evidence.chunks_from_statistics,
        "chunks_decoded": evidence.chunks_decoded,
        "samples_decoded": evidence.samples_decoded,
        "dirty_buckets": evidence.dirty_buckets,
        "quantile_relative_error": evidence.quantile_relative_error,
        "gaps": evidence.gaps.iter().map(gap).collect::<Vec<_>>(),
        "cut_short": cut_short,
        "losses": losses,
    })
}
