//! A query's text, formatted, means the same.

use icecore::promql::Query;

#[test]
fn formatted_text_means_the_same() {
    for (text, formatted) in [
        ("sum(rate(m[5m]))by(a,b)", "sum by (a, b) (rate(m[5m]))"),
        ("a+on(x)group_left(y)b", "a + on (x) group_left (y) b"),
        ("m{a='x\"y', b=~`\\d+`}", r#"m{a="x\"y",b=~"\\d+"}"#),
        ("m offset -90s @ start()", "m @ start() offset -1m30s"),
        ("sum_over_time(m[1h:5m] @ 12.5)", "sum_over_time(m[1h:5m] @ 12.500)"),
        ("-(1)^2", "-(1) ^ 2"),
        ("1e3", "1000"),
        ("a == bool 1", "a == bool 1"),
        ("topk(3, m)", "topk(3, m)"),
        ("time()", "time()"),
        ("\"a\\nb\"", "\"a\\nb\""),
    ] {
        let query = Query::parse(text).unwrap();
        assert_eq!(query.to_string(), formatted);
        assert_eq!(Query::parse(formatted).unwrap().to_string(), formatted);
    }
}

#[test]
fn any_text_of_a_label_comes_back() {
    for text in [
        "{\"a.b\", \"c.d\"=\"e\"}",
        "{__name__=~\"a.*\", b!=\"\"}",
        "m{a=\"\\\\\"}",
        "m{a=\"é\\u00e9\\t\"}",
        "m @ -5",
    ] {
        let query = Query::parse(text).unwrap();
        let formatted = query.to_string();
        let again = Query::parse(&formatted).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(again.to_string(), formatted, "{text}");
    }
}
