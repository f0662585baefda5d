use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use roaring::RoaringBitmap;

use super::*;
use crate::aggregate::{Partial, Sketch, SketchRef};
use crate::error::{Error, Result};
use crate::fs::{Fs, RealFs};
use crate::index::Index;
use crate::model::{Metadata, MetricKind, Series, SeriesId};
use crate::part::{self, CacheLimits, Layout, Part, PartCache, PartMeta, PartSpec};
use crate::segment::{
    ChunkSource, Group, Mask, RecordSource, Records, SegmentLimits, SeriesRecords,
};
use crate::store::StoreKind;
use crate::time::{Tier, TimeRange, Timestamp};

/// Samples of one series, by timestamp, values as bits.
type Column = BTreeMap<i64, u64>;
/// Columns by the number of their series.
type Content = BTreeMap<u32, Column>;

const SMALL: SegmentLimits = SegmentLimits { chunk_samples_max: 12, segment_bytes_target: 1024 };
const LONG: SegmentLimits = SegmentLimits { chunk_samples_max: 32, segment_bytes_target: 8192 };

fn range(start: i64, end: i64) -> TimeRange {
    TimeRange::new(Timestamp(start), Timestamp(end))
}

/// A directory of parts, and what reads them.
struct Store {
    dir: tempfile::TempDir,
    fs: Arc<dyn Fs>,
    index: Index,
    cache: Arc<PartCache>,
    next: u64,
}

/// Series that are written together.
#[derive(Debug, Clone)]
struct Shape {
    series: BTreeSet<u32>,
    timestamps: BTreeSet<i64>,
}

fn named(series: u32) -> Series {
    Series::new(["b", "a", "c"][series as usize % 3], [("n", format!("{series:04}").as_str())])
        .unwrap()
}

