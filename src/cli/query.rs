//! `icecore query`: windowed answers, drawn and tabled.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::arguments::{Between, When, duration, when};
use super::chart::{self, Curve};
use super::screen::Screen;
use super::table::Columns;
use super::{Failure, StoreArguments, evidence, figures, open_to_read, promql};
use crate::engine::Engine;
use crate::integration::notation::Rfc3339;
use crate::integration::quantity::parse_tier;
use crate::model::{MatchOp, Matcher, Selector};
use crate::promql::Tiers;
use crate::query::{Answer, Function, Group, GroupKey, Grouping, Limits, Request, TierChoice};
use crate::time::TimeRange;

/// Windows that a chart of 80 columns shows well.
const WINDOWS_WANTED: u64 = 120;
/// Rows of the table; the rest is told.
const ROWS_MAX: usize = 20;

/// Ask for windowed values, or in PromQL: draws a chart and a table, or JSON
///
/// A selector is a metric name and matchers: =, !=, =~ and !~, patterns anchored at both ends.
/// With --promql the whole question is a PromQL expression, evaluated every --step, or once --at.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  icecore query --db history node_load1
  icecore query --db history 'node_cpu_seconds_total{mode!=\"idle\"}' --agg rate --by mode --step 1m
  icecore query --db history 'node_disk_io_time_seconds_total' --from now-1h --agg rate,p99
  icecore query --db history 'lake_query_seconds' --from now-1y --agg p99 --step 1d --explain
  icecore query --db history '{__name__=~\"node_memory_.*\"}' --agg last --json
  icecore query --db history --promql 'sum by (mode) (rate(node_cpu_seconds_total[5m]))' --step 1m
  icecore query --db history --promql 'topk(3, node_filesystem_avail_bytes)' --at now --explain

Functions: count, sum, avg, min, max, first, last, stddev, rate, increase, and quantiles (p50, p99,
p99.9), exact from samples, within 1 % from sketches. rate and increase take falls of a counter as resets.")]
pub(super) struct Query {
    #[command(flatten)]
    store: StoreArguments,
    /// Which series: a metric name, matchers, or both
    #[arg(required_unless_present = "promql")]
    selector: Option<String>,
    /// A PromQL expression, in place of a selector and functions
    #[arg(long, value_name = "EXPRESSION", conflicts_with_all = ["selector", "agg", "by", "windows", "tier", "cut_short"])]
    promql: Option<String>,
    /// Evaluate the PromQL expression once, at this time [default: every step of the range]
    #[arg(long, value_name = "TIME", value_parser = when, allow_hyphen_values = true)]
    #[arg(requires = "promql", conflicts_with_all = ["from", "to", "step"])]
    at: Option<When>,
    /// Let sum_over_time and avg_over_time of a PromQL expression add up what tiers hold: the same
    /// but for rounding
    #[arg(long, requires = "promql")]
    near: bool,
    #[command(flatten)]
    between: Between,
    /// Length of a window: 10s, 1m, 1h30m [default: a round one that gives some 120 windows]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    step: Option<Duration>,
    /// What to answer for each window
    #[arg(long, value_name = "FUNCTION,...", value_delimiter = ',', default_value = "avg")]
    agg: Vec<Function>,
    /// Pool the series that agree in these labels; '' pools all [default: each series by itself]
    #[arg(long, value_name = "LABEL,...", value_delimiter = ',')]
    by: Option<Vec<String>>,
    /// Print every window
    #[arg(long)]
    windows: bool,
    /// Which tier answers: the coarsest that does so exactly, raw, or one that is named: 1m, 1h
    #[arg(long, value_name = "auto|raw|TIER", value_parser = tier, default_value = "auto")]
    tier: TierChoice,
    /// Show which tier answered which stretch of time, out of what
    #[arg(long)]
    explain: bool,
    /// Answer with the groups that could be read in full where a limit is reached
    #[arg(long)]
    cut_short: bool,
    /// Give up after this long
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    deadline: Option<Duration>,
    /// Most series that may be selected
    #[arg(long, value_name = "N", default_value_t = Limits::default().series_max)]
    series_max: u64,
    /// Most samples that may be decoded
    #[arg(long, value_name = "N", default_value_t = Limits::default().samples_max)]
    samples_max: u64,
}

