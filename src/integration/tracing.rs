//! A `tracing` layer: spans that a host opens anyway are followed by the monitor.
//!
//! Owns: which spans are queries, phases and calls. They are those of the target
//! [`TARGET`], by name: `query` (fields `text`, `tenant`, `user`), inside it `plan`, `optimize`,
//! `federate`, `execute`, `stream`, and `call` (field `source`). What is recorded into them later:
//!
//! | span | field | is |
//! |---|---|---|
//! | `query` | `rows_in`, `rows_out`, `bytes_in`, `bytes_out`, `spill`, `retries`, `cache_hits` | added |
//! | `query` | `memory` | the most is kept |
//! | `call` | `rows`, `bytes` | added |
//! | both | `outcome` | `ok`, `cancelled`, `timed_out`; how it ends when the span closes |
//! | both | `error` | the class of the error that it ends with |
//!
//! A span that closes without an outcome is *abandoned*: futures that are dropped close their spans
//! too, and that is no success.
//!
//! ```
//! use std::sync::Arc;
//! use icecore::integration::tracing::{MonitorLayer, TARGET};
//! use icecore::monitor::{FederationMonitor, MonitorOptions, OutcomeKind};
//! use icecore::{Engine, Options};
//! use tracing::{field::Empty, info_span};
//! use tracing_subscriber::layer::SubscriberExt;
//!
//! # fn main() -> icecore::Result<()> {
//! # let dir = tempfile::tempdir().expect("a directory");
//! # let engine = Arc::new(Engine::open(dir.path(), Options::default())?);
//! let monitor = Arc::new(FederationMonitor::open(engine, MonitorOptions::default())?);
//! let layers = tracing_subscriber::registry().with(MonitorLayer::new(Arc::clone(&monitor)));
//! tracing::subscriber::with_default(layers, || {
//!     let query = info_span!(target: TARGET, "query", text = "SELECT 1", outcome = Empty);
//!     query.in_scope(|| {
//!         let call = info_span!(target: TARGET, "call", source = "lake", rows = Empty, outcome = Empty);
//!         call.record("rows", 20);
//!         call.record("outcome", "ok");
//!     });
//!     query.record("outcome", "ok");
//! });
//! assert_eq!(monitor.finished(OutcomeKind::Ok), 1);
//! # Ok(())
//! # }
//! ```

use std::fmt::{self, Write};
use std::sync::Arc;

use tracing_core::Subscriber;
use tracing_core::field::{Field, Visit};
use tracing_core::span::{Attributes, Id, Record};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use crate::monitor::{
    CallGuard, FederationMonitor, NAME_BYTES_MAX, OutcomeKind, Phase, PhaseGuard, QueryGuard,
    QueryHandle, QueryStart, TEXT_BYTES_MAX,
};

/// The target of spans that are followed.
pub const TARGET: &str = "icecore::monitor";

/// Follows spans of the target [`TARGET`]; see the module. Holds the monitor.
#[derive(Debug, Clone)]
pub struct MonitorLayer {
    monitor: Arc<FederationMonitor>,
}

impl MonitorLayer {
    /// A layer that tells this monitor.
    #[must_use]
    pub const fn new(monitor: Arc<FederationMonitor>) -> Self {
        Self { monitor }
    }
}

/// What a span of ours holds.
#[derive(Debug)]
enum Followed {
    Query(QueryGuard, Ending),
    Phase(#[expect(dead_code, reason = "held until the span closes")] PhaseGuard),
    Call(CallGuard, Ending),
}

/// How a span said that it will end.
#[derive(Debug, Default)]
struct Ending {
    outcome: Option<OutcomeKind>,
    error: Option<String>,
}

/// What fields say that the monitor knows.
#[derive(Debug, Default)]
struct Fields {
    text: String,
    tenant: String,
    user: String,
    source: String,
    /// Numbers by name.
    counts: Vec<(&'static str, u64)>,
    ending: Ending,
}

impl Fields {
    fn of(record: impl FnOnce(&mut Self)) -> Self {
        let mut fields = Self::default();
        record(&mut fields);
        fields
    }

