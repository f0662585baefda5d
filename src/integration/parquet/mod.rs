//! Parquet out: what DuckDB, pandas and Spark read without asking icecore. And the archive read again.
//!
//! Owns: the columns ([`Rows`]), one file written, verified and published ([`Table`]), how
//! directories are named ([`partitions`]), the archive made of these ([`ParquetArchive`]), and its files
//! as sources of the engine's queries (`read`). Does not own: which parts go there, and when.
//!
//! Every row has `series` (the whole identity as text, to group and pivot by), `metric`, and
//! `labels` as a map; then `timestamp` and `value`, or the fields of a record. One schema for all
//! files of a kind, whatever labels there are, so that a directory of them reads as one table. Rows
//! are sorted by series, then time. Events have files of their own, one schema a table: `time` and the
//! table's columns, sorted by time.

mod archive;
mod columns;
mod digest;
mod events;
pub mod read;
mod sink;
mod table;
#[cfg(test)]
mod tests;

pub use archive::ParquetArchive;
pub use columns::Rows;
pub use table::{ROW_GROUP_BYTES, Table, Written};

use std::path::PathBuf;

use jiff::civil::Date;

use crate::time::{Tier, TimeRange, Timestamp};

/// The directories, hive-style, that rows of a tier in a range belong to, each with its stretch of
/// the range, ascending: `tier=raw/date=2026-11-23`. Distributions as they were recorded have
/// other columns than samples, and so a tier of their own: `tier=raw-distributions`.
///
/// A directory is a day (UTC) for raw and tiers finer than an hour, a month for tiers finer than a
/// day, a year for the rest, and is named after its first day: files of a few rows serve nobody.
/// The range is cut to the years that a calendar of four digits has.
#[must_use]
pub fn partitions(tier: Tier, rows: Rows, range: TimeRange) -> Vec<(PathBuf, TimeRange)> {
    let name = match rows {
        Rows::Records if tier.is_raw() => format!("tier={tier}-distributions"),
        _ => format!("tier={tier}"),
    };
    let mut stretches = Vec::new();
    let mut start = range.start;
    while start < range.end {
        let Some((first_day, end)) = partition_of(tier, start) else { break };
        let end = end.min(range.end);
        let directory = PathBuf::from(&name).join(format!("date={first_day}"));
        stretches.push((directory, TimeRange::new(start, end)));
        start = end;
    }
    stretches
}

/// As [`partitions`], of a table of events: `table=queries/date=2026-11-23`, a directory a day. What
/// is neither a letter, digit, `.`, `-` nor `_` of the table's name stands as `%` and two digits.
#[must_use]
pub fn event_partitions(table: &str, range: TimeRange) -> Vec<(PathBuf, TimeRange)> {
    let name = encoded_name(table);
    let days = partitions(Tier::RAW, Rows::Samples, range).into_iter();
    let named = days.map(|(path, range)| {
        let day = path.file_name().unwrap_or_default().to_owned();
        (PathBuf::from(format!("table={name}")).join(day), range)
    });
    named.collect()
}

/// A table's name as that of a directory.
fn encoded_name(table: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let piece = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    table.bytes().map(piece).collect()
}

/// The first day of the partition that holds a point, and where the partition ends.
fn partition_of(tier: Tier, point: Timestamp) -> Option<(Date, Timestamp)> {
    let instant = jiff::Timestamp::from_nanosecond(i128::from(point.nanos())).ok()?;
    let day = jiff::tz::Offset::UTC.to_datetime(instant).date();
    let (first, next) = match tier {
        tier if tier < Tier::HOUR => (day, day.tomorrow()),
        tier if tier < Tier::DAY => (day.first_of_month(), day.last_of_month().tomorrow()),
        _ => (day.first_of_year(), day.last_of_year().tomorrow()),
    };
    let midnight = |date: Date| {
        let instant = jiff::tz::Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()?;
        i64::try_from(instant.as_nanosecond()).ok()
    };
    let end = next.ok().and_then(midnight).map_or(Timestamp::MAX, Timestamp);
    Some((first, end))
}
