//! Prometheus text (0.0.4 and 1.0.0) and OpenMetrics text 1.0, read and written.
//!
//! Both formats are one grammar to the reader; they differ in the unit of timestamps
//! ([`Dialect`]). Lines that share a timestamp and follow each other form one scrape. Exemplars
//! are passed over; `# EOF` is too, so that concatenated expositions read as one text.
//!
//! An exposition repeats the same series in the same order, scrape after scrape. The reader
//! predicts the series of a line from the line before and confirms it with one comparison of
//! bytes; only a line that surprises it is scanned and looked up.

mod families;
mod series;
mod write;

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Arc;

use self::families::Families;
use self::series::{blanks, parse_series, series_end};
pub use self::write::ExpositionWriter;
use super::intake::Intake;
use super::lines::{Line, LineReader};
use super::notation::{TimestampUnit, parse_numeric_timestamp, parse_value};
use super::{Batch, DeclaredSeries, RejectReason, Rejections, SampleReader, Slot};
use crate::time::Timestamp;

/// Longest line, bytes. A series of 64 labels with values of 4096 bytes fits.
pub const LINE_BYTES_MAX: usize = 512 * 1024;

/// Which of the two formats a text is, as far as it matters: the unit of its timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// By magnitude ([`TimestampUnit::ByMagnitude`]): right for both, from 1973 on.
    #[default]
    Auto,
    /// Milliseconds.
    Prometheus,
    /// Seconds, with a fraction.
    OpenMetrics,
}

/// Reads an exposition, or many concatenated ones.
///
/// ```
/// use icecore::integration::exposition::{Dialect, ExpositionReader};
/// use icecore::integration::{Batch, SampleReader};
///
/// let text = "# TYPE up gauge\nup{job=\"a\"} 1 1795425382586\nup{job=\"b\"} 0 1795425382586\n";
/// let mut reader = ExpositionReader::new(text.as_bytes(), Dialect::Auto, None);
/// let Some(Batch::Scrape { values, .. }) = reader.next_batch()? else { panic!() };
/// assert_eq!(values, [1.0, 0.0]);
/// assert_eq!(reader.declared()[1].series.to_string(), "up{job=\"b\"}");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct ExpositionReader<R> {
    lines: LineReader<R>,
    parser: Parser,
    at_end: bool,
}

impl<R: Read> ExpositionReader<R> {
    /// `default_timestamp` stands in on lines without one; with `None` they are rejected.
    pub fn new(input: R, dialect: Dialect, default_timestamp: Option<Timestamp>) -> Self {
        let unit = match dialect {
            Dialect::Auto => TimestampUnit::ByMagnitude,
            Dialect::Prometheus => TimestampUnit::Milliseconds,
            Dialect::OpenMetrics => TimestampUnit::Seconds,
        };
        let parser = Parser {
            unit,
            default_timestamp,
            families: Families::default(),
            texts: Texts::default(),
            latest: LatestTimestamp::default(),
            intake: Intake::default(),
        };
        Self { lines: LineReader::new(input, LINE_BYTES_MAX), parser, at_end: false }
    }
}

impl<R: Read> SampleReader for ExpositionReader<R> {
    fn next_batch(&mut self) -> io::Result<Option<Batch>> {
        loop {
            if let Some(batch) = self.parser.intake.take_ready() {
                return Ok(Some(batch));
            }
            if self.at_end {
                return Ok(None);
            }
            let Self { lines, parser, at_end } = self;
            let number = lines.number() + 1;
            let (line, (reason, what)) = match lines.next_line()? {
                Some(Line::Text(line)) => match parser.line(line) {
                    Ok(()) => continue,
                    Err(refused) => (line, refused),
                },
                Some(Line::TooLong) => {
                    let what = "the line is longer than 512 KiB".to_owned();
                    (&[][..], (RejectReason::LineTooLong, what))
                }
                None => {
                    parser.intake.flush();
                    *at_end = true;
                    continue;
                }
            };
            parser.intake.rejections.add(number, reason, &what, line);
        }
    }

    fn declared(&self) -> &[DeclaredSeries] {
        self.parser.intake.declared()
    }

    fn rejections(&self) -> &Rejections {
        &self.parser.intake.rejections
    }
}

type Refused = (RejectReason, String);

fn refuse<T>(reason: RejectReason, what: &str) -> Result<T, Refused> {
    Err((reason, what.to_owned()))
}

/// Everything but the input.
struct Parser {
    unit: TimestampUnit,
    default_timestamp: Option<Timestamp>,
    families: Families,
    texts: Texts,
    latest: LatestTimestamp,
    intake: Intake,
}

impl Parser {
    fn line(&mut self, line: &[u8]) -> Result<(), Refused> {
        let line = line.get(blanks(line)..).unwrap_or_default();
        match line.first() {
            None => Ok(()),
            Some(b'#') => self.families.comment(line),
            Some(_) => self.sample(line),
        }
    }

