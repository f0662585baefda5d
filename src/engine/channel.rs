//! The ingestion channel: bounded in batches and in bytes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, TrySendError, bounded};

use super::events::Table;
use super::receipt::Promise;
use crate::aggregate::Distribution;
use crate::error::{Error, Result};
use crate::head::Group;
use crate::model::{EventBatch, SeriesId};
use crate::options::{Durability, WhenFull};
use crate::wal::FRAME_PAYLOAD_BYTES_MAX;

/// Largest batch, bytes: its log record must fit a frame, with room for its timestamps' varints.
const BATCH_BYTES_MAX: usize = FRAME_PAYLOAD_BYTES_MAX / 2;

/// Samples on their way to the ingest thread.
#[derive(Debug)]
pub(super) enum Rows {
    /// One value for each series of the group.
    Scrape { group: Arc<Group>, timestamp: i64, values: Vec<f64> },
    /// Samples of one series: columns of equal length.
    Column { series: SeriesId, timestamps: Vec<i64>, values: Vec<f64> },
    /// What was observed of one series.
    Distribution { series: SeriesId, timestamp: i64, distribution: Arc<Distribution> },
    /// Rows of a table of events.
    Events { table: Table, batch: EventBatch },
}

impl Rows {
    /// Samples; a row of events is none.
    pub(super) fn samples(&self) -> usize {
        match self {
            Self::Scrape { values, .. } | Self::Column { values, .. } => values.len(),
            Self::Distribution { .. } => 1,
            Self::Events { .. } => 0,
        }
    }

    /// Rows of events.
    pub(super) fn events(&self) -> usize {
        if let Self::Events { batch, .. } = self { batch.len() } else { 0 }
    }

    /// Bytes that the batch holds while it waits, about.
    pub(super) fn bytes(&self) -> usize {
        const ENVELOPE: usize = 128;
        ENVELOPE
            + match self {
                Self::Scrape { values, .. } => size_of_val(&**values),
                Self::Column { timestamps, values, .. } => {
                    size_of_val(&**timestamps) + size_of_val(&**values)
                }
                Self::Distribution { distribution, .. } => distribution.memory_bytes(),
                Self::Events { batch, .. } => batch.memory_bytes(),
            }
    }
}

/// A batch, and who waits for it.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) rows: Rows,
    pub(super) receipt: Option<(Durability, Promise)>,
}

/// What the ingest thread is told.
#[derive(Debug)]
pub(super) enum Message {
    Batch(Batch),
    /// Everything sent before is to be synced.
    Sync(Promise),
    /// The head is to be frozen and committed.
    Freeze(Promise),
    /// Finish what was sent before, then end.
    Close,
}

/// How long one batch may wait, for bytes and for its place together.
#[derive(Debug, Clone, Copy)]
enum Patience {
    None,
    Until(Instant),
    Endless,
}

impl Patience {
    fn of(when_full: WhenFull) -> Self {
        match when_full {
            WhenFull::Drop => Self::None,
            WhenFull::Wait => Self::Endless,
            // A time beyond the clock's end is no limit.
            WhenFull::WaitUpTo(timeout) => {
                Instant::now().checked_add(timeout).map_or(Self::Endless, Self::Until)
            }
        }
    }
}

/// Bytes that batches in the channel may hold together.
#[derive(Debug)]
struct ByteBudget {
    limit: usize,
    used: AtomicUsize,
    waiting: AtomicUsize,
    lock: Mutex<()>,
    freed: Condvar,
    closed: AtomicBool,
}

impl ByteBudget {
    fn try_take(&self, bytes: usize) -> bool {
        let take = |used: usize| (used + bytes <= self.limit).then_some(used + bytes);
        self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok()
    }

    /// Takes `bytes`, waiting as `when_full` says. Says whether it got them.
    fn take(&self, bytes: usize, patience: Patience) -> bool {
        if self.try_take(bytes) {
            return true;
        }
        let until = match patience {
            Patience::None => return false,
            Patience::Until(until) => Some(until),
            Patience::Endless => None,
        };
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let taken = self.wait(bytes, until);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        taken
    }

    fn wait(&self, bytes: usize, until: Option<Instant>) -> bool {
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if self.try_take(bytes) {
                return true;
            }
            if self.closed.load(Ordering::SeqCst) {
                return false;
            }
            guard = match until {
                None => self.freed.wait(guard).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let Some(left) = until.checked_duration_since(Instant::now()) else {
                        return false;
                    };
                    let waited = self.freed.wait_timeout(guard, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.wake();
        }
    }

    /// Under the lock, so that nobody between its check and its wait misses the call.
    fn wake(&self) {
        let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.freed.notify_all();
    }
}

/// What became of a batch handed to the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    Yes,
    /// The channel was full, and the caller did not want to wait (longer).
    Dropped,
}

/// The writers' end.
#[derive(Debug, Clone)]
pub(super) struct Outlet {
    sender: Sender<Message>,
    budget: Arc<ByteBudget>,
}

/// The ingest thread's end. Dropped, it fails every later and every waiting send.
#[derive(Debug)]
pub(super) struct Inlet {
    receiver: Receiver<Message>,
    budget: Arc<ByteBudget>,
}

