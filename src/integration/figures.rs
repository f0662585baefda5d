//! How numbers look to people, on a terminal or on a page. Programs get them in full.

use std::time::Duration;

use super::notation::Rfc3339;
use crate::time::{TimeRange, Timestamp};

/// With four significant digits and an SI prefix: `935.3 k`, `12.3 M`, `0.0042`.
#[must_use]
pub fn number(value: f64) -> String {
    const PREFIXES: [(f64, &str); 5] =
        [(1e15, " P"), (1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")];
    if !value.is_finite() {
        return if value.is_nan() { "NaN".to_owned() } else { format!("{value}") };
    }
    let magnitude = value.abs();
    if magnitude >= 1e18 || (magnitude != 0.0 && magnitude < 1e-4) {
        return format!("{value:.3e}");
    }
    let prefix = PREFIXES.into_iter().find(|(size, _)| magnitude >= *size && magnitude >= 1e4);
    let (size, prefix) = prefix.unwrap_or((1.0, ""));
    format!("{}{prefix}", digits(value / size))
}

/// Four significant digits, no trailing zeros.
fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        1000.0.. => 0,
        100.0.. => 1,
        10.0.. => 2,
        1.0.. => 3,
        0.1.. => 4,
        _ => 6,
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// A value with its unit: bytes with binary prefixes, seconds as such.
#[must_use]
pub fn with_unit(value: f64, unit: &str) -> String {
    match unit {
        "" => number(value),
        "bytes" => bytes(value),
        "bytes/s" => format!("{}/s", bytes(value)),
        unit if value.abs() < 1e4 || !value.is_finite() => format!("{} {unit}", number(value)),
        unit => format!("{}{unit}", number(value)),
    }
}

/// Bytes with a binary prefix: `312.4 KiB`.
#[must_use]
pub fn bytes(value: f64) -> String {
    const PREFIXES: [(f64, &str); 4] = [
        (1_099_511_627_776.0, "TiB"),
        (1_073_741_824.0, "GiB"),
        (1_048_576.0, "MiB"),
        (1_024.0, "KiB"),
    ];
    let prefix = PREFIXES.into_iter().find(|(size, _)| value.abs() >= *size);
    let (size, prefix) = prefix.unwrap_or((1.0, "B"));
    format!("{} {prefix}", digits(value / size))
}

/// A count with its thousands apart: `935,285`.
#[must_use]
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A length of time: `850 µs`, `12.3 ms`, `1.2 s`, `30m`, `1d 2h`.
#[must_use]
pub fn length(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 1e-3 {
        return format!("{} µs", digits(seconds * 1e6));
    }
    if seconds < 1.0 {
        return format!("{} ms", digits(seconds * 1e3));
    }
    if seconds < 60.0 {
        return format!("{} s", digits(seconds));
    }
    let whole = duration.as_secs();
    let parts = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let mut rest = whole;
    let mut out = Vec::new();
    for (size, name) in parts {
        if rest >= size && out.len() < 2 {
            out.push(format!("{}{name}", rest / size));
            rest %= size;
        }
    }
    out.join(" ")
}

/// A point in time, to the second where nothing finer matters: `2026-11-23 14:10:00`.
#[must_use]
pub fn time(timestamp: Timestamp) -> String {
    let whole = Timestamp(timestamp.nanos() - timestamp.nanos().rem_euclid(1_000_000_000));
    Rfc3339(whole).to_string().replace('T', " ").trim_end_matches('Z').to_owned()
}

/// `2026-11-27 10:02:10`, with as many decimals as there are, up to three.
#[must_use]
pub fn moment(at: Timestamp) -> String {
    let text = time(at);
    let millis = at.0.rem_euclid(1_000_000_000) / 1_000_000;
    if millis == 0 { text } else { format!("{text}.{millis:03}").trim_end_matches('0').to_owned() }
}

/// `2026-11-27 10:02:10 to 10:02:40`, the day of the end too where it is another.
#[must_use]
pub fn stretch(range: TimeRange) -> String {
    let (start, end) = (moment(range.start), moment(range.end));
    let same_day = start.get(..11) == end.get(..11);
    let end = if same_day { end.get(11..).unwrap_or(&end) } else { &end };
    format!("{start} to {end}")
}

/// `31 %`, `0.2 %`.
#[must_use]
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        0.0 => "0 %".to_owned(),
        ..0.095 => format!("{percent:.2} %"),
        ..9.95 => format!("{} %", format!("{percent:.1}").trim_end_matches(".0")),
        _ => format!("{percent:.0} %"),
    }
}

