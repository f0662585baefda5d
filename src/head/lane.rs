//! A lane: the rows that one scrape group (or one series alone) appended in time order.

use std::sync::Arc;

use crate::model::SeriesId;

/// Values of a block: what a reader's snapshot may force the writer to copy once, 1 MiB.
const BLOCK_VALUES: usize = 128 << 10;
/// Rows of a block: enough to make a column worth a read, few enough that the tail stays small.
/// Fewer in tests, so that small cases cross blocks.
const BLOCK_ROWS: std::ops::RangeInclusive<usize> = if cfg!(test) { 8..=16 } else { 32..=1024 };

/// Rows under a shared timestamp column. `timestamps` strictly ascending; `orders` says which
/// write each row came with; `values` holds `rows * width` values.
#[derive(Debug, Clone, Default)]
struct Rows {
    timestamps: Vec<i64>,
    orders: Vec<u32>,
    values: Vec<f64>,
}

/// Full blocks are transposed, column after column, and never change; the tail is row after row,
/// so that appending a scrape is one copy.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    series: Arc<[SeriesId]>,
    rows_max: usize,
    blocks: Arc<Vec<Arc<Rows>>>,
    tail: Arc<Rows>,
    last: Option<i64>,
}

impl Lane {
    pub(super) fn new(series: Arc<[SeriesId]>) -> Self {
        let rows_max =
            (BLOCK_VALUES / series.len().max(1)).clamp(*BLOCK_ROWS.start(), *BLOCK_ROWS.end());
        Self { series, rows_max, blocks: Arc::default(), tail: Arc::default(), last: None }
    }

    /// The first and last timestamp.
    pub(super) fn bounds(&self) -> Option<(i64, i64)> {
        Some((*self.timestamps(0).first()?, self.last?))
    }

    /// The last timestamp, and the value of `column` there.
    pub(super) fn last(&self, column: usize) -> Option<(i64, f64)> {
        let rows = self.row_of_block(self.blocks.len()) + self.tail.timestamps.len();
        Some((self.last?, self.value(column, rows.checked_sub(1)?)?))
    }

    /// Whether a row at `timestamp` comes after all others.
    pub(super) fn accepts(&self, timestamp: i64) -> bool {
        self.last.is_none_or(|last| last < timestamp)
    }

    /// Appends a row that [`accepts`](Self::accepts) took; returns the bytes it holds.
    pub(super) fn push_row(&mut self, timestamp: i64, order: u32, values: &[f64]) -> usize {
        let tail = Arc::make_mut(&mut self.tail);
        tail.timestamps.push(timestamp);
        tail.orders.push(order);
        tail.values.extend_from_slice(values);
        self.last = Some(timestamp);
        if tail.timestamps.len() == self.rows_max {
            let rows = std::mem::take(tail);
            Arc::make_mut(&mut self.blocks).push(Arc::new(rows.transposed(self.series.len())));
        }
        size_of::<i64>() + size_of::<u32>() + size_of_val(values)
    }

    /// A block's timestamps; empty past the end.
    pub(super) fn timestamps(&self, block: usize) -> &[i64] {
        match self.blocks.get(block) {
            Some(rows) => &rows.timestamps,
            None if block == self.blocks.len() => &self.tail.timestamps,
            None => &[],
        }
    }

    /// Every row's timestamp and order.
    pub(super) fn stamps(&self) -> impl Iterator<Item = (i64, u32)> {
        let blocks = self.blocks.iter().map(|block| &**block).chain([&*self.tail]);
        blocks.flat_map(|rows| rows.timestamps.iter().copied().zip(rows.orders.iter().copied()))
    }

    /// The blocks whose span overlaps `first..=last`, as indices.
    pub(super) fn overlapping(&self, first: i64, last: i64) -> std::ops::Range<usize> {
        let begins = |block: &Arc<Rows>| block.timestamps.first().is_none_or(|&t| t <= last);
        let ended = |block: &Arc<Rows>| block.timestamps.last().is_none_or(|&t| t < first);
        let start = self.blocks.partition_point(ended);
        let mut end = self.blocks.partition_point(begins);
        let tail = &self.tail.timestamps;
        if let (Some(&tail_first), Some(&tail_last)) = (tail.first(), tail.last())
            && end == self.blocks.len()
            && tail_first <= last
            && first <= tail_last
        {
            end += 1;
        }
        start..end.max(start)
    }

    /// Appends the values of `column` in rows `start..end` (counted over the whole lane).
    pub(super) fn read(&self, column: usize, rows: std::ops::Range<usize>, out: &mut Vec<f64>) {
        let mut row = rows.start;
        while row < rows.end {
            let (block, offset) = (row / self.rows_max, row % self.rows_max);
            let take = (rows.end - row).min(self.rows_max - offset);
            match self.blocks.get(block) {
                Some(full) => {
                    let begin = column * self.rows_max + offset;
                    out.extend_from_slice(full.values.get(begin..begin + take).unwrap_or_default());
                }
                None => {
                    let width = self.series.len();
                    let begin = offset * width + column;
                    let column = self.tail.values.get(begin..).unwrap_or_default();
                    out.extend(column.iter().step_by(width).take(take));
                }
            }
            row += take;
        }
    }

    /// The value of `column` in `row`.
    pub(super) fn value(&self, column: usize, row: usize) -> Option<f64> {
        let (block, offset) = (row / self.rows_max, row % self.rows_max);
        match self.blocks.get(block) {
            Some(full) => full.values.get(column * self.rows_max + offset).copied(),
            None => self.tail.values.get(offset * self.series.len() + column).copied(),
        }
    }

    /// Rows before `block`.
    pub(super) fn row_of_block(&self, block: usize) -> usize {
        block * self.rows_max
    }
}

impl Rows {
    /// The same rows, column after column.
    fn transposed(self, width: usize) -> Self {
        if width == 1 {
            return self;
        }
        let mut values = Vec::with_capacity(self.values.len());
        for column in 0..width {
            values.extend(self.values.iter().skip(column).step_by(width));
        }
        Self { values, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_read_back_across_full_blocks_and_the_tail() {
        let width = 5_000; // 16 rows a block
        let mut lane = Lane::new((0..width).map(SeriesId).collect());
        for row in 0..75_i64 {
            let values: Vec<f64> = (0..width).map(|c| f64::from(c) + 0.001 * row as f64).collect();
            assert!(lane.accepts(row * 10));
            lane.push_row(row * 10, row as u32, &values);
        }
        let mut out = Vec::new();
        lane.read(4_999, 30..70, &mut out);
        let expected: Vec<f64> = (30..70).map(|row| 4_999.0 + 0.001 * f64::from(row)).collect();
        assert_eq!(out, expected);
        assert_eq!(lane.value(7, 64), Some(7.0 + 0.001 * 64.0));
        assert_eq!(lane.overlapping(150, 160), 0..2);
        assert_eq!(lane.overlapping(641, 10_000), 4..5);
        assert_eq!(lane.overlapping(741, 10_000), 4..4);
        assert_eq!(lane.timestamps(4).first(), Some(&640));
        assert!(!lane.accepts(740));
    }
}
