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

    /// What an integer is divided by.
    pub(super) fn power(self) -> f64 {
        match self {
            Self::Decimal(exponent) => POWERS.get(usize::from(exponent)).copied().unwrap_or(1.0),
            Self::Bits => 1.0,
        }
    }

    /// The value that an integer stands for.
    #[inline]
    pub(super) fn value(self, integer: i64) -> f64 {
        match self {
            Self::Decimal(0) => integer as f64,
            Self::Decimal(_) => integer as f64 / self.power(),
            Self::Bits => unordered(integer),
        }
    }

    /// The integer near a value; the very one where it has one.
    pub(super) fn nearest(self, value: f64) -> i64 {
        match self {
            Self::Decimal(0) => value as i64,
            Self::Decimal(_) => round(value * self.power()).unwrap_or(0.0) as i64,
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

    /// All of whose samples have the value that this integer stands for.
    pub(super) fn quiet(count: u64, value: i64) -> Self {
        Self { count, first: value, last: value, min: value, max: value }
    }

    pub(super) fn low(&self) -> i64 {
        self.first.min(self.last)
    }

    pub(super) fn high(&self) -> i64 {
        self.first.max(self.last)
    }

    /// The sum to expect: the samples known, which are first and last and the extremes where they
    /// are others, and a guess for each of the rest.
    #[inline(always)]
    pub(super) fn sum(&self, guess: Guess, scale: Scale) -> i64 {
        match scale {
            Scale::Decimal(_) if self.is_small() => self.sum_small(guess),
            Scale::Decimal(_) => self.sum_wide(guess),
            Scale::Bits => self.sum_of_bits(guess),
        }
    }

    /// Whether nothing that is computed of it passes 63 bits.
    #[inline(always)]
    fn is_small(&self) -> bool {
        let values = [self.first, self.last, self.min, self.max];
        let bits = values.into_iter().fold(0, |bits, value| bits | (value ^ value >> 63));
        bits < 1 << 40 && self.count < 1 << 20
    }

    /// Which of the extremes are samples of their own, neither the first nor the last.
    #[inline(always)]
    fn apart(&self) -> [(i64, bool); 2] {
        [(self.min, self.min < self.low()), (self.max, self.max > self.high())]
    }

    #[inline(always)]
    fn sum_small(&self, guess: Guess) -> i64 {
        let [(min, min_apart), (max, max_apart)] = self.apart();
        let known = 2 + i64::from(min_apart) + i64::from(max_apart);
        let ends = self.first + self.last;
        let apart = if min_apart { min } else { 0 } + if max_apart { max } else { 0 };
        let rest = self.count as i64 - known;
        ends + apart
            + match guess {
                Guess::QuarterMean => (rest * (ends + min + max)) >> 2,
                Guess::Middle => (rest * (min + max)) >> 1,
            }
    }

    /// As [`sum_small`](Self::sum_small), of any integers; what passes 128 bits wraps.
    #[cold]
    fn sum_wide(&self, guess: Guess) -> i64 {
        let [first, last, min, max] = [self.first, self.last, self.min, self.max].map(i128::from);
        let apart = self.apart().into_iter().filter(|(_, apart)| *apart);
        let (known, sum) = apart.fold((2, first + last), |(known, sum), (extreme, _)| {
            (known + 1, sum + i128::from(extreme))
        });
        let rest = i128::from(self.count) - known;
        let guessed = match guess {
            Guess::QuarterMean => rest.wrapping_mul(first + last + min + max) >> 2,
            Guess::Middle => rest.wrapping_mul(min + max) >> 1,
        };
        sum.wrapping_add(guessed) as i64
    }

    /// The ordered bits of the sum that is computed of the values.
    #[inline(never)]
    fn sum_of_bits(&self, guess: Guess) -> i64 {
        let [first, last, min, max] = [self.first, self.last, self.min, self.max].map(unordered);
        let apart = self.apart().into_iter().filter(|(_, apart)| *apart);
        let (known, sum) = apart.fold((2.0, first + last), |(known, sum), (extreme, _)| {
            (known + 1.0, sum + unordered(extreme))
        });
        let rest = self.count as f64 - known;
        let guessed = match guess {
            Guess::QuarterMean => rest * ((first + last + min + max) * 0.25),
            Guess::Middle => rest * ((min + max) * 0.5),
        };
        expected(sum + guessed)
    }

    /// The increase to expect, in the scale of increases: what one step gives.
    #[inline]
    pub(super) fn growth(&self, scale: Scale, of_steps: Scale) -> i64 {
        match of_steps {
            Scale::Decimal(_) => self.last.wrapping_sub(self.first),
            Scale::Bits => expected(scale.value(self.last) - scale.value(self.first)),
        }
    }
}

/// The ordered bits of a computed value. Which NaN a computation gives is not laid down, so of any
/// it is 0.
fn expected(computed: f64) -> i64 {
    if computed.is_nan() { 0 } else { ordered(computed) }
}
