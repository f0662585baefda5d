//! The evaluation of selectors over the postings.
//!
//! Owns: the order in which matchers are asked and how each is answered. A matcher that refuses
//! the empty text keeps the ids of the values it accepts; one that accepts it, and so every series
//! without the label, drops the ids of the values it refuses. Either way only the label's values
//! decide, and of those only the ones that exist.
//!
//! Patterns are run on distinct values, or on the candidates' values where those are fewer. The
//! lock is let go between pages of values, so that no pattern holds up a writer for long; what
//! the answer can hold is fixed at the start, so a series that comes meanwhile is not half in it.

use std::collections::BTreeSet;
use std::ops::Bound;

use roaring::RoaringBitmap;

use super::postings::{Label, Posting};
use super::selections::{Selected, sort};
use super::{Index, State};
use crate::error::Result;
use crate::model::{METRIC_NAME_LABEL, MatchOp, Matcher, Selector, SeriesId};

/// Values or candidates examined under one hold of the lock: some 50 µs of a common pattern.
const PAGE: usize = 1024;

impl Index {
    /// The series that a selector selects, ascending by id. Costs some µs for equalities of few
    /// series; a pattern costs its run over the values of its label, or of the candidates left.
    #[must_use]
    pub fn select(&self, selector: &Selector) -> Vec<SeriesId> {
        self.select_all(selector).into_iter().map(SeriesId).collect()
    }

    /// The series that a selector selects, ascending by series, with their ids. What was asked
    /// lately is remembered as long as no series comes or goes. `check` is asked every 50 µs or so
    /// whether to go on, and before the series are sorted, with their number.
    ///
    /// # Errors
    /// That of `check`.
    pub fn selected(
        &self,
        selector: &Selector,
        check: &dyn Fn(u64) -> Result<()>,
    ) -> Result<Selected> {
        let generation = self.read().generation;
        if let Some(known) = self.selections().get(selector, generation) {
            check(known.len() as u64)?;
            return Ok(known);
        }
        let ids = self.select_ids(selector, &|| check(0))?;
        check(ids.len())?;
        let mut found = Vec::with_capacity(ids.len() as usize);
        self.visit(&ids, &|| check(0), |state, id| {
            let series = state.series.get(id as usize).and_then(Option::as_ref);
            found.extend(series.map(|series| (SeriesId(id), series.clone())));
        })?;
        sort(&mut found, &|| check(0))?;
        let selected = Selected::from(found);
        self.selections().put(selector, generation, &selected);
        Ok(selected)
    }

    /// The names of the labels that the selected series have, ascending, `__name__` among them.
    /// Free of the number of series where the selector is empty.
    #[must_use]
    pub fn label_names(&self, selector: &Selector) -> Vec<String> {
        let mut names = BTreeSet::new();
        if selector.matchers().is_empty() {
            names.extend(self.read().postings.names().map(str::to_owned));
        } else {
            self.visit_all(&self.select_all(selector), |state, id| {
                let Some(Some(series)) = state.series.get(id as usize) else { return };
                for name in std::iter::once(METRIC_NAME_LABEL).chain(series.labels().map(|l| l.0)) {
                    if !names.contains(name) {
                        names.insert(name.to_owned());
                    }
                }
            });
        }
        names.into_iter().collect()
    }

    /// The values of a label among the selected series, ascending; `__name__` for the metrics.
    #[must_use]
    pub fn label_values(&self, label: &str, selector: &Selector) -> Vec<String> {
        if selector.matchers().is_empty() {
            let state = self.read();
            let values = state.postings.label(label).map(|l| l.values_from(Bound::Unbounded));
            return values.into_iter().flatten().map(|(value, _)| value.to_owned()).collect();
        }
        let mut values = BTreeSet::new();
        self.visit_all(&self.select_all(selector), |state, id| {
            let Some(Some(series)) = state.series.get(id as usize) else { return };
            let value = series.label(label);
            if !value.is_empty() && !values.contains(value) {
                values.insert(value.to_owned());
            }
        });
        values.into_iter().collect()
    }

    /// As [`select_ids`](Self::select_ids), to the end.
    fn select_all(&self, selector: &Selector) -> RoaringBitmap {
        // Nothing else refuses.
        self.select_ids(selector, &|| Ok(())).unwrap_or_default()
    }

    fn select_ids(
        &self,
        selector: &Selector,
        check: &dyn Fn() -> Result<()>,
    ) -> Result<RoaringBitmap> {
        let (equal, mut others): (Vec<&Matcher>, Vec<&Matcher>) =
            selector.matchers().iter().partition(|m| m.op() == MatchOp::Equal && m.value() != "");
        let mut candidates = self.read().equal(&equal);
        // Those answered by looking values up come before those that run a pattern.
        others.sort_by_key(|matcher| wanted(matcher).is_none());
        for matcher in others {
            if candidates.is_empty() {
                break;
            }
            self.refine(&mut candidates, matcher, check)?;
        }
        Ok(candidates)
    }

