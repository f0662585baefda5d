//! Rows where one of several series passes a threshold, against a plain look at all samples.

use std::sync::Arc;

use icecore::Error;
use icecore::model::{MatchOp, Matcher, SeriesId};
use icecore::query::{
    Comparison, GroupKey, Resources, RowRequest, SampleRequest, Threshold, select_rows,
};
use icecore::segment::{ChunkSource, Sources};
use proptest::prelude::*;

use crate::memory_source::MemorySource;
use crate::reference::Reference;
use crate::{range, selected};

/// Of the series of one `job` (id modulo 3), the first decides.
fn request(decider: &str, bound: f64, from: i64, to: i64) -> RowRequest {
    RowRequest {
        samples: SampleRequest::new(range(from, to)),
        by: vec!["job".into()],
        decider: Matcher::new("core", MatchOp::Matches, decider).unwrap(),
        threshold: Threshold { comparison: Comparison::Greater, bound },
    }
}

#[test]
fn only_one_series_of_an_owner_may_decide() {
    let sources = Sources::from(vec![Arc::new(MemorySource::new(1, true)) as Arc<dyn ChunkSource>]);
    let ask = |decider: &str| {
        select_rows(&request(decider, 0.0, 0, 9), &selected(6), &sources, Resources::default())
    };
    assert!(ask("00|01|02").unwrap().is_empty());
    assert!(matches!(ask("0."), Err(Error::InvalidArgument { what: "decider", .. })));
}

proptest! {
    #[test]
    fn are_the_values_at_the_times_when_it_passes(
        shared in prop::collection::btree_set(0_i64..80, 0..60),
        parts in prop::collection::vec(
            prop::collection::vec(prop::option::of(prop::collection::vec(0_u8..9, 60)), 6),
            1..3,
        ),
        alone in prop::collection::btree_set(0_i64..80, 0..20),
        chunk_samples in 1_usize..20,
        bound in 0_u8..9,
        (from, length) in (0_i64..60, 1_i64..80),
    ) {
        let mut reference = Reference::default();
        let mut samples: Vec<Arc<dyn ChunkSource>> = Vec::new();
        for (rank, part) in (0..).zip(&parts) {
            let mut source = MemorySource::new(rank, rank == 0);
            for (id, values) in (0..).map(SeriesId).zip(part) {
                let Some(values) = values else { continue };
                // One series of each owner has times of its own.
                let times = if id.0 >= 5 { &alone } else { &shared };
                let held: Vec<(i64, f64)> =
                    times.iter().copied().zip(values.iter().map(|&v| f64::from(v))).collect();
                source.push(id, &held, chunk_samples);
                reference.push(rank, id, &held);
            }
            samples.push(Arc::new(source));
        }
        let sources = Sources { samples, ..Sources::default() };
        let asked = request("00|01|02", f64::from(bound), from, from + length);
        let found = select_rows(&asked, &selected(6), &sources, Resources::default()).unwrap();
        let mut found = found.into_iter();
        for job in 0..3_u32 {
            let of = |id: u32| reference.samples(SeriesId(id), from, from + length);
            let passed: Vec<(i64, f64)> =
                of(job).into_iter().filter(|(_, value)| *value > f64::from(bound)).collect();
            if passed.is_empty() {
                continue;
            }
            let group = found.next().unwrap();
            let key = GroupKey::Labels(vec![("job".into(), job.to_string())]);
            prop_assert_eq!(&group.key, &key);
            let times: Vec<i64> = passed.iter().map(|(time, _)| *time).collect();
            prop_assert_eq!(&group.timestamps, &times);
            for (column, id) in group.values.iter().zip([job, job + 3]) {
                let held = of(id);
                let at = |time: &i64| held.iter().find(|(t, _)| t == time).map(|(_, v)| *v);
                let expected: Vec<Option<f64>> = times.iter().map(at).collect();
                let column: Vec<Option<f64>> =
                    column.iter().map(|v| Some(*v).filter(|v| !v.is_nan())).collect();
                prop_assert_eq!(column, expected);
            }
        }
        prop_assert!(found.next().is_none());
    }
}
