//! Who may ask: tokens, hosts, origins, rates.

use icecore::Error;
use icecore::server::{RequestRate, Server, ServerOptions};

use crate::client::{NOON, failure, serve, tokens};
use crate::writes::{series, stored, write};

#[test]
fn without_a_token_nothing_is_told_but_that_the_server_is_there() {
    let served = serve(tokens());
    for path in ["/-/healthy", "/-/ready", "/"] {
        assert_eq!(served.get(path).status, 200, "{path}");
    }
    for path in
        ["/api/v1/query?query=1", "/api/v1/labels", "/metrics", "/federate?match[]=up", "/nothing"]
    {
        let answer = served.get(path);
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, "Bearer"), "{path}");
        assert_eq!(served.get_as("secret-of-nobody", path).status, 401, "{path}");
    }
    assert_eq!(served.send("POST", "/api/v1/write", &[], b"x").status, 401);
    assert_eq!(served.send("POST", "/api/v1/read", &[], b"x").status, 401);
    assert_eq!(served.send("POST", "/api/v1/import/prometheus", &[], b"up 1\n").status, 401);
}

#[test]
fn scopes_are_kept_apart() {
    let served = serve(tokens());
    let message = series(&[("__name__", "up")], &[(NOON * 1000, 1.0)]);
    assert_eq!(write(&served, "secret-of-reader", &message).status, 403);
    assert_eq!(stored(&served), []);
    assert_eq!(write(&served, "secret-of-writer", &message).status, 204);
    let (status, kind, message) =
        failure(&served.get_as("secret-of-writer", "/api/v1/query?query=1"));
    assert_eq!((status, kind.as_str()), (403, "forbidden"));
    assert_eq!(message, "token \"writer\" lacks the scope \"read\"");
    assert_eq!(served.get_as("secret-of-reader", "/api/v1/query?query=1").status, 200);
    assert_eq!(served.get_as("secret-of-the-admin", "/api/v1/status/store").status, 200);
    let text = [("Authorization", "Bearer secret-of-the-admin")];
    assert_eq!(served.send("POST", "/api/v1/import/prometheus", &text, b"down 1\n").status, 204);
}

#[test]
fn nobody_listens_to_the_world_without_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let engine = icecore::Engine::open(dir.path(), icecore::Options::default()).unwrap();
    let options =
        ServerOptions { listen: "0.0.0.0:0".parse().unwrap(), ..ServerOptions::default() };
    let refused = Server::spawn(engine.into(), options).unwrap_err();
    assert!(matches!(refused, Error::InvalidOption { option: "listen", .. }), "{refused}");
}

#[test]
fn a_name_that_was_rebound_reaches_nothing() {
    let served = serve(ServerOptions::default());
    for host in ["evil.example", "evil.example:9090", "localhost.evil.example"] {
        for path in ["/", "/api/v1/query?query=1", "/-/healthy"] {
            let answer = served.send("GET", path, &[("Host", host)], &[]);
            assert_eq!(answer.status, 403, "{host}{path}");
        }
    }
    assert_eq!(
        served.send("GET", "/api/v1/query?query=1", &[("Host", "[::1]:1")], &[]).status,
        200
    );
}

#[test]
fn no_other_origin_reads_or_writes_unless_it_is_named() {
    let served = serve(ServerOptions::default());
    let origin = ("Origin", "https://grafana.example");
    let answer = served.send("GET", "/api/v1/query?query=1", &[origin], &[]);
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, ""));
    assert_eq!(served.send("POST", "/api/v1/import/prometheus", &[origin], b"up 1\n").status, 403);
    assert_eq!(stored(&served), []);
    let named = Some(origin.1.to_owned());
    let served = serve(ServerOptions { cross_origin: named, ..ServerOptions::default() });
    let answer = served.send("GET", "/api/v1/query?query=1", &[origin], &[]);
    assert_eq!(answer.header("access-control-allow-origin"), origin.1);
    let asked = served.send(
        "OPTIONS",
        "/api/v1/query",
        &[origin, ("Access-Control-Request-Method", "POST")],
        &[],
    );
    assert_eq!(
        (asked.status, asked.header("access-control-allow-headers")),
        (204, "authorization, content-type")
    );
    assert_eq!(served.send("POST", "/api/v1/import/prometheus", &[origin], b"up 1\n").status, 204);
}

#[test]
fn each_token_has_a_rate_of_its_own() {
    let rate = Some(RequestRate { requests_per_second: 1, burst: 3 });
    let served = serve(ServerOptions { rate, ..tokens() });
    let ask = |secret: &str| served.get_as(secret, "/api/v1/query?query=1").status;
    let asked: Vec<u16> = (0..5).map(|_| ask("secret-of-reader")).collect();
    assert_eq!(&asked[..3], [200; 3]);
    assert!(asked[3..].contains(&429), "{asked:?}");
    assert_eq!(ask("secret-of-the-admin"), 200);
    // Guesses are counted by address, and do not use up a token's requests.
    let guessed: Vec<u16> = (0..5).map(|_| ask("secret-of-nobody")).collect();
    assert!(guessed.contains(&401) && guessed.contains(&429), "{guessed:?}");
}
