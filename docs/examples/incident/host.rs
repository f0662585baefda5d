//! The engine: a handful of federated queries, each planned by hand, filtered, joined and summed here,
//! and followed by guards of the monitor.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use icecore::monitor::{
    CallGuard, FederationMonitor, Phase, QueryGuard, QueryHandle, QueryStart, Source,
};
use rand::RngExt;
use rand::rngs::StdRng;
use rusqlite::Connection;

use crate::Result;
use crate::data::{COUNTRIES, DAYS, day, one_of};
use crate::sources::{self, Answer, Customer, Trouble};

/// What a query on the stock waits for it.
const PATIENCE: Duration = Duration::from_millis(400);
/// How long customers stay in the host's cache.
const FRESH: Duration = Duration::from_millis(700);

pub(crate) struct Host {
    monitor: FederationMonitor,
    orders: Source,
    customers: Source,
    visits: Source,
    stock: Source,
    dir: PathBuf,
    server: SocketAddr,
    cached: Mutex<Option<(Instant, Vec<Customer>)>>,
}

impl Host {
    pub(crate) fn new(monitor: FederationMonitor, dir: &Path, server: SocketAddr) -> Self {
        Self {
            orders: monitor.source("orders"),
            customers: monitor.source("customers"),
            visits: monitor.source("visits"),
            stock: monitor.source("stock"),
            monitor,
            dir: dir.to_owned(),
            server,
            cached: Mutex::new(None),
        }
    }

    pub(crate) fn close(self) -> Result<()> {
        Ok(self.monitor.close()?)
    }

    /// A connection to the orders, one a thread.
    pub(crate) fn connect(&self) -> Result<Connection, Trouble> {
        sources::open_orders(&self.dir.join("orders.db"))
    }

    /// One query of the mix, from start to end.
    pub(crate) fn query(
        &self,
        orders: &Connection,
        random: &mut StdRng,
    ) -> std::result::Result<(), Trouble> {
        let on = day(random.random_range(0..DAYS));
        let country = one_of(&COUNTRIES, random);
        match random.random_range(0..10) {
            0..4 => self.run("shop", &revenue_sql(&on), |query| self.revenue(query, orders, &on)),
            4..8 => self.run("shop", &stock_sql(&on), |query| self.sold_out(query, orders, &on)),
            _ => self.run("marketing", &visits_sql(country, &on), |query| {
                self.slow_pages(query, country, &on)
            }),
        }
    }

    /// Follows a query: its phases inside, its end here.
    fn run(
        &self,
        tenant: &str,
        sql: &str,
        execute: impl FnOnce(&QueryHandle) -> Result<u64, Trouble>,
    ) -> Result<(), Trouble> {
        let query = self.start(tenant, "", sql);
        drop(query.phase(Phase::Plan));
        match execute(&query) {
            Ok(rows) => {
                query.add_rows_out(rows);
                query.finish();
                Ok(())
            }
            Err(trouble) => {
                match &trouble {
                    Trouble::Late => query.time_out(),
                    Trouble::Interrupted => query.cancel(),
                    other => query.fail(other.class()),
                }
                Err(trouble)
            }
        }
    }

    fn start(&self, tenant: &str, user: &str, sql: &str) -> QueryGuard {
        self.monitor.start_query(QueryStart { text: sql, tenant, user, ..QueryStart::default() })
    }

    /// Revenue by country: orders and customers are read at once, and joined here.
    fn revenue(&self, query: &QueryHandle, orders: &Connection, on: &str) -> Result<u64, Trouble> {
        let phase = query.phase(Phase::Execute);
        let (sold, countries) = std::thread::scope(|scope| {
            let countries = scope.spawn(|| self.countries(query));
            let sold = followed(query.call(&self.orders), || {
                let sql = "SELECT customer, cents FROM orders WHERE day = ?";
                sources::orders(orders, sql, [on], |row| {
                    Ok((row.get::<_, u32>(0)?, row.get::<_, u32>(1)?))
                })
            });
            (sold, countries.join().unwrap_or(Err(Trouble::Other("panic"))))
        });
        let (sold, countries) = (sold?, countries?);
        drop(phase);
        let _stream = query.phase(Phase::Stream);
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for (customer, cents) in &sold.rows {
            if let Some(country) = countries.get(customer) {
                *sums.entry(country).or_default() += u64::from(*cents);
            }
        }
        Ok(sums.len() as u64)
    }

    /// Each customer's country: from the cache, or from the file.
    fn countries(&self, query: &QueryHandle) -> Result<HashMap<u32, String>, Trouble> {
        let call = query.call(&self.customers);
        let known = self.cached.lock().map_err(|_| Trouble::Other("panic"))?;
        let fresh = known.as_ref().filter(|(since, _)| since.elapsed() < FRESH);
        if let Some((_, customers)) = fresh {
            let found = customers.iter().map(|c| (c.id, c.country.clone())).collect();
            call.cache_hit();
            call.finish();
            return Ok(found);
        }
        drop(known);
        call.cache_miss();
        let read =
            followed(call, || sources::customers(&self.dir.join("customers.csv"), |_| true))?;
        let found = read.rows.iter().map(|c| (c.id, c.country.clone())).collect();
        *self.cached.lock().map_err(|_| Trouble::Other("panic"))? =
            Some((Instant::now(), read.rows));
        Ok(found)
    }

