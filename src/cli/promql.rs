//! `icecore query --promql`: an expression over a range of time, or at one instant.

use std::time::{Duration, Instant};

use serde_json::{Map, Value as Json, json};

use super::arguments::{Between, When};
use super::chart::{self, Curve};
use super::screen::Screen;
use super::table::Columns;
use super::{Failure, evidence, figures};
use crate::engine::Engine;
use crate::integration::notation::Rfc3339;
use crate::promql::{
    Column, Labels, Options, Outcome, Query, Run, Steps, Value, evaluate, is_absent,
};
use crate::time::{TimeRange, Timestamp, duration_nanos};

/// Rows of the table; the rest is told.
const ROWS_MAX: usize = 20;

/// What was asked, beside the store.
pub(super) struct Question<'a> {
    pub(super) expression: &'a str,
    pub(super) between: &'a Between,
    /// The one instant; without it, the range is stepped through.
    pub(super) at: Option<When>,
    pub(super) step: Option<Duration>,
    pub(super) options: Options,
    pub(super) explain: bool,
    pub(super) json: bool,
}

impl Question<'_> {
    pub(super) fn run(
        self,
        engine: &Engine,
        opened: Duration,
        screen: &mut Screen,
    ) -> Result<(), Failure> {
        let query = Query::parse(self.expression)?;
        let Some(steps) = self.steps(engine)? else {
            if self.json {
                screen.json(&json!({ "query": self.expression, "times": [], "series": [] }))?;
            } else {
                screen.line("nothing is stored in that range")?;
            }
            return Ok(());
        };
        let began = Instant::now();
        let outcome = evaluate(engine, &query, steps, &self.options)?;
        let elapsed = began.elapsed();
        if self.json {
            screen.json(&to_json(self.expression, &outcome))?;
            return Ok(());
        }
        let title = match steps.len() {
            1 => format!("{query}, at {}", figures::time(steps.first())),
            _ => {
                let step = Duration::from_nanos(steps.step().unsigned_abs());
                format!("{query}, every {}", figures::length(step))
            }
        };
        screen.line(title)?;
        show(screen, &outcome)?;
        for said in outcome.warnings.iter().chain(&outcome.infos) {
            screen.line(said)?;
        }
        if self.explain {
            explain(screen, &query, &outcome)?;
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

    /// When to evaluate; `None` where nothing is stored and the times are left open.
    fn steps(&self, engine: &Engine) -> Result<Option<Steps>, Failure> {
        if let Some(at) = self.at {
            return Ok(Some(Steps::at(at.resolve(engine.now()))));
        }
        let Some(range) = self.between.resolve(engine)? else { return Ok(None) };
        let step = duration_nanos(self.step.unwrap_or_else(|| super::query::round_step(range)));
        // The end is exclusive, so its last nanosecond is the last that may be asked about.
        let last = range.end.nanos().saturating_sub(1);
        let (first, last) = if self.between.is_open() {
            // Where the times are ours to choose they are round, and the last sees every sample.
            let up = |time: i64| time.saturating_add((step - time.rem_euclid(step)) % step);
            (up(range.start.nanos()), up(last))
        } else {
            (range.start.nanos(), last)
        };
        Ok(Some(Steps::new(Timestamp(first), Timestamp(last.max(first)), step)?))
    }
}

/// The chart, where there is more than one step, and the table.
fn show(screen: &mut Screen, outcome: &Outcome) -> Result<(), Failure> {
    let alone;
    let columns = match &outcome.value {
        Value::Vector(columns) => columns.as_slice(),
        Value::Scalar(values) => {
            alone = [Column { labels: Labels::default(), values: values.clone() }];
            &alone
        }
        Value::Text(text) => {
            screen.line(format!("{text:?}\n"))?;
            return Ok(());
        }
        Value::Matrix(runs) => return matrix(screen, runs),
    };
    if columns.is_empty() {
        screen.line("no series has a value there\n")?;
        return Ok(());
    }
    let names = Names::new(columns.iter().map(|column| &column.labels));
    if outcome.steps.len() > 1 {
        let range = TimeRange::new(outcome.steps.first(), outcome.steps.last());
        let curves: Vec<Curve> =
            columns.iter().map(|column| curve(column, outcome, &names)).collect();
        screen.line("")?;
        for line in chart::draw(&curves, range, "", screen.columns(), screen.colour()) {
            screen.line(line)?;
        }
        summary(screen, columns, &names)
    } else {
        instant(screen, columns, &names)
    }
}

fn curve(column: &Column, outcome: &Outcome, names: &Names) -> Curve {
    let values = column.values.iter().map(|&value| if is_absent(value) { f64::NAN } else { value });
    Curve { name: names.of(&column.labels), points: outcome.steps.iter().zip(values).collect() }
}

/// One row a series: its only value.
fn instant(screen: &mut Screen, columns: &[Column], names: &Names) -> Result<(), Failure> {
    let mut table = Columns::new(&["", ">value"]);
    for column in columns.iter().take(ROWS_MAX) {
        let value = column.values.first().copied().unwrap_or(f64::NAN);
        table.row(vec![names.of(&column.labels), figures::number(value)]);
    }
    finish(screen, &table, columns.len())
}

/// One row a series: over the steps least, mean, greatest and last value.
fn summary(screen: &mut Screen, columns: &[Column], names: &Names) -> Result<(), Failure> {
    let mut table = Columns::new(&["", ">steps", ">least", ">mean", ">greatest", ">last"]);
    for column in columns.iter().take(ROWS_MAX) {
        let there = || column.values.iter().copied().filter(|value| !is_absent(*value));
        let steps = there().count();
        #[expect(clippy::cast_precision_loss, reason = "steps are few")]
        let mean = there().sum::<f64>() / steps as f64;
        let cells = [
            there().fold(f64::NAN, f64::min),
            mean,
            there().fold(f64::NAN, f64::max),
            there().next_back().unwrap_or(f64::NAN),
        ];
        let mut row = vec![names.of(&column.labels), figures::count(steps as u64)];
        row.extend(cells.map(figures::number));
        table.row(row);
    }
    finish(screen, &table, columns.len())
}

/// One row a series of samples: how many, from when to when, first and last value.
fn matrix(screen: &mut Screen, runs: &[Run]) -> Result<(), Failure> {
    let names = Names::new(runs.iter().map(|run| &run.labels));
    let mut table = Columns::new(&["", ">samples", "from", "to", ">first", ">last"]);
    for run in runs.iter().take(ROWS_MAX) {
        let time = |time: Option<&i64>| {
            time.map(|&time| figures::time(Timestamp(time))).unwrap_or_default()
        };
        let value = |value: Option<&f64>| figures::number(value.copied().unwrap_or(f64::NAN));
        table.row(vec![
            names.of(&run.labels),
            figures::count(run.timestamps.len() as u64),
            time(run.timestamps.first()),
            time(run.timestamps.last()),
            value(run.values.first()),
            value(run.values.last()),
        ]);
    }
    finish(screen, &table, runs.len())
}

fn finish(screen: &mut Screen, table: &Columns, rows: usize) -> Result<(), Failure> {
    screen.line("")?;
    for line in table.lines() {
        screen.line(line)?;
    }
    let more = rows.saturating_sub(ROWS_MAX);
    if more > 0 {
        screen.line(format!("and {more} more; --json holds them all"))?;
    }
    screen.line("")?;
    Ok(())
}

/// What series are called beside each other: what all of them share is left out.
struct Names {
    shared: Vec<(String, String)>,
}

impl Names {
    fn new<'a>(labels: impl Iterator<Item = &'a Labels>) -> Self {
        let mut labels = labels;
        let first = labels.next();
        let pairs = first.into_iter().flat_map(Labels::iter);
        let mut shared: Vec<_> = pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        let mut others = 0;
        for other in labels {
            others += 1;
            shared.retain(|(label, value)| other.get(label) == value);
        }
        if others == 0 {
            shared.clear();
        }
        Self { shared }
    }

    fn of(&self, labels: &Labels) -> String {
        let is_shared = |name: &str| self.shared.iter().any(|(shared, _)| shared == name);
        let own = labels.without(is_shared).to_string();
        own.strip_prefix('{').and_then(|own| own.strip_suffix('}')).unwrap_or(&own).to_owned()
    }
}

