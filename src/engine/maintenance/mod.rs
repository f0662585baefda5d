//! Maintenance: what the policy asks for is carried out, one step at a time.
//!
//! Owns: the order of steps (retention first; before it only what tiers must take in of what goes),
//! what is known of live parts for planning, the budget of bytes, the thread that does it in the
//! background. Does not own: what is to be done next (`retention`, `compaction::plan`: pure
//! functions), how parts are merged and tiers are made (`compaction`), how the catalog is edited
//! (`ledger`).
//!
//! A failure to read a part is told and leaves that part, and what overlaps it, as it is; a failed
//! write latches the engine, as everywhere.

mod budget;
mod retain;
mod thread;
mod views;
mod work;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use retain::RetentionReport;
pub(super) use thread::Background;
pub use work::{CompactReport, CompactScope, TaskReport};

use super::Engine;
use super::channel::{Message, Outlet};
use super::receipt::{Promise, Receipt};
use super::shared::Shared;
use crate::catalog::Catalog;
use crate::compaction::plan::{self, Situation, Task};
use crate::error::{Error, Result};
use crate::options::Policy;
use crate::part::Layout;
use crate::retention::{Dropped, PartView};
use crate::time::{TimeRange, Timestamp};
use views::Facts;
use work::Pause;

/// What one step of maintenance did.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum MaintenanceStep {
    /// Parts were dropped, for their age or to fit the byte budget.
    Dropped(RetentionReport),
    /// The head was frozen: it held samples of a partition that is over.
    Froze,
    /// Deletes whose bytes are all gone left the catalog: their ids.
    ForgotDeletes(Vec<u64>),
    /// A task of compaction.
    Compacted(TaskReport),
    /// A task could not read what it should. Its parts, and what overlaps them, are left alone
    /// until the store is opened again.
    Failed {
        /// What should have been done.
        task: Task,
        /// Ids of the parts.
        parts: Vec<u64>,
        /// Why not.
        error: Error,
    },
}

