//! Which column another one is near.
//!
//! Durations of a query and its parts, counts that are mostly equal, names that go together: one of them
//! mostly tells the other to a few bits. Owns: the choice of a base among columns that stand before, by a
//! sample of rows. Does not own: how distances are kept (`codec::distances`), and whether that pays in
//! bytes (the writer).

use crate::codec::distances;
use crate::model::{EventData, EventVector};

/// Rows that are looked at, spread over the stretch.
const SAMPLE_ROWS: usize = 1024;

/// Integers of these rows, or the numbers of their texts; 0 where there are none. Of other columns
/// nothing.
pub(super) fn numbers(data: &EventData, rows: impl Iterator<Item = usize>) -> Vec<i64> {
    let number = |row: usize| match &data.values {
        EventVector::Integer(integers) => integers.get(row).copied(),
        EventVector::Text { ids, .. } => ids.get(row).map(|&id| i64::from(id)),
        EventVector::Float(_) | EventVector::Boolean(_) => None,
    };
    match &data.present {
        None => rows.filter_map(number).collect(),
        Some(present) => {
            rows.filter_map(|row| if present.get(row) { number(row) } else { Some(0) }).collect()
        }
    }
}

/// Which of `before`, columns of as many rows, takes the fewest bits to tell `column` from, as distances or
/// by which are equal: an eighth fewer than its values above the least of them take. Of equals the first.
pub(super) fn nearest<'a>(
    before: impl Iterator<Item = &'a EventData>,
    column: &EventData,
) -> Option<usize> {
    if !matches!(column.values, EventVector::Integer(_) | EventVector::Text { .. }) {
        return None;
    }
    let stride = column.len().div_ceil(SAMPLE_ROWS).max(1);
    let rows = || (0..column.len()).step_by(stride).filter(|&row| column.is_present(row));
    let values = numbers(column, rows());
    let least = *values.iter().min()?;
    let alone: u32 = values.iter().map(|&value| distances::bits(value, least)).sum();
    let bits = |base: &EventData| -> u32 {
        let (mut distance, mut unequal) = (0, 0);
        for (&value, base) in values.iter().zip(numbers(base, rows())) {
            distance += distances::bits(value, base);
            unequal += 1 + if value == base { 0 } else { distances::bits(value, least) };
        }
        distance.min(unequal)
    };
    before
        .enumerate()
        .filter(|(_, base)| base.kind() == column.kind())
        .map(|(at, base)| (bits(base), at))
        .min()
        .filter(|&(near, _)| near < alone - alone / 8)
        .map(|(_, at)| at)
}
