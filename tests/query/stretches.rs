//! Which tier answers which stretch, where one ends and the next begins, and what evidence tells.

use std::sync::Arc;
use std::time::Duration;

use icecore::model::SeriesId;
use icecore::query::{
    Answer, Gap, Grouping, Limits, Request, Resources, SampleRequest, TierChoice, execute,
    for_each_run, read_samples, retain_held,
};
use icecore::segment::{ChunkSource, Mask, RecordFields, RecordSource, Sources};
use icecore::time::Tier;
use icecore::{Error, TimeRange, Timestamp};
use roaring::RoaringBitmap;

use crate::memory_records::MemoryRecords;
use crate::memory_source::MemorySource;
use crate::{range, selected};

const ID: SeriesId = SeriesId(0);

fn tier(nanos: i64) -> Tier {
    Tier::from_nanos(nanos).unwrap()
}

/// A counter that grows by 3 every 5 ns and restarts every 37 samples.
fn counter(from: i64, to: i64) -> Vec<(i64, f64)> {
    (from / 5..to / 5).map(|i| (i * 5, f64::from((i % 37) as i32 * 3))).collect()
}

fn raw(rank: u64, samples: &[(i64, f64)], chunk: usize) -> Arc<dyn ChunkSource> {
    let mut source = MemorySource::new(rank, true).with_tombstones(0);
    source.push(ID, samples, chunk);
    Arc::new(source)
}

/// A tier part of these samples over a window.
fn part(rank: u64, nanos: i64, window: TimeRange, samples: &[(i64, f64)]) -> MemoryRecords {
    let mut part = MemoryRecords::new(rank, tier(nanos), window);
    let within: Vec<(i64, f64)> = samples
        .iter()
        .copied()
        .filter(|(time, _)| (window.start.0..window.end.0).contains(time))
        .collect();
    for bucket in within.chunk_by(|a, b| a.0.div_euclid(nanos) == b.0.div_euclid(nanos)) {
        part.push(ID, bucket[0].0.div_euclid(nanos) * nanos, bucket);
    }
    part
}

fn sources(samples: Vec<Arc<dyn ChunkSource>>, parts: Vec<MemoryRecords>) -> Sources {
    let records = parts.into_iter().map(|part| Arc::new(part) as Arc<dyn RecordSource>);
    Sources { samples, records: records.collect(), ..Sources::default() }
}

fn mask(id: u64, rank: u64, range: TimeRange) -> Mask {
    Mask { id, rank, range, series: RoaringBitmap::from_iter([ID.0]) }
}

fn request(from: i64, to: i64, step: Option<u64>, functions: &str) -> Request {
    let functions = functions.split(' ').map(|name| name.parse().unwrap()).collect();
    let step = step.map(Duration::from_nanos);
    Request { step, ..Request::new(range(from, to), functions) }
}

fn ask(sources: &Sources, request: &Request) -> Answer {
    execute(request, &selected(1), sources, Resources::default()).unwrap()
}

fn values(answer: &Answer) -> Vec<Vec<f64>> {
    answer.groups.first().map_or(vec![], |group| group.values.clone())
}

/// For each tier read: its resolution and its stretches.
fn stretches(answer: &Answer) -> Vec<(i64, Vec<(i64, i64)>)> {
    let ends = |range: &TimeRange| (range.start.0, range.end.0);
    let read = answer.evidence.tiers.iter();
    read.map(|read| (read.tier.nanos(), read.stretches.iter().map(ends).collect())).collect()
}

/// A store of 1,000 ns: raw, 10 ns records up to 900, 100 ns records up to 800.
fn tiered() -> Sources {
    let all = counter(0, 1000);
    let parts = vec![part(1, 10, range(0, 900), &all), part(1, 100, range(0, 800), &all)];
    sources(vec![raw(1, &all, 32)], parts)
}

