//! The byte budget: one number for the directory, and what of it is kept free for what.
//!
//! At any moment the directory holds parts, at most two heads' worth of log (the active one and
//! the one being frozen), at most one head's worth of parts that a freeze is writing, and what a
//! task of compaction writes before its inputs go. The first is what dropping can bound; for the
//! rest room is kept free, always. So nothing has to be measured while data streams in, and a
//! freeze waits for nothing but the drops that make its room.

use std::sync::atomic::Ordering;

use crate::catalog::Catalog;
use crate::engine::shared::Shared;
use crate::error::Error;
use crate::fs::tree_bytes;
use crate::options::Options;
use crate::part::directory_name;

/// Of the bytes that parts may take, one part in this many is kept free for what a task of
/// compaction writes.
const SCRATCH_SHARE: u64 = 8;

/// How [`Policy::bytes_max`](crate::options::Policy) is divided.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    pub(super) bytes_max: u64,
    /// What parts may take, those being written by compaction among them.
    pub(super) parts_bytes: u64,
    /// What parts are dropped to.
    pub(super) data_bytes: u64,
}

impl Budget {
    pub(super) fn of(options: &Options) -> Option<Self> {
        let bytes_max = options.policy.bytes_max?;
        let parts_bytes = bytes_max.saturating_sub(3 * options.head_bytes_max as u64);
        let data_bytes = parts_bytes - parts_bytes / SCRATCH_SHARE;
        Some(Self { bytes_max, parts_bytes, data_bytes })
    }
}

impl Shared {
    /// The most bytes that one task of compaction may read and write again. Without a budget a
    /// quarter of what the parts take: the directory stays below 1.6 times its live bytes.
    pub(super) fn scratch_bytes_max(&self, catalog: &Catalog) -> u64 {
        match Budget::of(&self.options) {
            Some(budget) => budget.parts_bytes - budget.data_bytes,
            None => {
                let live = catalog.parts.iter().fold(0_u64, |sum, part| sum + part.bytes);
                (live / 4).max(self.options.head_bytes_max as u64)
            }
        }
    }

    /// Bytes of part directories beyond what the catalog counts: dropped parts that readers hold
    /// still, and what stores added when they were opened. What is being built is not among them.
    pub(super) fn other_bytes(&self, catalog: &Catalog) -> u64 {
        let held = catalog.parts.iter().fold(0_u64, |sum, part| sum.saturating_add(part.bytes));
        match self.whole_parts_bytes() {
            Ok(bytes) => bytes.saturating_sub(held),
            Err(error) => {
                self.upkeep.note(&error);
                0
            }
        }
    }

    fn whole_parts_bytes(&self) -> crate::Result<u64> {
        let parts_dir = self.parts_dir();
        let mut bytes = 0;
        for entry in self.fs.list(&parts_dir)? {
            let name = entry.name.to_str().unwrap_or_default();
            if entry.is_dir && !name.ends_with(".tmp") {
                // One that goes at this moment takes nothing.
                bytes += tree_bytes(&*self.fs, &parts_dir.join(name)).unwrap_or(0);
            }
        }
        Ok(bytes)
    }

    /// Looks whether the parts fit, and refuses writes while they do not. Returns by how many bytes
    /// they do not.
    pub(super) fn refuse_over_budget(&self, budget: &Budget) -> u64 {
        let bytes = self.whole_parts_bytes().unwrap_or_else(|error| {
            self.upkeep.note(&error);
            0
        });
        let short = bytes.saturating_sub(budget.parts_bytes);
        let refused = if short > 0 { bytes } else { 0 };
        self.upkeep.over_budget_bytes.store(refused, Ordering::Relaxed);
        short
    }

    /// Looks again while writes are refused: a reader may have left.
    pub(in crate::engine) fn check_budget(&self) {
        if self.over_budget().is_some()
            && let Some(budget) = Budget::of(&self.options)
        {
            self.refuse_over_budget(&budget);
        }
    }

    /// Why no write can be taken, if that is for the byte budget.
    pub(in crate::engine) fn over_budget(&self) -> Option<Error> {
        let bytes = self.upkeep.over_budget_bytes.load(Ordering::Relaxed);
        let budget = Budget::of(&self.options).filter(|_| bytes > 0)?;
        let bytes = bytes.saturating_add(budget.bytes_max - budget.parts_bytes);
        Some(Error::OverBudget { path: self.dir.clone(), bytes, bytes_max: budget.bytes_max })
    }

    /// Removes what a failed or cancelled build left. Where that fails the next open does it.
    pub(super) fn discard_build(&self, id: u64) {
        let building = self.parts_dir().join(directory_name(id) + ".tmp");
        if matches!(self.fs.file_bytes(&building), Ok(Some(_))) {
            let _ = self.fs.remove_dir_all(&building);
        }
    }
}
