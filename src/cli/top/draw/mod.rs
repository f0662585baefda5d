//! A view as a frame. Pure: the same view gives the same cells, on a terminal, in a text, in a test.
//!
//! Owns: which panels stand where and how high, and what stands in them. Does not own: which facts there
//! are (`overview`), what keys do, the terminal.

mod detail;
mod header;
mod panels;
mod pen;
mod table;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use self::pen::{Looks, Pen};
use super::keys::KEYS;
use super::view::{Panel, View};
use crate::overview::Overview;

/// A panel's title and the names of its columns.
const HEAD: u16 = 2;
/// Rows of each panel in a frame that nobody can scroll.
const PRINTED_ROWS: u16 = 20;

/// Draws a view over the whole of a buffer.
pub(super) fn draw(buffer: &mut Buffer, view: &View) {
    let area = *buffer.area();
    let mut pen = Pen::new(buffer, area, Looks { colour: view.colour });
    header::draw(&mut pen.rows(0, header::HEIGHT), view);
    let height = pen.height().saturating_sub(header::HEIGHT + 1);
    let mut body = pen.rows(header::HEIGHT, height);
    if view.help {
        help(&mut body);
    } else if let Some(shown) = &view.detail {
        detail::draw(&mut body, shown);
    } else if let Some(facts) = &view.facts {
        let heights = heights(facts, view, height);
        panels(&mut body, view, facts, heights, true);
    }
    let last = pen.height().saturating_sub(1);
    foot(&mut pen.rows(last, 1), view);
}

/// The same as text, as high as it takes, without what is only of use with keys. Lines end without
/// blanks.
pub(super) fn text(view: &View, width: u16) -> Vec<String> {
    let Some(facts) = &view.facts else { return Vec::new() };
    let heights = Panel::ALL.map(|panel| wanted(panel, facts).min(HEAD + PRINTED_ROWS));
    let gaps = Panel::ALL.len() as u16;
    let height = header::HEIGHT + gaps + heights.iter().sum::<u16>();
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    let area = *buffer.area();
    let mut pen = Pen::new(&mut buffer, area, Looks { colour: false });
    header::draw(&mut pen.rows(0, header::HEIGHT), view);
    let mut body = pen.rows(header::HEIGHT, height);
    panels(&mut body, view, facts, heights, false);
    lines(&buffer)
}

/// A buffer's rows, without the blanks at their ends.
fn lines(buffer: &Buffer) -> Vec<String> {
    let rows = buffer.content().chunks(usize::from(buffer.area().width.max(1)));
    let line = |row: &[ratatui::buffer::Cell]| {
        let mut line = String::new();
        let mut behind_wide = 0;
        for cell in row {
            if behind_wide > 0 {
                behind_wide -= 1;
            } else {
                line.push_str(cell.symbol());
                behind_wide = pen::width(cell.symbol()).saturating_sub(1);
            }
        }
        line.trim_end().to_owned()
    };
    rows.map(line).collect()
}

/// Rows that a panel takes to show everything; an empty one says so in its title.
fn wanted(panel: Panel, facts: &Overview) -> u16 {
    match u16::try_from(panel.rows(facts)).unwrap_or(u16::MAX) {
        0 => 1,
        rows => rows.saturating_add(HEAD),
    }
}

/// How high each panel is: all of them a little, then the one that keys go to, then the others.
fn heights(facts: &Overview, view: &View, height: u16) -> [u16; Panel::ALL.len()] {
    let wants = Panel::ALL.map(|panel| wanted(panel, facts));
    let only = Panel::ALL.map(|panel| if panel == view.panel { height } else { 0 });
    // Two rows of each, or one where it is tight.
    let little = [HEAD + 2, HEAD + 1].map(|least| wants.map(|wants| wants.min(least)));
    let fitting = little.into_iter().find(|all| all.iter().sum::<u16>() <= height);
    let Some(mut heights) = fitting.filter(|_| !view.zoomed) else { return only };
    let others = Panel::ALL.into_iter().filter(|panel| *panel != view.panel);
    for panel in std::iter::once(view.panel).chain(others) {
        let left = height.saturating_sub(heights.iter().sum());
        let of = heights.get_mut(panel as usize).zip(wants.get(panel as usize));
        if let Some((of, wants)) = of {
            // The others leave each other something.
            let share = if panel == view.panel { left } else { left.div_ceil(2) };
            *of = (*wants).min(of.saturating_add(share)).max(*of);
        }
    }
    heights
}

fn panels(
    pen: &mut Pen<'_>,
    view: &View,
    facts: &Overview,
    heights: [u16; Panel::ALL.len()],
    choosing: bool,
) {
    let mut y = 0_u16;
    for (panel, height) in Panel::ALL.into_iter().zip(heights) {
        panels::draw(&mut pen.rows(y, height), panel, view, facts, choosing);
        // Where nothing scrolls there is room for a blank row.
        y = y.saturating_add(height).saturating_add(u16::from(!choosing));
    }
}

fn help(pen: &mut Pen<'_>) {
    let looks = pen.looks;
    pen.text(1, 0, u16::MAX, "Keys", looks.strong());
    for (y, (keys, what)) in (1..).zip(KEYS) {
        pen.text(1, y, 15, keys, looks.strong());
        pen.text(17, y, u16::MAX, what, looks.plain());
    }
    let y = KEYS.len() as u16 + 2;
    pen.text(
        1,
        y,
        u16::MAX,
        "A query counts when it ends. Its time is the engine's, or that of the source",
        looks.faint(),
    );
    pen.text(
        1,
        y + 1,
        u16::MAX,
        "that the critical path lies with: the call under way that ends last.",
        looks.faint(),
    );
}

fn foot(pen: &mut Pen<'_>, view: &View) {
    let looks = pen.looks;
    if let Some(typed) = &view.typing {
        let x = pen.text(0, 0, u16::MAX, "/", looks.strong());
        let x = pen.text(x, 0, u16::MAX, typed, looks.plain());
        pen.text(x, 0, 1, " ", looks.chosen());
        return;
    }
    let keys = match pen.width() {
        _ if view.help || view.detail.is_some() => "Esc back  q quit",
        ..104 => "q quit ? keys Tab panel Enter query s order o outcome / filter p pause ←→[] +-",
        _ => {
            "q quit  ? keys  Tab panel  Enter query  s order  o outcome  / filter  p pause  \
             ←→ [ ] time  + - window"
        }
    };
    pen.text(0, 0, u16::MAX, keys, looks.faint());
}

#[cfg(test)]
mod tests;
