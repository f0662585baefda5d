//! Values and timestamps as Prometheus writes them into JSON and text.

use std::io::Write;

/// Whole numbers up to here are exact in `f64`, and have no exponent in their shortest form.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// A value as Go's `strconv.FormatFloat(v, 'f', -1, 64)`: the shortest digits that read back the
/// same, never an exponent; `NaN`, `+Inf`, `-Inf`.
#[inline]
pub(super) fn push_value(out: &mut Vec<u8>, value: f64) {
    // Most counters and many gauges.
    if value.abs() < WHOLE_MAX
        && value.trunc() == value
        && (value != 0.0 || value.is_sign_positive())
    {
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        let whole = value as i64;
        out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
    } else if value.is_finite() {
        push_fraction(out, value);
    } else if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    }
}

/// Of two forms that are as short and as near, the one that ends even, as Go does (and not the
/// standard library, whose forms are as short).
fn push_fraction(out: &mut Vec<u8>, value: f64) {
    let mut buffer = zmij::Buffer::new();
    let shortest = buffer.format_finite(value);
    match shortest.split_once('e') {
        Some((digits, exponent)) => push_plain(out, digits, exponent.parse().unwrap_or(0)),
        None => {
            out.extend_from_slice(shortest.strip_suffix(".0").unwrap_or(shortest).as_bytes());
        }
    }
}

/// `digits × 10^exponent` without an exponent: one digit before the point, if there is any.
fn push_plain(out: &mut Vec<u8>, digits: &str, exponent: i32) {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = if fraction == "0" { "" } else { fraction };
    let digits = || whole.bytes().chain(fraction.bytes());
    let zeros = |count: i32| std::iter::repeat_n(b'0', usize::try_from(count).unwrap_or(0));
    let (whole, count) = (whole.len() as i32 + exponent, (whole.len() + fraction.len()) as i32);
    out.extend_from_slice(sign.as_bytes());
    if whole <= 0 {
        out.extend_from_slice(b"0.");
        out.extend(zeros(-whole).chain(digits()));
        return;
    }
    let before = usize::try_from(whole).unwrap_or(0);
    out.extend(digits().take(before).chain(zeros(whole - count)));
    if whole < count {
        out.push(b'.');
        out.extend(digits().skip(before));
    }
}

/// A timestamp in nanoseconds as unix seconds, with three decimals unless they are zeros. What is
/// finer than a millisecond is cut.
pub(super) fn push_time(out: &mut Vec<u8>, nanos: i64) {
    let millis = nanos.div_euclid(1_000_000);
    if millis < 0 {
        out.push(b'-');
    }
    let millis = millis.unsigned_abs();
    out.extend_from_slice(itoa::Buffer::new().format(millis / 1_000).as_bytes());
    let fraction = millis % 1_000;
    if fraction != 0 {
        // Writing into memory does not fail.
        let _ = write!(out, ".{fraction:03}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(value: f64) -> String {
        let mut out = Vec::new();
        push_value(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    fn time(nanos: i64) -> String {
        let mut out = Vec::new();
        push_time(&mut out, nanos);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_are_written_as_go_does() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-3.0, "-3"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (1e15, "1000000000000000"),
            (9_007_199_254_740_993.0, "9007199254740992"),
            (1e17, "100000000000000000"),
            (1e21, "1000000000000000000000"),
            (1.5e300, &format!("15{}", "0".repeat(299))),
            (1e-7, "0.0000001"),
            (1.25e-10, "0.000000000125"),
            (0.00001, "0.00001"),
            (5e-324, &format!("0.{}5", "0".repeat(323))),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (0.30000000000000004, "0.30000000000000004"),
            (123456.789, "123456.789"),
            // Exactly between 62 and 63.
            (1_631_076_807_029_901.0 / 8.0, "203884600878737.62"),
            (-1.5e16, "-15000000000000000"),
            (12_345_678_901_234_568.0, "12345678901234568"),
        ] {
            assert_eq!(value(number), text, "{number:e}");
        }
    }

    #[test]
    fn times_have_three_decimals_or_none() {
        for (nanos, text) in [
            (1_435_781_430_781_000_000, "1435781430.781"),
            (1_435_781_430_000_000_000, "1435781430"),
            (1_435_781_430_100_000_000, "1435781430.100"),
            (1_435_781_430_007_999_999, "1435781430.007"),
            (0, "0"),
            (-1_500_000_000, "-1.500"),
        ] {
            assert_eq!(time(nanos), text);
        }
    }

    proptest! {
        #[test]
        fn any_value_is_as_short_as_the_standard_form_and_reads_back(bits in any::<u64>()) {
            let number = f64::from_bits(bits);
            prop_assume!(number.is_finite());
            let text = value(number);
            prop_assert_eq!(text.len(), number.to_string().len());
            prop_assert!(!text.contains('e'));
            prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), number.to_bits());
        }

        #[test]
        fn any_decimal_too(digits in -1_000_000_000i64..1_000_000_000, places in 0u32..9) {
            let number = digits as f64 / 10f64.powi(places as i32);
            prop_assert_eq!(value(number), number.to_string());
        }
    }
}
