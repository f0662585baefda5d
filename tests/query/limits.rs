//! A query ends when it costs too much, takes too long, or nobody wants it any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use icecore::aggregate::Partial;
use icecore::model::SeriesId;
use icecore::query::{
    CancelToken, Function, Grouping, Limits, MemoryBudget, Request, Resources, SampleRequest,
    execute, for_each_run, read_samples,
};
use icecore::segment::{ChunkRef, ChunkSource};
use icecore::{DecodeError, Error, ErrorKind, Result, TimeRange};

use crate::memory_source::MemorySource;
use crate::{range, selected};

/// Passes everything on, counts decoded chunks, and misbehaves at the chosen one.
struct Watched {
    inner: MemorySource,
    reads: AtomicU64,
    at: u64,
    then: Then,
}

enum Then {
    Nothing,
    Cancel(CancelToken),
    Fail,
    DropLast,
}

impl ChunkSource for Watched {
    fn rank(&self) -> u64 {
        self.inner.rank()
    }
    fn chunks(&self, series: SeriesId, range: TimeRange, out: &mut Vec<ChunkRef>) -> Result<()> {
        self.inner.chunks(series, range, out)
    }
    fn statistics(&self, chunk: &ChunkRef) -> Result<Option<Partial>> {
        self.inner.statistics(chunk)
    }
    fn read_timestamps(&self, chunk: &ChunkRef, out: &mut Vec<i64>) -> Result<()> {
        self.inner.read_timestamps(chunk, out)
    }
    fn read_values(&self, chunk: &ChunkRef, out: &mut Vec<f64>) -> Result<()> {
        self.inner.read_values(chunk, out)?;
        if self.reads.fetch_add(1, Ordering::SeqCst) + 1 == self.at {
            match &self.then {
                Then::Nothing => {}
                Then::Cancel(token) => token.cancel(),
                Then::DropLast => drop(out.pop()),
                Then::Fail => {
                    let source = DecodeError::Truncated { needed: 8, available: 3 };
                    return Err(Error::corrupt("part", 77, source));
                }
            }
        }
        Ok(())
    }
}

/// 4 series of 100 samples in chunks of 10: 40 chunks.
fn watched(at: u64, then: Then) -> Arc<Watched> {
    let mut inner = MemorySource::new(1, false);
    for (id, _) in selected(4) {
        let samples: Vec<(i64, f64)> = (0..100).map(|i| (i, i as f64)).collect();
        inner.push(id, &samples, 10);
    }
    Arc::new(Watched { inner, reads: AtomicU64::new(0), at, then })
}

fn run(source: &Arc<Watched>, request: &Request) -> Result<u64> {
    let sources = [Arc::clone(source) as Arc<dyn ChunkSource>];
    execute(request, &selected(4), &sources.to_vec().into(), Resources::default())
        .map(|answer| answer.evidence.samples_decoded)
}

fn average() -> Request {
    Request::new(range(0, 100), vec![Function::Avg])
}

#[test]
fn samples_are_counted_before_they_are_decoded() {
    let limited = |samples_max| {
        let limits = Limits { samples_max, ..Limits::default() };
        Request { limits, ..average() }
    };
    let source = watched(0, Then::Nothing);
    assert_eq!(run(&source, &limited(400)).unwrap(), 400);
    let refused = run(&source, &limited(399));
    assert!(matches!(refused, Err(Error::Limit { what: "samples", limit: 399 })), "{refused:?}");
    let untouched = watched(0, Then::Nothing);
    run(&untouched, &limited(9)).unwrap_err();
    assert_eq!(untouched.reads.load(Ordering::SeqCst), 0);
}

#[test]
fn too_many_series_are_refused() {
    let limits = Limits { series_max: 3, ..Limits::default() };
    let source = watched(0, Then::Nothing);
    let refused = run(&source, &Request { limits, ..average() });
    assert!(matches!(refused, Err(Error::Limit { what: "series", limit: 3 })));
}

#[test]
fn a_nanosecond_step_over_a_year_is_refused_at_once() {
    let year = range(0, 365 * 86_400_000_000_000);
    for group_by in [Grouping::Series, Grouping::Labels(vec![])] {
        let step = Some(Duration::from_nanos(1));
        let request = Request { step, group_by, ..Request::new(year, vec![Function::Avg]) };
        let source = watched(0, Then::Nothing);
        let refused = run(&source, &request);
        assert!(matches!(refused, Err(Error::Limit { what: "bytes of memory", .. })));
        let all = Request { range: TimeRange::ALL, ..request };
        assert!(matches!(run(&source, &all), Err(Error::Limit { .. })));
    }
}