/// What maintenance remembers between its steps.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    /// One step at a time.
    turn: Mutex<Turn>,
    /// Parts are dropped by one thread at a time.
    dropping: Mutex<()>,
    facts: Mutex<HashMap<u64, Facts>>,
    unreadable: Mutex<BTreeMap<u64, Error>>,
    last_error: Mutex<Option<Error>>,
    /// The bytes that parts take, while the byte budget is used up and nothing can be dropped; 0
    /// while it is not.
    over_budget_bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct Turn {
    /// Of the host's cores this takes one, whatever the task would.
    pool: Option<Arc<rayon::ThreadPool>>,
    /// Where the frontier stood when the head was last frozen for maintenance's sake.
    froze_at: Option<Timestamp>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the locks guard is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Upkeep {
    pub(super) fn last_error(&self) -> Option<Error> {
        lock(&self.last_error).clone()
    }

    fn note(&self, error: &Error) {
        *lock(&self.last_error) = Some(error.clone());
    }
}

/// Carries the policy out, on whichever thread it is asked.
#[derive(Debug, Clone)]
pub(super) struct Maintainer {
    pub(super) shared: Arc<Shared>,
    pub(super) outlet: Outlet,
}

/// What a step looks at: one state of the store.
struct Picture {
    catalog: Arc<Catalog>,
    parts: Vec<PartView>,
    frontier: Timestamp,
    head: Option<(Timestamp, Timestamp)>,
}

impl Maintainer {
    /// Does the next thing that is due, `None` where nothing is.
    ///
    /// # Errors
    /// [`Error::Cancelled`] from `pause`; a failed write, after which the engine is read-only.
    fn step(
        &self,
        policy: &Policy,
        scope: CompactScope,
        pause: &mut Pause<'_>,
    ) -> Result<Option<MaintenanceStep>> {
        let mut turn = lock(&self.shared.upkeep.turn);
        self.shared.health.check_writable()?;
        let retained = self.retain(policy, &mut turn, pause)?;
        if retained.is_some() || scope == CompactScope::Retention {
            return Ok(retained);
        }
        let picture = self.shared.picture();
        if self.freeze_is_due(policy, &picture, &mut turn) {
            self.freeze()?;
            return Ok(Some(MaintenanceStep::Froze));
        }
        if let Some(ids) = self.forget_deletes(&picture)? {
            return Ok(Some(MaintenanceStep::ForgotDeletes(ids)));
        }
        let task = plan::next_task(&Situation {
            everything: scope == CompactScope::All,
            ..self.shared.situation(policy, &picture)
        });
        let Some(task) = task else { return Ok(None) };
        self.perform(&picture, &task, &mut turn, pause).map(Some)
    }

    /// Drops what does not fit, at once: room waits for no work. Then has tiers take in what they
    /// lack of what is due, and drops just that. Where the archive takes nothing, that was noted, and
    /// is no reason to leave the rest undone.
    fn retain(
        &self,
        policy: &Policy,
        turn: &mut Turn,
        pause: &mut Pause<'_>,
    ) -> Result<Option<MaintenanceStep>> {
        let mut report = self.shared.enforce_budget()?;
        if report.dropped.is_empty() {
            if self.shared.keeps_all() {
                return Ok(None);
            }
            let picture = self.shared.picture_of_all();
            let going = self.shared.due(&picture);
            // What cannot be read goes as it is.
            let picture = Picture { parts: self.shared.workable(picture.parts), ..picture };
            if let Some(task) = plan::last_call(&self.shared.situation(policy, &picture), &going) {
                return self.perform(&picture, &task, turn, pause).map(Some);
            }
            report = self.shared.drop_due(going)?;
        }
        Ok((!report.dropped.is_empty()).then_some(MaintenanceStep::Dropped(report)))
    }

    /// Whether the head holds samples of a partition that is over, so that they are missing in its
    /// tiers. Stragglers alone freeze it once in a lateness, or every step would.
    fn freeze_is_due(&self, policy: &Policy, picture: &Picture, turn: &mut Turn) -> bool {
        let Some((first, _)) = picture.head else { return false };
        let width = picture.catalog.partition_ns;
        let end = first.0.saturating_sub(first.0.rem_euclid(width)).saturating_add(width);
        let over = Timestamp(end).saturating_add(policy.lateness) <= picture.frontier;
        let recent =
            turn.froze_at.is_some_and(|at| at.saturating_add(policy.lateness) > picture.frontier);
        let due = over && !recent;
        if due {
            turn.froze_at = Some(picture.frontier);
        }
        due
    }

    fn freeze(&self) -> Result<()> {
        let (promise, slot) = Promise::new();
        self.outlet.tell(Message::Freeze(promise))?;
        Receipt::pending(0, 0, slot).wait().map(drop)
    }

    fn forget_deletes(&self, picture: &Picture) -> Result<Option<Vec<u64>>> {
        let ids = plan::finished_tombstones(&picture.parts, &picture.catalog.tombstones);
        if ids.is_empty() {
            return Ok(None);
        }
        let known = picture.catalog.next_tombstone;
        let forget = |catalog: &Catalog| {
            // A part that a freeze added since is of a higher rank.
            debug_assert!(ids.iter().all(|&id| id < known));
            Ok(catalog.without_tombstones(&ids))
        };
        self.shared.edit(Vec::new(), forget, |_| ())?;
        Ok(Some(ids))
    }
}

impl Shared {
    /// The store as planning sees it now.
    fn picture(&self) -> Picture {
        let picture = self.picture_of_all();
        Picture { parts: self.workable(picture.parts), ..picture }
    }

    /// As [`picture`](Self::picture), with parts that could not be read.
    fn picture_of_all(&self) -> Picture {
        let view = self.live.view();
        let heads = view.frozen.iter().chain([&view.head]);
        let head = heads.flat_map(|head| [head.time_bounds(), head.event_bounds()]).flatten();
        let head = head.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        let newest = view.parts.iter().map(|part| part.meta().last).max();
        let newest = newest.max(head.map(|(_, last)| last)).unwrap_or(Timestamp::MIN);
        let frontier = newest.min(self.clock.now());
        let parts = self.part_views(&view);
        Picture { parts, catalog: view.catalog, frontier, head }
    }

    fn situation<'a>(&self, policy: &'a Policy, picture: &'a Picture) -> Situation<'a> {
        Situation {
            parts: &picture.parts,
            tombstones: &picture.catalog.tombstones,
            policy,
            partition_ns: picture.catalog.partition_ns,
            frontier: picture.frontier,
            chunk_samples_max: self.options.compacted_chunk_samples_max,
            everything: false,
            input_bytes_max: self.scratch_bytes_max(&picture.catalog),
        }
    }
}

impl Engine {
    /// Does the next piece of maintenance that is due: parts dropped for their age or to fit the
    /// byte budget, a tier built or patched, parts merged. `None` where nothing is due. For hosts
    /// that want no thread of the engine's ([`Maintenance::ByHand`](crate::options::Maintenance)):
    /// call it until it says so, now and then. One piece takes from milliseconds to seconds; the
    /// caller's thread waits, another one of the engine's works.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] and [`Error::Closed`] where nothing can be written; a failed write. What
    /// could not be read is no error but a [`MaintenanceStep::Failed`].
    pub fn maintain(&self) -> Result<Option<MaintenanceStep>> {
        self.maintainer().step(&self.shared.options.policy, CompactScope::Due, &mut || Ok(()))
    }

    /// Drops what the policy keeps no longer, for its age or to fit the byte budget, and nothing
    /// else: needs no freeze, waits for no compaction. What no tier has taken in by then, no tier
    /// will; [`maintain`](Self::maintain), and [`compact`](Self::compact) within
    /// [`CompactScope::Retention`], have that done first.
    ///
    /// # Errors
    /// As [`maintain`](Self::maintain).
    pub fn enforce_retention(&self) -> Result<RetentionReport> {
        self.shared.health.check_writable()?;
        self.shared.enforce_retention()
    }

    /// What [`enforce_retention`](Self::enforce_retention) would drop now, and why, in that order.
    /// Changes nothing; a read-only engine answers too.
    #[must_use]
    pub fn plan_retention(&self) -> Vec<Dropped> {
        self.shared.plan_retention()
    }

    pub(super) fn maintainer(&self) -> Maintainer {
        Maintainer { shared: Arc::clone(&self.shared), outlet: self.outlet.clone() }
    }
}

/// The parts that a task reads: by id, or by tier and window.
fn inputs_of(task: &Task, parts: &[PartView]) -> Vec<u64> {
    let within = |source: crate::time::Tier, window: TimeRange| {
        parts
            .iter()
            .filter(|part| part.entry.tier <= source && part.entry.layout != Layout::Events)
            .filter(|part| window.overlaps(part.entry.first, part.entry.last))
            .map(|part| part.entry.id)
            .collect()
    };
    match task {
        Task::Patch { source, window, .. } | Task::Downsample { source, window, .. } => {
            within(*source, *window)
        }
        Task::Merge { parts, .. } | Task::Purge { parts, .. } => parts.clone(),
    }
}
