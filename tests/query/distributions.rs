//! Distributions as they were recorded, their tiers, and both mixed with samples.

use std::sync::Arc;
use std::time::{Duration, Instant};

use icecore::aggregate::{Partial, Sketch};
use icecore::model::{Sample, SeriesId};
use icecore::query::{Answer, Function, Grouping, Request, Resources, TierChoice, execute};
use icecore::segment::{ChunkSource, Mask, RecordSource, Sources};
use icecore::time::Tier;
use icecore::{TimeRange, Timestamp};
use proptest::prelude::*;
use roaring::RoaringBitmap;

use crate::memory_records::MemoryRecords;
use crate::memory_source::MemorySource;
use crate::{bits, range, selected};

const ID: SeriesId = SeriesId(0);

/// What is recorded at `time` of these observations.
fn recorded(time: i64, observations: &[f64]) -> (Partial, Sketch) {
    let at = Sample { timestamp: Timestamp(time), value: f64::NAN };
    let partial = Partial {
        count: observations.len() as u64,
        sum: observations.iter().sum(),
        min: observations.iter().copied().fold(f64::NAN, f64::min),
        max: observations.iter().copied().fold(f64::NAN, f64::max),
        first: at,
        last: at,
        increase: observations.len() as f64,
        resets: 0,
    };
    (partial, Sketch::of(observations))
}

fn source(rank: u64, records: &[(i64, Vec<f64>)]) -> MemoryRecords {
    let mut source = MemoryRecords::new(rank, Tier::RAW, range(-10_000, 10_000));
    for (time, observations) in records {
        let held = source.series.entry(ID).or_default();
        held.insert(*time, recorded(*time, observations));
    }
    source
}

/// The tier part that folding these records gives.
fn tier_of(rank: u64, nanos: i64, until: i64, records: &[(i64, Vec<f64>)]) -> MemoryRecords {
    let tier = Tier::from_nanos(nanos).unwrap();
    let mut part = MemoryRecords::new(rank, tier, range(-10_000, until));
    for (time, observations) in records.iter().filter(|(time, _)| *time < until) {
        let start = time.div_euclid(nanos) * nanos;
        let empty = (Partial::EMPTY, Sketch::default());
        let held = part.series.entry(ID).or_default().entry(start).or_insert(empty);
        let (partial, sketch) = recorded(*time, observations);
        held.0.append(&partial);
        held.1.merge(&sketch);
    }
    part
}

fn sources(parts: Vec<MemoryRecords>) -> Sources {
    let records = parts.into_iter().map(|part| Arc::new(part) as Arc<dyn RecordSource>);
    Sources { records: records.collect(), ..Sources::default() }
}

fn request(to: i64, step: u64, functions: &str) -> Request {
    let functions = functions.split(' ').map(|name| name.parse().unwrap()).collect();
    let step = Some(Duration::from_nanos(step));
    Request { step, ..Request::new(range(0, to), functions) }
}

fn ask(sources: &Sources, request: &Request) -> Answer {
    execute(request, &selected(1), sources, Resources::default()).unwrap()
}

fn near(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 0.010_001 * expected.abs()
}

#[test]
fn a_record_lies_in_the_window_that_holds_its_time() {
    let store = sources(vec![source(1, &[(5, vec![1.0, 2.0, 3.0]), (15, vec![10.0])])]);
    let answer = ask(&store, &request(20, 10, "count sum min max increase p50 stddev"));
    assert_eq!(answer.groups[0].counts, [3, 1]);
    let first: Vec<f64> = answer.groups[0].values.iter().map(|column| column[0]).collect();
    assert_eq!(first[..5], [3.0, 6.0, 1.0, 3.0, 3.0]);
    assert!(near(first[5], 2.0) && first[6].is_nan(), "{first:?}");
    assert_eq!(answer.evidence.quantile_relative_error, 0.01);
    assert_eq!((answer.evidence.tiers[0].records, answer.evidence.tiers[0].parts), (2, 1));
}

#[test]
fn the_later_record_of_one_time_wins_and_deletes_hide() {
    let old = source(1, &[(5, vec![1.0; 4]), (7, vec![2.0; 2]), (25, vec![3.0])]);
    let mut store = sources(vec![source(2, &[(5, vec![9.0])]), old]);
    assert_eq!(ask(&store, &request(30, 10, "count")).groups[0].counts, [3, 0, 1]);
    let series = RoaringBitmap::from_iter([0]);
    store.masks = vec![Mask { id: 1, rank: 1, range: range(6, 30), series }];
    assert_eq!(ask(&store, &request(30, 10, "count")).groups[0].counts, [1, 0, 0]);
}

