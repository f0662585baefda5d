//! One query in full: what it did when, and whose time it was.

use super::panels::{micros, whose};
use super::pen::{Pen, bar, width};
use super::table::{Cell, Column, Table, left, right};
use crate::cli::top::view::Shown;
use crate::integration::figures::{bytes, count, moment, percent, plain, seconds};
use crate::overview::{CallLine, QueryDetail};

/// Rows of a query's text.
const TEXT_ROWS: u16 = 4;
/// Columns of a bar's name, and of what it says behind it; and of the longest bar.
const NAME: u16 = 12;
const SAID: u16 = 15;
const BAR_MAX: u16 = 40;

const WIDE: u16 = 110;

const CALLS: [Column; 12] = [
    left("source", 14, 0),
    left("outcome", 10, 0),
    left("error", 10, WIDE),
    right("calls", 5, 0),
    right("failed", 6, 0),
    right("requests", 8, WIDE),
    right("rows", 8, 0),
    right("bytes", 9, WIDE),
    right("first", 8, 0),
    right("longest", 8, 0),
    right("cache", 5, WIDE),
    left("waited", 0, 0),
];

pub(super) fn draw(pen: &mut Pen<'_>, shown: &Shown) {
    let looks = pen.looks;
    match shown {
        Shown::Asked(id) => drop(pen.text(1, 0, u16::MAX, &format!("Query {id} …"), looks.faint())),
        Shown::Unknown(id) => {
            let message = format!("Nothing is known of query {id}: it ended, and was not kept.");
            pen.text(1, 0, u16::MAX, &message, looks.doubtful());
        }
        Shown::Known(detail) => known(pen, detail),
    }
}

fn known(pen: &mut Pen<'_>, detail: &QueryDetail) {
    let (line, looks) = (&detail.line, pen.looks);
    let outcome = line.outcome.map_or("running", |kind| kind.name());
    let style = looks.outcome(line.outcome);
    let x = pen.text(1, 0, u16::MAX, &format!("Query {}", line.id), looks.strong());
    let x = pen.text(x + 2, 0, u16::MAX, outcome, style);
    let error = if line.error.is_empty() { String::new() } else { format!("({})", line.error) };
    let x = pen.text(x + 1, 0, u16::MAX, &error, style);
    let phase = line.phase.as_ref().map_or_else(String::new, |phase| format!("in {phase}"));
    let x = pen.text(x + 1, 0, u16::MAX, &phase, looks.plain());
    let progress = line.progress.map_or_else(String::new, percent);
    pen.text(x + 1, 0, u16::MAX, &progress, looks.plain());
    let took = line.length_us.map_or_else(|| "no length: a crash ended it".to_owned(), micros);
    let mut about = format!("began {} UTC, {took}", moment(line.began));
    if !whose(line).is_empty() {
        about += &format!(", {}", whose(line));
    }
    about += &format!(", fingerprint {}", line.fingerprint);
    pen.text(1, 1, u16::MAX, &about, looks.plain());
    let y = 2 + text(pen, 2, &line.text);
    let y = numbers(pen, y, detail);
    let y = bars(pen, y, detail);
    calls(pen, y, detail);
}

/// The query's text over some rows; says how many.
fn text(pen: &mut Pen<'_>, y: u16, text: &str) -> u16 {
    let looks = pen.looks;
    let room = pen.width().saturating_sub(2).max(1);
    let text = plain(text);
    let mut rest = text.as_str();
    for row in 0..TEXT_ROWS {
        if rest.is_empty() {
            return row;
        }
        let ends = rest.char_indices().map(|(at, character)| at + character.len_utf8());
        let fits = ends.take_while(|&end| rest.get(..end).is_some_and(|text| width(text) <= room));
        let mut taken = fits.last().unwrap_or(0);
        // At a blank, where there is one late enough.
        let blank = rest.get(..taken).and_then(|piece| piece.rfind(' ')).map(|at| at + 1);
        taken = blank.filter(|at| taken < rest.len() && *at > taken / 2).unwrap_or(taken);
        // A last row says itself that there is more.
        let is_last = row + 1 == TEXT_ROWS || taken == 0;
        let (piece, more) = if is_last { (rest, "") } else { rest.split_at(taken) };
        pen.text(1, y + row, room, piece, looks.strong());
        rest = more;
    }
    TEXT_ROWS
}

