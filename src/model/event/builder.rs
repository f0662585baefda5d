//! Rows being put together, texts numbered as they come.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::bitmap::Bitmap;
use super::rows::{EventData, EventRows, EventVector};
use super::schema::EventKind;
use super::value::EventValue;

/// What a text takes in memory beyond its bytes: counts, and its places in dictionary and hash table.
const TEXT_BYTES: usize = 96;

/// Puts rows together. What was shared of them before stays as it was: the next row copies then.
#[derive(Debug)]
pub(crate) struct EventBuilder {
    rows: Arc<EventRows>,
    /// By column: the numbers of the texts in its dictionary; empty for other kinds.
    numbers: Vec<HashMap<Arc<str>, u32>>,
}

impl EventBuilder {
    /// No rows, of columns of these kinds.
    pub(crate) fn new(kinds: impl IntoIterator<Item = EventKind>) -> Self {
        let rows = EventRows::of(kinds);
        let numbers = rows.columns.iter().map(|_| HashMap::new()).collect();
        Self { rows: Arc::new(rows), numbers }
    }

    /// What was put together so far.
    pub(crate) const fn rows(&self) -> &Arc<EventRows> {
        &self.rows
    }

    /// The same columns, without rows; what was put together is returned.
    pub(crate) fn take(&mut self) -> Arc<EventRows> {
        let kinds: Vec<EventKind> = self.rows.columns.iter().map(EventData::kind).collect();
        let fresh = Self::new(kinds);
        std::mem::replace(self, fresh).rows
    }

    /// Adds a row; columns that `values` does not reach are null in it. Values are of the columns'
    /// kinds; one that is not counts as null. Returns the bytes that texts take which were not there before.
    pub(crate) fn push(&mut self, time: i64, values: &[EventValue]) -> usize {
        let rows = Arc::make_mut(&mut self.rows);
        rows.times.push(time);
        let (mut values, mut text_bytes) = (values.iter(), 0);
        for (column, numbers) in rows.columns.iter_mut().zip(&mut self.numbers) {
            let (value, known) = (values.next().unwrap_or(&EventValue::Null), numbers.len());
            push(column, value, numbers);
            if numbers.len() > known {
                text_bytes += TEXT_BYTES + value.text_bytes();
            }
        }
        text_bytes
    }

    /// Adds some rows of `from`; columns that it does not have are null in them.
    pub(crate) fn append(&mut self, from: &EventRows, range: Range<usize>) {
        let rows = Arc::make_mut(&mut self.rows);
        rows.times.extend_from_slice(from.times.get(range.clone()).unwrap_or_default());
        for (at, (column, numbers)) in rows.columns.iter_mut().zip(&mut self.numbers).enumerate() {
            match from.columns.get(at) {
                Some(source) => append(column, source, &range, numbers),
                None => range.clone().for_each(|_| push(column, &EventValue::Null, numbers)),
            }
        }
    }
}

fn note_presence(present: &mut Option<Bitmap>, len: usize, holds: bool) {
    if !holds && present.is_none() {
        *present = Some(Bitmap::filled(true, len));
    }
    if let Some(present) = present {
        present.push(holds);
    }
}

fn push(column: &mut EventData, value: &EventValue, numbers: &mut HashMap<Arc<str>, u32>) {
    let len = column.len();
    let holds = match (&mut column.values, value) {
        (EventVector::Integer(values), EventValue::Integer(value)) => {
            values.push(*value);
            true
        }
        (EventVector::Float(values), EventValue::Float(value)) => {
            values.push(*value);
            true
        }
        (EventVector::Boolean(values), EventValue::Boolean(value)) => {
            values.push(*value);
            true
        }
        (EventVector::Text { ids, dictionary }, EventValue::Text(text)) => {
            ids.push(number(text, dictionary, numbers));
            true
        }
        (EventVector::Integer(values), _) => {
            values.push(0);
            false
        }
        (EventVector::Float(values), _) => {
            values.push(0.0);
            false
        }
        (EventVector::Boolean(values), _) => {
            values.push(false);
            false
        }
        (EventVector::Text { ids, .. }, _) => {
            ids.push(0);
            false
        }
    };
    note_presence(&mut column.present, len, holds);
}

fn number(
    text: &Arc<str>,
    dictionary: &mut Arc<Vec<Arc<str>>>,
    numbers: &mut HashMap<Arc<str>, u32>,
) -> u32 {
    if let Some(&number) = numbers.get(text) {
        return number;
    }
    let number = dictionary.len() as u32;
    Arc::make_mut(dictionary).push(Arc::clone(text));
    numbers.insert(Arc::clone(text), number);
    number
}

