//! Which files an archive has.

use std::fmt;
use std::path::{Path, PathBuf};

use jiff::civil::Date;

use crate::error::{Error, Result};
use crate::fs::{DirEntry, Fs};
use crate::integration::parquet::partition_of;
use crate::time::{Tier, TimeRange, Timestamp};

/// The part that a file holds rows of; its order is that of the names, which is that of writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartName {
    /// The order of writes: of two files with the same sample the one of higher rank is right.
    pub rank: u64,
    /// The store that it stems from.
    pub store_id: u64,
    /// The part's id there.
    pub part: u64,
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rank, store_id, part } = self;
        write!(f, "{rank:016x}-{store_id:016x}-{part:016x}.parquet")
    }
}

impl PartName {
    /// What a file's name says; `None` of any other.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let mut numbers = name.strip_suffix(".parquet")?.split('-').map(|digits| {
            let plain = digits.len() == 16
                && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            u64::from_str_radix(digits, 16).ok().filter(|_| plain)
        });
        let name =
            Self { rank: numbers.next()??, store_id: numbers.next()??, part: numbers.next()?? };
        numbers.next().is_none().then_some(name)
    }
}

/// A file of the archive.
#[derive(Debug, Clone)]
pub struct Found {
    /// Whose rows it holds.
    pub name: PartName,
    /// Where it is.
    pub path: PathBuf,
    /// What its rows lie in, by the name of its directory.
    pub day: TimeRange,
}

/// The files of one directory `date=...`, ascending by name: in the order of writes.
#[derive(Debug, Clone)]
pub struct Day {
    /// The day, UTC.
    pub range: TimeRange,
    /// Never none.
    pub files: Vec<Found>,
}

/// Names that every reader of such directories passes over: `_SUCCESS`, `.crc` and the like.
fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

fn named(entry: &DirEntry, dir: &Path) -> Result<String> {
    let name = entry.name.to_str().map(str::to_owned);
    name.ok_or_else(|| foreign(dir.join(&entry.name), "a name of UTF-8"))
}

fn foreign(path: PathBuf, expected: &'static str) -> Error {
    Error::Foreign { path, expected }
}

/// The entries of a directory that are not hidden; none where there is no such directory.
pub(super) fn entries(fs: &dyn Fs, dir: &Path) -> Result<Vec<(String, bool)>> {
    if fs.file_bytes(dir)?.is_none() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs.list(dir)? {
        let name = named(&entry, dir)?;
        if !is_hidden(&name) {
            found.push((name, entry.is_dir));
        }
    }
    Ok(found)
}

/// The days below a directory of one kind of rows whose time meets `range`, ascending, each with its
/// files that are `wanted`; those without any left out. Files that are being written, or were when
/// the power went, have a name of their own and are passed over: their part has not left its store.
///
/// # Errors
/// [`Error::Io`]; [`Error::Foreign`] where a directory or file is none that an archive writes.
pub(super) fn days(
    fs: &dyn Fs,
    dir: &Path,
    range: TimeRange,
    wanted: &dyn Fn(&PartName) -> bool,
) -> Result<Vec<Day>> {
    let mut days = Vec::new();
    for (name, is_dir) in entries(fs, dir)? {
        let path = dir.join(&name);
        let day = name.strip_prefix("date=").filter(|_| is_dir).and_then(day);
        let Some(day) = day else {
            return Err(foreign(path, "a directory date=YYYY-MM-DD"));
        };
        if day.start >= range.end || day.end <= range.start {
            continue;
        }
        let mut files = Vec::new();
        for (name, is_dir) in entries(fs, &path)? {
            let building = name.strip_suffix(".tmp").and_then(PartName::parse).is_some();
            match PartName::parse(&name).filter(|_| !is_dir) {
                Some(of) if wanted(&of) => {
                    files.push(Found { name: of, path: path.join(&name), day });
                }
                Some(_) => {}
                None if building && !is_dir => {}
                None => return Err(foreign(path.join(&name), "an archived part's file")),
            }
        }
        files.sort_unstable_by_key(|file| file.name);
        if !files.is_empty() {
            days.push(Day { range: day, files });
        }
    }
    days.sort_unstable_by_key(|day| day.range.start);
    Ok(days)
}

/// What a date of a directory's name stands for: a day, whole but at the ends of time.
fn day(date: &str) -> Option<TimeRange> {
    let parsed: Date = date.parse().ok().filter(|parsed: &Date| parsed.to_string() == date)?;
    let midnight = jiff::tz::Offset::UTC.to_timestamp(parsed.at(0, 0, 0, 0)).ok()?;
    let start = i64::try_from(midnight.as_nanosecond()).ok();
    // The first day of all begins before what can be told in nanoseconds.
    let start = Timestamp(start.unwrap_or(i64::MIN));
    let (first, end) = partition_of(Tier::RAW, start)?;
    (first == parsed).then(|| TimeRange::new(start, end))
}

/// The text that a directory's name stands for: `%` and two digits are a byte.
pub(super) fn plain_name(encoded: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let name = PartName { rank: 1, store_id: u64::MAX, part: 0xab };
        assert_eq!(PartName::parse(&name.to_string()), Some(name));
        for other in [
            "1-2-3.parquet",
            "0000000000000001-ffffffffffffffff.parquet",
            "0000000000000001-ffffffffffffffff-00000000000000AB.parquet",
            "0000000000000001-ffffffffffffffff-00000000000000ab.parquet.tmp",
            "0000000000000001-ffffffffffffffff-00000000000000ab-0000000000000000.parquet",
        ] {
            assert_eq!(PartName::parse(other), None, "{other}");
        }
        let path = crate::integration::parquet::event_partitions(
            "my queries/ä",
            TimeRange::new(Timestamp(0), Timestamp(1)),
        );
        let dir = path[0].0.parent().unwrap().to_str().unwrap().to_owned();
        assert_eq!(plain_name(dir.strip_prefix("table=").unwrap()).unwrap(), "my queries/ä");
        assert_eq!(plain_name("a%2"), None);
        assert_eq!(plain_name("a%ff"), None);
    }

    #[test]
    fn a_day_is_what_its_directory_was_made_for() {
        for range in [TimeRange::ALL, TimeRange::new(Timestamp(-1), Timestamp(1))] {
            let all = crate::integration::parquet::partitions(
                Tier::RAW,
                crate::integration::parquet::Rows::Samples,
                range,
            );
            for (path, within) in [&all[0], &all[all.len() - 1]] {
                let name = path.file_name().unwrap().to_str().unwrap();
                let day = day(name.strip_prefix("date=").unwrap()).unwrap();
                assert!(day.start <= within.start && within.end <= day.end, "{name}: {day:?}");
            }
        }
        for other in ["1970-1-1", "1970-02-30", "19700101", "9999-12-31", ""] {
            assert_eq!(day(other), None, "{other}");
        }
    }
}
