//! How single timestamps and values are written in the text formats, and read back exactly.
//!
//! Values are written in the shortest form that reads back bit for bit. A NaN other than the
//! canonical one (`f64::NAN`) is written as `NaN(0x7ff0000000000002)`, all of its bits in the
//! parentheses, after C's `strtod` (ISO C 7.22.1.3, "NAN(n-char-sequence)").

use std::fmt;

use crate::time::Timestamp;

/// What a bare number means as a timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimestampUnit {
    /// By magnitude of the whole part: below 10^11 seconds, below 10^14 milliseconds, below
    /// 10^17 microseconds, else nanoseconds; each covers 1973 to 5138 in its unit.
    #[default]
    ByMagnitude,
    /// Seconds, as OpenMetrics writes them.
    Seconds,
    /// Milliseconds, as Prometheus' text format writes them.
    Milliseconds,
}

impl TimestampUnit {
    fn nanos(self, whole: u128) -> i128 {
        match self {
            Self::Seconds => 1_000_000_000,
            Self::Milliseconds => 1_000_000,
            Self::ByMagnitude if whole < 100_000_000_000 => 1_000_000_000,
            Self::ByMagnitude if whole < 100_000_000_000_000 => 1_000_000,
            Self::ByMagnitude if whole < 100_000_000_000_000_000 => 1_000,
            Self::ByMagnitude => 1,
        }
    }
}

/// A timestamp written as a number, read exactly: `1795425382.586` has no detour through `f64`.
/// A fraction finer than a nanosecond is cut; an exponent (`1.79e9`) is read through `f64`.
/// `None` where it is no number or outside the years 1677 to 2262.
#[must_use]
pub fn parse_numeric_timestamp(text: &[u8], unit: TimestampUnit) -> Option<Timestamp> {
    let (negative, magnitude) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, text),
    };
    let (whole_digits, after) = split_digits(magnitude);
    let (fraction_digits, after) = match after.split_first() {
        Some((b'.', rest)) => split_digits(rest),
        _ => (&[][..], after),
    };
    if whole_digits.is_empty() && fraction_digits.is_empty() || whole_digits.len() > 30 {
        return None;
    }
    let whole = whole_digits.iter().fold(0u128, |n, digit| n * 10 + u128::from(digit - b'0'));
    if let Some((b'e' | b'E', _)) = after.split_first() {
        return parse_exponent_timestamp(text, unit);
    }
    if !after.is_empty() {
        return None;
    }
    let unit_nanos = unit.nanos(whole);
    let mut place = unit_nanos;
    let mut nanos = i128::try_from(whole).ok()?.checked_mul(unit_nanos)?;
    for digit in fraction_digits.iter().take(9) {
        place /= 10;
        nanos += i128::from(digit - b'0') * place;
    }
    i64::try_from(if negative { -nanos } else { nanos }).ok().map(Timestamp)
}

fn split_digits(text: &[u8]) -> (&[u8], &[u8]) {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    text.split_at_checked(digits).unwrap_or((text, &[]))
}

fn parse_exponent_timestamp(text: &[u8], unit: TimestampUnit) -> Option<Timestamp> {
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    if !number.is_finite() {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let unit_nanos = unit.nanos(number.abs() as u128);
    #[expect(clippy::cast_precision_loss, reason = "the unit is a power of ten below 2^53")]
    let nanos = (number * unit_nanos as f64).round();
    // 2^63 itself is exact in f64 and already outside.
    let inside = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&nanos);
    #[expect(clippy::cast_possible_truncation, reason = "checked to be inside")]
    inside.then_some(Timestamp(nanos as i64))
}

/// A timestamp in any form that a person or a program writes: a number (unit by magnitude),
/// RFC 3339 (`2026-11-23T14:10:00.25+01:00`), or a date with or without a time and without an
/// offset (`2014-04-01 00:04:00`), which is UTC. `None` for anything else, or outside the years
/// 1677 to 2262.
#[must_use]
pub fn parse_timestamp(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Some(timestamp) = parse_numeric_timestamp(text.as_bytes(), TimestampUnit::ByMagnitude) {
        return Some(timestamp);
    }
    let parsed = text.parse::<jiff::Timestamp>().or_else(|_| {
        let local: jiff::civil::DateTime = text.parse()?;
        jiff::tz::Offset::UTC.to_timestamp(local)
    });
    i64::try_from(parsed.ok()?.as_nanosecond()).ok().map(Timestamp)
}

/// A timestamp as RFC 3339 in UTC with as many decimals as it needs. Exact.
#[derive(Debug, Clone, Copy)]
pub struct Rfc3339(pub Timestamp);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every i64 of nanoseconds lies between the years 1677 and 2262, which jiff covers.
        let timestamp = jiff::Timestamp::from_nanosecond(i128::from(self.0.nanos()));
        write!(f, "{}", timestamp.map_err(|_| fmt::Error)?)
    }
}

/// A value: a decimal number, `NaN`, `Inf` or `Infinity` with an optional sign, in any case, or
/// `NaN(0x…)` with all 64 bits. Numbers are rounded correctly; plain NaNs, signed or not, are
/// the canonical one.
#[must_use]
#[inline]
pub fn parse_value(text: &[u8]) -> Option<f64> {
    // Most values of real expositions are short whole numbers; below 10^15 they are exact.
    if !text.is_empty() && text.len() <= 15 && text.iter().all(u8::is_ascii_digit) {
        let whole = text.iter().fold(0u64, |n, digit| n * 10 + u64::from(digit - b'0'));
        #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
        return Some(whole as f64);
    }
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(value) = text.parse::<f64>() {
        return Some(if value.is_nan() { f64::NAN } else { value });
    }
    let bits = text.strip_prefix("NaN(0x")?.strip_suffix(')')?;
    let value = f64::from_bits(u64::from_str_radix(bits, 16).ok()?);
    (bits.len() == 16 && value.is_nan()).then_some(value)
}

