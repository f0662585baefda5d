//! `Sketch`: a mergeable summary of a distribution, with a bound on its quantiles' relative error.

use std::f64::consts::LN_2;

/// The relative error of every quantile, at most: 1 %.
pub const SKETCH_RELATIVE_ERROR: f64 = 0.01;

/// Most bins of either sign. The lowest are joined beyond that, so that the error of low quantiles
/// grows and that of high ones holds: 2,048 bins of 2 % each span 17 decades.
pub const SKETCH_BINS_MAX: usize = 2048;

/// The ratio of a bin's ends, `(1 + error) / (1 - error)`.
const GAMMA: f64 = (1.0 + SKETCH_RELATIVE_ERROR) / (1.0 - SKETCH_RELATIVE_ERROR);

/// `ln γ`, which is `2 artanh(error)`: its series, exact to the last bit after five terms.
const LN_GAMMA: f64 = {
    let (error, square) = (SKETCH_RELATIVE_ERROR, SKETCH_RELATIVE_ERROR * SKETCH_RELATIVE_ERROR);
    let rest = square * (1.0 / 3.0 + square * (1.0 / 5.0 + square * (1.0 / 7.0 + square / 9.0)));
    2.0 * error * (1.0 + rest)
};

/// Makes every index positive: they lie between -35,419 and 35,490.
pub(crate) const INDEX_LIFT: i32 = 1 << 16;

/// More than [`log2_nearly`] errs by, in bins.
const LOG2_ERROR_BINS: f64 = 0.0005;

