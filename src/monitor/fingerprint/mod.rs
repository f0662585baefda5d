//! Fingerprints: what is left of a query's text without its literals.
//!
//! Owns: which characters of a text are a literal, and the one spelling of what remains. Literals
//! (strings, numbers, parameters) become `?`, lists of them one `?`, rows of such lists one row;
//! comments go, white space is set anew. Words keep their case. Knows the lexical rules that SQL
//! dialects share, no grammar; so any text has a fingerprint, a hostile one too.
//!
//! What cannot be told apart for certain counts as a literal: a fingerprint is shown and stored
//! where the raw text must not be.

mod scanner;
mod spelling;

use std::fmt;
use std::sync::Arc;

use scanner::Scanner;
use spelling::Spelling;

/// Longest text of a fingerprint, bytes; the hash is of all of it. 1 KiB: some ten lines of SQL,
/// a quarter of what a label value may be.
pub const FINGERPRINT_BYTES_MAX: usize = 1024;
/// Bytes of a query's text that are looked at: what is longer was made by a machine, and two that
/// agree this far are of one kind. Bounds the time on the host's thread to some 100 µs.
pub const TEXT_BYTES_MAX: usize = 64 << 10;

/// What a text in double quotes is; dialects differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DoubleQuotes {
    /// A name, as in standard SQL.
    #[default]
    Name,
    /// A string, as in MySQL, Spark and BigQuery.
    Literal,
}

/// A query's text without its literals, and a hash of it. Cheap to clone: a host that runs a
/// statement many times makes it once.
///
/// ```
/// use icecore::monitor::{DoubleQuotes, Fingerprint};
///
/// let one = Fingerprint::new("SELECT a FROM t WHERE id IN (1, 2,3)  -- ours", DoubleQuotes::Name);
/// let other = Fingerprint::new("SELECT a\nFROM t WHERE id IN ( 7 )", DoubleQuotes::Name);
/// assert_eq!(one.text(), "SELECT a FROM t WHERE id IN (?)");
/// assert_eq!(one, other);
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint {
    hash: u64,
    text: Arc<str>,
}

impl Fingerprint {
    /// The fingerprint of a query's text. Cost: a pass over it, some 4 ns a byte, and two
    /// allocations.
    #[must_use]
    pub fn new(text: &str, double_quotes: DoubleQuotes) -> Self {
        let text = text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default();
        let mut spelling = Spelling::new(text);
        let mut scanner = Scanner::new(text, double_quotes);
        while let Some((token, at)) = scanner.next_token() {
            spelling.push(token, at);
        }
        let all = spelling.finish();
        let hash = hash(all.as_bytes());
        let kept = all.get(..all.floor_char_boundary(FINGERPRINT_BYTES_MAX)).unwrap_or_default();
        Self { hash, text: kept.into() }
    }

    /// A hash that stays the same over releases: two fingerprints with one hash are taken for one.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// At most [`FINGERPRINT_BYTES_MAX`] bytes; what is longer is cut.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn shared_text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }

    /// The hash as labels and tables have it: 16 hexadecimal digits.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{:016x}", self.hash)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x} {:?}", self.hash, self.text)
    }
}

