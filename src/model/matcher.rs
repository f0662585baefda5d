//! Matchers: one condition on one label, compiled once.
//!
//! Owns: what the four operators mean, as Prometheus defines them: an absent label is the empty
//! text, and a pattern must match the whole value, as if written `^(?s:pattern)$`. Does not own:
//! finding the series (`index`).

use std::fmt;

use regex::{Regex, RegexBuilder};
use regex_syntax::hir::literal::Extractor;

use super::label::check_name;
use super::text;
use crate::error::Result;

/// Longest pattern, bytes: dashboards join some hundred values by `|`.
pub const PATTERN_BYTES_MAX: usize = 16 * 1024;
/// Most memory a compiled pattern may take, bytes. `[a-z]{1000}` needs 0.1 MB; what needs more is
/// a mistake or an attack.
const REGEX_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Deepest nesting of groups in a pattern.
const NEST_MAX: u32 = 50;

/// The operator of a [`Matcher`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`: the value is this text.
    Equal,
    /// `!=`: the value is not this text.
    NotEqual,
    /// `=~`: the whole value matches the pattern.
    Matches,
    /// `!~`: the whole value does not match the pattern.
    NotMatches,
}

impl MatchOp {
    /// As written in a selector.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Matches => "=~",
            Self::NotMatches => "!~",
        }
    }

    /// Whether it accepts what its text or pattern does not.
    #[must_use]
    pub fn is_negative(self) -> bool {
        matches!(self, Self::NotEqual | Self::NotMatches)
    }
}

/// What the text or pattern accepts, before negation.
#[derive(Debug, Clone)]
enum Test {
    /// Exactly these values, ascending.
    Literals(Vec<String>),
    /// `.*`
    Everything,
    /// `.+`
    NonEmpty,
    /// Whatever the regex matches; each such value begins with the prefix.
    Regex { regex: Regex, prefix: String },
}

/// A condition on one label. The label `__name__` is the metric name.
///
/// ```
/// # use icecore::model::{MatchOp, Matcher};
/// let matcher = Matcher::new("code", MatchOp::Matches, "4..|500")?;
/// assert!(matcher.accepts("404") && !matcher.accepts("4040") && !matcher.accepts(""));
/// # Ok::<(), icecore::Error>(())
/// ```
#[derive(Clone)]
pub struct Matcher {
    name: Box<str>,
    op: MatchOp,
    value: Box<str>,
    test: Test,
}

impl Matcher {
    /// Compiles a matcher. `value` is the text of `=` and `!=`, the pattern of `=~` and `!~`.
    ///
    /// # Errors
    /// [`InvalidName`](crate::Error::InvalidName) where the label's name breaks a rule;
    /// [`InvalidSelector`](crate::Error::InvalidSelector) where the pattern does not compile, is
    /// longer than [`PATTERN_BYTES_MAX`] or needs too much memory. The offset is within `value`.
    pub fn new(name: &str, op: MatchOp, value: &str) -> Result<Self> {
        check_name("label name", name)?;
        let test = match op {
            MatchOp::Equal | MatchOp::NotEqual => Test::Literals(vec![value.to_owned()]),
            MatchOp::Matches | MatchOp::NotMatches => compile(value)?,
        };
        Ok(Self { name: name.into(), op, value: value.into(), test })
    }

    /// The label it looks at.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its operator.
    #[must_use]
    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// The text or pattern.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether a series whose label has this value passes; empty for a series without the label.
    #[must_use]
    pub fn accepts(&self, value: &str) -> bool {
        let matches = match &self.test {
            Test::Literals(literals) => literals.iter().any(|literal| literal == value),
            Test::Everything => true,
            Test::NonEmpty => !value.is_empty(),
            Test::Regex { regex, prefix } => value.starts_with(prefix) && regex.is_match(value),
        };
        matches != self.op.is_negative()
    }

    /// All the values that the text or pattern itself matches, ascending, where they are few: the
    /// only values that `=` and `=~` accept, or the only ones that `!=` and `!~` refuse.
    #[must_use]
    pub fn literals(&self) -> Option<&[String]> {
        match &self.test {
            Test::Literals(literals) => Some(literals),
            _ => None,
        }
    }

    /// How each value begins that the text or pattern itself matches; empty where nothing is
    /// known.
    #[must_use]
    pub fn prefix(&self) -> &str {
        match &self.test {
            Test::Regex { prefix, .. } => prefix,
            Test::Literals(literals) if literals.len() == 1 => {
                literals.first().map_or("", String::as_str)
            }
            _ => "",
        }
    }
}