    fn set(&mut self, field: &Field, value: &str) {
        let (target, max) = match field.name() {
            "text" => (&mut self.text, TEXT_BYTES_MAX),
            "tenant" => (&mut self.tenant, NAME_BYTES_MAX),
            "user" => (&mut self.user, NAME_BYTES_MAX),
            "source" => (&mut self.source, NAME_BYTES_MAX),
            "error" => (self.ending.error.insert(String::new()), NAME_BYTES_MAX),
            "outcome" => {
                self.ending.outcome = OutcomeKind::parse(value);
                return;
            }
            _ => return,
        };
        value.get(..value.floor_char_boundary(max)).unwrap_or_default().clone_into(target);
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.counts.push((field.name(), value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.counts.push((field.name(), u64::try_from(value).unwrap_or(0)));
    }

    /// What is recorded by `%` and `?`.
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if matches!(field.name(), "text" | "tenant" | "user" | "source" | "error" | "outcome") {
            let mut text = String::new();
            // Writing into memory does not fail, and what a host's `Debug` fails with is cut there.
            let _ = write!(text, "{value:?}");
            self.set(field, &text);
        }
    }
}

impl Followed {
    /// Takes in what was recorded.
    fn record(&mut self, fields: Fields) {
        let (Self::Query(_, ending) | Self::Call(_, ending)) = self else { return };
        ending.outcome = fields.ending.outcome.or(ending.outcome);
        ending.error = fields.ending.error.or(ending.error.take());
        for (name, count) in fields.counts {
            match self {
                Self::Query(query, _) => add_to_query(query, name, count),
                Self::Call(call, _) if name == "rows" => call.add_rows(count),
                Self::Call(call, _) if name == "bytes" => call.add_bytes(count),
                Self::Call(..) | Self::Phase(_) => {}
            }
        }
    }

    fn end(self) {
        match self {
            Self::Phase(_) => {}
            Self::Query(query, Ending { error: Some(class), .. }) => query.fail(&class),
            Self::Query(query, Ending { outcome, .. }) => match outcome {
                Some(OutcomeKind::Ok) => query.finish(),
                Some(OutcomeKind::Error) => query.fail(""),
                Some(OutcomeKind::Cancelled) => query.cancel(),
                Some(OutcomeKind::TimedOut) => query.time_out(),
                Some(OutcomeKind::Abandoned) | None => drop(query),
            },
            Self::Call(call, Ending { error: Some(class), .. }) => call.fail(&class),
            Self::Call(call, Ending { outcome, .. }) => match outcome {
                Some(OutcomeKind::Ok) => call.finish(),
                Some(OutcomeKind::Error) => call.fail(""),
                Some(OutcomeKind::Cancelled) => call.cancel(),
                Some(OutcomeKind::TimedOut) => call.time_out(),
                Some(OutcomeKind::Abandoned) | None => drop(call),
            },
        }
    }
}

fn add_to_query(query: &QueryGuard, name: &str, count: u64) {
    match name {
        "rows_in" => query.add_rows_in(count),
        "rows_out" => query.add_rows_out(count),
        "bytes_in" => query.add_bytes_in(count),
        "bytes_out" => query.add_bytes_out(count),
        "spill" => query.add_spill(count),
        "retries" => query.add_retries(count),
        "cache_hits" => query.add_cache_hits(count),
        "memory" => query.memory(count),
        _ => {}
    }
}

impl MonitorLayer {
    /// What a new span is to hold, if it is one of ours.
    fn follow<'a, S: for<'b> LookupSpan<'b>>(
        &self,
        span: &SpanRef<'a, S>,
        fields: &Fields,
    ) -> Option<Followed> {
        let name = span.metadata().name();
        if name == "query" {
            let Fields { text, tenant, user, .. } = fields;
            let start = QueryStart { text, tenant, user, ..QueryStart::default() };
            return Some(Followed::Query(self.monitor.start_query(start), Ending::default()));
        }
        let query = span.scope().skip(1).find_map(|above| handle(&above))?;
        if name == "call" {
            let call = query.call(&self.monitor.source(&fields.source));
            return Some(Followed::Call(call, Ending::default()));
        }
        let phase = Phase::ALL.into_iter().find(|phase| phase.name() == name)?;
        Some(Followed::Phase(query.phase(phase)))
    }
}

/// The query that the span is.
fn handle<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>) -> Option<QueryHandle> {
    match span.extensions().get::<Followed>() {
        Some(Followed::Query(query, _)) => Some(query.handle()),
        _ => None,
    }
}

impl<S> Layer<S> for MonitorLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().target() != TARGET {
            return;
        }
        let Some(span) = context.span(id) else { return };
        let fields = Fields::of(|fields| attributes.record(fields));
        if let Some(mut followed) = self.follow(&span, &fields) {
            followed.record(fields);
            span.extensions_mut().insert(followed);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(followed) = span.extensions_mut().get_mut::<Followed>() {
            followed.record(Fields::of(|fields| values.record(fields)));
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let followed = span.extensions_mut().remove::<Followed>();
        if let Some(followed) = followed {
            followed.end();
        }
    }
}
