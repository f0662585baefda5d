//! Small scripts of what is stored, asked and answered, in the notation that Prometheus' own tests
//! use:
//!
//! ```text
//! load 10s
//!   requests_total{job="a"} 0+10x5 _ stale 7
//!
//! eval instant at 1m rate(requests_total[30s])
//!   {job="a"} 1
//!
//! eval range from 0 to 1m step 30s requests_total
//!   requests_total{job="a"} 0 30 _
//!
//! eval instant at 0 1 +
//!   expect fail
//! ```
//!
//! `a+bxn` is `a` and `n` more, each `b` on; `axn` the same value `n` times more; `_` no sample.
//! `clear` forgets everything. What is expected is all that comes back, in any order unless
//! `expect ordered`; a bare number is a scalar, `expect text x` a text; `expect warn` and
//! `expect info` want some, else there are none; `expect fail words` wants an error that has them.

use std::time::Duration;

use icecore::model::{METRIC_NAME_LABEL, Metadata, STALE_MARKER_BITS, Selector, Series};
use icecore::options::{Durability, GateOptions};
use icecore::promql::{self, Labels, Outcome, Query, Steps, Value, evaluate, is_absent};
use icecore::{Engine, Options, Result, Timestamp};
use tempfile::TempDir;

/// A store for tests: takes any time, holds nothing of its own.
pub struct Store {
    pub engine: Engine,
    _dir: TempDir,
}

impl Store {
    pub fn new() -> Self {
        Self::with_threads(None)
    }

    pub fn with_threads(threads: Option<usize>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            self_metrics: None,
            gate: GateOptions { past: None, future: None, ..GateOptions::default() },
            ..Options::default()
        };
        let options = match threads {
            Some(threads) => Options { threads, ..options },
            None => options,
        };
        Self { engine: Engine::open(dir.path(), options).unwrap(), _dir: dir }
    }

    pub fn append(&self, series: &Series, times: Vec<i64>, values: Vec<f64>) {
        if times.is_empty() {
            return;
        }
        let writer = self.engine.writer("test").with_durability(Durability::Logged);
        let handle =
            writer.series_named(series.name(), series.labels(), &Metadata::default()).unwrap();
        writer.append_column(&handle, times, values).unwrap().wait().unwrap();
    }

    pub fn ask(&self, text: &str, steps: Steps) -> Result<Outcome> {
        evaluate(&self.engine, &Query::parse(text)?, steps, &promql::Options::default())
    }
}

/// Runs a script; fails at the first answer that is not what the script says.
pub fn run(script: &str) {
    let mut store = Store::new();
    let lines: Vec<(usize, &str)> = script
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !line.trim().is_empty() && !line.trim().starts_with('#'))
        .collect();
    let is_head = |(_, line): &(usize, &str)| !line.starts_with([' ', '\t']);
    let mut at = 0;
    while let Some((number, head)) = lines.get(at) {
        let below = lines[at + 1..].iter().take_while(|line| !is_head(line)).count();
        let block: Vec<&str> =
            lines[at + 1..=at + below].iter().map(|line| line.1.trim()).collect();
        at += 1 + below;
        if *head == "clear" {
            store = Store::new();
        } else if let Some(interval) = head.strip_prefix("load ") {
            block.iter().for_each(|line| load(&store, nanos(interval), line));
        } else {
            let (steps, text) = evaluation(head);
            let place = format!("line {number}: {text}");
            check(store.ask(text, steps), &block, steps, &place);
        }
    }
}

fn evaluation(head: &str) -> (Steps, &str) {
    if let Some(rest) = head.strip_prefix("eval instant at ") {
        let (time, text) = rest.split_once(' ').unwrap();
        return (Steps::at(Timestamp(nanos(time))), text);
    }
    let rest = head.strip_prefix("eval range from ").unwrap_or_else(|| panic!("{head}"));
    let (start, rest) = rest.split_once(" to ").unwrap();
    let (end, rest) = rest.split_once(" step ").unwrap();
    let (step, text) = rest.split_once(' ').unwrap();
    let (start, end) = (Timestamp(nanos(start)), Timestamp(nanos(end)));
    (Steps::new(start, end, nanos(step)).unwrap(), text)
}

/// `1h30m`, `-10s`, `500ms`, or a number of seconds.
fn nanos(text: &str) -> i64 {
    let (sign, mut rest) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    if let Ok(seconds) = rest.parse::<f64>() {
        return sign * (seconds * 1e9) as i64;
    }
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap();
        let unit = &rest[digits..];
        let length = unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len());
        let one = match &unit[..length] {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            "d" => Duration::from_secs(86400),
            other => panic!("{other}"),
        };
        sum += one * rest[..digits].parse::<u32>().unwrap();
        rest = &unit[length..];
    }
    sign * i64::try_from(sum.as_nanos()).unwrap()
}

/// Cuts a line after its series.
fn split_series(line: &str) -> (&str, &str) {
    let first_space = line.find(' ').unwrap_or(line.len());
    let end = match line.find('{') {
        Some(open) if open <= first_space => line.rfind('}').unwrap() + 1,
        _ => first_space,
    };
    (line[..end].trim(), line[end..].trim())
}

fn load(store: &Store, interval: i64, line: &str) {
    let (series, values) = split_series(line);
    let (mut times, mut column, mut row) = (Vec::new(), Vec::new(), 0);
    for value in values.split_whitespace().flat_map(expand) {
        if let Some(value) = value {
            times.push(row * interval);
            column.push(value);
        }
        row += 1;
    }
    store.append(&Series::parse(series).unwrap(), times, column);
}

