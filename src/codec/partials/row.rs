//! Buckets as integers of one scale, and what is expected of one before its sum is known.

use crate::aggregate::Partial;
use crate::codec::values::decimal::{POWERS, round, scaled};
use crate::error::DecodeError;
use crate::model::{ordered, unordered};

/// The integers that values stand as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// `n / 10^e`.
    Decimal(u8),
    /// Ordered bits.
    Bits,
}

impl Scale {
    const BITS: u8 = 255;

    /// The least exponent that makes integers of all firsts, lasts and extremes.
    pub(super) fn of(partials: &[&Partial]) -> Self {
        let values = || {
            partials.iter().flat_map(|p| [p.first.value, p.last.value, p.min, p.max].into_iter())
        };
        let mut exponent = 0;
        for value in values() {
            let exact = (exponent..POWERS.len()).find(|&e| scaled(value, e).is_some());
            let Some(exact) = exact else { return Self::Bits };
            exponent = exact;
        }
        // What took few digits may be too large for many.
        let all = values().all(|value| scaled(value, exponent).is_some());
        if all { Self::Decimal(exponent as u8) } else { Self::Bits }
    }

    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Decimal(exponent) => exponent,
            Self::Bits => Self::BITS,
        }
    }

    pub(super) fn from_number(number: u8) -> Result<Self, DecodeError> {
        match number {
            Self::BITS => Ok(Self::Bits),
            exponent if usize::from(exponent) < POWERS.len() => Ok(Self::Decimal(exponent)),
            _ => Err(DecodeError::Invalid {
                what: "scale of partials",
                found: u64::from(number),
                expected: "at most 18, or 255",
            }),
        }
    }

    fn power(exponent: u8) -> f64 {
        POWERS.get(usize::from(exponent)).copied().unwrap_or(1.0)
    }

    /// The value that an integer stands for.
    #[inline]
    pub(super) fn value(self, integer: i64) -> f64 {
        match self {
            Self::Decimal(0) => integer as f64,
            Self::Decimal(exponent) => integer as f64 / Self::power(exponent),
            Self::Bits => unordered(integer),
        }
    }

    /// The integer near a value; the very one where it has one.
    pub(super) fn nearest(self, value: f64) -> i64 {
        match self {
            Self::Decimal(0) => value as i64,
            Self::Decimal(exponent) => round(value * Self::power(exponent)).unwrap_or(0.0) as i64,
            Self::Bits => ordered(value),
        }
    }
}

/// How the samples of a bucket that are neither first, last nor extreme are guessed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Guess {
    /// As the mean of first, last, minimum and maximum.
    QuarterMean,
    /// As the middle of minimum and maximum.
    Middle,
}

impl Guess {
    pub(super) const ALL: [Self; 2] = [Self::QuarterMean, Self::Middle];
}

/// What is known of a bucket before its sum is, as integers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Row {
    pub(super) count: u64,
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) min: i64,
    pub(super) max: i64,
}

impl Row {
    pub(super) fn of(partial: &Partial, scale: Scale) -> Self {
        Self {
            count: partial.count,
            first: scale.nearest(partial.first.value),
            last: scale.nearest(partial.last.value),
            min: scale.nearest(partial.min),
            max: scale.nearest(partial.max),
        }
    }

    pub(super) fn low(&self) -> i64 {
        self.first.min(self.last)
    }

    pub(super) fn high(&self) -> i64 {
        self.first.max(self.last)
    }

    /// The sum to expect: the samples known, which are first and last and the extremes where they
    /// are others, and a guess for each of the rest.
    #[inline]
    pub(super) fn sum(&self, guess: Guess, scale: Scale) -> i64 {
        let extremes = [(self.min, self.min < self.low()), (self.max, self.max > self.high())];
        let known = 2 + extremes.iter().filter(|(_, other)| *other).count() as u64;
        match scale {
            Scale::Decimal(_) => {
                let wide = [self.first, self.last, self.min, self.max].map(i128::from);
                let [first, last, min, max] = wide;
                let sum = extremes.iter().filter(|(_, other)| *other);
                let sum = sum.fold(first + last, |sum, &(extreme, _)| sum + i128::from(extreme));
                let rest = i128::from(self.count) - i128::from(known);
                let guessed = match guess {
                    Guess::QuarterMean => rest.wrapping_mul(first + last + min + max) >> 2,
                    Guess::Middle => rest.wrapping_mul(min + max) >> 1,
                };
                sum.wrapping_add(guessed) as i64
            }
            Scale::Bits => {
                let values = [self.first, self.last, self.min, self.max].map(unordered);
                let [first, last, min, max] = values;
                let sum = extremes.iter().filter(|(_, other)| *other);
                let sum = sum.fold(first + last, |sum, &(extreme, _)| sum + unordered(extreme));
                let rest = self.count as f64 - known as f64;
                let guessed = match guess {
                    Guess::QuarterMean => rest * ((first + last + min + max) * 0.25),
                    Guess::Middle => rest * ((min + max) * 0.5),
                };
                expected(sum + guessed)
            }
        }
    }

    /// The increase to expect: what one step gives.
    #[inline]
    pub(super) fn growth(&self, partial: &Partial, scale: Scale) -> i64 {
        match scale {
            Scale::Decimal(_) => self.last.wrapping_sub(self.first),
            Scale::Bits => expected(partial.last.value - partial.first.value),
        }
    }
}

/// The ordered bits of a computed value. Which NaN a computation gives is not laid down, so of any
/// it is 0.
fn expected(computed: f64) -> i64 {
    if computed.is_nan() { 0 } else { ordered(computed) }
}
