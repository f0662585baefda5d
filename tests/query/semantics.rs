//! Small cases with answers worked out by hand.

use std::sync::Arc;
use std::time::Duration;

use icecore::query::{Answer, Function, GroupKey, Grouping, Request, Resources, execute};
use icecore::segment::ChunkSource;

use crate::memory_source::MemorySource;
use crate::{range, selected};

const SECOND: i64 = 1_000_000_000;

fn source(rank: u64, samples: &[&[(i64, f64)]], chunk_samples: usize) -> Arc<dyn ChunkSource> {
    let mut source = MemorySource::new(rank, true);
    for ((id, _), samples) in selected(10).into_iter().zip(samples) {
        let samples: Vec<_> = samples.iter().map(|&(t, v)| (t * SECOND, v)).collect();
        source.push(id, &samples, chunk_samples);
    }
    Arc::new(source)
}

fn ask(sources: &[Arc<dyn ChunkSource>], function: &str, by: Grouping, step: u64) -> Answer {
    let functions = vec![function.parse::<Function>().unwrap()];
    let step = Some(Duration::from_secs(step));
    let request = Request { step, group_by: by, ..Request::new(range(0, 40 * SECOND), functions) };
    execute(&request, &selected(3), &sources.to_vec().into(), Resources::default()).unwrap()
}

#[test]
fn a_counter_grows_across_windows_and_restarts() {
    let counter = [(0, 5.0), (5, 8.0), (10, 10.0), (15, 2.0), (35, 6.0)];
    let sources = [source(1, &[&counter], 2)];
    let answer = ask(&sources, "increase", Grouping::Series, 10);
    assert_eq!(answer.groups[0].counts, [2, 2, 0, 1]);
    // The step 8 → 10 belongs to the second window, 2 → 6 across the empty one to the fourth.
    assert_eq!(answer.groups[0].values[0][..2], [3.0, 4.0]);
    assert!(answer.groups[0].values[0][2].is_nan());
    assert_eq!(answer.groups[0].values[0][3], 4.0);
    let rate = ask(&sources, "rate", Grouping::Series, 10);
    assert_eq!(rate.groups[0].values[0][1], 0.4);
}

#[test]
fn pooled_counters_add_their_own_increases() {
    let sources = [source(1, &[&[(1, 100.0), (3, 101.0)], &[(2, 5.0), (4, 9.0)]], 10)];
    let answer = ask(&sources, "increase", Grouping::Labels(vec![]), 40);
    assert_eq!(answer.groups.len(), 1);
    assert_eq!(answer.groups[0].key, GroupKey::Labels(vec![]));
    assert_eq!(answer.groups[0].values[0], [5.0]);
}

#[test]
fn the_later_write_wins() {
    let parts = [source(2, &[&[(0, 1.0), (1, 1.0)]], 10), source(1, &[&[(1, 7.0), (2, 7.0)]], 10)];
    let answer = ask(&parts, "sum", Grouping::Series, 40);
    assert_eq!(answer.groups[0].values[0], [9.0]);
    assert_eq!(answer.groups[0].counts, [3]);
    assert_eq!((answer.evidence.chunks_from_statistics, answer.evidence.chunks_decoded), (0, 2));
}

#[test]
fn covered_chunks_are_not_decoded() {
    let samples: Vec<(i64, f64)> = (0..40).map(|i| (i, i as f64)).collect();
    let sources = [source(1, &[&samples], 10)];
    let covered = ask(&sources, "avg", Grouping::Series, 20);
    assert_eq!(covered.groups[0].values[0], [9.5, 29.5]);
    assert_eq!((covered.evidence.chunks_from_statistics, covered.evidence.samples_decoded), (4, 0));
    // The window's end at 15 cuts the second chunk, the one at 30 falls between two, 45 is cut.
    let cut = ask(&sources, "max", Grouping::Series, 15);
    assert_eq!(cut.groups[0].values[0], [14.0, 29.0, 39.0]);
    assert_eq!((cut.evidence.chunks_from_statistics, cut.evidence.samples_decoded), (3, 10));
    let median = ask(&sources, "p50", Grouping::Series, 20);
    assert_eq!(median.groups[0].values[0], [9.5, 29.5]);
    assert_eq!(median.evidence.samples_decoded, 40);
}

#[test]
fn no_data_is_an_empty_answer() {
    let answer = ask(&[], "avg", Grouping::Labels(vec!["job".into()]), 10);
    assert!(answer.groups.is_empty());
    assert_eq!((answer.windows.len(), answer.evidence.series), (4, 3));
}
