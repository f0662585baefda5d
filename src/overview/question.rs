//! What an overview is asked.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::monitor::OutcomeKind;
use crate::time::Timestamp;

/// The shortest and the longest window.
const WINDOW_MIN: Duration = Duration::from_secs(1);
const WINDOW_MAX: Duration = Duration::from_secs(31 * 86_400);
/// The most queries of each list.
const LIMIT_MAX: u64 = 1_000;

/// In which order queries that ended are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Those that ended last first.
    #[default]
    Newest,
    /// The longest first.
    Slowest,
    /// Those with most rows, in and out, first.
    Rows,
    /// Those with most bytes, in and out, first.
    Bytes,
    /// Those with most time on processors first.
    Cpu,
}

impl Order {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Newest, Self::Slowest, Self::Rows, Self::Bytes, Self::Cpu];

    /// As parameters and arguments have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Slowest => "slowest",
            Self::Rows => "rows",
            Self::Bytes => "bytes",
            Self::Cpu => "cpu",
        }
    }

    /// What [`name`](Self::name) says.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|order| order.name() == name)
    }
}

/// What is to be told.
///
/// ```
/// use icecore::overview::{Order, Question};
///
/// let slowest = Question { order: Order::Slowest, ..Question::default() };
/// assert_eq!(slowest.window.as_secs(), 300);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The moment; `None` is now, or the last one that a store at rest tells of. Later ones are that too.
    pub at: Option<Timestamp>,
    /// The length of the window that ends there; 1 s to 31 d.
    pub window: Duration,
    /// The order of queries that ended.
    pub order: Order,
    /// Of them, those that ended so; all where it is empty.
    pub outcomes: Vec<OutcomeKind>,
    /// Of them, those whose text, user, tenant, fingerprint, class of error or critical source holds
    /// this, upper or lower case; all where it is empty.
    pub text: String,
    /// The most queries of each list; 1 to 1,000.
    pub limit: u64,
}

impl Default for Question {
    /// The last 5 min, the newest 100 queries.
    fn default() -> Self {
        Self {
            at: None,
            window: Duration::from_secs(300),
            order: Order::default(),
            outcomes: Vec::new(),
            text: String::new(),
            limit: 100,
        }
    }
}

impl Question {
    /// # Errors
    /// [`Error::InvalidArgument`] where the window or the limit is out of bounds.
    pub fn check(&self) -> Result<()> {
        let invalid =
            |what, reason: &str| Err(Error::InvalidArgument { what, reason: reason.to_owned() });
        if !(WINDOW_MIN..=WINDOW_MAX).contains(&self.window) {
            return invalid("window", "must be within 1 s and 31 d");
        }
        if !(1..=LIMIT_MAX).contains(&self.limit) {
            return invalid("limit", "must be within 1 and 1,000");
        }
        Ok(())
    }
}
