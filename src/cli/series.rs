//! `icecore series`: which series there are.

use serde_json::{Value, json};

use super::arguments::Between;
use super::screen::Screen;
use super::{Failure, StoreArguments, open_to_read};
use crate::model::{MetricKind, Selector};
use crate::time::TimeRange;

/// List series, with what is known of their metrics
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  icecore series --db history
  icecore series --db history '{__name__=~\"node_disk_.*\",device=\"vda\"}' --from now-1d")]
pub(super) struct ListSeries {
    #[command(flatten)]
    store: StoreArguments,
    /// Which series [default: all]
    selector: Option<String>,
    #[command(flatten)]
    between: Between,
}

impl ListSeries {
    pub(super) fn run(self, screen: &mut Screen) -> Result<(), Failure> {
        let selector = match &self.selector {
            Some(text) => Selector::parse(text)?,
            None => Selector::default(),
        };
        let engine = open_to_read(&self.store.db)?;
        let range = self.between.resolve(&engine)?;
        let found = match range {
            Some(range) => engine.series(&selector, range)?,
            None => engine.series(&selector, TimeRange::ALL)?,
        };
        if self.store.json {
            let series: Vec<Value> = found
                .iter()
                .map(|(_, series)| {
                    let metadata = engine.metadata(series.name()).unwrap_or_default();
                    let labels: serde_json::Map<String, Value> = series
                        .labels()
                        .map(|(label, value)| (label.to_owned(), json!(value)))
                        .collect();
                    json!({
                        "series": series.to_string(),
                        "metric": series.name(),
                        "labels": labels,
                        "kind": kind(metadata.kind),
                        "unit": metadata.unit,
                        "help": metadata.help,
                    })
                })
                .collect();
            screen.json(&json!({ "series": series }))?;
            return Ok(());
        }
        let mut metric = String::new();
        for (_, series) in &found {
            if metric != series.name() {
                metric = series.name().to_owned();
                let metadata = engine.metadata(&metric).unwrap_or_default();
                let unit = if metadata.unit.is_empty() {
                    String::new()
                } else {
                    format!(", {}", metadata.unit)
                };
                let help = metadata.help.replace('\n', " ");
                let line = format!("# {}{unit}: {help}", kind(metadata.kind));
                screen.line(line.trim_end_matches([':', ' ']))?;
            }
            screen.line(series)?;
        }
        Ok(())
    }
}

fn kind(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Untyped => "untyped",
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Distribution => "distribution",
    }
}
