//! Where windows cut a column of timestamps: computed once for all the series that share it.

use std::ops::Range;

use super::windows::Windows;
use crate::segment::count_below;
use crate::time::Timestamp;

/// Samples of a window that are counted one by one, before it is searched for its end.
const NEAR: usize = 16;
/// Samples a window from which on comparing them with its end is cheaper than numbering each.
const DENSE_SAMPLES: u64 = 16;

/// The windows of a column's samples: stretch by stretch where they are many, sample by sample
/// where they are few. Then no processor guesses where windows change, and nothing should branch
/// on it.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    /// Empty where there are numbers.
    rows: Vec<WindowRows>,
    /// The windows of `numbers.len()` samples from row `first` on, ascending; else empty.
    numbers: Vec<u32>,
    first: usize,
}

/// Samples `rows` of some columns lie in the window `window`; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WindowRows {
    pub(crate) window: usize,
    pub(crate) rows: Range<usize>,
}

impl Cut {
    /// Becomes that of strictly ascending timestamps.
    pub(crate) fn split(&mut self, windows: &Windows, timestamps: &[i64]) {
        self.rows.clear();
        self.numbers.clear();
        let range = windows.range();
        let at = timestamps.partition_point(|&time| time < range.start.0);
        let stop = timestamps.partition_point(|&time| time < range.end.0);
        let inside = timestamps.get(at..stop).unwrap_or_default();
        let (Some(first), Some(last)) = (inside.first(), inside.last()) else { return };
        if let Some(window) = windows.holding(Timestamp(*first), Timestamp(*last)) {
            self.rows.push(WindowRows { window, rows: at..stop });
            return;
        }
        let (steps, samples) = (last.abs_diff(*first) / windows.step, inside.len() as u64);
        match Numbering::of(windows, *first, *last) {
            Some(numbering) if samples < steps.saturating_mul(DENSE_SAMPLES) => {
                self.first = at;
                self.numbers.extend(inside.iter().map(|&time| numbering.window(time)));
            }
            _ => self.split_dense(windows, at, inside),
        }
    }

    fn split_dense(&mut self, windows: &Windows, mut at: usize, mut rest: &[i64]) {
        let step = i64::try_from(windows.step).unwrap_or(i64::MAX);
        let (mut window, mut end) = (0, i64::MIN);
        while let Some(first) = rest.first() {
            // Mostly the next one.
            if !self.rows.is_empty() && *first < end.saturating_add(step) {
                window += 1;
                end = end.saturating_add(step).min(windows.range().end.0);
            } else {
                let Some(found) = windows.index(Timestamp(*first)) else { return };
                let Some(bounds) = windows.get(found) else { return };
                (window, end) = (found, bounds.end.0);
            }
            let near = rest.iter().take(NEAR).take_while(|&&time| time < end).count();
            let beyond = rest.get(near..).filter(|_| near == NEAR).unwrap_or_default();
            let far = match beyond.first() {
                Some(&time) if time < end => count_below(beyond, end),
                _ => 0,
            };
            let stop = at + near + far;
            self.rows.push(WindowRows { window, rows: at..stop });
            rest = rest.get(near + far..).unwrap_or_default();
            at = stop;
        }
    }

    /// The windows of single samples among `rows`, and the first of these that is in one; empty
    /// where windows hold many.
    pub(crate) fn numbers(&self, rows: &Range<usize>) -> (usize, &[u32]) {
        let end = rows.end.saturating_sub(self.first).min(self.numbers.len());
        let start = rows.start.saturating_sub(self.first).min(end);
        (self.first + start, self.numbers.get(start..end).unwrap_or_default())
    }

    /// For each window that holds any of `within`, ascending, those it holds.
    pub(crate) fn pieces(&self, within: Range<usize>) -> impl Iterator<Item = WindowRows> {
        let (mut row, numbers) = self.numbers(&within);
        let few = numbers.chunk_by(PartialEq::eq).map(move |alike| {
            let rows = row..row + alike.len();
            row = rows.end;
            WindowRows { window: alike.first().map_or(0, |&window| window as usize), rows }
        });
        let many = self.rows.iter().filter_map(move |WindowRows { window, rows }| {
            let rows = rows.start.max(within.start)..rows.end.min(within.end);
            (!rows.is_empty()).then_some(WindowRows { window: *window, rows })
        });
        many.chain(few)
    }

