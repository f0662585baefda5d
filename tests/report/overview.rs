//! Overviews of stores whose rows are known, and of a host that runs.

use std::sync::Arc;
use std::time::Duration;

use icecore::monitor::{
    FederationMonitor, MonitorOptions, OutcomeKind, Phase, QueryId, QueryStart,
};
use icecore::overview::{Order, Overview, QueryDetail, Question, Reading};
use icecore::{Engine, Error, Options};

use crate::store::{Call, Query, Store, at_ms};

fn ask(store: &Store, question: &Question) -> Overview {
    let overview = Overview::of(&Reading::of(&store.engine), question, None).unwrap();
    // What is sent is what was asked for.
    let text = serde_json::to_string(&overview).unwrap();
    assert_eq!(serde_json::from_str::<Overview>(&text).unwrap(), overview, "{text}");
    overview
}

fn window(seconds: u64) -> Question {
    Question { window: Duration::from_secs(seconds), ..Question::default() }
}

fn at(ms: i64, seconds: u64) -> Question {
    Question { at: Some(at_ms(ms)), ..window(seconds) }
}

fn ids(lines: &[icecore::overview::QueryLine]) -> Vec<u64> {
    lines.iter().map(|line| line.id.0).collect()
}

/// Ids 1 to 4, by their beginnings.
fn four() -> Store {
    let failed = Query { outcome: "error", error: "busy", ..Query::ok(2_500, 100_000, Vec::new()) };
    Store::of([
        Query::ok(0, 10_000, vec![Call::ok("lake", 9_000)]),
        Query::ok(1_000, 2_000_000, vec![Call::ok("stock", 1_900_000), Call::ok("lake", 50_000)]),
        failed,
        Query { text: "SELECT a JOIN b", tenant: "", ..Query::ok(4_000, 500_000, Vec::new()) },
    ])
}

#[test]
fn a_store_at_rest_is_seen_at_its_last_moment_and_queries_count_when_they_ended() {
    let store = four();
    let overview = ask(&store, &window(2));
    assert!(overview.monitored && !overview.live);
    // Behind the last end by a nanosecond.
    assert_eq!(overview.at.nanos(), at_ms(4_500).nanos() + 1);
    assert_eq!((overview.first, overview.last), (Some(at_ms(0)), Some(overview.at)));
    assert_eq!(ids(&overview.recent), [4, 2, 3]);
    assert_eq!((overview.load.queries, overview.load.failed, overview.recent_count), (3, 1, 3));
    assert_eq!(overview.load.curve.iter().sum::<u64>(), 3);
    assert_eq!(overview.load.failed_curve.iter().sum::<u64>(), 1);
    assert!((overview.load.per_second - 1.5).abs() < 1e-9);
    // Of two lengths, within 1 %.
    assert!((overview.load.p50.unwrap() - 0.5).abs() < 0.006, "{:?}", overview.load.p50);
    assert_eq!((overview.running_count, overview.running.len()), (0, 0));
    // Calls stand where their query began, before this window.
    assert!(overview.sources.is_empty(), "{:?}", overview.sources);
    assert_eq!(overview.store.query_rows, 4);
    // Later than the last moment is the last moment.
    assert_eq!(ask(&store, &at(1_000_000, 2)).at, overview.at);
}

#[test]
fn at_an_earlier_moment_those_run_that_ended_later() {
    let store = four();
    let overview = ask(&store, &at(2_000, 1));
    assert_eq!((ids(&overview.running), overview.running_count), (vec![2], 1));
    let running = &overview.running[0];
    assert_eq!((running.outcome, running.length_us), (None, Some(1_000_000)));
    // How much it had waited then is not known, only how much it did in the end.
    assert_eq!((running.waiting_us, running.rows_out), (0, 0));
    assert!(overview.recent.is_empty());
    let overview = ask(&store, &at(2_550, 2));
    assert_eq!(ids(&overview.running), [2, 3], "the longest first");
    let names: Vec<&str> = overview.sources.iter().map(|line| &*line.source).collect();
    assert_eq!(names, ["stock", "lake"], "by the critical path");
    let before = ask(&store, &at(-60_000, 1));
    assert_eq!((before.running_count, before.recent_count, before.load.queries), (0, 0, 0));
}

