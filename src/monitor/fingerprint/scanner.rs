//! Cuts a query's text into tokens, by the lexical rules that SQL dialects share.
//!
//! Works on bytes, whose class a table says; beyond ASCII the character is looked at.
//! What each token passes is marked to be inlined: an eighth of the time, measured.

use std::ops::Range;

use super::DoubleQuotes;

/// What a byte of a text can begin, or be part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Blank,
    /// Letters and the like: a word's beginning, and its parts.
    Letter,
    Digit,
    /// `'`
    Quote,
    /// `"` and `` ` ``
    NameQuote,
    Dollar,
    Question,
    Point,
    /// `( ) [ ] , ;`
    Mark,
    /// `:` and `@`
    Parameter,
    /// Beyond ASCII: what it is, its character says.
    Wide,
    Operator,
}

impl Class {
    const fn new(byte: u8) -> Self {
        match byte {
            b' ' | b'\t'..=b'\r' => Self::Blank,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'#' => Self::Letter,
            b'0'..=b'9' => Self::Digit,
            b'\'' => Self::Quote,
            b'"' | b'`' => Self::NameQuote,
            b'$' => Self::Dollar,
            b'?' => Self::Question,
            b'.' => Self::Point,
            b'(' | b')' | b'[' | b']' | b',' | b';' => Self::Mark,
            b':' | b'@' => Self::Parameter,
            0x80.. => Self::Wide,
            _ => Self::Operator,
        }
    }

    fn of(byte: u8) -> Self {
        CLASSES.get(usize::from(byte)).copied().unwrap_or(Self::Operator)
    }
}

/// Of each byte.
const CLASSES: [Class; 256] = {
    let mut all = [Class::Operator; 256];
    let (mut byte, mut rest): (u8, &mut [Class]) = (0, &mut all);
    while let Some((class, others)) = rest.split_first_mut() {
        *class = Class::new(byte);
        (byte, rest) = (byte.wrapping_add(1), others);
    }
    all
};

/// A piece of a text, as far as a fingerprint tells pieces apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// Names and keywords, or a quoted name: as they stand.
    Word,
    /// What becomes `?`; a number may have a sign before it.
    Literal,
    /// One of `( ) [ ] , ; .`
    Mark(u8),
    /// Other characters that stand together: `>=`, `||`, `*`.
    Operator,
}

/// Cuts a text into tokens.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    double_quotes: DoubleQuotes,
}

impl<'a> Scanner<'a> {
    pub(super) const fn new(text: &'a str, double_quotes: DoubleQuotes) -> Self {
        Self { text, at: 0, double_quotes }
    }

    /// The next token, and where it stands.
    #[inline]
    pub(super) fn next_token(&mut self) -> Option<(Token, Range<usize>)> {
        let first = self.skip_blank()?;
        let (from, class) = (self.at, Class::of(first));
        let (token, end) = match class {
            Class::Letter | Class::Wide => self.word(),
            Class::Mark => (Token::Mark(first), from + 1),
            Class::Quote => self.string(from),
            Class::NameQuote if first == b'"' && self.double_quotes == DoubleQuotes::Literal => {
                self.string(from)
            }
            Class::NameQuote => (Token::Word, from + quoted_len(self.rest(from), first)),
            Class::Dollar => self.dollar(),
            Class::Question => (Token::Literal, from + 1),
            Class::Digit => (Token::Literal, from + number_len(self.rest(from))),
            Class::Point if self.class(from + 1) == Some(Class::Digit) => {
                (Token::Literal, from + number_len(self.rest(from)))
            }
            Class::Point => (Token::Mark(first), from + 1),
            // A named parameter, `:name` or `@name`; `::` is a cast, `@@` a variable.
            Class::Parameter if self.is_word_start(from + 1) => {
                (Token::Literal, self.word_end(from + 1))
            }
            Class::Parameter | Class::Operator | Class::Blank => {
                (Token::Operator, self.operator_end(from))
            }
        };
        self.at = end;
        Some((token, from..end))
    }

    /// Passes over white space and comments, one that does not end to the end of the text; the
    /// byte behind them.
    #[inline]
    fn skip_blank(&mut self) -> Option<u8> {
        loop {
            let first = self.byte(self.at)?;
            self.at += match (first, Class::of(first)) {
                (_, Class::Blank) => 1,
                (_, Class::Wide) => match self.wide(self.at) {
                    Some(wide) if wide.is_whitespace() => wide.len_utf8(),
                    _ => return Some(first),
                },
                (b'-' | b'/', _) if self.is_comment(self.at) => comment_len(self.rest(self.at)),
                _ => return Some(first),
            };
        }
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn class(&self, at: usize) -> Option<Class> {
        self.byte(at).map(Class::of)
    }

    fn rest(&self, at: usize) -> &'a str {
        self.text.get(at..).unwrap_or_default()
    }

    fn wide(&self, at: usize) -> Option<char> {
        self.rest(at).chars().next()
    }

    fn is_comment(&self, at: usize) -> bool {
        matches!(
            (self.byte(at), self.byte(at + 1)),
            (Some(b'-'), Some(b'-')) | (Some(b'/'), Some(b'*'))
        )
    }

    fn is_word_start(&self, at: usize) -> bool {
        match self.class(at) {
            Some(Class::Letter) => true,
            Some(Class::Wide) => self.wide(at).is_some_and(|wide| !wide.is_whitespace()),
            _ => false,
        }
    }

    /// Where the word ends that has `at` in it.
    #[inline]
    fn word_end(&self, at: usize) -> usize {
        let mut at = self.tag_end(at);
        while self.class(at) == Some(Class::Dollar) {
            at = self.tag_end(at + 1);
        }
        at
    }

