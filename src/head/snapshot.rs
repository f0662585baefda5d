//! A head as it was at one moment, and the read contract over it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use roaring::RoaringBitmap;

use super::distributions::Distributions;
use super::events::EventTables;
use super::lane::Lane;
use super::plan::{Plan, RowRef};
use crate::aggregate::Partial;
use crate::error::Result;
use crate::model::{EventSchema, SeriesId, is_stale};
use crate::segment::{ChunkRef, ChunkSource, EventSource, Extent, Latest};
use crate::time::{TimeRange, Timestamp};

/// A column of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) lane: u32,
    pub(super) column: u32,
}

/// A sample that came out of order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Late {
    pub(super) order: u32,
    pub(super) value: f64,
}

/// What plans are shared by: the lanes of a series, and the series itself where it has samples
/// in the late lane.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct PlanKey {
    lanes: Box<[u32]>,
    late: Option<SeriesId>,
}

/// Merged plans, computed when a reader first needs them.
#[derive(Debug, Default)]
struct Plans {
    numbers: HashMap<PlanKey, u32>,
    plans: Vec<Arc<Plan>>,
}

/// Samples of a chunk where lanes had to be merged; fewer in tests, so that small cases have
/// several.
const MERGED_CHUNK_SAMPLES: usize = if cfg!(test) { 16 } else { 4096 };
/// Marks a merged plan in a chunk's locators; lane and block numbers stay below it.
const MERGED: u64 = 1 << 63;

/// The head as it was when [`Head::snapshot`](super::Head::snapshot) was called. Immutable.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub(super) lanes: Vec<Lane>,
    places: Arc<HashMap<SeriesId, Vec<Place>>>,
    /// Each series' samples behind a count of their own: a late one copies no other series'.
    late: Arc<HashMap<SeriesId, Arc<BTreeMap<i64, Late>>>>,
    pub(super) distributions: Distributions,
    /// Of a snapshot; the writer's side keeps its own.
    pub(super) events: EventTables,
    plans: Mutex<Plans>,
    base_sequence: Option<u64>,
    last_sequence: Option<u64>,
    samples: u64,
}

impl Clone for Snapshot {
    fn clone(&self) -> Self {
        Self {
            lanes: self.lanes.clone(),
            places: Arc::clone(&self.places),
            late: Arc::clone(&self.late),
            distributions: self.distributions.clone(),
            events: self.events.clone(),
            // Plans belong to one state of the rows.
            plans: Mutex::default(),
            ..*self
        }
    }
}

impl Snapshot {
    /// Notes a batch; returns its order among the head's batches.
    pub(super) fn note(&mut self, sequence: u64, samples: usize) -> u32 {
        let base = *self.base_sequence.get_or_insert(sequence);
        self.last_sequence = Some(sequence);
        self.samples += samples as u64;
        // A head of 2^32 batches is far beyond any byte budget.
        u32::try_from(sequence.saturating_sub(base)).unwrap_or(u32::MAX)
    }

    /// Registers a new lane's columns; returns the bytes that takes, about.
    pub(super) fn add_places(&mut self, lane: u32, series: &[SeriesId]) -> usize {
        let places = Arc::make_mut(&mut self.places);
        for (column, &series) in (0..).zip(series) {
            places.entry(series).or_default().push(Place { lane, column });
        }
        series.len() * (size_of::<Vec<Place>>() + 2 * size_of::<Place>())
    }

    pub(super) fn push_late(&mut self, series: SeriesId, timestamp: i64, late: Late) {
        let samples = Arc::make_mut(&mut self.late).entry(series).or_default();
        Arc::make_mut(samples).insert(timestamp, late);
    }

