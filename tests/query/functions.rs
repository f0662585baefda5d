//! Functions of how series move, and samples filtered before they are folded.

use std::sync::Arc;
use std::time::Duration;

use icecore::model::STALE_MARKER_BITS;
use icecore::query::{
    Answer, Comparison, Grouping, Request, Resources, Threshold, TierChoice, execute,
};
use icecore::segment::ChunkSource;
use proptest::prelude::*;

use crate::memory_source::MemorySource;
use crate::{range, selected};

const SECOND: i64 = 1_000_000_000;

fn store(series: &[&[(i64, f64)]], chunk_samples: usize) -> Arc<dyn ChunkSource> {
    let mut source = MemorySource::new(1, true);
    for ((id, _), samples) in selected(10).into_iter().zip(series) {
        let samples: Vec<_> = samples.iter().map(|&(t, v)| (t * SECOND, v)).collect();
        source.push(id, &samples, chunk_samples);
    }
    Arc::new(source)
}

fn request(functions: &str, by: Grouping, step: u64) -> Request {
    let functions = functions.split(' ').map(|name| name.parse().unwrap()).collect();
    let step = Some(Duration::from_secs(step));
    Request { step, group_by: by, ..Request::new(range(0, 40 * SECOND), functions) }
}

fn ask(store: &Arc<dyn ChunkSource>, request: &Request) -> Answer {
    let sources = vec![Arc::clone(store)].into();
    execute(request, &selected(3), &sources, Resources::default()).unwrap()
}

fn all() -> Grouping {
    Grouping::Labels(vec![])
}

#[test]
fn movements_are_those_of_each_window_whatever_its_chunks() {
    let samples = [(0, 1.0), (5, 3.0), (10, 10.0), (15, 2.0), (19, 6.0), (35, 4.0)];
    for chunk_samples in [1, 2, 10] {
        let store = store(&[&samples], chunk_samples);
        let answer = ask(&store, &request("delta irate deriv", Grouping::Series, 20));
        let [delta, irate, deriv] = &answer.groups[0].values[..] else { panic!("three columns") };
        assert_eq!(*delta, [5.0, 0.0]);
        assert_eq!(irate[0], 1.0);
        assert!(irate[1].is_nan() && deriv[1].is_nan(), "one sample has no slope");
        // By hand: mean of t 9.8, of v 4.4; covariance 43.4, variance of t 230.8.
        assert!((deriv[0] - 43.4 / 230.8).abs() < 1e-12, "{}", deriv[0]);
    }
}

#[test]
fn pooled_series_add_up_their_own_movements() {
    let store = store(&[&[(0, 1.0), (10, 11.0)], &[(1, 100.0), (21, 60.0)], &[(3, 7.0)]], 10);
    let answer = ask(&store, &request("delta irate deriv", all(), 40));
    let values: Vec<f64> = answer.groups[0].values.iter().map(|column| column[0]).collect();
    assert_eq!(values, [10.0 - 40.0, 1.0 + 3.0, 1.0 - 2.0]);
}

#[test]
fn the_variance_is_the_square_of_the_deviation() {
    let store = store(
        &[&[(0, 2.0), (1, 4.0)], &[(0, 4.0), (1, 4.0)], &[(2, 5.0), (3, 5.0), (4, 7.0), (5, 9.0)]],
        3,
    );
    let answer = ask(&store, &request("variance stddev", all(), 40));
    assert_eq!(answer.groups[0].values, [[4.0], [2.0]]);
}

#[test]
fn what_needs_samples_is_not_asked_of_a_tier() {
    let store = store(&[&[(0, 1.0)]], 10);
    let tier = TierChoice::Only(icecore::Tier::MINUTE);
    let refused = Request { tier, ..request("deriv", all(), 60) };
    let sources = vec![store].into();
    assert!(execute(&refused, &selected(1), &sources, Resources::default()).is_err());
}

#[test]
fn chunks_of_which_nothing_passes_are_not_decoded() {
    let samples: Vec<(i64, f64)> = (0..40).map(|i| (i, i as f64)).collect();
    let store = store(&[&samples], 10);
    let above = Threshold { comparison: Comparison::Greater, bound: 34.5 };
    let request = Request { filter: Some(above), ..request("count sum p50", all(), 40) };
    let answer = ask(&store, &request);
    assert_eq!(answer.groups[0].values, [[5.0], [35.0 + 36.0 + 37.0 + 38.0 + 39.0], [37.0]]);
    assert_eq!((answer.evidence.chunks_from_statistics, answer.evidence.chunks_decoded), (4, 1));
    let none = Threshold { comparison: Comparison::Less, bound: 0.0 };
    assert!(ask(&store, &Request { filter: Some(none), ..request }).groups.is_empty());
}

proptest! {
    /// As if only what passes had been written.
    #[test]
    fn filtered_as_if_the_rest_was_not_there(
        series in prop::collection::vec(prop::collection::vec(0_u8..12, 0..60), 1..4),
        chunk_samples in 1_usize..20,
        bound in 0_u8..12,
        comparison in prop::sample::select(vec![
            Comparison::Less, Comparison::LessOrEqual, Comparison::Greater,
            Comparison::GreaterOrEqual, Comparison::Equal, Comparison::NotEqual,
        ]),
        by_job in any::<bool>(),
    ) {
        let threshold = Threshold { comparison, bound: f64::from(bound) };
        let value = |code: u8| match code {
            10 => f64::NAN,
            11 => f64::from_bits(STALE_MARKER_BITS),
            other => f64::from(other),
        };
        let written: Vec<Vec<(i64, f64)>> = series.iter().map(|values| {
            (0..).zip(values).map(|(time, &code)| (time, value(code))).collect()
        }).collect();
        let passed: Vec<Vec<(i64, f64)>> = written.iter().map(|samples| {
            samples.iter().copied().filter(|(_, value)| threshold.passes(*value)).collect()
        }).collect();
        let store_of = |all: &[Vec<(i64, f64)>]| {
            store(&all.iter().map(Vec::as_slice).collect::<Vec<_>>(), chunk_samples)
        };
        let by = if by_job { Grouping::Labels(vec!["job".into()]) } else { Grouping::Series };
        let plain = request("count sum min max first last p75 delta irate increase", by, 7);
        let filtered = Request { filter: Some(threshold), ..plain.clone() };
        let found = ask(&store_of(&written), &filtered);
        let expected = ask(&store_of(&passed), &plain);
        prop_assert_eq!(crate::bits(&found), crate::bits(&expected));
    }
}
