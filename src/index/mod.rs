//! The index: which series there are, how they are found, what is known of their metrics.
//!
//! Owns: label set ↔ [`SeriesId`] within one run, postings, the evaluation of selectors, metadata
//! by metric name; and [`table`], the bytes in which a part carries the series that it holds.
//! Does not own: samples, or which series a part or the head has samples of. An id given here is
//! never stored: at open the tables of the parts and the declarations of the log are interned
//! anew.
//!
//! One lock guards it all. Interning a known series, and every question, takes it for reading;
//! only a new series, new metadata or a removal writes. Long questions let go of it now and then.

mod postings;
mod select;
mod selections;
pub mod table;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use roaring::RoaringBitmap;

use self::postings::Postings;
pub use self::selections::Selected;
use self::selections::Selections;
use crate::model::{METRIC_NAME_LABEL, Metadata, MetricKind, Series, SeriesId};

/// Bytes that an entry of the id map and one of the id list take: a pointer and an id at the
/// map's mean load of 5/8 with its control byte, a pointer, and the two counts of the `Arc`.
const ENTRY_BYTES: usize = 17 * 8 / 5 + 8 + 16;

/// Every series of an engine. Shared between threads by reference.
///
/// ```
/// # use icecore::index::Index;
/// # use icecore::model::{Selector, Series};
/// let index = Index::new();
/// let id = index.intern(&Series::parse(r#"up{job="api"}"#)?);
/// assert_eq!(index.select(&Selector::parse(r#"up{job!=""}"#)?), [id]);
/// # Ok::<(), icecore::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Index {
    state: RwLock<State>,
    selections: Mutex<Selections>,
}

#[derive(Debug, Default)]
struct State {
    ids: HashMap<Arc<Series>, SeriesId>,
    /// By id; nothing where the series was removed, since ids are not given twice.
    series: Vec<Option<Arc<Series>>>,
    live: RoaringBitmap,
    /// Counts the comings and goings of series.
    generation: u64,
    postings: Postings,
    metadata: HashMap<Box<str>, Arc<Metadata>>,
    /// Of the identities and their entries; the rest counts itself.
    series_bytes: usize,
    metadata_bytes: usize,
}

impl Index {
    /// An index without series.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The id of a series, a new one where it has none: the next number from 0.
    pub fn intern(&self, series: &Series) -> SeriesId {
        match self.get(series) {
            Some(id) => id,
            None => self.write().intern(Arc::new(series.clone())),
        }
    }

    /// As [`intern`](Self::intern), but nothing where the series is new and there are already
    /// `series_max` or more. Threads that race for the last place never both get it.
    pub fn intern_limited(&self, series: &Series, series_max: usize) -> Option<SeriesId> {
        if let Some(id) = self.get(series) {
            return Some(id);
        }
        let mut state = self.write();
        // Another thread may have come first.
        if state.ids.len() >= series_max && !state.ids.contains_key(series) {
            return None;
        }
        Some(state.intern(Arc::new(series.clone())))
    }

    /// Interns many, taking the lock once for those known and once for those new. The ids stand
    /// in the order of the series. Fastest where neighbours share labels, as sorted series do.
    pub fn intern_all(&self, series: impl IntoIterator<Item = Series>) -> Vec<SeriesId> {
        let series: Vec<Series> = series.into_iter().collect();
        let known: Vec<Option<SeriesId>> = {
            let state = self.read();
            series.iter().map(|series| state.ids.get(series).copied()).collect()
        };
        if let Some(ids) = known.iter().copied().collect() {
            return ids;
        }
        let mut state = self.write();
        // Growing step by step would hash every series twice over.
        let new = known.iter().filter(|known| known.is_none()).count();
        state.ids.reserve(new);
        state.series.reserve(new);
        let pairs = known.into_iter().zip(series);
        pairs
            .map(|(known, series)| known.unwrap_or_else(|| state.intern(Arc::new(series))))
            .collect()
    }

    /// The id of a series, if it has one.
    #[must_use]
    pub fn get(&self, series: &Series) -> Option<SeriesId> {
        self.read().ids.get(series).copied()
    }

    /// The series of an id; nothing for an id never given, or removed.
    #[must_use]
    pub fn series(&self, id: SeriesId) -> Option<Arc<Series>> {
        self.read().series.get(id.0 as usize).cloned().flatten()
    }

    /// Whether there is a series of this metric.
    #[must_use]
    pub fn has_metric(&self, metric: &str) -> bool {
        let state = self.read();
        let label = state.postings.label(METRIC_NAME_LABEL);
        label.is_some_and(|names| names.get(metric).is_some())
    }

