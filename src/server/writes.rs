//! `/api/v1/write` and `/api/v1/import/prometheus`: samples in.
//!
//! What a request brings is taken in as far as the engine lets it: a sample that is refused does not
//! keep out the others. The answer comes once the engine has them as safe as it was told to
//! ([`Durability`](crate::options::Durability)); what was refused is told by reason and number.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::App;
use super::access::Caller;
use super::body::{self, Coding};
use super::failure::Failure;
use super::parameters::Parameters;
use super::remote::{self, WriteRequest, WrittenMetadata};
use super::work::turn;
use crate::engine::{Receipt, Refusal, SeriesHandle, Writer};
use crate::integration::exposition::{Dialect, ExpositionReader};
use crate::integration::{Batch, SampleReader};
use crate::model::{METRIC_NAME_LABEL, Matcher, Metadata, MetricKind};
use crate::time::Timestamp;

/// Remote write, version 1.
pub(super) async fn remote_write(State(app): State<Arc<App>>, request: Request) -> Response {
    let check = |headers: &HeaderMap| {
        let content = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if content.is_some_and(|content| content.contains("io.prometheus.write.v2")) {
            return Err(Failure::media("remote write 2 is not understood; send version 1"));
        }
        // Senders of old leave the coding out.
        match Coding::of(headers)? {
            Coding::Gzip => Err(Failure::media("remote write is packed by snappy")),
            Coding::Plain | Coding::Snappy => Ok(Coding::Snappy),
        }
    };
    let take = |taking: &mut Taking<'_>, message: &[u8], _: &Parameters| {
        let decoded = remote::decode_write(message);
        let request = decoded.map_err(|error| Failure::bad_data(error.to_string()))?;
        taking.write(&request)
    };
    written(app, request, check, take).await
}

/// Prometheus or OpenMetrics text; lines without a timestamp are of now, or of the parameter
/// `timestamp` (milliseconds).
pub(super) async fn import_text(State(app): State<Arc<App>>, request: Request) -> Response {
    let take = |taking: &mut Taking<'_>, text: &[u8], parameters: &Parameters| {
        let timestamp = match parameters.get("timestamp") {
            "" => taking.app.engine.now(),
            given => Timestamp::from_millis(given.parse().map_err(|_| {
                Failure::parameter("timestamp", format!("{given:?} is not of milliseconds"))
            })?),
        };
        taking.import(text, timestamp)
    };
    written(app, request, Coding::of, take).await
}

async fn written(
    app: Arc<App>,
    request: Request,
    check: fn(&HeaderMap) -> Result<Coding, Failure>,
    take: fn(&mut Taking<'_>, &[u8], &Parameters) -> Result<(), Failure>,
) -> Response {
    match take_in(app, request, check, take).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(failure) => failure.into_response(),
    }
}

async fn take_in(
    app: Arc<App>,
    request: Request,
    check: fn(&HeaderMap) -> Result<Coding, Failure>,
    take: fn(&mut Taking<'_>, &[u8], &Parameters) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (head, body) = request.into_parts();
    let coding = check(&head.headers)?;
    let parameters = Parameters::parse(head.uri.query(), &[]);
    let caller = head.extensions.get::<Caller>().cloned().unwrap_or_default();
    let raw = body::read_raw(&app.options, body).await?;
    let turn = turn(&app, &app.writes, "writes").await?;
    let work = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let limit = app.options.decoded_bytes_max;
        let unpacked = match coding {
            Coding::Plain => raw,
            coding => Bytes::from(body::unpack(&raw, coding, limit)?),
        };
        let mut taking = Taking::new(&app, &caller);
        take(&mut taking, &unpacked, &parameters)?;
        taking.end()
    });
    work.await.map_err(|_| Failure::internal("the write panicked"))?
}

/// A request's samples on their way into the engine.
struct Taking<'a> {
    app: &'a App,
    tenant: Option<&'a Matcher>,
    writer: Writer,
    receipts: Vec<Receipt>,
    offered: u64,
    /// The times that the gate takes at the request's arrival, inclusive.
    oldest: Timestamp,
    newest: Timestamp,
    /// Samples that the engine does not take, by why; and the first of them, for people.
    refused: BTreeMap<&'static str, u64>,
    example: Option<String>,
}