/// What a part of this rank holds of a series at a time.
fn value(series: u32, time: i64, rank: u64) -> u64 {
    let mixed =
        (u64::from(series) << 40 ^ rank << 32 ^ time as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    match mixed >> 60 {
        0 => crate::model::STALE_MARKER_BITS,
        1 => 0x7ff8_0000_dead_beef,
        2 => (-0.0_f64).to_bits(),
        3 => f64::INFINITY.to_bits(),
        4..12 => ((mixed >> 50) as f64).to_bits(),
        _ => mixed >> 2,
    }
}

impl Store {
    fn new() -> Self {
        let index = Index::new();
        // Ids that are no positions.
        index.intern_all((0..40).rev().step_by(3).map(named));
        Self {
            dir: tempfile::tempdir().unwrap(),
            fs: Arc::new(RealFs),
            index,
            cache: Arc::new(PartCache::new(CacheLimits::default())),
            next: 1,
        }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A part of this rank, with what it holds: of shapes that overlap in a series, the first.
    fn write(
        &mut self,
        rank: u64,
        limits: SegmentLimits,
        shapes: &[Shape],
    ) -> (Arc<Part>, Content) {
        let mut spans: BTreeMap<u32, Vec<(i64, i64)>> = BTreeMap::new();
        let mut shapes = shapes.to_vec();
        for Shape { series, timestamps } in &mut shapes {
            let (first, last) = (*timestamps.first().unwrap(), *timestamps.last().unwrap());
            series.retain(|n| {
                let spans = spans.entry(*n).or_default();
                let free = spans.iter().all(|&(start, end)| last < start || end < first);
                spans.extend(free.then_some((first, last)));
                free
            });
        }
        let mut content = Content::new();
        for Shape { series, timestamps } in &shapes {
            for &series in series {
                let samples = timestamps.iter().map(|&time| (time, value(series, time, rank)));
                content.entry(series).or_default().extend(samples);
            }
        }
        let mut table: Vec<(Series, u32)> = content.keys().map(|&n| (named(n), n)).collect();
        table.sort();
        let position = |n: u32| table.iter().position(|entry| entry.1 == n).unwrap() as u32;
        let groups: Vec<(Vec<u32>, Vec<u32>, Vec<i64>)> = shapes
            .iter()
            .map(|shape| {
                let mut series: Vec<(u32, u32)> =
                    shape.series.iter().map(|&n| (position(n), n)).collect();
                series.sort_unstable();
                let (positions, numbers) = series.into_iter().unzip();
                (positions, numbers, shape.timestamps.iter().copied().collect())
            })
            .collect();
        let reads: Vec<_> = groups
            .iter()
            .map(|(_, numbers, times)| {
                move |at: usize, rows: std::ops::Range<usize>, out: &mut Vec<f64>| {
                    let values = times[rows].iter().map(|&time| value(numbers[at], time, rank));
                    out.clear();
                    out.extend(values.map(f64::from_bits));
                }
            })
            .collect();
        let groups: Vec<Group<'_>> = groups
            .iter()
            .zip(&reads)
            .map(|((series, _, timestamps), read)| Group { timestamps, series, read })
            .collect();
        let spec = PartSpec {
            id: self.next,
            rank,
            window: range(-1_000_000, 1_000_000),
            tier: Tier::RAW,
            layout: Layout::Samples,
            tombstones: 0,
            store: StoreKind::Flat,
            limits,
        };
        self.next += 1;
        let series: Vec<Arc<Series>> = table.iter().map(|(s, _)| Arc::new(s.clone())).collect();
        let metadata = Metadata { kind: MetricKind::Gauge, unit: "s".into(), help: "h".into() };
        let metadata = [("a".to_owned(), metadata)];
        part::write(&self.fs, self.path(), &spec, &series, &metadata, &groups).unwrap();
        let part = self.open(spec.id);
        (part, content)
    }

    fn open(&self, id: u64) -> Arc<Part> {
        Arc::new(Part::open(&self.fs, self.path(), id, &self.index, &self.cache).unwrap())
    }

    fn merge(&mut self, inputs: &[Arc<Part>], how: &How<'_>) -> Result<Vec<Arc<Part>>> {
        let mut next = self.next;
        let spec = MergeSpec {
            fs: &self.fs,
            parts_dir: self.dir.path(),
            store: StoreKind::Flat,
            limits: LONG,
            masks: how.masks,
            tombstones: 9,
            index: &self.index,
        };
        let mut next_id = || {
            next += 1;
            next - 1
        };
        let mut calls = 0;
        let mut pause = || {
            calls += 1;
            if calls > how.calls_max { Err(Error::Cancelled) } else { Ok(()) }
        };
        let merged = merge_samples(inputs, how.windows, &spec, &mut next_id, &mut pause);
        self.next = next;
        let merged: Vec<PartMeta> = merged?;
        Ok(merged.iter().map(|meta| self.open(meta.id)).collect())
    }

    fn id(&self, series: u32) -> SeriesId {
        self.index.intern(&named(series))
    }

    /// Names of everything in the directory.
    fn entries(&self) -> BTreeSet<String> {
        let entries = self.fs.list(self.path()).unwrap();
        entries.into_iter().map(|entry| entry.name.into_string().unwrap()).collect()
    }

    /// What parts hold together: the later wins.
    fn read(&self, parts: &[Arc<Part>]) -> Content {
        let mut parts = parts.to_vec();
        parts.sort_by_key(|part| part.meta().rank);
        let mut content = Content::new();
        for part in parts {
            assert!(part.verify(&mut |_| ()).problems.is_empty());
            for &id in part.series_ids() {
                let name = self.index.series(id).unwrap();
                let number: u32 = name.label("n").parse().unwrap();
                let (mut chunks, mut times, mut values) = (Vec::new(), Vec::new(), Vec::new());
                part.chunks(id, TimeRange::ALL, &mut chunks).unwrap();
                assert!(!chunks.is_empty(), "{name} has no samples");
                for chunk in chunks {
                    part.read_timestamps(&chunk, &mut times).unwrap();
                    part.read_values(&chunk, &mut values).unwrap();
                    assert!(times.iter().all(|&t| part.meta().window.contains(Timestamp(t))));
                    let values = values.iter().map(|value| value.to_bits());
                    content.entry(number).or_default().extend(times.iter().copied().zip(values));
                }
            }
        }
        content
    }
}

/// How a test merges.
struct How<'a> {
    windows: &'a [TimeRange],
    masks: &'a [Mask],
    /// After so many calls of `pause` the merge is cancelled.
    calls_max: usize,
}

const ALL: &[TimeRange] = &[TimeRange::ALL];
const PLAIN: How<'static> = How { windows: ALL, masks: &[], calls_max: usize::MAX };

/// What merging parts in order of rank comes to; masks take what they affect of each.
fn expected(parts: &[(u64, Content)], masks: &[(u64, TimeRange, BTreeSet<u32>)]) -> Content {
    let mut expected = Content::new();
    for (rank, content) in parts {
        for (series, column) in content {
            for (&time, &bits) in column {
                let gone = masks.iter().any(|(upto, range, of)| {
                    rank <= upto && range.contains(Timestamp(time)) && of.contains(series)
                });
                if !gone {
                    expected.entry(*series).or_default().insert(time, bits);
                }
            }
        }
    }
    expected
}

fn grid(start: i64, step: i64, count: i64) -> BTreeSet<i64> {
    (0..count).map(|i| start + i * step).collect()
}

fn shape(series: std::ops::Range<u32>, timestamps: BTreeSet<i64>) -> Shape {
    Shape { series: series.collect(), timestamps }
}

#[test]
fn interleaved_late_and_overwritten_samples_become_one_part_of_long_chunks() {
    let mut store = Store::new();
    let (one, a) = store.write(10, SMALL, &[shape(0..20, grid(0, 10, 200))]);
    let (two, b) = store.write(20, SMALL, &[shape(5..25, grid(5, 10, 300))]);
    let (late, c) = store.write(30, SMALL, &[shape(7..9, grid(1000, 10, 3))]);
    let merged = store.merge(&[late, one, two], &PLAIN).unwrap();
    assert_eq!(store.read(&merged), expected(&[(10, a), (20, b), (30, c)], &[]));
    let [merged] = &*merged else { panic!("{merged:?}") };
    let meta = merged.meta();
    assert_eq!((meta.rank, meta.tombstones, meta.series), (30, 9, 25));
    assert!(store.index.metadata("a").is_some());
    // 5 series of 200, 18 of 500 and 2 of 503 samples, in chunks of 16 to 32, even ones.
    let chunks: u64 = 5 * 7 + 13 * 16 + 2 * 16 + 5 * 10;
    assert_eq!(meta.chunks, chunks);
    // Series that are written together share their timestamps.
    let columns: usize = (0..meta.segments.len() as u32)
        .map(|number| merged.segment(number).unwrap().timestamp_columns().len())
        .sum();
    assert!(columns < 200, "{columns} timestamp columns");
}

#[test]
fn long_chunks_that_nothing_touches_are_copied_as_they_are() {
    let mut store = Store::new();
    let (one, a) = store.write(10, LONG, &[shape(0..4, grid(0, 1, 64))]);
    let (two, b) =
        store.write(20, LONG, &[shape(0..4, grid(100, 3, 40)), shape(9..10, grid(7, 1, 3))]);
    let before = encoded(&one, store.id(2));
    let merged = store.merge(&[one, two], &PLAIN).unwrap();
    assert_eq!(store.read(&merged), expected(&[(10, a), (20, b)], &[]));
    // Of each of four series 32, 32 and 32 samples are copied, 8 left over; one series has 3.
    assert_eq!(merged[0].meta().chunks, 4 * 4 + 1);
    let after = encoded(&merged[0], store.id(2));
    assert_eq!((before.len(), after.len()), (2, 4));
    assert_eq!(after[..2], before);
}

/// The bytes of a series' chunks, as text.
fn encoded(part: &Part, series: SeriesId) -> Vec<String> {
    let position = part.position(series).unwrap();
    let segments = (0..part.meta().segments.len() as u32).map(|n| part.segment(n).unwrap());
    let chunks = segments.flat_map(|segment| {
        let chunks = segment.chunks_of(position).iter().map(|chunk| {
            let timestamps = segment.copy_timestamps(chunk.timestamps).unwrap();
            let values = segment.copy_values(chunk).unwrap();
            format!("{:?} {:?} {values:?}", timestamps.bounds(), timestamps.samples())
        });
        chunks.collect::<Vec<_>>()
    });
    chunks.collect()
}

#[test]
fn windows_that_leave_samples_out_or_overlap_are_refused() {
    let mut store = Store::new();
    let (one, _) = store.write(10, SMALL, &[shape(0..3, grid(0, 10, 100))]);
    let before = store.entries();
    for windows in [
        &[range(0, 900)][..],
        &[range(0, 500), range(501, 1000)],
        &[range(0, 600), range(500, 1000)],
        &[range(500, 1000), range(0, 500)],
        &[],
    ] {
        let how = How { windows, ..PLAIN };
        let refused = store.merge(&[Arc::clone(&one)], &how);
        assert!(matches!(refused, Err(Error::InvalidArgument { .. })), "{refused:?}");
    }
    assert_eq!(store.entries(), before);
    // A gap without samples is none.
    let how = How { windows: &[range(0, 495), range(496, 1000), range(2000, 3000)], ..PLAIN };
    assert_eq!(store.merge(&[one], &how).unwrap().len(), 2);
}

#[test]
fn what_is_deleted_whole_leaves_no_name_and_no_part() {
    let mut store = Store::new();
    let (one, _) = store.write(10, SMALL, &[shape(0..3, grid(0, 10, 100))]);
    let series = RoaringBitmap::from_iter((0..2).map(|n| store.id(n).0));
    let mask = Mask { id: 4, rank: 10, range: range(-5, 2000), series };
    let how = How { masks: std::slice::from_ref(&mask), ..PLAIN };
    let merged = store.merge(&[Arc::clone(&one)], &how).unwrap();
    assert_eq!(store.read(&merged).into_keys().collect::<Vec<_>>(), [2]);
    let all = Mask { series: RoaringBitmap::from_iter(0..100), ..mask };
    let how = How { masks: &[all], ..PLAIN };
    assert!(store.merge(&[one], &how).unwrap().is_empty());
}

#[test]
fn a_cancelled_merge_leaves_nothing() {
    let mut store = Store::new();
    let (one, _) = store.write(10, SMALL, &[shape(0..30, grid(0, 10, 300))]);
    let (two, _) = store.write(20, SMALL, &[shape(0..30, grid(5, 10, 300))]);
    let before = store.entries();
    let windows = [range(0, 1500), range(1500, 3100)];
    let mut cancelled = 0;
    for calls_max in (0..).step_by(3) {
        let how = How { windows: &windows, calls_max, ..PLAIN };
        match store.merge(&[Arc::clone(&one), Arc::clone(&two)], &how) {
            Ok(_) => break,
            Err(error) => assert!(matches!(error, Error::Cancelled), "{error}"),
        }
        assert_eq!(store.entries(), before);
        cancelled += 1;
    }
    assert!(cancelled > 20, "{cancelled}");
}

#[test]
fn a_damaged_input_is_an_error_and_nothing_is_published() {
    let mut store = Store::new();
    let (_, content) = store.write(10, LONG, &[shape(0..6, grid(0, 10, 128))]);
    let (two, more) = store.write(20, LONG, &[shape(3..9, grid(3, 10, 64))]);
    let file = part::part_dir(store.path(), 1).join("store/values");
    let sound = std::fs::read(&file).unwrap();
    let before = store.entries();
    let whole = expected(&[(10, content), (20, more)], &[]);
    for at in (8..sound.len()).step_by(sound.len() / 60) {
        let mut damaged = sound.clone();
        damaged[at] ^= 0x10;
        std::fs::write(&file, &damaged).unwrap();
        // What was read before would hide the damage.
        store.cache = Arc::new(PartCache::new(CacheLimits::default()));
        let inputs = [store.open(1), Arc::clone(&two)];
        match store.merge(&inputs, &PLAIN) {
            Err(error) => {
                assert!(matches!(error, Error::Corrupt { .. }), "byte {at}: {error}");
                assert_eq!(store.entries(), before);
            }
            Ok(merged) => panic!("byte {at}: {:?}", store.read(&merged) == whole),
        }
    }
}

#[test]
fn the_bytes_do_not_depend_on_the_number_of_threads() {
    let digests = |threads| {
        let mut store = Store::new();
        let (one, _) = store.write(10, SMALL, &[shape(0..30, grid(0, 10, 300))]);
        let (two, _) = store.write(20, SMALL, &[shape(10..40, grid(5, 7, 300))]);
        let windows = [range(0, 1000), range(1000, 4000)];
        let how = How { windows: &windows, ..PLAIN };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let merged = pool.install(|| store.merge(&[one, two], &how).unwrap());
        merged.iter().map(|part| part.meta().digest).collect::<Vec<_>>()
    };
    assert_eq!(digests(1), digests(3));
}

#[test]
fn timelines_count_the_samples_of_each_cell() {
    let mut store = Store::new();
    let (one, _) =
        store.write(10, SMALL, &[shape(0..4, grid(0, 10, 100)), shape(7..8, grid(-5, 1, 9))]);
    let (two, _) = store.write(20, SMALL, &[shape(0..4, grid(500, 10, 100))]);
    let mut found = timelines(&[one, two], &store.index, 250, &mut || Ok(())).unwrap();
    found.sort_by_key(|timeline| timeline.series);
    let cell = |start, samples| Cell { start, samples };
    let lone = vec![cell(-250, 5), cell(0, 4)];
    let shared = [(0, 25), (250, 25), (500, 50), (750, 50), (1000, 25), (1250, 25)];
    let shared = shared.map(|(start, samples)| cell(start, samples)).to_vec();
    assert_eq!(found, [Timeline { series: 1, cells: lone }, Timeline { series: 4, cells: shared }]);
}

fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    let times = prop_oneof![
        (0_i64..600, 1_i64..12, 1_i64..70)
            .prop_map(|(start, step, count)| grid(start, step, count)),
        prop::collection::btree_set(0_i64..900, 1..12),
    ];
    let shape = (prop::collection::btree_set(0_u32..12, 1..8), times)
        .prop_map(|(series, timestamps)| Shape { series, timestamps });
    prop::collection::vec(shape, 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn merging_is_what_a_map_does(
        parts in prop::collection::vec((shapes(), any::<bool>()), 1..6),
        order in any::<prop::sample::Index>(),
        cuts in prop::collection::btree_set(1_i64..900, 0..4),
        masks in prop::collection::vec(
            (0_u64..6, 0_i64..900, 1_i64..400, prop::collection::btree_set(0_u32..12, 1..12)), 0..4),
    ) {
        let mut store = Store::new();
        let (mut inputs, mut contents) = (Vec::new(), Vec::new());
        for (rank, (shapes, long)) in (0..).zip(&parts) {
            let (part, content) = store.write(rank, if *long { LONG } else { SMALL }, shapes);
            inputs.push(part);
            contents.push((rank, content));
        }
        let masks: Vec<(u64, TimeRange, BTreeSet<u32>)> = masks
            .into_iter()
            .map(|(rank, start, length, of)| (rank, range(start, start + length), of))
            .collect();
        let expected = expected(&contents, &masks);
        let masks: Vec<Mask> = (1..)
            .zip(&masks)
            .map(|(id, (rank, range, of))| {
                let series = of.iter().map(|&n| store.id(n).0).collect();
                Mask { id, rank: *rank, range: *range, series }
            })
            .collect();
        let ends = [0].into_iter().chain(cuts).chain([2000]).collect::<Vec<i64>>();
        let windows: Vec<TimeRange> = ends.windows(2).map(|pair| range(pair[0], pair[1])).collect();
        // Some merged before the others, in any order.
        let how = How { windows: &windows, masks: &masks, ..PLAIN };
        let split = order.index(inputs.len() + 1);
        let mut staged = store.merge(&inputs[..split], &how).unwrap();
        staged.extend(inputs[split..].iter().rev().cloned());
        let merged = store.merge(&staged, &how).unwrap();
        prop_assert!(merged.len() <= windows.len());
        prop_assert_eq!(store.read(&merged), expected);
        let again = store.merge(&merged, &How { windows: ALL, ..PLAIN }).unwrap();
        prop_assert_eq!(store.read(&again), store.read(&merged));
    }
}

/// Records of series by start, as text: what is not a number compares too.
type RecordContent = BTreeMap<u32, BTreeMap<i64, String>>;

const MINUTE: i64 = 60_000_000_000;

/// What a part of this rank holds of a bucket. One in five became empty.
fn record(series: u32, start: i64, rank: u64, tier: Tier) -> (Partial, Sketch) {
    let mixed = value(series, start, rank).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    if mixed.is_multiple_of(5) && !tier.is_raw() {
        return (Partial::EMPTY, Sketch::default());
    }
    let values: Vec<f64> = (0..1 + mixed % 4).map(|i| (mixed >> i) as f64 / 16.0).collect();
    let step = if tier.is_raw() { 0 } else { 7_000_000_000 };
    let times: Vec<i64> = (0..values.len() as i64).map(|i| start + i * step).collect();
    let mut partial = Partial::of(&times, &values);
    if tier.is_raw() {
        partial.first.value = f64::NAN;
        partial.last.value = f64::NAN;
        (partial.increase, partial.resets) = (partial.count as f64, 0);
    }
    (partial, Sketch::of(&values))
}

/// Records that a test writes: series, buckets, whether with increase, whether with sketches.
type RecordShape = (BTreeSet<u32>, BTreeSet<i64>, bool, bool);

impl Store {
    fn write_records(
        &mut self,
        rank: u64,
        tier: Tier,
        (series, buckets, increase, sketches): &RecordShape,
    ) -> (Arc<Part>, RecordContent) {
        let mut content = RecordContent::new();
        let increase = *increase || tier.is_raw();
        let mut table: Vec<(Series, u32)> = series.iter().map(|&n| (named(n), n)).collect();
        table.sort();
        let grain = tier.nanos().max(1);
        let records: Vec<Records> = table
            .iter()
            .map(|&(_, n)| {
                let mut records = Records::default();
                for &bucket in buckets {
                    let start = bucket * grain;
                    let (mut partial, sketch) = record(n, start, rank, tier);
                    records.starts.push(start);
                    records.partials.push(partial);
                    if *sketches {
                        records.sketches.push(&sketch);
                    }
                    if !increase && partial.count > 0 {
                        (partial.increase, partial.resets) = (f64::NAN, 0);
                    }
                    let sketch = (*sketches && partial.count > 0).then_some(sketch);
                    let text = record_text(&partial, sketch.as_ref().map(Sketch::view));
                    content.entry(n).or_default().insert(start, text);
                }
                records
            })
            .collect();
        let batch: Vec<SeriesRecords<'_>> = (0..)
            .zip(&records)
            .map(|(position, records)| SeriesRecords { position, increase, records })
            .collect();
        let spec = PartSpec {
            id: self.next,
            rank,
            window: range(-1000 * grain, 1000 * grain),
            tier,
            layout: Layout::Records,
            tombstones: 0,
            store: StoreKind::Flat,
            limits: SMALL,
        };
        self.next += 1;
        let names: Vec<Arc<Series>> = table.iter().map(|(s, _)| Arc::new(s.clone())).collect();
        let mut builder =
            part::Builder::new(&self.fs, self.dir.path(), &spec, &names, &[]).unwrap();
        builder.add_records(&batch).unwrap();
        builder.finish().unwrap();
        (self.open(spec.id), content)
    }

    fn merge_records(
        &mut self,
        inputs: &[Arc<Part>],
        windows: &[TimeRange],
        masks: &[Mask],
        keep_empty: bool,
    ) -> Result<Vec<Arc<Part>>> {
        let mut next = self.next;
        let spec = MergeSpec {
            fs: &self.fs,
            parts_dir: self.dir.path(),
            store: StoreKind::Flat,
            limits: LONG,
            masks,
            tombstones: 9,
            index: &self.index,
        };
        let mut next_id = || {
            next += 1;
            next - 1
        };
        let merged =
            merge_records(inputs, windows, &spec, keep_empty, &mut next_id, &mut || Ok(()));
        self.next = next;
        Ok(merged?.iter().map(|meta| self.open(meta.id)).collect())
    }

    fn read_records(&self, parts: &[Arc<Part>]) -> RecordContent {
        let mut content = RecordContent::new();
        let mut records = Records::default();
        for part in parts {
            assert!(part.verify(&mut |_| ()).problems.is_empty());
            for &id in part.series_ids() {
                let number = self.index.series(id).unwrap().label("n").parse().unwrap();
                part.read_records(id, TimeRange::ALL, &mut records).unwrap();
                assert!(!records.is_empty());
                for (row, (&start, partial)) in
                    records.starts.iter().zip(&records.partials).enumerate()
                {
                    assert!(part.meta().window.contains(Timestamp(start)));
                    let sketch = records.sketches.get(row).filter(|_| partial.count > 0);
                    let text = record_text(partial, sketch);
                    content.entry(number).or_default().insert(start, text);
                }
            }
        }
        content
    }
}

fn record_text(partial: &Partial, sketch: Option<SketchRef<'_>>) -> String {
    if partial.count == 0 { "empty".to_owned() } else { format!("{partial:?} {sketch:?}") }
}

fn record_shapes() -> impl Strategy<Value = Vec<(BTreeSet<u32>, BTreeSet<i64>)>> {
    let buckets = prop_oneof![
        (0_i64..60, 1_i64..50).prop_map(|(start, count)| grid(start, 1, count)),
        prop::collection::btree_set(0_i64..100, 1..8),
    ];
    let series = prop::collection::btree_set(0_u32..9, 1..7);
    prop::collection::vec((series, buckets), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn merging_records_is_what_a_map_does(
        shapes in record_shapes(),
        // Sketches and increases of all parts or none: a series' fields change seldom.
        (increase, sketches, raw, keep_empty) in any::<(bool, bool, bool, bool)>(),
        cuts in prop::collection::btree_set(1_i64..100, 0..3),
        split in any::<prop::sample::Index>(),
        mask in (0_u64..6, 0_i64..100, 1_i64..60, prop::collection::btree_set(0_u32..9, 1..9)),
    ) {
        let mut store = Store::new();
        let tier = if raw { Tier::RAW } else { Tier::MINUTE };
        let (mut inputs, mut expected) = (Vec::new(), RecordContent::new());
        let (upto, start, length, of) = mask;
        for (rank, (series, buckets)) in (0..).zip(shapes) {
            let shape = (series, buckets, increase, sketches);
            let (part, content) = store.write_records(rank, tier, &shape);
            inputs.push(part);
            for (series, records) in content {
                let kept = records.into_iter().filter(|(at, _)| {
                    let gone = rank <= upto && of.contains(&series);
                    !(raw && gone && (start..start + length).contains(at))
                });
                expected.entry(series).or_default().extend(kept);
            }
        }
        let held = |records: &mut BTreeMap<i64, String>, keep_empty: bool| {
            records.retain(|_, text| keep_empty || text != "empty");
            !records.is_empty()
        };
        expected.retain(|_, records| held(records, true));
        let series = of.iter().map(|&n| store.id(n).0).collect();
        let masks = [Mask { id: 1, rank: upto, range: range(start, start + length), series }];
        let grain = tier.nanos().max(1);
        let ends: Vec<i64> = [0].into_iter().chain(cuts).chain([300]).collect();
        let windows: Vec<TimeRange> =
            ends.windows(2).map(|pair| range(pair[0] * grain, pair[1] * grain)).collect();
        // Some before the others, in whose stead they come.
        let split = split.index(inputs.len() + 1);
        let mut staged = store.merge_records(&inputs[..split], &windows, &masks, true).unwrap();
        staged.extend(inputs[split..].iter().rev().cloned());
        let merged = store.merge_records(&staged, &windows, &masks, keep_empty).unwrap();
        expected.retain(|_, records| held(records, keep_empty));
        prop_assert_eq!(store.read_records(&merged), expected);
        for part in &merged {
            prop_assert_eq!((part.meta().tier, part.meta().layout), (tier, Layout::Records));
        }
    }
}

#[test]
fn records_with_and_without_increase_or_sketches_keep_what_they_have() {
    let mut store = Store::new();
    let series: BTreeSet<u32> = (0..5).collect();
    let (one, a) =
        store.write_records(1, Tier::MINUTE, &(series.clone(), grid(0, 1, 40), false, false));
    let (two, b) = store.write_records(2, Tier::MINUTE, &(series, grid(40, 1, 40), true, true));
    let windows = [range(0, 100 * MINUTE)];
    let merged = store.merge_records(&[two, one], &windows, &[], true).unwrap();
    // Read in halves, as long as reading all of both gives only what both have.
    let mut records = Records::default();
    for (content, half, full) in
        [(a, range(0, 40 * MINUTE), false), (b, range(40 * MINUTE, 80 * MINUTE), true)]
    {
        for (series, expected) in content {
            merged[0].read_records(store.id(series), half, &mut records).unwrap();
            let found: BTreeMap<i64, String> = records
                .starts
                .iter()
                .zip(&records.partials)
                .enumerate()
                .map(|(row, (&start, partial))| {
                    let sketch = records.sketches.get(row).filter(|_| partial.count > 0);
                    (start, record_text(partial, sketch))
                })
                .collect();
            assert_eq!(found, expected);
            assert_eq!(records.sketches.len(), if full { 40 } else { 0 });
        }
    }
}

#[test]
fn windows_of_records_hold_whole_buckets_and_all_of_them() {
    let mut store = Store::new();
    let shape = (BTreeSet::from([1, 2]), grid(0, 1, 50), true, false);
    let (one, _) = store.write_records(1, Tier::MINUTE, &shape);
    for windows in [
        &[range(0, 49 * MINUTE)][..],
        &[range(0, 50 * MINUTE + 1)],
        &[range(0, 20 * MINUTE), range(21 * MINUTE, 60 * MINUTE)],
    ] {
        let refused = store.merge_records(&[Arc::clone(&one)], windows, &[], true);
        assert!(matches!(refused, Err(Error::InvalidArgument { .. })), "{refused:?}");
    }
    let (samples, _) = store.write(5, SMALL, &[shape_of_samples()]);
    let mixed = store.merge_records(&[one, samples], &[range(0, 100 * MINUTE)], &[], true);
    assert!(matches!(mixed, Err(Error::InvalidArgument { .. })), "{mixed:?}");
}

fn shape_of_samples() -> Shape {
    shape(0..3, grid(0, 10, 20))
}
