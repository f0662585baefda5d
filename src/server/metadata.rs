//! `/api/v1/series`, `labels`, `label/<name>/values`, `metadata`: what there is to ask about.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::failure::Failure;
use super::json::{push_list, push_pairs, push_text, push_texts};
use super::output::Output;
use super::parameters::{confine, label_name};
use super::work::Ask;
use crate::model::{METRIC_NAME_LABEL, Metadata, MetricKind, Selector, Series};
use crate::time::TimeRange;

/// A series' labels, the metric name in its place among them.
pub(super) fn pairs(series: &Series) -> impl Iterator<Item = (&str, &str)> {
    // Names from `A` to `Z` sort before `__name__`.
    let before = series.labels().take_while(|(label, _)| *label < METRIC_NAME_LABEL);
    let after = series.labels().skip_while(|(label, _)| *label < METRIC_NAME_LABEL);
    before.chain(std::iter::once((METRIC_NAME_LABEL, series.name()))).chain(after)
}

/// Series by `match[]`.
pub(super) fn series(ask: &Ask, out: &mut Output) -> Result<(), Failure> {
    let selectors = ask.parameters.selectors(ask.caller.tenant())?;
    if selectors.is_empty() {
        return Err(Failure::bad_data("no match[] parameter provided"));
    }
    let (range, limit) = (ask.parameters.range()?, ask.parameters.limit("limit")?);
    let found = found(ask, &selectors, range)?;
    out.bytes.extend_from_slice(b"{\"status\":\"success\",\"data\":[");
    for (i, series) in found.iter().take(limit).enumerate() {
        if i > 0 {
            out.bytes.push(b',');
        }
        push_pairs(&mut out.bytes, pairs(series));
        out.checkpoint()?;
    }
    out.bytes.push(b']');
    end(&mut out.bytes, found.len() > limit);
    Ok(())
}

/// The union of what the selectors select, ascending.
fn found(
    ask: &Ask,
    selectors: &[Selector],
    range: TimeRange,
) -> Result<BTreeSet<Arc<Series>>, Failure> {
    let mut all = BTreeSet::new();
    for selector in selectors {
        let found = ask.app.engine.series(selector, range)?;
        if (all.len() + found.len()) as u64 > ask.app.options.limits.series_max {
            let limit = ask.app.options.limits.series_max;
            return Err(crate::Error::Limit { what: "series", limit }.into());
        }
        all.extend(found.into_iter().map(|(_, series)| series));
    }
    Ok(all)
}

/// Label names.
pub(super) fn label_names(ask: &Ask, out: &mut Output) -> Result<(), Failure> {
    let names = texts(
        ask,
        |ask, selector| ask.app.engine.label_names(selector),
        |names, series| {
            names.extend(pairs(series).map(|(name, _)| name.to_owned()));
        },
    )?;
    tell(ask, out, &names)
}

/// The values of a label; its name is the last but one piece of the path.
pub(super) fn label_values(ask: &Ask, out: &mut Output) -> Result<(), Failure> {
    let name = label_name(&ask.name);
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(Failure::bad_data(format!("invalid label name: {:?}", ask.name)));
    }
    let values = texts(
        ask,
        |ask, selector| ask.app.engine.label_values(&name, selector),
        |values, series| {
            let value = series.label(&name);
            if !value.is_empty() && !values.contains(value) {
                values.insert(value.to_owned());
            }
        },
    )?;
    tell(ask, out, &values)
}

/// Texts about the series asked for: by the index alone where the range is all that is stored.
fn texts(
    ask: &Ask,
    by_index: impl Fn(&Ask, &Selector) -> Vec<String>,
    by_series: impl Fn(&mut BTreeSet<String>, &Series),
) -> Result<BTreeSet<String>, Failure> {
    let tenant = ask.caller.tenant();
    let mut selectors = ask.parameters.selectors(tenant)?;
    if selectors.is_empty() {
        selectors.push(confine(&Selector::default(), tenant)?);
    }
    let range = ask.parameters.range()?;
    let bounds = ask.app.engine.time_bounds()?;
    let mut texts = BTreeSet::new();
    if bounds.is_some_and(|(first, last)| range.covers(first, last)) {
        selectors.iter().for_each(|selector| texts.extend(by_index(ask, selector)));
    } else {
        for series in found(ask, &selectors, range)? {
            by_series(&mut texts, &series);
        }
    }
    Ok(texts)
}

fn tell(ask: &Ask, out: &mut Output, texts: &BTreeSet<String>) -> Result<(), Failure> {
    let limit = ask.parameters.limit("limit")?;
    out.bytes.extend_from_slice(b"{\"status\":\"success\",\"data\":");
    push_texts(&mut out.bytes, texts.iter().take(limit));
    end(&mut out.bytes, texts.len() > limit);
    Ok(())
}

fn end(out: &mut Vec<u8>, truncated: bool) {
    if truncated {
        out.extend_from_slice(b",\"warnings\":[\"results truncated due to limit\"]");
    }
    out.push(b'}');
}

/// What is known of metrics.
pub(super) fn metadata(ask: &Ask, out: &mut Output) -> Result<(), Failure> {
    let limit = ask.parameters.limit("limit")?;
    let asked = ask.parameters.get("metric");
    // Of metrics that the caller has series of.
    let selector = match asked {
        "" => Selector::default(),
        metric => Selector::metric(metric)?,
    };
    let selector = confine(&selector, ask.caller.tenant())?;
    let engine = &ask.app.engine;
    let metrics = engine.label_values(METRIC_NAME_LABEL, &selector).into_iter();
    let known = metrics.filter_map(|metric| {
        let metadata = engine.metadata(&metric)?;
        Some((metric, metadata))
    });
    out.bytes.extend_from_slice(b"{\"status\":\"success\",\"data\":{");
    for (i, (metric, Metadata { kind, unit, help })) in known.take(limit).enumerate() {
        let out = &mut out.bytes;
        if i > 0 {
            out.push(b',');
        }
        push_text(out, &metric);
        out.push(b':');
        let word = match kind {
            MetricKind::Untyped => "unknown",
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Distribution => "histogram",
        };
        push_list(out, [()], |out, ()| {
            push_pairs(out, [("type", word), ("help", &help), ("unit", &unit)]);
        });
    }
    out.bytes.extend_from_slice(b"}}");
    Ok(())
}
