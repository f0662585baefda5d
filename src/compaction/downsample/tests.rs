//! Tiers built of real parts as the plan says, held against what was written.

use std::time::Duration;

use proptest::prelude::*;
use roaring::RoaringBitmap;

use super::*;
use crate::aggregate::{Sketch, SketchRef};
use crate::catalog::{PartEntry, Tombstone};
use crate::compaction::plan::{Situation, next_task};
use crate::fs::{Fs, RealFs};
use crate::index::Index;
use crate::model::{Metadata, STALE_MARKER_BITS, Selector};
use crate::options::{Keep, RetentionRule};
use crate::part::PartSpec;
use crate::part::{CacheLimits, Part, PartCache};
use crate::retention::PartView;
use crate::segment::{ChunkSource, Group, Mask, RecordSource, SegmentLimits};
use crate::store::StoreKind;

const LIMITS: SegmentLimits = SegmentLimits { chunk_samples_max: 16, segment_bytes_target: 4096 };
const SERIES: u32 = 4;

/// A series' sample or observation: what was written last, and its rank.
type Samples = BTreeMap<(u32, i64), (f64, u64)>;

struct Store {
    dir: tempfile::TempDir,
    fs: Arc<dyn Fs>,
    index: Index,
    cache: Arc<PartCache>,
    policy: Policy,
    parts: Vec<Arc<Part>>,
    tombstones: Vec<Tombstone>,
    masks: Vec<Mask>,
    next: u64,
    rank: u64,
    frontier: i64,
    truth: Samples,
}

/// The last series is a gauge, the one before carries sketches; classes alternate.
fn named(series: u32) -> Series {
    let name = ["requests", "requests", "latency", "temperature"][series as usize];
    Series::new(name, [("n", series.to_string().as_str())]).unwrap()
}

fn fields(series: u32) -> RecordFields {
    RecordFields { increase: series != 3, sketches: series == 2 }
}

fn tier(nanos: i64) -> Tier {
    Tier::from_nanos(nanos).unwrap()
}

impl Store {
    fn new() -> Self {
        let index = Index::new();
        let kind = MetricKind::Gauge;
        index.set_metadata("temperature", &Metadata { kind, ..Metadata::default() });
        let odd = Selector::parse("{n=~\"1|3\"}").unwrap();
        let policy = Policy {
            tiers: vec![tier(10), tier(20), tier(100)],
            sketches: vec![Selector::parse("latency").unwrap()],
            rules: vec![RetentionRule { selector: odd, keep: Keep::FOREVER }],
            lateness: Duration::from_nanos(30),
            ..Policy::default()
        };
        Self {
            dir: tempfile::tempdir().unwrap(),
            fs: Arc::new(RealFs),
            index,
            cache: Arc::new(PartCache::new(CacheLimits::default())),
            policy,
            parts: Vec::new(),
            tombstones: Vec::new(),
            masks: Vec::new(),
            next: 1,
            rank: 0,
            frontier: 0,
            truth: Samples::new(),
        }
    }

    fn open(&mut self, id: u64) {
        let path = self.dir.path();
        let part = Part::open(&self.fs, path, id, &self.index, &self.cache).unwrap();
        self.parts.push(Arc::new(part));
    }

    /// Writes samples of one rank into a part for each series.
    fn freeze(&mut self, samples: &[(u32, i64, f64)]) {
        self.rank += 1;
        let mut by_series: BTreeMap<u32, BTreeMap<i64, f64>> = BTreeMap::new();
        for &(series, time, value) in samples {
            by_series.entry(series).or_default().insert(time, value);
            self.truth.insert((series, time), (value, self.rank));
            self.frontier = self.frontier.max(time);
        }
        for (series, samples) in by_series {
            let (timestamps, values): (Vec<i64>, Vec<f64>) = samples.into_iter().unzip();
            let read = |_: usize, rows: std::ops::Range<usize>, out: &mut Vec<f64>| {
                out.clear();
                out.extend_from_slice(&values[rows]);
            };
            let group = Group { timestamps: &timestamps, series: &[0], read: &read };
            let part = PartSpec {
                id: self.next,
                rank: self.rank,
                window: TimeRange::new(Timestamp(-1000), Timestamp(100_000)),
                tier: Tier::RAW,
                layout: Layout::Samples,
                tombstones: self.tombstones.len() as u64,
                store: StoreKind::Flat,
                limits: LIMITS,
            };
            self.next += 1;
            let table = [Arc::new(named(series))];
            part::write(&self.fs, self.dir.path(), &part, &table, &[], &[group]).unwrap();
            self.open(part.id);
        }
    }