impl Query {
    pub(super) fn run(self, screen: &mut Screen) -> Result<(), Failure> {
        let began = Instant::now();
        if let Some(expression) = &self.promql {
            let engine = open_to_read(&self.store.db)?;
            return self.question(expression).run(&engine, began.elapsed(), screen);
        }
        let text = self.selector.as_deref().unwrap_or_default();
        let selector = Selector::parse(text)?;
        let engine = open_to_read(&self.store.db)?;
        let opened = began.elapsed();
        let Some(range) = self.between.resolve(&engine)? else {
            return self.nothing(screen);
        };
        let request = self.request(range);
        let began = Instant::now();
        let answer = engine.query(&selector, &request)?;
        let elapsed = began.elapsed();
        if self.store.json {
            screen.json(&to_json(text, &answer, request.step))?;
            return Ok(());
        }
        show(screen, &engine, &selector, &answer, request.step)?;
        if self.windows {
            windows_table(screen, &answer)?;
        } else {
            summary_table(screen, &answer)?;
        }
        screen.line("")?;
        evidence::show(screen, &answer)?;
        if self.explain {
            evidence::explain(screen, &answer.evidence)?;
            screen.line(format!(
                "opened in {}, answered in {}",
                figures::length(opened),
                figures::length(elapsed)
            ))?;
        } else {
            screen.line(format!("answered in {}", figures::length(elapsed)))?;
        }
        Ok(())
    }

    fn question<'a>(&'a self, expression: &'a str) -> promql::Question<'a> {
        let options = crate::promql::Options {
            limits: self.limits(),
            deadline: self.deadline(),
            tiers: if self.near { Tiers::Near } else { Tiers::Exact },
            ..crate::promql::Options::default()
        };
        promql::Question {
            expression,
            between: &self.between,
            at: self.at,
            step: self.step,
            options,
            explain: self.explain,
            json: self.store.json,
        }
    }

    fn limits(&self) -> Limits {
        Limits { series_max: self.series_max, samples_max: self.samples_max, ..Limits::default() }
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline.map(|deadline| Instant::now() + deadline)
    }

    fn request(&self, range: TimeRange) -> Request {
        let group_by = match &self.by {
            None => Grouping::Series,
            Some(labels) => {
                let labels = labels.iter().map(|label| label.trim());
                Grouping::Labels(labels.filter(|label| !label.is_empty()).map(Into::into).collect())
            }
        };
        let request = Request {
            step: Some(self.step.unwrap_or_else(|| round_step(range))),
            group_by,
            limits: self.limits(),
            tier: self.tier,
            cut_short: self.cut_short,
            deadline: self.deadline(),
            ..Request::new(range, self.agg.clone())
        };
        // Where the beginning is ours to choose, windows begin at round times.
        if self.between.is_open() { request.aligned() } else { request }
    }

    fn nothing(&self, screen: &mut Screen) -> Result<(), Failure> {
        if self.store.json {
            let functions: Vec<String> = self.agg.iter().map(Function::to_string).collect();
            screen.json(&json!({
                "selector": self.selector.as_deref().unwrap_or_default(), "functions": functions, "windows": [], "groups": [],
            }))?;
        } else {
            screen.line("nothing is stored in that range")?;
        }
        Ok(())
    }
}

/// `auto`, `raw`, or a tier by its resolution.
fn tier(text: &str) -> Result<TierChoice, String> {
    match text {
        "auto" => Ok(TierChoice::Auto),
        "raw" => Ok(TierChoice::Raw),
        named => parse_tier(named)
            .map(TierChoice::Only)
            .ok_or_else(|| format!("{named:?} is none of auto, raw, 1m, 1h, ...")),
    }
}

/// The shortest round step that gives at most [`WINDOWS_WANTED`] windows.
pub(super) fn round_step(range: TimeRange) -> Duration {
    const STEPS_S: [u64; 18] = [
        1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400,
        604_800,
    ];
    let span = range.end.nanos().abs_diff(range.start.nanos());
    let enough = span / WINDOWS_WANTED / 1_000_000_000;
    let step = STEPS_S.into_iter().find(|&step| step >= enough);
    Duration::from_secs(step.unwrap_or_else(|| enough.div_ceil(604_800) * 604_800))
}

