//! `Alerts`: what a host holds, and the thread that evaluates.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};

use super::board::{Alert, Board, Entry, Group, Telling};
use super::delivery::{Delivery, DeliveryCounts};
use super::measure::{Moment, measure};
use super::memory::Memory;
use super::notify::Notifier;
use super::rule::Rule;
use super::silence::{Silence, SilenceId};
use super::state::State;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::time::Timestamp;

/// Alerts that were resolved while delivery had no room; further ones are not told.
const POSTPONED_MAX: usize = 1000;

/// Between two evaluations, at least.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// How rules are evaluated, and how people are told.
#[derive(Debug, Clone)]
pub struct AlertOptions {
    /// Between two evaluations. 15 s.
    pub interval: Duration,
    /// Between two notifications of an alert that goes on firing. 4 h.
    pub repeat_every: Duration,
    /// Labels by whose values alerts are told together; `alert` is the rule's name. By default just
    /// that.
    pub group_by: Vec<String>,
    /// How long the queries of one rule may take. 10 s.
    pub timeout: Duration,
    /// How far back states and silences are looked for at the start. 30 days.
    pub remember: Duration,
}

impl Default for AlertOptions {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(15),
            repeat_every: Duration::from_secs(4 * 3600),
            group_by: vec!["alert".to_owned()],
            timeout: Duration::from_secs(10),
            remember: Duration::from_secs(30 * 86_400),
        }
    }
}

/// What both sides share.
#[derive(Debug)]
struct Shared {
    engine: Arc<Engine>,
    rules: Vec<Rule>,
    board: Mutex<Board>,
    memory: Mutex<Memory>,
    failures: AtomicU64,
    /// The latest failure to evaluate, and of which rule.
    failure: Mutex<Option<(String, Error)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these locks guard is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
enum Order {
    Evaluate(Sender<()>),
}

/// Rules under evaluation. Dropping it stops it; states stay in the store.
#[derive(Debug)]
pub struct Alerts {
    shared: Arc<Shared>,
    delivery: Arc<Delivery>,
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Alerts {
    /// Evaluates `rules` from now on, beginning where an earlier run of them left their alerts, and
    /// tells `notifiers`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`], [`Error::InvalidName`] where a rule makes no sense or two have one
    /// name; [`Error::InvalidOption`] where the interval is shorter than 10 ms;
    /// [`Error::ReadOnly`] and the like; [`Error::Io`] where there are no threads to be had.
    pub fn start(
        engine: Arc<Engine>,
        rules: Vec<Rule>,
        notifiers: Vec<Box<dyn Notifier>>,
        options: AlertOptions,
    ) -> Result<Self> {
        if options.interval < INTERVAL_MIN {
            let reason = format!("{:?} is shorter than {INTERVAL_MIN:?}", options.interval);
            return Err(Error::InvalidOption { option: "alert interval", reason });
        }
        for (number, rule) in rules.iter().enumerate() {
            rule.check()?;
            if rules.iter().skip(number + 1).any(|other| other.name == rule.name) {
                let reason = format!("{:?} is the name of two", rule.name);
                return Err(Error::InvalidArgument { what: "alert rule", reason });
            }
        }
        let mut memory = Memory::new(&engine);
        let since = engine.now().saturating_sub(options.remember);
        let board = memory.restore(&engine, &rules, since)?;
        let repeat_every: Vec<Duration> = notifiers
            .iter()
            .map(|notifier| notifier.repeat_every().unwrap_or(options.repeat_every))
            .collect();
        let delivery = Arc::new(Delivery::start(notifiers)?);
        let shared = Arc::new(Shared {
            engine,
            rules,
            board: Mutex::new(board),
            memory: Mutex::new(memory),
            failures: AtomicU64::new(0),
            failure: Mutex::new(None),
        });
        let (orders, taken) = unbounded();
        let evaluator = Evaluator {
            shared: Arc::clone(&shared),
            delivery: Arc::clone(&delivery),
            options,
            repeat_every,
            postponed: Vec::new(),
        };
        let thread = std::thread::Builder::new()
            .name("icecore-alerts".to_owned())
            .spawn(move || evaluator.run(&taken))
            .map_err(|error| Error::io("start a thread for", "icecore-alerts", error))?;
        Ok(Self { shared, delivery, orders: Some(orders), thread: Some(thread) })
    }

    /// Alerts that are pending or fire, by rule and group.
    #[must_use]
    pub fn active(&self) -> Vec<Alert> {
        lock(&self.shared.board).active(&self.shared.rules, self.shared.engine.now())
    }

    /// Evaluates now, and waits for it.
    ///
    /// # Errors
    /// [`Error::Closed`] where the thread has ended; the failure of a rule is told by
    /// [`failure`](Self::failure).
    pub fn evaluate(&self) -> Result<()> {
        let (answer, answered) = bounded(1);
        let sent =
            self.orders.as_ref().is_some_and(|orders| orders.send(Order::Evaluate(answer)).is_ok());
        if !sent {
            return Err(Error::Closed);
        }
        answered.recv().map_err(|_| Error::Closed)
    }

    /// Silences alerts; survives restarts.
    ///
    /// # Errors
    /// [`Error::Limit`] where there are 1,000; [`Error::InvalidArgument`] where the selector's text
    /// is longer than a label's value may be; what prevents writing.
    pub fn silence(&self, silence: Silence) -> Result<SilenceId> {
        let mut board = lock(&self.shared.board);
        let now = self.shared.engine.now();
        board.silences.expire(now);
        let id = board.silences.add(silence.clone())?;
        let written = lock(&self.shared.memory).write_silence(id, &silence, false, now);
        written.inspect_err(|_| drop(board.silences.lift(id)))?;
        Ok(id)
    }

    /// Ends a silence before its time; says whether there was one.
    ///
    /// # Errors
    /// What prevents writing.
    pub fn lift(&self, id: SilenceId) -> Result<bool> {
        let lifted = lock(&self.shared.board).silences.lift(id);
        let Some(silence) = lifted else { return Ok(false) };
        let now = self.shared.engine.now();
        lock(&self.shared.memory).write_silence(id, &silence, true, now)?;
        Ok(true)
    }

    /// The silences that are not over, by id.
    #[must_use]
    pub fn silences(&self) -> Vec<(SilenceId, Silence)> {
        let mut board = lock(&self.shared.board);
        board.silences.expire(self.shared.engine.now());
        board.silences.all()
    }

    /// What became of notifications.
    #[must_use]
    pub fn deliveries(&self) -> DeliveryCounts {
        self.delivery.counts()
    }

    /// How often a rule could not be evaluated: its alerts stay as they are then.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.shared.failures.load(Ordering::Relaxed)
    }

