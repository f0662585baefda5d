//! `/federate`, `/api/v1/read`, `/metrics`: samples out.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::App;
use super::access::Caller;
use super::body::{self, Coding};
use super::failure::Failure;
use super::measures;
use super::number::push_value;
use super::output::Output;
use super::parameters::{Parameters, confine};
use super::remote::{self, ReadQuery};
use super::work::{Ask, HangUp, turn};
use crate::model::{Matcher, MetricKind, Selector, Series, is_stale};
use crate::query::CancelToken;
use crate::time::{TimeRange, Timestamp};

/// The type of Prometheus text.
pub(super) const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// What the store tells of itself, as series of its own.
const OWN_METRICS: &str = r#"{__name__=~"icecore_.+"}"#;

/// A series and its latest sample.
type Latest = (Arc<Series>, i64, f64);

/// The latest samples of what `match[]` selects.
pub(super) fn federate(ask: &Ask, out: &mut Output) -> Result<(), Failure> {
    let selectors = ask.parameters.selectors(ask.caller.tenant())?;
    if selectors.is_empty() {
        return Err(Failure::bad_data("no match[] parameter provided"));
    }
    write_latest(ask, &selectors, out, true)
}

/// What the server counts, and what the store says of itself.
pub(super) fn metrics(ask: &Ask, out: &mut Output) -> Result<(), Failure> {
    ask.caller.check_whole_store()?;
    ask.app.measures.write(&mut out.bytes);
    write_latest(ask, &[Selector::parse(OWN_METRICS)?], out, false)
}

fn write_latest(
    ask: &Ask,
    selectors: &[Selector],
    out: &mut Output,
    timestamps: bool,
) -> Result<(), Failure> {
    let mut all = Vec::new();
    for selector in selectors {
        all.extend(latest(ask, selector)?);
    }
    all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    all.dedup_by(|a, b| a.0 == b.0);
    let mut metric = String::new();
    for (series, timestamp, value) in all {
        if metric != series.name() {
            metric = series.name().to_owned();
            write_head(ask, &series, &mut out.bytes);
        }
        out.bytes.extend_from_slice(series.to_string().as_bytes());
        out.bytes.push(b' ');
        push_value(&mut out.bytes, value);
        if timestamps {
            let millis = timestamp.div_euclid(1_000_000);
            out.bytes.push(b' ');
            out.bytes.extend_from_slice(itoa::Buffer::new().format(millis).as_bytes());
        }
        out.bytes.push(b'\n');
        out.checkpoint()?;
    }
    Ok(())
}

fn write_head(ask: &Ask, series: &Series, out: &mut Vec<u8>) {
    let metadata = ask.app.engine.metadata(series.name()).unwrap_or_default();
    let kind = match metadata.kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Untyped | MetricKind::Distribution => "untyped",
    };
    // The name as the series writes it, which is quoted where it must be.
    let Ok(bare) = Series::new(series.name(), []) else { return };
    let bare = bare.to_string();
    let name = bare.trim_start_matches('{').trim_end_matches('}');
    let help = metadata.help.replace('\\', "\\\\").replace('\n', "\\n");
    measures::head(out, name, kind, &help);
}

/// The latest sample of each series within the lookback; a series that has gone stale has none.
fn latest(ask: &Ask, selector: &Selector) -> Result<Vec<Latest>, Failure> {
    let now = ask.app.engine.now();
    let begin = now.saturating_sub(ask.app.options.lookback);
    let range = TimeRange::new(Timestamp(begin.nanos() + 1), Timestamp(now.nanos() + 1));
    let request = ask.samples(range)?;
    let fold =
        |found: &mut Vec<Latest>, series: &Arc<Series>, runs: crate::query::SeriesRuns<'_, '_>| {
            let mut last = None;
            runs.visit(|timestamps, values| {
                last = timestamps.last().copied().zip(values.last().copied()).or(last);
                Ok(())
            })?;
            if let Some((timestamp, value)) = last
                && !is_stale(value)
            {
                found.push((Arc::clone(series), timestamp, value));
            }
            Ok(())
        };
    let (found, _) = ask.app.engine.fold_series(selector, &request, None, Vec::new, fold)?;
    Ok(found.into_iter().flatten().collect())
}

/// Remote read, version 1, answered with samples.
pub(super) async fn remote_read(State(app): State<Arc<App>>, request: Request) -> Response {
    read(app, request).await.unwrap_or_else(Failure::into_response)
}

async fn read(app: Arc<App>, request: Request) -> Result<Response, Failure> {
    let arrived = std::time::Instant::now();
    let (head, body) = request.into_parts();
    let raw = body::read_raw(&app.options, body).await?;
    let caller = head.extensions.get::<Caller>().cloned().unwrap_or_default();
    let turn = turn(&app, &app.queries, "queries").await?;
    let cancel = CancelToken::new();
    let hang_up = HangUp(cancel.clone());
    let parameters = Parameters::default();
    let ask = Ask { app, caller, parameters, name: String::new(), arrived, cancel };
    let work = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let _running = ask.app.measures.running();
        answer_read(&ask, &raw)
    });
    let packed = work.await.map_err(|_| Failure::internal("the read panicked"))??;
    drop(hang_up);
    let mut response = packed.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("snappy"));
    Ok(response)
}

fn answer_read(ask: &Ask, raw: &[u8]) -> Result<Vec<u8>, Failure> {
    let malformed = |error: remote::Malformed| Failure::bad_data(error.to_string());
    let message = body::unpack(raw, Coding::Snappy, ask.app.options.decoded_bytes_max)?;
    let request = remote::decode_read(&message).map_err(malformed)?;
    if !request.accepted.is_empty() && !request.accepted.contains(&0) {
        return Err(Failure::bad_data("only the response type SAMPLES is answered"));
    }
    let mut response = Vec::new();
    for query in &request.queries {
        let result = read_query(ask, query)?;
        remote::push_result(&mut response, &result);
        let limit = ask.app.options.limits.memory_bytes_max;
        if response.len() as u64 > limit {
            return Err(crate::Error::Limit { what: "bytes of memory", limit }.into());
        }
    }
    remote::compress(&response).map_err(malformed)
}

fn read_query(ask: &Ask, query: &ReadQuery<'_>) -> Result<Vec<u8>, Failure> {
    let matchers = query.matchers.iter().map(|(op, name, value)| Matcher::new(name, *op, value));
    let selector = Selector::new(matchers.collect::<crate::Result<_>>()?)?;
    let selector = confine(&selector, ask.caller.tenant())?;
    let end = Timestamp::from_millis(query.end).nanos().saturating_add(1);
    let request =
        ask.samples(TimeRange::new(Timestamp::from_millis(query.start), Timestamp(end)))?;
    let mut result = Vec::new();
    for found in ask.app.engine.samples(&selector, &request)? {
        let millis = found.timestamps.iter().map(|nanos| nanos.div_euclid(1_000_000));
        remote::push_series(&mut result, &found.series, millis.zip(found.values.iter().copied()));
    }
    Ok(result)
}