    fn delete(&mut self, series: u32, range: TimeRange) {
        let (id, rank) = (self.tombstones.len() as u64 + 1, self.rank);
        let selector = named(series).to_string();
        self.tombstones.push(Tombstone { id, rank, range, selector });
        let series_id = self.index.intern(&named(series));
        self.masks.push(Mask { id, rank, range, series: RoaringBitmap::from([series_id.0]) });
        self.truth.retain(|(of, time), _| *of != series || !range.contains(Timestamp(*time)));
    }

    fn sources(&self) -> Sources {
        let mut sources = Sources { masks: self.masks.clone(), ..Sources::default() };
        for part in &self.parts {
            match part.meta().layout {
                Layout::Samples => sources.samples.push(Arc::clone(part) as Arc<dyn ChunkSource>),
                Layout::Records => sources.records.push(Arc::clone(part) as Arc<dyn RecordSource>),
                Layout::Events => panic!("{part:?}"),
            }
        }
        sources
    }

    fn views(&self) -> Vec<PartView> {
        let view = |part: &Arc<Part>| {
            let meta = part.meta();
            let entry = PartEntry {
                id: meta.id,
                rank: meta.rank,
                window: meta.window,
                first: meta.first,
                last: meta.last,
                samples: meta.samples,
                series: meta.series,
                segments: meta.segments.len() as u32,
                bytes: 1000,
                meta_crc: 0,
                store: meta.store as u8,
                tier: meta.tier,
                layout: meta.layout,
                tombstones: meta.tombstones,
            };
            let series = part.series_ids().iter().map(|id| self.index.series(*id).unwrap());
            let mut classes: Vec<usize> = series.map(|s| self.policy.class_of(&s)).collect();
            classes.sort_unstable();
            classes.dedup();
            let purgeable = self.tombstones.iter().zip(&self.masks).filter(|(tombstone, mask)| {
                tombstone.may_affect(&entry)
                    && part.series_ids().iter().any(|id| mask.series.contains(id.0))
            });
            let purgeable = purgeable.map(|(tombstone, _)| tombstone.id).collect();
            PartView { entry, classes, chunks: meta.chunks, purgeable, rewritten: true }
        };
        self.parts.iter().map(view).collect()
    }

    fn next_task(&self) -> Option<Task> {
        next_task(&Situation {
            everything: false,
            parts: &self.views(),
            tombstones: &self.tombstones,
            policy: &self.policy,
            partition_ns: 200,
            frontier: Timestamp(self.frontier),
            chunk_samples_max: 8192,
            input_bytes_max: 1 << 40,
        })
    }

    fn build(&mut self, task: &Task) -> Result<Vec<PartMeta>> {
        let series: Vec<(SeriesId, Arc<Series>)> = (0..SERIES)
            .filter_map(|series| Some((self.index.get(&named(series))?, Arc::new(named(series)))))
            .collect();
        let spec = MergeSpec {
            fs: &self.fs,
            parts_dir: self.dir.path(),
            store: StoreKind::Flat,
            limits: LIMITS,
            masks: &self.masks,
            tombstones: self.tombstones.len() as u64,
            index: &self.index,
        };
        let next = std::cell::Cell::new(self.next);
        let mut id = self.next;
        let mut next_id = || {
            id += 1;
            id - 1
        };
        let built = downsample(
            task,
            &self.sources(),
            &series,
            &self.policy,
            &spec,
            &mut next_id,
            &mut || Ok(()),
        );
        self.next = next.into_inner() + 10;
        let built = built?;
        for meta in &built {
            self.open(meta.id);
        }
        Ok(built)
    }

