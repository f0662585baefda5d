//! Lines over time, drawn with braille dots.
//!
//! ratatui's canvas draws the lines; the axes are ours, because theirs has labels at even
//! distances only, and a reader wants round times and round values. Every line carries a letter
//! at its right end, so that the legend is read without colours too.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::symbols::Marker;
use ratatui::widgets::Widget;
use ratatui::widgets::canvas::{Canvas, Line as Segment, Points};

use super::figures;
use crate::integration::axis::{Scale, TimeAxis};
use crate::time::{TimeRange, Timestamp};

/// Rows of the plot itself.
const ROWS: u16 = 14;
/// Lines that stay apart for the eye.
pub(super) const LINES_MAX: usize = 8;

const COLOURS: [Color; LINES_MAX] = [
    Color::Cyan,
    Color::Yellow,
    Color::Magenta,
    Color::Green,
    Color::Red,
    Color::Blue,
    Color::LightCyan,
    Color::LightYellow,
];

/// One line.
pub(super) struct Curve {
    /// For the legend.
    pub(super) name: String,
    /// Time and value, ascending by time; a NaN is a gap.
    pub(super) points: Vec<(Timestamp, f64)>,
}

/// Draws the curves over the range into lines of text, at most `columns` wide; `unit` is what the
/// values are of. Empty where there is no finite point.
pub(super) fn draw(
    curves: &[Curve],
    range: TimeRange,
    unit: &str,
    columns: u16,
    colour: bool,
) -> Vec<String> {
    let values = || {
        let points = curves.iter().take(LINES_MAX).flat_map(|curve| &curve.points);
        points.map(|point| point.1).filter(|value| value.is_finite())
    };
    if values().next().is_none() {
        return Vec::new();
    }
    let scale = Scale::around(
        values().fold(f64::INFINITY, f64::min),
        values().fold(f64::NEG_INFINITY, f64::max),
        unit,
    );
    let labels: Vec<(f64, String)> =
        scale.ticks().map(|tick| (tick, figures::with_unit(tick, unit))).collect();
    let label_columns = labels.iter().map(|(_, text)| text.chars().count()).max().unwrap_or(0);
    let left = u16::try_from(label_columns).unwrap_or(0).min(columns / 3) + 2;
    // Behind the plot stand the letters.
    let plot = Rect::new(left, 0, columns.saturating_sub(left + 2).max(10), ROWS);
    let mut buffer = Buffer::empty(Rect::new(0, 0, columns.max(plot.right() + 2), ROWS + 2));
    let view = View { range, scale, plot };

    paint(curves, &view, &mut buffer);
    let axis = Style::new().fg(Color::DarkGray);
    for row in 0..ROWS {
        buffer.set_string(left - 1, row, "│", axis);
    }
    for (tick, text) in &labels {
        let row = view.row(*tick);
        let start = (left - 2).saturating_sub(u16::try_from(text.chars().count()).unwrap_or(0));
        buffer.set_string(start, row, text, Style::new());
        buffer.set_string(left - 1, row, "┤", axis);
    }
    buffer.set_string(left - 1, ROWS, "└", axis);
    buffer.set_string(left, ROWS, "─".repeat(usize::from(plot.width)), axis);
    time_axis(&view, &mut buffer, axis);
    if curves.len() > 1 {
        letters(curves, &view, &mut buffer);
    }
    let mut lines = rows(&buffer, colour);
    lines.extend(legend(curves, left, columns, colour));
    lines
}

/// What the plot shows, and where.
struct View {
    range: TimeRange,
    scale: Scale,
    plot: Rect,
}

