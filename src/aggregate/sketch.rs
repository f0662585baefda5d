//! `Sketch`: a mergeable summary of a distribution, with a bound on its quantiles' relative error.

/// The relative error of every quantile, at most: 1 %.
pub const SKETCH_RELATIVE_ERROR: f64 = 0.01;

/// Most bins of either sign. The lowest are joined beyond that, so that the error of low quantiles
/// grows and that of high ones holds: 2,048 bins of 2 % each span 17 decades.
pub const SKETCH_BINS_MAX: usize = 2048;

/// The ratio of a bin's ends, `(1 + error) / (1 - error)`.
const GAMMA: f64 = (1.0 + SKETCH_RELATIVE_ERROR) / (1.0 - SKETCH_RELATIVE_ERROR);

/// A bin of a [`Sketch`]: how many values of magnitude `γ^(index-1) < |v| <= γ^index` there were,
/// with `γ = 101/99`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bin {
    /// The bin's number; bins of small magnitudes have negative ones.
    pub index: i32,
    /// Values in it, at least 1.
    pub count: u64,
}

/// DDSketch (Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile sketch with
/// relative-error guarantees", VLDB 2019) of a fixed relative error of 1 %, so that all sketches
/// merge: merging adds bin counts, and is the same whatever the order as long as no bins had to be
/// joined.
///
/// NaNs (stale markers among them) are left out. Magnitudes below `f64::MIN_POSITIVE` count as
/// zero, infinities as `f64::MAX` of their sign.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sketch {
    zero: u64,
    /// Ascending by index.
    positive: Vec<Bin>,
    /// Of the magnitudes of negative values, ascending by index.
    negative: Vec<Bin>,
}

impl Sketch {
    /// The sketch of these parts: bins ascending strictly by index, no count 0; `None` where they
    /// are not, or are more than [`SKETCH_BINS_MAX`] of a sign.
    #[must_use]
    pub fn from_bins(zero: u64, positive: Vec<Bin>, negative: Vec<Bin>) -> Option<Self> {
        let sound = |bins: &[Bin]| {
            bins.len() <= SKETCH_BINS_MAX
                && bins.is_sorted_by(|a, b| a.index < b.index)
                && bins.iter().all(|bin| bin.count > 0)
        };
        (sound(&positive) && sound(&negative)).then_some(Self { zero, positive, negative })
    }

