//! A panel: a title, the names of columns, rows of which one may be chosen.

use ratatui::style::Style;

use super::pen::Pen;

/// One column. The last of a table takes what is left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) width: u16,
    pub(super) right: bool,
    /// Shown from this width of the screen on.
    pub(super) from: u16,
}

pub(super) const fn left(name: &'static str, width: u16, from: u16) -> Column {
    Column { name, width, right: false, from }
}

pub(super) const fn right(name: &'static str, width: u16, from: u16) -> Column {
    Column { name, width, right: true, from }
}

/// A cell's text and how it looks.
pub(super) type Cell = (String, Style);

/// What a panel shows.
pub(super) struct Table<'a> {
    pub(super) columns: &'a [Column],
    pub(super) rows: usize,
    pub(super) chosen: Option<usize>,
}

impl Table<'_> {
    /// Draws the names of columns and as many rows as fit, the chosen one among them. `cells` makes
    /// one row's, in the order of the columns.
    pub(super) fn draw(&self, pen: &mut Pen<'_>, mut cells: impl FnMut(usize) -> Vec<Cell>) {
        let faint = pen.looks.faint();
        let names = self.columns.iter().map(|column| (column.name.to_owned(), faint));
        self.row(pen, 0, &names.collect::<Vec<Cell>>());
        let room = usize::from(pen.height().saturating_sub(1));
        let first = self.chosen.map_or(0, |chosen| (chosen + 1).saturating_sub(room));
        for (y, row) in (1..).zip((first..self.rows).take(room)) {
            self.row(pen, y, &cells(row));
            if self.chosen == Some(row) {
                pen.row(y, pen.looks.chosen());
            }
        }
    }

    fn row(&self, pen: &mut Pen<'_>, y: u16, cells: &[Cell]) {
        let mut x = 1;
        let shown = self.columns.iter().zip(cells);
        let shown: Vec<_> = shown.filter(|(column, _)| column.from <= pen.width()).collect();
        for (at, (column, (text, style))) in shown.iter().enumerate() {
            let is_last = at + 1 == shown.len();
            let room = if is_last { pen.width().saturating_sub(x) } else { column.width };
            if column.right && !is_last {
                pen.right(x, y, room, text, *style);
            } else {
                pen.text(x, y, room, text, *style);
            }
            x = x.saturating_add(room).saturating_add(1);
        }
    }
}
