//! What times, durations and labels look like as arguments.

use std::time::Duration;

use super::Failure;
use crate::engine::Engine;
use crate::error::Error;
use crate::integration::notation::parse_timestamp;
use crate::integration::quantity::parse_duration;
use crate::time::{TimeRange, Timestamp};

/// A point in time, absolute or relative to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    At(Timestamp),
    Now,
    Before(Duration),
    After(Duration),
}

impl When {
    pub(super) fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(timestamp) => timestamp,
            Self::Now => now,
            Self::Before(duration) => now.saturating_sub(duration),
            Self::After(duration) => now.saturating_add(duration),
        }
    }
}

/// Reads `now`, `now-1h30m`, RFC 3339, a date with or without a time (UTC), or a Unix time.
pub(super) fn when(text: &str) -> Result<When, String> {
    if let Some(offset) = text.strip_prefix("now") {
        return match offset.split_at_checked(1) {
            None => Ok(When::Now),
            Some(("-", ago)) => duration(ago).map(When::Before),
            Some(("+", ahead)) => duration(ahead).map(When::After),
            Some(_) => Err("expected now, now-DURATION or now+DURATION".to_owned()),
        };
    }
    parse_timestamp(text).map(When::At).ok_or_else(|| {
        "expected now-1h, 2026-11-23T14:00:00Z, '2026-11-23 14:00' (UTC), or Unix seconds or \
         milliseconds"
            .to_owned()
    })
}

/// Reads `500ms`, `1m`, `1h30m`, `2d`, `1w`, `1y`: days of 24 hours, years of 365 days.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("{text:?} is no duration such as 500ms, 90s, 1m, 1h30m, 2d, 1y");
    let length = parse_duration(text).ok_or_else(expected)?;
    if length.is_zero() { Err("must be longer than 0".to_owned()) } else { Ok(length) }
}

/// Reads `name=value`.
pub(super) fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.trim_matches('"').to_owned()))
}

/// `--from` and `--to`.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Between {
    /// Beginning, inclusive: now-1h, 2026-11-23T14:00:00Z, Unix seconds or milliseconds [default:
    /// the first sample]
    #[arg(long, value_name = "TIME", value_parser = when, allow_hyphen_values = true)]
    from: Option<When>,
    /// End, exclusive [default: behind the last sample]
    #[arg(long, value_name = "TIME", value_parser = when, allow_hyphen_values = true)]
    to: Option<When>,
}

impl Between {
    /// Whether the beginning is left to the store.
    pub(super) fn is_open(&self) -> bool {
        self.from.is_none()
    }

    /// The range asked for; what is left open reaches to the end of time.
    pub(super) fn of_all_time(&self, now: Timestamp) -> Result<TimeRange, Failure> {
        let from = self.from.map_or(TimeRange::ALL.start, |from| from.resolve(now));
        let to = self.to.map_or(TimeRange::ALL.end, |to| to.resolve(now));
        let range = TimeRange::new(from, to);
        if range.is_empty() {
            let reason = "--from must lie before --to".to_owned();
            return Err(Error::InvalidArgument { what: "range", reason }.into());
        }
        Ok(range)
    }

    /// The range asked for; what is left open is the stored range. `None` where nothing is stored
    /// and something is left open.
    pub(super) fn resolve(&self, engine: &Engine) -> Result<Option<TimeRange>, Failure> {
        let now = engine.now();
        let from = self.from.map(|from| from.resolve(now));
        let to = self.to.map(|to| to.resolve(now));
        let range = match (from, to) {
            (Some(from), Some(to)) => TimeRange::new(from, to),
            _ => {
                let Some((first, last)) = engine.time_bounds()? else { return Ok(None) };
                let end = Timestamp(last.nanos().saturating_add(1));
                let range = TimeRange::new(from.unwrap_or(first), to.unwrap_or(end));
                if range.is_empty() {
                    return Ok(None);
                }
                range
            }
        };
        if range.is_empty() {
            let reason = "--from must lie before --to".to_owned();
            return Err(Error::InvalidArgument { what: "range", reason }.into());
        }
        Ok(Some(range))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_all_spellings() {
        let now = Timestamp::from_secs(1_000_000);
        let at = |text: &str| when(text).map(|when| when.resolve(now).nanos() / 1_000_000_000);
        assert_eq!(at("now"), Ok(1_000_000));
        assert_eq!(at("now-1h30m"), Ok(1_000_000 - 5_400));
        assert_eq!(at("now+1d"), Ok(1_086_400));
        assert_eq!(at("1795425382"), Ok(1_795_425_382));
        assert_eq!(at("1795425382586"), Ok(1_795_425_382));
        assert_eq!(at("2014-04-01T00:04:00Z"), Ok(1_396_310_640));
        assert_eq!(at("2014-04-01 00:04"), Ok(1_396_310_640));
        for text in ["", "nowish", "now-", "now-x", "now*1h", "yesterday", "12:00"] {
            assert!(when(text).is_err(), "{text:?} was read");
        }
    }

    #[test]
    fn durations_of_all_spellings() {
        let seconds = |text: &str| duration(text).map(|duration| duration.as_secs_f64());
        assert_eq!(seconds("1m"), Ok(60.0));
        assert_eq!(seconds("1h30m"), Ok(5_400.0));
        assert_eq!(seconds("500ms"), Ok(0.5));
        assert_eq!(seconds("1w"), Ok(604_800.0));
        assert_eq!(seconds("1y"), Ok(31_536_000.0));
        for text in ["", "1", "m", "-1m", "0s", "1 fortnight", "1mo"] {
            assert!(duration(text).is_err(), "{text:?} was read");
        }
    }

    #[test]
    fn labels_are_cut_at_the_first_equals_sign() {
        assert_eq!(label("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(label("a=\"b\""), Ok(("a".to_owned(), "b".to_owned())));
        assert!(label("a").is_err());
    }
}
