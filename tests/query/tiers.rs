//! Any history of writes, deletes and tiers: what tiers answer is what raw samples answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use icecore::aggregate::{Partial, Sketch};
use icecore::model::{SeriesId, is_stale};
use icecore::query::{Answer, Function, Request, Resources, TierChoice, bucket_records, execute};
use icecore::segment::{ChunkSource, Mask, RecordFields, RecordSource, Sources};
use icecore::time::Tier;
use proptest::prelude::*;
use roaring::RoaringBitmap;

use crate::memory_records::MemoryRecords;
use crate::memory_source::MemorySource;
use crate::reference::{Reference, close};
use crate::windowed::{grouping, value};
use crate::{bits, range, selected};

const TIERS: [i64; 3] = [10, 50, 200];
const SERIES: u32 = 4;

/// What happens to a store, one after another.
#[derive(Debug, Clone)]
pub enum Step {
    /// Samples of a series: the first's time, then gaps to the next and values.
    Write { series: u32, start: i64, samples: Vec<(i64, f64)>, chunk: usize },
    /// Series by bit.
    Delete { series: u32, start: i64, length: i64 },
    /// A tier part over some buckets.
    Build { tier: usize, first: i64, buckets: i64, increase: bool, sketches: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let samples = prop::collection::vec((1_i64..30, value()), 1..60);
    prop_oneof![
        4 => (0..SERIES, -100_i64..900, samples, 1_usize..20).prop_map(
            |(series, start, samples, chunk)| Step::Write { series, start, samples, chunk }),
        1 => (0_u32..16, -100_i64..900, 1_i64..200).prop_map(
            |(series, start, length)| Step::Delete { series, start, length }),
        4 => (0_usize..3, -10_i64..80, 1_i64..120, any::<(bool, bool)>()).prop_map(
            |(tier, first, buckets, (increase, sketches))| {
                let shrink = TIERS[tier] / 10;
                let (first, buckets) = (first / shrink, (buckets / shrink).max(1));
                Step::Build { tier, first, buckets, increase, sketches }
            }),
    ]
}

/// Rank, series, samples, and how many make a chunk.
type Written = (u64, SeriesId, Vec<(i64, f64)>, usize);

/// A store as a reader finds it, and what it should answer.
#[derive(Default)]
pub struct Store {
    pub reference: Reference,
    pub sources: Sources,
    written: Vec<Written>,
    tiers: Vec<Arc<MemoryRecords>>,
    rank: u64,
}

impl Store {
    pub fn of(steps: &[Step], rewritten: &[bool]) -> Self {
        let mut store = Self::default();
        steps.iter().for_each(|step| store.take(step));
        store.finish(rewritten);
        store
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Write { series, start, samples, chunk } => {
                self.rank += 1;
                let mut time = *start;
                let samples: Vec<(i64, f64)> = samples
                    .iter()
                    .map(|&(gap, value)| {
                        time += gap;
                        (time, value)
                    })
                    .collect();
                self.reference.push(self.rank, SeriesId(*series), &samples);
                self.written.push((self.rank, SeriesId(*series), samples, *chunk));
            }
            Step::Delete { series, start, length } => {
                let range = range(*start, start + length);
                let ids: RoaringBitmap = (0..SERIES).filter(|id| series >> id & 1 == 1).collect();
                for (id, samples) in &mut self.reference.0 {
                    let deleted = |time: &i64| (range.start.0..range.end.0).contains(time);
                    samples.retain(|time, _| !(ids.contains(id.0) && deleted(time)));
                }
                let id = self.sources.masks.len() as u64 + 1;
                self.sources.masks.push(Mask { id, rank: self.rank, range, series: ids });
            }
            Step::Build { tier, first, buckets, increase, sketches } => {
                let fields = RecordFields { increase: *increase, sketches: *sketches };
                self.build(TIERS[*tier], *first, *buckets, fields);
            }
        }
    }