/// The binary logarithm of a positive normal number, to 1.3e-5: the exponent, and for the fraction
/// the polynomial of the fifth degree whose greatest error is least (Remez' algorithm), summed as
/// G. Estrin does, in few steps that wait for each other.
#[inline]
fn log2_nearly(value: f64) -> f64 {
    const FRACTION: u64 = (1 << (f64::MANTISSA_DIGITS - 1)) - 1;
    const C: [f64; 6] = [
        1.253_874_494_604_663e-5,
        1.441_684_557_027_034_2,
        -0.707_992_651_174_959_9,
        0.413_630_119_497_931_8,
        -0.192_195_635_542_480_7,
        0.044_873_610_192_474_336,
    ];
    let bits = value.to_bits();
    let exponent = (bits >> (f64::MANTISSA_DIGITS - 1)) as i32 - (f64::MAX_EXP - 1);
    let x = f64::from_bits(bits & FRACTION | 1.0_f64.to_bits()) - 1.0;
    let square = x * x;
    let high = (C[2] + C[3] * x) + square * (C[4] + C[5] * x);
    f64::from(exponent) + (C[0] + C[1] * x) + square * high
}

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
/// relative-error guarantees", VLDB 2019, section 2: bins of logarithmic width, the lowest joined
/// beyond a number of them, a second set for negative values) of a fixed relative error of 1 %, so
/// that all sketches merge.
///
/// A sketch depends on what was recorded and on nothing else: merging adds bin counts, and gives
/// the same sketch whatever the order and grouping, also where bins had to be joined.
///
/// NaNs (stale markers among them) are left out. Magnitudes below `f64::MIN_POSITIVE` count as
/// zero, infinities as `f64::MAX` of their sign.
///
/// ```
/// use icecore::aggregate::Sketch;
///
/// let latencies: Vec<f64> = (1..=1000).map(f64::from).collect();
/// let (first, second) = latencies.split_at(300);
/// let mut sketch = Sketch::of(first);
/// sketch.merge(&Sketch::of(second));
/// assert_eq!(sketch, Sketch::of(&latencies));
/// assert_eq!(sketch.count(), 1000);
/// let p99 = sketch.quantile(0.99);
/// assert!((p99 / 990.0 - 1.0).abs() <= 0.01);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sketch {
    /// Values in all bins and in none.
    count: u64,
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
        let bins = positive.iter().chain(&negative);
        let count = bins.fold(zero, |sum, bin| sum.saturating_add(bin.count));
        let sketch = Self { count, zero, positive, negative };
        sketch.view().is_sound().then_some(sketch)
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
        self.count = self.count.saturating_add(count);
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

    /// The number of the bin that holds this magnitude, at least `f64::MIN_POSITIVE`:
    /// `ceil(ln(magnitude) / ln γ)`. Cost: a polynomial; the logarithm near a bin's ends only, of
    /// one magnitude in a thousand.
    #[must_use]
    #[inline]
    pub fn index_of(magnitude: f64) -> i32 {
        let magnitude = magnitude.min(f64::MAX);
        // What is cut off a positive number is what is above the integer below.
        let near = log2_nearly(magnitude) * (LN_2 / LN_GAMMA) + f64::from(INDEX_LIFT);
        let below = near as i32;
        let above = near - f64::from(below);
        let inside = (LOG2_ERROR_BINS..1.0 - LOG2_ERROR_BINS).contains(&above);
        if inside && magnitude >= f64::MIN_POSITIVE {
            return below + 1 - INDEX_LIFT;
        }
        Self::index_exactly(magnitude)
    }

    #[cold]
    fn index_exactly(magnitude: f64) -> i32 {
        (magnitude.ln() * (1.0 / LN_GAMMA)).ceil() as i32
    }

    /// The magnitude that stands for a bin, `2 γ^index / (γ + 1)`: within 1 % of every value in it.
    /// Finite, though the topmost bin reaches beyond `f64::MAX`.
    #[must_use]
    pub fn value_of(index: i32) -> f64 {
        // One less in the exponent: the power itself overflows in the topmost bin before the factor
        // brings it back.
        let scaled = (f64::from(index) * LN_GAMMA - 1.0).exp();
        (scaled * (std::f64::consts::E * 2.0 / (1.0 + GAMMA))).min(f64::MAX)
    }

    /// Adds what another sketch holds. Cost: the bins of both; no memory where none is new.
    pub fn merge<'s>(&mut self, other: impl Into<SketchRef<'s>>) {
        let other = other.into();
        self.count = self.count.saturating_add(other.count);
        self.zero = self.zero.saturating_add(other.zero);
        merge_bins(&mut self.positive, other.positive);
        merge_bins(&mut self.negative, other.negative);
    }

    /// Forgets all that was recorded, keeps the memory.
    pub fn clear(&mut self) {
        (self.count, self.zero) = (0, 0);
        self.positive.clear();
        self.negative.clear();
    }

    /// The same, without its memory.
    #[must_use]
    pub fn view(&self) -> SketchRef<'_> {
        let Self { count, zero, positive, negative } = self;
        SketchRef { count: *count, zero: *zero, positive, negative }
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
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.view().is_empty()
    }

    /// Its bins of either sign together.
    #[must_use]
    pub fn bins(&self) -> usize {
        self.view().bins()
    }

    /// Bytes of its bins.
    pub(crate) fn heap_bytes(&self) -> usize {
        (self.positive.capacity() + self.negative.capacity()) * size_of::<Bin>()
    }

    /// As [`SketchRef::quantile`].
    #[must_use]
    pub fn quantile(&self, q: f64) -> f64 {
        self.view().quantile(q)
    }
}

/// A [`Sketch`] whose bins stand elsewhere: one of a [column](super::Sketches), or a view of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SketchRef<'s> {
    count: u64,
    zero: u64,
    positive: &'s [Bin],
    negative: &'s [Bin],
}

impl<'s> From<&'s Sketch> for SketchRef<'s> {
    fn from(sketch: &'s Sketch) -> Self {
        sketch.view()
    }
}

impl<'s> SketchRef<'s> {
    /// Of parts that are sound: see [`is_sound`](Self::is_sound).
    pub(super) const fn of_parts(
        count: u64,
        zero: u64,
        positive: &'s [Bin],
        negative: &'s [Bin],
    ) -> Self {
        Self { count, zero, positive, negative }
    }

