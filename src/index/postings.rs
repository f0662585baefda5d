//! Postings: for every label and value, the series that have it.
//!
//! Owns: the inverted index and its memory. Does not own: identities, or the evaluation of
//! selectors (`select`).

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::model::{METRIC_NAME_LABEL, Series};

/// Bytes an entry of a sorted map takes beside its text: pointer, length and slot at the tree's
/// mean load of 2/3.
const VALUE_BYTES: usize = (16 + 4) * 3 / 2 + size_of::<Posting>();
/// Bytes that the first container of a bitmap takes: its head and the smallest list.
const BITMAP_BYTES: usize = 64;

/// The ids that have one value. Values of one series are by far the most numerous (paths,
/// instances, queries), and would otherwise cost a bitmap each.
#[derive(Debug)]
pub(super) enum Posting {
    One(u32),
    Many(RoaringBitmap),
}

impl Posting {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::One(_) => 1,
            Self::Many(ids) => ids.len(),
        }
    }

    pub(super) fn add_to(&self, set: &mut RoaringBitmap) {
        match self {
            Self::One(id) => {
                set.insert(*id);
            }
            Self::Many(ids) => *set |= ids,
        }
    }

    pub(super) fn intersect(&self, set: &mut RoaringBitmap) {
        match self {
            Self::One(id) => {
                let found = set.contains(*id);
                set.clear();
                if found {
                    set.insert(*id);
                }
            }
            Self::Many(ids) => *set &= ids,
        }
    }

    /// Adds an id above all those there.
    fn push(&mut self, id: u32) {
        match self {
            Self::One(first) => *self = Self::Many([*first, id].into_iter().collect()),
            Self::Many(ids) => {
                // Appending spares a search, and fails only for an id that does not ascend.
                if ids.try_push(id).is_err() {
                    ids.insert(id);
                }
            }
        }
    }

    /// Whether none are left.
    fn remove(&mut self, id: u32) -> bool {
        match self {
            Self::One(first) => *first == id,
            Self::Many(ids) => {
                ids.remove(id);
                ids.is_empty()
            }
        }
    }
}

/// One label's values, ascending, each with its slot of `postings`.
#[derive(Debug, Default)]
pub(super) struct Label {
    slots: BTreeMap<Box<str>, u32>,
    postings: Vec<Posting>,
    /// Slots whose value is gone.
    free: Vec<u32>,
}

impl Label {
    /// Distinct values.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn get(&self, value: &str) -> Option<&Posting> {
        self.postings.get(*self.slots.get(value)? as usize)
    }

    /// Values from a bound on, ascending.
    pub(super) fn values_from<'a>(
        &'a self,
        start: Bound<&str>,
    ) -> impl Iterator<Item = (&'a str, &'a Posting)> {
        self.slots
            .range::<str, _>((start, Bound::Unbounded))
            .filter_map(|(value, &slot)| Some((&**value, self.postings.get(slot as usize)?)))
    }

    /// The slot of a value, where one stands already.
    fn slot(&self, value: &str) -> Option<u32> {
        self.slots.get(value).copied()
    }

    /// Gives a new value a slot.
    fn add_value(&mut self, value: &str, id: u32) -> u32 {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => u32::try_from(self.postings.len()).unwrap_or(u32::MAX),
        };
        match self.postings.get_mut(slot as usize) {
            Some(posting) => *posting = Posting::One(id),
            None => self.postings.push(Posting::One(id)),
        }
        self.slots.insert(value.into(), slot);
        slot
    }
}

/// Label → value → ids. The metric name is the label `__name__`.
#[derive(Debug, Default)]
pub(super) struct Postings {
    /// Places in `labels`.
    places: HashMap<Box<str>, u32>,
    labels: Vec<Label>,
    /// The series inserted last and where its pairs stand: the next one mostly shares them, and
    /// comparing texts is cheaper than finding them.
    last: Option<Arc<Series>>,
    last_slots: Vec<(u32, u32)>,
    memory_bytes: usize,
}