    /// Every bucket of the window as it is now; one that became empty says so.
    fn build(&mut self, length: i64, first: i64, buckets: i64, fields: RecordFields) {
        let tier = Tier::from_nanos(length).unwrap();
        let window = range(first * length, (first + buckets) * length);
        let mut part = MemoryRecords::new(self.rank, tier, window);
        part.fields = fields;
        part.tombstones = self.sources.masks.len() as u64;
        for (id, held) in &self.reference.0 {
            let mut by_bucket: BTreeMap<i64, Vec<(i64, f64)>> = BTreeMap::new();
            for older in self.tiers.iter().filter(|older| older.tier == tier) {
                for (start, _) in older.series.get(id).into_iter().flatten() {
                    if (window.start.0..window.end.0).contains(start) {
                        by_bucket.entry(*start).or_default();
                    }
                }
            }
            for (&time, &(_, value)) in held.range(window.start.0..window.end.0) {
                let start = time.div_euclid(length) * length;
                by_bucket.entry(start).or_default().push((time, value));
            }
            for (start, samples) in by_bucket {
                part.push(*id, start, &samples);
            }
        }
        // A later part of equal rank would be a second one for the same state.
        self.rank += 1;
        part.rank = self.rank;
        self.tiers.push(Arc::new(part));
    }

    fn finish(&mut self, rewritten: &[bool]) {
        let masks = &self.sources.masks;
        for (index, (rank, series, samples, chunk)) in self.written.iter().enumerate() {
            let gone = rewritten.get(index).copied().unwrap_or(false);
            let mut source = MemorySource::new(*rank, index % 2 == 0);
            let deleted = |time: i64| {
                masks.iter().any(|mask| {
                    mask.affects(*rank, 0)
                        && mask.series.contains(series.0)
                        && (mask.range.start.0..mask.range.end.0).contains(&time)
                })
            };
            let mut samples = samples.clone();
            if gone {
                samples.retain(|&(time, _)| !deleted(time));
                source = source.with_tombstones(masks.len() as u64);
            } else {
                source = source.with_tombstones(0);
            }
            source.push(*series, &samples, *chunk);
            self.sources.samples.push(Arc::new(source) as Arc<dyn ChunkSource>);
        }
        let tiers = self.tiers.iter().map(|part| Arc::clone(part) as Arc<dyn RecordSource>);
        self.sources.records = tiers.collect();
    }
}

fn functions() -> impl Strategy<Value = Vec<Function>> {
    let names = "count sum avg min max first last rate increase";
    let partial: Vec<Function> = names.split(' ').map(|name| name.parse().unwrap()).collect();
    let gauge: Vec<Function> = partial[..7].to_vec();
    let quantiles = ["count", "p0", "p50", "p99"].map(|name| name.parse().unwrap()).to_vec();
    let deviation = vec![Function::Stddev, Function::Max];
    prop_oneof![3 => Just(partial), 3 => Just(gauge), 3 => Just(quantiles), 1 => Just(deviation)]
}

fn request() -> impl Strategy<Value = Request> {
    let step = prop_oneof![
        2 => Just(None),
        6 => prop::sample::select(vec![10_u64, 50, 100, 200, 400]).prop_map(Some),
        1 => (5_u64..300).prop_map(Some),
    ];
    let start = prop_oneof![3 => (-2_i64..6).prop_map(|n| n * 200), 1 => -200_i64..900];
    (start, 1_i64..1500, step, functions(), grouping()).prop_map(
        |(start, length, step, functions, group_by)| Request {
            step: step.map(Duration::from_nanos),
            group_by,
            ..Request::new(range(start, start + length), functions)
        },
    )
}

/// The exact answer, or one within a sketch's bound of the value that has the rank.
fn quantile_holds(found: f64, exact: f64, q: f64, values: &[f64]) -> bool {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return found.is_nan() };
    let ranked = sorted[(q * last as f64) as usize];
    // Infinities count as the largest finite value.
    let ranked = ranked.clamp(-f64::MAX, f64::MAX);
    close(found, exact) || (found - ranked).abs() <= 0.010_001 * ranked.abs()
}

