//! The label sets of results: what series are called once functions and operators were at them.

use std::collections::HashMap;
use std::fmt;

use crate::model::{METRIC_NAME_LABEL, Series};

/// Label names and values, ascending by name, each once; the metric name, where one is left, is
/// the label `__name__`. Unlike a [`Series`] it may lack a name.
///
/// Held as one text and the ends of its pieces: name and value in turn.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Labels {
    text: Box<str>,
    ends: Box<[u32]>,
}

impl Labels {
    /// From pairs in any order; of a name that repeats the last pair counts, and pairs with an empty
    /// value are left out: an absent label.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut pairs: Vec<(&str, &str)> = pairs.into_iter().collect();
        // Stable, so that of equal names the last stays last.
        pairs.sort_by_key(|(name, _)| *name);
        let next_is_other = |at: usize| {
            let name = |at: usize| pairs.get(at).map(|(name, _)| *name);
            name(at) != name(at + 1)
        };
        let kept = pairs
            .iter()
            .enumerate()
            .filter(|(at, (_, value))| !value.is_empty() && next_is_other(*at));
        Self::from_sorted(kept.map(|(_, &pair)| pair))
    }

    /// From pairs that ascend by name, each name once, no value empty.
    pub(super) fn from_sorted<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let (mut text, mut ends) = (String::new(), Vec::new());
        for (name, value) in pairs {
            for piece in [name, value] {
                text.push_str(piece);
                // A series has at most 64 pairs of 4.6 KB; `label_join` multiplies that by 64.
                ends.push(u32::try_from(text.len()).unwrap_or(u32::MAX));
            }
        }
        Self { text: text.into_boxed_str(), ends: ends.into_boxed_slice() }
    }

    /// Pairs, ascending by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let mut pieces = starts
            .zip(self.ends.iter().copied())
            .map(|(start, end)| self.text.get(start as usize..end as usize).unwrap_or_default());
        std::iter::from_fn(move || Some((pieces.next()?, pieces.next()?)))
    }

    /// A label's value, empty where it is absent.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.iter().find(|&(label, _)| label == name).map_or("", |(_, value)| value)
    }

    /// Whether there is no label at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// These labels without those that `dropped` says.
    #[must_use]
    pub fn without(&self, dropped: impl Fn(&str) -> bool) -> Self {
        Self::from_sorted(self.iter().filter(|(name, _)| !dropped(name)))
    }

    /// These labels without the metric name.
    #[must_use]
    pub fn without_name(&self) -> Self {
        self.without(|name| name == METRIC_NAME_LABEL)
    }
}

impl From<&Series> for Labels {
    fn from(series: &Series) -> Self {
        // `__name__` has its place among the labels: `A` to `Z` sort before it.
        let before = series.labels().take_while(|(label, _)| *label < METRIC_NAME_LABEL);
        let after = series.labels().skip_while(|(label, _)| *label < METRIC_NAME_LABEL);
        let name = std::iter::once((METRIC_NAME_LABEL, series.name()));
        Self::from_sorted(before.chain(name).chain(after))
    }
}

impl Ord for Labels {
    /// Pair by pair, as Prometheus' `labels.Compare`.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.iter().cmp(other.iter())
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Labels {
    /// `name{label="value", ...}` as Prometheus writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.get(METRIC_NAME_LABEL);
        f.write_str(name)?;
        let mut labels = self.iter().filter(|(label, _)| *label != METRIC_NAME_LABEL).peekable();
        if labels.peek().is_none() {
            return if name.is_empty() { f.write_str("{}") } else { Ok(()) };
        }
        for (i, (label, value)) in labels.enumerate() {
            f.write_str(if i == 0 { "{" } else { ", " })?;
            write!(f, "{label}={value:?}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What stands under equal labels, put together: groups in the order of first appearance, the
/// members of each as they come.
pub(super) fn grouped<T>(items: impl IntoIterator<Item = (Labels, T)>) -> Vec<(Labels, Vec<T>)> {
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut groups: Vec<(Labels, Vec<T>)> = Vec::new();
    for (labels, item) in items {
        let place = *places.entry(labels.clone()).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((_, members)) => members.push(item),
            None => groups.push((labels, vec![item])),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_unique_and_not_empty() {
        let labels = Labels::new([("b", "2"), ("a", "1"), ("c", ""), ("b", "3"), ("A", "0")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("A", "0"), ("a", "1"), ("b", "3")]);
        assert_eq!((labels.get("b"), labels.get("c")), ("3", ""));
        assert!(Labels::new([("a", "1"), ("a", "")]).is_empty());
    }

    #[test]
    fn the_metric_name_has_its_place() {
        let series = Series::new("up", [("Zone", "z"), ("job", "api")]).unwrap();
        let labels = Labels::from(&series);
        let pairs: Vec<_> = labels.iter().collect();
        assert_eq!(pairs, [("Zone", "z"), ("__name__", "up"), ("job", "api")]);
        assert_eq!(labels.to_string(), r#"up{Zone="z", job="api"}"#);
        assert_eq!(labels.without_name(), Labels::new([("job", "api"), ("Zone", "z")]));
        assert_eq!(Labels::default().to_string(), "{}");
    }
}
