//! What a monitored host does, over HTTP: for `icecore top`, and for whoever may see all of it.

use icecore::monitor::Phase;
use icecore::query::Limits;
use icecore::server::ServerOptions;
use serde_json::Value;

use crate::client::{failure, serve, serve_host, tokens};

const PATH: &str = "/api/v1/overview";

#[test]
fn a_host_tells_what_runs_and_what_ended() {
    let (served, monitor) = serve_host(ServerOptions::default());
    let lake = monitor.source("lake");
    for number in 0..5 {
        let query = monitor.start_query("SELECT 'secret' FROM lake");
        query.call(&lake).finish();
        if number == 4 { query.fail("busy") } else { query.finish() }
    }
    monitor.flush().unwrap();
    let query = monitor.start_query("SELECT * FROM lake");
    let _phase = query.phase(Phase::Execute);
    let _call = query.call(&lake);
    query.expect_rows(40);
    query.add_rows_out(10);

    let overview = served.data(PATH);
    assert_eq!((&overview["monitored"], &overview["live"]), (&true.into(), &true.into()));
    assert_eq!((&overview["load"]["queries"], &overview["load"]["failed"]), (&5.into(), &1.into()));
    let running = &overview["running"][0];
    assert_eq!((&running["phase"], &running["progress"]), (&"execute".into(), &0.25.into()));
    assert_eq!(running["under_way"][0]["source"], "lake");
    assert_eq!((&running["outcome"], &overview["running_count"]), (&Value::Null, &1.into()));
    assert_eq!(overview["recent"].as_array().unwrap().len(), 5);
    assert_eq!(overview["recent"][0]["text"], "SELECT ? FROM lake");
    assert_eq!(overview["sources"][0]["in_flight"], 1);

    let failed =
        served.data(&format!("{PATH}?outcome=error,timed_out&order=slowest&window=1m&limit=3"));
    assert_eq!(
        (&failed["recent_count"], &failed["recent"][0]["error"]),
        (&1.into(), &"busy".into())
    );
    assert_eq!(
        served.data(&format!("{PATH}?text=LAKE&limit=2"))["recent"].as_array().unwrap().len(),
        2
    );
    let past = served.data(&format!("{PATH}?time=1780056000"));
    assert_eq!((&past["live"], &past["running_count"]), (&false.into(), &0.into()));

    for (query, outcome) in [(running, Value::Null), (&failed["recent"][0], "error".into())] {
        let detail = served.data(&format!("{PATH}/queries/{}", query["id"].as_str().unwrap()));
        assert_eq!((&detail["outcome"], &detail["calls"][0]["source"]), (&outcome, &"lake".into()));
    }
    // As a form too.
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let posted = served.send("POST", PATH, &form, b"limit=1&outcome=ok");
    assert_eq!(posted.json()["data"]["recent"].as_array().unwrap().len(), 1);
}

#[test]
fn without_a_monitor_there_is_nothing_to_tell() {
    let served = serve(ServerOptions::default());
    let overview = served.data(PATH);
    assert_eq!((&overview["monitored"], &overview["live"]), (&false.into(), &false.into()));
    assert_eq!(overview["running"], serde_json::json!([]));
    let (status, kind, _) = served.failure(&format!("{PATH}/queries/00000000000000ab"));
    assert_eq!((status, &*kind), (404, "not_found"));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let (served, _monitor) = serve_host(ServerOptions::default());
    for (parameters, names) in [
        ("order=longest", "order"),
        ("outcome=ok,lost", "outcome"),
        ("window=0", "window"),
        ("window=1y", "window"),
        ("window=soon", "window"),
        ("limit=100000", "limit"),
        ("limit=some", "limit"),
        ("time=yesterday", "time"),
        ("timeout=x", "timeout"),
    ] {
        let (status, kind, message) = served.failure(&format!("{PATH}?{parameters}"));
        assert_eq!((status, &*kind), (400, "bad_data"), "{parameters}: {message}");
        assert!(message.contains(names), "{parameters}: {message}");
    }
    for id in ["x", "-1", "+1", "00000000000000000", "%0a"] {
        assert_eq!(served.failure(&format!("{PATH}/queries/{id}")).0, 400, "{id}");
    }
    assert_eq!(served.failure(&format!("{PATH}/queries/7")).0, 404);
}

#[test]
fn it_costs_no_more_than_a_query_may() {
    let limits = Limits { samples_max: 3, ..Limits::default() };
    let (served, monitor) = serve_host(ServerOptions { limits, ..ServerOptions::default() });
    (0..50).for_each(|_| monitor.start_query("SELECT 1").finish());
    monitor.flush().unwrap();
    // What is in memory is not decoded.
    served.engine.freeze().unwrap();
    let (status, kind, message) = served.failure(PATH);
    assert_eq!((status, &*kind), (422, "execution"), "{message}");
    assert_eq!(served.failure(&format!("{PATH}?timeout=0")).0, 503, "no time at all");
}

/// An overview names queries, tenants and sources of everybody.
#[test]
fn tenants_and_writers_are_refused() {
    let (served, monitor) = serve_host(tokens());
    monitor.start_query("SELECT 1").finish();
    monitor.flush().unwrap();
    for path in [PATH.to_owned(), format!("{PATH}/queries/00000000000000ab")] {
        assert_eq!(served.get(&path).status, 401, "{path}");
        assert_eq!(served.get_as("secret-of-nobody-at-all", &path).status, 401, "{path}");
        assert_eq!(served.get_as("secret-of-writer", &path).status, 403, "{path}");
        let (status, kind, message) = failure(&served.get_as("secret-of-tenant-x", &path));
        assert_eq!((status, &*kind), (403, "forbidden"), "{path}: {message}");
        let status = served.get_as("secret-of-reader", &path).status;
        assert!(matches!(status, 200 | 404), "{path}: {status}");
    }
    assert_eq!(served.get_as("secret-of-the-admin", PATH).json()["data"]["load"]["queries"], 1);
}