/// A length of so many seconds.
#[must_use]
pub fn seconds(seconds: f64) -> String {
    let rounded = if seconds > 0.0 {
        // Three digits: what a sketch tells.
        let power = 10_f64.powf(2.0 - seconds.log10().floor());
        (seconds * power).round() / power
    } else {
        0.0
    };
    if rounded == 0.0 {
        return "0".to_owned();
    }
    Duration::try_from_secs_f64(rounded).map_or_else(|_| "never".to_owned(), length)
}

/// Whether a character steers what shows it instead of being shown: control characters, and those that
/// turn the direction of what follows.
#[must_use]
pub fn steers(character: char) -> bool {
    let turns = matches!(character,
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || character.is_control()
}

/// A text of others such that nothing of it steers a terminal: names and texts come from whoever asked
/// queries.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars().map(|character| if steers(character) { '\u{fffd}' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_short() {
        let cases = [
            (0.0, "0"),
            (1.0, "1"),
            (0.25, "0.25"),
            (1234.5, "1234"),
            (935_285.0, "935.3 k"),
            (8.45191928e8, "845.2 M"),
            (-12_345.0, "-12.35 k"),
            (1e-9, "1.000e-9"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "inf"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
        assert_eq!(bytes(319_898.0), "312.4 KiB");
        assert_eq!(bytes(12.0), "12 B");
        assert_eq!(with_unit(2048.0, "bytes/s"), "2 KiB/s");
        assert_eq!(with_unit(0.5, "seconds"), "0.5 seconds");
        assert_eq!(count(935_285), "935,285");
        assert_eq!(count(12), "12");
    }

    #[test]
    fn lengths_and_times_for_people() {
        assert_eq!(length(Duration::from_micros(850)), "850 µs");
        assert_eq!(length(Duration::from_millis(12)), "12 ms");
        assert_eq!(length(Duration::from_secs(1799)), "29m 59s");
        assert_eq!(length(Duration::from_secs(93_600)), "1d 2h");
        assert_eq!(time(Timestamp::from_millis(1_795_425_382_586)), "2026-11-23 09:16:22");
    }

    #[test]
    fn shares_and_measured_lengths_have_three_digits_at_most() {
        for (share, text) in [
            (0.0, "0 %"),
            (0.000_44, "0.04 %"),
            (0.0044, "0.4 %"),
            (0.04, "4 %"),
            (0.0996, "10 %"),
            (0.314, "31 %"),
            (1.0, "100 %"),
        ] {
            assert_eq!(percent(share), text, "{share}");
        }
        for (value, text) in [
            (0.0, "0"),
            (0.412_345, "412 ms"),
            (0.002_549, "2.55 ms"),
            (1.2345, "1.23 s"),
            (f64::NAN, "0"),
            (f64::INFINITY, "never"),
        ] {
            assert_eq!(seconds(value), text, "{value}");
        }
        let at = |millis| moment(Timestamp::from_millis(millis));
        assert_eq!(at(1_795_425_382_500), "2026-11-23 09:16:22.5");
        assert_eq!(at(1_795_425_382_000), "2026-11-23 09:16:22");
    }

    #[test]
    fn texts_of_others_steer_nothing() {
        let hostile = "a\u{1b}[2Jb\nc\u{7f}\u{9b}d\u{202e}e\u{2066}f\u{200f}é界";
        assert_eq!(plain(hostile), "a�[2Jb�c��d�e�f�é界");
    }
}