    /// Series there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().ids.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An estimate of the memory it takes, bytes: counted as series come and go, allocator and
    /// spare capacity at their means.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let state = self.read();
        size_of::<Self>()
            + state.series_bytes
            + state.postings.memory_bytes()
            + state.metadata_bytes
    }

    /// Forgets series, and what was known of metrics that have none left. Their ids are never
    /// given again; ids that are unknown are passed over. The caller makes sure that nothing
    /// refers to them any more. A series that comes back gets a new id.
    pub fn remove(&self, ids: impl IntoIterator<Item = SeriesId>) {
        let ids: Vec<SeriesId> = ids.into_iter().collect();
        let mut state = self.write();
        for id in ids {
            state.remove(id);
        }
    }

    /// Adds what is newly known of a metric: a kind other than untyped, a unit or a help text that
    /// is not empty replaces what was known. Tells whether anything changed.
    pub fn set_metadata(&self, metric: &str, metadata: &Metadata) -> bool {
        let changed = |known: &Metadata| {
            let merged = merge(known, metadata);
            (merged != *known).then_some(merged)
        };
        // Producers repeat themselves with every scrape: no writer's lock for that.
        if self.metadata(metric).is_some_and(|known| changed(&known).is_none()) {
            return false;
        }
        let mut state = self.write();
        let known = state.metadata.get(metric).cloned().unwrap_or_default();
        let Some(merged) = changed(&known) else { return false };
        if !state.metadata.contains_key(metric) {
            state.metadata_bytes += metadata_entry_bytes(metric);
        }
        state.metadata_bytes += merged.unit.len() + merged.help.len();
        state.metadata_bytes -= known.unit.len() + known.help.len();
        state.metadata.insert(metric.into(), Arc::new(merged));
        true
    }

    /// What is known of a metric, if anything.
    #[must_use]
    pub fn metadata(&self, metric: &str) -> Option<Arc<Metadata>> {
        self.read().metadata.get(metric).cloned()
    }

    /// What is known of the metrics of ascending series, by name: what a part of these carries.
    #[must_use]
    pub fn metadata_of(&self, series: &[Arc<Series>]) -> Vec<(String, Metadata)> {
        let mut metrics: Vec<&str> = series.iter().map(|series| series.name()).collect();
        metrics.dedup();
        let known = metrics.into_iter().filter_map(|metric| {
            let metadata = self.metadata(metric)?;
            Some((metric.to_owned(), (*metadata).clone()))
        });
        known.collect()
    }

    /// A panic under the lock leaves at worst a series without some postings; whoever panicked
    /// latches the engine, readers go on.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn selections(&self) -> MutexGuard<'_, Selections> {
        self.selections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn intern(&mut self, series: Arc<Series>) -> SeriesId {
        let next = u32::try_from(self.series.len()).unwrap_or(u32::MAX);
        assert!(next < u32::MAX, "all {next} series ids are given");
        let id = *self.ids.entry(Arc::clone(&series)).or_insert(SeriesId(next));
        if id.0 == next {
            self.series_bytes += series.memory_bytes() + ENTRY_BYTES;
            self.live.insert(next);
            self.generation += 1;
            self.postings.insert(next, &series);
            self.series.push(Some(series));
        }
        id
    }

    fn remove(&mut self, id: SeriesId) {
        let Some(series) = self.series.get_mut(id.0 as usize).and_then(Option::take) else {
            return;
        };
        self.ids.remove(&series);
        self.live.remove(id.0);
        self.generation += 1;
        self.series_bytes -= series.memory_bytes() + ENTRY_BYTES - size_of::<usize>();
        self.postings.remove(id.0, &series);
        if !self.postings.has_metric(series.name())
            && let Some(known) = self.metadata.remove(series.name())
        {
            self.metadata_bytes -=
                metadata_entry_bytes(series.name()) + known.unit.len() + known.help.len();
        }
    }
}

fn metadata_entry_bytes(metric: &str) -> usize {
    metric.len() + size_of::<Metadata>() + ENTRY_BYTES
}

