//! The latest sample of each series, against the latest of all samples.

use std::sync::Arc;

use icecore::Timestamp;
use icecore::model::{STALE_MARKER_BITS, SeriesId, is_stale};
use icecore::query::{LastSample, Resources, SampleRequest, last_samples};
use icecore::segment::{ChunkSource, Mask, Sources};
use proptest::prelude::*;

use crate::memory_source::MemorySource;
use crate::reference::Reference;
use crate::{range, selected};

fn ask(sources: &Sources, from: i64, to: i64) -> Vec<LastSample> {
    let request = SampleRequest::new(range(from, to));
    last_samples(&request, &selected(3), sources, Resources::default()).unwrap()
}

proptest! {
    #[test]
    fn is_the_latest_of_what_counts(
        parts in prop::collection::vec(
            prop::collection::vec(prop::collection::btree_map(0_i64..60, 0_u8..6, 0..12), 3),
            1..4,
        ),
        chunk_samples in 1_usize..8,
        (from, length) in (0_i64..60, 1_i64..60),
        deleted in prop::option::of((0_i64..60, 1_i64..20)),
    ) {
        let mut reference = Reference::default();
        let mut samples: Vec<Arc<dyn ChunkSource>> = Vec::new();
        let mask = deleted.map(|(start, length)| Mask {
            id: 1,
            rank: 1,
            range: range(start, start + length),
            series: [1].into_iter().collect(),
        });
        for (rank, part) in (0..).zip(&parts) {
            let mut source = MemorySource::new(rank, true).with_tombstones(0);
            for (id, held) in (0..).map(SeriesId).zip(part) {
                let held: Vec<(i64, f64)> = held.iter().map(|(&time, &code)| {
                    let stale = f64::from_bits(STALE_MARKER_BITS);
                    (time, if code == 0 { stale } else { f64::from(code) })
                }).collect();
                source.push(id, &held, chunk_samples);
                let left: Vec<(i64, f64)> = held.into_iter().filter(|&(time, _)| {
                    !mask.as_ref().is_some_and(|mask| {
                        rank <= 1 && id.0 == 1 && mask.range.contains(Timestamp(time))
                    })
                }).collect();
                reference.push(rank, id, &left);
            }
            samples.push(Arc::new(source));
        }
        let sources = Sources { samples, masks: mask.into_iter().collect(), ..Sources::default() };
        let expected: Vec<(String, i64, f64)> = selected(3).into_iter().filter_map(|(id, series)| {
            let all = reference.samples(id, from, from + length);
            let (time, value) = all.into_iter().rev().find(|(_, value)| !is_stale(*value))?;
            Some((series.to_string(), time, value))
        }).collect();
        let found: Vec<(String, i64, f64)> = ask(&sources, from, from + length).into_iter().map(|last| {
            (last.series.to_string(), last.sample.timestamp.0, last.sample.value)
        }).collect();
        prop_assert_eq!(found, expected);
    }
}
