//! What stands in a row, and rows on their way in.

use std::sync::Arc;

use super::schema::{EventKind, EventSchema};
use crate::error::{Error, Result};

/// Longest text of a row, bytes: 32 KiB, a long query. Longer ones are refused;
/// [`EventValue::cut`] makes them fit.
pub const EVENT_TEXT_BYTES_MAX: usize = 32 << 10;

/// What stands in one column of a row. Texts are shared: a clone costs no copy.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum EventValue {
    /// Nothing.
    #[default]
    Null,
    /// In a column of [`EventKind::Integer`].
    Integer(i64),
    /// In a column of [`EventKind::Float`].
    Float(f64),
    /// In a column of [`EventKind::Boolean`].
    Boolean(bool),
    /// In a column of [`EventKind::Text`].
    Text(Arc<str>),
}

impl EventValue {
    /// A text, cut to [`EVENT_TEXT_BYTES_MAX`] bytes between characters.
    #[must_use]
    pub fn cut(text: &str) -> Self {
        let end = text.floor_char_boundary(EVENT_TEXT_BYTES_MAX);
        Self::Text(text.get(..end).unwrap_or_default().into())
    }

    /// Its kind; `None` of a null.
    #[must_use]
    pub const fn kind(&self) -> Option<EventKind> {
        match self {
            Self::Null => None,
            Self::Integer(_) => Some(EventKind::Integer),
            Self::Float(_) => Some(EventKind::Float),
            Self::Boolean(_) => Some(EventKind::Boolean),
            Self::Text(_) => Some(EventKind::Text),
        }
    }

    /// Whether it is null.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Bytes in memory beside its own place.
    pub(crate) fn text_bytes(&self) -> usize {
        if let Self::Text(text) = self { text.len() } else { 0 }
    }
}

impl From<i64> for EventValue {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<i32> for EventValue {
    fn from(value: i32) -> Self {
        Self::Integer(value.into())
    }
}

impl From<u32> for EventValue {
    fn from(value: u32) -> Self {
        Self::Integer(value.into())
    }
}

impl From<f64> for EventValue {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<bool> for EventValue {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<&str> for EventValue {
    fn from(value: &str) -> Self {
        Self::Text(value.into())
    }
}

impl From<String> for EventValue {
    fn from(value: String) -> Self {
        Self::Text(value.into())
    }
}

impl From<Arc<str>> for EventValue {
    fn from(value: Arc<str>) -> Self {
        Self::Text(value)
    }
}

impl<T: Into<Self>> From<Option<T>> for EventValue {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Rows on their way in, in the order in which they shall arrive. All have the same number of
/// values: one for each column that the writer declared.
#[derive(Debug, Clone, PartialEq)]
pub struct EventBatch {
    width: usize,
    times: Vec<i64>,
    /// Row by row.
    values: Vec<EventValue>,
}

impl EventBatch {
    /// No rows, of `width` values each.
    #[must_use]
    pub const fn new(width: usize) -> Self {
        Self { width, times: Vec::new(), values: Vec::new() }
    }

    /// As [`new`](Self::new), with room for `rows`.
    #[must_use]
    pub fn with_capacity(width: usize, rows: usize) -> Self {
        let values = Vec::with_capacity(width.saturating_mul(rows));
        Self { width, times: Vec::with_capacity(rows), values }
    }

    /// Adds a row at `time`, nanoseconds since the epoch.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`], and no row added, where the values are more or fewer than the
    /// batch's rows have.
    pub fn push(&mut self, time: i64, values: impl IntoIterator<Item = EventValue>) -> Result<()> {
        let before = self.values.len();
        self.values.extend(values);
        let found = self.values.len() - before;
        if found != self.width {
            self.values.truncate(before);
            let reason = format!("{found} values for {} columns", self.width);
            return Err(Error::InvalidArgument { what: "event row", reason });
        }
        self.times.push(time);
        Ok(())
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

    /// Values of each row.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.width
    }

    /// The times of the rows, nanoseconds since the epoch, in any order.
    #[must_use]
    pub fn times(&self) -> &[i64] {
        &self.times
    }

    /// Each row: its time and its values.
    pub fn rows(&self) -> impl Iterator<Item = (i64, &[EventValue])> {
        self.times.iter().copied().zip(self.values.chunks(self.width.max(1)))
    }

    /// Leaves the rows whose time passes.
    pub(crate) fn retain(&mut self, mut passes: impl FnMut(i64) -> bool) {
        let mut kept = Self::with_capacity(self.width, self.len());
        for (time, values) in self.rows().filter(|&(time, _)| passes(time)) {
            kept.times.push(time);
            kept.values.extend_from_slice(values);
        }
        *self = kept;
    }

    /// Whether the rows are what the schema says.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where their width, a kind or the length of a text is not.
    pub(crate) fn check(&self, schema: &EventSchema) -> Result<()> {
        let invalid = |reason: String| Err(Error::InvalidArgument { what: "event row", reason });
        let columns = schema.columns();
        if self.width != columns.len() {
            let table = schema.table();
            return invalid(format!(
                "{} values for {} columns of {table}",
                self.width,
                columns.len()
            ));
        }
        for (_, values) in self.rows() {
            for (column, value) in columns.iter().zip(values) {
                if value.kind().is_some_and(|kind| kind != column.kind) {
                    return invalid(format!(
                        "{value:?} in {}, which is {}",
                        column.name, column.kind
                    ));
                }
                if value.text_bytes() > EVENT_TEXT_BYTES_MAX {
                    let bytes = value.text_bytes();
                    return invalid(format!("{bytes} bytes of text in {}", column.name));
                }
            }
        }
        Ok(())
    }

    /// Bytes in memory, texts counted as if nothing shared them.
    pub(crate) fn memory_bytes(&self) -> usize {
        let texts: usize = self.values.iter().map(EventValue::text_bytes).sum();
        size_of_val(&*self.times) + size_of_val(&*self.values) + texts
    }
}
