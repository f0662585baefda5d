//! What there is to ask about, what the store tells of itself, what is empty here.

use icecore::server::ServerOptions;
use serde_json::{Value, json};

use crate::client::{NOON, Served, quoted, serve};

fn filled() -> Served {
    let served = serve(ServerOptions::default());
    served.put("up", &[("job", "a"), ("Zone", "z")], &[(0, 1.0)]);
    served.put("up", &[("job", "b")], &[(3600, 1.0)]);
    served.put("http.status", &[("code.x", "200")], &[(0, 1.0)]);
    served.engine.freeze().unwrap();
    served
}

fn matching(selector: &str) -> String {
    format!("match[]={}", quoted(selector))
}

#[test]
fn series_are_the_union_of_what_is_matched() {
    let served = filled();
    let a = json!({ "__name__": "up", "Zone": "z", "job": "a" });
    let b = json!({ "__name__": "up", "job": "b" });
    let ask = |rest: &str| served.data(&format!("/api/v1/series?{rest}"));
    let both = format!("{}&{}", matching("up{job=\"a\"}"), matching("{job=~\"a|b\"}"));
    assert_eq!(ask(&both), json!([a, b]));
    let early = format!("{}&start={}&end={}", matching("up"), NOON - 60, NOON + 60);
    assert_eq!(ask(&early), json!([a]));
    let cut = served.get(&format!("/api/v1/series?{}&limit=1", matching("up"))).json();
    assert_eq!(
        (&cut["data"], &cut["warnings"][0]),
        (&json!([a]), &json!("results truncated due to limit"))
    );
    for (path, message) in [
        ("/api/v1/series".to_owned(), "no match[] parameter provided"),
        (
            format!("/api/v1/series?{}", matching("{job=~\".*\"}")),
            "invalid parameter \"match[]\": match[] must contain at least one non-empty matcher",
        ),
    ] {
        assert_eq!(served.failure(&path), (400, "bad_data".into(), message.into()));
    }
    assert_eq!(served.failure(&format!("/api/v1/series?{}", matching("up{"))).0, 400);
}

#[test]
fn label_names_and_values() {
    let served = filled();
    assert_eq!(served.data("/api/v1/labels"), json!(["Zone", "__name__", "code.x", "job"]));
    let of_a = format!("/api/v1/labels?{}", matching("{job=\"b\"}"));
    assert_eq!(served.data(&of_a), json!(["__name__", "job"]));
    let late = format!("/api/v1/labels?start={}", NOON + 1800);
    assert_eq!(served.data(&late), json!(["__name__", "job"]));
    let values =
        |name: &str, rest: &str| served.data(&format!("/api/v1/label/{name}/values?{rest}"));
    assert_eq!(values("job", ""), json!(["a", "b"]));
    assert_eq!(values("__name__", ""), json!(["http.status", "up"]));
    assert_eq!(values("job", &format!("end={}", NOON + 60)), json!(["a"]));
    assert_eq!(values("job", &matching("{Zone=\"z\"}")), json!(["a"]));
    assert_eq!(values("job", "limit=1"), json!(["a"]));
    assert_eq!(values("none", ""), json!([]));
    assert_eq!(values("code.x", ""), json!(["200"]));
    assert_eq!(values("U__code_2e_x", ""), json!(["200"]));
    assert_eq!(served.failure("/api/v1/label/%0A/values").0, 400);
}

#[test]
fn what_is_not_here_is_empty_as_clients_expect() {
    let served = serve(ServerOptions::default());
    for (path, data) in [
        ("query_exemplars?query=up", json!([])),
        ("rules", json!({ "groups": [] })),
        ("alerts", json!({ "alerts": [] })),
        ("alertmanagers", json!({ "activeAlertmanagers": [], "droppedAlertmanagers": [] })),
        ("status/config", json!({ "yaml": "" })),
    ] {
        assert_eq!(served.data(&format!("/api/v1/{path}")), data, "{path}");
    }
    let targets = served.data("/api/v1/targets");
    assert_eq!(targets["activeTargets"], json!([]));
    for path in ["status/runtimeinfo", "status/flags"] {
        assert!(served.data(&format!("/api/v1/{path}")).is_object());
    }
    let build = served.data("/api/v1/status/buildinfo");
    assert!(build["revision"].as_str().unwrap().starts_with("icecore "), "{build}");
    for path in ["/-/healthy", "/-/ready"] {
        assert_eq!(served.get(path).status, 200);
    }
}

#[test]
fn the_store_tells_its_state() {
    let served = filled();
    let store = served.data("/api/v1/status/store");
    assert_eq!((&store["samples"], &store["series"]), (&json!(3), &json!(3)));
    assert_eq!(store["from"], json!(NOON as f64));
    assert_eq!(store["to"], json!((NOON + 3600) as f64));
    assert_eq!(store["read_only"], Value::Null);
    assert_eq!(store["refusals"], json!([]));
    assert_eq!(store["tiers"][0]["tier"], "raw");
    assert_eq!(store["tiers"][0]["samples"], json!(3));
    assert!(store["bytes"].as_u64().unwrap() > 0 && store["parts"].as_u64().unwrap() > 0);
}

#[test]
fn the_number_of_series_is_told_by_metric_and_label() {
    let tsdb = filled().data("/api/v1/status/tsdb?limit=1");
    assert_eq!(tsdb["headStats"]["numSeries"], 3);
    assert_eq!(tsdb["seriesCountByMetricName"], json!([{ "name": "up", "value": 2 }]));
    assert_eq!(tsdb["labelValueCountByLabelName"], json!([{ "name": "__name__", "value": 2 }]));
}

#[test]
fn the_page_is_safe_to_open() {
    let served = serve(ServerOptions::default());
    let page = served.get("/");
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    let policy = page.header("content-security-policy");
    for rule in ["default-src 'none'", "frame-ancestors 'none'", "connect-src 'self'"] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert!(
        !policy.contains("unsafe-eval") && !policy.contains("script-src 'unsafe-inline'"),
        "{policy}"
    );
    assert_eq!(page.header("x-content-type-options"), "nosniff");
}