impl Postings {
    /// Adds a series; `id` is above all those added before.
    pub(super) fn insert(&mut self, id: u32, series: &Arc<Series>) {
        let last = self.last.take();
        let mut last_slots = std::mem::take(&mut self.last_slots);
        let mut last_pairs = last.iter().flat_map(|last| pairs(last));
        for (i, (name, value)) in pairs(series).enumerate() {
            let known = last_pairs.next().zip(last_slots.get(i).copied());
            let slots = match known {
                Some(((last_name, last_value), (place, slot))) if last_name == name => {
                    if last_value == value {
                        self.push(place, slot, id);
                        (place, slot)
                    } else {
                        (place, self.find_or_add(place, value, id))
                    }
                }
                _ => {
                    let place = self.place(name);
                    (place, self.find_or_add(place, value, id))
                }
            };
            match last_slots.get_mut(i) {
                Some(last) => *last = slots,
                None => last_slots.push(slots),
            }
        }
        self.last = Some(Arc::clone(series));
        self.last_slots = last_slots;
    }

    /// Takes a series out; `series` is the one that was added as `id`.
    pub(super) fn remove(&mut self, id: u32, series: &Series) {
        self.last = None;
        for (name, value) in pairs(series) {
            let Some(&place) = self.places.get(name) else { continue };
            let Some(label) = self.labels.get_mut(place as usize) else { continue };
            let Some(slot) = label.slot(value) else { continue };
            let Some(posting) = label.postings.get_mut(slot as usize) else { continue };
            if !posting.remove(id) {
                self.memory_bytes = self.memory_bytes.saturating_sub(2);
                continue;
            }
            if matches!(posting, Posting::Many(_)) {
                self.memory_bytes = self.memory_bytes.saturating_sub(BITMAP_BYTES);
            }
            *posting = Posting::One(id);
            label.slots.remove(value);
            label.free.push(slot);
            self.memory_bytes = self.memory_bytes.saturating_sub(VALUE_BYTES + value.len());
        }
    }

    pub(super) fn label(&self, name: &str) -> Option<&Label> {
        self.labels.get(*self.places.get(name)? as usize)
    }

    /// Labels that some series has, in no order; `__name__` among them.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.places.iter().filter_map(|(name, &place)| {
            (self.labels.get(place as usize)?.len() > 0).then_some(&**name)
        })
    }

    pub(super) fn has_metric(&self, name: &str) -> bool {
        self.label(METRIC_NAME_LABEL).is_some_and(|label| label.get(name).is_some())
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    fn place(&mut self, name: &str) -> u32 {
        if let Some(&place) = self.places.get(name) {
            return place;
        }
        let place = u32::try_from(self.labels.len()).unwrap_or(u32::MAX);
        self.labels.push(Label::default());
        self.places.insert(name.into(), place);
        self.memory_bytes += size_of::<Label>() + 2 * size_of::<(Box<str>, u32)>() + name.len();
        place
    }

    fn find_or_add(&mut self, place: u32, value: &str, id: u32) -> u32 {
        let Some(label) = self.labels.get_mut(place as usize) else { return u32::MAX };
        match label.slot(value) {
            Some(slot) => {
                self.push(place, slot, id);
                slot
            }
            None => {
                self.memory_bytes += VALUE_BYTES + value.len();
                label.add_value(value, id)
            }
        }
    }

    fn push(&mut self, place: u32, slot: u32, id: u32) {
        let label = self.labels.get_mut(place as usize);
        if let Some(posting) = label.and_then(|label| label.postings.get_mut(slot as usize)) {
            let first = matches!(posting, Posting::One(_));
            self.memory_bytes += if first { BITMAP_BYTES } else { 2 };
            posting.push(id);
        }
    }
}

/// Name and value of each label, the metric name first.
fn pairs(series: &Series) -> impl Iterator<Item = (&str, &str)> {
    std::iter::once((METRIC_NAME_LABEL, series.name())).chain(series.labels())
}
