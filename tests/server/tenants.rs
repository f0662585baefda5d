//! A tenant's token sees and writes the tenant's own series, however it asks.

use icecore::server::remote;
use serde_json::{Value, json};

use crate::client::{NOON, Served, quoted, serve, tokens};
use crate::writes::{field, series, stored, write};

const X: &str = "secret-of-tenant-x";

/// Series of both tenants and of none, by the same names; the values tell whose they are.
fn shared() -> Served {
    let served = serve(tokens());
    served.put("up", &[("tenant", "x"), ("job", "mine")], &[(0, 1.0), (10, 1.0)]);
    served.put("up", &[("tenant", "y"), ("job", "theirs")], &[(0, 2.0), (10, 2.0)]);
    served.put("up", &[("job", "nobodys")], &[(0, 3.0), (10, 3.0)]);
    served.put("secret_of_y", &[("tenant", "y"), ("hidden", "label")], &[(0, 2.0), (10, 2.0)]);
    served
}

fn result(served: &Served, query: &str) -> Value {
    let path = format!("/api/v1/query?query={}&time={}", quoted(query), NOON + 10);
    let answer = served.get_as(X, &path);
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    answer.json()["data"]["result"].clone()
}

#[test]
fn no_query_reads_what_is_anothers() {
    let served = shared();
    for query in [
        "up",
        "{tenant=\"y\"}",
        "{tenant!=\"x\",job!=\"\"}",
        "{__name__=~\".+\"}",
        "{__name__=~\".+\",tenant=~\"y|\"}",
        "up or secret_of_y",
        "up{tenant=\"\"}",
        "secret_of_y",
        "up[5m]",
        "up[5m] offset -1m",
        "max_over_time(secret_of_y[10m:1s])",
        "max by(tenant, job) (up)",
        "sum(up)",
        "topk(10, {tenant=~\".*\", __name__!=\"\"})",
        "label_replace(secret_of_y, \"tenant\", \"x\", \"\", \"\")",
        "count_values(\"value\", {__name__=~\"up|secret_of_y\"})",
        "up + on() group_left secret_of_y",
        "up unless {tenant=\"y\"}",
        "scalar(secret_of_y{tenant=\"y\"})",
        "vector(scalar(up{tenant=\"y\"}))",
        "rate(secret_of_y[5m] @ end())",
        "sort(-up)",
        "group by(hidden) ({hidden!=\"\"})",
    ] {
        let text = result(&served, query).to_string();
        for foreign in [
            "theirs",
            "nobodys",
            "hidden",
            "secret_of_y",
            "\"2\"",
            "\"-2\"",
            "\"3\"",
            "\"6\"",
            "\"y\"",
        ] {
            assert!(!text.contains(foreign), "{query}: {text}");
        }
    }
    assert_eq!(result(&served, "sum(up)")[0]["value"][1], "1");
    assert_eq!(result(&served, "absent(secret_of_y)")[0]["value"][1], "1");
}

#[test]
fn a_range_query_is_confined_too() {
    let served = shared();
    let query = quoted("sum by(tenant, job) ({__name__=~\".+\"})");
    let path = format!("/api/v1/query_range?query={query}&start={NOON}&end={}&step=10", NOON + 10);
    let metric = json!({ "job": "mine", "tenant": "x" });
    let values = json!([[NOON, "1"], [NOON + 10, "1"]]);
    let result = served.get_as(X, &path).json()["data"]["result"].clone();
    assert_eq!(result, json!([{ "metric": metric, "values": values }]));
}

#[test]
fn names_and_values_are_the_tenants_own() {
    let served = shared();
    let ask = |path: &str| served.get_as(X, path).json()["data"].clone();
    let mine = json!({ "__name__": "up", "job": "mine", "tenant": "x" });
    for selector in ["up", "{tenant=\"y\"}", "{job=~\".+\"}", "{hidden!=\"\"}"] {
        let found = ask(&format!("/api/v1/series?match[]={}", quoted(selector)));
        let expected =
            if matches!(selector, "up" | "{job=~\".+\"}") { json!([mine]) } else { json!([]) };
        assert_eq!(found, expected, "{selector}");
    }
    for range in [String::new(), format!("start={}&end={}", NOON - 10, NOON + 5)] {
        assert_eq!(ask(&format!("/api/v1/labels?{range}")), json!(["__name__", "job", "tenant"]));
        assert_eq!(ask(&format!("/api/v1/label/__name__/values?{range}")), json!(["up"]));
        assert_eq!(ask(&format!("/api/v1/label/tenant/values?{range}")), json!(["x"]));
        assert_eq!(ask(&format!("/api/v1/label/hidden/values?{range}")), json!([]));
        let of_y = format!("/api/v1/label/job/values?match[]={}&{range}", quoted("{tenant=\"y\"}"));
        assert_eq!(ask(&of_y), json!([]));
    }
}

