//! What keys do to a view. Pure: what has to be asked anew is told, not done.

use std::time::Duration;

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::view::{FILTERS, Panel, Shown, View};
use crate::overview::Order;
use crate::time::{Timestamp, duration_nanos};

/// What is left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    /// The question is another one.
    Ask,
    Quit,
}

/// Rows of a page.
const PAGE: usize = 10;
/// Characters of a filter.
const FILTER_MAX: usize = 100;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The windows that `+` and `-` go through.
const WINDOWS: [Duration; 12] = [
    seconds(5),
    seconds(10),
    seconds(30),
    seconds(60),
    seconds(300),
    seconds(900),
    seconds(3_600),
    seconds(3 * 3_600),
    seconds(6 * 3_600),
    seconds(86_400),
    seconds(7 * 86_400),
    seconds(30 * 86_400),
];

/// Every key, for the help.
pub(super) const KEYS: [(&str, &str); 15] = [
    ("q, Ctrl-C", "quit; Esc goes back, and quits where there is nothing to go back from"),
    ("Tab, 1 to 4", "the panel that keys go to: running, recent, sources, alerts"),
    ("z", "that panel alone, and back"),
    ("Up, Down, k, j", "choose a row; PgUp, PgDn, Home, End"),
    ("Enter", "a query in full: phases, calls, who was waited for"),
    ("s", "order of recent queries: newest, slowest, rows, bytes, CPU"),
    ("o", "recent queries by outcome: all, not ok, error, timed out, ..."),
    ("/", "recent queries by text, user, tenant, error or source; Enter, Esc"),
    ("Left, Right", "back and forth in time, a tenth of the window"),
    ("[, ]", "back and forth by a window"),
    ("g", "the first window of the store"),
    ("n", "now; of a store at rest, its last moment"),
    ("+, -", "a longer and a shorter window"),
    ("p", "pause, and go on"),
    ("?", "this"),
];

pub(super) fn press(view: &mut View, event: &Event) -> Effect {
    let Event::Key(key) = event else { return Effect::None };
    if key.kind == KeyEventKind::Release {
        return Effect::None;
    }
    if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
        return Effect::Quit;
    }
    if view.typing.is_some() {
        return filter(view, key);
    }
    // Alt and Ctrl with a letter is another key than the letter.
    if key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) {
        return Effect::None;
    }
    match key.code {
        KeyCode::Char('q') => Effect::Quit,
        KeyCode::Esc => back(view),
        KeyCode::Char('?') => {
            view.help = !view.help;
            Effect::None
        }
        KeyCode::Char('p' | ' ') => {
            view.paused = !view.paused;
            if view.paused { Effect::None } else { Effect::Ask }
        }
        KeyCode::Left => travel(view, -1, 10),
        KeyCode::Right => travel(view, 1, 10),
        KeyCode::Char('[') => travel(view, -1, 1),
        KeyCode::Char(']') => travel(view, 1, 1),
        KeyCode::Char('n') => to(view, None),
        KeyCode::Char('g') => first(view),
        KeyCode::Char('+' | '=') => resize(view, true),
        KeyCode::Char('-') => resize(view, false),
        // What is behind a page does not move.
        _ if view.help || view.detail.is_some() => Effect::None,
        _ => panel(view, key.code),
    }
}