/// The chart, with what it shows above it.
pub(super) fn show(
    screen: &mut Screen,
    engine: &Engine,
    selector: &Selector,
    answer: &Answer,
    step: Option<Duration>,
) -> Result<(), Failure> {
    let Some(function) = answer.functions.first().copied() else { return Ok(()) };
    let title = match step {
        Some(step) => format!("{function}({selector}), windows of {}", figures::length(step)),
        None => format!("{function}({selector})"),
    };
    screen.line(&title)?;
    if answer.groups.is_empty() {
        screen.line("no samples in the range")?;
        return Ok(());
    }
    let unit = unit(engine, selector, answer, function);
    let lines = if answer.windows.len() > 1 {
        chart::draw(
            &curves(answer),
            answer.windows.range(),
            &unit,
            screen.columns(),
            screen.colour(),
        )
    } else {
        Vec::new()
    };
    screen.line("")?;
    for line in lines {
        screen.line(line)?;
    }
    Ok(())
}

/// Each group's first function; each function where there is one group.
fn curves(answer: &Answer) -> Vec<Curve> {
    let line = |name: String, values: &[f64]| {
        let starts = answer.windows.iter().map(|window| window.start);
        Curve { name, points: starts.zip(values.iter().copied()).collect() }
    };
    match answer.groups.as_slice() {
        [only] => {
            let functions = answer.functions.iter().zip(&only.values);
            functions.map(|(function, values)| line(function.to_string(), values)).collect()
        }
        groups => {
            let firsts = groups.iter().filter_map(|group| Some((group, group.values.first()?)));
            firsts.map(|(group, values)| line(name(&group.key, groups), values)).collect()
        }
    }
}

/// What a group is called: the labels that tell it from the others.
fn name(key: &GroupKey, groups: &[Group]) -> String {
    match key {
        GroupKey::Labels(labels) if labels.is_empty() => "all".to_owned(),
        GroupKey::Labels(labels) => {
            let values = labels.iter().map(|(label, value)| match labels.len() {
                1 if !value.is_empty() => value.clone(),
                _ => format!("{label}={value}"),
            });
            values.collect::<Vec<_>>().join(" ")
        }
        GroupKey::Series(series) => {
            let one_metric = groups.iter().all(|group| match &group.key {
                GroupKey::Series(other) => other.name() == series.name(),
                GroupKey::Labels(_) => true,
            });
            let text = series.to_string();
            if one_metric && groups.len() > 1 {
                text.trim_start_matches(series.name()).trim_matches(['{', '}']).to_owned()
            } else {
                text
            }
        }
    }
}

/// What the values of a function over the answer's metrics are of; empty where unknown or mixed.
fn unit(engine: &Engine, selector: &Selector, answer: &Answer, function: Function) -> String {
    let named = selector
        .matchers()
        .iter()
        .filter(|matcher| matcher.name() == "__name__" && matcher.op() == MatchOp::Equal);
    let keys = answer.groups.iter().filter_map(|group| match &group.key {
        GroupKey::Series(series) => Some(series.name()),
        GroupKey::Labels(_) => None,
    });
    let metrics = named.map(Matcher::value).chain(keys);
    let mut units: Vec<String> = metrics
        .map(|metric| {
            let given = engine.metadata(metric).map(|metadata| metadata.unit);
            let given = given.filter(|unit| !unit.is_empty());
            given.unwrap_or_else(|| unit_of_name(metric).to_owned())
        })
        .collect();
    units.dedup();
    match units.as_slice() {
        [unit] => of_function(unit, function),
        _ => String::new(),
    }
}

/// By Prometheus' naming rules the unit stands at the name's end, before `_total`.
fn unit_of_name(metric: &str) -> &'static str {
    let stem = metric.strip_suffix("_total").unwrap_or(metric);
    ["seconds", "bytes", "celsius", "volts", "amperes", "joules", "watts"]
        .into_iter()
        .find(|unit| stem.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_')))
        .unwrap_or("")
}

fn of_function(unit: &str, function: Function) -> String {
    match (function, unit) {
        (Function::Count, _) | (Function::Rate, "") => String::new(),
        (Function::Rate, "seconds") => "s/s".to_owned(),
        (Function::Rate, unit) => format!("{unit}/s"),
        (_, "seconds") => "s".to_owned(),
        (_, unit) => unit.to_owned(),
    }
}