fn numbers(pen: &mut Pen<'_>, y: u16, detail: &QueryDetail) -> u16 {
    let line = &detail.line;
    let size = |size: u64| bytes(size as f64);
    let mut pieces = vec![
        format!("rows {} in, {} out", count(line.rows_in), count(line.rows_out)),
        format!("bytes {} in, {} out", size(line.bytes_in), size(line.bytes_out)),
    ];
    let more = [
        ("CPU", line.cpu_us, micros as fn(u64) -> String),
        ("memory", detail.memory_peak_bytes, |value| bytes(value as f64)),
        ("spilled", detail.spill_bytes, |value| bytes(value as f64)),
        ("retries", detail.retries, count),
        ("cache hits", detail.cache_hits, count),
        ("calls not listed", detail.calls_unlisted, count),
    ];
    let more = more.into_iter().filter(|(_, value, _)| *value > 0);
    pieces.extend(more.map(|(name, value, shown)| format!("{name} {}", shown(value))));
    let style = pen.looks.plain();
    let (mut x, mut y) = (1, y);
    for piece in pieces {
        if x > 1 && x + width(&piece) > pen.width() {
            (x, y) = (1, y + 1);
        }
        x = pen.text(x, y, u16::MAX, &piece, style) + 3;
    }
    y + 1
}

/// Phases, then whose time it was; beside each other where there is room.
fn bars(pen: &mut Pen<'_>, y: u16, detail: &QueryDetail) -> u16 {
    let line = &detail.line;
    let length = line.length_us.unwrap_or(0);
    let phases: Vec<(&str, u64)> = detail.phases.iter().map(|of| (&*of.phase, of.micros)).collect();
    let mut whose = vec![("the engine", length.saturating_sub(line.waiting_us))];
    let waited = detail.calls.iter().filter(|call| call.critical_us > 0);
    whose.extend(waited.map(|call| (&*call.source, call.critical_us)));
    let half = pen.width() / 2;
    let room = half.saturating_sub(NAME + SAID + 3).min(BAR_MAX);
    let first = group(pen, (1, y), room, ("Phases (may overlap)", &phases, length));
    let second = group(pen, (half + 1, y), room, ("Whose time it was", &whose, length));
    first.max(second)
}

/// A bar for each part of a whole; says where it ended.
fn group(
    pen: &mut Pen<'_>,
    (x, y): (u16, u16),
    room: u16,
    (title, parts, all): (&str, &[(&str, u64)], u64),
) -> u16 {
    let looks = pen.looks;
    if parts.is_empty() {
        return y;
    }
    pen.text(x, y, NAME + room, title, looks.faint());
    for (y, (name, part)) in (y + 1..).zip(parts) {
        let share = if all == 0 { 0.0 } else { *part as f64 / all as f64 };
        pen.text(x, y, NAME, name, looks.plain());
        pen.text(x + NAME + 1, y, room, &bar(share, room), looks.curve());
        let said = format!("{} ({})", micros(*part), percent(share));
        pen.text(x + NAME + room + 2, y, SAID, &said, looks.plain());
    }
    y + 1 + parts.len() as u16
}

fn calls(pen: &mut Pen<'_>, y: u16, detail: &QueryDetail) {
    if detail.calls.is_empty() {
        return;
    }
    let looks = pen.looks;
    let height = pen.height().saturating_sub(y);
    let table = Table { columns: &CALLS, rows: detail.calls.len(), chosen: None };
    let row = |row| detail.calls.get(row).map(|call| cells(looks, call)).unwrap_or_default();
    table.draw(&mut pen.rows(y, height), row);
}

fn cells(looks: super::pen::Looks, call: &CallLine) -> Vec<Cell> {
    let plain = looks.plain();
    let first = call.first_row_us.map_or_else(|| "-".to_owned(), micros);
    vec![
        (call.source.clone(), looks.strong()),
        (
            call.outcome.map_or("under way", |kind| kind.name()).to_owned(),
            looks.outcome(call.outcome),
        ),
        (call.error.clone(), looks.outcome(call.outcome)),
        (count(call.calls), plain),
        (count(call.failed), if call.failed > 0 { looks.bad() } else { plain }),
        (count(call.requests), plain),
        (count(call.rows), plain),
        (bytes(call.bytes as f64), plain),
        (first, plain),
        (micros(call.longest_us), plain),
        (count(call.cache_hits), plain),
        (seconds(call.waiting_us as f64 * 1e-6), plain),
    ]
}
