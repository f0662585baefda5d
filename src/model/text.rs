//! The text form of series and selectors: `name{label="value",...}`, as PromQL writes it.
//!
//! Owns: the grammar, quoting and escapes. Does not own: what the names may be (`label`) or what
//! the terms mean (`series`, `selector`).
//!
//! ```text
//! selector = [ name ] [ "{" [ term { "," term } [ "," ] ] "}" ]
//! term     = ( name | quoted ) operator quoted | quoted
//! operator = "=" | "!=" | "=~" | "!~"
//! ```
//!
//! A term that is only a quoted text is the metric name. A bare name is of the classic characters
//! `[a-zA-Z_:][a-zA-Z0-9_:]*` (without `:` for labels); every other name is quoted. Double and
//! single quotes know Go's escapes, backticks none.

use std::borrow::Cow;
use std::fmt;

use super::label::METRIC_NAME_LABEL;
use super::matcher::MatchOp;
use crate::error::{Error, Result};

/// Longest text of a selector or series, bytes: what the longest series of 64 labels takes.
pub const SELECTOR_BYTES_MAX: usize = 512 * 1024;

/// One `label operator "value"` of the text.
pub(crate) struct Term<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) op: MatchOp,
    pub(crate) value: Cow<'a, str>,
    /// Where the term begins, bytes.
    pub(crate) offset: usize,
}

/// The terms of a selector in the order written; the metric name outside the braces is the first.
///
/// # Errors
/// [`Error::InvalidSelector`] with the offset of what does not parse.
pub(crate) fn parse_terms(input: &str) -> Result<Vec<Term<'_>>> {
    if input.len() > SELECTOR_BYTES_MAX {
        return Err(invalid(input, SELECTOR_BYTES_MAX, "is longer than 524288 bytes"));
    }
    let mut parser = Parser { input, offset: 0 };
    let terms = parser.selector()?;
    parser.skip_space();
    if parser.peek().is_some() {
        return Err(parser.expected("the end"));
    }
    Ok(terms)
}

/// An [`Error::InvalidSelector`]; the text is cut to a readable length.
pub(crate) fn invalid(input: &str, offset: usize, reason: impl Into<String>) -> Error {
    Error::InvalidSelector {
        input: input.chars().take(200).collect(),
        offset,
        reason: reason.into(),
    }
}

struct Parser<'a> {
    input: &'a str,
    offset: usize,
}

