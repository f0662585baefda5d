//! Rows as columns.

use std::sync::Arc;

use super::bitmap::Bitmap;
use super::schema::EventKind;
use super::value::EventValue;

/// Rows as columns: what a scan answers with, and what blocks and groups of rows are in memory.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EventRows {
    /// When, nanoseconds since the epoch, one a row.
    pub times: Vec<i64>,
    /// The columns, each of as many rows.
    pub columns: Vec<EventData>,
}

/// One column of some rows.
#[derive(Debug, Clone, PartialEq)]
pub struct EventData {
    /// Which rows hold a value; `None` where all do.
    pub present: Option<Bitmap>,
    /// One a row; where a row holds none, 0, false, or any id.
    pub values: EventVector,
}

/// The values of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum EventVector {
    /// Of [`EventKind::Integer`].
    Integer(Vec<i64>),
    /// Of [`EventKind::Float`], bit for bit.
    Float(Vec<f64>),
    /// Of [`EventKind::Boolean`].
    Boolean(Bitmap),
    /// Of [`EventKind::Text`].
    Text {
        /// For each row, an index into the dictionary.
        ids: Vec<u32>,
        /// Every text that occurs, once; others may be among them. Shared: a clone costs no copy.
        dictionary: Arc<Vec<Arc<str>>>,
    },
}

impl EventRows {
    /// No rows, of columns of these kinds.
    #[must_use]
    pub fn of(kinds: impl IntoIterator<Item = EventKind>) -> Self {
        Self { times: Vec::new(), columns: kinds.into_iter().map(EventData::of).collect() }
    }

    /// Rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// What stands in a row's column; null beyond either.
    #[must_use]
    pub fn value(&self, row: usize, column: usize) -> EventValue {
        self.columns.get(column).map_or(EventValue::Null, |column| column.value(row))
    }

    /// Bytes in memory, about; dictionaries that others share counted in full.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.value_bytes() + self.columns.iter().map(EventData::dictionary_bytes).sum::<usize>()
    }

    /// As [`memory_bytes`](Self::memory_bytes), without dictionaries.
    pub(crate) fn value_bytes(&self) -> usize {
        size_of_val(&*self.times) + self.columns.iter().map(EventData::value_bytes).sum::<usize>()
    }
}

impl EventData {
    /// No rows of this kind.
    #[must_use]
    pub fn of(kind: EventKind) -> Self {
        let values = match kind {
            EventKind::Integer => EventVector::Integer(Vec::new()),
            EventKind::Float => EventVector::Float(Vec::new()),
            EventKind::Boolean => EventVector::Boolean(Bitmap::new()),
            EventKind::Text => EventVector::Text { ids: Vec::new(), dictionary: Arc::default() },
        };
        Self { present: None, values }
    }

    /// `rows` rows of this kind, all null.
    #[must_use]
    pub fn nulls(kind: EventKind, rows: usize) -> Self {
        let values = match kind {
            EventKind::Integer => EventVector::Integer(vec![0; rows]),
            EventKind::Float => EventVector::Float(vec![0.0; rows]),
            EventKind::Boolean => EventVector::Boolean(Bitmap::filled(false, rows)),
            EventKind::Text => EventVector::Text { ids: vec![0; rows], dictionary: Arc::default() },
        };
        Self { present: Some(Bitmap::filled(false, rows)), values }
    }

    /// What stands in it.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        match self.values {
            EventVector::Integer(_) => EventKind::Integer,
            EventVector::Float(_) => EventKind::Float,
            EventVector::Boolean(_) => EventKind::Boolean,
            EventVector::Text { .. } => EventKind::Text,
        }
    }

    /// Rows.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.values {
            EventVector::Integer(values) => values.len(),
            EventVector::Float(values) => values.len(),
            EventVector::Boolean(values) => values.len(),
            EventVector::Text { ids, .. } => ids.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the row holds a value.
    #[must_use]
    #[inline]
    pub fn is_present(&self, row: usize) -> bool {
        self.present.as_ref().is_none_or(|present| present.get(row))
    }

    /// Rows without a value.
    #[must_use]
    pub fn null_count(&self) -> usize {
        self.present.as_ref().map_or(0, |present| present.len() - present.count_ones())
    }

    /// What stands in a row; null beyond the last.
    #[must_use]
    pub fn value(&self, row: usize) -> EventValue {
        if !self.is_present(row) {
            return EventValue::Null;
        }
        let value = match &self.values {
            EventVector::Integer(values) => values.get(row).copied().map(EventValue::Integer),
            EventVector::Float(values) => values.get(row).copied().map(EventValue::Float),
            EventVector::Boolean(values) => {
                (row < values.len()).then(|| EventValue::Boolean(values.get(row)))
            }
            EventVector::Text { .. } => {
                self.text(row).map(|text| EventValue::Text(Arc::clone(text)))
            }
        };
        value.unwrap_or(EventValue::Null)
    }

    /// The text of a row; `None` of a null, or of another kind.
    #[must_use]
    pub fn text(&self, row: usize) -> Option<&Arc<str>> {
        let EventVector::Text { ids, dictionary } = &self.values else { return None };
        let id = ids.get(row).filter(|_| self.is_present(row))?;
        dictionary.get(*id as usize)
    }

    fn value_bytes(&self) -> usize {
        let present = self.present.as_ref().map_or(0, Bitmap::memory_bytes);
        present
            + match &self.values {
                EventVector::Integer(values) => size_of_val(&**values),
                EventVector::Float(values) => size_of_val(&**values),
                EventVector::Boolean(values) => values.memory_bytes(),
                EventVector::Text { ids, .. } => size_of_val(&**ids),
            }
    }

    /// What its texts take, each with the counts of who shares it.
    fn dictionary_bytes(&self) -> usize {
        match &self.values {
            EventVector::Text { dictionary, .. } => {
                dictionary.iter().map(|text| 32 + text.len()).sum()
            }
            _ => 0,
        }
    }
}
