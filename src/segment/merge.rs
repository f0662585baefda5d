//! The one place that says which sample wins where sources hold the same series and timestamp.

use std::ops::Range;

/// Samples of one series: `timestamps` and `values` of equal length, timestamps strictly
/// ascending.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Columns {
    /// Nanoseconds since the epoch.
    pub timestamps: Vec<i64>,
    /// Bit for bit as written.
    pub values: Vec<f64>,
}

impl Columns {
    /// Removes all samples, keeps the memory.
    pub fn clear(&mut self) {
        self.timestamps.clear();
        self.values.clear();
    }
}

/// Replaces `out` with the samples of all `inputs`, ascending in time; where several inputs hold a
/// timestamp the *last* of them wins, so they are passed in ascending rank: the later write wins.
///
/// Cost: where inputs alternate, linear in samples × inputs; where they take turns in long
/// stretches, a copy.
pub fn merge_latest_wins(inputs: &[Columns], out: &mut Columns) {
    out.clear();
    let timestamps: Vec<&[i64]> = inputs.iter().map(|input| &*input.timestamps).collect();
    weave_latest_wins(&timestamps, |index, rows| {
        if let Some(input) = inputs.get(index) {
            let times = input.timestamps.get(rows.clone()).unwrap_or_default();
            out.timestamps.extend_from_slice(times);
            out.values.extend_from_slice(input.values.get(rows).unwrap_or_default());
        }
    });
}

/// As [`merge_latest_wins`], of timestamps alone: tells `emit` the index of an input and rows of
/// it, stretch after stretch. Inputs that are empty are passed over.
pub(crate) fn weave_latest_wins(inputs: &[&[i64]], mut emit: impl FnMut(usize, Range<usize>)) {
    let mut rest: Vec<Rest<'_>> = (0..)
        .zip(inputs)
        .filter(|(_, times)| !times.is_empty())
        .map(|(index, times)| Rest { index, row: 0, times })
        .collect();
    // The earliest head, of equal ones the last input's.
    while let Some((winner, earliest)) = rest
        .iter()
        .enumerate()
        .filter_map(|(at, input)| Some((at, *input.times.first()?)))
        .min_by_key(|&(at, head)| (head, std::cmp::Reverse(at)))
    {
        // Equal timestamps of the others lost; what then comes first bounds the winner's stretch.
        let mut bound = None;
        for (_, input) in rest.iter_mut().enumerate().filter(|(at, _)| *at != winner) {
            if input.times.first() == Some(&earliest) {
                input.drop_front(1);
            }
            if let Some(&head) = input.times.first() {
                bound = Some(bound.map_or(head, |bound: i64| bound.min(head)));
            }
        }
        if let Some(input) = rest.get_mut(winner) {
            let length = bound.map_or(input.times.len(), |bound| count_below(input.times, bound));
            emit(input.index, input.row..input.row + length);
            input.drop_front(length);
        }
    }
}

/// What is left of an input.
struct Rest<'a> {
    index: usize,
    /// The row that `times` begins at.
    row: usize,
    times: &'a [i64],
}

impl Rest<'_> {
    fn drop_front(&mut self, count: usize) {
        self.times = self.times.get(count..).unwrap_or_default();
        self.row += count;
    }
}

/// How many of the ascending `times` lie below `bound`, at least 1: a galloping search (Bentley
/// and Yao, "An almost optimal algorithm for unbounded searching", 1976), cheap where few do.
pub(crate) fn count_below(times: &[i64], bound: i64) -> usize {
    let mut reach = 1;
    while times.get(reach).is_some_and(|&time| time < bound) {
        reach *= 2;
    }
    let known = reach / 2;
    let unknown = times.get(known..reach.min(times.len())).unwrap_or_default();
    (known + unknown.partition_point(|&time| time < bound)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn columns(samples: &BTreeMap<i64, u64>) -> Columns {
        Columns {
            timestamps: samples.keys().copied().collect(),
            values: samples.values().map(|&bits| f64::from_bits(bits)).collect(),
        }
    }

    proptest! {
        #[test]
        fn merges_as_a_map_does(
            inputs in prop::collection::vec(
                prop::collection::btree_map(-40_i64..40, any::<u64>(), 0..40), 0..5),
            shift in prop::collection::vec(0_i64..3, 5),
        ) {
            // Shifted inputs are disjoint, touching or overlapping.
            let inputs: Vec<BTreeMap<i64, u64>> = inputs
                .iter()
                .zip(&shift)
                .map(|(input, shift)| input.iter().map(|(t, v)| (t + 50 * shift, *v)).collect())
                .collect();
            let mut expected = BTreeMap::new();
            for input in &inputs {
                expected.extend(input.clone());
            }
            let mut merged = Columns { timestamps: vec![7], values: vec![7.0] };
            merge_latest_wins(&inputs.iter().map(columns).collect::<Vec<_>>(), &mut merged);
            let bits: Vec<u64> = merged.values.iter().map(|value| value.to_bits()).collect();
            prop_assert_eq!(merged.timestamps, expected.keys().copied().collect::<Vec<_>>());
            prop_assert_eq!(bits, expected.values().copied().collect::<Vec<_>>());
        }

        #[test]
        fn galloping_counts_as_a_scan_does(
            times in prop::collection::btree_set(0_i64..500, 1..100), bound in 0_i64..600,
        ) {
            let times: Vec<i64> = times.into_iter().collect();
            let expected = times.iter().filter(|&&time| time < bound).count().max(1);
            prop_assert_eq!(count_below(&times, bound), expected);
        }
    }
}
