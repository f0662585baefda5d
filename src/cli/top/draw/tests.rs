//! Frames as they were looked at and found good, whatever size and texts.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;
use serde_json::{Value, json};

use super::*;
use crate::cli::top::view::{Origin, Shown, Trouble};
use crate::overview::{QueryDetail, Question};

fn query(number: u64, more: Value) -> Value {
    let mut query = json!({
        "id": format!("{number:016x}"), "began": "2026-11-27T10:02:10.5Z", "outcome": null, "error": "",
        "tenant": "", "user": "ann", "fingerprint": "00000000000000ab",
        "text": "SELECT o.product, s.left FROM orders o JOIN stock s ON s.product = o.product WHERE s.left < ?",
        "length_us": 8205, "phase": null, "progress": null, "under_way": [],
        "rows_in": 40, "rows_out": 3, "bytes_in": 656, "bytes_out": 0, "cpu_us": 1200,
        "waiting_us": 6871, "critical_source": "stock", "critical_us": 6871,
    });
    for (name, value) in more.as_object().unwrap() {
        query[name] = value.clone();
    }
    query
}

fn overview() -> Value {
    let outcomes = ["ok", "ok", "error", "timed_out", "cancelled", "abandoned"];
    let recent = (0..12_u64).map(|number| {
        let outcome = outcomes[number as usize % outcomes.len()];
        let error = if outcome == "error" { "busy" } else { "" };
        query(
            100 + number,
            json!({ "outcome": outcome, "error": error, "length_us": 7_000 << number }),
        )
    });
    let curve: Vec<u64> = (0..60).map(|i| 100 + 40 * (i % 7)).collect();
    let p95: Vec<Option<f64>> = (0..60).map(|i| (i != 9).then(|| 0.001 * f64::from(i))).collect();
    json!({
        "at": "2026-11-27T10:02:15Z", "from": "2026-11-27T09:57:15Z",
        "first": "2026-11-27T08:00:00Z", "last": "2026-11-27T10:02:15Z",
        "monitored": true, "live": true,
        "load": {
            "queries": 12_000, "failed": 252, "broken_off": 12, "per_second": 40.0,
            "p50": 0.00226, "p95": 0.0121, "p99": 0.298, "engine_us": 30_000_000, "waiting_us": 70_000_000,
            "step": 5.0, "curve": curve, "failed_curve": vec![0; 59].into_iter().chain([9]).collect::<Vec<u64>>(),
            "p95_curve": p95,
        },
        "running": [
            query(1, json!({ "length_us": 754_000_000_u64, "phase": "stream", "progress": 0.43, "tenant": "acme",
                "under_way": [{ "source": "lake", "calls": 2 }, { "source": "stock", "calls": 1 }] })),
            query(2, json!({ "length_us": 1_250_000, "phase": "plan", "user": "", "rows_in": 0, "rows_out": 0 })),
        ],
        "running_count": 2,
        "recent": recent.collect::<Vec<Value>>(), "recent_count": 11_988,
        "sources": [
            { "source": "stock", "calls": 400, "failed": 12, "error": "timed_out", "requests_per_second": 30.23,
              "p50": 0.00413, "p95": 0.184, "cache_hit_rate": 0.962, "rows": 1, "bytes": 1, "critical_us": 2_920_000,
              "in_flight": 3, "connections": 8, "connections_waiting": 2, "health": 0.5, "p95_curve": p95 },
            { "source": "orders", "calls": 0, "failed": 0, "error": "", "requests_per_second": 0.0,
              "p50": null, "p95": null, "cache_hit_rate": null, "rows": 0, "bytes": 0, "critical_us": 0,
              "in_flight": null, "connections": null, "connections_waiting": null, "health": null, "p95_curve": [] },
        ],
        "alerts": [{ "alert": "slow stock", "severity": "page", "labels": "source=\"stock\"", "fires": true,
            "since": "2026-11-27T10:01:00Z" }],
        "store": { "path": "/var/lib/host/history", "bytes_on_disk": 134_349, "series": 99, "query_rows": 2_517,
            "records_dropped": 3, "samples_refused": 0 },
    })
}

fn detail() -> QueryDetail {
    let mut detail = query(
        1,
        json!({
            "length_us": 1_250_000, "waiting_us": 900_000, "phase": "stream", "progress": 0.43, "tenant": "acme",
            "text": "SELECT * FROM lake.events WHERE region = ? ".repeat(12),
        }),
    );
    let call = |source: &str, outcome: Value, critical: u64| {
        json!({
            "source": source, "outcome": outcome, "error": "", "calls": 3, "failed": 1, "requests": 7,
            "rows": 1_234_567, "bytes": 8_765_432, "retries": 1, "cache_hits": 2, "first_row_us": 812,
            "longest_us": critical, "waiting_us": critical, "critical_us": critical,
        })
    };
    detail["phases"] = json!([
        { "phase": "plan", "micros": 12_000 }, { "phase": "execute", "micros": 1_200_000 },
        { "phase": "stream", "micros": 300_000 },
    ]);
    detail["calls"] =
        json!([call("lake", Value::Null, 600_000), call("stock", json!("timed_out"), 300_000)]);
    for (name, value) in [
        ("memory_peak_bytes", 5 << 20),
        ("spill_bytes", 0),
        ("retries", 2),
        ("cache_hits", 4),
        ("calls_unlisted", 0),
    ] {
        detail[name] = json!(value);
    }
    serde_json::from_value(detail).unwrap()
}

fn view(facts: Value) -> View {
    let origin = Origin::Server("http://127.0.0.1:9090".to_owned());
    let mut view = View::new(origin, Question::default(), false);
    view.take(serde_json::from_value(facts).unwrap());
    view
}