/// The cheapest test that a pattern means.
fn compile(pattern: &str) -> Result<Test> {
    match pattern {
        ".*" => return Ok(Test::Everything),
        ".+" => return Ok(Test::NonEmpty),
        _ => {}
    }
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(text::invalid(pattern, PATTERN_BYTES_MAX, "is longer than 16384 bytes"));
    }
    // On its own first: `a)(?:b` would parse between our brackets, and errors know their place.
    let parsed = regex_syntax::ParserBuilder::new()
        .dot_matches_new_line(true)
        .nest_limit(NEST_MAX)
        .build()
        .parse(pattern)
        .map_err(|error| text::invalid(pattern, error_offset(&error), error_message(&error)))?;
    let mut prefix = String::new();
    // The extractor takes `^`, `$` and `\b` for nothing at all, so its words count without them.
    if parsed.properties().look_set().is_empty() {
        let found = Extractor::new().extract(&parsed);
        if let Some(literals) = found.literals().filter(|_| found.is_exact()) {
            let mut literals: Vec<String> = literals
                .iter()
                .filter_map(|literal| String::from_utf8(literal.as_bytes().to_vec()).ok())
                .collect();
            literals.sort_unstable();
            literals.dedup();
            return Ok(Test::Literals(literals));
        }
        prefix = valid_prefix(found.longest_common_prefix().unwrap_or_default()).to_owned();
    }
    let regex = RegexBuilder::new(&format!("^(?s:{pattern})$"))
        .size_limit(REGEX_BYTES_MAX)
        .nest_limit(NEST_MAX + 2)
        .build()
        .map_err(|error| text::invalid(pattern, 0, error.to_string()))?;
    Ok(Test::Regex { regex, prefix })
}

/// The longest UTF-8 text that begins `bytes`: a common prefix may end within a character.
fn valid_prefix(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => bytes
            .get(..error.valid_up_to())
            .and_then(|valid| std::str::from_utf8(valid).ok())
            .unwrap_or_default(),
    }
}

fn error_offset(error: &regex_syntax::Error) -> usize {
    match error {
        regex_syntax::Error::Parse(error) => error.span().start.offset,
        regex_syntax::Error::Translate(error) => error.span().start.offset,
        _ => 0,
    }
}

fn error_message(error: &regex_syntax::Error) -> String {
    match error {
        regex_syntax::Error::Parse(error) => error.kind().to_string(),
        regex_syntax::Error::Translate(error) => error.kind().to_string(),
        error => error.to_string(),
    }
}

/// Equal when written equally: label, operator and text.
impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    /// As written in a selector: `label=~"pattern"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write_label(f, &self.name)?;
        f.write_str(self.op.as_str())?;
        text::write_quoted(f, &self.value)
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn matches(pattern: &str) -> Matcher {
        Matcher::new("l", MatchOp::Matches, pattern).unwrap()
    }

    #[test]
    fn operators_follow_prometheus() {
        let accepts =
            |op, value: &str, text: &str| Matcher::new("l", op, value).unwrap().accepts(text);
        assert!(accepts(MatchOp::Equal, "a", "a") && !accepts(MatchOp::Equal, "a", "b"));
        assert!(accepts(MatchOp::Equal, "", "") && accepts(MatchOp::NotEqual, "a", ""));
        assert!(!accepts(MatchOp::Equal, "a.c", "abc"));
        // Anchored at both ends, and `.` matches a newline.
        assert!(!accepts(MatchOp::Matches, "b", "abc") && !accepts(MatchOp::Matches, "a|b", "ab"));
        assert!(
            accepts(MatchOp::Matches, "a.c", "a\nc") && accepts(MatchOp::Matches, "a.*", "a\n")
        );
        assert!(
            accepts(MatchOp::NotMatches, "a.+", "a") && accepts(MatchOp::NotMatches, "a.+", "")
        );
        assert!(!accepts(MatchOp::Matches, "abc$", "abc\n") && accepts(MatchOp::Matches, ".*", ""));
        assert!(accepts(MatchOp::Matches, "(?i)a[b-y]+", "AXY"));
    }

    #[test]
    fn literals_are_the_whole_language() {
        for (pattern, literals) in [
            ("a|b|c", Some(vec!["a", "b", "c"])),
            ("api", Some(vec!["api"])),
            ("", Some(vec![""])),
            ("b(ar|az)?|a\\.b", Some(vec!["a.b", "b", "bar", "baz"])),
            ("[a-c]", Some(vec!["a", "b", "c"])),
            ("(?i)ab", Some(vec!["AB", "Ab", "aB", "ab"])),
            ("^a$", None),
            ("a.*", None),
            ("[a-z]", None),
        ] {
            let found = matches(pattern);
            let found = found.literals().map(|l| l.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(found, literals, "{pattern}");
        }
    }

    #[test]
    fn prefixes_hold_for_every_match() {
        for (pattern, prefix) in [
            ("api.*", "api"),
            ("(?:api1|api2).+", "api"),
            ("é.|è.", ""),
            ("(ab.*)?", ""),
            ("^a.*", ""),
        ] {
            assert_eq!(matches(pattern).prefix(), prefix, "{pattern}");
        }
    }

    #[test]
    fn costly_or_broken_patterns_are_refused() {
        let deep = format!("{}a{}", "(".repeat(1000), ")".repeat(1000));
        let long = "a".repeat(PATTERN_BYTES_MAX + 1);
        for pattern in ["(", "a)(b", "a{2,1}", "(\\w{100}){100}", "(?x)a+ #", "\\xFF(?-u:\\xFF)"]
            .into_iter()
            .chain([deep.as_str(), long.as_str()])
        {
            let found = Matcher::new("l", MatchOp::Matches, pattern);
            assert!(matches!(found, Err(Error::InvalidSelector { .. })), "{pattern}: {found:?}");
        }
        match Matcher::new("l", MatchOp::Matches, "ab(c") {
            Err(Error::InvalidSelector { offset, .. }) => assert_eq!(offset, 2),
            other => panic!("{other:?}"),
        }
    }
}
