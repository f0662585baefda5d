//! The read contract of events: nothing above it asks where rows live.

use std::fmt;
use std::sync::Arc;

use super::bounds::GroupBounds;
use super::reader::EventSegment;
use crate::error::{DecodeError, Error, Result};
use crate::model::{EventData, EventRows};
use crate::time::{TimeRange, Timestamp};

/// The number of the times among the columns of a stretch; column *i* of the schema is *i* + 1.
pub const TIME_FIELD: u32 = 0;

/// Rows of one table: a part, or a block of the head. Where several are read, the order in which they
/// are handed over is that of arrival.
pub trait EventSource: fmt::Debug + Send + Sync {
    /// Its stretches, ascending by time: one's last row is not later than the next one's first.
    fn stretches(&self) -> &[EventStretch];

    /// A column of a stretch, by its number; `None` where the rows were written before there was such
    /// a column.
    ///
    /// # Errors
    /// I/O or corruption.
    fn column(&self, stretch: u32, field: u32) -> Result<Option<StoredColumn>>;

    /// That a column of a stretch is damaged.
    fn damaged(&self, stretch: u32, field: u32, source: DecodeError) -> Error;
}

/// What is known of a stretch without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventStretch {
    /// Time of the first row, inclusive.
    pub first: Timestamp,
    /// Time of the last row, inclusive.
    pub last: Timestamp,
    /// Rows.
    pub rows: u32,
    /// Groups that it is read in.
    pub groups: u32,
}

impl EventStretch {
    /// Whether some of its time is in the range.
    #[must_use]
    pub fn meets(&self, range: TimeRange) -> bool {
        range.overlaps(self.first, self.last)
    }
}

/// A column of a stretch.
#[derive(Debug, Clone)]
pub enum StoredColumn {
    /// Of a part; with the column from which its distance is kept, where it is.
    Segment(Arc<EventSegment>, Option<Box<Self>>),
    /// Of rows in memory, one group: the column with this number, or the times.
    Rows(Arc<EventRows>, u32),
    /// Of a file that is no part: as [`Rows`](Self::Rows), decoded for whoever asked, with what is
    /// known of it.
    Archived(Arc<EventRows>, u32, GroupBounds),
}

impl StoredColumn {
    /// What is known of a group without decoding it; nothing of rows in memory.
    #[must_use]
    pub fn bounds(&self, group: u32) -> Option<GroupBounds> {
        match self {
            Self::Segment(segment, _) => segment.bounds(group as usize),
            Self::Rows(..) => None,
            Self::Archived(_, _, bounds) => Some(*bounds).filter(|_| group == 0),
        }
    }

    /// Every text that may occur; `None` of other columns.
    #[must_use]
    pub fn dictionary(&self) -> Option<&Arc<Vec<Arc<str>>>> {
        match self {
            Self::Segment(segment, _) => Some(segment.dictionary()),
            Self::Rows(rows, field) | Self::Archived(rows, field, _) => {
                let column = rows.columns.get(field.checked_sub(1)? as usize)?;
                match &column.values {
                    crate::model::EventVector::Text { dictionary, .. } => Some(dictionary),
                    _ => None,
                }
            }
        }
    }

    /// The rows of a group; of the times nothing but an error.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are damaged.
    pub fn read(&self, group: u32) -> Result<Column<'_>, DecodeError> {
        self.read_behind(group, &[])
    }

    /// As [`read`](Self::read), with columns of the same source and group that were read already: the
    /// first ones, in their order. A base among them is not read again.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_behind(&self, group: u32, known: &[EventData]) -> Result<Column<'_>, DecodeError> {
        match self {
            Self::Segment(segment, base) => {
                let known = segment.base().and_then(|field| known.get(field as usize - 1));
                let base = match (known, base) {
                    (Some(known), _) => Some(Column::Held(known)),
                    (None, Some(base)) => Some(base.read(group)?),
                    (None, None) => None,
                };
                segment.read(group as usize, base.as_deref()).map(Column::Read)
            }
            Self::Rows(rows, field) | Self::Archived(rows, field, _) => {
                let column = field.checked_sub(1).and_then(|at| rows.columns.get(at as usize));
                column.map(Column::Held).ok_or(DecodeError::Invalid {
                    what: "column of events",
                    found: u64::from(*field),
                    expected: "one that the rows have",
                })
            }
        }
    }

    /// Replaces `out` with the times of a group, ascending; of other columns nothing but an error.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_times(&self, group: u32, out: &mut Vec<i64>) -> Result<(), DecodeError> {
        match self {
            Self::Segment(segment, _) => segment.read_times(group as usize, out),
            Self::Rows(rows, _) | Self::Archived(rows, ..) => {
                out.clear();
                out.extend_from_slice(&rows.times);
                Ok(())
            }
        }
    }

    /// Whether reading it decodes stored bytes.
    #[must_use]
    pub const fn is_stored(&self) -> bool {
        matches!(self, Self::Segment(..) | Self::Archived(..))
    }
}

/// Rows of a column, decoded or where they are.
#[derive(Debug)]
pub enum Column<'a> {
    /// Decoded.
    Read(EventData),
    /// In memory already.
    Held(&'a EventData),
}

impl std::ops::Deref for Column<'_> {
    type Target = EventData;

    fn deref(&self) -> &EventData {
        match self {
            Self::Read(data) => data,
            Self::Held(data) => data,
        }
    }
}

impl Column<'_> {
    /// The rows, copied where they are held.
    #[must_use]
    pub fn into_owned(self) -> EventData {
        match self {
            Self::Read(data) => data,
            Self::Held(data) => data.clone(),
        }
    }
}