    /// Whether each list ascends, is not too long and has no empty bin, and the count is that of all.
    pub(super) fn is_sound(&self) -> bool {
        let sound = |bins: &[Bin]| {
            bins.len() <= SKETCH_BINS_MAX
                && bins.is_sorted_by(|a, b| a.index < b.index)
                && bins.iter().all(|bin| bin.count > 0)
        };
        let bins = self.positive.iter().chain(self.negative);
        let count = bins.fold(self.zero, |sum, bin| sum.saturating_add(bin.count));
        sound(self.positive) && sound(self.negative) && count == self.count
    }

    /// Values recorded.
    #[must_use]
    pub const fn count(self) -> u64 {
        self.count
    }

    /// Values that are zero.
    #[must_use]
    pub const fn zero(self) -> u64 {
        self.zero
    }

    /// The bins of positive values, ascending.
    #[must_use]
    pub const fn positive(self) -> &'s [Bin] {
        self.positive
    }

    /// The bins of negative values' magnitudes, ascending: the most negative last.
    #[must_use]
    pub const fn negative(self) -> &'s [Bin] {
        self.negative
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.zero == 0 && self.positive.is_empty() && self.negative.is_empty()
    }

    /// Its bins of either sign together.
    #[must_use]
    pub const fn bins(self) -> usize {
        self.positive.len() + self.negative.len()
    }

    /// The same with memory of its own.
    #[must_use]
    pub fn to_sketch(self) -> Sketch {
        let Self { count, zero, positive, negative } = self;
        Sketch { count, zero, positive: positive.to_vec(), negative: negative.to_vec() }
    }

    /// The quantile `0 <= q <= 1`: within 1 % of the value of rank `q · (n - 1)`, rounded down,
    /// among all that were recorded. NaN of an empty sketch.
    #[must_use]
    pub fn quantile(self, q: f64) -> f64 {
        let Some(last) = self.count.checked_sub(1) else { return f64::NAN };
        // `last as f64` may round up.
        let rank = ((q.clamp(0.0, 1.0) * last as f64) as u64).min(last);
        // From the top: mostly it is asked for what is rare.
        let above = last - rank;
        let positive = self.positive.iter().rev().map(|bin| (1.0, bin.index, bin.count));
        let negative = self.negative.iter().map(|bin| (-1.0, bin.index, bin.count));
        let mut passed = 0_u64;
        for (sign, index, count) in positive.chain([(0.0, 0, self.zero)]).chain(negative) {
            passed = passed.saturating_add(count);
            if passed > above {
                return sign * Sketch::value_of(index);
            }
        }
        f64::NAN
    }
}

/// Adds `others` to `bins`, both ascending, in place: from the highest down, into the room that
/// the new ones need. Which list comes next is not to be foreseen, so that it is computed, not branched
/// on.
fn merge_bins(bins: &mut Vec<Bin>, others: &[Bin]) {
    if bins.is_empty() {
        bins.extend_from_slice(others);
        return;
    }
    let (mut read, mut left) = (bins.len(), others.len());
    let mut write = read + new_bins(bins, others);
    bins.resize(write, Bin { index: 0, count: 0 });
    while let (Some(ours), Some(other)) = (before(bins, read), before(others, left)) {
        let (ours_next, other_next) = (ours.index >= other.index, other.index >= ours.index);
        let count = |bin: Bin, next: bool| if next { bin.count } else { 0 };
        write -= 1;
        read -= usize::from(ours_next);
        left -= usize::from(other_next);
        let count = count(ours, ours_next).saturating_add(count(other, other_next));
        if let Some(slot) = bins.get_mut(write) {
            *slot = Bin { index: ours.index.max(other.index), count };
        }
    }
    // Of ours, what is left stands in its place already.
    if let (Some(slots), Some(rest)) = (bins.get_mut(..left), others.get(..left)) {
        slots.copy_from_slice(rest);
    }
    join_lowest(bins);
}

fn before(bins: &[Bin], at: usize) -> Option<Bin> {
    bins.get(at.checked_sub(1)?).copied()
}

