//! Alerts over HTTP, to a server that answers as it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use icecore::Timestamp;
use icecore::monitor::alert::{Alert, AlertState, Alertmanager, Notification, Notifier, Severity};

/// Answers one request after another with these codes; sends each request's first line and body.
fn server(codes: &'static [u16]) -> (String, Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sender, requests) = channel();
    std::thread::spawn(move || {
        for code in codes {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            let (mut first, mut length) = (String::new(), 0);
            reader.read_line(&mut first).unwrap();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let line = line.trim().to_ascii_lowercase();
                if let Some(value) = line.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let answer =
                format!("HTTP/1.1 {code} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
            sender.send((first.trim().to_owned(), String::from_utf8(body).unwrap())).unwrap();
        }
    });
    (address, requests)
}

#[test]
fn alerts_are_posted_and_answers_say_whether_to_try_again() {
    let (address, requests) = server(&[200, 503, 400]);
    let mut notifier = Alertmanager::new(&format!("{address}/"));
    let at = Timestamp::from_secs(1_800_000_000);
    let alert = Alert {
        rule: "High".to_owned(),
        labels: vec![("source".to_owned(), "lake".to_owned())],
        severity: Severity::Critical,
        summary: String::new(),
        state: AlertState::Firing,
        value: 11.0,
        since: at,
        ended: None,
        silenced: false,
    };
    let notification = Notification { group: Vec::new(), alerts: vec![alert], at };
    notifier.notify(&notification).unwrap();
    let (first, body) = requests.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(first, "POST /api/v2/alerts HTTP/1.1");
    assert!(body.starts_with('[') && body.contains("\"alertname\":\"High\""), "{body}");
    assert!(notifier.notify(&notification).unwrap_err().transient);
    assert!(!notifier.notify(&notification).unwrap_err().transient);
    // Nobody listens any more.
    assert!(notifier.notify(&notification).unwrap_err().transient);
}

/// With `ICECORE_ALERTMANAGER=http://127.0.0.1:9093` of a real one that runs (`tests/peers/alertmanager.py`
/// starts it): it takes the alert, and holds it until it is resolved.
#[test]
fn a_real_alertmanager_takes_them() {
    let Ok(base) = std::env::var("ICECORE_ALERTMANAGER") else { return };
    let active = || {
        let mut agent = std::net::TcpStream::connect(base.trim_start_matches("http://")).unwrap();
        let get = "GET /api/v2/alerts?active=true HTTP/1.0\r\n\r\n";
        agent.write_all(get.as_bytes()).unwrap();
        let mut answer = String::new();
        agent.read_to_string(&mut answer).unwrap();
        answer.contains("\"alertname\":\"FromIcecore\"")
    };
    let now = icecore::Clock::now(&icecore::SystemClock);
    let alert = Alert {
        rule: "FromIcecore".to_owned(),
        labels: vec![("source".to_owned(), "lake".to_owned())],
        severity: Severity::Warning,
        summary: "a test".to_owned(),
        state: AlertState::Firing,
        value: f64::NAN,
        since: Timestamp(now.0 - 60_000_000_000),
        ended: None,
        silenced: false,
    };
    let mut notifier = Alertmanager::new(&base);
    let mut tell = |alert: Alert| {
        let notification = Notification { group: Vec::new(), alerts: vec![alert], at: now };
        notifier.notify(&notification).unwrap();
    };
    tell(alert.clone());
    assert!(active());
    tell(Alert { state: AlertState::Resolved, ended: Some(now), ..alert });
    assert!(!active());
}
