//! The values that quantiles are taken of: kept as they come, put in order of windows once.

use super::meter::Meter;
use crate::error::Result;

/// The values of a group's series, NaNs left out, in the order they came.
#[derive(Default)]
pub(super) struct Kept {
    values: Vec<f64>,
    /// The window of each.
    windows: Vec<u32>,
    /// What others kept of the same group: moved, since copies would take memory twice.
    pooled: Vec<Self>,
}

impl Kept {
    /// Makes room for more values; returns the bytes that it reserved for them.
    pub(super) fn expect(&mut self, samples: u64, meter: &Meter<'_>) -> Result<u64> {
        Ok(grow(&mut self.values, samples, meter)? + grow(&mut self.windows, samples, meter)?)
    }

    /// Keeps values of one window.
    pub(super) fn add(&mut self, window: usize, values: &[f64]) {
        self.values.extend(values.iter().filter(|value| !value.is_nan()));
        // A row that has more windows does not fit into memory.
        self.windows.resize(self.values.len(), window as u32);
    }

    /// Keeps values, none of them NaN, each of the window beside it.
    pub(super) fn add_numbered(&mut self, windows: &[u32], values: &[f64]) {
        self.values.extend_from_slice(values);
        self.windows.extend_from_slice(windows);
    }

    /// Adds what another kept.
    pub(super) fn pool(&mut self, mut other: Self) {
        self.pooled.append(&mut other.pooled);
        self.pooled.push(other);
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.pieces().map(|piece| piece.values.len()).sum()
    }

    fn pieces(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.pooled)
    }

    /// The values in order of their windows, of which there are so many: counted, then placed.
    ///
    /// # Errors
    /// [`Limit`](crate::Error::Limit) where they take too much memory.
    pub(super) fn by_window<'a>(
        &self,
        windows: usize,
        meter: &'a Meter<'a>,
    ) -> Result<ByWindow<'a>> {
        let mut sorted = ByWindow { values: Vec::new(), ends: Vec::new(), meter, bytes: 0 };
        let count = self.len();
        if count == 0 {
            return Ok(sorted);
        }
        let bytes = (count * size_of::<f64>() + windows * size_of::<usize>()) as u64;
        meter.reserve(bytes)?;
        sorted.bytes = bytes;
        sorted.ends.resize(windows, 0);
        for piece in self.pieces() {
            for &window in &piece.windows {
                if let Some(end) = sorted.ends.get_mut(window as usize) {
                    *end += 1;
                }
            }
        }
        // From counts to starts, which become ends as the values come.
        let mut start = 0;
        for end in &mut sorted.ends {
            start += std::mem::replace(end, start);
        }
        sorted.values.resize(count, 0.0);
        for piece in self.pieces() {
            for (&value, &window) in piece.values.iter().zip(&piece.windows) {
                let Some(end) = sorted.ends.get_mut(window as usize) else { continue };
                if let Some(place) = sorted.values.get_mut(*end) {
                    *place = value;
                }
                *end += 1;
            }
        }
        Ok(sorted)
    }
}

/// Makes room for more items; returns the bytes that it reserved for them.
fn grow<T>(items: &mut Vec<T>, more: u64, meter: &Meter<'_>) -> Result<u64> {
    let (length, capacity) = (items.len() as u64, items.capacity() as u64);
    let wanted = length.saturating_add(more);
    if wanted <= capacity {
        return Ok(0);
    }
    // Exactly what the first asks for, then at least twice as much as before.
    let target = if length == 0 { wanted } else { wanted.max(2 * capacity) };
    let bytes = (target - capacity).saturating_mul(size_of::<T>() as u64);
    meter.reserve(bytes)?;
    items.reserve_exact((target - length) as usize);
    Ok(bytes)
}

/// Values in order of their windows.
pub(super) struct ByWindow<'a> {
    values: Vec<f64>,
    /// Where the values of each window end; empty where there are no values.
    ends: Vec<usize>,
    meter: &'a Meter<'a>,
    /// Bytes of the meter's memory that it holds.
    bytes: u64,
}

impl ByWindow<'_> {
    /// The values of a window.
    #[inline]
    pub(super) fn window(&self, index: usize) -> &[f64] {
        let end = |index: usize| self.ends.get(index).copied().unwrap_or(0);
        let start = index.checked_sub(1).map_or(0, end);
        self.values.get(start..end(index)).unwrap_or_default()
    }
}

impl Drop for ByWindow<'_> {
    fn drop(&mut self) {
        self.meter.release(self.bytes);
    }
}
