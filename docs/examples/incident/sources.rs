//! How each source is asked, and what may go wrong. Rows come back in the host's own shape; nothing
//! here knows of the monitor.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, Params, Row};
use serde::Deserialize;

/// What went wrong.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Another holds the database.
    Busy,
    /// Somebody called it off.
    Interrupted,
    /// No answer in time.
    Late,
    /// Anything else, with a word for the class.
    Other(&'static str),
}

impl Trouble {
    pub(crate) fn class(&self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Interrupted => "interrupted",
            Self::Late => "late",
            Self::Other(class) => class,
        }
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::OperationInterrupted) => Self::Interrupted,
            _ => Self::Other("sql"),
        }
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            // Which of the two a timeout is depends on the system.
            std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock => Self::Late,
            _ => Self::Other("io"),
        }
    }
}

/// Rows, and the bytes that they were read from.
pub(crate) struct Answer<T> {
    pub(crate) rows: Vec<T>,
    pub(crate) bytes: u64,
}

/// A connection to the orders that does not wait for a lock.
pub(crate) fn open_orders(file: &Path) -> Result<Connection, Trouble> {
    let orders = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    orders.busy_timeout(Duration::ZERO)?;
    Ok(orders)
}

pub(crate) fn orders<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
    mut row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Answer<T>, Trouble> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(parameters, |found| row(found))?;
    let rows: Vec<T> = rows.collect::<rusqlite::Result<_>>()?;
    let bytes = (rows.len() * size_of::<T>()) as u64;
    Ok(Answer { rows, bytes })
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Customer {
    pub(crate) id: u32,
    pub(crate) country: String,
    pub(crate) segment: String,
}

pub(crate) fn customers(
    file: &Path,
    wanted: impl Fn(&Customer) -> bool,
) -> Result<Answer<Customer>, Trouble> {
    let bytes = file.metadata()?.len();
    let mut reader = csv::Reader::from_path(file).map_err(|_| Trouble::Other("csv"))?;
    let rows = reader.deserialize().filter(|row| row.as_ref().map_or(true, &wanted));
    let rows = rows.collect::<Result<_, _>>().map_err(|_| Trouble::Other("csv"))?;
    Ok(Answer { rows, bytes })
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Visit {
    pub(crate) customer: u32,
    pub(crate) page: String,
    pub(crate) day: String,
    pub(crate) ms: u32,
}

pub(crate) fn visits(
    file: &Path,
    wanted: impl Fn(&Visit) -> bool,
) -> Result<Answer<Visit>, Trouble> {
    let (mut rows, mut bytes) = (Vec::new(), 0);
    for line in BufReader::new(File::open(file)?).lines() {
        let line = line?;
        bytes += line.len() as u64 + 1;
        let visit: Visit = serde_json::from_str(&line).map_err(|_| Trouble::Other("json"))?;
        rows.extend(wanted(&visit).then_some(visit));
    }
    Ok(Answer { rows, bytes })
}

/// How many of each product are left; [`Trouble::Late`] where that is not known in time.
pub(crate) fn stock(
    server: SocketAddr,
    products: &[u32],
    within: Duration,
) -> Result<Answer<(u32, u32)>, Trouble> {
    let until = Instant::now() + within;
    let left = || until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let mut connection = TcpStream::connect_timeout(&server, left())?;
    let products: Vec<String> = products.iter().map(u32::to_string).collect();
    write!(
        connection,
        "GET /stock?products={} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n",
        products.join(",")
    )?;
    connection.set_read_timeout(Some(left()))?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(Trouble::Other("http"))?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(Trouble::Other("http"));
    }
    let rows: Vec<HashMap<String, u32>> =
        serde_json::from_str(body).map_err(|_| Trouble::Other("json"))?;
    let rows = rows.iter().filter_map(|row| Some((*row.get("product")?, *row.get("left")?)));
    Ok(Answer { rows: rows.collect(), bytes: answer.len() as u64 })
}
