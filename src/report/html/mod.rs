//! A report as one HTML file.
//!
//! Owns: the page's order, its words, and that nothing a store holds is taken for markup. The page has
//! no script, loads nothing, and forbids both by a policy in its head; colours are the style sheet's
//! (`page.css`), and so are light, dark and print.

mod charts;
mod figures;
mod tables;

use std::fmt::Write;

use super::{Report, Trouble};
use crate::integration::figures::{count, steers};

const STYLE: &str = include_str!("page.css");

/// The sections in their order: what an address names them, their titles.
const SECTIONS: [(&str, &str); 9] = [
    ("trouble", "Where trouble was"),
    ("load", "Load"),
    ("latency", "Latency"),
    ("errors", "Errors"),
    ("sources", "Sources"),
    ("queries", "Queries"),
    ("broken-off", "Cancelled, timed out, abandoned"),
    ("alerts", "Alerts"),
    ("cost", "What the store cost"),
];

/// Text as it may stand between tags and in attributes. Control characters, and those that turn the
/// direction of what follows, are replaced: a query's text is whatever somebody sent.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(character),
            steering if steers(steering) => out.push('\u{fffd}'),
            plain => out.push(plain),
        }
    }
    out
}

/// The page.
pub(super) fn page(report: &Report) -> String {
    let span = report.span();
    let title = format!("How queries ran: {span}");
    let nav: String = SECTIONS
        .iter()
        .map(|(id, title)| format!("<li><a href=\"#{id}\">{title}</a></li>"))
        .collect();
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#main\">To the report</a>\n\
         <header><h1>How queries ran</h1><p class=\"span\">{span}</p>\n\
         <nav aria-label=\"Sections\"><ul>{nav}</ul></nav></header>\n<main id=\"main\">\n"
    );
    out += &figures::key(report);
    for (id, title) in SECTIONS {
        let body = match id {
            "trouble" => troubles(report),
            "load" => charts::load(report),
            "latency" => charts::latency(report),
            "errors" => charts::errors(report) + &tables::errors(report),
            "sources" => tables::sources(report),
            "queries" => tables::fingerprints(report) + &tables::slowest(report),
            "broken-off" => tables::broken_off(report),
            "alerts" => tables::alerts(report),
            _ => tables::cost(report),
        };
        let _ = write!(
            out,
            "<section id=\"{id}\" aria-labelledby=\"h-{id}\">\n<h2 id=\"h-{id}\">{title}</h2>\n\
             {body}\n</section>\n"
        );
    }
    let version = env!("CARGO_PKG_VERSION");
    out + &format!(
        "</main>\n<footer>icecore {version}. Times are UTC. Quantiles are within 1 %.</footer>\n\
         </body>\n</html>\n"
    )
}

fn troubles(report: &Report) -> String {
    let rule = "Stretches in which failures, slow calls or broken-off queries were more frequent than \
                in the rest of the range, by a scan statistic that chance passes once in a thousand \
                searches. They are shaded in the charts.";
    if report.troubles.is_empty() {
        let what = if report.queries.count() == 0 {
            "No queries, no trouble."
        } else {
            "Nothing stood out: failures, slow calls and broken-off queries were spread evenly."
        };
        return format!("<p class=\"none\">{what}</p>\n<p class=\"note\">{rule}</p>");
    }
    let items: String = report.troubles.iter().map(item).collect();
    format!("<ul class=\"troubles\">{items}</ul>\n<p class=\"note\">{rule}</p>")
}

fn item(trouble: &Trouble) -> String {
    let kind = trouble.kind.name();
    let what = if trouble.subject == super::Subject::Queries { "queries" } else { "calls" };
    let slow = matches!(trouble.kind, super::Kind::Slow { .. });
    let beyond = if slow { " took over twice the median of the range" } else { "" };
    let (hits, trials) = (count(trouble.inside.hits), count(trouble.inside.trials));
    let of = format!("{hits} of {trials} {what}{beyond}");
    format!(
        "<li class=\"{kind}\"><span class=\"badge\">{kind}</span><div><strong>{}</strong>\
         <br><span class=\"when\">{}</span> <span class=\"of\">{of}</span></div></li>\n",
        escape(&trouble.to_string()),
        trouble.when(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_markup() {
        assert_eq!(
            escape("<script>&\"'\u{202e}\u{7}\n"),
            "&lt;script&gt;&amp;&quot;&#39;\u{fffd}\u{fffd}\n"
        );
    }
}
