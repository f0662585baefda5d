//! Silences: alerts that fire, and of which nobody is told for a while.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::{Error, Result};
use crate::model::{Selector, Series};
use crate::time::Timestamp;

/// Silences that are kept at once.
pub(super) const SILENCES_MAX: usize = 1000;

/// A silence's number within its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SilenceId(pub u64);

impl fmt::Display for SilenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Nobody is told of alerts that the selector names, until then. Their states go on; what still
/// fires when the silence is over is told then.
///
/// ```
/// use icecore::{Timestamp, model::Selector, monitor::alert::Silence};
/// // By the alert's name and labels, as a selector of series is written.
/// let until = Timestamp::from_secs(1_800_000_000);
/// let silence = Silence::new(Selector::parse("SlowSource{source=~\"lake|warehouse\"}")?, until);
/// # Ok::<(), icecore::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// Which alerts: the rule's name is the metric's, labels are the alert's, `severity` among them.
    pub selector: Selector,
    /// Exclusive.
    pub until: Timestamp,
    /// Why, for people.
    pub comment: String,
}

impl Silence {
    /// A silence without a comment.
    #[must_use]
    pub fn new(selector: Selector, until: Timestamp) -> Self {
        Self { selector, until, comment: String::new() }
    }
}

/// The silences of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Silences {
    all: BTreeMap<SilenceId, Silence>,
    last: u64,
}

impl Silences {
    /// # Errors
    /// [`Error::Limit`] where there are [`SILENCES_MAX`].
    pub(super) fn add(&mut self, silence: Silence) -> Result<SilenceId> {
        if self.all.len() >= SILENCES_MAX {
            return Err(Error::Limit { what: "silences", limit: SILENCES_MAX as u64 });
        }
        self.last += 1;
        let id = SilenceId(self.last);
        self.all.insert(id, silence);
        Ok(id)
    }

    /// One that an earlier run made.
    pub(super) fn restore(&mut self, id: SilenceId, silence: Option<Silence>) {
        self.last = self.last.max(id.0);
        self.all.extend(silence.map(|silence| (id, silence)));
    }

    pub(super) fn lift(&mut self, id: SilenceId) -> Option<Silence> {
        self.all.remove(&id)
    }

    /// Forgets those that are over.
    pub(super) fn expire(&mut self, now: Timestamp) {
        self.all.retain(|_, silence| now < silence.until);
    }

    pub(super) fn covers(&self, alert: &Series, now: Timestamp) -> bool {
        self.all.values().any(|silence| now < silence.until && silence.selector.accepts(alert))
    }

    pub(super) fn all(&self) -> Vec<(SilenceId, Silence)> {
        self.all.iter().map(|(id, silence)| (*id, silence.clone())).collect()
    }
}
