//! What all writers share: the way of rows that passed the gate, to the ingest thread and to a
//! receipt.

use std::sync::Arc;

use super::channel::{Batch, Outlet, Rows, Sent};
use super::gate::Reason;
use super::receipt::{Promise, Receipt};
use super::shared::Shared;
use crate::error::Result;
use crate::options::{Durability, WhenFull};
use crate::time::Timestamp;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Dispatch {
    pub(super) shared: Arc<Shared>,
    outlet: Outlet,
    /// The level at which receipts complete.
    pub(super) durability: Durability,
    pub(super) when_full: WhenFull,
}

impl Dispatch {
    /// As the engine's options say.
    pub(super) fn new(shared: Arc<Shared>, outlet: Outlet) -> Self {
        let (durability, when_full) = (shared.options.durability, shared.options.when_full);
        Self { shared, outlet, durability, when_full }
    }

    /// Counts the rows that the guard of the disk or the byte budget keeps out.
    pub(super) fn check_writable(&self, offered: u64) -> Result<()> {
        self.shared.check_writable().inspect_err(|error| {
            if let Some(reason) = Reason::of(error) {
                self.shared.gate.refusals.count(reason, offered);
            }
        })
    }

    /// The time, where the gate asks for it.
    pub(super) fn now(&self) -> Option<Timestamp> {
        self.shared.gate.reads_clock().then(|| self.shared.clock.now())
    }

    /// The receipt of `offered` rows none of which is taken.
    pub(super) fn none_taken(&self, offered: u64) -> Receipt {
        Receipt::ready(0, offered, self.durability)
    }

    /// Sends rows, of which the gate has `taken` so many, of those `offered`.
    ///
    /// # Errors
    /// As [`Outlet::send`]; the failure that ended the ingest thread.
    pub(super) fn send(&self, rows: Rows, taken: u64, offered: u64) -> Result<Receipt> {
        let (receipt, slot) = if self.durability == Durability::Buffered {
            (None, None)
        } else {
            let (promise, slot) = Promise::new();
            (Some((self.durability, promise)), Some(slot))
        };
        match self.outlet.send(Batch { rows, receipt }, self.when_full) {
            Ok(Sent::Yes) => Ok(match slot {
                None => Receipt::ready(taken, offered - taken, Durability::Buffered),
                Some(slot) => Receipt::pending(taken, offered - taken, slot),
            }),
            Ok(Sent::Dropped) => {
                self.shared.gate.refusals.count(Reason::ChannelFull, taken);
                Ok(Receipt::ready(0, offered, Durability::Buffered))
            }
            // Where the ingest thread ended by a failure, that says more than "closed".
            Err(error) => Err(self.shared.health.check_writable().err().unwrap_or(error)),
        }
    }
}