fn panel(view: &mut View, code: KeyCode) -> Effect {
    let (row, last) = (view.row(view.panel), usize::MAX);
    match code {
        KeyCode::Tab => view.panel = next(&Panel::ALL, view.panel, 1),
        KeyCode::BackTab => view.panel = next(&Panel::ALL, view.panel, Panel::ALL.len() - 1),
        KeyCode::Char(digit @ '1'..='4') => {
            let at = usize::from(digit as u8 - b'1');
            view.panel = Panel::ALL.get(at).copied().unwrap_or(view.panel);
        }
        KeyCode::Char('z') => view.zoomed = !view.zoomed,
        KeyCode::Up | KeyCode::Char('k') => view.choose(row.saturating_sub(1)),
        KeyCode::Down | KeyCode::Char('j') => view.choose(row + 1),
        KeyCode::PageUp => view.choose(row.saturating_sub(PAGE)),
        KeyCode::PageDown => view.choose(row + PAGE),
        KeyCode::Home => view.choose(0),
        KeyCode::End => view.choose(last),
        KeyCode::Enter => {
            view.detail = view.chosen().map(Shown::Asked);
            return if view.detail.is_some() { Effect::Ask } else { Effect::None };
        }
        KeyCode::Char('s') => {
            view.question.order = next(&Order::ALL, view.question.order, 1);
            return Effect::Ask;
        }
        KeyCode::Char('o') => {
            let now = FILTERS.iter().position(|(_, ends)| *ends == view.question.outcomes);
            let next = now.map_or(0, |now| (now + 1) % FILTERS.len());
            let ends = FILTERS.get(next).map(|(_, ends)| ends.to_vec());
            view.question.outcomes = ends.unwrap_or_default();
            return Effect::Ask;
        }
        KeyCode::Char('/') => view.typing = Some(view.question.text.clone()),
        _ => {}
    }
    Effect::None
}

/// The one so many places behind `now`, round and round.
fn next<T: Copy + PartialEq>(all: &[T], now: T, by: usize) -> T {
    let at = all.iter().position(|one| *one == now).unwrap_or(0);
    all.get((at + by) % all.len().max(1)).copied().unwrap_or(now)
}

fn filter(view: &mut View, key: &KeyEvent) -> Effect {
    let Some(typed) = &mut view.typing else { return Effect::None };
    match key.code {
        KeyCode::Enter => {
            view.question.text = std::mem::take(typed);
            view.typing = None;
            view.panel = Panel::Recent;
            return Effect::Ask;
        }
        KeyCode::Esc => view.typing = None,
        KeyCode::Backspace => drop(typed.pop()),
        KeyCode::Char('u') if key.modifiers.contains(KeyModifiers::CONTROL) => typed.clear(),
        KeyCode::Char(character)
            if !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT)
                && typed.chars().count() < FILTER_MAX =>
        {
            typed.push(character);
        }
        _ => {}
    }
    Effect::None
}

/// One thing less on the screen.
fn back(view: &mut View) -> Effect {
    if view.help {
        view.help = false;
    } else if view.detail.is_some() {
        view.detail = None;
    } else if !view.question.text.is_empty() || !view.question.outcomes.is_empty() {
        view.question.text.clear();
        view.question.outcomes.clear();
        return Effect::Ask;
    } else if view.zoomed {
        view.zoomed = false;
    } else {
        return Effect::Quit;
    }
    Effect::None
}

/// A part of a window back or forth. Behind the last moment is now.
fn travel(view: &mut View, direction: i64, part: i64) -> Effect {
    let Some(facts) = &view.facts else { return Effect::None };
    let step = duration_nanos(view.question.window) / part;
    let at = Timestamp(facts.at.0.saturating_add(step.saturating_mul(direction)));
    // Nothing is told of times before the first query; its end is behind it.
    let first = facts.first.map_or(i64::MIN, |first| first.0.saturating_add(step));
    let at = if direction < 0 { at.max(Timestamp(first)).min(facts.at) } else { at };
    let is_last = view.question.at.is_none() || facts.last.is_some_and(|last| at >= last);
    let ahead = direction > 0 && is_last;
    to(view, (!ahead).then_some(at))
}

/// The window that begins with the first query.
fn first(view: &mut View) -> Effect {
    let first = view.facts.as_ref().and_then(|facts| facts.first);
    let window = duration_nanos(view.question.window);
    match first {
        Some(first) => to(view, Some(Timestamp(first.0.saturating_add(window)))),
        None => Effect::None,
    }
}

fn to(view: &mut View, at: Option<Timestamp>) -> Effect {
    if view.question.at == at {
        return Effect::None;
    }
    view.question.at = at;
    Effect::Ask
}

fn resize(view: &mut View, longer: bool) -> Effect {
    let now = view.question.window;
    let window = if longer {
        WINDOWS.into_iter().find(|window| *window > now)
    } else {
        WINDOWS.into_iter().rev().find(|window| *window < now)
    };
    let Some(window) = window else { return Effect::None };
    view.question.window = window;
    Effect::Ask
}