/// One row a group: how many samples, and over the windows least, mean, greatest and last value.
fn summary_table(screen: &mut Screen, answer: &Answer) -> Result<(), Failure> {
    if answer.groups.is_empty() {
        return Ok(());
    }
    let mut table =
        Columns::new(&["", "function", ">samples", ">least", ">mean", ">greatest", ">last"]);
    for group in answer.groups.iter().take(ROWS_MAX) {
        let samples: u64 = group.counts.iter().sum();
        for (function, values) in answer.functions.iter().zip(&group.values) {
            let there = || values.iter().copied().filter(|value| !value.is_nan());
            #[expect(clippy::cast_precision_loss, reason = "windows are few")]
            let mean = there().sum::<f64>() / there().count() as f64;
            let cells = [
                there().fold(f64::NAN, f64::min),
                mean,
                there().fold(f64::NAN, f64::max),
                there().next_back().unwrap_or(f64::NAN),
            ];
            let mut row = vec![
                name(&group.key, &answer.groups),
                function.to_string(),
                figures::count(samples),
            ];
            row.extend(cells.map(figures::number));
            table.row(row);
        }
    }
    screen.line("")?;
    for line in table.lines() {
        screen.line(line)?;
    }
    let more = answer.groups.len().saturating_sub(ROWS_MAX);
    if more > 0 {
        screen.line(format!("and {more} more; --by pools, --json holds them all"))?;
    }
    Ok(())
}

/// One row a window and group.
fn windows_table(screen: &mut Screen, answer: &Answer) -> Result<(), Failure> {
    let mut header = vec!["window".to_owned(), String::new(), ">samples".to_owned()];
    header.extend(answer.functions.iter().map(|function| format!(">{function}")));
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut table = Columns::new(&header);
    for (i, window) in answer.windows.iter().enumerate() {
        for group in &answer.groups {
            let count = group.counts.get(i).copied().unwrap_or(0);
            if count == 0 {
                continue;
            }
            let mut row = vec![
                figures::time(window.start),
                name(&group.key, &answer.groups),
                figures::count(count),
            ];
            let values = group.values.iter().filter_map(|values| values.get(i));
            row.extend(values.map(|&value| figures::number(value)));
            table.row(row);
        }
    }
    screen.line("")?;
    for line in table.lines() {
        screen.line(line)?;
    }
    Ok(())
}

fn to_json(selector: &str, answer: &Answer, step: Option<Duration>) -> Value {
    let range = answer.windows.range();
    let functions: Vec<String> = answer.functions.iter().map(Function::to_string).collect();
    let windows: Vec<String> =
        answer.windows.iter().map(|window| Rfc3339(window.start).to_string()).collect();
    let groups: Vec<Value> = answer
        .groups
        .iter()
        .map(|group| {
            let labels: Map<String, Value> = match &group.key {
                GroupKey::Labels(labels) => {
                    labels.iter().map(|(label, value)| (label.clone(), json!(value))).collect()
                }
                GroupKey::Series(series) => std::iter::once(("__name__", series.name()))
                    .chain(series.labels())
                    .map(|(label, value)| (label.to_owned(), json!(value)))
                    .collect(),
            };
            let values: Map<String, Value> = functions
                .iter()
                .zip(&group.values)
                .map(|(function, values)| {
                    (function.clone(), values.iter().map(|&value| number(value)).collect())
                })
                .collect();
            let covered = json!({ "least": group.covered.least, "mean": group.covered.mean });
            json!({
                "labels": labels, "covered": covered, "counts": group.counts, "values": values,
            })
        })
        .collect();
    json!({
        "selector": selector,
        "from": Rfc3339(range.start).to_string(),
        "to": Rfc3339(range.end).to_string(),
        "step_seconds": step.map(|step| step.as_secs_f64()),
        "functions": functions,
        "windows": windows,
        "groups": groups,
        "evidence": evidence::to_json(&answer.evidence),
    })
}

/// JSON has neither NaN (an empty window) nor infinities.
pub(super) fn number(value: f64) -> Value {
    if value.is_nan() {
        Value::Null
    } else if value.is_infinite() {
        json!(if value > 0.0 { "+Inf" } else { "-Inf" })
    } else {
        json!(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn units_come_from_names_and_follow_the_function() {
        assert_eq!(unit_of_name("node_cpu_seconds_total"), "seconds");
        assert_eq!(unit_of_name("node_memory_MemFree_bytes"), "bytes");
        assert_eq!(unit_of_name("bytes"), "");
        assert_eq!(of_function("seconds", Function::Rate), "s/s");
        assert_eq!(of_function("bytes", Function::Rate), "bytes/s");
        assert_eq!(of_function("bytes", Function::Count), "");
    }

    #[test]
    fn the_default_step_is_round_and_gives_a_chart_of_windows() {
        for (seconds, step) in [(1, 1), (1_800, 15), (86_400, 900), (31_536_000, 604_800)] {
            let range = TimeRange::new(Timestamp(0), Timestamp::from_secs(seconds));
            assert_eq!(round_step(range).as_secs(), step, "{seconds} s");
        }
    }
}