    /// Samples appended, replaced ones included; a distribution is one.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Whether it holds nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples == 0 && self.event_rows() == 0
    }

    /// Rows of events.
    #[must_use]
    pub fn event_rows(&self) -> u64 {
        self.events.rows()
    }

    /// The numbers of the tables of events that have rows, ascending, and what is known of them.
    pub fn event_tables(&self) -> impl Iterator<Item = (u32, &Arc<EventSchema>)> {
        self.events.tables()
    }

    /// The rows of a table of events, in the order of arrival. Cost: where the last rows came out of
    /// order, they are sorted.
    #[must_use]
    pub fn event_sources(&self, table: u32) -> Vec<Arc<dyn EventSource>> {
        self.events.sources(table)
    }

    /// The times of the first and the last row of events, both inclusive. Cost: one look a row.
    #[must_use]
    pub fn event_bounds(&self) -> Option<(Timestamp, Timestamp)> {
        self.events.bounds()
    }

    /// The last batch's sequence number.
    #[must_use]
    pub fn last_sequence(&self) -> Option<u64> {
        self.last_sequence
    }

    /// The series that hold samples, in no order; those of distributions are
    /// [elsewhere](Self::distributions).
    pub fn series(&self) -> impl Iterator<Item = SeriesId> {
        // A late sample only ever follows one in a lane.
        self.places.keys().copied()
    }

    /// The timestamps of the first and last sample, both inclusive. Cost: one look a lane.
    #[must_use]
    pub fn time_bounds(&self) -> Option<(Timestamp, Timestamp)> {
        let lanes = self.lanes.iter().filter_map(Lane::bounds);
        let late = self
            .late
            .values()
            .filter_map(|late| Some((*late.first_key_value()?.0, *late.last_key_value()?.0)));
        let all = lanes.chain(late).chain(self.distributions.bounds());
        let (first, last) = all.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
        Some((Timestamp(first), Timestamp(last)))
    }

    pub(super) fn places(&self, series: SeriesId) -> &[Place] {
        self.places.get(&series).map_or(&[], Vec::as_slice)
    }

    pub(super) fn lane(&self, place: Place) -> Option<&Lane> {
        self.lanes.get(place.lane as usize)
    }

    /// Whether the series' rows stand in one lane, in order.
    pub(super) fn is_plain(&self, series: SeriesId) -> bool {
        self.places(series).len() == 1 && !self.late.contains_key(&series)
    }

    /// The merged plan of a series that is not plain, with its number in this snapshot.
    pub(super) fn plan(&self, series: SeriesId) -> (u32, Arc<Plan>) {
        let lanes = self.places(series).iter().map(|place| place.lane).collect();
        let late = self.late.get(&series).map(|late| &**late);
        let key = PlanKey { lanes, late: late.map(|_| series) };
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&number) = plans.numbers.get(&key)
            && let Some(plan) = plans.plans.get(number as usize)
        {
            return (number, Arc::clone(plan));
        }
        let lanes: Vec<&Lane> =
            self.places(series).iter().filter_map(|&place| self.lane(place)).collect();
        let plan = Arc::new(Plan::merge(&lanes, late));
        // One plan a lane set or late series: far below 2^32.
        let number = u32::try_from(plans.plans.len()).unwrap_or(u32::MAX);
        plans.plans.push(Arc::clone(&plan));
        plans.numbers.insert(key, number);
        (number, plan)
    }

    /// Appends the values that `rows` of a plan name for `series`.
    pub(super) fn read_rows(
        &self,
        series: SeriesId,
        plan: &Plan,
        rows: std::ops::Range<usize>,
        out: &mut Vec<f64>,
    ) {
        let places = self.places(series);
        let lanes: Vec<(&Lane, usize)> = places
            .iter()
            .filter_map(|&place| Some((self.lane(place)?, place.column as usize)))
            .collect();
        let late = self.late.get(&series);
        let stamps = plan.timestamps.get(rows.clone()).unwrap_or_default();
        let refs = plan.rows.get(rows).unwrap_or_default();
        out.extend(stamps.iter().zip(refs).filter_map(|(timestamp, row)| match *row {
            RowRef::Lane { place, row } => {
                let &(lane, column) = lanes.get(place as usize)?;
                lane.value(column, row as usize)
            }
            RowRef::Late => late?.get(timestamp).map(|late| late.value),
        }));
    }

    fn plain_chunks(
        &self,
        place: Place,
        series: SeriesId,
        range: TimeRange,
        out: &mut Vec<ChunkRef>,
    ) {
        let Some(lane) = self.lane(place) else { return };
        let Some(range_last) = range.end.0.checked_sub(1) else { return };
        for block in lane.overlapping(range.start.0, range_last) {
            let timestamps = lane.timestamps(block);
            if let (Some(&first), Some(&last)) = (timestamps.first(), timestamps.last()) {
                out.push(ChunkRef {
                    first: Timestamp(first),
                    last: Timestamp(last),
                    samples: u32::try_from(timestamps.len()).unwrap_or(u32::MAX),
                    timestamps: locator(place.lane, block),
                    values: locator(series.0, block),
                });
            }
        }
    }

    fn merged_chunks(&self, series: SeriesId, range: TimeRange, out: &mut Vec<ChunkRef>) {
        let (number, plan) = self.plan(series);
        for (chunk, timestamps) in plan.timestamps.chunks(MERGED_CHUNK_SAMPLES).enumerate() {
            if let (Some(&first), Some(&last)) = (timestamps.first(), timestamps.last())
                && range.overlaps(Timestamp(first), Timestamp(last))
            {
                out.push(ChunkRef {
                    first: Timestamp(first),
                    last: Timestamp(last),
                    samples: u32::try_from(timestamps.len()).unwrap_or(u32::MAX),
                    timestamps: MERGED | locator(number, chunk),
                    values: MERGED | locator(series.0, chunk),
                });
            }
        }
    }
}