fn append(
    column: &mut EventData,
    from: &EventData,
    range: &Range<usize>,
    numbers: &mut HashMap<Arc<str>, u32>,
) {
    let len = column.len();
    match (&mut column.values, &from.values) {
        (EventVector::Integer(to), EventVector::Integer(values)) => {
            to.extend_from_slice(values.get(range.clone()).unwrap_or_default());
        }
        (EventVector::Float(to), EventVector::Float(values)) => {
            to.extend_from_slice(values.get(range.clone()).unwrap_or_default());
        }
        (EventVector::Boolean(to), EventVector::Boolean(values)) => {
            range.clone().for_each(|row| to.push(values.get(row)));
        }
        (
            EventVector::Text { ids: to, dictionary },
            EventVector::Text { ids, dictionary: texts },
        ) => {
            // Each text of the other dictionary is looked up once, where it occurs.
            let mut known = vec![u32::MAX; texts.len()];
            to.extend(range.clone().map(|row| {
                let id = ids.get(row).copied().filter(|_| from.is_present(row));
                let slot = id.and_then(|id| known.get_mut(id as usize).zip(texts.get(id as usize)));
                let Some((slot, text)) = slot else { return 0 };
                if *slot == u32::MAX {
                    *slot = number(text, dictionary, numbers);
                }
                *slot
            }));
        }
        // Columns of one table are of one kind.
        _ => range.clone().for_each(|_| push(column, &EventValue::Null, numbers)),
    }
    if column.present.as_ref().map_or(len, Bitmap::len) == len
        && (column.present.is_some() || from.present.is_some())
    {
        for (at, row) in (len..).zip(range.clone()) {
            note_presence(&mut column.present, at, from.is_present(row));
        }
    }
}

impl EventData {
    /// These rows of it, in this order; texts share its dictionary.
    pub(crate) fn gather(&self, rows: &[u32]) -> Self {
        fn pick<T: Copy + Default>(values: &[T], rows: &[u32]) -> Vec<T> {
            rows.iter().map(|&row| values.get(row as usize).copied().unwrap_or_default()).collect()
        }
        let bits = |bits: &Bitmap| rows.iter().map(|&row| bits.get(row as usize)).collect();
        let values = match &self.values {
            EventVector::Integer(values) => EventVector::Integer(pick(values, rows)),
            EventVector::Float(values) => EventVector::Float(pick(values, rows)),
            EventVector::Boolean(values) => EventVector::Boolean(bits(values)),
            EventVector::Text { ids, dictionary } => {
                let dictionary = Arc::clone(dictionary);
                EventVector::Text { ids: pick(ids, rows), dictionary }
            }
        };
        let present: Option<Bitmap> = self.present.as_ref().map(bits);
        let present = present.filter(|present| present.count_ones() < present.len());
        Self { present, values }
    }
}

impl EventRows {
    /// These rows, in this order.
    pub(crate) fn gather(&self, rows: &[u32]) -> Self {
        let time = |row: &u32| self.times.get(*row as usize).copied().unwrap_or_default();
        Self {
            times: rows.iter().map(time).collect(),
            columns: self.columns.iter().map(|column| column.gather(rows)).collect(),
        }
    }

    /// The rows ascending by time, those of one time as they stand; `None` where they are.
    pub(crate) fn sorted(&self) -> Option<Self> {
        if self.times.is_sorted() {
            return None;
        }
        let mut order: Vec<u32> = (0..).take(self.len()).collect();
        order.sort_by_key(|&row| self.times.get(row as usize));
        Some(self.gather(&order))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Row = (i64, Vec<EventValue>);

    const KINDS: [EventKind; 4] =
        [EventKind::Integer, EventKind::Float, EventKind::Boolean, EventKind::Text];

    fn any_row() -> impl Strategy<Value = Row> {
        let text = prop::option::of("[ab]{0,2}");
        let row = (
            0..50_i64,
            prop::option::of(0..9_i64),
            prop::option::of(0..9_i32),
            any::<Option<bool>>(),
            text,
        );
        row.prop_map(|(time, integer, float, boolean, text)| {
            let float = float.map(f64::from);
            (time, vec![integer.into(), float.into(), boolean.into(), text.into()])
        })
    }

    fn listed(rows: &EventRows) -> Vec<Row> {
        let values = |row| (0..rows.columns.len()).map(|column| rows.value(row, column)).collect();
        rows.times.iter().enumerate().map(|(row, &time)| (time, values(row))).collect()
    }

    proptest! {
        /// A builder is a list of rows, whichever way they come, and what was shared stays.
        #[test]
        fn a_builder_is_a_list_of_rows(
            first in prop::collection::vec(any_row(), 0..60),
            second in prop::collection::vec(any_row(), 1..60),
            from in 0..60_usize,
            short in 1..4_usize,
        ) {
            let mut one = EventBuilder::new(KINDS);
            let mut bytes = 0;
            first.iter().for_each(|(time, values)| bytes += one.push(*time, values));
            let EventVector::Text { dictionary, .. } = &one.rows().columns[3].values else { panic!() };
            prop_assert_eq!(bytes, dictionary.iter().map(|text| TEXT_BYTES + text.len()).sum::<usize>());
            let shared = Arc::clone(one.rows());
            let mut other = EventBuilder::new(KINDS.into_iter().take(short));
            for (time, values) in &second {
                other.push(*time, values);
            }
            let range = from.min(second.len())..second.len();
            one.append(other.rows(), range.clone());
            prop_assert_eq!(listed(&shared), first.clone());
            let mut expected = first;
            expected.extend(second[range].iter().map(|(time, values)| {
                let mut values = values[..short].to_vec();
                values.resize(KINDS.len(), EventValue::Null);
                (*time, values)
            }));
            prop_assert_eq!(listed(one.rows()), expected.clone());
            let sorted = one.rows().sorted().map_or_else(|| listed(one.rows()), |rows| listed(&rows));
            expected.sort_by_key(|(time, _)| *time);
            prop_assert_eq!(sorted, expected);
            let all = one.take();
            prop_assert!(one.rows().is_empty() && !all.is_empty() || all.is_empty());
        }
    }
}
