//! `icecore stats`: what a store holds, and where its bytes go.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::screen::Screen;
use super::table::Columns;
use super::{Failure, StoreArguments, figures, open_to_read};
use crate::engine::{PartStats, Stats};
use crate::integration::notation::Rfc3339;
use crate::part::Layout;
use crate::segment::{ColumnKind, ColumnStats};
use crate::time::{Tier, Timestamp};

/// Show what a store holds and how many bytes each kind of column takes
#[derive(Debug, clap::Args)]
pub(super) struct ShowStats {
    #[command(flatten)]
    store: StoreArguments,
}

impl ShowStats {
    pub(super) fn run(self, screen: &mut Screen) -> Result<(), Failure> {
        let engine = open_to_read(&self.store.db)?;
        let stats = engine.stats()?;
        if self.store.json {
            screen.json(&to_json(&stats))?;
            return Ok(());
        }
        show(screen, &stats)
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn per_sample(bytes: u64, samples: u64) -> f64 {
    bytes as f64 / samples.max(1) as f64
}

fn kind(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Timestamps => "timestamps",
        ColumnKind::Values => "values",
        ColumnKind::Directory => "directory",
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn size(bytes: u64) -> String {
    figures::bytes(bytes as f64)
}

fn show(screen: &mut Screen, stats: &Stats) -> Result<(), Failure> {
    screen.line(format!(
        "{} samples of {} series; {} on disk, {:.3} bytes per sample",
        figures::count(stats.samples),
        figures::count(stats.series),
        size(stats.bytes_on_disk),
        per_sample(stats.bytes_on_disk, stats.samples),
    ))?;
    screen.line(format!(
        "{} parts, {} segments; {} samples in the log only ({})",
        figures::count(stats.parts.len() as u64),
        figures::count(stats.segments),
        figures::count(stats.head_samples),
        size(stats.log_bytes),
    ))?;
    let tiers = tier_table(stats);
    let mut columns = Columns::new(&[
        "\ncolumn",
        "\nencoding",
        ">\ncolumns",
        ">\nsamples",
        ">\nbytes",
        ">bytes per\nstored sample",
    ]);
    for column in &stats.columns {
        columns.row(vec![
            kind(column.kind).to_owned(),
            column.encoding.to_owned(),
            figures::count(column.columns),
            figures::count(column.samples),
            size(column.bytes),
            format!("{:.4}", per_sample(column.bytes, stats.samples)),
        ]);
    }
    let mut parts = Columns::new(&[
        "part",
        "tier",
        "from",
        "to",
        ">series",
        ">samples",
        ">bytes",
        ">per sample",
    ]);
    for PartStats { meta, bytes_on_disk, .. } in &stats.parts {
        parts.row(vec![
            meta.id.to_string(),
            tier_name(meta.tier, meta.layout),
            figures::time(meta.first),
            figures::time(meta.last),
            figures::count(u64::from(meta.series)),
            figures::count(meta.samples),
            size(*bytes_on_disk),
            format!("{:.3}", per_sample(*bytes_on_disk, meta.samples)),
        ]);
    }
    for table in [tiers, columns, parts] {
        screen.line("")?;
        for line in table.lines() {
            screen.line(line)?;
        }
    }
    Ok(())
}

/// What the parts of one tier and layout hold together.
struct TierTotal {
    name: String,
    parts: u64,
    samples: u64,
    first: Timestamp,
    last: Timestamp,
    bytes: u64,
}

/// Finest first, samples before distributions.
fn tier_totals(stats: &Stats) -> Vec<TierTotal> {
    let mut totals: BTreeMap<(Tier, u8), TierTotal> = BTreeMap::new();
    for PartStats { meta, bytes_on_disk, .. } in &stats.parts {
        let (first, last) = (meta.first, meta.last);
        let total = totals.entry((meta.tier, meta.layout as u8)).or_insert_with(|| TierTotal {
            name: tier_name(meta.tier, meta.layout),
            parts: 0,
            samples: 0,
            first,
            last,
            bytes: 0,
        });
        total.parts += 1;
        total.samples += meta.samples;
        total.first = total.first.min(first);
        total.last = total.last.max(last);
        total.bytes += bytes_on_disk;
    }
    totals.into_values().collect()
}

/// `raw`, `raw-distributions`, `1m`: as `export --tier` takes it; or `events`.
fn tier_name(tier: Tier, layout: Layout) -> String {
    match layout {
        Layout::Records if tier.is_raw() => format!("{tier}-distributions"),
        Layout::Events => "events".to_owned(),
        _ => tier.to_string(),
    }
}

fn tier_table(stats: &Stats) -> Columns {
    let mut table = Columns::new(&["tier", "from", "to", ">parts", ">stored values", ">bytes"]);
    for total in tier_totals(stats) {
        table.row(vec![
            total.name,
            figures::time(total.first),
            figures::time(total.last),
            figures::count(total.parts),
            figures::count(total.samples),
            size(total.bytes),
        ]);
    }
    table
}

/// The tables of events.
fn events(stats: &Stats) -> Vec<Value> {
    let tables = stats.events.iter().map(|table| {
        json!({
            "table": table.table,
            "version": table.version,
            "columns": table.columns,
            "rows": table.rows,
            "head_rows": table.head_rows,
            "parts": table.parts,
            "bytes_on_disk": table.bytes_on_disk,
        })
    });
    tables.collect()
}

fn to_json(stats: &Stats) -> Value {
    let tiers: Vec<Value> = tier_totals(stats)
        .into_iter()
        .map(|total| {
            json!({
                "tier": total.name,
                "first": Rfc3339(total.first).to_string(),
                "last": Rfc3339(total.last).to_string(),
                "parts": total.parts,
                "stored_values": total.samples,
                "bytes_on_disk": total.bytes,
            })
        })
        .collect();
    let columns = |columns: &[ColumnStats]| -> Value {
        let each = columns.iter().map(|column| {
            json!({
                "kind": kind(column.kind),
                "encoding": column.encoding,
                "columns": column.columns,
                "samples": column.samples,
                "bytes": column.bytes,
            })
        });
        each.collect()
    };
    let parts: Vec<Value> = stats
        .parts
        .iter()
        .map(|PartStats { meta, bytes_on_disk, columns: of_part }| {
            json!({
                "id": meta.id,
                "tier": tier_name(meta.tier, meta.layout),
                "store": format!("{:?}", meta.store).to_lowercase(),
                "from": Rfc3339(meta.window.start).to_string(),
                "to": Rfc3339(meta.window.end).to_string(),
                "first": Rfc3339(meta.first).to_string(),
                "last": Rfc3339(meta.last).to_string(),
                "series": meta.series,
                "samples": meta.samples,
                "chunks": meta.chunks,
                "segments": meta.segments.len(),
                "bytes_on_disk": bytes_on_disk,
                "columns": columns(of_part),
            })
        })
        .collect();
    json!({
        "events": events(stats),
        "series": stats.series,
        "samples": stats.samples,
        "head_samples": stats.head_samples,
        "segments": stats.segments,
        "bytes_on_disk": stats.bytes_on_disk,
        "bytes_per_sample": per_sample(stats.bytes_on_disk, stats.samples),
        "log_bytes": stats.log_bytes,
        "tiers": tiers,
        "columns": columns(&stats.columns),
        "partitions": parts,
    })
}