    /// The sketch of these values.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let mut sketch = Self::default();
        values.iter().for_each(|&value| sketch.record(value, 1));
        sketch
    }

    /// Adds a value `count` times. Cost: a search among the bins.
    pub fn record(&mut self, value: f64, count: u64) {
        if value.is_nan() || count == 0 {
            return;
        }
        let magnitude = value.abs();
        if magnitude < f64::MIN_POSITIVE {
            self.zero = self.zero.saturating_add(count);
            return;
        }
        let bins = if value > 0.0 { &mut self.positive } else { &mut self.negative };
        let index = Self::index_of(magnitude);
        match bins.binary_search_by_key(&index, |bin| bin.index) {
            Ok(at) => {
                if let Some(bin) = bins.get_mut(at) {
                    bin.count = bin.count.saturating_add(count);
                }
            }
            Err(at) => {
                bins.insert(at, Bin { index, count });
                join_lowest(bins);
            }
        }
    }

    /// The number of the bin that holds this magnitude, at least `f64::MIN_POSITIVE`.
    #[must_use]
    pub fn index_of(magnitude: f64) -> i32 {
        (magnitude.min(f64::MAX).ln() / GAMMA.ln()).ceil() as i32
    }

    /// The magnitude that stands for a bin: within 1 % of every value in it.
    #[must_use]
    pub fn value_of(index: i32) -> f64 {
        2.0 * (f64::from(index) * GAMMA.ln()).exp() / (1.0 + GAMMA)
    }

    /// Adds what another sketch holds.
    pub fn merge(&mut self, other: &Self) {
        self.zero = self.zero.saturating_add(other.zero);
        merge_bins(&mut self.positive, &other.positive);
        merge_bins(&mut self.negative, &other.negative);
    }

    /// Values that are zero.
    #[must_use]
    pub const fn zero(&self) -> u64 {
        self.zero
    }

    /// The bins of positive values, ascending.
    #[must_use]
    pub fn positive(&self) -> &[Bin] {
        &self.positive
    }

    /// The bins of negative values' magnitudes, ascending: the most negative last.
    #[must_use]
    pub fn negative(&self) -> &[Bin] {
        &self.negative
    }

    /// Values recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        let bins = self.positive.iter().chain(&self.negative);
        bins.fold(self.zero, |sum, bin| sum.saturating_add(bin.count))
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.zero == 0 && self.positive.is_empty() && self.negative.is_empty()
    }

    /// The quantile `0 <= q <= 1`: within 1 % of the value of rank `q · (n - 1)`, rounded down,
    /// among all that were recorded. NaN of an empty sketch.
    #[must_use]
    pub fn quantile(&self, q: f64) -> f64 {
        let Some(last) = self.count().checked_sub(1) else { return f64::NAN };
        let rank = (q.clamp(0.0, 1.0) * last as f64) as u64;
        let negative =
            self.negative.iter().rev().map(|bin| (-Self::value_of(bin.index), bin.count));
        let positive = self.positive.iter().map(|bin| (Self::value_of(bin.index), bin.count));
        let mut below = 0_u64;
        for (value, count) in negative.chain([(0.0, self.zero)]).chain(positive) {
            below = below.saturating_add(count);
            if below > rank {
                return value;
            }
        }
        f64::NAN
    }
}

fn merge_bins(bins: &mut Vec<Bin>, others: &[Bin]) {
    if others.is_empty() {
        return;
    }
    let ours = std::mem::take(bins);
    bins.reserve(ours.len() + others.len());
    let (mut ours, mut others) = (ours.into_iter().peekable(), others.iter().copied().peekable());
    loop {
        let next = match (ours.peek(), others.peek()) {
            (Some(a), Some(b)) if a.index == b.index => {
                let count = a.count.saturating_add(b.count);
                let index = a.index;
                ours.next();
                others.next();
                Some(Bin { index, count })
            }
            (Some(a), Some(b)) if a.index > b.index => others.next(),
            (Some(_), _) => ours.next(),
            (None, _) => others.next(),
        };
        let Some(bin) = next else { break };
        bins.push(bin);
    }
    join_lowest(bins);
}

/// Joins the lowest bins until there are not too many.
fn join_lowest(bins: &mut Vec<Bin>) {
    let Some(extra) = bins.len().checked_sub(SKETCH_BINS_MAX).filter(|&extra| extra > 0) else {
        return;
    };
    let joined: u64 = bins.drain(..extra).fold(0, |sum, bin| sum.saturating_add(bin.count));
    if let Some(lowest) = bins.first_mut() {
        lowest.count = lowest.count.saturating_add(joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bin_stands_within_one_per_cent_of_its_values() {
        for exponent in -3000..3000 {
            let value = 10_f64.powf(f64::from(exponent) / 10.0);
            let near = Sketch::value_of(Sketch::index_of(value));
            assert!((near / value - 1.0).abs() <= 0.01 + 1e-9, "{value} {near}");
        }
    }

    #[test]
    fn quantiles_of_both_signs() {
        let sketch = Sketch::of(&[-8.0, -2.0, 0.0, f64::NAN, 3.0, 9.0]);
        assert_eq!(sketch.count(), 5);
        for (q, expected) in [(0.0, -8.0), (0.25, -2.0), (0.5, 0.0), (0.75, 3.0), (1.0, 9.0)] {
            let found = sketch.quantile(q);
            assert!((found - expected).abs() <= 0.01 * f64::abs(expected), "{q} {found}");
        }
        assert!(Sketch::default().quantile(0.5).is_nan());
    }
}
