//! The number of threads changes nothing, not even the rounding.

use std::sync::Arc;
use std::time::Duration;

use icecore::query::{Grouping, Request, Resources, SampleRequest, execute, read_samples};
use icecore::segment::ChunkSource;
use rayon::ThreadPoolBuilder;

use crate::memory_source::MemorySource;
use crate::{bits, range, selected};

#[test]
fn one_two_and_four_threads_answer_bit_for_bit_alike() {
    // 99 series in three jobs: groups of 33 are folded by more than one task.
    let series = selected(99);
    let mut state = 42_u64;
    let mut random = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as f64 / 7.0
    };
    let sources: Vec<Arc<dyn ChunkSource>> = (0..3)
        .map(|rank| {
            let mut source = MemorySource::new(rank, rank == 1);
            for (id, _) in &series {
                let samples: Vec<(i64, f64)> =
                    (0..300).map(|i| ((i * 3 + rank as i64) * 5 / 2, random())).collect();
                source.push(*id, &samples, 64);
            }
            Arc::new(source) as Arc<dyn ChunkSource>
        })
        .collect();
    let names = ["sum", "avg", "stddev", "rate", "p90", "last"];
    let functions: Vec<_> = names.iter().map(|name| name.parse().unwrap()).collect();
    for group_by in
        [Grouping::Series, Grouping::Labels(vec![]), Grouping::Labels(vec!["job".into()])]
    {
        let step = Some(Duration::from_nanos(170));
        let request =
            Request { step, group_by, ..Request::new(range(10, 2200), functions.clone()) };
        let answers: Vec<_> = [1, 2, 4]
            .into_iter()
            .map(|threads| {
                let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let answer = pool
                    .install(|| {
                        execute(&request, &series, &sources.to_vec().into(), Resources::default())
                    })
                    .unwrap();
                (bits(&answer), answer.evidence)
            })
            .collect();
        assert!(answers[0].0.iter().all(|group| group.1.iter().all(|&count| count > 0)));
        assert_eq!(answers[0], answers[1]);
        assert_eq!(answers[0], answers[2]);
    }
    let samples = SampleRequest::new(range(10, 2200));
    let read = |threads| {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            read_samples(&samples, &series, &sources.to_vec().into(), Resources::default())
        })
        .unwrap()
    };
    assert_eq!(read(1), read(4));
}
