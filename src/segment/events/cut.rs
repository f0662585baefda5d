//! Rows that come in order, cut into stretches.

use std::ops::Range;

use super::{STRETCH_ROWS_MAX, STRETCH_TEXT_BYTES_MAX};
use crate::error::Result;
use crate::model::{EventBuilder, EventData, EventKind, EventRows, EventVector};

/// Rows of a stretch that is cut here; fewer in unit tests.
const CUT_ROWS: usize = if cfg!(test) { 100 } else { STRETCH_ROWS_MAX };

/// Gathers rows until they make a stretch.
pub struct StretchCutter {
    built: EventBuilder,
    text_bytes: usize,
}

impl StretchCutter {
    /// Of columns of these kinds.
    #[must_use]
    pub fn new(kinds: &[EventKind]) -> Self {
        Self { built: EventBuilder::new(kinds.iter().copied()), text_bytes: 0 }
    }

    /// Adds rows behind those that came before; `sink` gets each stretch that is full.
    ///
    /// # Errors
    /// What `sink` returns.
    pub fn push(
        &mut self,
        rows: &EventRows,
        range: Range<usize>,
        sink: &mut dyn FnMut(&EventRows) -> Result<()>,
    ) -> Result<()> {
        let mut from = range.start;
        while from < range.end {
            let room = CUT_ROWS - self.built.rows().len();
            let (to, text_bytes) = self.fitting(rows, from..range.end.min(from + room));
            self.built.append(rows, from..to);
            self.text_bytes += text_bytes;
            from = to;
            if from < range.end {
                self.finish(sink)?;
            }
        }
        Ok(())
    }

    /// How far rows fit for their texts' sake, at least one where there is none yet; and how many bytes
    /// of text these have.
    fn fitting(&self, rows: &EventRows, range: Range<usize>) -> (usize, usize) {
        let texts: Vec<&EventData> = rows
            .columns
            .iter()
            .filter(|column| matches!(column.values, EventVector::Text { .. }))
            .collect();
        let mut bytes = 0;
        for row in range.clone() {
            let of_row: usize =
                texts.iter().filter_map(|c| c.text(row)).map(|text| text.len()).sum();
            let empty = self.built.rows().is_empty() && row == range.start;
            if self.text_bytes + bytes + of_row > STRETCH_TEXT_BYTES_MAX && !empty {
                return (row, bytes);
            }
            bytes += of_row;
        }
        (range.end, bytes)
    }

    /// Hands over what is left.
    ///
    /// # Errors
    /// What `sink` returns.
    pub fn finish(&mut self, sink: &mut dyn FnMut(&EventRows) -> Result<()>) -> Result<()> {
        self.text_bytes = 0;
        let rows = self.built.take();
        if rows.is_empty() { Ok(()) } else { sink(&rows) }
    }
}