#[test]
fn kept_values_and_read_samples_count_as_memory() {
    let limits = Limits { memory_bytes_max: 4000, ..Limits::default() };
    let quantile = Request {
        limits,
        group_by: Grouping::Labels(vec![]),
        ..Request::new(range(0, 100), vec!["p50".parse().unwrap()])
    };
    // 400 values kept are 3,200 bytes, with the rows beside them more than 4,000 on many threads.
    let tight = Limits { memory_bytes_max: 3200, ..limits };
    let source = watched(0, Then::Nothing);
    let refused = run(&source, &Request { limits: tight, ..quantile });
    assert!(matches!(refused, Err(Error::Limit { what: "bytes of memory", limit: 3200 })));

    let sources = [source as Arc<dyn ChunkSource>];
    let request = SampleRequest { limits, ..SampleRequest::new(range(0, 100)) };
    let refused =
        read_samples(&request, &selected(4), &sources.to_vec().into(), Resources::default());
    assert!(matches!(refused, Err(Error::Limit { what: "bytes of memory", .. })));
    // One run after another holds none of it.
    let mut samples = 0;
    for_each_run(&request, &selected(4), &sources.to_vec().into(), |_, timestamps, _| {
        samples += timestamps.len();
        Ok(())
    })
    .unwrap();
    assert_eq!(samples, 400);
}

#[test]
fn a_passed_deadline_ends_the_query_before_the_first_chunk() {
    let source = watched(0, Then::Nothing);
    let passed = Request { deadline: Some(Instant::now()), ..average() };
    let refused = run(&source, &passed).unwrap_err();
    assert!(matches!(refused, Error::Deadline { .. }) && refused.kind() == ErrorKind::Limit);
    assert_eq!(source.reads.load(Ordering::SeqCst), 0);
    let far = Request { deadline: Some(Instant::now() + Duration::from_secs(3600)), ..average() };
    assert_eq!(run(&source, &far).unwrap(), 400);
}

#[test]
fn cancelling_ends_the_query_within_a_chunk() {
    let token = CancelToken::new();
    let source = watched(3, Then::Cancel(token.clone()));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let request = Request { cancel: token, ..average() };
    let refused = pool.install(|| run(&source, &request));
    assert!(matches!(refused, Err(Error::Cancelled)));
    // The third read cancels; the other thread may be within one more.
    assert!(source.reads.load(Ordering::SeqCst) <= 4);
}

#[test]
fn a_source_that_fails_or_breaks_its_contract_ends_the_query() {
    let failed = run(&watched(7, Then::Fail), &average());
    assert!(matches!(failed, Err(Error::Corrupt { offset: 77, .. })), "{failed:?}");
    let short = run(&watched(7, Then::DropLast), &average());
    assert!(matches!(short, Err(Error::Corrupt { .. })), "{short:?}");
}

#[test]
fn the_visitor_may_stop() {
    let sources = [watched(0, Then::Nothing) as Arc<dyn ChunkSource>];
    let mut calls = 0;
    let stopped = for_each_run(
        &SampleRequest::new(range(0, 100)),
        &selected(4),
        &sources.to_vec().into(),
        |_, _, _| {
            calls += 1;
            if calls == 2 { Err(Error::Closed) } else { Ok(()) }
        },
    );
    assert!(matches!(stopped, Err(Error::Closed)) && calls == 2);
}

#[test]
fn queries_of_one_budget_leave_what_they_took() {
    let source = watched(0, Then::Nothing);
    let sources = [Arc::clone(&source) as Arc<dyn ChunkSource>];
    let request = Request { step: Some(Duration::from_nanos(1)), ..average() };
    let run = |memory: &MemoryBudget| {
        let resources = Resources { memory: Some(memory), ..Resources::default() };
        execute(&request, &selected(4), &sources.to_vec().into(), resources)
    };
    let roomy = MemoryBudget::new(1 << 20);
    let one = run(&roomy).unwrap();
    assert_eq!((one.groups.len(), roomy.used_bytes()), (4, 0));
    let narrow = MemoryBudget::new(1000);
    let refused = run(&narrow);
    assert!(matches!(refused, Err(Error::Limit { limit: 1000, .. })), "{refused:?}");
    assert_eq!(narrow.used_bytes(), 0);
}

/// A quantile over some million samples of many windows, cancelled in the middle of it: within
/// 10 ms on an idle machine, of which a test asks no more than not to wait for the end.
#[test]
fn another_thread_cancels_within_a_moment() {
    let mut source = MemorySource::new(1, false);
    for (id, _) in selected(64) {
        let samples: Vec<(i64, f64)> = (0..50_000).map(|i| (i, (i * 7919 % 1009) as f64)).collect();
        source.push(id, &samples, 1024);
    }
    let sources = vec![Arc::new(source) as Arc<dyn ChunkSource>].into();
    let cancel = CancelToken::new();
    let request = Request {
        group_by: Grouping::Labels(vec![]),
        step: Some(Duration::from_nanos(10)),
        cancel: cancel.clone(),
        ..Request::new(range(0, 50_000), vec![Function::Quantile(0.9)])
    };
    let ended = std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let found = execute(&request, &selected(64), &sources, Resources::default());
            (found, Instant::now())
        });
        std::thread::sleep(Duration::from_millis(30));
        let cancelled = Instant::now();
        cancel.cancel();
        let (found, ended) = asked.join().unwrap();
        // Where it was over before, there is nothing to measure.
        let late = ended.saturating_duration_since(cancelled);
        found.is_ok() || matches!(found, Err(Error::Cancelled)) && late < Duration::from_millis(250)
    });
    assert!(ended);
}