fn check(store: &Store, request: &Request) -> Answer {
    let series = selected(SERIES);
    let answer = execute(request, &series, &store.sources, Resources::default()).unwrap();
    let expected = store.reference.execute(request, &series);
    assert_eq!(answer.groups.len(), expected.len(), "{:?}", answer.evidence);
    for (group, expected) in answer.groups.iter().zip(&expected) {
        assert_eq!(group.key, expected.key);
        for (window, (count, values)) in expected.windows.iter().enumerate() {
            assert_eq!(group.counts[window], *count, "window {window}: {:?}", answer.evidence);
            for (index, &expected_value) in values.iter().enumerate() {
                let (function, found) = (answer.functions[index], group.values[index][window]);
                let holds = match function {
                    Function::Quantile(q) => {
                        let samples = store.reference.pooled(request, &series, &group.key, window);
                        quantile_holds(found, expected_value, q, &samples)
                    }
                    _ => close(found, expected_value),
                };
                let evidence = &answer.evidence;
                assert!(
                    holds,
                    "{function} in {window}: {found}, not {expected_value}; {evidence:?}"
                );
            }
        }
    }
    answer
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn tiers_answer_as_raw_samples_do(
        steps in prop::collection::vec(step(), 1..14),
        rewritten in prop::collection::vec(any::<bool>(), 14),
        request in request(),
    ) {
        let store = Store::of(&steps, &rewritten);
        let answer = check(&store, &request);
        let exact = answer.evidence.quantile_relative_error == 0.0;
        let raw = Request { tier: TierChoice::Raw, ..request };
        let from_raw = check(&store, &raw);
        prop_assert!(from_raw.evidence.tiers.iter().all(|read| read.tier.is_raw()));
        // Nothing was lost, so nothing is told to be.
        prop_assert_eq!(&answer.evidence.gaps, &vec![]);
        prop_assert_eq!(&from_raw.evidence.gaps, &vec![]);
        for (group, raw) in answer.groups.iter().zip(&from_raw.groups) {
            prop_assert_eq!(group.covered, raw.covered);
            if exact && raw.values.iter().flatten().all(|value| value.is_finite()) {
                for (one, other) in group.values.iter().flatten().zip(raw.values.iter().flatten()) {
                    prop_assert!(close(*one, *other));
                }
            }
        }
    }

    #[test]
    fn threads_and_the_order_of_sources_change_no_bit(
        steps in prop::collection::vec(step(), 1..14), request in request(),
    ) {
        let mut store = Store::of(&steps, &[]);
        let series = selected(SERIES);
        let one = execute(&request, &series, &store.sources, Resources::default()).unwrap();
        store.sources.samples.reverse();
        store.sources.records.reverse();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let other = pool.install(|| execute(&request, &series, &store.sources, Resources::default())).unwrap();
        prop_assert_eq!(bits(&one), bits(&other));
        prop_assert_eq!(one.evidence, other.evidence);
    }
}

proptest! {
    /// Building a tier from finer ones, and patching it, is building it from raw samples.
    #[test]
    fn records_of_buckets_are_those_of_the_samples_in_them(
        steps in prop::collection::vec(step(), 1..12),
        tier in 0_usize..3,
        sketches in any::<bool>(),
    ) {
        let store = Store::of(&steps, &[]);
        let length = TIERS[tier];
        let tier = Tier::from_nanos(length).unwrap();
        for (id, _) in selected(SERIES) {
            let about = range(-400, 2000);
            let fields = RecordFields { increase: true, sketches };
            let asked = [(id, fields)];
            let found = bucket_records(tier, about, &asked, &store.sources).unwrap().remove(0);
            let samples = store.reference.samples(id, about.start.0, about.end.0);
            let samples: Vec<_> = samples.into_iter().filter(|s| !is_stale(s.1)).collect();
            let buckets: Vec<_> =
                samples.chunk_by(|a, b| a.0.div_euclid(length) == b.0.div_euclid(length)).collect();
            prop_assert_eq!(found.len(), buckets.len());
            prop_assert_eq!(found.sketches.len(), if sketches { buckets.len() } else { 0 });
            for (index, bucket) in buckets.into_iter().enumerate() {
                let (times, values): (Vec<i64>, Vec<f64>) = bucket.iter().copied().unzip();
                let (partial, expected) = (found.partials[index], Partial::of(&times, &values));
                prop_assert_eq!(found.starts[index], times[0].div_euclid(length) * length);
                prop_assert_eq!((partial.count, partial.resets), (expected.count, expected.resets));
                prop_assert_eq!(partial.first.timestamp, expected.first.timestamp);
                prop_assert_eq!(partial.last.timestamp, expected.last.timestamp);
                for (one, other) in [
                    (partial.sum, expected.sum), (partial.min, expected.min),
                    (partial.max, expected.max), (partial.increase, expected.increase),
                    (partial.first.value, expected.first.value),
                    (partial.last.value, expected.last.value),
                ] {
                    prop_assert!(close(one, other), "{} {}", one, other);
                }
                if sketches {
                    let expected = Sketch::of(&values);
                    prop_assert_eq!(found.sketches.get(index), Some(expected.view()));
                }
            }
        }
    }
}
