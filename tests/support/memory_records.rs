//! A `RecordSource` in memory: what a tier part, or a part of recorded distributions, is to a query.

use std::collections::{BTreeMap, HashMap};

use icecore::Result;
use icecore::aggregate::{Partial, Sketch};
use icecore::model::SeriesId;
use icecore::segment::{RecordFields, RecordSource, Records};
use icecore::time::Tier;
use icecore::{TimeRange, Timestamp};

/// Records of series, by start.
pub struct MemoryRecords {
    pub rank: u64,
    pub tombstones: u64,
    pub tier: Tier,
    pub window: TimeRange,
    pub fields: RecordFields,
    pub series: HashMap<SeriesId, BTreeMap<i64, (Partial, Sketch)>>,
}

impl MemoryRecords {
    /// A source without records, all fields in it.
    pub fn new(rank: u64, tier: Tier, window: TimeRange) -> Self {
        let fields = RecordFields { increase: true, sketches: true };
        Self { rank, tombstones: 0, tier, window, fields, series: HashMap::new() }
    }

    /// Adds a record of these samples, ascending in time, which lie in the bucket at `start`.
    pub fn push(&mut self, series: SeriesId, start: i64, samples: &[(i64, f64)]) {
        let (times, values): (Vec<i64>, Vec<f64>) = samples.iter().copied().unzip();
        let mut partial = Partial::of(&times, &values);
        if !self.fields.increase {
            partial.increase = f64::NAN;
            partial.resets = 0;
        }
        let known: Vec<f64> =
            values.into_iter().filter(|value| !icecore::model::is_stale(*value)).collect();
        self.series.entry(series).or_default().insert(start, (partial, Sketch::of(&known)));
    }
}

impl RecordSource for MemoryRecords {
    fn rank(&self) -> u64 {
        self.rank
    }

    fn tombstones(&self) -> u64 {
        self.tombstones
    }

    fn tier(&self) -> Tier {
        self.tier
    }

    fn window(&self) -> TimeRange {
        self.window
    }

    fn fields(&self, series: SeriesId) -> Result<Option<RecordFields>> {
        Ok(self.series.contains_key(&series).then_some(self.fields))
    }

    /// Before every fourth record: whoever reads in pieces meets many.
    fn pause(&self, series: SeriesId, range: TimeRange) -> Result<Timestamp> {
        let starts = self.series.get(&series).into_iter().flat_map(BTreeMap::keys);
        let mut within = starts.filter(|start| range.contains(Timestamp(**start)));
        Ok(within.nth(3).map_or(range.end, |start| Timestamp(*start)))
    }

    fn read_records(&self, series: SeriesId, range: TimeRange, out: &mut Records) -> Result<()> {
        out.clear();
        let held = self.series.get(&series).into_iter().flatten();
        for (start, (partial, sketch)) in held {
            if (range.start.0..range.end.0).contains(start) {
                out.starts.push(*start);
                out.partials.push(*partial);
                if self.fields.sketches {
                    out.sketches.push(sketch);
                }
            }
        }
        Ok(())
    }
}