#[test]
fn queries_longer_than_the_window_are_met() {
    let long = 600_000_000;
    let store = Store::of([
        Query::ok(0, long, Vec::new()),
        Query::ok(1, 59_000_000, Vec::new()),
        Query::ok(300_000, 1_000, Vec::new()),
        Query { outcome: "abandoned", duration: None, ..Query::ok(599_500, 0, Vec::new()) },
    ]);
    let overview = ask(&store, &window(1));
    assert_eq!(ids(&overview.recent), [1, 4]);
    assert_eq!((overview.load.queries, overview.load.broken_off), (2, 1));
    assert_eq!(overview.recent[1].length_us, None);
    assert_eq!(ids(&ask(&store, &at(300_000, 1)).running), [1]);
    assert_eq!(ids(&ask(&store, &at(59_100, 1)).recent), [2]);
    assert_eq!(ids(&ask(&store, &at(58_900, 1)).running), [1, 2]);
}

#[test]
fn recent_queries_are_ordered_and_filtered_in_the_whole_window() {
    let store = four();
    let order = |order| ids(&ask(&store, &Question { order, ..window(10) }).recent);
    assert_eq!(order(Order::Newest), [4, 2, 3, 1]);
    assert_eq!(order(Order::Slowest), [2, 4, 3, 1]);
    for by in [Order::Rows, Order::Bytes, Order::Cpu] {
        assert_eq!(order(by).len(), 4, "{by:?}");
    }
    let ends = |outcomes: &[OutcomeKind]| {
        ids(&ask(&store, &Question { outcomes: outcomes.to_vec(), ..window(10) }).recent)
    };
    assert_eq!(ends(&[OutcomeKind::Error]), [3]);
    assert_eq!(ends(&[OutcomeKind::Error, OutcomeKind::Ok]), [4, 2, 3, 1]);
    assert!(ends(&[OutcomeKind::TimedOut]).is_empty());
    let text =
        |text: &str| ids(&ask(&store, &Question { text: text.to_owned(), ..window(10) }).recent);
    assert_eq!(text("a join"), [4]);
    assert_eq!(text("SHOP"), [2, 3, 1], "tenants too");
    assert_eq!(text("busy"), [3], "and classes of errors");
    assert!(text("no such").is_empty());
    let first = ask(&store, &Question { order: Order::Slowest, limit: 1, ..window(10) });
    assert_eq!((ids(&first.recent), first.recent_count), (vec![2], 4));
    assert_eq!(first.load.queries, 4, "filters and limits are of the list only");
}

#[test]
fn a_query_is_told_in_full() {
    let store = four();
    let reading = Reading::of(&store.engine);
    let detail = QueryDetail::of(&reading, QueryId(2), None).unwrap().unwrap();
    assert_eq!((detail.line.began, detail.line.length_us), (at_ms(1_000), Some(2_000_000)));
    let calls: Vec<&str> = detail.calls.iter().map(|call| &*call.source).collect();
    assert_eq!(calls, ["stock", "lake"]);
    assert_eq!(detail.calls[0].longest_us, 1_900_000);
    let text = serde_json::to_string(&detail).unwrap();
    assert_eq!(serde_json::from_str::<QueryDetail>(&text).unwrap(), detail, "{text}");
    assert!(text.contains("\"id\":\"0000000000000002\""), "{text}");
    assert_eq!(QueryDetail::of(&reading, QueryId(99), None).unwrap(), None);
}

