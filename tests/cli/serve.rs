//! `icecore serve`: told where it listens, asked, ended by a signal, everything kept.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use tempfile::tempdir;

use crate::run::{icecore, json};

/// The server, and its address.
fn serve(db: &str, more: &[&str]) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_icecore"))
        .args(["serve", "--db", db, "--listen", "127.0.0.1:0", "--json"])
        .args(more)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let told: serde_json::Value = serde_json::from_str(&line).unwrap();
    let url = told["url"].as_str().unwrap();
    (child, url.strip_prefix("http://").unwrap().to_owned())
}

fn ask(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn end(mut child: Child, signal: &str) -> Option<i32> {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    child.wait().unwrap().code()
}

#[test]
fn what_is_written_over_http_is_there_after_a_signal() {
    let dir = tempdir().unwrap();
    let db = dir.path().join("db");
    let db = db.to_str().unwrap();
    for signal in ["-TERM", "-INT"] {
        let (child, address) = serve(db, &["--any-age"]);
        let body = format!("signalled{{by=\"{signal}\"}} 1 1795425382586\n");
        let head =
            "POST /api/v1/import/prometheus HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        let answer = ask(&address, &request);
        assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
        assert_eq!(end(child, signal), Some(0));
    }
    let found = json(&["series", "--db", db, "--json", "signalled"]);
    assert_eq!(found["series"].as_array().unwrap().len(), 2, "{found}");
    assert_eq!(json(&["verify", "--db", db, "--json"])["whole"], true);
}

#[test]
fn tokens_that_others_can_read_are_refused() {
    let dir = tempdir().unwrap();
    let db = dir.path().join("db");
    let tokens = dir.path().join("tokens.toml");
    std::fs::write(
        &tokens,
        "[[token]]\nname = 'a'\nsecret = '0123456789abcdef'\nscopes = ['read']",
    )
    .unwrap();
    let (db, file) = (db.to_str().unwrap(), tokens.to_str().unwrap());
    let mode = |mode| std::fs::set_permissions(&tokens, PermissionsExt::from_mode(mode)).unwrap();
    mode(0o644);
    let ended = icecore(&["serve", "--db", db, "--listen", "127.0.0.1:0", "--tokens", file]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("others may read it"), "{}", ended.stderr);
    mode(0o600);
    let (child, address) = serve(db, &["--tokens", file]);
    let ask = |token: &str| {
        let head = "GET /api/v1/query?query=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
        ask(&address, &format!("{head}Authorization: Bearer {token}\r\n\r\n"))
    };
    assert!(ask("0123456789abcdef").starts_with("HTTP/1.1 200 "));
    assert!(ask("0123456789abcdeg").starts_with("HTTP/1.1 401 "));
    assert_eq!(end(child, "-TERM"), Some(0));
}

#[test]
fn the_world_is_not_listened_to_without_tokens() {
    let dir = tempdir().unwrap();
    let db = dir.path().join("db");
    let ended = icecore(&["serve", "--db", db.to_str().unwrap(), "--listen", "0.0.0.0:0"]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("--tokens FILE"), "{}", ended.stderr);
    assert!(!db.exists(), "nothing was made");
}