/// The plan, and for each selector what was read.
fn explain(screen: &mut Screen, query: &Query, outcome: &Outcome) -> Result<(), Failure> {
    screen.line(query.plan())?;
    for (selector, read) in &outcome.evidence {
        screen.line(format!("{selector}: {} series", figures::count(read.series)))?;
        evidence::explain(screen, read)?;
    }
    Ok(())
}

fn to_json(expression: &str, outcome: &Outcome) -> Json {
    let value =
        |&value: &f64| if is_absent(value) { Json::Null } else { super::query::number(value) };
    let labels = |labels: &Labels| {
        let pairs = labels.iter().map(|(name, value)| (name.to_owned(), json!(value)));
        pairs.collect::<Map<String, Json>>()
    };
    let time = |time: Timestamp| Rfc3339(time).to_string();
    let times: Vec<String> = outcome.steps.iter().map(time).collect();
    let mut answer = json!({ "query": expression, "times": times });
    let (key, found) = match &outcome.value {
        Value::Scalar(values) => ("scalar", values.iter().map(value).collect()),
        Value::Text(text) => ("text", json!(text)),
        Value::Vector(columns) => {
            let one = |column: &Column| {
                let values: Vec<Json> = column.values.iter().map(value).collect();
                json!({ "labels": labels(&column.labels), "values": values })
            };
            ("series", columns.iter().map(one).collect())
        }
        Value::Matrix(runs) => {
            let one = |run: &Run| {
                let times: Vec<String> =
                    run.timestamps.iter().map(|&at| time(Timestamp(at))).collect();
                let values: Vec<Json> = run.values.iter().map(value).collect();
                json!({ "labels": labels(&run.labels), "times": times, "values": values })
            };
            ("samples", runs.iter().map(one).collect::<Json>())
        }
    };
    let read = outcome.evidence.iter().map(
        |(selector, read)| json!({ "selector": selector, "evidence": evidence::to_json(read) }),
    );
    if let Some(answer) = answer.as_object_mut() {
        answer.insert(key.to_owned(), found);
        answer.insert("warnings".to_owned(), json!(outcome.warnings));
        answer.insert("infos".to_owned(), json!(outcome.infos));
        answer.insert("selectors".to_owned(), read.collect());
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_leave_out_what_all_series_share() {
        let one = Labels::new([("__name__", "up"), ("job", "api"), ("zone", "a")]);
        let other = Labels::new([("__name__", "up"), ("job", "web"), ("zone", "a")]);
        let names = Names::new([&one, &other].into_iter());
        assert_eq!(
            (names.of(&one), names.of(&other)),
            (r#"job="api""#.into(), r#"job="web""#.into())
        );
        assert_eq!(Names::new([&one].into_iter()).of(&one), r#"up{job="api", zone="a"}"#);
    }
}
