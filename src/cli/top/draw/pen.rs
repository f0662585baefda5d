//! Writing into a buffer, within an area, whatever the texts hold: the one place where texts of others
//! meet the screen.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Span;

use crate::integration::figures::plain;
use crate::monitor::OutcomeKind;

/// How things look; without colours, attributes tell what matters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Looks {
    pub(super) colour: bool,
}

impl Looks {
    fn coloured(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    pub(super) fn plain(self) -> Style {
        Style::new()
    }

    pub(super) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub(super) fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    pub(super) fn good(self) -> Style {
        self.coloured(Color::Green)
    }

    pub(super) fn curve(self) -> Style {
        self.coloured(Color::Cyan)
    }

    pub(super) fn doubtful(self) -> Style {
        self.coloured(Color::Yellow)
    }

    pub(super) fn bad(self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub(super) fn outcome(self, outcome: Option<OutcomeKind>) -> Style {
        match outcome {
            None | Some(OutcomeKind::Ok) => self.plain(),
            Some(OutcomeKind::Error | OutcomeKind::TimedOut) => self.bad(),
            Some(OutcomeKind::Cancelled | OutcomeKind::Abandoned) => self.doubtful(),
        }
    }
}

/// Writes into an area of a buffer; coordinates are the area's own. What does not fit is cut.
pub(super) struct Pen<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
    pub(super) looks: Looks,
}

impl<'a> Pen<'a> {
    pub(super) fn new(buffer: &'a mut Buffer, area: Rect, looks: Looks) -> Self {
        let area = area.intersection(*buffer.area());
        Self { buffer, area, looks }
    }

    /// Rows `from..` of this area, `height` of them.
    pub(super) fn rows(&mut self, from: u16, height: u16) -> Pen<'_> {
        let from = from.min(self.area.height);
        let area = Rect {
            y: self.area.y + from,
            height: height.min(self.area.height - from),
            ..self.area
        };
        Pen { buffer: self.buffer, area, looks: self.looks }
    }

    pub(super) fn width(&self) -> u16 {
        self.area.width
    }

    pub(super) fn height(&self) -> u16 {
        self.area.height
    }

    /// Writes a text into at most `room` columns from `x` on; says where it ended.
    pub(super) fn text(&mut self, x: u16, y: u16, room: u16, text: &str, style: Style) -> u16 {
        if x >= self.area.width || y >= self.area.height {
            return x;
        }
        let room = room.min(self.area.width - x);
        let text = plain(text);
        let (at, row) = (self.area.x + x, self.area.y + y);
        let (end, _) = if width(&text) > room {
            let cut = room.saturating_sub(1);
            let (end, _) = self.buffer.set_stringn(at, row, &text, cut.into(), style);
            let room = usize::from((at + room).saturating_sub(end).min(1));
            self.buffer.set_stringn(end, row, "…", room, style)
        } else {
            self.buffer.set_stringn(at, row, &text, room.into(), style)
        };
        end.saturating_sub(self.area.x)
    }

    /// Writes a text so that it ends before `x + room`.
    pub(super) fn right(&mut self, x: u16, y: u16, room: u16, text: &str, style: Style) {
        let taken = width(&plain(text)).min(room);
        self.text(x + room - taken, y, taken, text, style);
    }

    /// Writes pieces beside each other from `x` on; says where they ended. Of what does not fit whole
    /// nothing is shown: half a figure is another one.
    pub(super) fn pieces(
        &mut self,
        mut x: u16,
        y: u16,
        pieces: impl IntoIterator<Item = (String, Style)>,
    ) -> u16 {
        for (text, style) in pieces {
            if x.saturating_add(width(&plain(&text))) <= self.area.width {
                x = self.text(x, y, u16::MAX, &text, style) + 2;
            }
        }
        x
    }

    /// Gives a whole row a style.
    pub(super) fn row(&mut self, y: u16, style: Style) {
        if y < self.area.height {
            let row = Rect { y: self.area.y + y, height: 1, ..self.area };
            self.buffer.set_style(row, style);
        }
    }
}

/// Columns that a text takes.
pub(super) fn width(text: &str) -> u16 {
    u16::try_from(Span::raw(text).width()).unwrap_or(u16::MAX)
}

/// A curve of one row, at most `room` columns: the greatest of the values that share a column, as eighths
/// of the greatest of all; a blank where there is none.
pub(super) fn spark(values: &[Option<f64>], room: u16) -> String {
    const EIGHTHS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let room = usize::from(room).min(values.len());
    let greatest = values.iter().flatten().copied().fold(0.0, f64::max);
    let column = |at: usize| {
        let (from, to) = (at * values.len() / room, (at + 1) * values.len() / room);
        let shared = values.get(from..to).unwrap_or_default();
        let value = shared.iter().flatten().copied().reduce(f64::max)?;
        let share = if greatest > 0.0 { value / greatest } else { 0.0 };
        let eighth = ((share * 8.0).ceil() as usize).clamp(1, EIGHTHS.len());
        EIGHTHS.get(eighth - 1).copied()
    };
    (0..room).map(|at| column(at).unwrap_or(' ')).collect()
}

/// A bar of at most `room` columns, in eighths of one.
pub(super) fn bar(share: f64, room: u16) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share.clamp(0.0, 1.0) * f64::from(room) * 8.0).round() as usize;
    let last = EIGHTHS.get(eighths % 8).copied().unwrap_or_default();
    "█".repeat(eighths / 8) + last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_fit_and_keep_their_peaks() {
        let values: Vec<Option<f64>> = (0..16).map(|i| (i != 4).then_some(f64::from(i))).collect();
        assert_eq!(spark(&values, 16), "▁▁▂▂ ▃▄▄▅▅▆▆▇▇██");
        assert_eq!(spark(&values, 4), "▂▄▆█");
        assert_eq!(spark(&values, 0), "");
        assert_eq!(spark(&[], 5), "");
        assert_eq!(spark(&[None, Some(0.0)], 5), " ▁");
    }

    #[test]
    fn bars_are_as_long_as_their_share() {
        assert_eq!(bar(0.5, 4), "██");
        assert_eq!(bar(0.53, 4), "██▏");
        assert_eq!(bar(7.0, 2), "██");
        assert_eq!(bar(f64::NAN, 2), "");
    }

    #[test]
    fn what_does_not_fit_is_cut_and_nothing_steers() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 8, 1));
        let area = *buffer.area();
        let mut pen = Pen::new(&mut buffer, area, Looks { colour: false });
        assert_eq!(pen.text(0, 0, 8, "a\u{1b}[2J界界界", Style::new()), 8);
        assert_eq!(pen.text(9, 0, 8, "out", Style::new()), 9);
        assert_eq!(pen.text(0, 3, 8, "out", Style::new()), 0);
        let shown: String = buffer.content().iter().map(ratatui::buffer::Cell::symbol).collect();
        // A wide character takes a cell and the blank behind it.
        assert_eq!(shown, "a�[2J界 …");
    }
}
