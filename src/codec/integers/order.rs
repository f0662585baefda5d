//! Predictions: what is subtracted from a column so that small residuals remain.
//!
//! Residuals become unsigned either by [`zigzag`] or by an offset, their smallest value.

use super::packed::Packing;
use crate::codec::bytes::{Reader, unzigzag, write_signed, zigzag};
use crate::error::DecodeError;

/// What a value is predicted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Nothing: values as they are, above their minimum.
    Raw,
    /// The value before.
    Delta,
    /// The value before and the step that led to it.
    DeltaOfDelta,
    /// A line through the first value: `index x slope`. Jitter around a grid does not add up
    /// here, as it does in differences.
    Grid,
}

impl Order {
    pub(super) const fn tag(self) -> u8 {
        match self {
            Self::Raw => 0,
            Self::Delta => 1,
            Self::DeltaOfDelta => 2,
            Self::Grid => 3,
        }
    }

    pub(super) const fn from_tag(tag: u8) -> Self {
        match tag & 3 {
            0 => Self::Raw,
            1 => Self::Delta,
            2 => Self::DeltaOfDelta,
            _ => Self::Grid,
        }
    }

    /// Values at the front that the fields tell, so that no residual is stored for them.
    const fn leading(self) -> usize {
        match self {
            Self::Raw => 0,
            Self::Delta | Self::Grid => 1,
            Self::DeltaOfDelta => 2,
        }
    }
}

/// Residuals of one column by one order.
pub(super) struct Residuals {
    pub(super) order: Order,
    pub(super) zigzag: bool,
    pub(super) values: Vec<u64>,
    pub(super) packed: Packing,
    /// First step of delta-of-delta, slope of the grid.
    slope: i64,
    offset: i64,
}

impl Residuals {
    /// Of values as [`Scaled`](super::Scaled) holds them.
    pub(super) fn of(scaled: &[u64], order: Order) -> Self {
        let first = scaled.first().copied().unwrap_or(0);
        let relative = |value: u64| value.wrapping_sub(first) as i64;
        let steps = || {
            scaled.windows(2).map(|pair| match pair {
                &[a, b] => b.wrapping_sub(a) as i64,
                _ => 0,
            })
        };
        let (slope, signed): (i64, Vec<i64>) = match order {
            Order::Raw => {
                let values = scaled.to_vec();
                let packed = Packing::of(&values);
                return Self { order, zigzag: false, values, packed, slope: 0, offset: 0 };
            }
            Order::Delta => (0, steps().collect()),
            Order::DeltaOfDelta => {
                let rest = steps().zip(steps().skip(1)).map(|(a, b)| b.wrapping_sub(a));
                (steps().next().unwrap_or(0), rest.collect())
            }
            Order::Grid => {
                let slope = typical_step(steps().collect());
                let rest = scaled.iter().enumerate().skip(1);
                let residual =
                    |(i, &v): (usize, &u64)| relative(v).wrapping_sub(slope.wrapping_mul(i as i64));
                (slope, rest.map(residual).collect())
            }
        };
        Self::unsigned(order, slope, &signed)
    }

    /// Zigzag or offset, whichever packs smaller.
    fn unsigned(order: Order, slope: i64, signed: &[i64]) -> Self {
        let offset = signed.iter().copied().min().unwrap_or(0);
        let shifted: Vec<u64> =
            signed.iter().map(|&value| value.wrapping_sub(offset) as u64).collect();
        let packed = Packing::of(&shifted);
        if offset >= 0 {
            return Self { order, zigzag: false, values: shifted, packed, slope, offset };
        }
        let folded: Vec<u64> = signed.iter().map(|&value| zigzag(value)).collect();
        let packed_folded = Packing::of(&folded);
        if packed.size_bytes() < packed_folded.size_bytes() {
            Self { order, zigzag: false, values: shifted, packed, slope, offset }
        } else {
            Self { order, zigzag: true, values: folded, packed: packed_folded, slope, offset: 0 }
        }
    }

    pub(super) fn write_fields(&self, out: &mut Vec<u8>) {
        if matches!(self.order, Order::DeltaOfDelta | Order::Grid) {
            write_signed(out, self.slope);
        }
        if self.order != Order::Raw && !self.zigzag {
            write_signed(out, self.offset);
        }
    }
}

/// The median step: unlike the mean it is not moved by gaps.
fn typical_step(mut steps: Vec<i64>) -> i64 {
    let middle = steps.len() / 2;
    if steps.is_empty() { 0 } else { *steps.select_nth_unstable(middle).1 }
}

