//! What a table of events is.

use std::collections::HashSet;
use std::fmt;

use super::super::label::{VALUE_BYTES_MAX, check_name};
use crate::error::{Error, Result};

/// Most columns of a table, time not counted: eight times what a finished query takes.
pub const EVENT_COLUMNS_MAX: usize = 255;

/// Most tables of a store: each is known in memory, and has parts of its own for each partition.
pub const EVENT_TABLES_MAX: usize = 256;

/// The name of the column that every table has; no other is called so.
pub const TIME_COLUMN: &str = "time";

/// What stands in a column. Every column may be null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// `i64`.
    Integer,
    /// `f64`, every bit kept.
    Float,
    /// True or false.
    Boolean,
    /// UTF-8, of at most [`EVENT_TEXT_BYTES_MAX`](super::EVENT_TEXT_BYTES_MAX) bytes; stored once a
    /// stretch of rows, however often it stands there.
    Text,
}

impl EventKind {
    /// The kind's name: `integer`, `float`, `boolean`, `text`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Boolean => "boolean",
            Self::Text => "text",
        }
    }

    /// The number that is stored for it.
    pub(crate) const fn tag(self) -> u8 {
        match self {
            Self::Integer => 1,
            Self::Float => 2,
            Self::Boolean => 3,
            Self::Text => 4,
        }
    }

    /// Undoes [`tag`](Self::tag).
    pub(crate) const fn from_tag(tag: u8) -> Option<Self> {
        match tag {
            1 => Some(Self::Integer),
            2 => Some(Self::Float),
            3 => Some(Self::Boolean),
            4 => Some(Self::Text),
            _ => None,
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventColumn {
    /// Its name, by the rules of metric names; unique in the table, not [`TIME_COLUMN`].
    pub name: String,
    /// What stands in it.
    pub kind: EventKind,
    /// The unit of its values (`us`, `bytes`); empty where it has none.
    pub unit: String,
    /// One sentence for people; may be empty.
    pub help: String,
}

impl EventColumn {
    /// A column without unit and help.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: EventKind) -> Self {
        Self { name: name.into(), kind, unit: String::new(), help: String::new() }
    }

    /// This, with the unit of its values.
    #[must_use]
    pub fn with_unit(mut self, unit: impl Into<String>) -> Self {
        self.unit = unit.into();
        self
    }

    /// This, with a sentence for people.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }
}

/// A table of events: its name and columns, beside the time that every row has.
///
/// A later declaration may append columns, which makes a new version: older rows hold null in them.
/// It may also know fewer columns than are stored (an older program): those are null in its rows.
/// Everything else is [`Error::SchemaConflict`].
///
/// ```
/// use icecore::model::{EventColumn, EventKind, EventSchema};
/// let queries = EventSchema::new("queries", vec![
///     EventColumn::new("id", EventKind::Integer),
///     EventColumn::new("duration", EventKind::Integer).with_unit("us"),
///     EventColumn::new("outcome", EventKind::Text),
/// ])?;
/// assert_eq!((queries.version(), queries.position("outcome")), (1, Some(2)));
/// # Ok::<(), icecore::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSchema {
    table: String,
    version: u32,
    columns: Vec<EventColumn>,
}

impl EventSchema {
    /// A table of these columns, in this order.
    ///
    /// # Errors
    /// [`Error::InvalidName`] where a name breaks the rules of metric names;
    /// [`Error::InvalidArgument`] where a name repeats or is [`TIME_COLUMN`], or there are no columns,
    /// or more than [`EVENT_COLUMNS_MAX`], or a unit or help is longer than a label's value may be.
    pub fn new(table: impl Into<String>, columns: Vec<EventColumn>) -> Result<Self> {
        Self::with_version(table.into(), 1, columns)
    }

    /// As [`new`](Self::new), of the version that was stored.
    pub(crate) fn with_version(
        table: String,
        version: u32,
        columns: Vec<EventColumn>,
    ) -> Result<Self> {
        check_name("event table", &table)?;
        let invalid = |reason: String| Err(Error::InvalidArgument { what: "event schema", reason });
        if columns.is_empty() || columns.len() > EVENT_COLUMNS_MAX {
            let count = columns.len();
            return invalid(format!(
                "{table} has {count} columns, 1 to {EVENT_COLUMNS_MAX} may be"
            ));
        }
        if version == 0 {
            return invalid(format!("{table} is of version 0, the first is 1"));
        }
        let mut names = HashSet::new();
        for EventColumn { name, unit, help, .. } in &columns {
            check_name("event column", name)?;
            if name == TIME_COLUMN || !names.insert(name.as_str()) {
                return invalid(format!("column {name:?} repeats, or is every table's own"));
            }
            if unit.len().max(help.len()) > VALUE_BYTES_MAX {
                return invalid(format!(
                    "unit or help of {name:?} exceeds {VALUE_BYTES_MAX} bytes"
                ));
            }
        }
        Ok(Self { table, version, columns })
    }

