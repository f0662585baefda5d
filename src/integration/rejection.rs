//! Why a piece of text was passed over, counted by reason.

use std::collections::BTreeMap;
use std::fmt;

/// Details of this many rejections are kept; the others are only counted.
const DETAILS_MAX: usize = 8;
/// Characters of the offending text that a detail keeps.
const EXCERPT_CHARS_MAX: usize = 80;

/// Why a line, or the sample on it, was passed over. Displays in snake case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RejectReason {
    /// Longer than the reader's bound.
    LineTooLong,
    /// Not what the format's grammar allows.
    Syntax,
    /// The series text does not parse, or breaks a rule of names and labels.
    Series,
    /// The value is not a number.
    Value,
    /// The timestamp is not one, or outside the years 1677 to 2262.
    Timestamp,
    /// There is no timestamp, and the caller gave none to stand in.
    NoTimestamp,
    /// More distinct series than the reader takes.
    TooManySeries,
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LineTooLong => "line_too_long",
            Self::Syntax => "syntax",
            Self::Series => "series",
            Self::Value => "value",
            Self::Timestamp => "timestamp",
            Self::NoTimestamp => "no_timestamp",
            Self::TooManySeries => "too_many_series",
        })
    }
}

/// One rejection, with what is needed to find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Line number, from 1.
    pub line: u64,
    /// The class.
    pub reason: RejectReason,
    /// What exactly, for people, with the beginning of the offending text.
    pub detail: String,
}

/// Rejections so far: all counted, the first few kept with their details.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rejections {
    counts: BTreeMap<RejectReason, u64>,
    details: Vec<Rejection>,
}

impl Rejections {
    pub(crate) fn add(&mut self, line: u64, reason: RejectReason, what: &str, text: &[u8]) {
        *self.counts.entry(reason).or_default() += 1;
        if self.details.len() < DETAILS_MAX {
            let shown = text.get(..text.len().min(4 * EXCERPT_CHARS_MAX)).unwrap_or_default();
            let excerpt: String =
                String::from_utf8_lossy(shown).chars().take(EXCERPT_CHARS_MAX).collect();
            let detail =
                if excerpt.is_empty() { what.to_owned() } else { format!("{what}: {excerpt:?}") };
            self.details.push(Rejection { line, reason, detail });
        }
    }

    /// Counts by reason, reasons that did not occur left out.
    pub fn counts(&self) -> impl Iterator<Item = (RejectReason, u64)> {
        self.counts.iter().map(|(&reason, &count)| (reason, count))
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// The first eight, in the order of the text.
    #[must_use]
    pub fn details(&self) -> &[Rejection] {
        &self.details
    }
}
