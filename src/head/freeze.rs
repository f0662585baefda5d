//! How a head becomes the segment writer's input: groups of series that share their timestamps.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::plan::Plan;
use super::snapshot::{Place, Snapshot};
use crate::model::SeriesId;

/// Series of a frozen head that share one timestamp column.
#[derive(Debug)]
pub struct FrozenGroup<'a> {
    snapshot: &'a Snapshot,
    /// Strictly ascending, no duplicates.
    timestamps: Vec<i64>,
    /// Distinct, ascending by id.
    series: Vec<SeriesId>,
    rows: RowsFrom,
}

#[derive(Debug)]
enum RowsFrom {
    Lane,
    Plan(Arc<Plan>),
}

/// What makes series share a timestamp column.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Column {
    Lane(u32),
    Plan(u32),
}

impl Snapshot {
    /// Every sample of the head once, later writes winning, as groups in a fixed order. Values
    /// are read on demand, so that nothing is copied before it is encoded.
    #[must_use]
    pub fn groups(&self) -> Vec<FrozenGroup<'_>> {
        let mut series: Vec<SeriesId> = self.series().collect();
        series.sort_unstable();
        let mut groups: BTreeMap<Column, FrozenGroup<'_>> = BTreeMap::new();
        for series in series {
            let Some(&Place { lane, .. }) = self.places(series).first() else { continue };
            let (column, plan) = if self.is_plain(series) {
                (Column::Lane(lane), None)
            } else {
                let (number, plan) = self.plan(series);
                (Column::Plan(number), Some(plan))
            };
            let group = groups.entry(column).or_insert_with(|| FrozenGroup {
                snapshot: self,
                timestamps: match &plan {
                    Some(plan) => plan.timestamps.clone(),
                    None => self.lane_timestamps(lane),
                },
                series: Vec::new(),
                rows: plan.map_or(RowsFrom::Lane, RowsFrom::Plan),
            });
            group.series.push(series);
        }
        groups.into_values().filter(|group| !group.timestamps.is_empty()).collect()
    }

    fn lane_timestamps(&self, lane: u32) -> Vec<i64> {
        let lane = self.lanes.get(lane as usize);
        lane.into_iter().flat_map(|lane| lane.stamps().map(|(timestamp, _)| timestamp)).collect()
    }
}

impl FrozenGroup<'_> {
    /// The shared timestamps, strictly ascending.
    #[must_use]
    pub fn timestamps(&self) -> &[i64] {
        &self.timestamps
    }

    /// The series, distinct, ascending by id.
    #[must_use]
    pub fn series(&self) -> &[SeriesId] {
        &self.series
    }

    /// Appends `series`' values in `rows` (positions in [`timestamps`](Self::timestamps)).
    pub fn read(&self, series: SeriesId, rows: Range<usize>, out: &mut Vec<f64>) {
        match &self.rows {
            RowsFrom::Plan(plan) => self.snapshot.read_rows(series, plan, rows, out),
            RowsFrom::Lane => {
                if let Some(&place) = self.snapshot.places(series).first()
                    && let Some(lane) = self.snapshot.lane(place)
                {
                    lane.read(place.column as usize, rows, out);
                }
            }
        }
    }
}