    /// Builds all tiers that can be built, and patches them.
    fn build_all(&mut self) {
        for _ in 0..500 {
            match self.next_task() {
                Some(task @ (Task::Downsample { .. } | Task::Patch { .. })) => {
                    let built = self.build(&task).unwrap();
                    assert!(!built.is_empty(), "{task} left nothing");
                }
                _ => return,
            }
        }
        panic!("building does not end");
    }

    /// The tier's records of a series: of the part written last for each bucket.
    fn records(&self, tier: Tier, series: u32) -> BTreeMap<i64, (Partial, Option<Sketch>)> {
        let mut parts: Vec<&Arc<Part>> =
            self.parts.iter().filter(|part| part.meta().tier == tier).collect();
        parts.sort_by_key(|part| (part.meta().rank, part.meta().tombstones, part.meta().id));
        let id = self.index.intern(&named(series));
        let mut found = BTreeMap::new();
        let mut records = Records::default();
        for part in parts {
            part.read_records(id, TimeRange::ALL, &mut records).unwrap();
            if let Some(fields) = part.fields(id).unwrap() {
                assert_eq!(fields, self::fields(series));
            }
            for (index, start) in records.starts.iter().enumerate() {
                let sketch = records.sketches.get(index).map(SketchRef::to_sketch);
                found.insert(*start, (records.partials[index], sketch));
            }
        }
        found.retain(|_, (partial, _)| partial.count > 0);
        found
    }

    /// What the tier's records must be.
    fn expected(&self, tier: Tier, series: u32) -> BTreeMap<i64, (Partial, Option<Sketch>)> {
        let mut buckets: BTreeMap<i64, (Vec<i64>, Vec<f64>)> = BTreeMap::new();
        for (&(of, time), &(value, _)) in &self.truth {
            if of == series && value.to_bits() != STALE_MARKER_BITS {
                let bucket = buckets.entry(tier.floor(Timestamp(time)).0).or_default();
                bucket.0.push(time);
                bucket.1.push(value);
            }
        }
        let fields = fields(series);
        let record = |(times, values): (Vec<i64>, Vec<f64>)| {
            let mut partial = Partial::of(&times, &values);
            if !fields.increase {
                (partial.increase, partial.resets) = (f64::NAN, 0);
            }
            (partial, fields.sketches.then(|| Sketch::of(&values)))
        };
        buckets.into_iter().map(|(start, samples)| (start, record(samples))).collect()
    }

    fn check(&self) -> Result<(), TestCaseError> {
        for tier in self.policy.tiers.iter().copied() {
            let settled = Timestamp(self.frontier - 30);
            // A stretch is 200 long, and built whole.
            let over = settled.0.div_euclid(200) * 200;
            for series in 0..SERIES {
                let found = self.records(tier, series);
                let mut expected = self.expected(tier, series);
                expected.retain(|start, _| *start < over);
                let starts = |of: &BTreeMap<i64, _>| of.keys().copied().collect::<Vec<_>>();
                prop_assert_eq!(starts(&found), starts(&expected), "{} of series {}", tier, series);
                for (start, (partial, sketch)) in &found {
                    let (right, sketched) = &expected[start];
                    prop_assert!(
                        equal(partial, right),
                        "{} {}: {:?} {:?}",
                        tier,
                        start,
                        partial,
                        right
                    );
                    prop_assert_eq!(sketch, sketched);
                }
            }
        }
        Ok(())
    }
}

/// Sums within rounding; the rest exactly, NaN being equal to NaN.
fn equal(one: &Partial, other: &Partial) -> bool {
    let same = |l: f64, r: f64| l == r || l.is_nan() && r.is_nan();
    let near = |l: f64, r: f64| same(l, r) || (l - r).abs() <= 1e-12 * (1e4 + l.abs() + r.abs());
    one.count == other.count
        && one.resets == other.resets
        && near(one.sum, other.sum)
        && near(one.increase, other.increase)
        && same(one.min, other.min)
        && same(one.max, other.max)
        && one.first.timestamp == other.first.timestamp
        && one.last.timestamp == other.last.timestamp
        && same(one.first.value, other.first.value)
        && same(one.last.value, other.last.value)
}

