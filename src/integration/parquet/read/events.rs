//! Rows of events in an archived file, as the engine's scans read those of a part.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use parquet::basic::Type;
use parquet::data_type::{BoolType, ByteArrayType, DataType, DoubleType, Int64Type};

use super::file::{ArchivedFile, read_integers};
use crate::error::{DecodeError, Error, Result};
use crate::integration::parquet::digest::Feed;
use crate::model::{
    Bitmap, EventColumn, EventData, EventKind, EventRows, EventSchema, EventVector,
};
use crate::segment::{Bounds, EventSource, EventStretch, GroupBounds, StoredColumn, TIME_FIELD};

/// A file of rows: a row group is a stretch of one group.
#[derive(Debug)]
pub struct ArchivedEvents {
    file: Arc<ArchivedFile>,
    stretches: Vec<EventStretch>,
    kinds: Vec<EventKind>,
    /// The columns of the stretch that was read last: conditions and answers may want the same.
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    stretch: u32,
    columns: HashMap<u32, StoredColumn>,
}

/// The columns of a file, which are all of its table that there were.
///
/// # Errors
/// [`Error::Corrupt`] where there is one that no table has.
pub(super) fn columns_of(file: &ArchivedFile) -> Result<Vec<EventColumn>> {
    let column = |leaf: usize| {
        let (name, found, required) = file.leaf(leaf)?;
        let kind = match found {
            Type::INT64 => EventKind::Integer,
            Type::DOUBLE => EventKind::Float,
            Type::BOOLEAN => EventKind::Boolean,
            Type::BYTE_ARRAY => EventKind::Text,
            _ => return None,
        };
        (!required).then(|| EventColumn::new(name, kind))
    };
    let all: Option<Vec<EventColumn>> = (1..file.leaves()).map(column).collect();
    let all = all.filter(|_| file.time_leaf() == 0);
    all.ok_or_else(|| file.wrong("columns", "not those of events".to_owned()))
}

impl ArchivedEvents {
    /// The rows of a file, as rows of this table.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where they are none.
    pub fn new(file: Arc<ArchivedFile>, table: &EventSchema) -> Result<Self> {
        let columns = columns_of(&file)?;
        let fits = |(found, known): (&EventColumn, &EventColumn)| {
            found.name == known.name && found.kind == known.kind
        };
        // A file may have more: a table grows while it is asked.
        if !columns.iter().zip(table.columns()).all(fits) {
            let message = format!("not those of table {}", table.table());
            return Err(file.wrong("columns", message));
        }
        let stretch = |group: usize| {
            let (first, last) = file.times(group)?;
            let rows = u32::try_from(file.rows(group)).unwrap_or(u32::MAX);
            Ok(EventStretch { first, last, rows, groups: 1 })
        };
        let stretches: Vec<EventStretch> =
            (0..file.groups()).map(stretch).collect::<Result<_>>()?;
        if stretches.windows(2).any(|pair| matches!(pair, [one, next] if next.first < one.last)) {
            return Err(file.wrong("row groups", "not by time".to_owned()));
        }
        let kinds = columns.iter().map(|column| column.kind).collect();
        Ok(Self { file, stretches, kinds, held: Mutex::default() })
    }

    fn read(&self, group: usize, field: u32) -> Result<StoredColumn> {
        let leaf = field as usize;
        let kind = leaf.checked_sub(1).and_then(|at| self.kinds.get(at));
        let Some(kind) = kind else {
            let times = read_integers(&self.file, group, leaf)?;
            if !times.is_sorted() {
                return Err(self.file.wrong("times", "not ascending".to_owned()));
            }
            let (first, last) = self.file.times(group)?;
            let values = Bounds::Integers(first.0, last.0);
            let bounds = GroupBounds { rows: times.len() as u32, nulls: 0, values };
            let rows = EventRows { times, columns: Vec::new() };
            return Ok(StoredColumn::Archived(Arc::new(rows), TIME_FIELD, bounds));
        };
        let data = self.read_values(group, leaf, *kind)?;
        let bounds = GroupBounds::of(&data);
        let rows = EventRows { times: Vec::new(), columns: vec![data] };
        Ok(StoredColumn::Archived(Arc::new(rows), TIME_FIELD + 1, bounds))
    }

    fn read_values(&self, group: usize, leaf: usize, kind: EventKind) -> Result<EventData> {
        let mut present = Bitmap::new();
        let values = match kind {
            EventKind::Integer => {
                let mut all = Vec::new();
                self.rows::<Int64Type>(group, leaf, &mut present, &mut |value| {
                    all.push(value.copied().unwrap_or_default());
                    Ok(())
                })?;
                EventVector::Integer(all)
            }
            EventKind::Float => {
                let mut all = Vec::new();
                self.rows::<DoubleType>(group, leaf, &mut present, &mut |value| {
                    all.push(value.copied().unwrap_or_default());
                    Ok(())
                })?;
                EventVector::Float(all)
            }
            EventKind::Boolean => {
                let mut all = Bitmap::new();
                self.rows::<BoolType>(group, leaf, &mut present, &mut |value| {
                    all.push(value.copied().unwrap_or_default());
                    Ok(())
                })?;
                EventVector::Boolean(all)
            }
            EventKind::Text => {
                let (mut ids, mut numbers) = (Vec::new(), HashMap::new());
                let mut dictionary: Vec<Arc<str>> = Vec::new();
                self.rows::<ByteArrayType>(group, leaf, &mut present, &mut |value| {
                    let Some(value) = value else {
                        ids.push(0);
                        return Ok(());
                    };
                    let text = self.file.text(value.data())?;
                    if let Some(&id) = numbers.get(text) {
                        ids.push(id);
                        return Ok(());
                    }
                    let (id, text) = (dictionary.len() as u32, Arc::<str>::from(text));
                    dictionary.push(Arc::clone(&text));
                    numbers.insert(text, id);
                    ids.push(id);
                    Ok(())
                })?;
                EventVector::Text { ids, dictionary: Arc::new(dictionary) }
            }
        };
        let present = Some(present).filter(|present| present.count_ones() < present.len());
        Ok(EventData { present, values })
    }

    /// Hands over a column row by row.
    fn rows<T: DataType>(
        &self,
        group: usize,
        leaf: usize,
        present: &mut Bitmap,
        row: &mut dyn FnMut(Option<&T::T>) -> Result<()>,
    ) -> Result<()>
    where
        T::T: Feed,
    {
        self.file.read::<T>(group, leaf, &mut |values, levels| {
            let mut values = values.iter();
            for &level in levels {
                let value = if level > 0 { values.next() } else { None };
                present.push(value.is_some());
                row(value)?;
            }
            Ok(())
        })
    }
}

impl EventSource for ArchivedEvents {
    fn stretches(&self) -> &[EventStretch] {
        &self.stretches
    }

    fn column(&self, stretch: u32, field: u32) -> Result<Option<StoredColumn>> {
        if field as usize > self.kinds.len() {
            return Ok(None);
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.stretch != stretch {
            *held = Held { stretch, columns: HashMap::new() };
        }
        if let Some(column) = held.columns.get(&field) {
            return Ok(Some(column.clone()));
        }
        let column = self.read(stretch as usize, field)?;
        held.columns.insert(field, column.clone());
        Ok(Some(column))
    }

    fn damaged(&self, _: u32, _: u32, source: DecodeError) -> Error {
        self.file.corrupt(source)
    }
}
