//! `icecore top` where there is no terminal: one frame for people or programs, and why there is none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use icecore::{Engine, Options};
use tempfile::tempdir;

use crate::host::history;
use crate::run::{icecore, json};

/// Every file with its bytes.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn a_store_at_rest_is_printed_and_left_as_it_was() {
    let dir = tempdir().unwrap();
    let db = dir.path().join("db");
    history(&db, "ann\u{202e}", 30, 0..10);
    let before = files(&db);
    let db_name = db.to_str().unwrap();

    let facts = json(&["top", "--db", db_name, "--once", "--json", "--order", "slowest"]);
    assert_eq!((&facts["load"]["queries"], &facts["load"]["failed"]), (&30.into(), &10.into()));
    assert_eq!(facts["recent"].as_array().unwrap().len(), 30);
    let lengths: Vec<u64> = facts["recent"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["length_us"].as_u64().unwrap())
        .collect();
    assert!(lengths.is_sorted_by(|a, b| a >= b), "{lengths:?}");
    assert_eq!(facts["sources"][0]["error"], "busy");

    let text = icecore(&["top", "--db", db_name, "--once"]).success();
    for piece in [
        "icecore top  ",
        "at rest",
        "failed 33 %",
        "Recent  30",
        "SELECT ? FROM orders",
        "Sources  1",
        "Running  none",
    ] {
        assert!(text.contains(piece), "no {piece:?} in\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    assert!(!text.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{202e}')), "{text:?}");
    let wide = icecore(&["top", "--db", db_name, "--once", "--width", "200"]).success();
    assert!(wide.lines().any(|line| line.chars().count() > 150), "{wide}");

    let failed = ["top", "--db", db_name, "--once", "--json", "--outcome", "error,timed_out"];
    assert_eq!(json(&failed)["recent_count"], 10);
    let none = ["top", "--db", db_name, "--once", "--json", "--text", "no such text"];
    assert_eq!(json(&none)["recent_count"], 0);
    let early = ["top", "--db", db_name, "--once", "--json", "--at", "2001-01-01"];
    assert_eq!(json(&early)["load"]["queries"], 0);
    assert_eq!(files(&db), before, "it was only read");
}

#[test]
fn a_store_without_a_monitor_says_so() {
    let dir = tempdir().unwrap();
    let db = dir.path().join("db");
    Engine::open(&db, Options::default()).unwrap().close().unwrap();
    let text = icecore(&["top", "--db", db.to_str().unwrap(), "--once"]).success();
    assert!(text.contains("No monitor writes to this store"), "{text}");
}

#[test]
fn what_cannot_be_shown_is_said() {
    let dir = tempdir().unwrap();
    let db = dir.path().join("db");
    let held = Engine::open(&db, Options::default()).unwrap();
    let db = db.to_str().unwrap();
    let ended = icecore(&["top", "--db", db, "--once"]);
    assert_eq!(ended.code, 1);
    for piece in ["is open in a host that runs", "--url"] {
        assert!(ended.stderr.contains(piece), "{}", ended.stderr);
    }
    held.close().unwrap();

    let ended = icecore(&["top", "--db", db]);
    assert_eq!((ended.code, ended.stdout.as_str()), (2, ""));
    assert!(ended.stderr.contains("--once"), "{}", ended.stderr);
    for (arguments, code) in [
        (&["top", "--once"][..], 2),
        (&["top", "--db", "no-such-store", "--once"], 1),
        (&["top", "--db", db, "--json"], 2),
        (&["top", "--db", db, "--once", "--order", "longest"], 2),
        (&["top", "--db", db, "--once", "--outcome", "lost"], 2),
        (&["top", "--db", db, "--once", "--window", "2y"], 2),
        (&["top", "--db", db, "--once", "--width", "7"], 2),
        (&["top", "--db", db, "--once", "--token-file", "x"], 2),
        (&["top", "--url", "https://host", "--once"], 2),
        (&["top", "--url", "no address", "--once"], 2),
        (&["top", "--url", "http://127.0.0.1:1", "--interval", "1ms", "--once"], 2),
        // Nobody listens there.
        (&["top", "--url", "http://127.0.0.1:1", "--once"], 1),
    ] {
        let ended = icecore(arguments);
        assert_eq!((ended.code, ended.stdout.as_str()), (code, ""), "{arguments:?}: {ended:?}");
        assert!(!ended.stderr.is_empty());
    }
}

#[cfg(feature = "server")]
mod served {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;
    use std::sync::Arc;

    use icecore::monitor::{FederationMonitor, MonitorOptions, Phase, QueryStart};
    use icecore::server::{Server, ServerOptions, Tokens};

    use super::*;

    fn host(dir: &Path, tokens: Option<Tokens>) -> (Arc<Engine>, FederationMonitor, Server) {
        let engine = Arc::new(Engine::open(dir, Options::default()).unwrap());
        let monitor =
            FederationMonitor::open(Arc::clone(&engine), MonitorOptions::default()).unwrap();
        let live = Some(monitor.live_view());
        let listen = "127.0.0.1:0".parse().unwrap();
        let options = ServerOptions { listen, live, tokens, ..ServerOptions::default() };
        let server = Server::spawn(Arc::clone(&engine), options).unwrap();
        (engine, monitor, server)
    }

    #[test]
    fn a_host_that_runs_is_seen_with_what_it_does_now() {
        let dir = tempdir().unwrap();
        let (_engine, monitor, server) = host(&dir.path().join("db"), None);
        let lake = monitor.source("lake");
        monitor.start_query("SELECT 1").finish();
        monitor.flush().unwrap();
        let query = monitor
            .start_query(QueryStart { user: "ann", ..QueryStart::from("SELECT * FROM lake") });
        let _phase = query.phase(Phase::Federate);
        let _call = query.call(&lake);
        let address = server.local_addr().to_string();

        let facts = json(&["top", "--url", &address, "--once", "--json"]);
        let running = &facts["running"][0];
        assert_eq!((&running["phase"], &running["user"]), (&"federate".into(), &"ann".into()));
        assert_eq!(facts["live"], true);
        let text = icecore(&["top", "--url", &format!("http://{address}/"), "--once"]).success();
        for piece in ["live", "Running  1", "federate", "lake", "SELECT * FROM lake", "Recent  1"] {
            assert!(text.contains(piece), "no {piece:?} in\n{text}");
        }
        query.finish();
        monitor.flush().unwrap();
        assert_eq!(json(&["top", "--url", &address, "--once", "--json"])["running_count"], 0);
    }

    #[test]
    fn a_token_comes_from_a_file_or_the_environment() {
        let dir = tempdir().unwrap();
        let tokens = "[[token]]\nname = 'a'\nsecret = 'secret-of-a-reader'\nscopes = ['read']\n\
            [[token]]\nname = 'b'\nsecret = 'secret-of-a-tenant'\nscopes = ['read']\ntenant = 'x'";
        let tokens = Tokens::parse(tokens).unwrap();
        let (_engine, _monitor, server) = host(&dir.path().join("db"), Some(tokens));
        let url = format!("http://{}", server.local_addr());
        let top = |secret: &str| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_icecore"));
            let command =
                command.args(["top", "--once", "--url", &url]).env("ICECORE_TOKEN", secret);
            let output = command.output().unwrap();
            (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
        };
        assert_eq!(top("secret-of-a-reader").0, 0);
        let (code, message) = top("secret-of-nobody");
        assert_eq!(code, 1);
        assert!(message.contains("401") && message.contains("token"), "{message}");
        let (code, message) = top("secret-of-a-tenant");
        assert!(code == 1 && message.contains("403"), "{message}");
        assert_eq!(top("two words").0, 2);

        let file = dir.path().join("token");
        std::fs::write(&file, "secret-of-a-reader\n").unwrap();
        let mode = |mode| std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        let top =
            || icecore(&["top", "--once", "--url", &url, "--token-file", file.to_str().unwrap()]);
        mode(0o644);
        let refused = top();
        assert!(refused.code == 2 && refused.stderr.contains("others may read it"), "{refused:?}");
        mode(0o600);
        top().success();
    }

    /// What answers may be anything: another server, an older one, somebody who sends without end.
    #[test]
    fn answers_of_others_are_refused_in_a_sentence() {
        let answers = [
            ("404 Not Found", "{}".to_owned(), "no server of icecore's"),
            ("200 OK", "<html>".to_owned(), "not an answer of this version"),
            (
                "200 OK",
                "{\"status\":\"success\",\"data\":{}}".to_owned(),
                "not an answer of this version",
            ),
            ("302 Found", String::new(), "302"),
            ("500 Oops", "{\"error\":\"oops\"}".to_owned(), "oops"),
            ("200 OK", " ".repeat(17 << 20), "http://127.0.0.1"),
        ];
        for (status, body, said) in answers {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let answering = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 4096]).unwrap();
                let head = format!("HTTP/1.1 {status}\r\nLocation: http://127.0.0.1:1/\r\n");
                let head =
                    format!("{head}Connection: close\r\nContent-Length: {}\r\n\r\n", body.len());
                // Whoever has seen enough hangs up.
                let _ = stream
                    .write_all(head.as_bytes())
                    .and_then(|()| stream.write_all(body.as_bytes()));
            });
            let ended = icecore(&["top", "--once", "--url", &address]);
            answering.join().unwrap();
            assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{status}: {ended:?}");
            assert!(ended.stderr.contains(said), "{status}: {}", ended.stderr);
        }
    }
}