/// A value in the shortest form that [`parse_value`] reads back bit for bit.
#[derive(Debug, Clone, Copy)]
pub struct ExactValue(pub f64);

impl fmt::Display for ExactValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0;
        if value.is_finite() {
            let text = format_args!("{value:?}");
            // Debug keeps ".0" on whole numbers, which only costs bytes.
            return if value.fract() == 0.0 && value.abs() < 1e15 {
                write!(f, "{value:.0}")
            } else {
                f.write_fmt(text)
            };
        }
        if value.to_bits() == f64::NAN.to_bits() {
            f.write_str("NaN")
        } else if value.is_nan() {
            write!(f, "NaN(0x{:016x})", value.to_bits())
        } else {
            f.write_str(if value > 0.0 { "+Inf" } else { "-Inf" })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Option<i64> {
        parse_timestamp(text).map(Timestamp::nanos)
    }

    #[test]
    fn a_number_is_read_in_the_unit_of_its_magnitude() {
        let expected = Some(1_795_425_382_000_000_000);
        for text in ["1795425382", "1795425382000", "1795425382000000", "1795425382000000000"] {
            assert_eq!(at(text), expected, "{text}");
        }
        assert_eq!(at("1795425382.586"), Some(1_795_425_382_586_000_000));
        assert_eq!(at("1795425382586.25"), Some(1_795_425_382_586_250_000));
        assert_eq!(at("-1.5"), Some(-1_500_000_000));
        assert_eq!(at("1.795425382e9"), expected);
        assert_eq!(at("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(at("9223372036854775808"), None);
        for text in ["", "-", ".", "1.2.3", "1x", "e9", "1e", "nan", "inf", "1e300", "0x10"] {
            assert_eq!(at(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_declared_unit_wins_over_magnitude() {
        let parse = |text: &str, unit| parse_numeric_timestamp(text.as_bytes(), unit);
        assert_eq!(parse("5", TimestampUnit::Milliseconds), Some(Timestamp(5_000_000)));
        assert_eq!(parse("5.5", TimestampUnit::Seconds), Some(Timestamp(5_500_000_000)));
        assert_eq!(parse("1795425382586", TimestampUnit::Seconds), None);
    }

    #[test]
    fn dates_are_read_as_utc_unless_they_say_otherwise() {
        let expected = Some(1_396_310_640_000_000_000);
        for text in [
            "2014-04-01 00:04:00",
            "2014-04-01T00:04:00Z",
            "2014-04-01T02:04:00+02:00",
            "2014-04-01 00:04:00.000",
            " 2014-04-01 00:04 ",
        ] {
            assert_eq!(at(text), expected, "{text}");
        }
        assert_eq!(at("2014-04-01"), Some(1_396_310_400_000_000_000));
        assert_eq!(at("2014-13-01"), None);
    }

    #[test]
    fn values_of_all_spellings() {
        let bits = |text: &str| parse_value(text.as_bytes()).map(f64::to_bits);
        for text in ["NaN", "nan", "-NaN", "+NAN"] {
            assert_eq!(bits(text), Some(f64::NAN.to_bits()), "{text}");
        }
        assert_eq!(bits("+Inf"), Some(f64::INFINITY.to_bits()));
        assert_eq!(bits("-Infinity"), Some(f64::NEG_INFINITY.to_bits()));
        assert_eq!(bits("-0"), Some((-0.0f64).to_bits()));
        assert_eq!(bits("9007199254740993"), Some(9_007_199_254_740_992.0f64.to_bits()));
        assert_eq!(bits("NaN(0x7ff0000000000002)"), Some(0x7ff0_0000_0000_0002));
        for text in ["", "1,5", "0x10", "1_000", "NaN(0x3ff0000000000000)", "NaN(0x1)", "NaN("] {
            assert_eq!(bits(text), None, "{text:?}");
        }
    }

    #[test]
    fn values_are_written_short() {
        let text = |value| ExactValue(value).to_string();
        assert_eq!(text(0.0), "0");
        assert_eq!(text(-0.0), "-0");
        assert_eq!(text(3.0), "3");
        assert_eq!(text(0.1), "0.1");
        assert_eq!(text(1e300), "1e300");
        assert_eq!(text(5e-324), "5e-324");
    }

    proptest! {
        #[test]
        fn every_value_reads_back_bit_for_bit(bits: u64) {
            let text = ExactValue(f64::from_bits(bits)).to_string();
            prop_assert_eq!(parse_value(text.as_bytes()).map(f64::to_bits), Some(bits), "{}", text);
        }

        #[test]
        fn whole_values_read_back_bit_for_bit(whole: i64) {
            let value = whole as f64;
            let text = ExactValue(value).to_string();
            prop_assert_eq!(parse_value(text.as_bytes()).map(f64::to_bits), Some(value.to_bits()));
        }

        #[test]
        fn every_timestamp_reads_back_from_rfc_3339(nanos: i64) {
            let text = Rfc3339(Timestamp(nanos)).to_string();
            prop_assert_eq!(at(&text), Some(nanos), "{}", text);
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = parse_timestamp(&text);
            let _ = parse_value(text.as_bytes());
        }
    }
}
