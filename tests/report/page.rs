//! The page: whole, by itself, and nothing of what a store holds is markup.

use icecore::TimeRange;

use crate::store::{Call, Query, Store, a_bad_minute, between_ms, write_alert};

const SECTIONS: [&str; 9] =
    ["trouble", "load", "latency", "errors", "sources", "queries", "broken-off", "alerts", "cost"];

/// Elements are closed in the order in which they were opened; attributes are quoted. Returns the names
/// of all elements.
fn check_tags(html: &str) -> Vec<String> {
    const VOID: [&str; 3] = ["meta", "br", "!doctype"];
    let (mut open, mut all): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    // The style sheet has no tags.
    let (before, rest) = html.split_once("<style>").unwrap();
    let (_, after) = rest.split_once("</style>").unwrap();
    for piece in [before, after].concat().split('<').skip(1) {
        let (tag, text) = piece.split_once('>').unwrap_or_else(|| panic!("no end: {piece}"));
        assert!(!text.contains('>'), "a stray > in {text:?}");
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        let name = tag.split([' ', '/']).next().unwrap().to_owned();
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(closed));
        } else if !tag.ends_with('/') && !VOID.contains(&name.as_str()) {
            open.push(name.clone());
        }
        all.push(name);
    }
    assert!(open.is_empty(), "never closed: {open:?}");
    all
}

fn check_alone(html: &str) {
    let names = check_tags(html);
    for name in ["script", "link", "img", "iframe", "object", "embed", "form", "base", "style"] {
        assert!(!names.iter().any(|found| found == name), "<{name}>");
    }
    for word in ["http:", "https:", "src=", "url(", "@import", "javascript:", " on", "//"] {
        // The texts of a store may hold them; attributes and the style sheet may not.
        let tags = html.split('<').map(|piece| piece.split_once('>').map_or(piece, |tag| tag.0));
        let found = tags.into_iter().find(|tag| tag.contains(word) && !tag.contains("aria-label"));
        assert_eq!(found, None, "{word}");
    }
    let style = html.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
    for word in ["url(", "@import", "//", "<"] {
        assert!(!style.contains(word), "{word} in the style sheet");
    }
    assert!(html.contains("default-src 'none'; style-src 'unsafe-inline'"));
    for section in SECTIONS {
        assert!(html.contains(&format!("<section id=\"{section}\"")), "{section}");
        assert!(html.contains(&format!("href=\"#{section}\"")), "{section}");
    }
}

#[test]
fn a_page_has_every_section_and_stands_alone() {
    let store = Store::of(a_bad_minute());
    write_alert(&store.engine, "Refused", &[(22_000, 2.0), (31_000, 0.0)]);
    store.engine.sync().unwrap();
    let report = store.report(TimeRange::ALL);
    let html = report.to_html();
    check_alone(&html);
    for trouble in &report.troubles {
        assert!(html.contains(&trouble.to_string()) && html.contains(&trouble.when()));
    }
    for piece in [
        ">1,200<",
        "10:00:20",
        "SELECT sum(x) FROM orders",
        "<strong>lake</strong>",
        "Refused",
        "7 cancelled, 0 timed out, 4 abandoned",
        "class=\"shade fill\"",
        "prefers-color-scheme: dark",
        "@media print",
    ] {
        assert!(html.contains(piece), "no {piece}");
    }
    // The times of the axes are round.
    assert!(html.contains(">10:00:10</text>") && html.contains(">10:00:50</text>"));
    assert!(!html.contains("NaN") && !html.contains(">inf"));
}

#[test]
fn sections_without_anything_say_so() {
    let html = Store::new().report(TimeRange::ALL).to_html();
    check_alone(&html);
    for sentence in [
        "No queries, no trouble.",
        "No values in this range.",
        "Nothing failed, and nothing timed out.",
        "No calls to sources in this range.",
        "No queries in this range.",
        "Every query ended by itself.",
        "The store has no history of alerts.",
    ] {
        assert!(html.contains(sentence), "{sentence}");
    }
    let even = Store::of((0..100).map(|i| Query::ok(i * 100, 900, vec![Call::ok("lake", 500)])));
    let html = even.report(TimeRange::ALL).to_html();
    check_alone(&html);
    assert!(html.contains("Nothing stood out"));
    check_alone(&even.report(between_ms(5_000, 5_001)).to_html());
}

#[test]
fn hostile_texts_are_texts() {
    const HOSTILE: &str =
        "</code></td><script>alert(1)</script><img src=x onerror='alert(\"2\")'>&amp;\u{202e}\u{0}";
    let hostile = (0..200).map(|number| {
        let failed = (50..100).contains(&number);
        let outcome = if failed { "error" } else { "ok" };
        let call = Call { source: HOSTILE, outcome, error: HOSTILE, took: 5_000 };
        Query {
            text: HOSTILE,
            tenant: HOSTILE,
            outcome: if number == 150 { "cancelled" } else { outcome },
            error: HOSTILE,
            ..Query::ok(number * 100, 6_000, vec![call])
        }
    });
    let report = Store::of(hostile).report(TimeRange::ALL);
    assert!(!report.troubles.is_empty());
    let html = report.to_html();
    check_tags(&html);
    assert!(!html.contains("<script") && !html.contains("<img"));
    assert!(!html.contains('\u{202e}') && !html.contains('\u{0}'));
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(html.contains("&amp;amp;"), "escaped, not taken for escaped");
}
