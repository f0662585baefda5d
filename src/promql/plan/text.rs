//! The text of a query, parsed by `promql-parser` where that is safe.
//!
//! The parser builds its tree without recursion, but dropping, printing and lowering it recurse: the
//! text is bounded before. Durations that are numbers would panic where they are not finite or too
//! long: they are refused before, and whatever else may panic is caught. Backslashes in raw strings
//! it takes for escapes: these are quoted before.

use std::panic::catch_unwind;

/// The parser's tree.
pub(in crate::promql) type SyntaxTree = promql_parser::parser::Expr;

/// Longest query, bytes.
const TEXT_BYTES_MAX: usize = 256 * 1024;
/// Most brackets within each other.
const NESTING_MAX: usize = 100;
/// Most operators: each may nest the tree by one.
const OPERATORS_MAX: usize = 250;
/// Longest duration, seconds: a hundred years and some.
const SECONDS_MAX: f64 = 4e9;

/// Parses a query.
///
/// # Errors
/// What is wrong with it.
pub(in crate::promql) fn parse(text: &str) -> Result<SyntaxTree, String> {
    let text = Bounds::default().check(text)?;
    catch_unwind(|| promql_parser::parser::parse(&text))
        .unwrap_or_else(|_| Err("the parser gave up".to_owned()))
}

/// What a scan of the text has seen.
#[derive(Default)]
struct Bounds {
    nesting: usize,
    operators: usize,
    /// Inside `[...]`.
    in_range: bool,
    /// Inside `{...}`: no operators there.
    in_matchers: bool,
    /// The word before was `offset`.
    after_offset: bool,
}

impl Bounds {
    /// The text, its raw strings quoted: the parser takes backslashes in them for escapes.
    fn check(mut self, text: &str) -> Result<String, String> {
        let mut checked = String::with_capacity(text.len());
        if text.len() > TEXT_BYTES_MAX {
            return Err(format!("longer than {TEXT_BYTES_MAX} bytes"));
        }
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let length = token_length(rest, first);
            let (token, behind) = rest.split_at_checked(length).unwrap_or((rest, ""));
            self.token(first, token)?;
            match token.strip_prefix('`').and_then(|raw| raw.strip_suffix('`')) {
                Some(raw) => quote(raw, &mut checked),
                None => checked.push_str(token),
            }
            rest = behind;
        }
        Ok(checked)
    }

    fn token(&mut self, first: char, token: &str) -> Result<(), String> {
        match first {
            '(' | '[' | '{' => {
                self.nesting += 1;
                self.in_range |= first == '[';
                self.in_matchers |= first == '{';
            }
            ')' | ']' | '}' => {
                self.nesting = self.nesting.saturating_sub(1);
                self.in_range &= first != ']';
                self.in_matchers &= first != '}';
            }
            '+' | '-' | '*' | '/' | '%' | '^' | '=' | '!' | '<' | '>' if !self.in_matchers => {
                self.operators += 1;
            }
            _ if is_word(first) => self.word(token)?,
            _ => {}
        }
        // A sign may stand between `offset` and its duration.
        if !(first.is_whitespace() || matches!(first, '+' | '-')) {
            self.after_offset = token.eq_ignore_ascii_case("offset");
        }
        if self.nesting > NESTING_MAX {
            return Err(format!("more than {NESTING_MAX} brackets within each other"));
        }
        if self.operators > OPERATORS_MAX {
            return Err(format!("more than {OPERATORS_MAX} operators"));
        }
        Ok(())
    }

    fn word(&mut self, word: &str) -> Result<(), String> {
        if ["and", "or", "unless", "atan2"].iter().any(|op| word.eq_ignore_ascii_case(op)) {
            self.operators += 1;
        }
        if !(self.in_range || self.after_offset) {
            let is_number = word.starts_with(|c: char| c.is_ascii_digit() || c == '.');
            let overflows = word.parse::<f64>().is_ok_and(f64::is_infinite);
            return if is_number && overflows {
                Err(format!("error parsing number {word:?}: value out of range"))
            } else {
                Ok(())
            };
        }
        // `0x` and durations with units are no floats to Rust, and have bounds of their own.
        let hexadecimal = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
        let seconds = match hexadecimal {
            Some(digits) => i64::from_str_radix(digits, 16).map_or(f64::INFINITY, |n| n as f64),
            None => word.parse().unwrap_or(0.0),
        };
        if seconds < SECONDS_MAX {
            return Ok(());
        }
        Err(format!("{word:?} is no duration, or longer than 4e9 seconds"))
    }
}

fn quote(raw: &str, out: &mut String) {
    out.push('"');
    for c in raw.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c => out.push(c),
        }
    }
    out.push('"');
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | ':')
}

/// How many bytes the next token has: a text, a comment, a word or number, or one character.
fn token_length(rest: &str, first: char) -> usize {
    let behind = rest.get(first.len_utf8()..).unwrap_or_default();
    let length = match first {
        '"' | '\'' | '`' => {
            let mut escaped = false;
            let ends = |c: char| {
                let ends = c == first && !escaped;
                escaped = c == '\\' && !escaped && first != '`';
                ends
            };
            behind.find(ends).map_or(behind.len(), |at| at + 1)
        }
        '#' => behind.find(['\n', '\r']).unwrap_or(behind.len()),
        _ if first.is_ascii_digit() || first == '.' => number_length(behind),
        _ if is_word(first) => behind.find(|c| !is_word(c)).unwrap_or(behind.len()),
        _ => 0,
    };
    first.len_utf8() + length
}

/// Of a number without its first digit; the sign of an exponent belongs to it.
fn number_length(behind: &str) -> usize {
    let mut before = '0';
    let ends = |c: char| {
        let ends = !(is_word(c) || matches!(c, '+' | '-') && matches!(before, 'e' | 'E'));
        before = c;
        ends
    };
    behind.find(ends).unwrap_or(behind.len())
}