#[test]
fn a_store_without_queries_has_an_overview() {
    let empty = ask(&Store::new(), &Question::default());
    assert!(empty.monitored);
    assert_eq!((empty.load.queries, empty.recent_count, empty.running_count), (0, 0, 0));
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(dir.path(), Options::default()).unwrap();
    let reading = Reading::of(&engine);
    let overview = Overview::of(&reading, &Question::default(), None).unwrap();
    assert!(!overview.monitored && overview.first.is_none());
    assert_eq!(QueryDetail::of(&reading, QueryId(1), None).unwrap(), None);
    let long = Question { window: Duration::from_secs(86_400 * 32), ..Question::default() };
    let none = Question { limit: 0, ..Question::default() };
    for wrong in [long, none, window(0)] {
        let refused = Overview::of(&reading, &wrong, None);
        assert!(matches!(refused, Err(Error::InvalidArgument { .. })), "{refused:?}");
    }
    let cancelled = Reading::of(&engine);
    cancelled.cancel.cancel();
    let monitored = Store::of([Query::ok(0, 1, Vec::new())]);
    let cancelled = Reading { engine: &monitored.engine, ..cancelled };
    let refused = Overview::of(&cancelled, &Question::default(), None);
    assert!(matches!(refused, Err(Error::Cancelled)), "{refused:?}");
}

/// What runs is told by the host with its phase, and by marks to whoever has the store only.
#[test]
fn a_running_query_is_seen_live_and_by_its_mark() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Arc::new(Engine::open(dir.path(), Options::default()).unwrap());
    let options =
        MonitorOptions { mark_after: Duration::from_millis(1), ..MonitorOptions::default() };
    let monitor = FederationMonitor::open(Arc::clone(&engine), options).unwrap();
    monitor.start_query("SELECT 1").finish();
    let start = QueryStart { user: "ann", ..QueryStart::from("SELECT * FROM lake") };
    let query = monitor.start_query(start);
    let lake = monitor.source("lake");
    let plan = query.phase(Phase::Plan);
    let call = query.call(&lake);
    call.add_rows(12);
    let view = monitor.live_view();
    let reading = Reading::of(&engine);

    let live = Overview::of(&reading, &Question::default(), Some(&view)).unwrap();
    assert!(live.live);
    assert_eq!(live.running_count, 1);
    let line = &live.running[0];
    assert_eq!((line.phase.as_deref(), &*line.user, line.rows_in), (Some("plan"), "ann", 12));
    assert_eq!((&*line.under_way[0].source, line.under_way[0].calls), ("lake", 1));
    let source = live.sources.iter().find(|line| line.source == "lake").unwrap();
    assert_eq!(source.in_flight, Some(1));
    let detail = QueryDetail::of(&reading, line.id, Some(&view)).unwrap().unwrap();
    assert_eq!((detail.line.outcome, detail.calls[0].outcome), (None, None));
    assert_eq!(detail.calls[0].failed, 0, "a call under way has not failed");
    assert_eq!(detail.phases[0].phase, "plan");
    // In the past it ran too, in a phase that nobody knows any more.
    let past = Question { at: Some(live.at), ..Question::default() };
    let past = Overview::of(&reading, &past, Some(&view)).unwrap();
    assert_eq!((past.live, past.running_count, past.running[0].phase.as_deref()), (false, 1, None));

    let marked = || Overview::of(&reading, &Question::default(), None).unwrap().running;
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while marked().is_empty() && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
        monitor.flush().unwrap();
    }
    let marks = marked();
    assert_eq!(marks.len(), 1);
    assert_eq!(
        (marks[0].id, &*marks[0].text, &*marks[0].user),
        (line.id, "SELECT * FROM lake", "ann")
    );
    let detail = QueryDetail::of(&reading, line.id, None).unwrap().unwrap();
    assert_eq!((detail.line.outcome, detail.calls.len()), (None, 0));

    drop(plan);
    call.finish();
    query.finish();
    monitor.flush().unwrap();
    assert!(marked().is_empty(), "it was answered");
    let ended = Overview::of(&reading, &Question::default(), Some(&view)).unwrap();
    assert_eq!((ended.running_count, ended.recent[0].id), (0, line.id));
    assert_eq!(ended.recent[0].outcome, Some(OutcomeKind::Ok));
    drop(monitor);
}
