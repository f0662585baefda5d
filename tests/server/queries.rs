//! `query` and `query_range`: parameters, shapes of answers, errors word by word.

use icecore::server::ServerOptions;
use serde_json::json;

use crate::client::{NOON, failure, quoted, serve};

#[test]
fn a_number_is_a_scalar() {
    let served = serve(ServerOptions::default());
    let answer = served.get("/api/v1/query?query=42.5&time=1435781430.781");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(
        answer.text(),
        r#"{"status":"success","data":{"resultType":"scalar","result":[1435781430.781,"42.5"]}}"#
    );
}

#[test]
fn an_instant_vector_has_labels_and_one_sample_each() {
    let served = serve(ServerOptions::default());
    served.put("up", &[("job", "a\"b"), ("Zone", "z")], &[(0, 1.0), (10, f64::INFINITY)]);
    served.put("up", &[("job", "c")], &[(0, 0.1)]);
    let answer = served.get(&format!("/api/v1/query?query=up&time={}.5", NOON + 10));
    let time = format!("{}.500", NOON + 10);
    assert_eq!(
        answer.text(),
        format!(
            "{{\"status\":\"success\",\"data\":{{\"resultType\":\"vector\",\"result\":[\
             {{\"metric\":{{\"Zone\":\"z\",\"__name__\":\"up\",\"job\":\"a\\\"b\"}},\
             \"value\":[{time},\"+Inf\"]}},\
             {{\"metric\":{{\"__name__\":\"up\",\"job\":\"c\"}},\"value\":[{time},\"0.1\"]}}]}}}}"
        )
    );
}

#[test]
fn a_range_vector_and_a_string_are_what_they_are() {
    let served = serve(ServerOptions::default());
    served.put("up", &[], &[(0, 1.0), (10, 2.0), (20, 3.0)]);
    let data = served.data(&format!("/api/v1/query?query=up%5B15s%5D&time={}", NOON + 20));
    let values = json!([[NOON + 10, "2"], [NOON + 20, "3"]]);
    assert_eq!(
        data,
        json!({
            "resultType": "matrix", "result": [{ "metric": { "__name__": "up" }, "values": values }],
        })
    );
    let data = served.data(&format!("/api/v1/query?query=%22a%5Cnb%22&time={NOON}"));
    assert_eq!(data, json!({ "resultType": "string", "result": [NOON, "a\nb"] }));
}

#[test]
fn a_range_query_is_a_matrix_of_the_steps_that_have_a_value() {
    let served = serve(ServerOptions::default());
    served.put("up", &[("job", "a")], &[(0, 1.0), (10, 2.5)]);
    let (start, end) = (NOON - 10, NOON + 20);
    let path = format!("/api/v1/query_range?query=up&start={start}&end={end}&step=10s");
    let values = json!([[NOON, "1"], [NOON + 10, "2.5"], [NOON + 20, "2.5"]]);
    let result = json!([{ "metric": { "__name__": "up", "job": "a" }, "values": values }]);
    assert_eq!(served.data(&path), json!({ "resultType": "matrix", "result": result }));
    // A scalar is one series without labels.
    let path = format!("/api/v1/query_range?query=7&start={NOON}&end={NOON}&step=1");
    let result = json!([{ "metric": {}, "values": [[NOON, "7"]] }]);
    assert_eq!(served.data(&path), json!({ "resultType": "matrix", "result": result }));
}

#[test]
fn a_form_asks_as_an_address_does() {
    let served = serve(ServerOptions::default());
    let form = format!("query={}&time={NOON}", quoted("1 + 1"));
    let headers = [("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")];
    let answer = served.send("POST", "/api/v1/query?time=0", &headers, form.as_bytes());
    assert_eq!(answer.json()["data"]["result"], json!([NOON, "2"]));
}

#[test]
fn what_makes_no_sense_is_told_as_prometheus_does() {
    let served = serve(ServerOptions::default());
    served.put("up", &[], &[(0, 1.0)]);
    let range = |rest: &str| format!("/api/v1/query_range?query=up&{rest}");
    for (path, status, kind, message) in [
        (
            "/api/v1/query?query=".into(),
            400,
            "bad_data",
            "invalid parameter \"query\": unknown position: parse error: no expression found in input",
        ),
        (
            "/api/v1/query?query=up&time=x".into(),
            400,
            "bad_data",
            "invalid parameter \"time\": cannot parse \"x\" to a valid timestamp",
        ),
        (
            "/api/v1/query?query=up&timeout=x".into(),
            400,
            "bad_data",
            "invalid parameter \"timeout\": cannot parse \"x\" to a valid duration",
        ),
        (
            range("end=0&step=1"),
            400,
            "bad_data",
            "invalid parameter \"start\": cannot parse \"\" to a valid timestamp",
        ),
        (
            range("start=5&end=4&step=1"),
            400,
            "bad_data",
            "invalid parameter \"end\": end timestamp must not be before start time",
        ),
        (
            range("start=0&end=4&step=x"),
            400,
            "bad_data",
            "invalid parameter \"step\": cannot parse \"x\" to a valid duration",
        ),
        (
            range("start=0&end=4&step=0"),
            400,
            "bad_data",
            "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer",
        ),
        (
            range("start=0&end=4&step=-1"),
            400,
            "bad_data",
            "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer",
        ),
        (
            range("start=0&end=11001&step=1"),
            400,
            "bad_data",
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ),
        ("/api/v1/nothing".into(), 404, "not_found", "there is nothing here"),
    ] {
        let (found_status, found_kind, found_message) = served.failure(&path);
        assert_eq!(
            (found_status, found_kind.as_str(), found_message.as_str()),
            (status, kind, message),
            "{path}"
        );
    }
    // 11,000 steps are as many as may be asked for.
    assert_eq!(served.get(&range("start=0&end=11000&step=1")).status, 200);
}

