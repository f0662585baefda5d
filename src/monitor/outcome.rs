//! How queries and calls end, and the few names of what goes wrong.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// Classes of errors that one monitor tells apart, [`OTHER`] among them. 32: one counter of each a
/// source, in one place without a lock.
pub const ERROR_CLASSES_MAX: usize = 32;
/// The class, or the label value, of everything beyond a cap.
pub const OTHER: &str = "other";
/// The class of what ended because its thread panicked.
pub const PANIC: &str = "panic";
/// Longest name of a class, a tenant, a user or a source, bytes; what is longer is cut.
pub const NAME_BYTES_MAX: usize = 128;

/// How a query, or a call to a source, ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// It did what it should.
    Ok,
    /// It failed; with the class of the failure, as the host names it.
    Error(Arc<str>),
    /// Somebody called it off.
    Cancelled,
    /// It took longer than it was given.
    TimedOut,
    /// Nobody said how it ended: its guard was dropped, or its process died.
    Abandoned,
}

impl Outcome {
    /// The outcome without the class.
    #[must_use]
    pub const fn kind(&self) -> OutcomeKind {
        match self {
            Self::Ok => OutcomeKind::Ok,
            Self::Error(_) => OutcomeKind::Error,
            Self::Cancelled => OutcomeKind::Cancelled,
            Self::TimedOut => OutcomeKind::TimedOut,
            Self::Abandoned => OutcomeKind::Abandoned,
        }
    }

    /// The class of the failure; empty where there was none.
    #[must_use]
    pub fn class(&self) -> &str {
        if let Self::Error(class) = self { class } else { "" }
    }
}

/// An [`Outcome`] without the class of the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OutcomeKind {
    /// See [`Outcome::Ok`].
    Ok,
    /// See [`Outcome::Error`].
    Error,
    /// See [`Outcome::Cancelled`].
    Cancelled,
    /// See [`Outcome::TimedOut`].
    TimedOut,
    /// See [`Outcome::Abandoned`].
    Abandoned,
}

impl OutcomeKind {
    /// All of them, in order.
    pub const ALL: [Self; 5] =
        [Self::Ok, Self::Error, Self::Cancelled, Self::TimedOut, Self::Abandoned];

    /// As labels and tables have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
            Self::Abandoned => "abandoned",
        }
    }

    /// What [`name`](Self::name) says.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for OutcomeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An outcome in one word, so that it fits an atomic: 0 is none yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) kind: OutcomeKind,
    /// Of an error: its number in [`Classes`].
    pub(super) class: u8,
}

impl Ended {
    pub(super) const OK: Self = Self::plain(OutcomeKind::Ok);

    pub(super) const fn plain(kind: OutcomeKind) -> Self {
        Self { kind, class: 0 }
    }

    pub(super) const fn error(class: u8) -> Self {
        Self { kind: OutcomeKind::Error, class }
    }

    pub(super) const fn word(self) -> u32 {
        1 + self.kind as u32 + ((self.class as u32) << 8)
    }

    pub(super) fn from_word(word: u32) -> Option<Self> {
        let kind = (word & 0xff).checked_sub(1)?;
        let kind = *OutcomeKind::ALL.get(kind as usize)?;
        Some(Self { kind, class: (word >> 8) as u8 })
    }

    /// What a guard says that is dropped without a word.
    pub(super) fn dropped(panicking_before: bool) -> Self {
        if std::thread::panicking() && !panicking_before {
            Self::error(Classes::PANIC)
        } else {
            Self::plain(OutcomeKind::Abandoned)
        }
    }
}

/// The classes of errors met so far, numbered.
#[derive(Debug)]
pub(super) struct Classes(RwLock<Named>);

#[derive(Debug)]
struct Named {
    numbers: HashMap<Arc<str>, u8>,
    names: Vec<Arc<str>>,
}

impl Classes {
    pub(super) const OTHER: u8 = 0;
    pub(super) const PANIC: u8 = 1;

    pub(super) fn new() -> Self {
        let names: Vec<Arc<str>> = vec![OTHER.into(), PANIC.into()];
        let numbers = names.iter().cloned().zip(0..).collect();
        Self(RwLock::new(Named { numbers, names }))
    }

    /// The class' number; that of `other` where there are too many already.
    pub(super) fn number(&self, class: &str) -> u8 {
        let class = cut(class);
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(&number) = known.numbers.get(class) {
            return number;
        }
        drop(known);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(&number) = known.numbers.get(class) {
            return number;
        }
        let next = known.names.len();
        if class.is_empty() || next >= ERROR_CLASSES_MAX {
            return Self::OTHER;
        }
        let name: Arc<str> = class.into();
        known.numbers.insert(Arc::clone(&name), next as u8);
        known.names.push(name);
        next as u8
    }

    pub(super) fn name(&self, number: u8) -> Arc<str> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.names.get(usize::from(number)).map_or_else(|| OTHER.into(), Arc::clone)
    }

    pub(super) fn outcome(&self, ended: Ended) -> Outcome {
        match ended.kind {
            OutcomeKind::Ok => Outcome::Ok,
            OutcomeKind::Error => Outcome::Error(self.name(ended.class)),
            OutcomeKind::Cancelled => Outcome::Cancelled,
            OutcomeKind::TimedOut => Outcome::TimedOut,
            OutcomeKind::Abandoned => Outcome::Abandoned,
        }
    }
}

/// A name within [`NAME_BYTES_MAX`].
pub(super) fn cut(name: &str) -> &str {
    name.get(..name.floor_char_boundary(NAME_BYTES_MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_fit_a_word() {
        for kind in OutcomeKind::ALL {
            for class in [0, 1, 31, 255] {
                let ended = Ended { kind, class };
                assert_eq!(Ended::from_word(ended.word()), Some(ended));
            }
            assert_eq!(OutcomeKind::parse(kind.name()), Some(kind));
        }
        assert_eq!(Ended::from_word(0), None);
        assert_eq!(Ended::from_word(77), None);
    }

    #[test]
    fn classes_beyond_the_cap_are_other() {
        let classes = Classes::new();
        for i in 0..100 {
            let number = classes.number(&format!("class {i}"));
            assert_eq!(number == Classes::OTHER, i >= ERROR_CLASSES_MAX - 2, "{i}");
        }
        assert_eq!(&*classes.name(classes.number("class 3")), "class 3");
        assert_eq!(classes.number("panic"), Classes::PANIC);
        assert_eq!(classes.number(""), Classes::OTHER);
        assert_eq!(&*classes.name(200), OTHER);
    }
}
