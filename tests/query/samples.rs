//! Raw samples come back bit for bit, merged and cut to the range.

use icecore::query::{Resources, SampleRequest, for_each_run, read_samples};
use proptest::prelude::*;

use crate::windowed::{reference, store};
use crate::{range, selected};

fn bits(timestamps: &[i64], values: &[f64]) -> Vec<(i64, u64)> {
    timestamps.iter().zip(values).map(|(&time, value)| (time, value.to_bits())).collect()
}

proptest! {
    #[test]
    fn reads_what_was_written_last(
        store in store(), start in -300_i64..900, length in 1_i64..1400,
    ) {
        let sources: Vec<_> = store.iter().map(|written| written.source(true)).collect();
        let (series, reference) = (selected(5), reference(&store));
        let request = SampleRequest::new(range(start, start + length));
        let expected: Vec<_> = series
            .iter()
            .map(|(id, series)| {
                let samples = reference.samples(*id, start, start + length);
                let bits: Vec<_> = samples.into_iter().map(|(t, v)| (t, v.to_bits())).collect();
                (series.clone(), bits)
            })
            .filter(|(_, samples)| !samples.is_empty())
            .collect();
        let read: Vec<_> = read_samples(&request, &series, &sources.to_vec().into(), Resources::default())
            .unwrap()
            .into_iter()
            .map(|read| (read.series, bits(&read.timestamps, &read.values)))
            .collect();
        prop_assert_eq!(&read, &expected);

        let mut streamed: Vec<(_, Vec<(i64, u64)>)> = vec![];
        for_each_run(&request, &series, &sources.to_vec().into(), |series, timestamps, values| {
            assert!(!timestamps.is_empty() && timestamps.len() == values.len());
            if streamed.last().is_none_or(|(last, _)| last != series) {
                streamed.push((series.clone(), vec![]));
            }
            streamed.last_mut().unwrap().1.extend(bits(timestamps, values));
            Ok(())
        })
        .unwrap();
        prop_assert_eq!(&streamed, &expected);
    }
}