    /// Leaves the candidates that the matcher accepts.
    fn refine(
        &self,
        candidates: &mut RoaringBitmap,
        matcher: &Matcher,
        check: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        let keep = matcher.accepts("");
        let values = self.read().postings.label(matcher.name()).map_or(0, Label::len);
        let decided = if let Some(wanted) = wanted(matcher).filter(|wanted| wanted.len() <= values)
        {
            check()?;
            self.read().any_of(matcher.name(), wanted)
        } else if candidates.len() <= values as u64 {
            let mut accepted = RoaringBitmap::new();
            self.visit(candidates, check, |state, id| {
                let series = state.series.get(id as usize).and_then(Option::as_ref);
                if series.is_some_and(|series| matcher.accepts(series.label(matcher.name()))) {
                    accepted.insert(id);
                }
            })?;
            *candidates = accepted;
            return Ok(());
        } else {
            self.scan(matcher, keep, check)?
        };
        if keep {
            *candidates -= decided;
        } else {
            *candidates &= decided;
        }
        Ok(())
    }

    /// The ids whose value the matcher accepts, or refuses where `keep`; a page of values at a
    /// time.
    fn scan(
        &self,
        matcher: &Matcher,
        keep: bool,
        check: &dyn Fn() -> Result<()>,
    ) -> Result<RoaringBitmap> {
        // A value that a pattern matches begins with one of its prefixes; a value that does not
        // match may begin anyhow.
        let positive = matcher.op().is_negative() == keep;
        let prefixes = if positive { matcher.prefixes() } else { &[] };
        let mut found = Found::default();
        if prefixes.is_empty() {
            self.scan_prefix(matcher, keep, "", check, &mut found)?;
        }
        for prefix in prefixes {
            self.scan_prefix(matcher, keep, prefix, check, &mut found)?;
        }
        Ok(found.into_ids())
    }

    /// As [`scan`](Self::scan), of the values that begin with a text.
    fn scan_prefix(
        &self,
        matcher: &Matcher,
        keep: bool,
        prefix: &str,
        check: &dyn Fn() -> Result<()>,
        found: &mut Found,
    ) -> Result<()> {
        let mut start = Bound::Included(prefix.to_owned());
        loop {
            check()?;
            let state = self.read();
            let Some(label) = state.postings.label(matcher.name()) else { return Ok(()) };
            let mut last = None;
            let from = start.as_ref().map(String::as_str);
            let page = label.values_from(from).take_while(|(value, _)| value.starts_with(prefix));
            for (i, (value, posting)) in page.take(PAGE).enumerate() {
                if matcher.accepts(value) != keep {
                    found.add(posting);
                }
                if i + 1 == PAGE {
                    last = Some(value.to_owned());
                }
            }
            match last {
                Some(last) => start = Bound::Excluded(last),
                None => return Ok(()),
            }
        }
    }

    /// As [`visit`](Self::visit), to the end.
    fn visit_all(&self, ids: &RoaringBitmap, visit: impl FnMut(&State, u32)) {
        // Nothing else refuses.
        let _ = self.visit(ids, &|| Ok(()), visit);
    }

    /// Calls `visit` for each id, a page under one hold of the lock.
    fn visit(
        &self,
        ids: &RoaringBitmap,
        check: &dyn Fn() -> Result<()>,
        mut visit: impl FnMut(&State, u32),
    ) -> Result<()> {
        let mut ids = ids.iter().peekable();
        while ids.peek().is_some() {
            check()?;
            let state = self.read();
            ids.by_ref().take(PAGE).for_each(|id| visit(&state, id));
        }
        Ok(())
    }
}

/// Ids found value by value. Those of values of one series come in no order, which a bitmap takes
/// in much faster once they are sorted.
#[derive(Default)]
struct Found {
    many: RoaringBitmap,
    single: Vec<u32>,
}

impl Found {
    fn add(&mut self, posting: &Posting) {
        match posting {
            Posting::One(id) => self.single.push(*id),
            Posting::Many(ids) => self.many |= ids,
        }
    }

    fn into_ids(mut self) -> RoaringBitmap {
        self.single.sort_unstable();
        self.many | self.single.into_iter().collect::<RoaringBitmap>()
    }
}

impl State {
    /// The ids that pass every `=`; all there are where there is none.
    fn equal(&self, matchers: &[&Matcher]) -> RoaringBitmap {
        let mut postings: Vec<&Posting> = Vec::with_capacity(matchers.len());
        for matcher in matchers {
            let label = self.postings.label(matcher.name());
            match label.and_then(|label| label.get(matcher.value())) {
                Some(posting) => postings.push(posting),
                None => return RoaringBitmap::new(),
            }
        }
        postings.sort_by_key(|posting| posting.len());
        let Some((first, others)) = postings.split_first() else { return self.live.clone() };
        let mut ids = RoaringBitmap::new();
        first.add_to(&mut ids);
        others.iter().for_each(|posting| posting.intersect(&mut ids));
        ids
    }

    /// The ids that have one of these values.
    fn any_of(&self, name: &str, values: &[String]) -> RoaringBitmap {
        let mut ids = RoaringBitmap::new();
        if let Some(label) = self.postings.label(name) {
            let postings = values.iter().filter_map(|value| label.get(value));
            postings.for_each(|posting| posting.add_to(&mut ids));
        }
        ids
    }
}

/// The values that decide a matcher, where they are known without looking: those it accepts if it
/// refuses the empty text, else those it refuses.
fn wanted(matcher: &Matcher) -> Option<&[String]> {
    let literals = matcher.literals()?;
    let empty = literals.iter().any(String::is_empty);
    (!empty).then_some(literals)
}
