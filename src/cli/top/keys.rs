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
    ("q, Ctrl-C", "quit; Esc goes back, and quits in the end"),
    ("Tab, 1 to 4", "the panel that keys go to: running, recent, sources, alerts"),
    ("z", "that panel alone, and back"),
    ("Up, Down, k, j", "choose a row; PgUp, PgDn, Home, End"),
    ("Enter", "a query in full: phases, calls, who was waited for"),
    ("s", "order of recent queries: newest, slowest, rows, bytes, CPU"),
    ("o", "recent queries by outcome: all, not ok, error, timed out, ..."),
    ("/", "recent queries with this in text, user, tenant, error, source"),
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
    // Keys may come faster than answers.
    let from = view.question.at.unwrap_or(facts.at);
    let at = Timestamp(from.0.saturating_add(step.saturating_mul(direction)));
    // Nothing is told of times before the first query; its end is behind it.
    let first = facts.first.map_or(i64::MIN, |first| first.0.saturating_add(step));
    let at = if direction < 0 { at.max(Timestamp(first)).min(from) } else { at };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::top::view::Origin;
    use crate::monitor::{OutcomeKind, QueryId};
    use crate::overview::{Overview, Question};

    /// Ten queries, numbered downwards from `newest`; an hour of history that ends at noon.
    fn facts(newest: u64) -> Overview {
        let line = |number: u64| {
            serde_json::json!({
                "id": format!("{number:016x}"), "began": "2026-11-27T12:00:00Z", "outcome": "ok", "error": "",
                "tenant": "", "user": "", "fingerprint": "", "text": "", "length_us": 1, "phase": null,
                "progress": null, "under_way": [], "rows_in": 0, "rows_out": 0, "bytes_in": 0,
                "bytes_out": 0, "cpu_us": 0, "waiting_us": 0, "critical_source": null, "critical_us": 0,
            })
        };
        let recent: Vec<_> = (0..10).map(|back| line(newest - back)).collect();
        let text = serde_json::json!({
            "at": "2026-11-27T12:00:00Z", "from": "2026-11-27T11:55:00Z",
            "first": "2026-11-27T11:00:00Z", "last": "2026-11-27T12:00:00Z",
            "monitored": true, "live": true, "load": crate::overview::Load::default(),
            "running": [], "running_count": 0, "recent": recent, "recent_count": 10,
            "sources": [], "alerts": [], "store": crate::overview::StoreFacts::default(),
        });
        serde_json::from_value(text).unwrap()
    }

    fn view() -> View {
        let origin = Origin::Server("http://host".to_owned());
        let mut view = View::new(origin, Question::default(), false);
        view.take(facts(100));
        view
    }

    fn key(view: &mut View, code: KeyCode) -> Effect {
        press(view, &Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
    }

    /// Letters one after another; the effect of the last.
    fn keys(view: &mut View, letters: &str) -> Effect {
        letters.chars().map(|letter| key(view, KeyCode::Char(letter))).last().unwrap()
    }

    #[test]
    fn quitting_is_one_key_and_escape_goes_back_first() {
        assert_eq!(keys(&mut view(), "q"), Effect::Quit);
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(press(&mut view(), &Event::Key(control_c)), Effect::Quit);
        let mut view = view();
        keys(&mut view, "?");
        key(&mut view, KeyCode::Esc);
        assert!(!view.help);
        keys(&mut view, "/stock");
        key(&mut view, KeyCode::Enter);
        assert_eq!(key(&mut view, KeyCode::Esc), Effect::Ask);
        assert_eq!(view.question.text, "");
        assert_eq!(key(&mut view, KeyCode::Esc), Effect::Quit);
        // Released keys, resizes and what is pasted press nothing.
        assert_eq!(press(&mut view, &Event::Resize(10, 10)), Effect::None);
    }

    #[test]
    fn a_filter_is_typed_and_taken_or_left() {
        let mut view = view();
        assert_eq!(keys(&mut view, "/qpn?"), Effect::None);
        assert_eq!(view.typing.as_deref(), Some("qpn?"));
        key(&mut view, KeyCode::Backspace);
        assert_eq!(key(&mut view, KeyCode::Enter), Effect::Ask);
        assert_eq!((view.question.text.as_str(), view.typing.as_deref()), ("qpn", None));
        keys(&mut view, "/more");
        assert_eq!(key(&mut view, KeyCode::Esc), Effect::None);
        assert_eq!(view.question.text, "qpn");
        keys(&mut view, &("/".to_owned() + &"x".repeat(500)));
        assert_eq!(view.typing.unwrap().chars().count(), FILTER_MAX);
    }

    #[test]
    fn orders_and_outcomes_go_round() {
        let mut view = view();
        for order in [Order::Slowest, Order::Rows, Order::Bytes, Order::Cpu, Order::Newest] {
            assert_eq!(keys(&mut view, "s"), Effect::Ask);
            assert_eq!(view.question.order, order);
        }
        keys(&mut view, "o");
        assert_eq!(view.question.outcomes.len(), 4);
        keys(&mut view, "o");
        assert_eq!(view.question.outcomes, [OutcomeKind::Error]);
        keys(&mut view, "ooooo");
        assert!(view.question.outcomes.is_empty());
    }

    #[test]
    fn a_chosen_query_stays_chosen_when_new_ones_come() {
        let mut view = view();
        keys(&mut view, "jjj");
        assert_eq!(view.chosen(), Some(QueryId(97)));
        view.take(facts(102));
        assert_eq!((view.chosen(), view.row(Panel::Recent)), (Some(QueryId(97)), 5));
        // It is gone: the row stays. The first row is whatever is newest.
        view.take(facts(500));
        assert_eq!(view.row(Panel::Recent), 5);
        key(&mut view, KeyCode::Home);
        view.take(facts(600));
        assert_eq!(view.chosen(), Some(QueryId(600)));
        key(&mut view, KeyCode::End);
        assert_eq!(view.row(Panel::Recent), 9);
        key(&mut view, KeyCode::PageDown);
        assert_eq!(view.row(Panel::Recent), 9);
        assert_eq!(key(&mut view, KeyCode::Enter), Effect::Ask);
        assert_eq!(view.detail.as_ref().map(Shown::id), Some(QueryId(591)));
        // Behind a query nothing moves.
        keys(&mut view, "kks");
        assert_eq!((view.row(Panel::Recent), view.question.order), (9, Order::Newest));
    }

    #[test]
    fn panels_are_gone_through_and_an_empty_one_has_no_query() {
        let mut view = view();
        key(&mut view, KeyCode::Tab);
        assert_eq!(view.panel, Panel::Sources);
        key(&mut view, KeyCode::BackTab);
        key(&mut view, KeyCode::BackTab);
        assert_eq!(view.panel, Panel::Running);
        assert_eq!(key(&mut view, KeyCode::Enter), Effect::None);
        assert_eq!(view.detail, None);
        keys(&mut view, "4jj");
        assert_eq!((view.panel, view.row(Panel::Alerts)), (Panel::Alerts, 0));
    }

    #[test]
    fn time_goes_back_to_the_first_query_and_forth_to_now() {
        let minutes = |view: &View| view.question.at.map(|at| (at.0 / 60_000_000_000) % 60);
        let mut view = view();
        assert_eq!(key(&mut view, KeyCode::Right), Effect::None);
        assert_eq!(keys(&mut view, "["), Effect::Ask);
        assert_eq!(minutes(&view), Some(55));
        // What is shown moves on once it was answered.
        let mut back = facts(100);
        back.at = view.question.at.unwrap();
        view.take(back);
        keys(&mut view, "[");
        assert_eq!(minutes(&view), Some(50));
        assert_eq!(keys(&mut view, "]]"), Effect::Ask);
        assert_eq!(view.question.at, None);
        keys(&mut view, "g");
        assert_eq!(minutes(&view), Some(5));
        let mut early = facts(100);
        early.at = view.question.at.unwrap();
        view.take(early);
        assert_eq!(keys(&mut view, "["), Effect::None, "the first window is the first");
        assert_eq!(keys(&mut view, "n"), Effect::Ask);
        assert_eq!(view.question.at, None);
    }

    #[test]
    fn windows_are_round_and_bounded() {
        let mut view = view();
        keys(&mut view, "+");
        assert_eq!(view.question.window, seconds(900));
        keys(&mut view, "++++++++++++");
        assert_eq!(view.question.window, seconds(30 * 86_400));
        assert_eq!(keys(&mut view, "+"), Effect::None);
        view.question.window = seconds(7);
        keys(&mut view, "-");
        assert_eq!(view.question.window, seconds(5));
        assert!(
            WINDOWS
                .iter()
                .all(|&window| { Question { window, ..Question::default() }.check().is_ok() })
        );
    }

    #[test]
    fn a_pause_asks_when_it_is_over() {
        let mut view = view();
        assert_eq!(keys(&mut view, "p"), Effect::None);
        assert!(view.paused);
        assert_eq!(keys(&mut view, "p"), Effect::Ask);
    }
}
