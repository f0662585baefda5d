//! Which lengths of time tiers are built and merged in: each divides the next, over all tiers, so
//! that what is merged on a fine tier never crosses what a coarser one was built of.

use crate::time::{Tier, TimeRange, Timestamp};

/// How many parts become a longer one.
const FAN_IN: i64 = 8;
/// Records of a series in a part that is not merged into a longer one: compaction's chunk length.
const RECORDS_ENOUGH: i64 = 8192;

/// How long the stretches are that a tier is built in: about a partition, a multiple of the tier's
/// buckets, and a divisor of the next tier's stretches. `tiers` ascend, each divides the next.
pub(super) fn stretch_ns(tiers: &[Tier], tier: Tier, partition_ns: i64) -> i64 {
    let fitting = |of: &&Tier| of.nanos() <= partition_ns;
    let Some(longest) = tiers.iter().rev().find(fitting) else { return tier.nanos() };
    if tier > *longest {
        return tier.nanos();
    }
    let most = partition_ns / longest.nanos();
    let next = tiers.iter().find(|next| *next > longest);
    let factor = next.map_or(most, |next| divisor_below(next.nanos() / longest.nanos(), most));
    longest.nanos().saturating_mul(factor)
}

/// The largest divisor of `number` that is `most` at most; both at least 1.
fn divisor_below(number: i64, most: i64) -> i64 {
    (1..=most.min(number)).rev().find(|divisor| number % divisor == 0).unwrap_or(1)
}

/// The lengths that a tier's parts are merged to, ascending, those of its stretches left out.
pub(super) fn ladder(tiers: &[Tier], tier: Tier, partition_ns: i64) -> Vec<i64> {
    let mut lengths = Vec::new();
    let mut length = stretch_ns(tiers, tier, partition_ns);
    while length / tier.nanos() < RECORDS_ENOUGH {
        let coarser = tiers.iter().filter(|next| **next > tier);
        let next =
            coarser.map(|next| stretch_ns(tiers, *next, partition_ns)).find(|next| *next > length);
        let factor = next.map_or(FAN_IN, |next| divisor_below(next / length, FAN_IN).max(2));
        // Where no small number divides it, the next tier's stretch itself is the next length.
        let longer = match next {
            Some(next) if next % length.saturating_mul(factor) != 0 => next,
            _ => length.saturating_mul(factor),
        };
        if longer == i64::MAX {
            break;
        }
        lengths.push(longer);
        length = longer;
    }
    lengths
}

/// The cell of this length that holds the point: cells are aligned to the epoch.
pub(super) fn cell(point: Timestamp, length: i64) -> TimeRange {
    let start = point.0.saturating_sub(point.0.rem_euclid(length));
    TimeRange::new(Timestamp(start), Timestamp(start.saturating_add(length)))
}

/// The cells of this length that meet the range, ascending.
pub(super) fn cells(range: TimeRange, length: i64) -> impl Iterator<Item = TimeRange> {
    let mut next = cell(range.start, length);
    std::iter::from_fn(move || {
        let this = next;
        next = TimeRange::new(this.end, Timestamp(this.end.0.saturating_add(length)));
        (this.start < range.end && !this.is_empty()).then_some(this)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000_000;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;

    fn default_tiers() -> Vec<Tier> {
        vec![Tier::MINUTE, Tier::FIVE_MINUTES, Tier::HOUR, Tier::DAY]
    }

    #[test]
    fn stretches_are_about_a_partition() {
        let lengths = |partition| {
            let tiers = default_tiers();
            tiers.iter().map(|tier| stretch_ns(&tiers, *tier, partition)).collect::<Vec<_>>()
        };
        assert_eq!(lengths(DAY), [DAY; 4]);
        assert_eq!(lengths(36 * HOUR), [DAY; 4]);
        assert_eq!(lengths(7 * DAY), [7 * DAY; 4]);
        assert_eq!(lengths(7 * HOUR), [6 * HOUR, 6 * HOUR, 6 * HOUR, DAY]);
        assert_eq!(lengths(2 * HOUR), [2 * HOUR, 2 * HOUR, 2 * HOUR, DAY]);
        assert_eq!(lengths(25 * MINUTE), [20 * MINUTE, 20 * MINUTE, HOUR, DAY]);
        assert_eq!(lengths(MINUTE), [MINUTE, 5 * MINUTE, HOUR, DAY]);
        assert_eq!(stretch_ns(&[Tier::DAY], Tier::DAY, HOUR), DAY);
    }

    #[test]
    fn all_lengths_of_all_tiers_divide_each_other() {
        for partition in [MINUTE, 7 * MINUTE, HOUR, 2 * HOUR, 7 * HOUR, DAY, 5 * DAY] {
            let tiers = default_tiers();
            let mut all: Vec<i64> = tiers
                .iter()
                .flat_map(|tier| {
                    let mut lengths = ladder(&tiers, *tier, partition);
                    lengths.push(stretch_ns(&tiers, *tier, partition));
                    lengths
                })
                .collect();
            all.sort_unstable();
            for pair in all.windows(2) {
                assert_eq!(pair[1] % pair[0], 0, "{partition}: {all:?}");
            }
        }
        let tiers = default_tiers();
        assert_eq!(ladder(&tiers, Tier::MINUTE, DAY), [8 * DAY]);
        assert_eq!(ladder(&tiers, Tier::HOUR, DAY), [8 * DAY, 64 * DAY, 512 * DAY]);
        assert_eq!(ladder(&tiers, Tier::MINUTE, 2 * HOUR), [12 * HOUR, DAY, 8 * DAY]);
    }
}