fn unmonitored() -> View {
    let mut facts = overview();
    for (name, value) in [
        ("monitored", json!(false)),
        ("live", json!(false)),
        ("first", Value::Null),
        ("last", Value::Null),
        ("running", json!([])),
        ("running_count", json!(0)),
        ("recent", json!([])),
        ("recent_count", json!(0)),
        ("sources", json!([])),
        ("alerts", json!([])),
    ] {
        facts[name] = value;
    }
    facts["load"] = serde_json::to_value(crate::overview::Load::default()).unwrap();
    let mut view = view(facts);
    view.origin = Origin::Store("history".to_owned());
    view
}

/// Every state that a screen can be in.
fn views() -> Vec<(&'static str, View)> {
    let known = view(overview());
    let with = |change: fn(&mut View)| {
        let mut view = known.clone();
        change(&mut view);
        view
    };
    vec![
        ("overview", known.clone()),
        ("detail", with(|view| view.detail = Some(Shown::Known(Box::new(detail()))))),
        ("unknown", with(|view| view.detail = Some(Shown::Unknown(crate::monitor::QueryId(7))))),
        ("help", with(|view| view.help = true)),
        ("zoomed", with(|view| (view.zoomed, view.panel) = (true, Panel::Sources))),
        (
            "away",
            with(|view| {
                view.typing = Some("stock".to_owned());
                let message = "http://127.0.0.1:9090: Connection refused".to_owned();
                let seen = Some(std::time::Duration::from_millis(12_345));
                view.trouble = Some(Trouble { message, seen });
            }),
        ),
        ("unmonitored", unmonitored()),
        (
            "asking",
            View::new(
                Origin::Server("http://127.0.0.1:9090".to_owned()),
                Question::default(),
                false,
            ),
        ),
    ]
}

fn frame(view: &View, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame.buffer_mut(), view)).unwrap();
    terminal.backend().buffer().clone()
}

/// `ICECORE_GOLDEN=write` writes them anew: look at what changed before you keep it.
#[test]
fn frames_are_as_they_were_found_good() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/top/draw/golden");
    for (name, view) in views() {
        for (width, height) in [(80, 24), (200, 60)] {
            let shown = lines(&frame(&view, width, height)).join("\n") + "\n";
            let file = format!("{directory}/{name}_{width}x{height}.txt");
            if std::env::var("ICECORE_GOLDEN").is_ok_and(|what| what == "write") {
                std::fs::write(&file, &shown).unwrap();
            }
            let golden = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(shown == golden, "{file} was\n{golden}\nand is\n{shown}");
        }
    }
}

#[test]
fn no_size_is_too_small_or_odd() {
    for (_, view) in views() {
        for width in [0, 1, 2, 7, 20, 39, 40, 79, 80, 81, 109, 110, 111, 149, 150, 400] {
            for height in (0..30).chain([60, 200]) {
                let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
                draw(&mut buffer, &view);
            }
        }
        for width in [1, 40, 100, 500] {
            let printed = text(&view, width);
            assert!(printed.iter().all(|line| super::pen::width(line) <= width));
        }
    }
}

#[test]
fn texts_of_others_steer_nothing_and_stay_in_their_cells() {
    let hostile = [
        "\u{1b}[2J\u{1b}]0;title\u{7}\r\n\t\u{9b}31m".to_owned(),
        "\u{202e}drowssap\u{2066}\u{200f}".to_owned(),
        "界面".repeat(5_000),
        "e\u{301}\u{301}\u{301}👩‍👩‍👧‍👦\u{200b}\u{feff}".repeat(300),
        String::new(),
    ];
    for text in hostile {
        let mut facts = overview();
        for list in ["running", "recent"] {
            for name in
                ["text", "user", "tenant", "error", "critical_source", "fingerprint", "phase"]
            {
                facts[list][0][name] = json!(text);
            }
        }
        facts["running"][0]["under_way"][0]["source"] = json!(text);
        facts["sources"][0]["source"] = json!(text);
        facts["sources"][0]["error"] = json!(text);
        for name in ["alert", "severity", "labels"] {
            facts["alerts"][0][name] = json!(text);
        }
        let mut view = view(facts);
        view.question.text.clone_from(&text);
        let mut of_query = detail();
        of_query.line.text.clone_from(&text);
        of_query.calls[0].source.clone_from(&text);
        for shown in [None, Some(Shown::Known(Box::new(of_query)))] {
            view.detail = shown;
            for (width, height) in [(80, 24), (200, 60)] {
                let buffer = frame(&view, width, height);
                for cell in buffer.content() {
                    let steers = cell.symbol().chars().any(crate::integration::figures::steers);
                    assert!(!steers, "{:?}", cell.symbol());
                }
                // What stands right of such a text is where it was.
                let foot = lines(&buffer).pop().unwrap();
                assert!(foot.contains("quit"), "{foot}");
            }
        }
    }
}

#[test]
fn without_colours_there_are_none_and_with_them_some() {
    let mut view = view(overview());
    let colours = |view: &View| {
        let buffer = frame(view, 120, 40);
        buffer.content().iter().filter(|cell| cell.fg != Color::Reset).count()
    };
    assert_eq!(colours(&view), 0);
    view.colour = true;
    assert!(colours(&view) > 50);
}

#[test]
fn the_chosen_row_is_on_the_screen() {
    let mut view = view(overview());
    for row in [0, 3, 11] {
        view.choose(row);
        let shown = lines(&frame(&view, 200, 24)).join("\n");
        assert!(shown.contains(&format!("{:016x}", 100 + row)), "{row}\n{shown}");
    }
    for panel in Panel::ALL {
        view.panel = panel;
        let shown = lines(&frame(&view, 80, 24)).join("\n");
        assert!(shown.contains(&format!("▶{} ", panel as usize + 1)), "{shown}");
    }
}
