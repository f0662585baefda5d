//! `/api/v1/query`, `query_range`, `format_query`: expressions, evaluated.

use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::failure::Failure;
use super::json::{
    StepTexts, push_element, push_list, push_run, push_sample, push_text, push_texts,
};
use super::output::Output;
use super::work::Ask;
use crate::promql::{
    self, Column, Labels, Outcome, Query, Steps, Tiers, Value, ValueType, is_absent,
};
use crate::query::Evidence;
use crate::time::{Timestamp, duration_nanos};

/// Points that a range query may ask for of each series, as Prometheus.
const POINTS_MAX: i64 = 11_000;
/// Values that are worth a task of their own to write: about a millisecond.
const PIECE_VALUES: usize = 1 << 14;
/// Tasks at once, for threads to share.
const PIECES: usize = 16;

/// One time.
pub(super) fn instant(ask: &Ask, out: &mut Output) -> Result<(), Failure> {
    let time = ask.parameters.time("time", ask.app.engine.now())?;
    let mut evaluated = Evaluated::of(ask, Steps::at(time), false)?;
    let data = &mut out.bytes;
    match &evaluated.outcome.value {
        Value::Scalar(values) => {
            begin(data, "scalar");
            push_sample(data, time.nanos(), values.first().copied().unwrap_or(f64::NAN));
        }
        Value::Text(text) => {
            begin(data, "string");
            data.push(b'[');
            super::number::push_time(data, time.nanos());
            data.push(b',');
            push_text(data, text);
            data.push(b']');
        }
        Value::Vector(columns) => {
            begin(data, "vector");
            let there = columns.iter().filter_map(|column| {
                let value = column.values.first().copied()?;
                (!is_absent(value)).then_some((&column.labels, value))
            });
            let kept = there.clone().take(evaluated.limit);
            push_list(data, kept, |out, (labels, value)| {
                push_element(out, labels, time.nanos(), value);
            });
            evaluated.truncated = there.count() > evaluated.limit;
        }
        Value::Matrix(runs) => {
            begin(data, "matrix");
            data.push(b'[');
            for (i, run) in runs.iter().take(evaluated.limit).enumerate() {
                if i > 0 {
                    out.bytes.push(b',');
                }
                push_run(&mut out.bytes, run);
                out.checkpoint()?;
            }
            out.bytes.push(b']');
            evaluated.truncated = runs.len() > evaluated.limit;
        }
    }
    evaluated.end(ask, &mut out.bytes);
    Ok(())
}

/// Many times.
pub(super) fn range(ask: &Ask, out: &mut Output) -> Result<(), Failure> {
    let mut evaluated = Evaluated::of(ask, steps(ask)?, true)?;
    let steps = evaluated.outcome.steps;
    begin(&mut out.bytes, "matrix");
    match &evaluated.outcome.value {
        Value::Scalar(values) => {
            out.bytes.push(b'[');
            let labels = Labels::default();
            StepTexts::new(&steps).push_column(&mut out.bytes, labels.iter(), values);
        }
        Value::Vector(columns) => {
            let told = columns.get(..evaluated.limit).unwrap_or(columns);
            push_columns(ask, out, &StepTexts::new(&steps), told)?;
            evaluated.truncated = columns.len() > evaluated.limit;
        }
        // Refused before they were evaluated.
        Value::Text(_) | Value::Matrix(_) => {}
    }
    out.bytes.push(b']');
    evaluated.end(ask, &mut out.bytes);
    Ok(())
}

/// The list of columns, but for its last bracket; many are written in parallel.
fn push_columns(
    ask: &Ask,
    out: &mut Output,
    texts: &StepTexts,
    columns: &[Column],
) -> Result<(), Failure> {
    let push = |out: &mut Vec<u8>, columns: &[Column]| {
        for column in columns {
            out.push(b',');
            texts.push_series(out, column);
        }
    };
    let begin = out.bytes.len();
    // The first comma is the list's beginning.
    let open = |bytes: &mut Vec<u8>| match bytes.get_mut(begin) {
        Some(comma) => *comma = b'[',
        None => bytes.push(b'['),
    };
    let values = columns.first().map_or(0, |column| column.values.len()).max(1);
    let together = (PIECE_VALUES / values).max(1);
    let (first, rest) = columns.split_at(columns.len().min(together));
    push(&mut out.bytes, first);
    open(&mut out.bytes);
    // A few pieces at a time, so that they take little memory.
    for columns in rest.chunks(together * PIECES) {
        let write = |columns: &[Column]| {
            let mut piece = Vec::new();
            push(&mut piece, columns);
            piece
        };
        let pieces: Vec<Vec<u8>> =
            ask.app.engine.install(|| columns.par_chunks(together).map(write).collect());
        for piece in pieces {
            out.bytes.extend_from_slice(&piece);
            out.checkpoint()?;
        }
    }
    Ok(())
}

/// An expression, laid out.
pub(super) fn format(ask: &Ask, out: &mut Output) -> Result<(), Failure> {
    let query = parse(ask)?;
    out.bytes.extend_from_slice(b"{\"status\":\"success\",\"data\":");
    push_text(&mut out.bytes, &query.to_string());
    out.bytes.push(b'}');
    Ok(())
}

fn not_over_time(kind: &str) -> Failure {
    let message = format!(
        "invalid expression type {kind:?} for range query, must be Scalar or instant Vector"
    );
    Failure::parameter("query", message)
}

