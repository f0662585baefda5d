//! The background thread: retention and tasks, whenever the interval is over, until nothing is
//! due; with a share of one core.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::CompactScope;
use super::Maintainer;
use crate::engine::commit::panicked;
use crate::error::{Error, Result};

/// Work between two rests, at least: a rest costs the system more than it is worth below.
const STRETCH: Duration = Duration::from_millis(2);

/// The engine's end of the thread; dropping it ends the thread, in the middle of a task too.
#[derive(Debug)]
pub(in crate::engine) struct Background {
    /// Dropped, it wakes the thread.
    alive: Option<Sender<()>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`Error::Io`] where the system gives no thread.
    pub(in crate::engine) fn start(
        maintainer: Maintainer,
        interval: Duration,
        cpu_share: f64,
    ) -> Result<Self> {
        let (alive, ended) = bounded(0);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let run = move || {
            while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(interval) {
                let mut pace = Pace::new(&stopped, &ended, cpu_share);
                let round = catch_unwind(AssertUnwindSafe(|| round(&maintainer, &mut pace)));
                round.unwrap_or_else(|panic| {
                    maintainer.shared.health.latch(panicked("maintain", &*panic));
                });
            }
        };
        let thread = std::thread::Builder::new()
            .name("icecore-maintain".to_owned())
            .spawn(run)
            .map_err(|error| Error::io("start a thread for", "icecore-maintain", error))?;
        Ok(Self { alive: Some(alive), stop, thread: Some(thread) })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.alive = None;
        if let Some(thread) = self.thread.take() {
            // Its panics were caught and latched.
            let _ = thread.join();
        }
    }
}

/// Does what is due.
fn round(maintainer: &Maintainer, pace: &mut Pace<'_>) {
    let policy = &maintainer.shared.options.policy;
    loop {
        // Failures are noted where they happen; what latched the engine ends every later round.
        match maintainer.step(policy, CompactScope::Due, &mut || pace.rest()) {
            Ok(Some(_)) if pace.rest().is_ok() => {}
            _ => return,
        }
    }
}

/// Sleeps after work, so that the thread takes its share of a core and no more.
struct Pace<'a> {
    stop: &'a AtomicBool,
    ended: &'a Receiver<()>,
    /// Rest for each unit of work.
    rest: f64,
    working_since: Instant,
}

impl<'a> Pace<'a> {
    fn new(stop: &'a AtomicBool, ended: &'a Receiver<()>, share: f64) -> Self {
        Self { stop, ended, rest: 1.0 / share - 1.0, working_since: Instant::now() }
    }

    /// # Errors
    /// [`Error::Cancelled`] when the engine ends.
    fn rest(&mut self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        let worked = self.working_since.elapsed();
        if self.rest > 0.0 && worked >= STRETCH {
            let rest = worked.mul_f64(self.rest.min(1e6));
            if let Err(RecvTimeoutError::Disconnected) = self.ended.recv_timeout(rest) {
                return Err(Error::Cancelled);
            }
            self.working_since = Instant::now();
        }
        Ok(())
    }
}
