//! Selectors: which series are meant.

use std::fmt;
use std::str::FromStr;

use super::label::METRIC_NAME_LABEL;
use super::matcher::{MatchOp, Matcher};
use super::series::Series;
use super::text;
use crate::error::{Error, Result};

/// Most matchers of a selector: one for the name, one for each label a series can have, and some.
pub const MATCHERS_MAX: usize = 128;

/// Matchers that a series must all pass. Without any it selects every series, unlike PromQL.
///
/// ```
/// # use icecore::model::{Selector, Series};
/// let selector: Selector = r#"up{job=~"api|web", env!="test"}"#.parse()?;
/// assert!(selector.accepts(&Series::new("up", [("job", "api")])?));
/// assert!(!selector.accepts(&Series::new("up", [("job", "batch")])?));
/// # Ok::<(), icecore::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Selector {
    matchers: Vec<Matcher>,
}

impl Selector {
    /// A selector from its matchers; several may look at one label.
    ///
    /// # Errors
    /// [`InvalidSelector`](Error::InvalidSelector) for more than [`MATCHERS_MAX`].
    pub fn new(matchers: Vec<Matcher>) -> Result<Self> {
        let selector = Self { matchers };
        if selector.matchers.len() > MATCHERS_MAX {
            return Err(text::invalid(&selector.to_string(), 0, "has more than 128 matchers"));
        }
        Ok(selector)
    }

    /// A selector of every series of one metric.
    ///
    /// # Errors
    /// None today; a name that no series can have selects nothing.
    pub fn metric(name: &str) -> Result<Self> {
        Self::new(vec![Matcher::new(METRIC_NAME_LABEL, MatchOp::Equal, name)?])
    }

    /// Reads `metric{label="x", other=~"a.*"}`, `{__name__="x"}`, or `{"http.status", "a.b"="y"}`.
    ///
    /// # Errors
    /// [`InvalidSelector`](Error::InvalidSelector) with the offset of what does not parse; for a
    /// pattern, of its matcher. [`InvalidName`](Error::InvalidName) for a label no series can have.
    pub fn parse(input: &str) -> Result<Self> {
        let terms = text::parse_terms(input)?;
        if let Some(term) = terms.get(MATCHERS_MAX) {
            return Err(text::invalid(input, term.offset, "more than 128 matchers"));
        }
        let compile = |term: &text::Term<'_>| {
            Matcher::new(&term.name, term.op, &term.value).map_err(|error| match error {
                Error::InvalidSelector { offset, reason, .. } => {
                    let reason = format!("pattern, at its byte {offset}: {reason}");
                    text::invalid(input, term.offset, reason)
                }
                other => other,
            })
        };
        Self::new(terms.iter().map(compile).collect::<Result<_>>()?)
    }

    /// The matchers, in the order given.
    #[must_use]
    pub fn matchers(&self) -> &[Matcher] {
        &self.matchers
    }

    /// Whether the series passes every matcher.
    #[must_use]
    pub fn accepts(&self, series: &Series) -> bool {
        self.matchers.iter().all(|matcher| matcher.accepts(series.label(matcher.name())))
    }
}

impl FromStr for Selector {
    type Err = Error;

    fn from_str(input: &str) -> Result<Self> {
        Self::parse(input)
    }
}

