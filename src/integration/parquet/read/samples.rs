//! Samples of some series in an archived file, as the engine's queries read those of a part.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use parquet::basic::Type;
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType};

use super::file::{ArchivedFile, meets, read_integers};
use crate::aggregate::Partial;
use crate::error::Result;
use crate::model::{Selector, Series, SeriesId};
use crate::segment::{ChunkRef, ChunkSource, Columns, Extent};
use crate::time::{TimeRange, Timestamp};

/// Where the columns of a file of samples stand: `series`, `metric`, two of `labels`, then these.
pub(super) const SERIES_LEAF: usize = 0;
pub(super) const METRIC_LEAF: usize = 1;
const TIME_LEAF: usize = 4;
const VALUE_LEAF: usize = 5;

/// Decoded row groups that a file keeps: that of the series being read, and the one that it began in.
const DECODED_MAX: usize = 2;

/// Gives ids to series that are found, those of the engine's where it knows them.
#[derive(Debug)]
pub struct SeriesIds {
    ids: BTreeMap<Arc<Series>, SeriesId>,
    /// The engine counts upwards from 0.
    next: u32,
}

impl SeriesIds {
    /// Of series that are known, under other ids than the highest there are.
    pub fn new(known: impl IntoIterator<Item = (SeriesId, Arc<Series>)>) -> Self {
        let ids = known.into_iter().map(|(id, series)| (series, id)).collect();
        Self { ids, next: u32::MAX }
    }

    fn of(&mut self, series: Series) -> SeriesId {
        if let Some(&id) = self.ids.get(&series) {
            return id;
        }
        let id = SeriesId(self.next);
        self.next -= 1;
        self.ids.insert(Arc::new(series), id);
        id
    }

    /// All of them, ascending by series.
    #[must_use]
    pub fn series(&self) -> Vec<(SeriesId, Arc<Series>)> {
        self.ids.iter().map(|(series, &id)| (id, Arc::clone(series))).collect()
    }
}

/// The columns that a file of samples has.
///
/// # Errors
/// [`Error::Corrupt`](crate::Error::Corrupt) where it has others.
pub(super) fn check_columns(file: &ArchivedFile) -> Result<()> {
    let expected = [
        (SERIES_LEAF, "series", Type::BYTE_ARRAY),
        (METRIC_LEAF, "metric", Type::BYTE_ARRAY),
        (TIME_LEAF, "timestamp", Type::INT64),
        (VALUE_LEAF, "value", Type::DOUBLE),
    ];
    let stands = |(leaf, name, kind): (usize, &str, Type)| {
        file.leaf(leaf).is_some_and(|found| found == (name.to_owned(), kind, true))
    };
    if file.time_leaf() == TIME_LEAF && expected.into_iter().all(stands) {
        return Ok(());
    }
    Err(file.wrong("columns", "not those of samples".to_owned()))
}

/// The samples of a file whose series are selected. Holds up to two row groups' worth of them.
#[derive(Debug)]
pub struct ArchivedSamples {
    file: Arc<ArchivedFile>,
    rank: u64,
    /// Row groups that hold any in the range, ascending.
    groups: Vec<Group>,
    decoded: Mutex<VecDeque<(u32, Arc<Columns>)>>,
}

/// What is wanted of a row group.
#[derive(Debug)]
struct Group {
    number: u32,
    /// Its rows.
    rows: usize,
    first: Timestamp,
    last: Timestamp,
    /// Rows of series that are selected, ascending; where they stand when only they are decoded.
    runs: Vec<Range<usize>>,
    places: HashMap<SeriesId, Range<usize>>,
}

impl ArchivedSamples {
    /// Finds what a file holds of selected series in a range: reads the column `series` of row
    /// groups whose bounds of metric and time do not tell that they hold none.
    ///
    /// # Errors
    /// Those of the file.
    pub fn new(
        file: Arc<ArchivedFile>,
        rank: u64,
        (metric, selector, range): (&str, &Selector, TimeRange),
        ids: &mut SeriesIds,
    ) -> Result<Self> {
        check_columns(&file)?;
        let mut groups = Vec::new();
        for group in 0..file.groups() {
            if meets(&file, group, range)? && file.may_hold(group, METRIC_LEAF, metric) {
                let found = find(&file, group, selector, ids)?;
                groups.extend((!found.runs.is_empty()).then_some(found));
            }
        }
        Ok(Self { file, rank, groups, decoded: Mutex::default() })
    }

    /// Row groups that hold any of what is wanted.
    #[cfg(test)]
    pub(super) fn row_groups(&self) -> usize {
        self.groups.len()
    }