#[test]
fn samples_and_records_of_one_series_are_told_in_time() {
    let mut samples = MemorySource::new(1, true);
    samples.push(ID, &[(1, 100.0), (3, 50.0), (12, 1.0)], 10);
    let mut store = sources(vec![source(1, &[(2, vec![7.0; 98])])]);
    store.samples = vec![Arc::new(samples) as Arc<dyn ChunkSource>];
    let answer = ask(&store, &request(20, 20, "count p50 last max"));
    let values: Vec<f64> = answer.groups[0].values.iter().map(|column| column[0]).collect();
    assert_eq!((values[0], values[2], values[3]), (101.0, 1.0, 100.0));
    assert!(near(values[1], 7.0));
}

#[test]
fn a_head_that_does_not_say_where_it_begins_is_read_without_searching_all_of_time() {
    let mut head = source(2, &[(5, vec![1.0; 4]), (900, vec![2.0])]);
    head.window = TimeRange::ALL;
    let store = sources(vec![head, source(1, &[(700, vec![3.0])])]);
    let everything = Request::new(TimeRange::ALL, vec![Function::Count]);
    let began = Instant::now();
    assert_eq!(ask(&store, &everything).groups[0].counts, [6]);
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[test]
fn late_records_join_a_tier_whose_records_are_gone() {
    let day = [(5, vec![1.0; 10]), (15, vec![2.0; 10])];
    let tier = tier_of(3, 100, 200, &day);
    let store = sources(vec![tier, source(4, &[(7, vec![50.0; 30])])]);
    let answer = ask(&store, &request(200, 100, "count max increase p99"));
    let values: Vec<f64> = answer.groups[0].values.iter().map(|column| column[0]).collect();
    assert_eq!(values[..3], [50.0, 50.0, 50.0]);
    assert!(near(values[3], 50.0));
    assert_eq!(answer.evidence.dirty_buckets, 1);
}

fn records() -> impl Strategy<Value = Vec<(i64, Vec<f64>)>> {
    let observations =
        prop::collection::vec((1_u32..100_000).prop_map(|n| f64::from(n) / 7.0), 1..9);
    prop::collection::btree_map(0_i64..1000, observations, 0..60)
        .prop_map(|records| records.into_iter().collect())
}

proptest! {
    #[test]
    fn tiers_of_distributions_answer_as_what_was_recorded(
        (first, later) in (records(), records()),
        until in (1_i64..10).prop_map(|n| n * 100),
        step in prop::sample::select(vec![100_u64, 50, 200, 37]),
        pooled in any::<bool>(),
    ) {
        let group_by = if pooled { Grouping::Labels(vec![]) } else { Grouping::Series };
        let functions = "count sum min max rate p0 p50 p99 p100";
        let request = Request { group_by, ..request(1000, step, functions) };
        let tiers = vec![tier_of(2, 50, until, &first), tier_of(2, 100, until / 2 / 100 * 100, &first)];
        let all = || vec![source(1, &first), source(3, &later)];
        let auto = ask(&sources(all().into_iter().chain(tiers).collect()), &request);
        let raw = ask(&sources(all()), &request);
        let mut expected = std::collections::BTreeMap::new();
        expected.extend(first.clone());
        expected.extend(later.clone());
        let merged = ask(&sources(vec![source(9, &expected.into_iter().collect::<Vec<_>>())]), &request);
        prop_assert_eq!(bits(&raw), bits(&merged));
        prop_assert_eq!(auto.groups.len(), raw.groups.len());
        for (auto, raw) in auto.groups.iter().zip(&raw.groups) {
            prop_assert_eq!(&auto.counts, &raw.counts);
            for (function, (auto, raw)) in auto.values.iter().zip(&raw.values).enumerate() {
                for (one, other) in auto.iter().zip(raw) {
                    // Sketches merge to the same whatever the way.
                    let same = one == other || one.is_nan() && other.is_nan();
                    let near = function == 1 && (one - other).abs() <= 1e-9 * other.abs();
                    prop_assert!(same || near, "{} {} {}", function, one, other);
                }
            }
        }
        let asked_raw = Request { tier: TierChoice::Raw, ..request };
        prop_assert_eq!(bits(&ask(&sources(all()), &asked_raw)), bits(&raw));
    }
}
