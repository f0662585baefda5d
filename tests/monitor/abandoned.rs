//! A process that dies leaves its queries abandoned: this test binary, run again and killed.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use icecore::monitor::{
    FederationMonitor, MonitorOptions, OutcomeKind, QUERIES, QueryStart, RUNNING_QUERIES,
};
use icecore::query::{EventPredicate, EventRequest, EventTest};
use icecore::{Engine, Options, TimeRange};

const DIR: &str = "ICECORE_MONITOR_CHILD_DIR";
const RUNNING: usize = 25;

fn options() -> MonitorOptions {
    MonitorOptions { mark_after: Duration::ZERO, ..MonitorOptions::default() }
}

fn open(dir: &std::path::Path) -> (Arc<Engine>, FederationMonitor) {
    let engine = Engine::open(dir, Options { threads: 1, ..Options::default() }).unwrap();
    let engine = Arc::new(engine);
    let monitor = FederationMonitor::open(Arc::clone(&engine), options()).unwrap();
    (engine, monitor)
}

fn rows(engine: &Engine, table: &str) -> usize {
    engine.scan_events(&EventRequest::new(table, TimeRange::ALL)).unwrap().rows.len()
}

/// Does nothing, unless this binary was started by the test below.
#[test]
fn child_process() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let (engine, monitor) = open(std::path::Path::new(&dir));
    monitor.start_query("select 'quick'").finish();
    let running: Vec<_> = (0..RUNNING)
        .map(|i| {
            let text = format!("select column_{} from t where a = {i}", i % 5);
            monitor.start_query(QueryStart { text: &text, tenant: "acme", ..Default::default() })
        })
        .collect();
    // Marked and finished: not abandoned.
    let long = monitor.start_query("select 'long'");
    let before = rows(&engine, RUNNING_QUERIES);
    while rows(&engine, RUNNING_QUERIES) < before + RUNNING + 1 {
        std::thread::sleep(Duration::from_millis(20));
    }
    long.finish();
    while rows(&engine, QUERIES) < before + 2 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut out = std::io::stdout().lock();
    write!(out, "\nat work on {}\n", running.len()).and_then(|()| out.flush()).unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn queries_of_a_killed_process_are_abandoned_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "abandoned::child_process", "--nocapture", "--test-threads=1"])
        .env(DIR, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let said = out.lines().map_while(Result::ok).any(|line| line.starts_with("at work"));
    assert!(said, "the child's queries run");
    child.kill().unwrap();
    child.wait().unwrap();

    let (engine, monitor) = open(dir.path());
    assert_eq!(monitor.recovered(), RUNNING as u64);
    assert_eq!(monitor.finished(OutcomeKind::Abandoned), RUNNING as u64);
    let query = monitor.start_query("select 1");
    let next = i64::try_from(query.id().0).unwrap();
    query.finish();
    monitor.flush().unwrap();
    let abandoned = EventRequest {
        predicates: vec![EventPredicate::new("outcome", EventTest::Equal("abandoned".into()))],
        projection: Some(["id", "tenant", "text", "duration"].map(str::to_owned).to_vec()),
        ..EventRequest::new(QUERIES, TimeRange::ALL)
    };
    let found = engine.scan_events(&abandoned).unwrap().rows;
    assert_eq!(found.len(), RUNNING);
    for row in 0..found.len() {
        let icecore::model::EventValue::Integer(id) = found.value(row, 0) else { panic!("an id") };
        assert!(id < next);
        assert_eq!(found.value(row, 1), "acme".into());
        let icecore::model::EventValue::Text(text) = found.value(row, 2) else { panic!("a text") };
        assert!(text.starts_with("select column_") && text.ends_with("where a = ?"), "{text}");
        assert!(found.value(row, 3).is_null());
    }
    monitor.close().unwrap();
    Arc::into_inner(engine).unwrap().close().unwrap();

    // The second time there is nothing to tell.
    let (engine, monitor) = open(dir.path());
    assert_eq!(monitor.recovered(), 0);
    assert_eq!(engine.scan_events(&abandoned).unwrap().rows.len(), RUNNING);
}