    /// What it takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.rows) + size_of_val(&*self.numbers)
    }
}

/// Division by the step without dividing, and without anything that a processor cannot do on
/// several at once: all of it in doubles, which hold integers below 2^53 exactly.
#[derive(Debug, Clone, Copy)]
struct Numbering {
    /// The window of the first sample, and where it starts.
    window: u32,
    start: i64,
    step: f64,
    inverse: f64,
}

impl Numbering {
    /// Beyond this [`ROUND`](Self::ROUND) does not round.
    const REACH: u64 = 1 << 51;
    /// Adding and subtracting it rounds to the nearest integer, magnitudes up to 2^51.
    const ROUND: f64 = (3_u64 << 51) as f64;
    /// 2^52: with an integer below that as its fraction, a double is their sum.
    const INTEGER: f64 = (1_u64 << 52) as f64;

    /// `None` where the numbers are too large, or the samples too far apart.
    fn of(windows: &Windows, first: i64, last: i64) -> Option<Self> {
        u32::try_from(windows.len()).ok()?;
        let found = windows.index(Timestamp(first))?;
        let start = windows.get(found)?.start.0;
        let step = windows.step as f64;
        let reaches = last.abs_diff(start) < Self::REACH && windows.step < Self::REACH;
        let window = found as u32;
        reaches.then_some(Self { window, start, step, inverse: 1.0 / step })
    }

    /// The window of a timestamp from the first to the last.
    #[inline(always)]
    fn window(self, time: i64) -> u32 {
        let offset = time.wrapping_sub(self.start) as u64;
        let offset = f64::from_bits(offset | Self::INTEGER.to_bits()) - Self::INTEGER;
        // Off by one at most...
        let near = (offset * self.inverse - 0.5 + Self::ROUND) - Self::ROUND;
        // ... which what is left over tells: product and difference are exact.
        let rest = offset - near * self.step;
        let more = if rest >= self.step { 1.0 } else { 0.0 };
        let less = if rest < 0.0 { 1.0 } else { 0.0 };
        // The low bits of the fraction are the integer.
        self.window.wrapping_add((near + more - less + Self::ROUND).to_bits() as u32)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::time::TimeRange;

    proptest! {
        #[test]
        fn splits_as_asking_each_timestamp_does(
            start in -50_i64..50, length in 1_i64..400, step in 1_u64..60, scale in 0..50_u32,
            off in -1_i64..2, within in (0..120_usize, 0..120_usize),
            times in prop::collection::btree_set(-100_i64..400, 0..120),
        ) {
            let range = TimeRange::new(Timestamp(start << scale), Timestamp((start + length) << scale));
            let windows = Windows::new(range, Some(Duration::from_nanos(step << scale))).unwrap();
            let times: Vec<i64> = times.into_iter().map(|time| (time << scale) + off).collect();
            let mut cut = Cut::default();
            cut.split(&windows, &times);
            let within = within.0..within.1.max(within.0);
            let mut found = vec![None; times.len()];
            for WindowRows { window, rows } in cut.pieces(within.clone()) {
                prop_assert!(!rows.is_empty());
                for row in rows {
                    found[row] = Some(window);
                }
            }
            let (first, numbers) = cut.numbers(&within);
            for (row, &number) in (first..).zip(numbers) {
                prop_assert_eq!(found[row], Some(number as usize));
            }
            for (row, (&time, found)) in times.iter().zip(found).enumerate() {
                let holding = windows.iter().position(|window| window.contains(Timestamp(time)));
                prop_assert_eq!(found, holding.filter(|_| within.contains(&row)));
                prop_assert_eq!(windows.index(Timestamp(time)), holding);
            }
        }
    }
}
