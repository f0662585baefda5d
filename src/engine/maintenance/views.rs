//! What planning needs to know of the live parts beyond the catalog.

use std::collections::HashSet;
use std::sync::Arc;

use super::lock;
use crate::engine::shared::{Shared, View};
use crate::model::SeriesId;
use crate::part::{Layout, Part};
use crate::retention::PartView;
use crate::time::TimeRange;

/// What is found out once about a part.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// Ascending.
    classes: Vec<usize>,
    /// Whether compaction wrote it in this run.
    rewritten: bool,
}

impl Shared {
    /// Every live part, as planning sees it.
    pub(super) fn part_views(&self, view: &View) -> Vec<PartView> {
        let mut facts = lock(&self.upkeep.facts);
        facts.retain(|id, _| view.catalog.part(*id).is_some());
        let views = view.parts.iter().filter_map(|part| {
            let entry = *view.catalog.part(part.meta().id)?;
            let facts = facts.entry(entry.id).or_default();
            if facts.classes.is_empty() {
                facts.classes = self.classes_of(part);
            }
            let affecting = view.catalog.tombstones.iter().zip(view.masks.iter());
            let purgeable = affecting.filter(|(tombstone, mask)| {
                tombstone.may_affect(&entry)
                    && mask.series.iter().any(|id| part.position(SeriesId(id)).is_some())
            });
            Some(PartView {
                entry,
                classes: facts.classes.clone(),
                chunks: part.meta().chunks,
                purgeable: purgeable.map(|(tombstone, _)| tombstone.id).collect(),
                rewritten: facts.rewritten,
            })
        });
        views.collect()
    }

    /// The parts that work may touch: none that could not be read, and none that overlaps one in
    /// time, by way of others too, since what is planned around a gap would be wrong.
    pub(super) fn workable(&self, mut parts: Vec<PartView>) -> Vec<PartView> {
        let unreadable = lock(&self.upkeep.unreadable);
        if !unreadable.is_empty() {
            let alone = left_alone(&parts, |id| unreadable.contains_key(&id));
            parts.retain(|part| !alone.contains(&part.entry.id));
        }
        parts
    }

    /// Remembers parts that compaction wrote.
    pub(super) fn note_rewritten(&self, parts: &[Arc<Part>]) {
        let mut facts = lock(&self.upkeep.facts);
        for part in parts {
            facts.entry(part.meta().id).or_default().rewritten = true;
        }
    }

    fn classes_of(&self, part: &Part) -> Vec<usize> {
        let policy = &self.options.policy;
        if part.event_schema().is_some() {
            return vec![self.class_of_part(part)];
        }
        if policy.rules.is_empty() {
            return vec![0];
        }
        let mut classes: Vec<usize> = Vec::new();
        for &id in part.series_ids() {
            let class = self.class_of(id);
            if let Err(at) = classes.binary_search(&class) {
                classes.insert(at, class);
            }
            if classes.len() > policy.rules.len() {
                break;
            }
        }
        classes
    }
}

/// Ids of the parts that are unreadable, and of those whose windows reach into theirs.
fn left_alone(parts: &[PartView], unreadable: impl Fn(u64) -> bool) -> HashSet<u64> {
    let mut reached: Vec<&PartView> =
        parts.iter().filter(|part| unreadable(part.entry.id)).collect();
    let mut alone: HashSet<u64> = reached.iter().map(|part| part.entry.id).collect();
    while let Some(one) = reached.pop() {
        let TimeRange { start, end } = one.entry.window;
        let meets = |other: &TimeRange| other.start < end && start < other.end;
        // Nothing is planned across tables of events, nor from events to series.
        let events = one.entry.layout == Layout::Events;
        let apart = |part: &PartView| {
            events != (part.entry.layout == Layout::Events) || events && !part.shares_a_class(one)
        };
        let near = parts.iter().filter(|part| meets(&part.entry.window));
        for part in near.filter(|part| !apart(part)) {
            if alone.insert(part.entry.id) {
                reached.push(part);
            }
        }
    }
    alone
}
