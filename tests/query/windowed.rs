//! Any sources, any request: the answer is the reference's, decoded or from statistics.

use std::sync::Arc;
use std::time::Duration;

use icecore::model::{STALE_MARKER_BITS, SeriesId};
use icecore::query::{Function, Grouping, Request, Resources, execute};
use icecore::segment::ChunkSource;
use proptest::prelude::*;

use crate::memory_source::MemorySource;
use crate::reference::{Reference, close};
use crate::{Selected, bits, range, selected};

/// One source: its rank, how it cuts chunks, whether its series share timestamps, and for each
/// series gaps to the next sample with values.
#[derive(Debug, Clone)]
pub struct Written {
    pub rank: u64,
    pub chunk_samples: usize,
    pub shared: bool,
    pub series: Vec<(i64, Vec<(i64, f64)>)>,
}

impl Written {
    /// The samples of every series that has some.
    pub fn samples(&self) -> Vec<(SeriesId, Vec<(i64, f64)>)> {
        let shape = &self.series[0];
        let samples = self.series.iter().enumerate().map(|(id, own)| {
            let (start, gaps) = if self.shared { shape } else { own };
            let mut time = *start;
            let column = gaps.iter().zip(own.1.iter().cycle()).map(|((gap, _), (_, value))| {
                time += gap;
                (time, *value)
            });
            (SeriesId(id as u32), column.collect::<Vec<_>>())
        });
        samples.filter(|(_, samples)| !samples.is_empty()).collect()
    }

    pub fn source(&self, with_statistics: bool) -> Arc<dyn ChunkSource> {
        let mut source = MemorySource::new(self.rank, with_statistics);
        for (id, samples) in self.samples() {
            source.push(id, &samples, self.chunk_samples);
        }
        Arc::new(source)
    }
}

pub fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        // Counters that reset and gauges; thirds so that sums round.
        20 => (-20_i32..60).prop_map(f64::from),
        20 => (0_i32..1000).prop_map(|thirds| f64::from(thirds) / 3.0),
        2 => Just(f64::from_bits(STALE_MARKER_BITS)),
        1 => Just(f64::NAN),
        1 => prop_oneof![Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(-0.0)],
    ]
}

fn written(rank: u64) -> impl Strategy<Value = Written> {
    let samples = prop::collection::vec((1_i64..30, value()), 0..40);
    let series = prop::collection::vec((-200_i64..600, samples), 5);
    (1_usize..14, any::<bool>(), series).prop_map(move |(chunk_samples, shared, series)| Written {
        rank,
        chunk_samples,
        shared,
        series,
    })
}

pub fn store() -> impl Strategy<Value = Vec<Written>> {
    let ranks = prop::sample::subsequence(vec![3_u64, 5, 8, 13], 0..=4).prop_shuffle();
    ranks.prop_flat_map(|ranks| ranks.into_iter().map(written).collect::<Vec<_>>())
}

pub fn reference(store: &[Written]) -> Reference {
    let mut reference = Reference::default();
    for written in store {
        for (id, samples) in written.samples() {
            reference.push(written.rank, id, &samples);
        }
    }
    reference
}

fn functions() -> impl Strategy<Value = Vec<Function>> {
    let names = "count sum avg min max first last stddev rate increase p0 p50 p99.9 p100";
    let all: Vec<Function> = names.split(' ').map(|name| name.parse().unwrap()).collect();
    let all_length = all.len();
    prop::sample::subsequence(all, 1..=all_length)
}

pub fn grouping() -> impl Strategy<Value = Grouping> {
    let labels = |labels: &[&str]| Grouping::Labels(labels.iter().map(|&l| l.into()).collect());
    prop_oneof![
        Just(Grouping::Series),
        Just(labels(&[])),
        Just(labels(&["job"])),
        Just(labels(&["absent", "job", "__name__"])),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    let step = prop::option::of((1_u64..400).prop_map(Duration::from_nanos));
    (-300_i64..900, 1_i64..1400, step, functions(), grouping()).prop_map(
        |(start, length, step, functions, group_by)| Request {
            step,
            group_by,
            ..Request::new(range(start, start + length), functions)
        },
    )
}

fn check(request: &Request, series: &Selected, store: &[Written], statistics: bool) {
    let sources: Vec<_> = store.iter().map(|written| written.source(statistics)).collect();
    let answer = execute(request, series, &sources.to_vec().into(), Resources::default()).unwrap();
    let expected = reference(store).execute(request, series);
    assert_eq!(answer.groups.len(), expected.len());
    if !statistics {
        assert_eq!(answer.evidence.chunks_from_statistics, 0);
    }
    for (group, expected) in answer.groups.iter().zip(expected) {
        assert_eq!(group.key, expected.key);
        assert_eq!(group.counts.len(), answer.windows.len());
        assert_eq!(group.counts.len(), expected.windows.len());
        for (window, (count, values)) in expected.windows.into_iter().enumerate() {
            assert_eq!(group.counts[window], count);
            for (index, expected) in values.into_iter().enumerate() {
                let (function, found) = (answer.functions[index], group.values[index][window]);
                assert!(
                    close(found, expected),
                    "{function} in window {window} of {:?}: {found}, expected {expected}",
                    group.key
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn answers_as_the_reference_does(request in request(), store in store()) {
        let series = selected(5);
        check(&request, &series, &store, false);
        check(&request, &series, &store, true);
    }

    #[test]
    fn increases_of_windows_add_up_to_the_range(mut request in request(), store in store()) {
        request.functions = vec![Function::Increase];
        let sources: Vec<_> = store.iter().map(|written| written.source(true)).collect();
        let series = selected(5);
        let tiled = execute(&request, &series, &sources.to_vec().into(), Resources::default()).unwrap();
        request.step = None;
        let whole = execute(&request, &series, &sources.to_vec().into(), Resources::default()).unwrap();
        for (tiled, whole) in tiled.groups.iter().zip(&whole.groups) {
            let counted = tiled.counts.iter().zip(&tiled.values[0]).filter(|(count, _)| **count > 0);
            let sum: f64 = counted.map(|(_, increase)| increase).sum();
            prop_assert!(close(sum, whole.values[0][0]), "{} {}", sum, whole.values[0][0]);
        }
    }

    #[test]
    fn the_order_of_series_and_sources_does_not_matter(request in request(), store in store()) {
        let mut series = selected(5);
        let mut sources: Vec<_> = store.iter().map(|written| written.source(true)).collect();
        let one = execute(&request, &series, &sources.to_vec().into(), Resources::default()).unwrap();
        series.reverse();
        sources.reverse();
        let other = execute(&request, &series, &sources.to_vec().into(), Resources::default()).unwrap();
        prop_assert_eq!(bits(&one), bits(&other));
        prop_assert_eq!(one.evidence, other.evidence);
    }
}
