//! How much at once: bodies, answers, connections, queries; hanging up; shutting down.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use icecore::query::Limits;
use icecore::server::ServerOptions;
use serde_json::Value;

use crate::client::{NOON, Served, read_answer, request, serve};

/// Enough series and samples that reading them all takes a while.
fn large(options: ServerOptions, series: usize) -> Served {
    let served = serve(options);
    let samples: Vec<(i64, f64)> = (0..10_000).map(|i| (i, (i as f64).sin())).collect();
    for i in 0..series {
        served.put("load", &[("i", &i.to_string())], &samples);
    }
    served
}

fn unzipped(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

fn zipped(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

#[test]
fn answers_are_compressed_where_that_is_asked_for_and_worth_it() {
    let served = large(ServerOptions::default(), 60);
    let gzip = [("Accept-Encoding", "gzip, deflate")];
    let small = served.send("GET", "/api/v1/query?query=1", &gzip, &[]);
    assert_eq!(small.header("content-encoding"), "");
    // One that goes whole, and one that goes in pieces.
    for step in [300, 10] {
        let path =
            format!("/api/v1/query_range?query=load&start={NOON}&end={}&step={step}", NOON + 9_990);
        let plain = served.get(&path);
        assert_eq!(plain.header("content-encoding"), "");
        assert_eq!(
            plain.header("transfer-encoding") == "chunked",
            step == 10,
            "{:?}",
            plain.headers
        );
        let packed = served.send("GET", &path, &gzip, &[]);
        assert_eq!(packed.header("content-encoding"), "gzip");
        assert_eq!(packed.header("vary"), "Accept-Encoding");
        assert!(packed.body.len() * 2 < plain.body.len());
        assert_eq!(unzipped(&packed.body), plain.body);
        let json: Value = plain.json();
        assert_eq!(json["data"]["result"].as_array().unwrap().len(), 60);
    }
}

#[test]
fn bodies_are_bounded_packed_and_unpacked() {
    let options = ServerOptions {
        body_bytes_max: 2_000,
        decoded_bytes_max: 4_000,
        ..ServerOptions::default()
    };
    let served = serve(options);
    let line = |i: usize| format!("up{{i=\"{i:04}\"}} 1\n");
    let text: String = (0..200).map(line).collect();
    let post = |headers: &[(&str, &str)], body: &[u8]| {
        served.send("POST", "/api/v1/import/prometheus", headers, body).status
    };
    let gzip = [("Content-Encoding", "gzip")];
    assert_eq!(post(&[], &text.as_bytes()[..1_995]), 204);
    assert_eq!(post(&[], text.as_bytes()), 413);
    assert_eq!(post(&gzip, &zipped(text.as_bytes())), 204);
    let longer = text.repeat(2);
    assert!(zipped(longer.as_bytes()).len() < 2_000);
    assert_eq!(post(&gzip, &zipped(longer.as_bytes())), 413);
    assert_eq!(post(&gzip, b"no gzip"), 400);
    let form = format!("query=1&padding={}", "x".repeat(3_000));
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    assert_eq!(served.send("POST", "/api/v1/query", &headers, form.as_bytes()).status, 413);
}

#[test]
fn a_query_that_costs_too_much_is_refused() {
    let limits = Limits { samples_max: 1_000, ..Limits::default() };
    let served = large(ServerOptions { limits, ..ServerOptions::default() }, 1);
    let path = format!("/api/v1/query?query=sum_over_time(load%5B3h%5D)&time={}", NOON + 9_999);
    let (status, kind, message) = served.failure(&path);
    assert_eq!((status, kind.as_str()), (422, "execution"), "{message}");
    assert!(message.contains("1000 samples"), "{message}");
}

#[test]
fn a_client_that_hangs_up_frees_its_place() {
    let options = ServerOptions {
        queries_max: 1,
        turn_wait: Duration::from_secs(15),
        ..ServerOptions::default()
    };
    let served = large(options, 200);
    // By itself this takes far longer than the test may.
    let query = "count(quantile_over_time(0.5,load%5B3h:1s%5D))";
    let path =
        format!("/api/v1/query_range?query={query}&start={NOON}&end={}&step=1", NOON + 9_999);
    let mut stream = served.connect();
    stream.write_all(&request("GET", &path, &[], &[])).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    stream.shutdown(Shutdown::Both).unwrap();
    drop(stream);
    let began = Instant::now();
    assert_eq!(served.get("/api/v1/query?query=1").status, 200);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn whoever_waits_too_long_for_a_turn_is_told_to_come_back() {
    let options = ServerOptions {
        queries_max: 1,
        turn_wait: Duration::from_millis(50),
        ..ServerOptions::default()
    };
    let served = large(options, 200);
    let query = "count(quantile_over_time(0.5,load%5B3h:1s%5D))";
    let path = format!(
        "/api/v1/query_range?query={query}&start={NOON}&end={}&step=1&timeout=3s",
        NOON + 9_999
    );
    let mut stream = served.connect();
    stream.write_all(&request("GET", &path, &[], &[])).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let (status, kind, message) = served.failure("/api/v1/query?query=1");
    assert_eq!((status, kind.as_str()), (503, "unavailable"));
    assert_eq!(message, "too many queries at once; try again later");
    // The one that runs is told of its own timeout.
    let answer = read_answer(&mut stream);
    assert_eq!((answer.status, answer.json()["errorType"].as_str()), (503, Some("timeout")));
}

#[test]
fn connections_beyond_the_bound_wait() {
    let served = serve(ServerOptions { connections_max: 2, ..ServerOptions::default() });
    let first = served.connect();
    let _second = served.connect();
    std::thread::sleep(Duration::from_millis(100));
    let mut third = served.connect();
    third.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    third.write_all(&request("GET", "/-/ready", &[], &[])).unwrap();
    assert!(third.read(&mut [0; 1]).is_err(), "there is no room yet");
    drop(first);
    third.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(read_answer(&mut third).status, 200);
}

#[test]
fn who_says_nothing_is_cut_off() {
    let options = ServerOptions {
        header_timeout: Duration::from_millis(200),
        transfer_timeout: Duration::from_millis(200),
        ..ServerOptions::default()
    };
    let served = serve(options);
    let closed = |stream: &mut TcpStream| {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).map(|_| rest)
    };
    let began = Instant::now();
    // Nothing at all, half a head, half a body.
    assert!(closed(&mut served.connect()).is_ok());
    let mut half = served.connect();
    half.write_all(b"GET / HTTP/1.1\r\nHost: loc").unwrap();
    assert!(closed(&mut half).is_ok());
    let mut half = served.connect();
    half.write_all(b"POST /api/v1/write HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 9\r\n\r\nabc").unwrap();
    assert_eq!(read_answer(&mut half).status, 408);
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn what_is_no_http_is_refused_and_the_server_goes_on() {
    let served = serve(ServerOptions::default());
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        &[0; 300_000],
    ] {
        let mut stream = served.connect();
        let _ = stream.write_all(garbage);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert_eq!(served.get("/-/ready").status, 200);
}

#[test]
fn a_shutdown_lets_requests_end_and_leaves_the_engine_open() {
    let mut served = large(ServerOptions::default(), 20);
    let path = format!("/api/v1/query_range?query=load&start={NOON}&end={}&step=1", NOON + 9_999);
    let mut stream = served.connect();
    let mut idle = served.connect();
    stream.write_all(&request("GET", &path, &[], &[])).unwrap();
    // Begun for sure once the first byte is here.
    let mut first = [0; 1];
    stream.read_exact(&mut first).unwrap();
    let server = served.server.take().unwrap();
    let ending = std::thread::spawn(move || server.shutdown());
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(b"\r\n0\r\n\r\n"), "the last piece of nothing is missing");
    ending.join().unwrap();
    assert_eq!(idle.read(&mut [0; 1]).unwrap_or(0), 0);
    assert!(TcpStream::connect(served.address).is_err());
    served.put("after", &[], &[(0, 1.0)]);
    assert_eq!(served.engine.label_values("__name__", &Default::default()), ["after", "load"]);
}

#[test]
fn a_shutdown_does_not_wait_for_ever() {
    let options =
        ServerOptions { shutdown_timeout: Duration::from_millis(300), ..ServerOptions::default() };
    let mut served = large(options, 200);
    let query = "count(quantile_over_time(0.5,load%5B3h:1s%5D))";
    let path =
        format!("/api/v1/query_range?query={query}&start={NOON}&end={}&step=1", NOON + 9_999);
    let mut stream = served.connect();
    stream.write_all(&request("GET", &path, &[], &[])).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let began = Instant::now();
    served.server.take().unwrap().shutdown();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