fn expand(text: &str) -> Vec<Option<f64>> {
    let (term, more) = match text.rsplit_once('x') {
        Some((term, more)) => (term, more.parse::<usize>().unwrap()),
        None => (text, 0),
    };
    if term == "_" {
        return vec![None; more.max(1)];
    }
    if term == "stale" {
        return vec![Some(f64::from_bits(STALE_MARKER_BITS)); more + 1];
    }
    let signs = |at: &usize| !term[..*at].ends_with(['e', 'E']) && *at > 0;
    let step = term.match_indices(['+', '-']).map(|(at, _)| at).find(signs);
    let (start, step) = match step {
        Some(at) if more > 0 => (&term[..at], term[at..].parse::<f64>().unwrap()),
        _ => (term, 0.0),
    };
    let start: f64 = start.parse().unwrap();
    (0..=more).map(|n| Some(start + step * n as f64)).collect()
}

/// What a script expects beside values.
#[derive(Default)]
struct Expected<'s> {
    fail: Option<&'s str>,
    text: Option<&'s str>,
    ordered: bool,
    warn: bool,
    info: bool,
    rows: Vec<&'s str>,
}

fn expected<'s>(block: &[&'s str]) -> Expected<'s> {
    let mut expected = Expected::default();
    for line in block {
        match line.strip_prefix("expect ") {
            Some("ordered") => expected.ordered = true,
            Some("warn") => expected.warn = true,
            Some("info") => expected.info = true,
            Some(rest) if rest.starts_with("fail") => expected.fail = Some(rest[4..].trim()),
            Some(rest) if rest.starts_with("text") => expected.text = Some(rest[4..].trim()),
            Some(rest) => panic!("{rest}"),
            None => expected.rows.push(line),
        }
    }
    expected
}

fn check(found: Result<Outcome>, block: &[&str], steps: Steps, place: &str) {
    let expected = expected(block);
    if let Some(words) = expected.fail {
        let error = found.err().unwrap_or_else(|| panic!("{place}: no error"));
        assert!(error.to_string().contains(words), "{place}: {error}");
        return;
    }
    let found = found.unwrap_or_else(|error| panic!("{place}: {error}"));
    assert_eq!(!found.warnings.is_empty(), expected.warn, "{place}: {:?}", found.warnings);
    assert_eq!(!found.infos.is_empty(), expected.info, "{place}: {:?}", found.infos);
    match &found.value {
        Value::Text(text) => assert_eq!(Some(text.as_str()), expected.text, "{place}"),
        Value::Scalar(values) => {
            assert_eq!(expected.rows.len(), 1, "{place}: {values:?}");
            assert_same(values, &row(expected.rows[0], steps), place);
        }
        Value::Vector(columns) => {
            let found: Vec<(Labels, &[f64])> =
                columns.iter().map(|c| (c.labels.clone(), c.values.as_slice())).collect();
            compare(found, &expected, steps, place);
        }
        Value::Matrix(_) => panic!("{place}: scripts do not expect range vectors"),
    }
}

fn compare(mut found: Vec<(Labels, &[f64])>, expected: &Expected<'_>, steps: Steps, place: &str) {
    let mut rows: Vec<(Labels, Vec<f64>)> = expected
        .rows
        .iter()
        .map(|line| {
            let (series, values) = split_series(line);
            (labels(series), row(values, steps))
        })
        .collect();
    if !expected.ordered {
        found.sort_by(|a, b| a.0.cmp(&b.0));
        rows.sort_by(|a, b| a.0.cmp(&b.0));
    }
    let names = |rows: Vec<&Labels>| format!("{rows:?}");
    let (found_names, wanted) =
        (names(found.iter().map(|r| &r.0).collect()), names(rows.iter().map(|r| &r.0).collect()));
    assert_eq!(found_names, wanted, "{place}");
    for ((labels, found), (_, wanted)) in found.iter().zip(&rows) {
        assert_same(found, wanted, &format!("{place}: {labels}"));
    }
}

fn labels(text: &str) -> Labels {
    if text == "{}" {
        return Labels::default();
    }
    let selector = Selector::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let pairs = selector.matchers().iter().map(|m| (m.name(), m.value()));
    assert!(
        selector.matchers().iter().all(|m| m.name() != METRIC_NAME_LABEL || !m.value().is_empty())
    );
    Labels::new(pairs)
}

/// One value a step; steps that are left out at the end have none.
fn row(text: &str, steps: Steps) -> Vec<f64> {
    let values = text.split_whitespace().flat_map(expand);
    let mut row: Vec<f64> = values.map(|value| value.unwrap_or(promql::ABSENT)).collect();
    assert!(row.len() <= steps.len(), "{text}: more values than steps");
    row.resize(steps.len(), promql::ABSENT);
    row
}

fn assert_same(found: &[f64], wanted: &[f64], place: &str) {
    let same = |(a, b): (&f64, &f64)| {
        let close = || a == b || (a - b).abs() <= 1e-9 * a.abs().max(b.abs());
        is_absent(*a) == is_absent(*b) && (a.is_nan() && b.is_nan() || close())
    };
    let all = found.len() == wanted.len() && found.iter().zip(wanted).all(same);
    assert!(all, "{place}:\n found {found:?}\nwanted {wanted:?}");
}
