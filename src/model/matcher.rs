//! Matchers: one condition on one label, compiled once.
//!
//! Owns: what the four operators mean, as Prometheus defines them: an absent label is the empty
//! text, and a pattern must match the whole value, as if written `^(?s:pattern)$`. Does not own:
//! finding the series (`index`).

use std::fmt;

use regex::{Regex, RegexBuilder};
use regex_syntax::hir::literal::Extractor;
use regex_syntax::hir::{Dot, Hir, HirKind};

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
/// Most texts that a pattern is taken apart into: as many as its longest can list.
const LITERALS_MAX: usize = PATTERN_BYTES_MAX / 2;

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
    /// Texts with `.*` between, before or behind them.
    Pieces(Pieces),
    /// Whatever the regex matches; each such value begins with one of the prefixes, if there are
    /// any.
    Regex { regex: Regex, prefixes: Vec<String> },
}

/// A value that begins with one text, ends with another, and has others between, in order and
/// apart: what most patterns with `.*` say, told without running them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pieces {
    /// At most one; empty where the pattern begins with `.*`.
    prefixes: Vec<String>,
    between: Vec<String>,
    suffix: String,
}

impl Pieces {
    /// `None` where the pattern is anything else.
    fn of(pattern: &Hir) -> Option<Self> {
        let HirKind::Concat(parts) = pattern.kind() else { return None };
        let mut texts = vec![String::new()];
        for part in parts {
            match part.kind() {
                HirKind::Literal(literal) => {
                    texts.last_mut()?.push_str(std::str::from_utf8(&literal.0).ok()?);
                }
                HirKind::Repetition(any)
                    if any.min == 0 && any.max.is_none() && *any.sub == Hir::dot(Dot::AnyChar) =>
                {
                    texts.push(String::new());
                }
                _ => return None,
            }
        }
        let suffix = texts.pop()?;
        let mut texts = texts.into_iter();
        let prefixes = texts.next().into_iter().filter(|text| !text.is_empty()).collect();
        Some(Self { prefixes, between: texts.filter(|text| !text.is_empty()).collect(), suffix })
    }

    fn accept(&self, value: &str) -> bool {
        let prefix = self.prefixes.first().map_or("", String::as_str);
        let rest = value.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(&*self.suffix));
        let Some(mut rest) = rest else { return false };
        self.between.iter().all(|text| match rest.split_once(&**text) {
            Some((_, behind)) => {
                rest = behind;
                true
            }
            None => false,
        })
    }
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
            Test::Literals(literals) => {
                literals.binary_search_by(|literal| literal.as_str().cmp(value)).is_ok()
            }
            Test::Everything => true,
            Test::NonEmpty => !value.is_empty(),
            Test::Pieces(pieces) => pieces.accept(value),
            Test::Regex { regex, prefixes } => {
                let mut begins = prefixes.iter().map(|prefix| value.starts_with(&**prefix));
                (prefixes.is_empty() || begins.any(|begins| begins)) && regex.is_match(value)
            }
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

    /// How values begin that the text or pattern itself matches: each with one of these, ascending,
    /// none of which begins with another. Empty where nothing is known.
    #[must_use]
    pub fn prefixes(&self) -> &[String] {
        match &self.test {
            Test::Regex { prefixes, .. } | Test::Pieces(Pieces { prefixes, .. }) => prefixes,
            // Where one begins with another, the values between are passed over all the same.
            Test::Literals(_) | Test::Everything | Test::NonEmpty => &[],
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
    if let Some(pieces) = Pieces::of(&parsed) {
        return Ok(Test::Pieces(pieces));
    }
    let mut prefixes = Vec::new();
    // The extractor takes `^`, `$` and `\b` for nothing at all, so its words count without them.
    if parsed.properties().look_set().is_empty() {
        let found = Extractor::new().limit_total(LITERALS_MAX).extract(&parsed);
        if let Some(literals) = found.literals().filter(|_| found.is_exact()) {
            let mut literals: Vec<String> = literals
                .iter()
                .filter_map(|literal| String::from_utf8(literal.as_bytes().to_vec()).ok())
                .collect();
            literals.sort_unstable();
            literals.dedup();
            return Ok(Test::Literals(literals));
        }
        let found = found.literals().unwrap_or_default();
        prefixes = shortest(found.iter().map(|literal| valid_prefix(literal.as_bytes())));
    }
    let regex = RegexBuilder::new(&format!("^(?s:{pattern})$"))
        .size_limit(REGEX_BYTES_MAX)
        .nest_limit(NEST_MAX + 2)
        .build()
        .map_err(|error| text::invalid(pattern, 0, error.to_string()))?;
    Ok(Test::Regex { regex, prefixes })
}

/// The texts, ascending, without those that begin with another; none where one is empty.
fn shortest<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut texts: Vec<&str> = texts.collect();
    texts.sort_unstable();
    // What begins with a text stands behind it, before any that does not.
    texts.dedup_by(|later, kept| later.starts_with(&**kept));
    let known = texts.first().is_some_and(|first| !first.is_empty());
    texts.into_iter().filter(|_| known).map(str::to_owned).collect()
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
        for (pattern, prefixes) in [
            ("api.*", &["api"][..]),
            ("(?:api1|api2).+", &["api1", "api2"]),
            ("(api|web).*", &["api", "web"]),
            ("web[01]+|api.*|api-x.*", &["api", "web0", "web1"]),
            ("é.|è.", &["è", "é"]),
            ("(ab.*)?", &[]),
            (".*a", &[]),
            ("^a.*", &[]),
        ] {
            assert_eq!(matches(pattern).prefixes(), prefixes, "{pattern}");
        }
    }

    #[test]
    fn texts_with_anything_between_them_are_told_without_a_regex() {
        for pattern in [".*9", "api-.*9", ".*f-.*", "a.*b.*c", "ab.*.*ba", "a\\.b.*", ".*a.*a.*"] {
            let matcher = matches(pattern);
            assert!(matches!(matcher.test, Test::Pieces(_)), "{pattern}");
            let regex = Regex::new(&format!("^(?s:{pattern})$")).unwrap();
            for value in [
                "", "9", "api-9", "api-x9", "f-", "xf-\n", "abc", "ac", "a\nbbc", "aba", "abba",
                "abxba", "a.b", "axb", "a.b.c", "a", "aa", "xaxax", "api-",
            ] {
                assert_eq!(matcher.accepts(value), regex.is_match(value), "{pattern} {value:?}");
            }
        }
    }

    #[test]
    fn as_many_values_as_a_pattern_can_list_are_looked_up() {
        let values: Vec<String> = (0..2000).map(|i| format!("h{i}")).collect();
        let matcher = matches(&values.join("|"));
        assert_eq!(matcher.literals().map(<[String]>::len), Some(2000));
        assert!(matcher.accepts("h1999") && !matcher.accepts("h2000"));
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