    /// The latest such failure, with the rule's name.
    #[must_use]
    pub fn failure(&self) -> Option<(String, Error)> {
        lock(&self.shared.failure).clone()
    }

    /// Groups that were left out because their rule had 1,000 alerts.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        lock(&self.shared.board).left_out
    }

    /// Stops evaluating, and waits until what was to be told is told or failed.
    ///
    /// # Errors
    /// [`Error::Panicked`].
    pub fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        self.orders = None;
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let message = "see the panic's own message".to_owned();
        thread.join().map_err(|_| Error::Panicked { thread: "alerts", message })
    }
}

impl Drop for Alerts {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.end();
    }
}

/// The thread that evaluates.
#[derive(Debug)]
struct Evaluator {
    shared: Arc<Shared>,
    delivery: Arc<Delivery>,
    options: AlertOptions,
    repeat_every: Vec<Duration>,
    /// Resolved while delivery was crowded.
    postponed: Vec<(usize, Group, Entry)>,
}

impl Evaluator {
    fn run(mut self, orders: &Receiver<Order>) {
        loop {
            match orders.recv_timeout(self.options.interval) {
                Ok(Order::Evaluate(answer)) => {
                    self.round();
                    // Who asked may have gone.
                    let _ = answer.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.round(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Measures every rule, moves its alerts, writes where they stand, and tells.
    fn round(&mut self) {
        let now = self.shared.engine.now();
        let mut resolved = std::mem::take(&mut self.postponed);
        let shared = Arc::clone(&self.shared);
        for (number, rule) in shared.rules.iter().enumerate() {
            let at = Moment { now, deadline: Instant::now().checked_add(self.options.timeout) };
            match measure(&shared.engine, &rule.measure, at) {
                Ok(measured) => {
                    let over = lock(&shared.board).step(number, rule, measured, now);
                    let over = over.into_iter().map(|(group, entry)| (number, group, entry));
                    resolved.extend(over);
                }
                Err(error) => self.note(&rule.name, error),
            }
        }
        self.remember(&resolved, now);
        if self.delivery.is_crowded() {
            resolved.truncate(POSTPONED_MAX);
            self.postponed = resolved;
            return;
        }
        let telling =
            Telling { group_by: &self.options.group_by, repeat_every: &self.repeat_every };
        let told = {
            let mut board = lock(&shared.board);
            board.silences.expire(now);
            board.tell(&shared.rules, &resolved, &telling, now)
        };
        told.into_iter().for_each(|told| self.delivery.tell(told));
    }

    /// Writes where alerts stand, before anybody is told: who is told twice is better off than who
    /// is never told.
    fn remember(&self, resolved: &[(usize, Group, Entry)], now: Timestamp) {
        let active: Vec<(usize, Group, State)> = {
            let board = lock(&self.shared.board);
            board.entries().map(|(number, group, state)| (number, group.clone(), *state)).collect()
        };
        let over =
            resolved.iter().map(|(number, group, _)| (*number, group.clone(), State::Inactive));
        let mut memory = lock(&self.shared.memory);
        for (number, group, state) in over.chain(active) {
            let Some(rule) = self.shared.rules.get(number) else { continue };
            if let Err(error) = memory.write((number, rule, &group), state, now) {
                self.note(&rule.name, error);
            }
        }
    }

    fn note(&self, rule: &str, error: Error) {
        self.shared.failures.fetch_add(1, Ordering::Relaxed);
        *lock(&self.shared.failure) = Some((rule.to_owned(), error));
    }
}