fn merge(known: &Metadata, new: &Metadata) -> Metadata {
    let text = |known: &String, new: &String| if new.is_empty() { known } else { new }.clone();
    Metadata {
        kind: if new.kind == MetricKind::Untyped { known.kind } else { new.kind },
        unit: text(&known.unit, &new.unit),
        help: text(&known.help, &new.help),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::model::Selector;
    use crate::model::tests::{small_selector, small_series};

    fn series(text: &str) -> Series {
        Series::parse(text).unwrap()
    }

    proptest! {
        #[test]
        fn select_agrees_with_a_filter_over_all(
            all in prop::collection::vec(small_series(), 0..60),
            gone in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
            back in prop::collection::vec(small_series(), 0..8),
            selector in small_selector(),
        ) {
            let index = Index::new();
            let ids = index.intern_all(all.iter().cloned());
            let mut live: BTreeSet<(SeriesId, Series)> = ids.into_iter().zip(all).collect();
            if !live.is_empty() {
                for gone in gone {
                    let victim = gone.get(&live.iter().cloned().collect::<Vec<_>>()).clone();
                    index.remove([victim.0]);
                    live.remove(&victim);
                    if live.is_empty() { break; }
                }
            }
            live.extend(back.into_iter().map(|series| (index.intern(&series), series)));
            let selected: Vec<_> =
                live.iter().filter(|(_, series)| selector.accepts(series)).collect();
            let ids: Vec<SeriesId> = selected.iter().map(|(id, _)| *id).collect();
            prop_assert_eq!(index.select(&selector), ids);
            let names: BTreeSet<&str> = selected.iter().flat_map(|(_, series)| {
                std::iter::once("__name__").chain(series.labels().map(|label| label.0))
            }).collect();
            prop_assert_eq!(index.label_names(&selector), Vec::from_iter(names));
            for label in ["__name__", "a", "none"] {
                let values: BTreeSet<&str> = selected.iter()
                    .map(|(_, series)| series.label(label)).filter(|v| !v.is_empty()).collect();
                prop_assert_eq!(index.label_values(label, &selector), Vec::from_iter(values));
            }
            prop_assert_eq!(index.len(), live.len());
        }
    }

    #[test]
    fn ids_are_dense_and_stable() {
        let index = Index::new();
        let (a, b) = (series("a{x=\"1\"}"), series("b"));
        assert_eq!(index.intern(&a), SeriesId(0));
        assert_eq!(
            index.intern_all([b.clone(), a.clone(), b.clone(), series("c")]),
            [SeriesId(1), SeriesId(0), SeriesId(1), SeriesId(2)]
        );
        assert_eq!((index.get(&b), index.len()), (Some(SeriesId(1)), 3));
        assert_eq!(index.series(SeriesId(0)).as_deref(), Some(&a));
        assert_eq!((index.series(SeriesId(3)), index.get(&series("d"))), (None, None));
    }

    #[test]
    fn many_values_span_pages() {
        let index = Index::new();
        let all = (0..5000).map(|i| series(&format!("m{{path=\"/p{i}\",zone=\"z{}\"}}", i % 3)));
        index.intern_all(all);
        for (selector, count) in [
            ("m", 5000),
            ("{path=~\"/p.*\"}", 5000),
            ("{path=~\".*7\"}", 500),
            ("{path!~\".*7\"}", 4500),
            ("{path!~\"/p1.*\"}", 5000 - 1111),
            ("{path=~\"/p1.*\"}", 1111),
            ("{path=~\"|/p1.*\"}", 1111),
            ("{path=~\"/p1|/p2|/p5000\"}", 2),
            ("{path=~\"/p1.*\",zone=\"z0\"}", 369),
            ("{path=\"\"}", 0),
            ("{zone!~\"z0|z1\"}", 1666),
        ] {
            let found = index.select(&Selector::parse(selector).unwrap());
            assert_eq!(found.len(), count, "{selector}");
            assert!(found.is_sorted());
        }
    }

    #[test]
    fn the_last_place_goes_to_one_thread() {
        let index = Index::new();
        let got: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|thread| {
                    let index = &index;
                    scope.spawn(move || {
                        let own =
                            (0..50).map(|i| series(&format!("m{{t=\"{thread}\",i=\"{i}\"}}")));
                        own.filter(|s| index.intern_limited(s, 100).is_some()).count()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!((got, index.len()), (100, 100));
        let known = index.series(SeriesId(7)).unwrap();
        assert_eq!(index.intern_limited(&known, 0), Some(SeriesId(7)));
    }

    #[test]
    fn metadata_keeps_the_latest_that_says_something() {
        let index = Index::new();
        index.intern(&series("m{a=\"1\"}"));
        let metadata = |kind, unit: &str, help: &str| Metadata {
            kind,
            unit: unit.to_owned(),
            help: help.to_owned(),
        };
        assert!(!index.set_metadata("m", &Metadata::default()));
        assert!(index.set_metadata("m", &metadata(MetricKind::Counter, "", "one")));
        assert!(index.set_metadata("m", &metadata(MetricKind::Untyped, "bytes", "")));
        assert!(!index.set_metadata("m", &metadata(MetricKind::Counter, "bytes", "")));
        assert!(index.set_metadata("m", &metadata(MetricKind::Untyped, "", "two")));
        let known = metadata(MetricKind::Counter, "bytes", "two");
        assert_eq!(index.metadata("m").as_deref(), Some(&known));
        assert_eq!(index.metadata("n"), None);
    }

    #[test]
    fn memory_returns_with_the_series() {
        let index = Index::new();
        let before = index.memory_bytes();
        let all = |n| (0..n).map(|i| series(&format!("m{{i=\"{i}\",j=\"{}\"}}", i % 7)));
        let ids = index.intern_all(all(1000));
        index.set_metadata("m", &Metadata { help: "h".repeat(100), ..Metadata::default() });
        let full = index.memory_bytes();
        assert!(full > before + 1000 * 100, "{before} {full}");
        index.remove(ids.iter().copied());
        assert_eq!((index.len(), index.metadata("m")), (0, None));
        // A pointer an id and the names of the labels stay.
        assert!(index.memory_bytes() < before + 1000 * 8 + 1000, "{}", index.memory_bytes());
        assert_eq!(index.intern_all(all(1)), [SeriesId(1000)]);
    }
}