#[test]
fn the_coarsest_tier_answers_and_finer_ones_the_rest() {
    let answer = ask(&tiered(), &request(35, 1000, None, "sum count increase"));
    let expected = vec![
        (0, vec![(35, 40), (900, 1000)]),
        (10, vec![(40, 100), (800, 900)]),
        (100, vec![(100, 800)]),
    ];
    assert_eq!(stretches(&answer), expected);
    let records: Vec<u64> = answer.evidence.tiers.iter().map(|read| read.records).collect();
    assert_eq!(records, [0, 6 + 10, 7]);
    let from_raw =
        Request { tier: TierChoice::Raw, ..request(35, 1000, None, "sum count increase") };
    assert_eq!(values(&answer), values(&ask(&tiered(), &from_raw)));
    assert_eq!(answer.evidence.dirty_buckets, 0);
}

#[test]
fn buckets_that_windows_cut_are_not_used() {
    let fits = |from, step| stretches(&ask(&tiered(), &request(from, 800, Some(step), "sum")));
    assert_eq!(fits(0, 200), [(100, vec![(0, 800)])]);
    assert_eq!(fits(0, 150), [(10, vec![(0, 800)])]);
    assert_eq!(fits(0, 155), [(0, vec![(0, 800)])]);
    assert_eq!(fits(5, 100), [(0, vec![(5, 800)])]);
    // Two windows with one border between them: that is all that has to fit.
    assert_eq!(fits(50, 450), [(10, vec![(50, 100)]), (100, vec![(100, 800)])]);
}

#[test]
fn a_counter_has_no_seam_where_stretches_meet() {
    let whole = counter(0, 1000);
    for border in (100..900).step_by(100) {
        // Raw below the border is gone, above it is all there is.
        let young: Vec<_> = whole.iter().copied().filter(|s| s.0 >= border).collect();
        let tiers = vec![part(1, 100, range(0, border), &whole)];
        let stitched = sources(vec![raw(1, &young, 7)], tiers);
        let all = sources(vec![raw(1, &whole, 7)], vec![]);
        for step in [None, Some(100), Some(300)] {
            let request = request(0, 1000, step, "increase rate first last sum count min max");
            let answer = ask(&stitched, &request);
            assert_eq!(values(&answer), values(&ask(&all, &request)), "{border} {step:?}");
            assert_eq!(answer.evidence.gaps, []);
        }
    }
}

#[test]
fn a_late_sample_makes_only_its_bucket_dirty() {
    let mut store = tiered();
    // One chunk from end to end, of two samples.
    store.samples.push(raw(2, &[(123, 1000.0), (777, 2000.0)], 10));
    let answer = ask(&store, &request(0, 800, Some(100), "max count"));
    assert_eq!(answer.evidence.dirty_buckets, 2);
    assert_eq!(values(&answer)[1], [20.0, 21.0, 20.0, 20.0, 20.0, 20.0, 20.0, 21.0]);
    assert_eq!((values(&answer)[0][1], values(&answer)[0][7]), (1000.0, 2000.0));
    // Each bucket's chunk of raw samples, and the late one's once.
    assert!(answer.evidence.samples_decoded <= 2 + 4 * 32);
}

#[test]
fn a_patch_takes_late_samples_in_for_all_series() {
    let mut store = tiered();
    store.samples.push(raw(2, &[(123, 1000.0)], 10));
    // The patch holds another series only: it accounts for this one all the same.
    let mut patch = MemoryRecords::new(3, tier(100), range(0, 800));
    patch.push(SeriesId(1), 0, &[(1, 1.0)]);
    store.records.push(Arc::new(patch));
    let answer = ask(&store, &request(0, 800, Some(100), "count"));
    assert_eq!((answer.evidence.dirty_buckets, values(&answer)[0][1]), (0, 20.0));
}

#[test]
fn the_record_of_the_highest_rank_wins_and_an_empty_one_hides() {
    let mut store = tiered();
    let mut patch = part(3, 100, range(100, 300), &[(101, 7.0)]);
    patch.push(ID, 200, &[]);
    store.records.push(Arc::new(patch));
    let answer = ask(&store, &request(0, 400, Some(100), "sum count"));
    assert_eq!(answer.groups[0].counts, [20, 1, 0, 20]);
    assert_eq!(values(&answer)[0][1], 7.0);
}

