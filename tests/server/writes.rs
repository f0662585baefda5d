//! Remote write and imported text: what comes in, what does not, and what is told.

use icecore::model::{STALE_MARKER_BITS, Selector};
use icecore::options::{GateOptions, RateLimit};
use icecore::query::SampleRequest;
use icecore::server::{ServerOptions, remote};
use icecore::{Options, TimeRange};
use serde_json::json;

use crate::client::{Answer, NOON, Served, failure, serve, serve_store};

/// A field of bytes in Protocol Buffers' wire format; shorter than 128 bytes.
pub(crate) fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 128);
    let mut out = vec![number << 3 | 2, bytes.len() as u8];
    out.extend_from_slice(bytes);
    out
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// One series of a write request.
pub(crate) fn series(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> Vec<u8> {
    let mut message = Vec::new();
    for (name, value) in labels {
        let label = [field(1, name.as_bytes()), field(2, value.as_bytes())].concat();
        message.extend(field(1, &label));
    }
    for (millis, value) in samples {
        let mut sample = vec![1 << 3 | 1];
        sample.extend_from_slice(&value.to_bits().to_le_bytes());
        sample.push(2 << 3);
        sample.extend(varint(*millis as u64));
        message.extend(field(2, &sample));
    }
    field(1, &message)
}

pub(crate) fn write(served: &Served, secret: &str, message: &[u8]) -> Answer {
    let body = remote::compress(message).unwrap();
    let headers = [
        ("Content-Encoding", "snappy"),
        ("Content-Type", "application/x-protobuf"),
        ("X-Prometheus-Remote-Write-Version", "0.1.0"),
        ("Authorization", &format!("Bearer {secret}")),
    ];
    served.send("POST", "/api/v1/write", &headers, &body)
}

/// All samples: series, milliseconds after noon, bits.
pub(crate) fn stored(served: &Served) -> Vec<(String, i64, u64)> {
    let request = SampleRequest::new(TimeRange::ALL);
    let found = served.engine.samples(&Selector::default(), &request).unwrap();
    let rows = found.iter().flat_map(|found| {
        let samples = found.timestamps.iter().zip(&found.values);
        samples.map(|(nanos, value)| {
            (found.series.to_string(), nanos / 1_000_000 - NOON * 1000, value.to_bits())
        })
    });
    rows.collect()
}

#[test]
fn remote_write_stores_bit_for_bit() {
    let served = serve(ServerOptions::default());
    let stale = f64::from_bits(STALE_MARKER_BITS);
    let noon = NOON * 1000;
    let message = [
        series(&[("__name__", "up"), ("job", "a")], &[(noon, 1.0), (noon + 1, stale)]),
        series(&[("job", "b"), ("__name__", "up")], &[(noon, 0.5)]),
        series(&[("__name__", "down"), ("empty", "")], &[(noon, -0.0)]),
        series(&[("__name__", "none")], &[]),
    ]
    .concat();
    let answer = write(&served, "", &message);
    assert_eq!((answer.status, answer.text()), (204, ""));
    assert_eq!(
        stored(&served),
        [
            ("down".into(), 0, (-0.0f64).to_bits()),
            ("up{job=\"a\"}".into(), 0, 1.0f64.to_bits()),
            ("up{job=\"a\"}".into(), 1, STALE_MARKER_BITS),
            ("up{job=\"b\"}".into(), 0, 0.5f64.to_bits()),
        ]
    );
}

#[test]
fn samples_out_of_order_are_taken_in() {
    let served = serve(ServerOptions::default());
    let noon = NOON * 1000;
    for (millis, value) in [(noon + 5, 1.0), (noon, 2.0), (noon + 5, 3.0)] {
        let message = series(&[("__name__", "up")], &[(millis, value)]);
        assert_eq!(write(&served, "", &message).status, 204);
    }
    let values: Vec<_> =
        stored(&served).iter().map(|(_, at, bits)| (*at, f64::from_bits(*bits))).collect();
    assert_eq!(values, [(0, 2.0), (5, 3.0)]);
}

#[test]
fn what_is_refused_is_told_and_does_not_keep_out_the_others() {
    let served = serve(ServerOptions::default());
    let noon = NOON * 1000;
    let future = served.engine.now().nanos() / 1_000_000 + 86_400_000;
    let message = [
        series(&[("__name__", "up")], &[(noon, 1.0), (future, 2.0)]),
        series(&[("job", "nameless")], &[(noon, 1.0)]),
        series(&[("__name__", "twice"), ("a", "1"), ("a", "2")], &[(noon, 1.0)]),
        series(&[("__name__", "absurd")], &[(i64::MAX, 1.0)]),
    ]
    .concat();
    let (status, kind, message) = failure(&write(&served, "", &message));
    assert_eq!((status, kind.as_str()), (400, "bad_data"));
    assert!(message.starts_with("4 of 5 samples refused"), "{message}");
    for why in ["2 newer than the store takes", "2 with a name or label that breaks a rule"] {
        assert!(message.contains(why), "{message}");
    }
    assert_eq!(stored(&served), [("up".into(), 0, 1.0f64.to_bits())]);
}

#[test]
fn histograms_are_refused_and_exemplars_left_out() {
    let served = serve(ServerOptions::default());
    let noon = NOON * 1000;
    let labels = field(1, &[field(1, b"__name__"), field(2, b"up")].concat());
    let with = |number| field(1, &[labels.clone(), field(number, &[])].concat());
    let float = series(&[("__name__", "up")], &[(noon, 1.0)]);
    let (status, _, message) = failure(&write(&served, "", &[float.clone(), with(4)].concat()));
    assert_eq!(
        (status, message.as_str()),
        (400, "1 of 2 samples refused; 1 native histograms, which are not stored")
    );
    assert_eq!(write(&served, "", &[float, with(3)].concat()).status, 204);
    assert_eq!(stored(&served).len(), 1);
    let metrics = served.get("/metrics");
    assert!(
        metrics.text().contains("icecore_http_exemplars_left_out_total 1\n"),
        "{}",
        metrics.text()
    );
    assert!(metrics.text().contains("icecore_http_histograms_refused_total 1\n"));
}

#[test]
fn metadata_comes_along() {
    let served = serve(ServerOptions::default());
    assert_eq!(
        write(&served, "", &series(&[("__name__", "up_total")], &[(NOON * 1000, 1.0)])).status,
        204
    );
    let said = |kind: u8, family: &str, help: &str| {
        field(3, &[vec![8, kind], field(2, family.as_bytes()), field(4, help.as_bytes())].concat())
    };
    assert_eq!(write(&served, "", &said(1, "up_total", "Ups.")).status, 204);
    assert_eq!(write(&served, "", &said(1, "unknown", "Never seen.")).status, 204);
    let known = json!({ "up_total": [{ "type": "counter", "help": "Ups.", "unit": "" }] });
    assert_eq!(served.data("/api/v1/metadata"), known);
    assert_eq!(served.data("/api/v1/metadata?metric=up_total"), known);
    assert_eq!(served.data("/api/v1/metadata?metric=other"), json!({}));
}

#[test]
fn bodies_that_are_not_remote_write_are_refused() {
    let served = serve(ServerOptions::default());
    let post = |headers: &[(&str, &str)], body: &[u8]| {
        served.send("POST", "/api/v1/write", headers, body).status
    };
    let snappy = [("Content-Encoding", "snappy")];
    let message = remote::compress(&series(&[("__name__", "up")], &[(NOON * 1000, 1.0)])).unwrap();
    assert_eq!(post(&snappy, b"no snappy at all"), 400);
    assert_eq!(post(&snappy, &message[..message.len() - 3]), 400);
    assert_eq!(post(&snappy, &remote::compress(b"\x0a\xff").unwrap()), 400);
    assert_eq!(post(&[("Content-Encoding", "gzip")], &message), 415);
    assert_eq!(post(&[("Content-Encoding", "zstd")], &message), 415);
    let second = ("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request");
    assert_eq!(post(&[snappy[0], second], &message), 415);
    assert_eq!(served.get("/api/v1/write").status, 405);
    assert_eq!(stored(&served), []);
    assert_eq!(post(&snappy, &message), 204);
}

#[test]
fn a_writer_beyond_the_rate_limit_is_told_to_wait() {
    let rate = Some(RateLimit { samples_per_second: 1, burst_samples: 2 });
    let store =
        Options { gate: GateOptions { rate, ..GateOptions::default() }, ..Options::default() };
    let served = serve_store(ServerOptions::default(), store);
    let message = series(&[("__name__", "up")], &[(NOON * 1000, 1.0), (NOON * 1000 + 1, 1.0)]);
    assert_eq!(write(&served, "", &message).status, 204);
    let answer = write(&served, "", &message);
    assert_eq!((answer.status, answer.header("retry-after")), (429, "1"));
}

#[test]
fn text_is_imported() {
    let served = serve(ServerOptions::default());
    let text = format!(
        "# TYPE up gauge\nup{{job=\"a\"}} 1 {0}\nup{{job=\"b\"}} NaN {0}\nno number\n",
        NOON * 1000
    );
    let post = |path: &str, text: &str| served.send("POST", path, &[], text.as_bytes());
    let (status, _, message) = failure(&post("/api/v1/import/prometheus", &text));
    assert_eq!(status, 400);
    assert!(
        message
            .starts_with("1 of 3 samples refused; 1 lines that cannot be read (the first: line 4"),
        "{message}"
    );
    assert_eq!(stored(&served).len(), 2);
    let path = format!("/api/v1/import/prometheus?timestamp={}", NOON * 1000 + 7);
    assert_eq!(post(&path, "bare 5\n").status, 204);
    assert_eq!(stored(&served)[0], ("bare".into(), 7, 5.0f64.to_bits()));
    assert_eq!(post("/api/v1/import/prometheus?timestamp=x", "bare 5\n").status, 400);
    assert_eq!(post("/api/v1/import/prometheus", "now 5\n").status, 204);
}

#[test]
fn a_store_that_is_read_only_takes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    icecore::Engine::open(dir.path(), Options::default()).unwrap().close().unwrap();
    let options = Options { read_only: true, self_metrics: None, ..Options::default() };
    let engine = std::sync::Arc::new(icecore::Engine::open(dir.path(), options).unwrap());
    let listen = "127.0.0.1:0".parse().unwrap();
    let options = ServerOptions { listen, ..ServerOptions::default() };
    let server = icecore::server::Server::spawn(engine, options).unwrap();
    let address = server.local_addr();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let body = remote::compress(&series(&[("__name__", "up")], &[(NOON * 1000, 1.0)])).unwrap();
    let request = crate::client::request("POST", "/api/v1/write", &[], &body);
    std::io::Write::write_all(&mut stream, &request).unwrap();
    let (status, kind, _) = failure(&crate::client::read_answer(&mut stream));
    assert_eq!((status, kind.as_str()), (503, "unavailable"));
}