#[derive(Debug, Clone)]
enum Step {
    Freeze(Vec<(u32, i64, f64)>),
    Late(Vec<(u32, i64, f64)>),
    Delete(u32, i64, i64),
    Build,
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => (0..500_i32).prop_map(|n| f64::from(n) / 4.0),
        1 => Just(f64::from_bits(STALE_MARKER_BITS)),
        1 => Just(f64::NAN),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let some = |span: i64| prop::collection::vec((0..SERIES, 0..span, value()), 1..60);
    prop_oneof![
        4 => some(300).prop_map(Step::Freeze),
        2 => some(2000).prop_map(Step::Late),
        2 => (0..SERIES, 0_i64..1500, 1_i64..300).prop_map(|(s, at, l)| Step::Delete(s, at, l)),
        3 => Just(Step::Build),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever comes late or is deleted, patched tiers are what building them anew would be.
    #[test]
    fn tiers_are_what_their_samples_fold_to(steps in prop::collection::vec(step(), 1..14)) {
        let mut store = Store::new();
        for step in steps {
            match step {
                Step::Freeze(samples) => {
                    let at = store.frontier;
                    let samples: Vec<_> = samples.iter().map(|&(s, t, v)| (s, at + t, v)).collect();
                    store.freeze(&samples);
                }
                Step::Late(samples) => {
                    let at = store.frontier;
                    let back = |&(s, t, v): &(u32, i64, f64)| (s, (at - t).max(0), v);
                    store.freeze(&samples.iter().map(back).collect::<Vec<_>>());
                }
                Step::Delete(series, back, length) => {
                    let start = (store.frontier - back).max(0);
                    let range = TimeRange::new(Timestamp(start), Timestamp(start + length));
                    store.delete(series, range);
                }
                Step::Build => store.build_all(),
            }
        }
        store.build_all();
        store.check()?;
    }
}

fn ramp(series: u32, times: impl Iterator<Item = i64>) -> Vec<(u32, i64, f64)> {
    times.map(|time| (series, time, time as f64)).collect()
}

#[test]
fn what_comes_after_raw_is_gone_is_merged_into_the_records() {
    let mut store = Store::new();
    store.freeze(&ramp(0, (0..500).filter(|t| t % 5 != 3)));
    store.build_all();
    let built = store.records(tier(10), 0);
    assert_eq!((built[&100].0.count, built[&100].0.sum), (8, 834.0));
    store.parts.retain(|part| !part.meta().tier.is_raw());
    store.freeze(&ramp(0, [103].into_iter()));
    store.build_all();
    for (nanos, count) in [(10, 9), (20, 17), (100, 81)] {
        assert_eq!(store.records(tier(nanos), 0)[&100].0.count, count, "{nanos}");
    }
    let patched = store.records(tier(10), 0)[&100].0;
    assert_eq!((patched.sum, patched.increase), (built[&100].0.sum + 103.0, 9.0));
    // A delete cuts what only records know of: they go whole, where nothing finer is left.
    store.delete(0, TimeRange::new(Timestamp(105), Timestamp(106)));
    store.build_all();
    assert_eq!(store.records(tier(10), 0).get(&100).map(|(partial, _)| partial.count), Some(1));
    assert_eq!(store.records(tier(100), 0)[&100].0.count, 81 - 8);
}

#[test]
fn distributions_are_built_of_what_was_recorded() {
    let mut store = Store::new();
    let mut recorded = Records::default();
    for interval in 0..60_i64 {
        let values: Vec<f64> = (1..=50).map(|n| f64::from(n) + interval as f64).collect();
        let (start, end) = (Timestamp(interval * 5), values.len() as u64);
        let at = |value| crate::model::Sample { timestamp: start, value };
        let folded = Partial::of(&(0..50).collect::<Vec<_>>(), &values);
        let (first, last) = (at(f64::NAN), at(f64::NAN));
        recorded.starts.push(start.0);
        recorded.partials.push(Partial { first, last, increase: end as f64, resets: 0, ..folded });
        recorded.sketches.push(&Sketch::of(&values));
    }
    store.rank = 1;
    store.frontier = 295;
    let part = PartSpec {
        id: store.next,
        rank: 1,
        window: TimeRange::new(Timestamp(0), Timestamp(1000)),
        tier: Tier::RAW,
        layout: Layout::Records,
        tombstones: 0,
        store: StoreKind::Flat,
        limits: LIMITS,
    };
    store.next += 1;
    let mut builder =
        part::Builder::new(&store.fs, store.dir.path(), &part, &[Arc::new(named(2))], &[]).unwrap();
    let row = SeriesRecords { position: 0, increase: true, records: &recorded };
    builder.add_records(&[row]).unwrap();
    builder.finish().unwrap();
    store.open(part.id);
    store.build_all();
    for nanos in [10, 20, 100] {
        let records = store.records(tier(nanos), 2);
        assert_eq!(records.len() as i64, 200 / nanos);
        for (start, (partial, sketch)) in records {
            let within = recorded.starts.iter().filter(|t| (start..start + nanos).contains(t));
            let count = 50 * within.count() as u64;
            assert_eq!((partial.count, partial.increase), (count, count as f64));
            assert_eq!((partial.first.timestamp.0, partial.resets), (start, 0));
            assert!(partial.first.value.is_nan() && partial.last.value.is_nan());
            assert_eq!(partial.last.timestamp.0, start + nanos - 5);
            let rows = recorded.starts.iter().zip(recorded.sketches.iter());
            let mut all = Sketch::default();
            rows.filter(|(t, _)| (start..start + nanos).contains(t))
                .for_each(|(_, s)| all.merge(s));
            assert_eq!(sketch, Some(all));
        }
    }
}

#[test]
fn a_stretch_without_anything_counts_as_done() {
    let mut store = Store::new();
    let stale = f64::from_bits(STALE_MARKER_BITS);
    let markers: Vec<_> = (0..300).step_by(7).map(|time| (1, time, stale)).collect();
    store.freeze(&markers);
    store.build_all();
    assert!(store.records(tier(10), 1).is_empty());
    assert!(!matches!(store.next_task(), Some(Task::Downsample { .. } | Task::Patch { .. })));
    assert!(store.parts.iter().any(|part| part.meta().tier == tier(100)));
}

#[test]
fn a_cancelled_build_leaves_nothing() {
    let mut store = Store::new();
    store.freeze(&ramp(0, 0..500));
    store.freeze(&ramp(1, 0..500));
    let task = store.next_task().unwrap();
    let before = store.fs.list(store.dir.path()).unwrap().len();
    let series: Vec<(SeriesId, Arc<Series>)> = [0, 1]
        .map(|series| (store.index.get(&named(series)).unwrap(), Arc::new(named(series))))
        .to_vec();
    let spec = MergeSpec {
        fs: &store.fs,
        parts_dir: store.dir.path(),
        store: StoreKind::Flat,
        limits: LIMITS,
        masks: &[],
        tombstones: 0,
        index: &store.index,
    };
    for allowed in [0, 1] {
        let mut calls = 0;
        let mut pause = || {
            calls += 1;
            if calls > allowed { Err(Error::Cancelled) } else { Ok(()) }
        };
        let mut id = 100;
        let mut next_id = || {
            id += 1;
            id
        };
        let sources = store.sources();
        let policy = &store.policy;
        let result = downsample(&task, &sources, &series, policy, &spec, &mut next_id, &mut pause);
        assert!(matches!(result, Err(Error::Cancelled)), "{allowed}");
        assert_eq!(store.fs.list(store.dir.path()).unwrap().len(), before, "{allowed}");
    }
}