    /// As [`word_end`](Self::word_end), of a word without dollars.
    #[inline]
    fn tag_end(&self, mut at: usize) -> usize {
        loop {
            match self.class(at) {
                Some(Class::Letter | Class::Digit) => at += 1,
                Some(Class::Wide) => match self.wide(at) {
                    Some(wide) if !wide.is_whitespace() => at += wide.len_utf8(),
                    _ => return at,
                },
                _ => return at,
            }
        }
    }

    /// A string in the quotes that it begins with. Where a backslash stands before a quote, some
    /// dialects go on and others end: then everything that follows is a literal.
    fn string(&self, at: usize) -> (Token, usize) {
        let (rest, quote) = (self.rest(at), self.byte(at).unwrap_or(b'\''));
        let len = quoted_len(rest, quote);
        let inner = rest.as_bytes().get(..len).unwrap_or_default();
        let doubtful = inner.windows(2).any(|pair| matches!(pair, [b'\\', end] if *end == quote));
        (Token::Literal, if doubtful { self.text.len() } else { at + len })
    }

    /// `$1`, or a string `$tag$...$tag$`.
    fn dollar(&self) -> (Token, usize) {
        let (from, inner) = (self.at, self.at + 1);
        let tag_end = self.tag_end(inner);
        let tagged = self.byte(tag_end) == Some(b'$') && self.class(inner) != Some(Class::Digit);
        if !tagged {
            return (Token::Literal, self.word_end(inner));
        }
        // With both dollars.
        let mark = self.text.get(from..=tag_end).unwrap_or_default();
        let body = self.rest(tag_end + 1);
        let end = body.find(mark).map_or(self.text.len(), |at| tag_end + 1 + at + mark.len());
        (Token::Literal, end)
    }

    /// A word, or several that stand apart by one space or together by a point, as they are spelled.
    fn word(&self) -> (Token, usize) {
        let mut end = self.word_end(self.at);
        if let Some(quote) = self.prefixed(self.at, end) {
            if self.text.get(self.at..end).is_some_and(|prefix| prefix.eq_ignore_ascii_case("e")) {
                return (Token::Literal, quote + escaped_len(self.rest(quote)));
            }
            return self.string(quote);
        }
        while matches!(self.byte(end), Some(b' ' | b'.'))
            && self.class(end + 1) == Some(Class::Letter)
        {
            let next = self.word_end(end + 1);
            if self.prefixed(end + 1, next).is_some() {
                break;
            }
            end = next;
        }
        (Token::Word, end)
    }

    /// Where the quote of a literal stands that the word is the prefix of: `N'..'`, `X'..'`,
    /// `U&'..'`, and `E'..'`, which has backslashes.
    fn prefixed(&self, from: usize, end: usize) -> Option<usize> {
        let unicode = || {
            let prefix = self.text.get(from..end);
            prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case("u"))
        };
        match self.byte(end) {
            _ if end - from > 2 => None,
            Some(b'\'') => Some(end),
            Some(b'&') if self.byte(end + 1) == Some(b'\'') && unicode() => Some(end + 1),
            _ => None,
        }
    }

    /// Up to what another token, or a comment, begins with; at least one character.
    #[inline]
    fn operator_end(&self, from: usize) -> usize {
        let goes_on = |at| {
            let class = self.class(at);
            matches!(class, Some(Class::Operator | Class::Parameter)) && !self.is_comment(at)
        };
        let mut end = from + 1;
        while goes_on(end) {
            end += 1;
        }
        // Of `=-5` the sign is the number's.
        let signed = matches!(self.byte(end - 1), Some(b'-' | b'+'));
        if signed && end - from > 1 { end - 1 } else { end }
    }
}

fn starts_digit(text: Option<&str>) -> bool {
    text.is_some_and(|text| text.starts_with(|c: char| c.is_ascii_digit()))
}

/// Digits, a point, letters (`0xff`, `1e9`, `10GB`), and a sign behind an exponent.
fn number_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let hex = text.starts_with("0x") || text.starts_with("0X");
    let mut before = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let exponent = matches!(before, b'e' | b'E') && !hex && starts_digit(text.get(at + 1..));
        match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'.' => {}
            b'+' | b'-' if exponent => {}
            _ => return at,
        }
        before = byte;
    }
    bytes.len()
}

/// With both quotes; a doubled quote does not end it. To the end of the text where none does.
fn quoted_len(text: &str, quote: u8) -> usize {
    let (bytes, mut at) = (text.as_bytes(), 1);
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(found) = rest.iter().position(|&byte| byte == quote) else {
            return bytes.len();
        };
        at += found + 1;
        if bytes.get(at) != Some(&quote) {
            return at;
        }
        at += 1;
    }
}

/// As [`quoted_len`], where a backslash takes the character behind it along.
fn escaped_len(text: &str) -> usize {
    let mut bytes = text.bytes().enumerate().skip(1).peekable();
    while let Some((at, byte)) = bytes.next() {
        let next = bytes.peek().map(|&(_, byte)| byte);
        match byte {
            b'\\' => drop(bytes.next()),
            b'\'' if next == Some(b'\'') => drop(bytes.next()),
            b'\'' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Of a comment to the end of its line, or one that may hold comments.
fn comment_len(text: &str) -> usize {
    if text.starts_with("--") {
        return text.find('\n').unwrap_or(text.len());
    }
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(pair) = text.as_bytes().get(at..at + 2) {
        match pair {
            b"/*" => {
                depth += 1;
                at += 2;
            }
            b"*/" => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    text.len()
}