#[test]
fn federation_and_metadata_are_confined() {
    let served = serve(tokens());
    let text = "# HELP up Ups.\n# TYPE up gauge\nup 1\n# HELP theirs Secret.\n# TYPE theirs gauge\ntheirs 2\n";
    for secret in [X, "secret-of-tenant-y", "secret-of-the-admin"] {
        let text = if secret == X { "up 1\n" } else { text };
        let headers = [("Authorization", &*format!("Bearer {secret}"))];
        assert_eq!(
            served.send("POST", "/api/v1/import/prometheus", &headers, text.as_bytes()).status,
            204
        );
    }
    let federated =
        served.get_as(X, &format!("/federate?match[]={}", quoted("{__name__=~\".+\"}")));
    let lines: Vec<&str> = federated.text().lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines.len(), 1, "{}", federated.text());
    assert!(lines[0].starts_with("up{tenant=\"x\"} 1 "), "{}", lines[0]);
    let metadata = served.get_as(X, "/api/v1/metadata").json()["data"].clone();
    assert_eq!(metadata, json!({ "up": [{ "type": "gauge", "help": "Ups.", "unit": "" }] }));
    assert_eq!(served.get_as(X, "/api/v1/metadata?metric=theirs").json()["data"], json!({}));
}

#[test]
fn a_tenant_does_not_tell_others_what_their_metrics_are() {
    let served = serve(tokens());
    let headers = [("Authorization", "Bearer secret-of-tenant-y")];
    let text = b"# HELP up Nonsense.\n# TYPE up counter\nup 1\n";
    assert_eq!(served.send("POST", "/api/v1/import/prometheus", &headers, text).status, 204);
    let said = field(3, &[vec![8, 1], field(2, b"up"), field(4, b"Nonsense.")].concat());
    assert_eq!(write(&served, "secret-of-tenant-y", &said).status, 204);
    assert_eq!(served.get_as("secret-of-the-admin", "/api/v1/metadata").json()["data"], json!({}));
}

#[test]
fn what_tells_of_the_whole_store_is_not_for_tenants() {
    let served = shared();
    for path in ["/api/v1/status/store", "/api/v1/status/tsdb", "/metrics"] {
        assert_eq!(served.get_as(X, path).status, 403, "{path}");
        assert_eq!(served.get_as("secret-of-reader", path).status, 200, "{path}");
    }
}

#[test]
fn what_a_tenant_writes_is_its_own() {
    let served = serve(tokens());
    let noon = NOON * 1000;
    let message = [
        series(&[("__name__", "a")], &[(noon, 1.0)]),
        series(&[("__name__", "b"), ("tenant", "y")], &[(noon, 1.0)]),
        series(&[("__name__", "c"), ("tenant", "y"), ("tenant", "z")], &[(noon, 1.0)]),
    ]
    .concat();
    assert_eq!(write(&served, X, &message).status, 204);
    let names: Vec<String> = stored(&served).into_iter().map(|row| row.0).collect();
    assert_eq!(names, ["a{tenant=\"x\"}", "b{tenant=\"x\"}", "c{tenant=\"x\"}"]);
}

#[test]
fn remote_read_is_confined() {
    let served = shared();
    let matcher = |kind: u8, name: &str, value: &str| {
        field(3, &[vec![8, kind], field(2, name.as_bytes()), field(3, value.as_bytes())].concat())
    };
    let times = [vec![8, 0], [&[16][..], &[0xff; 8], &[0x7f]].concat()].concat();
    for matchers in [
        matcher(2, "__name__", ".+"),
        matcher(0, "tenant", "y"),
        matcher(1, "tenant", "x"),
        Vec::new(),
    ] {
        let request = field(1, &[times.clone(), matchers].concat());
        let body = remote::compress(&request).unwrap();
        let headers = [("Authorization", &*format!("Bearer {X}"))];
        let answer = served.send("POST", "/api/v1/read", &headers, &body);
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        let response = remote::decompress(&answer.body, 1 << 20).unwrap();
        let text = String::from_utf8_lossy(&response);
        for foreign in ["theirs", "nobodys", "secret_of_y", "hidden"] {
            assert!(!text.contains(foreign), "{text}");
        }
    }
}
