//! The first rows: whom it is about, when, and how all queries fare.

use std::time::Duration;

use super::pen::{Pen, spark, width};
use crate::cli::top::view::View;
use crate::integration::figures::{bytes, count, length, moment, number, percent, seconds};
use crate::overview::Overview;

pub(super) const HEIGHT: u16 = 4;

pub(super) fn draw(pen: &mut Pen<'_>, view: &View) {
    place(pen, view);
    if let Some(facts) = &view.facts {
        figures(pen, facts);
        costs(pen, facts);
        // What went wrong stands in their place.
        if view.trouble.is_none() {
            curves(pen, facts);
        }
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Whom, when, and whether that is so still.
fn place(pen: &mut Pen<'_>, view: &View) {
    let looks = pen.looks;
    let (state, style) = match (&view.trouble, &view.facts) {
        (Some(trouble), _) => {
            let seen = trouble.seen.map(whole);
            let text = seen.map_or_else(
                || "no answer yet, retrying".to_owned(),
                |seen| format!("last seen {seen} ago, retrying"),
            );
            (text, looks.bad())
        }
        (None, None) => ("asking".to_owned(), looks.faint()),
        _ if view.paused => ("paused".to_owned(), looks.doubtful()),
        (None, Some(_)) if !view.origin.lives() => ("at rest".to_owned(), looks.faint()),
        (None, Some(_)) if view.question.at.is_some() => ("past".to_owned(), looks.doubtful()),
        (None, Some(facts)) if facts.live => ("live".to_owned(), looks.good()),
        (None, Some(_)) => ("live, from the store".to_owned(), looks.good()),
    };
    let room = pen.width();
    let taken = width(&state).min(room);
    pen.right(0, 0, room, &state, style);
    let left = room.saturating_sub(taken + 1);
    let x = pen.text(0, 0, left, "icecore top", looks.strong());
    let window = length(view.question.window);
    let when = view.facts.as_ref().map_or_else(String::new, |facts| moment(facts.at));
    let when = format!("{when} UTC, last {window}");
    let room_of_name = left.saturating_sub(x + 2 + width(&when) + 2);
    let x = pen.text(x + 2, 0, room_of_name, view.origin.name(), looks.plain());
    if view.facts.is_some() {
        pen.text(x + 2, 0, left.saturating_sub(x + 2), &when, looks.plain());
    }
    if let Some(trouble) = &view.trouble {
        let row = if view.facts.is_some() { HEIGHT - 1 } else { 1 };
        pen.text(0, row, room, &trouble.message, looks.bad());
    }
}

/// Whole seconds, for what is counted up.
fn whole(ago: Duration) -> String {
    if ago.as_secs() == 0 {
        "a moment".to_owned()
    } else {
        length(Duration::from_secs(ago.as_secs()))
    }
}

fn figures(pen: &mut Pen<'_>, facts: &Overview) {
    let (load, looks) = (&facts.load, pen.looks);
    if !facts.monitored {
        pen.text(
            0,
            1,
            u16::MAX,
            "No monitor writes to this store: there are no queries in it.",
            looks.doubtful(),
        );
        return;
    }
    let quantile = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), seconds);
    let failed = if load.failed > 0 { looks.bad() } else { looks.plain() };
    let broken_off = if load.broken_off > 0 { looks.doubtful() } else { looks.plain() };
    let pieces = [
        (format!("running {}", count(facts.running_count)), looks.strong()),
        (format!("queries {}/s", number(load.per_second)), looks.strong()),
        (format!("failed {}", percent(ratio(load.failed, load.queries))), failed),
        (format!("p50 {}", quantile(load.p50)), looks.plain()),
        (format!("p95 {}", quantile(load.p95)), looks.plain()),
        (format!("p99 {}", quantile(load.p99)), looks.plain()),
        (format!("broken off {}", percent(ratio(load.broken_off, load.queries))), broken_off),
    ];
    pen.pieces(0, 1, pieces);
}

fn costs(pen: &mut Pen<'_>, facts: &Overview) {
    let (load, store, looks) = (&facts.load, &facts.store, pen.looks);
    let all = load.engine_us + load.waiting_us;
    let mut pieces = Vec::new();
    if all > 0 {
        let engine = percent(ratio(load.engine_us, all));
        let waiting = percent(ratio(load.waiting_us, all));
        pieces.push((format!("engine {engine}, waiting {waiting}"), looks.plain()));
    }
    let rows = count(store.query_rows);
    pieces.push((
        format!("store {}, {rows} queries", bytes(store.bytes_on_disk as f64)),
        looks.plain(),
    ));
    let dropped = format!("dropped {}", count(store.records_dropped));
    pieces.push((dropped, if store.records_dropped > 0 { looks.bad() } else { looks.plain() }));
    let refused = format!("refused {}", count(store.samples_refused));
    pieces.push((refused, if store.samples_refused > 0 { looks.bad() } else { looks.plain() }));
    let firing = facts.alerts.iter().filter(|alert| alert.fires).count();
    if firing > 0 {
        pieces.push((format!("alerts firing {firing}"), looks.bad()));
    }
    pen.pieces(0, 2, pieces);
}

/// Three curves over the window, each with what its highest column stands for.
fn curves(pen: &mut Pen<'_>, facts: &Overview) {
    let (load, looks) = (&facts.load, pen.looks);
    if load.curve.is_empty() {
        return;
    }
    let rate = |counts: &[u64]| -> Vec<Option<f64>> {
        counts.iter().map(|count| Some(*count as f64 / load.step)).collect()
    };
    let greatest = |values: &[Option<f64>]| values.iter().flatten().copied().fold(0.0, f64::max);
    let (rates, failures) = (rate(&load.curve), rate(&load.failed_curve));
    let room = pen.width() / 3;
    let curves = [
        ("queries", &rates, looks.curve(), format!("{}/s", number(greatest(&rates)))),
        ("failed", &failures, looks.bad(), format!("{}/s", number(greatest(&failures)))),
        ("p95", &load.p95_curve, looks.doubtful(), seconds(greatest(&load.p95_curve))),
    ];
    for (at, (name, values, style, top)) in (0..).zip(curves) {
        let begin = at * room;
        let x = pen.text(begin, 3, room, name, looks.faint()) + 1;
        let left = (begin + room).saturating_sub(x + width(&top) + 3);
        let x = pen.text(x, 3, left, &spark(values, left), style) + 1;
        pen.text(x, 3, (begin + room).saturating_sub(x), &top, looks.faint());
    }
}
