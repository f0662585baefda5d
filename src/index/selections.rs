//! Selections that were made lately. A dashboard asks for the same series again and again; finding
//! them in order takes longer than reading an hour of them.

use std::sync::Arc;

use crate::error::Result;
use crate::model::{Selector, Series, SeriesId};

/// Series with their ids, ascending by series, each once.
pub type Selected = Arc<[(SeriesId, Arc<Series>)]>;

/// Selections remembered at most.
const SELECTIONS_MAX: usize = 64;
/// Series in them together at most: 4 MiB.
const SERIES_MAX: usize = 1 << 18;
/// Series sorted at once: some ms at most.
const SORT_BLOCK: usize = 4096;

/// The latest selections, the one used last at the end.
#[derive(Debug, Default)]
pub(super) struct Selections {
    recent: Vec<Recent>,
    series: usize,
}

#[derive(Debug)]
struct Recent {
    selector: Selector,
    /// What the index held then.
    generation: u64,
    selected: Selected,
}

impl Selections {
    /// What the selector selected, if the index is what it was then.
    pub(super) fn get(&mut self, selector: &Selector, generation: u64) -> Option<Selected> {
        let at = self.recent.iter().position(|recent| recent.selector == *selector)?;
        let recent = self.recent.remove(at);
        if recent.generation != generation {
            self.series -= recent.selected.len();
            return None;
        }
        let selected = Arc::clone(&recent.selected);
        self.recent.push(recent);
        Some(selected)
    }

    pub(super) fn put(&mut self, selector: &Selector, generation: u64, selected: &Selected) {
        if selected.len() > SERIES_MAX {
            return;
        }
        // Another thread may have come first.
        let _ = self.get(selector, u64::MAX);
        let (selector, selected) = (selector.clone(), Arc::clone(selected));
        self.series += selected.len();
        self.recent.push(Recent { selector, generation, selected });
        while self.series > SERIES_MAX || self.recent.len() > SELECTIONS_MAX {
            self.series -= self.recent.remove(0).selected.len();
        }
    }
}

/// Sorts ascending by series; `check` is asked every few milliseconds whether to go on.
pub(super) fn sort(
    found: &mut [(SeriesId, Arc<Series>)],
    check: &dyn Fn() -> Result<()>,
) -> Result<()> {
    let mut length = SORT_BLOCK;
    for block in found.chunks_mut(length) {
        check()?;
        block.sort_unstable_by(|one, other| one.1.cmp(&other.1));
    }
    // The stable sort finds the two halves in order, and merges them.
    while length < found.len() {
        length *= 2;
        for block in found.chunks_mut(length) {
            check()?;
            block.sort_by(|one, other| one.1.cmp(&other.1));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::index::Index;

    fn host(number: usize) -> Series {
        Series::new("up", [("host", &*format!("{number:06}"))]).unwrap()
    }

    #[test]
    fn what_is_remembered_is_what_is_there_now() {
        let index = Index::new();
        let selector = Selector::parse("up{host=~\".*7\"}").unwrap();
        let found = || index.selected(&selector, &|_| Ok(())).unwrap().len();
        index.intern_all((0..100).map(host));
        assert_eq!((found(), found()), (10, 10));
        let new = index.intern(&host(107));
        assert_eq!((found(), found()), (11, 11));
        index.remove([new]);
        assert_eq!(found(), 10);
    }

    #[test]
    fn they_are_sorted_by_what_they_are_called_however_many() {
        let index = Index::new();
        let count = 3 * SORT_BLOCK + 17;
        index.intern_all((0..count).map(|i| host(i * 7919 % count)));
        let all = index.selected(&Selector::parse("up").unwrap(), &|_| Ok(())).unwrap();
        assert_eq!(all.len(), count);
        assert!(all.is_sorted_by(|one, next| one.1 < next.1));
    }

    #[test]
    fn what_checks_may_refuse_before_anything_is_sorted() {
        let index = Index::new();
        index.intern_all((0..100).map(host));
        let refuse = |series| if series > 99 { Err(Error::Cancelled) } else { Ok(()) };
        for _ in 0..2 {
            let refused = index.selected(&Selector::default(), &refuse);
            assert!(matches!(refused, Err(Error::Cancelled)));
        }
    }

    #[test]
    fn few_are_remembered() {
        let mut selections = Selections::default();
        let of = |i: usize| Selector::metric(&format!("m{i}")).unwrap();
        let one = |i: usize| Selected::from(vec![(SeriesId(0), Arc::new(host(i)))]);
        for i in 0..2 * SELECTIONS_MAX {
            selections.put(&of(i), 1, &one(i));
        }
        assert_eq!((selections.recent.len(), selections.series), (SELECTIONS_MAX, SELECTIONS_MAX));
        assert!(selections.get(&of(0), 1).is_none());
        assert!(selections.get(&of(SELECTIONS_MAX), 1).is_some());
        let many = Selected::from(vec![(SeriesId(0), Arc::new(host(0))); SERIES_MAX]);
        selections.put(&of(0), 1, &many);
        assert_eq!((selections.recent.len(), selections.series), (1, SERIES_MAX));
    }
}
