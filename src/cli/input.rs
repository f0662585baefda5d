//! Inputs: files or stdin, compressed or not, in a format that shows itself.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use clap::ValueEnum;
use indicatif::ProgressBar;

use super::{Failure, progress};
use crate::integration::csv::CsvReader;
use crate::integration::exposition::{Dialect, ExpositionReader};
use crate::integration::jsonl::JsonlReader;
use crate::integration::{SampleReader, notation};
use crate::model::Series;
use crate::time::Timestamp;

/// What is looked at to tell a format, bytes.
const PEEK_BYTES: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Told from the file's name, else from its first line
    Auto,
    /// Prometheus text, timestamps in milliseconds
    Prometheus,
    /// OpenMetrics text, timestamps in seconds
    Openmetrics,
    /// timestamp,value or timestamp,series,value
    Csv,
    /// A JSON object a line
    Jsonl,
}

/// How inputs are read that do not say everything themselves.
pub(super) struct Reading {
    pub(super) format: Format,
    /// The series of CSV without a series column.
    pub(super) series: Option<Series>,
    /// Stands in on lines of exposition text without a timestamp.
    pub(super) timestamp: Option<Timestamp>,
}

/// Opens a file (`-` is stdin) behind a progress bar over its bytes.
pub(super) fn open(
    name: &str,
    reading: &Reading,
) -> Result<(Box<dyn SampleReader>, ProgressBar), Failure> {
    let failed = |error| Failure::Input(name.to_owned(), error);
    let (raw, total): (Box<dyn Read>, _) = if name == "-" {
        (Box::new(io::stdin().lock()), None)
    } else {
        let file = File::open(name).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        (Box::new(file), metadata.is_file().then_some(metadata.len()))
    };
    let bar = progress::over_bytes(name, total);
    let plain = decompress(bar.wrap_read(raw)).map_err(failed)?;
    Ok((reader(plain, name, reading).map_err(failed)?, bar))
}

/// A reader of the text, by the format asked for or found.
pub(super) fn reader(
    mut text: impl BufRead + 'static,
    name: &str,
    reading: &Reading,
) -> io::Result<Box<dyn SampleReader>> {
    let format = match reading.format {
        Format::Auto => match by_name(name) {
            Some(format) => format,
            None => by_first_line(text.fill_buf()?),
        },
        format => format,
    };
    let exposition = |text, dialect| -> Box<dyn SampleReader> {
        Box::new(ExpositionReader::new(text, dialect, reading.timestamp))
    };
    Ok(match format {
        Format::Auto => exposition(text, Dialect::Auto),
        Format::Prometheus => exposition(text, Dialect::Prometheus),
        Format::Openmetrics => exposition(text, Dialect::OpenMetrics),
        Format::Csv => Box::new(CsvReader::new(text, reading.series.clone())),
        Format::Jsonl => Box::new(JsonlReader::new(text)),
    })
}

/// The text behind gzip or Zstandard, which show themselves by their first bytes (RFC 1952,
/// RFC 8878), or as it is.
pub(super) fn decompress(input: impl Read + 'static) -> io::Result<BufReader<Box<dyn Read>>> {
    let mut input = BufReader::with_capacity(PEEK_BYTES, input);
    let magic = input.fill_buf()?;
    let plain: Box<dyn Read> = if magic.starts_with(&[0x1f, 0x8b]) {
        Box::new(flate2::bufread::MultiGzDecoder::new(input))
    } else if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Box::new(zstd::stream::read::Decoder::with_buffer(input)?)
    } else {
        Box::new(input)
    };
    Ok(BufReader::with_capacity(PEEK_BYTES, plain))
}

fn by_name(name: &str) -> Option<Format> {
    let name = name.to_ascii_lowercase();
    let name = name.trim_end_matches(".gz").trim_end_matches(".zst");
    match name.rsplit_once('.')?.1 {
        "csv" => Some(Format::Csv),
        "jsonl" | "ndjson" => Some(Format::Jsonl),
        // Both dialects of exposition text carry these names; the timestamps tell them apart.
        "prom" | "om" | "openmetrics" => Some(Format::Auto),
        _ => None,
    }
}

/// A JSON object, else a line whose first field before a comma is a timestamp or its name, else
/// exposition text.
fn by_first_line(text: &[u8]) -> Format {
    let line = text.split(|&byte| byte == b'\n').find(|line| !line.trim_ascii().is_empty());
    let line = String::from_utf8_lossy(line.unwrap_or_default());
    let line = line.trim_start_matches('\u{feff}').trim();
    let is_object = line.strip_prefix('{').is_some_and(|inside| {
        // Exposition text may begin with a brace too, but has no colon behind the first name.
        let mut quotes = inside.trim_start().splitn(3, '"');
        quotes.next() == Some("")
            && quotes.nth(1).is_some_and(|rest| rest.trim_start().starts_with(':'))
    });
    if is_object {
        return Format::Jsonl;
    }
    let is_csv = line.split_once(',').is_some_and(|(first, rest)| {
        let first = first.trim().trim_matches('"').to_ascii_lowercase();
        let heads = ["timestamp", "time", "ts", "date", "series"];
        heads.contains(&first.as_str())
            || rest.split(',').any(|field| field.trim() == "timestamp")
            || notation::parse_timestamp(&first).is_some()
    });
    if is_csv { Format::Csv } else { Format::Auto }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_shows_itself() {
        for (text, format) in [
            ("# HELP up x\nup 1\n", Format::Auto),
            ("up{a=\"b,c\"} 1 1\n", Format::Auto),
            ("{\"http.status\",code=\"1\"} 1 1\n", Format::Auto),
            ("\n{\"metric\":\"up\"}\n", Format::Jsonl),
            ("{ \"metric\" : {}}\n", Format::Jsonl),
            ("timestamp,value\n", Format::Csv),
            ("2014-04-01 00:00:00,1\n", Format::Csv),
            ("1396310400,up,1\n", Format::Csv),
            ("", Format::Auto),
        ] {
            assert_eq!(by_first_line(text.as_bytes()), format, "{text:?}");
        }
        assert_eq!(by_name("a/b.CSV.gz"), Some(Format::Csv));
        assert_eq!(by_name("x.jsonl.zst"), Some(Format::Jsonl));
        assert_eq!(by_name("-"), None);
        assert_eq!(by_name("metrics.txt"), None);
    }
}