    /// What sold best that day, and of it what is nearly gone: first the orders, then the stock.
    fn sold_out(&self, query: &QueryHandle, orders: &Connection, on: &str) -> Result<u64, Trouble> {
        let _execute = query.phase(Phase::Execute);
        let best = followed(query.call(&self.orders), || {
            let sql = "SELECT product, count(*) FROM orders WHERE day = ?
                       GROUP BY product ORDER BY 2 DESC LIMIT 20";
            sources::orders(orders, sql, [on], |row| row.get::<_, u32>(0))
        })?;
        let left = followed(query.call(&self.stock), || {
            sources::stock(self.server, &best.rows, PATIENCE)
        })?;
        Ok(left.rows.iter().filter(|(_, left)| *left < 5).count() as u64)
    }

    /// Pages that were slow for a country's business customers.
    fn slow_pages(&self, query: &QueryHandle, country: &str, on: &str) -> Result<u64, Trouble> {
        let _execute = query.phase(Phase::Execute);
        let visits = followed(query.call(&self.visits), || {
            sources::visits(&self.dir.join("visits.jsonl"), |visit| {
                visit.ms > 800 && *visit.day >= *on
            })
        })?;
        let customers = followed(query.call(&self.customers), || {
            let file = self.dir.join("customers.csv");
            sources::customers(&file, |c| c.country == country && c.segment == "business")
        })?;
        let wanted: HashMap<u32, &Customer> =
            customers.rows.iter().map(|customer| (customer.id, customer)).collect();
        let mut pages: BTreeMap<&str, (u32, u64)> = BTreeMap::new();
        for visit in visits.rows.iter().filter(|visit| wanted.contains_key(&visit.customer)) {
            let page = pages.entry(&visit.page).or_default();
            *page = (page.0 + 1, page.1 + u64::from(visit.ms));
        }
        Ok(pages.values().filter(|(count, ms)| *ms / u64::from(*count) > 1_000).count() as u64)
    }

    /// A query that would take minutes, called off after a while.
    pub(crate) fn explore(&self, patience: Duration) -> Result<(), Trouble> {
        let orders = self.connect()?;
        let interrupt = orders.get_interrupt_handle();
        let sql = "SELECT count(*) FROM orders a, orders b WHERE a.cents < b.cents";
        let query = self.start("notebook", "ada", sql);
        let over = AtomicBool::new(false);
        let ended = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(patience);
                // Again, should the statement not have begun the first time.
                while !over.load(Ordering::Relaxed) {
                    interrupt.interrupt();
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            let call = query.call(&self.orders);
            let found = sources::orders(&orders, sql, [], |row| row.get::<_, i64>(0));
            over.store(true, Ordering::Relaxed);
            match found {
                Err(Trouble::Interrupted) => {
                    call.cancel();
                    Err(Trouble::Interrupted)
                }
                other => {
                    call.finish();
                    other.map(drop)
                }
            }
        });
        match ended {
            Err(Trouble::Interrupted) => query.cancel(),
            Err(other) => query.fail(other.class()),
            Ok(()) => query.finish(),
        }
        Ok(())
    }

    /// A client that hangs up while rows leave: nobody says how its query ended.
    pub(crate) fn hang_up(&self) -> Result<(), Trouble> {
        let query = self.start("shop", "", "SELECT * FROM visits");
        let visits = followed(query.call(&self.visits), || {
            sources::visits(&self.dir.join("visits.jsonl"), |_| true)
        })?;
        let _stream = query.phase(Phase::Stream);
        query.add_rows_out(visits.rows.len() as u64 / 3);
        Ok(())
    }
}

/// Follows one call: how it ended, rows and bytes.
fn followed<T>(
    call: CallGuard,
    ask: impl FnOnce() -> Result<Answer<T>, Trouble>,
) -> Result<Answer<T>, Trouble> {
    call.request();
    match ask() {
        Ok(answer) => {
            call.add_rows(answer.rows.len() as u64);
            call.add_bytes(answer.bytes);
            call.finish();
            Ok(answer)
        }
        Err(trouble) => {
            match &trouble {
                Trouble::Late => call.time_out(),
                Trouble::Interrupted => call.cancel(),
                other => call.fail(other.class()),
            }
            Err(trouble)
        }
    }
}

fn revenue_sql(on: &str) -> String {
    format!(
        "SELECT c.country, sum(o.cents) FROM orders o JOIN customers c ON o.customer = c.id \
         WHERE o.day = '{on}' GROUP BY c.country"
    )
}

fn stock_sql(on: &str) -> String {
    format!(
        "SELECT o.product, s.left FROM (SELECT product, count(*) AS sold FROM orders \
         WHERE day = '{on}' GROUP BY product ORDER BY sold DESC LIMIT 20) o \
         JOIN stock s ON s.product = o.product WHERE s.left < 5"
    )
}

fn visits_sql(country: &str, on: &str) -> String {
    format!(
        "SELECT v.page, avg(v.ms) FROM visits v JOIN customers c ON v.customer = c.id \
         WHERE c.country = '{country}' AND c.segment = 'business' AND v.ms > 800 \
         AND v.day >= '{on}' GROUP BY v.page HAVING avg(v.ms) > 1000"
    )
}
