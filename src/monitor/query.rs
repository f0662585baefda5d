//! `QueryMetrics`: what is known of a query, finished or under way.
//!
//! Owns: the live record that guards write, all atomics, and how it is read into plain numbers.
//! Lengths are of the monotonic clock; the one wall time is when the query began. So a clock that
//! jumps moves a query as a whole and changes no length.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use smol_str::SmolStr;

use super::attribution::{Call, attribute};
use super::call::{Noted, Notes, Sum, Sums};
use super::directory::Directory;
use super::fingerprint::Fingerprint;
use super::outcome::{Ended, Outcome, OutcomeKind, cut};
use super::phase::{Phase, PhaseClocks, Phases};
use super::stretch::Stretches;
use crate::time::Timestamp;

/// A query's number: larger for later ones, also over restarts, but for a clock that is set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub u64);

impl fmt::Display for QueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What is known of a finished query.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryMetrics {
    /// Its number.
    pub id: QueryId,
    /// Its text without literals.
    pub fingerprint: Fingerprint,
    /// Its text as it came, where [`MonitorOptions::raw_text`](super::MonitorOptions) asks for it.
    pub text: Option<Box<str>>,
    /// Whose it is; empty where nobody said.
    pub tenant: Arc<str>,
    /// Who asked; empty where nobody said.
    pub user: Arc<str>,
    /// When it began, by the engine's clock.
    pub started: Timestamp,
    /// From its start to its end, by a clock that never jumps.
    pub duration: Duration,
    /// How it ended.
    pub outcome: Outcome,
    /// How long each phase took.
    pub phases: Phases,
    /// Rows that came from sources, and from wherever else the host says.
    pub rows_in: u64,
    /// Rows that left.
    pub rows_out: u64,
    /// Bytes that came in.
    pub bytes_in: u64,
    /// Bytes that left.
    pub bytes_out: u64,
    /// Time on processors, of all threads.
    pub cpu: Duration,
    /// The most memory it held, bytes.
    pub memory_peak_bytes: u64,
    /// Bytes spilled to disk.
    pub spill_bytes: u64,
    /// Repeated attempts, those of calls included.
    pub retries: u64,
    /// What caches answered, those of calls included.
    pub cache_hits: u64,
    /// No call to a source was under way.
    pub engine: Duration,
    /// At least one was; `engine` and this are the duration.
    pub waiting: Duration,
    /// The sources it touched, by name.
    pub sources: Vec<SourceUse>,
    /// Calls beyond those noted one by one; they are in none of `sources`.
    pub calls_unlisted: u64,
}

impl QueryMetrics {
    /// The source with which the critical path lay longest; of equals the first by name.
    #[must_use]
    pub fn critical_source(&self) -> Option<&SourceUse> {
        let waited = self.sources.iter().filter(|source| !source.critical.is_zero());
        waited.reduce(|best, source| if source.critical > best.critical { source } else { best })
    }
}

/// What a query made of one source.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceUse {
    /// The source's name.
    pub source: Arc<str>,
    /// Calls to it.
    pub calls: u64,
    /// Of them, those that did not end well.
    pub failed: u64,
    /// How the last one ended that did not end well; [`Outcome::Ok`] where all did.
    pub outcome: Outcome,
    /// Requests that the calls made: at least one each.
    pub requests: u64,
    /// Rows from it.
    pub rows: u64,
    /// Bytes from it.
    pub bytes: u64,
    /// Requests repeated.
    pub retries: u64,
    /// Calls, or parts of them, that a cache answered.
    pub cache_hits: u64,
    /// When the first call began, since the query's beginning.
    pub began: Duration,
    /// The longest call.
    pub longest: Duration,
    /// From its call's beginning to the first row, of the call that was fastest to give one.
    pub first_row: Option<Duration>,
    /// At least one of its calls was under way.
    pub waiting: Duration,
    /// The critical path lay with it.
    pub critical: Duration,
}

/// A query under way.
#[derive(Debug, Clone, PartialEq)]
pub struct RunningQuery {
    /// What is known so far, as if it were abandoned at this moment.
    pub so_far: QueryMetrics,
    /// The last phase that is open.
    pub phase: Option<Phase>,
    /// Sources with calls under way, by name, with how many.
    pub calls_under_way: Vec<(Arc<str>, u64)>,
    /// The share of the expected rows that have left, within 0 and 1, where the host said how many
    /// are expected.
    pub progress: Option<f64>,
}

/// What guards of one query write to.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) id: QueryId,
    pub(super) fingerprint: Fingerprint,
    pub(super) text: Option<Box<str>>,
    pub(super) tenant: SmolStr,
    pub(super) user: SmolStr,
    pub(super) started: Timestamp,
    pub(super) began: Instant,
    pub(super) phases: PhaseClocks,
    pub(super) sums: Sums,
    pub(super) calls: Notes,
    /// Where calls were waited for in pieces.
    pub(super) stretches: Stretches,
    /// Whether its record was made.
    pub(super) told: AtomicBool,
    /// Whether a mark in the store says that it runs.
    pub(super) marked: AtomicBool,
}