/// An order and its fields, as read back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields {
    order: Order,
    slope: i64,
    offset: i64,
}

impl Fields {
    pub(super) fn read(
        order: Order,
        zigzag: bool,
        reader: &mut Reader<'_>,
    ) -> Result<Self, DecodeError> {
        let sloped = matches!(order, Order::DeltaOfDelta | Order::Grid);
        let slope = if sloped { reader.signed()? } else { 0 };
        let offset = if order != Order::Raw && !zigzag { reader.signed()? } else { 0 };
        Ok(Self { order, slope, offset })
    }

    pub(super) const fn leading(&self) -> usize {
        self.order.leading()
    }

    /// Turns `column`, whose first [`leading`](Self::leading) values are anything and whose others
    /// are residuals, into values, two's complement. The first of them (of any order but raw, the
    /// zero) is `start`.
    pub(super) fn restore(&self, zigzag: bool, start: i64, column: &mut [u64]) {
        if zigzag {
            self.integrate(start, column, |residual| unzigzag(residual) as u64);
        } else {
            let offset = self.offset as u64;
            if self.order == Order::Raw && offset.wrapping_add(start as u64) == 0 {
                // Residuals above 0 are the values.
                return;
            }
            self.integrate(start, column, |residual| offset.wrapping_add(residual));
        }
    }

    /// As [`restore`](Self::restore), but appends what `value` makes of each to `out`: one pass
    /// instead of two. `column` is left with residuals.
    pub(super) fn restore_onto<V>(
        &self,
        zigzag: bool,
        start: i64,
        column: &[u64],
        out: &mut Vec<V>,
        value: impl Fn(u64) -> V,
    ) {
        if zigzag {
            self.integrate_onto(start, column, |residual| unzigzag(residual) as u64, out, value);
        } else {
            let offset = self.offset as u64;
            let signed = |residual: u64| offset.wrapping_add(residual);
            self.integrate_onto(start, column, signed, out, value);
        }
    }

    #[inline]
    fn integrate_onto<V>(
        &self,
        start: i64,
        column: &[u64],
        signed: impl Fn(u64) -> u64,
        out: &mut Vec<V>,
        value: impl Fn(u64) -> V,
    ) {
        let (slope, mut at) = (self.slope as u64, start as u64);
        let (front, residuals) = column.split_at(self.leading().min(column.len()));
        let leading = (0_u64..).take(front.len());
        out.extend(leading.map(|i| value(at.wrapping_add(slope.wrapping_mul(i)))));
        match self.order {
            Order::Raw => out.extend(residuals.iter().map(|&r| value(at.wrapping_add(signed(r))))),
            Order::Delta => out.extend(residuals.iter().map(|&r| {
                at = at.wrapping_add(signed(r));
                value(at)
            })),
            Order::DeltaOfDelta => {
                at = at.wrapping_add(slope);
                let mut step = slope;
                out.extend(residuals.iter().map(|&r| {
                    step = step.wrapping_add(signed(r));
                    at = at.wrapping_add(step);
                    value(at)
                }));
            }
            Order::Grid => out.extend(residuals.iter().map(|&r| {
                at = at.wrapping_add(slope);
                value(at.wrapping_add(signed(r)))
            })),
        }
    }

    #[inline]
    fn integrate(&self, start: i64, column: &mut [u64], signed: impl Fn(u64) -> u64) {
        let (slope, mut value) = (self.slope as u64, start as u64);
        let (front, residuals) = column.split_at_mut(self.leading().min(column.len()));
        for (leading, place) in (0_u64..).zip(front) {
            *place = value.wrapping_add(slope.wrapping_mul(leading));
        }
        match self.order {
            Order::Raw => residuals.iter_mut().for_each(|r| *r = value.wrapping_add(signed(*r))),
            Order::Delta => residuals.iter_mut().for_each(|r| {
                value = value.wrapping_add(signed(*r));
                *r = value;
            }),
            Order::DeltaOfDelta => {
                value = value.wrapping_add(slope);
                let mut step = slope;
                residuals.iter_mut().for_each(|r| {
                    step = step.wrapping_add(signed(*r));
                    value = value.wrapping_add(step);
                    *r = value;
                });
            }
            Order::Grid => residuals.iter_mut().for_each(|r| {
                value = value.wrapping_add(slope);
                *r = value.wrapping_add(signed(*r));
            }),
        }
    }
}
