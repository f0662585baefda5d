//! A server on a free port, and a blocking client that says exactly what it is told to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use icecore::model::Metadata;
use icecore::monitor::{FederationMonitor, MonitorOptions};
use icecore::options::GateOptions;
use icecore::server::{Server, ServerOptions, Tokens};
use icecore::{Engine, Options, Timestamp};
use serde_json::Value;

/// Noon of a day in 2026, seconds: when the tests' samples are.
pub(crate) const NOON: i64 = 1_780_056_000;

/// A store in a directory of its own, served.
pub(crate) struct Served {
    pub(crate) engine: Arc<Engine>,
    pub(crate) address: SocketAddr,
    pub(crate) server: Option<Server>,
    _dir: tempfile::TempDir,
}

pub(crate) fn serve(options: ServerOptions) -> Served {
    serve_store(options, Options::default())
}

pub(crate) fn serve_store(options: ServerOptions, store: Options) -> Served {
    let dir = tempfile::tempdir().unwrap();
    let gate = GateOptions { past: None, ..store.gate.clone() };
    let store = Options { self_metrics: None, gate, ..store };
    let engine = Arc::new(Engine::open(dir.path(), store).unwrap());
    let listen = "127.0.0.1:0".parse().unwrap();
    let server = Server::spawn(Arc::clone(&engine), ServerOptions { listen, ..options }).unwrap();
    Served { engine, address: server.local_addr(), server: Some(server), _dir: dir }
}

/// A monitored host that serves its store, and says itself what runs.
pub(crate) fn serve_host(options: ServerOptions) -> (Served, FederationMonitor) {
    let dir = tempfile::tempdir().unwrap();
    let store = Options { self_metrics: None, ..Options::default() };
    let engine = Arc::new(Engine::open(dir.path(), store).unwrap());
    let monitor = FederationMonitor::open(Arc::clone(&engine), MonitorOptions::default()).unwrap();
    let listen = "127.0.0.1:0".parse().unwrap();
    let options = ServerOptions { listen, live: Some(monitor.live_view()), ..options };
    let server = Server::spawn(Arc::clone(&engine), options).unwrap();
    let served = Served { engine, address: server.local_addr(), server: Some(server), _dir: dir };
    (served, monitor)
}

/// Two tenants, a reader, a writer and an administrator.
pub(crate) fn tokens() -> ServerOptions {
    let text = r#"
        token = [
          { name = "reader", secret = "secret-of-reader", scopes = ["read"] },
          { name = "writer", secret = "secret-of-writer", scopes = ["write"] },
          { name = "admin", secret = "secret-of-the-admin", scopes = ["admin"] },
          { name = "x", secret = "secret-of-tenant-x", scopes = ["read", "write"], tenant = "x" },
          { name = "y", secret = "secret-of-tenant-y", scopes = ["read", "write"], tenant = "y" },
        ]"#;
    ServerOptions { tokens: Some(Tokens::parse(text).unwrap()), ..ServerOptions::default() }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }
}

impl Served {
    /// Sends these bytes, and reads the one answer.
    pub(crate) fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = self.connect();
        // A server that refuses may hang up before it has read all.
        let _ = stream.write_all(request);
        read_answer(&mut stream)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.raw(&request(method, path, headers, body))
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], &[])
    }

    /// A GET that succeeds, its `data`.
    pub(crate) fn data(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let json = answer.json();
        assert_eq!(json["status"], "success");
        json["data"].clone()
    }

    /// A GET with a token.
    pub(crate) fn get_as(&self, secret: &str, path: &str) -> Answer {
        self.send("GET", path, &[("Authorization", &format!("Bearer {secret}"))], &[])
    }

    /// A failure's status, kind and message.
    pub(crate) fn failure(&self, path: &str) -> (u16, String, String) {
        failure(&self.get(path))
    }

    /// Puts samples of one series in, `(seconds after noon, value)`.
    pub(crate) fn put(&self, name: &str, labels: &[(&str, &str)], samples: &[(i64, f64)]) {
        let writer = self.engine.writer("test");
        let labels = labels.iter().copied();
        let series = writer.series_named(name, labels, &Metadata::default()).unwrap();
        let at = |seconds: &i64| Timestamp::from_secs(NOON + seconds).nanos();
        let timestamps = samples.iter().map(|(seconds, _)| at(seconds)).collect();
        let values = samples.iter().map(|(_, value)| *value).collect();
        writer.append_column(&series, timestamps, values).unwrap().wait().unwrap();
    }
}

pub(crate) fn failure(answer: &Answer) -> (u16, String, String) {
    let json = answer.json();
    assert_eq!(json["status"], "error");
    let text = |name: &str| json[name].as_str().unwrap().to_owned();
    (answer.status, text("errorType"), text("error"))
}

pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        request.push_str("Host: localhost\r\n");
    }
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || method == "POST" {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    request.push_str("\r\n");
    let mut request = request.into_bytes();
    request.extend_from_slice(body);
    request
}

pub(crate) fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    // A reset after the answer is no matter; one before it shows below.
    let _ = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut body = bytes[end + 4..].to_vec();
    if headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked") {
        body = dechunked(&body);
    }
    Answer { status, headers, body }
}

fn dechunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        body.extend_from_slice(&rest[end + 2..end + 2 + length]);
        rest = &rest[end + 4 + length..];
    }
    body
}

/// `text` as a parameter's value.
pub(crate) fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    let quote =
        |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(quote).collect()
}