    fn decoded(&self, group: &Group) -> Result<Arc<Columns>> {
        let mut decoded = self.decoded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, columns)) = decoded.iter().find(|(number, _)| *number == group.number) {
            return Ok(Arc::clone(columns));
        }
        if decoded.len() >= DECODED_MAX {
            decoded.pop_front();
        }
        let columns = Arc::new(self.decode(group)?);
        decoded.push_back((group.number, Arc::clone(&columns)));
        Ok(columns)
    }

    fn decode(&self, group: &Group) -> Result<Columns> {
        let number = group.number as usize;
        let times = read_integers(&self.file, number, TIME_LEAF)?;
        let mut values = Vec::with_capacity(group.rows);
        self.file.read::<DoubleType>(number, VALUE_LEAF, &mut |some, _| {
            values.extend_from_slice(some);
            Ok(())
        })?;
        let mut columns = Columns::default();
        for rows in &group.runs {
            let times = times.get(rows.clone()).unwrap_or_default();
            if !times.is_sorted_by(|one, next| one < next) {
                return Err(self.file.wrong("times of a series", "not ascending".to_owned()));
            }
            columns.timestamps.extend_from_slice(times);
            columns.values.extend_from_slice(values.get(rows.clone()).unwrap_or_default());
        }
        Ok(columns)
    }

    /// Hands over where a chunk stands among what was decoded.
    fn chunk<T>(
        &self,
        chunk: &ChunkRef,
        read: impl FnOnce(&Columns, Range<usize>) -> Option<T>,
    ) -> Result<T> {
        let (number, start) = ((chunk.values >> 32) as u32, (chunk.values & 0xffff_ffff) as usize);
        let group = self.groups.iter().find(|group| group.number == number);
        let lost = || self.file.wrong("chunk", "none that was told of".to_owned());
        let columns = self.decoded(group.ok_or_else(lost)?)?;
        read(&columns, start..start + chunk.samples as usize).ok_or_else(lost)
    }
}

/// The rows of selected series in a row group.
fn find(
    file: &ArchivedFile,
    number: usize,
    selector: &Selector,
    ids: &mut SeriesIds,
) -> Result<Group> {
    let (first, last) = file.times(number)?;
    let rows = file.rows(number);
    let (mut runs, mut places) = (Vec::new(), HashMap::new());
    let (mut row, mut wanted) = (0, 0);
    // The series that the last rows are of, and since when if it is selected.
    let mut open: Option<(ByteArray, Option<(SeriesId, usize)>)> = None;
    let mut close = |open: Option<(SeriesId, usize)>, end: usize| {
        let Some((id, start)) = open else { return Ok(()) };
        let rows = start..end;
        let place = wanted..wanted + rows.len();
        wanted = place.end;
        runs.push(rows);
        match places.insert(id, place) {
            None => Ok(()),
            Some(_) => Err(file.wrong("series", "one comes twice".to_owned())),
        }
    };
    file.read::<ByteArrayType>(number, SERIES_LEAF, &mut |texts, _| {
        for text in texts {
            if open.as_ref().is_none_or(|(last, _)| last.data() != text.data()) {
                close(open.take().and_then(|(_, since)| since), row)?;
                let series = Series::parse(file.text(text.data())?);
                let series = series.map_err(|error| file.wrong("series", error.to_string()))?;
                let since = selector.accepts(&series).then(|| (ids.of(series), row));
                open = Some((text.clone(), since));
            }
            row += 1;
        }
        Ok(())
    })?;
    close(open.and_then(|(_, since)| since), row)?;
    Ok(Group { number: number as u32, rows, first, last, runs, places })
}

impl ChunkSource for ArchivedSamples {
    fn rank(&self) -> u64 {
        self.rank
    }

    fn extent(&self) -> Option<Extent> {
        let first = self.groups.iter().map(|group| group.first).min()?;
        let last = self.groups.iter().map(|group| group.last).max()?;
        let rows = |group: &Group| group.runs.iter().map(|rows| rows.len() as u64).sum::<u64>();
        let samples = self.groups.iter().map(rows).sum();
        let series = self.groups.iter().map(|group| group.runs.len() as u64).sum();
        Some(Extent { first, last, samples, series })
    }

    fn chunks(&self, series: SeriesId, range: TimeRange, out: &mut Vec<ChunkRef>) -> Result<()> {
        let from = out.len();
        for group in self.groups.iter().filter(|group| range.overlaps(group.first, group.last)) {
            let Some(place) = group.places.get(&series) else { continue };
            // What fills a row group alone has its bounds; else they stand among the times.
            let (first, last) = if place.len() == group.rows {
                (group.first, group.last)
            } else {
                let columns = self.decoded(group)?;
                let times = columns.timestamps.get(place.clone()).unwrap_or_default();
                let Some((&first, &last)) = times.first().zip(times.last()) else { continue };
                (Timestamp(first), Timestamp(last))
            };
            if range.overlaps(first, last) {
                let number = u64::from(group.number) << 32 | place.start as u64;
                let samples = place.len() as u32;
                out.push(ChunkRef { first, last, samples, timestamps: number, values: number });
            }
        }
        // A series goes on where the row group before ends.
        let chunks = out.get(from..).unwrap_or_default();
        if chunks.windows(2).any(|pair| matches!(pair, [one, next] if next.first <= one.last)) {
            return Err(self.file.wrong("row groups", "times of a series overlap".to_owned()));
        }
        Ok(())
    }

    fn statistics(&self, _: &ChunkRef) -> Result<Option<Partial>> {
        Ok(None)
    }

    fn read_timestamps(&self, chunk: &ChunkRef, out: &mut Vec<i64>) -> Result<()> {
        out.clear();
        self.chunk(chunk, |columns, rows| {
            out.extend_from_slice(columns.timestamps.get(rows)?);
            Some(())
        })
    }

    fn read_values(&self, chunk: &ChunkRef, out: &mut Vec<f64>) -> Result<()> {
        out.clear();
        self.chunk(chunk, |columns, rows| {
            out.extend_from_slice(columns.values.get(rows)?);
            Some(())
        })
    }
}