fn parse(ask: &Ask) -> Result<Query, Failure> {
    let text = ask.parameters.get("query");
    if text.trim().is_empty() {
        let message = "unknown position: parse error: no expression found in input";
        return Err(Failure::parameter("query", message));
    }
    Ok(Query::parse(text)?)
}

/// `start`, `end` and `step`.
fn steps(ask: &Ask) -> Result<Steps, Failure> {
    let time = |name: &str| match ask.parameters.get(name) {
        "" => Err(Failure::parameter(name, "cannot parse \"\" to a valid timestamp")),
        _ => ask.parameters.time(name, Timestamp(0)),
    };
    let (start, end) = (time("start")?, time("end")?);
    if end < start {
        return Err(Failure::parameter("end", "end timestamp must not be before start time"));
    }
    let given = ask.parameters.get("step");
    // A sign is no part of a length, but has a complaint of its own.
    let negative = given.starts_with('-');
    let step = match ask.parameters.length("step") {
        Ok(Some(step)) => duration_nanos(step),
        _ if negative => 0,
        Ok(None) => {
            return Err(Failure::parameter("step", "cannot parse \"\" to a valid duration"));
        }
        Err(failure) => return Err(failure),
    };
    if step == 0 {
        let message = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(Failure::parameter("step", message));
    }
    if end.nanos().saturating_sub(start.nanos()) / step > POINTS_MAX {
        return Err(Failure::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. \
             Try decreasing the query resolution (?step=XX)",
        ));
    }
    Ok(Steps::new(start, end, step)?)
}

fn begin(out: &mut Vec<u8>, kind: &str) {
    out.extend_from_slice(b"{\"status\":\"success\",\"data\":{\"resultType\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"result\":");
}

/// An answer, and what is told beside it.
struct Evaluated {
    outcome: Outcome,
    /// Series that are told.
    limit: usize,
    truncated: bool,
    waited: Duration,
    took: Duration,
}

impl Evaluated {
    fn of(ask: &Ask, steps: Steps, over_time: bool) -> Result<Self, Failure> {
        let limit = ask.parameters.limit("limit")?;
        let mut query = parse(ask)?;
        match query.value_type() {
            ValueType::Scalar | ValueType::Vector => {}
            ValueType::Text if over_time => return Err(not_over_time("string")),
            ValueType::Matrix if over_time => return Err(not_over_time("range vector")),
            ValueType::Text | ValueType::Matrix => {}
        }
        if let Some(tenant) = ask.caller.tenant() {
            query = query.confined(tenant)?;
        }
        let lookback = ask.parameters.length("lookback_delta")?;
        let options = promql::Options {
            lookback: lookback.filter(|l| !l.is_zero()).unwrap_or(ask.app.options.lookback),
            limits: ask.app.options.limits,
            deadline: Some(ask.deadline()?),
            cancel: ask.cancel.clone(),
            tiers: match ask.parameters.get("tiers") {
                "" | "exact" => Tiers::Exact,
                "near" => Tiers::Near,
                text => {
                    let reason = format!("{text:?} is neither \"exact\" nor \"near\"");
                    return Err(Failure::parameter("tiers", reason));
                }
            },
            ..promql::Options::default()
        };
        let began = Instant::now();
        let outcome = promql::evaluate(&ask.app.engine, &query, steps, &options)?;
        let (waited, took) = (began.duration_since(ask.arrived), began.elapsed());
        Ok(Self { outcome, limit, truncated: false, waited, took })
    }

    /// What stands behind the result.
    fn end(&self, ask: &Ask, out: &mut Vec<u8>) {
        if !ask.parameters.get("stats").is_empty() {
            self.push_stats(out);
        }
        out.push(b'}');
        let mut warnings = self.outcome.warnings.clone();
        if self.truncated {
            warnings.push("results truncated due to limit".to_owned());
        }
        let mut infos = self.outcome.infos.clone();
        infos.extend(self.outcome.evidence.iter().filter_map(|(text, read)| coarser(text, read)));
        for (name, texts) in [("warnings", warnings), ("infos", infos)] {
            if !texts.is_empty() {
                out.push(b',');
                push_text(out, name);
                out.push(b':');
                push_texts(out, texts);
            }
        }
        out.push(b'}');
    }

    /// As `stats` of Prometheus; what it counts and this does not is left out.
    fn push_stats(&self, out: &mut Vec<u8>) {
        let decoded: u64 = self.outcome.evidence.iter().map(|(_, read)| read.samples_decoded).sum();
        let (waited, took) = (self.waited.as_secs_f64(), self.took.as_secs_f64());
        let stats = format!(
            ",\"stats\":{{\"timings\":{{\"evalTotalTime\":{took},\"resultSortTime\":0,\
             \"queryPreparationTime\":0,\"innerEvalTime\":{took},\"execQueueTime\":{waited},\
             \"execTotalTime\":{}}},\"samples\":{{\"totalQueryableSamples\":{decoded},\
             \"peakSamples\":{decoded}}}}}",
            waited + took,
        );
        out.extend_from_slice(stats.as_bytes());
    }
}

/// A sentence for a selector that was answered from coarser tiers.
fn coarser(text: &str, read: &Evidence) -> Option<String> {
    let tiers: Vec<String> = read
        .tiers
        .iter()
        .filter(|read| !read.tier.is_raw() && read.records > 0)
        .map(|read| format!("{} records of tier {}", read.records, read.tier))
        .collect();
    (!tiers.is_empty()).then(|| format!("{text} was answered from {}", tiers.join(" and ")))
}