pub(super) fn channel(batches_max: usize, bytes_max: usize) -> (Outlet, Inlet) {
    let (sender, receiver) = bounded(batches_max);
    let budget = Arc::new(ByteBudget {
        limit: bytes_max,
        used: AtomicUsize::new(0),
        waiting: AtomicUsize::new(0),
        lock: Mutex::new(()),
        freed: Condvar::new(),
        closed: AtomicBool::new(false),
    });
    (Outlet { sender, budget: Arc::clone(&budget) }, Inlet { receiver, budget })
}

impl Outlet {
    /// Sends a batch, waiting as `when_full` says.
    ///
    /// # Errors
    /// [`Error::Closed`] where the ingest thread has ended; [`Error::InvalidArgument`] where the
    /// batch alone is larger than the channel.
    pub(super) fn send(&self, batch: Batch, when_full: WhenFull) -> Result<Sent> {
        let bytes = batch.rows.bytes();
        let limit = self.budget.limit.min(BATCH_BYTES_MAX);
        if bytes > limit {
            let reason = format!("{bytes} bytes of at most {limit}");
            return Err(Error::InvalidArgument { what: "batch", reason });
        }
        let patience = Patience::of(when_full);
        if !self.budget.take(bytes, patience) {
            return match self.budget.closed.load(Ordering::SeqCst) {
                true => Err(Error::Closed),
                false => Ok(Sent::Dropped),
            };
        }
        let message = Message::Batch(batch);
        let sent = match patience {
            Patience::Endless => self.sender.send(message).map_err(|_| Error::Closed),
            Patience::None => match self.sender.try_send(message) {
                Ok(()) => Ok(()),
                Err(TrySendError::Full(_)) => return Ok(self.drop_batch(bytes)),
                Err(TrySendError::Disconnected(_)) => Err(Error::Closed),
            },
            Patience::Until(until) => match self.sender.send_deadline(message, until) {
                Ok(()) => Ok(()),
                Err(SendTimeoutError::Timeout(_)) => return Ok(self.drop_batch(bytes)),
                Err(SendTimeoutError::Disconnected(_)) => Err(Error::Closed),
            },
        };
        sent.map(|()| Sent::Yes)
    }

    fn drop_batch(&self, bytes: usize) -> Sent {
        self.budget.give_back(bytes);
        Sent::Dropped
    }

    /// Sends a word to the ingest thread, waiting for room.
    ///
    /// # Errors
    /// [`Error::Closed`] where the ingest thread has ended.
    pub(super) fn tell(&self, message: Message) -> Result<()> {
        self.sender.send(message).map_err(|_| Error::Closed)
    }
}

impl Inlet {
    /// The next message; `None` where none came within `timeout` or every sender is gone.
    pub(super) fn receive(&self, timeout: Duration) -> Option<Message> {
        self.receiver.recv_timeout(timeout).ok()
    }

    /// The next message if it is there.
    pub(super) fn try_receive(&self) -> Option<Message> {
        self.receiver.try_recv().ok()
    }

    /// Gives the room of a batch of `bytes` back to the writers.
    pub(super) fn release(&self, bytes: usize) {
        self.budget.give_back(bytes);
    }

    /// Batches waiting.
    pub(super) fn len(&self) -> usize {
        self.receiver.len()
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.budget.closed.store(true, Ordering::SeqCst);
        self.budget.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn batch(samples: usize) -> Batch {
        let rows = Rows::Column {
            series: SeriesId(0),
            timestamps: vec![0; samples],
            values: vec![0.0; samples],
        };
        Batch { rows, receipt: None }
    }

    #[test]
    fn both_bounds_hold_and_each_policy_does_as_it_says() {
        let (outlet, inlet) = channel(2, 4096);
        assert_eq!(outlet.send(batch(1), WhenFull::Drop).unwrap(), Sent::Yes);
        assert_eq!(outlet.send(batch(1), WhenFull::Drop).unwrap(), Sent::Yes);
        assert_eq!(outlet.send(batch(1), WhenFull::Drop).unwrap(), Sent::Dropped);
        let brief = WhenFull::WaitUpTo(Duration::from_millis(5));
        assert_eq!(outlet.send(batch(1), brief).unwrap(), Sent::Dropped);

        let (by_bytes, inlet_by_bytes) = channel(100, 4096);
        assert_eq!(by_bytes.send(batch(150), WhenFull::Drop).unwrap(), Sent::Yes);
        assert_eq!(by_bytes.send(batch(150), WhenFull::Drop).unwrap(), Sent::Dropped);
        assert_eq!(by_bytes.send(batch(150), brief).unwrap(), Sent::Dropped);
        assert!(matches!(
            by_bytes.send(batch(1000), WhenFull::Wait),
            Err(Error::InvalidArgument { .. })
        ));
        let waiter = thread::spawn(move || by_bytes.send(batch(150), WhenFull::Wait));
        let Some(Message::Batch(first)) = inlet_by_bytes.try_receive() else { panic!() };
        inlet_by_bytes.release(first.rows.bytes());
        assert_eq!(waiter.join().unwrap().unwrap(), Sent::Yes);
        drop(inlet);
        assert!(matches!(outlet.send(batch(1), WhenFull::Wait), Err(Error::Closed)));
    }

    #[test]
    fn a_waiting_writer_learns_that_the_engine_ended() {
        let (outlet, inlet) = channel(100, 4096);
        outlet.send(batch(200), WhenFull::Wait).unwrap();
        let waiter = thread::spawn(move || outlet.send(batch(200), WhenFull::Wait));
        thread::sleep(Duration::from_millis(10));
        drop(inlet);
        assert!(matches!(waiter.join().unwrap(), Err(Error::Closed)));
    }
}
