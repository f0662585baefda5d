//! What a request asks: its parameters, and how times and lengths are written in them.

use std::borrow::Cow;
use std::time::Duration;

use super::failure::Failure;
use crate::integration::notation::{TimestampUnit, parse_numeric_timestamp};
use crate::model::{MatchOp, Matcher, Selector};
use crate::time::{TimeRange, Timestamp, duration_nanos};

/// How Prometheus' clients write the beginning and the end of time.
const TIME_MIN: &str = "-292273086-05-16T16:47:06Z";
const TIME_MAX: &str = "292277025-08-18T07:12:54.999999999Z";
/// Selectors that one request may hold.
const SELECTORS_MAX: usize = 64;

/// Names and values, those of the body before those of the address.
#[derive(Debug, Clone, Default)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// From the address' query string and a form.
    pub(super) fn parse(address: Option<&str>, form: &[u8]) -> Self {
        let address = address.unwrap_or_default().as_bytes();
        let pairs = form_urlencoded::parse(form).chain(form_urlencoded::parse(address));
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// The first value of a name, empty where there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(given, _)| given == name).map_or("", |(_, value)| value)
    }

    /// All values of a name.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// A point in time, `default` where it is not given.
    ///
    /// # Errors
    /// [`Failure::parameter`].
    pub(super) fn time(&self, name: &str, default: Timestamp) -> Result<Timestamp, Failure> {
        match self.get(name) {
            "" => Ok(default),
            text => parse_time(text).ok_or_else(|| {
                Failure::parameter(name, format!("cannot parse {text:?} to a valid timestamp"))
            }),
        }
    }

    /// A length of time, if it is given.
    ///
    /// # Errors
    /// [`Failure::parameter`].
    pub(super) fn length(&self, name: &str) -> Result<Option<Duration>, Failure> {
        match self.get(name) {
            "" => Ok(None),
            text => parse_length(text).map(Some).ok_or_else(|| {
                Failure::parameter(name, format!("cannot parse {text:?} to a valid duration"))
            }),
        }
    }

    /// A number of things, `usize::MAX` where it is not given or 0.
    ///
    /// # Errors
    /// [`Failure::parameter`].
    pub(super) fn limit(&self, name: &str) -> Result<usize, Failure> {
        match self.get(name) {
            "" | "0" => Ok(usize::MAX),
            text => text.parse().map_err(|_| {
                Failure::parameter(name, format!("cannot parse {text:?} to a number"))
            }),
        }
    }

    /// `start` to `end`, both inclusive; all of time where they are not given.
    ///
    /// # Errors
    /// [`Failure::parameter`].
    pub(super) fn range(&self) -> Result<TimeRange, Failure> {
        let start = self.time("start", Timestamp::MIN)?;
        let end = self.time("end", Timestamp::MAX)?;
        if end < start {
            return Err(Failure::parameter("end", "end timestamp must not be before start time"));
        }
        Ok(TimeRange::new(start, Timestamp(end.nanos().saturating_add(1))))
    }

    /// What `match[]` selects, confined by `tenant`.
    ///
    /// # Errors
    /// [`Failure::parameter`] where one does not parse, or could select everything.
    pub(super) fn selectors(&self, tenant: Option<&Matcher>) -> Result<Vec<Selector>, Failure> {
        let texts: Vec<&str> = self.all("match[]").collect();
        if texts.len() > SELECTORS_MAX {
            return Err(Failure::parameter("match[]", "more than 64 selectors"));
        }
        let parse = |text: &&str| {
            let invalid = |error: crate::Error| Failure::parameter("match[]", error);
            let selector = Selector::parse(text).map_err(invalid)?;
            if selector.matchers().iter().all(|matcher| matcher.accepts("")) {
                let message = "match[] must contain at least one non-empty matcher";
                return Err(Failure::parameter("match[]", message));
            }
            confine(&selector, tenant).map_err(invalid)
        };
        texts.iter().map(parse).collect()
    }
}

/// The selector, with the tenant's matcher on top.
///
/// # Errors
/// Where that makes too many matchers.
pub(super) fn confine(selector: &Selector, tenant: Option<&Matcher>) -> crate::Result<Selector> {
    match tenant {
        None => Ok(selector.clone()),
        Some(tenant) => {
            let matchers = selector.matchers().iter().chain([tenant]).cloned();
            Selector::new(matchers.collect())
        }
    }
}

/// Unix seconds, or RFC 3339; rounded to milliseconds as Prometheus does.
pub(super) fn parse_time(text: &str) -> Option<Timestamp> {
    if let Some(exact) = parse_numeric_timestamp(text.as_bytes(), TimestampUnit::Seconds) {
        return Some(rounded(exact));
    }
    if let Ok(seconds) = text.parse::<f64>() {
        // A number beyond 1677 to 2262: as good as the end of time.
        return match seconds {
            _ if seconds.is_nan() || seconds.is_infinite() => None,
            _ if seconds < 0.0 => Some(Timestamp::MIN),
            _ => Some(Timestamp::MAX),
        };
    }
    match text {
        TIME_MIN => Some(Timestamp::MIN),
        TIME_MAX => Some(Timestamp::MAX),
        _ => {
            let parsed: jiff::Timestamp = text.parse().ok()?;
            i64::try_from(parsed.as_nanosecond()).ok().map(Timestamp).map(rounded)
        }
    }
}