impl<'a> Taking<'a> {
    fn new(app: &'a App, caller: &'a Caller) -> Self {
        let (gate, now) = (&app.engine.options().gate, app.engine.now());
        // Milliseconds beyond what nanoseconds can count are made the ends of time, which no gate
        // takes.
        let first = Timestamp(i64::MIN + 1);
        let last = Timestamp(i64::MAX - 1);
        Self {
            app,
            oldest: gate.past.map_or(first, |past| now.saturating_sub(past)),
            newest: gate.future.map_or(last, |future| now.saturating_add(future)),
            tenant: caller.tenant(),
            writer: app.engine.writer(caller.source()),
            receipts: Vec::new(),
            offered: 0,
            refused: BTreeMap::new(),
            example: None,
        }
    }

    fn refuse(&mut self, why: &'static str, samples: u64, example: impl FnOnce() -> String) {
        if samples > 0 {
            *self.refused.entry(why).or_default() += samples;
            self.example.get_or_insert_with(example);
        }
    }

    fn write(&mut self, request: &WriteRequest<'_>) -> Result<(), Failure> {
        // Samples of one time are a scrape, mostly: one record in the log.
        let mut scrapes: HashMap<i64, (Vec<SeriesHandle>, Vec<f64>)> = HashMap::new();
        for series in &request.series {
            let samples = series.samples.len() as u64;
            self.offered += samples;
            if samples == 0 {
                continue;
            }
            let labels = series.labels.iter().copied();
            let Some(handle) = self.resolve(labels, &Metadata::default(), samples)? else {
                continue;
            };
            match series.samples.as_slice() {
                &[(millis, value)] => {
                    let scrape = scrapes.entry(millis).or_default();
                    scrape.0.push(handle);
                    scrape.1.push(value);
                }
                samples => {
                    let timestamps = samples.iter().map(|(millis, _)| nanos(*millis)).collect();
                    let values = samples.iter().map(|(_, value)| *value).collect();
                    self.column(&handle, timestamps, values)?;
                }
            }
        }
        for (millis, (handles, values)) in scrapes {
            self.scrape(Timestamp(nanos(millis)), &handles, values)?;
        }
        // A tenant does not tell others what their metrics are.
        if self.tenant.is_none() {
            request.metadata.iter().for_each(|metadata| describe(&self.writer, metadata));
        }
        let measures = &self.app.measures;
        measures.exemplars_left_out.fetch_add(request.exemplars, Ordering::Relaxed);
        measures.histograms_refused.fetch_add(request.histograms, Ordering::Relaxed);
        self.offered += request.histograms;
        self.refuse("native histograms, which are not stored", request.histograms, String::new);
        Ok(())
    }

    fn import(&mut self, text: &[u8], timestamp: Timestamp) -> Result<(), Failure> {
        let mut reader = ExpositionReader::new(text, Dialect::Auto, Some(timestamp));
        let mut handles: Vec<Option<SeriesHandle>> = Vec::new();
        loop {
            let batch =
                reader.next_batch().map_err(|error| Failure::bad_data(error.to_string()))?;
            let Some(batch) = batch else { break };
            for declared in reader.declared().iter().skip(handles.len()) {
                let series = &declared.series;
                let metadata = match self.tenant {
                    None => declared.metadata.clone(),
                    Some(_) => Metadata::default(),
                };
                let labels = super::metadata::pairs(series);
                handles.push(self.resolve(labels, &metadata, 0)?);
            }
            self.offered += batch.samples() as u64;
            let handle = |slot: u32| handles.get(slot as usize).and_then(Option::as_ref);
            match batch {
                Batch::Scrape { timestamp, slots, values } => {
                    let known = slots.iter().zip(values);
                    let known = known.filter_map(|(slot, v)| Some((handle(slot.0)?.clone(), v)));
                    let (found, values): (Vec<_>, Vec<_>) = known.unzip();
                    self.refuse(
                        "of series not let in",
                        (slots.len() - found.len()) as u64,
                        String::new,
                    );
                    self.scrape(timestamp, &found, values)?;
                }
                Batch::Column { slot, timestamps, values } => match handle(slot.0) {
                    Some(handle) => self.column(handle, timestamps, values)?,
                    None => self.refuse("of series not let in", values.len() as u64, String::new),
                },
            }
        }
        let rejections = reader.rejections();
        let rejected: u64 = rejections.counts().map(|(_, count)| count).sum();
        self.offered += rejected;
        let example = || {
            let first = rejections.details().first();
            first.map(|first| format!("line {}: {}", first.line, first.detail)).unwrap_or_default()
        };
        self.refuse("lines that cannot be read", rejected, example);
        Ok(())
    }

