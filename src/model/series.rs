//! Series: a metric name and a sorted, unique set of labels.

use std::cmp::Ordering;
use std::fmt;

use super::label::{LABEL_PAIRS_MAX, check_name, check_value, invalid};
use crate::error::Result;

/// A series' number within one run of one engine: dense, from 0, never stored. What is stored
/// are label sets; ids are given anew at every open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesId(pub u32);

/// What a metric's values mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MetricKind {
    /// Nothing is known.
    #[default]
    Untyped,
    /// Only grows, but for resets to zero.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution of observations (Prometheus' histograms and summaries arrive as counters).
    Distribution,
}

/// What is known of a metric (of every series of one metric name) beside its values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// What the values mean.
    pub kind: MetricKind,
    /// The unit, as OpenMetrics names it (`seconds`, `bytes`); empty where unknown.
    pub unit: String,
    /// One sentence for people; empty where unknown.
    pub help: String,
}

/// The identity of a series: metric name and labels, sorted by label name, unique.
///
/// Held as one text and the ends of its pieces: name, then label name and value in turn. Orders
/// by name, then label by label.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Series {
    text: Box<str>,
    ends: Box<[u32]>,
}

impl Series {
    /// A series from its name and labels in any order. Labels with an empty value are left out,
    /// as Prometheus does.
    ///
    /// # Errors
    /// [`InvalidName`](crate::Error::InvalidName) where a name or value breaks a rule of
    /// [`label`](super), a label repeats, is called `__name__`, or there are more than
    /// [`LABEL_PAIRS_MAX`].
    ///
    /// ```
    /// # use icecore::model::Series;
    /// let series = Series::new("http_requests_total", [("method", "GET"), ("code", "200")])?;
    /// assert_eq!(series.to_string(), r#"http_requests_total{code="200",method="GET"}"#);
    /// # Ok::<(), icecore::Error>(())
    /// ```
    pub fn new<'a>(
        name: &str,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self> {
        check_name("metric name", name)?;
        let mut pairs: Vec<(&str, &str)> =
            labels.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        if pairs.len() > LABEL_PAIRS_MAX {
            return Err(invalid("label set", name, "has more than 64 labels"));
        }
        pairs.sort_unstable();
        let mut previous = None;
        for &(label, value) in &pairs {
            check_name("label name", label)?;
            check_value(value)?;
            if label == "__name__" {
                return Err(invalid("label name", label, "is the metric name's own"));
            }
            if previous == Some(label) {
                return Err(invalid("label name", label, "repeats"));
            }
            previous = Some(label);
        }
        Ok(Self::from_sorted(name, &pairs))
    }

    /// Builds without checking; the pairs are sorted, unique and within the limits.
    fn from_sorted(name: &str, pairs: &[(&str, &str)]) -> Self {
        let pieces = || std::iter::once(name).chain(pairs.iter().flat_map(|&(k, v)| [k, v]));
        let mut text = String::with_capacity(pieces().map(str::len).sum());
        let mut ends = Vec::with_capacity(1 + 2 * pairs.len());
        for piece in pieces() {
            text.push_str(piece);
            // At most 64 pairs of 512 + 4096 bytes: far below u32::MAX.
            ends.push(u32::try_from(text.len()).unwrap_or(u32::MAX));
        }
        Self { text: text.into_boxed_str(), ends: ends.into_boxed_slice() }
    }

    fn pieces(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(self.ends.iter().copied())
            .map(|(start, end)| self.text.get(start as usize..end as usize).unwrap_or_default())
    }

    /// The metric name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.pieces().next().unwrap_or_default()
    }

    /// Label names and values, ascending by name.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut pieces = self.pieces().skip(1);
        std::iter::from_fn(move || Some((pieces.next()?, pieces.next()?)))
    }

    /// The value of a label, empty where the series has none; `__name__` is the metric name.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        if name == "__name__" {
            return self.name();
        }
        self.labels().find(|&(label, _)| label == name).map_or("", |(_, value)| value)
    }

    /// Bytes this identity holds in memory, its own struct included.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.text.len() + size_of_val(&*self.ends)
    }
}

impl Ord for Series {
    fn cmp(&self, other: &Self) -> Ordering {
        self.pieces().cmp(other.pieces())
    }
}

impl PartialOrd for Series {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Series {
    /// As Prometheus writes it: `name{label="value",...}`, with `\`, `"` and newline escaped;
    /// a name that is not of Prometheus' classic characters stands quoted inside the braces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classic = is_classic_name(self.name());
        if classic {
            f.write_str(self.name())?;
        }
        let mut labels = self.labels().peekable();
        if classic && labels.peek().is_none() {
            return Ok(());
        }
        f.write_str("{")?;
        if !classic {
            write_quoted(f, self.name())?;
        }
        for (i, (label, value)) in labels.enumerate() {
            if i > 0 || !classic {
                f.write_str(",")?;
            }
            if is_classic_name(label) && !label.contains(':') {
                f.write_str(label)?;
            } else {
                write_quoted(f, label)?;
            }
            f.write_str("=")?;
            write_quoted(f, value)?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn is_classic_name(name: &str) -> bool {
    let head = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    let mut chars = name.chars();
    chars.next().is_some_and(head) && chars.all(|c| head(c) || c.is_ascii_digit())
}

fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '\\' => f.write_str("\\\\")?,
            '"' => f.write_str("\\\"")?,
            '\n' => f.write_str("\\n")?,
            c => fmt::Write::write_char(f, c)?,
        }
    }
    f.write_str("\"")
}
