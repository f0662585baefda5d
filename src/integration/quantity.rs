//! How lengths of time, numbers of bytes and tiers are written by people, and read back exactly.

use std::fmt;
use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

use crate::time::Tier;

const DAY_SECONDS: u64 = 86_400;
/// A year is 365 days of 24 hours.
const YEAR_SECONDS: u64 = 365 * DAY_SECONDS;
/// Longer lengths are taken for mistakes: a thousand years.
const LENGTH_MAX: Duration = Duration::from_secs(1_000 * YEAR_SECONDS);

/// A length of time: `500ms`, `90s`, `1m`, `1h30m`, `15d`, `2w`, `1y`, and the other spellings of
/// the [friendly duration format](https://docs.rs/jiff/latest/jiff/fmt/friendly/). Days have 24
/// hours, years 365 days; months are of no length. `None` for anything else, negative lengths and
/// more than a thousand years.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let span: Span = text.trim().parse().ok()?;
    let years = u64::try_from(span.get_years()).ok()?;
    let rest = span.try_years(0).ok()?.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    let years = Duration::from_secs(years.checked_mul(YEAR_SECONDS)?);
    let length = years.checked_add(Duration::try_from(rest).ok()?)?;
    (length <= LENGTH_MAX).then_some(length)
}

/// A length of time as [`parse_duration`] reads it back exactly: `15d`, `1y`, `1h30m`, `0s`.
#[derive(Debug, Clone, Copy)]
pub struct Length(pub Duration);

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0.as_secs(), u64::from(self.0.subsec_nanos()));
        if self.0.is_zero() {
            return f.write_str("0s");
        }
        if nanos == 0 && seconds.is_multiple_of(YEAR_SECONDS) {
            return write!(f, "{}y", seconds / YEAR_SECONDS);
        }
        let pieces = [
            (seconds / DAY_SECONDS, "d"),
            (seconds / 3_600 % 24, "h"),
            (seconds / 60 % 60, "m"),
            (seconds % 60, "s"),
            (nanos / 1_000_000, "ms"),
            (nanos / 1_000 % 1_000, "us"),
            (nanos % 1_000, "ns"),
        ];
        let mut told = pieces.into_iter().filter(|(amount, _)| *amount > 0);
        told.try_for_each(|(amount, unit)| write!(f, "{amount}{unit}"))
    }
}

/// The units of bytes, the longest names first so that no name hides another.
const BYTE_UNITS: [(&str, u64); 13] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
    ("K", 1 << 10),
    ("M", 1 << 20),
    ("G", 1 << 30),
];

/// A number of bytes: `4096`, `64 MiB`, `10GiB`, `1.5GB`; `K`, `M` and `G` alone are binary.
/// A fraction of a byte is cut. `None` for anything else and beyond 2^53 bytes.
#[must_use]
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let unit =
        BYTE_UNITS.into_iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)));
    let (number, unit) = unit.unwrap_or((text, 1));
    let number = number.trim_end();
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let bytes = match number.parse::<u64>() {
        Ok(whole) => whole.checked_mul(unit)?,
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        #[expect(clippy::cast_precision_loss, reason = "units are far below 2^53")]
        Err(_) => (number.parse::<f64>().ok()? * unit as f64) as u64,
    };
    (bytes <= 1 << 53).then_some(bytes)
}

/// A number of bytes as [`parse_bytes`] reads it back exactly, in the largest binary unit that
/// divides it: `10GiB`, `1500B`.
#[derive(Debug, Clone, Copy)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = BYTE_UNITS.iter().filter(|(name, _)| name.ends_with("iB")).rev();
        let unit = binary.copied().find(|(_, unit)| self.0 > 0 && self.0.is_multiple_of(*unit));
        let (name, unit) = unit.unwrap_or(("B", 1));
        write!(f, "{}{name}", self.0 / unit)
    }
}

/// A tier by its name: `raw`, or how long its buckets are: `1m`, `5m`, `1h`, `1d`. `None` for
/// anything else.
#[must_use]
pub fn parse_tier(text: &str) -> Option<Tier> {
    match text.trim() {
        "raw" => Some(Tier::RAW),
        resolution => Tier::of(parse_duration(resolution)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_of_all_spellings() {
        let seconds = |text: &str| parse_duration(text).map(|length| length.as_secs_f64());
        for (text, expected) in [
            ("0s", 0.0),
            ("500ms", 0.5),
            ("1m", 60.0),
            ("1h30m", 5_400.0),
            ("15d", 1_296_000.0),
            ("2 weeks", 1_209_600.0),
            ("1y", 31_536_000.0),
            ("1y1d", 31_622_400.0),
        ] {
            assert_eq!(seconds(text), Some(expected), "{text:?}");
        }
        for text in ["", "1", "m", "-1m", "1 fortnight", "1mo", "1001y", "99999999999999y"] {
            assert_eq!(seconds(text), None, "{text:?} was read");
        }
    }

    #[test]
    fn bytes_of_all_spellings() {
        for (text, expected) in [
            ("0", 0),
            ("4096", 4_096),
            ("10GiB", 10 << 30),
            ("64 MiB", 64 << 20),
            ("64M", 64 << 20),
            ("1.5KiB", 1_536),
            ("1GB", 1_000_000_000),
            ("7B", 7),
        ] {
            assert_eq!(parse_bytes(text), Some(expected), "{text:?}");
        }
        for text in ["", "B", "-1", "1e3", "1 mib", "10Gib", "99999999TiB", "1.2.3MB", "NaN"] {
            assert_eq!(parse_bytes(text), None, "{text:?} was read");
        }
    }

    #[test]
    fn tiers_by_name() {
        for tier in [Tier::RAW, Tier::MINUTE, Tier::FIVE_MINUTES, Tier::HOUR, Tier::DAY] {
            assert_eq!(parse_tier(&tier.to_string()), Some(tier));
        }
        assert_eq!(parse_tier("0s"), None);
        assert_eq!(parse_tier("fine"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(seconds in 0..=1_000 * YEAR_SECONDS, nanos in 0_u32..1_000_000_000) {
            for length in [Duration::new(seconds, nanos), Duration::from_secs(seconds)] {
                let expected = (length <= LENGTH_MAX).then_some(length);
                prop_assert_eq!(parse_duration(&Length(length).to_string()), expected);
            }
            let bytes = seconds << (nanos % 12);
            prop_assert_eq!(parse_bytes(&Bytes(bytes).to_string()), Some(bytes));
        }
    }
}
