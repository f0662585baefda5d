//! What goes wrong when, and the half minute in which it does.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use icecore::{TimeRange, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rusqlite::Connection;

use crate::Result;
use crate::host::Host;
use crate::sources::Trouble;

/// Times since the beginning, ms: from, to.
type Stretch = (u64, u64);

const WORKERS: u64 = 4;
const ALL_MS: u64 = 28_000;
/// The stock answers 150 to 450 ms later than it does otherwise.
const STOCK_IS_SLOW: Stretch = (6_000, 11_000);
/// Another writes to the orders, and holds them most of the time.
const ORDERS_ARE_LOCKED: Stretch = (15_000, 18_000);
/// Somebody at a notebook tries something, and calls it off after [`PATIENCE`].
const CANCELLING: Stretch = (21_000, 23_000);
const CANCELLED: u64 = 10;
const PATIENCE: Duration = Duration::from_millis(120);
/// A client hangs up.
const HANGING_UP: Stretch = (25_000, 26_500);
const HUNG_UP: u64 = 8;

pub(crate) struct Faults {
    began: Instant,
    began_at: Timestamp,
    random: Mutex<StdRng>,
}

/// What was met, counted by the host's own hand.
#[derive(Debug)]
pub(crate) struct Happened {
    pub(crate) busy: u64,
    pub(crate) late: u64,
    pub(crate) cancelled: u64,
    pub(crate) abandoned: u64,
    /// When each fault was, by the clock on the wall.
    pub(crate) stock_is_slow: TimeRange,
    pub(crate) orders_are_locked: TimeRange,
    pub(crate) cancelling: TimeRange,
    pub(crate) hanging_up: TimeRange,
}

#[derive(Debug, Default)]
struct Counts {
    busy: AtomicU64,
    late: AtomicU64,
}

impl Faults {
    pub(crate) fn starting_now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            began: Instant::now(),
            began_at: Timestamp(since.as_nanos() as i64),
            random: Mutex::new(StdRng::seed_from_u64(5)),
        }
    }

    pub(crate) fn describe() -> String {
        let at = |(from, to): Stretch| format!("{:>4.1} to {:>4.1} s", seconds(from), seconds(to));
        format!(
            "{:.0} s of queries on {WORKERS} threads. What goes wrong, unknown to the monitor:\n  \
             {}  the stock answers slowly\n  {}  the orders are locked\n  \
             {}  somebody calls queries off\n  {}  clients hang up",
            seconds(ALL_MS),
            at(STOCK_IS_SLOW),
            at(ORDERS_ARE_LOCKED),
            at(CANCELLING),
            at(HANGING_UP)
        )
    }

    fn elapsed_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn within(&self, (from, to): Stretch) -> bool {
        (from..to).contains(&self.elapsed_ms())
    }

    fn wait_until(&self, ms: u64) {
        std::thread::sleep(Duration::from_millis(ms.saturating_sub(self.elapsed_ms())));
    }

    fn on_the_wall(&self, (from, to): Stretch) -> TimeRange {
        let at = |ms| self.began_at.saturating_add(Duration::from_millis(ms));
        TimeRange::new(at(from), at(to))
    }

    /// What the server waits before it answers.
    pub(crate) fn delay_of_stock(&self) -> Duration {
        if !self.within(STOCK_IS_SLOW) {
            return Duration::ZERO;
        }
        let mut random = self.random.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        Duration::from_millis(random.random_range(150..450))
    }
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1e3
}

/// Runs the workload and the faults; returns when all of it is over.
pub(crate) fn live_through(faults: &Faults, host: &Host, orders: &Path) -> Result<Happened> {
    let counts = Counts::default();
    std::thread::scope(|scope| -> Result<()> {
        let counts = &counts;
        let mut threads = Vec::new();
        for worker in 0..WORKERS {
            threads.push(scope.spawn(move || work(worker, faults, host, counts)));
        }
        threads.push(scope.spawn(|| lock(faults, orders)));
        threads.push(scope.spawn(|| cancel(faults, host)));
        threads.push(scope.spawn(|| hang_up(faults, host)));
        threads.into_iter().try_for_each(|thread| {
            thread.join().map_err(|_| "a thread of the workload panicked")?
        })
    })?;
    Ok(Happened {
        busy: counts.busy.into_inner(),
        late: counts.late.into_inner(),
        cancelled: CANCELLED,
        abandoned: HUNG_UP,
        stock_is_slow: faults.on_the_wall(STOCK_IS_SLOW),
        orders_are_locked: faults.on_the_wall(ORDERS_ARE_LOCKED),
        cancelling: faults.on_the_wall(CANCELLING),
        hanging_up: faults.on_the_wall(HANGING_UP),
    })
}

/// A client: a query, a moment's thought, the next query.
fn work(worker: u64, faults: &Faults, host: &Host, counts: &Counts) -> Result<()> {
    let mut random = StdRng::seed_from_u64(worker);
    let orders = host.connect().map_err(|_| "the orders cannot be opened")?;
    while faults.elapsed_ms() < ALL_MS {
        match host.query(&orders, &mut random) {
            Ok(()) => {}
            Err(Trouble::Busy) => drop(counts.busy.fetch_add(1, Ordering::Relaxed)),
            Err(Trouble::Late) => drop(counts.late.fetch_add(1, Ordering::Relaxed)),
            Err(other) => return Err(format!("a query failed: {}", other.class()).into()),
        }
        std::thread::sleep(Duration::from_millis(random.random_range(10..50)));
    }
    Ok(())
}

/// Holds the orders for itself, with short breaks.
fn lock(faults: &Faults, orders: &Path) -> Result<()> {
    let orders = Connection::open(orders)?;
    orders.busy_timeout(Duration::from_secs(1))?;
    faults.wait_until(ORDERS_ARE_LOCKED.0);
    while faults.within(ORDERS_ARE_LOCKED) {
        orders.execute_batch("BEGIN EXCLUSIVE")?;
        std::thread::sleep(Duration::from_millis(120));
        orders.execute_batch("ROLLBACK")?;
        std::thread::sleep(Duration::from_millis(40));
    }
    Ok(())
}

fn cancel(faults: &Faults, host: &Host) -> Result<()> {
    let (from, to) = CANCELLING;
    for number in 0..CANCELLED {
        faults.wait_until(from + number * (to - from) / CANCELLED);
        host.explore(PATIENCE).map_err(|trouble| format!("exploring: {}", trouble.class()))?;
    }
    Ok(())
}

fn hang_up(faults: &Faults, host: &Host) -> Result<()> {
    let (from, to) = HANGING_UP;
    for number in 0..HUNG_UP {
        faults.wait_until(from + number * (to - from) / HUNG_UP);
        host.hang_up().map_err(|trouble| format!("visits: {}", trouble.class()))?;
    }
    Ok(())
}
