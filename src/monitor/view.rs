//! What can be seen of a monitor by somebody who does not hold it.

use std::sync::Arc;

use super::core::Core;
use super::query::RunningQuery;
use super::source::SourceMetrics;

/// The queries that run, and the sources as they are: for a server, or a screen. Cheap to clone. The
/// host goes on owning its [`FederationMonitor`](super::FederationMonitor), and may close it; what is
/// seen then is what guards say that outlive it.
#[derive(Debug, Clone)]
pub struct LiveView(Arc<Core>);

impl LiveView {
    pub(super) fn new(core: &Arc<Core>) -> Self {
        Self(Arc::clone(core))
    }

    /// The queries that run now, by id. Cost: a copy of each.
    #[must_use]
    pub fn running(&self) -> Vec<RunningQuery> {
        self.0.running.all().iter().map(|live| live.running(&self.0.directory)).collect()
    }

    /// How many run now, as far as there is room to list them. Cost: a load for every 64 slots.
    #[must_use]
    pub fn running_count(&self) -> usize {
        self.0.running.len()
    }

    /// The sources as they are now, by name.
    #[must_use]
    pub fn sources(&self) -> Vec<SourceMetrics> {
        self.0.directory.metrics()
    }
}