/// How many of `others` are not among `bins`.
fn new_bins(bins: &[Bin], others: &[Bin]) -> usize {
    let (mut read, mut left, mut shared) = (bins.len(), others.len(), 0);
    while let (Some(ours), Some(other)) = (before(bins, read), before(others, left)) {
        read -= usize::from(ours.index >= other.index);
        left -= usize::from(other.index >= ours.index);
        shared += usize::from(other.index == ours.index);
    }
    others.len() - shared
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
    use proptest::prelude::*;

    use super::*;

    /// Every quantile stands within 1 % (and the rounding of the logarithm) of the exact value:
    /// that of rank `q · (n - 1)`, rounded down.
    fn check_quantiles(values: &[f64]) {
        let sketch = Sketch::of(values);
        assert_eq!(sketch.count(), values.len() as u64);
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        for step in 0..=1000 {
            let q = f64::from(step) / 1000.0;
            let expected = sorted[(q * (values.len() - 1) as f64) as usize];
            let found = sketch.quantile(q);
            let error = (found - expected).abs();
            assert!(error <= (0.01 + 1e-9) * expected.abs(), "q {q}: {found}, exact {expected}");
        }
    }

    /// Uniform in (0, 1], a fixed sequence.
    fn uniform(count: usize) -> impl Iterator<Item = f64> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        std::iter::repeat_with(move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((state >> 11) + 1) as f64 / (1_u64 << 53) as f64
        })
        .take(count)
    }

    fn log_normal(count: usize) -> Vec<f64> {
        let uniform: Vec<f64> = uniform(2 * count).collect();
        let pairs = uniform.chunks_exact(2);
        let normal =
            pairs.map(|u| (-2.0 * u[0].ln()).sqrt() * (std::f64::consts::TAU * u[1]).cos());
        normal.map(|z| (1.5 * z - 6.0).exp()).collect()
    }

    #[test]
    fn ln_gamma_is_the_logarithm_of_gamma() {
        assert!((LN_GAMMA / GAMMA.ln() - 1.0).abs() < 1e-14, "{LN_GAMMA}");
    }

    #[test]
    fn every_bin_stands_within_one_per_cent_of_its_values() {
        let decades = (-3079..3083).map(|exponent| 10_f64.powf(f64::from(exponent) / 10.0));
        for value in decades.chain([f64::MIN_POSITIVE, f64::MAX, 1.763_765_085_824_937_2e308, 1.0])
        {
            let near = Sketch::value_of(Sketch::index_of(value));
            assert!((near / value - 1.0).abs() <= 0.01 + 1e-9, "{value} {near}");
        }
    }

    #[test]
    fn every_bin_holds_the_value_that_stands_for_it() {
        let (lowest, highest) = (Sketch::index_of(f64::MIN_POSITIVE), Sketch::index_of(f64::MAX));
        for index in lowest..=highest {
            assert_eq!(Sketch::index_of(Sketch::value_of(index)), index);
        }
    }

    /// Around the ends of all bins, and all over the fractions between two powers of two.
    #[test]
    fn bins_end_where_the_logarithm_says() {
        let plain = |value: f64| (value.ln() * (1.0 / LN_GAMMA)).ceil() as i32;
        let check = |value: f64| assert_eq!(Sketch::index_of(value), plain(value), "{value:e}");
        for index in plain(f64::MIN_POSITIVE)..=plain(f64::MAX) {
            let end = (f64::from(index) * LN_GAMMA).exp();
            for off in [0.0, 1e-16, 1e-12, 1e-9, 9e-6, 1e-5, 1.1e-5, 2e-5] {
                for value in [end * (1.0 + off), end * (1.0 - off)] {
                    check(value.clamp(f64::MIN_POSITIVE, f64::MAX));
                }
            }
        }
        let fractions = || (0..400_000_u32).map(|step| 1.0 + f64::from(step) / 400_000.0);
        fractions().flat_map(|f| [f, f * 1e-9, f * 1e300]).for_each(check);
        let errors = fractions().map(|value| (log2_nearly(value) - value.log2()).abs());
        let worst = errors.fold(0.0, f64::max);
        assert!(worst * LN_2 / LN_GAMMA < 0.9 * LOG2_ERROR_BINS, "{worst}");
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

    #[test]
    fn quantiles_of_known_distributions_hold_their_bound() {
        check_quantiles(&log_normal(20_000));
        check_quantiles(&log_normal(20_000).iter().map(|value| -value).collect::<Vec<_>>());
        check_quantiles(&uniform(20_000).map(|u| 2000.0 * u - 700.0).collect::<Vec<_>>());
        let bimodal = uniform(20_000).map(|u| if u < 0.9 { 1e-3 + u * 1e-4 } else { 5.0 + u });
        check_quantiles(&bimodal.collect::<Vec<_>>());
    }

    #[test]
    fn counts_at_their_end_saturate_and_still_answer() {
        let mut sketch = Sketch::default();
        sketch.record(1.0, u64::MAX);
        sketch.record(2.0, 5);
        assert_eq!(sketch.count(), u64::MAX);
        // The greatest is known whatever the counts are; the five are lost in those of the others.
        assert!((sketch.quantile(1.0) / 2.0 - 1.0).abs() <= 0.01);
        assert!((sketch.quantile(0.5) - 1.0).abs() <= 0.01);
        assert!((sketch.quantile(0.0) - 1.0).abs() <= 0.01);
        let mut large = Sketch::of(&[3.0]);
        large.record(3.0, (1 << 53) + 1);
        assert!((large.quantile(1.0) / 3.0 - 1.0).abs() <= 0.01);
    }

    fn finite() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |v| v.is_finite()),
            4 => -1e6..1e6_f64,
            1 => Just(0.0),
            1 => Just(-0.0),
        ]
    }

    fn values() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec(finite(), 0..200)
    }

    /// More bins than a sketch keeps: 4,000 of them, in any part.
    fn many_bins() -> impl Strategy<Value = Sketch> {
        let bins = prop::collection::btree_map(-2000..2000_i32, 1..u64::MAX >> 3, 0..3000);
        bins.prop_map(|bins| {
            let mut sketch = Sketch::default();
            for (index, count) in bins {
                sketch.record(Sketch::value_of(index), count);
            }
            sketch
        })
    }

    fn merged(sketches: &[&Sketch]) -> Sketch {
        let mut all = Sketch::default();
        sketches.iter().for_each(|sketch| all.merge(*sketch));
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn quantiles_of_any_values_hold_their_bound(values in values()) {
            prop_assume!(!values.is_empty());
            let tiny = |v: &f64| if v.abs() < f64::MIN_POSITIVE { 0.0 } else { *v };
            check_quantiles(&values.iter().map(tiny).collect::<Vec<_>>());
        }

        #[test]
        fn a_merge_is_the_sketch_of_all_values(a in values(), b in values(), c in values()) {
            let [x, y, z] = [&a, &b, &c].map(|values| Sketch::of(values));
            let all = Sketch::of(&[a, b, c].concat());
            prop_assert_eq!(&merged(&[&x, &y, &z]), &all);
            prop_assert_eq!(&merged(&[&z, &x, &y]), &all);
            prop_assert_eq!(&merged(&[&x, &merged(&[&y, &z])]), &all);
            prop_assert!(Sketch::from_bins(all.zero, all.positive.clone(), all.negative).is_some());
        }

        /// Also where bins are joined and counts reach their end.
        #[test]
        fn the_order_of_merges_does_not_matter(a in many_bins(), b in many_bins(), c in many_bins()) {
            let all = merged(&[&a, &b, &c]);
            prop_assert!(all.positive.len() <= SKETCH_BINS_MAX);
            prop_assert_eq!(&merged(&[&c, &b, &a]), &all);
            prop_assert_eq!(&merged(&[&a, &merged(&[&c, &b])]), &all);
            let count = [&a, &b, &c].iter().fold(0, |sum, s| s.count().saturating_add(sum));
            prop_assert_eq!(all.count(), count);
        }
    }
}
