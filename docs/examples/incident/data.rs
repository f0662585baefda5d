//! Files and a database with something in them: a shop's orders, customers and visits.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use crate::Result;

const SEED: u64 = 2026;
pub(crate) const ORDERS: u32 = 60_000;
pub(crate) const CUSTOMERS: u32 = 4_000;
pub(crate) const VISITS: u32 = 8_000;
pub(crate) const PRODUCTS: u32 = 500;
/// Days that orders and visits fall on.
pub(crate) const DAYS: u32 = 60;
pub(crate) const COUNTRIES: [&str; 6] = ["DE", "FR", "IT", "PL", "SE", "US"];
pub(crate) const PAGES: [&str; 5] = ["/", "/search", "/product", "/basket", "/pay"];

/// How much was made.
pub(crate) struct Rows {
    pub(crate) orders: u32,
    pub(crate) customers: u32,
    pub(crate) visits: u32,
    pub(crate) products: u32,
}

/// `2026-09-01` and on.
pub(crate) fn day(number: u32) -> String {
    format!("2026-{:02}-{:02}", 9 + number / 30, 1 + number % 30)
}

pub(crate) fn one_of(names: &[&'static str], random: &mut StdRng) -> &'static str {
    names.choose(random).copied().unwrap_or_default()
}

pub(crate) fn make(dir: &Path) -> Result<Rows> {
    let mut random = StdRng::seed_from_u64(SEED);
    let mut orders = rusqlite::Connection::open(dir.join("orders.db"))?;
    orders.execute_batch(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER, product INTEGER,
                              day TEXT, cents INTEGER);
         CREATE INDEX by_day ON orders (day);",
    )?;
    let rows = orders.transaction()?;
    {
        let mut insert = rows.prepare("INSERT INTO orders VALUES (?, ?, ?, ?, ?)")?;
        for id in 0..ORDERS {
            // Some products are bought far more often than others.
            let product = (f64::from(PRODUCTS) * random.random::<f64>().powi(3)) as u32;
            let (customer, on) = (random.random_range(0..CUSTOMERS), random.random_range(0..DAYS));
            let cents = random.random_range(199..20_000);
            insert.execute((id, customer, product, day(on), cents))?;
        }
    }
    rows.commit()?;

    let mut customers = csv::Writer::from_path(dir.join("customers.csv"))?;
    customers.write_record(["id", "country", "segment"])?;
    for id in 0..CUSTOMERS {
        let country = one_of(&COUNTRIES, &mut random);
        let segment = if random.random_bool(0.2) { "business" } else { "private" };
        customers.write_record([&id.to_string(), country, segment])?;
    }
    customers.flush()?;

    let mut visits = BufWriter::new(File::create(dir.join("visits.jsonl"))?);
    for _ in 0..VISITS {
        let visit = serde_json::json!({
            "customer": random.random_range(0..CUSTOMERS),
            "page": one_of(&PAGES, &mut random),
            "day": day(random.random_range(0..DAYS)),
            "ms": random.random_range(5..2_000),
        });
        writeln!(visits, "{visit}")?;
    }
    visits.flush()?;
    Ok(Rows { orders: ORDERS, customers: CUSTOMERS, visits: VISITS, products: PRODUCTS })
}
