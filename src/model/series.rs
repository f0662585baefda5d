//! Series: a metric name and a sorted, unique set of labels.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use super::label::{
    LABEL_PAIRS_MAX, METRIC_NAME_LABEL, VALUE_BYTES_MAX, check_name, check_value, invalid,
};
use super::matcher::MatchOp;
use super::text;
use crate::error::{Error, Result};

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

impl Metadata {
    /// This metadata with unit and help cut to [`VALUE_BYTES_MAX`] bytes each, between characters:
    /// a text for people is no reason to refuse a series, nor to grow without bound.
    #[must_use]
    pub fn bounded(&self) -> Self {
        let cut = |text: &str| {
            let end = text.floor_char_boundary(VALUE_BYTES_MAX);
            text.get(..end).unwrap_or_default().to_owned()
        };
        Self { kind: self.kind, unit: cut(&self.unit), help: cut(&self.help) }
    }
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
    /// [`InvalidName`](Error::InvalidName) where a name or value breaks a rule of
    /// [`label`](super), a label repeats, is called `__name__`, or there are more than
    /// [`LABEL_PAIRS_MAX`]: labels with an empty value among them.
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
        let mut pairs: Vec<(&str, &str)> = labels.into_iter().collect();
        if pairs.len() > LABEL_PAIRS_MAX {
            return Err(invalid("label set", name, "has more than 64 labels"));
        }
        pairs.sort_unstable();
        let mut previous = None;
        for &(label, value) in &pairs {
            check_name("label name", label)?;
            check_value(value)?;
            if label == METRIC_NAME_LABEL {
                return Err(invalid("label name", label, "is the metric name's own"));
            }
            if previous == Some(label) {
                return Err(invalid("label name", label, "repeats"));
            }
            previous = Some(label);
        }
        // Only now: a name that breaks a rule is no better for an empty value.
        pairs.retain(|(_, value)| !value.is_empty());
        Ok(Self::from_sorted(name, &pairs))
    }

    /// Reads `name{label="value",...}`: what [`Display`](fmt::Display) writes, and every other
    /// spelling of it that [`Selector`](super::Selector) knows, with `=` alone.
    ///
    /// # Errors
    /// [`InvalidSelector`](Error::InvalidSelector) where the text does not parse or holds another
    /// operator; [`InvalidName`](Error::InvalidName) as [`Series::new`].
    pub fn parse(input: &str) -> Result<Self> {
        let terms = text::parse_terms(input)?;
        let mut name = None;
        let mut pairs = Vec::with_capacity(terms.len());
        for term in &terms {
            if term.op != MatchOp::Equal {
                return Err(text::invalid(input, term.offset, "a series has only `=`"));
            }
            if term.name != METRIC_NAME_LABEL {
                pairs.push((&*term.name, &*term.value));
            } else if name.replace(&*term.value).is_some() {
                return Err(text::invalid(input, term.offset, "the metric name is given twice"));
            }
        }
        let name = name.ok_or_else(|| text::invalid(input, 0, "lacks a metric name"))?;
        Self::new(name, pairs)
    }

    /// Builds without checking; the pairs are sorted, unique and within the limits.
    pub(crate) fn from_sorted(name: &str, pairs: &[(&str, &str)]) -> Self {
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
        if name == METRIC_NAME_LABEL {
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
        let bare = text::is_bare_metric(self.name());
        if bare {
            f.write_str(self.name())?;
        }
        let mut labels = self.labels().peekable();
        if bare && labels.peek().is_none() {
            return Ok(());
        }
        f.write_str("{")?;
        if !bare {
            text::write_quoted(f, self.name())?;
        }
        for (i, (label, value)) in labels.enumerate() {
            if i > 0 || !bare {
                f.write_str(",")?;
            }
            text::write_label(f, label)?;
            f.write_str("=")?;
            text::write_quoted(f, value)?;
        }
        f.write_str("}")
    }
}

impl FromStr for Series {
    type Err = Error;

    fn from_str(input: &str) -> Result<Self> {
        Self::parse(input)
    }
}