#[test]
fn late_samples_are_merged_into_records_whose_raw_is_gone() {
    let old = [(100, 5.0), (110, 9.0), (150, 2.0)];
    let tiers = vec![part(1, 100, range(0, 800), &old)];
    let store = sources(vec![raw(2, &[(90, 1.0), (105, 4.0), (170, 8.0)], 10)], tiers);
    let answer = ask(&store, &request(0, 200, Some(100), "count sum min max first last increase"));
    let second: Vec<f64> = values(&answer).iter().map(|column| column[1]).collect();
    // 5 → 9 and the reset to 2 are of the record, 1 → 5 and 2 → 8 come by the samples around it.
    assert_eq!(second, [5.0, 28.0, 2.0, 9.0, 5.0, 8.0, 4.0 + 4.0 + 2.0 + 6.0]);
    assert_eq!(answer.evidence.dirty_buckets, 2);
    let median = ask(&store, &request(100, 200, None, "p50"));
    assert!((values(&median)[0][0] / 5.0 - 1.0).abs() < 0.01);
    assert_eq!(median.evidence.quantile_relative_error, 0.01);
}

#[test]
fn deletes_hide_from_tiers_too() {
    let mut store = tiered();
    store.masks = vec![mask(1, 1, range(150, 300))];
    let answer = ask(&store, &request(0, 400, Some(100), "count"));
    assert_eq!(answer.groups[0].counts, [20, 10, 0, 20]);
    // The one cut bucket is folded anew; the other is gone as a whole.
    assert_eq!(answer.evidence.dirty_buckets, 1);
    // What was written later is there.
    store.samples.push(raw(2, &[(210, 1.0)], 1));
    let answer = ask(&store, &request(0, 400, Some(100), "count"));
    assert_eq!(answer.groups[0].counts, [20, 10, 1, 20]);
}

#[test]
fn what_a_delete_cuts_out_of_a_record_without_raw_is_a_gap() {
    let all = counter(0, 400);
    let mut store = sources(vec![], vec![part(1, 100, range(0, 400), &all)]);
    store.masks = vec![mask(1, 1, range(150, 300))];
    let answer = ask(&store, &request(0, 400, Some(100), "count"));
    assert_eq!(answer.groups[0].counts, [20, 0, 0, 20]);
    assert_eq!(answer.evidence.gaps, [Gap { tier: tier(100), range: range(100, 200) }]);
}

#[test]
fn a_step_finer_than_what_is_left_is_told() {
    let all = counter(0, 1000);
    let young: Vec<_> = all.iter().copied().filter(|sample| sample.0 >= 600).collect();
    let tiers = || vec![part(1, 100, range(0, 1000), &all), part(1, 10, range(300, 1000), &all)];
    let store = sources(vec![raw(1, &young, 16)], tiers());
    let answer = ask(&store, &request(0, 1000, Some(5), "sum"));
    let gaps = [
        Gap { tier: tier(10), range: range(300, 600) },
        Gap { tier: tier(100), range: range(0, 300) },
    ];
    assert_eq!(answer.evidence.gaps, gaps);
    assert!(answer.groups[0].counts[..120].iter().all(|&count| count == 0));
    // The deviation is in no tier.
    let deviation = ask(&store, &request(0, 1000, Some(100), "stddev"));
    assert_eq!(deviation.evidence.gaps, gaps);
    // An edge within one bucket, with and without its raw samples.
    let edge = ask(&store, &request(20, 40, None, "sum"));
    assert_eq!(edge.evidence.gaps, [Gap { tier: tier(100), range: range(20, 40) }]);
    let there = sources(vec![raw(1, &all, 16)], tiers());
    assert_eq!(ask(&there, &request(21, 24, None, "sum")).evidence.gaps, []);
    assert_eq!(ask(&store, &request(0, 1000, Some(100), "sum")).evidence.gaps, []);
}

#[test]
fn an_outage_is_no_gap() {
    let all: Vec<_> = counter(0, 1000).into_iter().filter(|s| !(300..700).contains(&s.0)).collect();
    let tiers = vec![part(1, 100, range(0, 1000), &all), part(1, 10, range(0, 1000), &all)];
    let store = sources(vec![raw(1, &all, 16)], tiers);
    let answer = ask(&store, &request(0, 1000, Some(7), "sum"));
    assert_eq!(answer.evidence.gaps, []);
    let within = ask(&store, &request(420, 425, None, "sum"));
    assert_eq!((within.evidence.gaps.len(), within.groups.len()), (0, 0));
}

