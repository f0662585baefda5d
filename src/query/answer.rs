//! What comes back: columns of window values, and what they stand on.

use std::sync::Arc;

use super::Function;
use super::evidence::{Covered, Evidence};
use super::windows::Windows;
use crate::model::Series;

/// The answer to a [`Request`](super::Request).
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The windows; every column below has one value for each, in their order.
    pub windows: Windows,
    /// The functions, as asked.
    pub functions: Vec<Function>,
    /// Ascending by key; a group without any sample in the range is left out.
    pub groups: Vec<Group>,
    /// What it stands on.
    pub evidence: Evidence,
}

/// The windows of one group of series.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Which series.
    pub key: GroupKey,
    /// How much of the range its series cover.
    pub covered: Covered,
    /// Samples in each window, stale markers left out. Where 0, the values say nothing.
    pub counts: Vec<u64>,
    /// For each function, in the request's order, its value in each window: NaN where the window
    /// is empty (but 0 for [`Function::Count`]), or where the value is NaN.
    pub values: Vec<Vec<f64>>,
}

/// What the series of a group share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupKey {
    /// One series by itself.
    Series(Arc<Series>),
    /// The labels grouped by, in the request's order, with their values; an empty value where the
    /// label is absent.
    Labels(Vec<(String, String)>),
}
