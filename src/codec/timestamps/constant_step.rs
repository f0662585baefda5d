//! A column whose neighbours all differ by the same step: two numbers.

use crate::codec::bytes::{Reader, write_signed};
use crate::error::DecodeError;

/// Such a column.
pub(super) struct Column {
    first: i64,
    step: i64,
}

impl Column {
    /// `None` where the steps differ. Columns of fewer than two values have step 0.
    pub(super) fn of(timestamps: &[i64]) -> Option<Self> {
        let first = timestamps.first().copied().unwrap_or(0);
        let step = timestamps.get(1).map_or(0, |second| second.wrapping_sub(first));
        let constant =
            timestamps.windows(2).all(|pair| matches!(pair, &[a, b] if b.wrapping_sub(a) == step));
        constant.then_some(Self { first, step })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        write_signed(out, self.first);
        write_signed(out, self.step);
    }
}

/// Appends `count` timestamps to `out`.
pub(super) fn decode(
    mut reader: Reader<'_>,
    count: usize,
    out: &mut Vec<i64>,
) -> Result<(), DecodeError> {
    let (first, step) = (reader.signed()?, reader.signed()?);
    reader.finish("timestamps")?;
    out.extend((0..count as i64).map(|i| first.wrapping_add(i.wrapping_mul(step))));
    Ok(())
}