#[test]
fn what_records_lack_comes_from_raw() {
    let all = counter(0, 1000);
    let bare = || {
        let mut part = MemoryRecords::new(1, tier(100), range(0, 1000));
        part.fields = RecordFields { increase: false, sketches: false };
        for bucket in all.chunks(20) {
            part.push(ID, bucket[0].0, bucket);
        }
        sources(vec![raw(1, &all, 16)], vec![part])
    };
    let tiers = |functions| stretches(&ask(&bare(), &request(0, 1000, Some(100), functions)));
    assert_eq!(tiers("avg max last"), [(100, vec![(0, 1000)])]);
    for raw in ["rate", "increase avg", "p50", "stddev"] {
        assert_eq!(tiers(raw), [(0, vec![(0, 1000)])], "{raw}");
    }
    let median = ask(&bare(), &request(0, 1000, Some(100), "p50"));
    assert_eq!(median.evidence.quantile_relative_error, 0.0);
}

#[test]
fn one_tier_alone_leaves_out_what_it_does_not_cover() {
    let only = |nanos, step, function: &str| Request {
        tier: TierChoice::Only(tier(nanos)),
        ..request(0, 1000, step, function)
    };
    let answer = ask(&tiered(), &only(100, Some(100), "count"));
    assert_eq!(answer.groups[0].counts, [20, 20, 20, 20, 20, 20, 20, 20, 0, 0]);
    assert_eq!(stretches(&answer), [(100, vec![(0, 800)])]);
    for contradiction in [only(100, Some(150), "avg"), only(100, Some(100), "stddev")] {
        let refused = execute(&contradiction, &selected(1), &tiered(), Resources::default());
        assert!(matches!(refused, Err(Error::InvalidArgument { what: "tier", .. })));
    }
}

#[test]
fn series_that_no_part_of_a_tier_holds_come_from_finer_ones() {
    let all = counter(0, 400);
    let mut other = MemoryRecords::new(1, tier(100), range(0, 400));
    other.push(SeriesId(1), 0, &[(1, 1.0)]);
    let store = sources(vec![], vec![other, part(1, 10, range(0, 400), &all)]);
    let answer = ask(&store, &request(0, 400, Some(100), "count"));
    assert_eq!(answer.groups[0].counts, [20; 4]);
    assert_eq!(stretches(&answer), [(10, vec![(0, 400)])]);
}

#[test]
fn a_limit_cuts_the_answer_short_where_that_was_asked_for() {
    let mut source = MemorySource::new(1, false);
    for (id, _) in selected(3) {
        let samples = counter(0, 500 * (1 + i64::from(id.0)));
        source.push(id, &samples, 50);
    }
    let store = Sources::from(vec![Arc::new(source) as Arc<dyn ChunkSource>]);
    let limits = Limits { samples_max: 320, ..Limits::default() };
    let cut = Request { limits, cut_short: true, ..request(0, 2000, None, "count") };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let answer =
        pool.install(|| execute(&cut, &selected(3), &store, Resources::default())).unwrap();
    let short = answer.evidence.cut_short.clone().unwrap();
    assert_eq!((short.limit, short.groups as usize + answer.groups.len()), ("samples", 3));
    for group in &answer.groups {
        assert_eq!(group.counts[0] % 100, 0, "whole series only");
    }
    let refused = Request { cut_short: false, ..cut.clone() };
    assert!(matches!(
        execute(&refused, &selected(3), &store, Resources::default()),
        Err(Error::Limit { .. })
    ));
    let pooled = Request { group_by: Grouping::Labels(vec![]), ..cut };
    let answer = execute(&pooled, &selected(3), &store, Resources::default()).unwrap();
    assert_eq!((answer.groups.len(), answer.evidence.cut_short.unwrap().groups), (0, 1));
}