impl Live {
    /// Of a query that begins at this moment: its fingerprint and text, whose it is and who asks.
    pub(super) fn new(
        id: QueryId,
        (fingerprint, text): (Fingerprint, Option<Box<str>>),
        (tenant, user): (&str, &str),
        started: Timestamp,
    ) -> Self {
        Self {
            id,
            fingerprint,
            text,
            tenant: cut(tenant).into(),
            user: cut(user).into(),
            started,
            began: Instant::now(),
            phases: PhaseClocks::default(),
            sums: Sums::default(),
            calls: Notes::default(),
            stretches: Stretches::default(),
            told: AtomicBool::new(false),
            marked: AtomicBool::new(false),
        }
    }

    /// Nanoseconds since the query's beginning.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// What is known of it when it ends so, `now` ns after its beginning.
    pub(super) fn metrics(&self, now: u64, outcome: Outcome, known: &Directory) -> QueryMetrics {
        let calls: Vec<Noted> = self.calls.read().collect();
        let (sources, engine) = used(&calls, self.stretches.all(), now, known);
        let all = |of: fn(&Noted) -> u64| calls.iter().map(of).sum::<u64>();
        QueryMetrics {
            id: self.id,
            fingerprint: self.fingerprint.clone(),
            text: self.text.clone(),
            tenant: Arc::from(&*self.tenant),
            user: Arc::from(&*self.user),
            started: self.started,
            duration: Duration::from_nanos(now),
            outcome,
            phases: self.phases.times(now),
            rows_in: self.sums.get(Sum::RowsIn) + all(|call| call.rows),
            rows_out: self.sums.get(Sum::RowsOut),
            bytes_in: self.sums.get(Sum::BytesIn) + all(|call| call.bytes),
            bytes_out: self.sums.get(Sum::BytesOut),
            cpu: Duration::from_nanos(self.sums.get(Sum::CpuNanos)),
            memory_peak_bytes: self.sums.get(Sum::MemoryPeak),
            spill_bytes: self.sums.get(Sum::Spill),
            retries: self.sums.get(Sum::Retries) + all(|call| call.retries),
            cache_hits: self.sums.get(Sum::CacheHits) + all(|call| call.cache_hits),
            engine: Duration::from_nanos(engine),
            waiting: Duration::from_nanos(now - engine),
            sources,
            calls_unlisted: self.calls.unlisted(),
        }
    }

    pub(super) fn running(&self, known: &Directory) -> RunningQuery {
        let so_far = self.metrics(self.now(), Outcome::Abandoned, known);
        let mut under_way = std::collections::BTreeMap::new();
        for call in self.calls.read().filter(|call| call.ended.is_none()) {
            *under_way.entry(known.name(call.source)).or_insert(0_u64) += 1;
        }
        let expected = self.sums.get(Sum::RowsExpected);
        let progress = (expected > 0).then(|| (so_far.rows_out as f64 / expected as f64).min(1.0));
        let calls_under_way = under_way.into_iter().collect();
        RunningQuery { so_far, phase: self.phases.current(), calls_under_way, progress }
    }
}

/// The sources by name, and how long no call was under way.
fn used(
    calls: &[Noted],
    mut spans: Vec<Call<u32>>,
    now: u64,
    known: &Directory,
) -> (Vec<SourceUse>, u64) {
    spans.extend(calls.iter().map(|call| {
        let ended = call.ended.map_or(now, |(ended, _)| ended);
        Call { source: call.source, began: call.awaited.unwrap_or(ended), ended }
    }));
    let times = attribute(now, &spans);
    let mut sources: Vec<SourceUse> = times
        .sources
        .iter()
        .map(|time| {
            let of = calls.iter().filter(|call| call.source == time.source);
            let mut used = SourceUse {
                source: known.name(time.source),
                calls: 0,
                failed: 0,
                outcome: Outcome::Ok,
                requests: 0,
                rows: 0,
                bytes: 0,
                retries: 0,
                cache_hits: 0,
                began: Duration::MAX,
                longest: Duration::ZERO,
                first_row: None,
                waiting: Duration::from_nanos(time.waiting),
                critical: Duration::from_nanos(time.critical),
            };
            of.for_each(|call| used.add(call, now, known));
            used
        })
        .collect();
    sources.sort_by(|a, b| a.source.cmp(&b.source));
    (sources, times.engine)
}

impl SourceUse {
    fn add(&mut self, call: &Noted, now: u64, known: &Directory) {
        let abandoned = Ended::plain(OutcomeKind::Abandoned);
        let (ended, how) = call.ended.unwrap_or((now, abandoned));
        self.calls += 1;
        if how != Ended::OK {
            self.failed += 1;
            self.outcome = known.classes.outcome(how);
        }
        self.requests += call.requests.max(1);
        self.rows += call.rows;
        self.bytes += call.bytes;
        self.retries += call.retries;
        self.cache_hits += call.cache_hits;
        self.began = self.began.min(Duration::from_nanos(call.began));
        let length = ended.saturating_sub(call.began);
        self.longest = self.longest.max(Duration::from_nanos(length));
        let first = call.first_row.map(|at| Duration::from_nanos(at.saturating_sub(call.began)));
        self.first_row = match (self.first_row, first) {
            (Some(known), Some(first)) => Some(known.min(first)),
            (known, first) => known.or(first),
        };
    }
}