impl<'a> Parser<'a> {
    fn selector(&mut self) -> Result<Vec<Term<'a>>> {
        let mut terms = Vec::new();
        self.skip_space();
        let offset = self.offset;
        let name = self.bare_name(true);
        if !name.is_empty() {
            terms.push(metric_name(Cow::Borrowed(name), offset));
            self.skip_space();
            if self.peek().is_none() {
                return Ok(terms);
            }
        }
        if !self.take('{') {
            return Err(self.expected(if name.is_empty() { "a name or `{`" } else { "`{`" }));
        }
        loop {
            self.skip_space();
            if self.take('}') {
                return Ok(terms);
            }
            let term = self.term()?;
            if !name.is_empty() && term.name == METRIC_NAME_LABEL {
                return Err(invalid(self.input, term.offset, "the metric name is given twice"));
            }
            terms.push(term);
            self.skip_space();
            if !self.take(',') && self.peek() != Some('}') {
                return Err(self.expected("`,` or `}`"));
            }
        }
    }

    fn term(&mut self) -> Result<Term<'a>> {
        let offset = self.offset;
        let quoted = self.at_quote();
        let name = if quoted { self.quoted()? } else { Cow::Borrowed(self.bare_name(false)) };
        if name.is_empty() {
            return Err(invalid(self.input, offset, "expected a label name"));
        }
        self.skip_space();
        if quoted && matches!(self.peek(), Some(',' | '}')) {
            return Ok(metric_name(name, offset));
        }
        let op = self.operator()?;
        self.skip_space();
        if !self.at_quote() {
            return Err(self.expected("a quoted value"));
        }
        let value = self.quoted()?;
        Ok(Term { name, op, value, offset })
    }

    fn operator(&mut self) -> Result<MatchOp> {
        for op in [MatchOp::Matches, MatchOp::NotMatches, MatchOp::NotEqual, MatchOp::Equal] {
            if self.rest().starts_with(op.as_str()) {
                self.offset += op.as_str().len();
                return Ok(op);
            }
        }
        Err(self.expected("`=`, `!=`, `=~` or `!~`"))
    }

    /// The classic name that stands here, empty where there is none.
    fn bare_name(&mut self, colon: bool) -> &'a str {
        let rest = self.rest();
        let len = rest
            .bytes()
            .enumerate()
            .take_while(|&(i, byte)| {
                byte.is_ascii_alphabetic()
                    || byte == b'_'
                    || (colon && byte == b':')
                    || (i > 0 && byte.is_ascii_digit())
            })
            .count();
        self.offset += len;
        rest.get(..len).unwrap_or_default()
    }

    fn at_quote(&self) -> bool {
        matches!(self.peek(), Some('"' | '\'' | '`'))
    }

    /// The text of the quotes that begin here, escapes undone; borrowed where there are none.
    fn quoted(&mut self) -> Result<Cow<'a, str>> {
        let start = self.offset;
        let Some(quote) = self.peek() else { return Err(self.expected("a quote")) };
        self.offset += 1;
        let rest = self.rest();
        let stop = |c: char| c == quote || (quote != '`' && (c == '\\' || c == '\n'));
        let plain_len = rest.find(stop).unwrap_or(rest.len());
        let plain = rest.get(..plain_len).unwrap_or_default();
        self.offset += plain_len;
        if self.take(quote) {
            return Ok(Cow::Borrowed(plain));
        }
        // Bytes, since `\xC3\xA9` spells one character in two escapes.
        let mut bytes = plain.as_bytes().to_vec();
        while let Some(c) = self.peek() {
            match c {
                '\\' => self.escape(quote, &mut bytes)?,
                '\n' => {
                    return Err(invalid(self.input, self.offset, "a line ends in a quoted text"));
                }
                c if c == quote => {
                    self.offset += 1;
                    return String::from_utf8(bytes)
                        .map(Cow::Owned)
                        .map_err(|_| invalid(self.input, start, "the escapes do not spell UTF-8"));
                }
                c => {
                    self.offset += c.len_utf8();
                    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
        }
        Err(invalid(self.input, start, "the quote is not closed"))
    }

    /// One escape, as Go reads it; the backslash stands at the offset.
    fn escape(&mut self, quote: char, bytes: &mut Vec<u8>) -> Result<()> {
        let start = self.offset;
        self.offset += 1;
        let kind = self.peek().unwrap_or_default();
        self.offset += kind.len_utf8().min(self.rest().len());
        let code = match kind {
            'a' => 0x07,
            'b' => 0x08,
            'f' => 0x0c,
            'n' => 0x0a,
            'r' => 0x0d,
            't' => 0x09,
            'v' => 0x0b,
            '\\' => 0x5c,
            '\'' | '"' if kind == quote => u32::from(kind),
            'x' => self.digits(2, 16, start)?,
            'u' => self.digits(4, 16, start)?,
            'U' => self.digits(8, 16, start)?,
            '0'..='7' => {
                self.offset -= 1;
                self.digits(3, 8, start)?
            }
            _ => return Err(invalid(self.input, start, "there is no such escape")),
        };
        let bad = || invalid(self.input, start, "the escape names no character");
        if matches!(kind, 'x' | '0'..='7') {
            bytes.push(u8::try_from(code).map_err(|_| bad())?);
        } else {
            let c = char::from_u32(code).ok_or_else(bad)?;
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        Ok(())
    }

    /// Exactly `count` digits of an escape that began at `start`.
    fn digits(&mut self, count: usize, radix: u32, start: usize) -> Result<u32> {
        let digits = self.rest().get(..count).unwrap_or_default();
        let all = digits.len() == count && digits.chars().all(|c| c.is_digit(radix));
        let code = u32::from_str_radix(digits, radix).ok().filter(|_| all);
        self.offset += digits.len();
        code.ok_or_else(|| invalid(self.input, start, "the escape lacks digits"))
    }

    fn rest(&self) -> &'a str {
        self.input.get(self.offset..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Steps over `c` if it stands here.
    fn take(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        if found {
            self.offset += c.len_utf8();
        }
        found
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.offset += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    fn expected(&self, what: &str) -> Error {
        let found = self.peek().map_or("the end".to_owned(), |c| format!("{c:?}"));
        invalid(self.input, self.offset, format!("expected {what}, found {found}"))
    }
}

fn metric_name(value: Cow<'_, str>, offset: usize) -> Term<'_> {
    Term { name: Cow::Borrowed(METRIC_NAME_LABEL), op: MatchOp::Equal, value, offset }
}

/// Whether a metric name needs no quotes.
pub(crate) fn is_bare_metric(name: &str) -> bool {
    Parser { input: name, offset: 0 }.bare_name(true).len() == name.len() && !name.is_empty()
}

/// Writes a label name, quoted where it must be.
pub(crate) fn write_label(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    let bare = Parser { input: name, offset: 0 }.bare_name(false);
    if bare.len() == name.len() { f.write_str(name) } else { write_quoted(f, name) }
}

/// Writes a text in double quotes; `\`, `"` and newline escaped.
pub(crate) fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for piece in text.split_inclusive(['\\', '"', '\n']) {
        let plain = piece.trim_end_matches(['\\', '"', '\n']);
        f.write_str(plain)?;
        match piece.as_bytes().get(plain.len()) {
            Some(b'\n') => f.write_str("\\n")?,
            Some(b'"') => f.write_str("\\\"")?,
            Some(_) => f.write_str("\\\\")?,
            None => {}
        }
    }
    f.write_str("\"")
}
