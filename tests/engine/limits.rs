//! What a query through the engine may cost.

use std::time::{Duration, Instant};

use icecore::model::Selector;
use icecore::query::{CancelToken, Function, Grouping, Limits, Request, SampleRequest};
use icecore::{Engine, Error, TimeRange, Timestamp};

use crate::{handle, in_memory, options};

/// Ten series of 1,000 samples, half of them in parts.
fn filled() -> Engine {
    let (engine, _) = in_memory(options());
    let writer = engine.writer("w");
    let handles: Vec<_> = (0..10).map(|i| handle(&writer, &format!("m{{i=\"{i}\"}}"))).collect();
    let group = writer.scrape_group(&handles);
    for t in 0..1_000 {
        drop(writer.append_scrape(&group, Timestamp(t), vec![t as f64; 10]).unwrap());
        if t == 499 {
            engine.freeze().unwrap();
        }
    }
    engine.sync().unwrap();
    engine
}

fn request(limits: Limits) -> Request {
    let range = TimeRange::new(Timestamp(0), Timestamp(1_000));
    Request { limits, ..Request::new(range, vec!["p50".parse().unwrap()]) }
}

fn ask(engine: &Engine, request: &Request) -> Result<u64, Error> {
    let answer = engine.query(&Selector::parse("m").unwrap(), request)?;
    Ok(answer.groups.iter().map(|group| group.counts.iter().sum::<u64>()).sum())
}

fn limit_of(result: Result<u64, Error>) -> (&'static str, u64) {
    match result {
        Err(Error::Limit { what, limit }) => (what, limit),
        other => panic!("{other:?}"),
    }
}

#[test]
fn series_samples_and_memory_are_limited() {
    let engine = filled();
    let all = Limits::default();
    assert_eq!(ask(&engine, &request(all)).unwrap(), 10_000);
    let series = |series_max| request(Limits { series_max, ..all });
    assert_eq!(ask(&engine, &series(10)).unwrap(), 10_000);
    assert_eq!(limit_of(ask(&engine, &series(9))), ("series", 9));
    let samples = |samples_max| request(Limits { samples_max, ..all });
    assert_eq!(ask(&engine, &samples(10_000)).unwrap(), 10_000);
    assert_eq!(limit_of(ask(&engine, &samples(9_999))), ("samples", 9_999));
    let memory = Limits { memory_bytes_max: 5_000, ..all };
    assert_eq!(limit_of(ask(&engine, &request(memory))), ("bytes of memory", 5_000));
    let windows = Request { step: Some(Duration::from_nanos(1)), ..request(memory) };
    assert_eq!(limit_of(ask(&engine, &windows)), ("bytes of memory", 5_000));

    let selector = Selector::parse("m").unwrap();
    let raw = |limits| SampleRequest { limits, ..SampleRequest::new(TimeRange::ALL) };
    let refused = |limits| engine.samples(&selector, &raw(limits)).map(|_| 0);
    assert_eq!(limit_of(refused(Limits { series_max: 9, ..all })), ("series", 9));
    assert_eq!(limit_of(refused(Limits { samples_max: 9, ..all })), ("samples", 9));
    assert_eq!(limit_of(refused(memory)), ("bytes of memory", 5_000));
    let streamed =
        engine.for_each_run(&selector, &raw(Limits { samples_max: 9, ..all }), |_, _, _| Ok(()));
    assert_eq!(limit_of(streamed.map(|()| 0)), ("samples", 9));
}

#[test]
fn a_deadline_or_a_cancelled_token_ends_a_query() {
    let engine = filled();
    let late = Request { deadline: Some(Instant::now()), ..request(Limits::default()) };
    assert!(matches!(ask(&engine, &late), Err(Error::Deadline { .. })));
    let cancel = CancelToken::new();
    let cancelled = Request { cancel: cancel.clone(), ..request(Limits::default()) };
    assert_eq!(ask(&engine, &cancelled).unwrap(), 10_000);
    cancel.cancel();
    assert!(matches!(ask(&engine, &cancelled), Err(Error::Cancelled)));

    // Cancelled by its own visitor: the next chunk is not read.
    let cancel = CancelToken::new();
    let raw = SampleRequest { cancel: cancel.clone(), ..SampleRequest::new(TimeRange::ALL) };
    let mut runs = 0;
    let ended = engine.for_each_run(&Selector::parse("m").unwrap(), &raw, |_, _, _| {
        runs += 1;
        cancel.cancel();
        Ok(())
    });
    assert!(matches!(ended, Err(Error::Cancelled)) && runs == 1, "{runs} runs");
}

#[test]
fn a_request_that_contradicts_itself_is_an_error() {
    let engine = filled();
    let invalid =
        |request: &Request| matches!(ask(&engine, request), Err(Error::InvalidArgument { .. }));
    let all = Limits::default();
    assert!(invalid(&Request { step: Some(Duration::ZERO), ..request(all) }));
    assert!(invalid(&Request {
        range: TimeRange::new(Timestamp(5), Timestamp(5)),
        ..request(all)
    }));
    assert!(invalid(&Request { functions: vec![Function::Quantile(2.0)], ..request(all) }));
    let twice = Grouping::Labels(vec!["i".into(), "i".into()]);
    assert!(invalid(&Request { group_by: twice, ..request(all) }));
    assert!(!invalid(&request(all)));
}