/// Multiplication to 128 bits whose halves are folded, eight bytes a time (the mixing of `wyhash`,
/// with constants of our own). Stored: never to be changed.
fn hash(bytes: &[u8]) -> u64 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    const SEED: u64 = 0x6963_6563_6f72_6521;
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        product as u64 ^ (product >> 64) as u64
    };
    let mut state = SEED ^ bytes.len() as u64;
    let (words, rest) = bytes.as_chunks();
    for &word in words {
        state = fold(state ^ u64::from_le_bytes(word), MIX).rotate_left(23);
    }
    let last = rest.iter().rev().fold(1, |word, &byte| word << 8 | u64::from(byte));
    fold(fold(state ^ last, MIX) ^ SEED, MIX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> String {
        Fingerprint::new(text, DoubleQuotes::Name).text().to_owned()
    }

    #[test]
    fn literals_become_question_marks() {
        for (text, expected) in [
            (
                "select * from t where a = 'it''s' and b=1.5e-3",
                "select * from t where a = ? and b = ?",
            ),
            (
                "SELECT t1.c FROM t1 WHERE x IN (1,2, 3) LIMIT 10",
                "SELECT t1.c FROM t1 WHERE x IN (?) LIMIT ?",
            ),
            ("insert into t values (1,'a'),(2,'b') , (3,'c')", "insert into t values (?)"),
            ("select -1, +2, a - 1, (-5) from t", "select ?, a - ?, (?) from t"),
            ("select date '2020-01-01', N'x', E'a\\'b', X'ff', U&'d'", "select date ?"),
            (
                "where a = $1 and b = :name and c = @p and d = ?",
                "where a = ? and b = ? and c = ? and d = ?",
            ),
            ("select $tag$ it's $x$ secret $tag$, 1", "select ?"),
            ("select \"My Col\", `b c` from \"T\"", "select \"My Col\", `b c` from \"T\""),
            ("select a::int, b||'x' from t;", "select a :: int, b || ? from t;"),
            ("select 0xFF, 1_000, .5, 10.", "select ?"),
            (
                "select count(*), max(a) from t group by 1,2",
                "select count(*), max(a) from t group by ?",
            ),
            ("", ""),
            ("'", "?"),
            ("select 1 -- tail", "select ?"),
            ("select a.b c N'x', d.e'\\'', f.u&'x' from t", "select a.b c ?, d.?, f.? from t"),
            ("select t.in (1), u.x(2), v.limit -3", "select t.in (?), u.x(?), v.limit ?"),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
    }

    #[test]
    fn comments_and_white_space_do_not_matter() {
        let plain = of("select a, b from t where x = 1 and y > 2");
        for text in [
            "select a,b\n from t\twhere x=1 and y>2",
            "/* a /* nested */ comment */ select a , b -- 'unclosed\nfrom t where x = 7 and y > 9",
            "select a, b from t where x =-1 and y >/**/2",
        ] {
            assert_eq!(of(text), plain, "{text}");
        }
        assert_ne!(of("select a from t"), of("SELECT a from t"));
    }

    /// Where a dialect may read on, nothing that could be a literal is shown.
    #[test]
    fn a_backslash_before_a_quote_hides_the_rest() {
        assert_eq!(of(r"select 'it\'s secret' from t"), "select ?");
        assert_eq!(of(r"select 'C:\', 'secret' from t"), "select ?");
        assert_eq!(of(r"select E'it\'s secret' from t"), "select ? from t");
        let spark = Fingerprint::new(r#"select "secret" from t"#, DoubleQuotes::Literal);
        assert_eq!(spark.text(), "select ? from t");
    }

    #[test]
    fn long_ones_are_cut_and_still_told_apart() {
        let columns: Vec<String> = (0..400).map(|i| format!("column_{i}")).collect();
        let one = format!("select {} from one", columns.join(", "));
        let (one, other) = (of_all(&one), of_all(&one.replace("from one", "from other")));
        assert_eq!(one.text(), other.text());
        assert!(one.text().len() <= FINGERPRINT_BYTES_MAX);
        assert_ne!(one.hash(), other.hash());
        let list: Vec<String> = (0..9000).map(|i| i.to_string()).collect();
        assert_eq!(of(&format!("x in ({})", list.join(","))), "x in (?)");
    }

    fn of_all(text: &str) -> Fingerprint {
        Fingerprint::new(text, DoubleQuotes::Name)
    }

    #[test]
    fn hashes_are_those_of_the_first_release() {
        let known = [("", HASHES[0]), ("select ?", HASHES[1]), ("select a from t", HASHES[2])];
        for (text, expected) in known {
            assert_eq!(of_all(text).hash(), expected, "{text:?}: {:#018x}", of_all(text).hash());
        }
        assert_eq!(of_all("select 1").name(), format!("{:016x}", HASHES[1]));
    }

    const HASHES: [u64; 3] = [0x320c_5212_3561_c096, 0xb03a_4d64_5511_cd44, 0xadf2_58e9_f58a_3b90];

    proptest! {
        #[test]
        fn any_text_has_a_bounded_fingerprint_that_is_its_own(text in "\\PC{0,200}") {
            let once = of_all(&text);
            prop_assert!(once.text().len() <= FINGERPRINT_BYTES_MAX);
            let again = of_all(once.text());
            prop_assert_eq!(again.text(), once.text());
        }

        /// Of sound SQL no digit and no character of a string stays.
        #[test]
        fn no_literal_stays(
            numbers in prop::collection::vec(any::<f64>(), 1..5),
            text in "[a-z'%\\\\ \n]{0,30}",
        ) {
            let literal = format!("'~{}~'", text.replace('\'', "''"));
            let numbers: Vec<String> = numbers.iter().filter(|n| n.is_finite()).map(|n| format!("{n:e}")).collect();
            let of = of(&format!("select a from t where s = {literal} and n in ({})", numbers.join(", ")));
            prop_assert!(!of.contains('~'), "{}", of);
            prop_assert!(!of.contains(|c: char| c.is_ascii_digit()), "{}", of);
        }
    }
}