fn rounded(time: Timestamp) -> Timestamp {
    const MILLI: i64 = 1_000_000;
    let below = time.nanos() - time.nanos().rem_euclid(MILLI);
    let up = if time.nanos() - below >= MILLI / 2 { MILLI } else { 0 };
    Timestamp(below.saturating_add(up))
}

/// Seconds, or a duration as PromQL writes it; negative numbers are none.
pub(super) fn parse_length(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<f64>() {
        // Not below 0, but 0 itself: whether that makes sense depends on what it is of.
        return Duration::try_from_secs_f64(seconds)
            .ok()
            .filter(|length| duration_nanos(*length) < i64::MAX);
    }
    promql_parser::util::parse_duration(text).ok()
}

/// A label's name as an address holds it: Prometheus 3 writes `U__http_2e_status` for `http.status`
/// (`model.UnescapeName` of prometheus/common). What does not read back is taken as it stands.
pub(super) fn label_name(written: &str) -> Cow<'_, str> {
    let Some(escaped) = written.strip_prefix("U__") else { return Cow::Borrowed(written) };
    let mut name = String::new();
    let mut rest = escaped;
    while let Some((plain, after)) = rest.split_once('_') {
        name.push_str(plain);
        if let Some(after) = after.strip_prefix('_') {
            name.push('_');
            rest = after;
            continue;
        }
        let code = after.split_once('_').filter(|(code, _)| (1..=6).contains(&code.len()));
        let character =
            code.and_then(|(code, _)| char::from_u32(u32::from_str_radix(code, 16).ok()?));
        let (Some((_, after)), Some(character)) = (code, character) else {
            return Cow::Borrowed(written);
        };
        name.push(character);
        rest = after;
    }
    name.push_str(rest);
    Cow::Owned(name)
}

/// A tenant's matcher: the label has exactly this value.
///
/// # Errors
/// Where the label's name breaks a rule.
pub(super) fn exactly(label: &str, value: &str) -> crate::Result<Matcher> {
    Matcher::new(label, MatchOp::Equal, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_dates() {
        for (text, millis) in [
            ("1435781430.781", 1_435_781_430_781),
            ("1435781430", 1_435_781_430_000),
            ("1435781430.7815", 1_435_781_430_782),
            ("-1.5", -1_500),
            ("1.4e9", 1_400_000_000_000),
            ("2015-07-01T20:10:30.781Z", 1_435_781_430_781),
            ("2015-07-01T22:10:30.781+02:00", 1_435_781_430_781),
        ] {
            assert_eq!(parse_time(text), Some(Timestamp::from_millis(millis)), "{text}");
        }
        assert_eq!(parse_time(TIME_MIN), Some(Timestamp::MIN));
        assert_eq!(parse_time("-9223372036854775"), Some(Timestamp::MIN));
        assert_eq!(parse_time("9223372036854775"), Some(Timestamp::MAX));
        for text in ["", "NaN", "Inf", "yesterday", "2015-07-01", "1e", "0x10"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn lengths_are_seconds_or_durations() {
        for (text, millis) in [("15", 15_000), ("0.5", 500), ("1m30s", 90_000), ("0", 0)] {
            assert_eq!(parse_length(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["-1", "NaN", "Inf", "1e300", "1 m", "x", ""] {
            assert_eq!(parse_length(text), None, "{text}");
        }
    }

    #[test]
    fn the_body_comes_before_the_address() {
        let parameters = Parameters::parse(Some("a=1&b=%2B+x&match[]=c"), b"a=2&match%5B%5D=d");
        assert_eq!((parameters.get("a"), parameters.get("b")), ("2", "+ x"));
        assert_eq!(parameters.all("match[]").collect::<Vec<_>>(), ["d", "c"]);
        assert_eq!(parameters.get("none"), "");
    }

    #[test]
    fn a_selector_of_everything_is_refused() {
        for text in ["{}", "{a=~\".*\"}", "{a=\"\"}", "{a!=\"b\"}"] {
            let asked = Parameters(vec![("match[]".into(), text.into())]);
            assert!(asked.selectors(None).is_err(), "{text}");
        }
        let asked = Parameters(vec![("match[]".into(), "{a!=\"\"}".into())]);
        let tenant = exactly("tenant", "x").unwrap();
        let confined = asked.selectors(Some(&tenant)).unwrap();
        assert_eq!(confined[0].to_string(), r#"{a!="",tenant="x"}"#);
    }

    #[test]
    fn escaped_names_read_back() {
        for (written, name) in [
            ("job", "job"),
            ("U__http_2e_status", "http.status"),
            ("U__a__b", "a_b"),
            ("U__bad_zz_x", "U__bad_zz_x"),
            ("U__bad_2e", "U__bad_2e"),
            ("U___d800_", "U___d800_"),
        ] {
            assert_eq!(label_name(written), name, "{written}");
        }
    }
}