impl View {
    /// Seconds since the range's beginning.
    fn x(&self, timestamp: Timestamp) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a dot is far wider")]
        let nanos = timestamp.nanos().saturating_sub(self.range.start.nanos()) as f64;
        nanos / 1e9
    }

    fn width(&self) -> f64 {
        self.x(self.range.end)
    }

    /// The row that a value falls on: braille has four dots a row.
    fn row(&self, value: f64) -> u16 {
        let dots = f64::from(self.plot.height * 4 - 1);
        let share = (self.scale.upper - value) / (self.scale.upper - self.scale.lower);
        whole(share * dots / 4.0).min(self.plot.height - 1) + self.plot.y
    }

    /// The column that a time falls on: braille has two dots a column.
    fn column(&self, timestamp: Timestamp) -> u16 {
        let dots = f64::from(self.plot.width * 2 - 1);
        whole(self.x(timestamp) / self.width() * dots / 2.0).min(self.plot.width - 1) + self.plot.x
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
fn whole(value: f64) -> u16 {
    value.max(0.0) as u16
}

fn paint(curves: &[Curve], view: &View, buffer: &mut Buffer) {
    Canvas::default()
        .marker(Marker::Braille)
        .x_bounds([0.0, view.width()])
        .y_bounds([view.scale.lower, view.scale.upper])
        .paint(|canvas| {
            // The first curve is painted last and lies on top.
            for (curve, color) in curves.iter().zip(COLOURS).rev() {
                canvas.layer();
                let points: Vec<(f64, f64)> =
                    curve.points.iter().map(|&(time, value)| (view.x(time), value)).collect();
                canvas.draw(&Points { coords: &points, color });
                for (from, to) in points.iter().zip(points.iter().skip(1)) {
                    if from.1.is_finite() && to.1.is_finite() {
                        canvas.draw(&Segment::new(from.0, from.1, to.0, to.1, color));
                    }
                }
            }
        })
        .render(view.plot, buffer);
}

/// Round times below the plot, as many as fit.
fn time_axis(view: &View, buffer: &mut Buffer, style: Style) {
    let days = TimeAxis::tells_days(view.range);
    // "11-23 14:10" or "14:10:00", and air.
    let axis =
        TimeAxis::new(view.range, f64::from(view.plot.width) / if days { 14.0 } else { 11.5 });
    let mut free_from = 0;
    for tick in axis.ticks() {
        let (column, text) = (view.column(tick), axis.label(tick));
        let width = u16::try_from(text.len()).unwrap_or(0);
        let at = column.saturating_sub(width / 2).min(buffer.area.width.saturating_sub(width));
        if at >= free_from {
            buffer.set_string(column, ROWS, "┬", style);
            buffer.set_string(at, ROWS + 1, text, Style::new());
            free_from = at + width + 2;
        }
    }
    // What the ticks leave out: the day.
    let day = figures::time(view.range.start);
    if !days && let Some(day) = day.get(..10) {
        let width = 11;
        if view.plot.x >= width {
            buffer.set_string(view.plot.x - width, ROWS + 1, day, style);
        }
    }
}

/// A letter behind each line's end, on the nearest free row.
fn letters(curves: &[Curve], view: &View, buffer: &mut Buffer) {
    let mut taken = Vec::new();
    for (i, (curve, color)) in curves.iter().zip(COLOURS).enumerate() {
        let Some(last) = curve.points.iter().rev().find(|point| point.1.is_finite()) else {
            continue;
        };
        let row = view.row(last.1);
        let free = (0..ROWS).filter(|row| !taken.contains(row));
        let Some(row) = free.min_by_key(|other| other.abs_diff(row)) else { return };
        taken.push(row);
        buffer.set_string(view.plot.right() + 1, row, letter(i), Style::new().fg(color));
    }
}

fn letter(i: usize) -> String {
    u8::try_from(i).map_or_else(|_| "?".to_owned(), |i| char::from(b'a' + i % 26).to_string())
}

fn legend(curves: &[Curve], left: u16, columns: u16, colour: bool) -> Vec<String> {
    if curves.len() < 2 {
        return Vec::new();
    }
    let indent = " ".repeat(usize::from(left));
    let room = usize::from(columns.saturating_sub(left));
    let mut lines = vec![indent.clone()];
    let mut used = 0;
    for (i, (curve, color)) in curves.iter().zip(COLOURS).enumerate() {
        let name: String = curve.name.chars().take(room.saturating_sub(4)).collect();
        let width = name.chars().count() + 5;
        if used > 0 && used + width > room {
            lines.push(indent.clone());
            used = 0;
        }
        used += width;
        let key = painted(&letter(i), color, colour);
        if let Some(line) = lines.last_mut() {
            line.push_str(&format!("{key} {name}   "));
        }
    }
    if curves.len() > LINES_MAX {
        lines.push(format!("{indent}and {} more, not drawn", curves.len() - LINES_MAX));
    }
    lines.into_iter().map(|line| line.trim_end().to_owned()).collect()
}

/// The rows of the buffer as text, with colours as SGR codes (ECMA-48 8.3.117) if wanted.
fn rows(buffer: &Buffer, colour: bool) -> Vec<String> {
    let row = |y: u16| {
        let cells = (0..buffer.area.width).filter_map(|x| buffer.cell((x, y)));
        let mut cells: Vec<(&str, Color)> = cells.map(|cell| (cell.symbol(), cell.fg)).collect();
        // A braille cell without dots is as blank as a blank.
        for cell in &mut cells {
            if cell.0 == "\u{2800}" {
                cell.0 = " ";
            }
        }
        while cells.last().is_some_and(|cell| cell.0 == " ") {
            cells.pop();
        }
        let mut out = String::new();
        for run in cells.chunk_by(|a, b| a.1 == b.1) {
            let text: String = run.iter().map(|cell| cell.0).collect();
            let color = run.first().map_or(Color::Reset, |cell| cell.1);
            out.push_str(&painted(&text, color, colour));
        }
        out
    };
    (0..buffer.area.height).map(row).collect()
}

fn painted(text: &str, color: Color, colour: bool) -> String {
    let code = match color {
        Color::Red => 31,
        Color::Green => 32,
        Color::Yellow => 33,
        Color::Blue => 34,
        Color::Magenta => 35,
        Color::Cyan => 36,
        Color::DarkGray => 90,
        Color::LightYellow => 93,
        Color::LightCyan => 96,
        _ => return text.to_owned(),
    };
    if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(name: &str, value: impl Fn(i64) -> f64) -> Curve {
        let points = (0..60).map(|i| (Timestamp::from_secs(36_000 + 60 * i), value(i))).collect();
        Curve { name: name.to_owned(), points }
    }

    fn hour() -> TimeRange {
        TimeRange::new(Timestamp::from_secs(36_000), Timestamp::from_secs(39_600))
    }

    #[test]
    fn a_chart_shows_round_values_and_times_within_its_width() {
        let curves = [curve("up", |i| i as f64), curve("down", |i| 59.0 - i as f64)];
        let lines = draw(&curves, hour(), "", 80, false);
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
        let text = lines.join("\n");
        for label in ["0 ┤", "20 ┤", "60 ┤", "10:00:00", "10:30:00", "a up   b down"] {
            assert!(text.contains(label), "no {label:?} in\n{text}");
        }
        assert!(!text.contains('\x1b'));
        // The rising line ends on top, the falling one at the bottom.
        assert!(lines[0].ends_with('a'), "{text}");
        assert!(lines[13].ends_with('b'), "{text}");
    }

    #[test]
    fn colours_come_only_where_wanted() {
        let lines = draw(&[curve("up", |i| i as f64)], hour(), "bytes", 80, true);
        assert!(lines.join("\n").contains("\x1b[36m"));
    }

    #[test]
    fn odd_values_are_drawn_or_left_out() {
        assert!(draw(&[curve("none", |_| f64::NAN)], hour(), "", 80, false).is_empty());
        assert!(draw(&[], hour(), "", 80, false).is_empty());
        for value in [0.0, -0.0, 5.0, -5.0, f64::MAX, f64::MIN_POSITIVE, -1e300] {
            let lines = draw(&[curve("flat", |_| value)], hour(), "", 60, false);
            assert_eq!(lines.len(), 16, "{value}");
        }
        let gap = curve("gap", |i| if i == 30 { f64::INFINITY } else { i as f64 });
        assert_eq!(draw(&[gap], hour(), "seconds", 40, false).len(), 16);
    }
}
