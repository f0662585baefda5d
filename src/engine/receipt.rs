//! Receipts: how a writer learns that its batch reached the level it asked for.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::options::Durability;

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accepted {
    /// Samples taken.
    pub samples: u64,
    /// Samples refused at the door or dropped at a full channel; the engine's counters say why.
    pub refused: u64,
    /// The level reached: at least the one asked for.
    pub durability: Durability,
}

/// A promise that a batch will reach the level it asked for. Wait for it, poll it, `.await` it,
/// or drop it: the batch goes its way all the same.
#[derive(Debug)]
#[must_use = "a receipt tells whether the batch was stored; drop it explicitly where that is unneeded"]
pub struct Receipt {
    samples: u64,
    refused: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Decided when the batch was handed over.
    Ready(Durability),
    Pending(Arc<Slot>),
}

/// The place where the ingest thread leaves its answer.
#[derive(Debug, Default)]
pub(super) struct Slot {
    answer: Mutex<Answer>,
    answered: Condvar,
}

#[derive(Debug, Default)]
struct Answer {
    result: Option<Result<Durability>>,
    wakers: Vec<Waker>,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Answer> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers, once; a later answer is ignored.
    pub(super) fn complete(&self, result: Result<Durability>) {
        let mut answer = self.lock();
        if answer.result.is_none() {
            answer.result = Some(result);
            self.answered.notify_all();
            for waker in answer.wakers.drain(..) {
                waker.wake();
            }
        }
    }

    /// The answer, waiting until `until` (for ever where `None`).
    fn wait(&self, until: Option<Instant>) -> Option<Result<Durability>> {
        let mut answer = self.lock();
        loop {
            if let Some(result) = &answer.result {
                return Some(result.clone());
            }
            answer = match until {
                None => self.answered.wait(answer).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.checked_duration_since(Instant::now())?;
                    let waited = self.answered.wait_timeout(answer, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// The ingest thread's end of a receipt. Dropped unanswered, it answers [`Error::Closed`], so
/// that no writer waits for a thread that is gone.
#[derive(Debug)]
pub(super) struct Promise(Arc<Slot>);

impl Promise {
    pub(super) fn new() -> (Self, Arc<Slot>) {
        let slot = Arc::new(Slot::default());
        (Self(Arc::clone(&slot)), slot)
    }

    pub(super) fn complete(self, result: Result<Durability>) {
        self.0.complete(result);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.0.complete(Err(Error::Closed));
    }
}

impl Receipt {
    pub(super) fn ready(samples: u64, refused: u64, durability: Durability) -> Self {
        Self { samples, refused, state: State::Ready(durability) }
    }

    pub(super) fn pending(samples: u64, refused: u64, slot: Arc<Slot>) -> Self {
        Self { samples, refused, state: State::Pending(slot) }
    }

    fn accepted(&self, durability: Durability) -> Accepted {
        Accepted { samples: self.samples, refused: self.refused, durability }
    }

    fn answer(&self, until: Option<Instant>) -> Option<Result<Accepted>> {
        let result = match &self.state {
            State::Ready(durability) => Ok(*durability),
            State::Pending(slot) => slot.wait(until)?,
        };
        Some(result.map(|durability| self.accepted(durability)))
    }

    /// Waits until the batch reached its level.
    ///
    /// # Errors
    /// The failure that kept it from being stored; [`Error::Closed`] where the engine ended first.
    pub fn wait(self) -> Result<Accepted> {
        self.answer(None).unwrap_or(Err(Error::Closed))
    }

    /// Waits at most `timeout`; `None` where the answer is not there yet.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Result<Accepted>> {
        self.answer(Instant::now().checked_add(timeout))
    }

    /// The answer if it is there, without waiting.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn try_wait(&self) -> Option<Result<Accepted>> {
        self.answer(Some(Instant::now()))
    }
}

impl Future for Receipt {
    type Output = Result<Accepted>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match &self.state {
            State::Ready(durability) => Ok(*durability),
            State::Pending(slot) => {
                let mut answer = slot.lock();
                match &answer.result {
                    Some(result) => result.clone(),
                    None => {
                        if !answer.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                            answer.wakers.push(context.waker().clone());
                        }
                        return Poll::Pending;
                    }
                }
            }
        };
        Poll::Ready(result.map(|durability| self.accepted(durability)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::thread;

    use super::*;

    #[test]
    fn a_receipt_waits_polls_and_learns_of_a_lost_engine() {
        let (promise, slot) = Promise::new();
        let receipt = Receipt::pending(3, 1, slot);
        assert!(receipt.try_wait().is_none());
        assert!(receipt.wait_timeout(Duration::from_millis(5)).is_none());
        let waiter = thread::spawn(move || receipt.wait());
        promise.complete(Ok(Durability::Synced));
        let accepted = waiter.join().unwrap().unwrap();
        let expected = Accepted { samples: 3, refused: 1, durability: Durability::Synced };
        assert_eq!(accepted, expected);

        let (promise, slot) = Promise::new();
        drop(promise);
        assert!(matches!(Receipt::pending(1, 0, slot).wait(), Err(Error::Closed)));
    }

    #[test]
    fn a_receipt_is_a_future_that_wakes_its_task() {
        struct Count(AtomicUsize);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        let mut context = Context::from_waker(&waker);
        let (promise, slot) = Promise::new();
        let mut receipt = Receipt::pending(1, 0, slot);
        assert!(Pin::new(&mut receipt).poll(&mut context).is_pending());
        assert!(Pin::new(&mut receipt).poll(&mut context).is_pending());
        promise.complete(Ok(Durability::Logged));
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(Pin::new(&mut receipt).poll(&mut context).is_ready());
    }
}
