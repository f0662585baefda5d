//! Merging rows of several lanes and the late lane into one time order.

use std::collections::BTreeMap;

use super::lane::Lane;
use super::snapshot::Late;

/// Where a merged row's value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowRef {
    /// In the series' `place`th lane.
    Lane { place: u32, row: u32 },
    /// In the late lane.
    Late,
}

/// The merged time order of a set of lanes: the same for every series that lies in just these
/// lanes, so it is computed once for all of them. Timestamps strictly ascending.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) timestamps: Vec<i64>,
    pub(super) rows: Vec<RowRef>,
}

impl Plan {
    /// Merges the rows of `lanes` and the series' late samples. For equal timestamps the highest
    /// order wins, that is the later write.
    pub(super) fn merge(lanes: &[&Lane], late: Option<&BTreeMap<i64, Late>>) -> Self {
        let mut rows: Vec<(i64, u32, RowRef)> = Vec::new();
        for (place, lane) in (0..).zip(lanes) {
            let stamps = (0..).zip(lane.stamps());
            rows.extend(stamps.map(|(row, (t, order))| (t, order, RowRef::Lane { place, row })));
        }
        let late = late.into_iter().flatten();
        rows.extend(late.map(|(&t, late)| (t, late.order, RowRef::Late)));
        // Stable, so that within one batch the sample that stands later wins; the late lane keeps
        // only the latest of its own and is the later write of its batch.
        rows.sort_by_key(|&(t, order, _)| (t, order));
        rows.reverse();
        rows.dedup_by_key(|&mut (t, _, _)| t);
        rows.reverse();
        Self {
            timestamps: rows.iter().map(|&(t, _, _)| t).collect(),
            rows: rows.into_iter().map(|(_, _, row)| row).collect(),
        }
    }
}
