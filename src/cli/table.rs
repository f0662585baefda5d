//! Aligned tables without borders.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

/// A table with a header; columns whose name begins with `>` are aligned right.
pub(super) struct Columns {
    table: Table,
    right: Vec<bool>,
}

impl Columns {
    pub(super) fn new(names: &[&str]) -> Self {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        let right: Vec<bool> = names.iter().map(|name| name.starts_with('>')).collect();
        let mut columns = Self { table, right };
        let header: Vec<String> =
            names.iter().map(|name| name.trim_start_matches('>').to_owned()).collect();
        let header = columns.cells(header);
        columns.table.set_header(header);
        if let Some(first) = columns.table.column_mut(0) {
            first.set_padding((0, 1));
        }
        columns
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        let cells = self.cells(cells);
        self.table.add_row(cells);
    }

    fn cells(&self, texts: Vec<String>) -> Vec<Cell> {
        let right = self.right.iter().copied().chain(std::iter::repeat(false));
        texts
            .into_iter()
            .zip(right)
            .map(|(text, right)| {
                let alignment = if right { CellAlignment::Right } else { CellAlignment::Left };
                Cell::new(text).set_alignment(alignment)
            })
            .collect()
    }

    /// The lines, without trailing blanks.
    pub(super) fn lines(&self) -> Vec<String> {
        self.table.lines().map(|line| line.trim_end().to_owned()).collect()
    }
}