    /// The table's name.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Which declaration it is, from 1: it rises with every one that appends columns.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// The columns, time not among them.
    #[must_use]
    pub fn columns(&self) -> &[EventColumn] {
        &self.columns
    }

    /// Where the column of this name stands.
    #[must_use]
    pub fn position(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|known| known.name == column)
    }

    /// What the table is after `declared` was declared of it: this, or the next version with the
    /// columns that `declared` appends.
    ///
    /// # Errors
    /// [`Error::SchemaConflict`] where a column that both have differs in name, kind or unit.
    pub(crate) fn declare(&self, declared: &Self) -> Result<Self> {
        self.check_common(declared)?;
        if declared.columns.len() <= self.columns.len() {
            return Ok(self.clone());
        }
        let version = self.version.saturating_add(1);
        Ok(Self { version, ..declared.clone() })
    }

    /// What the table is of which both this and `stored` were stored: the one with more columns.
    ///
    /// # Errors
    /// As [`declare`](Self::declare).
    pub(crate) fn adopt(&self, stored: &Self) -> Result<Self> {
        self.check_common(stored)?;
        let longer = if stored.columns.len() > self.columns.len() { stored } else { self };
        Ok(Self { version: self.version.max(stored.version), ..longer.clone() })
    }

    fn check_common(&self, other: &Self) -> Result<()> {
        for (known, declared) in self.columns.iter().zip(&other.columns) {
            let reason = if known.name != declared.name {
                "stands where another column is; columns are only ever appended"
            } else if known.kind != declared.kind {
                "is of another kind"
            } else if known.unit != declared.unit {
                "has another unit"
            } else {
                continue;
            };
            let (table, column) = (self.table.clone(), declared.name.clone());
            return Err(Error::SchemaConflict { table, column, reason });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(columns: &[(&str, EventKind)]) -> EventSchema {
        let columns = columns.iter().map(|&(name, kind)| EventColumn::new(name, kind)).collect();
        EventSchema::new("queries", columns).unwrap()
    }

    #[test]
    fn columns_are_only_ever_appended() {
        use EventKind::{Float, Integer, Text};
        let first = schema(&[("id", Integer), ("user", Text)]);
        let second = first.declare(&schema(&[("id", Integer), ("user", Text), ("s", Float)]));
        let second = second.unwrap();
        assert_eq!((second.version(), second.columns().len()), (2, 3));
        assert_eq!(second.declare(&first).unwrap(), second, "an older program");
        assert_eq!(first.adopt(&second).unwrap(), second);
        assert_eq!(second.adopt(&first).unwrap(), second);
        for other in [
            &[("id", Integer), ("tenant", Text)][..],
            &[("user", Text), ("id", Integer)],
            &[("id", Float)],
        ] {
            let refused = first.declare(&schema(other)).unwrap_err();
            assert!(matches!(refused, Error::SchemaConflict { .. }), "{refused}");
        }
        let seconds = vec![EventColumn::new("id", Integer).with_unit("s")];
        let refused = first.declare(&EventSchema::new("queries", seconds).unwrap()).unwrap_err();
        assert!(refused.to_string().contains("another unit"), "{refused}");
    }

    #[test]
    fn what_breaks_a_rule_is_refused() {
        let column = |name: &str| EventColumn::new(name, EventKind::Integer);
        for columns in [
            vec![],
            vec![column("a"), column("a")],
            vec![column(TIME_COLUMN)],
            vec![column("")],
            vec![column("a").with_unit("u".repeat(VALUE_BYTES_MAX + 1))],
            (0..=EVENT_COLUMNS_MAX).map(|i| column(&format!("c{i}"))).collect(),
        ] {
            assert!(EventSchema::new("t", columns).is_err());
        }
        assert!(EventSchema::new("", vec![column("a")]).is_err());
        let kinds = [EventKind::Integer, EventKind::Float, EventKind::Boolean, EventKind::Text];
        assert!(kinds.iter().all(|kind| EventKind::from_tag(kind.tag()) == Some(*kind)));
    }
}
