//! Writes tokens in one spelling: literals as `?`, lists of them as one, white space set anew.

use std::ops::Range;

use super::scanner::Token;

/// Words behind which a sign is a number's: those that no operand ends with.
const BEFORE_SIGN: [&str; 21] = [
    "select", "distinct", "where", "having", "on", "and", "or", "not", "in", "like", "between",
    "is", "case", "when", "then", "else", "by", "limit", "offset", "values", "return",
];

fn is_before_sign(word: &str) -> bool {
    BEFORE_SIGN.iter().any(|known| known.eq_ignore_ascii_case(word))
}

/// What stood last, as far as what follows asks.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Before {
    Nothing,
    /// Words, and where they stand in the text.
    Word(Range<usize>),
    Literal,
    /// `(`, `[` or `.`: what follows stands close.
    Opening,
    /// `)` or `]`
    Closing,
    Other,
    /// `+` or `-` where a sign stands.
    Sign,
}

/// Writes tokens in one spelling. Tokens that stand in the text as they are to be spelled are
/// copied together: a query is spelled well but for its literals.
pub(super) struct Spelling<'a> {
    text: &'a str,
    out: String,
    /// Of the text: belongs behind `out`, and is not copied yet.
    run: Range<usize>,
    before: Before,
}

impl<'a> Spelling<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let out = String::with_capacity(text.len() + text.len() / 4 + 8);
        Self { text, out, run: 0..0, before: Before::Nothing }
    }

    pub(super) fn finish(mut self) -> String {
        self.copy_run();
        self.out
    }

    #[inline]
    pub(super) fn push(&mut self, token: Token, at: Range<usize>) {
        let apart = !matches!(self.before, Before::Nothing | Before::Opening);
        match token {
            Token::Word => {
                self.write(at.clone(), apart);
                self.before = Before::Word(at);
            }
            Token::Literal => self.literal(),
            Token::Operator => {
                let sign = matches!(self.text.get(at.clone()), Some("-" | "+"));
                let before =
                    if sign && self.awaits_operand() { Before::Sign } else { Before::Other };
                self.write(at, apart);
                self.before = before;
            }
            Token::Mark(mark) => self.mark(mark, at),
        }
    }

    /// Whether a sign here is a number's.
    fn awaits_operand(&self) -> bool {
        match &self.before {
            Before::Word(at) => {
                let words = self.text.get(at.clone()).unwrap_or_default();
                words.rsplit([' ', '.']).next().is_some_and(is_before_sign)
            }
            before => !matches!(before, Before::Literal | Before::Closing),
        }
    }

    /// What stands in the text `at` there, with a space before it where it is to stand `apart`.
    #[inline]
    fn write(&mut self, at: Range<usize>, apart: bool) {
        let end = self.run.end;
        let gap = self.text.as_bytes().get(end..at.start);
        let as_spelled = matches!((apart, gap), (true, Some(b" ")) | (false, Some(b"")));
        if as_spelled && !self.run.is_empty() {
            self.run.end = at.end;
            return;
        }
        self.copy_run();
        if apart {
            self.out.push(' ');
        }
        self.run = at;
    }

    fn copy_run(&mut self) {
        self.out.push_str(self.text.get(self.run.clone()).unwrap_or_default());
        self.run = 0..0;
    }

    fn literal(&mut self) {
        self.copy_run();
        if self.before == Before::Sign {
            self.out.pop();
            let end = self.out.trim_end().len();
            self.before = match self.out.as_bytes().last() {
                _ if end == 0 => Before::Nothing,
                Some(b' ') => Before::Other,
                _ => Before::Opening,
            };
            self.out.truncate(end);
        }
        if !matches!(self.before, Before::Nothing | Before::Opening) {
            self.out.push(' ');
        }
        self.out.push('?');
        self.before = Before::Literal;
        if self.out.ends_with("?, ?") {
            self.out.truncate(self.out.len() - 3);
        }
    }

    fn mark(&mut self, mark: u8, at: Range<usize>) {
        // A call and its list stand close to the word; behind an operator or a comma there is room.
        let opens = matches!(mark, b'(' | b'[');
        let apart = opens
            && match &self.before {
                Before::Nothing | Before::Opening | Before::Literal => false,
                Before::Word(_) => self.awaits_operand(),
                Before::Closing | Before::Other | Before::Sign => true,
            };
        // Rows of literals are one.
        let row = mark == b')' && self.before == Before::Literal && self.out.ends_with("(?), (?");
        if row {
            self.out.truncate(self.out.len() - "), (?".len());
        }
        self.write(at, apart);
        self.before = match mark {
            b'(' | b'[' | b'.' => Before::Opening,
            b')' | b']' => Before::Closing,
            _ => Before::Other,
        };
    }
}
