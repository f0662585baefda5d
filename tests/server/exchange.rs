//! Remote read, federation, and what a scrape of the server gets.

use icecore::server::{ServerOptions, remote};

use crate::client::{NOON, quoted, serve};
use crate::writes::field;

fn varint(number: u8, mut value: u64) -> Vec<u8> {
    let mut out = vec![number << 3];
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

fn query(start: i64, end: i64, name: &str) -> Vec<u8> {
    let matcher = field(3, &[field(2, b"__name__"), field(3, name.as_bytes())].concat());
    field(1, &[varint(1, start as u64), varint(2, end as u64), matcher].concat())
}

#[test]
fn remote_read_answers_each_query_with_its_samples() {
    let served = serve(ServerOptions::default());
    served.put("up", &[("job", "a")], &[(0, 1.0), (10, 2.0), (20, 3.0)]);
    served.put("down", &[], &[(0, 7.0)]);
    let noon = NOON * 1000;
    let request =
        [query(noon, noon + 10_000, "up"), query(noon, noon, "none"), query(0, noon, "down")];
    let body = remote::compress(&request.concat()).unwrap();
    let answer = served.send("POST", "/api/v1/read", &[("Content-Encoding", "snappy")], &body);
    assert_eq!(answer.header("content-type"), "application/x-protobuf");
    assert_eq!(answer.header("content-encoding"), "snappy");
    let response = remote::decompress(&answer.body, 1 << 20).unwrap();
    // Results stand in field 1, and hold series as a write request does.
    let mut results = Vec::new();
    let mut rest = response.as_slice();
    while let [0x0a, length, after @ ..] = rest {
        let (result, after) = after.split_at(usize::from(*length));
        results.push(remote::decode_write(result).unwrap());
        rest = after;
    }
    assert_eq!(results.len(), 3);
    assert_eq!(results[0].series[0].labels, [("__name__", "up"), ("job", "a")]);
    assert_eq!(results[0].series[0].samples, [(noon, 1.0), (noon + 10_000, 2.0)]);
    assert_eq!(results[1].series, []);
    assert_eq!(results[2].series[0].samples, [(noon, 7.0)]);
}

#[test]
fn a_reader_that_takes_no_samples_is_told() {
    let served = serve(ServerOptions::default());
    let post = |message: &[u8]| {
        let body = remote::compress(message).unwrap();
        served.send("POST", "/api/v1/read", &[], &body).status
    };
    assert_eq!(post(&[query(0, 1, "up"), varint(2, 1)].concat()), 400);
    assert_eq!(post(&[query(0, 1, "up"), field(2, &[1, 0])].concat()), 200);
    assert_eq!(served.send("POST", "/api/v1/read", &[], b"no snappy").status, 400);
    assert_eq!(served.get("/api/v1/read").status, 405);
}

#[test]
fn federation_gives_the_latest_samples_with_their_times() {
    let served = serve(ServerOptions::default());
    let now = served.engine.now().nanos() / 1_000_000_000 - NOON;
    served.put("up", &[("job", "a")], &[(now - 20, 1.0), (now - 10, 0.5)]);
    served.put("up", &[("job", "old")], &[(now - 400, 1.0)]);
    let stale = f64::from_bits(icecore::model::STALE_MARKER_BITS);
    served.put("up", &[("job", "stale")], &[(now - 20, 1.0), (now - 10, stale)]);
    let answer = served.get(&format!("/federate?match[]={}&match[]=up", quoted("{job=\"a\"}")));
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let lines: Vec<&str> = answer.text().lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines, [format!("up{{job=\"a\"}} 0.5 {}", (NOON + now - 10) * 1000)]);
    assert_eq!(served.failure("/federate").0, 400);
}

#[test]
fn a_scrape_gets_what_the_server_counts() {
    let served = serve(ServerOptions::default());
    served.get("/api/v1/query?query=1");
    served.get("/api/v1/label/job/values");
    served.get("/no/such/path");
    let metrics = served.get("/metrics");
    for line in [
        "icecore_http_requests_total{code=\"200\",handler=\"/api/v1/query\"} 1\n",
        "icecore_http_requests_total{code=\"200\",handler=\"/api/v1/label/{name}/values\"} 1\n",
        "icecore_http_requests_total{code=\"404\",handler=\"other\"} 1\n",
        "icecore_http_request_duration_seconds_count{handler=\"/api/v1/query\"} 1\n",
        "icecore_http_queries_running 1\n",
    ] {
        assert!(metrics.text().contains(line), "{line} is not in\n{}", metrics.text());
    }
    // What it tells can be read back by what reads such texts.
    let read = served.send("POST", "/api/v1/import/prometheus", &[], &metrics.body);
    assert_eq!(read.status, 204, "{}", read.text());
}