#[test]
fn the_covered_share_counts_each_sample_for_the_interval_of_its_window() {
    // Every 5 ns, but for a hole of 250 in 1,000.
    let holed: Vec<_> =
        counter(0, 1000).into_iter().filter(|s| !(500..750).contains(&s.0)).collect();
    let full = counter(0, 1000);
    let mut source = MemorySource::new(1, true);
    source.push(SeriesId(0), &holed, 16);
    source.push(SeriesId(1), &full, 16);
    source.push(SeriesId(2), &[(10, 1.0), (510, 1.0)], 16);
    let store = Sources::from(vec![Arc::new(source) as Arc<dyn ChunkSource>]);
    let asked =
        Request { group_by: Grouping::Labels(vec![]), ..request(0, 1000, Some(50), "count") };
    let answer = execute(&asked, &selected(2), &store, Resources::default()).unwrap();
    let covered = answer.groups[0].covered;
    assert_eq!((covered.least, covered.mean), (0.75, 0.875));
    // One sample a window says nothing of an interval: two windows of twenty.
    let answer = execute(&asked, &selected(3)[2..], &store, Resources::default()).unwrap();
    assert_eq!(answer.groups[0].covered.least, 0.1);
    let none = execute(&asked, &selected(4), &store, Resources::default()).unwrap();
    assert_eq!(none.groups[0].covered.least, 0.0, "a series without samples covers nothing");
}

#[test]
fn deleted_samples_are_read_by_nobody() {
    let all = counter(0, 200);
    let mut store = sources(vec![raw(1, &all, 4), raw(3, &[(101, 1.0)], 1)], vec![]);
    store.masks = vec![mask(1, 2, range(50, 103)), mask(2, 0, range(0, 200))];
    let expected: Vec<i64> = all
        .iter()
        .map(|sample| sample.0)
        .filter(|time| !(50..103).contains(time))
        .chain([101])
        .collect::<std::collections::BTreeSet<i64>>()
        .into_iter()
        .collect();
    let request = SampleRequest::new(range(0, 200));
    assert_eq!(
        read_samples(&request, &selected(1), &store, Resources::default()).unwrap()[0].timestamps,
        expected
    );
    let mut streamed = vec![];
    for_each_run(&request, &selected(1), &store, |_, timestamps, _| {
        streamed.extend_from_slice(timestamps);
        Ok(())
    })
    .unwrap();
    assert_eq!(streamed, expected);
    let held = |from, to| {
        let mut series = selected(1);
        retain_held(&mut series, range(from, to), &store).unwrap();
        !series.is_empty()
    };
    assert!(held(0, 200) && held(101, 102) && held(103, 104));
    assert!(!held(61, 74), "all chunks about it are deleted wholly");
}

/// Records of 10 ns stand for two samples, of 400 ns for eighty: only the latter are worth it where
/// raw samples are whole.
#[test]
fn where_raw_is_whole_a_tier_must_be_worth_reading() {
    let whole_from = |point: i64| {
        let all = counter(0, 1000);
        let parts = vec![part(1, 10, range(0, 900), &all), part(1, 400, range(0, 800), &all)];
        let raw_whole_from = Some(Timestamp(point));
        Sources { raw_whole_from, ..sources(vec![raw(1, &all, 32)], parts) }
    };
    let asked = |point: i64, step: u64| {
        stretches(&ask(&whole_from(point), &request(0, 1000, Some(step), "sum")))
    };
    assert_eq!(asked(i64::MIN, 10), [(0, vec![(0, 1000)])]);
    assert_eq!(asked(300, 10), [(0, vec![(300, 1000)]), (10, vec![(0, 300)])]);
    assert_eq!(asked(i64::MAX, 10), [(0, vec![(900, 1000)]), (10, vec![(0, 900)])]);
    assert_eq!(asked(i64::MIN, 400), [(0, vec![(800, 1000)]), (400, vec![(0, 800)])]);
    let only = Request {
        tier: TierChoice::Only(Tier::of(Duration::from_nanos(10)).unwrap()),
        ..request(0, 900, Some(10), "sum")
    };
    assert_eq!(stretches(&ask(&whole_from(i64::MIN), &only)), [(10, vec![(0, 900)])]);
}