/// An owner (lane, plan or series, below 2^31) and a chunk of it.
fn locator(owner: u32, chunk: usize) -> u64 {
    u64::from(owner) << 32 | (chunk as u64 & u64::from(u32::MAX))
}

fn owner_and_chunk(locator: u64) -> (u32, usize) {
    ((((locator & !MERGED) >> 32) as u32), (locator as u32) as usize)
}

fn merged_rows(chunk: usize, samples: u32) -> std::ops::Range<usize> {
    let start = chunk * MERGED_CHUNK_SAMPLES;
    start..start + samples as usize
}

impl ChunkSource for Snapshot {
    fn rank(&self) -> u64 {
        self.last_sequence.unwrap_or(0)
    }

    fn extent(&self) -> Option<Extent> {
        let (first, last) = self.time_bounds()?;
        let (samples, series) = (self.samples, self.places.len() as u64);
        Some(Extent { first, last, samples, series })
    }

    fn latest(&self, series: &[SeriesId], out: &mut Vec<Option<Latest>>) -> Result<()> {
        // A head may hold a few of many that are asked for: most are told by a bit each.
        let few = self.places.len() < series.len();
        let held: Option<RoaringBitmap> = few.then(|| self.places.keys().map(|id| id.0).collect());
        out.extend(series.iter().map(|&one| {
            if held.as_ref().is_some_and(|held| !held.contains(one.0)) {
                return None;
            }
            let lane = |place: &Place| self.lane(*place)?.last(place.column as usize);
            let last = self.places(one).iter().filter_map(lane);
            let (last, value) = last.max_by_key(|(last, _)| *last)?;
            // Of several lanes, or where samples came late, a later write may have replaced it.
            let known = self.is_plain(one) && !is_stale(value);
            Some(Latest { last: Timestamp(last), value: known.then_some(value) })
        }));
        Ok(())
    }

    fn chunks(&self, series: SeriesId, range: TimeRange, out: &mut Vec<ChunkRef>) -> Result<()> {
        match self.places(series) {
            [] => {}
            &[place] if !self.late.contains_key(&series) => {
                self.plain_chunks(place, series, range, out);
            }
            _ => self.merged_chunks(series, range, out),
        }
        Ok(())
    }

    fn statistics(&self, _chunk: &ChunkRef) -> Result<Option<Partial>> {
        Ok(None)
    }

    fn read_timestamps(&self, chunk: &ChunkRef, out: &mut Vec<i64>) -> Result<()> {
        out.clear();
        let (owner, number) = owner_and_chunk(chunk.timestamps);
        if chunk.timestamps & MERGED == 0 {
            let lane = self.lanes.get(owner as usize);
            out.extend_from_slice(lane.map_or(&[], |lane| lane.timestamps(number)));
            return Ok(());
        }
        let (series, _) = owner_and_chunk(chunk.values);
        let (_, plan) = self.plan(SeriesId(series));
        let rows = merged_rows(number, chunk.samples);
        out.extend_from_slice(plan.timestamps.get(rows).unwrap_or_default());
        Ok(())
    }

    fn read_values(&self, chunk: &ChunkRef, out: &mut Vec<f64>) -> Result<()> {
        out.clear();
        let (series, number) = owner_and_chunk(chunk.values);
        let series = SeriesId(series);
        if chunk.values & MERGED == 0 {
            if let Some(&place) = self.places(series).first()
                && let Some(lane) = self.lane(place)
            {
                let start = lane.row_of_block(number);
                lane.read(place.column as usize, start..start + chunk.samples as usize, out);
            }
            return Ok(());
        }
        let (_, plan) = self.plan(series);
        self.read_rows(series, &plan, merged_rows(number, chunk.samples), out);
        Ok(())
    }
}
