//! Delivery: a thread that tells, and a bounded queue before it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::board::Told;
use super::notify::{Notifier, NotifyError};
use crate::error::{Error, Result};

/// Notifications that wait. Beyond half of it nothing new is told until some have gone.
const QUEUE_MAX: usize = 256;
/// Before each further attempt after a transient failure.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(5)];

/// What became of notifications in this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeliveryCounts {
    /// Somebody was told.
    pub delivered: u64,
    /// Nobody could be told: a lasting failure, or the last of four attempts.
    pub failed: u64,
    /// The queue was full.
    pub dropped: u64,
}

#[derive(Debug, Default)]
struct Counts {
    delivered: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

/// The thread, from outside.
#[derive(Debug)]
pub(super) struct Delivery {
    queue: Option<Sender<Told>>,
    stop: Option<Sender<()>>,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

impl Delivery {
    pub(super) fn start(notifiers: Vec<Box<dyn Notifier>>) -> Result<Self> {
        let (queue, waiting) = bounded(QUEUE_MAX);
        let (stop, stopped) = bounded(0);
        let counts = Arc::new(Counts::default());
        let deliverer = Deliverer { notifiers, stopped, counts: Arc::clone(&counts) };
        let thread = std::thread::Builder::new()
            .name("icecore-notify".to_owned())
            .spawn(move || deliverer.run(&waiting))
            .map_err(|error| Error::io("start a thread for", "icecore-notify", error))?;
        Ok(Self { queue: Some(queue), stop: Some(stop), counts, thread: Some(thread) })
    }

    /// Whether it is better to tell later.
    pub(super) fn is_crowded(&self) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.len() > QUEUE_MAX / 2)
    }

    pub(super) fn tell(&self, told: Told) {
        let sent = self.queue.as_ref().is_some_and(|queue| queue.try_send(told).is_ok());
        if !sent {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn counts(&self) -> DeliveryCounts {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { delivered, failed, dropped } = &*self.counts;
        DeliveryCounts { delivered: load(delivered), failed: load(failed), dropped: load(dropped) }
    }
}

impl Drop for Delivery {
    /// What waits is tried once more, without pauses.
    fn drop(&mut self) {
        self.queue = None;
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It catches what notifiers panic with.
            let _ = thread.join();
        }
    }
}

/// The thread, from inside.
#[derive(Debug)]
struct Deliverer {
    notifiers: Vec<Box<dyn Notifier>>,
    /// Disconnected when it is to end.
    stopped: Receiver<()>,
    counts: Arc<Counts>,
}

impl Deliverer {
    fn run(mut self, waiting: &Receiver<Told>) {
        for told in waiting {
            let count =
                if self.deliver(&told) { &self.counts.delivered } else { &self.counts.failed };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn deliver(&mut self, told: &Told) -> bool {
        let Some(notifier) = self.notifiers.get_mut(told.notifier) else { return false };
        let mut attempt = || {
            let tell = AssertUnwindSafe(|| notifier.notify(&told.notification));
            catch_unwind(tell).unwrap_or_else(|_| {
                let reason = "the notifier panicked".to_owned();
                Err(NotifyError { reason, transient: false })
            })
        };
        let mut result = attempt();
        for pause in PAUSES {
            match &result {
                Err(error) if error.transient => {}
                _ => break,
            }
            if self.stopped.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
                break;
            }
            result = attempt();
        }
        if let Err(error) = &result {
            log::warn!(target: "icecore::alert", "nobody could be told: {error}");
        }
        result.is_ok()
    }
}
