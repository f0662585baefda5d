//! What is asked of a table of events, and what comes back.

use std::time::Instant;

use crate::model::{EventColumn, EventRows, EventValue};
use crate::query::{CancelToken, Limits};
use crate::time::TimeRange;

/// Rows of a table of events.
///
/// ```
/// use icecore::query::{EventOrder, EventPredicate, EventRequest, EventTest};
/// use icecore::TimeRange;
/// let slowest = EventRequest {
///     predicates: vec![EventPredicate::new("outcome", EventTest::NotEqual("ok".into()))],
///     projection: Some(vec!["id".into(), "duration".into()]),
///     order: EventOrder::Largest("duration".into()),
///     limit: Some(20),
///     ..EventRequest::new("queries", TimeRange::ALL)
/// };
/// assert_eq!(slowest.table, "queries");
/// ```
#[derive(Debug, Clone)]
pub struct EventRequest {
    /// The table's name.
    pub table: String,
    /// Rows at `start <= time < end` are looked at, no others.
    pub range: TimeRange,
    /// What a row must pass, all of it.
    pub predicates: Vec<EventPredicate>,
    /// Which columns are answered, in this order; `None` for all. The time is answered in any case.
    pub projection: Option<Vec<String>>,
    /// In which order rows are answered.
    pub order: EventOrder,
    /// The most rows that are answered, the first of the order; `None` for all.
    pub limit: Option<u64>,
    /// What it may cost; `samples_max` bounds the values decoded, one a row and column.
    pub limits: Limits,
    /// When to give up.
    pub deadline: Option<Instant>,
    /// Lets another thread give up.
    pub cancel: CancelToken,
}

impl EventRequest {
    /// All rows of the range, all columns, by time; default limits, no deadline.
    #[must_use]
    pub fn new(table: impl Into<String>, range: TimeRange) -> Self {
        Self {
            table: table.into(),
            range,
            predicates: Vec::new(),
            projection: None,
            order: EventOrder::Time,
            limit: None,
            limits: Limits::default(),
            deadline: None,
            cancel: CancelToken::default(),
        }
    }
}

/// In which order rows are answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum EventOrder {
    /// Ascending by time; of one time, as they arrived.
    #[default]
    Time,
    /// Descending by this column; of equal values, as [`Time`](Self::Time) has them. Rows in which it
    /// is null or NaN are left out. Needs a limit. Groups of rows whose largest value is too small
    /// are not read.
    Largest(String),
    /// Ascending by this column, otherwise as [`Largest`](Self::Largest).
    Smallest(String),
}

/// A condition on one column.
#[derive(Debug, Clone, PartialEq)]
pub struct EventPredicate {
    /// The column's name.
    pub column: String,
    /// What its value must pass.
    pub test: EventTest,
}

impl EventPredicate {
    /// A condition on a column.
    #[must_use]
    pub fn new(column: impl Into<String>, test: EventTest) -> Self {
        Self { column: column.into(), test }
    }
}

/// What a value must pass. Only [`IsNull`](Self::IsNull) takes a null; NaN passes nothing but
/// [`NotEqual`](Self::NotEqual) and [`NotNull`](Self::NotNull). Values are of the column's kind; for
/// a column of floats an integer will do. Texts compare by their bytes, false is below true.
#[derive(Debug, Clone, PartialEq)]
pub enum EventTest {
    /// `=`.
    Equal(EventValue),
    /// `!=`.
    NotEqual(EventValue),
    /// `<`.
    Less(EventValue),
    /// `<=`.
    LessOrEqual(EventValue),
    /// `>`.
    Greater(EventValue),
    /// `>=`.
    GreaterOrEqual(EventValue),
    /// Equal to one of these.
    In(Vec<EventValue>),
    /// Holds no value.
    IsNull,
    /// Holds one.
    NotNull,
}

/// Rows, and what they stand on.
#[derive(Debug, Clone, PartialEq)]
pub struct EventAnswer {
    /// What the columns are, in the order of [`EventRows::columns`].
    pub columns: Vec<EventColumn>,
    /// The rows, in the order asked for.
    pub rows: EventRows,
    /// What they stand on.
    pub evidence: EventEvidence,
}

/// What an answer over events stands on; the same for every number of threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventEvidence {
    /// Groups of rows whose stretch of time meets the range.
    pub groups: u64,
    /// Of these, those that bounds, dictionaries or the limit told to hold nothing that is wanted.
    pub groups_skipped: u64,
    /// Rows of the others.
    pub rows_read: u64,
    /// Values decoded: one a row and column, of stored groups.
    pub values_decoded: u64,
    /// Rows that passed the range and the predicates, in the groups that were read.
    pub rows_matched: u64,
}
