//! The directory of sources: numbered, at most so many; and the classes of errors.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::instrument::Instruments;
use super::outcome::{Classes, OTHER, cut};
use super::source::{Source, SourceMetrics, SourceState};
use crate::time::Timestamp;

/// All sources, by number and by name, and the classes of errors.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) classes: Arc<Classes>,
    sources: RwLock<Sources>,
    sources_max: usize,
    /// Names that were met when there were too many.
    pub(super) refused: AtomicU64,
}

#[derive(Debug, Default)]
struct Sources {
    numbers: HashMap<Arc<str>, usize>,
    states: Vec<Arc<SourceState>>,
}

impl Directory {
    pub(super) fn new(sources_max: usize) -> Self {
        Self {
            classes: Arc::new(Classes::new()),
            sources: RwLock::default(),
            sources_max,
            refused: AtomicU64::new(0),
        }
    }

    /// The source of this name, a new one where there is room; else the one called `other`, beyond
    /// the bound.
    pub(super) fn source(&self, name: &str, instruments: &Instruments, now: Timestamp) -> Source {
        let name = Some(cut(name)).filter(|name| !name.is_empty()).unwrap_or(OTHER);
        let known = self.sources.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(name) {
            return found;
        }
        // Names without end must not hold up what is known.
        if known.states.len() >= self.sources_max
            && let Some(other) = known.get(OTHER)
        {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return other;
        }
        drop(known);
        let mut known = self.sources.write().unwrap_or_else(PoisonError::into_inner);
        let full = known.states.len() >= self.sources_max;
        if full && known.get(name).is_none() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        let name = if full && known.get(name).is_none() { OTHER } else { name };
        if let Some(found) = known.get(name) {
            return found;
        }
        let number = known.states.len();
        let name: Arc<str> = name.into();
        let of = (Arc::clone(&name), number as u32, Arc::clone(&self.classes));
        let state = Arc::new(SourceState::new(of, instruments, now));
        known.numbers.insert(name, number);
        known.states.push(Arc::clone(&state));
        Source(state)
    }

    pub(super) fn all(&self) -> Vec<Arc<SourceState>> {
        self.sources.read().unwrap_or_else(PoisonError::into_inner).states.clone()
    }

    pub(super) fn state(&self, number: u32) -> Option<Arc<SourceState>> {
        let known = self.sources.read().unwrap_or_else(PoisonError::into_inner);
        known.states.get(number as usize).cloned()
    }

    pub(super) fn name(&self, number: u32) -> Arc<str> {
        self.state(number).map_or_else(|| OTHER.into(), |state| Arc::clone(&state.name))
    }

    /// All of them, by name.
    pub(super) fn metrics(&self) -> Vec<SourceMetrics> {
        let mut all: Vec<SourceMetrics> = self.all().iter().map(|state| state.metrics()).collect();
        all.sort_by(|a, b| a.source.cmp(&b.source));
        all
    }
}

impl Sources {
    fn get(&self, name: &str) -> Option<Source> {
        let number = self.numbers.get(name)?;
        self.states.get(*number).map(|state| Source(Arc::clone(state)))
    }
}