    #[inline]
    fn sample(&mut self, line: &[u8]) -> Result<(), Refused> {
        let (slot, rest) = match self.texts.predicted(line) {
            Some(known) => known,
            None => self.look_up(line)?,
        };
        let (value, rest) = token(rest);
        let Some(value) = parse_value(value) else {
            return refuse(RejectReason::Value, "the value is not a number");
        };
        let (stamp, rest) = match token(rest) {
            (exemplar, _) if exemplar.starts_with(b"#") => (&[][..], rest),
            split => split,
        };
        let rest = rest.get(blanks(rest)..).unwrap_or_default();
        if !rest.is_empty() && !rest.starts_with(b"#") {
            return refuse(RejectReason::Syntax, "text after the timestamp");
        }
        let timestamp = if stamp.is_empty() {
            let Some(timestamp) = self.default_timestamp else {
                return refuse(RejectReason::NoTimestamp, "the line has no timestamp");
            };
            timestamp
        } else {
            self.latest.parse(stamp, self.unit)?
        };
        self.intake.push(slot, timestamp.nanos(), value);
        Ok(())
    }

    /// The slot of a line's series, without help from the line before.
    fn look_up<'a>(&mut self, line: &'a [u8]) -> Result<(Slot, &'a [u8]), Refused> {
        let Some((text, rest)) = series_end(line).and_then(|end| line.split_at_checked(end)) else {
            return refuse(RejectReason::Syntax, "a brace does not close");
        };
        if let Some(slot) = self.texts.find(text) {
            return Ok((slot, rest));
        }
        let Ok(series_text) = std::str::from_utf8(text) else {
            return refuse(RejectReason::Series, "the series is not UTF-8");
        };
        let series = parse_series(series_text).map_err(|what| (RejectReason::Series, what))?;
        let families = &self.families;
        let slot = self
            .intake
            .declare(series, |series| families.metadata(series.name()))
            .map_err(|reason| (reason, "more than 10 million series".to_owned()))?;
        self.texts.add(text, slot);
        Ok((slot, rest))
    }
}

/// The next run of bytes up to a blank, and what follows it.
#[inline]
fn token(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.get(blanks(text)..).unwrap_or_default();
    let end = text.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, &[]))
}

/// The timestamp read last: all lines of a scrape repeat it.
#[derive(Default)]
struct LatestTimestamp {
    text: Vec<u8>,
    timestamp: Timestamp,
}

impl LatestTimestamp {
    #[inline]
    fn parse(&mut self, text: &[u8], unit: TimestampUnit) -> Result<Timestamp, Refused> {
        if text != self.text {
            let Some(timestamp) = parse_numeric_timestamp(text, unit) else {
                return refuse(RejectReason::Timestamp, "the timestamp is not a number in range");
            };
            self.timestamp = timestamp;
            self.text.clear();
            self.text.extend_from_slice(text);
        }
        Ok(self.timestamp)
    }
}

/// Most spellings of series that are remembered; a text with more of them is read without help.
const TEXTS_MAX: usize = super::intake::SERIES_MAX;

/// The spellings of series met so far. One series can have several (labels in another order).
#[derive(Default)]
struct Texts {
    known: Vec<KnownText>,
    by_text: HashMap<Arc<[u8]>, usize>,
    /// Index into `known` of the line before.
    previous: usize,
}

struct KnownText {
    text: Arc<[u8]>,
    slot: Slot,
    /// Index into `known` of the text that followed this one the last time.
    successor: usize,
}

impl Texts {
    /// The slot of the text that followed last time, if it is the line's beginning again, and
    /// the rest of the line.
    #[inline]
    fn predicted<'a>(&mut self, line: &'a [u8]) -> Option<(Slot, &'a [u8])> {
        let successor = self.known.get(self.previous)?.successor;
        let candidate = self.known.get(successor)?;
        let rest = line.strip_prefix(&*candidate.text)?;
        // `up` is the beginning of `up_total 1`, and of `up {job="x"} 1` too.
        let blanks = blanks(rest);
        if blanks == 0 || rest.get(blanks) == Some(&b'{') {
            return None;
        }
        self.previous = successor;
        Some((candidate.slot, rest))
    }

    fn find(&mut self, text: &[u8]) -> Option<Slot> {
        let found = *self.by_text.get(text)?;
        self.follow(found);
        self.known.get(found).map(|known| known.slot)
    }

    fn add(&mut self, text: &[u8], slot: Slot) {
        if self.known.len() >= TEXTS_MAX {
            return;
        }
        let text: Arc<[u8]> = text.into();
        let index = self.known.len();
        self.by_text.insert(Arc::clone(&text), index);
        self.known.push(KnownText { text, slot, successor: 0 });
        self.follow(index);
    }

    /// Remembers that `next` follows the line before.
    fn follow(&mut self, next: usize) {
        if let Some(before) = self.known.get_mut(self.previous) {
            before.successor = next;
        }
        self.previous = next;
    }
}

#[cfg(test)]
mod tests;