#[test]
fn a_query_that_does_not_parse_is_bad_data_one_that_does_not_fit_is_execution() {
    let served = serve(ServerOptions::default());
    let (status, kind, message) = served.failure("/api/v1/query?query=up%7B");
    assert_eq!((status, kind.as_str()), (400, "bad_data"));
    assert!(message.starts_with("invalid parameter \"query\": "), "{message}");
    served.put("a", &[("x", "1")], &[(0, 1.0)]);
    served.put("a", &[("x", "2")], &[(0, 1.0)]);
    served.put("b", &[], &[(0, 1.0)]);
    let query = quoted("b + on() a");
    let (status, kind, _) = served.failure(&format!("/api/v1/query?query={query}&time={NOON}"));
    assert_eq!((status, kind.as_str()), (422, "execution"));
    let query = quoted("a[5m]");
    let path = format!("/api/v1/query_range?query={query}&start={NOON}&end={NOON}&step=1");
    let (status, kind, message) = served.failure(&path);
    assert_eq!((status, kind.as_str()), (400, "bad_data"));
    assert!(message.contains("range vector"), "{message}");
}

#[test]
fn a_query_that_takes_too_long_times_out() {
    let served = serve(ServerOptions::default());
    served.put("up", &[], &[(0, 1.0)]);
    let path = format!("/api/v1/query?query=up&time={NOON}&timeout=0");
    let (status, kind, message) = served.failure(&path);
    assert_eq!((status, kind.as_str()), (503, "timeout"));
    assert_eq!(message, "query timed out in expression evaluation");
}

#[test]
fn a_limit_cuts_the_result_and_says_so() {
    let served = serve(ServerOptions::default());
    for job in ["a", "b", "c"] {
        served.put("up", &[("job", job)], &[(0, 1.0)]);
    }
    for path in [
        format!("/api/v1/query?query=up&time={NOON}&limit=2"),
        format!("/api/v1/query_range?query=up&start={NOON}&end={NOON}&step=1&limit=2"),
    ] {
        let json = served.get(&path).json();
        assert_eq!(json["data"]["result"].as_array().unwrap().len(), 2);
        assert_eq!(json["warnings"], json!(["results truncated due to limit"]));
    }
    let json = served.get(&format!("/api/v1/query?query=up&time={NOON}&limit=3")).json();
    assert_eq!(json.get("warnings"), None);
}

#[test]
fn the_lookback_may_be_asked_for() {
    let served = serve(ServerOptions::default());
    served.put("up", &[], &[(0, 1.0)]);
    let found = |rest: &str| {
        let data = served.data(&format!("/api/v1/query?query=up&time={}&{rest}", NOON + 299));
        data["result"].as_array().unwrap().len()
    };
    assert_eq!((found(""), found("lookback_delta=1m"), found("lookback_delta=300")), (1, 0, 1));
}

#[test]
fn sums_may_be_asked_of_tiers() {
    let served = serve(ServerOptions::default());
    served.put("up", &[], &[(0, 1.0)]);
    for (tiers, status) in
        [("", 200), ("&tiers=exact", 200), ("&tiers=near", 200), ("&tiers=x", 400)]
    {
        let path = format!("/api/v1/query?query=sum_over_time(up[1h])&time={NOON}{tiers}");
        let reply = served.get(&path);
        assert_eq!(reply.status, status, "{tiers}");
        let json = reply.json();
        match status {
            200 => assert_eq!(json["data"]["result"][0]["value"][1], "1", "{json}"),
            _ => assert_eq!(json["errorType"], "bad_data", "{json}"),
        }
    }
}

#[test]
fn stats_tell_what_it_took() {
    let served = serve(ServerOptions::default());
    served.put("up", &[], &[(0, 1.0)]);
    let data = served.data(&format!("/api/v1/query?query=up&time={NOON}&stats=all"));
    assert!(data["stats"]["timings"]["evalTotalTime"].as_f64().unwrap() > 0.0, "{data}");
    let data = served.data(&format!("/api/v1/query?query=up&time={NOON}"));
    assert_eq!(data.get("stats"), None);
}

#[test]
fn an_expression_is_laid_out() {
    let served = serve(ServerOptions::default());
    let query = quoted("sum(rate(up[5m]))by(job)");
    let data = served.data(&format!("/api/v1/format_query?query={query}"));
    assert_eq!(data, "sum by (job) (rate(up[5m]))");
    assert_eq!(failure(&served.get("/api/v1/format_query?query=(")).0, 400);
}
