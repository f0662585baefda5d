//! PromQL: an expression becomes a plan, the plan a value.
//!
//! Owns: what Prometheus' language means (lookback, staleness, extrapolation, matching, every
//! function and aggregator over floats), and its evaluation by columns: a series' values at all
//! steps stand side by side. Does not own: the text's grammar (`promql-parser`), reading samples
//! ([`Engine`](crate::Engine)), or any protocol (`server`).
//!
//! The semantics are those of Prometheus 3: a range selector `m[5m]` at `t` sees samples of
//! `t-5m < time <= t`, an instant selector the latest of the lookback before `t`, left open too.

mod aggregate;
mod binary;
mod buckets;
mod budget;
mod confine;
mod distribution;
mod evaluate;
mod functions;
mod kahan;
mod labels;
mod matching;
mod notes;
mod operate;
mod over_range;
mod plan;
mod pushdown;
mod range;
mod select;
mod steps;
mod value;

use std::fmt;
use std::time::{Duration, Instant};

pub use evaluate::evaluate;
pub use labels::Labels;
pub use steps::Steps;
pub use value::{ABSENT, Column, Outcome, Run, Value, ValueType, is_absent};

use crate::error::{Error, Result};
use crate::query::{CancelToken, Limits};

/// How far an instant selector looks back for a sample, as Prometheus does.
pub const LOOKBACK: Duration = Duration::from_secs(300);

/// A query that parsed and type-checked.
///
/// ```
/// # use icecore::promql::Query;
/// let query = Query::parse("sum by(job)(rate(http_requests_total[5m]))")?;
/// assert_eq!(query.to_string(), "sum by (job) (rate(http_requests_total[5m]))");
/// # Ok::<(), icecore::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Query {
    tree: plan::SyntaxTree,
    plan: plan::Node,
}

impl Query {
    /// Parses and checks an expression.
    ///
    /// # Errors
    /// [`Error::InvalidQuery`].
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = |reason| Error::InvalidQuery { text: text.to_owned(), reason };
        let tree = plan::parse(text).map_err(invalid)?;
        let plan = plan::lower(&tree).map_err(invalid)?;
        Ok(Self { tree, plan })
    }

    /// The plan for people: one line a node, from the outside in; operands stand below, further in.
    #[must_use]
    pub fn plan(&self) -> String {
        self.plan.outline()
    }

    /// What it evaluates to.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        self.plan.value_type()
    }
}

impl fmt::Display for Query {
    /// As Prometheus formats it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.tree.prettify())
    }
}

/// How a query is evaluated, and what it may cost.
#[derive(Debug, Clone)]
pub struct Options {
    /// How far an instant selector looks back.
    pub lookback: Duration,
    /// The step of a subquery that names none, as Prometheus' global evaluation interval.
    pub subquery_step: Duration,
    /// What it may cost: series of one selector, samples decoded by one selector, bytes of columns
    /// that stand at the same time.
    pub limits: Limits,
    /// When to give up.
    pub deadline: Option<Instant>,
    /// Lets another thread give up.
    pub cancel: CancelToken,
    /// What functions over ranges may take from tiers.
    pub tiers: Tiers,
}

/// What functions over ranges take from tiers instead of samples, where range, step and the first
/// step's time are whole minutes, and range and step have a common divisor of 5 min or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tiers {
    /// What has the value that samples give: `count_over_time`, `last_over_time`, `max_over_time`,
    /// `min_over_time`, `present_over_time`.
    #[default]
    Exact,
    /// `sum_over_time` and `avg_over_time` too: the same but for rounding, since the additions are
    /// in another order.
    Near,
}

impl Default for Options {
    /// Prometheus' lookback of 5 min and evaluation interval of 1 min, default limits, no deadline.
    fn default() -> Self {
        Self {
            lookback: LOOKBACK,
            subquery_step: Duration::from_secs(60),
            limits: Limits::default(),
            deadline: None,
            cancel: CancelToken::default(),
            tiers: Tiers::default(),
        }
    }
}