impl fmt::Debug for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;

    /// Series of few names and values, so that they meet; some not of the classic characters.
    pub(crate) fn small_series() -> impl Strategy<Value = Series> {
        let name = prop::sample::select(vec!["up", "http.requests", "a:b", "__name__x", "é"]);
        let label = prop::sample::select(vec!["a", "b", "job", "le", "label.x"]);
        let value = prop::sample::select(vec!["", "a", "aa", "ab", "b", "a\nb", "\"", "é", "10"]);
        (name, prop::collection::btree_map(label, value, 0..5))
            .prop_map(|(name, labels)| Series::new(name, labels).unwrap())
    }

    /// Any series that the rules allow.
    pub(crate) fn any_series() -> impl Strategy<Value = Series> {
        let name = || "\\PC{1,12}".prop_filter("the metric name's own", |n| n != "__name__");
        let value = prop_oneof![".{0,20}", any::<String>(), "[\\\\\"\n]{1,6}"];
        (name(), prop::collection::btree_map(name(), value, 0..6)).prop_map(|(name, labels)| {
            Series::new(&name, labels.iter().map(|(k, v)| (k.as_str(), v.as_str()))).unwrap()
        })
    }

    proptest! {
        #[test]
        fn text_reads_back(series in any_series()) {
            prop_assert_eq!(Series::parse(&series.to_string()).unwrap(), series);
        }

        #[test]
        fn order_is_that_of_the_pieces(left in small_series(), right in small_series()) {
            let pieces = |series: &Series| {
                let labels = series.labels().map(|(k, v)| (k.to_owned(), v.to_owned()));
                (series.name().to_owned(), labels.collect::<Vec<_>>())
            };
            prop_assert_eq!(left.cmp(&right), pieces(&left).cmp(&pieces(&right)));
            prop_assert_eq!(left == right, pieces(&left) == pieces(&right));
        }
    }

    #[test]
    fn labels_are_sorted_and_empty_values_absent() {
        let series = Series::new("m", [("b", "2"), ("c", ""), ("a", "1")]).unwrap();
        assert_eq!(series.labels().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
        assert_eq!(
            (series.label("b"), series.label("c"), series.label("__name__")),
            ("2", "", "m")
        );
    }

    #[test]
    fn equal_texts_with_other_ends_differ() {
        let left = Series::new("m", [("a", "bc")]).unwrap();
        assert_ne!(left, Series::new("m", [("ab", "c")]).unwrap());
    }

    #[test]
    fn rules_of_names_are_held() {
        let long = "x".repeat(5000);
        let many: Vec<String> = (0..65).map(|i| format!("l{i}")).collect();
        for (name, labels) in [
            ("", vec![]),
            (long.as_str(), vec![]),
            ("a\nb", vec![]),
            ("m", vec![("", "v")]),
            ("m", vec![("a", long.as_str())]),
            ("m", vec![("a", "1"), ("a", "2")]),
            ("m", vec![("a\u{1}", "")]),
            ("m", vec![("a", ""), ("a", "2")]),
            ("m", vec![("__name__", "n")]),
            ("m", many.iter().map(|l| (l.as_str(), "v")).collect()),
        ] {
            assert_eq!(Series::new(name, labels).unwrap_err().kind(), ErrorKind::Invalid);
        }
    }

    #[test]
    fn only_concrete_texts_are_series() {
        for text in
            ["", "{}", "{a=\"b\"}", "m{a!=\"b\"}", "m{a=~\"b\"}", "{\"m\",\"n\"}", "m{\"n\"}"]
        {
            assert!(Series::parse(text).is_err(), "{text}");
        }
        let quoted = Series::parse("{'http.status', `b.c`=\"\\u00e9\", a='\\'',}").unwrap();
        assert_eq!(quoted.to_string(), r#"{"http.status",a="'","b.c"="é"}"#);
        assert_eq!(Series::parse("m{}").unwrap(), Series::parse(r#"{__name__="m"}"#).unwrap());
    }

    #[test]
    fn long_help_is_cut_between_characters() {
        let help = "é".repeat(VALUE_BYTES_MAX);
        let unit = "seconds".to_owned();
        let bounded =
            Metadata { kind: MetricKind::Gauge, unit, help: format!("x{help}") }.bounded();
        assert_eq!((bounded.unit.as_str(), bounded.help.len()), ("seconds", VALUE_BYTES_MAX - 1));
    }
}