    /// The handle of a series, nothing where it is not let in: its `samples` are counted then.
    fn resolve<'l>(
        &mut self,
        labels: impl Iterator<Item = (&'l str, &'l str)>,
        metadata: &Metadata,
        samples: u64,
    ) -> Result<Option<SeriesHandle>, Failure>
    where
        'a: 'l,
    {
        let own = self.tenant.map(|tenant| (tenant.name(), tenant.value()));
        let mut name = "";
        let mut others: Vec<(&str, &str)> = Vec::with_capacity(16);
        for (label, value) in labels {
            if label == METRIC_NAME_LABEL {
                name = value;
            } else if own.is_none_or(|(tenant, _)| tenant != label) {
                others.push((label, value));
            }
        }
        match self.writer.series_named(name, others.into_iter().chain(own), metadata) {
            Ok(handle) => Ok(Some(handle)),
            Err(Refusal::InvalidName(error)) => {
                self.refuse("with a name or label that breaks a rule", samples, || {
                    error.to_string()
                });
                Ok(None)
            }
            // The host's own rule keeps it out: no fault of the sender.
            Err(Refusal::Filtered { .. }) => Ok(None),
            Err(Refusal::Unavailable(error)) => Err(error.into()),
        }
    }

    fn column(
        &mut self,
        handle: &SeriesHandle,
        timestamps: Vec<i64>,
        values: Vec<f64>,
    ) -> Result<(), Failure> {
        timestamps.iter().for_each(|&timestamp| self.check_window(Timestamp(timestamp), 1));
        self.receipts.push(self.writer.append_column(handle, timestamps, values)?);
        Ok(())
    }

    fn scrape(
        &mut self,
        timestamp: Timestamp,
        handles: &[SeriesHandle],
        values: Vec<f64>,
    ) -> Result<(), Failure> {
        self.check_window(timestamp, values.len() as u64);
        let receipt = match handles {
            [] => return Ok(()),
            [one] => self.writer.append_column(one, vec![timestamp.nanos()], values)?,
            all => {
                let group = self.writer.scrape_group(all);
                self.writer.append_scrape(&group, timestamp, values)?
            }
        };
        self.receipts.push(receipt);
        Ok(())
    }

    /// Counts what the gate's window will refuse: its own counters are of all writers together.
    fn check_window(&mut self, timestamp: Timestamp, samples: u64) {
        let example = || timestamp.to_string();
        if timestamp < self.oldest {
            self.refuse("older than the store takes", samples, example);
        } else if timestamp > self.newest {
            self.refuse("newer than the store takes", samples, example);
        }
    }

    /// Waits until the engine has everything, and tells what it does not take.
    fn end(self) -> Result<(), Failure> {
        let (mut taken, mut kept_out) = (0, 0);
        for receipt in self.receipts {
            let accepted = receipt.wait()?;
            taken += accepted.samples;
            kept_out += accepted.refused;
        }
        let measures = &self.app.measures;
        measures.samples_written.fetch_add(taken, Ordering::Relaxed);
        measures.samples_refused.fetch_add(self.offered.saturating_sub(taken), Ordering::Relaxed);
        if taken == 0
            && kept_out > 0
            && self.refused.is_empty()
            && self.app.engine.options().gate.rate.is_some()
        {
            return Err(Failure::too_many(
                "the samples are more than the store's rate limit takes",
            ));
        }
        if self.refused.is_empty() {
            return Ok(());
        }
        let refused: u64 = self.refused.values().sum();
        let mut message = format!("{refused} of {} samples refused", self.offered);
        for (why, count) in &self.refused {
            // Writing into memory does not fail.
            let _ = write!(message, "; {count} {why}");
        }
        if let Some(example) = self.example.filter(|example| !example.is_empty()) {
            let _ = write!(message, " (the first: {example})");
        }
        Err(Failure::bad_data(message))
    }
}

/// Milliseconds as nanoseconds, the ends of time for what lies beyond them.
fn nanos(millis: i64) -> i64 {
    Timestamp::from_millis(millis).nanos()
}

/// Remembers what a family is for each metric that its series have.
fn describe(writer: &Writer, family: &WrittenMetadata<'_>) {
    use MetricKind::{Counter, Gauge, Untyped};
    let metrics: &[(&str, MetricKind)] = match family.kind {
        1 => &[("", Counter), ("_total", Counter)],
        // Info and state sets among them.
        2 | 6 | 7 => &[("", Gauge)],
        3 | 4 => &[("_bucket", Counter), ("_count", Counter), ("_sum", Counter)],
        5 => &[("", Gauge), ("_count", Counter), ("_sum", Counter)],
        _ => &[("", Untyped)],
    };
    for (suffix, kind) in metrics {
        let (unit, help) = (family.unit.to_owned(), family.help.to_owned());
        let metadata = Metadata { kind: *kind, unit, help };
        writer.describe(&format!("{}{suffix}", family.family), &metadata);
    }
}