impl fmt::Display for Selector {
    /// As [`Selector::parse`] reads it: `metric{label="x"}` where the metric is the first matcher
    /// and the only one on the name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut matchers = self.matchers.as_slice();
        if let Some((first, others)) = matchers.split_first()
            && first.name() == METRIC_NAME_LABEL
            && first.op() == MatchOp::Equal
            && text::is_bare_metric(first.value())
            && others.iter().all(|other| other.name() != METRIC_NAME_LABEL)
        {
            f.write_str(first.value())?;
            if others.is_empty() {
                return Ok(());
            }
            matchers = others;
        }
        f.write_str("{")?;
        for (i, matcher) in matchers.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{matcher}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A matcher over the labels and values of `small_series`.
    fn small_matcher() -> impl Strategy<Value = Matcher> {
        let name = prop::sample::select(vec!["__name__", "a", "b", "job", "label.x", "none"]);
        let op = prop::sample::select(vec![
            MatchOp::Equal,
            MatchOp::NotEqual,
            MatchOp::Matches,
            MatchOp::NotMatches,
        ]);
        let value = prop::sample::select(vec![
            "",
            "a",
            "b",
            "up",
            ".*",
            ".+",
            "a.*",
            "a+",
            "a|b",
            "a|",
            "a.b",
            "(a|b)?",
            "[ab]{1,2}",
            "^a$",
            "b\\b",
            "(?i)AB?",
            "up|http.*",
            "[a-z]+",
            "é",
            "\\d+",
            "[a&&b]",
        ]);
        (name, op, value).prop_map(|(name, op, value)| Matcher::new(name, op, value).unwrap())
    }

    /// Selectors of up to three matchers.
    pub(crate) fn small_selector() -> impl Strategy<Value = Selector> {
        prop::collection::vec(small_matcher(), 0..4).prop_map(|m| Selector::new(m).unwrap())
    }

    proptest! {
        #[test]
        fn text_reads_back(selector in small_selector()) {
            prop_assert_eq!(Selector::parse(&selector.to_string()).unwrap(), selector);
        }

        #[test]
        fn any_text_parses_or_tells_where_not(text in "[a-z{}=!~\"'`\\\\,. \nxu0-9é]{0,24}") {
            match Selector::parse(&text) {
                Ok(selector) => {
                    prop_assert_eq!(Selector::parse(&selector.to_string()).unwrap(), selector);
                }
                Err(Error::InvalidSelector { offset, .. }) => prop_assert!(offset <= text.len()),
                Err(Error::InvalidName { .. }) => {}
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
    }

    #[test]
    fn texts_as_promql_reads_them() {
        for (text, canonical) in [
            ("up", "up"),
            (" up { } ", "up"),
            ("{}", "{}"),
            (":a:b{job = 'x' , }", ":a:b{job=\"x\"}"),
            ("{__name__=\"x\"}", "x"),
            ("{__name__=~\"x|y\", a!=``}", r#"{__name__=~"x|y",a!=""}"#),
            (r#"{"http.status", "label.x"="y"}"#, r#"{__name__="http.status","label.x"="y"}"#),
            (r#"{a="1",a!~"\\d"}"#, r#"{a="1",a!~"\\d"}"#),
            (r#"{a="\x41\102\u0043\U00000044\n\t\""}"#, "{a=\"ABCD\\n\t\\\"\"}"),
            (r#"{a="\xc3\xa9"}"#, "{a=\"é\"}"),
            (r#"{a=`\d"`}"#, r#"{a="\\d\""}"#),
        ] {
            assert_eq!(Selector::parse(text).unwrap().to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn faults_carry_their_offset() {
        for (text, at) in [
            ("", 0),
            ("1", 0),
            ("up up", 3),
            ("up{", 3),
            ("up{a}", 4),
            ("up{a=b}", 5),
            ("up{a=\"b}", 5),
            ("up{a=\"b\" c=\"d\"}", 9),
            ("up{a==\"b\"}", 5),
            ("up{__name__=\"b\"}", 3),
            ("up{\"down\"}", 3),
            ("up{}x", 4),
            ("{a:b=\"c\"}", 2),
            ("{,}", 1),
            (r#"{a="\q"}"#, 4),
            (r#"{a="\'"}"#, 4),
            (r#"{a="\x4"}"#, 4),
            (r#"{a="\ud800"}"#, 4),
            (r#"{a="\777"}"#, 4),
            (r#"{a="\xff"}"#, 3),
            ("{a=\"b\nc\"}", 5),
            ("{a=\"\\", 4),
            ("{a=\"b\",b=~\"(\"}", 7),
            ("{b=~\"a)(b\"}", 1),
        ] {
            match Selector::parse(text) {
                Err(Error::InvalidSelector { offset, input, .. }) => {
                    assert_eq!((offset, input.as_str()), (at, text), "{text}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
